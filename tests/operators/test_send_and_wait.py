from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from airflow.sdk import DAG

from airflow_provider_winsms.exceptions import DeliveryFailed, SendStopped, TemplateFailed
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from airflow_provider_winsms.runtime import Clock
from tests.support.variants import variant

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

DELIVERED, FAILED, STAYS_SENT = "27000000010", "27000000011", "27000000013"
NOT_A_PHONE = "27000000005"
ARRIVED = {
    "total": 1,
    "delivered": 1,
    "states": {"delivered": 1},
    "cost": "1.0",
    "cost_difference": "0.0",
    "currency": "credits",
}


@pytest.fixture(params=[False, True], ids=["on the worker", "deferred"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    kind: bool = request.param
    return kind


def sending(
    to: Any = DELIVERED, text: Any = "Hi", kind: type[SmsSendOperator] = SmsSendOperator, **kwargs: Any
) -> SmsSendOperator:
    kwargs = {"poll_interval": 1, "delivery_timeout": 5, "wait_for_delivery": True, **kwargs}
    return kind(task_id="send", text=text, to=to, **kwargs)


def sends(sandbox: Sandbox) -> int:
    return sum(request["operation"].startswith("smsSend") for request in sandbox.requests())


def test_what_it_returns_has_the_delivery_beside_what_was_sent(deferrable: bool, runner: TaskRunner) -> None:
    assert runner.run_to_its_end(sending(deferrable=deferrable)).state == "success"
    assert runner.result["accepted"] == 1
    assert len(runner.result["message_ids"]) == 1
    assert runner.result["delivery"] == ARRIVED


def test_a_batch_waits_too(deferrable: bool, runner: TaskRunner) -> None:
    messages = [{"text": "A", "to": DELIVERED}, {"text": "B", "to": FAILED}]
    task = SmsSendBatchOperator(
        task_id="send",
        messages=messages,
        wait_for_delivery=True,
        deferrable=deferrable,
        min_delivered=0.5,
        poll_interval=1,
    )
    assert runner.run_to_its_end(task).state == "success"
    assert runner.result["delivery"]["states"] == {"delivered": 1, "failed": 1}


def test_without_being_asked_it_does_not_wait(sandbox: Sandbox, runner: TaskRunner) -> None:
    assert runner.run(sending(STAYS_SENT, wait_for_delivery=False)).state == "success"
    assert "delivery" not in runner.result
    assert [request["operation"] for request in sandbox.requests()] == ["smsSend"]


def test_too_few_that_arrive_fail_it_for_good_and_leave_what_was_sent(
    deferrable: bool, runner: TaskRunner
) -> None:
    error = runner.run_to_its_end(sending([DELIVERED, FAILED], deferrable=deferrable)).error
    assert isinstance(error, DeliveryFailed)
    assert isinstance(error, AirflowFailException)
    assert "1 of 2 texts delivered, 2 needed (1 delivered, 1 failed)" in str(error)
    assert runner.xcoms["partial_result"]["accepted"] == 2


def test_the_end_counts_from_when_the_texts_are_due(deferrable: bool, runner: TaskRunner) -> None:
    error = runner.run_to_its_end(sending(STAYS_SENT, deferrable=deferrable, delivery_timeout=2)).error
    assert isinstance(error, DeliveryFailed)
    assert "Not settled within 2 seconds of when they were due" in str(error)


def test_a_text_for_later_is_first_asked_for_when_it_is_due(sandbox: Sandbox, runner: TaskRunner) -> None:
    send_at = sandbox.now() + timedelta(hours=2)
    task = sending(send_at=send_at, deferrable=True, delivery_timeout=timedelta(hours=1))
    assert runner.run(task).state == "deferred"
    wait = runner.trigger().serialize()[1]["wait"]
    due = wait["first_at"]
    assert due == wait["begins_at"]
    assert 0 <= due - send_at.timestamp() < 60
    assert wait["end_at"] == due + 3600
    assert wait["grace_until"] > due


def test_a_held_text_is_first_asked_for_when_it_is_due(sandbox: Sandbox, runner: TaskRunner) -> None:
    task = sending(guarantee="exactly_once", deferrable=True)
    assert runner.run(task).state == "deferred"
    assert runner.trigger().serialize()[1]["wait"]["first_at"] >= sandbox.now().timestamp() + 290


def test_a_retry_sends_nothing_again_and_waits_again(
    deferrable: bool, sandbox: Sandbox, runner: TaskRunner
) -> None:
    runner.retries = 1
    task = sending(deferrable=deferrable)
    sandbox.add_fault("503-before-acceptance", operation="smsStatus", times=1_000)
    if deferrable:
        # The triggerer, or the worker that resumes, is gone for good.
        assert runner.run(task).state == "deferred"
    else:
        assert runner.run_to_its_end(sending(deferrable=False, delivery_timeout=0.1)).error is not None
    sandbox.clear_faults()
    assert runner.run_to_its_end(task).state == "success"
    assert runner.result["delivery"] == ARRIVED
    assert sends(sandbox) == 1


@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
def test_a_kill_ends_a_wait_and_cancels_nothing(guarantee: str, sandbox: Sandbox, runner: TaskRunner) -> None:
    runner.retries = 1
    terms: dict[str, Any] = {"guarantee": guarantee, "cancel_on_kill": True, "delivery_timeout": 600}
    if guarantee == "at_most_once":
        terms["send_at"] = sandbox.now() + timedelta(hours=1)
    handler = signal.getsignal(signal.SIGTERM)
    clock = Clock(SmsSendOperator.clock.now, lambda _: signal.raise_signal(signal.SIGTERM))
    killed = sending(**terms, deferrable=False, kind=variant(SmsSendOperator, clock=clock))
    assert isinstance(runner.run(killed).error, SendStopped)
    signal.signal(signal.SIGTERM, handler)
    assert runner.run_to_its_end(sending(**terms, deferrable=False)).state == "success"
    signal.signal(signal.SIGTERM, handler)
    assert runner.result["delivery"] == ARRIVED
    assert [request["operation"] for request in sandbox.requests()].count("deleteScheduledMessages") == 0
    assert sends(sandbox) == 1


def test_nobody_accepted_is_nothing_to_wait_for(
    deferrable: bool, sandbox: Sandbox, runner: TaskRunner
) -> None:
    task = sending(NOT_A_PHONE, deferrable=deferrable, on_rejected="ignore")
    assert runner.run(task).state == "success"
    assert runner.result["delivery"]["total"] == 0
    assert [request["operation"] for request in sandbox.requests()] == ["smsSend"]


def test_a_deferral_of_very_many_texts_stores_few_bytes(sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.set_account(credit_balance=5_000)
    to = [f"2782{place:07d}" for place in range(5_000)]
    task = sending(to, deferrable=True, min_delivered=0)
    assert runner.run(task).state == "deferred"
    assert len(json.dumps(runner.reported)) < 5_000
    assert runner.trigger().serialize()[1]["wait"]["source"]["xcom"]["key"] == "partial_result"
    assert runner.resume(task, runner.fire()).state == "success"
    assert runner.result["delivery"]["total"] == 5_000


@dataclass
class GivesOnce:
    """A function of a field that gives its value to the first call, and an error to every other."""

    value: Any
    error: type[Exception] = AirflowSkipException
    calls: int = 0

    def __call__(self, **_: Any) -> Any:
        self.calls += 1
        if self.calls > 1:
            raise self.error
        return self.value


FIELDS: dict[str, tuple[Any, Callable[..., Any]]] = {
    "to": (DELIVERED, lambda field: sending(field, deferrable=True)),
    "text": ("Hi", lambda field: sending(text=field, deferrable=True)),
    "max_segments": (1, lambda field: sending(max_segments=field, deferrable=True)),
    "sms_conn_id": ("winsms_default", lambda field: sending(sms_conn_id=field, deferrable=True)),
    "messages": (
        [{"text": "Hi", "to": DELIVERED}],
        lambda field: SmsSendBatchOperator(
            task_id="send", messages=field, wait_for_delivery=True, deferrable=True, poll_interval=1
        ),
    ),
}


@pytest.mark.parametrize("error", [AirflowSkipException, AirflowFailException, ConnectionError])
@pytest.mark.parametrize("field", FIELDS)
def test_a_task_that_resumes_calls_no_function_of_its_fields_again(
    field: str, error: type[Exception], runner: TaskRunner
) -> None:
    value, task_of = FIELDS[field]
    function = GivesOnce(value, error)
    assert runner.run_to_its_end(task_of(function)).state == "success"
    assert runner.result["delivery"] == ARRIVED
    assert function.calls == 1


def test_a_task_that_resumes_renders_no_template_again(runner: TaskRunner) -> None:
    given = GivesOnce(DELIVERED, ConnectionError)
    runner.connections = {**runner.connections, "another": runner.connections["winsms_default"]}
    dag = DAG("dag", schedule=None, user_defined_macros={"given": given, "another": GivesOnce("another")})
    task = sending(["{{ given() }}"], sms_conn_id="{{ another() }}", deferrable=True, dag=dag)
    assert runner.run_to_its_end(task).state == "success"
    assert given.calls == 1


def test_the_view_of_rendered_fields_stays_as_it_was_when_a_task_resumes(runner: TaskRunner) -> None:
    runner.run_to_its_end(sending(GivesOnce(DELIVERED), send_at=GivesOnce(None), deferrable=True))
    assert runner.rendered["to"] == "1 recipient, not shown"
    assert runner.rendered["send_at"] is None


def test_a_sensitive_function_is_called_when_its_value_is_first_asked_for() -> None:
    """It is the safety where Airflow does not say that a task resumes."""
    function = GivesOnce(DELIVERED)
    task = sending(function, deferrable=True)
    context: Any = {"ti": object()}
    task.render_template_fields(context, jinja2.Environment(autoescape=True))
    assert function.calls == 0
    assert [task.sensitive_value("to"), task.sensitive_value("to")] == [DELIVERED, DELIVERED]
    assert function.calls == 1


def test_a_retry_asks_the_functions_again(runner: TaskRunner) -> None:
    runner.retries = 1
    function = GivesOnce(STAYS_SENT, ConnectionError)
    task = sending(function, deferrable=True, delivery_timeout=1)
    runner.run(task)
    assert isinstance(runner.run(task).error, TemplateFailed)
    assert function.calls == 2
