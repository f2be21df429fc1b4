from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.reports import OpenMessage
from airflow_provider_winsms.ledger.schema import REPORTED_FROM, MessageState
from airflow_provider_winsms.ledger.unresolved import UnresolvedRequest
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, RejectReason
from tests.ledger.batches import (
    FIRST,
    LATER,
    NOON,
    accepted,
    batch,
    counts,
    ledger,
    messages,
    record,
    sent,
    sent_through_another_connection,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pendulum import DateTime

    from airflow_provider_winsms.ledger.sql import SqlLedger
    from airflow_provider_winsms.messages import MessageId
    from tests.ledger.history import History
    from tests.support.databases import Database

BATCH = batch().id


def state(history: History, message_id: int) -> str:
    return str(history.states([message_id])[message_id][0])


def test_the_ids_of_a_batch_are_those_that_were_accepted(tables: SqlLedger, history: History) -> None:
    sent(tables, first_id=200, key=RequestKey(1, 2))
    sent(tables, first_id=100, key=FIRST)
    history.record_cancelled({101: Decimal(0)})
    assert history.message_ids(BATCH) == [100, 102, 200, 201, 202]
    with pytest.raises(InvalidMessage):
        history.message_ids("0" * 32)


def test_states_are_of_the_known_ids(tables: SqlLedger, history: History) -> None:
    sent(tables)
    assert history.states([99, 100]) == {100: (MessageState.ACCEPTED, Decimal("1.5"))}


def test_a_cancellation_is_counted_once(tables: SqlLedger, history: History, database: Database) -> None:
    sent(tables)
    for _ in range(2):
        history.mark_cancelling([100, 101, 102])
        history.record_cancelled({100: Decimal("1.5"), 101: Decimal("0.5")})
        history.record_not_cancelled({102: DeliveryState.SENT})
    assert counts(database) == [1, 0, 0, 2, Decimal("4.5"), Decimal("2.0")]
    assert [state(history, message_id) for message_id in (100, 101, 102)] == [
        "cancelled",
        "cancelled",
        "sent",
    ]


def test_the_net_cost_of_a_batch_is_its_cost_less_the_refunds(tables: SqlLedger, history: History) -> None:
    claim = sent(tables)
    assert history.net_cost(BATCH) == sum(claim.costs.values()) == Decimal("4.5")
    history.record_cancelled({100: Decimal("1.5"), 101: Decimal("0.5")})
    assert history.net_cost(BATCH) == Decimal("2.5")
    assert history.net_cost("0" * 32) is None
    found = tables.find(FIRST)
    assert found is not None
    assert found.refunds == {0: Decimal("1.5"), 1: Decimal("0.5")}


def test_what_was_cancelled_on_purpose_is_not_sent_again(tables: SqlLedger, history: History) -> None:
    claim = sent(tables)
    history.record_cancelled({100: Decimal("1.5")})
    assert tables.find(FIRST) == claim


def test_a_text_without_a_report_keeps_the_state_of_its_acceptance(
    tables: SqlLedger, history: History
) -> None:
    tables.claim(FIRST, record(2), [*messages(1), *messages(1, send_at=LATER)])
    tables.record(FIRST, record(2), {0: accepted(100), 1: accepted(101)})
    history.mark_cancelling([100, 101])
    assert state(history, 100) == "cancelling"
    history.record_not_cancelled({100: DeliveryState.UNKNOWN, 101: DeliveryState.UNKNOWN})
    assert (state(history, 100), state(history, 101)) == ("accepted", "scheduled")


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        (["queued", "sent", "delivered"], "delivered"),
        (["sent", "queued"], "sent"),
        (["delivered", "failed", "sent", "not_found"], "delivered"),
        (["not_found", "delivered"], "delivered"),
        (["failed", "delivered"], "failed"),
        (["unknown"], "accepted"),
    ],
)
def test_no_text_goes_back(
    tables: SqlLedger, history: History, database: Database, reports: list[str], expected: str
) -> None:
    sent(tables)
    for word in reports:
        history.record_reports([DeliveryReport(100, DeliveryState(word))])
    assert state(history, 100) == expected
    assert state(history, 101) == "accepted"
    assert counts(database)[:4] == [3, 0, 0, 0]


def test_many_reports_keep_their_times(tables: SqlLedger, history: History, database: Database) -> None:
    sent(tables, size=1000, first_id=0)
    history.record_reports(
        DeliveryReport(message_id, DeliveryState.DELIVERED, time=LATER.add(seconds=message_id))
        for message_id in range(1000)
    )
    rows = database.execute("SELECT message_id, state_at FROM {}sms_messages ORDER BY position")
    assert len({str(time) for _, time in rows}) == 1000
    assert rows == sorted(rows, key=lambda row: str(row[1]))


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (["delivered", "sent", "unknown"], 2),
        (["delivered", "delivered", "delivered"], 3),
        ([], 0),
    ],
)
def test_it_is_told_of_how_many_texts_reports_were_news(
    tables: SqlLedger, history: History, words: list[str], changed: int
) -> None:
    sent(tables)
    reports = [DeliveryReport(100 + index, DeliveryState(word)) for index, word in enumerate(words)]
    assert history.record_reports(reports) == changed
    assert history.record_reports(reports) == 0


