"""What a reading of another clock proves, whatever the time its answer took."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import ClocksDiffer
from airflow_provider_winsms.runtime import ClockReading, check_agreement

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TOLERANCE = timedelta(seconds=30)

differences = st.timedeltas(timedelta(days=-2), timedelta(days=2))
short = st.timedeltas(timedelta(0), timedelta(minutes=1))


def reading_of(difference: timedelta, to: timedelta, back: timedelta) -> ClockReading:
    """Read a clock that shows whole seconds, and is ahead by a difference."""
    shown = (NOON + to + difference).replace(microsecond=0)
    return ClockReading("its clock", shown, NOON, NOON + to + back, SECOND)


@given(differences, short, short)
def test_a_difference_is_never_more_than_it_is_and_not_much_less(
    difference: timedelta, to: timedelta, back: timedelta
) -> None:
    least = reading_of(difference, to, back).least_difference
    assert least == timedelta(0) or (least > timedelta(0)) is (difference > timedelta(0))
    assert abs(difference) - (to + back + SECOND) <= abs(least) <= abs(difference)


@given(differences)
def test_clocks_within_the_tolerance_are_never_refused_and_others_are(difference: timedelta) -> None:
    reading = reading_of(difference, timedelta(0), timedelta(0))
    if abs(difference) <= TOLERANCE:
        check_agreement(reading, TOLERANCE)
    elif abs(difference) > TOLERANCE + SECOND:
        with pytest.raises(ClocksDiffer):
            check_agreement(reading, TOLERANCE)


@given(st.timedeltas(timedelta(minutes=-14), timedelta(minutes=14)), st.integers(-28, 28))
def test_a_time_in_an_unknown_zone_proves_what_is_left_of_half_hours(
    difference: timedelta, half_hours: int
) -> None:
    reading = reading_of(difference, timedelta(0), timedelta(0))._replace(
        resolution=timedelta(0), is_zone_known=False
    )
    shifted = reading._replace(shown=reading.shown + half_hours * timedelta(minutes=30))
    assert shifted.least_difference == reading.least_difference
    assert abs(shifted.least_difference - difference) <= SECOND


def test_the_error_names_both_readings_in_one_zone_and_the_way_out() -> None:
    elsewhere = datetime.fromisoformat("2026-03-02T14:05:00+02:00")
    with pytest.raises(ClocksDiffer) as caught:
        check_agreement(ClockReading("the clock of WinSMS", elsewhere, NOON, NOON), TOLERANCE)
    words = str(caught.value)
    assert "2026-03-02T12:00:00+00:00" in words
    assert "the clock of WinSMS showed 2026-03-02T12:05:00+00:00" in words
    assert "300 seconds apart" in words
    assert "Nothing more was submitted" in words
    assert not caught.value.is_permanent
