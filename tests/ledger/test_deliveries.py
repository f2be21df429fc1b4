"""How a load reads the ledger: what each reader returns."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.deliveries import CHANGING_STATES, Delivery
from airflow_provider_winsms.ledger.schema import MessageState
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, RejectReason
from tests.ledger.batches import (
    FIRST,
    HASHES,
    LATER,
    NOON,
    accepted,
    batch,
    declined,
    ledger,
    messages,
    number,
    record,
    sent,
    sent_through_another_connection,
)
from tests.ledger.copies import CONNECTION, Copy, all_of, everything
from tests.ledger.history import History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_winsms.ledger.sql import SqlLedger
    from tests.support.databases import Database


BATCH = batch().id
FAR_OFF = NOON.add(years=100)


def keys(pages: Iterable[list[Delivery]]) -> list[tuple[Any, ...]]:
    """Return round, request and position of each text."""
    return [delivery[1:4] for delivery in all_of(pages)]


def test_a_delivery_says_what_the_tables_say(tables: SqlLedger, history: History) -> None:
    tables.claim(FIRST, record(3), [*messages(2), *messages(1, send_at=LATER)])
    tables.record(FIRST, record(3), {0: accepted(100), 1: declined(RejectReason.OPTED_OUT)})
    history.record_reports([DeliveryReport(100, DeliveryState.DELIVERED, time=LATER)])
    first, second, third = everything(history)
    said = ("etl", "manual__1", "send", -1, CONNECTION, number(0), None, "phone")
    noon = NOON.astimezone(UTC)
    assert first == Delivery(
        *(BATCH, 1, 1, 0, 100, *said, "delivered", None),
        *(Decimal("1.5"), Decimal(0), "credits", noon, None, LATER, None),
    )
    assert (second.position, second.state, second.reason) == (1, "declined", "opted_out")
    assert (second.message_id, second.cost) == (None, Decimal(0))
    assert (third.position, third.state, third.send_at, third.state_at) == (2, "unknown", LATER, NOON)
    for delivery in (first, second, third):
        assert isinstance(delivery.cost, Decimal)
        assert isinstance(delivery.refund, Decimal)
        assert {delivery.submitted_at.tzinfo, delivery.state_at.tzinfo} == {UTC}


def test_a_hashed_number_comes_with_the_key_it_was_hashed_with(database: Database, history: History) -> None:
    with ledger(database, privacy="keyed_hash") as tables:
        tables.open(batch())
        sent(tables, size=1)
    (delivery,) = everything(history)
    assert (delivery.number, delivery.number_key_id) == (HASHES.of(number(0)), HASHES.key_id)


def test_every_reader_returns_the_texts_of_its_connection_only(
    database: Database, tables: SqlLedger, history: History
) -> None:
    sent(tables)
    sent_through_another_connection(database)
    keys = [(BATCH, 1, 1), (batch("other").id, 1, 1)]
    for name, ids in ((CONNECTION, [100, 101, 102]), ("winsms_other", [200, 201, 202])):
        for pages in (
            history.deliveries_since(name, None),
            history.deliveries_of(name, [100, 200, 101, 201, 102, 202]),
            history.deliveries_in(name, keys),
        ):
            assert [delivery.message_id for delivery in all_of(pages)] == ids


def test_what_the_tables_do_not_have_is_left_out(tables: SqlLedger, history: History) -> None:
    sent(tables)
    assert keys(history.deliveries_of(CONNECTION, [99, 101])) == [(1, 1, 1)]
    assert keys(history.deliveries_in(CONNECTION, [(BATCH, 1, 2), ("0" * 32, 1, 1)])) == []
    assert list(history.deliveries_of(CONNECTION, [])) == list(history.deliveries_in(CONNECTION, [])) == []


def test_pages_are_small_and_come_by_their_keys(
    database: Database, history_of: Callable[..., History]
) -> None:
    history = history_of(requests=4, page_rows=7, page_parts=3)
    ids = count(1)
    for key in ("a", "b", "c"):
        with ledger(database, key) as tables:
            tables.open(batch(key))
            for request in (
                RequestKey(1, 1),
                RequestKey(1, 2),
                RequestKey(1, 10),
                RequestKey(2, 1),
                RequestKey(2, 2),
            ):
                sent(tables, size=3, first_id=100 * next(ids), key=request)
    for pages in (
        list(history.deliveries_since(CONNECTION, None)),
        list(history.deliveries_since(CONNECTION, NOON, NOON)),
    ):
        found = [delivery[:4] for delivery in all_of(pages)]
        assert len(found) == 45
        assert found == sorted(set(found))
        assert {len(page) for page in pages} <= {3, 6}
    every_id = list(range(100, 1600))
    assert sorted(all_of(history.deliveries_of(CONNECTION, every_id))) == everything(history)
    requests = {delivery[:3] for delivery in everything(history)}
    pages = list(history.deliveries_in(CONNECTION, requests))
    assert max(map(len, pages)) == 6
    assert sorted(all_of(pages)) == everything(history)


def test_between_pages_other_methods_may_be_called_and_rows_may_come(
    tables: SqlLedger, history_of: Callable[..., History]
) -> None:
    history = history_of(requests=1)
    sent(tables, key=RequestKey(1, 1))
    found = []
    for page in history.deliveries_since(CONNECTION, None):
        found += page
        if len(found) < 30:
            sent(tables, first_id=100 * len(found), key=RequestKey(1, 1 + len(found)))
        assert history.record_reports([DeliveryReport(page[0].message_id or 0, DeliveryState.SENT)]) == 1
    assert len(found) == 30


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        (None, None, [1, 2, 3]),
        (None, NOON, [1, 2]),
        (NOON, NOON, [1, 2]),
        (NOON.add(seconds=1), None, [1, 2, 3]),
        (FAR_OFF, None, [2, 3]),
        (FAR_OFF.add(seconds=1), None, [2]),
        (FAR_OFF, NOON.subtract(seconds=1), []),
    ],
)
def test_what_is_read_was_submitted_or_answered_since_or_waits_for_its_answer(
    tables: SqlLedger, history: History, since: Any, until: Any, found: list[int]
) -> None:
    """The first and the last request are answered, now; the last is from a clock that is far ahead."""
    for request, at in enumerate((NOON, NOON, FAR_OFF), start=1):
        tables.claim(RequestKey(1, request), record(1, at=at), messages(1))
    for request in (1, 3):
        tables.record(RequestKey(1, request), record(1), {0: accepted(request)})
    pages = history.deliveries_since(CONNECTION, since, until)
    assert [delivery.request for delivery in all_of(pages)] == found


def test_an_answer_after_a_mark_of_not_received_is_read_as_news(tables: SqlLedger, history: History) -> None:
    claim = record(1)
    tables.claim(FIRST, claim, messages(1))
    assert tables.mark_not_received(FIRST, claim, {0: declined(RejectReason.NOT_RECEIVED)})
    began = datetime.now(UTC)
    assert all_of(history.deliveries_since(CONNECTION, began)) == []
    tables.record(FIRST, claim, {0: accepted(100)})
    (late,) = all_of(history.deliveries_since(CONNECTION, began))
    assert (late.state, late.message_id) == ("accepted", 100)


def test_of_a_copy_that_is_up_to_date_only_what_is_open_and_the_end_are_read_again(
    tables: SqlLedger, history: History
) -> None:
    copy = Copy(history, CONNECTION)
    for request, size in enumerate((30, 1), start=1):
        claim = record(size, at=pendulum.now("UTC"))
        tables.claim(RequestKey(1, request), claim, messages(size))
        receipts = {position: accepted(100 * request + position) for position in range(size)}
        tables.record(RequestKey(1, request), claim, receipts)
    history.record_reports([DeliveryReport(key, DeliveryState.DELIVERED) for key in range(100, 128)])
    assert copy.load() == 31
    assert copy.load() == (2 + 1) + 1
    assert copy.is_exact


@pytest.mark.parametrize("word", list(MessageState))
def test_only_texts_in_changing_states_change_without_a_trace(
    database: Database, tables: SqlLedger, history: History, word: MessageState
) -> None:
    sent(tables, size=20)
    database.execute(f"UPDATE {{}}sms_messages SET state = '{word}'")  # noqa: S608 - a state's own word
    before = everything(history)
    history.record_reports(DeliveryReport(100 + index, state) for index, state in enumerate(DeliveryState))
    history.mark_cancelling([110, 111])
    history.record_cancelled({111: Decimal(1), 112: Decimal(1)})
    history.record_not_cancelled({113: DeliveryState.SENT, 114: DeliveryState.UNKNOWN})
    tables.mark_cancelling(FIRST, replace(record(), cancelling_at=LATER))
    tables.release_claim(FIRST, record())
    assert (everything(history) != before) is (word in CHANGING_STATES)


def test_a_request_whose_claim_was_released_is_gone(tables: SqlLedger, history: History) -> None:
    copy = Copy(history, CONNECTION)
    tables.claim(FIRST, record(), messages())
    copy.load()
    assert len(copy.rows) == 3
    tables.release_claim(FIRST, record())
    copy.load()
    assert copy.rows == {}


@pytest.mark.database
def test_memory_does_not_grow_with_the_number_of_rows(sqlite: Database) -> None:
    def peak() -> int:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with History(sqlite.hook()) as history:
            for _ in history.deliveries_since(CONNECTION, None):
                pass
        return tracemalloc.get_traced_memory()[1] - before

    with ledger(sqlite) as tables:
        tables.open(batch())
        for request in range(1, 41):
            sent(tables, size=1000, first_id=1000 * request, key=RequestKey(1, request))
    tracemalloc.start()
    try:
        much = peak()
        sqlite.execute("DELETE FROM sms_requests WHERE request > 10")
        few = peak()
    finally:
        tracemalloc.stop()
    assert much < 1.3 * few
