from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import databases
from tests.support.databases import postgres_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database

PAGE_SIZE = 10

__all__ = ["postgres_database"]


@pytest.fixture
def postgres(
    postgres_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Database]:
    database = databases.postgres(postgres_database)
    _connect(database, monkeypatch)
    yield database
    databases.drop(database)


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    database = databases.sqlite(tmp_path / "warehouse.db")
    _connect(database, monkeypatch)
    return database


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database, of each kind, behind the connection ``warehouse``."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def gateway(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox behind the connection ``winsms_default``, read in pages of 10."""
    extra = json.dumps({"page_size": PAGE_SIZE})
    connection = {
        "conn_type": "winsms",
        "host": sandbox.base_url,
        "password": sandbox.api_key,
        "extra": extra,
    }
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))
    return sandbox


def _connect(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.let_tasks_find_it(monkeypatch)
