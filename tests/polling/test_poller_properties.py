"""However waits come and go: each gets its outcome, and nobody else is asked for."""

from __future__ import annotations

import asyncio
from copy import copy
from dataclasses import dataclass, field
from itertools import cycle
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import GatewayUnavailable, LedgerUnavailable
from airflow_provider_winsms.polling.poller import FINAL_ANSWER_GRACE, Poller
from airflow_provider_winsms.polling.subscriptions import JITTER, TICK
from tests.support.memory_gateway import DELIVERED, FAILED, NARROW, MemoryGateway
from tests.support.virtual_time import BEGINNING, in_virtual_time
from tests.support.waits import (
    BOOK,
    OTHER_BOOK,
    Books,
    nothing_is_left,
    now,
    poller_dependencies,
    subscription,
    until,
)

if TYPE_CHECKING:
    from airflow_provider_winsms.delivery.tracker import DeliveryTracker
    from airflow_provider_winsms.ledger.base import LedgerAddress
    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.polling.subscriptions import Subscription
    from tests.support.memory_gateway import Asked


class Period(NamedTuple):
    begin: float
    seconds: float

    @property
    def is_now(self) -> bool:
        return self.begin <= now() - BEGINNING < self.begin + self.seconds


class News(NamedTuple):
    at: float
    is_good: bool


@dataclass(frozen=True)
class Plan:
    """How one waits.

    :param goes_after: seconds after which it is cancelled, if it is.
    """

    ids: frozenset[int]
    comes_at: float
    lasts: float
    pause: float
    needs: float
    ledger: LedgerAddress | None
    goes_after: float | None


IDS = st.integers(1, 30)
SECONDS = st.integers(0, 400).map(float)


@dataclass(frozen=True)
class World:
    """What happens, in seconds from the beginning."""

    plans: list[Plan]
    news: dict[int, News]
    latencies: list[float]
    chance: float
    gateway_is_away: list[Period]
    ledger_is_away: list[Period]

    def fail(self, _: Asked) -> None:
        if any(period.is_now for period in self.gateway_is_away):
            msg = "away"
            raise GatewayUnavailable(msg)

    def fail_to_write(self, ledger: LedgerAddress) -> None:
        if ledger == BOOK and any(period.is_now for period in self.ledger_is_away):
            msg = "The database is away."
            raise LedgerUnavailable(msg)

    def final_by(self, instant: float, ids: frozenset[int], *, good: bool | None = None) -> set[MessageId]:
        """Return the ids that had their last news by then."""
        known = ((each, self.news[each]) for each in ids if each in self.news)
        return {
            each for each, news in known if BEGINNING + news.at <= instant and good in {None, news.is_good}
        }


PLANS = st.builds(
    Plan,
    ids=st.frozensets(IDS, min_size=1, max_size=15),
    comes_at=SECONDS,
    lasts=st.integers(1, 600).map(float),
    pause=st.sampled_from([1.0, 4.0, 30.0, 100.0]),
    needs=st.sampled_from([0.5, 0.9, 1.0]),
    ledger=st.sampled_from([None, BOOK, OTHER_BOOK]),
    goes_after=st.none() | st.integers(0, 300).map(float),
)
PERIODS = st.lists(st.builds(Period, SECONDS, st.integers(1, 120).map(float)), max_size=3)
WORLDS = st.builds(
    World,
    plans=st.lists(PLANS, min_size=1, max_size=8),
    news=st.dictionaries(IDS, st.builds(News, SECONDS, st.booleans())),
    latencies=st.lists(st.sampled_from([0.0, 0.5, 3.0, 20.0]), min_size=1, max_size=5),
    chance=st.sampled_from([0.0, 0.4, 1.0]),
    gateway_is_away=PERIODS,
    ledger_is_away=PERIODS,
)


@dataclass(eq=False)
class Tick:
    """What one tick had to ask for, and what it asked for.

    :param wanted: the ids of all who were there as it began, or came before it ended.
    :param due: those of them that were due.
    """

    wanted: set[MessageId]
    due: set[MessageId]
    asked: list[MessageId] = field(default_factory=list)
    requests: int = 0
    went_well: bool = False
    all_stayed: bool = False

    def check(self) -> None:
        assert self.wanted.issuperset(self.asked), "It was asked for nobody."
        if self.went_well:
            assert len(self.asked) == len(set(self.asked)), "An id was asked for twice."
            assert self.requests == ceil(len(self.asked) / NARROW.limits.status_ids)
        if self.went_well and self.all_stayed:
            assert set(self.asked) == self.due


