"""An error says that a repeat is safe only where a repeat can help."""

from __future__ import annotations

import json
import pickle
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_winsms.exceptions import LedgerUnavailable, LoadFailed
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sql.errors import NotOpened, Refusal
from scripts.warehouse import postgres_connection
from tests.ledger.batches import FIRST, batch, ledger, messages, record
from tests.support.databases import CONN_ID, Database, with_extra
from tests.support.lists import row
from tests.transfers.loads import create_table_that_refuses, run, stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.lists import Lists
    from tests.support.task_runner import TaskRunner

EMOJI = "Thanks \U0001f600"


def send() -> SmsSendOperator:
    return SmsSendOperator(task_id="send", text="Hallo", to=["27825550101"], ledger_conn_id=CONN_ID)


@pytest.fixture
def latin1(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A PostgreSQL database that has no emojis."""
    name = f"latin1_{uuid4().hex[:12]}"
    with closing(psycopg.connect(postgres_database, autocommit=True)) as server:
        server.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
        try:
            conninfo = psycopg.conninfo.make_conninfo(postgres_database, dbname=name)
            connection = postgres_connection(conninfo)
            database = Database("postgres", connection, lambda: psycopg.connect(conninfo), "public")
            database.let_tasks_find_it(monkeypatch)
            yield database
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_character_that_the_database_lacks_is_refused_with_its_encoding(
    lists: Lists, latin1: Database
) -> None:
    lists.rows = [row(1, text="Caf\u00e9")]
    run(latin1)
    lists.rows.append(row(2, text=EMOJI))
    with pytest.raises(LoadFailed, match="encoding LATIN1 of the database lacks a character") as caught:
        run(latin1)
    assert "ENCODING 'UTF8'" in str(caught.value)
    assert "repeat is safe" not in str(caught.value)
    assert EMOJI not in str(caught.value)
    run(latin1, text="drop")
    assert [each["text"] for each in stored(latin1)] == ["Caf\u00e9", None]


def test_a_ledger_says_so_too(latin1: Database) -> None:
    with ledger(latin1, text="keep") as tables:
        tables.open(batch(recipients=1))
        with pytest.raises(LedgerUnavailable, match="encoding LATIN1") as caught:
            tables.claim(FIRST, record(1), messages(1, EMOJI))
        assert "repeat is safe" not in str(caught.value)


def test_a_column_of_another_character_set_is_named_as_the_cause(lists: Lists, mariadb: Database) -> None:
    run(mariadb)
    mariadb.execute("ALTER TABLE replies MODIFY text TEXT CHARACTER SET latin1")
    lists.rows = [row(1, text=EMOJI)]
    with pytest.raises(LoadFailed, match="column's encoding lacks a character"):
        run(mariadb)


def test_a_row_that_the_table_refuses_is_refused_at_each_repeat(lists: Lists, any_database: Database) -> None:
    create_table_that_refuses(any_database, "NO")
    lists.rows = [row(1, text="NO")]
    with pytest.raises(LoadFailed) as caught:
        run(any_database)
    assert "repeat is safe" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "codes", "is_permanent"),
    [
        ("UntranslatableCharacter", ("22P05",), True),
        ("StringDataRightTruncation", ("22001",), True),
        ("CheckViolation", ("23514",), True),
        ("NotNullViolation", ("23502",), True),
        ("UndefinedTable", ("42P01",), True),
        ("InvalidSchemaName", ("3F000",), True),
        ("FeatureNotSupported", ("0A000",), True),
        ("DataError", ("22001", "1406"), True),
        ("OperationalError", ("1153",), True),
        ("DataError", (), True),
        ("UnicodeEncodeError", (), True),
        ("ConversionException", (), True),
        ("IntegrityError", ("SQLITE_CONSTRAINT_CHECK",), True),
        ("UniqueViolation", ("23505",), False),
        ("IntegrityError", ("23000", "1062"), False),
        ("IntegrityError", ("SQLITE_CONSTRAINT_PRIMARYKEY",), False),
        ("SerializationFailure", ("40001",), False),
        ("DeadlockDetected", ("40P01",), False),
        ("InternalError", ("40001", "1213"), False),
        ("DatabaseError", ("HY000", "1205"), False),
        ("OperationalError", ("HY000", "2006"), False),
        ("OperationalError", ("SQLITE_BUSY",), False),
        ("AdminShutdown", ("57P01",), False),
        ("DiskFull", ("53100",), False),
        ("OperationalError", (), False),
        ("ProgrammingError", ("42000", "1226"), False),
    ],
)
def test_codes_tell_what_passes_from_what_does_not(
    kind: str, codes: tuple[str, ...], *, is_permanent: bool
) -> None:
    refusal = Refusal("commit", kind, codes)
    assert refusal.is_permanent == is_permanent
    assert (refusal.hint("Ask for rights.", "A repeat is safe.") == "A repeat is safe.") != is_permanent


# Airflow tries again only what a repeat can help


def test_a_load_without_rights_is_not_tried_again(
    lists: Lists, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists.rows = [row(1)]
    run(postgres)
    with reading_only(postgres, monkeypatch), pytest.raises(LoadFailed, match="needs SELECT") as caught:
        run(postgres)
    assert isinstance(caught.value, AirflowFailException)


def test_a_ledger_without_rights_is_not_tried_again(
    sandbox: Sandbox, runner: TaskRunner, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_path = with_extra(postgres, options=f"-c search_path={postgres.schema}")
    by_path.let_tasks_find_it(monkeypatch)
    ledger(by_path).close()
    with reading_only(by_path, monkeypatch):
        error = runner.run(send()).error
    assert isinstance(error, LedgerUnavailable)
    assert isinstance(error, AirflowFailException)
    assert "needs SELECT, INSERT, UPDATE and DELETE" in str(error)
    assert sandbox.outbox() == []


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize("kind", ["postgres", "mariadb", "portable"])
def test_a_load_into_a_missing_schema_is_not_tried_again(kind: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(LoadFailed, match="create it first") as caught:
        run(request.getfixturevalue(kind), schema="nowhere")
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_ledger_in_a_missing_schema_says_so_and_is_not_tried_again(
    kind: str,
    request: pytest.FixtureRequest,
    sandbox: Sandbox,
    runner: TaskRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = request.getfixturevalue(kind)
    elsewhere = {"extra": json.dumps({"options": "-c search_path=nowhere"})}
    connection = {**database.connection, **(elsewhere if kind == "postgres" else {"schema": "nowhere"})}
    replace(database, connection=connection).let_tasks_find_it(monkeypatch)
    error = runner.run(send()).error
    assert isinstance(error, LedgerUnavailable)
    assert isinstance(error, AirflowFailException)
    assert "does not exist. Create it first, with CREATE SCHEMA" in str(error)
    assert "safe" not in str(error)
    assert sandbox.outbox() == []


def test_a_file_that_may_only_be_read_is_not_tried_again(
    lists: Lists, sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(sqlite)
    lists.rows = [row(1)]
    with_extra(sqlite, mode="ro").let_tasks_find_it(monkeypatch)
    with pytest.raises(LoadFailed, match="The file may only be read") as caught:
        run(sqlite)
    assert isinstance(caught.value, AirflowFailException)


def test_a_standby_may_be_a_primary_in_a_moment(
    lists: Lists, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(postgres)
    lists.rows = [row(1)]
    standby = with_extra(postgres, options="-c default_transaction_read_only=on")
    standby.let_tasks_find_it(monkeypatch)
    with pytest.raises(LoadFailed, match=r"Connect to the primary\. A repeat is safe") as caught:
        run(postgres)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_database_that_is_away_is_tried_again(runner: TaskRunner) -> None:
    away = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1}
    runner.connections = {**runner.connections, CONN_ID: away}
    error = runner.run(send()).error
    assert isinstance(error, LedgerUnavailable)
    assert not isinstance(error, AirflowFailException)


def test_a_permanent_refusal_stays_permanent_when_it_is_pickled() -> None:
    for error in (LoadFailed("No.", is_permanent=True), LedgerUnavailable("No.", is_permanent=True)):
        assert pickle.loads(pickle.dumps(error)).is_permanent  # noqa: S301 - our own


@contextmanager
def reading_only(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the connection be of a user who may read the tables that there are, and nothing else."""
    role = f"reader_{database.schema}"
    database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        database.execute(f"GRANT USAGE ON SCHEMA {database.schema} TO {role}")
        database.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {database.schema} TO {role}")
        reader = replace(database, connection={**database.connection, "login": role})
        reader.let_tasks_find_it(monkeypatch)
        yield
    finally:
        database.execute(f"DROP OWNED BY {role}")
        database.execute(f"DROP ROLE {role}")


def test_a_database_that_is_away_says_nothing_of_encodings() -> None:
    refusal = NotOpened("warehouse", "OperationalError", ())
    assert refusal.hint("Ask for rights.", "A repeat is safe.") == "A repeat is safe."
