"""Two processes that load into one table at the same time: it ends up with every row, each once."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.sandbox.scripts import Listing, ListQuery
from tests.support.databases import CONN_ID
from tests.support.lists import connection_to, one_at_a_time, row
from tests.transfers.load_process import Ending, Loaders, Order, loaders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database

pytestmark = pytest.mark.database

DELAYS = (0.0, 0.1, 0.5)
"""Seconds by which the second load begins later, one round each."""

ROWS, NEWS = 3000, 700
PAGE = 100
MERGED = 400
"""So many rows are merged at a time: a load of all of them has a long transaction."""


class Lists:
    """What the gateway lists, slowly enough for two loads to be under way."""

    def __init__(self, gateway: Sandbox) -> None:
        self.rows = 0
        self.opt_outs: list[str] = []
        gateway.script("getIncomingMessages", one_at_a_time(self._page))
        gateway.script("getOptoutMessages", one_at_a_time(self._whole))

    def _page(self, asked: ListQuery) -> Listing:
        time.sleep(0.005)
        total = self.rows
        places = range(asked.offset, min(asked.offset + asked.limit, total))
        return Listing([row(each + 1, text=f"Text {each + 1}") for each in places], total)

    def _whole(self, _: ListQuery) -> Listing:
        time.sleep(0.005)
        return Listing([row(None, number) for number in self.opt_outs])


@pytest.fixture(scope="module")
def processes() -> Iterator[Loaders]:
    with loaders() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def order(sandbox: Sandbox, database: Database, dataset: str = "incoming", **kwargs: Any) -> Order:
    task = {"dataset": dataset, "sql_conn_id": CONN_ID, "table": "loaded", "schema": database.schema}
    connection = connection_to(sandbox, page_size=PAGE)
    environment = {**database.environment, "AIRFLOW_CONN_WINSMS_DEFAULT": connection}
    return Order({**task, **kwargs}, environment, merged_rows=MERGED, part_rows=PAGE)


def twice(processes: Loaders, load: Order, delay: float) -> list[Ending]:
    return processes.run(load, replace(load, begins_after=delay))


def listed(count: int) -> list[tuple[int, str]]:
    return [(each, f"Text {each}") for each in range(1, count + 1)]


def loaded(database: Database) -> list[tuple[Any, ...]]:
    rows = database.execute("SELECT message_id, text FROM {}loaded")
    return sorted((int(message_id), text) for message_id, text in rows)


def errors(endings: list[Ending]) -> list[str]:
    return [ending.error for ending in endings if ending.error]


def empty(database: Database) -> None:
    for table in database.tables():
        database.execute(f"DROP TABLE {database.named(table)}")


@pytest.mark.parametrize("delay", DELAYS)
@pytest.mark.parametrize("mode", ["incremental", "full_refresh"])
def test_two_first_loads_make_one_table(
    delay: float, mode: str, sandbox: Sandbox, database: Database, processes: Loaders
) -> None:
    lists = Lists(sandbox)
    lists.rows = ROWS
    assert errors(twice(processes, order(sandbox, database, mode=mode), delay)) == []
    assert loaded(database) == listed(ROWS)
    assert database.tables() == ["loaded"]


@pytest.mark.parametrize("delays", [DELAYS])
def test_two_loads_of_the_same_news_bring_them_once(
    delays: tuple[float, ...], sandbox: Sandbox, database: Database, processes: Loaders
) -> None:
    lists = Lists(sandbox)
    lists.rows = ROWS
    load = order(sandbox, database)
    processes.run(load)
    for delay in delays:
        lists.rows += NEWS
        assert errors(twice(processes, load, delay)) == []
        assert loaded(database) == listed(lists.rows)


def test_rows_that_arrive_while_two_loads_read_are_loaded_by_the_next_one_at_the_latest(
    sandbox: Sandbox, database: Database, processes: Loaders
) -> None:
    lists = Lists(sandbox)
    lists.rows = ROWS
    load, is_over = order(sandbox, database), threading.Event()

    def grow() -> None:
        while not is_over.wait(0.02):
            lists.rows += 7

    growing = threading.Thread(target=grow)
    growing.start()
    try:
        for delay in DELAYS:
            assert errors(twice(processes, load, delay)) == []
            found = loaded(database)
            assert found == listed(len(found))
    finally:
        is_over.set()
        growing.join()
    assert errors(processes.run(load)) == []
    assert loaded(database) == listed(lists.rows)


@pytest.mark.parametrize("is_first", [True, False])
def test_two_loads_of_opt_outs_leave_one_row_and_one_period_for_each_number(
    sandbox: Sandbox, database: Database, processes: Loaders, is_first: bool
) -> None:
    lists, periods = Lists(sandbox), 0
    load = order(sandbox, database, "opt_outs")
    ever: set[str] = set()
    for turn, delay in enumerate(DELAYS):
        before = set() if is_first else set(lists.opt_outs)
        lists.opt_outs = [f"2782{each:07}" for each in range(turn * 500, turn * 500 + ROWS)]
        ever = set(lists.opt_outs) | (set() if is_first else ever)
        periods = len(set(lists.opt_outs) - before) + (0 if is_first else periods)
        for error in errors(twice(processes, load, delay)):
            # Of two lists, the older one may be merged later, and then changes nothing.
            assert "began later" in error
        assert database.column("number", "loaded WHERE removed_at IS NULL") == lists.opt_outs
        assert database.column("number", "loaded") == sorted(ever)
        assert database.count("loaded_history") == periods
        assert database.column("number", "loaded_history WHERE removed_at IS NULL") == lists.opt_outs
        if is_first:
            empty(database)


@pytest.mark.parametrize("dataset", ["incoming", "opt_outs"])
def test_a_table_by_hand_is_completed_by_two_loads_at_once(
    dataset: str, sandbox: Sandbox, database: Database, processes: Loaders
) -> None:
    lists = Lists(sandbox)
    lists.rows = ROWS
    lists.opt_outs = [f"2782{each:07}" for each in range(ROWS)]
    key, kind = {"incoming": ("message_id", "VARCHAR(64)"), "opt_outs": ("number", "VARCHAR(100)")}[dataset]
    for delay in DELAYS:
        database.execute(f"CREATE TABLE {{}}loaded ({key} {kind} PRIMARY KEY)")
        known = [f"('{number}')" for number in lists.opt_outs[:50]]
        values = known if dataset == "opt_outs" else [f"('{each}')" for each in range(1, 51)]
        database.execute(f"INSERT INTO {{}}loaded VALUES {', '.join(values)}")  # noqa: S608 - a test's own
        for error in errors(twice(processes, order(sandbox, database, dataset), delay)):
            assert "began later" in error
        everything = (
            lists.opt_outs if dataset == "opt_outs" else sorted(str(each) for each, _ in listed(ROWS))
        )
        assert database.column(key, "loaded") == everything
        empty(database)


def test_a_duckdb_that_another_load_has_open_says_so_and_a_retry_completes_it(
    sandbox: Sandbox, duckdb: Database, processes: Loaders
) -> None:
    lists = Lists(sandbox)
    lists.rows = ROWS
    load = order(sandbox, duckdb)
    said = errors(twice(processes, load, 0.05))
    assert len(said) <= 1
    for error in said:
        assert "The database of the connection 'warehouse' could not be opened" in error
    lists.rows += NEWS
    assert errors(processes.run(load)) == []
    assert loaded(duckdb) == listed(lists.rows)
