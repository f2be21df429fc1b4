"""Whatever arrives, is stored, fails and dies, in whatever order: nothing is lost, and little repeated."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import hypothesis.strategies as st
import pendulum
from hypothesis import example, given, settings

from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.inbound.feeds import Bounds, FeedConnection, lists_within
from airflow_provider_winsms.messages import IncomingMessage, Page
from airflow_provider_winsms.triggers.incoming import SmsIncomingTrigger
from tests.support.lists import page_range
from tests.triggers.triggerer import Store, Time, Triggerer, settled, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_winsms.gateways.base import Call

WATCHERS: dict[str, dict[str, Any]] = {"one": {}, "two": {"keywords": ["YES"]}}
PAGE_SIZE = 4
KEYS_KEPT = 8
ACK_TIMEOUT = 0.1
"""Seconds; every tenth of it, Airflow looks at a clock of ours."""

LATEST = 3
"""An id may come after so many that are higher; fewer than a cursor keeps apart."""


class FromMemory(SmsIncomingTrigger):
    """A watcher of a list in this process."""

    ids: ClassVar[list[int]]
    lists = lists_within(Bounds(keys_kept=KEYS_KEPT))

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[FeedConnection]:
        gateway = WinSMSGateway(time_zone="UTC", country_code="27")
        yield FeedConnection(gateway, self._execute, PAGE_SIZE, KeyedHash("key"))

    async def _execute(self, call: Call[Any]) -> Page[IncomingMessage]:
        await asyncio.sleep(0)
        offset, limit = page_range(call)
        found = self.ids[offset : offset + limit]
        rows = tuple(IncomingMessage(each, "1", pendulum.datetime(2026, 1, 1), "YES") for each in found)
        return Page(rows, offset, len(self.ids))


class World:
    """A triggerer, what outlives it, and what was seen of it."""

    def __init__(self) -> None:
        self.time = Time()
        self.now = 0.0
        self.stores: dict[str, Store] = {}
        self.stored: list[tuple[str, str]] = []
        self.may_repeat: set[tuple[str, str]] = set()
        self.down: set[str] = set()
        FromMemory.ids = [10 * number for number in range(1, 12)]
        self.listed_at_first = set(FromMemory.ids)
        self.triggerer = self._triggerer()

    def _triggerer(self) -> Triggerer:
        return Triggerer(
            self.stores, self.time, kind=FromMemory, ack_timeout=ACK_TIMEOUT, now=lambda: self.now
        )

    async def begin(self) -> None:
        for name in WATCHERS:
            self.start(name)
        await self.triggerer.begun()

    def start(self, name: str) -> None:
        """Start a watcher. What is stored, or about to be, and not in its cursor, it may repeat."""
        if name in self.stores:
            seen = set(self.stores[name].cursor()["seen"])
            watermark = self.stores[name].cursor()["watermark"]
            events = [
                *self.stored,
                *((each.watcher, each.payload["event_key"]) for each in self.triggerer.fired),
            ]
            self.may_repeat |= {
                (watcher, key)
                for watcher, key in events
                if watcher == name and key not in seen and int(key) > watermark
            }
        self.triggerer.start(name, **WATCHERS[name])

    async def arrive(self, count: int) -> None:
        """Let messages come in."""
        highest = max(FromMemory.ids)
        FromMemory.ids.extend(highest + 10 * (number + 1) for number in range(count))

    async def arrive_late(self, place: int) -> None:
        """Let one come in whose id is lower than others', where it belongs or at the end of the list."""
        below = sorted(FromMemory.ids)[-1 - place % LATEST]
        late = next(each for each in range(below - 1, below - 10, -1) if each not in FromMemory.ids)
        belongs = max(at for at, each in enumerate(FromMemory.ids) if each < late) + 1
        FromMemory.ids.insert(belongs if place % 2 else len(FromMemory.ids), late)

    async def poll(self, _: int) -> None:
        """Have the gateway asked, unless there is no room for more."""
        self.time.turn()
        await settled()

    async def store(self, count: int) -> None:
        """Store some events, and tell their watchers."""
        before = len(self.triggerer.stored)
        self.triggerer.store(count)
        self._note(before)
        await settled()

    async def store_and_die(self, _: int) -> None:
        """Store events, and die before their watchers know it."""
        before = len(self.triggerer.stored)
        self.triggerer.store_and_die()
        self._note(before)
        await self.die(0)

    async def die(self, _: int) -> None:
        """Die, and be started again."""
        await self.triggerer.kill()
        self.triggerer = self._triggerer()
        self.down = set()
        for name in WATCHERS:
            self.start(name)
        await settled()

    async def stop_or_start(self, place: int) -> None:
        """Stop a watcher, or start it again."""
        name = list(WATCHERS)[place % 2]
        if name in self.down:
            self.start(name)
        else:
            await self.triggerer.stop(name)
        self.down ^= {name}
        await settled()

    async def time_out(self, number: int) -> None:
        """Have Airflow give up those whose events were not stored, some of which never are."""
        self.now += 2 * ACK_TIMEOUT
        await asyncio.sleep(2 * ACK_TIMEOUT / 10)
        await settled()
        if number % 2:
            given_up = self.triggerer.failed
            self.triggerer.fired = [each for each in self.triggerer.fired if each.watcher not in given_up]
        for name in [*self.triggerer.failed]:
            del self.triggerer.failed[name]
            self.start(name)
        await settled()

    async def break_or_mend_a_store(self, place: int) -> None:
        """Have writes fail, or no longer."""
        store = self.stores[list(WATCHERS)[place % 2]]
        store.is_broken = not store.is_broken

    async def hold_or_let_go(self, _: int) -> None:
        """Have the watchers stand still while they hand an event over, or no longer."""
        hand_over = self.triggerer.hand_over
        (hand_over.clear if hand_over.is_set() else hand_over.set)()
        await settled()

    def _note(self, before: int) -> None:
        new = self.triggerer.stored[before:]
        self.stored += [(each.watcher, each.payload["event_key"]) for each in new]

    async def end(self) -> None:
        """Let everything come to rest."""
        for store in self.stores.values():
            store.is_broken = False
        self.triggerer.hand_over.set()
        for name in self.down:
            self.start(name)
        self.down = set()
        for _ in range(40):
            await self.poll(0)
            await self.store(1000)
        await until(lambda: not self.triggerer.fired)


