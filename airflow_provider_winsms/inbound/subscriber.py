"""Subscribers of a list, and the envelopes that carry its new rows to them."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.inbound.cursor import Cursor, CursorStore
from airflow_provider_winsms.inbound.feeds import LISTS

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Collection,
        Hashable,
        Iterable,
        Mapping,
        Sequence,
    )

    from airflow_provider_winsms.inbound.feeds import FeedRow, WatchedList
    from airflow_provider_winsms.inbound.filters import Selection
    from airflow_provider_winsms.phone import NumberPlan

EVENT_SPACING = 10.0
"""Seconds between the last event of an asset and the one before it.

Airflow 3.3 gives a DAG run the events that were stored before the first of them was queued. An event stored
between that and the run's creation, a second or so later, waits for the next event. So the last of several
events is held back until the others are queued and handled, and takes them along.
"""

LONGEST_EVENT_HOLD = 120.0
"""Seconds: the longest that an event is held back. Airflow waits five minutes for one to be stored."""


class EventSpacer:
    """The time of each asset's last event.

    :param clock: the present in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def reserve(self, assets: Iterable[str], *, is_last: bool) -> float:
        """Note an event of some assets. Return the seconds to hold it back.

        :param is_last: whether no later event is known yet.
        """
        now = self._clock()
        before = max((self._last.get(asset, -math.inf) for asset in assets), default=-math.inf)
        due = min(max(now, before + EVENT_SPACING), now + LONGEST_EVENT_HOLD) if is_last else now
        for asset in assets:
            self._last[asset] = max(due, before)
        return due - now


SHARED_SPACER = EventSpacer()
"""The spacer of all watchers in this process."""


MOST_IN_FLIGHT = 16
"""The most rows on offer whose events are not yet known to be stored.

A killed triggerer repeats at most this many events. Airflow 3.3's process that stores events takes all that
were fired since its last look, and confirms none before it has stored the last of them. The minimum is two: a
row is done only when the next one is offered.
"""

SENDERS_REFRESH_INTERVAL = 300.0
"""Seconds after which the list of senders is read again."""

_MOST_SKIPPED_POLLS = 16
"""The most polls that a subscriber skips after its preparation failed."""


class _RowState(Enum):
    """How far a row has come that a subscriber is not done with."""

    PENDING = auto()
    """The row is on offer."""
    IN_FLIGHT = auto()
    """The event is fired, if the row passes the filters; whether it is stored is unknown."""
    REDELIVER = auto()
    """The envelope failed because of another subscriber, so the row must be offered again."""


