"""Refresh the delivery states of sent texts each night.

A send with `ledger_conn_id` writes the accepted texts into tables of your warehouse. The gateway learns later
whether a text arrived, and forgets it after 90 days. The first task asks about every text without a final
state, a thousand per request, and writes the answers into the same tables. The second task makes
views over them, and the third reads one. They return counts and names, neither numbers nor texts.

The retry of a night that failed continues where it stopped. A night may be left out, because the next one
asks about its texts, too.

`warehouse` is the connection that the sends have as `ledger_conn_id`. The first run creates the tables.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG

from airflow_provider_winsms.operators.sms import SmsRefreshStatusOperator
from airflow_provider_winsms.operators.views import SmsViewsOperator

with DAG(
    dag_id="example_sms_refresh_status",
    schedule="30 2 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=10)},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    refresh = SmsRefreshStatusOperator(task_id="refresh_status", ledger_conn_id="warehouse")
    make_views = SmsViewsOperator(task_id="make_views", sql_conn_id="warehouse", ledger_prefix="sms_")
    delivery_rate = SQLExecuteQueryOperator(
        task_id="delivery_rate",
        conn_id="warehouse",
        sql="SELECT dag_id, SUM(accepted) AS accepted, SUM(delivered) AS delivered FROM sms_delivery_by_day "
        "GROUP BY dag_id ORDER BY dag_id",
    )
    refresh >> make_views >> delivery_rate
