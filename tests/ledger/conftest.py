from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from airflow.sdk._shared.module_loading import _get_grouped_entry_points
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from tests.support import databases
from tests.support.databases import MYSQL_PROVIDER, postgres_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.databases import Database

__all__ = ["postgres_database"]

# Airflow looked for providers when it was imported, and remembers which it found.
sys.path.insert(0, str(MYSQL_PROVIDER))
_get_grouped_entry_points.cache_clear()
ProvidersManagerTaskRuntime()._cleanup()


@pytest.fixture
def postgres(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    database = databases.postgres(postgres_database)
    database.connection["extra"] = json.dumps({"options": f"-c search_path={database.schema}"})
    _connect(database, monkeypatch)
    yield database
    databases.drop(database)


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    database = databases.sqlite(tmp_path / "ledger.db")
    _connect(database, monkeypatch)
    return database


@pytest.fixture
def mariadb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    server = databases.mysql_server()
    database = databases.mariadb(server)
    _connect(database, monkeypatch)
    yield database
    databases.run_on_mysql(server, f"DROP DATABASE {database.connection['schema']}")


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database, of each kind, behind the connection ``warehouse``."""
    found: Database = request.getfixturevalue(request.param)
    return found


def _connect(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.let_tasks_find_it(monkeypatch)
    path = (str(MYSQL_PROVIDER), os.environ.get("PYTHONPATH"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
