"""Reading a list of the gateway page by page, some pages ahead, while it changes.

No document promises an order, and rows arrive, or leave, meanwhile. What a load makes of that stands in
``load``; here is how it is read. A page range is what one request should bring, and a chunk one page of
it, ready to be staged.
"""

from __future__ import annotations

import heapq
import threading
import time
from array import array
from contextlib import closing
from dataclasses import replace
from itertools import accumulate, chain, groupby, pairwise
from operator import attrgetter, sub
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from airflow_provider_winsms.exceptions import GatewayUnavailable
from airflow_provider_winsms.gateways.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from airflow_provider_winsms.messages import Page
    from airflow_provider_winsms.warehouse.mapping import Chunk

T = TypeVar("T")

MOST_ROWS = 10**9
"""A list that states more than a billion rows states something else."""

MOST_REPEATED_PAGES = 100
"""So many pages may have no row to read, or begin with the row of an earlier one, as rows move meanwhile."""

_ENDLESS = "The list does not end: the gateway"
_LATER = "Nothing was loaded; a later try asks again."
_KEPT = 1
"""So many pages for each request on its way may wait for the database, which takes many at a time."""

PROGRESS_SECONDS = 5.0
"""How often a long load says how far it is."""


class ProgressLog:
    """Says in the log how far a load is, every few seconds.

    :param clock: monotonic seconds; a seam for tests.
    """

    def __init__(self, log: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._began = self._said = clock()
        self._read = 0

    def note(self, pages: int, of_pages: int, rows: int) -> None:
        """Note that one more page was read: which one, of how many, and how many rows in all.

        A list may be read again from its start; the time that a page takes is that of all that were read.
        """
        now = self._clock()
        self._read += 1
        if now - self._said < PROGRESS_SECONDS:
            return
        self._said, taken = now, now - self._began
        left = taken / self._read * max(0, of_pages - pages)
        self._log.info(
            "Read %d of %d pages, %d rows, %.0f rows per second; about %.0f s left.",
            pages,
            max(pages, of_pages),
            rows,
            rows / taken,
            left,
        )


class Ids:
    """Message ids that were read, at a byte each or some: of each page the lowest, and the steps between."""

    def __init__(self) -> None:
        self._parts: list[_IdRun] = []

    def add(self, ids: Sequence[int]) -> None:
        """Add those of one page, which are not sorted."""
        if ids:
            self._parts.append(_IdRun.of(sorted(ids)))

    @property
    def low(self) -> int | None:
        """The lowest, if there is any."""
        return min((part.low for part in self._parts), default=None)

    @property
    def high(self) -> int | None:
        """The highest, if there is any."""
        return max((part.high for part in self._parts), default=None)

    def each(self) -> Iterator[int]:
        """Yield each once, in ascending order."""
        parts = sorted(self._parts, key=attrgetter("low"))
        ascend = all(before.high < after.low for before, after in pairwise(parts))
        ids = map(_IdRun.ids, parts)
        together = chain.from_iterable(ids) if ascend else heapq.merge(*ids)
        return (each for each, _ in groupby(together))

    def count(self) -> int:
        """Count them, each once."""
        return sum(1 for _ in self.each())


class _IdRun(NamedTuple):
    low: int
    high: int
    steps: array[int]

    @classmethod
    def of(cls, ids: Sequence[int]) -> _IdRun:
        """Take ids in ascending order."""
        steps = list(map(sub, ids[1:], ids))
        longest = max(steps, default=0)
        width = next(code for code in "BHLQ" if longest < 1 << 8 * array(code).itemsize)
        return cls(ids[0], ids[-1], array(width, steps))

    def ids(self) -> Iterator[int]:
        return accumulate(self.steps, initial=self.low)


class PageRange(NamedTuple):
    """A part of the list that was read.

    :param chunks: of those rows that can be read.
    :param end: the place behind the last row that was read of it.
    :param is_dry: whether a page had no row, though the total says that there is one.
    """

    chunks: list[Chunk]
    end: int
    is_dry: bool


class PagedList(Generic[T]):
    """A list of the gateway.

    :param fetch: asks for one page: offset, limit. Threads do.
    :param prepare: makes the rows of a page ready; in the thread that fetched it.
    :param most_ahead: how many requests may be on their way.
    :param may_shrink: whether rows leave the list, so that others move up. Each page is then asked for with
        the row before it, to see whether that still is where it was.
    :param rows_arrive: so many rows, beside as many as there were, may come while the list is read once.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], Page[T]],
        prepare: Callable[[Any], Chunk],
        page_size: int,
        most_ahead: int,
        progress: ProgressLog,
        *,
        may_shrink: bool = False,
        rows_arrive: int = 10**6,
    ) -> None:
        self._fetch = fetch
        self._prepare = prepare
        self._most_ahead = most_ahead
        self._progress = progress
        self._may_shrink = may_shrink
        self._rows_arrive = rows_arrive
        self._edges: dict[int, Any] = {}
        self._counting = threading.Lock()
        self._begin(0, None)
        self.page_size = page_size
        self.requests = 0
        self.rows_read = 0
        self.total = 0
        """How many rows the list has, by the answer that said most since it was last read from its start."""
        self.has_moved = False
        """Whether a row was seen at two places since then, if the list may shrink."""
        self._unreadable: set[int] = set()
        self._first_total: int | None = None
        self._first_keys: set[Any] = set()
        self._repeated = 0

    @property
    def unreadable(self) -> int:
        """How many places of the list were read since then whose rows cannot be read."""
        return len(self._unreadable)

    def unreadable_in(self, start: int, stop: int) -> int:
        """Count those of a part of the list."""
        return sum(start <= place < stop for place in self._unreadable)

    def first(self) -> Page[T]:
        """Read the first row, or the first page if that row cannot be read, and learn the total."""
        self.total = 0
        return self.readable_from(0)

    def last(self) -> Page[T]:
        """Read the last row, or the last page if that row cannot be read."""
        page = self._page(max(0, self.total - 1), 1)
        return page if page.rows else self._page(max(0, self.total - self.page_size), self.page_size)

    def readable_from(self, offset: int) -> Page[T]:
        """Read the row at a place, or a page from there if that row cannot be read."""
        page = self._page(offset, 1)
        return self._page(offset, self.page_size) if page.unreadable else page

    def look_at(self, offset: int, limit: int) -> None:
        """Read a page only to see which of its rows cannot be read."""
        self._page(offset, limit)

    def to_end(self, start: int) -> Generator[Chunk]:
        """Yield the pages from a place to the end of the list, which may move away meanwhile."""
        if start == 0:
            self.total, self.has_moved = 0, False
            self._first_total = None
            self._edges.clear()
            self._unreadable.clear()
        self._begin(start, None)
        first = self._page_range((start, start + self.page_size))
        yield from first.chunks
        end, is_dry = first.end, first.is_dry
        while end < self.total and not is_dry:
            begins = range(end, self.total, self.page_size)
            parts = ((begin, begin + self.page_size) for begin in begins)
            with closing(self._page_ranges(parts)) as ranges_of_pages:
                for range_of_pages in ranges_of_pages:
                    yield from range_of_pages.chunks
                    end, is_dry = range_of_pages.end, range_of_pages.is_dry
                    if is_dry:
                        break

    def between(self, start: int, stop: int) -> Generator[Chunk]:
        """Yield the pages of a part of the list."""
        self._begin(start, stop)
        begins = range(start, stop, self.page_size)
        parts = [(begin, min(begin + self.page_size, stop)) for begin in begins]
        with closing(self._page_ranges(parts)) as ranges_of_pages:
            for range_of_pages in ranges_of_pages:
                yield from range_of_pages.chunks
                if range_of_pages.is_dry:
                    break

    def _begin(self, start: int, stop: int | None) -> None:
        self._pages_read, self._start, self._stop = 0, start, stop
        self._first_keys, self._repeated = set(), 0

    def _page_ranges(self, parts: Iterable[tuple[int, int]]) -> Generator[PageRange]:
        most = self._most_ahead
        with closing(prefetch(self._page_range, parts, most, buffered=_KEPT * most)) as read:
            for _, range_of_pages in read:
                yield range_of_pages

    def _page_range(self, part: tuple[int, int]) -> PageRange:
        """Read what one request should bring: more than one, if pages are shorter, or repeat rows."""
        (end, stop), chunks, is_dry = part, [], False
        while not is_dry:
            page = self._page(end, stop - end)
            keys: Sequence[Any] = ()
            if page.rows:
                chunks.append(self._prepare(page.rows))
                keys = chunks[-1].keys
            self._refuse_repeats(keys)
            length = page.unreadable + len(keys)
            end += min(length, stop - end)
            is_dry = not length and end < self.total
            if end >= min(stop, self.total):
                break
        self._note()
        return PageRange(chunks, end, is_dry)

    def _page(self, offset: int, limit: int) -> Page[T]:
        before = min(offset, 1) if self._may_shrink else 0
        page = self._fetch(offset - before, limit + before)
        total = self._believable(page, offset - before, limit + before)
        with self._counting:
            self.requests += 1
            self._refuse_endless(total)
            self.total = max(self.total, total)
            if self._may_shrink:
                self._look_at_edges(page, offset - before, before)
            self._unreadable.update(offset - before + place for place in page.unreadable_at)
            if before:
                page = _without_first(page)
            self.rows_read += len(page.rows)
        return page

    @staticmethod
    def _believable(page: Page[Any], offset: int, limit: int) -> int:
        """Return the total, or the end of the list where a page shows that there is more than is stated."""
        if offset + page.length <= page.total:
            return page.total
        rows = len({row.message_id for row in page.rows}) + page.unreadable
        if offset + rows > page.total and rows >= limit:
            msg = "The gateway lists more rows than it states, and perhaps others. A later try asks again."
            raise GatewayUnavailable(msg)
        return max(offset + rows, page.total) if rows else page.total

    def _refuse_endless(self, total: int) -> None:
        if self._first_total is None:
            self._first_total = total
        if total > min(MOST_ROWS, 2 * self._first_total + self._rows_arrive):
            msg = f"{_ENDLESS} states {total} rows, after {self._first_total} at first. {_LATER}"
            raise GatewayUnavailable(msg)

    def _refuse_repeats(self, keys: Sequence[Any]) -> None:
        with self._counting:
            self._repeated += not keys or keys[0] in self._first_keys
            self._first_keys.update(keys[:1])
            if self._repeated > MOST_REPEATED_PAGES:
                msg = f"{_ENDLESS} states {self.total} rows, and repeats its pages. {_LATER}"
                raise GatewayUnavailable(msg)

    def _look_at_edges(self, page: Page[Any], offset: int, before: int) -> None:
        self.has_moved |= page.length < before
        rows = dict(zip(page.readable_at(), page.rows, strict=True))
        for place in {0, page.length - 1} if page.length else ():
            # Of two rows that cannot be read nothing tells whether they are one.
            found = rows[place].message_id if place in rows else None
            self.has_moved |= self._edges.setdefault(offset + place, found) != found

    def _note(self) -> None:
        with self._counting:
            self._pages_read += 1
            rows = (self.total if self._stop is None else self._stop) - self._start
            self._progress.note(self._pages_read, -(-rows // self.page_size), self.rows_read)


def _without_first(page: Page[T]) -> Page[T]:
    is_readable = 0 not in page.unreadable_at
    left = tuple(place - 1 for place in page.unreadable_at if place)
    return replace(page, rows=page.rows[is_readable:], unreadable_at=left)
