"""The tables: which columns they have, what may be in them before, what is left of a load."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, LoadFailed
from airflow_provider_winsms.messages import Columns, IncomingMessage
from airflow_provider_winsms.sql.types import ColumnType
from airflow_provider_winsms.warehouse.datasets import DATASETS, LoadSizes
from tests.support.databases import run_on_mysql
from tests.support.lists import row, waiting
from tests.transfers.loads import arrive, everything, login_role, opened, operator, run, stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.lists import Lists

NUMBER, OTHER_NUMBER = "27825550101", "27825550102"
HALF_PAST_TEN = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
LISTED = ("incoming", "short_code", "opt_outs", "scheduled")
"""The datasets that are read from the gateway."""


def fill(lists: Lists, count: int = 3) -> None:
    """Let every list have some rows."""
    lists.rows = [row(n, f"2782{n:07}", outgoingApiMessageId=n) for n in range(1, count + 1)]
    lists.short_code = lists.opt_outs = lists.rows
    lists.scheduled = [waiting(n, f"2782{n:07}") for n in range(1, count + 1)]


def loaded(found: dict[str, Any], began: datetime, run_id: str | None) -> dict[str, Any]:
    """Take the load's own columns off a row, once they are what they must be."""
    assert began <= found.pop("loaded_at") <= datetime.now(UTC)
    assert found.pop("load_run_id") == run_id
    return found


# Columns


@pytest.mark.parametrize("dataset", ["incoming", "short_code"])
def test_a_message_is_stored_as_the_gateway_said_it_and_in_utc(
    dataset: str, lists: Lists, any_database: Database
) -> None:
    reply = {"outgoingApiMessageId": 4} if dataset == "incoming" else {}
    texts = "Yes, \u00e9\u4e2d\U0001f600 \\N \t two\nlines 'quoted' \"twice\" %s {} ; --"
    lists.rows = lists.short_code = [
        row(7, NUMBER, texts, **reply),
        {"incomingApiMessageId": 8, "mobileNumber": OTHER_NUMBER, "receiveTime": "soon", "messageText": ""},
        {"incomingApiMessageId": 2**63 - 1, "receiveTime": 202612312359},
    ]
    began = datetime.now(UTC)
    run(any_database, dataset, run_id="manual__2026-03-02T10:30:00+00:00")
    run_id = "manual__2026-03-02T10:30:00+00:00"
    seven, eight, last = (loaded(found, began, run_id) for found in stored(any_database, dataset))
    none = {"in_reply_to": None} if dataset == "incoming" else {}
    assert seven == {
        "message_id": 7,
        "number": NUMBER,
        "number_key_id": None,
        "address_kind": "phone",
        "received_at": HALF_PAST_TEN,
        "received_at_wire": "202603021030",
        "text": texts,
        **({"in_reply_to": 4} if dataset == "incoming" else {}),
    }
    assert eight == {
        "message_id": 8,
        "number": OTHER_NUMBER,
        "number_key_id": None,
        "address_kind": "phone",
        "received_at": None,
        "received_at_wire": "soon",
        "text": "",
        **none,
    }
    assert last == {
        "message_id": 2**63 - 1,
        "number": "",
        "number_key_id": None,
        "address_kind": "phone",
        "received_at": datetime(2026, 12, 31, 21, 59, tzinfo=UTC),
        "received_at_wire": "202612312359",
        "text": "",
        **none,
    }


