"""The DAG of many waits: one task for each list of ids in the environment of the tasks."""

from __future__ import annotations

import json
import os

from airflow.sdk import DAG

from airflow_provider_winsms.sensors.sms import SmsDeliverySensor

message_ids = json.loads(os.environ["WINSMS_WAITS"])

with DAG("waits", schedule=None, max_active_tasks=len(message_ids)):
    SmsDeliverySensor.partial(
        task_id="wait", min_delivered=0.5, poke_interval=10, timeout=3600, deferrable=True
    ).expand(message_ids=message_ids)
