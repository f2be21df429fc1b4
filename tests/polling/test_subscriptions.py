"""The waits of a poll: who holds an id, who has left, and who is held back."""

from __future__ import annotations

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.polling.subscriptions import JITTER, TICK, Subscriptions
from tests.support.virtual_time import BEGINNING, in_virtual_time
from tests.support.waits import BOOK, FIRST_AT, OTHER_BOOK, now, subscription


@in_virtual_time
async def test_an_id_belongs_to_all_waits_that_hold_it() -> None:
    waits, one, other = Subscriptions(), subscription([1, 2]), subscription([2, 3])
    await waits.add(one)
    assert waits.is_only_owner(one, 2)
    await waits.add(other)
    assert [waits.of(1), waits.of(3), waits.of(4)] == [[one], [other], []]
    assert set(waits.of(2)) == {one, other}
    assert not waits.is_only_owner(one, 2)


@in_virtual_time
async def test_one_that_is_removed_gets_nothing_even_before_its_ids_are_released() -> None:
    waits, one, other = Subscriptions(), subscription([1, 2]), subscription([2])
    for each in (one, other):
        await waits.add(each)
    waits.remove(one)
    assert len(waits) == 1
    assert [waits.of(1), waits.of(2)] == [[], [other]]
    await waits.release_ids(one)
    assert [waits.of(1), waits.of(2)] == [[], [other]]
    assert [each async for each in waits.active()] == [other]


@in_virtual_time
async def test_one_that_has_ended_is_not_active_and_an_end_is_final() -> None:
    waits, one, other = Subscriptions(), subscription([1]), subscription([2])
    for each in (one, other):
        await waits.add(each)
    one.end()
    error = ConfigurationError("The key is wrong.")
    await waits.end_where(lambda _: True, error, "Nothing is known.")
    assert one.ended.exception() is None
    assert other.ended.exception() is error
    assert [one.trouble, other.trouble] == ["", "Nothing is known."]
    assert [each async for each in waits.active()] == []


@in_virtual_time
async def test_the_waits_of_a_held_ledger_are_due_when_the_hold_is_over_or_later() -> None:
    waits = Subscriptions()
    lost, later, other = (subscription([1], ledger=ledger) for ledger in (BOOK, BOOK, OTHER_BOOK))
    for each in (lost, later, other):
        await waits.add(each)
        each.due_at = now() + 500
    assert await waits.hold(BOOK, {lost}, now() + 30, "The database is away.") == 2
    assert [each.due_at - now() for each in (lost, later, other)] == [30, 500, 500]
    assert [each.trouble for each in (lost, later, other)] == ["The database is away."] * 2 + [""]
    assert not waits.is_being_held(lost)


@in_virtual_time
async def test_a_wait_is_due_at_its_time_and_at_the_last_tick_before_its_end() -> None:
    one = subscription([1, 2], lasts=100.0)
    one.due_at = FIRST_AT
    assert [one.is_due(FIRST_AT - 1), one.is_due(FIRST_AT)] == [False, True]
    assert list(one.take_ids(FIRST_AT)) == [1, 2]
    assert one.due_at == FIRST_AT + 60
    assert list(one.take_ids(FIRST_AT + 60)) == [1, 2]
    assert one.due_at == one.end_at == BEGINNING + 100
    last = one.end_at - TICK * (1 + JITTER)
    assert [one.is_due(last - 0.1), one.is_due(last)] == [False, True]


@pytest.mark.parametrize("is_due_again", [False, True])
@in_virtual_time
async def test_a_stopped_wait_asks_for_the_rest_at_once_and_for_all_when_it_is_due_again(
    is_due_again: bool,
) -> None:
    one = subscription(range(5))
    one.due_at = FIRST_AT
    one.take_ids(FIRST_AT)
    one.interrupted_after = 2
    assert one.asks_at < FIRST_AT
    assert list(one.take_ids(FIRST_AT + 60 * is_due_again)) == ([*range(5)] if is_due_again else [3, 4])
    assert one.asks_at == FIRST_AT + 60 * (1 + is_due_again)
