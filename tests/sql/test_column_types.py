"""A table of an older version is refused by name, and the statements that the error shows mend it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.ledger.schema import TABLES
from airflow_provider_winsms.sql.types import ColumnType
from airflow_provider_winsms.warehouse.datasets import DATASETS
from tests.ledger.batches import FIRST, batch, ledger, messages, record
from tests.support.lists import row
from tests.transfers.loads import run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.databases import Database
    from tests.support.lists import Lists

SERVERS = [pytest.param(kind, marks=pytest.mark.database) for kind in ("postgres", "mariadb")]
OLD = {ColumnType.ID: "BIGINT", ColumnType.AMOUNT: "NUMERIC(12, 1)"}


def create_old(database: Database, table: str, columns: Iterable[Any], key: Iterable[str]) -> None:
    """Create a table as an older version did: whole numbers for ids, tenths for amounts."""
    types, quote = {**database.types, **OLD}, database.quote.format
    listed = [
        f"{quote(each.name)} {types[each.kind]} {'NOT NULL' if each.is_required else 'NULL'}"
        for each in columns
    ]
    listed.append(f"PRIMARY KEY ({', '.join(map(quote, key))})")
    database.execute(f"CREATE TABLE {database.named(table)} ({', '.join(listed)}){database.table_options}")


def mend(database: Database, error: ConfigurationError) -> bool:
    """Run the statements that an error shows, and tell whether there are any."""
    shown = re.search(r"and run (.*)\. Or:", str(error))
    for statement in shown[1].split("; ") if shown else ():
        path = f"SET search_path TO {database.schema}; " if database.kind == "postgres" else ""
        database.execute(path + statement)
    return shown is not None


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", *SERVERS])
def test_a_loaded_table(kind: str, lists: Lists, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue(kind)
    dataset = DATASETS["incoming"]
    create_old(database, "replies", dataset.columns, dataset.key)
    columns = "message_id, number, received_at_wire, text, address_kind, loaded_at"
    instant = "'2026-03-02 10:00:00'"
    values = f"7, '27825550101', '', '', 'phone', {instant}"
    database.execute(f"INSERT INTO {{}}replies ({columns}) VALUES ({values})")  # noqa: S608 - a test's own
    lists.rows = [row(7, "27825550101"), row(10, "27825550102", outgoingApiMessageId=4)]
    with pytest.raises(ConfigurationError, match=r"older version.*message_id.*in_reply_to") as caught:
        run(database)
    assert "Give the name of another table." in str(caught.value)
    if not mend(database, caught.value):
        assert kind in {"sqlite", "duckdb"}
        assert run(database, table="others")["rows_loaded"] == 2
        return
    assert run(database)["rows_loaded"] == 1
    assert database.column("message_id", "replies") == ["10", "7"]
    assert run(database, table="others")["rows_loaded"] == 2
    assert described(database, "replies") == described(database, "others")


@pytest.mark.parametrize("kind", ["sqlite", *SERVERS])
def test_a_ledger(kind: str, request: pytest.FixtureRequest) -> None:
    database: Database = request.getfixturevalue("postgres_by_path" if kind == "postgres" else kind)
    for table in TABLES:
        create_old(database, f"sms_{table.name}", table.columns, table.key)
    for table in TABLES:
        if not any(column.kind in OLD for column in table.columns):
            continue
        with pytest.raises(
            ConfigurationError, match=f"sms_{table.name} has types of an older version"
        ) as caught:
            ledger(database).close()
        assert "Give another prefix" in str(caught.value)
        if not mend(database, caught.value):
            assert kind == "sqlite"
            return
    with ledger(database) as mended:
        mended.open(batch())
        mended.claim(FIRST, record(), messages())
    for table in TABLES:
        ledger(database, prefix="new_").close()
        assert described(database, f"sms_{table.name}") == described(database, f"new_{table.name}")


def described(database: Database, table: str) -> dict[str, tuple[Any, ...]]:
    """Return the columns of a table: what the database says of their types."""
    schema = database.schema or database.connection["schema"]
    rows = database.execute(
        "SELECT column_name, data_type, character_maximum_length, numeric_scale, is_nullable, collation_name "  # noqa: S608 - a test's own names
        f"FROM information_schema.columns WHERE table_schema = '{schema}' AND table_name = '{table}'"
    )
    return {name: tuple(facts) for name, *facts in rows}
