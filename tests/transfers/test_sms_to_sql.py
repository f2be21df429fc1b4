from __future__ import annotations

import inspect
import json
import logging
import re
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseHook
from airflow.providers.postgres.hooks.postgres import PostgresHook

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    LoadFailed,
    UnsupportedCapability,
)
from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.messages import IncomingMessage, OptOut
from airflow_provider_winsms.transfers.datasets import DATASETS, INCOMING, OPT_OUTS, Load, one_per_number
from airflow_provider_winsms.transfers.paging import PROGRESS_SECONDS, Progress
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator, load
from airflow_provider_winsms.transfers.sql_table import TableName, open_table
from tests.conftest import API_KEY
from tests.support.databases import CONN_ID
from tests.transfers.list_server import ListServer, listing, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from airflow_provider_winsms.sandbox import Sandbox
    from airflow_provider_winsms.transfers.datasets import Dataset
    from airflow_provider_winsms.transfers.sql_table import LoadingTable
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

SECRET_NUMBER, SECRET_TEXT = "27825559876", "Our little secret"
PAGE = "getIncomingMessages"


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Iterator[ListServer]:
    """A gateway that lists what it is told to, behind the connection ``winsms_default``."""
    with listing() as server:
        monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", server.connection)
        yield server


def operator(database: Database | None, dataset: str = "incoming", **kwargs: Any) -> SmsToSqlOperator:
    target = {"table": "replies", "schema": database.schema if database else None, "sql_conn_id": CONN_ID}
    return SmsToSqlOperator(task_id="load", dataset=dataset, **{**target, **kwargs})


def run(database: Database, dataset: str = "incoming", **kwargs: Any) -> dict[str, Any]:
    return operator(database, dataset, **kwargs).execute({})


def arrive(gateway: Sandbox, count: int) -> list[int]:
    """Let replies come in, each with a number and a text of its own."""
    return list(gateway.add_incoming((f"2782{n:07}", f"Reply {n}") for n in range(count)))


def requests(gateway: Sandbox) -> int:
    return len(gateway.requests())


def requests_of(gateway: Sandbox, work: Callable[[], object]) -> int:
    before = requests(gateway)
    work()
    return requests(gateway) - before


def was_read_again(result: dict[str, Any]) -> bool:
    """Whether more was read than all rows and a beginning and an overlap."""
    return bool(result["rows_read"] > result["total"] + 2)


def spoil_page(gateway: Sandbox, fault: str, page: int, **kwargs: Any) -> None:
    """Let a fault strike one page of the list, 1 for the first request."""
    if page > 1:
        gateway.add_fault("latency", operation=PAGE, seconds=0, times=page - 1)
    gateway.add_fault(fault, operation=PAGE, **kwargs)


def impatient(conn_id: str = "winsms_default") -> SmsHook:
    """Return a hook that tries again without waiting."""
    hook = SmsHook.of(conn_id)
    hook._transport = Transport(hook.endpoint, sleep=lambda _: None)
    return hook


def opened(
    database: Database, dataset: Dataset = INCOMING, *, began: datetime | None = None, hook: Any = None
) -> AbstractContextManager[LoadingTable]:
    hook = hook or BaseHook.get_connection(CONN_ID).get_hook()
    started = Load(began or datetime.now(UTC), None)
    return open_table(hook, dataset, TableName("replies", database.schema), started)


def run_impatiently(database: Database, hook: Any = None) -> dict[str, Any]:
    with opened(database, hook=hook) as table:
        return load(INCOMING, impatient(), table, logging.getLogger("load"))


# The first load


def test_the_first_load_brings_every_row(gateway: Sandbox, database: Database) -> None:
    ids = arrive(gateway, 25)
    assert run(database) == {
        "dataset": "incoming",
        "table": "replies" if database.schema is None else f"{database.schema}.replies",
        "rows_read": 25,
        "rows_loaded": 25,
        "rows_removed": 0,
        "requests": 3,
        "total": 25,
        "high_water_mark": ids[-1],
    }
    assert database.column("message_id", "replies") == ids


