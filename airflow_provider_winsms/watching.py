"""Watching what phones send: one poll for all who follow a list, and each row told to each of them once.

A follower has a cursor, which says what it is done with. A row that its cursor lacks is offered to it, and
enters the cursor only when it is known that what the follower told of it is written down. So a row may be
told twice, if everything ends in between, and is never lost.

It knows neither Airflow nor HTTP: whoever uses it hands in how a gateway is reached, and where cursors are
kept.
"""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_winsms import waiting
from airflow_provider_winsms.arrivals import LISTS, Need, rank_of
from airflow_provider_winsms.clocks import pause
from airflow_provider_winsms.exceptions import ConfigurationError, SmsError
from airflow_provider_winsms.messages import counted

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
    from contextlib import AbstractAsyncContextManager

    from airflow_provider_winsms.arrivals import Entry, Line, Overlap, WatchedList
    from airflow_provider_winsms.selecting import Selection

MOST_IN_FLIGHT = 16
"""How many rows are offered at a time of which it is not yet known that they are written down.

So many events are repeated at most when the triggerer is killed. Its process that stores events, in Airflow
3.3, takes all that were fired since it looked last, and tells of none before the last of them is stored.
Two or more, as a row is done with only once the next one is offered.
"""

LONGEST_BACK_OFF = 600.0
"""Seconds: the longest pause after polls that failed, unless the gateway asks for a longer one."""

GATHERING = 2.0
"""Seconds in which followers may join before they are served: those of a triggerer start one by one."""

SETTLING = 10.0
"""Seconds between the last event of an asset and the one before it.

Airflow 3.3 gives a DAG run those events that were stored before the first of them was queued; whatever is
stored between that and the run's creation, a second or so later, waits for the next event. So of several
events the last one is held back until the others are queued and done with, and takes them along.
"""

LONGEST_HOLD = 120.0
"""Seconds: no event is held back longer, as Airflow waits five minutes for one to be stored."""

SENDERS_READ_EVERY = 300.0
"""Seconds after which the list of senders is read again."""

_LONGEST_REST = 16
"""Polls that a follower sits out at most, after it could not be prepared."""


class Cursor:
    """What a follower is done with: every row whose rank is at most ``low``, and those in ``seen``.

    :param low: a rank; ``None`` if there is no such rank.
    :param seen: the ranks of rows above it, or without a rank, by their keys.
    """

    def __init__(self, low: int | None = None, seen: Mapping[str, int | None] | None = None) -> None:
        self.low = low
        self.seen = dict(seen or {})

    @property
    def floor(self) -> float:
        """``low``, as a number in any case."""
        return -math.inf if self.low is None else self.low

    def has(self, entry: Entry) -> bool:
        """Whether the follower is done with a row."""
        return entry.key in self.seen or (entry.rank is not None and entry.rank <= self.floor)

    def add(self, entry: Entry) -> None:
        """Note that the follower is done with a row."""
        self.seen[entry.key] = entry.rank

    def compact(self, overlap: Overlap, held: Iterable[int]) -> None:
        """Forget keys that are no longer needed, by raising ``low``.

        :param overlap: says from the ranks, in ascending order, which one ``low`` may rise to.
        :param held: ranks of rows that the follower is not done with, which ``low`` must stay below.
        """
        ranks = sorted(rank for rank in self.seen.values() if rank is not None)
        low = min((overlap(ranks), *(rank - 1 for rank in held)))
        if low > self.floor:
            self.low = int(low)
            self.seen = {key: rank for key, rank in self.seen.items() if rank is None or rank > low}

    def to_json(self) -> dict[str, Any]:
        """Return what ``from_json`` reads: ``{"low": rank or null, "seen": {key: rank or null}}``."""
        return {"low": self.low, "seen": dict(self.seen)}

    @classmethod
    def from_json(cls, value: Any) -> Cursor:
        """Read what ``to_json`` wrote.

        :raises ConfigurationError: if it is something else.
        """
        with suppress(TypeError, KeyError, AttributeError):
            low, seen = value["low"], dict(value["seen"].items())
            if all(rank is None or type(rank) is int for rank in (low, *seen.values())):
                return cls(low, seen)
        msg = (
            "The cursor in the asset's state store is not one of this provider. Delete it, and the key that "
            "ends in -begun, to start from now."
        )
        raise ConfigurationError(msg)


