"""Readers of lists: the end of a list that grows, or the whole of a list that does not."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from airflow_provider_winsms.exceptions import GatewayUnavailable
from airflow_provider_winsms.gateways.lists import page_requests
from airflow_provider_winsms.options import check_choice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from airflow_provider_winsms.gateways.base import Call, Gateway
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.messages import Columns, IncomingMessage, OptOut, Page

    Record: TypeAlias = IncomingMessage | OptOut

KEYS_KEPT = 500
"""How many of the newest messages a cursor tells apart; older ones count as seen."""

MINUTES_KEPT = 24 * 60
"""How many minutes before the newest opt-out a cursor tells opt-outs apart; older ones count as seen."""

ROWS_READ_AGAIN = 600
"""How many known rows at the end of a list each poll reads again.

More than a cursor tells apart, so that the loss of some old rows costs no second request.
"""

POLLS_PER_DEEP_READ = 10
"""Every tenth poll reads all rows that a cursor tells apart, if one page is too small for them."""

MOST_REQUESTS = 1000
"""The most requests of one poll; the next poll reads the rest."""

_MOST_REPEATED_PAGES = 3  # in a row: then the list states a false total, or has no end
_KEY_DIGITS = 24
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One row of a list.

    :param key: identifies the row, whenever it is read; holds no number.
    :param sequence: whole number that rises with the time of arrival; ``None`` if that is unknown.
    """

    key: str
    sequence: int | None
    record: Record = field(repr=False)


@dataclass(frozen=True, slots=True)
class FeedConnection:
    """A gateway, and the means to call it.

    :param execute: makes a call.
    :param page_size: rows per request.
    :param hashes: makes keys that hold no number.
    """

    gateway: Gateway
    execute: Callable[[Call[Any]], Awaitable[Any]]
    page_size: int
    hashes: KeyedHash

    async def page(self, capability: str, offset: int, limit: int) -> Page[Any]:
        """Read the rows of a list from an offset, up to a number of rows."""
        requests = page_requests(self.gateway, capability, offset, limit)
        page = None
        while True:
            try:
                call = requests.send(page)
            except StopIteration as end:
                found: Page[Any] = end.value
                return found
            page = await self.execute(call)


WatermarkRule: TypeAlias = "Callable[[Sequence[int]], float]"
"""Takes ascending sequences; returns the one up to which every row counts as seen, or minus infinity."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of reading a list that grows; the constants of these names explain them."""

    keys_kept: int = KEYS_KEPT
    rows_read_again: int = ROWS_READ_AGAIN
    most_requests: int = MOST_REQUESTS

    def row_watermark(self, sequences: Sequence[int]) -> float:
        """Return the sequence below the newest ``keys_kept``: a ``WatermarkRule``."""
        return sequences[-self.keys_kept - 1] if len(sequences) > self.keys_kept else -math.inf


DEFAULT_BOUNDS = Bounds()


def minute_watermark(sequences: Sequence[int]) -> float:
    """Return the sequence ``MINUTES_KEPT`` before the newest: a ``WatermarkRule``."""
    return sequences[-1] - MINUTES_KEPT if sequences else -math.inf


@dataclass(frozen=True, slots=True)
class ReadScope:
    """The rows of a list that its subscribers need from one reading.

    :param is_new: whether a row is new to a subscriber.
    :param floor: every subscriber is done with the rows up to this sequence; infinite if all begin now.
    :param read_back_to: the list is read back to this sequence, however little has arrived; infinite for no
        such need.
    :param has_new_subscribers: whether a subscriber begins now. It counts the rows that are read as seen, and
        older ones too.
    """

    is_new: Callable[[FeedRow], bool]
    floor: float
    read_back_to: float
    has_new_subscribers: bool


class FeedReader(Protocol):
    """Reads one list at every poll."""

    @property
    def unreadable(self) -> int:
        """How many rows the last reading skipped, because they could not be read."""

    @property
    def unlisted(self) -> int:
        """How many rows the gateway counted at the last reading, but did not list."""

    @property
    def is_behind(self) -> bool:
        """Whether the last reading stopped before the newest rows; the next one continues there."""

    async def read(self, connection: FeedConnection, scope: ReadScope) -> list[FeedRow]:
        """Return all new rows, and every row that arrived after the oldest row returned.

        A reader that is behind lacks the newest rows.
        """


