from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.ledger.batches import batch, ledger
from tests.ledger.history import History
from tests.support.database_fixtures import postgres_by_path as postgres  # a ledger has no parameter for it

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_winsms.ledger.sql import SqlLedger
    from tests.support.databases import Database

__all__ = ["postgres"]


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database, of each kind, behind the connection ``warehouse``."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def tables(database: Database) -> Iterator[SqlLedger]:
    """A ledger with a batch open."""
    with ledger(database) as found:
        found.open(batch())
        yield found


@pytest.fixture
def history(database: Database) -> Iterator[History]:
    with History(database.hook()) as found:
        yield found


@pytest.fixture
def history_of(database: Database) -> Iterator[Callable[..., History]]:
    """Opens a history that reads the sizes that it is given at once."""
    with ExitStack() as stack:
        yield lambda **sizes: stack.enter_context(History(database.hook(), **sizes))
