"""Blocks and plots with the answers of the views on fictional history."""

from __future__ import annotations

from contextlib import closing, contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.reports import figures
from airflow_provider_winsms.reports.page import render_plot
from airflow_provider_winsms.warehouse.view_queries import VIEWS
from airflow_provider_winsms.warehouse.views import SourceTables, ViewSet
from scripts.demo_history import DAYS, FIRST_DAY, warehouse
from scripts.docs.markdown import grid, paragraph

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from airflow_provider_winsms.warehouse.view_queries import View

    Row = dict[str, Any]


def blocks() -> dict[str, str]:
    """Return the blocks, by their names: the columns and the answer of each view."""
    with _demo_views() as database:
        columns = {f"columns-of-sms_{view.name}": _columns(view) for view in VIEWS}
        return columns | {f"answer-of-sms_{view.name}": _answer(view, database) for view in VIEWS}


def plots() -> dict[str, str]:
    """Return the plots, by the names of their files."""
    dates = [FIRST_DAY.date() + timedelta(days=day) for day in range(DAYS)]
    with _demo_views() as database:
        deliveries = [
            {**row, "day": date.fromisoformat(row["day"])} for row in _rows(database, "delivery_by_day")
        ]
        late = _rows(database, "texts_after_opt_out")
    return {
        "delivery-by-day.svg": render_plot(figures.share_plot(deliveries, dates)),
        "texts-after-opt-out.svg": render_plot(figures.late_text_plot(late)),
    }


@contextmanager
def _demo_views() -> Iterator[sqlite3.Connection]:
    with closing(warehouse()) as database:
        tables = SourceTables("deliveries", "incoming", "opt_outs")
        for _, statement in ViewSet("sqlite", tables, "sms_").statements():
            database.execute(statement)
        yield database


def _columns(view: View) -> str:
    meanings = ((f"`{name}`", meaning) for name, meaning in view.columns.items())
    return f"{paragraph(view.question)}\n\n{grid(('column', 'meaning'), meanings)}"


def _answer(view: View, database: sqlite3.Connection) -> str:
    rows = _rows(database, view.name)
    return grid(tuple(view.columns), ((_shown(name, cell) for name, cell in row.items()) for row in rows))


def _rows(database: sqlite3.Connection, name: str) -> list[Row]:
    columns = next(view.columns for view in VIEWS if view.name == name)
    # The first two columns order most views; the start of a campaign orders the others.
    order = "started_at" if "started_at" in columns else "1, 2"
    found = database.execute(f"SELECT * FROM sms_{name} ORDER BY {order}")  # noqa: S608 - our own names
    return [dict(zip(columns, row, strict=True)) for row in found]


def _shown(name: str, cell: Any) -> str:
    if cell is None:
        return ""
    if name.endswith("rate"):
        return f"{cell:.1%}"
    if "cost" in name or name == "refund":
        return f"{cell:.2f}"
    return str(cell)
