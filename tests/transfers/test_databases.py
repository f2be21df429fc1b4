"""The databases that loads are tried on are what they say they are."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.sql.dialects import DIALECTS
from airflow_provider_winsms.sql.types import ColumnType
from airflow_provider_winsms.sql.values import read_instant
from tests.support.databases import CONN_ID, KINDS

if TYPE_CHECKING:
    from tests.support.databases import Database

START = datetime(2026, 5, 1, 12, 30, 1, 500_000, tzinfo=UTC)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    assert found.kind == request.param
    return found


def test_what_a_hook_writes_a_test_reads(kind: Database) -> None:
    with closing(kind.hook().get_conn()) as connection:
        connection.cursor().execute(f"CREATE TABLE {kind.named('order')} (id BIGINT)")
        connection.commit()
    kind.execute(f"INSERT INTO {kind.named('order')} VALUES (2), (1)")  # noqa: S608 - a test's own name
    kind.execute(f"CREATE TABLE {{}}plain AS SELECT id FROM {kind.named('order')}")  # noqa: S608 - as above
    assert kind.count("plain") == 2
    assert kind.column("id", "plain") == [1, 2]
    kind.execute("DROP TABLE {}plain")
    assert kind.tables() == ["order"]


@pytest.mark.database
def test_a_subprocess_finds_the_hooks_too(duckdb: Database) -> None:
    script = f"""if True:
        from airflow.providers.common.compat.sdk import BaseHook
        print(BaseHook.get_connection({CONN_ID!r}).get_hook().conn_type)
    """
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split()[-1] == duckdb.kind


def test_no_dialect_knows_the_portable_one(portable: Database) -> None:
    assert portable.hook().conn_type not in DIALECTS


def test_moments_are_read_in_the_order_asked_for(kind: Database) -> None:
    instant = kind.types[ColumnType.INSTANT]
    kind.execute(f"CREATE TABLE {{}}seen (id BIGINT, seen_at {instant})")
    moments = {id_: START + timedelta(days=id_) for id_ in range(30)}
    zone = "+00" if "ZONE" in instant else ""
    rows = ", ".join(f"({id_}, '{at:%Y-%m-%d %H:%M:%S.%f}{zone}')" for id_, at in moments.items())
    kind.execute(f"INSERT INTO {{}}seen VALUES {rows}")  # noqa: S608 - a test's own rows
    found = kind.execute("SELECT id, seen_at FROM {}seen ORDER BY id DESC")
    assert [(id_, read_instant(at)) for id_, at in found] == sorted(moments.items(), reverse=True)
