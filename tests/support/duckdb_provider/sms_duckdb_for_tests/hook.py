from __future__ import annotations

from typing import Any

import duckdb
from airflow.providers.common.sql.hooks.sql import DbApiHook


class DuckDBHook(DbApiHook):
    """As in airflow-provider-duckdb 0.2.0: no autocommit to switch, names quoted as the standard says."""

    conn_name_attr = "duckdb_conn_id"
    default_conn_name = "duckdb_default"
    conn_type = "duckdb"
    hook_name = "DuckDB for tests"
    placeholder = "?"

    def get_conn(self) -> Any:
        return duckdb.connect(self.get_connection(self.get_conn_id()).host or ":memory:")
