"""One cost: what a send was charged, less refunds, and how the delivery reports differ from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.delivery.outcome import DeliveryOutcome, WaitResult
from airflow_provider_winsms.exceptions import DeliveryFailed
from airflow_provider_winsms.operators.sms import SmsCancelScheduledOperator, SmsSendOperator
from airflow_provider_winsms.operators.views import SmsViewsOperator
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

ARRIVES, FAILS = "27000000010", "27000000011"
ANN, BEN, CAT = "27825550101", "27825550102", "27825550103"
DIFFERS = "The send was charged"

deferred_or_not = pytest.mark.parametrize("deferrable", [False, True], ids=["on the worker", "deferred"])


def send(*to: str, **given: Any) -> SmsSendOperator:
    return SmsSendOperator(task_id="send", text="Hi", to=list(to), **given)


def wait(*to: str, **given: Any) -> SmsSendOperator:
    terms: dict[str, Any] = {"poll_interval": 1, "delivery_timeout": 5, "min_delivered": 0.5}
    return send(*to, wait_for_delivery=True, **{**terms, **given})


def costs(runner: TaskRunner) -> tuple[Any, Any, Any]:
    """Return what was charged, what the reports state, and how they differ."""
    delivery = runner.result["delivery"]
    return runner.result["cost"], delivery["cost"], delivery["cost_difference"]


@deferred_or_not
def test_reports_that_state_what_was_charged_differ_by_nothing(
    deferrable: bool, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.run_to_its_end(wait(ARRIVES, deferrable=deferrable)).error is None
    assert costs(runner) == ("1.0", "1.0", "0.0")
    assert DIFFERS not in capsys.readouterr().out


@deferred_or_not
def test_a_text_that_failed_is_charged_and_reported_as_free_and_the_log_says_so_once(
    deferrable: bool, sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.run_to_its_end(wait(ARRIVES, FAILS, deferrable=deferrable)).error is None
    assert costs(runner) == ("2.0", "1.0", "1.0")
    assert sandbox.account()["creditBalance"] == 998
    logged = capsys.readouterr().out
    assert logged.count(DIFFERS) == 1
    assert (
        "The send was charged 2.0 credits, and the delivery reports state 1.0, which is 1.0 less. A gateway "
        "may state 0 for a text that failed, and a text without a report counts as 0: 1 text did not arrive."
    ) in logged


def test_a_wait_that_fails_says_how_the_costs_differ(
    runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(runner.run_to_its_end(wait(FAILS)).error, DeliveryFailed)
    assert "charged 1.0 credits, and the delivery reports state 0.0, which is 1.0 less" in (
        capsys.readouterr().out
    )


def ended(*, total: int = 1, cost: Decimal | None = Decimal(1)) -> Any:
    """Return the event of a wait in which all texts arrived."""
    states = {"delivered": total}
    return WaitResult(DeliveryOutcome(total, 0, states, cost, "credits", ()), False, "").to_event()  # noqa: FBT003


def deferred(runner: TaskRunner, *to: str, **given: Any) -> SmsSendOperator:
    task = wait(*to, deferrable=True, **given)
    assert runner.run(task).state == "deferred"
    return task


def test_reports_may_state_more_than_was_charged(
    runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    task = deferred(runner, ANN)
    assert runner.resume(task, ended(cost=Decimal("1.25"))).error is None
    assert costs(runner) == ("1.0", "1.25", "-0.25")
    assert "which is 0.25 more" in capsys.readouterr().out


def test_a_difference_from_reports_without_a_readable_amount_is_unknown(
    runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    task = deferred(runner, ANN)
    assert runner.resume(task, ended(cost=None)).error is None
    assert costs(runner) == ("1.0", None, None)
    assert DIFFERS not in capsys.readouterr().out


def test_a_difference_from_an_unknown_charge_is_unknown(runner: TaskRunner) -> None:
    task = deferred(runner, ANN)
    runner.xcoms["partial_result"]["cost"] = None
    assert runner.resume(task, ended()).error is None
    assert costs(runner) == (None, "1.0", None)


def test_a_result_whose_send_was_lost_has_no_cost_and_no_difference(runner: TaskRunner) -> None:
    task = deferred(runner, ANN)
    del runner.xcoms["partial_result"]
    assert runner.resume(task, ended()).error is None
    assert runner.result.keys() == {"delivery"}
    assert runner.result["delivery"]["cost_difference"] is None


# Refunds


@pytest.fixture
def with_ledger(runner: TaskRunner, ledger: Database) -> TaskRunner:
    return replace(runner, connections={**runner.connections, CONN_ID: ledger.connection})


def later(sandbox: Sandbox) -> dict[str, Any]:
    return {"ledger_conn_id": CONN_ID, "send_at": sandbox.now() + timedelta(hours=2)}


def cancel(runner: TaskRunner, message_ids: list[Any]) -> None:
    task = SmsCancelScheduledOperator(task_id="cancel", message_ids=message_ids, ledger_conn_id=CONN_ID)
    assert runner.another().run(task).error is None


def net_costs(runner: TaskRunner, ledger: Database) -> set[Decimal]:
    """Return what the counters, the rows and the view of a ledger say."""
    views = SmsViewsOperator(task_id="views", sql_conn_id=CONN_ID, ledger_prefix="sms_")
    assert runner.another().run(views).error is None
    queries = (
        "SELECT cost - refunded FROM sms_batches",
        "SELECT SUM(cost - refund) FROM sms_messages",
        "SELECT net_cost FROM sms_cost_by_day",
    )
    return {
        Decimal(str(value)).quantize(Decimal("0.1")) for q in queries for ((value,),) in [ledger.execute(q)]
    }


def test_a_later_try_counts_the_refund_of_a_text_that_a_person_cancelled(
    with_ledger: TaskRunner, sandbox: Sandbox, ledger: Database
) -> None:
    task = send(ANN, BEN, CAT, **later(sandbox))
    with_ledger.run(task)
    assert with_ledger.result["cost"] == "3.0"
    cancel(with_ledger, with_ledger.result["message_ids"][:1])
    assert with_ledger.run(task).error is None
    assert (with_ledger.result["accepted"], with_ledger.result["cost"]) == (3, "2.0")
    assert net_costs(with_ledger, ledger) == {Decimal("2.0")}
    assert sandbox.account()["creditBalance"] == 998


def test_a_text_that_is_cancelled_while_the_task_waits_is_not_in_the_cost(
    with_ledger: TaskRunner, sandbox: Sandbox, ledger: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    task = deferred(with_ledger, ANN, BEN, **later(sandbox))
    assert with_ledger.xcoms["partial_result"]["cost"] == "2.0"
    reported = dict(with_ledger.reported)
    cancel(with_ledger, with_ledger.xcoms["partial_result"]["message_ids"][:1])
    with_ledger.reported = reported
    assert with_ledger.resume(task, ended(total=2)).error is None
    assert costs(with_ledger) == ("1.0", "1.0", "0.0")
    assert net_costs(with_ledger, ledger) == {Decimal("1.0")}
    assert sandbox.account()["creditBalance"] == 999
    assert DIFFERS not in capsys.readouterr().out


def test_a_ledger_that_is_away_when_the_wait_ends_fails_no_task(
    with_ledger: TaskRunner,
    sandbox: Sandbox,
    ledger: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = deferred(with_ledger, ANN, BEN, **later(sandbox))
    nowhere = {"conn_type": "sqlite", "host": str(tmp_path / "no" / "such" / "folder.db")}
    with_ledger.connections = {**with_ledger.connections, CONN_ID: nowhere}
    replace(ledger, connection=nowhere).let_tasks_find_it(monkeypatch)
    assert with_ledger.resume(task, ended(total=2, cost=Decimal(2))).error is None
    assert costs(with_ledger) == ("2.0", "2.0", "0.0")
    assert "Texts cancelled during the wait stay in the cost." in capsys.readouterr().out