class TailReader:
    """Reads the growing end of a list, whichever end that is, and more pages while there are new rows.

    Only one example in the documentation shows that ids ascend along the list, so the reader checks the
    order at each reading. The listed ids tell which rows are new. The stated total only makes it read more:
    a row that comes and a row that leaves cancel out in it.

    :param capability: the field of ``Capabilities`` that says whether there is the list.
    """

    def __init__(self, capability: str, bounds: Bounds = DEFAULT_BOUNDS) -> None:
        self._bounds = bounds
        self.unlisted = 0
        self.is_behind = False
        self._capability = capability
        self._unreadable: frozenset[int] = frozenset()
        self._total: int | None = None
        self._end = 0
        self._is_newest_first = False
        self._polls = 0

    @property
    def unreadable(self) -> int:
        """How many rows the last reading skipped, because they could not be read."""
        return len(self._unreadable)

    async def read(self, connection: FeedConnection, scope: ReadScope) -> list[FeedRow]:
        """Read one page, and more while there may be new rows; at the first reading, one from each end."""
        begin = partial(
            _TailRead,
            connection,
            self._capability,
            scope,
            self._bounds,
            known_total=self._total,
            known_unreadable=self._unreadable,
            is_deep=self._is_deep_read(),
        )
        reading = begin()
        try:
            self._is_newest_first, self._end = await self._read(reading)
        except _RequestLimitReached:
            reading = begin()
            self._end = await self._read_oldest(reading)
        self._total = max(self._end, reading.stated)
        self.unlisted = 0 if reading.is_cut else self._total - self._end
        self.is_behind = reading.is_cut
        self._unreadable = frozenset(reading.unreadable)
        return list(reading.rows.values())

    async def _read_oldest(self, reading: _TailRead) -> int:
        """Read from the oldest new row on, when one poll cannot read all of them."""
        if self._is_newest_first or reading.scope.floor == math.inf:
            raise _RequestLimitReached(self._bounds)
        await reading.page(0)
        start = await reading.bisect(lambda rows: not rows or sequence_of(rows[0]) > reading.scope.floor)
        return await reading.read_to_end(start, await reading.page(start))

    def _is_deep_read(self) -> bool:
        self._polls += 1
        return self._polls % POLLS_PER_DEEP_READ == 0

    async def _read(self, reading: _TailRead) -> tuple[bool, int]:
        if self._total is None or self._is_newest_first:
            first = await reading.page(0)
            total = reading.total
            if _mostly_descends(first) or total <= reading.length:
                await reading.read_forwards(first)
                return _mostly_descends(first), total
            if self._is_newest_first:
                reading.add(first)
        start, last = await self._last_page(reading)
        if start and _mostly_descends(last) and _mostly_descends(first := await reading.page(0)):
            total = reading.total
            await reading.read_forwards(first)
            return True, total
        end = await reading.read_to_end(start, last)
        if not reading.is_cut:
            await reading.read_backwards(start, last)
        elif self._total is None:
            # No poll has read the older rows yet, and their events come before those of newer rows.
            raise _RequestLimitReached(self._bounds)
        return False, end

    async def _last_page(self, reading: _TailRead) -> tuple[int, list[FeedRow]]:
        known = reading.total if self._total is None else self._end
        start = max(0, known - reading.overlap)
        last = await reading.page(start)
        if start and not reading.length and reading.total < known:
            start = max(0, reading.total - reading.overlap)
            last = await reading.page(start)
        if start and not reading.length:
            end = await reading.bisect(lambda rows: not rows and not reading.length)
            start = max(0, end - reading.overlap)
            last = await reading.page(start)
        return start, last


