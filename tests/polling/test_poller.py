"""The poll that all waits share, in virtual time; the gateway's own code runs, its answers are made up."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from airflow_provider_winsms.delivery.report_sink import LEDGER_RETRY_DELAY, LEDGER_WRITE_TIMEOUT
from airflow_provider_winsms.delivery.tracker import DeliveryTracker
from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    LedgerUnavailable,
    SmsError,
    UnsupportedCapability,
)
from airflow_provider_winsms.gateways.backoff import LONGEST_BACK_OFF
from airflow_provider_winsms.polling.poller import FINAL_ANSWER_GRACE, Poller
from airflow_provider_winsms.polling.subscriptions import JITTER, TICK, Subscription
from tests.support.memory_gateway import DELIVERED, FAILED, NOT_FOUND, WIDE, Asked, MemoryGateway
from tests.support.virtual_time import BEGINNING, VirtualTimeLoop, in_virtual_time
from tests.support.waits import (
    BOOK,
    FIRST_AT,
    LOG,
    OTHER_BOOK,
    Books,
    cancel,
    deliver,
    dependencies_of,
    nothing_is_left,
    now,
    poller_dependencies,
    start_waits,
    subscription,
    until,
    waited_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_winsms.ledger.base import LedgerAddress
    from airflow_provider_winsms.messages import MessageId


# Requests


@in_virtual_time
async def test_a_tick_sends_as_few_requests_as_hold_the_distinct_ids_that_are_due() -> None:
    there = MemoryGateway(WIDE)
    waits = [subscription(range(start, start + 10)) for start in range(1, 25_000, 7)]
    start_waits(there, *waits)
    await until(FIRST_AT + 5)
    asked = [message_id for ids in there.asked for message_id in ids]
    distinct = {message_id for one in waits for message_id in one.tracker.message_ids}
    assert len(asked) == len(set(asked)) == len(distinct)
    assert set(asked) == distinct
    assert len(there.requests) == ceil(len(distinct) / 1000)


@in_virtual_time
async def test_no_more_requests_are_on_their_way_than_the_connection_allows() -> None:
    there = MemoryGateway(latency=lambda: 1.0, max_concurrent_requests=3)
    start_waits(there, subscription(range(100)))
    await until(FIRST_AT + 20)
    assert len(there.requests) == 25
    assert there.most_on_their_way == 3
    assert there.times == [FIRST_AT + place // 3 for place in range(25)]


@in_virtual_time
async def test_an_id_that_several_wait_for_is_asked_once_and_told_to_all_of_them() -> None:
    there = MemoryGateway(states={7: DELIVERED})
    waits = [subscription([7, other]) for other in (1, 2, 3)]
    late = subscription([7], first_at=FIRST_AT + 1000)
    start_waits(there, *waits, late)
    await until(FIRST_AT + 1)
    assert sorted(each for ids in there.asked for each in ids) == [1, 2, 3, 7]
    assert all(list(one.tracker.open_ids()) == [other] for one, other in zip(waits, (1, 2, 3), strict=True))
    assert late.tracker.is_settled, "It was told though it was not due."


@in_virtual_time
async def test_many_may_wait_for_the_same_ids_at_no_great_cost() -> None:
    there = MemoryGateway(WIDE)
    tasks = start_waits(there, *(subscription(range(300)) for _ in range(300)))
    await until(FIRST_AT + 1)
    assert len(there.requests) == 1
    poll = Poller.of("winsms_default", poller_dependencies(there))
    assert len({id(owner) for owner in poll._subscriptions._owners.values()}) == 1, (
        "Who waits for them is noted once."
    )
    await cancel(*tasks)
    assert not poll._subscriptions._owners
    assert nothing_is_left(there)


# Rows that cannot be read


@in_virtual_time
async def test_an_unreadable_status_leaves_its_own_wait_open_and_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = MemoryGateway(WIDE, states=dict.fromkeys(range(200), DELIVERED))
    spoilt: dict[MessageId, dict[str, Any]] = {
        7: {"statusDelivered": "true"},
        50: {"statusDelivered": "n/a"},
        120: {"statusDelivered": True, "apiMessageId": None},
    }
    there.states.update(spoilt)
    waits = [subscription([each]) for each in range(200)]
    start_waits(there, *waits)
    await until(FIRST_AT + 1000)
    assert {place for place, one in enumerate(waits) if not one.tracker.is_settled} == set(spoilt)
    named = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
    assert len(named) == 1
    assert "status of 3 texts cannot be read: 7, 50, 120. Their states stay unchanged." in named[0]
    late = subscription([300], first_at=now())
    there.states[300] = DELIVERED
    start_waits(there, late)
    await until(now() + 2 * TICK)
    assert late.tracker.is_settled, "Those that stay open hold up no others."
    deliver(there, spoilt)
    await until(now() + 1000)
    assert all(one.tracker.is_settled for one in waits), "An id whose row can be read again is settled."


@in_virtual_time
async def test_a_text_that_the_gateway_forgets_for_a_moment_is_delivered_in_the_end() -> None:
    """Between being sent and delivered, long after the grace for ids just made."""
    there = MemoryGateway(WIDE)
    waits = [subscription([each]) for each in range(50)]
    tasks = start_waits(there, *waits)
    await until(FIRST_AT + 1000)
    asked = len(there.requests)
    there.states = dict.fromkeys(range(50), NOT_FOUND)
    while len(there.requests) == asked:
        await until(now() + 1)
    there.states.clear()
    await until(FIRST_AT + 2000)
    assert not any(one.tracker.is_settled for one in waits)
    deliver(there, range(50))
    await asyncio.gather(*tasks)
    assert all(one.tracker.outcome().is_success for one in waits)


# The schedule


@in_virtual_time
async def test_a_text_is_asked_for_often_while_it_is_young_and_about_90_times_on_its_first_day() -> None:
    there = MemoryGateway()
    start_waits(there, subscription([1], lasts=24 * 3600 + 1, pause=10.0))
    await until(BEGINNING + 24 * 3600)
    ages = [at - BEGINNING for at in there.times]
    pauses = [after - before for before, after in pairwise(ages)]
    assert ages[:10] == [10.0 * place for place in range(1, 11)]
    assert pauses == pytest.approx([min(3600.0, max(10.0, age / 10)) for age in ages[:-1]])
    assert 80 <= len(ages) <= 100


@in_virtual_time
async def test_a_text_of_days_is_asked_for_once_in_the_longest_pause() -> None:
    there = MemoryGateway()
    start_waits(there, subscription([1], lasts=1e6, begins_at=BEGINNING - 3 * 24 * 3600))
    await until(FIRST_AT + 24 * 3600 + 1)
    assert len(there.requests) == 25


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("pause", "tick"), [(1.0, 1.0), (3.0, 3.0), (60.0, TICK)])
@in_virtual_time
async def test_ticks_keep_their_distance_however_many_come_in_between(
    pause: float, tick: float, chance: float
) -> None:
    """And chance adds to it, so that triggerers do not ask in step."""
    there = MemoryGateway()
    dependencies = poller_dependencies(there, chance=chance)
    tasks = []
    for place in range(400):
        one = subscription([place], first_at=now(), pause=pause)
        tasks.append(asyncio.create_task(Poller.of("winsms_default", dependencies).wait(one)))
        await asyncio.sleep(0.1)
    ticks = sorted(set(there.times))
    distances = [after - before for before, after in pairwise(ticks)]
    assert distances
    assert distances == pytest.approx([tick * (1 + JITTER * chance)] * len(distances))
    await cancel(*tasks)


@in_virtual_time
async def test_a_clock_that_lags_behind_the_loops_makes_no_empty_tick() -> None:
    there = MemoryGateway()

    def slow() -> float:
        return BEGINNING + (now() - BEGINNING) * 0.999

    dependencies = dependencies_of(there.open_transport, clock=slow)
    task = asyncio.create_task(Poller.of("winsms_default", dependencies).wait(subscription([1], lasts=9e9)))
    await until(BEGINNING + 5000)
    ages = [(at - BEGINNING) * 0.999 for at in there.times]
    pauses = [after - before for before, after in pairwise(ages)]
    assert ages[0] == pytest.approx(10)
    assert pauses == pytest.approx([max(60.0, age / 10) for age in ages[:-1]])
    await cancel(task)


@in_virtual_time
async def test_who_is_near_its_end_is_asked_for_a_last_time() -> None:
    there = MemoryGateway()
    one = subscription([1], lasts=100.0, pause=60.0)
    (task,) = start_waits(there, one)
    await until(BEGINNING + 99)
    deliver(there, [1])
    await task
    assert one.tracker.outcome().is_success
    assert now() == BEGINNING + 100


@in_virtual_time
async def test_a_wait_ends_at_its_end_and_not_a_question_later() -> None:
    there = MemoryGateway()
    one = subscription([1], lasts=100.0)
    (task,) = start_waits(there, one)
    await task
    assert now() == BEGINNING + 100
    assert not one.tracker.is_settled
    assert not one.trouble
    assert nothing_is_left(there)


# Coming and going


@in_virtual_time
async def test_who_comes_between_two_ticks_is_asked_for_at_the_next() -> None:
    there = MemoryGateway()
    start_waits(there, subscription([1], pause=600.0))
    await until(FIRST_AT + 30)
    start_waits(there, subscription([2], first_at=FIRST_AT + 31))
    await until(FIRST_AT + 32)
    assert there.asked == [[1], [2]]
    assert there.opened == 1


@in_virtual_time
async def test_who_comes_while_a_request_is_on_its_way_is_asked_for_next() -> None:
    there = MemoryGateway(latency=lambda: 2.0)
    start_waits(there, subscription([1], pause=600.0))
    await until(FIRST_AT + 1)
    start_waits(there, subscription([2], first_at=now()))
    await until(FIRST_AT + 20)
    assert there.asked == [[1], [2]]
    assert there.times[1] == FIRST_AT + 2 + TICK


@in_virtual_time
async def test_who_goes_is_not_asked_for_any_more() -> None:
    there = MemoryGateway()
    _, goes = start_waits(there, subscription([1, 2]), subscription([2, 3]))
    await until(FIRST_AT + 1)
    await cancel(goes)
    await until(FIRST_AT + 61)
    assert there.asked == [[1, 2, 3], [1, 2]]


@in_virtual_time
async def test_who_goes_during_a_tick_is_left_out_of_the_requests_to_come() -> None:
    there = MemoryGateway(latency=lambda: 1.0, max_concurrent_requests=1)
    _, goes = start_waits(there, subscription(range(8)), subscription(range(100, 200)))
    await until(FIRST_AT + 2.5)
    await cancel(goes)
    await until(FIRST_AT + 20)
    assert there.asked == [[0, 1, 2, 3], [4, 5, 6, 7], [100, 101, 102, 103]]


@in_virtual_time
async def test_one_transport_is_opened_for_all_and_closed_when_the_last_goes() -> None:
    there = MemoryGateway()
    tasks = start_waits(there, *(subscription([place]) for place in range(50)))
    await until(FIRST_AT + 100)
    assert there.opened == len(there.transports) == 1
    await cancel(*tasks[1:])
    assert len(there.transports) == 1
    await cancel(tasks[0])
    assert nothing_is_left(there)


@in_virtual_time
async def test_who_goes_before_the_first_tick_leaves_nothing() -> None:
    there = MemoryGateway()
    tasks = start_waits(there, subscription([1]), subscription(range(100_000)))
    await asyncio.sleep(0)
    await cancel(*tasks)
    assert nothing_is_left(there)
    assert there.opened == 0


@in_virtual_time
async def test_two_connections_have_two_polls() -> None:
    here, there = MemoryGateway(), MemoryGateway()
    tasks = [
        asyncio.create_task(Poller.of(key, poller_dependencies(gateway)).wait(subscription([1])))
        for key, gateway in (("here", here), ("there", there))
    ]
    await until(FIRST_AT + 1)
    assert here.asked == there.asked == [[1]]
    await cancel(*tasks)


def test_two_event_loops_have_two_polls() -> None:
    there = MemoryGateway()

    async def wait() -> asyncio.Task[None]:
        (task,) = start_waits(there, subscription([1]))
        await until(FIRST_AT + 1)
        return task

    loops = [VirtualTimeLoop(), VirtualTimeLoop()]
    tasks = [loop.run_until_complete(wait()) for loop in loops]
    assert there.opened == len(there.transports) == 2
    for loop, task in zip(loops, tasks, strict=True):
        loop.run_until_complete(cancel(task))
        loop.close()
    assert there.transports == []


async def _logged_context(seen: list[str], request_id: ContextVar[str]) -> None:
    there = MemoryGateway(fails=unavailable("away"))

    class Handler(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            seen.append(request_id.get("none"))

    handler = Handler()
    LOG.addHandler(handler)
    try:
        request_id.set("the first who came")
        (task,) = start_waits(there, subscription([1]))
        await until(FIRST_AT + 1)
        await cancel(task)
    finally:
        LOG.removeHandler(handler)


@in_virtual_time
async def test_what_the_poll_logs_is_not_logged_as_if_the_first_who_came_said_it() -> None:
    seen: list[str] = []
    await _logged_context(seen, ContextVar("request_id"))
    assert seen == ["none"]


@in_virtual_time
async def test_who_comes_during_a_back_off_wakes_nobody() -> None:
    """Or ten thousand triggers of a triggerer that starts while the gateway is away would take a minute."""
    CountedFuture.looks = ByTurn()
    there = MemoryGateway(fails=unavailable("away", 300.0))
    for place in range(200):
        one = subscription([place], first_at=now())
        one.ended = CountedFuture()
        start_waits(there, one)
        await asyncio.sleep(0.1)
    assert len(there.requests) == 1
    assert CountedFuture.looks.counts.total() < 10 * 200


@pytest.mark.parametrize("how", ["all are delivered", "all time out", "all are refused"])
@in_virtual_time
async def test_waits_that_end_at_once_end_one_after_the_other_and_others_have_their_turn(how: str) -> None:
    """Each has something to sum up: ten thousand in one go would block the event loop for a second."""
    there = MemoryGateway(WIDE)
    if how == "all are delivered":
        deliver(there, range(1000))
    if how == "all are refused":
        there.fails = refusal
    waits = [subscription([place], lasts=50.0) for place in range(1000)]
    tasks = start_waits(there, *waits)
    await asyncio.wait({waits[0].ended})
    ended = [0]
    while ended[-1] < 1000:
        await asyncio.sleep(0)
        ended.append(sum(task.done() for task in tasks))
    assert max(after - before for before, after in pairwise(ended)) <= 5
    await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class ByTurn:
    """Counts what happens, by turn of the event loop."""

    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    counts: Counter[int] = field(default_factory=Counter)

    def count(self) -> None:
        assert isinstance(self.loop, VirtualTimeLoop)
        self.counts[self.loop.turns] += 1


class CountedFuture(asyncio.Future[None]):
    """Counts how often it is looked at."""

    looks: ClassVar[ByTurn]

    def done(self) -> bool:
        self.looks.count()
        return super().done()


@in_virtual_time
async def test_others_have_their_turn_while_the_poll_goes_through_many_waits() -> None:
    """To go through a hundred thousand, of which few are due, would block the event loop for long."""
    CountedFuture.looks = ByTurn()
    there = MemoryGateway(WIDE, latency=lambda: 2 * TICK)
    waits = [
        subscription([place], first_at=FIRST_AT + 300 * (place > 10), lasts=200.0) for place in range(10_000)
    ]
    for each in waits:
        each.ended = CountedFuture()
    start_waits(there, *waits)
    await until(FIRST_AT + 90)
    assert len(there.requests) == 2
    assert CountedFuture.looks.counts.total() > 10 * len(waits)
    assert max(CountedFuture.looks.counts.values()) <= len(waits) / 2


class CountedIds(DeliveryTracker):
    """Counts how many of its ids are gone through after it is told to."""

    gone_through: ByTurn | None = None

    @property
    def message_ids(self) -> Any:
        if self.gone_through is None:
            return super().message_ids
        return self._counted(self.gone_through)

    def _counted(self, by_turn: ByTurn) -> Iterator[MessageId]:
        for message_id in super().message_ids:
            by_turn.count()
            yield message_id


OTHER = 200_000


def many_ids(ids: Iterable[MessageId]) -> tuple[Subscription[DeliveryTracker], CountedIds]:
    tracker = CountedIds(ids, min_delivered=1.0, grace_until=BEGINNING, not_found_holds=120.0)
    one = subscription([0])
    one.tracker = tracker
    return one, tracker


@in_virtual_time
async def test_others_have_their_turn_while_one_with_many_ids_leaves() -> None:
    """To forget a million ids in one go would block the event loop for half a second."""
    there = MemoryGateway(WIDE)
    one, tracker = many_ids(range(100_000))
    goes, _ = start_waits(there, one, subscription(range(50_000, 50_010)))
    await asyncio.sleep(1)
    tracker.gone_through = ByTurn()
    await cancel(goes)
    assert tracker.gone_through.counts.total() == 100_000
    assert max(tracker.gone_through.counts.values()) <= 10_001
    assert sorted(waited_for(there)) == [*range(50_000, 50_010)]
    await until(FIRST_AT + 1)
    assert [sorted(ids) for ids in there.asked] == [[*range(50_000, 50_010)]]


@in_virtual_time
async def test_one_who_is_cancelled_again_while_it_leaves_leaves_nothing_either() -> None:
    there = MemoryGateway(WIDE)
    goes, stays = start_waits(there, subscription(range(100_000)), subscription([OTHER]))
    await asyncio.sleep(1)
    goes.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 10 < len(waited_for(there)) < 100_000
    await cancel(goes)
    assert waited_for(there) == [OTHER]
    await cancel(stays)
    assert nothing_is_left(there)


@in_virtual_time
async def test_one_who_comes_for_the_ids_of_one_who_is_leaving_is_told_of_all_of_them() -> None:
    there = MemoryGateway(WIDE)
    goes, _ = start_waits(there, subscription(range(100_000)), subscription([OTHER]))
    await asyncio.sleep(1)
    goes.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    late = subscription(range(0, 100_000, 100))
    (task,) = start_waits(there, late)
    deliver(there, range(100_000))
    await until(FIRST_AT + 1)
    assert goes.cancelled()
    assert late.tracker.outcome().is_success
    assert sorted(each for ids in there.asked for each in ids) == [*range(0, 100_000, 100), OTHER]
    await task
    assert waited_for(there) == [OTHER]


class CountedWait(DeliveryTracker):
    """Counts how many are freed."""

    freed: ClassVar[ByTurn]

    def __del__(self) -> None:
        self.freed.count()


@pytest.mark.parametrize("are_delivered", [True, False])
@in_virtual_time
async def test_waits_that_end_at_once_are_not_freed_in_one_go(are_delivered: bool) -> None:
    """Of a hundred thousand, it would block the event loop for a tenth of a second."""

    def counted(place: int) -> Subscription[DeliveryTracker]:
        one = subscription([place], lasts=50.0)
        one.tracker = CountedWait([place], min_delivered=1.0, grace_until=0.0, not_found_holds=0.0)
        return one

    CountedWait.freed = ByTurn()
    there = MemoryGateway(WIDE)
    if are_delivered:
        deliver(there, range(5000))
    await asyncio.wait(start_waits(there, *(counted(place) for place in range(5000))))
    assert CountedWait.freed.counts.total() >= 4990
    assert max(CountedWait.freed.counts.values()) <= 100


def refusal(_: Asked) -> None:
    msg = "The key is wrong."
    raise ConfigurationError(msg)


# Failures


def unavailable(why: str, retry_after: float | None = None) -> Callable[[Asked], None]:
    def fail(_: Asked) -> None:
        raise GatewayUnavailable(why, retry_after)

    return fail


@in_virtual_time
async def test_ticks_that_fail_back_off_and_recover_without_failing_a_wait() -> None:
    there = MemoryGateway(fails=unavailable("away"))
    one = subscription([1], lasts=1e6, pause=5.0)
    (task,) = start_waits(there, one)
    await until(BEGINNING + 5000)
    for failures, (before, after) in enumerate(pairwise(there.times), start=1):
        assert TICK <= after - before <= min(LONGEST_BACK_OFF, TICK * 2**failures) + 0.01
    assert 15 < len(there.times) < 100
    there.fails = lambda _: None
    deliver(there, [1])
    await asyncio.wait_for(task, LONGEST_BACK_OFF + 1)
    assert one.tracker.outcome().is_success
    assert not one.trouble


@in_virtual_time
async def test_the_pause_that_the_gateway_asks_for_is_kept() -> None:
    there = MemoryGateway(fails=unavailable("too many", 700.0))
    start_waits(there, subscription([1], pause=5.0))
    await until(FIRST_AT + 650)
    start_waits(there, subscription([2], first_at=now()))
    await until(FIRST_AT + 701)
    assert there.times == [FIRST_AT, FIRST_AT + 700]
    assert there.asked[1] == [1, 2]


@in_virtual_time
async def test_ends_that_come_during_a_back_off_are_kept_and_say_why_nothing_is_known() -> None:
    there = MemoryGateway(fails=unavailable("The line is cut.", 3000.0))
    soon, later = subscription([1], lasts=100), subscription([2], lasts=200)
    tasks = start_waits(there, soon, later)
    await until(FIRST_AT + 60)
    late = subscription([3], lasts=60)
    tasks += start_waits(there, late)
    await tasks[0]
    assert now() == BEGINNING + 100
    await tasks[2]
    assert now() == FIRST_AT + 120
    await tasks[1]
    assert now() == BEGINNING + 200
    assert soon.trouble == later.trouble == late.trouble == "The line is cut."
    assert len(there.requests) == 1


@in_virtual_time
async def test_a_connection_that_cannot_be_read_for_now_is_waited_for() -> None:
    there, tries = MemoryGateway(states={1: DELIVERED}), []

    async def open_transport() -> Any:
        tries.append(now())
        if len(tries) < 3:
            msg = "The connection could not be read."
            raise GatewayUnavailable(msg)
        return await there.open_transport()

    dependencies = dependencies_of(open_transport)
    one = subscription([1])
    await Poller.of("winsms_default", dependencies).wait(one)
    assert one.tracker.is_settled
    assert len(tries) == 3


@in_virtual_time
async def test_after_a_failure_no_further_request_leaves() -> None:
    there = MemoryGateway(latency=lambda: 1.0, max_concurrent_requests=2)

    def fail(request: Asked) -> None:
        if request.at == FIRST_AT + 1:
            there.fails = lambda _: None
            unavailable("away")(request)

    there.fails = fail
    start_waits(there, subscription(range(40), pause=600.0))
    await until(FIRST_AT + 2.5)
    assert there.times == [FIRST_AT] * 2 + [FIRST_AT + 1] * 2


@pytest.mark.parametrize("waits", [1, 5, 40])
@in_virtual_time
async def test_what_was_answered_is_not_asked_again_and_what_was_not_stays_due(waits: int) -> None:
    """Or a fat wait would begin anew after each failure, and never come to its end."""
    there = MemoryGateway(latency=lambda: 1.0)

    def fail(request: Asked) -> None:
        if len(there.requests) % 9 == 7:
            unavailable("away")(request)

    there.fails = fail
    size = 200 // waits
    starts = range(0, 200, size)
    start_waits(there, *(subscription(range(at, at + size), pause=3000.0, lasts=9e9) for at in starts))
    await until(FIRST_AT + 2900)
    answered = [each for request in there.requests if request.is_answered for each in request.ids]
    assert sorted(answered) == list(range(200))


@in_virtual_time
async def test_what_the_gateway_cannot_answer_is_not_in_the_way_of_the_rest() -> None:
    there = MemoryGateway(max_concurrent_requests=1)

    def fail(request: Asked) -> None:
        if 0 in request.ids:
            unavailable("no usable answer")(request)

    there.fails = fail
    deliver(there, range(100))
    tasks = start_waits(there, *(subscription(range(at, at + 10), lasts=9e9) for at in range(0, 100, 10)))
    await until(FIRST_AT + 100)
    assert [task.done() for task in tasks] == [False] + [True] * 9


@in_virtual_time
async def test_a_hanging_request_keeps_nobody_much_beyond_its_end() -> None:
    there = MemoryGateway(latency=lambda: 1e6)
    one, other = subscription([1], lasts=100.0), subscription([2], lasts=200.0)
    tasks = start_waits(there, one, other)
    await tasks[0]
    assert now() == BEGINNING + 100 + FINAL_ANSWER_GRACE
    assert one.trouble
    await tasks[1]
    assert now() == BEGINNING + 200 + FINAL_ANSWER_GRACE
    assert nothing_is_left(there)


@pytest.mark.parametrize("error", [ConfigurationError("The key is wrong."), UnsupportedCapability("No.")])
@in_virtual_time
async def test_a_permanent_error_ends_every_wait_at_once(error: SmsError) -> None:
    there = MemoryGateway()
    tasks = start_waits(there, *(subscription([place], first_at=FIRST_AT + place) for place in range(500)))
    await until(FIRST_AT + 100)

    def fail(_: Asked) -> None:
        raise error

    there.fails = fail
    began = now()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is error for result in results)
    assert now() - began <= TICK
    assert len(traceback.extract_tb(error.__traceback__)) < 20, "It holds the places of all."
    assert nothing_is_left(there)


@in_virtual_time
async def test_a_connection_that_is_not_there_ends_every_wait_at_once() -> None:
    async def open_transport() -> Any:
        msg = "There is no connection 'winsms_default'."
        raise ConfigurationError(msg)

    dependencies = dependencies_of(open_transport)
    polls = [Poller.of("winsms_default", dependencies).wait(subscription([place])) for place in range(3)]
    results = await asyncio.gather(*polls, return_exceptions=True)
    assert [type(result) for result in results] == [ConfigurationError] * 3
    assert now() == FIRST_AT


def refused_without_the_new_key(there: MemoryGateway) -> Callable[[Asked], None]:
    def fail(request: Asked) -> None:
        if there.transports[-1].endpoint.api_key != "new key":
            refusal(request)

    return fail


@in_virtual_time
async def test_a_key_that_was_changed_is_picked_up_and_nobody_notices() -> None:
    there = MemoryGateway()

    tasks = start_waits(there, *(subscription(range(at, at + 10)) for at in range(0, 50, 10)))
    await until(FIRST_AT + 1)
    there.fails, there.key = refused_without_the_new_key(there), "new key"
    asked = len(there.requests)
    deliver(there, range(50))
    await asyncio.gather(*tasks)
    assert now() == FIRST_AT + 60
    assert there.opened == 2
    answered = [each for request in there.requests[asked:] if request.is_answered for each in request.ids]
    assert sorted(answered) == list(range(50))
    assert nothing_is_left(there)


@in_virtual_time
async def test_a_changed_key_that_cannot_be_read_for_now_is_picked_up_later() -> None:
    class Rotating(MemoryGateway):
        async def open_transport(self) -> Any:
            if self.key == "cannot be read":
                self.key = "new key"
                msg = "The connection could not be read."
                raise GatewayUnavailable(msg)
            return await super().open_transport()

    there = Rotating(states={1: DELIVERED})

    one = start_waits(there, subscription([1], first_at=FIRST_AT + 60), subscription([2]))
    await until(FIRST_AT + 1)
    there.fails, there.key = refused_without_the_new_key(there), "cannot be read"
    await one[0]
    assert there.opened == 2
    assert not one[1].done()


@in_virtual_time
async def test_an_id_that_the_gateway_refuses_a_request_for_ends_its_own_waits_alone() -> None:
    there = MemoryGateway(WIDE, refused={55, 560})
    waits = [subscription(range(at, at + 10)) for at in range(0, 1000, 10)]
    tasks = start_waits(there, *waits, subscription([55, 2000]))
    await until(FIRST_AT + 1)
    ended = [task for task in tasks if task.done()]
    assert ended == [tasks[5], tasks[56], tasks[100]]
    assert all(isinstance(task.exception(), InvalidMessage) for task in ended)
    deliver(there, range(1000))
    await asyncio.gather(*(task for task in tasks if task not in ended))


# Ledgers


@in_virtual_time
async def test_news_are_written_before_they_count_and_nothing_is_written_twice() -> None:
    there, books = MemoryGateway(states={1: FAILED}), Books()
    one, other = (subscription([1, 2], ledger=BOOK, needs=0.0) for _ in range(2))
    tasks = start_waits(there, one, other, books=books)
    await until(FIRST_AT + 0.05)
    assert list(one.tracker.open_ids()) == [1, 2]
    await until(FIRST_AT + 200)
    deliver(there, [2])
    await asyncio.gather(*tasks)
    assert books.written == [(BOOK, 1, "failed"), (BOOK, 2, "sent"), (BOOK, 2, "delivered")]


def cannot_be_written(which: LedgerAddress, error: Exception) -> Callable[[LedgerAddress], None]:
    def fail(ledger: LedgerAddress) -> None:
        if ledger == which:
            raise error

    return fail


@in_virtual_time
async def test_a_ledger_that_cannot_be_written_holds_back_its_own_waits_alone() -> None:
    there = MemoryGateway(states=dict.fromkeys(range(3), DELIVERED))
    books = Books(cannot_be_written(BOOK, LedgerUnavailable("The database is away.")))
    held, other, without = (
        subscription([0], ledger=BOOK),
        subscription([1], ledger=OTHER_BOOK),
        subscription([2]),
    )
    tasks = start_waits(there, held, other, without, books=books)
    await until(FIRST_AT + 1)
    assert [task.done() for task in tasks] == [False, True, True]
    assert held.trouble == "The database is away."
    await until(FIRST_AT + LEDGER_RETRY_DELAY * 10)
    assert 9 <= sum(ledger == BOOK for _, ledger in books.tries) <= 11
    books.fails = lambda _: None
    await asyncio.wait_for(tasks[0], LEDGER_RETRY_DELAY + TICK)
    assert held.tracker.outcome().is_success
    assert not held.trouble
    assert (BOOK, 0, "delivered") in books.written


@in_virtual_time
async def test_a_ledger_that_cannot_be_written_is_not_tried_for_each_of_its_texts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each try may take the database's time-out, and others wait for the tick to end."""
    there = MemoryGateway(max_concurrent_requests=2)
    books = Books(cannot_be_written(BOOK, LedgerUnavailable("The database is away.")))
    thin = [subscription([place], ledger=BOOK, pause=10.0) for place in range(200)]
    fat = subscription(range(1000, 1200), ledger=BOOK, pause=10.0)
    tasks = start_waits(there, *thin, fat, subscription(range(2000, 2010)), books=books)
    await until(FIRST_AT + LEDGER_RETRY_DELAY - 1)
    assert len(books.tries) <= 2
    assert len(caplog.records) <= 2
    assert {2000, 2009} <= {each for ids in there.asked for each in ids}
    books.fails = lambda _: None
    deliver(there, range(1200))
    await asyncio.gather(*tasks[:-1])
    assert now() <= FIRST_AT + LEDGER_RETRY_DELAY + 60
    assert len(books.written) == 400


