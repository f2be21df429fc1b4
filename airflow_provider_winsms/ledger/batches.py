"""The batches of one key in the ledger's tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import ClaimLost, IdempotencyConflict, LedgerUnavailable
from airflow_provider_winsms.ledger.base import (
    NOT_SUBMITTED,
    Batch,
    BatchDigest,
    RequestKey,
    Sender,
    parts_of,
    positions_in,
    spans_of,
)
from airflow_provider_winsms.ledger.database import read_moment, request_of, transaction
from airflow_provider_winsms.ledger.schema import BATCHES, DECISIONS, MESSAGES, ROUNDS, MessageState
from airflow_provider_winsms.ledger.statements import (
    DELETE_MESSAGES,
    FIND_GAPS,
    FIND_LATER_REQUESTS,
    FIND_REQUESTS_IN_USE,
    RAISE_REVISION,
    READ_BATCH,
    READ_DECISIONS,
    READ_LATEST_BATCH,
    READ_REVISION,
    READ_ROUNDS,
    REVISE_BATCH,
    SUPERSEDE_BATCHES,
)
from airflow_provider_winsms.messages import PHONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.ledger.base import Rejected, ResendPlan
    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.ledger.message_rows import MessageRows
    from airflow_provider_winsms.sql.statements import NamedStatement


class _InUse(Exception):  # noqa: N818 - it never leaves this module
    """The batch to be superseded had no requests, and has some now."""


class OpenBatch:
    """The batch of one key that this process sends, once it is found or written."""

    def __init__(self, database: LedgerDatabase, messages: MessageRows, key: str) -> None:
        self._database = database
        self._messages = messages
        self._key = key
        self._revision = 0
        self.id = self.sms_conn_id = self.currency = ""

    def latest(self) -> Batch | None:
        """Return the batch that an earlier try opened, in its last generation."""
        return self._opened(self._stored(READ_LATEST_BATCH, {"key_digest": key_digest(self._key)}))

    def open(self, batch: Batch) -> Batch:
        """Write a batch, or return the existing one of its key and generation."""
        found = self._stored(READ_BATCH, {"batch_id": batch.id})
        if found is None:
            try:
                self._write(batch)
            except LedgerUnavailable:
                # Another process may have written it first.
                found = self._stored(READ_BATCH, {"batch_id": batch.id})
                if found is None:
                    raise
            except _InUse:
                return self.latest() or batch
        opened = found or batch
        self._opened(opened)
        return opened

    def take_over(self) -> None:
        """Take the open batch over: from now on no other process can claim or decide its requests."""
        self._revision = self._raise_revision()

    @transaction
    def revise(self, digest: BatchDigest) -> None:
        """Replace the digest of the open batch, as it sends another list from now on."""
        self.lock()
        self._database.execute(
            REVISE_BATCH,
            batch_id=self.id,
            texts_digest=digest.texts,
            numbers_digest=digest.numbers,
            recipients=digest.recipients,
            request_count=digest.requests,
            duplicates=digest.duplicates,
        )

    @transaction
    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Write the recipients that are in no request of the open batch."""
        self.lock()
        before = self._database.execute(DELETE_MESSAGES, **self.request(NOT_SUBMITTED))
        now, nothing = self._database.now(), self._database.amount(Decimal(0))
        first, hidden = (self.id, *NOT_SUBMITTED), ("", PHONE, "", MessageState.DECLINED.value)
        amounts = nothing, nothing, self.currency
        rows = [
            (*first, position, *hidden, str(reason), None, *amounts, now, None, now, reference)
            for position, (reason, reference) in enumerate(rejected)
        ]
        self._database.insert(MESSAGES, rows)
        self._messages.change_counts(self.id, Counter({"declined": len(rows) - before}))

    @transaction
    def rounds(self) -> list[ResendPlan]:
        """Return the resend plan of each round after the first."""
        return self._plans()

    @transaction
    def open_round(self, round_: int, resend_plan: ResendPlan) -> ResendPlan:
        """Write the resend plan of a round, unless another process wrote one first."""
        self.lock()
        stored = self._plans()
        if round_ - 2 < len(stored):
            return stored[round_ - 2]
        rows = [(self.id, round_, *of, spans_of(positions)) for of, positions in resend_plan.items()]
        self._database.insert(ROUNDS, rows)
        return resend_plan

    def lock(self) -> None:
        """Lock the open batch until the transaction of the caller ends.

        :raises ClaimLost: if this process may no longer change it.
        """
        if not self._database.lock(self.id, self._revision):
            raise _superseded()

    def check_revision(self, revision: int) -> None:
        """Check the revision of the batch, which the caller's transaction read.

        :raises ClaimLost: if another process has taken the batch over.
        """
        if revision != self._revision:
            raise _superseded()

    def request(self, key: RequestKey) -> dict[str, Any]:
        """Return the parameters of a statement that identify a request of the open batch."""
        return request_of(self.id, key)

    def has_later_requests(self, key: RequestKey) -> bool:
        """Tell whether later requests depend on the plan of one, so that no other plan may reuse its key."""
        found = self._database.read(FIND_LATER_REQUESTS, revision=self._revision, **self.request(key))
        return bool(found)

    def _plans(self) -> list[ResendPlan]:
        rows = self._database.read(READ_ROUNDS, batch_id=self.id)
        return [
            {
                RequestKey(of_round, of_request): positions_in(spans)
                for _, of_round, of_request, spans in alike
            }
            for _, alike in groupby(rows, key=itemgetter(0))
        ]

    def _opened(self, batch: Batch | None) -> Batch | None:
        self.id, self.sms_conn_id, self.currency, self._revision = (
            ("", "", "", 0)
            if batch is None
            else (batch.id, batch.sms_conn_id, batch.currency, batch.revision)
        )
        return batch

    @transaction
    def _stored(self, query: NamedStatement, values: dict[str, str]) -> Batch | None:
        rows = self._database.read(query, **values)
        if not rows:
            return None
        batch = _batch(rows[0])
        parts = self._database.read(READ_DECISIONS, batch_id=batch.id)
        return replace(batch, decisions="".join(content for (content,) in parts))

    @transaction
    def _write(self, batch: Batch) -> None:
        now, key = self._database.now(), {"key_digest": key_digest(batch.key)}
        self._database.execute(SUPERSEDE_BATCHES, now=now, generation=batch.generation, **key)
        if self._database.read(FIND_REQUESTS_IN_USE, **key, **_predecessor(batch)):
            raise _InUse
        row = _values(batch, now, self._database)
        self._database.insert(BATCHES, [tuple(row[name] for name in BATCHES.column_names)])
        parts = enumerate(parts_of(batch.decisions))
        self._database.insert(DECISIONS, [(batch.id, part, content) for part, content in parts])

    @transaction
    def _raise_revision(self) -> int:
        if not self._database.lock(self.id):
            raise _superseded()
        if self._database.read(FIND_GAPS, batch_id=self.id):
            msg = (
                "The list has changed since an earlier try, and its claims have a gap, as a claim "
                "before others was released. Nothing more was sent. Give the list of the earlier try, clear "
                'the task with on_clear="resend" to send to everybody in the list, or start a new DAG run.'
            )
            raise IdempotencyConflict(msg)
        self._database.execute(RAISE_REVISION, batch_id=self.id)
        return int(self._database.read(READ_REVISION, batch_id=self.id)[0][0])


