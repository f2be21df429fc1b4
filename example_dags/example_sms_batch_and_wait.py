"""Send each patient a reminder of their own, and wait until the phones have it.

A function that the operator calls while the task runs returns numbers and names. They go to the gateway and
nowhere else. A separate task that returned the numbers would leave them in XCom.

The sensor waits without a worker (``deferrable=True``). It ends when every text has arrived or failed, or as
soon as fewer than half can still arrive. The next task gets counts, in ``wait.output``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import DAG, task

from airflow_provider_winsms.operators.sms import SmsSendBatchOperator
from airflow_provider_winsms.sensors.sms import SmsDeliverySensor

# Replace this by a table of yours. No phone has these numbers. Each comment says what the sandbox does.
APPOINTMENTS = [
    ("Ann", "27000000101", "09:00"),  # receives
    ("Ben", "27000000102", "09:30"),  # receives
    ("Cat", "27000000020", "10:00"),  # receives, and replies YES
    ("Dan", "27000000021", "10:30"),  # receives, and replies STOP
    ("Eve", "27000000005", "11:00"),  # declined: a number that cannot be texted
]


def reminders(**_: Any) -> list[dict[str, str]]:
    """Return a text and a number for each appointment. In your DAG, query them through a hook."""
    return [
        {
            "text": f"Hi {name}, see you tomorrow at {time}. Reply YES to confirm or STOP to opt out.",
            "to": number,
        }
        for name, number, time in APPOINTMENTS
    ]


@task
def report(counts: dict[str, Any]) -> str:
    """Return a summary with counts and credits, without numbers."""
    return f"{counts['delivered']} of {counts['total']} reminders arrived, for {counts['cost']} credits."


with DAG(
    dag_id="example_sms_batch_and_wait",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    default_args={"retries": 2},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    send = SmsSendBatchOperator(task_id="send_reminders", messages=reminders, on_rejected="fail_if_all")
    wait = SmsDeliverySensor(
        task_id="wait_for_delivery",
        message_ids=send.output,
        min_delivered=0.5,
        poke_interval=timedelta(seconds=10),
        timeout=timedelta(hours=6),
        deferrable=True,
    )
    report(wait.output)
