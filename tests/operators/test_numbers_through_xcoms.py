"""A task that gets its numbers through an XCom warns of it, and no other task does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, XComArg, task

from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ANN, BEN = "27825550101", "27825550102"
WARNING = "came through an XCom"


def numbers(**_: Any) -> list[str]:
    return [ANN, BEN]


@task
def numbers_task() -> list[str]:
    return numbers()


def row(to: Any) -> dict[str, Any]:
    return {"text": "Hi", "to": to}


def look_up(_: str) -> list[str]:
    return [ANN]


def send(**kwargs: Any) -> SmsSendOperator:
    return SmsSendOperator(task_id="send", **{"text": "Hi", **kwargs})


def batch(messages: Any) -> SmsSendBatchOperator:
    return SmsSendBatchOperator(task_id="send", messages=messages)


PULLED = "{{ ti.xcom_pull(task_ids='found') | join(',') }}"

WARNED: dict[str, Callable[[Any], Any]] = {
    "output": lambda found: send(to=found),
    "template": lambda _: send(to=PULLED),
    "batch of an output": lambda found: batch([row(found)]),
    "mapped over an output": lambda found: SmsSendOperator.partial(task_id="send", text="Hi").expand(
        to=found
    ),
    "partial with an output": lambda found: SmsSendOperator.partial(task_id="send", to=found).expand(
        text=["Hi"]
    ),
}

NOT_WARNED: dict[str, Callable[[Any], Any]] = {
    "function": lambda _: send(to=numbers),
    "literal": lambda _: send(to=[ANN]),
    "text through an XCom": lambda found: send(to=numbers, text=XComArg(found.operator)),
    "mapped over literals": lambda _: SmsSendOperator.partial(task_id="send", text="Hi").expand(to=[ANN]),
    "mapped over texts": lambda _: SmsSendOperator.partial(task_id="send", to=numbers).expand(text=["Hi"]),
    "looked up in this task": lambda found: SmsSendOperator.partial(task_id="send", text="Hi").expand(
        to=found.map(look_up)
    ),
}


def said_by(
    build: Callable[[Any], Any], runner: TaskRunner, capsys: pytest.CaptureFixture[str], found: Any
) -> str:
    with DAG("dag", schedule=None):
        built = build(numbers_task.override(task_id="found")())
    runner.results["found"] = found
    index = 0 if hasattr(built, "expand_input") else -1
    assert replace(runner.another(), map_index=index).run(built).error is None
    return capsys.readouterr().out


@pytest.mark.parametrize("case", WARNED)
def test_numbers_that_came_through_an_xcom_are_warned_of_once(
    case: str, sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[Any] = [{"to": ANN}] if "rows" in case else [ANN]
    said = said_by(WARNED[case], runner, capsys, found)
    assert said.count(WARNING) == 1
    assert ANN not in said
    assert sandbox.outbox()


@pytest.mark.parametrize("case", NOT_WARNED)
def test_a_function_or_a_literal_is_not_warned_of(
    case: str, sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    found = "Hi" if case.startswith("text") else [ANN]
    assert WARNING not in said_by(NOT_WARNED[case], runner, capsys, found)
    assert sandbox.outbox()
