"""All of a load or nothing; and several loads, or other programs, at the same table at the same time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import LoadFailed, SendStopped
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.warehouse.datasets import LoadSizes
from tests.support.databases import with_extra
from tests.support.lists import row
from tests.transfers.conftest import LOADED_INTO
from tests.transfers.loads import (
    arrive,
    create_table_that_refuses,
    everything,
    opened,
    operator,
    run,
)

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.lists import Lists

AT_ONCE = tuple(kind for kind in LOADED_INTO if "duckdb" not in str(kind))
"""The databases that several programs may write at the same time."""


@pytest.fixture(params=AT_ONCE)
def shared(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


# All or nothing


def test_one_row_that_the_database_refuses_leaves_none(gateway: Sandbox, database: Database) -> None:
    create_table_that_refuses(database, "Reply 17")
    arrive(gateway, 30)
    with pytest.raises(LoadFailed):
        run(database)
    assert database.count("replies") == 0


def test_a_row_that_is_refused_at_the_very_end_leaves_none_of_those_that_were_merged_before(
    gateway: Sandbox, any_database: Database
) -> None:
    create_table_that_refuses(any_database, "Reply 99")
    ids = arrive(gateway, 30)
    run(any_database, sizes=LoadSizes(merged_rows=20))
    any_database.execute(f"DELETE FROM {{}}replies WHERE message_id IN ('{ids[3]}', '{ids[29]}')")  # noqa: S608 - a test's own ids
    before = everything(any_database)
    arrive(gateway, 100)
    with pytest.raises(LoadFailed):
        run(any_database, mode="backfill", sizes=LoadSizes(merged_rows=20))
    assert everything(any_database) == before


@pytest.mark.database
def test_so_does_one_behind_more_rows_than_are_merged_at_a_time(
    lists: Lists, any_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists.extra = {}
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", lists.connection)
    create_table_that_refuses(any_database, "Refused")
    lists.rows = [row(n) for n in range(1, 45_001)] + [row(45_001, text="Refused")]
    with pytest.raises(LoadFailed):
        run(any_database)
    assert any_database.count("replies") == 0
    lists.rows.pop()
    assert run(any_database)["rows_loaded"] == 45_000
    assert run(any_database)["rows_loaded"] == 0
    assert run(any_database, mode="full_refresh")["rows_loaded"] == 0
    assert any_database.count("replies") == 45_000


def test_an_opt_out_that_is_refused_changes_neither_the_table_nor_its_history(
    lists: Lists, database: Database
) -> None:
    number = "27825550101"
    lists.opt_outs = [row(1, number)]
    run(database, "opt_outs")
    before = everything(database), everything(database, "replies_history")
    # It is in the history already, so that the last step but one is refused.
    database.execute("CREATE UNIQUE INDEX {}one_id ON {}replies (message_id)".replace("{}one", "one"))
    lists.opt_outs = [row(2, number), row(3, "27825550102"), row(3, "27825550103")]
    with pytest.raises(LoadFailed):
        run(database, "opt_outs")
    assert (everything(database), everything(database, "replies_history")) == before


def test_a_task_that_is_killed_asks_no_more_and_leaves_nothing(lists: Lists, database: Database) -> None:
    lists.rows = [row(n) for n in range(1, 401)]
    loading = operator(database, prefetch=2)

    def meanwhile(number: int) -> None:
        if number == 5:
            loading.on_kill()

    lists.meanwhile = meanwhile
    with pytest.raises(SendStopped):
        loading.execute({})
    assert lists.requests <= 6
    assert database.count("replies") == 0
    lists.meanwhile = lambda _: None
    assert run(database)["rows_loaded"] == 400


# At the same time


def test_loads_of_replies_at_once_equal_the_source(gateway: Sandbox, shared: Database) -> None:
    ids = arrive(gateway, 30)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: run(shared), range(4)))
    assert sum(result["rows_loaded"] for result in results) == 30
    assert shared.message_ids("replies") == ids


@pytest.mark.parametrize("dataset", ["opt_outs", "scheduled"])
def test_of_loads_of_lists_that_shrink_the_one_that_began_last_is_right(
    dataset: str, lists: Lists, shared: Database
) -> None:
    """One that began earlier, and comes later to the table, says so and changes nothing."""
    run(shared, dataset)
    lists.opt_outs = [row(n, f"2782{n:07}") for n in range(30)]
    lists.scheduled = [{"apiMessageId": n, "mobileNumber": f"2782{n:07}"} for n in range(30)]

    def attempt(_: int) -> str:
        try:
            run(shared, dataset)
        except LoadFailed as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(4) as pool:
        errors = list(pool.map(attempt, range(4)))
    assert [error for error in errors if error and "began later" not in error] == []
    assert "" in errors
    assert shared.column("number", "replies WHERE removed_at IS NULL") == [f"2782{n:07}" for n in range(30)]
    if dataset == "opt_outs":
        assert shared.count("replies_history") == 30


def test_loads_at_once_into_a_table_without_a_key_double_nothing(
    gateway: Sandbox, postgres: Database
) -> None:
    ids = arrive(gateway, 1000)
    create_table_that_refuses(postgres, "nothing", key="")
    rows: Any = SmsHook.of("winsms_default").get_incoming(0, 1000).rows
    are_ready, may_merge = Barrier(3), Barrier(3)

    def merge(_: int) -> int:
        with opened(postgres) as (table, mapper):
            table.add(mapper.chunk(rows))
            are_ready.wait(timeout=10)
            may_merge.wait(timeout=10)
            return table.finish().loaded

    with ThreadPoolExecutor(2) as pool, closing(postgres.connect()) as other:
        merging = pool.map(merge, range(2))
        are_ready.wait(timeout=10)
        # Whoever may write waits for this, so that both would begin at the same moment.
        other.execute(f"LOCK TABLE {postgres.named('replies')} IN SHARE MODE")
        may_merge.wait(timeout=10)
        time.sleep(0.3)
        other.commit()
        assert sorted(merging) == [0, 1000]
    assert postgres.message_ids("replies") == ids


def test_a_row_that_another_program_writes_meanwhile_is_left_to_it(
    gateway: Sandbox, shared: Database
) -> None:
    ids = arrive(gateway, 12)
    create_table_that_refuses(shared, "nothing")
    with closing(shared.connect()) as other, ThreadPoolExecutor(1) as pool:
        other.cursor().execute(
            f"INSERT INTO {shared.named('replies')} (message_id, number, text, loaded_at) "  # noqa: S608 - a test's own
            f"VALUES ('{ids[3]}', '1', 'By hand', '2026-01-01 00:00:00')"
        )
        loading = pool.submit(run, shared)
        time.sleep(0.3)
        assert not loading.done()
        other.commit()
        assert loading.result(timeout=20)["rows_loaded"] == 11
    assert shared.message_ids("replies") == ids
    assert shared.column("text", f"replies WHERE message_id = '{ids[3]}'") == ["By hand"]


def test_a_load_waits_for_another_writer(gateway: Sandbox, sqlite: Database) -> None:
    arrive(gateway, 12)
    run(sqlite)
    arrive(gateway, 3)
    with closing(sqlite.connect()) as other, ThreadPoolExecutor(1) as pool:
        other.execute("BEGIN IMMEDIATE")
        loading = pool.submit(run, sqlite)
        time.sleep(0.2)
        assert not loading.done()
        other.rollback()
        assert loading.result()["rows_loaded"] == 3


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_long_load_makes_another_one_wait_and_nobody_who_reads(
    kind: str, gateway: Sandbox, request: pytest.FixtureRequest
) -> None:
    database: Database = request.getfixturevalue(kind)
    ids = arrive(gateway, 12)
    rows: Any = SmsHook.of("winsms_default").get_incoming(0, 12).rows
    with ThreadPoolExecutor(1) as pool:
        with opened(database, sizes=LoadSizes(merged_rows=5)) as (table, mapper):
            table.add(mapper.chunk(rows))
            loading = pool.submit(run, database, sizes=LoadSizes(merged_rows=5))
            time.sleep(0.3)
            assert not loading.done()
            assert database.count("replies") == 0
            assert table.finish().loaded == 12
        assert loading.result(timeout=20)["rows_loaded"] == 0
    assert database.message_ids("replies") == ids


def test_a_connection_may_ask_for_rows_as_mappings(
    gateway: Sandbox, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_extra(postgres, cursor="dictcursor").let_tasks_find_it(monkeypatch)
    arrive(gateway, 12)
    gateway.opt_out("27825550101")
    assert run(postgres)["rows_loaded"] == 12
    assert run(postgres)["rows_loaded"] == 0
    assert run(postgres, "opt_outs", table="opt_outs")["rows_loaded"] == 1
