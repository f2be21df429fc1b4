"""A ledger in memory that promises the same as the ledger in tables: atomic claims, and all batches known."""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_winsms.exceptions import ClaimLost, LedgerUnavailable
from airflow_provider_winsms.ledger.base import RecipientDigest, RequestRecord
from airflow_provider_winsms.messages import RejectReason, instants_of
from airflow_provider_winsms.phone import is_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.ledger.base import Batch, BatchDigest, Rejected, RequestKey, ResendPlan
    from airflow_provider_winsms.messages import Message, MessageId, Receipt, ScheduledMessage

T = TypeVar("T")


@dataclass(slots=True)
class Row:
    """One text to one recipient, in one request."""

    number: str
    words: str
    send_at: DateTime | None
    own_time: DateTime | None = None
    message_id: MessageId | None = None
    cost: Decimal = Decimal(0)
    reason: RejectReason | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether its outcome is unknown."""
        return self.message_id is None and self.reason is None

    @property
    def is_accepted(self) -> bool:
        """Whether the gateway has it, and it was not taken back."""
        return self.message_id is not None and self.reason is None

    def learn(self, receipt: Receipt) -> None:
        """Record a receipt."""
        if receipt.reason is None:
            self.message_id, self.cost, self.reason = receipt.message_id, receipt.cost or Decimal(0), None
        elif receipt.reason is RejectReason.CANCELLED and self.message_id is not None:
            self.reason = receipt.reason
        else:
            self.message_id, self.cost, self.reason = None, Decimal(0), receipt.reason


@dataclass(slots=True)
class Claim:
    """One claimed request."""

    owner: str
    claimed_at: DateTime
    send_at: DateTime | None
    rows: list[Row]
    cancelling_at: DateTime | None = None

    def record(self) -> RequestRecord:
        """Return what is known, as a copy."""
        found = RequestRecord(
            len(self.rows), self.claimed_at, self.owner, self.send_at, cancelling_at=self.cancelling_at
        )
        for position, row in enumerate(self.rows):
            if row.reason is not None:
                found.declined[position] = row.reason
            elif row.message_id is not None:
                found.ids[position], found.costs[position] = row.message_id, row.cost
        return found


@dataclass(slots=True)
class Tables:
    """The state that all ledgers share."""

    batches: dict[str, list[Batch]] = field(default_factory=dict)
    claims: dict[str, dict[RequestKey, Claim]] = field(default_factory=dict)
    rounds: dict[str, list[ResendPlan]] = field(default_factory=dict)
    revisions: Counter[str] = field(default_factory=Counter)

    def of(self, batch_id: str) -> dict[RequestKey, Claim]:
        """Return the claims of a batch."""
        return self.claims.setdefault(batch_id, {})

    def rows(self) -> Iterator[tuple[str, RequestKey, Row]]:
        """Walk through all rows."""
        for batch_id, claims in self.claims.items():
            for key, claim in claims.items():
                for row in claim.rows:
                    yield batch_id, key, row

    def last_of(self, key: str) -> Batch | None:
        """Return the last generation of a key."""
        found = self.batches.get(key)
        return found[-1] if found else None

    def go_back(self, key: str, dropped: int) -> Lost:
        """Remove the last claims of a key's last generation, as a restored older backup does."""
        batch = self.batches[key][-1]
        claims, rounds = self.of(batch.id), self.rounds.get(batch.id, [])
        kept = list(claims)[:-dropped]
        lost = Lost(batch, dict(claims), list(rounds), claims.keys() - set(kept))
        self.claims[batch.id] = {key: claims[key] for key in kept}
        last_round = max((key.round for key in self.claims[batch.id]), default=1)
        self.rounds[batch.id] = rounds[: last_round - 1]
        if not kept:
            self.batches[key].pop()
        return lost

    def put_back(self, key: str, lost: Lost) -> None:
        """Restore removed claims."""
        if lost.batch not in self.batches[key]:
            self.batches[key].append(lost.batch)
        self.claims[lost.batch.id], self.rounds[lost.batch.id] = lost.claims, lost.rounds

    def forget_last_answer(self, key: str) -> None:
        """Forget what was learnt of the request that was claimed last, and the rounds that followed."""
        batch = self.last_of(key)
        claims = self.of(batch.id) if batch else {}
        if batch is None or not claims:
            return
        last = list(claims)[-1]
        claims[last].cancelling_at = None
        claims[last].rows = [
            Row(row.number, row.words, row.send_at, row.own_time) for row in claims[last].rows
        ]
        self.rounds[batch.id] = self.rounds.get(batch.id, [])[: last.round - 1]


