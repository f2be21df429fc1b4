"""Cancelling resumes after lost answers, killed tries and clears, and refunds once."""

from __future__ import annotations

import copy
import json
import logging
from contextlib import nullcontext
from dataclasses import dataclass
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
from airflow_provider_winsms.gateways.base import Response
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


@dataclass
class Desk:
    """The gateway, a task that schedules texts, and a task instance that cancels them."""

    sandbox: Sandbox
    sender: TaskRunner
    task: TaskRunner

    def schedule(self, count: int = 3, **kwargs: Any) -> dict[str, Any]:
        send_at = pendulum.instance(self.sandbox.now()).add(hours=3)
        to = [f"2782555{place:04}" for place in range(count)]
        sender = self.sender.another()
        task = SmsSendOperator(task_id="send", text="Later", to=to, send_at=send_at, **kwargs)
        assert sender.run(task).error is None
        result: dict[str, Any] = sender.result
        return result

    def cancel(self, message_ids: Any = None, **kwargs: Any) -> BaseException | None:
        """Run the next try, and return its error."""
        return self.task.run(cancel(message_ids, **kwargs)).error

    def killed(self, ids: Any) -> None:
        """Run a try that dies after the gateway has cancelled the texts, and before it records that."""
        self.task.task_state = WritableOnce(self.task.task_state)
        assert isinstance(self.cancel(ids), LedgerUnavailable)
        self.task.task_state = dict(self.task.task_state)

    def locked_out(self, ids: Any, **kwargs: Any) -> None:
        """Run a try whose request the gateway refuses."""
        connections = self.task.connections
        wrong = {**connections["winsms_default"], "password": "wrong-key"}
        self.task.connections = {"winsms_default": wrong}
        assert isinstance(self.cancel(ids, **kwargs), ConfigurationError)
        self.task.connections = connections

    def unheard(self, ids: Any, fault: str = "lost-after-acceptance", **kwargs: Any) -> None:
        """Run a try that gets no answer from the gateway."""
        self.sandbox.add_fault(fault, operation=DELETE, times=1)
        self.sandbox.add_fault("503-before-acceptance", operation=DELETE, times=100)
        assert isinstance(self.cancel(ids, **kwargs), GatewayUnavailable)
        self.sandbox.clear_faults()

    @property
    def cancelled(self) -> int:
        return sum(text["cancelled"] for text in self.sandbox.outbox())

    @property
    def asked(self) -> int:
        return sum(request["operation"] == DELETE for request in self.sandbox.requests())

    @property
    def credits_left(self) -> float:
        return float(self.sandbox.account()["creditBalance"])

    @property
    def counts(self) -> tuple[int, int, int, int]:
        return counts(self.task)


@pytest.fixture
def desk(sandbox: Sandbox, runner: TaskRunner) -> Desk:
    return Desk(sandbox, runner, runner.another())


def cancel(message_ids: Any = None, **kwargs: Any) -> SmsCancelScheduledOperator:
    return SmsCancelScheduledOperator(task_id="cancel", message_ids=message_ids, **kwargs)


def counts(runner: TaskRunner) -> tuple[int, int, int, int]:
    names = ("cancelled", "cancelled_before", "not_cancelled", "gone_out")
    cancelled, before, not_cancelled, gone_out = (runner.result[name] for name in names)
    return cancelled, before, not_cancelled, gone_out


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
def test_an_answer_that_was_lost_is_found_out(fault: str, desk: Desk) -> None:
    sent = desk.schedule()
    desk.sandbox.add_fault(fault, operation=DELETE)
    assert desk.cancel(sent, on_not_cancelled="fail") is None
    assert desk.counts == (3, 0, 0, 0)
    assert desk.task.result["refund"] == "0.0"  # not known to the task's own store
    assert desk.cancelled == 3
    assert desk.credits_left == 1000
    assert desk.asked == desk.task.result["requests"] == 2


