from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.operators.sms import (
    SmsCancelScheduledOperator,
    SmsSendBatchOperator,
    SmsSendOperator,
)
from airflow_provider_winsms.operators.views import SmsViewsOperator
from airflow_provider_winsms.sensors.sms import SmsDeliverySensor
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import BaseOperator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ANN, BEN = "27825550101", "27825550102"
TEXTS = [
    *("123456", "012345", "1_000", "1.50", "1e5", "0x1F", "None", "True", "'Quoted'", '"Quoted"', "(1, 2)"),
    *("[1, 2]", "('A', 'B')", "1, 2", "12 # 34", "  1"),
]


SAID = [(True, None), (False, True), (True, True)]
"""Whether Airflow is told to render objects, by the DAG and by the operator."""


def native(of_dag: bool | None = None, of_operator: bool | None = None, **macros: Any) -> dict[str, Any]:
    """What an operator is made with for Airflow to render objects."""
    dag = DAG(
        "dag", schedule=None, render_template_as_native_obj=of_dag is not False, user_defined_macros=macros
    )
    return {"dag": dag} if of_operator is None else {"dag": dag, "render_template_as_native_obj": of_operator}


def texts(sandbox: Sandbox) -> list[str]:
    return [text["message"] for text in sandbox.outbox()]


def numbers(sandbox: Sandbox) -> list[str]:
    return [text["mobileNumber"] for text in sandbox.outbox()]


def ways(text: str) -> list[str]:
    """Ways to give a text: as it is, as a template of it, and in two pieces."""
    return [text, f"{{{{ {text!r} }}}}", f"{text[:2]}{{{{ {text[2:]!r} }}}}"]


@pytest.mark.parametrize(("of_dag", "of_operator"), [*SAID, (True, False)])
def test_a_text_stays_the_text_that_it_is(
    of_dag: bool, of_operator: bool | None, sandbox: Sandbox, runner: TaskRunner
) -> None:
    for place, text in enumerate(TEXTS):
        task = SmsSendOperator(
            task_id="send", text=ways(text)[place % 3], to=ANN, **native(of_dag, of_operator)
        )
        assert runner.another().run(task).error is None
    assert texts(sandbox) == TEXTS


@pytest.mark.parametrize(("of_dag", "of_operator"), [*SAID, (True, False)])
def test_a_text_in_a_batch_stays_the_text_that_it_is(
    of_dag: bool, of_operator: bool | None, sandbox: Sandbox, runner: TaskRunner
) -> None:
    messages = [
        {"text": way, "to": f"{{{{ '082555{place:04}' }}}}"}
        for text in TEXTS
        for place, way in enumerate(ways(text))
    ]
    task = SmsSendBatchOperator(task_id="batch", messages=messages, **native(of_dag, of_operator))
    assert runner.run(task).error is None
    assert texts(sandbox) == [text for text in TEXTS for _ in ways(text)]


@pytest.mark.parametrize(("of_dag", "of_operator"), [*SAID, (True, False)])
def test_a_number_in_place_of_a_text_is_its_digits(
    of_dag: bool, of_operator: bool | None, sandbox: Sandbox, runner: TaskRunner
) -> None:
    code: dict[str, Any] = {"params": {"code": 123456}}
    message: dict[str, Any] = {"text": "{{ params.code }}", "to": ANN}
    runner.another().run(SmsSendOperator(task_id="send", **message, **code, **native(of_dag, of_operator)))
    runner.another().run(
        SmsSendBatchOperator(task_id="batch", messages=[message], **code, **native(of_dag, of_operator))
    )
    assert texts(sandbox) == ["123456", "123456"]


