"""Text a login code to one phone, within a minute, and never twice.

Your application stores the code, and starts the DAG with the id of the login. Functions fetch the code and
the number while the task runs. They go to the gateway and nowhere else: no XCom, no log and no rendered
template has them. ``warehouse`` is the connection to the database of your application.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG, BaseHook

from airflow_provider_winsms.operators.sms import SmsSendOperator

# In your DAG, leave out this task: your application stores the code. No phone has this number.
LOGINS = [
    "DROP TABLE IF EXISTS logins",
    "CREATE TABLE logins (id VARCHAR(40), phone VARCHAR(20), code VARCHAR(6))",
    "INSERT INTO logins VALUES ('login-1', '27000000101', '493021')",
]


def of_login(column: str, context: Any) -> str:
    """Return the code or the number of the login that this run is for."""
    warehouse = BaseHook.get_hook("warehouse")
    query = f"SELECT {column} FROM logins WHERE id = {warehouse.placeholder}"  # noqa: S608 - our own names
    return str(warehouse.get_first(query, parameters=[context["params"]["login"]])[0])


with DAG(
    dag_id="example_sms_one_time_code",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    params={"login": "login-1"},
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    make_logins = SQLExecuteQueryOperator(task_id="make_logins", conn_id="warehouse", sql=LOGINS)
    send_code = SmsSendOperator(
        task_id="send_code",
        text=lambda context, **_: f"{of_login('code', context)} is your code. Tell it to nobody.",
        to=lambda context, **_: of_login("phone", context),
        max_segments=1,
        guarantee="at_most_once",
        wait_for_delivery=True,
        delivery_timeout=timedelta(minutes=2),
        retries=2,
        retry_delay=timedelta(seconds=5),
    )
    make_logins >> send_code
