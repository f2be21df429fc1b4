"""Answer who got which text when, and what it cost, with names from your own table of customers.

Each text has the id of its customer as ``reference``. The ledger stores it beside the state and the cost. So
the view joins by your id, and needs no number. ``warehouse`` holds the ledger and the customers.
"""

from __future__ import annotations

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG

from airflow_provider_winsms.operators.sms import SmsRefreshStatusOperator
from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator

# Replace this by a table of yours. No phone has these numbers.
CUSTOMERS = [
    "DROP VIEW IF EXISTS who_got_what",
    "DROP TABLE IF EXISTS customers",
    "CREATE TABLE customers (id VARCHAR(40), name VARCHAR(40), phone VARCHAR(20))",
    "INSERT INTO customers VALUES ('C-1', 'Ann', '27000000010'), ('C-2', 'Ben', '27000000005')",
]
WHO_GOT_WHAT = [
    "DROP VIEW IF EXISTS who_got_what",
    """
CREATE VIEW who_got_what AS
SELECT c.id, c.name, b.dag_id, b.task_id, m.text, m.state, m.reason, m.state_at,
    COALESCE(m.send_at, m.submitted_at) AS due_at, m.cost - m.refund AS cost, m.currency
FROM customers c
INNER JOIN sms_messages m ON m.reference = c.id
INNER JOIN sms_batches b ON b.batch_id = m.batch_id
""",
]

with DAG(
    dag_id="example_sms_who_got_what",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    default_args={"retries": 2},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    make_customers = SQLExecuteQueryOperator(task_id="make_customers", conn_id="warehouse", sql=CUSTOMERS)
    remind = SqlToSmsOperator(
        task_id="remind",
        sql="SELECT id, name, phone FROM customers",
        sql_conn_id="warehouse",
        number_column="phone",
        reference_column="id",
        text="Hi {{ name }}, your invoice is ready.",
        ledger_conn_id="warehouse",
        ledger_text="keep",
    )
    refresh = SmsRefreshStatusOperator(task_id="refresh", ledger_conn_id="warehouse")
    make_view = SQLExecuteQueryOperator(task_id="make_view", conn_id="warehouse", sql=WHO_GOT_WHAT)
    make_customers >> remind >> refresh >> make_view