def test_a_row_says_what_the_gateway_said_in_utc(lists: ListServer, database: Database) -> None:
    lists.rows = [row(7, SECRET_NUMBER, SECRET_TEXT, outgoingApiMessageId=4), row(8, receiveTime="soon")]
    began = datetime.now(UTC)
    SmsToSqlOperator(
        task_id="load", dataset="incoming", table="replies", schema=database.schema, sql_conn_id=CONN_ID
    ).execute({"run_id": "manual__1"})
    seven, eight = database.execute(
        "SELECT message_id, number, received_at, text, in_reply_to, loaded_at, run_id"
        " FROM {}replies ORDER BY message_id"
    )
    assert (*seven[:2], *seven[3:5], seven[6]) == (7, SECRET_NUMBER, SECRET_TEXT, 4, "manual__1")
    assert instant(seven[2]) == datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
    assert began <= instant(seven[5]) <= datetime.now(UTC)
    assert (eight[2], eight[4]) == (None, None)


def instant(value: datetime | str) -> datetime:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    assert found.utcoffset() is not None
    return found


@pytest.mark.usefixtures("gateway")
def test_on_postgresql_a_moment_has_a_zone_and_an_id_has_64_bits(postgres: Database) -> None:
    run(postgres)
    columns = f"information_schema.columns WHERE table_schema = '{postgres.schema}'"
    types = dict(postgres.execute(f"SELECT column_name, data_type FROM {columns}"))  # noqa: S608 - a test's own name
    assert types["message_id"] == types["in_reply_to"] == "bigint"
    assert types["received_at"] == types["loaded_at"] == "timestamp with time zone"


def test_the_table_that_is_created_refuses_the_same_id_twice(gateway: Sandbox, database: Database) -> None:
    arrive(gateway, 1)
    run(database)
    copy = "INSERT INTO {}replies SELECT * FROM {0}replies".replace("{}", "{0}")
    with pytest.raises(Exception, match=r"(?i)unique"):
        database.execute(copy)


@pytest.mark.usefixtures("gateway")
def test_an_empty_list_makes_an_empty_table(database: Database) -> None:
    result = run(database)
    assert (result["rows_loaded"], result["total"], result["high_water_mark"]) == (0, 0, None)
    assert run(database)["requests"] == 1
    assert database.count("replies") == 0


def test_the_table_may_be_in_no_named_schema(gateway: Sandbox, sqlite: Database) -> None:
    arrive(gateway, 3)
    assert run(sqlite, schema="main")["table"] == "main.replies"
    assert run(sqlite, schema=None)["rows_loaded"] == 0


def test_characters_that_databases_refuse_are_replaced(lists: ListServer, database: Database) -> None:
    lists.rows = [row(1, text="a\0b"), row(2, text="half \ud83d"), row(3, text="whole \U0001f600")]
    run(database)
    assert database.column("text", "replies") == ["a\ufffdb", "half \ufffd", "whole \U0001f600"]


@pytest.mark.parametrize("wire_time", ["000101010000", "209913010000", "", None, 202603021030])
def test_no_time_on_the_wire_stops_a_load(wire_time: Any, lists: ListServer, sqlite: Database) -> None:
    lists.rows = [row(1, receiveTime=wire_time)]
    assert run(sqlite)["rows_loaded"] == 1


# Later loads


def test_a_later_load_reads_only_the_end_of_the_list(gateway: Sandbox, database: Database) -> None:
    arrive(gateway, 500)
    run(database)
    new = arrive(gateway, 4)
    result = {}
    made = requests_of(gateway, lambda: result.update(run(database)))
    assert made == result["requests"] == 3
    assert result["rows_loaded"] == 4
    assert result["high_water_mark"] == new[-1]
    assert database.count("replies") == 504


def test_a_load_without_news_makes_two_requests(gateway: Sandbox, database: Database) -> None:
    arrive(gateway, 500)
    run(database)
    before = database.execute("SELECT * FROM {}replies ORDER BY 1")
    assert requests_of(gateway, lambda: run(database)) == 2
    assert database.execute("SELECT * FROM {}replies ORDER BY 1") == before


def test_news_of_many_pages_are_all_read(gateway: Sandbox, database: Database) -> None:
    arrive(gateway, 100)
    run(database)
    arrive(gateway, 57)
    result = run(database)
    assert result["rows_loaded"] == 57
    assert not was_read_again(result)
    assert database.count("replies") == 157


def test_rows_deleted_from_the_table_come_back(gateway: Sandbox, database: Database) -> None:
    ids = arrive(gateway, 60)
    run(database)
    database.execute(f"DELETE FROM {{}}replies WHERE message_id < {ids[5]}")  # noqa: S608 - a test's own id
    assert run(database)["rows_loaded"] == 5
    assert database.column("message_id", "replies") == ids