def test_an_opt_out_is_stored_as_the_gateway_said_it_and_in_utc(lists: Lists, any_database: Database) -> None:
    lists.opt_outs = [
        row(12, NUMBER, "Stop"),
        row(None, OTHER_NUMBER, "* MANUALLY ADDED BY USER *", receiveTime=None),
    ]
    began = datetime.now(UTC)
    run(any_database, "opt_outs", run_id="manual__1")
    for table in ("replies", "replies_history"):
        rows = stored(any_database, "opt_outs", table)
        seen = {each["loaded_at"] for each in rows}
        assert {each.pop(name) for each in rows for name in ("first_seen_at", "last_seen_at")} == seen
        first, second = (loaded(each, began, "manual__1") for each in rows)
        assert first == {
            "number": NUMBER,
            "number_key_id": None,
            "address_kind": "phone",
            "opted_out_at": HALF_PAST_TEN,
            "opted_out_at_wire": "202603021030",
            "text": "Stop",
            "message_id": 12,
            "removed_at": None,
        }
        assert second == {
            "number": OTHER_NUMBER,
            "number_key_id": None,
            "address_kind": "phone",
            "opted_out_at": None,
            "opted_out_at_wire": None,
            "text": "* MANUALLY ADDED BY USER *",
            "message_id": None,
            "removed_at": None,
        }


def test_a_scheduled_text_is_stored_as_the_gateway_said_it_and_in_utc(
    lists: Lists, any_database: Database
) -> None:
    lists.scheduled = [
        waiting(5, NUMBER, creditCost="12.50"),
        {"apiMessageId": 6, "mobileNumber": OTHER_NUMBER, "submitTime": 202603021030},
    ]
    began = datetime.now(UTC)
    run(any_database, "scheduled", run_id="manual__1")
    rows = stored(any_database, "scheduled")
    seen = {each["loaded_at"] for each in rows}
    assert {each.pop(name) for each in rows for name in ("first_seen_at", "last_seen_at")} == seen
    five, six = (loaded(each, began, "manual__1") for each in rows)
    assert five == {
        "message_id": 5,
        "number": NUMBER,
        "number_key_id": None,
        "address_kind": "phone",
        "submitted_at": HALF_PAST_TEN,
        "submitted_at_wire": "202603021030",
        "send_at": datetime(2026, 3, 5, 16, 0, tzinfo=UTC),
        "send_at_wire": "202603051800",
        "refund": Decimal("12.50"),
        "currency": "credits",
        "removed_at": None,
    }
    assert six == {
        **five,
        "message_id": 6,
        "number": OTHER_NUMBER,
        "send_at": None,
        "send_at_wire": None,
        "refund": Decimal(0),
    }


@pytest.mark.parametrize("dataset", LISTED)
def test_the_whole_row_is_kept_if_that_is_asked_for(
    dataset: str, lists: Lists, one_database: Database
) -> None:
    fill(lists, 2)
    said = {"incoming": lists.rows, "scheduled": lists.scheduled}.get(dataset, lists.rows)
    for each in said:
        each["whatever"] = {"is": ["new", None, 1.5, "\u00e9"]}
    run(one_database, dataset, include_raw=True)
    assert [json.loads(raw) for raw in one_database.column("raw", "replies")] == said
    run(one_database, dataset, include_raw=True)
    run(one_database, dataset)
    assert one_database.count("replies") == 2


@pytest.mark.parametrize("dataset", LISTED)
def test_the_types_are_the_ones_of_the_dialect_and_the_key_is_not_null(
    dataset: str, lists: Lists, postgres: Database
) -> None:
    fill(lists)
    run(postgres, dataset)
    names = {
        ColumnType.NUMBER: "text",
        ColumnType.TEXT: "text",
        ColumnType.NAME: "text",
        ColumnType.WORD: "text",
    }
    names |= {
        ColumnType.ID: "character varying",
        ColumnType.INSTANT: "timestamp with time zone",
        ColumnType.AMOUNT: "numeric",
    }
    replies = f"table_schema = '{postgres.schema}' AND table_name = 'replies'"
    found = postgres.execute(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns "  # noqa: S608 - a test's own name
        f"WHERE {replies} ORDER BY ordinal_position"
    )
    assert found == [
        (column.name, names[column.kind], "NO" if column.is_required else "YES")
        for column in DATASETS[dataset].columns
    ]


