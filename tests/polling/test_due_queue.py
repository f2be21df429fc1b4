"""The queue of due ids: each once, in few requests, and after a failure on from where it stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow_provider_winsms.delivery.tracker import DeliveryTracker
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState
from airflow_provider_winsms.polling.due_queue import DueQueue
from airflow_provider_winsms.polling.subscriptions import Subscriptions
from tests.support.virtual_time import BEGINNING, in_virtual_time
from tests.support.waits import BOOK, FIRST_AT, OTHER_BOOK, now, subscription, until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.polling.subscriptions import AnySubscription


async def queue_of(*waits: AnySubscription) -> tuple[DueQueue, Subscriptions]:
    subscriptions = Subscriptions()
    queue = DueQueue(subscriptions, now)
    for one in waits:
        await subscriptions.add(one)
        queue.put(one)
    return queue, subscriptions


async def due(queue: DueQueue, size: int = 4) -> list[list[MessageId]]:
    return [list(ids) for ids in await queue.requests(size)]


@in_virtual_time
async def test_a_wait_whose_last_id_has_left_is_not_asked_for_again_after_a_failure() -> None:
    queue, _ = await queue_of(subscription(range(4), pause=600.0), subscription(range(4, 8), pause=600.0))
    await until(FIRST_AT)
    requests = await queue.requests(4)
    next(requests)
    requests.close()
    assert await due(queue) == [[4, 5, 6, 7]]


@in_virtual_time
async def test_an_answered_id_is_not_asked_for_again_where_another_wait_of_it_is_stopped() -> None:
    queue, _ = await queue_of(subscription([5], pause=600.0), subscription(range(10), pause=600.0))
    await until(FIRST_AT)
    requests = await queue.requests(8)
    assert next(requests) == [5, 0, 1, 2, 3, 4, 6, 7]
    requests.close()
    assert await due(queue) == [[8, 9]]


@in_virtual_time
async def test_ids_without_an_answer_come_last_and_once() -> None:
    queue, _ = await queue_of(subscription(range(4), pause=600.0), subscription(range(4, 12), pause=600.0))
    await until(FIRST_AT)
    requests = await queue.requests(4)
    first, second = next(requests), next(requests)
    requests.close()
    for _ in range(2):
        queue.put_back(first)
        queue.put_back(second)
    assert await due(queue) == [[8, 9, 10, 11], [0, 1, 2, 3], [4, 5, 6, 7]]
    assert await due(queue) == []


@in_virtual_time
async def test_ids_without_an_answer_that_are_known_meanwhile_are_left_out() -> None:
    one, gone = subscription(range(4)), subscription([7])
    queue, subscriptions = await queue_of(one, gone)
    await until(FIRST_AT)
    await due(queue)
    queue.put_back([0, 1, 2, 3, 7])
    one.record([DeliveryReport(2, DeliveryState.DELIVERED)], now())
    subscriptions.remove(gone)
    assert await due(queue) == [[0, 1, 3]]


@in_virtual_time
async def test_waits_whose_ledger_is_held_are_left_out_of_the_requests_to_come() -> None:
    held, other = subscription(range(6), ledger=BOOK), subscription([10, 11], ledger=OTHER_BOOK)
    queue, subscriptions = await queue_of(held, other)
    await until(FIRST_AT)
    requests = await queue.requests(4)
    next(requests)
    assert await subscriptions.hold(BOOK, {held}, now() + 30, "away") == 1
    assert list(requests) == [[10, 11]]
    await until(FIRST_AT + 30)
    assert await due(queue, 10) == [[*range(6)]]


@in_virtual_time
async def test_a_stopped_wait_that_is_held_asks_for_all_its_ids_when_the_hold_is_over() -> None:
    one = subscription(range(8), pause=600.0, ledger=BOOK)
    queue, subscriptions = await queue_of(one)
    await until(FIRST_AT)
    requests = await queue.requests(4)
    next(requests)
    requests.close()
    await subscriptions.hold(BOOK, (), now() + 30, "away")
    assert await due(queue) == []
    await until(FIRST_AT + 30)
    assert await due(queue) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@in_virtual_time
async def test_it_sleeps_until_the_next_ids_are_due_and_wakes_for_one_that_comes_earlier() -> None:
    queue, subscriptions = await queue_of(subscription([1]))
    sleeping = asyncio.create_task(queue.sleep())
    await until(BEGINNING + 1)
    early = subscription([2], first_at=BEGINNING + 3)
    await subscriptions.add(early)
    queue.put(early)
    await sleeping
    assert now() == BEGINNING + 3
    assert await due(queue) == [[2]]
    await queue.sleep()
    assert now() == FIRST_AT


@in_virtual_time
async def test_in_a_pause_only_the_end_of_a_wait_wakes_it() -> None:
    queue, _ = await queue_of(subscription([1], first_at=now(), lasts=20.0))
    queue.pause(100.0)
    assert queue.is_paused
    await queue.sleep()
    assert now() == BEGINNING + 20


class CountedOpenIds(DeliveryTracker):
    """Counts the open ids that are gone through."""

    count = 0

    def open_ids(self, after: MessageId | None = None) -> Iterator[MessageId]:
        for message_id in super().open_ids(after):
            self.count += 1
            yield message_id


@in_virtual_time
async def test_after_a_failure_no_more_ids_are_gone_through_than_are_asked_for() -> None:
    """To put a million back in one go would block the event loop for a second."""
    one = subscription([0], pause=600.0)
    one.tracker = tracker = counted_ids(range(100_000))
    queue, _ = await queue_of(one)
    await until(FIRST_AT)
    for place in range(3):
        requests = await queue.requests(1000)
        assert next(requests)[0] == 1000 * place
        requests.close()
        assert tracker.count <= 1010 * (place + 1)


def counted_ids(ids: Iterable[MessageId]) -> CountedOpenIds:
    return CountedOpenIds(ids, min_delivered=1.0, grace_until=BEGINNING, not_found_holds=120.0)