def test_a_table_filled_by_hand_is_completed(gateway: Sandbox, database: Database) -> None:
    ids = arrive(gateway, 60)
    run(database)
    database.execute(f"DELETE FROM {{}}replies WHERE message_id BETWEEN {ids[7]} AND {ids[30]}")  # noqa: S608 - as above
    database.execute(f"DELETE FROM {{}}replies WHERE message_id = {ids[-1]}")  # noqa: S608 - as above
    run(database)
    assert database.column("message_id", "replies") == ids


def test_rows_that_the_gateway_has_forgotten_stay(lists: ListServer, database: Database) -> None:
    lists.rows = [row(n) for n in range(1, 61)]
    run(database)
    lists.rows = [*lists.rows[30:], row(61)]
    assert run(database)["requests"] == 3
    assert database.column("message_id", "replies") == list(range(1, 62))


# A list that misbehaves


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
@pytest.mark.parametrize("news", [0, 1, 35])
def test_the_order_of_the_list_does_not_matter(
    order: str, news: int, lists: ListServer, sqlite: Database
) -> None:
    def listed(count: int) -> list[dict[str, Any]]:
        ids = list(range(1, count + 1))
        ordered = {
            "ascending": ids,
            "descending": ids[::-1],
            "shuffled": sorted(ids, key=lambda n: n * 37 % 101),
        }
        return [row(message_id) for message_id in ordered[order]]

    lists.rows = listed(60)
    run(sqlite)
    lists.rows = listed(60 + news)
    result = run(sqlite)
    assert result["rows_loaded"] == news
    if order != "shuffled":
        assert not was_read_again(result)
    assert sqlite.column("message_id", "replies") == list(range(1, 61 + news))


def test_a_late_row_with_a_low_id_is_found_at_the_end(lists: ListServer, database: Database) -> None:
    lists.rows = [row(n) for n in range(100, 160)]
    run(database)
    lists.rows += [row(50), row(160)]
    run(database)
    assert database.column("message_id", "replies") == [50, *range(100, 161)]


def test_a_late_row_far_from_the_end_is_found_by_the_total(lists: ListServer, database: Database) -> None:
    lists.rows = [row(n) for n in range(100, 160)]
    run(database)
    lists.rows.insert(20, row(5))
    assert run(database)["rows_loaded"] == 1
    assert 5 in database.column("message_id", "replies")


@pytest.mark.parametrize("fault", ["duplicated-row", "missing-row", "reordered-rows"])
@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("which", ["first-load", "later-load"])
def test_a_spoilt_page_neither_loses_nor_doubles_a_row(
    fault: str, page: int, which: str, gateway: Sandbox, sqlite: Database
) -> None:
    ids = arrive(gateway, 35)
    if which == "later-load":
        run(sqlite)
        ids += arrive(gateway, 25)
    spoil_page(gateway, fault, page)
    run(sqlite)
    assert gateway.faults()[-1]["struck"] == 1
    assert sqlite.column("message_id", "replies") == ids


@pytest.mark.parametrize("which", ["first-load", "later-load"])
def test_rows_that_arrive_between_pages_are_loaded(which: str, gateway: Sandbox, database: Database) -> None:
    arrive(gateway, 35)
    if which == "later-load":
        run(database)
        arrive(gateway, 12)
    gateway.add_fault("rows-between-pages", operation=PAGE, times=3, rows=7)
    result = run(database)
    assert database.count("replies") == result["total"] == (35 if which == "first-load" else 47) + 21
    assert not was_read_again(result)


def test_rows_that_arrive_once_the_end_was_read_are_caught_up_with(
    gateway: Sandbox, database: Database
) -> None:
    arrive(gateway, 35)
    run(database)
    arrive(gateway, 12)
    spoil_page(gateway, "rows-between-pages", page=3, rows=7)
    result = run(database)
    assert (result["rows_loaded"], result["requests"]) == (19, 5)


def test_a_page_that_repeats_a_row_does_not_make_the_next_one_skip_one(
    gateway: Sandbox, database: Database
) -> None:
    arrive(gateway, 35)
    spoil_page(gateway, "duplicated-row", page=2)
    assert run(database)["requests"] == 4
    assert database.count("replies") == 35


