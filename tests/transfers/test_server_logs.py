"""What a database server writes into its own logs, as far as a connection decides on it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from airflow_provider_winsms.exceptions import LoadFailed
from airflow_provider_winsms.sql.connection import Database as Connection
from scripts import warehouse
from tests.support import databases
from tests.transfers.loads import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database

NUMBER, TEXT = "27825559871", "Quetzalcoatl sends regards"


def setting(database: Database, query: str) -> Any:
    """Return what a connection of ours has set."""
    with closing(Connection(database.hook(), lambda _: LoadFailed(""))) as connection:
        connection.open()
        return connection.rows("look", query)[0][0]


def test_postgresql_leaves_rows_out_of_its_log_where_we_may_say_so(postgres: Database) -> None:
    assert setting(postgres, "SHOW log_error_verbosity") == "terse"


@pytest.mark.parametrize(
    ("statement", "verbosity"),
    [("", "default"), ("ALTER ROLE {} SET log_error_verbosity = terse", "terse")],
)
def test_an_ordinary_user_needs_a_superuser_to_say_so_once(
    postgres: Database, monkeypatch: pytest.MonkeyPatch, statement: str, verbosity: str
) -> None:
    role = f"ordinary_{postgres.schema}"
    with closing(postgres.connect()) as connection:
        connection.autocommit = True
        connection.execute(f"CREATE ROLE {role} LOGIN")
        try:
            if statement:
                connection.execute(statement.format(role))
            ordinary = {**postgres.connection, "login": role}
            monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(ordinary))
            assert setting(postgres, "SHOW log_error_verbosity") == verbosity
        finally:
            connection.execute(f"DROP ROLE {role}")


def test_mariadb_keeps_no_slow_statement_of_ours(mariadb: Database) -> None:
    assert setting(mariadb, "SELECT @@SESSION.long_query_time AS seconds") > 30_000_000


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Database, Path]]:
    """A PostgreSQL that logs every statement and how long it took; and its log."""
    # The server may run as another user, who cannot read the folders that pytest makes.
    with (
        TemporaryDirectory(prefix="talkative-") as folder,
        warehouse.embedded_postgres(Path(folder) / "data") as conninfo,
    ):
        with psycopg.connect(conninfo, autocommit=True) as server:
            server.execute("ALTER SYSTEM SET log_statement = 'all'")
            server.execute("ALTER SYSTEM SET log_min_duration_statement = 0")
            server.execute("SELECT pg_reload_conf()")
        found = databases.postgres(conninfo)
        found.let_tasks_find_it(monkeypatch)
        yield found, Path(folder) / "data" / "log"


@pytest.mark.database
def test_a_refused_row_is_not_in_the_servers_log(gateway: Sandbox, talkative: tuple[Database, Path]) -> None:
    database, log = talkative
    run(database)
    database.execute("ALTER TABLE {}replies ADD CHECK (text NOT LIKE 'Quetz%')")
    gateway.incoming(NUMBER, TEXT)
    with pytest.raises(LoadFailed):
        run(database)
    gateway.opt_out(NUMBER)
    run(database, "opt_outs", table="opt_outs")
    written = log.read_text()
    assert "violates check constraint" in written
    assert "COPY" in written
    assert not [secret for secret in (NUMBER, TEXT) if secret in written]


@pytest.mark.database
def test_that_log_would_quote_the_row_without_our_setting(talkative: tuple[Database, Path]) -> None:
    database, log = talkative
    database.execute("CREATE TABLE {}texts (text TEXT CHECK (text NOT LIKE 'Quetz%'))")
    with pytest.raises(psycopg.Error), closing(database.connect()) as connection:
        connection.execute(f"INSERT INTO {database.named('texts')} VALUES (%s)", [TEXT])  # noqa: S608 - a test's own name
    assert TEXT in log.read_text()
