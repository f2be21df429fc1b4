"""Those who are told of the rows of a list."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.inbound.cursor import Cursor, CursorStore
from airflow_provider_winsms.inbound.feeds import LISTS
from airflow_provider_winsms.inbound.spacing import EventSpacer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Mapping, Sequence

    from airflow_provider_winsms.inbound.feeds import FeedRow, WatchedList
    from airflow_provider_winsms.inbound.filters import Selection

MOST_IN_FLIGHT = 16
"""How many rows are offered at a time of which it is not yet known that they are written down.

So many events are repeated at most when the triggerer is killed. Its process that stores events, in Airflow
3.3, takes all that were fired since it looked last, and tells of none before the last of them is stored.
Two or more, as a row is done with only once the next one is offered.
"""

SENDERS_READ_EVERY = 300.0
"""Seconds after which the list of senders is read again."""

_LONGEST_REST = 16
"""Polls that a subscriber sits out at most, after it could not be prepared."""


class _Stage(Enum):
    """How far a row has come that a subscriber is not done with."""

    WANTED = auto()
    """It is being offered."""
    TAKEN = auto()
    """It is told, if it passes the filters; it is not known whether that is written down."""
    DOUBTED = auto()
    """As before, but another subscriber failed, so that the row was offered in vain; to be offered again."""


class Subscriber:
    """One who is told of the rows of a list.

    :param name: the same for the same subscriber after a restart, and no other's.
    :param memory: where its cursor is kept; ``None`` if nowhere.
    :param senders: fetches the numbers whose rows are told, given the gateway's country code.
    :param assets: the names of the assets that it tells of the rows.
    :param turns: when those had events last.
    :param pause: waits for seconds; a seam for tests.
    """

    def __init__(
        self,
        name: Hashable,
        selected: Selection,
        memory: CursorStore | None,
        senders: Callable[[str], Awaitable[Collection[str]]] | None = None,
        *,
        assets: Sequence[str] = (),
        spacer: EventSpacer | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        lists: Mapping[str, WatchedList] = LISTS,
    ) -> None:
        self.name = name
        self.selection = selected
        self.cursor: Cursor | None = None
        self.is_prepared = False
        """Whether it is known what it is done with, or that it begins now."""
        self.is_dirty = False
        """Whether its cursor has changed since it was saved."""
        self.looks_back = True
        """Whether the list must be read down to its cursor, however little has arrived."""
        self._memory = memory
        self._overlap = lists[selected.dataset].overlap
        self._stages: dict[str, _Stage] = {}
        self._held: dict[str, int] = {}
        self._fetch_senders = senders
        self._senders: Collection[str] | None = None
        self._senders_read_at = -math.inf
        self._failures = 0
        self._rest = 0
        self._saving = asyncio.Lock()
        self._assets = assets
        self._turns = spacer or EventSpacer()
        self._pause = pause

    @property
    def has_memory(self) -> bool:
        """Whether its cursor outlives this process."""
        return self._memory is not None

    @property
    def floor(self) -> float:
        """The sequence up to which it is done with everything; infinite for one that has just begun."""
        return math.inf if self.cursor is None else self.cursor.floor

    def is_resting(self) -> bool:
        """Whether it is left alone at this poll, as preparing it has failed; asked once for each poll."""
        self._rest -= self._rest > 0
        return self._rest > 0

    async def prepare(self, country_code: str, now: float) -> None:
        """Read its cursor, and the list of its senders if that is old."""
        try:
            if not self.is_prepared and self._memory is not None:
                kept = await self._memory.load()
                self.cursor = None if kept is None else Cursor.from_json(kept)
            if self._fetch_senders is not None and now - self._senders_read_at >= SENDERS_READ_EVERY:
                self._senders = await self._fetch_senders(country_code)
                self._senders_read_at = now
        except Exception:
            self._failures += 1
            self._rest = min(2**self._failures, _LONGEST_REST)
            raise
        self._failures = 0
        self.is_prepared = True

    def begin(self, entries: Sequence[FeedRow]) -> None:
        """Count everything that is listed now as seen.

        :param entries: the rows at the end of the list, or all of them.
        """
        self.cursor = Cursor()
        for entry in entries:
            self.cursor.add(entry)
        self.cursor.compact(self._overlap, ())
        self.is_dirty = True

    def lacks(self, entry: FeedRow) -> bool:
        """Whether a row is new to it."""
        return self.cursor is not None and not self.cursor.has(entry) and entry.key not in self._stages

    def wants(self, entry: FeedRow) -> bool:
        """Tell whether a row must be offered to it, and take note that it will be."""
        if self.lacks(entry):
            self._stages[entry.key] = _Stage.WANTED
            if entry.sequence is not None:
                self._held[entry.key] = entry.sequence
            return True
        return self._stages.get(entry.key) is _Stage.DOUBTED

    async def payloads(self, offers: AsyncIterator[Envelope]) -> AsyncIterator[dict[str, Any]]:
        """Yield what is told of the rows that are offered; of several, the last one ``SETTLING`` later.

        A row is done with only when whoever is told asks for more: whoever does not may have died of it. What
        is told while a row is offered belongs to that offer, also where it is told of another row.
        """
        held: tuple[FeedRow, dict[str, Any]] | None = None
        async for offer in offers:
            told = await self._take(offer.entry) if offer.entry else None
            if held and (told or offer.is_end):
                await self._turn(is_last=offer.is_end)
                yield held[1]
                offer.done.append((self, held[0]))
                held = None
            if offer.entry and told is not None:
                if told:
                    held = offer.entry, told
                else:
                    offer.done.append((self, offer.entry))

    async def _take(self, entry: FeedRow) -> dict[str, Any] | None:
        """Return what is to be told of a row, empty if nothing is; ``None`` if the offer is for others."""
        stage = self._stages.get(entry.key)
        if stage not in {_Stage.WANTED, _Stage.DOUBTED}:
            return None
        self._stages[entry.key] = _Stage.TAKEN
        return (stage is _Stage.WANTED and await self.selection.payload(entry, self._senders)) or {}

    async def _turn(self, *, is_last: bool) -> None:
        if seconds := self._turns.take(self._assets, is_last=is_last):
            await self._pause(seconds)

    def settle(self, entry: FeedRow, *, is_written: bool) -> None:
        """Take note of whether everything that anyone told of a row it passed is written down."""
        if not is_written:
            self._stages[entry.key] = _Stage.DOUBTED
            self.looks_back = True
            return
        self._stages.pop(entry.key, None)
        self._held.pop(entry.key, None)
        if self.cursor is not None:
            self.cursor.add(entry)
            self.is_dirty = True

    async def save(self) -> None:
        """Keep its cursor, if that has changed."""
        async with self._saving:
            if not self.is_dirty or self.cursor is None:
                return
            self.cursor.compact(self._overlap, self._held.values())
            self.is_dirty = False
            try:
                if self._memory is not None:
                    await self._memory.save(self.cursor.to_json())
            except BaseException:
                self.is_dirty = True
                raise


@dataclass(eq=False, slots=True)
class Envelope:
    """A row that is offered to all subscribers at once.

    :param entry: ``None`` at the end of what one poll found.
    :param done: which subscriber is done with which row when this offer is settled.
    """

    entry: FeedRow | None
    done: list[tuple[Subscriber, FeedRow]] = field(default_factory=list)

    @property
    def is_end(self) -> bool:
        """Whether it offers nothing, and says that nothing more comes for now."""
        return self.entry is None


class Subscribers:
    """All who follow one list by one poll."""

    def __init__(self) -> None:
        self.subscribers: list[Subscriber] = []
        self.joined = asyncio.Event()
        """Set when somebody joins."""

    def join(self, subscriber: Subscriber) -> None:
        """Add a subscriber."""
        self.subscribers.append(subscriber)
        self.joined.set()

    def leave(self, subscriber: Subscriber) -> None:
        """Remove a subscriber; a second time does nothing."""
        with suppress(ValueError):
            self.subscribers.remove(subscriber)

    def is_succeeded(self, subscriber: Subscriber) -> bool:
        """Whether a subscriber that left has come back as another one, whose cursor counts."""
        return subscriber not in self.subscribers and any(
            other.name == subscriber.name and other.is_prepared for other in self.subscribers
        )