class _RequestLimitReached(GatewayUnavailable):
    """One poll cannot read the list."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(
            f"{bounds.most_requests} requests did not reach the end of the new rows. No message is skipped; "
            "a later poll asks again."
        )


class _TailRead:
    """One reading of the end of a list."""

    def __init__(
        self,
        connection: FeedConnection,
        capability: str,
        scope: ReadScope,
        bounds: Bounds,
        *,
        known_total: int | None,
        known_unreadable: Collection[int],
        is_deep: bool,
    ) -> None:
        self.rows: dict[str, FeedRow] = {}
        self.total = 0
        """The length of the list, by the last answer."""
        self.stated = 0
        """The length of the list, by the answer at its end."""
        self.length = 0
        """How many positions of the list the last page covered."""
        self.unreadable: set[int] = set()
        """The positions of rows that cannot be read."""
        self.is_cut = False
        """Whether the reading stopped before the newest rows."""
        self.scope = scope
        self._connection = connection
        self._capability = capability
        self._bounds = bounds
        self._requests = 0
        self._rows_met = 0
        self._repeated = 0
        self._known_total = known_total
        self._known_unreadable = known_unreadable
        self._is_deep = is_deep
        self._new_rows = 0
        self._known_rows = 0
        # The order of a list shows only in two rows or more.
        self._size = max(2, connection.page_size)
        self.overlap = min(bounds.rows_read_again, self._size)

    async def page(self, offset: int, limit: int | None = None) -> list[FeedRow]:
        """Read a page."""
        if self._is_exhausted:
            raise _RequestLimitReached(self._bounds)
        self._requests += 1
        page = await self._connection.page(self._capability, offset, limit or self._size)
        self.total, self.length = page.total, page.length
        self.unreadable.update(offset + position for position in page.unreadable_at)
        return [_message_row(row) for row in page.rows]

    async def read_to_end(self, start: int, rows: list[FeedRow]) -> int:
        """Add a page and all pages after it. Return the position where the list, or the reading, ends."""
        self.add(rows)
        start += self.length
        while self.length and start < self.total and not self._only_repeats:
            if self._is_exhausted:
                self.is_cut = True
                break
            self.add(await self.page(start))
            start += self.length
        self.stated = self.total
        return start

    async def bisect(self, is_reached: Callable[[list[FeedRow]], bool]) -> int:
        """Return the first position whose row meets a condition that all later rows meet."""
        low, high = 0, self.total
        while low < high:
            middle = (low + high) // 2
            if is_reached(await self.page(middle, 1)):
                high = middle
            else:
                low = middle + 1
        return low

    @property
    def _is_exhausted(self) -> bool:
        return self._requests >= self._bounds.most_requests

    @property
    def _only_repeats(self) -> bool:
        return self._repeated >= _MOST_REPEATED_PAGES

    async def read_forwards(self, rows: list[FeedRow]) -> None:
        """Add the first page of a list with the newest rows first, and the pages after it."""
        self.add(rows)
        offset = self.length
        while offset < self.total and self._must_read_on(rows, rows[-1:]):
            rows = await self.page(offset)
            if not self.length:
                return
            self.add(rows)
            offset += self.length

    async def read_backwards(self, start: int, rows: list[FeedRow]) -> None:
        """Add the pages before one near the end of a list with the newest rows last."""
        while start > 0 and self._must_read_on(rows, rows[:1]):
            stop, start = start, max(0, start - self._size)
            rows = await self._between(start, stop)
            self.add(rows)

    async def _between(self, start: int, stop: int) -> list[FeedRow]:
        found: list[FeedRow] = []
        while start < stop:
            found += await self.page(start, stop - start)
            if not self.length:
                break
            start += self.length
        return found

    def add(self, rows: Iterable[FeedRow]) -> None:
        """Add rows, each once."""
        for row in rows:
            if row.key not in self.rows:
                self.rows[row.key] = row
                is_new = self.scope.is_new(row)
                self._new_rows += is_new
                self._known_rows += not is_new
        before, self._rows_met = self._rows_met, len(self.rows) + len(self.unreadable)
        if self.length:
            self._repeated = 0 if self._rows_met > before else self._repeated + 1

    def _must_read_on(self, rows: list[FeedRow], edge: list[FeedRow]) -> bool:
        """Whether there may be new rows beyond a page.

        :param edge: the row of the page next to the rows that are not read yet.
        """
        if self._only_repeats:
            return False
        if not rows:
            return True
        has_all_kept = self._known_rows > self._bounds.keys_kept
        if self.scope.has_new_subscribers and not has_all_kept:
            return True
        highest = max(map(sequence_of, rows))
        is_ordered = _is_descending(rows) or _is_descending(rows[::-1])
        if is_ordered and highest <= self.scope.floor:
            return False
        # More new rows than growth: rows have left the list, and other rows may have come late.
        new_rows = self._new_rows + len(self.unreadable.difference(self._known_unreadable))
        growth = new_rows if self._known_total is None else self.total - self._known_total
        return (
            new_rows < growth
            or any(map(self.scope.is_new, edge))
            or highest > self.scope.read_back_to
            or (self.scope.has_new_subscribers and not is_ordered)
            or (not has_all_kept and (self._is_deep or new_rows > growth))
        )


def sequence_of(row: FeedRow) -> float:
    """Return a row's sequence to sort by; rows without one come first."""
    return -math.inf if row.sequence is None else row.sequence


