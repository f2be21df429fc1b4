"""Submits one request: claims it, lets it leave, and records its answer."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import (
    ClaimLost,
    InvalidMessage,
    LedgerUnavailable,
    OutcomeUnknown,
    SmsError,
    UnsupportedCapability,
)
from airflow_provider_winsms.ledger.base import RequestRecord
from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.sending.policy import CLAIM_LIFETIME, DUE_MARGIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.ledger.base import RequestKey
    from airflow_provider_winsms.messages import Message, Receipt
    from airflow_provider_winsms.sending.lookups import Lookup
    from airflow_provider_winsms.sending.outcome import SendOutcome
    from airflow_provider_winsms.sending.plan import Request
    from airflow_provider_winsms.sending.records import RecordWriter
    from airflow_provider_winsms.sending.submission import SendDependencies


class Submitter:
    """Claims, submits and records one request after another.

    :ivar lost_in_a_row: how many answers were lost since the last one that arrived or was found.
    :ivar is_account_refused: whether the gateway declined a recipient for a reason that holds for all.
    """

    def __init__(
        self, dependencies: SendDependencies, records: RecordWriter, lookup: Lookup, outcome: SendOutcome
    ) -> None:
        self.lost_in_a_row = 0
        self.is_account_refused = False
        self._records = records
        self._lookup = lookup
        self._outcome = outcome
        self._gateway = dependencies.gateway
        self._execute = dependencies.execute
        self._ledger = dependencies.ledger
        self._clock = dependencies.clock
        self._policy = dependencies.policy
        self._process = dependencies.process
        self._log = dependencies.log

    def submit(self, key: RequestKey, request: Request) -> RequestRecord:
        """Return the record of a request: this process's, or that of a process that claimed it first.

        :raises InvalidMessage: if the time of texts has passed.
        :raises LedgerUnavailable: if the claim cannot be written. No request leaves without a claim.
        """
        if self.lost_in_a_row:
            self._check_gateway_answers()
        now = self._clock.now()
        held = self._gateway.first_possible_time(now + self._policy.hold) if self._policy.is_held else None
        messages = request.messages(held)
        _raise_if_past(messages, now)
        due = frozenset(m.send_at.in_timezone("UTC") for m in messages if m.send_at is not None)
        record = RequestRecord(request.size, now, self._process, held, due=due)
        try:
            self._ledger.claim(key, record, messages)
        except ClaimLost:
            claimed = self._ledger.find(key)
            if claimed is None:
                raise
            return claimed
        except LedgerUnavailable:
            with suppress(LedgerUnavailable):
                self._ledger.release_claim(key, record)  # it may have been written, and its answer lost
            raise
        self._send(key, record, messages)
        return record

    def _send(self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]) -> None:
        """Submit a claimed request, and record its answer. Release the claim if the request never left."""
        is_out = False

        @contextmanager
        def before_send() -> Iterator[None]:
            nonlocal is_out
            self._check_claim(key, record)
            is_out = True
            try:
                yield
            except OutcomeUnknown:
                raise
            except SmsError:
                is_out = False
                raise

        try:
            receipts = self._execute(self._gateway.submit(self._lookup.outgoing(key, messages)), before_send)
        except OutcomeUnknown as error:
            self.lost_in_a_row += 1
            self._log.warning("Request %d: %s", key.request, error)
            return
        except BaseException:  # a time-out strikes anywhere
            if not is_out:
                with suppress(LedgerUnavailable):
                    self._ledger.release_claim(key, record)
            raise
        self._receive(key, record, receipts)

    def _receive(self, key: RequestKey, record: RequestRecord, receipts: Sequence[Receipt]) -> None:
        self.lost_in_a_row = 0
        self.is_account_refused = any(r.reason is not None and r.reason.is_account_level for r in receipts)
        if unpriced := sum(r.accepted and r.cost is None for r in receipts):
            self._log.warning(
                "Request %d: the gateway states no amount that can be read for %s.",
                key.request,
                pluralize(unpriced, "accepted text"),
            )
        self._outcome.add_details(receipts)
        self._records.record(key, record, {p: r for p, r in enumerate(receipts) if r.is_known})

    def _check_gateway_answers(self) -> None:
        """Make a call that costs nothing, before another request could be lost like the last one."""
        with suppress(UnsupportedCapability):
            self._execute(self._gateway.balance())

    def _check_claim(self, key: RequestKey, record: RequestRecord) -> None:
        """Renew a claim that had to wait. Another process may have given the request up meanwhile."""
        now = self._clock.now()
        if now - record.claimed_at < CLAIM_LIFETIME:
            return
        if record.send_at is not None and now + self._policy.in_flight + DUE_MARGIN > record.send_at:
            # It would be due before a lost answer could be looked up. A later try sets a new time.
            msg = "The request had to wait too long: its texts are due too soon. A later try submits it."
            raise ClaimLost(msg)
        self._ledger.renew(key, record, now)
        record.claimed_at = now


def _raise_if_past(messages: Iterable[Message], now: DateTime) -> None:
    late = sum(len(m.recipients) for m in messages if m.send_at is not None and m.send_at <= now)
    if late:
        msg = (
            f"The time of {pluralize(late, 'text')} has passed before they could be submitted; the "
            "gateway would send them at once. Neither these nor those after them were submitted."
        )
        raise InvalidMessage(msg)
