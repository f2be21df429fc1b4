"""The script that follows calls through the package counts them, and its columns mean what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts import trace

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def code(path: str, name: str) -> object:
    source = f"def {name}(): pass"
    (found,) = (
        c for c in compile(source, str(trace.PACKAGE / path), "exec").co_consts if hasattr(c, "co_name")
    )
    return found


def test_a_change_of_file_is_counted_once_and_a_climb_is_a_call_upwards() -> None:
    send, record, call = (
        code("sending/a.py", "send"),
        code("ledger/b.py", "record"),
        code("sending/a.py", "call"),
    )
    calls = {(send, record), (send, call), (record, call)}
    walk = trace.Walk({send, record, call}, calls)  # type: ignore[arg-type] # made by compile
    assert (walk.files, walk.changes_of_file, walk.climbs) == (2, 2, 1)


def test_each_walk_has_a_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", "")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "")
    monkeypatch.chdir(tmp_path)
    trace.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == [
        "a send, task state store",
        "a send, ledger in tables",
        "a deferred wait",
        "a load of replies",
    ]