@pytest.mark.parametrize("fault", ["503-before-acceptance", "429-too-many-requests"])
def test_a_request_that_was_not_carried_out_is_repeated(fault: str, desk: Desk) -> None:
    sent = desk.schedule()
    desk.sandbox.add_fault(fault, operation=DELETE)
    desk.cancel(sent)
    assert desk.counts == (3, 0, 0, 0)
    assert desk.task.result["refund"] == "3.0"


def test_a_row_that_the_answer_leaves_out_is_asked_for_again(desk: Desk) -> None:
    sent = desk.schedule()
    desk.sandbox.add_fault("missing-row", operation=DELETE)
    desk.cancel(sent, on_not_cancelled="fail")
    assert desk.counts == (3, 0, 0, 0)
    assert desk.cancelled == 3


def test_a_status_that_the_answer_leaves_out_is_asked_for_again(desk: Desk) -> None:
    """Otherwise a text that has gone out would count as cancelled."""
    sent = desk.schedule()
    desk.unheard(sent, "reset-before-acceptance")
    desk.sandbox.advance(4 * 3600)
    desk.sandbox.add_fault("missing-row", operation="smsStatus")
    desk.cancel(sent, on_not_cancelled="ignore")
    assert desk.counts == (0, 0, 3, 3)


def test_what_stays_without_an_answer_and_without_a_status_is_not_taken_for_cancelled(desk: Desk) -> None:
    sent = desk.schedule()
    desk.sandbox.add_fault("missing-row", operation="smsStatus", times=2)
    desk.killed(sent)
    desk.cancel(sent)
    assert desk.counts == (2, 0, 1, 0)
    desk.cancel(sent)
    assert desk.counts == (3, 2, 0, 0)


def test_a_try_after_one_that_was_killed_finds_out_what_it_did(desk: Desk) -> None:
    sent = desk.schedule()
    desk.killed(sent)
    assert desk.cancelled == 3
    assert desk.cancel(sent, on_not_cancelled="fail") is None
    assert desk.counts == (3, 0, 0, 0)
    assert desk.cancelled == 3
    assert desk.credits_left == 1000


def test_what_is_asked_for_is_written_down_before(desk: Desk) -> None:
    sent = desk.schedule()
    desk.killed(sent)
    assert desk.task.task_state == {"sms_cancel.000001": {"refund": "0", "asked": sent["message_ids"]}}
    assert "27825550000" not in str(desk.task.requests)


def test_a_try_that_finds_the_texts_of_a_killed_one_still_scheduled_cancels_them(desk: Desk) -> None:
    sent = desk.schedule()
    desk.unheard(sent, "reset-before-acceptance")
    desk.cancel(sent)
    assert desk.counts == (3, 0, 0, 0)
    assert desk.task.result["refund"] == "3.0"


def test_fifteen_hundred_texts_take_two_requests_and_a_retry_asks_only_for_the_rest(desk: Desk) -> None:
    desk.sandbox.set_account(credit_balance=1500)
    sent = desk.schedule(1500)
    desk.sandbox.add_fault("503-before-acceptance", operation=DELETE, skip=1, times=100)
    assert isinstance(desk.cancel(sent), GatewayUnavailable)
    assert desk.cancelled == 1000
    desk.sandbox.clear_faults()
    desk.cancel(sent)
    assert desk.counts == (1500, 1000, 0, 0)
    assert desk.task.result["refund"] == "500.0"
    assert desk.task.result["requests"] == 1
    assert desk.credits_left == 1500
    assert len(desk.task.task_state) == 2


def test_fifteen_hundred_texts_whose_second_answer_is_lost(desk: Desk) -> None:
    desk.sandbox.set_account(credit_balance=1500)
    sent = desk.schedule(1500)
    desk.sandbox.add_fault("lost-after-acceptance", operation=DELETE, skip=1)
    desk.cancel(sent, on_not_cancelled="fail")
    assert desk.counts == (1500, 0, 0, 0)
    assert desk.task.result["requests"] == 3
    assert desk.cancelled == desk.credits_left == 1500


