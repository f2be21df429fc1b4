"""DAGs that an SMS starts. Each writes down which events its runs were given, and takes each in once."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger
from airflow.sdk import DAG, Asset, AssetWatcher, BaseHook, task

from airflow_provider_winsms.triggers.sms import SmsIncomingTrigger

TRIGGERS = {
    "every": SmsIncomingTrigger(poll_interval=1),
    "yes_by_queue": MessageQueueTrigger(scheme="winsms", poll_interval=1, keywords=["YES"]),
    "gone": SmsIncomingTrigger(dataset="opt_outs", poll_interval=1),
}


@task
def take(dag_run: Any = None, triggering_asset_events: Any = None) -> int:
    """Write down what this run was given, and take each event in, once."""
    warehouse = BaseHook.get_hook("warehouse")
    keys = [
        event.extra["payload"]["event_key"] for events in triggering_asset_events.values() for event in events
    ]
    for key in keys:
        warehouse.run("INSERT INTO given VALUES (?, ?, ?)", parameters=[dag_run.dag_id, dag_run.run_id, key])
        warehouse.run("INSERT OR IGNORE INTO taken VALUES (?, ?)", parameters=[dag_run.dag_id, key])
    return len(keys)


for name, trigger in TRIGGERS.items():
    watcher = AssetWatcher(name=name, trigger=trigger)
    with DAG(name, schedule=[Asset(f"sms_{name}", watchers=[watcher])]):
        take()
