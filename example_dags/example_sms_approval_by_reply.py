"""Deploy only after somebody on call has answered YES by text.

Each person gets the question with a code of their own. The task waits for the replies without a worker. After
a NO, or after an hour without an answer, the deployment is skipped. The Airflow variable ``on_call_phones``
holds one number, or several with commas.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, task

from airflow_provider_winsms.operators.approval import SmsApprovalOperator


@task
def deploy() -> str:
    """Deploy. Replace this by a task of yours."""
    return "Deployed."


with DAG(
    dag_id="example_sms_approval_by_reply",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    ask = SmsApprovalOperator(
        task_id="ask",
        to="{{ var.value.on_call_phones }}",
        subject="Deploy sales_etl to production?",
        timeout=timedelta(hours=1),
        default="NO",
        deferrable=True,
    )
    ask >> deploy()
