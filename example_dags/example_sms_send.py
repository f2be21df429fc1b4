"""Send one text.

The smallest DAG: one operator, one text, one phone. The connection ``winsms_default`` holds the API key.

No phone has this number; in the sandbox it receives texts. Replace it by your own. Everybody who may read the
DAG can read a number in its file. The other examples show how to fetch numbers at run time.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG

from airflow_provider_winsms.operators.sms import SmsSendOperator

with DAG(
    dag_id="example_sms_send",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    SmsSendOperator(
        task_id="tell_ann",
        text="Hi Ann, the nightly load of {{ dag_run.run_after | ds }} is done.",
        to="+27 00 000 0101",
        # Refuse a text that would be spelt otherwise, such as one with curly quotes.
        encoding="strict",
        # A retry sends nothing twice: it continues where the previous try stopped.
        retries=2,
    )
