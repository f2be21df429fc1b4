"""MariaDB stores rows as they are, whichever SQL mode the server sets for its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mysql.connector
import pytest

from airflow_provider_winsms.exceptions import LedgerUnavailable, LoadFailed
from tests.ledger.batches import FIRST, accepted, batch, ledger, messages, record
from tests.support.databases import with_extra
from tests.support.lists import row, waiting
from tests.transfers.loads import run, stored

if TYPE_CHECKING:
    from tests.support.databases import Database
    from tests.support.lists import Lists

ODD = "back\\slash, 'quote', \"double\", a || b, tab\t, line\n, % {} \\' \U0001f600"

MODES = (
    "",
    "EMPTY_STRING_IS_NULL",
    "PAD_CHAR_TO_FULL_LENGTH",
    "NO_BACKSLASH_ESCAPES",
    "ANSI_QUOTES",
    "PIPES_AS_CONCAT",
    "ANSI",
    "NO_ZERO_DATE,NO_ZERO_IN_DATE",
    "IGNORE_SPACE",
    "HIGH_NOT_PRECEDENCE",
    "NO_UNSIGNED_SUBTRACTION",
    "ONLY_FULL_GROUP_BY",
    "SIMULTANEOUS_ASSIGNMENT",
    "ORACLE",
    "ORACLE,EMPTY_STRING_IS_NULL",
    "MSSQL",
    "DB2",
    "TRADITIONAL",
)


def beginning_with(database: Database, mode: str) -> Database:
    """Return the database behind a connection that begins with a SQL mode, as a server may set it."""
    return with_extra(database, init_command=f"SET SESSION sql_mode = '{mode}'")


@pytest.fixture(params=MODES)
def moody(request: pytest.FixtureRequest, mariadb: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database whose connections begin with a SQL mode."""
    found = beginning_with(mariadb, request.param)
    found.let_tasks_find_it(monkeypatch)
    return found


@pytest.mark.parametrize("dataset", ["incoming", "opt_outs"])
def test_texts_are_loaded_as_they_are(dataset: str, lists: Lists, moody: Database) -> None:
    lists.rows = lists.opt_outs = [row(1, "27825550101", ""), row(2, "27825550102", ODD)]
    run(moody, dataset)
    lists.opt_outs = [row(1, "27825550101", ODD), row(2, "27825550102", "")]
    run(moody, dataset)
    expected = ["", ODD] if dataset == "incoming" else [ODD, ""]
    assert [each["text"] for each in stored(moody, dataset)] == expected


def test_a_row_without_a_number_is_loaded_with_an_empty_one(lists: Lists, moody: Database) -> None:
    lists.scheduled = [waiting(1, "")]
    run(moody, "scheduled")
    lists.scheduled = [waiting(1, "", creditCost=2)]
    assert run(moody, "scheduled")["rows_loaded"] == 1
    assert [each["number"] for each in stored(moody, "scheduled")] == [""]


@pytest.mark.parametrize("text", ["", ODD])
def test_texts_are_kept_in_a_ledger_as_they_are(text: str, moody: Database) -> None:
    with ledger(moody, text="keep") as tables:
        tables.open(batch(recipients=1))
        tables.claim(FIRST, record(1), messages(1, text))
        tables.record(FIRST, record(1), {0: accepted(1)})
    assert moody.column("text", "sms_messages") == [text]


def test_what_is_too_long_is_refused(lists: Lists, moody: Database) -> None:
    run(moody)
    moody.execute("ALTER TABLE replies MODIFY text VARCHAR(5)")
    lists.rows = [row(1, "27825550101", "Too long")]
    with pytest.raises(LoadFailed, match="22001"):
        run(moody)
    with ledger(moody, text="keep") as tables:
        tables.open(batch(recipients=1))
        moody.execute("ALTER TABLE sms_messages MODIFY text VARCHAR(5)")
        with pytest.raises(LedgerUnavailable, match="22001"):
            tables.claim(FIRST, record(1), messages(1, "Too long"))
    assert (moody.count("replies"), moody.count("sms_messages")) == (0, 0)


def test_the_mode_reaches_the_server(mariadb: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    beginning_with(mariadb, "EMPTY_STRING_IS_NULL").let_tasks_find_it(monkeypatch)
    mariadb.execute("CREATE TABLE {}plain (text VARCHAR(5) NOT NULL)")
    with pytest.raises(mysql.connector.Error, match="null"):
        mariadb.hook().run("INSERT INTO plain VALUES ('')")
