from __future__ import annotations

from typing import Any

import mysql.connector
from airflow.providers.common.sql.hooks.sql import DbApiHook


class MySqlHook(DbApiHook):
    conn_name_attr = "mysql_conn_id"
    default_conn_name = "mysql_default"
    conn_type = "mysql"
    hook_name = "MySQL for tests"
    supports_autocommit = True
    escape_word_format = "`{}`"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, escape_word_format=self.escape_word_format, **kwargs)

    def get_conn(self) -> Any:
        connection = self.get_connection(self.get_conn_id())
        return mysql.connector.connect(
            host=connection.host,
            port=connection.port or 3306,
            user=connection.login,
            password=connection.password or "",
            database=connection.schema,
            collation="utf8mb4_general_ci",
        )

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        conn.autocommit = autocommit