class CountedHold(Subscription[DeliveryTracker]):
    """Counts how many are held back."""

    held: ClassVar[ByTurn]

    def hold(self, until: float, why: str) -> None:
        self.held.count()
        super().hold(until, why)


@in_virtual_time
async def test_others_have_their_turn_while_many_waits_of_a_ledger_are_held_back() -> None:
    """And none of them is asked for meanwhile, or the ledger would be tried again for it."""
    CountedHold.held = ByTurn()
    there = MemoryGateway(WIDE, max_concurrent_requests=2)
    books = Books(cannot_be_written(BOOK, LedgerUnavailable("The database is away.")))
    waits = [subscription([place], ledger=BOOK) for place in range(20_000)]
    held = [CountedHold(one.tracker, one.schedule, FIRST_AT, one.end_at, BOOK) for one in waits]
    tasks = start_waits(there, *held, books=books)
    await until(FIRST_AT + LEDGER_RETRY_DELAY - 1)
    assert len(there.requests) == len(books.tries) == 2
    assert CountedHold.held.counts.total() == 2 * len(held)
    assert max(CountedHold.held.counts.values()) <= 4000
    books.fails = lambda _: None
    deliver(there, range(20_000))
    await asyncio.gather(*tasks)
    assert all(one.tracker.outcome().is_success for one in held)


