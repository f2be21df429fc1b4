"""The poller: one loop that asks a gateway for all waits on one event loop.

It knows neither Airflow nor HTTP. Each wait subscribes to the poller of its connection. The loop begins with
the first subscription and ends with the last. At each tick its questions ask for everything that is due, in
as few requests as possible, and hand each answer to the waits that it concerns.

Airflow 3.3 could drive such a loop too (shared streams). It would put every answer into the queue of every
trigger: ten thousand triggers and a thousand answers are ten million wake-ups at a tick. Here an answer
reaches only the waits that hold its ids, and waits share a poller on any Airflow.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from contextlib import AsyncExitStack
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

from airflow_provider_winsms.exceptions import ConfigurationError, GatewayUnavailable, SmsError
from airflow_provider_winsms.gateways.backoff import back_off
from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.polling.due_queue import DueQueue
from airflow_provider_winsms.polling.subscriptions import JITTER, TICK, Subscriptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from airflow_provider_winsms.gateways.transport import AsyncTransport
    from airflow_provider_winsms.polling.subscriptions import AnySubscription

FINAL_ANSWER_GRACE = 30.0
"""Seconds after its end for which a wait accepts the answer to its last question."""


class Questions(Protocol):
    """Ask a gateway for the waits of one poll, and hand them the answers."""

    async def ask_due(self, transport: AsyncTransport) -> None:
        """Ask for everything that is due.

        :raises SmsError: the first permanent error, or else the first temporary one.
        """


@dataclass(frozen=True, slots=True)
class PollerDependencies:
    """The functions that a poller calls but cannot import, and seams for tests.

    :param open_transport: reads the connection and returns a transport that is not open yet.
    :param questions: makes the questions of a poll, from its waits and its queue.
    :param log: takes messages that concern more than one wait.
    :param now: seconds since the epoch.
    :param chance: a random number from 0 to 1.
    """

    open_transport: Callable[[], Awaitable[AsyncTransport]]
    questions: Callable[[Subscriptions, DueQueue], Questions]
    log: Any
    now: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random


class Poller:
    """The poll of one connection on one event loop. ``of`` returns it."""

    _pollers: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Poller]]] = (
        WeakKeyDictionary()
    )

    def __init__(self, key: Hashable, dependencies: PollerDependencies) -> None:
        self._key = key
        self._now, self._log, self._chance = dependencies.now, dependencies.log, dependencies.chance
        self._connection = _Connection(dependencies.open_transport)
        self._subscriptions = Subscriptions()
        self._queue = DueQueue(self._subscriptions, self._now)
        self._questions = dependencies.questions(self._subscriptions, self._queue)
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._trouble = ""

    @classmethod
    def of(cls, key: Hashable, dependencies: PollerDependencies) -> Poller:
        """Return the poller of a key on this event loop. It keeps the dependencies of the first call."""
        pollers = cls._pollers.setdefault(asyncio.get_running_loop(), {})
        if key not in pollers:
            pollers[key] = cls(key, dependencies)
        return pollers[key]

    async def wait(self, subscription: AnySubscription) -> None:
        """Wait until the wait is settled or its end is reached.

        :raises SmsError: a permanent one, as it comes.
        """
        try:
            await self._subscriptions.add(subscription)
            self._queue.put(subscription)
            if self._task is None:
                # An empty context: a copy would log everything as if the first wait had said it.
                self._task = asyncio.create_task(self._run(), context=Context())
            await subscription.ended
        finally:
            self._subscriptions.remove(subscription)
            if not self._subscriptions and self._retire() and self._task is not None:
                self._task.cancel()
            await self._subscriptions.release_ids(subscription)
            if not self._subscriptions and self._task is not None:
                # It closes its transport: nothing may be left open when the event loop ends.
                await asyncio.wait({self._task})

    def _retire(self) -> bool:
        """Accept no further waits: later ones get another poller. Return whether it accepted any before."""
        pollers = self._pollers[asyncio.get_running_loop()]
        is_open = pollers.get(self._key) is self
        if is_open:
            del pollers[self._key]
        return is_open

    async def _run(self) -> None:
        try:
            while True:
                await self._queue.sleep()
                # One timer for all waits: asyncio blocks for long when many timers were cancelled.
                timer = asyncio.create_task(self._expire_while_asking())
                try:
                    await self._tick()
                finally:
                    timer.cancel()
        # A fault of this package. Each wait raises it with its traceback.
        except Exception as error:  # noqa: BLE001
            self._retire()
            await self._end_all(error)
        finally:
            await self._connection.close()

    async def _tick(self) -> None:
        """Ask for everything that is due, unless a back-off is on. Then end the waits that are over."""
        if not self._queue.is_paused:
            try:
                await self._questions.ask_due(await self._connection.open())
                self._failures, self._trouble = 0, ""
                self._queue.pause(await self._tick_interval())
            except GatewayUnavailable as error:
                self._back_off(error)
            except ConfigurationError as error:
                await self._reload_connection(error)
            except SmsError as error:
                await self._end_all(error)
        now = self._now()
        await self._subscriptions.end_where(lambda each: each.end_at <= now, trouble=self._trouble)

    async def _end_all(self, error: Exception) -> None:
        await self._subscriptions.end_where(lambda _: True, error, self._trouble)

    async def _expire_while_asking(self) -> None:
        """End waits during a tick when the grace for their last answer is over."""
        trouble = self._trouble or "No answer came in time."
        while True:
            await self._subscriptions.end_where(self._is_past_grace, trouble=trouble)
            first = min([each.end_at async for each in self._subscriptions.active()], default=math.inf)
            await asyncio.sleep(min(TICK, max(0.0, first + FINAL_ANSWER_GRACE - self._now())))

    def _is_past_grace(self, subscription: AnySubscription) -> bool:
        return subscription.end_at + FINAL_ANSWER_GRACE <= self._now()

    async def _tick_interval(self) -> float:
        shortest = min([each.schedule.shortest async for each in self._subscriptions.active()], default=TICK)
        return min(TICK, shortest) * (1 + JITTER * self._chance())

    def _back_off(self, error: GatewayUnavailable) -> None:
        self._failures += 1
        pause = back_off(TICK, self._failures, error.retry_after)
        self._queue.pause(pause)
        self._trouble = str(error)
        waits = pluralize(len(self._subscriptions), "wait")
        self._log.warning("%s Asking again in %.0f seconds; %s.", error, pause, waits)

    async def _reload_connection(self, error: ConfigurationError) -> None:
        """Use the connection's new key or address if it has changed; end all waits if it has not."""
        try:
            if await self._connection.reload():
                return
        except GatewayUnavailable as temporary:
            self._back_off(temporary)
            return
        except SmsError:
            pass
        await self._end_all(error)


class _Connection:
    """The transport of a poller, opened when it is needed first.

    :param open_transport: reads the connection and returns a transport that is not open yet.
    """

    def __init__(self, open_transport: Callable[[], Awaitable[AsyncTransport]]) -> None:
        self._open_transport = open_transport
        self._exit_stack = AsyncExitStack()
        self._transport: AsyncTransport | None = None

    async def open(self) -> AsyncTransport:
        """Return the open transport."""
        if self._transport is None:
            self._transport = await self._exit_stack.enter_async_context(await self._open_transport())
        return self._transport

    async def reload(self) -> bool:
        """Read the connection again, and open another transport if its account has changed."""
        used = self._transport
        if used is None:
            return False
        found = await self._open_transport()
        if found.endpoint.is_same_account(used.endpoint):
            return False
        await self.close()
        self._transport = await self._exit_stack.enter_async_context(found)
        return True

    async def close(self) -> None:
        """Close the transport, if there is one."""
        self._transport = None
        await self._exit_stack.aclose()
