"""What Airflow keeps of the events of assets and the cursors of watchers; and what DAGs write of events."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.prove.real_airflow import RealAirflow


class EventTables:
    """The tables of one Airflow, and of the warehouse into which the DAGs of ``dags_events`` write."""

    def __init__(self, airflow: RealAirflow, warehouse: Path) -> None:
        self._airflow = airflow
        self._warehouse = warehouse

    def stored(self, dag_id: str) -> list[str]:
        """Return the keys of the events of a DAG's asset, in the order in which Airflow stored them."""
        assets = {row["id"]: row["name"] for row in self._airflow.rows("asset")}
        events = [
            row for row in self._airflow.rows("asset_event") if assets[row["asset_id"]] == f"sms_{dag_id}"
        ]
        events.sort(key=lambda row: row["id"])
        return [_json(row["extra"])["payload"]["event_key"] for row in events]

    def cursors(self) -> list[dict[str, Any]]:
        """Return the rows with cursors, without those that say that there is one."""
        rows = self._airflow.rows("asset_state_store")
        return [row for row in rows if not row["key"].endswith(("-begun", "-probe"))]

    def remembered(self, dag_id: str) -> set[str]:
        """Return what is in the cursor of the watcher of a DAG's asset."""
        assets = {row["name"]: row["id"] for row in self._airflow.rows("asset")}
        (cursor,) = (row["value"] for row in self.cursors() if row["asset_id"] == assets[f"sms_{dag_id}"])
        return set(_json(cursor)["seen"])

    def found(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query finds in the warehouse."""
        with closing(sqlite3.connect(self._warehouse)) as database:
            return database.execute(query).fetchall()

    def given(self, dag_id: str) -> Counter[str]:
        """Return how often the runs of a DAG were given which event."""
        return Counter(key for dag, _, key in self.found("SELECT * FROM given") if dag == dag_id)

    def taken(self, dag_id: str) -> set[str]:
        """Return the keys of the events that a DAG took in."""
        return {key for dag, key in self.found("SELECT * FROM taken") if dag == dag_id}


def create_warehouse(path: Path) -> None:
    """Create the tables that the DAGs of ``dags_events`` write into."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE given (dag_id TEXT, run_id TEXT, event_key TEXT)")
        database.execute("CREATE TABLE taken (dag_id TEXT, event_key TEXT, PRIMARY KEY (dag_id, event_key))")


def _json(value: Any) -> Any:
    """Return what a column with JSON holds, which a driver may have read already."""
    return json.loads(value) if isinstance(value, str) else value
