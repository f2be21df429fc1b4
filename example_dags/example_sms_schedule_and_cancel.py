"""Schedule a text, and take it back.

The gateway keeps the text until its minute comes, so the DAG need not run then. Until that minute it can be
cancelled, and its cost comes back.

``send_at`` must say its time zone, and must lie ahead: WinSMS sends a text with a past time at once, so one
is refused. Here the text is taken back at once; in your DAG, a branch would say whether.
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
