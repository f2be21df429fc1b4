"""Campaigns of tests: people in a table, and the send to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database

ANN, BEN, CAT, DAN = PEOPLE = [f"2782555010{place}" for place in range(4)]
TABLE = "people"


def enrol(database: Database, *people: tuple[str | None, str | None]) -> None:
    """Put people, each with a number and a name, into the table; nobody else is in it then."""
    database.execute(f"DROP TABLE IF EXISTS {{}}{TABLE}")
    database.execute(f"CREATE TABLE {{}}{TABLE} (id INTEGER, number VARCHAR(40), name VARCHAR(200))")
    for place, person in enumerate(people, start=1):
        values = ", ".join("NULL" if each is None else f"'{each}'" for each in person)
        values = values.replace("{", "{{").replace("}", "}}")
        database.execute(f"INSERT INTO {{}}{TABLE} VALUES ({place}, {values})")  # noqa: S608 - a test's own


def campaign(database: Database, **kwargs: Any) -> SqlToSmsOperator:
    query = f"SELECT id, number, name FROM {database.named(TABLE)} ORDER BY id"  # noqa: S608 - a test's own
    texts = {} if "text_column" in kwargs else {"text": "Hi {{ name }}"}
    return SqlToSmsOperator(**{"task_id": "send", "sql": query, "sql_conn_id": CONN_ID, **texts, **kwargs})


def texts(sandbox: Sandbox) -> list[tuple[str, str]]:
    return sorted((row["mobileNumber"], row["message"]) for row in sandbox.outbox())