@pytest.mark.parametrize("dataset", LISTED)
def test_the_table_that_is_created_refuses_the_same_key_twice(
    dataset: str, lists: Lists, one_database: Database
) -> None:
    fill(lists, 1)
    run(one_database, dataset)
    for table in ["replies", "replies_history"] if dataset == "opt_outs" else ["replies"]:
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
            one_database.execute(f"INSERT INTO {{0}}{table} SELECT * FROM {{0}}{table}")  # noqa: S608 - our own
        assert one_database.count(table) == 1


@pytest.mark.parametrize("dataset", LISTED)
def test_nothing_is_left_behind_but_the_tables(dataset: str, lists: Lists, one_database: Database) -> None:
    fill(lists, 45)
    run(one_database, dataset, sizes=LoadSizes(merged_rows=20))
    fill(lists, 47)
    run(one_database, dataset, mode="full_refresh", sizes=LoadSizes(merged_rows=20))
    tables = ["replies", "replies_history"] if dataset == "opt_outs" else ["replies"]
    if one_database.kind == "portable":
        # It is not known to have temporary tables.
        assert one_database.count("replies_staging") == 0
        tables.append("replies_staging")
    assert one_database.tables() == sorted(tables)


# What is awkward to store


def test_characters_that_databases_refuse_are_replaced(lists: Lists, database: Database) -> None:
    lists.rows = [row(1, text="a\0b"), row(2, text="half \ud83d"), row(3, text="whole \U0001f600")]
    lists.rows += [row(4, "2782\0", receiveTime="\0 \ud83d")]
    run(database)
    found = stored(database)
    assert [each["text"] for each in found[:3]] == ["a\ufffdb", "half \ufffd", "whole \U0001f600"]
    assert (found[3]["number"], found[3]["received_at_wire"]) == ("2782\ufffd", "\ufffd \ufffd")


@pytest.mark.parametrize(
    "wire_time", ["000101010000", "209913010000", "", None, 202603021030, "9" * 400, [1]]
)
def test_no_time_on_the_wire_stops_a_load(wire_time: Any, lists: Lists, sqlite: Database) -> None:
    lists.rows = [row(1, receiveTime=wire_time)]
    assert run(sqlite)["rows_loaded"] == 1


def test_a_database_whose_default_is_another_character_set_keeps_all_of_unicode(
    lists: Lists, mariadb: Database
) -> None:
    name = mariadb.connection["schema"]
    server = {key: mariadb.connection[key] for key in ("host", "port")}
    server |= {"user": mariadb.connection["login"], "password": mariadb.connection["password"]}
    run_on_mysql(server, f"ALTER DATABASE {name} CHARACTER SET latin1 COLLATE latin1_swedish_ci")
    lists.rows = [row(n, text=text) for n, text in enumerate(("\U0001f600", "\u4e2d", "\u00e9", "E", "e"), 1)]
    run(mariadb)
    lists.rows.insert(0, row(9, text="\U0001f601"))
    run(mariadb)
    run(mariadb, mode="full_refresh")
    texts = [each["text"] for each in stored(mariadb)]
    assert texts == ["\U0001f600", "\u4e2d", "\u00e9", "E", "e", "\U0001f601"]
    lists.rows[-1]["messageText"] = "E"
    assert run(mariadb, mode="full_refresh")["rows_loaded"] == 1


def test_ids_that_are_texts_are_loaded_once_and_their_letters_case_counts(any_database: Database) -> None:
    ids = ["a7", "A7", "007", 7]
    columns: dict[str, list[Any]] = {"message_id": ids, "number": [NUMBER] * 4, "text": ["Yes"] * 4}
    columns |= {name: [None] * 4 for name in ("received_at", "received_at_wire", "in_reply_to")}
    for loaded_rows in (4, 0):
        with opened(any_database) as (table, mapper):
            table.add(mapper.chunk(Columns(IncomingMessage, columns)))
            assert table.finish().loaded == loaded_rows
    assert {each["message_id"] for each in stored(any_database)} == set(ids)


