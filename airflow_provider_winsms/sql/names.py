"""Names: of indexes, and of the packages that databases need."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST_NAME = 63
"""Bytes. PostgreSQL cuts longer names off, and says so only in a notice."""

_EXTRAS = ("duckdb", "mysql", "postgres", "sqlite")
"""The extras of this package. Each installs the hook for connections of that type."""

PACKAGES = {
    "duckdb": "airflow-provider-duckdb",
    "gcpbigquery": "apache-airflow-providers-google",
    "hiveserver2": "apache-airflow-providers-apache-hive",
    "mssql": "apache-airflow-providers-microsoft-mssql",
    "redshift": "apache-airflow-providers-amazon",
    **{
        name: f"apache-airflow-providers-{name}"
        for name in (
            "databricks",
            "exasol",
            "jdbc",
            "mysql",
            "odbc",
            "oracle",
            "postgres",
            "presto",
            "snowflake",
            "sqlite",
            "teradata",
            "trino",
            "vertica",
        )
    },
}
"""The packages with hooks of databases, by the types of their connections."""


def missing_module(error: ImportError) -> str:
    """Return the module that could not be imported, in words."""
    return f"the Python module {error.name!r}" if error.name else f"a driver ({type(error).__name__})"


def how_to_install(conn_type: str) -> str:
    """Return the instruction to install the packages for connections of a type."""
    if conn_type in _EXTRAS:
        return f"Install it: pip install 'airflow-provider-winsms[{conn_type}]'"
    return f"Install it: pip install {PACKAGES[conn_type]}" if conn_type in PACKAGES else "Install it."


def index_name(table: str, columns: Iterable[str]) -> str:
    """Return the name of an index: its table and its columns, shortened to the length that databases take."""
    listed = "_".join(columns)
    name = f"{table}_{listed}"
    if len(name) <= _LONGEST_NAME:
        return name
    ending = f"_{sha256(name.encode()).hexdigest()[:8]}_{listed}"
    return table[: _LONGEST_NAME - len(ending)] + ending
