"""A paged list of the gateway, read some pages ahead while it changes.

No document promises an order, and rows arrive or leave during a load. ``load`` decides what follows from
that; this module reads. A page range is the part of the list that one request should return. A chunk is one
page of it, ready to be staged.
"""

from __future__ import annotations

import heapq
import threading
import time
from array import array
from contextlib import closing
from dataclasses import replace
from itertools import accumulate, chain, groupby, pairwise, zip_longest
from operator import attrgetter, sub
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from airflow_provider_winsms.exceptions import GatewayUnavailable
from airflow_provider_winsms.gateways.prefetch import prefetch
from airflow_provider_winsms.runtime import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from airflow_provider_winsms.messages import MessageId, Page
    from airflow_provider_winsms.warehouse.mapping import Chunk

T = TypeVar("T")

MOST_ROWS = 10**9
"""A total above a billion rows is no total."""

MOST_REPEATED_PAGES = 100
"""How many pages may have no readable row, or repeat the first row of an earlier page, because rows move."""

_ENDLESS = "The list does not end: the gateway"
_LATER = "Nothing was loaded; a later try asks again."
_PAGES_BUFFERED = 1
"""How many pages per concurrent request may wait for the database, which takes many at a time."""


class ProgressLog:
    """Logs the progress of a load, every few seconds.

    :param clock: monotonic seconds; a seam for tests.
    """

    def __init__(self, log: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._pace = Pace(clock)

    def note(self, pages: int, of_pages: int, rows: int) -> None:
        """Note one more page: its ordinal, the number of pages, and the rows read so far.

        A list may be read again from its start. The time per page is the mean of all pages read.
        """
        if not self._pace.step():
            return
        self._log.info(
            "Read %d of %d pages, %d rows, %.0f rows per second; %s.",
            pages,
            max(pages, of_pages),
            rows,
            rows / self._pace.taken,
            self._pace.time_left(of_pages - pages),
        )


class IdSet:
    """A set of message ids. Numbers take one to eight bytes each: per page, the lowest id and the deltas."""

    def __init__(self) -> None:
        self._pages: list[_EncodedIds] = []
        self._texts: set[str] = set()

    def add(self, ids: Sequence[MessageId]) -> None:
        """Add the ids of one page, in any order."""
        if not isinstance(ids, array):
            self._texts.update(each for each in ids if isinstance(each, str))
            ids = [each for each in ids if not isinstance(each, str)]
        numbers = sorted(ids)
        if numbers:
            self._pages.append(_EncodedIds.of(numbers))

    @property
    def low(self) -> int | None:
        """The lowest number, if there is one."""
        return min((page.low for page in self._pages), default=None)

    @property
    def high(self) -> int | None:
        """The highest number, if there is one."""
        return max((page.high for page in self._pages), default=None)

    def each(self) -> Iterator[MessageId]:
        """Yield each id once: numbers in ascending order, then texts in some order that equal sets share."""
        pages = sorted(self._pages, key=attrgetter("low"))
        ids = map(_EncodedIds.ids, pages)
        merged = chain.from_iterable(ids) if _ascend(pages) else heapq.merge(*ids)
        return chain((each for each, _ in groupby(merged)), sorted(self._texts))

    def count(self) -> int:
        """Count the ids, each once."""
        pages = sorted(self._pages, key=attrgetter("low"))
        if _ascend(pages):
            return sum(page.distinct for page in pages) + len(self._texts)
        return sum(1 for _ in self.each())

    def equals(self, other: IdSet) -> bool:
        """Whether another set has the same ids."""
        return all(ours == theirs for ours, theirs in zip_longest(self.each(), other.each()))


class _EncodedIds(NamedTuple):
    low: int
    high: int
    deltas: array[int]

    @classmethod
    def of(cls, ids: Sequence[int]) -> _EncodedIds:
        """Encode ids that ascend."""
        deltas = list(map(sub, ids[1:], ids))
        longest = max(deltas, default=0)
        width = next(code for code in "BHLQ" if longest < 1 << 8 * array(code).itemsize)
        return cls(ids[0], ids[-1], array(width, deltas))

    @property
    def distinct(self) -> int:
        return 1 + len(self.deltas) - self.deltas.count(0)

    def ids(self) -> Iterator[int]:
        return accumulate(self.deltas, initial=self.low)


def _ascend(pages: Sequence[_EncodedIds]) -> bool:
    """Whether each id of a page is lower than all of the next page."""
    return all(before.high < after.low for before, after in pairwise(pages))


class PageRange(NamedTuple):
    """A part of the list that was read.

    :param chunks: its readable rows.
    :param end: the position after the last row that was read.
    :param ended_early: whether a page had no row, although the total says that there is one.
    """

    chunks: list[Chunk]
    end: int
    ended_early: bool


class PagedList(Generic[T]):
    """A paged list of the gateway.

    :param fetch: requests one page: offset, limit. Several threads call it.
    :param prepare: makes a chunk of a page's rows, in the thread that fetched the page.
    :param most_ahead: the most concurrent requests.
    :param may_shrink: whether rows leave the list, so that later rows move up. Each request then includes the
        row before the page, to see whether that row has moved.
    :param rows_arrive: during one read the list may grow to twice its length, and by this many rows.
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
        """The length of the list: the largest total since the list was last read from its start."""
        self.has_moved = False
        """Whether a row was seen at two positions since then, if the list may shrink."""
        self._unreadable: set[int] = set()
        self._first_total: int | None = None
        self._first_keys: set[Any] = set()
        self._repeated = 0

    @property
    def unreadable(self) -> int:
        """How many unreadable rows were met since the list was last read from its start."""
        return len(self._unreadable)

    def unreadable_in(self, start: int, stop: int) -> int:
        """Count the unreadable rows of a part of the list."""
        return sum(start <= position < stop for position in self._unreadable)

    def first(self) -> Page[T]:
        """Read the first row, or the first page if that row cannot be read, and learn the total."""
        self.total = 0
        return self.readable_from(0)

    def last(self) -> Page[T]:
        """Read the last row, or the last page if that row cannot be read."""
        page = self._page(max(0, self.total - 1), 1)
        return page if page.rows else self._page(max(0, self.total - self.page_size), self.page_size)

    def readable_from(self, offset: int) -> Page[T]:
        """Read the row at a position, or a page from there if that row cannot be read."""
        page = self._page(offset, 1)
        return self._page(offset, self.page_size) if page.unreadable else page

    def probe(self, offset: int, limit: int) -> None:
        """Read a page to find its unreadable rows."""
        self._page(offset, limit)

    def to_end(self, start: int) -> Generator[Chunk]:
        """Yield the pages from a position to the end of the list, which may grow during the read."""
        if start == 0:
            self.total, self.has_moved = 0, False
            self._first_total = None
            self._edges.clear()
            self._unreadable.clear()
        self._begin(start, None)
        first = self._page_range((start, start + self.page_size))
        yield from first.chunks
        end, ended_early = first.end, first.ended_early
        while end < self.total and not ended_early:
            begins = range(end, self.total, self.page_size)
            bounds = ((begin, begin + self.page_size) for begin in begins)
            with closing(self._page_ranges(bounds)) as page_ranges:
                for page_range in page_ranges:
                    yield from page_range.chunks
                    end, ended_early = page_range.end, page_range.ended_early
                    if ended_early:
                        break

    def between(self, start: int, stop: int) -> Generator[Chunk]:
        """Yield the pages of a part of the list."""
        self._begin(start, stop)
        begins = range(start, stop, self.page_size)
        bounds = [(begin, min(begin + self.page_size, stop)) for begin in begins]
        with closing(self._page_ranges(bounds)) as page_ranges:
            for page_range in page_ranges:
                yield from page_range.chunks
                if page_range.ended_early:
                    break

    def _begin(self, start: int, stop: int | None) -> None:
        self._pages_read, self._start, self._stop = 0, start, stop
        self._first_keys, self._repeated = set(), 0

    def _page_ranges(self, bounds: Iterable[tuple[int, int]]) -> Generator[PageRange]:
        most = self._most_ahead
        with closing(prefetch(self._page_range, bounds, most, buffered=_PAGES_BUFFERED * most)) as read:
            for _, page_range in read:
                yield page_range

    def _page_range(self, bounds: tuple[int, int]) -> PageRange:
        """Read one range: with several requests if pages are shorter, or repeat rows."""
        (end, stop), chunks, ended_early = bounds, [], False
        while not ended_early:
            page = self._page(end, stop - end)
            keys: Sequence[Any] = ()
            if page.rows:
                chunks.append(self._prepare(page.rows))
                keys = chunks[-1].keys
            self._refuse_repeats(keys)
            length = page.unreadable + len(keys)
            end += min(length, stop - end)
            ended_early = not length and end < self.total
            if end >= min(stop, self.total):
                break
        self._log_progress()
        return PageRange(chunks, end, ended_early)

    def _page(self, offset: int, limit: int) -> Page[T]:
        before = min(offset, 1) if self._may_shrink else 0
        page = self._fetch(offset - before, limit + before)
        total = self._checked_total(page, offset - before, limit + before)
        with self._counting:
            self.requests += 1
            self._refuse_endless(total)
            self.total = max(self.total, total)
            if self._may_shrink:
                self._check_edges(page, offset - before, before)
            self._unreadable.update(offset - before + position for position in page.unreadable_at)
            if before:
                page = _without_first(page)
            self.rows_read += len(page.rows)
        return page

    @staticmethod
    def _checked_total(page: Page[Any], offset: int, limit: int) -> int:
        """Return the stated total, or the end of a page that reaches beyond it."""
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

    def _check_edges(self, page: Page[Any], offset: int, before: int) -> None:
        self.has_moved |= page.length < before
        rows = dict(zip(page.readable_at(), page.rows, strict=True))
        for position in {0, page.length - 1} if page.length else ():
            # Two unreadable rows cannot be told apart.
            found = rows[position].message_id if position in rows else None
            self.has_moved |= self._edges.setdefault(offset + position, found) != found

    def _log_progress(self) -> None:
        with self._counting:
            self._pages_read += 1
            rows = (self.total if self._stop is None else self._stop) - self._start
            self._progress.note(self._pages_read, -(-rows // self.page_size), self.rows_read)


def _without_first(page: Page[T]) -> Page[T]:
    is_readable = 0 not in page.unreadable_at
    left = tuple(position - 1 for position in page.unreadable_at if position)
    return replace(page, rows=page.rows[is_readable:], unreadable_at=left)