# Names


def test_the_table_may_be_in_a_named_schema_or_in_none(gateway: Sandbox, sqlite: Database) -> None:
    arrive(gateway, 3)
    assert run(sqlite, schema="main")["table"] == "main.replies"
    assert run(sqlite, schema=None)["rows_loaded"] == 0


@pytest.mark.parametrize("name", ["order", "Select", "_x1", "a" * 55])
@pytest.mark.parametrize("dataset", ["incoming", "opt_outs"])
def test_a_plain_name_may_be_any_word(dataset: str, name: str, lists: Lists, one_database: Database) -> None:
    fill(lists)
    run(one_database, dataset, table=name)
    run(one_database, dataset, table=name)
    assert one_database.count(one_database.quote.format(name)) == 3


@pytest.mark.parametrize(
    "name",
    [
        'x"; DROP TABLE y; --',
        "a.b",
        "1st",
        "",
        " replies",
        "replies\n",
        "r\u00e9ponses",
        "select *",
        "a" * 64,
        5,
    ],
)
@pytest.mark.parametrize("where", ["table", "schema"])
def test_a_name_that_is_not_plain_is_refused_and_shown(where: str, name: Any) -> None:
    with pytest.raises(InvalidMessage, match=f"`{where}`") as raised:
        operator(None, **{where: name}).execute({})
    assert repr(name) in str(raised.value)
    assert isinstance(raised.value, AirflowFailException)


@pytest.mark.usefixtures("lists")
def test_a_schema_that_does_not_exist_is_named(postgres: Database) -> None:
    with pytest.raises(LoadFailed, match=r"create the table \(InvalidSchemaName, 3F000; table nowhere\.r"):
        run(postgres, schema="nowhere")


@pytest.mark.usefixtures("lists")
def test_a_schema_that_does_not_exist_is_to_be_created_in_every_database(any_database: Database) -> None:
    with pytest.raises(LoadFailed, match="If there is no schema 'nowhere', create it first") as caught:
        run(any_database, schema="nowhere")
    assert "table nowhere.replies" in str(caught.value)
    assert "repeat" not in str(caught.value)


# Tables that were there before


def made_by_the_former_version(database: Database, dataset: str) -> None:
    """Create a table as version 0.4 did, and put two rows into it that are listed and one that is not."""
    types = database.types
    columns = {
        "incoming": "message_id ID NOT NULL PRIMARY KEY, number NUMBER NOT NULL, received_at INSTANT,"
        " text TEXT, in_reply_to ID, loaded_at INSTANT NOT NULL, run_id NAME",
        "opt_outs": "number NUMBER NOT NULL PRIMARY KEY, opted_out_at INSTANT, text TEXT, message_id ID,"
        " first_seen_at INSTANT NOT NULL, last_seen_at INSTANT NOT NULL, removed_at INSTANT,"
        " loaded_at INSTANT NOT NULL, run_id NAME",
    }[dataset]
    for kind in ColumnType:
        columns = columns.replace(f" {kind.name} ", f" {types[kind]} ").replace(
            f" {kind.name},", f" {types[kind]},"
        )
    columns = columns.removesuffix("NAME") + types[ColumnType.NAME]
    database.execute(f"CREATE TABLE {{}}replies ({columns})")
    zone = "+00:00" if "ZONE" in types[ColumnType.INSTANT] or database.kind == "sqlite" else ""
    separator = "T" if database.kind == "sqlite" else " "
    heard = f"2026-03-02{separator}08:30:00{zone}"
    then = f"2026-04-01{separator}06:00:00{zone}"
    rows = {
        "incoming": [f"({n}, '2782000000{n}', '{heard}', 'YES', NULL, '{then}', 'old')" for n in (1, 2, 0)],
        "opt_outs": [
            f"('2782000000{n}', '{heard}', 'YES', {n}, '{then}', '{then}', NULL, '{then}', 'old')"
            for n in (1, 2, 0)
        ],
    }[dataset]
    database.execute(f"INSERT INTO {{}}replies VALUES {', '.join(rows)}")  # noqa: S608 - a test's own rows


