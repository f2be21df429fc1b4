"""The ledger in tables of a database. It knows all batches of all tasks, and outlives Airflow's own state.

A process claims a request by inserting its row, whose primary key is unique, in a transaction that locks the
row of its batch. Each transaction may run twice: if the answer to its commit is lost, it is repeated over a
new connection. So each one can be repeated without harm.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import count, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import ClaimLost, IdempotencyConflict, LedgerUnavailable
from airflow_provider_winsms.ledger.base import (
    NOT_SUBMITTED,
    SHORT_HASH_DIGITS,
    Batch,
    BatchDigest,
    RecipientDigest,
    RequestKey,
    RequestRecord,
    Sender,
    positions_in,
    spans_of,
)
from airflow_provider_winsms.ledger.schema import (
    BATCHES,
    CANCELLABLE,
    MESSAGES,
    REQUESTS,
    ROUNDS,
    MessageState,
    state_list,
)
from airflow_provider_winsms.ledger.tables import MessageRow, TableAccess, read_moment, whole_id
from airflow_provider_winsms.messages import Receipt, RejectReason, instants_of
from airflow_provider_winsms.options import Privacy, StoredText, check_choice, check_prefix
from airflow_provider_winsms.phone import is_plain
from airflow_provider_winsms.sql.values import storable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from pendulum import DateTime

    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.ledger.base import Rejected, ResendPlan
    from airflow_provider_winsms.ledger.tables import SentMessage
    from airflow_provider_winsms.messages import Message, MessageId, ScheduledMessage
    from airflow_provider_winsms.runtime import ClockReading

_BATCH = (
    "SELECT batch_key, dag_id, run_id, task_id, map_index, owner, texts_digest, numbers_digest, key_id, "
    "recipients, requests, duplicates, sms_conn_id, guarantee, max_tries, opened_at, generation, revision "
    "FROM {batches} WHERE "
)


_IN_USE = (
    "SELECT 1 AS found FROM {batches} b INNER JOIN {requests} r ON r.batch_id = b.batch_id "
    "WHERE b.key_digest = {p} AND b.generation = {p} AND NOT (b.max_tries <> {p} AND b.dag_id = {p} "
    "AND b.run_id = {p} AND b.task_id = {p} AND b.map_index = {p}) LIMIT 1"
)
"""Requests of the batch that another one supersedes, unless its task was cleared: that sends all again."""

_LATER_REQUESTS = (
    "SELECT 1 AS found FROM {batches} b WHERE b.batch_id = {p} AND (b.revision <> {p} OR EXISTS "
    "(SELECT 1 FROM {requests} r WHERE r.batch_id = b.batch_id AND r.round = {p} AND r.request > {p}))"
)
"""Whether later requests depend on the plan of one request. Then another plan must not reuse its key."""

_GAPS = (
    "SELECT round FROM {requests} WHERE batch_id = {p} GROUP BY round HAVING MAX(request) > COUNT(*) LIMIT 1"
)

_NOT_RECEIVED = Receipt.declined(RejectReason.NOT_RECEIVED)

_HASH_DIGITS = 64
_HASH = re.compile(f"[0-9a-f]{{{_HASH_DIGITS}}}")

_CONFLICTS = (
    "SELECT m.number FROM {messages} m INNER JOIN {batches} b ON b.batch_id = m.batch_id "
    "WHERE m.number IN ({numbers}) AND m.send_at >= {p} AND m.send_at < {p} AND ("
    "(m.state = 'unknown' AND NOT (m.batch_id = {p} AND m.round = {p} AND m.request = {p})) "
    "OR (m.reason = 'not_received' AND b.guarantee = 'at_least_once' AND m.batch_id <> {p}))"
)
_OTHER_FORMS = (
    "SELECT 1 AS found FROM {messages} m INNER JOIN {batches} b ON b.batch_id = m.batch_id "
    "WHERE m.send_at >= {p} AND m.send_at < {p} AND m.batch_id <> {p} "
    "AND (m.state = 'unknown' OR m.reason = 'not_received') "
    "AND (LENGTH(m.number) BETWEEN {p} AND {p} OR b.key_id <> COALESCE(NULLIF({p}, ''), b.key_id)) LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class SqlOptions:
    """The names of the tables, and the personal data in them.

    :param prefix: the beginning of the tables' names.
    :param privacy: ``"keyed_hash"`` stores a keyed hash of each number.
    :param text: ``"keep"`` stores each text; otherwise a keyed hash of it is stored.
    :raises InvalidMessage: if a value is not one of the choices.
    """

    prefix: str = "sms_"
    privacy: Privacy = "none"
    text: StoredText = "digest"

    def __post_init__(self) -> None:
        check_prefix("ledger_prefix", self.prefix)
        check_choice("ledger_privacy", self.privacy, Privacy)
        check_choice("ledger_text", self.text, StoredText)


class _InUse(Exception):  # noqa: N818 - it never leaves this module
    """The batch to be superseded had no requests, and has some now."""


class _ClaimChanged(Exception):  # noqa: N818 - it never leaves this module
    """The claim of a request was renewed, or the request answered, before it was marked as not received."""


class SqlLedger(TableAccess):
    """The ledger of one batch key. It holds a connection until it is closed.

    :param hook: the database's: PostgreSQL, MySQL, MariaDB or SQLite.
    :param key: of the batches.
    :param hashes: makes the stored hashes.
    :raises ConfigurationError: if the database cannot keep a ledger, or a table lacks columns.
    """

    def __init__(self, hook: DbApiHook, key: str, hashes: KeyedHash, options: SqlOptions) -> None:
        self._key = key
        self._hashes = hashes
        self._options = options
        self._batch_id = self._sms_conn_id = ""
        self._revision = 0
        super().__init__(hook, options.prefix)

    def latest(self) -> Batch | None:
        """Return the batch that an earlier try opened, in its last generation."""
        query = _BATCH + "key_digest = {p} ORDER BY generation DESC LIMIT 1"
        return self._opened(self._stored(query, _digest(self._key)))

    def open(self, batch: Batch) -> Batch:
        """Write a batch, or return the existing one of its key and generation."""
        query = _BATCH + "batch_id = {p}"
        found = self._stored(query, batch.id)
        if found is None:
            try:
                self._tables.transact(lambda: self._write(batch))
            except LedgerUnavailable:
                # Another process may have written it first.
                found = self._stored(query, batch.id)
                if found is None:
                    raise
            except _InUse:
                return self.latest() or batch
        opened = found or batch
        self._opened(opened)
        return opened

    def take_over(self) -> None:
        """Take the open batch over: from now on no other process can claim or decide its requests."""
        self._revision = self._tables.transact(self._take_over)

    def revise(self, digest: BatchDigest) -> None:
        """Replace the digest of the open batch, as it sends another list from now on."""
        self._tables.transact(lambda: self._revise(digest))

    def recipient_digests(self, key: RequestKey) -> list[RecipientDigest]:
        """Return the recipients of a claimed request."""
        return self._tables.transact(lambda: self._recipient_digests(key))

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Write the recipients that are in no request of the open batch."""
        self._tables.transact(lambda: self._reject(rejected))

    def short_hash(self, part: str) -> str:
        """Return a short hash of a number or a text. Each try may choose another form for the tables."""
        return self._hashes.of(part)[:SHORT_HASH_DIGITS]

    def find(self, key: RequestKey) -> RequestRecord | None:
        """Return the record of a request."""
        return self._tables.transact(lambda: self._find(key))

    def claim(self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]) -> None:
        """Claim a request."""
        rows = list(self._rows(key, record, messages))
        self._tables.transact(lambda: self._write_claim(key, record, rows))

    def renew(self, key: RequestKey, record: RequestRecord, claimed_at: DateTime) -> None:
        """Write a later time of a claim."""
        self._tables.transact(lambda: self._renew(key, record, claimed_at))

    def record(self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]) -> None:
        """Write the outcome of a request."""
        self._tables.transact(lambda: self._record(key, record, receipts))

    def mark_not_received(
        self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]
    ) -> bool:
        """Write that recipients in doubt were not reached."""
        try:
            self._tables.transact(lambda: self._write_not_received(key, record, receipts))
        except _ClaimChanged:
            return False
        return True

    def rounds(self) -> list[ResendPlan]:
        """Return the resend plan of each round after the first."""
        return self._tables.transact(self._rounds)

    def open_round(self, round_: int, resend_plan: ResendPlan) -> ResendPlan:
        """Write the resend plan of a round, unless another process wrote one first."""
        return self._tables.transact(lambda: self._open_round(round_, resend_plan))

    def mark_cancelling(self, key: RequestKey, record: RequestRecord) -> None:
        """Write that the accepted texts of a request are about to be cancelled."""
        self._tables.transact(lambda: self._mark_cancelling(key, record))

    def release_claim(self, key: RequestKey, record: RequestRecord) -> None:
        """Delete a claim, unless another process has it, or the request has an outcome."""
        self._tables.transact(lambda: self._delete_claim(key, record))

    def known_ids(self, rows: Collection[ScheduledMessage]) -> set[MessageId]:
        """Return the ids of the rows that belong to recipients of any batch in the tables."""
        ids = [whole_id(row.message_id) for row in rows]
        found = self._tables.transact(lambda: self._tables.sent_as(ids, self._sms_conn_id))
        sent = defaultdict(list)
        for text in found:
            sent[text.message_id].append(text)
        return {
            row.message_id
            for row in rows
            if any(self._is_same(text, row) for text in sent.get(whole_id(row.message_id), ()))
        }

    def _is_same(self, text: SentMessage, row: ScheduledMessage) -> bool:
        """Tell whether a row is of a text, as far as number and minute can be compared."""
        times = instants_of(row.send_at)
        if text.send_at is None or (times and text.send_at not in times):
            return False
        if len(text.number) != _HASH_DIGITS:
            return not is_plain(row.number) or text.number == row.number
        is_comparable = is_plain(row.number) and text.key_id == self._hashes.key_id
        return not is_comparable or text.number == self._hashes.of(row.number)

    def read_clock(self) -> ClockReading | None:
        """Return a reading of the server's clock; ``None`` for SQLite, which has this machine's."""
        return self._tables.transact(self._tables.read_clock)

    def conflicts(self, key: RequestKey, send_at: DateTime, numbers: Collection[str]) -> set[str]:
        """Return the numbers that another request in doubt has a text for in that minute."""
        return self._tables.transact(lambda: self._conflicts(key, send_at, numbers))

    def _stored(self, query: str, parameter: str) -> Batch | None:
        rows = self._tables.transact(lambda: self._tables.read("read the batch", query, parameter))
        return _batch(rows[0]) if rows else None

    def _opened(self, batch: Batch | None) -> Batch | None:
        self._batch_id, self._sms_conn_id, self._revision = (
            ("", "", 0) if batch is None else (batch.id, batch.sms_conn_id, batch.revision)
        )
        return batch

    def _take_over(self) -> int:
        if not self._tables.lock(self._batch_id):
            raise _superseded()
        if self._tables.read("look for gaps", _GAPS, self._batch_id):
            msg = (
                "The list has changed since an earlier try, and its claims have a gap, as a claim "
                "before others was released. Nothing more was sent. Give the list of the earlier try, clear "
                'the task with on_clear="resend" to send to everybody in the list, or start a new DAG run.'
            )
            raise IdempotencyConflict(msg)
        statement = "UPDATE {batches} SET revision = revision + 1 WHERE batch_id = {p}"
        self._tables.execute("take the batch over", statement, self._batch_id)
        query = "SELECT revision FROM {batches} WHERE batch_id = {p}"
        return int(self._tables.read("read the revision", query, self._batch_id)[0][0])

    def _revise(self, digest: BatchDigest) -> None:
        self._lock_in_force()
        statement = (
            "UPDATE {batches} SET texts_digest = {p}, numbers_digest = {p}, recipients = {p}, "
            "requests = {p}, duplicates = {p} WHERE batch_id = {p}"
        )
        digests = digest.texts, digest.numbers
        counts = digest.recipients, digest.requests, digest.duplicates
        self._tables.execute("revise the batch", statement, *digests, *counts, self._batch_id)

    def _reject(self, rejected: Sequence[Rejected]) -> None:
        self._lock_in_force()
        statement = "DELETE FROM {messages} WHERE {here}"
        before = self._tables.execute("reject recipients", statement, self._batch_id, *NOT_SUBMITTED)
        now, nothing = self._tables.now(), self._tables.amount(Decimal(0))
        first, declined = (self._batch_id, *NOT_SUBMITTED), MessageState.DECLINED.value
        rows = [
            (
                *first,
                position,
                "",
                "",
                declined,
                str(reason),
                None,
                nothing,
                nothing,
                now,
                None,
                now,
                reference,
            )
            for position, (reason, reference) in enumerate(rejected)
        ]
        self._tables.insert(MESSAGES, rows)
        difference = Counter({"declined": len(rows) - before})
        self._tables.change_counts(self._batch_id, difference, Decimal(0), Decimal(0))

    def _recipient_digests(self, key: RequestKey) -> list[RecipientDigest]:
        query = (
            "SELECT m.number, m.text, CASE WHEN m.send_at = r.send_at THEN NULL ELSE m.send_at END AS own "
            "FROM {messages} m INNER JOIN {requests} r ON r.batch_id = m.batch_id AND r.round = m.round "
            "AND r.request = m.request WHERE m.batch_id = {p} AND m.round = {p} AND m.request = {p} "
            "ORDER BY m.position"
        )
        rows = self._tables.read("read the recipients of a request", query, self._batch_id, *key)
        texts = {text: self._hashed(text) for text in {text for _, text, _ in rows}}
        return [
            RecipientDigest(self._hashed(number), texts[text], own and read_moment(own))
            for number, text, own in rows
        ]

    def _hashed(self, stored: str) -> str:
        """Return a short hash of a number or a text that is stored in plain, or as its hash."""
        digits = stored if _HASH.fullmatch(stored) else self._hashes.of(stored)
        return digits[:SHORT_HASH_DIGITS]

    def _stored_number(self, number: str) -> str:
        return self._hashes.of(number) if self._options.privacy == "keyed_hash" else number

    def _stored_text(self, text: str) -> str:
        return storable(text) if self._options.text == "keep" else self._hashes.of(text)

    def _write(self, batch: Batch) -> None:
        supersede = (
            "UPDATE {batches} SET superseded_at = {p} "
            "WHERE key_digest = {p} AND generation < {p} AND superseded_at IS NULL"
        )
        now, key = self._tables.now(), _digest(batch.key)
        self._tables.execute("supersede a batch", supersede, now, key, batch.generation)
        before = (key, batch.generation - 1, batch.max_tries)
        if self._tables.read("look for requests", _IN_USE, *before, *_identity(batch)):
            raise _InUse
        row = self._values(batch, now)
        self._tables.insert(BATCHES, [tuple(row[name] for name in BATCHES.column_names)])

    def _values(self, batch: Batch, now: Any) -> dict[str, Any]:
        sender, digest, nothing = batch.sender, batch.digest, self._tables.amount(Decimal(0))
        return {
            "batch_id": batch.id,
            "key_digest": _digest(batch.key),
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
            "opened_at": self._tables.instant(batch.opened_at),
            "updated_at": now,
            "superseded_at": None,
        }

    def _find(self, key: RequestKey) -> RequestRecord | None:
        query = (
            "SELECT b.revision, r.recipients, r.claimed_at, r.process, r.send_at, r.cancelling_at "
            "FROM {requests} r INNER JOIN {batches} b ON b.batch_id = r.batch_id "
            "WHERE r.batch_id = {p} AND r.round = {p} AND r.request = {p}"
        )
        found = self._tables.read("read a request", query, self._batch_id, *key)
        if not found:
            return None
        revision, size, claimed_at, process, send_at, cancelling_at = found[0]
        if revision != self._revision:
            raise _superseded()
        record = RequestRecord(
            size=size,
            claimed_at=read_moment(claimed_at),
            owner=process,
            send_at=None if send_at is None else read_moment(send_at),
            cancelling_at=None if cancelling_at is None else read_moment(cancelling_at),
        )
        rows = self._tables.rows_of(self._batch_id, key)
        for row in rows:
            _add_row(record, row)
        record.cancelled_on_purpose = frozenset(
            row.position for row in rows if row.state is MessageState.CANCELLED and row.reason is None
        )
        return record

    def _rows(
        self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of messages without an outcome."""
        claimed_at, nothing = self._tables.instant(record.claimed_at), self._tables.amount(Decimal(0))
        first, positions = (self._batch_id, *key), count()
        for message in messages:
            text = self._stored_text(message.text)
            send_at = self._tables.instant(message.send_at or record.send_at)
            outcome = (MessageState.UNKNOWN.value, None, None, nothing, nothing)
            known = (text, *outcome, claimed_at, send_at, claimed_at)
            for recipient in message.recipients:
                yield (
                    *first,
                    next(positions),
                    self._stored_number(recipient.number),
                    *known,
                    recipient.reference,
                )

    def _write_claim(self, key: RequestKey, record: RequestRecord, rows: Sequence[tuple[Any, ...]]) -> None:
        self._lock_in_force()
        claimant = self._claimant(key)
        if claimant == (record.owner, record.claimed_at):
            return  # an earlier commit wrote it, and its answer was lost
        if claimant is not None:
            msg = f"Request {key.request} was claimed by another process."
            raise ClaimLost(msg)
        values = {
            "batch_id": self._batch_id,
            "round": key.round,
            "request": key.request,
            "recipients": record.size,
            "process": record.owner,
            "claimed_at": self._tables.instant(record.claimed_at),
            "send_at": self._tables.instant(record.send_at),
        }
        self._tables.insert(REQUESTS, [tuple(map(values.get, REQUESTS.column_names))])
        self._tables.insert(MESSAGES, rows)
        self._count_unknown(len(rows))

    def _count_unknown(self, difference: int) -> None:
        nothing = Decimal(0)
        self._tables.change_counts(self._batch_id, Counter({"unknown": difference}), nothing, nothing)

    def _lock_in_force(self) -> None:
        """Lock the batch until the transaction ends.

        :raises ClaimLost: if this process may no longer change it.
        """
        if not self._tables.lock(self._batch_id, self._revision):
            raise _superseded()

    def _claimant(self, key: RequestKey) -> tuple[str, DateTime] | None:
        query = "SELECT process, claimed_at FROM {requests} WHERE {here}"
        found = self._tables.read("read a request", query, self._batch_id, *key)
        return (found[0][0], read_moment(found[0][1])) if found else None

    def _renew(self, key: RequestKey, record: RequestRecord, renewed_at: DateTime) -> None:
        self._lock_in_force()
        claimant = self._claimant(key)
        rows = self._tables.rows_of(self._batch_id, key)
        is_answered = any(row.state is not MessageState.UNKNOWN for row in rows)
        if claimant is None or claimant[0] != record.owner or is_answered:
            msg = f"Request {key.request} was marked as not received by another process."
            raise ClaimLost(msg)
        claimed_at = self._tables.instant(renewed_at)
        for statement in (
            "UPDATE {requests} SET claimed_at = {p} WHERE {here}",
            "UPDATE {messages} SET submitted_at = {p} WHERE {here}",
        ):
            self._tables.execute("renew a claim", statement, claimed_at, self._batch_id, *key)

    def _record(self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]) -> None:
        self._tables.lock(self._batch_id)
        if not self._settle_in_doubt(key, receipts):
            self._record_again(key, record, receipts)
        self._tables.mark_answered(self._batch_id, key, ends_cancelling=record.cancelling_at is None)

    def _settle_in_doubt(self, key: RequestKey, receipts: Mapping[int, Receipt]) -> bool:
        """Settle recipients in doubt, and tell whether that is all. It is all after a first answer."""
        known = {position: receipt for position, receipt in receipts.items() if receipt.is_known}
        if any(receipt.reason is RejectReason.CANCELLED for receipt in known.values()):
            return False
        is_whole = self._tables.settle(self._batch_id, key, known) == len(known)
        return is_whole and not self._is_being_cancelled(key)

    def _record_again(self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]) -> None:
        """Apply receipts to a request that has an outcome already."""
        rows = self._tables.rows_of(self._batch_id, key)
        if not rows:
            msg = f"The ledger has no claim of request {key.request}, so its outcome cannot be recorded."
            raise LedgerUnavailable(msg)
        was_cancelling = self._is_being_cancelled(key) and record.cancelling_at is None
        settle = MessageRow.not_cancelled if was_cancelling else _unchanged
        changed = [
            row.after(receipts[row.position]) if row.position in receipts else settle(row) for row in rows
        ]
        self._tables.update(self._batch_id, key, rows, changed)

    def _write_not_received(
        self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]
    ) -> None:
        self._lock_in_force()
        claimant = self._claimant(key)
        is_as_read = claimant is not None and claimant[1] == record.claimed_at
        if not is_as_read or self._tables.settle(self._batch_id, key, receipts) != len(receipts):
            raise _ClaimChanged
        self._tables.mark_answered(self._batch_id, key)

    def _rounds(self) -> list[ResendPlan]:
        query = (
            "SELECT round, of_round, of_request, positions FROM {rounds} WHERE batch_id = {p} "
            "ORDER BY round, of_round, of_request"
        )
        rows = self._tables.read("read the rounds", query, self._batch_id)
        return [
            {
                RequestKey(of_round, of_request): positions_in(spans)
                for _, of_round, of_request, spans in alike
            }
            for _, alike in groupby(rows, key=itemgetter(0))
        ]

    def _open_round(self, round_: int, resend_plan: ResendPlan) -> ResendPlan:
        self._lock_in_force()
        stored = self._rounds()
        if round_ - 2 < len(stored):
            return stored[round_ - 2]
        rows = [(self._batch_id, round_, *of, spans_of(positions)) for of, positions in resend_plan.items()]
        self._tables.insert(ROUNDS, rows)
        return resend_plan

    def _is_being_cancelled(self, key: RequestKey) -> bool:
        query = "SELECT cancelling_at FROM {requests} WHERE {here}"
        found = self._tables.read("read a request", query, self._batch_id, *key)
        return bool(found) and found[0][0] is not None

    def _mark_cancelling(self, key: RequestKey, record: RequestRecord) -> None:
        self._tables.lock(self._batch_id)
        now = self._tables.instant(record.cancelling_at)
        mark = "UPDATE {requests} SET cancelling_at = {p} WHERE {here}"
        move = (
            "UPDATE {messages} SET state = 'cancelling', state_at = {p} WHERE {here} AND state IN ({waiting})"
        )
        self._tables.execute("mark a request", mark, now, self._batch_id, *key)
        self._tables.execute(
            "mark messages", move, now, self._batch_id, *key, waiting=state_list(CANCELLABLE)
        )

    def _delete_claim(self, key: RequestKey, record: RequestRecord) -> None:
        self._tables.lock(self._batch_id)
        rows = self._tables.rows_of(self._batch_id, key)
        claimant = self._claimant(key)
        is_mine = claimant is not None and claimant[0] == record.owner
        if not is_mine or any(row.state is not MessageState.UNKNOWN for row in rows):
            return
        if self._tables.read("look for other plans", _LATER_REQUESTS, self._batch_id, self._revision, *key):
            self._tables.settle(self._batch_id, key, {row.position: _NOT_RECEIVED for row in rows})
            self._tables.mark_answered(self._batch_id, key)
            return
        for statement in ("DELETE FROM {messages} WHERE {here}", "DELETE FROM {requests} WHERE {here}"):
            self._tables.execute("delete a claim", statement, self._batch_id, *key)
        self._count_unknown(-len(rows))

    def _conflicts(self, key: RequestKey, send_at: DateTime, numbers: Collection[str]) -> set[str]:
        minute = send_at.replace(second=0, microsecond=0)
        between = self._tables.instant(minute), self._tables.instant(minute + timedelta(minutes=1))
        if self._tables.read(
            "look for conflicts", _OTHER_FORMS, *between, self._batch_id, *self._other_forms()
        ):
            return set(numbers)
        plain = {self._stored_number(number): number for number in numbers}
        return {
            plain.get(row[0], row[0])
            for chunk, placeholders in self._tables.in_chunks(list(plain))
            for row in self._tables.read(
                "look for conflicts",
                _CONFLICTS,
                *chunk,
                *between,
                self._batch_id,
                *key,
                self._batch_id,
                numbers=placeholders,
            )
        }

    def _other_forms(self) -> tuple[int, int, str]:
        """Return the parameters of ``_OTHER_FORMS``, which finds numbers that cannot be compared."""
        is_hashed = self._options.privacy == "keyed_hash"
        least, most = (0, _HASH_DIGITS - 1) if is_hashed else (_HASH_DIGITS, _HASH_DIGITS)
        return least, most, self._hashes.key_id if is_hashed else ""


def _superseded() -> ClaimLost:
    return ClaimLost(
        "The batch was superseded by a later one under the same key, or taken over by a later try; this try "
        "sends nothing more."
    )


def _identity(batch: Batch) -> tuple[str, str, str, int]:
    sender = batch.sender
    return sender.dag_id, sender.run_id, sender.task_id, sender.map_index


def _digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def _batch(row: tuple[Any, ...]) -> Batch:
    key, *rest, sms_conn_id, guarantee, max_tries, opened_at, generation, revision = row
    return Batch(
        key=key,
        sender=Sender(*rest[:5]),
        digest=BatchDigest(*rest[5:]),
        sms_conn_id=sms_conn_id,
        guarantee=guarantee,
        max_tries=max_tries,
        opened_at=read_moment(opened_at),
        generation=generation,
        revision=revision,
    )


def _add_row(record: RequestRecord, row: MessageRow) -> None:
    """Add a row to a record. A text that a person cancelled has no reason, so it is not sent again."""
    if row.reason is not None:
        record.declined[row.position] = row.reason
    elif row.message_id is not None:
        record.ids[row.position], record.costs[row.position] = row.message_id, row.cost


def _unchanged(row: MessageRow) -> MessageRow:
    return row
