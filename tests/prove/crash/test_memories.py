"""Retries whose clock is wrong, whose store lies, whose ledger is another one, or whose server crashed."""

from __future__ import annotations

import json
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from scripts.warehouse import embedded_server, postgres_connection
from tests.prove.crash.cells import CONN_ID, Case
from tests.prove.crash.judge import judge
from tests.prove.crash.points import Blow, Moment, Point
from tests.support import databases
from tests.support.databases import Database, with_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.prove.crash.cells import Cell
    from tests.prove.crash.table import Record

    NewCell = Callable[[Case], AbstractContextManager[Cell]]

pytestmark = pytest.mark.crash

UNANSWERED, ON_ITS_WAY = Point("send", Moment.NO_ANSWER, 2), Point("send", Moment.SENT, 2)
FIRST_RECORDED = Point("record", Moment.AFTER_COMMIT, 1)


def case_id(value: Any) -> str | None:
    return value.id if isinstance(value, Case) else ""


def refused(cell: Cell, **changes: Any) -> str:
    """Try again, and return the type of the error with which the try sends nothing."""
    before = cell.sends
    retry = cell.order()
    for name, value in changes.items():
        setattr(retry, name, value)
    cell.run_try(retry)
    assert cell.sends == before
    assert retry.ended is not None
    return str(retry.ended["error"])


# A clock that is wrong.

SECONDS = (150, -150)
WRONG_CLOCKS = [
    (Case("exactly_once", ledger, point, Blow.KILL if point else None, wrong=f"a clock {off:+} s off"), off)
    for point, ledgers in (
        (ON_ITS_WAY, ("state", "postgres")),
        (UNANSWERED, ("state", "postgres")),
        (None, ("state",)),
    )
    for ledger, off in product(ledgers, SECONDS)
]


@pytest.mark.parametrize(("case", "off"), WRONG_CLOCKS, ids=case_id)
def test_a_try_whose_clock_is_wrong_sends_nothing_and_the_next_one_all(
    case: Case, off: float, new_cell: NewCell, table: Record
) -> None:
    with new_cell(case) as cell:
        if case.point:
            cell.run_struck()
        assert refused(cell, clock_off=off) == "ClocksDiffer"
        cell.run_on()
        table.add(judge(cell))


# A store that lies.

NOT_FOUND = (404, json.dumps({"detail": {"reason": "not_found", "message": "not found"}}))
LIES = {
    "404 for each key": ("", NOT_FOUND),
    "404 for the batch": ("sms_send$", NOT_FOUND),
    "404 for the request": ("sms_send.1.1.000002", NOT_FOUND),
    "null for each key": ("", (200, json.dumps({"value": None}))),
    "an empty answer for each key": ("", (200, "")),
}
LYING_STORES = [
    Case(guarantee, ledger, UNANSWERED, Blow.KILL, wrong=lie)
    for guarantee, ledger, lies in (
        ("exactly_once", "state", LIES),
        ("at_most_once", "state", ("404 for each key", "404 for the request")),
        ("exactly_once", "sqlite", ("404 for each key",)),
    )
    for lie in lies
]


@pytest.mark.parametrize("case", LYING_STORES, ids=case_id)
def test_a_store_that_answers_falsely_that_it_has_nothing_doubles_nothing(
    case: Case, new_cell: NewCell, table: Record
) -> None:
    with new_cell(case) as cell:
        cell.run_struck()
        cell.api.lies_about, cell.api.lie = LIES[case.wrong]
        assert refused(cell) == "LedgerUnavailable"
        cell.api.lie = None
        cell.run_on()
        table.add(judge(cell))


# A ledger that is another one.

TABLES = ("sms_batches", "sms_requests", "sms_messages", "sms_rounds")


@contextmanager
def made_anew(cell: Cell, folder: Path) -> Iterator[None]:
    """Let the connection lead to a ledger without tables."""
    assert cell.database is not None
    if cell.database.kind == "sqlite":
        empty = databases.sqlite(folder / "another.db")
    else:
        cell.database.execute(f"CREATE SCHEMA another_{cell.key}")
        empty = with_extra(cell.database, options=f"-c search_path=another_{cell.key}")
    right = cell.api.connections
    cell.api.connections = {**right, CONN_ID: empty.connection}
    yield
    cell.api.connections = right


