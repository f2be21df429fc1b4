from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.database_fixtures import mariadb, postgres_database, sqlite
from tests.support.database_fixtures import postgres_by_path as postgres  # a ledger has no parameter for it

if TYPE_CHECKING:
    from tests.support.databases import Database

__all__ = ["mariadb", "postgres", "postgres_database", "sqlite"]


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database, of each kind, behind the connection ``warehouse``."""
    found: Database = request.getfixturevalue(request.param)
    return found
