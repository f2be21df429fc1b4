"""Remind customers from a query: within the law, within a budget, and approved by a person.

The plan sends nothing: it returns counts and an estimated cost. A person approves it under "Required
Actions" in Airflow. The send then sends exactly that, or nothing. It keeps to the hours of South African law
for marketing, leaves out whoever has opted out, and refuses to cost more than the budget. Then it waits for
delivery without a worker. Replace the query by one of yours; `warehouse` is any Airflow connection to an SQL
database.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, task

from airflow_provider_winsms.rules import marketing_za
from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator

CAMPAIGN: dict[str, Any] = {
    "sql": "SELECT id, number, name FROM customers",
    "sql_conn_id": "warehouse",
    "reference_column": "id",
    "text": "Hi {{ name }}, ask us about a loan for the holidays. Reply STOP to opt out.",
    "rules": marketing_za(budget=20_000),
    "on_invalid": "reject",
    "ledger_conn_id": "warehouse",
}
SUMMARY = """{% set plan = ti.xcom_pull(task_ids="plan") %}{{ plan.recipients }} recipients,
{{ plan.estimated_cost.total }} {{ plan.estimated_cost.currency }}; taken out: {{ plan.taken_out }}"""

with DAG("example_sms_lender", schedule=None, tags=["sms", "example"], doc_md=__doc__) as dag:
    plan = SqlToSmsOperator(task_id="plan", plan_only=True, **CAMPAIGN)
    approve = ApprovalOperator(task_id="approve", subject="Send the campaign?", body=SUMMARY)
    send = SqlToSmsOperator(
        task_id="send",
        approved_plan="{{ ti.xcom_pull(task_ids='plan')['plan_id'] }}",
        wait_for_delivery=True,
        deferrable=True,
        min_delivered=0.9,
        **CAMPAIGN,
    )

    @task
    def report(sent: dict[str, Any]) -> str:
        """Return what became of the campaign, in one sentence."""
        arrived = "{delivered} of {total} arrived".format(**sent["delivery"])
        return f"{arrived}, for {sent['cost']} {sent['currency']}."

    plan >> approve >> send
    report(send.output)
