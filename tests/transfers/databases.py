"""The databases that loads are tried on, each of them a real one."""

from __future__ import annotations

import json
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

from scripts.warehouse import postgres_connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONN_ID = "warehouse"


@dataclass(frozen=True)
class Database:
    """One database, empty when a test gets it.

    :param connection: the Airflow connection that leads to it.
    :param connect: opens a connection of its own, for the test to look in.
    """

    kind: str
    connection: dict[str, Any]
    connect: Callable[[], Any] = field(repr=False)
    schema: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(self.connection)}

    def named(self, table: str) -> str:
        return f'"{self.schema}"."{table}"' if self.schema else f'"{table}"'

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement, in which ``{}`` stands for the schema and its dot, and return its rows."""
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(statement.format(f'"{self.schema}".' if self.schema else ""))
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return list(rows)

    def count(self, table: str) -> int:
        return int(self.execute(f"SELECT COUNT(*) FROM {{}}{table}")[0][0])  # noqa: S608 - a test's own name

    def column(self, column: str, table: str) -> list[Any]:
        return [row[0] for row in self.execute(f"SELECT {column} FROM {{}}{table} ORDER BY 1")]  # noqa: S608 - as above


def sqlite(path: Path) -> Database:
    connection = {"conn_type": "sqlite", "host": str(path)}
    return Database("sqlite", connection, lambda: sqlite3.connect(path))


def postgres(conninfo: str) -> Database:
    """Return a schema of its own in a PostgreSQL database."""
    schema = f"test_{uuid.uuid4().hex[:12]}"
    connection = postgres_connection(conninfo)
    database = Database("postgres", connection, lambda: psycopg.connect(conninfo), schema)
    database.execute(f"CREATE SCHEMA {schema}")
    return database


def drop(database: Database) -> None:
    database.execute(f"DROP SCHEMA {database.schema} CASCADE")