@dataclass(slots=True)
class Lost:
    """The state of a ledger before it was restored from a backup.

    :param keys: of the claims that it lacks now.
    """

    batch: Batch
    claims: dict[RequestKey, Claim]
    rounds: list[ResendPlan]
    keys: set[RequestKey]


def _is_cleared(found: Batch, batch: Batch) -> bool:
    return found.sender == batch.sender and found.max_tries != batch.max_tries


class MemoryLedger:
    """The ledger of one process.

    :param step: called before and after each thing it does; what it raises breaks off there.
    """

    def __init__(self, tables: Tables, key: str, step: Callable[[str], None]) -> None:
        self._tables = tables
        self._key = key
        self._step = step
        self.batch: Batch | None = None
        self._revision = 0
        self.last_claimed: RequestKey | None = None
        """The key that was claimed last; the next request is submitted for it."""

    @property
    def batch_id(self) -> str:
        """The batch that is open."""
        return self.batch.id if self.batch else ""

    def latest(self) -> Batch | None:
        """Return the last generation."""
        found = self._tables.batches.get(self._key)
        self.batch = self._done("latest", lambda: found[-1] if found else None)
        self._revision = self._tables.revisions[self.batch_id]
        return self.batch

    def open(self, batch: Batch) -> Batch:
        """Write a batch, or return the one that is there."""
        self.batch = self._done("open", lambda: self._open(batch))
        self._revision = self._tables.revisions[self.batch_id]
        return self.batch

    def _open(self, batch: Batch) -> Batch:
        found = self._tables.batches.setdefault(self._key, [])
        same = [each for each in found if each.generation == batch.generation]
        if not same and found and self._tables.of(found[-1].id) and not _is_cleared(found[-1], batch):
            return found[-1]
        if not same:
            found.append(batch)
        return same[0] if same else batch

    def find(self, key: RequestKey) -> RequestRecord | None:
        """Return what is known of a request."""
        return self._done("find", lambda: self._find(key))

    def _find(self, key: RequestKey) -> RequestRecord | None:
        claim = self._claims.get(key)
        if claim is None:
            return None
        self._check_revision()
        return claim.record()

    def take_over(self) -> None:
        """Let no other process claim, or decide about, requests."""
        self._done("take_over", self._take_over)
        self._revision = self._tables.revisions[self.batch_id]

    def _take_over(self) -> None:
        self._check_in_force()
        self._tables.revisions[self.batch_id] += 1

    def revise(self, digest: BatchDigest) -> None:
        """Write what is sent from now on."""
        self._done("revise", lambda: self._revise(digest))

    def _revise(self, digest: BatchDigest) -> None:
        self._check_in_force()
        assert self.batch is not None
        self.batch = self._tables.batches[self._key][-1] = replace(
            self.batch, digest=digest, revision=self._revision
        )

    def recipient_digests(self, key: RequestKey) -> list[RecipientDigest]:
        """Return whom a claimed request holds."""
        return [RecipientDigest(row.number, row.words, row.own_time) for row in self._claims[key].rows]

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Keep nothing."""

    def short_hash(self, part: str) -> str:
        """Return the number, or the text."""
        return part

    def claim(self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]) -> None:
        """Claim a request."""
        self._done("claim", lambda: self._write_claim(key, record, messages))
        self.last_claimed = key

    def _write_claim(self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]) -> None:
        self._check_in_force()
        if key in self._claims:
            msg = "claimed"
            raise ClaimLost(msg)
        rows = [
            Row(r.number, m.text, m.send_at, None if m.send_at == record.send_at else m.send_at)
            for m in messages
            for r in m.recipients
        ]
        assert len(rows) == record.size
        self._claims[key] = Claim(record.owner, record.claimed_at, record.send_at, rows)

    def renew(self, key: RequestKey, record: RequestRecord, claimed_at: DateTime) -> None:
        """Renew the claim of a request."""
        self._done("renew", lambda: self._renew(key, record, claimed_at))

    def _renew(self, key: RequestKey, record: RequestRecord, claimed_at: DateTime) -> None:
        self._check_in_force()
        claim = self._claims.get(key)
        if claim is None or claim.owner != record.owner or not all(row.is_unknown for row in claim.rows):
            msg = "given up"
            raise ClaimLost(msg)
        claim.claimed_at = claimed_at

    def record(self, key: RequestKey, record: RequestRecord, news: Mapping[int, Receipt]) -> None:
        """Record receipts."""
        self._done("record", lambda: self._record(key, record, news))

    def _record(self, key: RequestKey, record: RequestRecord, news: Mapping[int, Receipt]) -> None:
        claim = self._claims.get(key)
        if claim is None:
            msg = "no claim"
            raise LedgerUnavailable(msg)
        for position, receipt in news.items():
            claim.rows[position].learn(receipt)
        claim.cancelling_at = claim.cancelling_at and record.cancelling_at

    def mark_not_received(self, key: RequestKey, record: RequestRecord, news: Mapping[int, Receipt]) -> bool:
        """Write that recipients in doubt were not reached."""
        return self._done("mark_not_received", lambda: self._write_not_received(key, record, news))

    def _write_not_received(
        self, key: RequestKey, record: RequestRecord, news: Mapping[int, Receipt]
    ) -> bool:
        self._check_revision()
        claim = self._claims.get(key)
        if claim is None or claim.claimed_at != record.claimed_at:
            return False
        if not all(claim.rows[position].is_unknown for position in news):
            return False
        self._record(key, record, news)
        return True

    def rounds(self) -> list[ResendPlan]:
        """Return whom each round after the first sends to."""
        return self._done("rounds", lambda: list(self._tables.rounds.get(self.batch_id, ())))

    def open_round(self, round_: int, resend_plan: ResendPlan) -> ResendPlan:
        """Write whom a round sends to, unless another process was faster."""
        return self._done("open_round", lambda: self._open_round(round_, resend_plan))

    def _open_round(self, round_: int, resend_plan: ResendPlan) -> ResendPlan:
        self._check_revision()
        stored = self._tables.rounds.setdefault(self.batch_id, [])
        if round_ - 2 == len(stored):
            stored.append(resend_plan)
        return stored[round_ - 2]

    def mark_cancelling(self, key: RequestKey, record: RequestRecord) -> None:
        """Write that a request is about to be taken back."""
        self._done("mark_cancelling", lambda: self._mark_cancelling(key, record))

    def _mark_cancelling(self, key: RequestKey, record: RequestRecord) -> None:
        self._claims[key].cancelling_at = record.cancelling_at

    def release_claim(self, key: RequestKey, record: RequestRecord) -> None:
        """Give a claim back, unless it is another's, or something was learnt of it."""
        self._done("release_claim", lambda: self._write_release(key, record))

    def _write_release(self, key: RequestKey, record: RequestRecord) -> None:
        claim = self._claims.get(key)
        if claim is None or claim.owner != record.owner:
            return
        if all(row.is_unknown for row in claim.rows):
            del self._claims[key]

    def known_ids(self, rows: Collection[ScheduledMessage]) -> set[MessageId]:
        """Return the ids of rows that belong to recipients of any batch of this connection."""
        return self._done("known_ids", lambda: {row.message_id for row in rows if self._is_claimed(row)})

    def _is_claimed(self, listed: ScheduledMessage) -> bool:
        connections = {b.id: b.sms_conn_id for found in self._tables.batches.values() for b in found}
        return self.batch is not None and any(
            row.message_id == listed.message_id
            and connections[batch_id] == self.batch.sms_conn_id
            and (row.number == listed.number or not is_plain(listed.number))
            and (listed.send_at is None or row.send_at in instants_of(listed.send_at))
            for batch_id, _, row in self._tables.rows()
        )

    def read_clock(self) -> None:
        """Return nothing: there is one clock for all."""

    def conflicts(self, key: RequestKey, send_at: DateTime, numbers: Collection[str]) -> set[str]:
        """Return those numbers that another request in doubt has a text for, in that minute."""
        return self._done(
            "conflicts",
            lambda: {
                row.number
                for batch_id, other, row in self._tables.rows()
                if row.number in numbers
                and row.send_at == send_at
                and (
                    (row.is_unknown and (batch_id, other) != (self.batch_id, key))
                    or (batch_id != self.batch_id and self._is_assumed(batch_id, row))
                )
            },
        )

    def _is_assumed(self, batch_id: str, row: Row) -> bool:
        """Tell whether a row was given up without a proof."""
        guarantees = {batch.id: batch.guarantee for found in self._tables.batches.values() for batch in found}
        return row.reason is RejectReason.NOT_RECEIVED and guarantees[batch_id] == "at_least_once"

    @property
    def _claims(self) -> dict[RequestKey, Claim]:
        return self._tables.of(self.batch_id)

    def _check_in_force(self) -> None:
        if self.batch is None or self._tables.batches[self._key][-1].generation != self.batch.generation:
            msg = "superseded"
            raise ClaimLost(msg)
        self._check_revision()

    def _check_revision(self) -> None:
        if self._tables.revisions[self.batch_id] != self._revision:
            msg = "taken over"
            raise ClaimLost(msg)

    def _done(self, what: str, work: Callable[[], T]) -> T:
        self._step(f"before {what}")
        result = work()
        self._step(f"after {what}")
        return copy(result)
