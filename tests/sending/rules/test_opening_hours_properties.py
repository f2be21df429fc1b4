"""Any hours, in zones that change their clocks, open and close when a look at each minute says so."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pendulum
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.sending.rules.calendar import OpeningHours
from tests.sending.rules.plain_calendar import PlainCalendar

if TYPE_CHECKING:
    from collections.abc import Callable

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HORIZON = timedelta(days=5)

CHANGES = {
    "Africa/Johannesburg": ["2026-01-01T00:00"],
    "Africa/Cairo": ["2026-04-23T22:00", "2026-10-29T21:00"],
    "Africa/Casablanca": ["2026-02-15T02:00", "2026-03-22T02:00"],
    "America/New_York": ["2026-03-08T07:00", "2026-11-01T06:00"],
    "America/Sao_Paulo": ["2018-11-04T03:00", "2019-02-17T02:00"],
    "America/St_Johns": ["2010-03-14T03:31", "2010-11-07T02:31"],
    "Antarctica/Troll": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "Asia/Beirut": ["2026-03-28T22:00", "2026-10-24T21:00"],
    "Asia/Kathmandu": ["1985-12-31T18:30"],
    "Australia/Lord_Howe": ["2026-04-04T15:00", "2026-10-03T15:30"],
    "Europe/Berlin": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "Pacific/Apia": ["2011-12-30T10:00"],
    "Pacific/Chatham": ["2026-04-04T14:00", "2026-09-26T14:00"],
}
"""Zones, with instants in UTC at which some of them change their clocks."""


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def days(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Draw the windows of a day. Some touch; many begin and end at night, when clocks are changed."""
    minutes = st.integers(0, 1440) | st.integers(0, 240) | st.sampled_from([0, 60, 120, 180, 1380, 1440])
    edges = sorted(draw(st.sets(minutes, min_size=2, max_size=5)))
    kept = [pair for pair in pairwise(edges) if draw(st.booleans())] or [(edges[0], edges[-1])]
    return [(clock(start), clock(end)) for start, end in kept]


weeks = st.dictionaries(st.integers(0, 6), days(), min_size=1)


@st.composite
def instants(draw: st.DrawFn) -> tuple[str, datetime]:
    """Draw a zone, and an instant, mostly near one at which the zone changes its clocks."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    near = datetime.fromisoformat(draw(st.sampled_from(CHANGES[zone]))).replace(tzinfo=UTC)
    some = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
    distances = st.timedeltas(timedelta(days=-2), timedelta(days=1)) | st.integers(-180, 180).map(
        lambda minutes: timedelta(minutes=minutes)
    )
    return zone, draw(distances.map(lambda distance: near + distance) | some)


def both(
    zone: str, week: dict[int, list[tuple[str, str]]], closed: set[date]
) -> tuple[OpeningHours, PlainCalendar]:
    hours = {DAYS[day]: ", ".join(f"{start}-{end}" for start, end in week[day]) for day in week}
    plain = PlainCalendar(week, ZoneInfo(zone), closed)
    return OpeningHours(hours, zone, extra_holidays=sorted(closed)), plain


def holidays_near(instant: datetime) -> st.SearchStrategy[set[date]]:
    return st.sets(st.integers(-1, 6).map(lambda day: instant.date() + timedelta(days=day)), max_size=2)


ALWAYS = {day: [("00:00", "24:00")] for day in range(7)}


@given(instants(), weeks, st.data())
def test_an_instant_is_open_when_the_wall_clock_is_within_a_window(
    at: tuple[str, datetime], week: dict[int, list[tuple[str, str]]], data: st.DataObject
) -> None:
    zone, instant = at
    hours, plain = both(zone, week, data.draw(holidays_near(instant)))
    for seconds in range(-7200, 7201, 600):
        moment = instant + timedelta(seconds=seconds)
        assert hours.is_open(pendulum.instance(moment)) is plain.is_open(moment)


@settings(max_examples=150)
@given(instants(), weeks, st.data())
def test_the_next_opening_and_the_end_of_a_window_are_those_that_a_look_at_each_minute_finds(
    at: tuple[str, datetime], week: dict[int, list[tuple[str, str]]], data: st.DataObject
) -> None:
    zone, instant = at
    hours, plain = both(zone, week, data.draw(holidays_near(instant)))
    moment = pendulum.instance(instant)
    if plain.is_open(instant):
        expected = plain.first(instant, is_open=False, within=HORIZON)
        assert hours.next_opening(moment) is moment
        check(hours.closes_at, moment, expected)
    else:
        check(hours.next_opening, moment, plain.first(instant, is_open=True, within=HORIZON))


def check(
    ask: Callable[[pendulum.DateTime], pendulum.DateTime],
    moment: pendulum.DateTime,
    expected: datetime | None,
) -> None:
    if expected is None:
        assert ask(moment) > moment + HORIZON
    else:
        assert ask(moment) == expected


@given(instants(), weeks)
@example(("Europe/Berlin", datetime(2026, 10, 24, tzinfo=UTC)), ALWAYS)
def test_openings_and_closings_take_turns_and_go_forward(
    at: tuple[str, datetime], week: dict[int, list[tuple[str, str]]]
) -> None:
    zone, instant = at
    hours, _ = both(zone, week, set())
    moment = pendulum.instance(instant)
    for _ in range(10):
        opening = hours.next_opening(moment)
        assert opening >= moment
        assert hours.is_open(opening)
        moment = hours.closes_at(opening)
        assert moment > opening
        assert week == ALWAYS or not hours.is_open(moment)


@given(instants(), weeks, st.sampled_from(sorted(CHANGES)))
def test_the_zone_that_an_instant_is_written_in_does_not_matter(
    at: tuple[str, datetime], week: dict[int, list[tuple[str, str]]], other: str
) -> None:
    zone, instant = at
    hours, _ = both(zone, week, set())
    moment = pendulum.instance(instant)
    elsewhere = moment.in_timezone(other)
    assert hours.is_open(elsewhere) is hours.is_open(moment)
    # Equal instants of two zones do not compare equal in an hour that a clock shows twice.
    assert hours.next_opening(elsewhere).timestamp() == hours.next_opening(moment).timestamp()