def _superseded() -> ClaimLost:
    return ClaimLost(
        "The batch was superseded by a later one under the same key, or taken over by a later try; this try "
        "sends nothing more."
    )


def _predecessor(batch: Batch) -> dict[str, Any]:
    """Return the parameters that find the batch that another one supersedes, and its task."""
    return {
        "generation": batch.generation - 1,
        "max_tries": batch.max_tries,
        "dag_id": batch.sender.dag_id,
        "run_id": batch.sender.run_id,
        "task_id": batch.sender.task_id,
        "map_index": batch.sender.map_index,
    }


def key_digest(key: str) -> str:
    """Return the digest of a batch key, by which the tables identify it."""
    return sha256(key.encode()).hexdigest()


def _values(batch: Batch, now: Any, database: LedgerDatabase) -> dict[str, Any]:
    sender, digest, nothing = batch.sender, batch.digest, database.amount(Decimal(0))
    return {
        "batch_id": batch.id,
        "key_digest": key_digest(batch.key),
        "batch_key": batch.key,
        "generation": batch.generation,
        "dag_id": sender.dag_id,
        "run_id": sender.run_id,
        "task_id": sender.task_id,
        "map_index": sender.map_index,
        "owner": sender.owner,
        "sms_conn_id": batch.sms_conn_id,
        "guarantee": str(batch.guarantee),
        "texts_digest": digest.texts,
        "numbers_digest": digest.numbers,
        "key_id": digest.key_id,
        "recipients": digest.recipients,
        "requests": digest.requests,
        "duplicates": digest.duplicates,
        "max_tries": batch.max_tries,
        "revision": batch.revision,
        **dict.fromkeys(("accepted", "declined", "unknown", "cancelled"), 0),
        **dict.fromkeys(("cost", "refunded"), nothing),
        "currency": batch.currency,
        "opened_at": database.instant(batch.opened_at),
        "updated_at": now,
        "superseded_at": None,
    }


def _batch(row: tuple[Any, ...]) -> Batch:
    key, *rest, sms_conn_id, guarantee, max_tries, opened_at, generation, revision, currency = row
    return Batch(
        key=key,
        sender=Sender(*rest[:5]),
        digest=BatchDigest(*rest[5:]),
        sms_conn_id=sms_conn_id,
        guarantee=guarantee,
        max_tries=max_tries,
        opened_at=read_moment(opened_at),
        currency=currency,
        generation=generation,
        revision=revision,
    )
