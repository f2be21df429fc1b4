"""Reading a paged list that only grows, whose order no document promises, while rows arrive.

The loads of ``sms_to_sql`` decide what to read; here is how a stretch of the list is read, and counted.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_winsms.messages import Page

T = TypeVar("T")

PROGRESS_SECONDS = 5.0
"""How often a long load says how far it is."""


class Progress:
    """Says in the log how far a load is, every few seconds.

    :param clock: a seam for tests.
    """

    def __init__(self, log: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._began = self._said = clock()

    def note(self, rows: int, total: int) -> None:
        """Note that so many rows were read."""
        now = self._clock()
        if now - self._said >= PROGRESS_SECONDS:
            self._said = now
            self._log.info(
                "Read %d rows; the gateway lists %d. %.0f rows per second.",
                rows,
                total,
                rows / (now - self._began),
            )


class PagedList(Generic[T]):
    """A list of the gateway, and what was read of it.

    :param fetch: asks for one page: offset, limit.
    :param key: what tells two rows apart.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], Page[T]],
        page_size: int,
        key: Callable[[T], Any],
        progress: Progress,
    ) -> None:
        self._fetch = fetch
        self._progress = progress
        self.page_size = page_size
        self.key = key
        self.requests = 0
        self.rows_read = 0
        self.total = 0
        """How many rows the list has, by the last answer."""
        self.end = 0
        """How far its end was read: rows beyond it arrived since."""

    def first(self) -> Any:
        """Return the key of the first row, or ``None`` if there is none, and learn the total."""
        rows = self._page(0, 1)
        return self.key(rows[0]) if rows else None

    def to_end(self, start: int) -> Iterator[tuple[T, ...]]:
        """Yield pages from a place to the end of the list, which may move away meanwhile."""
        self.end = start
        while rows := self._page(self.end, self.page_size):
            self.end += self._distinct(rows, self.page_size)
            yield rows
            if self.end >= self.total:
                return

    def between(self, start: int, stop: int) -> Iterator[tuple[T, ...]]:
        """Yield pages of a stretch."""
        while start < stop and (rows := self._page(start, stop - start)):
            start += self._distinct(rows, stop - start)
            yield rows

    def _page(self, offset: int, limit: int) -> tuple[T, ...]:
        page = self._fetch(offset, limit)
        self.requests += 1
        self.rows_read += len(page.rows)
        self.total = page.total
        self._progress.note(self.rows_read, self.total)
        return page.rows

    def _distinct(self, rows: tuple[T, ...], most: int) -> int:
        """Return how far a page moves on: a row that it repeats must not make the next page skip one."""
        return min(len({self.key(row) for row in rows}), most)
