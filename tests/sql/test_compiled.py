"""Loads into databases that no test can run: each statement is what the database's manual takes.

Every statement of whole loads of every dataset is kept in place of being executed.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.sql.bulk import insert
from airflow_provider_winsms.sql.compiler import compiled, dialect_of
from airflow_provider_winsms.sql.connection import Database
from airflow_provider_winsms.sql.dialects import DIALECTS, STANDARD
from airflow_provider_winsms.sql.tables import DeleteAll, addition, creation
from airflow_provider_winsms.sql.types import ColumnType, type_names
from airflow_provider_winsms.warehouse.datasets import DATASETS, LoadRun
from airflow_provider_winsms.warehouse.merge import Merge
from airflow_provider_winsms.warehouse.relations import Relations, TableName
from airflow_provider_winsms.warehouse.stored import IDS_AT_ONCE
from airflow_provider_winsms.warehouse.transaction import LoadTransaction
from tests.sql.recorded import Recorded
from tests.support import databases
from tests.support.send_world import ANN, BEN
from tests.transfers.loads import opened, operator, run_impatiently
from tests.transfers.test_deliveries import send

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.sql.elements import CompilerElement

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

BEGAN = datetime(2026, 5, 1, 6, tzinfo=UTC)
BRACKETS = "[{}]"
NOT_RUN = ("mssql", "oracle", "snowflake", "redshift")


def database(conn_type: str) -> Recorded:
    return Recorded(conn_type, BRACKETS if conn_type == "mssql" else '"{}"')


# What loads execute


@pytest.fixture
def loads(
    sandbox: Sandbox, runner: TaskRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Recorded]:
    """Return a database with the statements of loads of every dataset, into new and into older tables."""
    ledger = databases.sqlite(tmp_path / "sends.db")
    runner.connections = {**runner.connections, "ledger": ledger.connection}
    for conn_id, connection in runner.connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    sandbox.add_incoming([(ANN, "YES"), (BEN, "STOP")])
    sandbox.shortcode(ANN, "WIN")
    send(runner, ANN, send_at=str(sandbox.now() + timedelta(days=365)))

    def load(conn_type: str) -> Recorded:
        found = database(conn_type)
        for dataset in ("incoming", "short_code", "scheduled", "opt_outs"):
            _load_twice(found, lambda dataset=dataset: run_impatiently(found, dataset))  # type: ignore[misc, arg-type]
        _load_twice(found, lambda: _load_deliveries(found))
        return found

    return load


def _load_twice(found: Recorded, load: Callable[[], object]) -> None:
    """Load into a new table, and into one that lacks a column."""
    found.driver.tables = {}
    load()
    for columns in found.driver.tables.values():
        columns.remove("load_run_id")
    load()


def _load_deliveries(found: Recorded) -> None:
    with opened(found, "deliveries", began=BEGAN) as (table, mapper):  # type: ignore[arg-type] # as much of one as it needs
        load = operator(None, "deliveries", ledger_conn_id="ledger", refresh=False)
        load._source(DATASETS["deliveries"], SmsHook.of("winsms_default")).load(table, mapper, is_whole=False)
        table.delete([("a batch", 1, 1, 0)])
        table.finish()


@pytest.fixture(params=NOT_RUN)
def loaded(request: pytest.FixtureRequest, loads: Callable[[str], Recorded]) -> Recorded:
    return loads(request.param)


def test_loads_of_every_dataset_run_to_their_end(loaded: Recorded) -> None:
    verbs = {statement.split()[0] for statement in loaded.statements}
    assert verbs - {"ALTER"} == {"CREATE", "SELECT", "INSERT", "UPDATE", "DELETE"}
    for table in ("replies", "replies_history", "replies_staging"):
        name = ".".join(map(loaded.escape_word_format.format, ("warehouse", table)))
        assert any(f"INSERT INTO {name} (" in statement for statement in loaded.statements), table
    assert any(
        statement.startswith("ALTER TABLE") and " ADD " in statement for statement in loaded.statements
    )


def test_every_name_is_quoted_but_that_of_an_alias(loaded: Recorded) -> None:
    opening, closing = map(re.escape, loaded.escape_word_format.split("{}"))
    functions = {"char_length", "coalesce", "count", "max", "min", "row_number"}
    for statement in loaded.statements:
        outside = re.sub(rf"{opening}\w+{closing}|%s|:\d+", "", statement)
        words = set(re.findall(r"\b[a-z]\w*", outside))
        aliases = {word for word in words if re.fullmatch(r"(anon|count|max|min|readable)_\d+|age", word)}
        assert words - aliases <= functions, statement


def test_each_placeholder_has_its_value_and_no_value_stands_in_a_statement(loaded: Recorded) -> None:
    is_oracle = loaded.conn_type == "oracle"
    for statement, parameters in loaded.driver.statements:
        if statement in DIALECTS.get(loaded.conn_type, STANDARD).opening:
            continue
        numbers = re.findall(r":(\d+)", statement)
        marks = re.findall(r"%s", statement)
        assert len(numbers if is_oracle else marks) == len(parameters), statement
        assert not (marks if is_oracle else numbers)
        assert numbers == [str(index) for index in range(1, len(numbers) + 1)]
        assert not re.search(r"['?]|%(?!s)", statement)


def test_a_table_is_created_after_the_load_has_looked_for_it(loaded: Recorded) -> None:
    """Snowflake and Redshift skip a table that another load has created meanwhile; others report it."""
    beginning = "CREATE TABLE "
    if loaded.conn_type in {"snowflake", "redshift"}:
        beginning += "IF NOT EXISTS "
    created = [place for place, each in enumerate(loaded.statements) if each.startswith("CREATE TABLE ")]
    assert len(created) == 5 + 5 + 1
    for place in created:
        assert loaded.statements[place].startswith(beginning)
        table = loaded.statements[place].removeprefix(beginning).split()[0]
        look = f"SELECT * FROM {table} WHERE 1 = 0"  # noqa: S608 - expected
        assert loaded.statements[place - 1] == look
        assert look in loaded.statements[place + 1 : place + 3]


def test_only_databases_with_indexes_are_asked_for_one(loaded: Recorded) -> None:
    indexes = [each for each in loaded.statements if each.startswith("CREATE INDEX")]
    expected = {
        "mssql": {"CREATE INDEX [replies_reference] ON [warehouse].[replies] ([reference])"},
        "oracle": {'CREATE INDEX "warehouse"."replies_reference" ON "warehouse"."replies" ("reference")'},
    }
    assert set(indexes) == expected.get(loaded.conn_type, set())


REFUSED = {
    "mssql": [
        (r'["`]', "names are in brackets, whatever QUOTED_IDENTIFIER says"),
        (r"IF NOT EXISTS", "CREATE TABLE has no such clause"),
        (r"\bLIMIT\b|\|\||\bLENGTH\b|char_length", "T-SQL has TOP, + and LEN"),
        (r"\bTEXT\b|\bTIMESTAMP\b", "text is deprecated, and timestamp is a row version"),
        (r"ON CONFLICT|\bUSING\b", "clauses of other databases"),
        (r"ADD COLUMN", "it is ADD"),
        (r"NULLS LAST", "T-SQL has none"),
    ],
    "oracle": [
        (r"[`\[\]]", "names are in double quotes"),
        (r"IF NOT EXISTS", "before 23ai"),
        (r"\) AS anon_|\" AS anon_", "a table's alias has no AS"),
        (r"^UPDATE (?:(?!\().)* FROM ", "UPDATE has no FROM"),
        (
            r"\bLIMIT\b|\bTEXT\b|\bBIGINT\b|\bCLOB\b|NVARCHAR2\((?!2000)",
            "types and clauses of other databases",
        ),
        (r"ON CONFLICT|ADD COLUMN|char_length|%s", "words of other databases"),
        (r";$", "the driver takes no semicolon"),
    ],
    "snowflake": [
        (r"[`\[\]]", "names are in double quotes"),
        (r"CREATE INDEX", "only hybrid tables have them"),
        (r"char_length|ON CONFLICT|COLLATE|TRUNCATE", "TRUNCATE commits, and the length is LENGTH"),
    ],
    "redshift": [
        (r"[`\[\]]", "names are in double quotes"),
        (r"CREATE INDEX", "it has none"),
        (r"\bTEXT\b|COLLATE|ON CONFLICT", "TEXT is VARCHAR(256)"),
        (r"TRUNCATE", "it commits"),
        (r"::", "drivers cast nothing"),
    ],
}
"""Patterns that a database refuses, or takes for something else, with the reason."""


def test_nothing_is_executed_that_the_database_refuses(loaded: Recorded) -> None:
    for pattern, reason in REFUSED[loaded.conn_type]:
        assert [each for each in loaded.statements if re.search(pattern, each)] == [], reason


def test_oracle_counts_instants_in_utc_and_lists_at_most_a_thousand_values(
    loads: Callable[[str], Recorded],
) -> None:
    assert loads("oracle").statements[0] == "ALTER SESSION SET TIME_ZONE = '+00:00'"
    assert IDS_AT_ONCE <= 1000


def test_the_instants_of_a_load_are_in_utc(loaded: Recorded) -> None:
    found = {
        value.tzinfo
        for _, values in loaded.driver.statements
        for value in values
        if isinstance(value, datetime)
    }
    assert found == {UTC}


# Each statement in full, of a dataset with few columns


KEPT = {"message_id", "refund", "first_seen_at", "last_seen_at", "removed_at", "loaded_at", "load_run_id"}
FEW = replace(
    DATASETS["scheduled"], columns=tuple(each for each in DATASETS["scheduled"].columns if each.name in KEPT)
)


@pytest.mark.parametrize("conn_type", NOT_RUN)
def test_a_snapshot_is_created_staged_and_merged_by_these_statements(conn_type: str) -> None:
    """The files are what the manuals were read beside."""
    written = (Path(__file__).parent / "compiled" / f"{conn_type}.sql").read_text()
    expected = re.findall(r"^-- (.*)\n((?:.+\n)+);", written, re.MULTILINE)
    found = texts_of(database(conn_type))
    assert {purpose: " ".join(text.split()) for purpose, text in expected} == {
        purpose: " ".join(text.split()) for purpose, text in found.items()
    }


def texts_of(found: Recorded) -> dict[str, str]:
    """Return the statements of a load, by their purpose."""
    connected = Database(found, AssertionError)  # type: ignore[arg-type] # as much of a hook as it needs
    connected.open()
    name = TableName("replies")
    relations = Relations(connected, FEW, name)
    merge = Merge(LoadTransaction(connected, name), relations, LoadRun(BEGAN, "run", "credits"), None)
    insert(connected, "insert", relations.staging, ["message_id", "refund"], [("1", 1)])
    bulk = found.statements[-1]
    (create,) = creation(relations.target, [], connected.dialect)
    (add,) = addition(relations.target.c["refund"], [], connected.dialect)
    statements: dict[str, CompilerElement] = {
        "create the table": create,
        "add a column": add,
        "update changed rows": merge._update_changed(),
        "mark listed rows": relations.mark_seen(relations.target, BEGAN),
        "insert new rows": merge._insert_new(),
        "mark rows that are not listed": merge._mark_removed(relations.target),
        "empty the staging table": DeleteAll(relations.staging),
    }
    texts = {purpose: compiled(each, connected.core)[0] for purpose, each in statements.items()}
    return {"stage rows": bulk, **texts}


TYPES = {
    "mssql": (
        "VARCHAR(64), INTEGER, NUMERIC(14, 4), VARCHAR(100), NVARCHAR(max), DATETIMEOFFSET, NVARCHAR(250)"
    ),
    "oracle": (
        "VARCHAR2(64 CHAR), INTEGER, NUMERIC(14, 4), VARCHAR2(100 CHAR), NVARCHAR2(2000), "
        "TIMESTAMP WITH TIME ZONE, VARCHAR2(250 CHAR)"
    ),
    "snowflake": (
        "VARCHAR(64), INTEGER, NUMERIC(14, 4), VARCHAR(100), VARCHAR(4000), TIMESTAMP WITH TIME ZONE, "
        "VARCHAR(250)"
    ),
    # Its lengths are bytes.
    "redshift": (
        "VARCHAR(64), INTEGER, NUMERIC(14, 4), VARCHAR(100), VARCHAR(65535), TIMESTAMP WITH TIME ZONE, "
        "VARCHAR(1000)"
    ),
}


@pytest.mark.parametrize("conn_type", NOT_RUN)
def test_each_kind_of_values_has_the_type_of_the_database(conn_type: str) -> None:
    found = type_names(dialect_of(conn_type))
    kinds = ("id", "count", "amount", "number", "text", "instant", "name")
    assert ", ".join(found[ColumnType(kind)] for kind in kinds) == TYPES[conn_type]
