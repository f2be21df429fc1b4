"""Load what a gateway lists into a table: each row once, all of a load or nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_winsms.airflow_errors import permanent_errors_fail_at_once
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.transfers.datasets import Load, dataset_named, one_per_number
from airflow_provider_winsms.transfers.paging import PagedList, Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.messages import IncomingMessage
    from airflow_provider_winsms.transfers.datasets import Dataset
    from airflow_provider_winsms.transfers.sql_table import LoadingTable, Merged


class SmsToSqlOperator(BaseOperator):
    """Load incoming messages, or opt-outs, into a table of a database that has a ``DbApiHook``.

    The table is created if it is missing, and is the only memory: a load adds what the table lacks, so it may
    be repeated, overlap with another, or be killed, and no row is lost or there twice. A load that fails
    leaves no row behind. One table holds one dataset of one account.

    ``incoming``, one row per message; the key is ``message_id``:

    ============= ======= ====================================================================================
    message_id    bigint  the gateway's id
    number        text    who sent it, as international digits
    received_at   instant when it came, to the minute; null if the gateway gave no time
    text          text    what it says; NUL and halves of emojis become U+FFFD, as databases refuse them
    in_reply_to   bigint  the last text sent to that number, which need not be the one answered; may be null
    loaded_at     instant when the load began that wrote this row
    run_id        text    the DAG run of that load
    ============= ======= ====================================================================================

    After the first load only what is new is read: one row from the beginning of the list, then pages from its
    end until one holds nothing new. Where the rows do not add up to the total that the gateway states, the
    list is read once more, as a whole. Rows that were deleted from the table come back, as long as the
    gateway lists them.

    ``opt_outs``, one row per number; the key is ``number``:

    ============= ======= ====================================================================================
    number        text    who may not be texted, as international digits
    opted_out_at  instant since when, to the minute; of several entries for one number, the oldest counts
    text          text    what was answered, or the gateway's remark on an entry made by hand
    message_id    bigint  the incoming message that asked for it; null for an entry made by hand
    first_seen_at instant the first load that saw the number on the list
    last_seen_at  instant the last load that saw it there
    removed_at    instant the load that missed it; null while it is on the list
    loaded_at     instant when the load began that last changed this row
    run_id        text    the DAG run of that load
    ============= ======= ====================================================================================

    The gateway lists all opt-outs at once. Rows are never deleted: who may not be texted now are those whose
    ``removed_at`` is null.

    An instant is a ``TIMESTAMP WITH TIME ZONE``; in SQLite, which has no such type, ISO 8601 text in UTC.
    PostgreSQL and SQLite are tested; any other database gets the same SQL, untested, and must know
    ``CREATE TEMPORARY TABLE``, ``INTERSECT`` and ``UPDATE ... SET (...) = (SELECT ...)``. A load needs
    SELECT, INSERT and UPDATE on the table, the right to make temporary tables, and, if the table is missing,
    the right to create it. A pooler between must keep a session together, as temporary tables belong to one.

    Returns ``{"dataset": ..., "table": ..., "rows_read": n, "rows_loaded": n, "rows_removed": n,
    "requests": n, "total": n, "high_water_mark": id}``: ``rows_loaded`` came in or changed, ``rows_removed``
    got a ``removed_at``, ``total`` is what the gateway states, ``high_water_mark`` the highest id in the
    table, ``None`` for opt-outs. Neither numbers nor texts are in it, in a log or in an error.

    :param dataset: ``"incoming"`` or ``"opt_outs"``. (templated)
    :param sql_conn_id: the connection of the database. (templated)
    :param table: the name of the table: letters, digits and underscores; upper and lower case differ.
        (templated)
    :param schema: the schema it is in, which must exist; ``None`` for the connection's default. (templated)
    :param sms_conn_id: the connection whose type says which gateway. (templated)
    """

    template_fields: Sequence[str] = ("dataset", "sql_conn_id", "table", "schema", "sms_conn_id")
    ui_color = "#d6e6f5"

    def __init__(
        self,
        *,
        dataset: str,
        sql_conn_id: str,
        table: str,
        schema: str | None = None,
        sms_conn_id: str = "winsms_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.sql_conn_id = sql_conn_id
        self.table = table
        self.schema = schema
        self.sms_conn_id = sms_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Load, and return what was done, in counts."""
        from airflow_provider_winsms.transfers.sql_table import TableName, open_table

        with permanent_errors_fail_at_once():
            dataset = dataset_named(self.dataset)
            name = TableName(self.table, self.schema)
            database, gateway = sql_hook(self.sql_conn_id), SmsHook.of(self.sms_conn_id)
            began = Load(datetime.now(UTC), context.get("run_id"))
            with open_table(database, dataset, name, began) as table:
                outcome = load(dataset, gateway, table, self.log)
            summary = {"dataset": dataset.name, "table": str(name), **outcome}
            self.log.info("Loaded: %s", summary)
            return summary


