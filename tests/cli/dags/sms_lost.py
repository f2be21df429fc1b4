"""A DAG that sends to two people."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_winsms.operators.sms import SmsSendOperator

with DAG("sms_lost", schedule=None):
    SmsSendOperator(task_id="send", text="Hi", to=["27825550101", "27825550102"], retries=2)
