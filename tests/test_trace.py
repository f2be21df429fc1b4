"""The script that follows calls through the package counts them, and its columns mean what it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scripts import trace

if TYPE_CHECKING:
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


def test_a_send_with_a_ledger_in_tables_walks_through_the_sql_that_the_other_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("AIRFLOW_CONN_WINSMS_DEFAULT", "AIRFLOW_CONN_WAREHOUSE"):
        monkeypatch.setenv(variable, "")
    rooms = {
        label: {Path(code.co_filename).relative_to(trace.PACKAGE).parts[0] for code in walk.entered}
        for label, walk in trace.walks(trace.SEND, trace.SEND_WITH_TABLES)
    }
    assert rooms[trace.SEND_WITH_TABLES] - rooms[trace.SEND] == {"sql"}