def test_a_late_row_is_found_though_the_table_has_more_rows_than_the_list(
    lists: ListServer, database: Database
) -> None:
    lists.rows = [row(n) for n in range(2, 162, 2)]
    run(database)
    lists.rows = [*lists.rows[30:40], row(75), *lists.rows[40:]]
    assert run(database)["rows_loaded"] == 1


def test_rows_that_do_not_add_up_are_read_once_more_and_the_log_says_so(
    lists: ListServer, sqlite: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    lists.rows = [row(n) for n in range(1, 26)]
    lists.hidden = 2
    result = run(sqlite)
    assert (result["rows_loaded"], result["total"], result["requests"]) == (25, 27, 8)
    log = capfd.readouterr().out
    assert "do not add up to the 27" in log
    assert "states 27 rows and lists 25" in log


def test_a_gateway_that_gives_shorter_pages_than_asked_for_is_read_whole(
    lists: ListServer, sqlite: Database
) -> None:
    lists.rows = [row(n) for n in range(1, 61)]
    lists.most = 7
    run(sqlite)
    lists.rows += [row(n) for n in range(61, 90)]
    run(sqlite)
    assert sqlite.column("message_id", "replies") == list(range(1, 90))


# All or nothing


@pytest.mark.parametrize("fault", ["truncated-json", "500-before-acceptance", "html-answer"])
@pytest.mark.parametrize("which", ["first-load", "later-load"])
def test_a_page_that_stays_away_leaves_the_table_as_it_was(
    fault: str, which: str, gateway: Sandbox, database: Database
) -> None:
    ids = [] if which == "first-load" else arrive(gateway, 20)
    run_impatiently(database)
    arrive(gateway, 30)
    spoil_page(gateway, fault, page=3, times=4)
    with pytest.raises(GatewayUnavailable):
        run_impatiently(database)
    assert database.column("message_id", "replies") == ids
    run(database)
    assert database.count("replies") == len(ids) + 30


def test_a_page_that_comes_at_the_second_try_does_no_harm(gateway: Sandbox, database: Database) -> None:
    arrive(gateway, 30)
    spoil_page(gateway, "truncated-json", page=2)
    assert run_impatiently(database)["rows_loaded"] == 30


def test_an_unavailable_gateway_leaves_retries_to_airflow(gateway: Sandbox, sqlite: Database) -> None:
    arrive(gateway, 30)
    spoil_page(gateway, "429-too-many-requests", page=2, retry_after=120)
    with pytest.raises(GatewayUnavailable) as raised:
        run(sqlite)
    assert not isinstance(raised.value, AirflowFailException)
    assert sqlite.count("replies") == 0


def test_one_row_that_the_database_refuses_leaves_none(gateway: Sandbox, database: Database) -> None:
    create_table_that_refuses(database, "Reply 17")
    arrive(gateway, 30)
    with pytest.raises(LoadFailed):
        run(database)
    assert database.count("replies") == 0


def create_table_that_refuses(database: Database, text: str, key: str = "PRIMARY KEY") -> None:
    database.execute(
        f"CREATE TABLE {{}}replies (message_id BIGINT {key}, number TEXT, received_at TEXT, text TEXT "
        f"CHECK (text <> '{text}'), in_reply_to BIGINT, loaded_at TEXT, run_id TEXT)".replace(
            "_at TEXT", "_at TEXT" if database.kind == "sqlite" else "_at TIMESTAMPTZ"
        )
    )


def test_nothing_is_left_behind_but_the_table(gateway: Sandbox, database: Database) -> None:
    arrive(gateway, 5)
    run(database)
    catalogue = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgres": f"SELECT tablename FROM pg_tables WHERE schemaname = '{database.schema}'",  # noqa: S608 - a test's own name
    }
    assert database.execute(catalogue[database.kind]) == [("replies",)]


# At the same time


@pytest.mark.parametrize("dataset", ["incoming", "opt_outs"])
def test_loads_at_once_equal_the_source(dataset: str, gateway: Sandbox, database: Database) -> None:
    for n in range(30):
        gateway.incoming(f"2782000{n:04}", "Stop")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: run(database, dataset), range(4)))
    assert sum(result["rows_loaded"] for result in results) == 30
    assert database.column("number", "replies") == [f"2782000{n:04}" for n in range(30)]


