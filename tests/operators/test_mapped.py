"""Sends that Airflow maps, one task for each value, through its task runner."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_winsms.exceptions import IdempotencyConflict
from airflow_provider_winsms.operators.sms import (
    SmsBalanceCheckOperator,
    SmsCancelScheduledOperator,
    SmsRefreshStatusOperator,
    SmsSendBatchOperator,
    SmsSendOperator,
)
from airflow_provider_winsms.operators.views import SmsViewsOperator
from airflow_provider_winsms.sensors.sms import SmsBalanceSensor, SmsDeliverySensor
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ANN, BEN = "27825550101", "27825550102"


@pytest.mark.parametrize("text", ["Hallo", lambda **_: "Hallo"], ids=["text", "function"])
def test_an_index_that_stands_for_another_sends_nothing_by_default(
    text: Any, sandbox: Sandbox, runner: TaskRunner
) -> None:
    def mapped(*people: str) -> Any:
        with DAG("dag", schedule=None):
            return SmsSendOperator.partial(task_id="send", text=text).expand(to=list(people))

    first, second = (replace(runner.another(), map_index=index) for index in range(2))
    for index in (first, second):
        assert index.run(mapped(ANN, BEN)).error is None
    first.clear()
    assert isinstance(first.run(mapped(BEN)).error, IdempotencyConflict)
    assert sorted(text["mobileNumber"] for text in sandbox.outbox()) == [ANN, BEN]


@pytest.mark.parametrize(
    ("operator", "field"),
    [
        (SmsBalanceCheckOperator, "sms_conn_id"),
        (SmsBalanceSensor, "sms_conn_id"),
        (SmsCancelScheduledOperator, "sms_conn_id"),
        (SmsDeliverySensor, "sms_conn_id"),
        (SmsRefreshStatusOperator, "sms_conn_id"),
        (SmsSendBatchOperator, "sms_conn_id"),
        (SmsSendOperator, "sms_conn_id"),
        (SmsToSqlOperator, "sms_conn_id"),
        (SmsViewsOperator, "sql_conn_id"),
    ],
)
def test_a_mapped_task_has_the_defaults_of_airflow(operator: type[BaseOperator], field: str) -> None:
    task = operator.partial(task_id="mapped").expand(**{field: ["first", "second"]})
    assert (task.inlets, task.outlets, task.executor_config) == ([], [], {})
