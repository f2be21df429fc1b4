"""Airflow's triggerer in small: its real shared streams, and everything around them in memory.

A test decides when each step happens: an event reaches the database, the watchers learn that it is stored,
and the process dies in between.
"""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.shared_stream import SharedStreamManager

from airflow_provider_winsms.inbound.subscriber import EventSpacer
from airflow_provider_winsms.inbound.watcher import JOIN_WINDOW
from airflow_provider_winsms.triggers.incoming import SmsIncomingTrigger
from tests.support.variants import variant

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

PATIENCE = 20.0
"""Seconds that anything may take: a bound for a busy machine, not an expectation."""

TEXTS_AT_A_POLL = 4
"""So many texts at the most come in at once where there is a pattern."""


class Time:
    """Pauses that last until the test says so, or somebody joins."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.held: list[float] = []
        """How long events were held back."""
        self.lasts: asyncio.Event | None = None
        """Until when they are."""
        self.triggerers: list[Triggerer] = []
        self.spacer = EventSpacer()
        self._turn = asyncio.Event()

    def watchers(self, kind: type[SmsIncomingTrigger] = SmsIncomingTrigger) -> type[SmsIncomingTrigger]:
        """Return watchers that pause as the test says."""
        return variant(kind, pause=self.pause, hold=self.hold, spacer=self.spacer)

    async def pause(self, seconds: float, woken: asyncio.Event | None = None) -> None:
        if seconds == JOIN_WINDOW:
            await settled(10)
            return
        self.pauses.append(seconds)
        waits = [asyncio.ensure_future(event.wait()) for event in (self._turn, woken) if event]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def hold(self, seconds: float) -> None:
        self.held.append(seconds)
        await settled(10)
        if self.lasts is not None:
            await self.lasts.wait()

    def turn(self) -> None:
        """End every pause."""
        self._turn.set()
        self._turn = asyncio.Event()


class Store:
    """The state of one asset, as the database has it."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.writes = 0
        self.is_broken = False
        self.hidden: tuple[str, ...] = ()
        """How keys end that it does not find."""
        self.hidden_reads = 0
        """How many more reads of those it answers so."""
        self.answers = asyncio.Event()
        """Whether it answers at all."""
        self.answers.set()

    def accessor(self, is_alive: Callable[[], bool]) -> Accessor:
        return Accessor(self, is_alive)

    @property
    def cursors(self) -> dict[str, str]:
        """The rows with cursors, without those that say that there is one."""
        return {key: row for key, row in self.rows.items() if not key.endswith(("-begun", "-probe"))}

    def cursor(self) -> Any:
        (row,) = self.cursors.values()
        return json.loads(row)


@dataclass
class Accessor:
    """What a watcher reaches the state by; a dead process reaches nothing."""

    store: Store
    is_alive: Callable[[], bool]

    async def aget(self, key: str, default: Any = None) -> Any:
        await self._reach()
        if key.endswith(self.store.hidden) and self.store.hidden_reads > 0:
            self.store.hidden_reads -= 1
            return default
        return json.loads(self.store.rows[key]) if key in self.store.rows else default

    async def aset(self, key: str, value: Any) -> None:
        await self._reach()
        self.store.rows[key] = json.dumps(value)
        self.store.writes += 1

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        await self.store.answers.wait()
        if self.store.is_broken or not self.is_alive():
            msg = "the state store cannot be reached"
            raise ConnectionError(msg)


@dataclass
class Accessors:
    """As ``AssetStateStoreAccessors``: of several assets, no method of theirs can be called."""

    _by_name: dict[str, Accessor]
    _by_uri: dict[str, Accessor] = field(default_factory=dict)


@dataclass
class Fired:
    """An event on its way from a watcher to the database."""

    watcher: str
    payload: dict[str, Any]
    seq: int | None


