"""Loads of each kind of dataset: which rows to read, so that the table has every row once.

State lives in the target table; there is no separate cursor. The rows that were read and the rows of the
table must add up to the total that the gateway states. If they do not, the load reads the whole list again.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.exceptions import GatewayUnavailable
from airflow_provider_winsms.ledger.deliveries import LATEST_COMMIT, Delivery
from airflow_provider_winsms.messages import Columns, pluralize
from airflow_provider_winsms.options import STATUS_RETENTION
from airflow_provider_winsms.warehouse.reader import IdSet

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from datetime import datetime

    from airflow_provider_winsms.gateways.throttle import Throttle
    from airflow_provider_winsms.ledger.deliveries import DeliveryReader
    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.runtime import Log
    from airflow_provider_winsms.warehouse.mapping import Chunk, RowMapper
    from airflow_provider_winsms.warehouse.merge import MergeCounts
    from airflow_provider_winsms.warehouse.reader import PagedList
    from airflow_provider_winsms.warehouse.table import TargetTable

MAY_CHANGE_FOR = STATUS_RETENTION + timedelta(days=3)
"""How long after it was due the state of a text may still change."""

_STREAM_ATTEMPTS = 3
_MOST_READINGS = 5
"""How often a list of numbered pages that may shrink is read, at most."""
_MOST_PROBES = 64
"""The most requests that look for unreadable rows; then the whole list is read instead."""
_OVERLAP_OF_A_PAGE = 10
"""At least a tenth of a page is read again, because rows may come late."""


@dataclass(slots=True)
class LoadOutcome:
    """The counts of a load.

    :param requests: without those of a refresh.
    :param total: the number of rows that the gateway states; if it states none, the number of rows read.
    :param high_water_mark: the highest id in the table; ``None`` if ids have no order.
    :param unreadable: how many rows were left out because they could not be read.
    """

    merged: MergeCounts
    rows_read: int
    requests: int
    total: int
    high_water_mark: int | None = None
    unreadable: int = 0

    def summary(self) -> dict[str, Any]:
        """Return the counts that the task returns."""
        return {
            "rows_read": self.rows_read,
            "rows_loaded": self.merged.loaded,
            "rows_removed": self.merged.removed,
            "unreadable": self.unreadable,
            "requests": self.requests,
            "total": self.total,
            "high_water_mark": self.high_water_mark,
        }

    def warn_of_unreadable_rows(self, log: Log) -> None:
        """Log how many rows were left out, if any."""
        if self.unreadable:
            log.warning(
                "%s of the gateway's list cannot be read, and were left out. All others are loaded.",
                pluralize(self.unreadable, "row"),
            )


class ListLoad:
    """Loads a list that only grows.

    Only one example in the documentation shows that ids ascend along the list, so each load checks the order.
    """

    def __init__(self, pages: PagedList[Any], table: TargetTable, log: Log) -> None:
        self._pages = pages
        self._table = table
        self._log = log
        self._ids = IdSet()
        self._highest: int | None = None

    def run(self, *, is_whole: bool) -> LoadOutcome:
        """Read the new rows, or the whole list: that if the table is empty, or rows do not add up."""
        if is_whole or self._table.stored.is_empty():
            if not self._read_all():
                self._read_all_again()
        elif not self._read_new_rows():
            self._read_all_again()
        merged = self._table.finish()
        mark = None if self._highest is None else max(self._highest, self._ids.high or 0)
        return _outcome(self._pages, self._table, merged, mark)

    def _read_all_again(self) -> None:
        self._log.warning(
            "The rows do not add up to the %d that the gateway states. Reading the whole list once more.",
            self._pages.total,
        )
        if not self._read_all():
            self._log.warning(
                "The gateway states %d rows and lists %d, which are loaded. The next load looks again.",
                self._pages.total,
                self._ids.count(),
            )

    def _read_all(self) -> bool:
        """Read the whole list. Return whether all rows were read."""
        self._add_chunks(self._pages.to_end(0))
        return self._ids.count() + self._pages.unreadable >= self._pages.total

    def _read_new_rows(self) -> bool:
        """Read the end of the list with the new rows. Return whether all of them were read."""
        first, pages = self._pages.first(), self._pages
        if not first.rows:
            return pages.total == pages.unreadable
        low, highest = first.rows[0].message_id, self._table.stored.highest()
        if isinstance(low, str) or isinstance(highest, str):
            return self._read_newest_rows(first.rows[0])
        self._highest = highest or 0
        is_descending = low >= self._highest and pages.total > 1
        if is_descending:
            if not (last := pages.last().rows):
                return False
            low = last[-1].message_id
            if isinstance(low, str):
                return False
        missing = max(0, pages.total - self._table.stored.count(low, max(low, self._highest)))
        reach = self._reach(missing)
        if is_descending:
            older = range(min(reach, pages.total), pages.total)
            self._add_chunks(pages.between(0, older.start))
        else:
            older = range(max(0, pages.total - reach))
            self._add_chunks(pages.to_end(older.stop))
        if (missing := self._missing(low)) > pages.unreadable and self._ids.low is not None:
            part = _ListRange(older.start, older.stop, low, self._ids.low)
            _UnreadableRowSearch(pages, self._table, is_descending=is_descending).run(part)
        return missing == pages.unreadable

    def _read_newest_rows(self, first: Any) -> bool:
        """Read the beginning of a list whose ids have no order. Return whether all new rows were read.

        Only times can show that a list has the newest rows first. If it does, the rows that are read reach
        beyond the new ones. So the counts add up only if no row is missing, even if rows left the list.
        """
        pages, stored = self._pages, self._table.stored
        last = pages.last().rows
        if not last or not _is_newer(first, last[-1]):
            return False
        reach = self._reach(max(0, pages.total - stored.count_all()))
        self._add_chunks(pages.between(0, min(reach, pages.total)))
        known = stored.count_all() + stored.count_missing(self._ids.each())
        return pages.total - known == pages.unreadable

    def _reach(self, missing: int) -> int:
        """Return how many rows are read if some are missing: some more, in whole pages."""
        size = self._pages.page_size
        return -(-(missing + -(-size // _OVERLAP_OF_A_PAGE)) // size) * size

    def _missing(self, low: int) -> int:
        """Return how many listed rows are neither read nor in the table."""
        stored, ids = self._table.stored, self._ids
        low, high = min(low, ids.low or low), max(ids.high or 0, self._highest or 0)
        return self._pages.total - stored.count(low, high) - stored.count_missing(ids.each())

    def _add_chunks(self, chunks: Generator[Chunk]) -> None:
        _add_chunks(chunks, self._table, self._ids)


def _is_newer(row: Any, other: Any) -> bool:
    """Whether one row came in later than another, as far as their times say."""
    times = row.received_at, other.received_at
    return None not in times and times[0] > times[1]


class _ListRange(NamedTuple):
    """A part of a list: its positions, and its ids from ``low`` up to ``end``, not included."""

    start: int
    stop: int
    low: int
    end: int


class _UnreadableRowSearch:
    """Finds unreadable rows in the part of the list that earlier loads read, by bisection.

    No record says where they are. But if ids follow the list, the table has too few ids between two positions
    with such a row between them. The search skips the parts of the list that lack no id.
    """

    def __init__(self, pages: PagedList[Any], table: TargetTable, *, is_descending: bool) -> None:
        self._pages = pages
        self._table = table
        self._is_descending = is_descending

    def run(self, part: _ListRange) -> None:
        """Search a part of the list. The pages count the rows that are found."""
        parts = [part]
        for _ in range(_MOST_PROBES):
            while parts and not self._lacks(parts[-1]):
                parts.pop()
            if not parts:
                return
            part = parts.pop()
            if part.stop - part.start <= self._pages.page_size:
                self._pages.probe(part.start, part.stop - part.start)
            else:
                parts += self._halves(part)

    def _lacks(self, part: _ListRange) -> bool:
        found = self._table.stored.count(part.low, part.end - 1) if part.low < part.end else 0
        return found + self._pages.unreadable_in(part.start, part.stop) < part.stop - part.start

    def _halves(self, part: _ListRange) -> Iterable[_ListRange]:
        middle = (part.start + part.stop) // 2
        page = self._pages.readable_from(middle)
        if not page.rows:
            return ()
        position, found = middle + page.readable_at()[0], page.rows[0].message_id
        if isinstance(found, str):
            return ()
        if position >= part.stop:
            return (part._replace(stop=middle),)
        if self._is_descending:
            return (part._replace(stop=position, low=found + 1), part._replace(start=position, end=found + 1))
        return (part._replace(stop=position, end=found), part._replace(start=position, low=found))


def load_scheduled(pages: PagedList[Any], table: TargetTable, log: Log) -> LoadOutcome:
    """Load a snapshot of a paged list from which rows vanish. A page may skip rows that moved up."""
    if not (is_whole := _read_snapshot(pages, table)):
        log.warning("Rows of the list moved while it was read. Reading the whole list once more.")
        is_whole = _read_snapshot(pages, table)
    if not is_whole:
        log.warning(
            "Rows moved again. All listed rows are loaded; the next load marks the rows that left the list."
        )
    # An unreadable row may be any row of the table, so none counts as removed.
    return _outcome(pages, table, table.finish(is_whole=is_whole and not pages.unreadable))


def load_scheduled_by_numbers(pages: PagedList[Any], table: TargetTable, log: Log) -> LoadOutcome:
    """Load a snapshot of a list of numbered pages from which rows vanish.

    Rows move up when others leave, and no request can ask for the row before a page. But a row that left
    after it was read is missing from the next reading. So two equal readings prove that no row was skipped.
    """
    before: IdSet | None = None
    is_whole = False
    for _ in range(_MOST_READINGS):
        ids = IdSet()
        _add_chunks(pages.to_end(0), table, ids)
        is_complete = ids.count() + pages.unreadable >= pages.total
        if is_whole := is_complete and before is not None and ids.equals(before):
            break
        before = ids if is_complete else None
    if not is_whole:
        log.warning(
            "Of %d readings of the list, no two in turn agree. All listed rows are loaded; the next load "
            "marks the rows that left the list.",
            _MOST_READINGS,
        )
    return _outcome(pages, table, table.finish(is_whole=is_whole and not pages.unreadable))


def _read_snapshot(pages: PagedList[Any], table: TargetTable) -> bool:
    ids = IdSet()
    _add_chunks(pages.to_end(0), table, ids)
    return ids.count() + pages.unreadable >= pages.total and not pages.has_moved


def _add_chunks(chunks: Generator[Chunk], table: TargetTable, ids: IdSet) -> None:
    with closing(chunks):
        for chunk in chunks:
            ids.add(chunk.keys)
            table.add(chunk)


def _outcome(
    pages: PagedList[Any], table: TargetTable, merged: MergeCounts, highest: MessageId | None = None
) -> LoadOutcome:
    """Return the outcome of a load.

    :param highest: the highest id in the table, if it is known.
    """
    highest = table.stored.highest() if highest is None else highest
    mark = highest if isinstance(highest, int) else None
    return LoadOutcome(merged, pages.rows_read, pages.requests, pages.total, mark, pages.unreadable)


def load_stream(
    read: Callable[[], Generator[Columns[Any]]], mapper: RowMapper, table: TargetTable, throttle: Throttle
) -> LoadOutcome:
    """Load a snapshot of a list that comes as one answer of any length.

    :param read: requests the list, and yields it in parts.
    """
    for attempt in range(1, _STREAM_ATTEMPTS + 1):
        rows = unreadable = 0
        try:
            with closing(read()) as parts:
                for part in parts:
                    throttle.raise_if_stopped()
                    rows += len(part)
                    unreadable += part.unreadable
                    table.add(mapper.chunk(part))
            break
        except GatewayUnavailable:
            # An answer that broke off does not say which rows are missing from it.
            table.restart()
            if attempt == _STREAM_ATTEMPTS:
                raise
    # An unreadable row may be any row of the table, so none counts as removed.
    merged = table.finish(is_whole=not unreadable)
    return LoadOutcome(merged, rows, attempt, rows + unreadable, unreadable=unreadable)


class LedgerLoad:
    """Loads texts and their outcomes from the ledger's tables.

    ``DeliveryReader.deliveries_since`` explains why the copy is exact.

    :param now: texts up to this moment are loaded.
    """

    def __init__(
        self, reader: DeliveryReader, sms_conn_id: str, mapper: RowMapper, table: TargetTable, now: datetime
    ) -> None:
        self._reader = reader
        self._sms_conn_id = sms_conn_id
        self._mapper = mapper
        self._table = table
        self._now = now
        self._rows = 0

    def run(self, *, is_whole: bool) -> LoadOutcome:
        """Read the texts that are new or may have changed; or all of them."""
        stored = self._table.stored
        since = None if is_whole else stored.latest_submission(self._sms_conn_id)
        without_id: set[tuple[Any, ...]] = set()
        if since is not None:
            changing = stored.changing_ids(self._sms_conn_id, self._now - MAY_CHANGE_FOR)
            self._add_pages(self._reader.deliveries_of(self._sms_conn_id, changing))
            without_id = stored.changing_without_id(self._sms_conn_id)
            requests = sorted({key[:3] for key in without_id})
            self._add_pages(self._reader.deliveries_in(self._sms_conn_id, requests), without_id)
            since -= LATEST_COMMIT
        self._add_pages(self._reader.deliveries_since(self._sms_conn_id, since, self._now), without_id)
        # The claims of the remaining texts were released: their requests never left.
        self._table.delete(without_id)
        return LoadOutcome(self._table.finish(), self._rows, 0, self._rows)

    def _add_pages(
        self, pages: Iterable[list[Delivery]], unresolved: set[tuple[Any, ...]] | None = None
    ) -> None:
        for page in pages:
            self._rows += len(page)
            values = map(list, zip(*page, strict=True))
            rows = Columns(Delivery, dict(zip(Delivery._fields, values, strict=True)))
            self._table.add(self._mapper.chunk(rows))
            if unresolved:
                unresolved.difference_update(row[:4] for row in page)
