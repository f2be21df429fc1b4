"""The data of a ledger, and its interface.

A *batch* is all that one task sends. It consists of requests. Each request is submitted at most once, ever: a
process claims it by writing its record, and only one process can do that. Recipients that must be sent to
again form a further *round* of requests, for example after an account was empty, or after a request did not
reach the gateway.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from airflow_provider_winsms.messages import PHONE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import timedelta
    from decimal import Decimal

    from pendulum import DateTime

    from airflow_provider_winsms.messages import Message, MessageId, Receipt, RejectReason, ScheduledMessage
    from airflow_provider_winsms.runtime import ClockReading


class LedgerAddress(NamedTuple):
    """The connection and the table prefix of a ledger."""

    conn_id: str
    prefix: str


class RequestKey(NamedTuple):
    """Identifies a request of a batch: its round, and its index in that round. Both count from 1."""

    round: int
    request: int


NOT_SUBMITTED = RequestKey(0, 1)
"""The key, in tables, of recipients that are in no request."""


ResendPlan: TypeAlias = "Mapping[RequestKey, Sequence[int]]"
"""The recipients of a later round: positions in earlier requests."""


class Rejected(NamedTuple):
    """A recipient that is not submitted, because it is invalid, or because a rule took it out.

    :param reference: the sender's own name for the text.
    """

    reason: RejectReason
    reference: str | None

    def __repr__(self) -> str:
        """Show no reference."""
        return f"Rejected({self.reason!r})"


def short_hash_of_address(kind: str, number_hash: str, short_hash: Callable[[str], str]) -> str:
    """Return a short hash of an address from that of its number. The hash of a phone is that of its number.

    :param kind: what the number is, as in ``Recipient``.
    """
    return number_hash if kind == PHONE else short_hash(f"{kind}:{number_hash}")


class RecipientDigest(NamedTuple):
    """Hashes of one recipient of a claimed request, which tell whether two recipients are the same.

    :param number: a short hash of the address: of a phone's number, or of a device's kind and id.
    :param text: a short hash of the text.
    :param send_at: the own time of the text, in UTC.
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

    :param owner: the owner of the task in Airflow.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    owner: str = ""

    @property
    def key(self) -> str:
        """The default key of a batch. It is the same for each try, and after a clear."""
        return f"{self.dag_id}/{self.run_id}/{self.task_id}/{self.map_index}"

    def is_same_task(self, other: Sender) -> bool:
        """Tell whether both are tries of the same task instance."""
        return self.key == other.key


