"""Cancelling resumes after lost answers, killed tries and clears, and refunds once."""

from __future__ import annotations

import copy
import json
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    LedgerUnavailable,
    NotCancelled,
)
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.operators.sms import SmsCancelScheduledOperator, SmsSendOperator
from airflow_provider_winsms.sending.cancellation import Canceller, StoreCancelJournal
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import BeforeSend, Call
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

T = TypeVar("T")

DELETE = "deleteScheduledMessages"
LOST = ["lost-after-acceptance", "500-after-acceptance", "truncated-json", "html-answer"]


@pytest.fixture
def canceller(runner: TaskRunner) -> TaskRunner:
    """A task instance that is not the sender."""
    return runner.another()


def schedule(sandbox: Sandbox, runner: TaskRunner, count: int = 3, **kwargs: Any) -> dict[str, Any]:
    send_at = pendulum.instance(sandbox.now()).add(hours=3)
    to = [f"2782555{place:04}" for place in range(count)]
    task = SmsSendOperator(task_id="send", text="Later", to=to, send_at=send_at, **kwargs)
    assert runner.run(task).error is None
    result: dict[str, Any] = runner.result
    return result


def cancel(message_ids: Any = None, **kwargs: Any) -> SmsCancelScheduledOperator:
    return SmsCancelScheduledOperator(task_id="cancel", message_ids=message_ids, **kwargs)


def waiting(sandbox: Sandbox) -> int:
    return sum(text["status"] == "INQUEUE" for text in sandbox.outbox())


def cancelled(sandbox: Sandbox) -> int:
    return sum(text["cancelled"] for text in sandbox.outbox())


def asked(sandbox: Sandbox, operation: str = DELETE) -> int:
    return sum(request["operation"] == operation for request in sandbox.requests())


def credits_left(sandbox: Sandbox) -> float:
    return float(sandbox.account()["creditBalance"])


def counts(runner: TaskRunner) -> tuple[int, int, int, int]:
    names = ("cancelled", "cancelled_before", "not_cancelled", "gone_out")
    cancelled_, before, not_cancelled, gone_out = (runner.result[name] for name in names)
    return cancelled_, before, not_cancelled, gone_out


def killed(runner: TaskRunner, ids: Any) -> None:
    """Run a try that dies after the gateway has cancelled the texts, and before it records that."""
    runner.task_state = WritableOnce(runner.task_state)
    assert isinstance(runner.run(cancel(ids)).error, LedgerUnavailable)
    runner.task_state = dict(runner.task_state)


def locked_out(runner: TaskRunner, ids: Any, **kwargs: Any) -> None:
    """Run a try whose request the gateway refuses."""
    connections = runner.connections
    runner.connections = {"winsms_default": {**connections["winsms_default"], "password": "wrong-key"}}
    assert isinstance(runner.run(cancel(ids, **kwargs)).error, ConfigurationError)
    runner.connections = connections


def unheard(
    sandbox: Sandbox, runner: TaskRunner, ids: Any, fault: str = "lost-after-acceptance", **kwargs: Any
) -> None:
    """Run a try that gets no answer from the gateway."""
    sandbox.add_fault(fault, operation=DELETE, times=1)
    sandbox.add_fault("503-before-acceptance", operation=DELETE, times=100)
    assert isinstance(runner.run(cancel(ids, **kwargs)).error, GatewayUnavailable)
    sandbox.clear_faults()


class WritableOnce(dict[str, Any]):
    """A store that accepts only one value."""

    writes = 0

    def __setitem__(self, key: str, value: Any) -> None:
        self.writes += 1
        if self.writes > 1:
            msg = "killed"
            raise OSError(msg)
        super().__setitem__(key, value)


