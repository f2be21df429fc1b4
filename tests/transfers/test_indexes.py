"""The column ``reference`` of deliveries is indexed: the index comes with the table, or with the column."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.sql.names import index_name
from airflow_provider_winsms.warehouse.datasets import DATASETS
from tests.support import databases
from tests.support.databases import CONN_ID
from tests.support.lists import listing
from tests.transfers.load_process import Order, loaders
from tests.transfers.loads import login_role, opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.databases import Database

_ON_POSTGRES = (
    "SELECT i.relname, a.attname FROM pg_index x INNER JOIN pg_class i ON i.oid = x.indexrelid "
    "INNER JOIN pg_class t ON t.oid = x.indrelid INNER JOIN pg_namespace n ON n.oid = t.relnamespace "
    "INNER JOIN pg_attribute a ON a.attrelid = i.oid WHERE NOT x.indisprimary AND t.relname = '{table}' "
    "AND n.nspname = '{schema}'"
)
INDEXES = {
    "sqlite": (
        "SELECT l.name, i.name FROM pragma_index_list('{table}') l, pragma_index_info(l.name) i "
        "WHERE l.origin = 'c'"
    ),
    "postgres": _ON_POSTGRES,
    "portable": _ON_POSTGRES,
    "mariadb": (
        "SELECT index_name, column_name FROM information_schema.statistics "
        "WHERE table_schema = DATABASE() AND table_name = '{table}' AND index_name <> 'PRIMARY'"
    ),
    "duckdb": "SELECT index_name, expressions FROM duckdb_indexes() WHERE table_name = '{table}'",
}
"""The names and columns of a table's indexes, but for that of its key."""

WITH_INDEXES = ("sqlite", "postgres", "mariadb", "portable")


@pytest.fixture(params=WITH_INDEXES)
def indexing(request: pytest.FixtureRequest) -> Database:
    """An empty database, of each kind in which there is an index."""
    found: Database = request.getfixturevalue(request.param)
    return found


def indexes(database: Database, table: str = "replies") -> list[tuple[Any, ...]]:
    return database.execute(
        INDEXES[database.kind].replace("{table}", table).replace("{schema}", str(database.schema))
    )


def prepare(database: Database, dataset: str = "deliveries", table: str = "replies") -> None:
    """Begin a load, which makes the table ready, and end it."""
    with opened(database, dataset, table=table):
        pass


def create_without(database: Database, *columns: str) -> None:
    """Create the table as it was before it had some columns, with a row."""
    prepare(database)
    for name, _ in indexes(database):
        on = f" ON {database.named('replies')}" if database.kind == "mariadb" else ""
        place = f'"{database.schema}".' if database.schema else ""
        database.execute(f"DROP INDEX {place}{name}{on}")
    for column in columns:
        database.execute(f"ALTER TABLE {{}}replies DROP COLUMN {column}")
    database.execute(
        "INSERT INTO {}replies (batch_id, round, request, position, number, loaded_at) "
        "VALUES ('b', 1, 1, 0, '27825550101', '2026-01-01 00:00:00')"
    )


def test_the_table_of_deliveries_has_an_index_on_reference(any_database: Database) -> None:
    prepare(any_database)
    # DuckDB reads a column fast enough, and its indexes refuse some updates.
    has_one = any_database.kind != "duckdb"
    assert indexes(any_database) == ([("replies_reference", "reference")] if has_one else [])


def test_a_later_load_leaves_one_index(indexing: Database) -> None:
    for _ in range(2):
        prepare(indexing)
    assert indexes(indexing) == [("replies_reference", "reference")]


@pytest.mark.parametrize("dataset", sorted(DATASETS.keys() - {"deliveries"}))
def test_other_tables_have_the_index_of_their_key_only(dataset: str, indexing: Database) -> None:
    prepare(indexing, dataset)
    assert indexes(indexing) == indexes(indexing, "replies_history") == []


def test_a_table_without_the_column_gains_it_and_the_index_and_keeps_its_rows(indexing: Database) -> None:
    create_without(indexing, "reference")
    prepare(indexing)
    assert indexes(indexing) == [("replies_reference", "reference")]
    assert indexing.column("reference", "replies") == [None]


def test_a_table_that_has_the_column_is_left_without_the_index(indexing: Database) -> None:
    create_without(indexing)
    prepare(indexing)
    assert indexes(indexing) == []


def test_a_column_that_a_later_version_brings_is_added_beside_the_index(indexing: Database) -> None:
    prepare(indexing)
    indexing.execute("ALTER TABLE {}replies DROP COLUMN refund")
    prepare(indexing)
    assert indexing.column("refund", "replies") == []
    assert indexes(indexing) == [("replies_reference", "reference")]


