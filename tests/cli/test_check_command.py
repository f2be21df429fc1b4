"""``airflow sms check`` says what a send would do, needs nothing for it, and keeps nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflow_provider_winsms.cli import linter
from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gsm7 import spell_strictly, transliterate
from tests.prove.real_airflow import PATIENCE, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.home import Home

FORMS = ("table", "plain", "json", "yaml")
TEXTS = ["Café", "It’s 1½", "😀 it’s", "a\r\nb", "a\tb", "€" * 81, "[bold]x[/bold] :boom:", "\ud83d"]
EMOJI, QUOTE = "GRINNING FACE", "RIGHT SINGLE QUOTATION MARK"


def check(text: str, output: str = "json", *, strict: bool = False) -> str:
    """Check a text, and return what the process would exit with; empty for success."""
    try:
        linter.check(Namespace(text=text, output=output, strict=strict, verbose=False))
    except SystemExit as end:
        return str(end.code)
    return ""


def is_refused(act: Callable[[str], object], text: str) -> bool:
    try:
        act(text)
    except InvalidMessage:
        return True
    return False


@pytest.mark.parametrize("output", FORMS)
@pytest.mark.parametrize("text", TEXTS)
def test_the_exit_says_whether_a_send_would_refuse_the_text(text: str, output: str) -> None:
    assert bool(check(text, output)) == is_refused(transliterate, text)
    assert bool(check(text, output, strict=True)) == is_refused(spell_strictly, text)


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_what_is_sent_can_be_read_by_a_program(
    output: str, read: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("It’s 1½\n[x]", output) == ""
    assert read(capsys.readouterr().out) == {
        "septets": 16,
        "room": 160,
        "segments": 1,
        "sent": "It's 1 1/2\n[x]",
        "respelt": [
            {"position": 3, "character": "’", "name": f"U+2019 {QUOTE}", "spelling": "'"},
            {
                "position": 7,
                "character": "½",
                "name": "U+00BD VULGAR FRACTION ONE HALF",
                "spelling": " 1/2",
            },
        ],
        "refused": [],
    }


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_what_is_refused_can_be_read_by_a_program(
    output: str, read: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("it’s 😀", output) == "Refused: 1 character without a spelling."
    found = read(capsys.readouterr().out)
    assert found["refused"] == [{"position": 6, "character": "😀", "name": f"U+1F600 {EMOJI}"}]
    assert [each["position"] for each in found["respelt"]] == [3]
    assert {found[name] for name in ("septets", "room", "segments", "sent")} == {None}


@pytest.mark.parametrize("output", ["table", "plain"])
def test_a_person_reads_the_counts_the_text_and_each_character(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("It’s a “” \u200b\n" + "€" * 80, output) == ""
    counts, sent, empty, _, *rows = capsys.readouterr().out.splitlines()
    assert counts == "171 of 306 septets, in 2 segments."
    assert sent == 'Sent as: It\'s a "" \\n' + "€" * 80
    assert empty == ""
    columns = [row.replace("|", " ").split() for row in rows if row.strip(" =+")]
    assert columns == [
        ["3", "’", "U+2019", *QUOTE.split(), '"\'"'],
        ["8", "“", *["U+201C", "LEFT", "DOUBLE", "QUOTATION", "MARK"], "'\"'"],
        ["9", "”", *["U+201D", "RIGHT", "DOUBLE", "QUOTATION", "MARK"], "'\"'"],
        ["11", "\\u200b", *["U+200B", "ZERO", "WIDTH", "SPACE"], "''"],
    ]


@pytest.mark.parametrize("output", ["table", "plain"])
def test_a_person_reads_what_is_refused(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("it’s 😀", output)
    shown = capsys.readouterr().out
    assert "septets" not in shown
    assert shown.splitlines()[-2 if output == "table" else -1].split()[-1] == "refused"


def test_a_text_of_the_alphabet_has_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("Café", "table", strict=True) == ""
    assert capsys.readouterr().out == "4 of 160 septets, in 1 segment.\nSent as: Café\n"


def test_strict_counts_what_it_refuses() -> None:
    assert check("It’s “a”", strict=True) == 'encoding="strict" refuses 3 characters.'


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_text_is_refused_as_a_send_refuses_it(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(text) == "The text is empty. Give the words to send."
    assert capsys.readouterr().out == ""


@pytest.mark.airflow
@pytest.mark.parametrize(
    ("typed", "sent"), [("It’s\n", "It's"), ("a\n\n", "a\n"), ("\na", "\na"), ("a", "a")]
)
def test_a_text_is_read_from_the_standard_input_without_its_last_line_end(
    typed: str, sent: str, home: Home
) -> None:
    done = home.airflow("sms", "check", "-", "--output", "json", answer=typed)
    assert (done.returncode, json.loads(done.stdout)["sent"]) == (0, sent)


@pytest.mark.airflow
@pytest.mark.parametrize(
    ("text", "options", "code"), [("It’s", (), 0), ("😀", (), 1), ("It’s", ("--strict",), 1)]
)
def test_the_status_is_1_for_a_text_that_is_refused(
    text: str, options: tuple[str, ...], code: int, home: Home
) -> None:
    done = home.airflow("sms", "check", text, *options)
    assert (done.returncode, bool(done.stderr)) == (code, bool(code))


@pytest.mark.airflow
def test_nothing_of_the_text_is_kept(home: Home) -> None:
    assert home.airflow("sms", "check", "Xylophone").returncode == 0
    assert home.airflow("sms", "check", "-", answer="Xylophone").returncode == 0
    files = [path for path in home.path.rglob("*") if path.is_file()]
    assert home.path / "airflow.db" in files
    assert [path for path in files if b"Xylophone" in path.read_bytes()] == []


@pytest.mark.airflow
@pytest.mark.parametrize(
    ("typed", "code", "says"),
    [
        ("Don’t\r\n".encode(), 0, ("Sent as: Don't\n", "")),
        (b"caf\xe9", 1, ("", "The standard input is not text in utf-8.\n")),
    ],
)
def test_neither_a_database_nor_a_connection_is_needed(
    typed: bytes, code: int, says: tuple[str, str], tmp_path: Path
) -> None:
    nowhere = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody:nothing@127.0.0.1:1/none",
        "PYTHONUTF8": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "sms", "check", "-"],
        env=clean_environment() | nowhere,
        input=typed,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == code, done.stderr
    out, err = done.stdout.decode(), done.stderr.decode()
    assert says[0] in out
    assert err.endswith(says[1])
    assert "Traceback" not in err
