"""Keep the history of texts in a warehouse, and query it each night.

Four loads fill tables: texts that were sent with `ledger_conn_id="warehouse"` and their states, replies,
opt-outs, and scheduled texts. Views over them answer common questions. The last task fails if anybody was
texted after an opt-out. `warehouse` is any connection to PostgreSQL, MySQL, MariaDB or SQLite.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.providers.common.sql.operators.sql import SQLCheckOperator
from airflow.sdk import DAG, Asset

from airflow_provider_winsms.operators.views import SmsViewsOperator
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator

TABLES = {
    "deliveries": "sms_texts",
    "incoming": "sms_replies",
    "opt_outs": "sms_opted_out",
    "scheduled": "sms_waiting",
}

with DAG(
    dag_id="example_sms_history",
    schedule="0 3 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=10)},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    loads = [
        SmsToSqlOperator(
            task_id=f"load_{dataset}",
            dataset=dataset,
            sql_conn_id="warehouse",
            table=table,
            ledger_conn_id="warehouse" if dataset == "deliveries" else None,
            outlets=[Asset(f"warehouse_{table}")],
        )
        for dataset, table in TABLES.items()
    ]
    make_views = SmsViewsOperator(
        task_id="make_views",
        sql_conn_id="warehouse",
        deliveries=TABLES["deliveries"],
        incoming=TABLES["incoming"],
        opt_outs=TABLES["opt_outs"],
    )
    opt_outs_were_heeded = SQLCheckOperator(
        task_id="opt_outs_were_heeded",
        conn_id="warehouse",
        sql="SELECT CASE WHEN sent = 0 THEN 1 ELSE 0 END FROM sms_opt_out_check",
        retries=0,
    )
    loads >> make_views >> opt_outs_were_heeded
