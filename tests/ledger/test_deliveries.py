"""How a load reads the ledger: what each reader returns, and that the three together keep a copy exact."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import ClaimLost, InvalidMessage
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
from tests.ledger.history import History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_winsms.ledger.base import RequestRecord
    from airflow_provider_winsms.ledger.sql import SqlLedger
    from tests.support.databases import Database

CONNECTION = "winsms_default"
BATCH = batch().id
FAR_OFF = NOON.add(years=100)


def all_of(pages: Iterable[list[Delivery]]) -> list[Delivery]:
    return list(chain.from_iterable(pages))


def everything(history: History, sms_conn_id: str = CONNECTION) -> list[Delivery]:
    return all_of(history.deliveries_since(sms_conn_id, None))


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


class Copy:
    """What a warehouse has of the ledger, loaded as ``deliveries_since`` says.

    It takes no account of ``LATEST_COMMIT``, as here all clocks agree.
    """

    def __init__(self, history: History, sms_conn_id: str) -> None:
        self._history = history
        self._sms_conn_id = sms_conn_id
        self.rows: dict[tuple[Any, ...], Delivery] = {}

    def load(self, meanwhile: Callable[[], object] = lambda: None) -> int:
        """Load, and return the number of rows that were read.

        :param meanwhile: is done after the first of the readers, and after the second.
        """
        open_rows = [row for row in self.rows.values() if row.state in CHANGING_STATES]
        known = [row.message_id for row in open_rows if row.message_id is not None]
        without_id = {row[:4] for row in open_rows if row.message_id is None}
        latest = max((row.submitted_at for row in self.rows.values()), default=None)
        read = all_of(self._history.deliveries_of(self._sms_conn_id, known))
        meanwhile()
        read += all_of(self._history.deliveries_in(self._sms_conn_id, {key[:3] for key in without_id}))
        meanwhile()
        now = datetime.now(UTC)
        read += all_of(self._history.deliveries_since(self._sms_conn_id, latest, now))
        for key in without_id - {row[:4] for row in read}:
            del self.rows[key]
        self.rows.update((row[:4], row) for row in read)
        return len(read)

    @property
    def is_exact(self) -> bool:
        return self.rows == {row[:4]: row for row in everything(self._history, self._sms_conn_id)}


class Chaos:
    """Sends, answers, reports, cancellations and decisions, each with a number to choose by.

    :param name: a connection of its own, so that the tables may hold the rows of others.
    """

    def __init__(self, database: Database, name: str, ids: Iterator[int]) -> None:
        self.name = name
        self._ids = ids
        self._given: list[int] = []
        self._generation = 0
        self.tables = ledger(database, name)
        self.history = History(database.hook())
        self.copy = Copy(self.history, name)
        self.supersede(0)

    def close(self) -> None:
        self.tables.close()
        self.history.close()

    def supersede(self, _: int) -> None:
        self._generation += 1
        self._batch = replace(batch(self.name, self._generation), sms_conn_id=self.name)
        self.tables.open(self._batch)
        self._claims: dict[RequestKey, RequestRecord] = {}

    def claim(self, choice: int) -> None:
        """Claim a request, perhaps one whose claim was released, or long after its clock was read."""
        size, late = 1 + choice % 3, timedelta(days=choice % 2)
        keys = (RequestKey(1 + choice % 2, request) for request in count(1))
        key = next(key for key in keys if key not in self._claims)
        claim = record(size, at=pendulum.now("UTC") - late, send_at=LATER if choice % 5 == 0 else None)
        self.tables.claim(key, claim, messages(size))
        self._claims[key] = claim

    def send(self, choice: int) -> None:
        """Claim a request, all of which is accepted."""
        before = set(self._claims)
        self.claim(choice)
        for key in self._claims.keys() - before:
            claim = self._claims[key]
            receipts = {position: accepted(self._new_id()) for position in range(claim.size)}
            claim.apply(receipts)
            self.tables.record(key, claim, receipts)

    def answer(self, choice: int) -> None:
        """Record an outcome of some recipients, even if they are marked as not received, or accepted."""
        for key, claim in self._chosen(choice):
            fates = {position: choice // 3**position % 3 for position in range(claim.size)}
            receipts = {
                position: accepted(self._id_of(claim, position), cost=str(1 + choice % 3))
                if fate
                else declined(RejectReason.OPTED_OUT)
                for position, fate in fates.items()
                if fate < 2
            }
            claim.apply(receipts)
            self.tables.record(key, claim, receipts)

    def renew(self, choice: int) -> None:
        for key, claim in self._chosen(choice):
            now = pendulum.now("UTC")
            with suppress(ClaimLost):
                self.tables.renew(key, claim, now)
                claim.claimed_at = now

    def release_claim(self, choice: int) -> None:
        for key, claim in self._chosen(choice):
            self.tables.release_claim(key, claim)
            if self.tables.find(key) is None:
                del self._claims[key]

    def mark_not_received(self, choice: int) -> None:
        for key, claim in self._chosen(choice):
            self.tables.mark_not_received(
                key, claim, dict.fromkeys(claim.in_doubt, declined(RejectReason.NOT_RECEIVED))
            )

    def cancel_by_kill(self, choice: int) -> None:
        """Cancel a request as its task is killed, and perhaps record what that did."""
        for key, claim in self._chosen(choice):
            claim.cancelling_at = pendulum.now("UTC")
            self.tables.mark_cancelling(key, claim)
            if choice % 2:
                claim.cancelling_at = None
                some = [position for position in claim.ids if (choice + position) % 3]
                self.tables.record(key, claim, dict.fromkeys(some, declined(RejectReason.CANCELLED, "0.5")))

    def resolve(self, choice: int) -> None:
        for key, claim in self._chosen(choice):
            in_doubt = [row for row in self._rows(key) if row.state == "unknown"]
            with suppress(InvalidMessage):
                ids = [self._new_id() for _ in in_doubt] if choice % 2 else None
                self.history.resolve(self._batch.id, key, ids)
            claim.ids = {row.position: row.message_id for row in self._rows(key) if row.message_id}

    def report(self, choice: int) -> None:
        states = list(DeliveryState)
        some = self._some(choice)
        self.history.record_reports(DeliveryReport(key, states[(choice + key) % len(states)]) for key in some)

    def ask_to_cancel(self, choice: int) -> None:
        self.history.mark_cancelling(self._some(choice))

    def cancel(self, choice: int) -> None:
        self.history.record_cancelled(dict.fromkeys(self._some(choice), Decimal(choice % 3)))

    def not_cancel(self, choice: int) -> None:
        state = DeliveryState.SENT if choice % 2 else DeliveryState.UNKNOWN
        self.history.record_not_cancelled(dict.fromkeys(self._some(choice), state))

    def load(self, choice: int) -> None:
        """Load, while something else happens, or nothing."""
        what = EVENTS[choice % len(EVENTS)]
        if what is Chaos.load:
            self.copy.load()
            assert self.copy.is_exact
        else:
            self.copy.load(lambda: what(self, choice))

    def _rows(self, key: RequestKey) -> list[Delivery]:
        return all_of(self.history.deliveries_in(self.name, [(self._batch.id, *key)]))

    def _chosen(self, choice: int) -> list[tuple[RequestKey, RequestRecord]]:
        claims = list(self._claims.items())
        return [claims[choice % len(claims)]] if claims else []

    def _some(self, choice: int) -> list[int]:
        return [key for key in self._given if (key + choice) % 3]

    def _id_of(self, claim: RequestRecord, position: int) -> int:
        known = claim.ids.get(position)
        return known if isinstance(known, int) else self._new_id()

    def _new_id(self) -> int:
        self._given.append(next(self._ids))
        return self._given[-1]


EVENTS: list[Callable[[Chaos, int], None]] = [
    *(Chaos.load, Chaos.load, Chaos.load, Chaos.send, Chaos.send, Chaos.claim, Chaos.answer),
    *(Chaos.report, Chaos.report),
    *(
        Chaos.renew,
        Chaos.release_claim,
        Chaos.mark_not_received,
        Chaos.cancel_by_kill,
        Chaos.resolve,
        Chaos.supersede,
    ),
    *(Chaos.ask_to_cancel, Chaos.cancel, Chaos.not_cancel),
]


@pytest.mark.database
def test_three_readers_keep_a_copy_exact_whatever_happens(database: Database) -> None:
    names, ids = count(1), count(1)

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 80)), min_size=15, max_size=30))
    def holds(events: list[tuple[Callable[[Chaos, int], None], int]]) -> None:
        chaos = Chaos(database, f"winsms_{next(names)}", ids)
        try:
            for event, choice in events:
                event(chaos, choice)
            chaos.load(0)
        finally:
            chaos.close()

    holds()


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
