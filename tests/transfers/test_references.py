"""Tables of users may refer to rows that are loaded: rows that change are updated where they are."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.warehouse.datasets import DATASETS
from tests.support.lists import row, waiting
from tests.transfers.loads import run, stored

if TYPE_CHECKING:
    from tests.support.databases import Database
    from tests.support.lists import Lists

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
ROWS = 60

TABLES = [
    ("incoming", "replies"),
    ("short_code", "replies"),
    ("opt_outs", "replies"),
    ("opt_outs", "replies_history"),
    ("scheduled", "replies"),
]
"""The tables of the datasets that are read from the gateway."""

REFERRED_TO = ("sqlite", "postgres", "mariadb", pytest.param("portable", marks=pytest.mark.database))
"""Databases that enforce foreign keys while rows are updated."""


@pytest.fixture(params=REFERRED_TO)
def referred_to(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def fill(lists: Lists, version: int) -> None:
    """List every second row otherwise in each version, and let the last of the first version be gone."""
    ids = range(1, ROWS + 1 - (version > 1))
    lists.rows = [row(n, f"2782{n:07}", f"Text {n} {n % 2 * version}") for n in ids]
    lists.short_code = lists.opt_outs = lists.rows
    lists.scheduled = [waiting(n, f"2782{n:07}", creditCost=1 + n % 2 * version) for n in ids]


def refer(database: Database, dataset: str, on_delete: str = "", table: str = "replies") -> None:
    """Create a table of a user, with a row for each row that is there."""
    key = DATASETS[dataset].key
    if table != "replies":
        key = (*key, "first_seen_at")
    kinds = {column.name: database.types[column.kind] for column in DATASETS[dataset].columns}
    columns = ", ".join(f"{name} {kinds[name]}" for name in key)
    listed = ", ".join(key)
    noted, loaded = database.named("noted"), database.named(table)
    database.execute(
        f"CREATE TABLE {noted} ({columns}, "
        f"FOREIGN KEY ({listed}) REFERENCES {loaded} ({listed}) {on_delete}){database.table_options}"
    )
    database.execute(f"INSERT INTO {noted} ({listed}) SELECT {listed} FROM {loaded}")  # noqa: S608 - our own names


def enforce(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SQLite enforce foreign keys in the connections of loads, as some hooks do."""
    if database.kind != "sqlite":
        return
    hook = type(database.hook())
    connect = hook.get_conn

    def enforcing(self: Any) -> Any:
        connection = connect(self)
        with closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA foreign_keys = ON")
        return connection

    monkeypatch.setattr(hook, "get_conn", enforcing)


@pytest.mark.parametrize("on_delete", ["", "ON DELETE CASCADE"])
@pytest.mark.parametrize(("dataset", "table"), TABLES)
def test_rows_that_change_keep_what_refers_to_them(
    dataset: str,
    table: str,
    on_delete: str,
    lists: Lists,
    referred_to: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enforce(referred_to, monkeypatch)
    fill(lists, 1)
    run(referred_to, dataset, began=START)
    refer(referred_to, dataset, on_delete, table)
    for version in (2, 3):
        fill(lists, version)
        run(referred_to, dataset, mode="full_refresh", began=START + timedelta(minutes=version))
        assert referred_to.count("noted") == ROWS
    changed = [each for each in stored(referred_to, dataset) if each["loaded_at"] > START]
    assert len(changed) >= ROWS // 2


def test_columns_of_a_user_keep_their_values_in_rows_that_change(
    lists: Lists, any_database: Database
) -> None:
    fill(lists, 1)
    run(any_database, "scheduled", began=START)
    table = any_database.named("replies")
    any_database.execute(f"ALTER TABLE {table} ADD COLUMN remark VARCHAR(20)")
    any_database.execute(f"UPDATE {table} SET remark = 'seen'")  # noqa: S608 - a test's own name
    fill(lists, 2)
    result = run(any_database, "scheduled", began=START + timedelta(minutes=1))
    assert (result["rows_loaded"], result["rows_removed"]) == (ROWS // 2, 1)
    assert set(any_database.column("remark", "replies")) == {"seen"}
