"""Bring replies and opt-outs into a warehouse table.

The first run loads all there is, each later one what is new. The table itself is the memory: a run that dies
leaves no half of a load, and a run that is repeated loads nothing twice.

``warehouse`` is any connection of Airflow's that speaks SQL. The tables are made on the first run.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG

from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator

with DAG(
    dag_id="example_sms_to_warehouse",
    schedule="@hourly",
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    default_args={"retries": 2},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    SmsToSqlOperator(
        task_id="load_replies", dataset="incoming", sql_conn_id="warehouse", table="sms_incoming"
    )
    SmsToSqlOperator(
        task_id="load_opt_outs", dataset="opt_outs", sql_conn_id="warehouse", table="sms_opt_outs"
    )