def load(dataset: Dataset, gateway: SmsHook, table: LoadingTable, log: Any) -> dict[str, Any]:
    """Load a dataset into a table that is ready for it, and return what was done, in counts."""
    return _load_snapshot(gateway, table) if dataset.is_snapshot else _load_list(dataset, gateway, table, log)


def _load_snapshot(gateway: SmsHook, table: LoadingTable) -> dict[str, Any]:
    entries = gateway.get_opt_outs()
    table.stage(one_per_number(entries))
    merged = table.merge()
    return _summary(merged, rows_read=len(entries), requests=1, total=len(entries), high_water_mark=None)


def _load_list(dataset: Dataset, gateway: SmsHook, table: LoadingTable, log: Any) -> dict[str, Any]:
    pages = PagedList(gateway.get_incoming, gateway.page_size, attrgetter(dataset.key), Progress(log))
    _Reading(pages, table, log).read()
    merged, highest = table.merge(), table.highest()
    return _summary(
        merged,
        rows_read=pages.rows_read,
        requests=pages.requests,
        total=pages.total,
        high_water_mark=None if highest is None else int(highest),
    )


def _summary(merged: Merged, *, rows_read: int, **more: int | None) -> dict[str, Any]:
    return {
        "rows_read": rows_read,
        "rows_loaded": merged.loaded,
        "rows_removed": merged.removed,
        **more,
    }


class _Reading:
    """Stages what a list has and a table lacks.

    That ids ascend along the list is only to be seen in one example, so it is looked at, not relied on: what
    was read and what the table has must together make up the total that the gateway states.
    """

    def __init__(self, pages: PagedList[IncomingMessage], table: LoadingTable, log: Any) -> None:
        self._pages = pages
        self._table = table
        self._log = log

    def read(self) -> None:
        """Read what is new; the whole list if the table is empty, or if the rows do not add up."""
        adds_up = self._read_all() if self._table.highest() is None else self._read_news()
        if not adds_up:
            self._read_all_again()

    def _read_all_again(self) -> None:
        self._log.warning(
            "The rows do not add up to the %d that the gateway states. Reading the whole list once more.",
            self._pages.total,
        )
        if not self._read_all():
            self._log.warning(
                "The gateway states %d rows and lists %d, which are loaded. The next load looks again.",
                self._pages.total,
                self._table.staged(),
            )

    def _read_all(self) -> bool:
        self._stage(self._pages.to_end(0))
        return self._table.staged() >= self._pages.total

    def _read_news(self) -> bool:
        first = self._pages.first()
        start = max(0, self._pages.total - self._pages.page_size)
        tail = self._stage(self._pages.to_end(start))
        if first is None or tail is None:
            return self._pages.total == 0
        for stretch in self._further(first, tail, start):
            mark = self._table.mark
            self._stage(self._pages.between(*stretch))
            if not self._table.new_since(mark):
                break
        if self._pages.total > self._pages.end:
            self._stage(self._pages.to_end(self._pages.end))
        return self._table.held_from(min(first, tail.low)) >= self._pages.total

    def _further(self, first: Any, tail: _Ids, start: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches that may hold more news, likeliest first, once the end of the list is read."""
        size = self._pages.page_size
        if first < tail.low and self._table.new_since(0):
            yield from ((max(0, end - size), end) for end in range(start, 0, -size))
        elif first > tail.high:
            yield from ((begin, min(begin + size, start)) for begin in range(0, start, size))

    def _stage(self, pages: Iterable[tuple[IncomingMessage, ...]]) -> _Ids | None:
        ids: _Ids | None = None
        for rows in pages:
            self._table.stage(rows)
            read = [*(ids or ()), *map(self._pages.key, rows)]
            ids = _Ids(min(read), max(read))
        return ids


class _Ids(NamedTuple):
    """The lowest and the highest id of what was read."""

    low: Any
    high: Any
