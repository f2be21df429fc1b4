"""What the rendered template view of a send shows: counts, and a text only where its author says so.

Airflow writes the view into its database before it executes a task, and after.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from airflow.sdk import DAG, task

from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ANN, BEN = "27825550101", "27825550102"
TEXT = "Load shedding from 18:00 to 20:30 today. Please save your work."
MANY = [f"2783{place:07d}" for place in range(2500)]


def send(**kwargs: Any) -> SmsSendOperator:
    return SmsSendOperator(task_id="send", **{"text": TEXT, "to": [ANN, BEN], **kwargs})


def send_batch(*messages: Any, **kwargs: Any) -> SmsSendBatchOperator:
    return SmsSendBatchOperator(task_id="send", messages=messages, **kwargs)


def views(runner: TaskRunner) -> list[dict[str, Any]]:
    """Return each view that was written to Airflow, in order."""
    written = (request.partition("/rtif ") for request in runner.requests)
    return [json.loads(body) for _, found, body in written if found]


def test_nothing_is_counted_before_a_task_is_executed_and_counts_follow(runner: TaskRunner) -> None:
    assert runner.run(send()).error is None
    before, after = views(runner)
    assert (before["text"], before["to"]) == ("(not shown)", "(not shown)")
    assert after["text"] == "1 segment, 63 of 160 septets, not shown"
    assert after["to"] == "2 recipients, not shown"
    assert {key: before[key] for key in before if key not in {"text", "to"}} == {
        key: after[key] for key in after if key not in {"text", "to"}
    }


def test_thousands_are_grouped(runner: TaskRunner) -> None:
    runner.run(send(to=MANY))
    assert runner.rendered["to"] == "2,500 recipients, not shown"


def test_a_long_text_fills_several_segments(runner: TaskRunner) -> None:
    assert runner.run(send(text="a" * 200)).error is None
    assert runner.rendered["text"] == "2 segments, 200 of 306 septets, not shown"


def test_a_batch_counts_its_messages_and_their_recipients(runner: TaskRunner) -> None:
    messages = [{"text": f"{TEXT} {place}", "to": MANY[place * 40 : place * 40 + 40]} for place in range(3)]
    assert runner.run(send_batch(*messages)).error is None
    assert runner.rendered["messages"] == "3 messages to 120 recipients, not shown"


def test_an_iterator_is_counted_and_still_sent(sandbox: Sandbox, runner: TaskRunner) -> None:
    def people(**_: Any) -> Iterator[str]:
        yield from (ANN, BEN)

    assert runner.run(send(to=people)).error is None
    assert runner.rendered["to"] == "2 recipients, not shown"
    assert len(sandbox.outbox()) == 2


def test_a_plan_counts_too(runner: TaskRunner) -> None:
    assert runner.run(send(plan_only=True)).error is None
    assert runner.rendered["to"] == "2 recipients, not shown"


@pytest.mark.parametrize("native", [False, True])
def test_native_rendering_shows_the_same(runner: TaskRunner, native: bool) -> None:
    dag = DAG("dag", schedule=None, render_template_as_native_obj=native)
    assert runner.run(send(to=f"{{{{ ['{ANN}', '{BEN}'] }}}}", dag=dag)).error is None
    assert runner.rendered["to"] == "2 recipients, not shown"


def test_numbers_of_another_task_are_counted(runner: TaskRunner) -> None:
    @task
    def people() -> list[str]:
        return []

    runner.results["people"] = [ANN, BEN]
    with DAG("dag", schedule=None):
        operator = send(to=people())
    assert runner.run(operator).error is None
    assert runner.rendered["to"] == "2 recipients, not shown"
    assert ANN not in json.dumps(views(runner))


def test_a_send_that_is_refused_shows_nothing(runner: TaskRunner) -> None:
    assert runner.run(send(to=lambda **_: ["nobody"])).error is not None
    assert {view["to"] for view in views(runner)} == {"(not shown)"}


def test_a_send_that_fails_after_it_was_composed_shows_counts(sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.set_account(credit_balance=0)
    assert runner.run(send()).error is not None
    assert runner.rendered["to"] == "2 recipients, not shown"


def test_fields_that_airflow_could_not_hide_are_never_written(runner: TaskRunner) -> None:
    """A fault before rendering leaves the fields as the DAG file has them. Airflow still ends the task."""

    def fault(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(409, json={"detail": "?"}) if request.method == "DELETE" else None

    runner.stand_in = fault
    runner.xcoms_to_clear = ["return_value"]
    assert runner.run(send()).error is not None
    assert views(runner) == []
    assert ANN not in "".join(runner.requests)


def test_a_text_is_shown_on_request_and_never_its_numbers(runner: TaskRunner) -> None:
    text = "Call us on 082 555 0101 before {{ '18:00' }}, at stage 4."
    assert runner.run(send(text=text, show_text=True)).error is None
    assert runner.rendered["text"] == "Call us on ****** before 18:00, at stage 4."
    assert runner.rendered["to"] == "2 recipients, not shown"


def test_a_text_of_a_function_is_counted_for_it_may_be_personal(runner: TaskRunner) -> None:
    assert runner.run(send(text=lambda **_: "Hi Ann", show_text=True)).error is None
    assert runner.rendered["text"] == "1 segment, 6 of 160 septets, not shown"


def test_a_text_of_another_task_is_counted_for_it_may_be_personal(runner: TaskRunner) -> None:
    @task
    def words() -> str:
        return ""

    runner.results["words"] = "Hi Ann"
    with DAG("dag", schedule=None):
        operator = send(text=words(), show_text=True)
    assert runner.run(operator).error is None
    assert runner.rendered["text"] == "1 segment, 6 of 160 septets, not shown"


@pytest.mark.parametrize("dag", [None, "dag"])
def test_a_text_that_a_task_is_mapped_over_is_counted(runner: TaskRunner, dag: str | None) -> None:
    """So it is where Airflow does not say what the task is mapped over."""
    runner.map_index = 1
    rows = [{"text": "Hi Ann", "to": ANN}, {"text": "Hi Ben", "to": BEN}]
    with DAG(dag, schedule=None) if dag else nullcontext():
        operator = SmsSendOperator.partial(task_id="send", show_text=True).expand_kwargs(rows)
    assert runner.run(operator).error is None
    assert runner.rendered["text"] == "1 segment, 6 of 160 septets, not shown"
    assert runner.rendered["to"] == "1 recipient, not shown"


def test_a_text_of_all_instances_of_a_mapped_task_is_shown(runner: TaskRunner) -> None:
    runner.map_index = 1
    with DAG("dag", schedule=None):
        operator = SmsSendOperator.partial(task_id="send", text=TEXT, show_text=True).expand(to=[ANN, BEN])
    assert runner.run(operator).error is None
    assert runner.rendered["text"] == TEXT
    assert runner.rendered["to"] == "1 recipient, not shown"


def test_personal_texts_cannot_be_shown() -> None:
    with pytest.raises(TypeError, match="show_text"):
        send_batch({"text": "Hi Ann", "to": ANN}, show_text=True)
