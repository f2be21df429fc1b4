"""The databases that loads and ledgers are tried on, each of them a real one."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import duckdb as duckdb_driver
import mysql.connector
import psycopg
import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_winsms.messages import id_order, message_id_of
from airflow_provider_winsms.sql.compiler import dialect_of
from airflow_provider_winsms.sql.types import type_names
from scripts.warehouse import postgres_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.sql.types import ColumnType

CONN_ID = "warehouse"


def types_of(conn_type: str) -> dict[ColumnType, str]:
    """Return the types of columns in the database of a connection."""
    return type_names(dialect_of(conn_type))


KINDS = ("sqlite", "postgres", "mariadb", "duckdb", "portable")
"""Of databases, each the name of a fixture; ``portable`` is one of a type that no dialect knows."""

PROVIDERS = tuple(
    str(Path(__file__).parent / f"{kind}_provider") for kind in ("mysql", "duckdb", "portable", "pigeon")
)
"""Folders for ``sys.path``, in which Airflow finds the hooks for connections of these types."""

MYSQL_VARIABLE = "SMS_MYSQL"
"""Names a MySQL or MariaDB to use, as ``mysql://user:password@host:port/database``."""

_THIS_MACHINE = "mysql://root@127.0.0.1:3306/test"


@dataclass(frozen=True)
class Database:
    """One database, empty when a test gets it.

    :param connection: the Airflow connection that leads to it.
    :param connect: opens a connection of its own, for the test to look in.
    :param schema: where tables belong, if that is not where the connection leads to anyway.
    :param quote: how a name is quoted.
    """

    kind: str
    connection: dict[str, Any]
    connect: Callable[[], Any] = field(repr=False)
    schema: str | None = None
    quote: str = '"{}"'

    @property
    def types(self) -> dict[ColumnType, str]:
        """The types of columns."""
        return types_of(self.connection["conn_type"])

    @property
    def table_options(self) -> str:
        """The end of a statement that creates a table as loads create theirs."""
        is_mysql = self.connection["conn_type"] == "mysql"
        return " ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if is_mysql else ""

    @property
    def environment(self) -> dict[str, str]:
        return {f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(self.connection)}

    def let_tasks_find_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put its connection where tasks, triggers and subprocesses look for connections."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def hook(self) -> Any:
        """Return the hook of the connection, as Airflow finds it."""
        return BaseHook.get_connection(CONN_ID).get_hook()

    def named(self, table: str) -> str:
        """Return a table's name as it stands in a statement, quoted."""
        return self._prefix + self.quote.format(table)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement, in which ``{}`` stands for the schema and its dot, and return its rows.

        Moments come as the database has them: ``database.read_instant`` makes the same of all of them.
        """
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            asked = statement.format(self._prefix)
            cursor.execute(asked)
            if self.kind == "duckdb":
                _make_readable(cursor, asked)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return list(rows)

    def count(self, table: str) -> int:
        return int(self.execute(f"SELECT COUNT(*) FROM {{}}{table}")[0][0])  # noqa: S608 - a test's own name

    def column(self, column: str, table: str) -> list[Any]:
        return [row[0] for row in self.execute(f"SELECT {column} FROM {{}}{table} ORDER BY 1")]  # noqa: S608 - as above

    def message_ids(self, table: str) -> list[MessageId]:
        """Return the ids of a table, in their order."""
        return sorted(map(message_id_of, self.column("message_id", table)), key=id_order)

    def tables(self) -> list[str]:
        """Return the names of the tables and views there are, in order."""
        if self.kind == "sqlite":
            return self.column("name", "sqlite_master WHERE type IN ('table', 'view')")
        schema = self.schema or self.connection.get("schema") or "main"
        found = self.execute(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}'"  # noqa: S608 - a test's own name
        )
        return sorted(name for (name,) in found)

    @property
    def _prefix(self) -> str:
        return f"{self.quote.format(self.schema)}." if self.schema else ""


def _make_readable(cursor: Any, statement: str) -> None:
    """Ask again, for moments as text, where DuckDB would need a package that it does not bring."""
    kinds = {name: str(kind) for name, kind, *_ in cursor.description or ()}
    moments = [f'"{name}"' for name, kind in kinds.items() if kind == "TIMESTAMP WITH TIME ZONE"]
    if moments:
        texts = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in moments)
        cursor.execute("SET TimeZone = 'UTC'")
        cursor.execute(f"SELECT * REPLACE ({texts}) FROM ({statement})")  # noqa: S608 - a test's own


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


@contextmanager
def scratch_postgres(conninfo: str) -> Iterator[Database]:
    """Give a schema of its own in a PostgreSQL database, for as long as the block lasts."""
    database = postgres(conninfo)
    try:
        yield database
    finally:
        drop(database)


def with_extra(database: Database, **extra: Any) -> Database:
    """Return the database behind a connection with more extras."""
    known = json.loads(database.connection.get("extra") or "{}")
    return replace(database, connection={**database.connection, "extra": json.dumps({**known, **extra})})


def behind_an_unknown_hook(database: Database) -> Database:
    """Return a PostgreSQL database whose connection is of a type that nobody knows."""
    return replace(database, kind="portable", connection={**database.connection, "conn_type": "portable"})


def duckdb(path: Path) -> Database:
    """Return a database in a file, which no second process can open while one has it open."""
    return Database(
        "duckdb", {"conn_type": "duckdb", "host": str(path)}, lambda: duckdb_driver.connect(str(path))
    )


def mysql_server() -> dict[str, Any]:
    """Return what leads to a MySQL or MariaDB; skip the test where there is none, but fail it in CI."""
    url = urlsplit(os.environ.get(MYSQL_VARIABLE, _THIS_MACHINE))
    server = {
        "host": url.hostname or "127.0.0.1",
        "port": url.port or 3306,
        "user": unquote(url.username or "root"),
        "password": unquote(url.password or ""),
    }
    try:
        mysql.connector.connect(**server).close()
    except mysql.connector.Error as error:
        place = f"{server['host']}:{server['port']}"
        reason = f"NO MYSQL OR MARIADB at {place} ({error}); {MYSQL_VARIABLE} names another."
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return server


def mariadb(server: dict[str, Any]) -> Database:
    """Return a database of its own on a server."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    run_on_mysql(server, f"CREATE DATABASE {name}")
    connection = {
        "conn_type": "mysql",
        "host": server["host"],
        "port": server["port"],
        "login": server["user"],
        "password": server["password"],
        "schema": name,
    }
    return Database(
        "mariadb", connection, lambda: mysql.connector.connect(**server, database=name), quote="`{}`"
    )


@contextmanager
def scratch_mariadb(server: dict[str, Any]) -> Iterator[Database]:
    """Give a database of its own on a server, for as long as the block lasts."""
    database = mariadb(server)
    try:
        yield database
    finally:
        run_on_mysql(server, f"DROP DATABASE {database.connection['schema']}")


def run_on_mysql(server: dict[str, Any], *statements: str) -> None:
    with closing(mysql.connector.connect(**server)) as connection, closing(connection.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()
