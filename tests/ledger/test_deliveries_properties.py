from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING

import pendulum
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import ClaimLost, InvalidMessage
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, RejectReason
from tests.ledger.batches import (
    LATER,
    accepted,
    batch,
    declined,
    ledger,
    messages,
    record,
)
from tests.ledger.copies import Copy, all_of
from tests.ledger.history import History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_winsms.ledger.base import RequestRecord
    from airflow_provider_winsms.ledger.deliveries import Delivery
    from tests.support.databases import Database


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
