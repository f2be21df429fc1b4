"""Reading what has arrived: the end of a list that grows, or the whole of one that does not.

Like the rest of ``watching``, which uses it, it knows neither Airflow nor HTTP.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from airflow_provider_winsms.exceptions import GatewayUnavailable, UnsupportedCapability
from airflow_provider_winsms.options import check_choice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from airflow_provider_winsms.gateways.base import Call, Gateway
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.messages import Columns, IncomingMessage, OptOut, Page

    Row: TypeAlias = IncomingMessage | OptOut
    PageCall: TypeAlias = Callable[[Gateway, int, int], Call[Page[IncomingMessage]]]

KEYS_KEPT = 500
"""How many messages, the newest, a cursor tells apart; whatever is older counts as seen."""

MINUTES_KEPT = 24 * 60
"""How many minutes before the newest opt-out a cursor tells opt-outs apart; older ones count as seen."""

ROWS_READ_AGAIN = 600
"""How many rows at the end of a list are read at each poll, though they were read before.

More than a cursor tells apart, so that the loss of some old rows costs no second request.
"""

POLLS_PER_DEEP_LOOK = 10
"""At every tenth poll all rows that a cursor tells apart are read, where a page is too small for them."""

MOST_REQUESTS = 1000
"""How many requests one poll makes at most; what they did not reach, the next poll reads."""

_MOST_REPEATED_PAGES = 3  # in a row: as many pages of a list that states a false total, or has no end
_KEY_DIGITS = 24


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One row of a list.

    :param key: tells it from all others, whenever it is read; holds no number.
    :param sequence: whole number that rises with the time of arrival; ``None`` if that is unknown.
    """

    key: str
    sequence: int | None
    row: Row = field(repr=False)


@dataclass(frozen=True, slots=True)
class FeedConnection:
    """A gateway that can be asked.

    :param execute: carries out a call.
    :param page_size: rows asked for in one request.
    :param hashes: makes keys that hold no number.
    """

    gateway: Gateway
    execute: Callable[[Call[Any]], Awaitable[Any]]
    page_size: int
    hashes: KeyedHash


Overlap: TypeAlias = "Callable[[Sequence[int]], float]"
"""Returns, of ascending sequences, the one up to which all rows count as seen; minus infinity for none."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a list that grows is told apart and read; each as the constant of that name says."""

    keys_kept: int = KEYS_KEPT
    rows_read_again: int = ROWS_READ_AGAIN
    most_requests: int = MOST_REQUESTS

    def newest_rows(self, sequences: Sequence[int]) -> float:
        """Return the sequence that lies below the newest that are kept."""
        return sequences[-self.keys_kept - 1] if len(sequences) > self.keys_kept else -math.inf


USUAL_BOUNDS = Bounds()


def newest_minutes(sequences: Sequence[int]) -> float:
    """Return the sequence ``MINUTES_KEPT`` minutes before the newest."""
    return sequences[-1] - MINUTES_KEPT if sequences else -math.inf


@dataclass(frozen=True, slots=True)
class Need:
    """What those who follow a list need of it at one reading.

    :param is_news: whether a row is new to any of them.
    :param floor: the sequence up to which all of them are done with everything; infinite if all begin now.
    :param reach: the sequence down to which the list is read, however little has arrived; infinite for none.
    :param has_beginners: whether somebody begins now, who counts what is read as seen, and what is older.
    """

    is_news: Callable[[FeedRow], bool]
    floor: float
    reach: float
    has_beginners: bool


class FeedReader(Protocol):
    """Reads one list, over and over."""

    @property
    def unreadable(self) -> int:
        """How many rows the last reading passed over, as they could not be read."""

    @property
    def unlisted(self) -> int:
        """How many rows the gateway stated at the last reading, and did not list."""

    @property
    def is_behind(self) -> bool:
        """Whether the last reading stopped before the newest rows; the next one goes on from there."""

    async def read(self, line: FeedConnection, need: Need) -> list[FeedRow]:
        """Return at least the rows that are news, and all that arrived after the oldest of those returned.

        A reader that is behind lacks the newest.
        """