def test_loads_at_once_equal_the_source_where_no_lock_is_known(gateway: Sandbox, postgres: Database) -> None:
    class OtherHook(PostgresHook):
        conn_type = "some_other_database"

    ids = arrive(gateway, 30)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: run_impatiently(postgres, OtherHook(CONN_ID)), range(4)))
    assert postgres.column("message_id", "replies") == ids


def test_loads_at_once_into_a_table_without_a_key_double_nothing(
    gateway: Sandbox, postgres: Database
) -> None:
    ids = arrive(gateway, 1000)
    create_table_that_refuses(postgres, "nothing", key="")
    rows = SmsHook.of("winsms_default").get_incoming(0, 1000).rows
    both_have_staged = Barrier(3)

    def merge(_: int) -> int:
        with opened(postgres) as table:
            table.stage(rows)
            both_have_staged.wait(timeout=10)
            return table.merge().loaded

    with closing(postgres.connect()) as other, ThreadPoolExecutor(2) as pool:
        # Whoever may write waits for this, so that both would begin at the same moment.
        other.execute(f"LOCK TABLE {postgres.named('replies')} IN SHARE MODE")
        merging = pool.map(merge, range(2))
        both_have_staged.wait(timeout=10)
        time.sleep(0.3)
        other.commit()
        assert sorted(merging) == [0, 1000]
    assert postgres.column("message_id", "replies") == ids


def test_a_row_that_another_program_writes_meanwhile_is_left_to_it(
    gateway: Sandbox, database: Database
) -> None:
    ids = arrive(gateway, 12)
    create_table_that_refuses(database, "nothing")
    by_hand = "(message_id, number, text, loaded_at) VALUES ({}, '1', 'By hand', '2026-01-01')"
    with closing(database.connect()) as other, ThreadPoolExecutor(1) as pool:
        other.execute(f"INSERT INTO {database.named('replies')} {by_hand.format(ids[3])}")
        loading = pool.submit(run, database)
        time.sleep(0.3)
        assert not loading.done()
        other.commit()
        assert loading.result()["rows_loaded"] == 11
    assert database.column("message_id", "replies") == ids


# Opt-outs


def test_each_number_that_opted_out_is_there_once(gateway: Sandbox, database: Database) -> None:
    reply = gateway.incoming("27825550101", "STOP")
    gateway.opt_out("27825550102")
    result = run(database, "opt_outs")
    assert (result["rows_loaded"], result["requests"], result["total"]) == (2, 1, 2)
    assert result["high_water_mark"] is None
    found = database.execute("SELECT number, message_id, text, removed_at FROM {}replies ORDER BY 1")
    assert found == [
        ("27825550101", reply, "STOP", None),
        ("27825550102", None, "* MANUALLY ADDED BY USER *", None),
    ]


def test_the_same_list_changes_only_when_it_was_last_seen(gateway: Sandbox, database: Database) -> None:
    gateway.opt_out("27825550101")
    run(database, "opt_outs")
    unchanged = "SELECT number, opted_out_at, text, first_seen_at, removed_at, loaded_at FROM {}replies"
    before = database.execute(unchanged)
    assert run(database, "opt_outs")["rows_loaded"] == 0
    assert database.execute(unchanged) == before
    ((first, last),) = database.execute("SELECT first_seen_at, last_seen_at FROM {}replies")
    assert instant(first) < instant(last)


def test_a_number_off_the_list_is_marked_and_one_that_comes_back_is_unmarked(
    gateway: Sandbox, database: Database
) -> None:
    gateway.opt_out("27825550101")
    run(database, "opt_outs")
    gateway.remove_opt_out("27825550101")
    assert run(database, "opt_outs")["rows_removed"] == 1
    assert run(database, "opt_outs")["rows_removed"] == 0
    ((removed, last),) = database.execute("SELECT removed_at, last_seen_at FROM {}replies")
    assert instant(removed) > instant(last)
    gateway.advance(timedelta(days=3).total_seconds())
    reply = gateway.incoming("27825550101", "quit")
    assert run(database, "opt_outs")["rows_loaded"] == 1
    assert database.execute("SELECT message_id, text, removed_at FROM {}replies") == [(reply, "quit", None)]