class Triggerer:
    """Runs watchers as ``TriggerRunner.run_trigger`` does."""

    def __init__(
        self,
        stores: dict[str, Store],
        pauses: Time,
        ack_timeout: float = 300.0,
        kind: type[SmsIncomingTrigger] = SmsIncomingTrigger,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stores = stores
        self.kind = pauses.watchers(kind)
        self.time = pauses
        self.fired: list[Fired] = []
        """Handed to Airflow, and not yet stored."""
        self.stored: list[Fired] = []
        self.failed: dict[str, BaseException] = {}
        self.hand_over = asyncio.Event()
        """Whether watchers may hand their events to Airflow."""
        self.hand_over.set()
        self._manager = SharedStreamManager(ack_timeout=ack_timeout, _now=now)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._is_alive = True
        self._ids = iter(range(1, 1_000_000))
        self._pauses_before = len(pauses.pauses)
        pauses.triggerers.append(self)
        self._has_thread = False

    def start(self, name: str, *assets: str, **arguments: Any) -> SmsIncomingTrigger:
        """Start a watcher as a DAG file has it."""
        return self.start_stored(name, self.kind(**arguments).serialize()[1], *assets)

    async def watch(self, name: str, *assets: str, **arguments: Any) -> None:
        """Start a watcher, and wait until everything that was started has polled."""
        self.start(name, *assets, **arguments)
        await self.begun()

    def start_stored(self, name: str, arguments: dict[str, Any], *assets: str) -> SmsIncomingTrigger:
        """Start a watcher, rebuilt from what the database has of it."""
        if not self._has_thread:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
            self._has_thread = True
        trigger = self.kind(**json.loads(json.dumps(arguments)))
        accessors = {
            asset: self.stores.setdefault(asset, Store()).accessor(lambda: self._is_alive)
            for asset in assets or (name,)
        }
        trigger.asset_state_store = Accessors(accessors)  # type: ignore[assignment] # a fake of it
        self._tasks[name] = asyncio.create_task(self._run(name, next(self._ids), trigger))
        return trigger

    async def _run(self, name: str, trigger_id: int, trigger: SmsIncomingTrigger) -> None:
        key = trigger.shared_stream_key()
        try:
            if key is None:
                events = trigger.run()
            else:
                stream = self._manager.subscribe(trigger_id=trigger_id, trigger=trigger, key=key)
                events = trigger.filter_shared_stream(stream)
            async for event in events:
                await self.hand_over.wait()  # as it logs the event
                seq = self._manager.bind_pending_event(trigger_id=trigger_id, key=key) if key else None
                self.fired.append(Fired(name, event.payload, seq))
        except Exception as error:  # noqa: BLE001 - kept for the test
            self.failed[name] = error
        finally:
            await self._left(trigger_id, key)
            await trigger.cleanup()

    async def _left(self, trigger_id: int, key: Hashable | None) -> None:
        if key is not None:
            await self._manager.unsubscribe(trigger_id, key)

    def store(self, count: int | None = None) -> None:
        """Store events in the database, the oldest first, and tell their watchers."""
        done, self.fired = self.fired[:count], self.fired[len(self.fired[:count]) :]
        self.stored += done
        self._manager.confirm_persisted([fired.seq for fired in done if fired.seq is not None])

    def store_and_die(self, count: int | None = None) -> None:
        """Store events in the database, the oldest first, and die before their watchers know it."""
        self.stored += self.fired[:count]
        self.fired = []

    async def stop(self, name: str) -> None:
        """End a watcher, as when its DAG is paused."""
        await self._end(self._tasks.pop(name))

    async def kill(self) -> None:
        """Die: what is in memory is lost, and nothing is written any more."""
        self._is_alive = False
        self.fired = []
        for task in self._tasks.values():
            await self._end(task)

    @staticmethod
    async def _end(task: asyncio.Task[None]) -> None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def begun(self, polls: int = 1) -> None:
        """Wait until everything that was started has polled."""
        await until(lambda: len(self.time.pauses) >= self._pauses_before + polls)
        await settled()

    async def poll(self, polls: int = 1) -> None:
        """Have the next poll of each list made, and its events fired."""
        before = len(self.time.pauses)
        self.time.turn()
        await until(lambda: len(self.time.pauses) >= before + polls)
        await settled()

    async def poll_and_store(self, polls: int = 1, *, times: int = 1) -> None:
        """Have the next polls of each list made, all their events stored, and the cursors written.

        :param polls: how many lists there are.
        """
        for _ in range(times):
            before = len(self.time.pauses)
            self.time.turn()
            await self.store_until(partial(self._has_paused, before + polls))
            self.store()
            await settled()

    def _has_paused(self, often: int) -> bool:
        return len(self.time.pauses) >= often

    async def store_until(self, condition: Callable[[], object]) -> None:
        """Store events as they come, and tell their watchers."""

        def stored() -> object:
            self.store()
            return condition()

        await until(stored)
        await settled()

    def keys(self, name: str | None = None) -> list[str]:
        """Return the keys of the stored events of a watcher, or of all."""
        return [each.payload["event_key"] for each in self.stored if name in {None, each.watcher}]


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


async def settled(rounds: int = 50) -> None:
    """Let everything run that can, also in the thread that ``start`` makes, which works in order.

    Each text that a pattern is searched for in takes the thread once more.
    """
    for _ in range(TEXTS_AT_A_POLL):
        for _ in range(rounds):
            await asyncio.sleep(0)
        await asyncio.to_thread(bool)
    for _ in range(rounds):
        await asyncio.sleep(0)
