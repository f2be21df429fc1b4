"""The waits that share one poll, and which of them holds which id."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Container, Iterable, Iterator, Sequence

    from airflow_provider_winsms.ledger.base import LedgerAddress
    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.polling.schedule import Schedule

TICK = 5.0
"""The shortest time between two ticks in seconds. A wait with a shorter pause shortens it."""

JITTER = 0.2
"""The largest share of a tick that is added to it at random. So triggerers do not ask in step."""

_IDS_PER_TURN = 10_000
"""How many ids one turn of the event loop handles."""

_SUBSCRIPTIONS_PER_TURN = 2000


class Tracker(Protocol):
    """Keeps the answers to a wait, and tells whether they settle it."""

    @property
    def message_ids(self) -> Sequence[MessageId]:
        """The ids of its texts. A wait for something else has none."""

    @property
    def is_settled(self) -> bool:
        """Whether waiting longer changes nothing."""

    def open_ids(self, after: MessageId | None = None) -> Iterator[MessageId]:
        """Iterate over the ids that are still open, in their order, from the one after an id on."""

    def is_open(self, message_id: MessageId) -> bool:
        """Whether it is an id that is still open."""

    def record(self, answers: Iterable[Any], now: float, /) -> None:
        """Record what the gateway answered."""


T = TypeVar("T", bound=Tracker)


@dataclass(slots=True, eq=False)
class Subscription(Generic[T]):
    """One wait that takes part in a shared poll. Instants are in seconds since the epoch.

    :param tracker: what it waits for, and the answers.
    :param first_at: when it may be asked for first.
    :param end_at: when it ends at the latest.
    :param ledger: the ledger that reports are written into before they count.
    :param note: is told that answers were recorded: the present, and when the next poll is.
    """

    tracker: T
    schedule: Schedule
    first_at: float
    end_at: float
    ledger: LedgerAddress | None = None
    note: Callable[[float, float], object] | None = None
    due_at: float = field(init=False, default=math.inf)
    interrupted_after: MessageId | None = field(init=False, default=None)
    """The last id that was asked for, if a failure stopped the requests for those after it."""
    is_held: bool = field(init=False, default=False)
    """Whether no request asks for its texts until they are due: their ledger could not be written."""
    trouble: str = field(init=False, default="")
    """The error of the last question for it, or an empty string."""
    ended: asyncio.Future[None] = field(init=False)

    def __post_init__(self) -> None:
        self.end_at = max(self.end_at, self.first_at)
        self.ended = asyncio.get_running_loop().create_future()

    @property
    def asks_at(self) -> float:
        """When its texts may be asked for next: at once if a failure stopped the requests."""
        return self.due_at if self.interrupted_after is None else -math.inf

    def is_due(self, now: float) -> bool:
        """Whether to ask for all its texts: they are due, or the next tick may come after the end."""
        return self.due_at <= now or self.end_at <= now + TICK * (1 + JITTER)

    def take_ids(self, now: float) -> Iterator[MessageId]:
        """Return the ids to ask for now, and set when they are due again, at the latest at the end."""
        after, self.interrupted_after = self.interrupted_after, None
        if self.is_due(now):
            after = None
            self.schedule_next(now)
        elif after is None:
            return iter(())
        self.is_held = False
        return self.tracker.open_ids(after)

    def schedule_next(self, now: float) -> None:
        """Set when it is due again: after the pause of its schedule, at the latest at the end."""
        self.due_at = min(now + self.schedule.pause(now), self.end_at)

    def hold(self, until: float, why: str) -> None:
        """Set when its texts are due again, and stop the requests for them that have not left."""
        self.due_at = min(until, self.end_at)
        self.interrupted_after = None
        self.is_held = True
        self.trouble = why

    def record(self, answers: Iterable[Any], now: float) -> None:
        """Record answers, and end the wait if they settle it."""
        self.trouble = ""
        self.tracker.record(answers, now)
        if self.tracker.is_settled:
            self.end()
        elif self.note is not None:
            self.note(now, self.due_at)

    def end(self, error: Exception | None = None) -> None:
        """End the wait, unless it has ended."""
        if not self.ended.done():
            self.ended.set_result(None) if error is None else self.ended.set_exception(error)


AnySubscription: TypeAlias = Subscription[Any]


class Subscriptions:
    """The waits of one poll. Where it goes through many waits or ids, other tasks run in between."""

    def __init__(self) -> None:
        self._present: dict[AnySubscription, None] = {}
        self._owners: dict[MessageId, AnySubscription | frozenset[AnySubscription]] = {}
        self._ledgers_being_held: set[LedgerAddress] = set()

    def __len__(self) -> int:
        return len(self._present)

    async def add(self, subscription: AnySubscription) -> None:
        """Add a wait, and then note it as an owner of its ids."""
        self._present[subscription] = None
        joint: dict[AnySubscription | frozenset[AnySubscription], frozenset[AnySubscription]] = {}
        for count, message_id in enumerate(subscription.tracker.message_ids, start=1):
            owner = self._owners.setdefault(message_id, subscription)
            if owner is not subscription:
                if owner not in joint:
                    joint[owner] = frozenset({*_as_subscriptions(owner), subscription})
                self._owners[message_id] = joint[owner]
            if count % _IDS_PER_TURN == 0:
                await asyncio.sleep(0)

    def remove(self, subscription: AnySubscription) -> None:
        """Remove a wait. Nothing is handed to it from now on."""
        subscription.ended.cancel()
        if not subscription.ended.cancelled():
            # asyncio complains of an error that was never read, as where the wait was cancelled too.
            subscription.ended.exception()
        del self._present[subscription]

    async def release_ids(self, subscription: AnySubscription) -> None:
        """Forget one that was removed as an owner of its ids."""
        chunks = self._released(subscription)
        try:
            for _ in chunks:
                await asyncio.sleep(0)
        finally:
            # Cancelled in between, it removes the rest at once.
            deque(chunks, maxlen=0)

    def _released(self, subscription: AnySubscription) -> Iterator[None]:
        owners = self._owners
        without: dict[AnySubscription | frozenset[AnySubscription], frozenset[AnySubscription]] = {}
        for count, message_id in enumerate(subscription.tracker.message_ids, start=1):
            owner = owners.get(message_id)
            if owner is subscription:
                del owners[message_id]
            elif isinstance(owner, frozenset) and subscription in owner:
                if owner not in without:
                    without[owner] = owner - {subscription}
                if without[owner]:
                    owners[message_id] = without[owner]
                else:
                    del owners[message_id]
            if count % _IDS_PER_TURN == 0:
                yield

    def of(self, message_id: MessageId) -> list[AnySubscription]:
        """Return the waits of an id, without those that were removed and whose ids are being released."""
        owners = _as_subscriptions(self._owners.get(message_id, ()))
        return [subscription for subscription in owners if subscription in self._present]

    def is_only_owner(self, subscription: AnySubscription, message_id: MessageId) -> bool:
        """Whether no other wait holds an id."""
        return self._owners.get(message_id) is subscription

    async def active(self) -> AsyncGenerator[AnySubscription, None]:
        """Yield the waits that have not ended. A wait is removed a moment after it has ended."""
        for count, subscription in enumerate(drain(deque(self._present)), start=1):
            if not subscription.ended.done():
                yield subscription
            if count % _SUBSCRIPTIONS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def end_where(
        self, is_meant: Callable[[AnySubscription], bool], error: Exception | None = None, trouble: str = ""
    ) -> None:
        """End waits one after the other: each wakes a task that computes an outcome.

        :param trouble: the error of a wait that knows of no other.
        """
        trace = None if error is None else error.__traceback__
        async with aclosing(self.active()) as present:
            async for subscription in present:
                if is_meant(subscription):
                    subscription.trouble = subscription.trouble or trouble
                    # Each wait that raises the error adds a frame to its traceback.
                    subscription.end(None if error is None else error.with_traceback(trace))
                    await asyncio.sleep(0)

    async def hold(
        self, ledger: LedgerAddress, lost: Container[AnySubscription], until: float, why: str
    ) -> int:
        """Hold back the waits of a ledger, and return how many there are.

        :param lost: the waits that did not get an answer. They ask again then, the others when they are due.
        """
        count = 0
        self._ledgers_being_held.add(ledger)
        try:
            async with aclosing(self.active()) as present:
                async for subscription in present:
                    if subscription.ledger == ledger:
                        count += 1
                        first = -math.inf if subscription in lost else subscription.asks_at
                        subscription.hold(max(until, first), why)
        finally:
            self._ledgers_being_held.discard(ledger)
        return count

    def is_being_held(self, subscription: AnySubscription) -> bool:
        """Whether ``hold`` is going through the waits of its ledger."""
        return subscription.ledger in self._ledgers_being_held


def drain(subscriptions: deque[AnySubscription]) -> Iterator[AnySubscription]:
    """Yield and remove each. A container of many ended waits would free them all in one blocking step."""
    while subscriptions:
        yield subscriptions.popleft()


def _as_subscriptions(owner: AnySubscription | Iterable[AnySubscription]) -> Iterable[AnySubscription]:
    return (owner,) if isinstance(owner, Subscription) else owner