def test_of_several_entries_for_a_number_the_oldest_counts_in_any_order(
    lists: ListServer, database: Database
) -> None:
    by_hand = row(None, "27825550101", "* MANUALLY ADDED BY USER *", receiveTime="202603030900")
    by_reply = row(12, "27825550101", "Stop", receiveTime="202603021030")
    lists.opt_outs = [by_hand, by_reply, by_reply]
    assert run(database, "opt_outs")["rows_loaded"] == 1
    lists.opt_outs.reverse()
    assert run(database, "opt_outs")["rows_loaded"] == 0
    assert database.execute("SELECT message_id, text FROM {}replies") == [(12, "Stop")]


def test_an_entry_without_time_or_id_yields_to_one_that_has_them() -> None:
    unknown = OptOut("27825550101", None, "An entry by hand")
    known = OptOut("27825550101", None, "Stop", message_id=12)
    assert one_per_number([unknown, known]) == one_per_number([known, unknown]) == (known,)


def test_an_older_list_does_not_overwrite_a_newer_one(gateway: Sandbox, database: Database) -> None:
    gateway.opt_out("27825550101")
    run(database, "opt_outs")
    before = database.execute("SELECT * FROM {}replies")
    gateway.remove_opt_out("27825550101")
    with opened(database, OPT_OUTS, began=datetime.now(UTC) - timedelta(hours=1)) as table:
        load(OPT_OUTS, SmsHook.of("winsms_default"), table, logging.getLogger("load"))
    assert database.execute("SELECT * FROM {}replies") == before


# What is refused


@pytest.mark.parametrize(
    "name",
    ['x"; DROP TABLE y; --', "a.b", "1st", "", " replies", "replies\n", "réponses", "select *", "a" * 64, 5],
)
@pytest.mark.parametrize("where", ["table", "schema"])
def test_a_name_that_is_not_plain_is_refused_and_shown(where: str, name: Any) -> None:
    with pytest.raises(InvalidMessage, match=f"`{where}`") as raised:
        operator(None, **{where: name}).execute({})
    assert repr(name) in str(raised.value)
    assert isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("name", ["order", "Select", "_x1", "a" * 63])
def test_a_plain_name_may_be_any_word(name: str, gateway: Sandbox, database: Database) -> None:
    arrive(gateway, 3)
    run(database, table=name)
    run(database, table=name)
    assert database.count(f'"{name}"') == 3


def test_an_unknown_dataset_is_refused_with_the_known_ones(sqlite: Database) -> None:
    with pytest.raises(InvalidMessage, match=r"'outgoing'.*incoming, opt_outs"):
        run(sqlite, "outgoing")


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (None, "no connection 'warehouse'"),
        ({"conn_type": "winsms", "password": "x"}, "type 'winsms'; needed is an SQL database"),
        ({"conn_type": "abacus"}, "type 'abacus'; needed is an SQL database"),
    ],
    ids=["missing", "not-sql", "unknown-type"],
)
def test_a_connection_that_is_no_database_is_refused(
    connection: dict[str, Any] | None, words: str, runner: TaskRunner
) -> None:
    runner.connections = {**runner.connections, **({CONN_ID: connection} if connection else {})}
    found = runner.run(operator(None))
    assert isinstance(found.error, ConfigurationError)
    assert isinstance(found.error, AirflowFailException)
    assert words in str(found.error)


@pytest.mark.parametrize("dataset", list(DATASETS))
def test_a_table_that_lacks_columns_is_refused_before_anything_is_read(
    dataset: str, gateway: Sandbox, database: Database
) -> None:
    database.execute("CREATE TABLE {}replies (message_id BIGINT, number TEXT, text TEXT)")
    with pytest.raises(ConfigurationError, match=r"lacks columns.*loaded_at, run_id") as raised:
        run(database, dataset)
    assert isinstance(raised.value, AirflowFailException)
    assert requests(gateway) == 0


def test_a_table_may_have_columns_of_its_own(gateway: Sandbox, database: Database) -> None:
    run(database)
    database.execute("ALTER TABLE {}replies ADD COLUMN handled_by TEXT")
    arrive(gateway, 3)
    assert run(database)["rows_loaded"] == 3


@pytest.mark.usefixtures("gateway")
def test_a_schema_that_does_not_exist_is_named(postgres: Database) -> None:
    with pytest.raises(LoadFailed, match=r"create the table \(InvalidSchemaName, 3F000; table nowhere\.r"):
        run(postgres, schema="nowhere")


def test_ids_that_are_not_whole_numbers_are_refused() -> None:
    message = IncomingMessage("a7", "27825550101", None, "Yes")
    with pytest.raises(UnsupportedCapability):
        INCOMING.columns[0].value(message, Load(datetime.now(UTC), None))