def test_an_older_table_of_replies_gains_its_columns_and_keeps_its_rows(
    lists: Lists, database: Database
) -> None:
    made_by_the_former_version(database, "incoming")
    lists.rows = [row(n, f"2782000000{n}") for n in (1, 2, 3)]
    assert run(database, run_id="new")["rows_loaded"] == 1
    found = stored(database)
    assert [each["message_id"] for each in found] == [0, 1, 2, 3]
    assert [each["load_run_id"] for each in found] == [None, None, None, "new"]
    assert [each["received_at_wire"] for each in found] == [None, None, None, "202603021030"]
    assert {each["received_at"] for each in found} == {HALF_PAST_TEN}
    assert run(database, mode="full_refresh")["rows_loaded"] == 2
    assert [each["received_at_wire"] for each in stored(database)] == [None, *["202603021030"] * 3]


def test_an_older_table_of_opt_outs_gains_a_history_that_begins_with_what_it_knows(
    lists: Lists, any_database: Database
) -> None:
    made_by_the_former_version(any_database, "opt_outs")
    lists.opt_outs = [row(n, f"2782000000{n}") for n in (1, 2, 3)]
    result = run(any_database, "opt_outs", run_id="new")
    assert (result["rows_loaded"], result["rows_removed"]) == (3, 1)
    then = datetime(2026, 4, 1, 6, tzinfo=UTC)
    for table in ("replies", "replies_history"):
        found = stored(any_database, "opt_outs", table)
        assert [each["number"][-1] for each in found] == ["0", "1", "2", "3"]
        assert [each["first_seen_at"] == then for each in found] == [True, True, True, False]
        assert [each["removed_at"] is None for each in found] == [False, True, True, True]
    assert run(any_database, "opt_outs")["rows_loaded"] == 0


