"""Text whoever is on call when a task of the DAG fails.

``default_args`` gives the callback to each task of the DAG. Airflow calls it after the last try of a task, in
the task's own process. It fetches the numbers at that moment, and executes a send. The Airflow variable
``on_call_phones`` holds one number, or several with commas.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import DAG, Variable, task

from airflow_provider_winsms.operators.sms import SmsSendOperator


def text_on_call(context: Any) -> None:
    """Say which task failed. An error may quote a person's data, so the text has none."""
    ti = context["ti"]
    SmsSendOperator(
        task_id="text_on_call",
        text=f"{ti.dag_id}.{ti.task_id} failed in try {ti.try_number}. Run: {ti.run_id}",
        to=Variable.get("on_call_phones"),
    ).execute(context)


@task
def load_orders() -> None:
    """Fail. Replace this by a task of yours."""
    raise ConnectionError


with DAG(
    dag_id="example_sms_on_call",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    default_args={"on_failure_callback": text_on_call},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    load_orders()
