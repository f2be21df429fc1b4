"""Records the databases of a version, for the tests that go on with them.

In a checkout of that version, with a copy of this folder:

    AIRFLOW_HOME=$(mktemp -d) python -m tests.upgrade.record tests/upgrade

The statements that create tables, indexes and views are those that the version issued; the rows are what it
left behind.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.sql.connection import Database as Connected
from scripts import warehouse as servers
from tests.support import database_fixtures, databases
from tests.support.pigeon import PigeonBox
from tests.support.send_world import die
from tests.upgrade.story import API_KEY, BEGAN, LEDGER, NUMBERS, Story, columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.databases import Database

_CREATES = re.compile(r"CREATE (?!TEMP)", re.IGNORECASE)
_TODAY = re.compile(rf"^{datetime.now(UTC):%Y-%m-%d}([ T])\d\d:\d\d")
"""Finds the time of this process, in place of which the rows get the sandbox's."""

_DAY = 24 * 3600


class RecordingCursor:
    """A cursor that keeps the statements that create something."""

    def __init__(self, cursor: Any, created: list[str]) -> None:
        self._cursor = cursor
        self._created = created

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        is_new = statement not in self._created and "sms_staging" not in statement
        if is_new and _CREATES.match(statement):
            self._created.append(statement)
        return self._cursor.execute(statement, *parameters)


@contextmanager
def recorded() -> Iterator[dict[str, list[str]]]:
    """Yield the statements that create something meanwhile, by the types of connections."""
    created: defaultdict[str, list[str]] = defaultdict(list)
    run = Connected.run

    def recording(self: Connected, step: str, work: Callable[[Any], Any]) -> Any:
        kept = created[self._hook.conn_type]
        return run(self, step, lambda cursor: work(RecordingCursor(cursor, kept)))

    with patch.object(Connected, "run", recording):
        yield created


def tell(story: Story, warehouses: list[str]) -> None:
    """Run the tasks of the older version."""
    box = story.sandbox
    _expect(story.send("delivered"), "NoneType")
    _expect(story.send("declined"), "NoneType")
    _expect(story.send_batch(), "NoneType")
    _expect(story.send_by_pigeon(), "NoneType")
    _expect(story.send("resent"), "NoneType")
    story.runner("resent").clear()
    _expect(story.send("resent"), "NoneType")
    box.set_account(credit_balance=2)
    _expect(story.send("two_rounds"), "OutOfCredits")
    box.set_account(credit_balance=1000)
    _expect(story.send("two_rounds"), "NoneType")
    box.incoming(NUMBERS[0], "YES; it's me, 'Ann'")
    box.incoming(NUMBERS[1], "STOP")
    box.opt_out(NUMBERS[2])
    box.opt_out(NUMBERS[3])
    box.shortcode(NUMBERS[4], "WIN 1")
    box.advance(3600)
    for warehouse in warehouses:
        story.load_all(warehouse)
    box.advance(_DAY - 3600)
    _second_day(story)
    for warehouse in warehouses:
        story.load_all(warehouse, refresh=False)
        story.make_views(warehouse)


def _second_day(story: Story) -> None:
    box = story.sandbox
    box.incoming(NUMBERS[5], "Ring 082 555 0123")
    box.remove_opt_out(NUMBERS[2])
    box.opt_out(NUMBERS[6])
    box.shortcode(NUMBERS[4], "WIN 2")
    for task_id in ("accepted", "hashed", "kept", "scheduled", "cancelled"):
        _expect(story.send(task_id), "NoneType")
    story.cancel(story.runner("cancelled").result["batch"])
    box.set_account(credit_balance=1)
    _expect(story.send("unpaid"), "OutOfCredits")
    box.set_account(credit_balance=1000)
    for task_id in ("at_most_once", "at_least_once", "not_found", "resolved"):
        world = story.world(task_id)
        world.before[1] = die
        _expect(story.send(task_id, world), "WorkerDied")
    world = story.world("found")
    world.after[1] = die
    _expect(story.send("found", world), "WorkerDied")


def _expect(error: BaseException | None, name: str) -> None:
    assert type(error).__name__ == name, repr(error)


