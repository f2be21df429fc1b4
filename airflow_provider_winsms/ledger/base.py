"""What a memory of sends holds, and what it must be able to do.

A *batch* is what one task sends. It is cut into requests, each of which is submitted at most once, ever: a
request is claimed by writing its record, which only one process can do. What has to be sent again, because
an account was empty or a request never reached the gateway, makes a further *round* of requests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.messages import Message, MessageId, Receipt, RejectReason, ScheduledMessage
    from airflow_provider_winsms.runtime import ClockReading


class RequestKey(NamedTuple):
    """Identifies a request of a batch: its round, and its index in that round. Both count from 1."""

    round: int
    request: int


SHORT_HASH_DIGITS = 16
"""So many digits of a hash are kept: of 40 million lists of a million numbers, one has two alike."""

NOT_SUBMITTED = RequestKey(0, 1)
"""Where tables have those who are in no request."""


ResendPlan: TypeAlias = "Mapping[RequestKey, Sequence[int]]"
"""Whom a later round sends to: recipients of earlier requests, by their positions in them."""


class Rejected(NamedTuple):
    """A recipient who is not submitted, as what was given for them is invalid.

    :param reference: the sender's own name for the text.
    """

    reason: RejectReason
    reference: str | None

    def __repr__(self) -> str:
        """Show no reference."""
        return f"Rejected({self.reason!r})"


class RecipientDigest(NamedTuple):
    """Hashes of one recipient of a claimed request, which tell whether two recipients are the same.

    :param number: a hash of the number, of ``SHORT_HASH_DIGITS`` digits.
    :param text: a hash of the text, of as many.
    :param send_at: the time that the text has of its own, in UTC.
    """

    number: str
    text: str
    send_at: DateTime | None

    def __repr__(self) -> str:
        """Show no number and no text."""
        return f"RecipientDigest(send_at={self.send_at!r})"


@dataclass(frozen=True, slots=True)
class Sender:
    """The task instance that sends a batch.

    :param owner: the owner of the task, as Airflow has it.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    owner: str = ""

    @property
    def key(self) -> str:
        """What a batch is called that was given no key: the same for each try, and after a clear."""
        return f"{self.dag_id}/{self.run_id}/{self.task_id}/{self.map_index}"

    def is_same_task(self, other: Sender) -> bool:
        """Tell whether both are tries of one task instance."""
        return self.key == other.key


