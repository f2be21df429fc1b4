"""Load replies for analysts, who may count people but may not see their numbers.

``replies_hashed`` has a keyed hash for each number: the same person has the same hash in every table, so the
tables can be joined. ``replies_masked`` has ``27******101``, for people who read single rows. Both loads read
the same list of the gateway. The SMS connection needs the extra ``hash_secret``, the key of the hashes.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG

from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator

with DAG(
    dag_id="example_sms_analysts",
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    default_args={"retries": 2},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    SmsToSqlOperator(
        task_id="hash_replies",
        dataset="incoming",
        sql_conn_id="warehouse",
        table="replies_hashed",
        privacy="keyed_hash",
        text="redact_numbers",
    )
    SmsToSqlOperator(
        task_id="hash_opt_outs",
        dataset="opt_outs",
        sql_conn_id="warehouse",
        table="opt_outs_hashed",
        privacy="keyed_hash",
        text="redact_numbers",
    )
    SmsToSqlOperator(
        task_id="mask_replies",
        dataset="incoming",
        sql_conn_id="warehouse",
        table="replies_masked",
        privacy="masked",
        text="redact_numbers",
    )
