from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mysql.connector
from airflow.providers.common.sql.hooks.sql import DbApiHook

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLLATIONS = {"utf8mb4": "utf8mb4_general_ci", "utf8": "utf8_general_ci", "latin1": "latin1_swedish_ci"}
"""The driver's own default is none that MariaDB knows."""


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
            **_options(connection.extra_dejson),
        )

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        conn.autocommit = autocommit


def _options(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the extra of a connection says, as Airflow's own hook reads it, and ``init_command``."""
    charset = extra.get("charset", "utf8mb4")
    given = {name: extra[name] for name in ("init_command",) if name in extra}
    return {"charset": charset, "collation": _COLLATIONS[charset], **given}
