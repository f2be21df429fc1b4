from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.ledger.schema import TABLES
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, RejectReason
from airflow_provider_winsms.warehouse.views import SourceTables, create_views
from tests.ledger.batches import (
    FIRST,
    LATER,
    NOON,
    accepted,
    batch,
    declined,
    ledger,
    messages,
    record,
)
from tests.ledger.history import History

if TYPE_CHECKING:
    from tests.support.databases import Database


def columns(database: Database, name: str) -> list[str]:
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute(f"SELECT * FROM {f'{database.schema}.' if database.schema else ''}{name} WHERE 1 = 0")  # noqa: S608 - names of ours
    found = [column[0] for column in cursor.description]
    cursor.fetchall()
    connection.close()
    return found


def test_tables_are_as_documented(database: Database) -> None:
    ledger(database).close()
    for table in TABLES:
        assert columns(database, f"sms_{table.name}") == list(table.column_names)
    assert {name for name in database.tables() if name.startswith("sms_")} == {
        f"sms_{table.name}" for table in TABLES
    }


def test_the_tables_are_made_once(database: Database) -> None:
    for _ in range(2):
        ledger(database).close()


def figures(database: Database, view: str, columns: str) -> list[Any]:
    rows = database.execute(f"SELECT day, dag_id, {columns} FROM {{}}sms_{view} ORDER BY dag_id")  # noqa: S608 - names of ours
    return [
        (
            str(day),
            dag,
            *(
                value if value is None or isinstance(value, str) else pytest.approx(float(value), abs=0.01)
                for value in rest
            ),
        )
        for day, dag, *rest in rows
    ]


def send(database: Database) -> None:
    """Of 10 texts: 6 accepted, 4 of them delivered, 1 cancelled; 2 opted out, 1 unpaid and sent again."""
    with ledger(database) as tables, History(database.hook()) as history:
        tables.open(batch())
        claim = record(10)
        tables.claim(FIRST, claim, messages(10))
        receipts = {position: accepted(100 + position) for position in range(7)}
        receipts |= {7: declined(RejectReason.OPTED_OUT), 8: declined(RejectReason.OPTED_OUT)}
        receipts |= {9: declined(RejectReason.NO_CREDITS)}
        tables.record(FIRST, claim, receipts)
        history.record_cancelled({106: Decimal("1.5")})
        history.record_reports(
            DeliveryReport(100 + n, DeliveryState.DELIVERED, time=NOON.add(seconds=seconds))
            for n, seconds in enumerate((10, 20, 30, 60))
        )
        with ledger(database, key="other") as others:
            others.open(batch("other", dag_id="marketing"))
            others.claim(FIRST, record(1), messages(1, send_at=LATER))
            others.record(FIRST, record(1), {0: accepted(500, "2")})


def test_the_views_over_a_ledger_show_known_figures(database: Database) -> None:
    ledger(database).close()
    create_views(database.hook(), SourceTables(ledger_prefix="sms_"), "sms_")
    send(database)
    day = "2026-03-02"
    assert figures(database, "delivery_by_day", "accepted, delivered, rate") == [
        (day, "etl", 6, 4, 4 / 6),
        (day, "marketing", 1, 0, 0),
    ]
    assert figures(database, "delivery_time_by_day", "delivered, avg_seconds, max_seconds") == [
        (day, "etl", 4, 30, 60)
    ]
    assert figures(database, "cost_by_day", "currency, net_cost, delivered, cost_per_delivered") == [
        (day, "etl", "credits", 9, 4, 2.25),
        (day, "marketing", "credits", 2, 0, None),
    ]
    assert figures(database, "declined_by_day", "texts, opted_out, opted_out_rate") == [
        (day, "etl", 8, 2, 0.25),
        (day, "marketing", 1, 0, 0),
    ]
