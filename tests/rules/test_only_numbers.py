"""A connection with ``only_numbers`` texts nobody else, whatever a DAG says. The outbox is the judge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, IdempotencyConflict, InvalidMessage
from airflow_provider_winsms.hooks.winsms import WinSMSHook
from airflow_provider_winsms.messages import Message, Recipient
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from airflow_provider_winsms.rules import OnlyTo

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner

ANN, BEN, CAT = "27825550101", "27825550102", "27825550103"


@pytest.fixture(autouse=True)
def _only_ann_and_ben(runner: TaskRunner) -> None:
    runner.set_extra(only_numbers="082 555 0101, +27825550102")


@pytest.fixture
def hook(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> WinSMSHook:
    connection = {
        "conn_type": "winsms",
        "host": sandbox.base_url,
        "password": sandbox.api_key,
        "extra": {"only_numbers": "082 555 0101, +27825550102"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))
    return WinSMSHook()


def numbers(sandbox: Sandbox) -> list[str]:
    return sorted(row["mobileNumber"] for row in sandbox.outbox())


def test_a_send_texts_nobody_else(sandbox: Sandbox, runner: TaskRunner) -> None:
    runner.run(SmsSendOperator(task_id="send", text="Hallo", to=[ANN, BEN, CAT]))
    assert numbers(sandbox) == [ANN, BEN]
    assert runner.result["rejected"] == {"not_allowed": 1}


def test_a_batch_texts_nobody_else(sandbox: Sandbox, runner: TaskRunner) -> None:
    rows = [{"text": f"Hallo {number[-1]}", "to": number} for number in (ANN, BEN, CAT)]
    runner.run(SmsSendBatchOperator(task_id="send", messages=rows, rules=[OnlyTo([BEN, CAT])]))
    assert numbers(sandbox) == [BEN]


@pytest.mark.parametrize("method", ["send", "send_batch"])
def test_the_hook_texts_nobody_else(method: str, sandbox: Sandbox, hook: WinSMSHook) -> None:
    def send(*to: str) -> Any:
        message = Message("Hallo", list(map(Recipient, to)))
        return hook.send(message) if method == "send" else hook.send_batch([message])

    with pytest.raises(InvalidMessage, match="only_numbers") as caught:
        send(ANN, CAT)
    assert CAT not in str(caught.value)
    assert not sandbox.outbox()
    assert len(send(ANN, BEN)) == 2


def test_a_send_that_began_without_the_limit_does_not_go_on_under_it(
    sandbox: Sandbox, world: SendWorld, runner: TaskRunner
) -> None:
    runner.set_extra()
    world.limits["recipients"] = 1
    sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, times=1, retry_after=3600)
    assert world.run(to=[CAT, ANN, BEN]) is not None
    runner.set_extra(only_numbers=ANN)
    assert isinstance(world.run(to=[CAT, ANN, BEN]), IdempotencyConflict)
    assert numbers(sandbox) == [CAT]


@pytest.mark.parametrize("wrong", ["Ben", f"{ANN} {BEN}", f"{ANN},,{BEN}x", "12"])
def test_a_wrong_limit_sends_nothing(wrong: str, sandbox: Sandbox, runner: TaskRunner) -> None:
    runner.set_extra(only_numbers=wrong)
    error = runner.run(SmsSendOperator(task_id="send", text="Hallo", to=ANN)).error
    assert "only_numbers" in str(error)
    assert ANN not in str(error)
    assert not sandbox.outbox()
    assert isinstance(error, ConfigurationError)


def test_an_endpoint_shows_no_number(hook: WinSMSHook) -> None:
    assert "82555" not in repr(hook.endpoint)
