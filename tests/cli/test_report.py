"""``airflow sms report`` writes what a ledger recorded into one HTML file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.cli.cli_parser import get_parser

from tests.reports.world import HISTORY, texts, write, write_opt_outs
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.databases import Database

# The history is of March 2026, and a report ends today.
AGE = "366"


@pytest.fixture
def database(sqlite: Database) -> Database:
    write(sqlite, texts())
    write_opt_outs(sqlite, HISTORY.periods)
    return sqlite


def report(*arguments: str, conn_id: str = CONN_ID) -> None:
    parsed = get_parser().parse_args(["sms", "report", "--ledger-conn-id", conn_id, *arguments])
    parsed.func(parsed)


@pytest.mark.usefixtures("database")
def test_it_writes_a_page_and_says_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.html"
    report("--html", str(file), "--days", AGE, "--opt-outs", "opt_outs")
    assert capsys.readouterr().out == f"{file}: 366 days, batches: {len({t['batch_id'] for t in texts()})}.\n"
    page = file.read_text()
    assert "Opt-outs by day" in page
    assert "<form" not in page


@pytest.mark.usefixtures("database")
def test_it_shows_one_dag(tmp_path: Path) -> None:
    file = tmp_path / "out.html"
    report("--html", str(file), "--days", AGE, "--dag-id", "offers")
    assert "appointments" not in file.read_text()
    assert "offers.send_offer" in file.read_text()


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--days", "367"], "A report shows 1 to 366 days; got 367."),
        (["--time-zone", "Mars/Olympus"], "Mars/Olympus"),
        (["--opt-outs", "a-b"], "opt_outs"),
        (["--opt-outs", "missing"], "missing"),
        (["--ledger-prefix", "other_"], "other_"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(
    tmp_path: Path, arguments: list[str], error: str
) -> None:
    file = tmp_path / "out.html"
    with pytest.raises(SystemExit, match=error) as end:
        report("--html", str(file), *arguments)
    assert "\n" not in str(end.value)
    assert not file.exists()


@pytest.mark.usefixtures("database")
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "no" / "such" / "folder.html"
    with pytest.raises(SystemExit, match=r"folder\.html cannot be written: No such file or directory"):
        report("--html", str(file), "--days", AGE)


def test_a_database_without_a_ledger_gets_none(tmp_path: Path, sqlite: Database) -> None:
    with pytest.raises(SystemExit, match="sms_"):
        report("--html", str(tmp_path / "out.html"))
    assert sqlite.execute("SELECT name FROM sqlite_master") == []