def test_a_clear_of_a_task_that_succeeded_asks_for_nothing(desk: Desk) -> None:
    sent = desk.schedule()
    desk.cancel(sent)
    desk.task.clear()
    assert desk.cancel(sent, on_not_cancelled="fail") is None
    assert desk.counts == (3, 3, 0, 0)
    assert desk.asked == 1


def test_texts_that_went_out_meanwhile_are_told_apart(desk: Desk) -> None:
    sent = desk.schedule()
    desk.cancel(sent["message_ids"][:1])
    desk.sandbox.advance(4 * 3600)
    desk.cancel(sent)
    assert desk.counts == (1, 1, 2, 2)
    assert isinstance(desk.cancel(sent, on_not_cancelled="fail"), NotCancelled)
    assert desk.cancelled == 1


def test_what_has_gone_out_stays_so_when_the_gateway_forgets_it(desk: Desk) -> None:
    sent = desk.schedule()
    desk.sandbox.advance(4 * 3600)
    desk.cancel(sent)
    desk.sandbox.advance(100 * 24 * 3600)
    desk.cancel(sent, on_not_cancelled="ignore")
    assert desk.counts == (0, 0, 3, 3)


def test_a_wrong_id_is_never_taken_for_cancelled(desk: Desk) -> None:
    for _ in range(3):
        assert isinstance(desk.cancel([999_999]), NotCancelled)
    assert desk.task.task_state["sms_cancel.000001"] == {"refund": "0", "not_found": [999_999]}
    desk.sandbox.add_fault("lost-after-acceptance", operation=DELETE)
    desk.cancel([999_999], on_not_cancelled="ignore")
    assert desk.counts == (0, 0, 1, 0)


def test_what_the_gateway_refused_to_look_at_was_not_asked_for(desk: Desk) -> None:
    sent = desk.schedule()
    desk.locked_out([sent, 999_999])
    desk.cancel([sent, 999_999])
    assert desk.counts == (3, 0, 1, 0)


def test_what_the_gateway_refused_to_look_at_stays_scheduled_in_the_ledger(
    desk: Desk, ledger: Database
) -> None:
    sent = desk.schedule(ledger_conn_id=CONN_ID)
    desk.locked_out(sent, ledger_conn_id=CONN_ID)
    assert ledger.column("state", "sms_messages") == ["scheduled"] * 3


def test_wrong_ids_among_right_ones(desk: Desk) -> None:
    sent = desk.schedule()
    ids = [999_999, *sent["message_ids"], 888_888]
    assert isinstance(desk.cancel(ids, on_not_cancelled="fail"), NotCancelled)
    assert desk.cancel(ids) is None
    assert desk.counts == (3, 3, 2, 0)


def test_other_ids_after_a_clear_are_asked_for_too(desk: Desk) -> None:
    first, second = desk.schedule(), desk.schedule(2)
    desk.cancel(first)
    desk.cancel([second, first])
    assert desk.counts == (5, 3, 0, 0)
    assert desk.task.result["refund"] == "2.0"


def test_a_store_that_cannot_be_written_stops_it_before_the_gateway_is_asked(desk: Desk) -> None:
    sent = desk.schedule()
    desk.task.task_state = Unwritable()
    error = desk.cancel(sent)
    assert error is not None
    assert not isinstance(error, AirflowFailException)
    assert desk.asked == 0


class Unwritable(dict[str, Any]):
    """A store in which every write fails."""

    def __setitem__(self, key: str, value: Any) -> None:
        msg = "no space"
        raise OSError(msg)


