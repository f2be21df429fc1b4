"""Ledgers with the fictional history of two weeks, and reports of them."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.ledger.database import LedgerDatabase
from airflow_provider_winsms.reports.reader import read_report
from airflow_provider_winsms.reports.window import Window
from airflow_provider_winsms.sql.dialects import DIALECTS
from airflow_provider_winsms.warehouse.datasets import DATASETS
from scripts.demo_history import COLUMNS, DAYS, FIRST_DAY, History
from scripts.demo_ledger import LedgerWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.reports.reader import Report
    from tests.support.databases import Database

    Row = dict[str, Any]

HISTORY = History().run()
WINDOW = Window(DAYS, "UTC", FIRST_DAY + timedelta(days=DAYS - 1, hours=23))
_COLUMNS = [column.name for column in DATASETS["deliveries"].columns]


def texts(**changed: Any) -> list[Row]:
    """Return the texts of the history, with all columns."""
    return [{**dict.fromkeys(_COLUMNS), **text, **changed} for text in HISTORY.deliveries]


def recent(rows: Sequence[Row], now: datetime) -> list[Row]:
    """Return rows of the history, moved so that its last day is today."""
    shift = now.replace(hour=0, minute=0, second=0, microsecond=0) - FIRST_DAY - timedelta(days=DAYS - 1)
    return [
        {name: value + shift if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows
    ]


def write(database: Database, deliveries: Sequence[Row]) -> None:
    """Write texts into a ledger, which is made if it is missing."""
    with LedgerDatabase(database.hook()) as tables:
        LedgerWriter(tables).write(deliveries)


def write_opt_outs(database: Database, periods: Sequence[Row]) -> None:
    """Write the table ``opt_outs`` with its history."""
    current = {row["number"]: row for row in periods}
    write_table(database, "opt_outs", list(current.values()))
    write_table(database, "opt_outs_history", periods)


def write_table(database: Database, table: str, rows: Sequence[Row]) -> None:
    """Write a table of the history."""
    kinds = ", ".join(f"{name} {database.types[kind]}" for name, kind in COLUMNS[table].items())
    marks = ", ".join(["?" if database.kind == "sqlite" else "%s"] * len(COLUMNS[table]))
    cells = [[_cell(database, row.get(name)) for name in COLUMNS[table]] for row in rows]
    with closing(database.connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(f"CREATE TABLE {database.named(table)} ({kinds})")
        cursor.executemany(f"INSERT INTO {database.named(table)} VALUES ({marks})", cells)  # noqa: S608 - ours
        connection.commit()


def report_of(database: Database, window: Window = WINDOW, **given: Any) -> Report:
    """Read a report."""
    with LedgerDatabase(database.hook(), reads_only=True) as tables:
        return read_report(tables, window, **given)


def _cell(database: Database, value: Any) -> Any:
    dialect = DIALECTS[database.connection["conn_type"]]
    if isinstance(value, datetime):
        return dialect.instant(value)
    return dialect.amount(value) if isinstance(value, Decimal) else value