ACTIONS = (
    *(World.arrive, World.arrive_late, World.poll, World.poll, World.store, World.store),
    *(World.die, World.store_and_die, World.stop_or_start, World.time_out),
    *(World.break_or_mend_a_store, World.hold_or_let_go),
)

STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(1, 12)), max_size=40)


async def live(steps: list[tuple[Any, int]]) -> World:
    world = World()
    await world.begin()
    for act, number in steps:
        await act(world, number)
    await world.end()
    await world.triggerer.kill()
    return world


@given(STEPS)
@settings(max_examples=100, deadline=None, derandomize=True)
@example([(World.arrive, 12), (World.poll, 1), (World.store_and_die, 1), (World.poll, 1), (World.store, 3)])
@example([(World.arrive, 3), (World.hold_or_let_go, 1), (World.poll, 1), (World.stop_or_start, 1)])
def test_each_message_is_stored_for_each_watcher_and_once_unless_all_ended_before_its_cursor_was_written(
    steps: list[tuple[Any, int]],
) -> None:
    world = asyncio.run(live(steps))
    due = [str(each) for each in FromMemory.ids if each not in world.listed_at_first]
    for name in WATCHERS:
        fired = [key for watcher, key in world.stored if watcher == name]
        assert set(fired) == set(due)
        repeated = {key for key in fired if fired.count(key) > 1}
        assert repeated <= {key for watcher, key in world.may_repeat if watcher == name}