class TailReader:
    """Reads the end of a list that grows, whichever end that is, and further while there is news.

    That ids ascend along the list is only to be seen in one example, so it is looked at, not relied on. What
    is new is told by the ids that are listed. The total that the gateway states only makes it read more: a
    row that comes and a row that leaves cancel out in it.

    :param call: describes the request for a page.
    """

    def __init__(self, call: PageCall, bounds: Bounds = USUAL_BOUNDS) -> None:
        self._bounds = bounds
        self.unlisted = 0
        self.is_behind = False
        self._call = call
        self._unreadable: frozenset[int] = frozenset()
        self._total: int | None = None
        self._end = 0
        self._is_newest_first = False
        self._polls = 0

    @property
    def unreadable(self) -> int:
        """How many rows the last reading passed over, as they could not be read."""
        return len(self._unreadable)

    async def read(self, line: FeedConnection, need: Need) -> list[FeedRow]:
        """Read one page, and more if there may be more news; at the first reading, one from each end."""
        begin = partial(
            _TailReading,
            line,
            self._call,
            need,
            self._bounds,
            known_total=self._total,
            known_unreadable=self._unreadable,
            is_deep=self._is_deep_look(),
        )
        reading = begin()
        try:
            self._is_newest_first, self._end = await self._read(reading)
        except _TooLongError:
            reading = begin()
            self._end = await self._read_oldest(reading)
        self._total = max(self._end, reading.stated)
        self.unlisted = 0 if reading.is_cut else self._total - self._end
        self.is_behind = reading.is_cut
        self._unreadable = frozenset(reading.unreadable)
        return list(reading.entries.values())

    async def _read_oldest(self, reading: _TailReading) -> int:
        """Read from the oldest news on, where there are too many for one poll."""
        if self._is_newest_first or reading.need.floor == math.inf:
            raise _TooLongError(self._bounds)
        await reading.page(0)
        start = await reading.first_place(lambda rows: not rows or sequence_of(rows[0]) > reading.need.floor)
        return await reading.to_end(start, await reading.page(start))

    def _is_deep_look(self) -> bool:
        self._polls += 1
        return self._polls % POLLS_PER_DEEP_LOOK == 0

    async def _read(self, reading: _TailReading) -> tuple[bool, int]:
        if self._total is None or self._is_newest_first:
            first = await reading.page(0)
            total = reading.total
            if _falls(first) or total <= reading.length:
                await reading.forwards(first)
                return _falls(first), total
            if self._is_newest_first:
                reading.keep(first)
        start, last = await self._last_page(reading)
        if start and _falls(last) and _falls(first := await reading.page(0)):
            total = reading.total
            await reading.forwards(first)
            return True, total
        end = await reading.to_end(start, last)
        if not reading.is_cut:
            await reading.backwards(start, last)
        elif self._total is None:
            # What is older was not read before, and must be told before what is newer.
            raise _TooLongError(self._bounds)
        return False, end

    async def _last_page(self, reading: _TailReading) -> tuple[int, list[FeedRow]]:
        known = reading.total if self._total is None else self._end
        start = max(0, known - reading.overlap)
        last = await reading.page(start)
        if start and not reading.length and reading.total < known:
            start = max(0, reading.total - reading.overlap)
            last = await reading.page(start)
        if start and not reading.length:
            end = await reading.first_place(lambda rows: not rows and not reading.length)
            start = max(0, end - reading.overlap)
            last = await reading.page(start)
        return start, last


