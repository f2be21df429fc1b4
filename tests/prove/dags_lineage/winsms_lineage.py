"""Loads that tell of themselves: each updates an asset, and new replies start another DAG."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, BaseHook, task

from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator

LEDGERS = {"deliveries": "warehouse"}
ASSETS = {dataset: Asset(f"sms_{dataset}") for dataset in ("incoming", "opt_outs", "deliveries")}

with DAG("load", schedule=None):
    for dataset, asset in ASSETS.items():
        SmsToSqlOperator(
            task_id=dataset,
            dataset=dataset,
            sql_conn_id="warehouse",
            table=f"our_{dataset}",
            ledger_conn_id=LEDGERS.get(dataset),
            privacy="keyed_hash" if dataset == "opt_outs" else "none",
            outlets=[asset],
        )
    SmsToSqlOperator(
        task_id="refused",
        dataset="incoming",
        sql_conn_id="warehouse",
        table="refused",
        sms_conn_id="winsms_refused",
        outlets=[Asset("sms_refused")],
    )

with DAG("read", schedule=[ASSETS["incoming"]]):

    @task
    def count_new(triggering_asset_events: Any = None) -> list[list[int]]:
        """Return, of each load, how many rows its event says came, and how many the table has of it."""
        warehouse = BaseHook.get_hook("warehouse")
        extras = [event.extra for events in triggering_asset_events.values() for event in events]
        query = "SELECT COUNT(*) FROM our_incoming WHERE loaded_at = %s"
        return [
            [extra["rows_loaded"], warehouse.get_first(query, parameters=[extra["loaded_at"]])[0]]
            for extra in extras
        ]

    count_new()
