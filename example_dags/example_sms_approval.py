"""Plan a campaign, let a person approve its counts and its cost, and send exactly what was approved.

The plan sends nothing. It returns counts, an estimated cost and a `plan_id`: no number and no text. The next
task shows the counts to a person, under "Required Actions" in Airflow, and waits for "Approve" or "Reject"
without a worker. The last task sends the plan with that id. If list, texts or times have changed meanwhile,
it sends nothing, and its error names the difference.

Both tasks take their parameters from one dictionary, so that they are the same.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG

from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.rules import OptOuts

CAMPAIGN: dict[str, Any] = {
    "text": "Our winter sale begins on Friday. Reply STOP to opt out.",
    # Replace them by a function that reads a table of yours. No phone has these numbers.
    "to": ["27000000101", "27000000102", "27000000103", "27000000101"],
    "rules": [OptOuts()],
}

SUMMARY = """
{% set plan = ti.xcom_pull(task_ids="plan") %}
* {{ plan.recipients }} recipients in {{ plan.requests }} requests, {{ plan.segments }} segments
* {{ plan.estimated_cost.total or "unknown" }} {{ plan.estimated_cost.currency }}
* {{ plan.duplicates }} duplicates left out, {{ plan.invalid.recipients }} invalid recipients
{% for some in plan.taken_out %}* {{ some.recipients }} taken out by {{ some.rule }} ({{ some.reason }})
{% endfor %}
"""

with DAG(
    dag_id="example_sms_approval",
    schedule=None,
    start_date=pendulum.datetime(2026, 1, 1, tz="Africa/Johannesburg"),
    catchup=False,
    tags=["sms", "example"],
    doc_md=__doc__,
) as dag:
    plan = SmsSendOperator(task_id="plan", plan_only=True, **CAMPAIGN)
    approve = ApprovalOperator(task_id="approve", subject="Send the winter sale?", body=SUMMARY)
    send = SmsSendOperator(
        task_id="send", approved_plan="{{ ti.xcom_pull(task_ids='plan')['plan_id'] }}", **CAMPAIGN
    )
    plan >> approve >> send