class Subscriber:
    """A watcher that receives the rows of a list.

    :param name: stays the same after a restart; no other subscriber has it.
    :param store: keeps its cursor; ``None`` if nothing does.
    :param senders: fetches the numbers whose rows count, given the gateway's number plan.
    :param assets: the names of the assets that get its events.
    :param spacer: spaces the events of those assets.
    :param pause: waits for seconds; a seam for tests.
    """

    def __init__(
        self,
        name: Hashable,
        selection: Selection,
        store: CursorStore | None,
        senders: Callable[[NumberPlan], Awaitable[Collection[str]]] | None = None,
        *,
        assets: Sequence[str] = (),
        spacer: EventSpacer | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        lists: Mapping[str, WatchedList] = LISTS,
    ) -> None:
        self.name = name
        self.selection = selection
        self.cursor: Cursor | None = None
        self.is_prepared = False
        """Whether its cursor is read, or known to be missing."""
        self.is_dirty = False
        """Whether its cursor has changed since it was saved."""
        self.must_read_back = True
        """Whether the list must be read back to its cursor, however little has arrived."""
        self._store = store
        self._watermark_of = lists[selection.dataset].watermark_of
        self._states: dict[str, _RowState] = {}
        self._unfinished: dict[str, int] = {}
        self._fetch_senders = senders
        self._senders: Collection[str] | None = None
        self._senders_read_at = -math.inf
        self._failures = 0
        self._polls_to_skip = 0
        self._saving = asyncio.Lock()
        self._assets = assets
        self._spacer = spacer or EventSpacer()
        self._pause = pause

    @property
    def has_store(self) -> bool:
        """Whether its cursor outlives this process."""
        return self._store is not None

    @property
    def floor(self) -> float:
        """The sequence up to which it is done with every row; infinite without a cursor."""
        return math.inf if self.cursor is None else self.cursor.floor

    def skips_poll(self) -> bool:
        """Whether it skips this poll because its preparation failed. Call once for each poll."""
        self._polls_to_skip -= self._polls_to_skip > 0
        return self._polls_to_skip > 0

    async def prepare(self, plan: NumberPlan, now: float) -> None:
        """Read its cursor, and its list of senders if that is old."""
        try:
            if not self.is_prepared and self._store is not None:
                kept = await self._store.load()
                self.cursor = None if kept is None else Cursor.from_json(kept)
            if self._fetch_senders is not None and now - self._senders_read_at >= SENDERS_REFRESH_INTERVAL:
                self._senders = await self._fetch_senders(plan)
                self._senders_read_at = now
        except Exception:
            self._failures += 1
            self._polls_to_skip = min(2**self._failures, _MOST_SKIPPED_POLLS)
            raise
        self._failures = 0
        self.is_prepared = True

    def begin(self, rows: Sequence[FeedRow]) -> None:
        """Count every listed row as seen.

        :param rows: the rows at the end of the list, or all of them.
        """
        self.cursor = Cursor()
        for row in rows:
            self.cursor.add(row)
        self.cursor.compact(self._watermark_of, ())
        self.is_dirty = True

    def lacks(self, row: FeedRow) -> bool:
        """Whether a row is new to it."""
        return self.cursor is not None and not self.cursor.has(row) and row.key not in self._states

    def enqueue(self, row: FeedRow) -> bool:
        """Mark a new row as pending. Return whether the row must be offered."""
        if self.lacks(row):
            self._states[row.key] = _RowState.PENDING
            if row.sequence is not None:
                self._unfinished[row.key] = row.sequence
            return True
        return self._states.get(row.key) is _RowState.REDELIVER

    async def payloads(self, envelopes: AsyncIterator[Envelope]) -> AsyncIterator[dict[str, Any]]:
        """Yield the payloads of offered rows; the last of several comes ``EVENT_SPACING`` later.

        A row is done only when the consumer asks for the next payload: a consumer that does not may have died
        of this one. A payload belongs to the envelope during which it is yielded, even if that carries
        another row.
        """
        held: tuple[FeedRow, dict[str, Any]] | None = None
        async for envelope in envelopes:
            payload = await self._receive(envelope.row) if envelope.row else None
            if held and (payload or envelope.is_end):
                await self._space(is_last=envelope.is_end)
                yield held[1]
                envelope.handled.append((self, held[0]))
                held = None
            if envelope.row and payload is not None:
                if payload:
                    held = envelope.row, payload
                else:
                    envelope.handled.append((self, envelope.row))

    async def _receive(self, row: FeedRow) -> dict[str, Any] | None:
        """Return the payload of a row, empty if it fires no event; ``None`` if it is for others."""
        state = self._states.get(row.key)
        if state not in {_RowState.PENDING, _RowState.REDELIVER}:
            return None
        self._states[row.key] = _RowState.IN_FLIGHT
        is_new = state is _RowState.PENDING
        return (is_new and await self.selection.payload(row, self._senders)) or {}

    async def _space(self, *, is_last: bool) -> None:
        if seconds := self._spacer.reserve(self._assets, is_last=is_last):
            await self._pause(seconds)

    def ack(self, row: FeedRow) -> None:
        """Add a row to the cursor: every event of its envelope is stored."""
        self._states.pop(row.key, None)
        self._unfinished.pop(row.key, None)
        if self.cursor is not None:
            self.cursor.add(row)
            self.is_dirty = True

    def nack(self, row: FeedRow) -> None:
        """Have a row offered again: an event of its envelope may not be stored."""
        self._states[row.key] = _RowState.REDELIVER
        self.must_read_back = True

    async def save(self) -> None:
        """Save the cursor if it has changed."""
        async with self._saving:
            if not self.is_dirty or self.cursor is None:
                return
            self.cursor.compact(self._watermark_of, self._unfinished.values())
            self.is_dirty = False
            try:
                if self._store is not None:
                    await self._store.save(self.cursor.to_json())
            except BaseException:
                self.is_dirty = True
                raise


@dataclass(eq=False, slots=True)
class Envelope:
    """A row that is offered to all subscribers at once.

    :param row: ``None`` at the end of one poll's rows.
    :param handled: the rows that ``ack`` or ``nack`` settles, each with its subscriber.
    """

    row: FeedRow | None
    handled: list[tuple[Subscriber, FeedRow]] = field(default_factory=list)

    @property
    def is_end(self) -> bool:
        """Whether it carries no row, because no more rows come for now."""
        return self.row is None

    def ack(self) -> None:
        """Report that every event fired during this envelope is stored."""
        for subscriber, row in self.handled:
            subscriber.ack(row)

    def nack(self) -> None:
        """Report that an event fired during this envelope may not be stored."""
        for subscriber, row in self.handled:
            subscriber.nack(row)


class Subscribers:
    """The subscribers that share one poll of a list."""

    def __init__(self) -> None:
        self.subscribers: list[Subscriber] = []
        self.joined = asyncio.Event()
        """Set when a subscriber joins."""

    def join(self, subscriber: Subscriber) -> None:
        """Add a subscriber."""
        self.subscribers.append(subscriber)
        self.joined.set()

    def leave(self, subscriber: Subscriber) -> None:
        """Remove a subscriber; a second time does nothing."""
        with suppress(ValueError):
            self.subscribers.remove(subscriber)

    def is_replaced(self, subscriber: Subscriber) -> bool:
        """Whether a subscriber left and came back as another one, whose cursor counts."""
        return subscriber not in self.subscribers and any(
            other.name == subscriber.name and other.is_prepared for other in self.subscribers
        )