def test_without_a_store_it_cancels_and_finds_out_what_a_lost_answer_said(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow before 3.3 has no store, and gives the operator a context without one."""
    sent = desk.schedule()
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(desk.sender.connections["winsms_default"]))
    desk.sandbox.add_fault("lost-after-acceptance", operation=DELETE)
    result = cancel(sent, on_not_cancelled="fail").execute({})
    assert (result["cancelled"], result["not_cancelled"]) == (3, 0)


# With the ledger in a database.


def test_a_batch_is_cancelled_by_another_task(desk: Desk, ledger: Database) -> None:
    sent = desk.schedule(ledger_conn_id=CONN_ID)
    desk.cancel(batch="{{ '" + sent["batch"] + "' }}", ledger_conn_id=CONN_ID)
    assert desk.counts == (3, 0, 0, 0)
    assert desk.task.result["refund"] == "3.0"
    assert {text["status"] for text in desk.sandbox.outbox()} == {"CANCELLED"}
    assert desk.credits_left == 1000
    assert ledger.execute("SELECT accepted, cancelled, refunded FROM sms_batches") == [(0, 3, 3)]
    assert desk.task.task_state == {}


def test_an_unknown_batch_is_refused(desk: Desk, ledger: Database) -> None:
    error = desk.cancel(batch="f" * 32, ledger_conn_id=CONN_ID)
    assert isinstance(error, InvalidMessage)
    assert "no batch" in str(error)
    assert desk.sandbox.requests() == []
    assert ledger.count("sms_batches") == 0


def test_a_lost_answer_is_refunded_in_the_ledger_with_what_the_text_had_cost(
    desk: Desk, ledger: Database
) -> None:
    sent = desk.schedule(ledger_conn_id=CONN_ID)
    desk.sandbox.add_fault("lost-after-acceptance", operation=DELETE)
    desk.cancel(batch=sent["batch"], ledger_conn_id=CONN_ID)
    assert desk.counts == (3, 0, 0, 0)
    assert desk.task.result["refund"] == "3.0"
    assert ledger.execute("SELECT state, refund FROM sms_messages") == [("cancelled", 1)] * 3


def test_another_task_finds_out_what_a_killed_one_did(desk: Desk, ledger: Database) -> None:
    sent = desk.schedule(ledger_conn_id=CONN_ID)
    desk.unheard(sent, ledger_conn_id=CONN_ID)
    assert ledger.column("state", "sms_messages") == ["cancelling"] * 3
    other = desk.task.another()
    other.run(cancel(batch=sent["batch"], ledger_conn_id=CONN_ID))
    assert counts(other) == (3, 0, 0, 0)
    assert other.result["refund"] == "3.0"
    assert desk.credits_left == 1000
    third = desk.task.another()
    third.run(cancel(sent, ledger_conn_id=CONN_ID))
    assert counts(third) == (3, 3, 0, 0)
    assert third.result["refund"] == "0.0"
    assert ledger.execute("SELECT cancelled, refunded FROM sms_batches") == [(3, 3)]


def test_the_ledger_learns_what_went_out_before_it_could_be_cancelled(desk: Desk, ledger: Database) -> None:
    sent = desk.schedule(ledger_conn_id=CONN_ID)
    desk.sandbox.advance(4 * 3600)
    desk.cancel(sent, ledger_conn_id=CONN_ID, on_not_cancelled="ignore")
    assert desk.counts == (0, 0, 3, 3)
    assert ledger.column("state", "sms_messages") == ["delivered"] * 3


def test_ids_that_the_ledger_does_not_know_are_remembered_by_the_task(desk: Desk, ledger: Database) -> None:
    known, unknown = desk.schedule(ledger_conn_id=CONN_ID), desk.schedule(2)
    ids = [known, unknown, 999_999]
    desk.unheard(ids, ledger_conn_id=CONN_ID)
    assert ledger.column("state", "sms_messages") == ["cancelling"] * 3
    remembered = copy.deepcopy(desk.task.task_state)
    assert remembered["sms_cancel.000001"]["asked"] == [*unknown["message_ids"], 999_999]
    desk.cancel(ids, ledger_conn_id=CONN_ID)
    assert desk.cancelled == 5


def test_a_text_that_the_answers_leave_out_and_that_still_waits_is_neither() -> None:
    """The sandbox has no such fault: the gateway ignores an id, twice."""
    answers = {
        DELETE: {"deletedMessageStatuses": []},
        "smsStatus": {"messageStatuses": [{"apiMessageId": 7, "statusErrorCode": "INQUEUE"}]},
    }

    def execute(call: Call[T], _leaving: BeforeSend = nullcontext) -> T:
        return call.parse(Response(answers[call.operation]))

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