@pytest.mark.parametrize("fault", LOST)
def test_an_answer_that_was_lost_is_found_out(
    fault: str, sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    sandbox.add_fault(fault, operation=DELETE)
    assert canceller.run(cancel(sent, on_not_cancelled="fail")).error is None
    assert counts(canceller) == (3, 0, 0, 0)
    assert canceller.result["refund"] == "0.0"  # not known to the task's own store
    assert cancelled(sandbox) == 3
    assert credits_left(sandbox) == 1000
    assert asked(sandbox) == canceller.result["requests"] == 2


@pytest.mark.parametrize("fault", ["503-before-acceptance", "429-too-many-requests"])
def test_a_request_that_was_not_carried_out_is_repeated(
    fault: str, sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    sandbox.add_fault(fault, operation=DELETE)
    canceller.run(cancel(sent))
    assert counts(canceller) == (3, 0, 0, 0)
    assert canceller.result["refund"] == "3.0"


def test_a_row_that_the_answer_leaves_out_is_asked_for_again(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    sandbox.add_fault("missing-row", operation=DELETE)
    canceller.run(cancel(sent, on_not_cancelled="fail"))
    assert counts(canceller) == (3, 0, 0, 0)
    assert cancelled(sandbox) == 3


@pytest.mark.crash
def test_a_status_that_the_answer_leaves_out_is_asked_for_again(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    """Otherwise a text that has gone out would count as cancelled."""
    sent = schedule(sandbox, runner)
    unheard(sandbox, canceller, sent, "reset-before-acceptance")
    sandbox.advance(4 * 3600)
    sandbox.add_fault("missing-row", operation="smsStatus")
    canceller.run(cancel(sent, on_not_cancelled="ignore"))
    assert counts(canceller) == (0, 0, 3, 3)


def test_what_stays_without_an_answer_and_without_a_status_is_not_taken_for_cancelled(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    sandbox.add_fault("missing-row", operation="smsStatus", times=2)
    killed(canceller, sent)
    canceller.run(cancel(sent))
    assert counts(canceller) == (2, 0, 1, 0)
    canceller.run(cancel(sent))
    assert counts(canceller) == (3, 2, 0, 0)


def test_a_try_after_one_that_was_killed_finds_out_what_it_did(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    killed(canceller, sent)
    assert cancelled(sandbox) == 3
    assert canceller.run(cancel(sent, on_not_cancelled="fail")).error is None
    assert counts(canceller) == (3, 0, 0, 0)
    assert cancelled(sandbox) == 3
    assert credits_left(sandbox) == 1000


def test_what_is_asked_for_is_written_down_before(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    killed(canceller, sent)
    assert canceller.task_state == {"sms_cancel.000001": {"refund": "0", "asked": sent["message_ids"]}}
    assert "27825550000" not in str(canceller.requests)


def test_a_try_that_finds_the_texts_of_a_killed_one_still_scheduled_cancels_them(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    unheard(sandbox, canceller, sent, "reset-before-acceptance")
    canceller.run(cancel(sent))
    assert counts(canceller) == (3, 0, 0, 0)
    assert canceller.result["refund"] == "3.0"


@pytest.mark.crash
def test_fifteen_hundred_texts_take_two_requests_and_a_retry_asks_only_for_the_rest(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sandbox.set_account(credit_balance=1500)
    sent = schedule(sandbox, runner, 1500)
    sandbox.add_fault("503-before-acceptance", operation=DELETE, skip=1, times=100)
    assert isinstance(canceller.run(cancel(sent)).error, GatewayUnavailable)
    assert cancelled(sandbox) == 1000
    sandbox.clear_faults()
    canceller.run(cancel(sent))
    assert counts(canceller) == (1500, 1000, 0, 0)
    assert canceller.result["refund"] == "500.0"
    assert canceller.result["requests"] == 1
    assert credits_left(sandbox) == 1500
    assert len(canceller.task_state) == 2


def test_fifteen_hundred_texts_whose_second_answer_is_lost(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sandbox.set_account(credit_balance=1500)
    sent = schedule(sandbox, runner, 1500)
    sandbox.add_fault("lost-after-acceptance", operation=DELETE, skip=1)
    canceller.run(cancel(sent, on_not_cancelled="fail"))
    assert counts(canceller) == (1500, 0, 0, 0)
    assert canceller.result["requests"] == 3
    assert cancelled(sandbox) == credits_left(sandbox) == 1500


def test_a_clear_of_a_task_that_succeeded_asks_for_nothing(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    canceller.run(cancel(sent))
    canceller.clear()
    assert canceller.run(cancel(sent, on_not_cancelled="fail")).error is None
    assert counts(canceller) == (3, 3, 0, 0)
    assert asked(sandbox) == 1


def test_texts_that_went_out_meanwhile_are_told_apart(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    canceller.run(cancel(sent["message_ids"][:1]))
    sandbox.advance(4 * 3600)
    canceller.run(cancel(sent))
    assert counts(canceller) == (1, 1, 2, 2)
    assert isinstance(canceller.run(cancel(sent, on_not_cancelled="fail")).error, NotCancelled)
    assert cancelled(sandbox) == 1


@pytest.mark.crash
def test_texts_that_went_out_after_a_lost_request_that_was_not_carried_out(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    unheard(sandbox, canceller, sent, "reset-before-acceptance")
    sandbox.advance(4 * 3600)
    canceller.run(cancel(sent, on_not_cancelled="ignore"))
    assert counts(canceller) == (0, 0, 3, 3)


def test_what_has_gone_out_stays_so_when_the_gateway_forgets_it(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    sandbox.advance(4 * 3600)
    canceller.run(cancel(sent))
    sandbox.advance(100 * 24 * 3600)
    canceller.run(cancel(sent, on_not_cancelled="ignore"))
    assert counts(canceller) == (0, 0, 3, 3)


def test_a_wrong_id_is_never_taken_for_cancelled(sandbox: Sandbox, canceller: TaskRunner) -> None:
    for _ in range(3):
        assert isinstance(canceller.run(cancel([999_999])).error, NotCancelled)
    assert canceller.task_state["sms_cancel.000001"] == {"refund": "0", "not_found": [999_999]}
    sandbox.add_fault("lost-after-acceptance", operation=DELETE)
    canceller.run(cancel([999_999], on_not_cancelled="ignore"))
    assert counts(canceller) == (0, 0, 1, 0)


def test_what_the_gateway_refused_to_look_at_was_not_asked_for(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    locked_out(canceller, [sent, 999_999])
    canceller.run(cancel([sent, 999_999]))
    assert counts(canceller) == (3, 0, 1, 0)


def test_what_the_gateway_refused_to_look_at_stays_scheduled_in_the_ledger(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner, ledger: Database
) -> None:
    sent = schedule(sandbox, runner, ledger_conn_id=CONN_ID)
    locked_out(canceller, sent, ledger_conn_id=CONN_ID)
    assert ledger.column("state", "sms_messages") == ["scheduled"] * 3


def test_wrong_ids_among_right_ones(sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner) -> None:
    sent = schedule(sandbox, runner)
    ids = [999_999, *sent["message_ids"], 888_888]
    assert isinstance(canceller.run(cancel(ids, on_not_cancelled="fail")).error, NotCancelled)
    assert canceller.run(cancel(ids)).error is None
    assert counts(canceller) == (3, 3, 2, 0)


def test_other_ids_after_a_clear_are_asked_for_too(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    first, second = schedule(sandbox, runner), schedule(sandbox, runner.another(), 2)
    canceller.run(cancel(first))
    canceller.run(cancel([second, first]))
    assert counts(canceller) == (5, 3, 0, 0)
    assert canceller.result["refund"] == "2.0"


def test_a_store_that_cannot_be_written_stops_it_before_the_gateway_is_asked(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner
) -> None:
    sent = schedule(sandbox, runner)
    canceller.task_state = Unwritable()
    error = canceller.run(cancel(sent)).error
    assert error is not None
    assert not isinstance(error, AirflowFailException)
    assert asked(sandbox) == 0


class Unwritable(dict[str, Any]):
    """A store in which every write fails."""

    def __setitem__(self, key: str, value: Any) -> None:
        msg = "no space"
        raise OSError(msg)


def test_without_a_store_it_cancels_and_finds_out_what_a_lost_answer_said(
    sandbox: Sandbox, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow before 3.3 has no store, and gives the operator a context without one."""
    sent = schedule(sandbox, runner)
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(runner.connections["winsms_default"]))
    sandbox.add_fault("lost-after-acceptance", operation=DELETE)
    result = cancel(sent, on_not_cancelled="fail").execute({})
    assert (result["cancelled"], result["not_cancelled"]) == (3, 0)


# With the ledger in a database.


def test_a_batch_is_cancelled_by_another_task(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner, ledger: Database
) -> None:
    sent = schedule(sandbox, runner, ledger_conn_id=CONN_ID)
    canceller.run(cancel(batch="{{ '" + sent["batch"] + "' }}", ledger_conn_id=CONN_ID))
    assert counts(canceller) == (3, 0, 0, 0)
    assert canceller.result["refund"] == "3.0"
    assert waiting(sandbox) == 0
    assert credits_left(sandbox) == 1000
    assert ledger.execute("SELECT accepted, cancelled, refunded FROM sms_batches") == [(0, 3, 3)]
    assert canceller.task_state == {}


def test_an_unknown_batch_is_refused(canceller: TaskRunner, sandbox: Sandbox, ledger: Database) -> None:
    error = canceller.run(cancel(batch="f" * 32, ledger_conn_id=CONN_ID)).error
    assert isinstance(error, InvalidMessage)
    assert "no batch" in str(error)
    assert sandbox.requests() == []
    assert ledger.count("sms_batches") == 0


def test_a_lost_answer_is_refunded_in_the_ledger_with_what_the_text_had_cost(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner, ledger: Database
) -> None:
    sent = schedule(sandbox, runner, ledger_conn_id=CONN_ID)
    sandbox.add_fault("lost-after-acceptance", operation=DELETE)
    canceller.run(cancel(batch=sent["batch"], ledger_conn_id=CONN_ID))
    assert counts(canceller) == (3, 0, 0, 0)
    assert canceller.result["refund"] == "3.0"
    assert ledger.execute("SELECT state, refund FROM sms_messages") == [("cancelled", 1)] * 3


@pytest.mark.crash
def test_another_task_finds_out_what_a_killed_one_did(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner, ledger: Database
) -> None:
    sent = schedule(sandbox, runner, ledger_conn_id=CONN_ID)
    unheard(sandbox, canceller, sent, ledger_conn_id=CONN_ID)
    assert ledger.column("state", "sms_messages") == ["cancelling"] * 3
    other = canceller.another()
    other.run(cancel(batch=sent["batch"], ledger_conn_id=CONN_ID))
    assert counts(other) == (3, 0, 0, 0)
    assert other.result["refund"] == "3.0"
    assert credits_left(sandbox) == 1000
    third = canceller.another()
    third.run(cancel(sent, ledger_conn_id=CONN_ID))
    assert counts(third) == (3, 3, 0, 0)
    assert third.result["refund"] == "0.0"
    assert ledger.execute("SELECT cancelled, refunded FROM sms_batches") == [(3, 3)]


def test_the_ledger_learns_what_went_out_before_it_could_be_cancelled(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner, ledger: Database
) -> None:
    sent = schedule(sandbox, runner, ledger_conn_id=CONN_ID)
    sandbox.advance(4 * 3600)
    canceller.run(cancel(sent, ledger_conn_id=CONN_ID, on_not_cancelled="ignore"))
    assert counts(canceller) == (0, 0, 3, 3)
    assert ledger.column("state", "sms_messages") == ["delivered"] * 3


@pytest.mark.crash
def test_ids_that_the_ledger_does_not_know_are_remembered_by_the_task(
    sandbox: Sandbox, runner: TaskRunner, canceller: TaskRunner, ledger: Database
) -> None:
    known, unknown = schedule(sandbox, runner, ledger_conn_id=CONN_ID), schedule(sandbox, runner.another(), 2)
    ids = [known, unknown, 999_999]
    unheard(sandbox, canceller, ids, ledger_conn_id=CONN_ID)
    assert ledger.column("state", "sms_messages") == ["cancelling"] * 3
    remembered = copy.deepcopy(canceller.task_state)
    assert remembered["sms_cancel.000001"]["asked"] == [*unknown["message_ids"], 999_999]
    canceller.run(cancel(ids, ledger_conn_id=CONN_ID))
    assert cancelled(sandbox) == 5


def test_a_text_that_the_answers_leave_out_and_that_still_waits_is_neither() -> None:
    """The sandbox has no such fault: the gateway ignores an id, twice."""
    answers = {
        DELETE: {"deletedMessageStatuses": []},
        "smsStatus": {"messageStatuses": [{"apiMessageId": 7, "statusErrorCode": "INQUEUE"}]},
    }

    def execute(call: Call[T], _leaving: BeforeSend = nullcontext) -> T:
        return call.parse(answers[call.operation])

    kept: dict[str, Any] = {}
    journal = StoreCancelJournal(Kept(kept))
    gateway = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")
    outcome = Canceller(gateway, execute, journal, logging.getLogger("cancel")).run([7])
    assert (outcome.cancelled, outcome.not_cancelled, outcome.gone_out) == (0, 1, 0)
    assert kept == {"sms_cancel.000001": {"refund": "0", "asked": [7]}}


class Kept:
    """A store over a dictionary."""

    def __init__(self, rows: dict[str, Any]) -> None:
        self.get = rows.get
        self.set = rows.__setitem__
