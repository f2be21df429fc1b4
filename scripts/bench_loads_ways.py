"""The ways to load. Each runs in a process of its own, with a ``Task`` as JSON.

It first loads a few rows, so that imports and look-ups that happen once are not counted. It answers with a
line of JSON. A way imports only the modules that it needs.
"""

from __future__ import annotations

import gc
import inspect
import json
import logging
import os
import sqlite3
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import requests

from scripts import process_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow.providers.common.sql.hooks.sql import DbApiHook

T = TypeVar("T")

OURS = "SmsToSqlOperator"
OVERLAPPED = "bare, overlapped"
IN_TURN = "bare, in turn"
PREPARED = "prepared rows alone"
INSERT_ROWS = "insert_rows"
DLT = "dlt"

COLUMNS = ("message_id", "number", "received_at", "received_at_wire", "text", "in_reply_to")
"""The columns with values from the gateway. All ways fill them except dlt, which has its own names."""

STAMPS = {"loaded_at": "2026-01-01 00:00:00+00:00", "load_run_id": "bench"}
"""The columns that say which load wrote a row, and their values."""

WAREHOUSE = "warehouse"
"""The id of the connection to the database."""

WARM_UP_ROWS = 3000
"""The rows that are loaded before the measured load."""

_PAGE = 1000
_PAGES_OF_A_MERGE = 20
_PAGES_BUFFERED = 40
_API_KEY = "no-secret"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True, slots=True)
class Task:
    """The source and the target of a load.

    :param way: one of the names above.
    :param gateway: the URL of a gateway that lists the rows.
    :param warm_up_gateway: the URL of a gateway that lists a few rows.
    :param in_flight: requests in flight at once; 0 is the way's default.
    :param database: a connection string of PostgreSQL, or the file of an SQLite.
    :param table: the target table; it exists, and so does one for the warm-up.
    """

    way: str
    gateway: str
    warm_up_gateway: str
    rows: int
    in_flight: int
    database: str
    table: str

    @property
    def warm_up(self) -> Task:
        """The same task with few rows and a table of its own."""
        few = replace(self, gateway=self.warm_up_gateway, rows=WARM_UP_ROWS)
        return replace(few, table=f"{self.table}_warm_up")


@dataclass(frozen=True, slots=True)
class Figures:
    """The cost of a load.

    :param cpu: seconds of this process, without those of the database.
    :param growth: the most resident megabytes above the start; 0 if the system does not tell.
    """

    seconds: float
    cpu: float
    growth: float


def main() -> None:
    """Load twice, and print the cost of the second load."""
    _silence()
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    task = Task(**json.loads(sys.argv[1]))
    way = _WAYS[task.way]
    way(task.warm_up)()
    load = way(task)
    gc.collect()
    start = process_memory.reset_peak()
    began, worked = time.perf_counter(), time.process_time()
    load()
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    print(json.dumps(asdict(Figures(seconds, cpu, process_memory.peak() - start))), file=answer)


def _silence() -> None:
    logging.disable(logging.WARNING)
    try:
        import structlog
    except ImportError:  # dlt's environment lacks it
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def _ours(task: Task) -> Callable[[], object]:
    from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
    from scripts.bench_sends import context

    connection = {"conn_type": "winsms", "host": task.gateway, "password": _API_KEY}
    os.environ["AIRFLOW_CONN_GATEWAY"] = json.dumps(connection)
    has_prefetch = "prefetch" in inspect.signature(SmsToSqlOperator.__init__).parameters
    in_flight: dict[str, Any] = {"prefetch": task.in_flight} if task.in_flight and has_prefetch else {}
    operator = SmsToSqlOperator(
        task_id="load",
        dataset="incoming",
        sms_conn_id="gateway",
        sql_conn_id=WAREHOUSE,
        table=task.table,
        **in_flight,
    )
    of_no_task: Any = {**context(), "run_id": "bench"}
    return partial(operator.execute, of_no_task)


def _overlapped(task: Task) -> Callable[[], object]:
    if _is_sqlite(task):
        return lambda: _insert(task, _pages_prefetched(task, _tuples))
    return lambda: _copy(task, _pages_prefetched(task, _copy_lines))


def _in_turn(task: Task) -> Callable[[], object]:
    if _is_sqlite(task):
        return lambda: _insert(task, _pages(task, _tuples))
    return lambda: _copy(task, _pages(task, _copy_lines), pages_of_a_merge=None)


def _prepared(task: Task) -> Callable[[], object]:
    if _is_sqlite(task):
        tuples = list(_pages_prefetched(task, _tuples))
        return lambda: _insert(task, tuples)
    lines = list(_pages_prefetched(task, _copy_lines))
    return lambda: _copy(task, lines, pages_of_a_merge=None)


def _insert_rows(task: Task) -> Callable[[], object]:
    columns = [*COLUMNS, *STAMPS]
    stamps = tuple(STAMPS.values())

    def load() -> None:
        rows = ((*row, *stamps) for page in _pages(task, _tuples) for row in page)
        _sql_hook(task).insert_rows(task.table, rows, target_fields=columns)

    return load