@dataclass(frozen=True, slots=True)
class BatchDigest:
    """What a batch sends: counts, and digests that tell whether another one is the same.

    :param texts: digest of the texts, their times and segments.
    :param numbers: digest of the recipients' numbers, in their order.
    :param key_id: the key that both were made with.
    """

    texts: str
    numbers: str
    key_id: str
    recipients: int
    requests: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one task sends, once.

    :param key: names it; the same key again is the same batch, or an error.
    :param generation: counts, from 1, how often it was sent on purpose: a clear may ask for it.
    :param max_tries: of the task instance; it changes when a person clears the task, and only then.
    :param revision: counts how often a later try took it over to send another list.
    """

    key: str
    sender: Sender
    digest: BatchDigest
    sms_conn_id: str
    guarantee: str
    max_tries: int
    opened_at: DateTime
    generation: int = 1
    revision: int = 0

    @property
    def id(self) -> str:
        """32 hexadecimal digits."""
        return blake2b(f"{self.key}#{self.generation}".encode(), digest_size=16).hexdigest()

    def sends_the_same(self, other: Batch) -> bool:
        """Tell whether both send the same texts to the same recipients, through the same connection."""
        return (self.digest, self.sms_conn_id) == (other.digest, other.sms_conn_id)

    def has_another_list(self, other: Batch) -> bool:
        """Tell whether both send other texts or recipients, and differ in nothing else."""
        ours, theirs = self.digest, other.digest
        is_known = (ours.key_id, self.sms_conn_id) == (theirs.key_id, other.sms_conn_id)
        return is_known and ours != theirs

    def was_revised_to(self, other: Batch) -> bool:
        """Tell whether both send the same, of which some requests were cut for another list."""
        return self.revision > 0 and self.sends_the_same(other)


@dataclass(slots=True)
class RequestRecord:
    """What is known of one request, by the position of each recipient in it, from 0.

    :param size: how many recipients the request has.
    :param claimed_at: when it was claimed; it leaves shortly after, or not at all.
    :param owner: the process that claimed it.
    :param send_at: the minute it is held for, of those messages in it that name no time of their own.
    """

    size: int
    claimed_at: DateTime
    owner: str
    send_at: DateTime | None = None
    ids: dict[int, MessageId] = field(default_factory=dict)
    costs: dict[int, Decimal] = field(default_factory=dict)
    declined: dict[int, RejectReason] = field(default_factory=dict)
    cancelling_at: DateTime | None = None
    """Since when what was accepted is being taken back, as its task was killed."""
    cancelled_on_purpose: frozenset[int] = field(default=frozenset(), compare=False)
    """The positions of accepted texts that somebody cancelled on purpose, which are not sent again."""
    due: frozenset[DateTime] | None = field(default=None, compare=False)
    """When its texts are due that are scheduled, in UTC; ``None`` if that was not written down."""
    digests: tuple[RecipientDigest, ...] | None = field(default=None, compare=False, repr=False)
    """Whom it holds, where a ledger keeps that in the record."""

    def apply(self, receipts: Mapping[int, Receipt]) -> None:
        """Take in receipts, by position. A later one, as of a text taken back, replaces an earlier."""
        for position, receipt in receipts.items():
            if receipt.reason is None and receipt.message_id is not None:
                self.ids[position] = receipt.message_id
                if receipt.cost is not None:
                    self.costs[position] = receipt.cost
            elif receipt.reason is not None:
                self.ids.pop(position, None)
                self.costs.pop(position, None)
                self.declined[position] = receipt.reason

    @property
    def cost(self) -> Decimal:
        """What was paid for those that were accepted, in credits, as far as it is known."""
        return sum(self.costs.values(), start=Decimal(0))

    @property
    def unpriced(self) -> int:
        """How many were accepted for an amount that is not known."""
        return len(self.ids) - len(self.costs)

    @property
    def in_doubt(self) -> list[int]:
        """The positions of which nobody knows what became."""
        return [
            position
            for position in range(self.size)
            if position not in self.ids and position not in self.declined
        ]

    @property
    def resendable(self) -> dict[int, RejectReason]:
        """Why those positions were declined that a later round sends."""
        return {position: reason for position, reason in self.declined.items() if reason.may_be_sent_later}


def spans_of(positions: Iterable[int]) -> str:
    """Return positions as text, such as ``0-4,7``."""
    spans: list[list[int]] = []
    for position in sorted(positions):
        if spans and position == spans[-1][1] + 1:
            spans[-1][1] = position
        else:
            spans.append([position, position])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def positions_in(spans: str) -> list[int]:
    """Return the positions that a text stands for."""
    pairs = (span.partition("-") for span in spans.split(",") if span)
    return [position for first, _, last in pairs for position in range(int(first), int(last or first) + 1)]


class TaskStore(Protocol):
    """A small memory of a task instance, which outlives its tries, and what is known of these."""

    @property
    def is_kept(self) -> bool:
        """Whether what is written outlives the process."""

    @property
    def was_cleared(self) -> bool:
        """Whether a person cleared the task instance; a retry does not."""

    @property
    def has_earlier_try(self) -> bool:
        """Whether the task instance was tried before."""

    @property
    def is_wiped_on_success(self) -> bool:
        """Whether Airflow wipes the store when the task succeeds."""

    def get(self, key: str) -> Any:
        """Return what is kept under a key, or ``None``."""

    def set(self, key: str, value: Any) -> None:
        """Keep a JSON value. It is committed when this returns."""

    def delete(self, key: str) -> None:
        """Keep nothing under a key."""


class Ledger(Protocol):
    """Remembers what a task sends, beyond the life of its process. What returns has been committed.

    All methods raise ``LedgerUnavailable`` where the memory cannot be reached.
    """

    def latest(self) -> Batch | None:
        """Return the batch of this key that an earlier try opened, in its last generation.

        :raises OutcomeUnknown: if there may have been one and it has been forgotten.
        """

    def open(self, batch: Batch) -> Batch:
        """Write a batch, which supersedes those of an earlier generation.

        :returns: it, or the one that another process was faster to write under the same key.
        """

    def take_over(self) -> None:
        """Let no other process claim, or decide about, requests of the open batch from now on."""

    def revise(self, digest: BatchDigest) -> None:
        """Write what the open batch, which was taken over, sends from now on.

        :raises ClaimLost: if another process has taken it over since.
        """

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Write who is in no request of the open batch, in place of what was written so before."""

    def short_hash(self, part: str) -> str:
        """Return the hash that a ``RecipientDigest`` has of a number or a text."""

    def recipient_digests(self, key: RequestKey) -> Sequence[RecipientDigest] | None:
        """Return whom a claimed request of the open batch holds; ``None`` if that was not kept."""

    def find(self, key: RequestKey) -> RequestRecord | None:
        """Return what is known of a request of the open batch; ``None`` if nobody claimed it.

        :raises ClaimLost: if another process has taken the batch over.
        """

    def claim(self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]) -> None:
        """Claim a request, before it leaves.

        :raises ClaimLost: if another process claimed it, or the batch was superseded.
        """

    def renew(self, key: RequestKey, record: RequestRecord, claimed_at: DateTime) -> None:
        """Write another instant of a claim, for a request that had to wait before it could leave.

        :raises ClaimLost: if another process has given the request up meanwhile.
        """

    def record(self, key: RequestKey, record: RequestRecord, news: Mapping[int, Receipt]) -> None:
        """Write what was learnt of a claimed request.

        :param record: all that is known now.
        :param news: the part that is new, by position.
        """

    def mark_not_received(self, key: RequestKey, record: RequestRecord, news: Mapping[int, Receipt]) -> bool:
        """Write that recipients in doubt were not reached, and tell whether that was done.

        It is not if the claim was renewed meanwhile, or any of them is not in doubt any more: then the
        process that claimed it is still at it, and the record is to be read again.
        """

    def rounds(self) -> list[ResendPlan]:
        """Return whom each round after the first sends to, in their order."""

    def open_round(self, round_: int, resend_plan: ResendPlan) -> ResendPlan:
        """Write whom a round sends to, once and for all.

        :returns: it, or what another process was faster to write.
        """

    def mark_cancelling(self, key: RequestKey, record: RequestRecord) -> None:
        """Write ``record.cancelling_at``: what was accepted of a request is about to be taken back."""

    def release_claim(self, key: RequestKey, record: RequestRecord) -> None:
        """Give a claim back, if it is this one: the request provably was not carried out."""

    def known_ids(self, rows: Collection[ScheduledMessage]) -> set[MessageId]:
        """Return the ids of those rows that are known to be of recipients of any batch.

        Another account has other texts under the same ids, and so has one that gives its ids again. So a row
        is known where the ledger has its id through the connection of the open batch, for its number and its
        minute, as far as these can be compared.
        """

    def read_clock(self) -> ClockReading | None:
        """Return what the memory's clock showed; ``None`` if it has none of its own, or does not tell."""

    def conflicts(self, key: RequestKey, send_at: DateTime, numbers: Collection[str]) -> set[str]:
        """Return those numbers that another request, too, may have scheduled a text to, for that minute.

        Those are in doubt there, or were taken not to have been reached, as ``at_least_once`` does.
        """
