"""What the ledger has committed is on disk, or the log says loudly that it may not be."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.sql.statements import NamedStatement
from tests.ledger.batches import FIRST, batch, ledger, messages, record
from tests.ledger.test_connection_defaults import default_of_the_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Database

WARNING = "THE LEDGER MAY LOSE CLAIMS"


@contextmanager
def flushing_its_log(mariadb: Database, value: int) -> Iterator[None]:
    """Let the server flush its log at commits as a value says, for as long as the block lasts."""
    before = mariadb.execute("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit")[0][0]
    mariadb.execute(f"SET GLOBAL innodb_flush_log_at_trx_commit = {value}")
    try:
        yield
    finally:
        mariadb.execute(f"SET GLOBAL innodb_flush_log_at_trx_commit = {before}")


def setting_of_a_claim(postgres: Database, setting: str) -> str:
    """Return a setting as it is in the transaction that claims a request."""
    with ledger(postgres) as tables:
        tables.open(batch())
        postgres.execute("CREATE TABLE {}seen (value TEXT)")
        postgres.execute(
            "CREATE FUNCTION {}see() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN "  # noqa: S608 - names of ours
            f"INSERT INTO {postgres.schema}.seen VALUES (current_setting('{setting}')); RETURN NULL; END $$"
        )
        postgres.execute(
            "CREATE TRIGGER see AFTER INSERT ON {}sms_requests "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {postgres.schema}.see()"
        )
        tables.claim(FIRST, record(), messages())
    (value,) = postgres.column("value", "seen")
    return str(value)


@pytest.mark.parametrize(
    ("default", "in_a_claim"),
    [
        ("off", "on"),
        ("local", "on"),
        ("remote_write", "on"),
        ("on", "on"),
        ("remote_apply", "remote_apply"),
    ],
)
def test_a_claim_is_on_disk_whatever_the_default_of_the_database(
    postgres: Database, default: str, in_a_claim: str
) -> None:
    with default_of_the_database(postgres, f"synchronous_commit = {default}"):
        assert setting_of_a_claim(postgres, "synchronous_commit") == in_a_claim


@pytest.mark.alone
def test_a_claim_is_on_disk_whatever_the_default_of_the_role(postgres: Database) -> None:
    (role,) = postgres.execute("SELECT current_user")[0]
    postgres.execute(f'ALTER ROLE "{role}" SET synchronous_commit = off')
    try:
        assert setting_of_a_claim(postgres, "synchronous_commit") == "on"
    finally:
        postgres.execute(f'ALTER ROLE "{role}" RESET synchronous_commit')


SYNCHRONOUS = NamedStatement("read a setting", "PRAGMA synchronous")


def test_sqlite_syncs_the_directory_of_its_journal_too(sqlite: Database) -> None:
    with ledger(sqlite) as tables:
        synchronous = tables._database.transact(lambda: tables.read(SYNCHRONOUS))
    assert synchronous == [(3,)]


def test_a_ledger_in_memory_is_refused(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "sqlite", "host": "", "extra": json.dumps({"mode": "memory"})}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(connection))
    with pytest.raises(ConfigurationError, match="in memory"):
        ledger(sqlite)


@pytest.mark.alone
@pytest.mark.parametrize(("value", "is_safe"), [(0, False), (1, True), (2, False)])
def test_a_server_that_may_lose_commits_is_named_once_for_each_opening(
    mariadb: Database, value: int, is_safe: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with flushing_its_log(mariadb, value), ledger(mariadb) as tables:
        tables.open(batch())
        tables.claim(FIRST, record(), messages())
    warnings = [entry.message for entry in caplog.records if WARNING in entry.message]
    assert len(warnings) == (0 if is_safe else 1)
    assert all(f"innodb_flush_log_at_trx_commit={value}." in warning for warning in warnings)
