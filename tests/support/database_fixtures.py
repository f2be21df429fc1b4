"""Fixtures: an empty database of each kind, behind the connection ``warehouse``.

As a plugin of pytest it gives them to all tests: one that modules imported would be made for each of them.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from airflow.sdk._shared.module_loading import _get_grouped_entry_points
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from scripts import warehouse
from tests.support import databases
from tests.support.databases import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.databases import Database

# Airflow looked for providers when it was imported, and remembers which it found.
sys.path[:0] = PROVIDERS
_get_grouped_entry_points.cache_clear()
ProvidersManagerTaskRuntime()._cleanup()


@pytest.fixture(scope="session")
def postgres_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of an empty PostgreSQL database, wherever one is to be had."""
    with warehouse.postgres(tmp_path_factory.mktemp("postgres")) as conninfo:
        yield conninfo


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    return _connect(databases.sqlite(tmp_path / "ledger.db"), monkeypatch)


@pytest.fixture
def duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    return _connect(databases.duckdb(tmp_path / "warehouse.duckdb"), monkeypatch)


@pytest.fixture
def mariadb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with databases.scratch_mariadb(databases.mysql_server()) as database:
        yield _connect(database, monkeypatch)


@pytest.fixture
def postgres(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A schema that whoever means it must name."""
    with databases.scratch_postgres(postgres_database) as database:
        yield _connect(database, monkeypatch)


@pytest.fixture
def postgres_by_path(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A schema in which unqualified names are looked up, and tables made."""
    with databases.scratch_postgres(postgres_database) as database:
        database.connection["extra"] = json.dumps({"options": f"-c search_path={database.schema}"})
        yield _connect(database, monkeypatch)


@pytest.fixture
def portable(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database of a type that no dialect knows; whoever means its schema must name it."""
    with databases.scratch_postgres(postgres_database) as database:
        yield _connect(databases.behind_an_unknown_hook(database), monkeypatch)


def _connect(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    database.let_tasks_find_it(monkeypatch)
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (*PROVIDERS, inherited))))
    return database


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database for the ledger, which the tasks and triggers find."""
    database = databases.sqlite(tmp_path / "ledger.db")
    database.let_tasks_find_it(monkeypatch)
    return database