@pytest.mark.parametrize("dataset", ["incoming", "opt_outs"])
def test_two_loads_at_once_may_add_the_columns(
    dataset: str,
    lists: Lists,
    postgres: Database,
    mariadb: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of both, one finds that a column is missing, and is refused to add it a second time."""
    fill(lists)
    for database in (postgres, mariadb):
        database.let_tasks_find_it(monkeypatch)
        made_by_the_former_version(database, dataset)
        with ThreadPoolExecutor(3) as pool:
            for preparing in [pool.submit(prepare, database, dataset) for _ in range(3)]:
                preparing.result()
        assert run(database, dataset)["total"] == 3


def prepare(database: Database, dataset: str) -> None:
    with opened(database, dataset):
        pass


@pytest.mark.parametrize("dataset", LISTED)
def test_a_table_by_hand_that_has_but_the_key_gains_the_other_columns(
    dataset: str, lists: Lists, one_database: Database
) -> None:
    fill(lists)
    key = DATASETS[dataset].key[0]
    types = one_database.types
    kind = types[ColumnType.NUMBER if key == "number" else ColumnType.ID]
    one_database.execute(f"CREATE TABLE {{}}replies ({key} {kind} PRIMARY KEY, handled_by INTEGER)")
    by_hand = "('27820000002', 5)" if key == "number" else "(2, 5)"
    one_database.execute(f"INSERT INTO {{}}replies VALUES {by_hand}")  # noqa: S608 - a test's own row
    run(one_database, dataset, mode="full_refresh")
    found = stored(one_database, dataset)
    assert len(found) == 3
    assert [each["number"] for each in found] == [f"2782000000{n}" for n in (1, 2, 3)]
    assert None not in {each["loaded_at"] for each in found}


@pytest.mark.parametrize("is_unique", [False, True])
def test_a_table_by_hand_is_completed_with_a_key_and_without(
    is_unique: bool, lists: Lists, database: Database
) -> None:
    key = "PRIMARY KEY" if is_unique else ""
    database.execute(f"CREATE TABLE {{}}replies (message_id VARCHAR(64) {key}, number VARCHAR(64))")
    database.execute("INSERT INTO {}replies VALUES ('2', '27820000002')")
    fill(lists, 25)
    assert run(database)["rows_loaded"] == 24
    assert run(database, mode="backfill")["rows_loaded"] == 0
    fill(lists, 37)
    assert run(database)["rows_loaded"] == 12
    assert database.message_ids("replies") == list(range(1, 38))


def test_a_table_may_have_columns_of_its_own(lists: Lists, database: Database) -> None:
    fill(lists)
    run(database)
    database.execute("ALTER TABLE {}replies ADD COLUMN handled_by VARCHAR(50)")
    database.execute("UPDATE {}replies SET handled_by = 'Ann'")
    fill(lists, 6)
    assert run(database)["rows_loaded"] == 3
    assert run(database, mode="full_refresh")["rows_loaded"] == 0
    handled = dict(database.execute("SELECT message_id, handled_by FROM {}replies"))
    assert handled == {"1": "Ann", "2": "Ann", "3": "Ann", "4": None, "5": None, "6": None}


@pytest.mark.parametrize("dataset", LISTED)
def test_a_table_that_lacks_its_key_is_refused_before_anything_is_read(
    dataset: str, lists: Lists, one_database: Database
) -> None:
    one_database.execute("CREATE TABLE {}replies (id INTEGER, words VARCHAR(50))")
    with pytest.raises(ConfigurationError, match=r"is none of the dataset .* another table") as raised:
        run(one_database, dataset)
    assert isinstance(raised.value, AirflowFailException)
    assert lists.requests == 0
    assert everything(one_database) == []


def test_a_view_over_other_tables_is_never_taken_for_a_place_to_write_twice(
    lists: Lists, sqlite: Database
) -> None:
    fill(lists)
    sqlite.execute("CREATE VIEW replies AS SELECT 1 AS message_id, 'x' AS number")
    with pytest.raises(LoadFailed):
        run(sqlite)


@pytest.fixture
def _rights(postgres: Database) -> Iterator[None]:
    with login_role(postgres, f"reader_{postgres.schema}"):
        yield


@pytest.mark.usefixtures("_rights")
def test_a_user_without_rights_is_told_which_are_needed(
    lists: Lists, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(lists)
    run(postgres)
    role = f"reader_{postgres.schema}"
    postgres.execute(f"GRANT USAGE ON SCHEMA {postgres.schema} TO {role}")
    postgres.execute(f"GRANT SELECT ON {postgres.schema}.replies TO {role}")
    connection = {**postgres.connection, "login": role}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    fill(lists, 5)
    with pytest.raises(LoadFailed, match=r"needs SELECT, INSERT, UPDATE and DELETE on the table"):
        run(postgres)
    assert postgres.count("replies") == 3


@pytest.mark.parametrize(
    ("given", "table_of"),
    [
        ("incoming", "deliveries"),
        ("incoming", "opt_outs"),
        ("incoming", "scheduled"),
        ("short_code", "incoming"),
        ("scheduled", "incoming"),
        ("opt_outs", "incoming"),
    ],
)
def test_a_table_of_another_dataset_is_refused_and_left_as_it_is(
    given: str, table_of: str, gateway: Sandbox, sqlite: Database
) -> None:
    definitions = ", ".join(f"{column.name} TEXT" for column in DATASETS[table_of].columns)
    sqlite.execute(f"CREATE TABLE {{}}replies ({definitions})")
    with pytest.raises(ConfigurationError, match=rf"is one of the dataset '{table_of}'.*loaded is '{given}'"):
        run(sqlite, given)
    assert gateway.requests() == []
    found = sqlite.execute("SELECT name FROM pragma_table_info('replies')")
    assert [name for (name,) in found] == list(DATASETS[table_of].column_names)