@dataclass(frozen=True, slots=True)
class BatchDigest:
    """Counts of a batch, and digests that tell whether another batch sends the same.

    :param texts: digest of the texts, their times and segments.
    :param numbers: digest of the recipients' numbers, in their order.
    :param key_id: the id of the key of both digests.
    """

    texts: str
    numbers: str
    key_id: str
    recipients: int
    requests: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one task sends, once.

    :param key: identifies it. The same key again means the same batch, or an error.
    :param generation: counts, from 1, how often it was sent on purpose; a clear may ask for that.
    :param max_tries: of the task instance. It changes only when a person clears the task.
    :param currency: of its amounts: the gateway's.
    :param revision: counts how often a later try took the batch over with another list.
    :param decisions: what the sender's rules decided about each recipient, as text; empty without rules. A
        later try follows it.
    """

    key: str
    sender: Sender
    digest: BatchDigest
    sms_conn_id: str
    guarantee: str
    max_tries: int
    opened_at: DateTime
    currency: str
    generation: int = 1
    revision: int = 0
    decisions: str = field(default="", repr=False, compare=False)

    @property
    def id(self) -> str:
        """32 hexadecimal digits."""
        return blake2b(f"{self.key}#{self.generation}".encode(), digest_size=16).hexdigest()

    def sends_the_same(self, other: Batch) -> bool:
        """Tell whether both send the same texts to the same recipients, through the same connection."""
        return (self.digest, self.sms_conn_id) == (other.digest, other.sms_conn_id)

    def has_another_list(self, other: Batch) -> bool:
        """Tell whether both differ in their texts or recipients, and in nothing else."""
        ours, theirs = self.digest, other.digest
        is_known = (ours.key_id, self.sms_conn_id) == (theirs.key_id, other.sms_conn_id)
        return is_known and ours != theirs

    def was_revised_to(self, other: Batch) -> bool:
        """Tell whether both send the same, although some requests were planned for another list."""
        return self.revision > 0 and self.sends_the_same(other)


@dataclass(slots=True)
class RequestRecord:
    """The record of one request. Recipients are identified by their positions in it, from 0.

    :param size: the number of recipients.
    :param claimed_at: when it was claimed. It leaves shortly after, or never.
    :param owner: the process that claimed it.
    :param send_at: the minute until which the gateway holds those of its messages that have no own time.
    """

    size: int
    claimed_at: DateTime
    owner: str
    send_at: DateTime | None = None
    ids: dict[int, MessageId] = field(default_factory=dict)
    costs: dict[int, Decimal] = field(default_factory=dict)
    declined: dict[int, RejectReason] = field(default_factory=dict)
    cancelling_at: DateTime | None = None
    """When its killed task began to cancel its accepted texts; ``None`` after the outcome is recorded."""
    cancelled_on_purpose: frozenset[int] = field(default=frozenset(), compare=False)
    """The positions of accepted texts that a person cancelled. They are not sent again."""
    refunds: dict[int, Decimal] = field(default_factory=dict, compare=False)
    """What the gateway gave back for each of them."""
    due: frozenset[DateTime] | None = field(default=None, compare=False)
    """The times of its scheduled texts, in UTC; ``None`` if they were not recorded."""
    digests: tuple[RecipientDigest, ...] | None = field(default=None, compare=False, repr=False)
    """The digests of its recipients, if the ledger keeps them in the record."""

    def apply(self, receipts: Mapping[int, Receipt]) -> None:
        """Apply receipts, by position. A later one, as of a cancelled text, replaces an earlier one."""
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
    def in_doubt(self) -> list[int]:
        """The positions whose outcome is unknown."""
        return [
            position
            for position in range(self.size)
            if position not in self.ids and position not in self.declined
        ]

    @property
    def resendable(self) -> dict[int, RejectReason]:
        """The declined positions that a later round sends to, with their reasons."""
        return {position: reason for position, reason in self.declined.items() if reason.may_be_sent_later}


def spans_of(positions: Iterable[int]) -> str:
    """Return positions as text, for example ``0-4,7``."""
    spans: list[list[int]] = []
    for position in sorted(positions):
        if spans and position == spans[-1][1] + 1:
            spans[-1][1] = position
        else:
            spans.append([position, position])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def positions_in(spans: str) -> list[int]:
    """Return positions from their text, for example ``0-4,7``."""
    pairs = (span.partition("-") for span in spans.split(",") if span)
    return [position for first, _, last in pairs for position in range(int(first), int(last or first) + 1)]


_PART = 48_000  # characters


def parts_of(text: str) -> list[str]:
    """Return a long text in parts that every store can keep."""
    return [text[start : start + _PART] for start in range(0, len(text), _PART)]


class DueText(NamedTuple):
    """One text to one person, before it is sent.

    :param position: identifies it in its list.
    :param number: international digits.
    :param due_at: when it is to go out.
    """

    position: int
    number: str
    due_at: DateTime

    def __repr__(self) -> str:
        """Show no number."""
        return f"DueText(position={self.position}, due_at={self.due_at!r})"


class TextLimit(NamedTuple):
    """How often a person may be texted.

    :param most: the most texts within any time of the length ``per``.
    :param dag_id: the DAG whose texts count; ``None``: those of every DAG.
    """

    most: int
    per: timedelta
    dag_id: str | None = None


class SendHistory(Protocol):
    """What rules may ask of a ledger in tables: what other tasks have sent, or are about to send."""

    def over_limit(self, texts: Sequence[DueText], limit: TextLimit, now: DateTime) -> list[int]:
        """Return the positions of the texts that do not keep to a limit. Earlier texts come first.

        :param now: the present, on the clock that claims requests.
        :raises LedgerUnavailable: if the ledger cannot be reached. A repeat is safe.
        """

    def reserve(self, texts: Sequence[DueText], limit: TextLimit, sender: Sender, now: DateTime) -> list[int]:
        """Reserve all texts that keep to a limit, and return the positions of the others.

        A reservation counts as a text for every other batch. Those that the same batch key had before, for
        texts that were not submitted, are replaced.

        :raises LedgerUnavailable: if the ledger cannot be reached. A repeat is safe.
        """

    def release(self, now: DateTime) -> None:
        """Delete the reservations of the batch key for texts that were not submitted.

        :raises LedgerUnavailable: if the ledger cannot be reached. A repeat is safe.
        """


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, whether a text is sent for it or not.

    :param id: 32 hexadecimal digits.
    :param key: alerts of one key count together.
    :param raised_at: on the clock of the process that raised it.
    """

    id: str
    key: str = field(repr=False)
    sender: Sender
    raised_at: DateTime