class _TooLongError(GatewayUnavailable):
    """One poll is not enough to read the list."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(
            f"{bounds.most_requests} requests did not reach the end of what is new in the list. No message "
            "is passed over; a later poll asks again."
        )


class _TailReading:
    """One reading of the end of a list."""

    def __init__(
        self,
        line: FeedConnection,
        call: PageCall,
        need: Need,
        bounds: Bounds,
        *,
        known_total: int | None,
        known_unreadable: Collection[int],
        is_deep: bool,
    ) -> None:
        self.entries: dict[str, FeedRow] = {}
        self.total = 0
        """How many rows the list has, by the last answer."""
        self.stated = 0
        """The same, by the answer at the end of the list."""
        self.length = 0
        """How many places of the list the last page covered."""
        self.unreadable: set[int] = set()
        """The places in the list of rows that cannot be read."""
        self.is_cut = False
        """Whether it stopped before the newest rows."""
        self.need = need
        self._line = line
        self._call = call
        self._bounds = bounds
        self._requests = 0
        self._met = 0
        self._repeated = 0
        self._known_total = known_total
        self._known_unreadable = known_unreadable
        self._is_deep = is_deep
        self._news = 0
        self._known = 0
        # Of one row nobody can tell in which order the list is.
        self._size = max(2, line.page_size)
        self.overlap = min(bounds.rows_read_again, self._size)

    async def page(self, offset: int, limit: int | None = None) -> list[FeedRow]:
        """Read a page."""
        if self._is_spent:
            raise _TooLongError(self._bounds)
        self._requests += 1
        call = self._call(self._line.gateway, offset, limit or self._size)
        page = await self._line.execute(call)
        self.total, self.length = page.total, page.length
        self.unreadable.update(offset + place for place in page.unreadable_at)
        return [_message_entry(row) for row in page.rows]

    async def to_end(self, start: int, rows: list[FeedRow]) -> int:
        """Take in a page, and all that follows it. Return where the list ends, or the reading."""
        self.keep(rows)
        start += self.length
        while self.length and start < self.total and not self._only_repeats:
            if self._is_spent:
                self.is_cut = True
                break
            self.keep(await self.page(start))
            start += self.length
        self.stated = self.total
        return start

    async def first_place(self, is_reached: Callable[[list[FeedRow]], bool]) -> int:
        """Find the first place of the list whose row answers a question with yes, as all after it do."""
        low, high = 0, self.total
        while low < high:
            middle = (low + high) // 2
            if is_reached(await self.page(middle, 1)):
                high = middle
            else:
                low = middle + 1
        return low

    @property
    def _is_spent(self) -> bool:
        return self._requests >= self._bounds.most_requests

    @property
    def _only_repeats(self) -> bool:
        return self._repeated >= _MOST_REPEATED_PAGES

    async def forwards(self, rows: list[FeedRow]) -> None:
        """Take in the first page of a list that has the newest rows first, and those after it."""
        self.keep(rows)
        offset = self.length
        while offset < self.total and self._goes_on(rows, rows[-1:]):
            rows = await self.page(offset)
            if not self.length:
                return
            self.keep(rows)
            offset += self.length

    async def backwards(self, start: int, rows: list[FeedRow]) -> None:
        """Take in the pages before one near the end of a list that has the newest rows last."""
        while start > 0 and self._goes_on(rows, rows[:1]):
            stop, start = start, max(0, start - self._size)
            rows = await self._between(start, stop)
            self.keep(rows)

    async def _between(self, start: int, stop: int) -> list[FeedRow]:
        found: list[FeedRow] = []
        while start < stop:
            found += await self.page(start, stop - start)
            if not self.length:
                break
            start += self.length
        return found

    def keep(self, entries: Iterable[FeedRow]) -> None:
        """Take in rows, those that were taken in before once."""
        for entry in entries:
            if entry.key not in self.entries:
                self.entries[entry.key] = entry
                is_news = self.need.is_news(entry)
                self._news += is_news
                self._known += not is_news
        before, self._met = self._met, len(self.entries) + len(self.unreadable)
        if self.length:
            self._repeated = 0 if self._met > before else self._repeated + 1

    def _goes_on(self, rows: list[FeedRow], edge: list[FeedRow]) -> bool:
        """Whether there may be news beyond a page.

        :param edge: the row of the page that is next to what was not read.
        """
        if self._only_repeats:
            return False
        if not rows:
            return True
        has_all_kept = self._known > self._bounds.keys_kept
        if self.need.has_beginners and not has_all_kept:
            return True
        highest = max(map(sequence_of, rows))
        is_ordered = _descends(rows) or _descends(rows[::-1])
        if is_ordered and highest <= self.need.floor:
            return False
        # Where more is new than the list has grown by, rows have left it, and others may have come late.
        news = self._news + len(self.unreadable.difference(self._known_unreadable))
        growth = news if self._known_total is None else self.total - self._known_total
        return (
            news < growth
            or any(map(self.need.is_news, edge))
            or highest > self.need.reach
            or (self.need.has_beginners and not is_ordered)
            or (not has_all_kept and (self._is_deep or news > growth))
        )


def sequence_of(entry: FeedRow) -> float:
    """Return an entry's sequence to sort by; what has none comes first."""
    return -math.inf if entry.sequence is None else entry.sequence