def opened(history: History, **choices: Any) -> list[MessageId]:
    """Return the ids of the open messages of the last week, as it is at noon."""
    window = {"since": NOON.subtract(days=7), "now": NOON.add(minutes=1), **choices}
    return [message.message_id for message in history.open_messages("winsms_default", **window)]


def test_open_messages_come_by_their_ids_whatever_batch_they_are_of(
    database: Database, history: History
) -> None:
    for key, first_id in (("a", 300), ("b", 100), ("c", 200)):
        with ledger(database, key) as tables:
            tables.open(batch(key))
            sent(tables, first_id=first_id)
    assert opened(history) == [100, 101, 102, 200, 201, 202, 300, 301, 302]
    assert opened(history, after=201) == [202, 300, 301, 302]


def test_open_messages_are_read_in_parts_between_which_reports_are_written(
    tables: SqlLedger, history_of: Callable[..., History]
) -> None:
    history = history_of(window=1000)
    sent(tables, size=2500, first_id=1)
    found: list[MessageId] = []
    for message in history.open_messages("winsms_default", since=NOON, now=NOON):
        found.append(message.message_id)
        if len(found) % 500 == 0:
            history.record_reports(DeliveryReport(key, DeliveryState.DELIVERED) for key in found[-500:])
    assert found == sorted(range(1, 2501), key=str)
    assert opened(history) == []


def test_open_messages_are_of_one_connection(database: Database, tables: SqlLedger, history: History) -> None:
    sent(tables)
    sent_through_another_connection(database)
    assert opened(history) == [100, 101, 102]


@pytest.mark.parametrize("word", list(MessageState))
def test_open_messages_are_those_of_which_there_may_be_news(
    database: Database, tables: SqlLedger, history: History, word: MessageState
) -> None:
    sent(tables, size=1)
    database.execute(f"UPDATE {{}}sms_messages SET state = '{word}'")  # noqa: S608 - a state's own word
    may_change = word in REPORTED_FROM[DeliveryState.DELIVERED]
    assert (opened(history) == [100]) is may_change
    assert (history.record_reports([DeliveryReport(100, DeliveryState.DELIVERED)]) == 1) is may_change


@pytest.mark.parametrize(
    ("since", "now", "found"),
    [
        (NOON, NOON, [100]),
        (NOON, LATER, [100, 101]),
        (NOON.add(seconds=1), LATER, [101]),
        (NOON, LATER.subtract(seconds=1), [100]),
        (LATER.add(seconds=1), LATER.add(days=1), []),
    ],
)
def test_a_message_is_due_when_it_was_submitted_or_at_its_time(
    tables: SqlLedger, history: History, since: DateTime, now: DateTime, found: list[int]
) -> None:
    tables.claim(FIRST, record(2), [*messages(1), *messages(1, send_at=LATER)])
    tables.record(FIRST, record(2), {0: accepted(100), 1: accepted(101)})
    assert opened(history, since=since, now=now) == found


def test_a_message_may_be_forgotten_that_was_submitted_before_the_first_moment(
    tables: SqlLedger, history: History
) -> None:
    tables.claim(FIRST, record(2), messages(2, send_at=LATER))
    tables.record(FIRST, record(2), {0: accepted(100), 1: accepted(101)})
    for since, may_be_forgotten in ((NOON, False), (NOON.add(seconds=1), True)):
        first, _ = history.open_messages("winsms_default", since=since, now=LATER)
        assert first == OpenMessage(100, may_be_forgotten)


def test_what_is_in_doubt_is_listed_until_it_is_resolved(
    tables: SqlLedger, history: History, database: Database
) -> None:
    tables.claim(FIRST, record(send_at=LATER), messages())
    tables.record(FIRST, record(send_at=LATER), {1: accepted(101)})
    sent(tables, first_id=200, key=RequestKey(1, 2))
    assert history.unresolved() == [
        UnresolvedRequest(BATCH, "etl", "manual__1", "send", -1, FIRST, 2, NOON, LATER),
    ]
    for wrong in ([1], [1, 1], [1, 101], [1, 200]):
        with pytest.raises(InvalidMessage):
            history.resolve(BATCH, FIRST, wrong)
    history.resolve(BATCH, FIRST, [100, 102])
    assert history.unresolved() == []
    found = tables.find(FIRST)
    assert found is not None
    assert found.ids == {0: 100, 1: 101, 2: 102}
    assert counts(database)[:4] == [6, 0, 0, 0]


def test_a_wrong_count_of_ids_is_told_with_both_numbers(tables: SqlLedger, history: History) -> None:
    tables.claim(FIRST, record(), messages())
    with pytest.raises(InvalidMessage, match=r"3 recipients in doubt, and 1 id given\."):
        history.resolve(BATCH, FIRST, [1])


def test_what_was_not_accepted_is_for_a_later_try(
    tables: SqlLedger, history: History, database: Database
) -> None:
    tables.claim(FIRST, record(), messages())
    history.resolve(BATCH, FIRST, None)
    found = tables.find(FIRST)
    assert found is not None
    assert found.declined == dict.fromkeys(range(3), RejectReason.NOT_RECEIVED)
    assert counts(database) == [0, 3, 0, 0, 0, 0]
    with pytest.raises(InvalidMessage, match="not in doubt"):
        history.resolve(BATCH, FIRST, None)


def test_a_superseded_batch_is_not_listed(tables: SqlLedger, history: History) -> None:
    tables.claim(FIRST, record(), messages())
    tables.open(batch(generation=2))
    assert history.unresolved() == []
