"""Wait until the account has enough credits, and warn when a send leaves too few.

The sensor waits in the triggerer, without a worker, until the balance covers the campaign. Nobody has to
clear a task after topping the account up: the wait ends at the next poll. All such sensors of one connection
share one poll, so many DAGs may wait for credits at once.

The check at the end compares once. With `on_low="warn"` a low balance is a warning in the log, and `is_low`
in its result; with the default, `"fail"`, the task fails, and a callback of the DAG can tell somebody.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG

from airflow_provider_winsms.operators.sms import SmsBalanceCheckOperator, SmsSendOperator
from airflow_provider_winsms.sensors.sms import SmsBalanceSensor

CUSTOMERS = ["27000000101", "27000000102", "27000000103"]

with DAG(
    dag_id="example_sms_balance",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    params={"reserve": "250"},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    wait_for_credits = SmsBalanceSensor(
        task_id="wait_for_credits", least=len(CUSTOMERS), timeout=24 * 3600, deferrable=True
    )
    send = SmsSendOperator(task_id="send", text="Your invoice is ready.", to=CUSTOMERS)
    check_reserve = SmsBalanceCheckOperator(
        task_id="check_reserve", least="{{ params.reserve }}", on_low="warn"
    )
    wait_for_credits >> send >> check_reserve