class ObservedPoll(Poller):
    """Notes its ticks."""

    there: MemoryGateway
    ticks: list[Tick]
    came: list[Subscription[DeliveryTracker]]

    async def wait(self, subscription: Subscription[DeliveryTracker]) -> None:
        self.came.append(subscription)
        await super().wait(subscription)

    async def _tick(self) -> None:
        self.came.clear()
        present = [one for one in self._subscriptions._present if not one.ended.done()]
        wanted = {each for one in present for each in one.tracker.message_ids}
        tick, first = Tick(wanted, self._due(present) & wanted), len(self.there.requests)
        await super()._tick()
        requests = self.there.requests[first:]
        tick.asked = [each for request in requests for each in request.ids]
        tick.requests = len(requests)
        tick.went_well = not self._failures and not any(one.is_held for one in present)
        tick.wanted |= {each for one in self.came for each in one.tracker.message_ids}
        tick.all_stayed = not self.came and not any(one.ended.done() for one in present)
        self.ticks.append(tick)

    def _due(self, present: list[Subscription[DeliveryTracker]]) -> set[MessageId]:
        if self._queue.is_paused:
            return set()
        due = {each for one in present for each in copy(one).take_ids(now())}
        # Nobody is asked for an id without an answer whose state is known by now.
        still_open = {each for one in present for each in one.tracker.open_ids()}
        return due | (still_open & set(self._queue._unanswered))


class Life:
    """Carries a world out."""

    def __init__(self, world: World) -> None:
        latencies = cycle(world.latencies)
        self._world = world
        self.there = MemoryGateway(
            latency=lambda: next(latencies), fails=world.fail, max_concurrent_requests=2
        )
        self.books = Books(world.fail_to_write)
        self._dependencies = poller_dependencies(self.there, self.books, world.chance)
        self._poll = type("Poll", (ObservedPoll,), {"there": self.there, "ticks": [], "came": []})

    async def run(self) -> list[Tick]:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_the_news())
            for plan in self._world.plans:
                group.create_task(self._wait(plan))
        return self._poll.ticks  # type: ignore[attr-defined, no-any-return]

    async def _tell_the_news(self) -> None:
        for message_id, news in sorted(self._world.news.items(), key=lambda item: item[1].at):
            await until(BEGINNING + news.at)
            self.there.states[message_id] = DELIVERED if news.is_good else FAILED

    async def _wait(self, plan: Plan) -> None:
        await until(BEGINNING + plan.comes_at)
        one = subscription(
            plan.ids,
            first_at=now() + 2,
            lasts=plan.lasts,
            pause=plan.pause,
            begins_at=now(),
            needs=plan.needs,
            ledger=plan.ledger,
        )
        try:
            async with asyncio.timeout(plan.goes_after):
                await self._poll.of("winsms_default", self._dependencies).wait(one)  # type: ignore[attr-defined]
        except TimeoutError:
            return
        self._judge(plan, one)

    def _judge(self, plan: Plan, one: Subscription[DeliveryTracker]) -> None:
        found = set(plan.ids) - set(one.tracker.open_ids())
        outcome = one.tracker.outcome()
        assert found <= self._world.final_by(now(), plan.ids)
        assert outcome.delivered == len(found & self._world.final_by(now(), plan.ids, good=True))
        lost = len(found) - outcome.delivered
        assert one.tracker.is_settled == (found == plan.ids or len(plan.ids) - lost < outcome.needed)
        assert now() <= one.end_at + FINAL_ANSWER_GRACE + 0.001
        if not one.tracker.is_settled:
            assert now() >= one.end_at
            assert self._must_be_known(plan, one) <= found, "It was not asked a last time."
        if plan.ledger is not None:
            written = {
                each
                for ledger, each, state in self.books.written
                if ledger == plan.ledger and state != "sent"
            }
            assert found <= written

    def _must_be_known(self, plan: Plan, one: Subscription[DeliveryTracker]) -> set[MessageId]:
        """Return the ids that a last question found out about, where nothing was in its way."""
        if self._world.gateway_is_away or self._world.ledger_is_away:
            return set()
        longest_tick = max(self._world.latencies) * ceil(30 / NARROW.limits.status_ids) + 1
        asked_at = one.end_at - TICK * (1 + JITTER) - 2 * longest_tick
        return self._world.final_by(asked_at, plan.ids) if asked_at > one.first_at else set()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(world=WORLDS)
@in_virtual_time
async def test_however_they_come_and_go_each_gets_its_outcome_and_nobody_else_is_asked_for(
    world: World,
) -> None:
    life = Life(world)
    for tick in await life.run():
        tick.check()
    assert life.there.most_on_their_way <= 2
    assert nothing_is_left(life.there)
