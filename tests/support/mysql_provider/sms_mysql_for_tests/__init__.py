"""A provider for connections of the type ``mysql``: Airflow's own needs a driver that needs a compiler."""

from __future__ import annotations

from typing import Any


def provider_info() -> dict[str, Any]:
    return {
        "package-name": "sms-mysql-for-tests",
        "name": "MySQL for tests",
        "description": "MySQL and MariaDB, over mysql-connector-python.",
        "connection-types": [
            {"connection-type": "mysql", "hook-class-name": "sms_mysql_for_tests.hook.MySqlHook"}
        ],
    }
