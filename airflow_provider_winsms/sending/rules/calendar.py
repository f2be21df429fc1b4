"""Opening hours: when texts may go out, on the wall clock of a time zone and outside public holidays.

A DAG file makes opening hours each time it is parsed. So their construction checks the input and loads
nothing. The first question about an instant loads the time zone and the public holidays.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from itertools import chain, pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.options import nearest, shown, time_zone_name, zone_of
from airflow_provider_winsms.sql.time_zones import stretches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pendulum import DateTime

LOOKAHEAD = timedelta(days=400)
"""How far ahead openings and closings are looked for: over the longest rhythm of holidays, a year."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])|24:00")
_COUNTRY = re.compile(r"[A-Z]{2}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_EPOCH = date(1970, 1, 1)


class Window(NamedTuple):
    """A part of a day, in seconds on the wall clock after midnight. The end is not in it."""

    opens: int
    closes: int


class Span(NamedTuple):
    """A stretch of time, in seconds since the epoch. The end is not in it."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """The hours of a week at which texts may go out, except on holidays.

    An instant is within the hours if the wall clock of the time zone shows a time within a window of its day.
    This also holds when the clock is changed. A window whose start is skipped opens when the clock jumps. A
    window whose end is skipped closes when the clock jumps. A time that the clock shows twice is within the
    hours both times.

    Two objects are equal if they have the same windows, time zone, country and extra holidays, however these
    are written.

    :param hours: the windows of each day, such as ``{"mon-fri": "08:00-20:00", "sat": "09:00-13:00"}``. A key
        is a day or a range of days. A value is a window, ``"HH:MM-HH:MM"``, or several with commas between
        them. The start of a window is within it, and the end is not. ``"24:00"`` may be an end. On all other
        days no text goes out.
    :param time_zone: the IANA name of the time zone of the hours.
    :param country: the country on whose public holidays no text goes out: two capital letters, its code in
        ISO 3166-1. The days on which a holiday is observed count, too. ``None``: no public holidays.
    :param extra_holidays: more days without texts: dates, or their texts, such as ``"2026-11-04"``.
    :raises InvalidMessage: a parameter is invalid. An unknown time zone and a country without known holidays
        are found by ``check``, and by each question about an instant.
    """

    hours: Mapping[str, str] = field(compare=False)
    time_zone: str
    country: str | None = None
    extra_holidays: Sequence[date | str] = ()
    _week: tuple[tuple[Window, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        time_zone_name(self.time_zone)
        _check_country(self.country)
        object.__setattr__(self, "_week", _week(self.hours))
        object.__setattr__(self, "hours", MappingProxyType(dict(self.hours)))
        object.__setattr__(self, "extra_holidays", _dates(self.extra_holidays))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (dict(self.hours), self.time_zone, self.country, self.extra_holidays)

    @classmethod
    def daily(cls, between: Sequence[str], time_zone: str) -> OpeningHours:
        """Return the hours of each day between two times, such as ``("07:00", "22:00")``.

        If the second is not later than the first, the hours go over midnight.

        :raises InvalidMessage: if these are not two times.
        """
        if isinstance(between, str) or len(between) != 2:  # noqa: PLR2004 - a pair
            msg = f'Give two times, such as ("07:00", "22:00"); got {shown(between)}.'
            raise InvalidMessage(msg)
        begin, end = between
        windows = f"{begin}-{end}" if begin < end else f"{begin}-24:00, 00:00-{end}"
        return cls({"mon-sun": windows}, time_zone)

    @classmethod
    def south_african_marketing(cls, extra_holidays: Sequence[date | str] = ()) -> OpeningHours:
        """Return the hours at which South African law allows direct marketing.

        They are 08:00 to 20:00 from Monday to Friday, and 09:00 to 13:00 on Saturdays, but never on public
        holidays (Consumer Protection Act 68 of 2008, section 12, and the notice in R.293 of 2011).

        :param extra_holidays: public holidays that the installed release of the library ``holidays`` lacks,
            as they were declared later.
        :raises InvalidMessage: an extra holiday is no date.
        """
        hours = {"mon-fri": "08:00-20:00", "sat": "09:00-13:00"}
        return cls(hours, "Africa/Johannesburg", "ZA", extra_holidays)

    def check(self) -> None:
        """Load the time zone and the public holidays.

        :raises InvalidMessage: the time zone is unknown, or the country's public holidays are.
        """
        zone_of(self.time_zone)
        if self.country is not None:
            _public_holidays(self.country, _EPOCH.year)

    def is_open(self, at: DateTime) -> bool:
        """Tell whether a text may go out at an instant.

        :param at: an aware time, in any zone.
        :raises InvalidMessage: ``at`` has no zone, or ``check`` would raise.
        """
        second = _second(at)
        return any(span.begin <= second < span.end for span in _spans(self, second // _DAY))

    def next_opening(self, at: DateTime) -> DateTime:
        """Return the first instant, from the given one on, at which a text may go out.

        :param at: an aware time, in any zone.
        :returns: ``at`` itself if a text may go out then, or else the start of the next window, in UTC.
        :raises InvalidMessage: there is none in the 400 days after ``at``, ``at`` has no zone, or ``check``
            would raise.
        """
        second = _second(at)
        span = self._span_after(second)
        if span is None:
            msg = (
                f"The opening hours have no window in the {LOOKAHEAD.days} days after {_shown_instant(at)}: "
                "every day that `hours` names is a holiday. Name more days in `hours`, or take dates out of "
                "`extra_holidays`."
            )
            raise InvalidMessage(msg)
        return at if span.begin <= second else _instant(span.begin)

    def closes_at(self, at: DateTime) -> DateTime:
        """Return the end of the window that contains an instant.

        Windows that touch are one, also over midnight: ``"08:00-24:00"`` and the next day's ``"00:00-02:00"``
        close at 02:00.

        :param at: an aware time within the hours, in any zone.
        :returns: the first instant after ``at`` at which no text may go out, in UTC. Hours that are open for
            400 days and more count as closed 400 days after ``at``.
        :raises InvalidMessage: no text may go out at ``at``, it has no zone, or ``check`` would raise.
        """
        second = _second(at)
        span = self._span_after(second)
        if span is None or span.begin > second:
            msg = (
                f"{_shown_instant(at)} is outside the opening hours, so no window closes. Ask for the next "
                "opening first."
            )
            raise InvalidMessage(msg)
        return _instant(span.end)

    def windows_on(self, day: date) -> tuple[Window, ...]:
        """Return the windows of a day in the time zone, in their order; none if it is a holiday.

        :raises InvalidMessage: the country's public holidays are unknown.
        """
        windows = self._week[day.weekday()]
        if not windows or day in self.extra_holidays:
            return ()
        is_public_holiday = self.country is not None and day in _public_holidays(self.country, day.year)
        return () if is_public_holiday else windows

    def _span_after(self, second: int) -> Span | None:
        """Return the open span that contains a second, or else the next; ``None`` if none begins in time."""
        last = second + int(LOOKAHEAD.total_seconds())
        spans = (_spans(self, day) for day in range(second // _DAY, last // _DAY + 1))
        ahead = (span for span in chain.from_iterable(spans) if span.end > second)
        found = _first_joined(ahead)
        return None if found is None or found.begin > last else Span(found.begin, min(found.end, last))


def _first_joined(spans: Iterator[Span]) -> Span | None:
    """Return the first span, joined with those that touch it; ``None`` if there are no spans."""
    first = next(spans, None)
    for span in spans:
        if first is None or span.begin > first.end:
            break
        first = Span(first.begin, span.end)
    return first


@lru_cache(maxsize=1024)
def _spans(hours: OpeningHours, day: int) -> tuple[Span, ...]:
    """Return the open spans of a day in UTC, in their order.

    :param day: the number of days since the epoch.
    """
    return tuple(
        span
        for begin, end, offset in stretches(zone_of(hours.time_zone), day * _DAY, (day + 1) * _DAY)
        for span in _spans_at_offset(hours, Span(begin, end), offset)
    )


def _spans_at_offset(hours: OpeningHours, within: Span, offset: int) -> Iterator[Span]:
    """Yield the open spans in a stretch of time during which the wall clock has one offset from UTC."""
    for local_day in range((within.begin + offset) // _DAY, (within.end - 1 + offset) // _DAY + 1):
        midnight = local_day * _DAY - offset
        for window in hours.windows_on(_EPOCH + timedelta(local_day)):
            span = Span(max(within.begin, midnight + window.opens), min(within.end, midnight + window.closes))
            if span.begin < span.end:
                yield span


@cache
def _public_holidays(country: str, year: int) -> frozenset[date]:
    from holidays import country_holidays

    try:
        return frozenset(country_holidays(country, years=year))
    except NotImplementedError:
        msg = (
            f"The public holidays of the country {shown(country)} are unknown. Give another country, or "
            "country=None and the days as extra_holidays."
        )
        raise InvalidMessage(msg) from None


def _second(at: DateTime) -> int:
    """Return the whole seconds from the epoch to an instant."""
    if at.utcoffset() is None:
        msg = "A time without a time zone may be any of several instants. Give the time a zone."
        raise InvalidMessage(msg)
    return timegm(at.utctimetuple())


def _instant(second: int) -> DateTime:
    import pendulum

    return pendulum.from_timestamp(second)


def _shown_instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _check_country(country: object) -> None:
    if country is not None and not (isinstance(country, str) and _COUNTRY.fullmatch(country)):
        msg = f'country must be two capital letters, such as "ZA", or None; got {shown(country)}.'
        raise InvalidMessage(msg)


def _week(hours: object) -> tuple[tuple[Window, ...], ...]:
    """Read the windows of each day, from Monday on."""
    if not isinstance(hours, Mapping) or not hours:
        msg = (
            'hours must be a mapping of days to windows, such as {"mon-fri": "08:00-20:00"}, with one day at '
            f"least; got {'an empty one' if isinstance(hours, Mapping) else shown(hours)}."
        )
        raise InvalidMessage(msg)
    week: dict[int, tuple[Window, ...]] = {}
    for key, text in hours.items():
        windows = _windows(text, f"hours[{shown(key)}]")
        for day in _days(key):
            if day in week:
                msg = f"hours names {_DAYS[day]!r} twice. Write all its windows in one value, with commas."
                raise InvalidMessage(msg)
            week[day] = windows
    return tuple(week.get(day, ()) for day in range(len(_DAYS)))


def _days(key: object) -> list[int]:
    """Read a day, or a range of days, which may go over Sunday: ``"sat-mon"``."""
    names = key.lower().split("-") if isinstance(key, str) else [key]
    unknown = [name for name in names if name not in _DAYS]
    if unknown or len(names) > 2:  # noqa: PLR2004 - a range has two ends
        msg = (
            f"hours has the key {shown(key)}. A key must be a day ({', '.join(_DAYS)}) or a range of days, "
            f'such as "mon-fri".{nearest(unknown[0], _DAYS) if unknown else ""}'
        )
        raise InvalidMessage(msg)
    first, last = _DAYS.index(str(names[0])), _DAYS.index(str(names[-1]))
    return [day % len(_DAYS) for day in range(first, last + 1 + len(_DAYS) * (last < first))]


def _windows(text: object, where: str) -> tuple[Window, ...]:
    if not isinstance(text, str):
        msg = f'{where} must be text, such as "08:00-20:00"; got {shown(text)}.'
        raise InvalidMessage(msg)
    windows = sorted(_window(part.strip(), where) for part in text.split(","))
    for before, after in pairwise(windows):
        if after.opens < before.closes:
            msg = (
                f"{where} has windows that overlap: one ends at {_clock(before.closes)}, and another starts "
                f"at {_clock(after.opens)}. Join them, or correct a time."
            )
            raise InvalidMessage(msg)
    return tuple(windows)


def _window(text: str, where: str) -> Window:
    times = [_wall_time(part.strip(), where) for part in text.split("-")]
    if len(times) != len(Window._fields):
        found = pluralize(len(times), "time")
        msg = f'{where} has a window of {found}. Write a start and an end, such as "08:00-20:00".'
        raise InvalidMessage(msg)
    window = Window(*times)
    if window.opens >= window.closes:
        msg = (
            f"{where} has a window from {_clock(window.opens)} to {_clock(window.closes)}: it must end later "
            'than it starts. For a window over midnight, write one to "24:00", and one from "00:00" on the '
            "next day."
        )
        raise InvalidMessage(msg)
    return window


def _wall_time(text: str, where: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        msg = (
            f'{where} must be a window such as "08:00-20:00", or several with commas between them; got '
            f"{shown(text)} for a time, which must be HH:MM, from 00:00 to 24:00."
        )
        raise InvalidMessage(msg)
    return int(text[:2]) * _HOUR + int(text[3:]) * _MINUTE


def _clock(second: int) -> str:
    return f"{second // _HOUR:02}:{second % _HOUR // _MINUTE:02}"


def _dates(days: object) -> tuple[date, ...]:
    """Read dates, and return each once, in their order."""
    if not isinstance(days, Iterable) or isinstance(days, (str, Mapping)):
        msg = f'extra_holidays must be a list of dates, such as ["2026-11-04"]; got {shown(days)}.'
        raise InvalidMessage(msg)
    return tuple(sorted({_date(day, f"extra_holidays[{index}]") for index, day in enumerate(days)}))


def _date(day: object, where: str) -> date:
    if isinstance(day, date) and not isinstance(day, datetime):
        return date(day.year, day.month, day.day)
    is_date_like = isinstance(day, str) and _DATE.fullmatch(day)
    try:
        if isinstance(day, str) and is_date_like:
            return date.fromisoformat(day)
    except ValueError:
        pass
    msg = (
        f'{where} must be a date, or its text, such as "2026-11-04"; got '
        f"{repr(day) if is_date_like else shown(day)}."
    )
    raise InvalidMessage(msg)
