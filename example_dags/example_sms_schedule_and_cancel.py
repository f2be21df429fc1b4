"""Schedule a text, and cancel it.

The gateway keeps the text until its minute, so the DAG need not run then. Until that minute the text can be
cancelled, and its cost is refunded.

``send_at`` must have a time zone and lie in the future. A past time is refused, because WinSMS would send the
text at once. This DAG always cancels the text; in your DAG, a branch decides.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG

from airflow_provider_winsms.operators.sms import SmsCancelScheduledOperator, SmsSendOperator

with DAG(
    dag_id="example_sms_schedule_and_cancel",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    default_args={"retries": 2},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    schedule = SmsSendOperator(
        task_id="schedule_offer",
        text="Our winter sale begins now. Reply STOP to opt out.",
        to=["27000000101", "27000000102"],
        send_at="{{ dag_run.run_after + macros.timedelta(days=1) }}",
    )
    SmsCancelScheduledOperator(task_id="cancel_offer", message_ids=schedule.output)