# Connections of all sorts


def test_a_connection_may_ask_for_rows_as_mappings(
    gateway: Sandbox, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {**postgres.connection, "extra": json.dumps({"cursor": "dictcursor"})}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    arrive(gateway, 12)
    assert run(postgres)["rows_loaded"] == 12
    assert run(postgres)["rows_loaded"] == 0


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


# In Airflow


def test_a_task_run_renders_its_fields_and_returns_counts(
    sandbox: Sandbox, runner: TaskRunner, sqlite: Database
) -> None:
    sandbox.incoming(SECRET_NUMBER, SECRET_TEXT)
    runner.connections = {**runner.connections, CONN_ID: sqlite.connection}
    runner.run(operator(None, table="replies_{{ run_id }}", schema="{{ 'main' }}"))
    assert runner.result["table"] == "main.replies_run"
    assert sqlite.column("run_id", "replies_run") == ["run"]
    everything = "\n".join(runner.requests)
    assert SECRET_NUMBER not in everything
    assert SECRET_TEXT not in everything
    assert json.loads(json.dumps(runner.result)) == runner.result


def test_the_docstring_has_every_column_and_every_templated_field() -> None:
    text = inspect.getdoc(SmsToSqlOperator) or ""
    documented = re.findall(r"^([a-z_]+) +(?:bigint|text|instant) ", text, flags=re.MULTILINE)
    assert documented == [name for dataset in DATASETS.values() for name in dataset.column_names]
    for field in SmsToSqlOperator.template_fields:
        described = text.split(f":param {field}:")[1].split(":param")[0]
        assert "(templated)" in described


def test_a_long_load_says_how_far_it_is_every_few_seconds(caplog: pytest.LogCaptureFixture) -> None:
    clock = iter([0.0, 1.0, PROGRESS_SECONDS, PROGRESS_SECONDS + 1])
    with caplog.at_level(logging.INFO):
        progress = Progress(logging.getLogger("load"), lambda: next(clock))
        for rows in (1000, 2000, 3000):
            progress.note(rows, 500_000)
    assert caplog.messages == ["Read 2000 rows; the gateway lists 500000. 400 rows per second."]


# Nothing leaks


def test_no_error_and_no_log_quotes_a_row_that_the_database_refused(
    gateway: Sandbox, database: Database, said: Callable[[], str]
) -> None:
    create_table_that_refuses(database, SECRET_TEXT)
    gateway.incoming(SECRET_NUMBER, SECRET_TEXT)
    with pytest.raises(LoadFailed) as raised:
        run(database)
    assert_nothing_personal(said() + everything_in(raised.value))
    assert raised.value.kind in str(raised.value)
    assert raised.value.code in str(raised.value)
    assert raised.value.code in {"23514", "SQLITE_CONSTRAINT_CHECK"}


def test_no_error_and_no_log_quotes_a_row_that_could_not_be_staged(
    database: Database, said: Callable[[], str]
) -> None:
    message = IncomingMessage(2**70, SECRET_NUMBER, None, SECRET_TEXT)
    with pytest.raises(LoadFailed) as raised, opened(database) as table:
        table.stage([message])
    assert_nothing_personal(said() + everything_in(raised.value))


def test_a_load_logs_no_row_and_no_key(gateway: Sandbox, database: Database, said: Callable[[], str]) -> None:
    gateway.incoming(SECRET_NUMBER, SECRET_TEXT)
    result = run(database)
    log = said()
    assert "Loaded: {'dataset': 'incoming'" in log
    assert_nothing_personal(log + repr(result))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return what was logged since, through whichever library, down to the last detail."""
    caplog.set_level(logging.DEBUG)

    def everything() -> str:
        written = capfd.readouterr()
        return caplog.text + written.out + written.err

    return everything


def assert_nothing_personal(text: str) -> None:
    assert not [secret for secret in (SECRET_NUMBER, SECRET_TEXT, API_KEY) if secret in text]


def everything_in(error: BaseException | None) -> str:
    """Return all that an error says, and all it can be followed to, suppressed or not."""
    if error is None:
        return ""
    own = f"{error!r} {error} {vars(error)} {''.join(traceback.format_exception(error))}"
    return own + everything_in(error.__cause__) + everything_in(error.__context__)
