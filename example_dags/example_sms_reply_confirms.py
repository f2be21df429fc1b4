"""A reply "YES" to a reminder confirms the appointment, and the DAG sends a text to say thank you.

The watcher looks for replies in the triggerer, and starts the DAG. An event has ids and the matched keyword,
neither number nor text. ``in_reply_to`` is the id of the last text to that phone: the reminder, which is in
the table ``appointments`` and in the ledger of its send. Each task may safely run twice.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, BaseHook, task

from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.triggers.sms import SmsIncomingTrigger

APPOINTMENTS = """CREATE TABLE IF NOT EXISTS appointments
    (reminder_id VARCHAR(64) PRIMARY KEY, confirmed INTEGER NOT NULL DEFAULT 0)"""
CONFIRM = "UPDATE appointments SET confirmed = 1 WHERE reminder_id = ?"
IS_APPOINTMENT = "SELECT 1 FROM appointments WHERE reminder_id = ?"
NUMBER = "SELECT number FROM sms_messages WHERE message_id = ?"

replies = Asset(
    "sms_replies_yes",
    watchers=[AssetWatcher(name="phones", trigger=SmsIncomingTrigger(keywords=["YES"]))],
)


@task
def confirm(triggering_asset_events: Any = None) -> list[str]:
    """Confirm the appointments of all events of the run, and return the ids of their reminders."""
    answers = [event.extra["payload"] for events in triggering_asset_events.values() for event in events]
    # Tables store ids as text.
    answered = {str(answer["in_reply_to"]) for answer in answers if answer["in_reply_to"] is not None}
    warehouse = BaseHook.get_hook("warehouse")
    warehouse.run(APPOINTMENTS)
    for reminder in answered:
        warehouse.run(CONFIRM.replace("?", warehouse.placeholder), parameters=[reminder])
    known = IS_APPOINTMENT.replace("?", warehouse.placeholder)
    return [reminder for reminder in sorted(answered) if warehouse.get_first(known, parameters=[reminder])]


def who_answered(context: Any, **_: Any) -> str:
    """Return the number of a reminder. It is looked up while the task runs, and stored nowhere else."""
    ti = context["ti"]
    reminder = ti.xcom_pull(task_ids="confirm")[ti.map_index]
    warehouse = BaseHook.get_hook("warehouse")
    (number,) = warehouse.get_first(NUMBER.replace("?", warehouse.placeholder), parameters=[reminder])
    return str(number)


with DAG(
    dag_id="example_sms_reply_confirms",
    schedule=[replies],
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    default_args={"retries": 2},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    confirmed = confirm()
    SmsSendOperator.partial(
        task_id="thank",
        text="Thank you, your appointment is confirmed.",
        to=who_answered,
        ledger_conn_id="warehouse",
    ).expand(idempotency_key=confirmed.map(lambda reminder: f"thanks for the answer to {reminder}"))
