"""Text whoever is on call when a task of the DAG fails, and never more than one text in 15 minutes.

``default_args`` gives the notifier to each task of the DAG. Airflow calls it after the last try of a task, in
the task's own process. The Airflow variable ``on_call_phones`` holds one number, or several with commas. An
error may quote a person's data, so the text has none.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, task

from airflow_provider_winsms.notifications.sms import SmsNotifier

text_on_call = SmsNotifier(
    text="{{ ti.dag_id }} failed: {{ ti.task_id }}, try {{ ti.try_number }}.",
    to="{{ var.value.on_call_phones }}",
    ledger_conn_id="warehouse",
)


@task
def load(table: str) -> None:
    """Fail. Replace this by a task of yours."""
    raise ConnectionError(table)


with DAG(
    dag_id="example_sms_on_call",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    default_args={"on_failure_callback": text_on_call},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    load.expand(table=["orders", "customers", "invoices"])
