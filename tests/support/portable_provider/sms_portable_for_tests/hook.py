from __future__ import annotations

from typing import Any

import psycopg
from airflow.providers.common.sql.hooks.sql import DbApiHook


class PortableHook(DbApiHook):
    """As plain as a hook can be: whatever is not a matter of connecting is ``DbApiHook``'s own."""

    conn_name_attr = "portable_conn_id"
    default_conn_name = "portable_default"
    conn_type = "portable"
    hook_name = "Portable for tests"

    def get_conn(self) -> Any:
        connection = self.get_connection(self.get_conn_id())
        return psycopg.connect(
            host=connection.host,
            port=connection.port,
            user=connection.login,
            password=connection.password,
            dbname=connection.schema,
        )