class AlertLimit(NamedTuple):
    """How many texts the alerts of one key may send.

    :param cooldown: the least time between two of them.
    :param most_per_day: since ``day_begins_at``.
    """

    cooldown: timedelta
    most_per_day: int
    day_begins_at: DateTime


class HeldBack(NamedTuple):
    """The alerts of a key for which no text was sent yet.

    :param since: when the first of them was raised; ``None``: there are none.
    """

    alerts: int
    since: DateTime | None


class AlertStore(Protocol):
    """Counts alerts, so that few texts are sent for many of them."""

    def admit(self, alert: Alert, limit: AlertLimit) -> HeldBack | None:
        """Note an alert. Return what its text is to tell of, or ``None`` if it is held back.

        :raises LedgerUnavailable: if the store cannot be reached.
        """

    def hold_back(self, alert: Alert) -> None:
        """Note an alert for which no text is sent. The next text counts it.

        :raises LedgerUnavailable: if the store cannot be reached.
        """

    def withdraw(self, alert: Alert, *, is_unknown: bool) -> None:
        """Let the next text count what the text of an admitted alert was to tell of.

        :param is_unknown: whether somebody may have got the text. Then the cooldown goes on. Otherwise the
            alert itself is held back, and the next one may send a text at once.

        :raises LedgerUnavailable: if the store cannot be reached.
        """


class SpendingScope(NamedTuple):
    """Whose spending counts: that of a DAG run, or that of some time.

    :param dag_id: ``None``: any.
    :param run_id: of the DAG; ``None``: any.
    :param begin: the first instant; ``None``: any.
    :param end: the instant after the last; ``None``: any.
    """

    sms_conn_id: str
    dag_id: str | None
    run_id: str | None
    begin: DateTime | None
    end: DateTime | None


class SendSpending(Protocol):
    """What rules may ask of a ledger in tables about what was spent, and about to be spent."""

    def spent(self, scope: SpendingScope) -> Decimal:
        """Return what was spent by the batch key, and spent or reserved by all others.

        :raises LedgerUnavailable: if the ledger cannot be reached. A repeat is safe.
        """

    def reserve(
        self, amount: Decimal, most: Decimal, scope: SpendingScope, sender: Sender, now: DateTime
    ) -> Decimal:
        """Return what ``spent`` returns, and reserve an amount if both together are within a budget.

        What the batch key reserved before is replaced.

        :param most: the budget.
        :raises LedgerUnavailable: if the ledger cannot be reached. A repeat is safe.
        """

    def release(self, now: DateTime) -> None:
        """Delete what the batch key has reserved.

        :raises LedgerUnavailable: if the ledger cannot be reached. A repeat is safe.
        """

    def settle(self, now: DateTime) -> None:
        """End what the batch key has reserved: all its texts have an outcome, and their costs are known."""


