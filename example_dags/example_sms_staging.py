"""Try a send in a staging deployment that cannot text a customer.

The list has customers, as a copy of production has. ``OnlyTo`` takes out everybody who is not in the Airflow
variable ``staging_phones``: one number, or several with commas. The extra ``only_numbers`` of the connection
does the same for every DAG, and no DAG can leave it out.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.sdk import DAG

from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.rules import OnlyTo


def customers(**_: Any) -> list[str]:
    """Return the numbers. In your DAG, query them through a hook. No phone has these."""
    return ["27000000101", "27000000102", "27000000103"]


with DAG(
    dag_id="example_sms_staging",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    SmsSendOperator(
        task_id="send",
        text="Your invoice is ready.",
        to=customers,
        rules=[OnlyTo(variable="staging_phones")],
        on_empty="skip",
    )
