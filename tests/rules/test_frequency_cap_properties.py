"""A cap holds for any times of any texts: no window of its length has more texts than it allows."""

from __future__ import annotations

from datetime import timedelta

import pendulum
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.ledger.base import TextLimit
from airflow_provider_winsms.ledger.reservations import is_within

START = pendulum.datetime(2026, 3, 2)
PER = 6
minutes = st.integers(0, 30)


def busiest(times: list[int]) -> int:
    """Return the most texts in any window of ``PER`` minutes, counted minute by minute."""
    return max(sum(start <= time < start + PER for time in times) for start in range(-PER, 31))


def at(minute: int) -> pendulum.DateTime:
    return START.add(minutes=minute)


@given(st.lists(minutes, max_size=12), minutes, st.integers(1, 4))
def test_a_text_is_taken_out_only_if_a_window_with_it_has_too_many(
    others: list[int], due_at: int, most: int
) -> None:
    times = sorted(map(at, others))
    limit = TextLimit(most, timedelta(minutes=PER))
    around = [time for time in others if abs(time - due_at) < PER]
    with_it = max(
        sum(start <= time < start + PER for time in [*around, due_at])
        for start in range(due_at - PER + 1, due_at + 1)
    )
    assert is_within(limit, times, at(due_at)) == (with_it <= most)


@given(st.lists(minutes, max_size=40), st.integers(1, 4))
def test_texts_that_keep_to_a_cap_one_by_one_keep_to_it_together(wanted: list[int], most: int) -> None:
    limit = TextLimit(most, timedelta(minutes=PER))
    kept: list[int] = []
    for minute in wanted:
        if is_within(limit, sorted(map(at, kept)), at(minute)):
            kept.append(minute)
    assert busiest(kept) <= most
    assert not wanted or kept
