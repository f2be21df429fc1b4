"""The script that follows calls through the package counts them, and its columns mean what it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import CodeType, SimpleNamespace

import pytest

from scripts import trace


def code(path: str, name: str) -> CodeType:
    source = f"def {name}(): pass"
    (found,) = (
        c for c in compile(source, str(trace.PACKAGE / path), "exec").co_consts if isinstance(c, CodeType)
    )
    return found


SEND, RECORD, CALL, INIT = (
    code("sending/a.py", "send"),
    code("ledger/b.py", "record"),
    code("sending/a.py", "call"),
    code("ledger/b.py", "__init__"),
)


def walk(*calls: tuple[CodeType, CodeType], **options: bool) -> trace.Walk:
    return trace.Walk(entered={each for call in calls for each in call}, calls=Counter(calls), **options)


def test_a_change_of_file_is_counted_once_and_a_climb_is_a_call_upwards() -> None:
    walked = walk((SEND, RECORD), (SEND, RECORD), (SEND, CALL), (RECORD, CALL))
    assert (walked.files, walked.changes_of_file, walked.climbs) == (2, 2, 1)


def test_step_by_step_a_call_counts_as_often_as_it_is_made() -> None:
    walked = walk((SEND, RECORD), (SEND, RECORD), (RECORD, CALL), (RECORD, CALL), is_step_by_step=True)
    assert (walked.files, walked.changes_of_file, walked.climbs) == (2, 4, 2)


def test_step_by_step_a_special_method_is_a_part_of_its_caller() -> None:
    walked = trace.Walk(is_step_by_step=True)
    sends = SimpleNamespace(f_code=SEND, f_back=None)
    begins = SimpleNamespace(f_code=INIT, f_back=sends)
    for frame in (sends, begins, SimpleNamespace(f_code=RECORD, f_back=begins)):
        walked.note(frame)  # type: ignore[arg-type] # made by hand
    assert walked.entered == {SEND, RECORD}
    assert walked.calls == {(SEND, RECORD): 1}


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> dict[str, trace.Walks]:
    """The walks of both sends."""
    for variable in ("AIRFLOW_CONN_WINSMS_DEFAULT", "AIRFLOW_CONN_WAREHOUSE"):
        monkeypatch.setenv(variable, "")
    return dict(trace.walks(trace.SEND, trace.SEND_WITH_TABLES))


def test_a_send_with_a_ledger_in_tables_walks_through_the_sql_that_the_other_does_not(
    sends: dict[str, trace.Walks],
) -> None:
    rooms = {
        label: {
            room
            for code in walks.whole_run.entered
            for room in Path(code.co_filename).relative_to(trace.PACKAGE).parts[:-1]
        }
        for label, walks in sends.items()
    }
    assert rooms[trace.SEND_WITH_TABLES] - rooms[trace.SEND] == {"sql"}


def test_a_send_climbs_to_compose_and_before_and_after_its_request_leaves(
    sends: dict[str, trace.Walks],
) -> None:
    assert sends[trace.SEND].step_by_step.climbs == 3
