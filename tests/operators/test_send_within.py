"""Sends from callbacks of a task, and from within another task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.standard.operators.python import PythonOperator

from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ON_CALL, CUSTOMER = "27825550101", "27825550102"


@pytest.fixture(params=["the task state store", "tables"])
def ledger(request: pytest.FixtureRequest, runner: TaskRunner, tmp_path: Path) -> dict[str, Any]:
    """The arguments of a send for either ledger."""
    if request.param == "the task state store":
        return {}
    runner.add_database("book", tmp_path / "ledger.db")
    return {"ledger_conn_id": "book"}


def alert(task_id: str, text: str, **kwargs: Any) -> Callable[..., None]:
    """Return a callback that sends a text."""

    def call(context: Any) -> None:
        SmsSendOperator(task_id=task_id, text=text, to=ON_CALL, **kwargs).execute(context)

    return call


def failing(**kwargs: Any) -> PythonOperator:
    def fail() -> None:
        raise ConnectionError

    return PythonOperator(task_id="load", python_callable=fail, **kwargs)


def texts(sandbox: Sandbox) -> list[str]:
    return [text["message"] for text in sandbox.outbox()]


def run_to_its_end(runner: TaskRunner, task: Any, tries: int) -> None:
    runner.retries = tries - 1
    for _ in range(tries):
        runner.run(task)


@pytest.mark.parametrize("failure_id", ["alert", "alert_at_the_end", "load"])
def test_the_callbacks_of_a_retry_and_of_the_failure_both_text(
    failure_id: str, ledger: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    task = failing(
        on_retry_callback=alert("alert", "Trouble.", **ledger),
        on_failure_callback=alert(failure_id, "It failed.", **ledger),
    )
    run_to_its_end(runner, task, tries=3)
    assert texts(sandbox) == ["Trouble.", "Trouble.", "It failed."]


def test_a_callback_after_a_clear_is_another_event(
    ledger: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    task = failing(on_failure_callback=alert("alert", "It failed.", **ledger))
    runner.run(task)
    runner.clear()
    runner.run(task)
    assert texts(sandbox) == ["It failed."] * 2


def test_a_callback_of_success_texts_though_its_task_texted(
    ledger: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    task = SmsSendOperator(
        task_id="send",
        text="Hi",
        to=CUSTOMER,
        on_success_callback=[
            alert("send", "Sent.", **ledger),
            alert("other", "Sent.", **ledger),
            alert("other", "Sent.", **ledger),
        ],
        **ledger,
    )
    runner.run(task)
    assert texts(sandbox) == ["Hi", "Sent.", "Sent."]


def test_a_send_within_a_task_is_made_once_however_often_the_task_is_tried(
    ledger: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    def work(**kwargs: Any) -> None:
        context: Any = kwargs
        for task_id in ("one", "two"):
            SmsSendOperator(task_id=task_id, text="Hi", to=ON_CALL, **ledger).execute(context)
        messages = [{"text": "Hi", "to": CUSTOMER}]
        SmsSendBatchOperator(task_id="all", messages=messages, **ledger).execute(context)
        raise ConnectionError

    load = PythonOperator(task_id="load", python_callable=work)
    run_to_its_end(runner, load, tries=3)
    runner.clear()
    runner.run(load)
    assert texts(sandbox) == ["Hi"] * 3


def test_a_send_within_a_task_and_its_callback_are_two(
    ledger: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    def work(**context: Any) -> None:
        alert("alert", "Begun.", **ledger)(context)
        raise ConnectionError

    load = PythonOperator(
        task_id="load", python_callable=work, on_failure_callback=alert("alert", "It failed.", **ledger)
    )
    run_to_its_end(runner, load, tries=2)
    assert texts(sandbox) == ["Begun.", "It failed."]


def test_the_key_of_a_task_of_its_own_is_what_it_was(sandbox: Sandbox, runner: TaskRunner) -> None:
    """A batch that an older version opened is resumed."""
    runner.run(SmsSendOperator(task_id="send", text="Hi", to=ON_CALL))
    assert set(runner.task_state) == {"sms_send", "sms_send.1.1.000001", "sms_claims"}
    assert json.loads(json.dumps(runner.task_state["sms_send"]))["key"] == "dag/run/send/-1"
    assert texts(sandbox) == ["Hi"]


def test_a_callback_texts_where_airflow_has_no_store(sandbox: Sandbox, runner: TaskRunner) -> None:
    """Before Airflow 3.3 a second try of a send refuses. A callback after a try is no repeat."""

    def call(context: Any) -> None:
        del context["task_state_store"]
        SmsSendOperator(task_id="alert", text="Trouble.", to=ON_CALL).execute(context)

    run_to_its_end(runner, failing(on_retry_callback=call, on_failure_callback=call), tries=2)
    assert texts(sandbox) == ["Trouble."] * 2