class Memory(Protocol):
    """Where a cursor is kept."""

    async def load(self) -> Any:
        """Return what was saved last, or ``None``."""

    async def save(self, value: dict[str, Any]) -> None:
        """Keep a cursor."""


class _Stage(Enum):
    """How far a row has come that a follower is not done with."""

    WANTED = auto()
    """It is being offered."""
    TAKEN = auto()
    """It is told, if it passes the filters; it is not known whether that is written down."""
    DOUBTED = auto()
    """As before, but another follower failed, so that the row was offered in vain; to be offered again."""


class Turns:
    """When which assets had events last.

    :param clock: the present in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def take(self, assets: Iterable[str], *, is_last: bool) -> float:
        """Take note of an event of some assets, and return the seconds to hold it back.

        :param is_last: whether it is not known that more will follow.
        """
        now = self._clock()
        before = max((self._last.get(asset, -math.inf) for asset in assets), default=-math.inf)
        turn = min(max(now, before + SETTLING), now + LONGEST_HOLD) if is_last else now
        for asset in assets:
            self._last[asset] = max(turn, before)
        return turn - now


TURNS = Turns()
"""When which asset had its last event; of all watchers in this process."""


class Follower:
    """One who is told of the rows of a list.

    :param name: the same for the same follower after a restart, and no other's.
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
        memory: Memory | None,
        senders: Callable[[str], Awaitable[Collection[str]]] | None = None,
        *,
        assets: Sequence[str] = (),
        turns: Turns | None = None,
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
        self._turns = turns or Turns()
        self._pause = pause

    @property
    def has_memory(self) -> bool:
        """Whether its cursor outlives this process."""
        return self._memory is not None

    @property
    def floor(self) -> float:
        """The rank up to which it is done with everything; infinite for one that has just begun."""
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

    def begin(self, entries: Sequence[Entry]) -> None:
        """Count everything that is listed now as seen.

        :param entries: the rows at the end of the list, or all of them.
        """
        self.cursor = Cursor()
        for entry in entries:
            self.cursor.add(entry)
        self.cursor.compact(self._overlap, ())
        self.is_dirty = True

    def lacks(self, entry: Entry) -> bool:
        """Whether a row is new to it."""
        return self.cursor is not None and not self.cursor.has(entry) and entry.key not in self._stages

    def wants(self, entry: Entry) -> bool:
        """Tell whether a row must be offered to it, and take note that it will be."""
        if self.lacks(entry):
            self._stages[entry.key] = _Stage.WANTED
            if entry.rank is not None:
                self._held[entry.key] = entry.rank
            return True
        return self._stages.get(entry.key) is _Stage.DOUBTED

    async def payloads(self, offers: AsyncIterator[Offer]) -> AsyncIterator[dict[str, Any]]:
        """Yield what is told of the rows that are offered; of several, the last one ``SETTLING`` later.

        A row is done with only when whoever is told asks for more: whoever does not may have died of it. What
        is told while a row is offered belongs to that offer, also where it is told of another row.
        """
        held: tuple[Entry, dict[str, Any]] | None = None
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

    async def _take(self, entry: Entry) -> dict[str, Any] | None:
        """Return what is to be told of a row, empty if nothing is; ``None`` if the offer is for others."""
        stage = self._stages.get(entry.key)
        if stage not in {_Stage.WANTED, _Stage.DOUBTED}:
            return None
        self._stages[entry.key] = _Stage.TAKEN
        return (stage is _Stage.WANTED and await self.selection.payload(entry, self._senders)) or {}

    async def _turn(self, *, is_last: bool) -> None:
        if seconds := self._turns.take(self._assets, is_last=is_last):
            await self._pause(seconds)

    def settle(self, entry: Entry, *, is_written: bool) -> None:
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
class Offer:
    """A row that is offered to all followers at once.

    :param entry: ``None`` at the end of what one poll found.
    :param done: which follower is done with which row when this offer is settled.
    """

    entry: Entry | None
    done: list[tuple[Follower, Entry]] = field(default_factory=list)

    @property
    def is_end(self) -> bool:
        """Whether it offers nothing, and says that nothing more comes for now."""
        return self.entry is None