def dump(database: Database, created: list[str]) -> str:
    """Return a database as SQL: the statements that made it, and its rows."""
    tables = [each for each in created if " VIEW " not in each.upper()]
    views = [each for each in created if each not in tables]
    names = [_name(each) for each in tables if each.upper().startswith("CREATE TABLE")]
    rows = [text for name in names if (text := _rows(database, name))]
    return "".join(f"{statement.strip()};\n\n" for statement in (*tables, *rows, *views))


def _name(statement: str) -> str:
    found = re.match(r"CREATE TABLE (?:IF NOT EXISTS )?[\"`]?(\w+)", statement)
    assert found, statement
    return found[1]


def _rows(database: Database, table: str) -> str:
    query = f"SELECT * FROM {{}}{database.quote.format(table)}"  # noqa: S608 - our own names
    found = sorted(_literals(row, database.kind) for row in database.execute(query))
    names = ", ".join(map(database.quote.format, columns_of(database, table)))
    listed = ",\n".join(found)
    return f"INSERT INTO {database.quote.format(table)} ({names}) VALUES\n{listed}" if found else ""


def _literals(row: tuple[Any, ...], kind: str) -> str:
    return f"({', '.join(_literal(value, kind) for value in row)})"


def _literal(value: Any, kind: str) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, (int, float, Decimal)):
        return str(value)
    text = (str(value) if isinstance(value, datetime) else value).replace(socket.gethostname(), "worker")
    text = _TODAY.sub(rf"{BEGAN + timedelta(days=1):%Y-%m-%d}\g<1>{BEGAN:%H:%M}", text)
    if kind == "mariadb":
        text = text.replace("\\", "\\\\")
    return "'" + text.replace("'", "''") + "'"


def record(folder: Path, ledger: Database, *others: Database) -> str:
    """Record a ledger and warehouses, and return the state of the sandbox."""
    state = Path(tempfile.mkdtemp()) / "gateway.db"
    warehouses = {each.kind: each for each in (ledger, *others)}
    connections = {LEDGER: ledger, **warehouses}
    for conn_id, database in connections.items():
        os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(database.connection)
    with (
        Sandbox(api_key=API_KEY, speed=0, credits=1000, now=BEGAN, state=state) as box,
        PigeonBox() as pigeon,
    ):
        story = Story(box, pigeon, {name: each.connection for name, each in connections.items()})
        with recorded() as created:
            tell(story, list(warehouses))
        (folder / "tries.json").write_text(json.dumps(story.tries(), indent=1, sort_keys=True) + "\n")
    for kind, database in warehouses.items():
        (folder / f"{kind}.sql").write_text(dump(database, created[database.connection["conn_type"]]))
    with closing(sqlite3.connect(state)) as connection:
        return ";\n\n".join(line.removesuffix(";") for line in _gateway(connection))


def _gateway(connection: sqlite3.Connection) -> Iterator[str]:
    yield f"PRAGMA user_version = {connection.execute('PRAGMA user_version').fetchone()[0]}"
    yield from (line for line in connection.iterdump() if line not in {"BEGIN TRANSACTION;", "COMMIT;"})


def main(folder: Path) -> None:
    """Record every kind of database."""
    with ExitStack() as stack:
        scratch = Path(tempfile.mkdtemp())
        conninfo = stack.enter_context(servers.postgres(scratch / "postgres"))
        postgres = stack.enter_context(databases.scratch_postgres(conninfo))
        postgres = databases.with_extra(postgres, options=f"-c search_path={postgres.schema}")
        mariadb = stack.enter_context(databases.scratch_mariadb(databases.mysql_server()))
        sqlite, duckdb = databases.sqlite(scratch / "a.db"), databases.duckdb(scratch / "b.duckdb")
        states = [record(folder, postgres), record(folder, mariadb), record(folder, sqlite, duckdb)]
    (folder / "gateway.sql").write_text(f"{states[-1]};\n")


if __name__ == "__main__":
    assert database_fixtures  # it lets Airflow find the hooks
    main(Path(sys.argv[1]))
