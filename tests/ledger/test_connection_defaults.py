"""Whatever defaults a role, a database or a connection has: a later try reads what an earlier one wrote."""

from __future__ import annotations

from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Column, MetaData, Table

from airflow_provider_winsms.exceptions import LedgerUnavailable
from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from airflow_provider_winsms.sql.bulk import insert
from airflow_provider_winsms.sql.connection import Database as Connected
from tests.ledger.batches import FIRST, HASHES, KEY, LATER, accepted, batch, messages, record
from tests.support.databases import with_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Database

ODD = "Zoë\\n owes 5\u20ac \U0001f600 \\' \\\\"
"""Signs that LATIN1 lacks, that take four bytes, and that a literal may read as others."""

POSTGRES_DEFAULTS = (
    "datestyle = 'German'",
    "datestyle = 'SQL, DMY'",
    "datestyle = 'SQL, MDY'",
    "datestyle = 'Postgres, DMY'",
    "timezone = 'Asia/Kathmandu'",
    "timezone = 'America/St_Johns'",
    "timezone = '<+03>-03'",
    "standard_conforming_strings = off",
    "client_encoding = 'LATIN1'",
    "client_encoding = 'SQL_ASCII'",
    "intervalstyle = 'sql_standard'",
    "extra_float_digits = -15",
    "bytea_output = 'escape'",
    "backslash_quote = off",
    "default_transaction_isolation = 'serializable'",
)

MODES = (
    "EMPTY_STRING_IS_NULL",
    "NO_BACKSLASH_ESCAPES",
    "ANSI_QUOTES",
    "ORACLE",
    "PAD_CHAR_TO_FULL_LENGTH",
    "PIPES_AS_CONCAT",
    "TIME_ROUND_FRACTIONAL",
    "TRADITIONAL",
)

MYSQL_EXTRAS: tuple[dict[str, str], ...] = (
    {"charset": "utf8"},
    {"charset": "latin1"},
    {"init_command": "SET time_zone = '+05:45'"},
    {"init_command": "SET sql_mode = ''"},
    {"init_command": "SET sql_select_limit = 1"},
    {"init_command": "SET sql_safe_updates = 1"},
    *({"init_command": f"SET sql_mode = '{mode}'"} for mode in MODES),
)


@contextmanager
def default_of_the_database(database: Database, setting: str) -> Iterator[None]:
    """Give each new connection to the database another default, for as long as the block lasts."""
    name = database.execute("SELECT current_database()")[0][0]
    database.execute(f"ALTER DATABASE {name} SET {setting}")
    try:
        yield
    finally:
        database.execute(f"ALTER DATABASE {name} RESET ALL")


def assert_remembers(database: Database, hook: Any = None) -> None:
    """Write as one try, read as a later one."""
    options = SqlOptions(text="keep")
    claim = record(send_at=LATER)
    with SqlLedger(hook or database.hook(), KEY, HASHES, options) as tables:
        tables.open(batch())
        tables.claim(FIRST, claim, messages(text=ODD))
        receipts = {position: accepted(100 + position) for position in range(3)}
        claim.apply(receipts)
        tables.record(FIRST, claim, receipts)
    with SqlLedger(hook or database.hook(), KEY, HASHES, options) as tables:
        assert tables.latest() == batch()
        assert tables.find(FIRST) == claim


def texts(database: Database) -> set[str]:
    with closing(Connected(database.hook(), _as_it_is)) as connected:
        return {text for (text,) in connected.transact(lambda: connected.rows("read", _TEXTS))}


_TEXTS = "SELECT text FROM sms_messages"


def _as_it_is(refusal: Any) -> LedgerUnavailable:
    return LedgerUnavailable(refusal.message("test", ""))


@pytest.mark.parametrize("setting", POSTGRES_DEFAULTS)
def test_a_later_try_reads_the_batch_whatever_the_defaults_of_the_database(
    postgres: Database, setting: str
) -> None:
    with default_of_the_database(postgres, setting):
        assert_remembers(postgres)
        assert texts(postgres) == {ODD}


@pytest.mark.parametrize("setting", ["client_encoding = 'LATIN1'", "datestyle = 'German'"])
def test_through_psycopg_2_too(postgres: Database, setting: str) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    given = postgres.connection
    dsn = {"dbname": given["schema"], "host": given["host"], "user": given["login"], "port": given["port"]}
    options = f"-c search_path={postgres.schema}"

    class OlderHook(type(postgres.hook())):  # type: ignore[misc] # of a class that is known when it runs
        def get_conn(self) -> Any:
            known = {name: value for name, value in dsn.items() if value}
            return psycopg2.connect(**known, password=given["password"], options=options)

        def set_autocommit(self, conn: Any, autocommit: Any) -> None:
            conn.autocommit = autocommit

    with default_of_the_database(postgres, setting):
        assert_remembers(postgres, OlderHook(postgres.hook().get_conn_id()))
        assert texts(postgres) == {ODD}


@pytest.mark.parametrize("extra", MYSQL_EXTRAS, ids=lambda extra: " ".join(extra.values()))
def test_a_later_try_reads_the_batch_whatever_the_connection_to_mariadb_says(
    mariadb: Database, extra: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_extra(mariadb, **extra).let_tasks_find_it(monkeypatch)
    assert_remembers(mariadb)
    assert texts(mariadb) == {ODD}


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_text_stays_empty_in_each_mode_of_mariadb(
    mariadb: Database, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_extra(mariadb, init_command=f"SET sql_mode = '{mode}'").let_tasks_find_it(monkeypatch)
    mariadb.execute("CREATE TABLE {}notes (text LONGTEXT, seen_at DATETIME(6))")
    seen_at = datetime(2026, 3, 2, 12, 0, 0, 999_999, tzinfo=UTC)
    with closing(Connected(mariadb.hook(), _as_it_is)) as connected:
        row = ("", connected.dialect.instant(seen_at))
        notes = Table("notes", MetaData(), Column("text"), Column("seen_at"))
        connected.transact(lambda: insert(connected, "write", notes, ["text", "seen_at"], [row]))
    assert mariadb.execute("SELECT text, seen_at FROM {}notes") == [("", seen_at.replace(tzinfo=None))]
