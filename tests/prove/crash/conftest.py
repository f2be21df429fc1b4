from __future__ import annotations

import itertools
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from airflow_provider_winsms.sandbox import Sandbox
from scripts.warehouse import postgres_connection
from tests.prove.crash.cells import Cell
from tests.prove.crash.points import Blow
from tests.prove.crash.proxy import Proxy
from tests.prove.crash.sample import cell_of, sampled
from tests.prove.crash.stage import Workers
from tests.prove.crash.table import Record
from tests.prove.whole import IS_WHOLE
from tests.support import databases
from tests.support.databases import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.prove.crash.cells import Case

HERE = Path(__file__).parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave a sample of the cells that are asked for, unless all are to be tried."""
    cells = [item for item in items if isinstance(item, pytest.Function) and _is_cell(item)]
    if IS_WHOLE or not cells:
        return
    kept = {cells[place] for place in sampled([cell_of(cell) for cell in cells])}
    spared = [cell for cell in cells if cell not in kept]
    config.hook.pytest_deselected(items=spared)
    left_out = set(spared)
    items[:] = [item for item in items if item not in left_out]


def _is_cell(item: pytest.Function) -> bool:
    return item.path.parent == HERE and item.get_closest_marker("crash") is not None


@pytest.fixture(scope="session")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with Workers(tmp_path_factory.mktemp("workers")) as started:
        yield started


@pytest.fixture(scope="session")
def gateway() -> Iterator[Sandbox]:
    with Sandbox(speed=0, credits=1_000_000) as box:
        yield box


@pytest.fixture(scope="session")
def sqlite_ledger(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return databases.sqlite(tmp_path_factory.mktemp("ledger") / "ledger.db")


@pytest.fixture(scope="session")
def postgres_ledger(postgres_database: str) -> Database:
    connection = postgres_connection(postgres_database)
    return Database("postgres", connection, lambda: psycopg.connect(postgres_database))


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Record:
    return Record(request.node)


@pytest.fixture(scope="session")
def numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def new_cell(
    workers: Workers, gateway: Sandbox, numbers: Iterator[int], request: pytest.FixtureRequest
) -> Callable[[Case], AbstractContextManager[Cell]]:
    """Make a cell: a function of a case, whose result is a context manager."""

    @contextmanager
    def new(case: Case) -> Iterator[Cell]:
        has_tables = case.ledger != "state"
        database = request.getfixturevalue(f"{case.ledger}_ledger") if has_tables else None
        with ExitStack() as stack:
            point, blow = (case.dies_at, Blow.KILL) if case.dies_at else (case.point, case.blow)
            proxy = stack.enter_context(Proxy(gateway.port, point, blow))
            cell = Cell(case, next(numbers), workers, gateway, database, proxy)
            stack.callback(cell.close)
            yield cell

    return new
