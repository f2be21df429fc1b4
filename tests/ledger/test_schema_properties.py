"""The counts and costs of a batch always say what its rows say."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.schema import MessageState
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, RejectReason
from tests.ledger.batches import (
    LATER,
    accepted,
    batch,
    counts,
    declined,
    ledger,
    messages,
    record,
)
from tests.ledger.history import History

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.databases import Database


_RECEIPTS = st.one_of(
    st.decimals("0.1", "9.9", places=1).map(lambda cost: ("accepted", cost)),
    st.sampled_from([RejectReason.OPTED_OUT, RejectReason.NO_CREDITS]).map(
        lambda reason: (reason, Decimal(0))
    ),
)

_STEP = st.one_of(
    st.tuples(st.just("record"), st.dictionaries(st.integers(0, 4), _RECEIPTS)),
    st.tuples(st.just("kill"), st.sets(st.integers(0, 4))),
    st.tuples(st.just("cancel"), st.sets(st.integers(0, 4))),
    st.tuples(st.just("report"), st.dictionaries(st.integers(0, 4), st.sampled_from(DeliveryState))),
    st.tuples(st.just("resolve"), st.booleans()),
    st.tuples(st.just("release"), st.none()),
)


class Play:
    """A batch of three requests, to which anything may happen."""

    def __init__(self, database: Database) -> None:
        self.tables, self.history = ledger(database), History(database.hook())
        self.tables.open(batch())
        self.ids = 0

    def step(self, key: RequestKey, what: str, detail: Any) -> None:
        claim = self.tables.find(key)
        if claim is None:
            self.tables.claim(key, record(5), messages(5))
            return
        getattr(self, f"_{what.replace(' ', '_')}")(key, claim, detail)

    def _record(self, key: RequestKey, claim: Any, detail: Any) -> None:
        receipts = {}
        for position, (word, cost) in detail.items():
            if position in claim.in_doubt:
                self.ids += 1
                receipts[position] = accepted(self.ids, str(cost)) if word == "accepted" else declined(word)
        claim.apply(receipts)
        self.tables.record(key, claim, receipts)
        assert self.tables.find(key) == claim

    def _kill(self, key: RequestKey, claim: Any, detail: Any) -> None:
        claim.cancelling_at = LATER
        self.tables.mark_cancelling(key, claim)
        claim.cancelling_at = None
        # Texts that somebody cancelled on purpose are not cancelled again.
        own = detail & (claim.ids.keys() - claim.cancelled_on_purpose)
        receipts = {p: declined(RejectReason.CANCELLED, str(claim.costs[p])) for p in own}
        claim.apply(receipts)
        self.tables.record(key, claim, receipts)
        assert self.tables.find(key) == claim

    def _cancel(self, key: RequestKey, claim: Any, detail: Any) -> None:
        ids = [claim.ids[position] for position in detail if position in claim.ids]
        self.history.mark_cancelling(ids)
        self.history.record_cancelled(dict.fromkeys(ids[::2], Decimal("0.7")))
        self.history.record_not_cancelled(dict.fromkeys(ids[1::2], DeliveryState.SENT))
        assert self.tables.find(key) == claim

    def _report(self, key: RequestKey, claim: Any, detail: Any) -> None:
        reports = [DeliveryReport(claim.ids[p], state) for p, state in detail.items() if p in claim.ids]
        self.history.record_reports(reports)
        assert self.tables.find(key) == claim

    def _resolve(self, key: RequestKey, claim: Any, detail: Any) -> None:
        if not claim.in_doubt:
            return
        ids = [self.ids + n for n in range(1, len(claim.in_doubt) + 1)]
        self.ids += len(ids)
        self.history.resolve(batch().id, key, ids if detail else None)

    def _release(self, key: RequestKey, claim: Any, _detail: Any) -> None:
        self.tables.release_claim(key, claim)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(st.tuples(st.integers(1, 3), _STEP), max_size=25))
def test_counts_and_costs_always_say_what_the_rows_say(
    sqlite: Database, tmp_path: Path, steps: list[tuple[int, tuple[str, Any]]]
) -> None:
    (tmp_path / "ledger.db").unlink(missing_ok=True)
    play = Play(sqlite)
    with play.tables, play.history:
        for request, (what, detail) in steps:
            play.step(RequestKey(1, request), what, detail)
            rows = sqlite.execute("SELECT state, cost, refund FROM sms_messages")
            of_state = [MessageState(row[0]).counter for row in rows]
            names = ("accepted", "declined", "unknown", "cancelled")
            sums = [sum((Decimal(str(row[n])) for row in rows), Decimal(0)) for n in (1, 2)]
            assert counts(sqlite) == [*map(of_state.count, names), *sums]
