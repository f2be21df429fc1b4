"""A table of one's own is joined with hashed numbers by what ``docs/warehouse.md`` shows."""

from __future__ import annotations

import hmac
import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.operators.sms import SmsSendOperator
from tests.support.databases import CONN_ID
from tests.transfers.loads import operator

if TYPE_CHECKING:
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "warehouse.md").read_text()
NUMBER = "27825559876"
HASH_SECRET = "Sixteen letters or more, such as caf\u00e9"  # noqa: S105 - a test's own


def shown(language: str, part: str) -> str:
    """Return the one block of the page in a language that has a part."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (found,) = (block for block in blocks if part in block)
    return str(found)


def number_hash() -> Any:
    namespace: dict[str, Any] = {}
    exec(shown("python", "def number_hash"), namespace)  # noqa: S102 - the page's own code
    return namespace["number_hash"]


def load_deliveries(runner: TaskRunner, database: Database, ledger: Path) -> None:
    """Send one text, with hashes for numbers, and load what became of it into ``sms_deliveries``."""
    gateway = {**runner.connections["winsms_default"], "extra": json.dumps({"hash_secret": HASH_SECRET})}
    ledgers = {"conn_type": "sqlite", "host": str(ledger)}
    connections = {"winsms_default": gateway, CONN_ID: database.connection, "ledger": ledgers}
    runner = replace(runner, connections=connections)
    keyed: Any = {"ledger_conn_id": "ledger", "ledger_privacy": "keyed_hash"}
    send = SmsSendOperator(task_id="send", text="Hallo", to=[NUMBER, "27825550101"], **keyed)
    load = operator(
        database, "deliveries", table="sms_deliveries", privacy="keyed_hash", ledger_conn_id="ledger"
    )
    for task in (send, load):
        assert runner.another().run(task).error is None


def test_the_hash_of_a_number_is_the_plain_hmac_of_its_digits() -> None:
    expected = hmac.digest(HASH_SECRET.encode(), NUMBER.encode(), "sha256").hex()
    assert KeyedHash(HASH_SECRET).of(NUMBER) == expected


def test_a_digest_of_parts_is_no_hash_of_a_number() -> None:
    hashes = KeyedHash(HASH_SECRET)
    alike = [hashes.of(NUMBER), hashes.of_parts(NUMBER), hashes.of_parts(NUMBER[:5], NUMBER[5:])]
    assert len(set(alike)) == len(alike)


def test_the_python_that_is_shown_makes_the_hashes_and_the_ids_of_keys() -> None:
    hashes, make = KeyedHash(HASH_SECRET), number_hash()
    assert make(NUMBER, HASH_SECRET) == hashes.of(NUMBER)
    assert make("key id", HASH_SECRET)[:8] == hashes.key_id


def test_the_query_for_sqlite_finds_the_customer(
    runner: TaskRunner, sqlite: Database, tmp_path: Path
) -> None:
    load_deliveries(runner, sqlite, tmp_path / "sends.db")
    with closing(sqlite3.connect(sqlite.connection["host"])) as connection:
        connection.execute("CREATE TABLE customers (name TEXT, phone TEXT)")
        connection.execute("INSERT INTO customers VALUES ('Ann', ?), ('Ben', '27825550109')", [NUMBER])
        connection.create_function("number_hash", 2, number_hash())
        query = shown("sqlite", "number_hash")
        assert connection.execute(query, {"hash_secret": HASH_SECRET}).fetchall() == [("Ann", "queued")]


def test_the_query_for_postgresql_finds_the_customer(
    runner: TaskRunner, postgres: Database, tmp_path: Path
) -> None:
    load_deliveries(runner, postgres, tmp_path / "sends.db")
    with closing(postgres.connect()) as connection:
        if not connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'pgcrypto'").fetchall():
            pytest.skip("This PostgreSQL has no pgcrypto.")
        # Never committed: other tests use this database too.
        connection.execute(f"SET search_path = {postgres.schema}, public")
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgcrypto")
        connection.execute("CREATE TABLE customers (name TEXT, phone TEXT)")
        connection.execute("INSERT INTO customers VALUES ('Ann', %s), ('Ben', '27825550109')", [NUMBER])
        connection.execute("SELECT set_config('sms.hash_secret', %s, false)", [HASH_SECRET])
        query = shown("pgsql", "encode(hmac")
        assert connection.execute(query).fetchall() == [("Ann", "queued")]
