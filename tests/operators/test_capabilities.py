"""A task refuses, by name, what its gateway cannot do, before its first request."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import UnsupportedCapability
from airflow_provider_winsms.gateways.base import StatusSource
from airflow_provider_winsms.operators.sms import (
    SmsBalanceCheckOperator,
    SmsCancelScheduledOperator,
    SmsRefreshStatusOperator,
    SmsSendBatchOperator,
    SmsSendOperator,
)
from airflow_provider_winsms.sensors.sms import SmsBalanceSensor, SmsDeliverySensor
from tests.support.databases import CONN_ID
from tests.support.hooks import hook_without
from tests.support.variants import variant

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

ANN, BEN, CID = "27825550101", "27825550102", "27825550103"
LATER = pendulum.datetime(2100, 1, 31, 9, tz="Africa/Johannesburg")
RIGHT: dict[type[BaseOperator], dict[str, Any]] = {
    SmsSendOperator: {"text": "Hi", "to": ANN},
    SmsSendBatchOperator: {"messages": [{"text": "Hi", "to": ANN}]},
    SmsCancelScheduledOperator: {"message_ids": [1]},
    SmsDeliverySensor: {"message_ids": [1], "timeout": 10},
    SmsRefreshStatusOperator: {"ledger_conn_id": CONN_ID},
    SmsBalanceSensor: {"least": 5},
    SmsBalanceCheckOperator: {"least": 5},
}
AT_LATER = {"messages": [{"text": "Hi", "to": ANN, "send_at": LATER}]}
EXACTLY_ONCE = {"guarantee": "exactly_once"}


def without(kind: type[BaseOperator], lacks: dict[str, Any], **parameters: Any) -> BaseOperator:
    """Return a task whose gateway lacks capabilities."""
    lesser = variant(kind, hook_of=hook_without(**lacks))
    return lesser(task_id="task", **{**RIGHT[kind], **parameters})


@pytest.mark.parametrize("kind", [SmsSendOperator, SmsSendBatchOperator])
@pytest.mark.parametrize(
    ("lacks", "parameters", "says"),
    [
        ({"cancel": False}, {"cancel_on_kill": True}, "cancel, and `cancel_on_kill` needs it"),
        ({"status": StatusSource.NONE}, {"cancel_on_kill": True}, "status, and `cancel_on_kill` needs it"),
        ({"list_scheduled": False}, {"cancel_on_kill": True}, "list_scheduled, and `cancel_on_kill`"),
        ({"list_scheduled": False}, EXACTLY_ONCE, '`guarantee` ("exactly_once") needs that'),
        ({"schedule": False}, EXACTLY_ONCE, "schedule, and `hold` needs it"),
        ({"status": StatusSource.CALLBACK}, {"wait_for_delivery": True}, "status, and `wait_for_delivery`"),
    ],
)
def test_a_send_refuses_a_parameter_that_its_gateway_cannot_honour(
    kind: type[BaseOperator],
    lacks: dict[str, Any],
    parameters: dict[str, Any],
    says: str,
    sandbox: Sandbox,
    runner: TaskRunner,
) -> None:
    error = runner.run(without(kind, lacks, **parameters)).error
    assert isinstance(error, UnsupportedCapability)
    assert "WinSMS" in str(error)
    assert says in str(error)
    assert sandbox.requests() == []
    assert runner.run(without(kind, lacks)).state == "success"
    assert len(sandbox.outbox()) == 1


@pytest.mark.parametrize(
    ("kind", "timed"), [(SmsSendOperator, {"send_at": LATER}), (SmsSendBatchOperator, AT_LATER)]
)
@pytest.mark.parametrize("on_invalid", ["fail", "reject"])
def test_a_time_is_refused_where_texts_cannot_be_scheduled(
    kind: type[BaseOperator], timed: dict[str, Any], on_invalid: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    error = runner.run(without(kind, {"schedule": False}, on_invalid=on_invalid, **timed)).error
    assert isinstance(error, UnsupportedCapability)
    assert "schedule, and `send_at` needs it" in str(error)
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    ("kind", "lacks", "says"),
    [
        (SmsCancelScheduledOperator, {"cancel": False}, "does not offer cancel"),
        (SmsCancelScheduledOperator, {"status": StatusSource.CALLBACK}, "does not offer status"),
        (SmsRefreshStatusOperator, {"status": StatusSource.NONE}, "does not offer status"),
        (SmsBalanceSensor, {"balance": False}, "does not offer balance, and `least` needs it"),
        (SmsBalanceCheckOperator, {"balance": False}, "does not offer balance, and `least` needs it"),
    ],
)
def test_other_tasks_refuse_a_gateway_that_cannot_do_their_work(
    kind: type[BaseOperator],
    lacks: dict[str, Any],
    says: str,
    sandbox: Sandbox,
    runner: TaskRunner,
    sqlite: Database,
) -> None:
    error = runner.run(without(kind, lacks)).error
    assert isinstance(error, UnsupportedCapability)
    assert says in str(error)
    assert sandbox.requests() == []
    assert sqlite.hook().get_records("SELECT name FROM sqlite_master WHERE type = 'table'") == []


def test_different_texts_go_out_one_by_one_where_a_gateway_takes_no_batch(
    sandbox: Sandbox, runner: TaskRunner
) -> None:
    messages = [{"text": "A", "to": [ANN, BEN]}, {"text": "B", "to": [BEN, CID]}]
    assert runner.run(without(SmsSendBatchOperator, {"batch": False}, messages=messages)).state == "success"
    assert [request["operation"] for request in sandbox.requests()] == ["smsSend", "smsSend"]
    assert (runner.result["accepted"], runner.result["requests"]) == (4, 2)
    sent = [(text["message"], text["mobileNumber"]) for text in sandbox.outbox()]
    assert sorted(sent) == [("A", ANN), ("A", BEN), ("B", BEN), ("B", CID)]


def test_a_wait_begins_at_once_where_nothing_is_held(sandbox: Sandbox, runner: TaskRunner) -> None:
    """A gateway that finds a text by its reference needs no hold, and so the text is due when it is sent."""
    kept = {"sent_history": True, "references": True}
    waits = {"wait_for_delivery": True, "deferrable": True, "hold": timedelta(hours=1)}
    task = without(SmsSendOperator, kept, **EXACTLY_ONCE, **waits)
    assert runner.run(task).state == "deferred"
    assert sandbox.outbox()[0]["scheduledTime"] is None
    wait = runner.trigger().serialize()[1]["wait"]
    assert wait["begins_at"] < pendulum.now().add(minutes=10).timestamp()
