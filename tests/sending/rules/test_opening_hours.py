"""When texts may go out: the edges of windows, holidays, changes of the clock, and what is refused."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import time
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pendulum
import pytest

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.sending.rules.calendar import OpeningHours
from tests.sending.rules.plain_calendar import DAYS_OF_ELECTIONS, south_african_holidays

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKETING = OpeningHours.south_african_marketing()
WITH_MORE = OpeningHours.south_african_marketing([date(2026, 3, 3), "2026-03-04"])
NUMBER = "27825550101"


def at(text: str, zone: str = "Africa/Johannesburg", fold: int = 0) -> pendulum.DateTime:
    """Return the instant at which the clock of a zone shows a time."""
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return pendulum.from_timestamp(local.timestamp())


EDGES = [
    # A Monday
    ("2026-03-02T07:59:59.999999", False),
    ("2026-03-02T08:00", True),
    ("2026-03-02T19:59:59.999999", True),
    ("2026-03-02T20:00", False),
    # A Saturday, and the Sunday after it
    ("2026-03-07T08:59", False),
    ("2026-03-07T09:00", True),
    ("2026-03-07T12:59", True),
    ("2026-03-07T13:00", False),
    ("2026-03-08T08:00", False),
    ("2026-03-08T10:00", False),
    ("2026-03-08T19:59", False),
    # Women's Day on a Sunday, the Monday on which it is observed, and the day after
    ("2026-08-09T10:00", False),
    ("2026-08-10T10:00", False),
    ("2026-08-11T10:00", True),
    # The day of local elections, a Wednesday
    ("2026-11-03T10:00", True),
    ("2026-11-04T10:00", False),
    ("2026-11-05T10:00", True),
    # Christmas on a Friday, and the Saturday after it
    ("2026-12-24T19:59", True),
    ("2026-12-25T10:00", False),
    ("2026-12-26T10:00", False),
    ("2026-12-28T10:00", True),
    # New Year on a Sunday
    ("2023-01-02T10:00", False),
    ("2023-01-03T10:00", True),
]


@pytest.mark.parametrize(("text", "is_open"), EDGES)
def test_south_african_marketing_is_open_within_its_windows_and_outside_holidays(
    text: str, is_open: bool
) -> None:
    assert MARKETING.is_open(at(text)) is is_open


@pytest.mark.parametrize("text", ["2026-03-03T10:00", "2026-03-04T10:00"])
def test_extra_holidays_are_closed_given_as_dates_and_as_texts(text: str) -> None:
    assert MARKETING.is_open(at(text))
    assert not WITH_MORE.is_open(at(text))


@pytest.mark.parametrize("year", [2024, 2025, 2026])
def test_the_public_holidays_are_those_of_the_act_and_of_elections(year: int) -> None:
    days = {date(year, 1, 1) + timedelta(days=day) for day in range(365)} | {date(year, 12, 31)}
    always = OpeningHours({"mon-sun": "00:00-24:00"}, "Africa/Johannesburg", "ZA")
    closed = {day for day in days if not always.windows_on(day)}
    assert closed == south_african_holidays(year) | (DAYS_OF_ELECTIONS & days)


@pytest.mark.parametrize("year", range(2027, 2031))
def test_the_public_holidays_of_the_act_are_closed_in_years_to_come(year: int) -> None:
    assert not [day for day in south_african_holidays(year) if MARKETING.windows_on(day)]


def test_a_holiday_that_is_observed_in_the_year_before_is_closed() -> None:
    """The first day of 2022 was a Saturday."""
    hours = OpeningHours({"mon-fri": "09:00-17:00"}, "America/New_York", "US")
    assert not hours.is_open(at("2021-12-31T12:00", "America/New_York"))
    assert hours.is_open(at("2021-12-30T12:00", "America/New_York"))


NEXT = [
    ("2026-08-07T07:00", "2026-08-07T08:00"),
    ("2026-08-07T20:00", "2026-08-08T09:00"),
    # Saturday, over a Sunday and an observed Monday
    ("2026-08-08T13:00", "2026-08-11T08:00"),
    # The evening before the elections
    ("2026-11-03T20:00", "2026-11-05T08:00"),
    # Christmas Eve, over two holidays and a Sunday
    ("2026-12-24T20:00", "2026-12-28T08:00"),
]


@pytest.mark.parametrize(("closed", "opening"), NEXT)
def test_the_next_opening_is_the_start_of_the_next_window_in_utc(closed: str, opening: str) -> None:
    found = MARKETING.next_opening(at(closed))
    assert found == at(opening)
    assert found.timezone_name == "UTC"


def test_the_next_opening_from_within_the_hours_is_the_instant_itself() -> None:
    instant = at("2026-03-02T08:00").add(microseconds=1).in_timezone("Asia/Tokyo")
    assert MARKETING.next_opening(instant) is instant


def test_hours_close_at_the_end_of_their_window_in_utc() -> None:
    assert MARKETING.closes_at(at("2026-08-07T08:00")) == at("2026-08-07T20:00")
    found = MARKETING.closes_at(at("2026-08-08T12:59").in_timezone("America/New_York"))
    assert found == at("2026-08-08T13:00")
    assert found.timezone_name == "UTC"


def test_windows_that_touch_close_together_also_over_midnight() -> None:
    hours = OpeningHours({"mon": "12:00-24:00, 08:00-12:00", "tue": "00:00-02:00, 03:00-04:00"}, "Asia/Tokyo")
    assert hours.closes_at(at("2026-03-02T09:00", "Asia/Tokyo")) == at("2026-03-03T02:00", "Asia/Tokyo")


def test_hours_that_are_always_open_count_as_closed_after_400_days() -> None:
    always = OpeningHours({"mon-sun": "00:00-24:00"}, "Europe/Berlin")
    now = at("2026-03-02T09:00")
    assert always.next_opening(now) is now
    assert always.closes_at(now) == now.add(days=400)


def test_without_a_country_public_holidays_are_open() -> None:
    hours = OpeningHours({"fri": "08:00-20:00"}, "Africa/Johannesburg")
    assert hours.is_open(at("2026-12-25T10:00"))


def test_a_range_of_days_may_go_over_sunday() -> None:
    hours = OpeningHours({"SAT-mon": "08:00-20:00", "wed": "10:00-11:00"}, "UTC")
    opened = [hours.is_open(at(f"2026-03-0{day}T10:00", "UTC")) for day in range(2, 9)]
    assert opened == [True, False, True, False, False, True, True]


BERLIN = "Europe/Berlin"
CLOCK_CHANGES = [
    # Zone, hours of each day, an instant in UTC, the openings and closings that follow
    # 29 March, 02:00 becomes 03:00: a start and an end that are skipped, and a window that is skipped whole
    (BERLIN, "02:30-04:00", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-29T02:00"]),
    (BERLIN, "01:00-02:30", "2026-03-28T12:00", ["2026-03-29T00:00", "2026-03-29T01:00"]),
    (BERLIN, "02:10-02:50", "2026-03-28T12:00", ["2026-03-30T00:10", "2026-03-30T00:50"]),
    (BERLIN, "01:00-04:00", "2026-03-28T12:00", ["2026-03-29T00:00", "2026-03-29T02:00"]),
    (BERLIN, "01:00-02:00,03:00-04:00", "2026-03-28T12:00", ["2026-03-29T00:00", "2026-03-29T02:00"]),
    # 25 October, 03:00 becomes 02:00: a start, an end and a window that are repeated
    (BERLIN, "02:30-05:00", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30"]),
    (BERLIN, "01:00-02:30", "2026-10-24T12:00", ["2026-10-24T23:00", "2026-10-25T00:30", "2026-10-25T01:00"]),
    (BERLIN, "02:10-02:50", "2026-10-25T00:55", ["2026-10-25T01:10", "2026-10-25T01:50"]),
    (BERLIN, "01:00-04:00", "2026-10-24T12:00", ["2026-10-24T23:00", "2026-10-25T03:00"]),
    # Half an hour is skipped.
    ("Australia/Lord_Howe", "02:15-03:00", "2026-10-03T12:00", ["2026-10-03T15:30", "2026-10-03T16:00"]),
    # Midnight is skipped.
    ("America/Sao_Paulo", "00:00-02:00", "2018-11-03T12:00", ["2018-11-04T03:00", "2018-11-04T04:00"]),
    # One minute after midnight, it is 23:01 on the day before.
    ("America/St_Johns", "00:00-00:30", "2010-11-06T12:00", ["2010-11-07T02:30", "2010-11-07T02:31"]),
    ("America/St_Johns", "00:00-00:30", "2010-11-07T02:31", ["2010-11-07T03:30", "2010-11-07T04:00"]),
    # Samoa had no 30 December 2011.
    ("Pacific/Apia", "08:00-20:00", "2011-12-30T06:00", ["2011-12-30T18:00", "2011-12-31T06:00"]),
]


@pytest.mark.parametrize(("zone", "windows", "begin", "changes"), CLOCK_CHANGES)
def test_a_window_opens_and_closes_by_the_wall_clock_when_the_clock_is_changed(
    zone: str, windows: str, begin: str, changes: list[str]
) -> None:
    hours = OpeningHours({"mon-sun": windows}, zone)
    instant, found = at(begin, "UTC"), []
    for _ in changes:
        instant = hours.closes_at(instant) if hours.is_open(instant) else hours.next_opening(instant)
        found.append(instant)
    assert found == [at(each, "UTC") for each in changes]


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati"])
def _host_zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_host_zone")
def test_the_zone_of_the_machine_does_not_matter() -> None:
    hours = OpeningHours.south_african_marketing(["2026-03-10"])
    for text, is_open in EDGES:
        for zone in ("UTC", "Pacific/Apia", "America/New_York"):
            assert hours.is_open(at(text).in_timezone(zone)) is is_open, text
    for closed, opening in NEXT:
        assert hours.next_opening(at(closed)) == at(opening)


def test_an_instant_may_be_in_any_zone_and_may_be_a_repeated_time() -> None:
    hours = OpeningHours({"sun": "01:15-01:45"}, "UTC")
    local = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo(BERLIN))
    assert not hours.is_open(pendulum.instance(local, tz=BERLIN))
    assert hours.is_open(pendulum.instance(local.replace(fold=1), tz=BERLIN))


def test_opening_hours_pickle_copy_and_hash_by_what_they_mean() -> None:
    hours = OpeningHours(
        {"sat": "09:00-13:00", "mon-thu": "08:00-12:00,12:00-20:00", "fri": "08:00-12:00, 12:00-20:00"},
        "Africa/Johannesburg",
        extra_holidays=["2026-03-04", date(2026, 3, 3), "2026-03-03"],
    )
    same = OpeningHours(
        {"mon-fri": "08:00-12:00,12:00-20:00", "sat": "09:00-13:00"},
        "Africa/Johannesburg",
        extra_holidays=[pendulum.date(2026, 3, 3), "2026-03-04"],
    )
    assert hours == same
    copies = (pickle.loads(pickle.dumps(hours)), copy.deepcopy(hours))  # noqa: S301 - our own pickle
    assert {hours, same, *copies} == {hours}
    assert copies[0].hours == hours.hours
    assert hours != OpeningHours(hours.hours, hours.time_zone, "ZA", hours.extra_holidays)


def test_opening_hours_cannot_be_changed_from_outside() -> None:
    week = {"mon": "08:00-20:00"}
    hours = OpeningHours(week, "UTC")
    week["tue"] = "08:00-20:00"
    assert hours.hours == {"mon": "08:00-20:00"}
    with pytest.raises(TypeError):
        hours.hours["tue"] = "08:00-20:00"  # type: ignore[index] # the mistake that is refused


def test_opening_hours_in_a_dag_file_load_no_holidays_and_no_time_zones() -> None:
    script = (
        "import sys; from airflow_provider_winsms.sending.rules.calendar import OpeningHours;"
        "OpeningHours.south_african_marketing(['2026-03-03']); print(*sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"holidays", "dateutil", "pendulum", "zoneinfo"} & set(found.stdout.split())


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"hours": {}}, "hours must be a mapping of days to windows"),
    ({"hours": "08:00-20:00"}, "hours must be a mapping of days to windows"),
    ({"hours": {"mon-fry": "08:00-20:00"}}, "hours has the key 'mon-fry'"),
    ({"hours": {"mon-fry": "08:00-20:00"}}, "Did you mean 'fri'?"),
    ({"hours": {"mon-wed-fri": "08:00-20:00"}}, "hours has the key 'mon-wed-fri'"),
    ({"hours": {"": "08:00-20:00"}}, "hours has the key ''"),
    ({"hours": {1: "08:00-20:00"}}, "hours has the key 1"),
    ({"hours": {"mon-fri": "08:00-20:00", "wed": "09:00-10:00"}}, "hours names 'wed' twice"),
    ({"hours": {"mon": None}}, "hours['mon'] must be text"),
    ({"hours": {"mon": ""}}, "got '' for a time"),
    ({"hours": {"mon": "8:00-20:00"}}, "got '8:00' for a time"),
    ({"hours": {"mon": "08:00-25:00"}}, "got '25:00' for a time"),
    ({"hours": {"mon": "08:00-24:01"}}, "got '24:01' for a time"),
    ({"hours": {"mon": "08:60-20:00"}}, "got '08:60' for a time"),
    ({"hours": {"mon": "08:00"}}, "hours['mon'] has a window of 1 time."),
    ({"hours": {"mon": "08:00-12:00-13:00"}}, "hours['mon'] has a window of 3 times."),
    ({"hours": {"mon": "08:00-12:00,"}}, "got '' for a time"),
    ({"hours": {"mon": "٠٨:00-12:00"}}, "got '٠٨:00' for a time"),
    ({"hours": {"mon": "20:00-08:00"}}, "hours['mon'] has a window from 20:00 to 08:00"),
    ({"hours": {"mon": "08:00-08:00"}}, "hours['mon'] has a window from 08:00 to 08:00"),
    ({"hours": {"mon": "08:00-12:00,11:59-13:00"}}, "one ends at 12:00, and another starts at 11:59"),
    ({"time_zone": ""}, "time_zone must be an IANA name"),
    ({"time_zone": None}, "time_zone must be an IANA name"),
    ({"country": "za"}, "country must be two capital letters, such as \"ZA\", or None; got 'za'"),
    ({"country": "South Africa"}, "country must be two capital letters"),
    ({"country": 27}, "country must be two capital letters"),
    ({"extra_holidays": "2026-03-03"}, "extra_holidays must be a list of dates"),
    ({"extra_holidays": None}, "extra_holidays must be a list of dates"),
    ({"extra_holidays": ["2026-03-03", "2026-02-30"]}, "extra_holidays[1] must be a date"),
    ({"extra_holidays": ["2026-02-30"]}, "got '2026-02-30'"),
    ({"extra_holidays": ["20260303"]}, "extra_holidays[0] must be a date"),
    ({"extra_holidays": [datetime(2026, 3, 3, tzinfo=ZoneInfo("UTC"))]}, "extra_holidays[0] must be a date"),
    ({"extra_holidays": [20260303]}, "extra_holidays[0] must be a date"),
]


@pytest.mark.parametrize(("given", "words"), REFUSED)
def test_invalid_opening_hours_are_refused_when_they_are_made(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        OpeningHours(**{"hours": {"mon": "08:00-20:00"}, "time_zone": "UTC", **given})
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"hours": NUMBER},
        {"hours": {NUMBER: "08:00-20:00"}},
        {"hours": {"mon": NUMBER}},
        {"hours": {"mon": f"08:00-{NUMBER}"}},
        {"time_zone": int(NUMBER)},
        {"country": NUMBER},
        {"extra_holidays": [NUMBER]},
        {"extra_holidays": NUMBER},
    ],
)
def test_an_error_shows_no_phone_number(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage) as refused:
        OpeningHours(**{"hours": {"mon": "08:00-20:00"}, "time_zone": "UTC", **given})
    assert NUMBER not in str(refused.value)


@pytest.mark.parametrize("zone", ["Africa/Joburg", "Africa", "local", "../UTC"])
def test_an_unknown_time_zone_is_refused_by_the_check_and_by_questions(zone: str) -> None:
    hours = OpeningHours({"mon": "08:00-20:00"}, zone)
    for ask in (hours.check, lambda: hours.is_open(at("2026-03-02T08:00"))):
        with pytest.raises(InvalidMessage, match="time_zone is unknown"):
            ask()


def test_an_unknown_country_is_refused_by_the_check_and_by_questions() -> None:
    hours = OpeningHours({"mon": "08:00-20:00"}, "UTC", "ZZ")
    for ask in (hours.check, lambda: hours.is_open(at("2026-03-02T08:00"))):
        with pytest.raises(InvalidMessage, match="public holidays of the country 'ZZ' are unknown"):
            ask()


def test_known_zones_and_countries_pass_the_check() -> None:
    MARKETING.check()


def test_hours_without_an_opening_in_400_days_are_an_error_that_says_what_to_do() -> None:
    days = [date(2026, 3, 2) + timedelta(weeks=week) for week in range(60)]
    hours = OpeningHours({"mon": "08:00-20:00"}, "UTC", extra_holidays=days)
    with pytest.raises(InvalidMessage, match=r"no window in the 400 days after 2026-03-02T09:00:00\+00:00"):
        hours.next_opening(at("2026-03-02T09:00", "UTC"))


def test_an_opening_exactly_400_days_ahead_is_found_and_none_later() -> None:
    opening = at("2027-04-05T08:00", "UTC")
    days = [opening.date() - timedelta(weeks=week) for week in range(1, 60)]
    hours = OpeningHours({"mon": "08:00-20:00"}, "UTC", extra_holidays=days)
    assert hours.next_opening(opening.subtract(days=400)) == opening
    with pytest.raises(InvalidMessage, match="no window in the 400 days"):
        hours.next_opening(opening.subtract(days=400, seconds=1))


def test_a_closed_instant_has_no_end_of_a_window() -> None:
    with pytest.raises(InvalidMessage, match="2026-03-02T18:00:00"):
        MARKETING.closes_at(at("2026-03-02T20:00"))


def test_a_time_without_a_zone_is_refused() -> None:
    naive = pendulum.naive(2026, 3, 2, 9)
    for ask in (MARKETING.is_open, MARKETING.next_opening, MARKETING.closes_at):
        with pytest.raises(InvalidMessage, match="Give the time a zone"):
            ask(naive)
