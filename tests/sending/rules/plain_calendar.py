"""Opening hours written a second time, minute by minute and without arithmetic on instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)

GOOD_FRIDAYS = {
    2024: date(2024, 3, 29),
    2025: date(2025, 4, 18),
    2026: date(2026, 4, 3),
    2027: date(2027, 3, 26),
    2028: date(2028, 4, 14),
    2029: date(2029, 3, 30),
    2030: date(2030, 4, 19),
}

FIXED_DAYS = [(1, 1), (3, 21), (4, 27), (5, 1), (6, 16), (8, 9), (9, 24), (12, 16), (12, 25), (12, 26)]
"""Schedule 1 of South Africa's Public Holidays Act 36 of 1994, without Good Friday and Family Day."""

DAYS_OF_ELECTIONS = {date(2024, 5, 29), date(2026, 11, 4)}


def south_african_holidays(year: int) -> set[date]:
    """Return the public holidays of the act. If one is a Sunday, the Monday after it is one, too."""
    fixed = {date(year, month, day) for month, day in FIXED_DAYS}
    mondays = {day + timedelta(days=1) for day in fixed if day.weekday() == 6}
    good_friday = GOOD_FRIDAYS[year]
    return fixed | mondays | {good_friday, good_friday + timedelta(days=3)}


class PlainCalendar(NamedTuple):
    """Hours as a list of windows for each day of the week, and the days without any.

    :param windows: pairs of texts ``HH:MM``, which sort as times do, by the number of the day: 0 is Monday.
    """

    windows: dict[int, list[tuple[str, str]]]
    zone: ZoneInfo
    closed: set[date]

    def shows(self, day: date, clock: str) -> bool:
        """Tell whether the calendar is open when the clock on the wall shows ``HH:MM`` on a day."""
        windows = [] if day in self.closed else self.windows.get(day.weekday(), [])
        return any(start <= clock < end for start, end in windows)

    def is_open(self, at: datetime) -> bool:
        """Look at the clock on the wall."""
        wall = at.astimezone(self.zone)
        return self.shows(wall.date(), f"{wall.hour:02}:{wall.minute:02}")

    def first(self, at: datetime, *, is_open: bool, within: timedelta) -> datetime | None:
        """Try each minute after an instant until the calendar is open, or closed; ``None`` if it is never."""
        return next((minute for minute in minutes(at, within) if self.is_open(minute) is is_open), None)


def minutes(at: datetime, within: timedelta) -> Iterator[datetime]:
    """Yield the whole minutes after an instant, in UTC."""
    minute = at.astimezone(UTC).replace(second=0, microsecond=0) + MINUTE
    while minute <= at + within:
        yield minute
        minute += MINUTE