class Audience:
    """All who follow one list by one poll."""

    def __init__(self) -> None:
        self.followers: list[Follower] = []
        self.joined = asyncio.Event()
        """Set when somebody joins."""

    def join(self, follower: Follower) -> None:
        """Add a follower."""
        self.followers.append(follower)
        self.joined.set()

    def leave(self, follower: Follower) -> None:
        """Remove a follower; a second time does nothing."""
        with suppress(ValueError):
            self.followers.remove(follower)

    def is_succeeded(self, follower: Follower) -> bool:
        """Whether a follower that left has come back as another one, whose cursor counts."""
        return follower not in self.followers and any(
            other.name == follower.name and other.is_prepared for other in self.followers
        )


class Watch:
    """Polls one list, and offers what is new to its audience.

    :param dial: opens a line to the gateway; once for each poll, so that a mended connection is noticed.
    :param pause: waits for seconds or an event; like ``clock``, in seconds, a seam for tests.
    """

    def __init__(
        self,
        watched: WatchedList,
        audience: Audience,
        dial: Callable[[], AbstractAsyncContextManager[Line]],
        *,
        poll_interval: float,
        log: Any,
        pause: Callable[..., Awaitable[None]] = pause,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = watched
        self._reader = watched.reader()
        self._audience = audience
        self._dial = dial
        self._poll_interval = poll_interval
        self._log = log
        self._pause = pause
        self._clock = clock
        self._unreadable = 0
        self._has_said_unlisted = False
        self._behind = 0
        self._in_flight = 0
        self._room = asyncio.Event()

    async def offers(self) -> AsyncIterator[Offer]:
        """Yield what is new, for ever; whatever goes wrong is logged, and tried again after a pause."""
        failures = 0
        await self._gather()
        while True:
            self._audience.joined.clear()
            try:
                news = await self._poll()
            except Exception as error:  # noqa: BLE001 - whatever it is, giving up would make Airflow hurry
                failures += 1
                await self._back_off(failures, error)
                continue
            failures = 0
            for entry in (*news, None) if news else ():
                await self._room_for_one()
                yield Offer(entry)
            await self._pause(self._rest(), self._audience.joined)
            if self._audience.joined.is_set() or not self._audience.followers:
                await self._gather()

    def _rest(self) -> float:
        """Return the seconds until the next poll: more each time that one is not enough."""
        if not self._reader.is_behind:
            self._behind = 0
            return self._poll_interval
        self._behind += 1
        seconds = back_off(self._poll_interval, self._behind)
        self._log.warning(
            "There is more of the list than one poll reads. Going on in %.0f seconds; no %s is passed over.",
            seconds,
            self._watched.noun,
        )
        return seconds

    async def _gather(self) -> None:
        """Wait until there is somebody to serve, and a little longer for others."""
        await self._audience.joined.wait()
        await self._pause(GATHERING)

    async def settled(self) -> AsyncIterator[Offer]:
        """Yield what is new to a follower that is alone, and count as written down what it passed."""
        async for offer in self.offers():
            yield offer
            await self.settle([(offer, True)])

    async def settle(self, outcomes: Iterable[tuple[Offer, bool]]) -> None:
        """Take note of offers, and whether all that was told of each is written down; save the cursors.

        A cursor that cannot be saved is saved later. Until then, only its rows are told again if all ends.
        """
        changed: dict[Follower, None] = {}
        settled = 0
        for offer, is_written in outcomes:
            settled += 1
            for follower, entry in offer.done:
                follower.settle(entry, is_written=is_written)
                changed[follower] = None
        try:
            for follower in changed:
                await self._save(follower)
        finally:
            # Rows that were offered before this would be in flight beside those that are not saved.
            self._in_flight -= settled
            self._room.set()

    async def _poll(self) -> list[Entry]:
        """Return what is new to anyone, oldest first."""
        async with self._dial() as line:
            ready = await self._ready(line)
            entries = await self._read(line, ready) if ready else []
        for follower in ready:
            if follower.cursor is None and not self._reader.is_behind:
                follower.begin(entries)
                self._log.info(
                    "Watching from now on; every %s that is listed counts as seen.", self._watched.noun
                )
        news = [entry for entry in entries if _any_wants(ready, entry)]
        if news:
            self._log.info("%s.", counted(len(news), f"new {self._watched.noun}"))
        for follower in ready:
            await self._save(follower)
        return sorted(news, key=rank_of)

    async def _read(self, line: Line, ready: Sequence[Follower]) -> list[Entry]:
        looking_back = [follower for follower in ready if follower.looks_back]
        need = Need(
            is_news=lambda entry: any(follower.lacks(entry) for follower in ready),
            floor=min(follower.floor for follower in ready),
            reach=min((follower.floor for follower in looking_back), default=math.inf),
            has_beginners=any(follower.cursor is None for follower in ready),
        )
        # Meanwhile a row may come to be doubted, so that its follower must look back again.
        for follower in looking_back:
            follower.looks_back = False
        is_done = False
        try:
            entries = await self._reader.read(line, need)
            is_done = not self._reader.is_behind
        finally:
            for follower in looking_back:
                follower.looks_back |= not is_done
        self._say_unreadable(self._reader.unreadable)
        self._say_unlisted(self._reader.unlisted)
        return entries

    def _say_unlisted(self, count: int) -> None:
        if count and not self._has_said_unlisted:
            self._has_said_unlisted = True
            self._log.warning(
                "The gateway states %s that it does not list. What it lists is watched.",
                counted(count, "row"),
            )

    def _say_unreadable(self, count: int) -> None:
        """Say how many rows cannot be read; once, and again if there are more."""
        if count > self._unreadable:
            self._unreadable = count
            self._log.warning(
                "%s of the list cannot be read, and start no DAG. All others do.", counted(count, "row")
            )

    async def _ready(self, line: Line) -> list[Follower]:
        ready = []
        for follower in list(self._audience.followers):
            was_prepared = follower.is_prepared
            try:
                if not follower.is_resting():
                    await follower.prepare(line.gateway.country_code, self._clock())
            except Exception as error:  # noqa: BLE001 - of one follower; the others are served
                self._log.error("A watcher cannot be served for now. %s", described(error))
            if follower.is_prepared:
                ready.append(follower)
                if not was_prepared:
                    self._introduce(follower)
        return ready

    def _introduce(self, follower: Follower) -> None:
        if not follower.has_memory:
            self._log.warning(
                "This Airflow keeps no state for assets (3.3 does), so there is no cursor: whatever arrives "
                "while the triggerer is down, or restarts, starts no DAG."
            )
        elif follower.cursor is not None:
            self._log.info("Watching goes on where it stopped.")

    async def _save(self, follower: Follower) -> None:
        if not follower.is_dirty or self._audience.is_succeeded(follower):
            return
        try:
            await follower.save()
        except Exception as error:  # noqa: BLE001 - nothing is lost by it
            self._log.warning(
                "A cursor could not be saved, and will be later; if the triggerer ends before, events are "
                "repeated. %s",
                described(error),
            )

    async def _room_for_one(self) -> None:
        while self._in_flight >= MOST_IN_FLIGHT:
            self._room.clear()
            await self._room.wait()
        self._in_flight += 1

    async def _back_off(self, failures: int, error: Exception) -> None:
        seconds = back_off(self._poll_interval, failures, error)
        say = self._log.error if getattr(error, "is_permanent", True) else self._log.warning
        say("%s Asking again in %.0f seconds.", described(error), seconds)
        await self._pause(seconds)


def _any_wants(followers: Iterable[Follower], entry: Entry) -> bool:
    """Ask every follower, as each takes note of it."""
    wanting = [follower for follower in followers if follower.wants(entry)]
    return bool(wanting)


def back_off(poll_interval: float, failures: int, error: Exception | None = None) -> float:
    """Return the seconds to pause after polls in a row that failed, the last of them with an error."""
    retry_after = getattr(error, "retry_after", None)
    return waiting.back_off(poll_interval, failures, retry_after, LONGEST_BACK_OFF)


def described(error: Exception) -> str:
    """Return an error's own words, or of one that may quote a row, its type and where it came from."""
    if isinstance(error, SmsError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"Unforeseen {type(error).__name__}{where}."
