"""Remind each customer of a query, in parts that are sent side by side.

The text is a template whose variables are the columns of the query. Airflow does not render it, and a value
is data, whatever it looks like. The numbers go from the database to the gateway and nowhere else.

``shards`` cuts the list by its numbers. A customer is in the same part in every try, so a retry texts nobody
twice. ``warehouse`` is any Airflow connection to an SQL database. In your DAG, leave out the first task.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG

from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator

SHARDS = 2

# Replace this by a table of yours. No phone has these numbers. The sandbox delivers to all but the last.
CUSTOMERS = [
    "DROP TABLE IF EXISTS campaign_customers",
    "CREATE TABLE campaign_customers (id INTEGER, phone VARCHAR(20), name VARCHAR(40), amount INTEGER)",
    "INSERT INTO campaign_customers VALUES (1, '27000000101', 'Ann', 120)",
    "INSERT INTO campaign_customers VALUES (2, '27000000102', 'Ben', 80)",
    "INSERT INTO campaign_customers VALUES (3, '+27 00 000 0020', NULL, 45)",
    "INSERT INTO campaign_customers VALUES (4, 'unknown', 'Dan', 300)",
]

with DAG(
    dag_id="example_sms_campaign",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    default_args={"retries": 2},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    make_customers = SQLExecuteQueryOperator(
        task_id="make_customers", conn_id="warehouse", sql=CUSTOMERS, split_statements=False
    )
    remind = SqlToSmsOperator.partial(
        task_id="remind",
        sql="SELECT id, phone, name, amount FROM campaign_customers WHERE amount > :least",
        sql_parameters={"least": 40},
        sql_conn_id="warehouse",
        number_column="phone",
        reference_column="id",
        text="Hi {{ name or 'customer' }}, please pay R{{ amount }} by Friday. Reply STOP to opt out.",
        on_invalid="reject",
        on_empty="skip",
        on_rejected="ignore",
        shards=SHARDS,
    ).expand(shard=list(range(SHARDS)))
    make_customers >> remind