@pytest.mark.parametrize("value", [None, ["Hi"], {"a": 1}])
def test_nothing_and_a_collection_are_no_text(value: object, sandbox: Sandbox, runner: TaskRunner) -> None:
    task = SmsSendOperator(task_id="send", text="{{ value }}", to=ANN, **native(value=value))
    error = runner.run(task).error
    assert isinstance(error, InvalidMessage)
    assert f"The text is of type {type(value).__name__}" in str(error)
    assert sandbox.outbox() == []


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("0825550101", [ANN]),
        ("+27825550101", [ANN]),
        ("0027825550101", [ANN]),
        ("27825550101", [ANN]),
        ("(082) 555-0101", [ANN]),
        (f"{ANN}, {BEN}", [ANN, BEN]),
        (f"0825550101,{BEN}", [ANN, BEN]),
        (f"['0825550101', '{BEN}']", [ANN, BEN]),
        (f'["0825550101", "{BEN}"]', [ANN, BEN]),
        (f"('0825550101', '{BEN}')", [ANN, BEN]),
    ],
)
def test_numbers_are_read_as_they_are_written(
    to: str, expected: list[str], sandbox: Sandbox, runner: TaskRunner
) -> None:
    for way in (to, "{{ params.to }}", ["{{ params.to }}"] if "," not in to else to):
        task = SmsSendOperator(task_id="send", text="Hi", to=way, params={"to": to}, **native())
        assert runner.another().run(task).error is None
    assert numbers(sandbox) == expected * 3


@pytest.mark.parametrize(("of_dag", "of_operator"), SAID)
def test_a_template_may_still_give_a_list(
    of_dag: bool, of_operator: bool | None, sandbox: Sandbox, runner: TaskRunner
) -> None:
    messages: Any = "{{ params.given }}"
    rows = [{"text": "012", "to": "0825550101"}, {"text": "'Quoted'", "to": [BEN]}]
    task = SmsSendBatchOperator(
        task_id="batch", messages=messages, params={"given": rows}, **native(of_dag, of_operator)
    )
    assert runner.run(task).error is None
    assert texts(sandbox) == ["012", "'Quoted'"]
    assert numbers(sandbox) == [ANN, BEN]


def test_a_key_of_digits_names_the_same_batch_under_both_ways_of_rendering(
    sandbox: Sandbox, runner: TaskRunner, tmp_path: Path
) -> None:
    runner.add_database("777", tmp_path / "ledger.db")
    for is_native in (False, True):
        task = SmsSendOperator(
            task_id="send",
            text="Hi",
            to=ANN,
            idempotency_key="{{ '20261130' }}",
            ledger_conn_id="{{ '777' }}",
            **native(is_native),
        )
        assert runner.another().run(task).error is None
    assert texts(sandbox) == ["Hi"]


@pytest.mark.parametrize("operator", [SmsDeliverySensor, SmsCancelScheduledOperator])
def test_a_batch_of_digits_stays_text(operator: type[BaseOperator]) -> None:
    task: Any = operator(task_id="t", batch="{{ '012e3' }}", sms_conn_id="{{ '0777' }}", **native())
    task.render_template_fields({"ti": None})
    assert (task.batch, task.sms_conn_id) == ("012e3", "0777")
    task = operator(task_id="u", message_ids="{{ [1, 2] }}", sms_conn_id="{{ '777' }}", **native())
    task.render_template_fields({"ti": None})
    assert (task.message_ids, task.sms_conn_id) == ([1, 2], "777")


LOAD = {"dataset": "{{ 'incoming' }}", "table": "{{ 'True' }}", "mode": "{{ 'backfill' }}"}


@pytest.mark.parametrize(("of_dag", "of_operator"), SAID)
@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (SmsToSqlOperator, LOAD),
        (SmsViewsOperator, {"deliveries": "{{ 'True' }}", "view_prefix": "{{ 'None' }}"}),
    ],
    ids=["load", "views"],
)
def test_the_names_of_connections_and_tables_stay_text(
    kind: type[BaseOperator],
    given: dict[str, Any],
    of_dag: bool,
    of_operator: bool | None,
    runner: TaskRunner,
) -> None:
    """As Python values, the connection would be the number 7, and the table a boolean."""
    names: dict[str, Any] = {"sql_conn_id": "{{ '007' }}", "schema": "{{ 'None' }}", **given}
    error = runner.run(kind(task_id="one", **names, **native(of_dag, of_operator))).error
    assert isinstance(error, ConfigurationError)
    assert "There is no connection '007'" in str(error)
    assert {name: runner.rendered[name] for name in ("sql_conn_id", "schema")} == {
        "sql_conn_id": "007",
        "schema": "None",
    }
