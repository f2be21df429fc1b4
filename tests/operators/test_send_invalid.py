"""Rows that are invalid, and everybody else, who is sent to all the same. The outbox is the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable, InvalidMessage, SendRejected
from airflow_provider_winsms.messages import Recipient
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from tests.support.database_fixtures import postgres_by_path as postgres
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from airflow_provider_winsms.options import Tolerance
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

__all__ = ["postgres"]

ANN, BEN = "27825550101", "27825550102"
GOOD = [{"text": "Hallo", "to": ANN, "reference": "customer 1"}, {"text": "Hallo", "to": [BEN]}]
BAD = [
    ({"text": "Hallo", "to": "no number", "reference": "customer 2"}, {"bad_number": 1}),
    ({"text": "Hallo", "to": None, "reference": "customer 2"}, {"invalid": 1}),
    ({"text": "Hallo", "to": [], "reference": "customer 2"}, {"invalid": 1}),
    ({"text": "", "to": ["27825550103", "27825550104"], "reference": "customer 2"}, {"invalid": 2}),
    ({"text": "\N{PARTY POPPER}", "to": "27825550103", "reference": "customer 2"}, {"invalid": 1}),
    ({"text": "x" * 919, "to": "27825550103", "reference": "customer 2"}, {"invalid": 1}),
    ({"text": "Hallo", "to": "27825550103", "send_at": "soon", "reference": "customer 2"}, {"invalid": 1}),
    ({"text": "Hallo", "to": "27825550103", "max_segments": 9, "reference": "customer 2"}, {"invalid": 1}),
    ({"text": "Hallo", "to": "27825550103", "reference": "x" * 151}, {"invalid": 1}),
    ({"text": "Hallo", "reference": "customer 2"}, {"invalid": 1}),
    ({"text": "Hallo", "to": ["12", "27825550103x"], "send_at": "soon"}, {"invalid": 2}),
    ({"text": "Hallo", "to": [Recipient("12", "customer 2"), "7" * 40]}, {"bad_number": 2}),
    ("Hallo", {"invalid": 1}),
    (None, {"invalid": 1}),
]


def send(messages: Any, **kwargs: Any) -> SmsSendBatchOperator:
    return SmsSendBatchOperator(task_id="send", messages=messages, **{"on_invalid": "reject", **kwargs})


def numbers(sandbox: Sandbox) -> list[str]:
    return sorted(row["mobileNumber"] for row in sandbox.outbox())


@pytest.mark.parametrize(("row", "rejected"), BAD)
def test_everybody_but_the_invalid_is_sent_to(
    row: Any,
    rejected: dict[str, int],
    sandbox: Sandbox,
    runner: TaskRunner,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert runner.run(send([GOOD[0], row, GOOD[1]])).error is None
    assert numbers(sandbox) == [ANN, BEN]
    assert (runner.result["accepted"], runner.result["rejected"]) == (2, rejected)
    assert runner.result["not_tried"] == 0
    said = capsys.readouterr().out
    assert f"invalid: {sum(rejected.values())} recipient" in said
    assert "Message 2: " in said
    assert "27825550103" not in said


@pytest.mark.parametrize(("row", "rejected"), BAD)
def test_by_default_nobody_is_sent_to(
    row: Any, rejected: dict[str, int], sandbox: Sandbox, runner: TaskRunner
) -> None:
    assert rejected
    assert isinstance(runner.run(send([GOOD[0], row], on_invalid="fail")).error, InvalidMessage)
    assert numbers(sandbox) == []


def test_of_strict_rows_only_those_with_another_spelling_are_left_out(
    sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": "It’s secret", "to": "27825550103"}, {"text": "Cafe\u0301", "to": ANN}, GOOD[1]]
    assert runner.run(send(rows, encoding="strict")).error is None
    assert sorted((row["mobileNumber"], row["message"]) for row in sandbox.outbox()) == [
        (ANN, "Café"),
        (BEN, "Hallo"),
    ]
    assert (runner.result["accepted"], runner.result["rejected"]) == (2, {"invalid": 1})
    said = capsys.readouterr().out
    assert "Message 1: " in said
    assert "U+2019 RIGHT SINGLE QUOTATION MARK at 3" in said
    assert "secret" not in said


def test_one_text_goes_to_the_numbers_that_are_valid(sandbox: Sandbox, runner: TaskRunner) -> None:
    task = SmsSendOperator(task_id="send", text="Hallo", to=[ANN, "oops", BEN, "12"], on_invalid="reject")
    assert runner.run(task).error is None
    assert numbers(sandbox) == [ANN, BEN]
    assert runner.result["rejected"] == {"bad_number": 2}


@pytest.mark.parametrize("to", ["oops", ["oops", "12"]])
@pytest.mark.parametrize("on_rejected", ["fail_if_all", "fail", "ignore"])
def test_a_list_without_anybody_valid_is_judged_as_one_that_was_declined(
    to: Any, on_rejected: Tolerance, sandbox: Sandbox, runner: TaskRunner
) -> None:
    task = SmsSendOperator(
        task_id="send",
        text="Hallo",
        to=to,
        on_invalid="reject",
        on_rejected=on_rejected,
        wait_for_delivery=True,
    )
    for _ in range(2):
        error = runner.run(task).error
        assert isinstance(error, SendRejected) == (on_rejected != "ignore"), error
    assert not [request for request in sandbox.requests() if request["operation"].startswith("smsSend")]


def test_one_invalid_recipient_fails_a_task_that_takes_none(sandbox: Sandbox, runner: TaskRunner) -> None:
    task = send([*GOOD, {"text": "", "to": ANN}], on_rejected="fail")
    assert isinstance(runner.run(task).error, SendRejected)
    assert numbers(sandbox) == [ANN, BEN]


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
def test_the_tables_have_the_invalid_with_reason_and_reference(
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    sandbox: Sandbox,
    runner: TaskRunner,
) -> None:
    database: Database = request.getfixturevalue(kind)
    database.let_tasks_find_it(monkeypatch)
    bad = [
        {"text": "Hallo", "to": "oops", "reference": "customer 2"},
        {"text": "", "to": BEN, "reference": "3"},
    ]
    sandbox.add_fault("429-too-many-requests", operation="smsSendBatch", times=1, retry_after=3600)
    runner.retries = 3
    first = runner.run(send([*GOOD, *bad, bad[0]], ledger_conn_id=CONN_ID)).error
    assert isinstance(first, GatewayUnavailable)
    for _ in range(2):
        assert runner.run(send([*bad, *GOOD], ledger_conn_id=CONN_ID)).error is None
    assert runner.result["rejected"] == {"bad_number": 1, "invalid": 1}
    rows = database.execute(
        "SELECT m.round, m.state, m.reason, m.reference, m.number FROM {0}sms_messages m INNER JOIN "
        "{0}sms_batches b ON b.batch_id = m.batch_id AND b.superseded_at IS NULL ORDER BY m.round, m.position"
    )
    assert rows == [
        (0, "declined", "bad_number", "customer 2", ""),
        (0, "declined", "invalid", "3", ""),
        (1, "accepted", None, "customer 1", ANN),
        (1, "accepted", None, None, BEN),
    ]
    counts = database.execute(
        "SELECT accepted, declined, unknown FROM {}sms_batches ORDER BY generation DESC"
    )
    assert counts[0] == (2, 2, 0)
    assert numbers(sandbox) == [ANN, BEN]


def test_a_later_try_that_takes_none_that_is_invalid_leaves_none_in_the_tables(
    monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, runner: TaskRunner, sqlite: Database
) -> None:
    sqlite.let_tasks_find_it(monkeypatch)
    runner.retries = 3
    bad = {"text": "Hallo", "to": "oops"}
    runner.run(send([*GOOD, bad], ledger_conn_id=CONN_ID))
    assert runner.run(send(GOOD, on_invalid="fail", ledger_conn_id=CONN_ID)).error is None
    assert sqlite.execute("SELECT accepted, declined, unknown FROM sms_batches") == [(2, 0, 0)]
    assert numbers(sandbox) == [ANN, BEN]