def _dlt(task: Task) -> Callable[[], object]:
    """Return a load with dlt's fastest options for PostgreSQL. Times stay digits."""
    from importlib import import_module

    dlt, rest_api = import_module("dlt"), import_module("dlt.sources.rest_api")
    paginator = {"type": "offset", "limit": _PAGE, "total_path": "resultsTotalAvailable"}
    source = rest_api.rest_api_source(
        {
            "client": {
                "base_url": f"{task.gateway}/",
                "headers": {"AUTHORIZATION": _API_KEY},
                "paginator": paginator,
            },
            "resources": [
                {
                    "name": "incoming",
                    "primary_key": "incomingApiMessageId",
                    "write_disposition": "merge",
                    "endpoint": {"path": "sms/incoming", "data_selector": "incomingMessages"},
                }
            ],
        }
    )
    folder = os.environ["DLT_DATA_DIR"]
    pipeline = dlt.pipeline(
        task.table,
        destination=dlt.destinations.postgres(task.database),
        dataset_name=task.table,
        pipelines_dir=f"{folder}/{task.table}",
    )
    return lambda: pipeline.run(source, loader_file_format="csv").raise_on_failed_jobs()


_WAYS: dict[str, Callable[[Task], Callable[[], object]]] = {
    OURS: _ours,
    OVERLAPPED: _overlapped,
    IN_TURN: _in_turn,
    PREPARED: _prepared,
    INSERT_ROWS: _insert_rows,
    DLT: _dlt,
}


def _is_sqlite(task: Task) -> bool:
    return task.database.endswith(".db")


def _sql_hook(task: Task) -> DbApiHook:
    if _is_sqlite(task):
        from airflow.providers.sqlite.hooks.sqlite import SqliteHook

        return SqliteHook(WAREHOUSE)
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    return PostgresHook(WAREHOUSE)


def _pages(task: Task, parse: Callable[[bytes], T]) -> Iterator[T]:
    """Yield each parsed page, one request after another."""
    with requests.Session() as session:
        for offset in range(0, task.rows, _PAGE):
            yield parse(_fetched(session, task.gateway, offset))


def _pages_prefetched(task: Task, parse: Callable[[bytes], T]) -> Iterator[T]:
    """Yield each parsed page in order, while threads fetch and parse the next ones."""
    own = threading.local()

    def parsed(offset: int) -> T:
        return parse(_fetched(own.session, task.gateway, offset))

    def begin() -> None:
        own.session = requests.Session()

    with ThreadPoolExecutor(task.in_flight or 4, initializer=begin) as threads:
        offsets = iter(range(0, task.rows, _PAGE))
        waiting = deque(threads.submit(parsed, offset) for offset in islice(offsets, _PAGES_BUFFERED))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(threads.submit(parsed, offset) for offset in islice(offsets, 1))


def _fetched(session: requests.Session, gateway: str, offset: int) -> bytes:
    window = {"offset": offset, "limit": _PAGE}
    headers = {"AUTHORIZATION": _API_KEY}
    answer = session.get(f"{gateway}/sms/incoming", params=window, headers=headers, timeout=60)
    answer.raise_for_status()
    return answer.content


def _tuples(page: bytes) -> list[tuple[Any, ...]]:
    return [
        (
            row["incomingApiMessageId"],
            row["mobileNumber"],
            _instant(row["receiveTime"]),
            row["receiveTime"],
            row["messageText"],
            row["outgoingApiMessageId"],
        )
        for row in json.loads(page)["incomingMessages"]
    ]


def _copy_lines(page: bytes) -> bytes:
    """Return rows in the text format of COPY."""
    lines = []
    for row in json.loads(page)["incomingMessages"]:
        time, text = row["receiveTime"], row["messageText"]
        if "\\" in text or not text.isprintable():
            text = text.translate(_ESCAPES)
        lines.append(
            f"{row['incomingApiMessageId']}\t{row['mobileNumber']}\t{_instant(time)}\t{time}\t{text}\t"
            f"{row['outgoingApiMessageId']}\n"
        )
    return "".join(lines).encode()


def _instant(time: str) -> str:
    return f"{time[:4]}-{time[4:6]}-{time[6:8]} {time[8:10]}:{time[10:]}:00+02:00"


def _copy(task: Task, pages: Iterable[bytes], pages_of_a_merge: int | None = _PAGES_OF_A_MERGE) -> None:
    """Copy pages into a temporary table, and merge some of them at a time, in one transaction."""
    import psycopg

    columns = ", ".join(COLUMNS)
    stamps = ", ".join(f"'{value}'" for value in STAMPS.values())
    create = f"CREATE TEMPORARY TABLE staged AS SELECT {columns} FROM {task.table} WITH NO DATA"  # noqa: S608
    merge = (
        f"INSERT INTO {task.table} ({columns}, {', '.join(STAMPS)}) "  # noqa: S608 - names of ours
        f"SELECT {columns}, {stamps} FROM staged ON CONFLICT (message_id) DO NOTHING"
    )
    pages = iter(pages)
    with psycopg.connect(task.database) as database, database.cursor() as cursor:
        cursor.execute(create)
        while first := next(pages, b""):
            with cursor.copy(f"COPY staged ({columns}) FROM STDIN") as copy:
                copy.write(first)
                for page in islice(pages, pages_of_a_merge and pages_of_a_merge - 1):
                    copy.write(page)
            cursor.execute(merge)
            if pages_of_a_merge:
                cursor.execute("TRUNCATE staged")


def _insert(task: Task, pages: Iterable[list[tuple[Any, ...]]]) -> None:
    """Insert pages into a table of SQLite, in one transaction."""
    stamps = ", ".join(f"'{value}'" for value in STAMPS.values())
    names = ", ".join([*COLUMNS, *STAMPS])
    values = "?, " * len(COLUMNS) + stamps
    statement = f"INSERT OR IGNORE INTO {task.table} ({names}) VALUES ({values})"  # noqa: S608 - ours
    with closing(sqlite3.connect(task.database)) as database, database:
        for page in pages:
            database.executemany(statement, page)


if __name__ == "__main__":
    main()
