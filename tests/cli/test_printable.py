"""Whatever stands in a row of a ledger, the commands print it so that it steers no terminal."""

from __future__ import annotations

import json
from argparse import Namespace
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.cli import commands, linter
from airflow_provider_winsms.cli.terminal import printable
from tests.ledger.batches import FIRST, batch, ledger, messages, record
from tests.support import databases
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.home import Home
    from tests.support.databases import Database

SIGNS = {
    "ANSI": "\x1b[2J\x1b[31m",
    "ANSI in 8 bits": "\x9b2J",
    "title": "\x1b]0;owned\x07",
    "CR LF": "etl\r\nAll is well.",
    "line separators": "a\u2028b\x85c\x0bd",
    "right to left": "\u202egnp.exe",
    "nothing seen": "a\u200bb\ufeff",
    "half an emoji": "\udfff",
    "backspaces": "etl\b\b\b",
    "NUL": "a\x00b",
}
MARKUP = "[bold]x[/bold] [link=http://evil.example]y[/link] [/] :boom:"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    found = databases.sqlite(tmp_path / "ledger.db")
    found.let_tasks_find_it(monkeypatch)
    return found


def put_in_doubt(database: Database, name: str) -> None:
    """Write a request of unknown outcome, of a DAG, a run and a task of that name."""
    with ledger(database) as tables:
        tables.open(batch())
        tables.claim(FIRST, record(1), messages(1))
    update = "UPDATE {}sms_batches SET dag_id = ?, run_id = ?, task_id = ?"
    connection = database.connect()
    with connection:
        connection.execute(update.format(""), [name] * 3)
    connection.close()


def shown(output: str, capsys: pytest.CaptureFixture[str]) -> str:
    arguments = Namespace(ledger_conn_id=CONN_ID, ledger_prefix="sms_", output=output, verbose=False)
    commands.unresolved(arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
@pytest.mark.parametrize("name", [n for n in SIGNS if n != "half an emoji"])
def test_a_row_is_listed_without_signs_that_steer_a_terminal(
    database: Database, capsys: pytest.CaptureFixture[str], name: str, output: str
) -> None:
    put_in_doubt(database, SIGNS[name])
    lines = shown(output, capsys).split("\n")
    assert [line for line in lines if not line.isprintable()] == []
    assert "All is well." not in [line.strip() for line in lines]


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_brackets_in_a_name_are_no_markup(
    database: Database, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    put_in_doubt(database, MARKUP)
    found = shown(output, capsys)
    if output == "json":
        assert json.loads(found)[0]["dag_id"] == MARKUP
    for part in ("[bold]", "[link=", ":boom:"):
        assert part in found


@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
@pytest.mark.parametrize("signs", [*SIGNS.values(), MARKUP], ids=[*SIGNS.keys(), "markup"])
def test_a_text_is_checked_without_signs_that_steer_a_terminal(
    signs: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(SystemExit):
        linter.check(Namespace(text=f"caf\u00e9 {signs}", output=output, strict=False, verbose=False))
    found = capsys.readouterr().out
    assert [line for line in found.split("\n") if not line.isprintable()] == []
    assert "All is well." not in [line.strip() for line in found.split("\n")]
    assert signs != MARKUP or all(part in found for part in ("[bold]", "[link=", ":boom:"))


@pytest.mark.parametrize("signs", SIGNS.values(), ids=SIGNS.keys())
def test_what_is_written_out_is_plain_to_read(signs: str) -> None:
    words = printable(f"caf\u00e9 {signs}")
    assert words.startswith("caf\u00e9 ")
    assert words.isprintable()
    words.encode()


@pytest.mark.airflow
def test_resolving_prints_none_of_them_either(home: Home, database: Database) -> None:
    name = "".join(sign for key, sign in SIGNS.items() if key not in {"NUL", "half an emoji"})
    put_in_doubt(database, name)
    home.variables.update(database.environment)
    asked = ("sms", "resolve", batch().id, "--request", "1", "--ledger-conn-id", CONN_ID)
    for arguments in (
        ("--accepted", "1", "2", "--yes"),
        ("--request", "\x1b[2J"),
        ("--not-accepted", "--yes"),
    ):
        done = home.airflow(*asked, *arguments)
        assert [line for line in done.stdout.split("\n") if not line.isprintable()] == []
    assert "Recorded. Now clear the task" in done.stdout