@in_virtual_time
async def test_a_permanent_fault_of_a_ledger_ends_its_own_waits_alone() -> None:
    there = MemoryGateway()
    error = ConfigurationError("The tables have other columns.")
    books = Books(cannot_be_written(BOOK, error))
    tasks = start_waits(
        there, subscription([0], ledger=BOOK), subscription([1], ledger=OTHER_BOOK), books=books
    )
    await until(FIRST_AT + 1)
    assert tasks[0].exception() is error
    deliver(there, [1])
    await tasks[1]


@in_virtual_time
async def test_whatever_a_ledger_raises_holds_back_its_own_waits_alone() -> None:
    there = MemoryGateway(states={0: DELIVERED})
    books = Books(cannot_be_written(BOOK, PermissionError("a number")))
    held = subscription([0], ledger=BOOK, lasts=100.0)
    tasks = start_waits(there, held, subscription([1]), books=books)
    await until(FIRST_AT + 1)
    assert not tasks[1].done()
    deliver(there, [1])
    await asyncio.gather(*tasks)
    assert held.trouble == "The ledger behind 'book' could not be written (PermissionError)."


@in_virtual_time
async def test_a_ledger_that_hangs_does_not_keep_the_others_waiting() -> None:
    class Hanging(Books):
        async def write(self, *_: object) -> None:
            await asyncio.sleep(1e9)

    there = MemoryGateway(states={0: DELIVERED})
    held = subscription([0], ledger=BOOK)
    tasks = start_waits(there, held, subscription([1]), books=Hanging())
    await until(FIRST_AT + 1)
    deliver(there, [1])
    await tasks[1]
    assert now() <= FIRST_AT + 60 + LEDGER_WRITE_TIMEOUT + TICK
    assert held.trouble == "The ledger behind 'book' could not be written (TimeoutError)."


