"""The DAGs of the proof: one for each claim, and each with a connection of its own.

What is sent to whom stands in the environment of the tasks, so that it stands in no DAG file: wherever else
it turns up, the provider let it out.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.sdk import DAG, BaseHook, task
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from airflow_provider_winsms.notifications.sms import SmsNotifier
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from airflow_provider_winsms.sensors.sms import SmsDeliverySensor
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


def text(context: Context, **_: Any) -> str:
    """Return the text of the DAG that asks."""
    return str(_said(context)["text"])


def to(context: Context, **_: Any) -> list[str]:
    """Return the numbers of the DAG that asks."""
    return list(_said(context)["to"])


def to_very_many(context: Context, **_: Any) -> list[str]:
    """Return the numbers of the DAG that asks, and more than there is room for in a trigger."""
    return to(context) + [f"2783{place:07d}" for place in range(1100)]


def messages(context: Context, **_: Any) -> list[dict[str, Any]]:
    """Return the messages of the DAG that asks."""
    return list(_said(context)["messages"])


def in_ten_minutes(**_: Any) -> str:
    """Return an instant far enough ahead for a wait to begin before it."""
    return str(pendulum.now().add(minutes=10).isoformat())


def _said(context: Context) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(os.environ["WINSMS_PROOF"])[context["dag"].dag_id]
    return said


@task
def show(conn_id: str) -> None:
    """Print all that a connection holds, as nobody should."""
    connection = BaseHook.get_connection(conn_id)
    print(connection.password, connection.extra, connection.extra_dejson)  # noqa: T201 - it is the point


@task(multiple_outputs=False)
def read(counts: dict[str, Any]) -> dict[str, Any]:
    """Hand on what the wait returned."""
    return counts


def dag_of(dag_id: str, **kwargs: Any) -> DAG:
    """Return a DAG whose every task may be tried four times."""
    return DAG(
        dag_id,
        schedule=None,
        **kwargs,
        default_args={
            "retries": 3,
            "retry_delay": timedelta(seconds=1),
            "sms_conn_id": "winsms_default" if dag_id == "delivered" else f"winsms_{dag_id}",
        },
    )


def wait_for(message_ids: Any, **options: Any) -> SmsDeliverySensor:
    """Return a wait in the triggerer."""
    return SmsDeliverySensor(
        task_id="wait", message_ids=message_ids, poke_interval=2, timeout=600, deferrable=True, **options
    )


with dag_of("delivered"):
    one = SmsSendOperator(task_id="send", text=text, to=to)
    many = SmsSendBatchOperator(task_id="send_many", messages=messages)
    read(wait_for([one.output, many.output], min_delivered=0.5).output)

with dag_of("sends_and_waits"):
    SmsSendOperator(
        task_id="wait",
        text=text,
        to=to_very_many,
        wait_for_delivery=True,
        deferrable=True,
        min_delivered=0.5,
        poll_interval=2,
        delivery_timeout=600,
    )

with dag_of("undelivered"):
    wait_for(SmsSendOperator(task_id="send", text=text, to=to, send_at=in_ten_minutes).output)

with dag_of("key_withdrawn"):
    wait_for(SmsSendOperator(task_id="send", text=text, to=to).output)

with dag_of("triggerer_killed"):
    read(wait_for(SmsSendOperator(task_id="send", text=text, to=to).output, min_delivered=0.5).output)

with dag_of("wrong_key"):
    wait_for([1])

with dag_of("answer_lost"):
    SmsSendOperator(task_id="send", text=text, to=to)

with dag_of("worker_killed"):
    SmsSendOperator(task_id="send", text=text, to=to)

with dag_of("worker_killed_held"):
    SmsSendOperator(task_id="send", text=text, to=to, guarantee="exactly_once")

with dag_of("cleared"):
    SmsSendOperator(task_id="send", text=text, to=to)

with dag_of("refused"):
    SmsSendOperator(task_id="send", text=text, to=to)
    SmsSendBatchOperator(task_id="send_many", messages=messages)

LATE = DeadlineAlert(
    reference=DeadlineReference.DAGRUN_QUEUED_AT,
    interval=timedelta(seconds=1),
    callback=AsyncCallback(
        SmsNotifier,
        kwargs={
            "text": "{{ dag_run.dag_id }}: {{ var.value.late_text }}",
            "to": "{{ var.value.on_call }}",
            "sms_conn_id": "winsms_late",
            "ledger_conn_id": "warehouse",
        },
    ),
)
with dag_of("late", deadline=LATE):
    wait_for(SmsSendOperator(task_id="send", text=text, to=to).output)

ALERT = SmsNotifier(
    text="{{ dag.dag_id }} failed: {{ var.value.late_text }}",
    to="{{ var.value.on_call }}",
    sms_conn_id="winsms_fails",
    ledger_conn_id="warehouse",
)
with dag_of("fails", on_failure_callback=ALERT):
    show.override(task_id="fail", retries=0)("nowhere")

with dag_of("replies"):
    SmsToSqlOperator(task_id="load", dataset="incoming", sql_conn_id="warehouse", table="replies")
    show("winsms_shown")