class Ledger(Protocol):
    """Records what a task sends, beyond the life of its process. A method that returns has committed.

    All methods raise ``LedgerUnavailable`` if the ledger cannot be reached.
    """

    def latest(self) -> Batch | None:
        """Return the batch that an earlier try opened under this key, in its last generation.

        :raises OutcomeUnknown: if there may have been one whose record is gone.
        """

    def open(self, batch: Batch) -> Batch:
        """Write a batch. It supersedes those of earlier generations.

        :returns: the batch, or the one that another process wrote first under the same key.
        """

    def take_over(self) -> None:
        """Take the open batch over: from now on no other process can claim or decide its requests."""

    def revise(self, digest: BatchDigest) -> None:
        """Replace the digest of the open batch, which was taken over: it sends another list from now on.

        :raises ClaimLost: if another process has taken the batch over since.
        """

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Write the recipients that are in no request of the open batch, and replace those written before."""

    def short_hash(self, part: str) -> str:
        """Return the hash that a ``RecipientDigest`` has of a number or a text."""

    def recipient_digests(self, key: RequestKey) -> Sequence[RecipientDigest] | None:
        """Return the recipients of a claimed request of the open batch; ``None`` if they were not kept."""

    def find(self, key: RequestKey) -> RequestRecord | None:
        """Return the record of a request of the open batch; ``None`` if no process claimed it.

        :raises ClaimLost: if another process has taken the batch over.
        """

    def claim(self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]) -> None:
        """Claim a request before it leaves.

        :raises ClaimLost: if another process claimed it, or the batch was superseded.
        """

    def renew(self, key: RequestKey, record: RequestRecord, claimed_at: DateTime) -> None:
        """Write a later time of a claim, because the request had to wait before it could leave.

        :raises ClaimLost: if another process has decided about the request meanwhile.
        """

    def record(self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]) -> None:
        """Write the outcome of a claimed request, as far as it is known.

        :param record: the whole record.
        :param receipts: the new part, by position.
        """

    def mark_not_received(
        self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]
    ) -> bool:
        """Write that recipients in doubt were not reached, and tell whether it was written.

        It is not written if the claim was renewed meanwhile, or if one of them is no longer in doubt. Then
        the process that claimed the request still works on it, and the caller reads the record again.
        """

    def rounds(self) -> list[ResendPlan]:
        """Return the resend plan of each round after the first, in order."""

    def open_round(self, round_: int, resend_plan: ResendPlan) -> ResendPlan:
        """Write the resend plan of a round. It never changes afterwards.

        :returns: the plan, or the one that another process wrote first.
        """

    def mark_cancelling(self, key: RequestKey, record: RequestRecord) -> None:
        """Write ``record.cancelling_at``: the accepted texts of a request are about to be cancelled."""

    def release_claim(self, key: RequestKey, record: RequestRecord) -> None:
        """Delete a claim, if it is this one: the request was provably not carried out."""

    def known_ids(self, rows: Collection[ScheduledMessage]) -> set[MessageId]:
        """Return the ids of the rows that belong to recipients of any batch in the ledger.

        An id alone is no proof: another account has other texts under the same ids, and an account may reuse
        its ids. So a row is known if the ledger has its id for the connection of the open batch, and for the
        same number and minute, as far as these can be compared.
        """

    def read_clock(self) -> ClockReading | None:
        """Return a reading of the ledger's clock; ``None`` if it has no own clock, or does not tell."""

    def conflicts(self, key: RequestKey, send_at: DateTime, numbers: Collection[str]) -> set[str]:
        """Return the numbers to which another request may have scheduled a text for the same minute.

        They are in doubt there, or ``at_least_once`` assumed that they were not reached.
        """
