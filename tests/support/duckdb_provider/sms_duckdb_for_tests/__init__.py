"""A provider for connections of the type ``duckdb``: the published one needs a dialect of SQLAlchemy."""

from __future__ import annotations

from typing import Any


def provider_info() -> dict[str, Any]:
    return {
        "package-name": "sms-duckdb-for-tests",
        "name": "DuckDB for tests",
        "description": "DuckDB.",
        "connection-types": [
            {"connection-type": "duckdb", "hook-class-name": "sms_duckdb_for_tests.hook.DuckDBHook"}
        ],
    }
