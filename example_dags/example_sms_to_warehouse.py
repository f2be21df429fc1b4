"""Load replies and opt-outs into tables of a warehouse.

The first run loads all rows, each later run the new ones. State lives in the target table; there is no
separate cursor. A run that is killed leaves no partial load, and a repeated run loads no row twice.

``warehouse`` is any Airflow connection to an SQL database. The first run creates the tables.
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
