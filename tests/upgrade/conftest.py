from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.sandbox import Sandbox
from tests.support import databases
from tests.support.databases import CONN_ID
from tests.support.pigeon import PigeonBox
from tests.upgrade.story import API_KEY, LEDGER, Story

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Database

_HERE = Path(__file__).parent
_LEDGERS = ["sqlite", "postgres", pytest.param("mariadb", marks=pytest.mark.database)]


def _statements(kind: str) -> list[str]:
    return [each for each in (_HERE / f"{kind}.sql").read_text().split(";\n") if each.strip()]


def _replay(database: Database) -> None:
    with closing(database.connect()) as connection, closing(connection.cursor()) as cursor:
        if database.schema:
            cursor.execute(f"SET search_path TO {database.schema}")
        if database.kind == "duckdb":
            cursor.execute("SET TimeZone = 'UTC'")
        for statement in _statements(database.kind):
            cursor.execute(statement)
        connection.commit()


def _database(kind: str, request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue("postgres_by_path" if kind == "postgres" else kind)
    _replay(found)
    return found


@pytest.fixture(params=_LEDGERS)
def ledger(request: pytest.FixtureRequest) -> Database:
    """A database with a ledger and a warehouse of the version before."""
    return _database(request.param, request)


@pytest.fixture(params=[*_LEDGERS, pytest.param("duckdb", marks=pytest.mark.database)])
def warehouse(request: pytest.FixtureRequest) -> Database:
    """A database with a warehouse of the version before."""
    return _database(request.param, request)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sandbox]:
    """The gateway as the version before left it."""
    state = tmp_path / "gateway.db"
    with closing(sqlite3.connect(state)) as connection, connection:
        for statement in _statements("gateway"):
            connection.execute(statement)
    with Sandbox(api_key=API_KEY, speed=0, state=state) as found:
        yield found


@pytest.fixture
def story(request: pytest.FixtureRequest, box: Sandbox, tmp_path: Path) -> Iterator[Story]:
    """The tasks with the tries that they had. DuckDB keeps no ledger: its texts come from one in SQLite."""
    given = {"ledger", "warehouse"} & set(request.fixturenames)
    database: Database = request.getfixturevalue(given.pop())
    ledger = database
    if database.kind == "duckdb":
        ledger = databases.sqlite(tmp_path / "sends.db")
        _replay(ledger)
    with PigeonBox() as pigeon:
        found = Story(box, pigeon, {LEDGER: ledger.connection, CONN_ID: database.connection})
        found.remember(json.loads((_HERE / "tries.json").read_text()))
        yield found
