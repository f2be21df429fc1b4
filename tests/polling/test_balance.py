"""The poll that all waits for a balance share, in virtual time; the gateway's own code reads the answers."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, GatewayUnavailable
from airflow_provider_winsms.polling.balance import BalanceQuestions, BalanceTracker
from airflow_provider_winsms.polling.poller import Poller, PollerDependencies
from airflow_provider_winsms.polling.schedule import Schedule
from airflow_provider_winsms.polling.subscriptions import JITTER, TICK, Subscription
from tests.support.memory_gateway import MemoryGateway
from tests.support.virtual_time import BEGINNING, GUEST, in_virtual_time
from tests.support.waits import LOG, nothing_is_left, now, until

if TYPE_CHECKING:
    from tests.support.memory_gateway import Asked


def balance_wait(
    least: int, *, first_in: float = 60.0, pause: float = 60.0, lasts: float = 7200.0
) -> Subscription[BalanceTracker]:
    tracker = BalanceTracker(Decimal(least), "credits")
    return Subscription(tracker, Schedule(now(), pause, 0.0), now() + first_in, now() + lasts)


def start(there: MemoryGateway, one: Subscription[BalanceTracker]) -> asyncio.Task[None]:
    questions = partial(BalanceQuestions, log=LOG, now=now)
    dependencies = PollerDependencies(there.open_transport, questions, LOG, now=now, chance=lambda: 0.0)
    poll = Poller.of(("balance", "winsms_default"), dependencies)
    return asyncio.create_task(poll.wait(one), name=GUEST)


@in_virtual_time
async def test_a_thousand_waits_that_come_one_after_the_other_make_one_poll_per_interval() -> None:
    there = MemoryGateway(credits=5)
    for _ in range(1000):
        start(there, balance_wait(500))
        await asyncio.sleep(0.5)
    await until(BEGINNING + 3601)
    assert there.times == [BEGINNING + 60.0 * place for place in range(1, 61)]


@in_virtual_time
async def test_the_shortest_interval_sets_the_pace_of_all() -> None:
    there = MemoryGateway(credits=5)
    for pause in (30.0, 60.0, 3600.0):
        start(there, balance_wait(500, first_in=pause, pause=pause))
    await until(BEGINNING + 3601)
    assert there.times == [BEGINNING + 30.0 * place for place in range(1, 121)]


@in_virtual_time
async def test_an_answer_ends_the_waits_that_it_is_enough_for_and_no_other() -> None:
    there = MemoryGateway(credits=5)
    waits = [balance_wait(least) for least in (100, 200, 300)]
    tasks = [start(there, one) for one in waits]
    await until(BEGINNING + 70)
    there.credits = 200
    await until(BEGINNING + 130)
    assert [task.done() for task in tasks] == [True, True, False]
    assert [one.tracker.last.balance for one in waits] == [Decimal(200)] * 3
    there.credits = 300
    await asyncio.gather(*tasks)
    assert len(there.requests) == 3
    assert nothing_is_left(there)


@in_virtual_time
async def test_a_wait_asks_at_its_end_and_not_a_question_later() -> None:
    there = MemoryGateway(credits=5)
    one = balance_wait(500, lasts=100.0)
    await start(there, one)
    assert there.times == [BEGINNING + 60, BEGINNING + 100]
    assert not one.tracker.is_settled
    assert not one.trouble


@in_virtual_time
async def test_many_ends_cost_no_more_than_a_question_a_tick() -> None:
    there = MemoryGateway(credits=5)
    tasks = [start(there, balance_wait(500, lasts=100.0 + place / 10)) for place in range(200)]
    await asyncio.gather(*tasks)
    pauses = [after - before for before, after in pairwise(there.times)]
    assert min(pauses) >= TICK
    assert now() == pytest.approx(BEGINNING + 119.9)


@in_virtual_time
async def test_an_unreadable_balance_is_logged_once_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    there = MemoryGateway(credits="n/a")
    waits = [balance_wait(0) for _ in range(20)]
    tasks = [start(there, one) for one in waits]
    await until(BEGINNING + 600)
    assert not any(task.done() for task in tasks)
    assert len([record for record in caplog.records if "no readable balance" in record.getMessage()]) == 1
    there.credits = 0
    await asyncio.gather(*tasks)


@in_virtual_time
async def test_a_gateway_that_is_away_is_asked_again_after_the_back_off_and_named_at_the_end() -> None:
    there = MemoryGateway(credits=500)

    def fail(_: Asked) -> None:
        if now() < BEGINNING + 400:
            msg = "away"
            raise GatewayUnavailable(msg)

    there.fails = fail
    short, long = balance_wait(100, lasts=300.0), balance_wait(100)
    await asyncio.gather(start(there, short), start(there, long))
    assert (short.trouble, short.tracker.last.balance) == ("away", None)
    assert (long.trouble, long.tracker.last.balance) == ("", Decimal(500))
    pauses = [after - before for before, after in pairwise(there.times)]
    assert min(pauses) >= TICK / (1 + JITTER)


@in_virtual_time
async def test_a_refused_key_ends_all_waits_at_once() -> None:
    there = MemoryGateway(credits=5)

    def refuse(_: Asked) -> None:
        msg = "The key is wrong."
        raise ConfigurationError(msg)

    there.fails = refuse
    tasks = [start(there, balance_wait(500)) for _ in range(3)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [ConfigurationError] * 3
    assert now() == BEGINNING + 60
    assert nothing_is_left(there)