def _is_descending(rows: Sequence[FeedRow]) -> bool:
    return len(rows) > 1 and all(
        sequence_of(row) > sequence_of(following) for row, following in pairwise(rows)
    )


def _mostly_descends(rows: Sequence[FeedRow]) -> bool:
    """Whether sequences mostly descend along rows: a few late rows do not change the order of a list."""
    steps = [sequence_of(row) - sequence_of(following) for row, following in pairwise(rows)]
    return sum(step > 0 for step in steps) > sum(step < 0 for step in steps)


def _message_row(row: IncomingMessage) -> FeedRow:
    """Return a row with its id as its sequence; or its time, if the ids of the gateway have no order."""
    if isinstance(row.message_id, int):
        return FeedRow(str(row.message_id), row.message_id, row)
    received = None if row.received_at is None else int(row.received_at.timestamp() * _MICROSECONDS)
    return FeedRow(row.message_id, received, row)


class SnapshotReader:
    """Reads the opt-outs, which a gateway always lists completely.

    :param now: the present in seconds since the epoch; a seam for tests.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.unreadable = 0
        self.unlisted = 0
        self.is_behind = False

    async def read(self, connection: FeedConnection, scope: ReadScope) -> list[FeedRow]:
        """Read the list once, and leave out the rows that every subscriber is done with."""
        rows: Columns[OptOut] = await connection.execute(connection.gateway.opt_outs())
        self.unreadable = rows.unreadable
        latest = self._now() // 60 + MINUTES_KEPT
        sequenced = [(row, _minute_of(row, latest)) for row in rows]
        newest = max((sequence for _, sequence in sequenced if sequence is not None), default=0)
        floor = min(newest - MINUTES_KEPT, scope.floor)
        return [
            FeedRow(_opt_out_key(row, sequence, connection.hashes), sequence, row)
            for row, sequence in sequenced
            if sequence is None or sequence > floor
        ]


def _minute_of(row: OptOut, latest: float) -> int | None:
    """Return the minute of a row; ``None`` for one in the future, which would make others count as seen."""
    if row.opted_out_at is None:
        return None
    minute = int(row.opted_out_at.timestamp() // 60)
    return minute if minute <= latest else None


def _opt_out_key(row: OptOut, sequence: int | None, hashes: KeyedHash) -> str:
    return hashes.of_parts("opt-out", row.number, str(sequence), str(row.message_id))[:_KEY_DIGITS]


@dataclass(frozen=True, slots=True)
class WatchedList:
    """A list that can be watched.

    :param noun: the singular word for one row.
    :param poll_interval: seconds between two polls, by default.
    :param watermark_of: returns the sequence up to which all rows count as seen.
    :param reader: makes a reader of the list.
    """

    name: str
    noun: str
    poll_interval: float
    watermark_of: WatermarkRule
    reader: Callable[[], FeedReader]


def lists_within(bounds: Bounds) -> Mapping[str, WatchedList]:
    """Return every list by its name. Opt-outs are polled less often: each answer holds all of them."""
    lists = (
        WatchedList(
            "incoming",
            "incoming message",
            30.0,
            bounds.row_watermark,
            lambda: TailReader("incoming", bounds),
        ),
        WatchedList(
            "short_code",
            "short code message",
            30.0,
            bounds.row_watermark,
            lambda: TailReader("short_code", bounds),
        ),
        WatchedList("opt_outs", "opt-out", 300.0, minute_watermark, SnapshotReader),
    )
    return {watched.name: watched for watched in lists}


LISTS = lists_within(DEFAULT_BOUNDS)


def list_named(name: object) -> WatchedList:
    """Return a list by its name.

    :raises InvalidMessage: if there is none of that name.
    """
    check_choice("dataset", name, LISTS)
    return LISTS[cast("str", name)]
