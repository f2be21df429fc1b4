"""The claims and the outcomes of requests in the ledger's tables.

A process claims a request by inserting its row, whose primary key is unique, in a transaction that locks the
row of its batch.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import ClaimLost, LedgerUnavailable
from airflow_provider_winsms.ledger.base import RequestRecord
from airflow_provider_winsms.ledger.database import read_moment, transaction
from airflow_provider_winsms.ledger.message_rows import MessageRow, MessageRows
from airflow_provider_winsms.ledger.schema import MESSAGES, REQUESTS, MessageState
from airflow_provider_winsms.ledger.statements import (
    DELETE_MESSAGES,
    DELETE_REQUEST,
    MARK_REQUEST_CANCELLING,
    MARK_REQUEST_MESSAGES_CANCELLING,
    READ_CLAIM,
    READ_REQUEST,
    RENEW_MESSAGES,
    RENEW_REQUEST,
)
from airflow_provider_winsms.messages import Receipt, RejectReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.ledger.base import RequestKey
    from airflow_provider_winsms.ledger.batches import OpenBatch
    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.ledger.stored_forms import StoredForms
    from airflow_provider_winsms.messages import Message

_NOT_RECEIVED = Receipt.declined(RejectReason.NOT_RECEIVED)


class _ClaimChanged(Exception):  # noqa: N818 - it never leaves this module
    """The claim of a request was renewed, or the request answered, before it was marked as not received."""


class Claims:
    """The claims of requests of the open batch.

    :param forms: the forms in which numbers and texts are stored.
    """

    def __init__(
        self, database: LedgerDatabase, messages: MessageRows, batch: OpenBatch, forms: StoredForms
    ) -> None:
        self._database = database
        self._batch = batch
        self._messages = messages
        self._forms = forms

    @transaction
    def find(self, key: RequestKey) -> RequestRecord | None:
        """Return the record of a request."""
        found = self._database.read(READ_REQUEST, **self._batch.request(key))
        if not found:
            return None
        revision, size, claimed_at, process, send_at, cancelling_at = found[0]
        self._batch.check_revision(revision)
        record = RequestRecord(
            size=size,
            claimed_at=read_moment(claimed_at),
            owner=process,
            send_at=None if send_at is None else read_moment(send_at),
            cancelling_at=None if cancelling_at is None else read_moment(cancelling_at),
        )
        rows = self._messages.of_request(self._batch.id, key)
        for row in rows:
            _add_row(record, row)
        record.refunds = {
            row.position: row.refund
            for row in rows
            if row.state is MessageState.CANCELLED and row.reason is None
        }
        record.cancelled_on_purpose = frozenset(record.refunds)
        return record

    @transaction
    def claim(self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]) -> None:
        """Claim a request."""
        rows = list(self._rows(key, record, messages))
        self._batch.lock()
        claimant = self.claimant(key)
        if claimant == (record.owner, record.claimed_at):
            return  # an earlier commit wrote it, and its answer was lost
        if claimant is not None:
            msg = f"Request {key.request} was claimed by another process."
            raise ClaimLost(msg)
        values = {
            "batch_id": self._batch.id,
            "round": key.round,
            "request": key.request,
            "recipients": record.size,
            "process": record.owner,
            "claimed_at": self._database.instant(record.claimed_at),
            "send_at": self._database.instant(record.send_at),
        }
        self._database.insert(REQUESTS, [tuple(map(values.get, REQUESTS.column_names))])
        self._database.insert(MESSAGES, rows)
        self._messages.change_counts(self._batch.id, Counter({"unknown": len(rows)}))

    @transaction
    def renew(self, key: RequestKey, record: RequestRecord, claimed_at: DateTime) -> None:
        """Write a later time of a claim."""
        self._batch.lock()
        claimant = self.claimant(key)
        rows = self._messages.of_request(self._batch.id, key)
        is_answered = any(row.state is not MessageState.UNKNOWN for row in rows)
        if claimant is None or claimant[0] != record.owner or is_answered:
            msg = f"Request {key.request} was marked as not received by another process."
            raise ClaimLost(msg)
        renewed_at = self._database.instant(claimed_at)
        for statement in (RENEW_REQUEST, RENEW_MESSAGES):
            self._database.execute(statement, claimed_at=renewed_at, **self._batch.request(key))

    @transaction
    def release_claim(self, key: RequestKey, record: RequestRecord) -> None:
        """Delete a claim, unless another process has it, or the request has an outcome."""
        self._database.lock(self._batch.id)
        rows = self._messages.of_request(self._batch.id, key)
        claimant = self.claimant(key)
        is_mine = claimant is not None and claimant[0] == record.owner
        if not is_mine or any(row.state is not MessageState.UNKNOWN for row in rows):
            return
        if self._batch.has_later_requests(key):
            self._messages.settle(self._batch.id, key, {row.position: _NOT_RECEIVED for row in rows})
            self._messages.mark_answered(self._batch.id, key)
            return
        for statement in (DELETE_REQUEST, DELETE_MESSAGES):
            self._database.execute(statement, **self._batch.request(key))
        self._messages.change_counts(self._batch.id, Counter({"unknown": -len(rows)}))

    def claimant(self, key: RequestKey) -> tuple[str, DateTime] | None:
        """Return the process that has a claim, and its time. It is a part of the caller's transaction."""
        found = self._database.read(READ_CLAIM, **self._batch.request(key))
        return (found[0][0], read_moment(found[0][1])) if found else None

    def _rows(
        self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of messages without an outcome."""
        claimed_at, nothing = self._database.instant(record.claimed_at), self._database.amount(Decimal(0))
        first, positions = (self._batch.id, *key), count()
        for message in messages:
            text = self._forms.text(message.text)
            send_at = self._database.instant(message.send_at or record.send_at)
            outcome = (MessageState.UNKNOWN.value, None, None, nothing, nothing, self._batch.currency)
            known = (text, *outcome, claimed_at, send_at, claimed_at)
            for recipient in message.recipients:
                yield (
                    *first,
                    next(positions),
                    self._forms.number(recipient.number),
                    recipient.kind,
                    *known,
                    recipient.reference,
                )


class Outcomes:
    """The outcomes of claimed requests of the open batch."""

    def __init__(
        self, database: LedgerDatabase, messages: MessageRows, batch: OpenBatch, claims: Claims
    ) -> None:
        self._database = database
        self._batch = batch
        self._messages = messages
        self._claims = claims

    @transaction
    def record(self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]) -> None:
        """Write the outcome of a request."""
        self._database.lock(self._batch.id)
        if not self._settle_in_doubt(key, receipts):
            self._record_again(key, record, receipts)
        self._messages.mark_answered(self._batch.id, key, ends_cancelling=record.cancelling_at is None)

    def mark_not_received(
        self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]
    ) -> bool:
        """Write that recipients in doubt were not reached."""
        try:
            self._write_not_received(key, record, receipts)
        except _ClaimChanged:
            return False
        return True

    @transaction
    def mark_cancelling(self, key: RequestKey, record: RequestRecord) -> None:
        """Write that the accepted texts of a request are about to be cancelled."""
        self._database.lock(self._batch.id)
        now = self._database.instant(record.cancelling_at)
        for statement in (MARK_REQUEST_CANCELLING, MARK_REQUEST_MESSAGES_CANCELLING):
            self._database.execute(statement, now=now, **self._batch.request(key))

    def _settle_in_doubt(self, key: RequestKey, receipts: Mapping[int, Receipt]) -> bool:
        """Settle recipients in doubt, and tell whether that is all. It is all after a first answer."""
        known = {position: receipt for position, receipt in receipts.items() if receipt.is_known}
        if any(receipt.reason is RejectReason.CANCELLED for receipt in known.values()):
            return False
        is_whole = self._messages.settle(self._batch.id, key, known) == len(known)
        return is_whole and not self._is_being_cancelled(key)

    def _record_again(self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]) -> None:
        """Apply receipts to a request that has an outcome already."""
        rows = self._messages.of_request(self._batch.id, key)
        if not rows:
            msg = f"The ledger has no claim of request {key.request}, so its outcome cannot be recorded."
            raise LedgerUnavailable(msg)
        was_cancelling = self._is_being_cancelled(key) and record.cancelling_at is None
        settle = MessageRow.not_cancelled if was_cancelling else _unchanged
        changed = [
            row.after(receipts[row.position]) if row.position in receipts else settle(row) for row in rows
        ]
        self._messages.update(self._batch.id, key, rows, changed)

    @transaction
    def _write_not_received(
        self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]
    ) -> None:
        self._batch.lock()
        claimant = self._claims.claimant(key)
        is_as_read = claimant is not None and claimant[1] == record.claimed_at
        if not is_as_read or self._messages.settle(self._batch.id, key, receipts) != len(receipts):
            raise _ClaimChanged
        self._messages.mark_answered(self._batch.id, key)

    def _is_being_cancelled(self, key: RequestKey) -> bool:
        found = self._database.read(READ_CLAIM, **self._batch.request(key))
        return bool(found) and found[0][2] is not None


def _add_row(record: RequestRecord, row: MessageRow) -> None:
    """Add a row to a record. A text that a person cancelled has no reason, so it is not sent again."""
    if row.reason is not None:
        record.declined[row.position] = row.reason
    elif row.message_id is not None:
        record.ids[row.position], record.costs[row.position] = row.message_id, row.cost


def _unchanged(row: MessageRow) -> MessageRow:
    return row