@in_virtual_time
async def test_an_end_that_comes_while_the_ledger_is_away_says_so() -> None:
    there = MemoryGateway(states={1: DELIVERED})
    books = Books(cannot_be_written(BOOK, LedgerUnavailable("The database is away.")))
    one = subscription([1], ledger=BOOK, lasts=100.0)
    (task,) = start_waits(there, one, books=books)
    await task
    assert BEGINNING + 100 <= now() <= BEGINNING + 101
    assert not one.tracker.is_settled
    assert one.trouble == "The database is away."


# Faults of ours


@in_virtual_time
async def test_an_unforeseen_error_ends_all_and_who_comes_next_has_a_working_poll() -> None:
    there, error = MemoryGateway(closing=0.5), RuntimeError("a fault of ours")

    def fail(_: Asked) -> None:
        raise error

    there.fails = fail
    came: list[asyncio.Task[None]] = []

    def come(_: asyncio.Future[None]) -> None:
        """Before those who are told of it have gone."""
        there.fails = lambda _: None
        came.extend(start_waits(there, subscription([9], first_at=now())))

    waits = [subscription([place]) for place in range(5)]
    waits[0].ended.add_done_callback(come)
    results = await asyncio.gather(*start_waits(there, *waits), return_exceptions=True)
    assert all(result is error for result in results)
    await asyncio.sleep(1)
    deliver(there, [9])
    await asyncio.wait_for(came[0], 100)
    assert there.opened == 2
    assert nothing_is_left(there)


@in_virtual_time
async def test_who_is_cancelled_and_told_an_error_at_once_leaves_no_complaint() -> None:
    there = MemoryGateway(fails=unavailable("away"))

    def fail(request: Asked) -> None:
        tasks[0].cancel()
        refusal(request)

    there.fails = fail
    tasks = start_waits(there, subscription([1]), subscription([2]))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, ConfigurationError]