def save(database: Database, name: str) -> None:
    for table in TABLES:
        database.execute(f"CREATE TABLE {name}_{table} AS SELECT * FROM {table}")  # noqa: S608 - names of ours


def restore(database: Database, name: str) -> None:
    for table in TABLES:
        database.execute(f"DELETE FROM {table}")  # noqa: S608 - as above
        database.execute(f"INSERT INTO {table} SELECT * FROM {name}_{table}")  # noqa: S608 - as above
        database.execute(f"DROP TABLE {name}_{table}")


@pytest.mark.parametrize(
    "case",
    [
        Case(guarantee, ledger, UNANSWERED, Blow.KILL, wrong="a ledger made anew")
        for guarantee, ledger in product(("exactly_once", "at_most_once"), ("sqlite", "postgres"))
    ],
    ids=case_id,
)
def test_a_ledger_that_was_made_anew_is_noticed_and_nothing_is_doubled(
    case: Case, new_cell: NewCell, table: Record, tmp_path: Path
) -> None:
    with new_cell(case) as cell:
        cell.run_struck()
        with made_anew(cell, tmp_path):
            assert refused(cell) == "LedgerUnavailable"
        cell.run_on()
        table.add(judge(cell))


@pytest.mark.parametrize(
    "case",
    [
        Case(
            "exactly_once",
            ledger,
            FIRST_RECORDED,
            Blow.KILL,
            dies_at=UNANSWERED,
            wrong="an older backup restored",
        )
        for ledger in ("sqlite", "postgres")
    ],
    ids=case_id,
)
def test_an_older_backup_of_the_ledger_is_noticed_and_nothing_is_doubled(
    case: Case, new_cell: NewCell, table: Record
) -> None:
    """The backup was made between two tries: it has the batch, and the first of its requests."""
    with new_cell(case) as cell:
        assert cell.database is not None
        cell.run_try(cell.order(is_struck=True))
        save(cell.database, "backup")
        cell.run_try(cell.order())
        assert cell.proxy.has_struck
        save(cell.database, "right")
        restore(cell.database, "backup")
        assert refused(cell) == "LedgerUnavailable"
        restore(cell.database, "right")
        cell.run_on()
        table.add(judge(cell))


# A server that crashes with its worker.


class CrashingServer:
    """A PostgreSQL of its own, which writes nothing to disk at a commit unless it is told to."""

    def __init__(self, server: Any) -> None:
        self._server = server
        for setting in ("synchronous_commit = off", "wal_writer_delay = '10s'"):
            self.execute(f"ALTER SYSTEM SET {setting}")
        self.execute("SELECT pg_reload_conf()")

    @property
    def conninfo(self) -> str:
        return str(self._server.get_uri())

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.conninfo)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(statement.encode())

    def crash(self) -> None:
        """End it as a power cut does, and start it again."""
        postmaster = psutil.Process(self._server.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes)
        self._server.ensure_postgres_running()


@pytest.fixture(scope="module")
def crashing_server() -> Iterator[CrashingServer]:
    # The server may run as another user, who cannot read the folders that pytest makes.
    with TemporaryDirectory(prefix="crashing-") as folder, embedded_server(Path(folder) / "data") as server:
        yield CrashingServer(server)


@pytest.fixture(scope="module")
def crashing_ledger(crashing_server: CrashingServer) -> Database:
    return Database("postgres", postgres_connection(crashing_server.conninfo), crashing_server.connect)


def test_a_commit_that_is_not_on_disk_is_lost_in_a_crash(crashing_server: CrashingServer) -> None:
    crashing_server.execute("CREATE TABLE plain (value INTEGER)")
    crashing_server.execute("CHECKPOINT")
    crashing_server.execute("INSERT INTO plain VALUES (1)")
    crashing_server.crash()
    with crashing_server.connect() as connection:
        assert connection.execute("SELECT COUNT(*) FROM plain").fetchone() == (0,)


def test_claims_outlive_a_crash_of_a_server_whose_default_is_not_to_write_them(
    new_cell: NewCell, table: Record, crashing_server: CrashingServer
) -> None:
    case = Case("exactly_once", "crashing", UNANSWERED, Blow.KILL, wrong="and its server crashes")
    with new_cell(case) as cell:
        cell.run_struck()
        crashing_server.crash()
        cell.run_on()
        assert len(cell.tries) == 2
        table.add(judge(cell))