@pytest.mark.parametrize("table", ["order", "Select", "a" * 53, "a" * 54, "b" * 55])
def test_the_index_of_a_table_of_any_name_has_a_name_that_databases_take(
    table: str, indexing: Database
) -> None:
    prepare(indexing, table=table)
    ((name, column),) = indexes(indexing, table)
    assert column == "reference"
    assert name == index_name(table, ["reference"])


def test_two_tables_whose_names_begin_alike_have_an_index_each(indexing: Database) -> None:
    tables = ["t" * 54 + "1", "t" * 54 + "2"]
    for table in tables:
        prepare(indexing, table=table)
    names = {indexes(indexing, table)[0][0] for table in tables}
    assert len(names) == 2


def test_the_index_may_be_in_a_named_schema_or_in_none(sqlite: Database) -> None:
    with opened(sqlite, "deliveries", schema="main"):
        pass
    assert indexes(sqlite) == [("replies_reference", "reference")]


@pytest.mark.parametrize("kind", WITH_INDEXES)
@pytest.mark.parametrize("is_there", [False, True])
def test_loads_that_begin_at_the_same_moment_make_one_index(
    kind: str, is_there: bool, request: pytest.FixtureRequest
) -> None:
    database: Database = request.getfixturevalue(kind)
    for _ in range(5):
        if is_there:
            create_without(database, "reference")
        with ThreadPoolExecutor(4) as pool:
            for preparing in [pool.submit(prepare, database) for _ in range(4)]:
                preparing.result()
        assert indexes(database) == [("replies_reference", "reference")]
        for table in database.tables():
            database.execute(f"DROP TABLE {database.named(table)}")


# Databases that refuse it


@pytest.mark.parametrize("is_there", [False, True])
def test_where_the_name_of_the_index_is_taken_the_table_is_ready_without(
    is_there: bool, indexing: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """The name stays with an index whose table is renamed, and a table may have it too."""
    if is_there:
        create_without(indexing, "reference")
    indexing.execute("CREATE TABLE {}replies_reference (id BIGINT)")
    prepare(indexing)
    assert indexing.column("reference", "replies") == ([None] if is_there else [])
    # In MariaDB each table has its own names; PostgreSQL says that it is there, and makes none.
    assert bool(indexes(indexing)) == (indexing.kind == "mariadb")
    assert ("refuses an index" in caplog.text) == (indexing.kind in {"sqlite", "portable"})


@pytest.fixture
def _owner(postgres: Database) -> Iterator[None]:
    with login_role(postgres, f"owner_{postgres.schema}"):
        yield


@pytest.mark.usefixtures("_owner")
def test_a_user_who_may_add_the_column_but_no_index_adds_the_column(
    postgres: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    create_without(postgres, "reference")
    role = f"owner_{postgres.schema}"
    postgres.execute(f"GRANT USAGE ON SCHEMA {postgres.schema} TO {role}")
    postgres.execute(f"ALTER TABLE {postgres.schema}.replies OWNER TO {role}")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({**postgres.connection, "login": role}))
    prepare(postgres)
    assert postgres.column("reference", "replies") == [None]
    assert indexes(postgres) == []
    assert "refuses an index" in caplog.text


# Killed


@pytest.mark.database
def test_a_load_that_is_killed_anywhere_leaves_no_table_without_its_index(
    indexing: Database, tmp_path: Path
) -> None:
    ledger = databases.sqlite(tmp_path / "sends.db")
    with listing() as server, loaders() as processes:
        task = {
            "dataset": "deliveries",
            "sql_conn_id": CONN_ID,
            "table": "replies",
            "schema": indexing.schema,
            "ledger_conn_id": "ledger",
            "refresh": False,
        }
        environment = {
            **indexing.environment,
            "AIRFLOW_CONN_LEDGER": json.dumps(ledger.connection),
            "AIRFLOW_CONN_WINSMS_DEFAULT": server.connection,
        }
        (whole,) = processes.run(Order(task, environment))
        assert whole.error == ""
        killed_with_table = 0
        made_at = len(whole.steps) - whole.steps[::-1].index("create the table")
        for step in range(1, made_at + 3):
            for table in indexing.tables():
                indexing.execute(f"DROP TABLE {indexing.named(table)}")
            (ending,) = processes.run(Order(task, environment, dies_before=step))
            assert ending.was_killed
            has_table = "replies" in indexing.tables()
            killed_with_table += has_table
            assert indexes(indexing) == ([("replies_reference", "reference")] if has_table else [])
        assert 0 < killed_with_table < made_at
