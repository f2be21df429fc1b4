"""The databases that loads and ledgers are tried on, each of them a real one."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import mysql.connector
import psycopg
import pytest
from airflow.providers.common.compat.sdk import BaseHook

from scripts import warehouse
from scripts.warehouse import postgres_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONN_ID = "warehouse"

MYSQL_PROVIDER = Path(__file__).parent / "mysql_provider"
"""A folder for ``sys.path``, in which Airflow finds the hook for connections of the type ``mysql``."""

MYSQL_VARIABLE = "SMS_MYSQL"
"""Names a MySQL or MariaDB to use, as ``mysql://user:password@host:port/database``."""

_THIS_MACHINE = "mysql://root@127.0.0.1:3306/test"


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

    def let_tasks_find_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put its connection where tasks, triggers and subprocesses look for connections."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def hook(self) -> Any:
        """Return the hook of the connection, as Airflow finds it."""
        return BaseHook.get_connection(CONN_ID).get_hook()

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


@pytest.fixture(scope="session")
def postgres_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of an empty PostgreSQL database, wherever one is to be had."""
    with warehouse.postgres(tmp_path_factory.mktemp("postgres")) as conninfo:
        yield conninfo


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
    return Database("mariadb", connection, lambda: mysql.connector.connect(**server, database=name))


def run_on_mysql(server: dict[str, Any], *statements: str) -> None:
    with closing(mysql.connector.connect(**server)) as connection, closing(connection.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()