def _descends(rows: Sequence[FeedRow]) -> bool:
    return len(rows) > 1 and all(
        sequence_of(row) > sequence_of(following) for row, following in pairwise(rows)
    )


def _falls(rows: Sequence[FeedRow]) -> bool:
    """Whether sequences mostly fall along rows: a few late rows do not change the order of a list."""
    steps = [sequence_of(row) - sequence_of(following) for row, following in pairwise(rows)]
    return sum(step > 0 for step in steps) > sum(step < 0 for step in steps)


def _message_entry(row: IncomingMessage) -> FeedRow:
    if not isinstance(row.message_id, int):
        msg = "The ids of this gateway are not whole numbers, so its messages cannot be watched."
        raise UnsupportedCapability(msg)
    return FeedRow(str(row.message_id), row.message_id, row)


class SnapshotReader:
    """Reads the opt-outs, which a gateway always lists as a whole.

    :param now: the present in seconds since the epoch; a seam for tests.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.unreadable = 0
        self.unlisted = 0
        self.is_behind = False

    async def read(self, line: FeedConnection, need: Need) -> list[FeedRow]:
        """Ask once, and leave out what everybody is done with."""
        rows: Columns[OptOut] = await line.execute(line.gateway.opt_outs())
        self.unreadable = rows.unreadable
        latest = self._now() // 60 + MINUTES_KEPT
        ranked = [(row, _minute(row, latest)) for row in rows]
        newest = max((sequence for _, sequence in ranked if sequence is not None), default=0)
        floor = min(newest - MINUTES_KEPT, need.floor)
        return [
            FeedRow(_opt_out_key(row, sequence, line.hashes), sequence, row)
            for row, sequence in ranked
            if sequence is None or sequence > floor
        ]


def _minute(row: OptOut, latest: float) -> int | None:
    """Return the minute of a row; of one in the future none, as others would count as seen because of it."""
    if row.opted_out_at is None:
        return None
    minute = int(row.opted_out_at.timestamp() // 60)
    return minute if minute <= latest else None


def _opt_out_key(row: OptOut, sequence: int | None, hashes: KeyedHash) -> str:
    return hashes.of_parts("opt-out", row.number, str(sequence), str(row.message_id))[:_KEY_DIGITS]


@dataclass(frozen=True, slots=True)
class WatchedList:
    """A list that can be watched.

    :param noun: what one row of it is called, in the singular.
    :param poll_interval: seconds between two polls unless others are asked for.
    :param overlap: how many of its rows a cursor tells apart.
    :param reader: makes what reads it.
    """

    name: str
    noun: str
    poll_interval: float
    overlap: Overlap
    reader: Callable[[], FeedReader]


def lists_within(bounds: Bounds) -> Mapping[str, WatchedList]:
    """Return every list by its name. Opt-outs are asked for less often, as each answer holds all of them."""
    lists = (
        WatchedList(
            "incoming",
            "incoming message",
            30.0,
            bounds.newest_rows,
            lambda: TailReader(lambda gateway, offset, limit: gateway.incoming(offset, limit), bounds),
        ),
        WatchedList(
            "short_code",
            "short code message",
            30.0,
            bounds.newest_rows,
            lambda: TailReader(lambda gateway, offset, limit: gateway.short_code(offset, limit), bounds),
        ),
        WatchedList("opt_outs", "opt-out", 300.0, newest_minutes, SnapshotReader),
    )
    return {each.name: each for each in lists}


LISTS = lists_within(USUAL_BOUNDS)


def list_named(name: object) -> WatchedList:
    """Return a list by its name.

    :raises InvalidMessage: if there is none of that name.
    """
    check_choice("dataset", name, LISTS)
    return LISTS[cast("str", name)]
