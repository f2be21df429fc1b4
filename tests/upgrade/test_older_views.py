"""A ledger of the version before keeps the views that it had. Others answer their questions."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.warehouse.views import SourceTables, create_views
from tests.ledger.batches import ledger as opened

if TYPE_CHECKING:
    from tests.support.databases import Database

ROOT = Path(__file__).resolve().parents[2]
SUCCESSORS = {
    "delivery_rate": ("accepted, delivered, rate", "delivery_by_day", "accepted, delivered, rate"),
    "time_to_deliver": (
        "delivered, avg_seconds, max_seconds",
        "delivery_time_by_day",
        "delivered, avg_seconds, max_seconds",
    ),
    "cost_per_delivered": ("currency, delivered", "cost_by_day", "currency, delivered"),
    "opt_out_rate": ("recipients, opted_out, rate", "declined_by_day", "texts, opted_out, opted_out_rate"),
}
"""The columns of each old view, and the view and its columns that show the same."""


def figures(database: Database, view: str, columns: str) -> list[tuple[Any, ...]]:
    rows = database.execute(f"SELECT day, dag_id, {columns} FROM {{}}{view} ORDER BY day, dag_id")  # noqa: S608 - a test's own names
    return [
        (str(day), *(float(cell) if isinstance(cell, Decimal) else cell for cell in rest))
        for day, *rest in rows
    ]


def about(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row that equals one with times to a tenth of a second, and shares to four places."""
    return tuple(pytest.approx(cell, abs=0.051) if isinstance(cell, float) else cell for cell in row)


def test_the_old_views_stand_and_others_answer_their_questions(ledger: Database) -> None:
    # They were never submitted. The old views counted them as recipients.
    ledger.execute("DELETE FROM {}sms_messages WHERE round = 0")
    known = {view: figures(ledger, f"sms_{view}", columns) for view, (columns, *_) in SUCCESSORS.items()}
    assert all(known.values())
    opened(ledger).close()
    create_views(ledger.hook(), SourceTables(ledger_prefix="sms_"), "sms_")
    for view, (columns, successor, its_columns) in SUCCESSORS.items():
        assert figures(ledger, f"sms_{view}", columns) == known[view]
        assert figures(ledger, f"sms_{successor}", its_columns) == list(map(about, known[view])), view


@pytest.mark.parametrize("page", ["docs/ledger.md", "CHANGELOG.md"])
def test_the_statements_that_are_shown_drop_the_old_views(ledger: Database, page: str) -> None:
    before = ledger.tables()
    dropped = re.findall(r"`DROP\s+VIEW\s+(\w+)`", (ROOT / page).read_text())
    for view in dropped:
        ledger.execute(f"DROP VIEW {{}}{view}")
    assert sorted(dropped) == sorted(f"sms_{view}" for view in SUCCESSORS)
    assert ledger.tables() == sorted(set(before) - set(dropped))
