"""Every minute of seven years obeys the hours of South African marketing, which stand here a second time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pendulum
import pytest
from holidays import country_holidays

from airflow_provider_winsms.sending.rules.calendar import OpeningHours
from tests.prove.whole import IS_WHOLE
from tests.sending.rules.plain_calendar import DAYS_OF_ELECTIONS, PlainCalendar, south_african_holidays

YEARS = range(2024, 2031)
BEGIN = datetime(YEARS[0], 1, 1, tzinfo=ZoneInfo("Africa/Johannesburg")).astimezone(UTC)
DAYS = [date(YEARS[0], 1, 1) + timedelta(days=day) for day in range(7 * 365 + 2)]
CLOCKS = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(60)]

STEP = 1 if IS_WHOLE else 11
"""Minutes. 11 has no divisor in common with the minutes of a week: the steps meet each of them."""

MARKETING = OpeningHours.south_african_marketing()


@pytest.fixture(scope="module")
def expected() -> bytes:
    """For each minute from 2024 to 2030, 1 if the hours are open. South Africa does not change its clocks."""
    # Elections of the years to come are not declared yet. Later releases of the library will know them.
    to_come = {day for day in country_holidays("ZA", years=YEARS) if day.year > 2026}
    weekdays = {day: [("08:00", "20:00")] for day in range(5)}
    plain = PlainCalendar(
        weekdays | {5: [("09:00", "13:00")]},
        ZoneInfo("Africa/Johannesburg"),
        DAYS_OF_ELECTIONS.union(to_come, *map(south_african_holidays, YEARS)),
    )
    return bytes(plain.shows(day, clock) for day in DAYS for clock in CLOCKS)


def minute_of(instant: datetime) -> int:
    """Return the minutes from the begin of the seven years to an instant without seconds."""
    minutes, rest = divmod(int(instant.timestamp() * 1000) - int(BEGIN.timestamp()) * 1000, 60_000)
    assert not rest
    return minutes


def test_openings_and_closings_one_after_another_cover_exactly_the_open_minutes(expected: bytes) -> None:
    found = bytearray(len(expected))
    instant = pendulum.instance(BEGIN)
    while (begin := minute_of(opening := MARKETING.next_opening(instant))) < len(found):
        instant = MARKETING.closes_at(opening)
        found[begin : minute_of(instant)] = b"\x01" * (minute_of(instant) - begin)
    assert found == expected


def test_each_minute_of_the_week_is_open_when_it_must_be(expected: bytes) -> None:
    begin = int(BEGIN.timestamp())
    found = bytes(
        MARKETING.is_open(pendulum.from_timestamp(begin + 60 * minute))
        for minute in range(0, len(expected), STEP)
    )
    assert found == expected[::STEP]
