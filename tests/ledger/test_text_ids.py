"""Ids of a gateway that are texts, in the ledger's tables."""

from __future__ import annotations

import uuid
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, id_order, message_id_of
from airflow_provider_winsms.warehouse.views import SourceTables, create_views
from tests.ledger.batches import FIRST, accepted, batch, messages, record

if TYPE_CHECKING:
    from airflow_provider_winsms.ledger.sql import SqlLedger
    from airflow_provider_winsms.messages import MessageId
    from tests.ledger.history import History
    from tests.support.databases import Database

TEXTS = [str(uuid.UUID(int=n)) for n in range(1, 3)] + ["0'; DROP \"%s\\{}?", "007"]
IDS: list[MessageId] = [*TEXTS, 12]


@pytest.mark.parametrize(
    ("text", "message_id"),
    [
        ("0", 0),
        ("12", 12),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", "9223372036854775808"),
        ("007", "007"),
        ("+1", "+1"),
        ("a b", "a b"),
        (" 1", None),
        ("1 ", None),
        (" ", None),
        ("-1", "-1"),
        ("\u0661", None),
        ("", None),
        ("x" * 65, None),
        ("a\n", None),
    ],
)
def test_an_id_has_one_form(text: str, message_id: MessageId | None) -> None:
    if message_id is None:
        with pytest.raises(InvalidMessage, match="1 to 64"):
            message_id_of(text)
        return
    found = message_id_of(text)
    assert (found, type(found), str(found)) == (message_id, type(message_id), text)


def test_whole_numbers_are_ordered_by_size() -> None:
    assert sorted([10, 9, 2**63 - 1, 0], key=id_order) == [0, 9, 10, 2**63 - 1]


def test_texts_pass_through_every_table(tables: SqlLedger, history: History) -> None:
    receipts = {n: replace(accepted(1), message_id=each) for n, each in enumerate(IDS)}
    claim = record(len(IDS))
    tables.claim(FIRST, claim, messages(len(IDS)))
    claim.apply(receipts)
    tables.record(FIRST, claim, receipts)
    found = tables.find(FIRST)
    assert found is not None
    assert list(found.ids.values()) == IDS
    assert history.message_ids(batch().id) == IDS
    assert set(history.states(IDS)) == set(IDS)
    assert history.record_reports(DeliveryReport(each, DeliveryState.DELIVERED) for each in IDS[:2]) == 2
    history.mark_cancelling(IDS[2:3])
    history.record_cancelled({IDS[2]: Decimal("0.0825")})
    states = [str(history.states(IDS)[each][0]) for each in IDS]
    assert states == ["delivered", "delivered", "cancelled", "accepted", "accepted"]


def test_amounts_have_four_places_and_a_currency(
    tables: SqlLedger, history: History, database: Database
) -> None:
    receipts = {n: accepted(n + 1, "0.0825") for n in range(2)}
    claim = record(2)
    tables.claim(FIRST, claim, messages(2))
    claim.apply(receipts)
    tables.record(FIRST, claim, receipts)
    ((cost, currency),) = database.execute("SELECT cost, currency FROM {}sms_batches")
    assert (Decimal(str(cost)), currency) == (Decimal("0.1650"), "credits")
    rows = database.execute("SELECT cost, currency, address_kind FROM {}sms_messages")
    assert {(Decimal(str(cost)), *words) for cost, *words in rows} == {
        (Decimal("0.0825"), "credits", "phone")
    }
    assert history.record_reports(DeliveryReport(each, DeliveryState.DELIVERED) for each in (1, 2)) == 2
    create_views(database.hook(), SourceTables(ledger_prefix="sms_"), "sms_")
    view = "SELECT currency, cost, delivered, cost_per_delivered FROM {}sms_cost_by_day"
    ((currency, cost, delivered, rate),) = database.execute(view)
    assert (currency, Decimal(str(cost)), int(delivered)) == ("credits", Decimal("0.165"), 2)
    assert Decimal(str(rate)) == Decimal("0.0825")
