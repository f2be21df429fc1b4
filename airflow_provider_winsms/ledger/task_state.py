"""The ledger in Airflow's task state store (3.3 and later), which outlives retries and worker deaths.

It keeps one small record for the batch, and one for each request: ids, counts and digests, but no numbers and
no texts. The store accepts writes only from the try that is running. So a zombie cannot claim a request once
its task has a next try. Before 3.3 a task instance has no store, and each try except the first may follow one
that sent.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from functools import cached_property
from itertools import count, groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

import pendulum

from airflow_provider_winsms.exceptions import (
    ClaimLost,
    ConfigurationError,
    LedgerUnavailable,
    OutcomeUnknown,
)
from airflow_provider_winsms.hashing import SHORT_HASH_DIGITS
from airflow_provider_winsms.ledger.base import (
    Batch,
    BatchDigest,
    RecipientDigest,
    RequestKey,
    RequestRecord,
    Sender,
    parts_of,
    positions_in,
    short_hash_of_address,
    spans_of,
)
from airflow_provider_winsms.messages import RejectReason, instants_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.ledger.base import Rejected, ResendPlan
    from airflow_provider_winsms.messages import Message, MessageId, Receipt, ScheduledMessage

BATCH_KEY = "sms_send"
"""The key of the batch. The key of a request adds its generation, round and index."""

ROUND_KEY = "sms_round"
"""The key of a resend plan, which adds the generation and the round."""

DECISIONS_KEY = "sms_rules"
"""The key of a part of the rules' decisions, which adds the generation and the part."""

END_OF_NAME = ":"
"""The separator between the name of a send within a task and its keys."""

_NO_MEMORY = (
    "An earlier try of this task may have sent already, and nothing remembers what, so this one does not. "
)
_OTHER_VERSION = (
    "An earlier try of this task ran with another version of this package, and its record in Airflow's task "
    "state store cannot be read. Nothing was sent. Finish the task with that version. A new DAG run sends to "
    "all recipients, also to those to whom the earlier try has sent."
)
_NO_STORE = "Before Airflow 3.3 a task has no memory of its own: give `ledger_conn_id`."
_DECISIONS_GONE = (
    "Airflow's task state store lacks decisions of this batch's rules. Nothing was sent. If the store failed "
    'for a moment, a retry goes on. Otherwise clear the task with on_clear="resend", or start a new DAG run.'
)
_FORGOTTEN = (
    "`[state_store] clear_on_success` wiped what a try that succeeded had sent. Start a new DAG run, clear "
    'with on_clear="resend", or give `ledger_conn_id`.'
)


class AirflowStore(Protocol):
    """Airflow's store of a task instance, as the Task SDK has it. What it raises differs by its version."""

    def get(self, key: str) -> Any:
        """Return the value of a key, or ``None``."""

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        """Store a JSON value. It is committed when this returns."""

    def delete(self, key: str) -> None:
        """Delete a key."""


@dataclass(frozen=True, slots=True)
class TaskTry:
    """Facts about the try of a task instance that runs now.

    :param was_cleared: whether a person cleared the task instance; a retry does not.
    :param is_first: whether the task instance had no earlier try.
    :param is_wiped_on_success: whether Airflow wipes the store when the task succeeds.
    """

    was_cleared: bool = False
    is_first: bool = True
    is_wiped_on_success: bool = False


class TaskStore:
    """The state of a task instance. Without Airflow's store (before 3.3), it ends with the process.

    Every method raises ``LedgerUnavailable`` if the store cannot be reached, or refuses this try because a
    later one has begun.

    :param store: Airflow's store; ``None`` if there is none.
    :param retention: how long Airflow keeps a value, in its own form.
    :param name: the prefix of the keys, if several sends share the task instance.
    :ivar is_kept: whether values outlive the process.
    """

    def __init__(
        self,
        store: AirflowStore | None,
        *,
        retention: Any = None,
        name: str = "",
        this_try: TaskTry = TaskTry(),
    ) -> None:
        self.is_kept = store is not None
        self.this_try = this_try
        self._store = _ProcessStore() if store is None else store
        self._retention = retention
        self._prefix = f"{name}{END_OF_NAME}" if name else ""

    def get(self, key: str) -> Any:
        """Return the value of a key, or ``None``."""
        return _guarded("read", lambda: self._store.get(self._prefix + key))

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value. It is committed when this returns."""
        _guarded("written", lambda: self._store.set(self._prefix + key, value, retention=self._retention))

    def delete(self, key: str) -> None:
        """Delete a key."""
        _guarded("written", lambda: self._store.delete(self._prefix + key))


class _ProcessStore(dict[str, Any]):
    """Values that end with the process."""

    def set(self, key: str, value: Any, *, retention: Any) -> None:  # noqa: ARG002 - nothing expires
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


def _guarded(what: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    # AirflowRuntimeError, or any error of a lost connection to the supervisor.
    except Exception as error:
        msg = f"Airflow's task state store could not be {what} ({type(error).__name__}). A retry goes on."
        raise LedgerUnavailable(msg) from error


class TaskStateLedger:
    """The send ledger of one task instance.

    :param store: of the task instance. Its keys begin with the name of the send, if it has one.
    :param hashes: makes the hashes of the recipients of a request.
    :param keeps_digests: whether these are stored. They take 16 bytes for each recipient.
    :param may_resend: whether a cleared task sends all again, and so needs no record of earlier sends.
    :param is_of_one_try: whether the store belongs to one try, so that no earlier try can have sent.
    """

    def __init__(
        self,
        store: TaskStore,
        *,
        hashes: KeyedHash,
        keeps_digests: bool = False,
        may_resend: bool = False,
        is_of_one_try: bool = False,
    ) -> None:
        self._store = store
        self._hashes = hashes
        self._keeps_digests = keeps_digests
        self._may_resend = may_resend
        self._is_of_one_try = is_of_one_try
        self._generation = 1
        self._sms_conn_id = ""
        self._stored = StoredRequests(store)

    def latest(self) -> Batch | None:
        """Return the batch that an earlier try opened.

        :raises ConfigurationError: if another version of this package wrote it in another form.
        """
        row = self._store.get(BATCH_KEY)
        if row is None:
            self._refuse_if_forgotten()
            return None
        try:
            batch = batch_of(row)
        except (KeyError, TypeError, ValueError):
            raise ConfigurationError(_OTHER_VERSION) from None
        self._opened(batch)
        return replace(batch, decisions=_read_decisions(self._store, batch)) if batch.decisions else batch

    def _opened(self, batch: Batch) -> None:
        self._generation, self._sms_conn_id = batch.generation, batch.sms_conn_id
        self._stored = StoredRequests(self._store, batch.generation, batch.sms_conn_id)
        # Each later try replans a revised batch, even if its list is the same.
        self._keeps_digests = self._keeps_digests or batch.revision > 0

    def open(self, batch: Batch) -> Batch:
        """Write the batch. No other process can have written it: the store belongs to this task instance."""
        self._opened(batch)
        # The row comes last: it says how many parts of decisions there are.
        written = replace(batch, decisions=_write_decisions(self._store, batch))
        self._store.set(BATCH_KEY, row_of_batch(written))
        return batch

    def take_over(self) -> None:
        """Do nothing: the store accepts writes only from the try that is running."""

    def revise(self, digest: BatchDigest) -> None:
        """Replace the digest of the batch, as it sends another list from now on."""
        batch = batch_of(self._store.get(BATCH_KEY))
        revised = replace(batch, digest=digest, revision=batch.revision + 1)
        self._store.set(BATCH_KEY, row_of_batch(revised))

    def recipient_digests(self, key: RequestKey) -> Sequence[RecipientDigest] | None:
        """Return the recipients of a claimed request, if the try that claimed it stored them."""
        record = self.find(key)
        return None if record is None else record.digests

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Keep nothing: each try finds out for itself which recipients it rejects."""

    def short_hash(self, part: str) -> str:
        """Return a short hash of a number or a text."""
        return self._hashes.of(part)[:SHORT_HASH_DIGITS]

    def find(self, key: RequestKey) -> RequestRecord | None:
        """Return the record of a request."""
        row = self._store.get(self._store_key(key))
        return None if row is None else record_of(row)

    def claim(self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]) -> None:
        """Claim a request."""
        if self._keeps_digests:
            record.digests = tuple(self._digests_of(messages, record.send_at))
        self._write(key, record)

    def _digests_of(
        self, messages: Sequence[Message], held_until: DateTime | None
    ) -> Iterator[RecipientDigest]:
        for message in messages:
            own = None if message.send_at == held_until else message.send_at
            text, send_at = self.short_hash(message.text), own and own.in_timezone("UTC")
            for recipient in message.recipients:
                number = short_hash_of_address(
                    recipient.kind, self.short_hash(recipient.number), self.short_hash
                )
                yield RecipientDigest(number, text, send_at)

    def renew(self, key: RequestKey, record: RequestRecord, claimed_at: DateTime) -> None:
        """Write a later time of a claim."""
        if self.find(key) != record:
            msg = f"Request {key.request} was marked as not received by another process."
            raise ClaimLost(msg)
        self._write(key, replace(record, claimed_at=claimed_at))

    def record(self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]) -> None:
        """Write the record of a request."""
        self._write(key, record)
        self._stored.add(record, receipts)

    def mark_not_received(
        self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]
    ) -> bool:
        """Write that recipients in doubt were not reached."""
        found = self.find(key)
        if (
            found is None
            or found.claimed_at != record.claimed_at
            or not receipts.keys() <= set(found.in_doubt)
        ):
            return False
        found.apply(receipts)
        self._write(key, found)
        return True

    def rounds(self) -> list[ResendPlan]:
        """Return the resend plan of each round after the first."""
        return list(self._rounds())

    def _rounds(self) -> Iterator[ResendPlan]:
        for round_ in count(2):
            row = self._store.get(self._round_key(round_))
            if row is None:
                return
            yield {RequestKey(*map(int, at.split("."))): positions_in(spans) for at, spans in row.items()}

    def open_round(self, round_: int, resend_plan: ResendPlan) -> ResendPlan:
        """Write the resend plan of a round."""
        row = {f"{key.round}.{key.request}": spans_of(positions) for key, positions in resend_plan.items()}
        self._store.set(self._round_key(round_), row)
        return resend_plan

    def _round_key(self, round_: int) -> str:
        return f"{ROUND_KEY}.{self._generation}.{round_}"

    def mark_cancelling(self, key: RequestKey, record: RequestRecord) -> None:
        """Write that the accepted texts of a request are about to be cancelled."""
        self._write(key, record)

    def release_claim(self, key: RequestKey, record: RequestRecord) -> None:  # noqa: ARG002 - no other process can have claimed
        """Delete the claim."""
        self._store.delete(self._store_key(key))

    def read_clock(self) -> None:
        """Return ``None``: the store does not tell its time."""

    def known_ids(self, rows: Collection[ScheduledMessage]) -> set[MessageId]:
        """Return the ids of the rows that are of this task. The store has no other task, and no numbers."""
        return {row.message_id for row in rows if self._stored.has(row)}

    def conflicts(self, key: RequestKey, send_at: DateTime, numbers: Collection[str]) -> set[str]:  # noqa: ARG002 - it keeps no numbers
        """Return all numbers if recipients of an earlier generation are in doubt. No other batch is known."""
        return set(numbers) if self._stored.were_in_doubt else set()

    def _write(self, key: RequestKey, record: RequestRecord) -> None:
        self._store.set(self._store_key(key), {**row_of_record(record), "sms_conn_id": self._sms_conn_id})

    def _store_key(self, key: RequestKey) -> str:
        return store_key(self._generation, key)

    def _refuse_if_forgotten(self) -> None:
        """Refuse if the store may have had a batch. A setting of Airflow wipes the store after a success."""
        if self._is_of_one_try:
            return
        this_try = self._store.this_try
        if not self._store.is_kept:
            if not this_try.is_first:
                raise OutcomeUnknown(_NO_MEMORY + _NO_STORE)
            return
        if this_try.was_cleared and this_try.is_wiped_on_success and not self._may_resend:
            raise OutcomeUnknown(_NO_MEMORY + _FORGOTTEN)


def _write_decisions(store: TaskStore, batch: Batch) -> str:
    """Store the decisions of a batch in parts, and return the number of parts; empty for none."""
    parts = parts_of(batch.decisions)
    for part, content in enumerate(parts):
        store.set(f"{DECISIONS_KEY}.{batch.generation}.{part}", content)
    return str(len(parts) or "")


def _read_decisions(store: TaskStore, batch: Batch) -> str:
    """Return the stored decisions of a batch, whose row has the number of their parts."""
    parts = range(int(batch.decisions))
    found = [store.get(f"{DECISIONS_KEY}.{batch.generation}.{part}") for part in parts]
    if None in found:
        raise LedgerUnavailable(_DECISIONS_GONE)
    return "".join(found)


class StoredRequests:
    """The stored records of a task's requests, in all its generations: what their texts look like.

    :param generation: the last generation, which is open.
    """

    def __init__(self, store: TaskStore, generation: int = 1, sms_conn_id: str = "") -> None:
        self._store = store
        self._generation = generation
        self._sms_conn_id = sms_conn_id

    def has(self, row: ScheduledMessage) -> bool:
        """Tell whether a row is of this task, by its id and its minute."""
        times = instants_of(row.send_at)
        known = self._times.get(row.message_id, ())
        return any(due is None or not times or not times.isdisjoint(due) for due in known)

    def add(self, record: RequestRecord, receipts: Mapping[int, Receipt]) -> None:
        """Add the texts that were just accepted, if the others were read already."""
        if "_times" in self.__dict__:
            for message_id in {record.ids[position] for position in receipts.keys() & record.ids.keys()}:
                self._times[message_id].append(record.due)

    @cached_property
    def were_in_doubt(self) -> bool:
        """Whether recipients of an earlier generation are in doubt: their texts look like ours."""
        generations = range(1, self._generation)
        return any(record_of(row).in_doubt for generation in generations for row in self._rows_of(generation))

    @cached_property
    def _times(self) -> defaultdict[MessageId, list[frozenset[DateTime] | None]]:
        """The due times of texts, by their ids, of all requests through this connection."""
        times: defaultdict[MessageId, list[frozenset[DateTime] | None]] = defaultdict(list)
        for generation in range(1, self._generation + 1):
            for row in self._rows_of(generation):
                if row.get("sms_conn_id", self._sms_conn_id) == self._sms_conn_id:
                    record = record_of(row)
                    for message_id in record.ids.values():
                        times[message_id].append(record.due)
        return times

    def _rows_of(self, generation: int) -> Iterator[Mapping[str, Any]]:
        """Yield the stored records of a generation. There are no gaps, as requests are claimed in order."""
        for of_round in count(1):
            for request in count(1):
                row = self._found(store_key(generation, RequestKey(of_round, request)))
                if row is None:
                    break
                yield row
            if request == 1:
                return

    def _found(self, key: str) -> Any:
        """Return the value of a key. One "not found" proves nothing: Airflow returns it for any 404."""
        row = self._store.get(key)
        return self._store.get(key) if row is None else row


def store_key(generation: int, key: RequestKey) -> str:
    """Return the key of a request's record."""
    return f"{BATCH_KEY}.{generation}.{key.round}.{key.request:06d}"


def row_of_batch(batch: Batch) -> dict[str, Any]:
    """Return a batch as JSON values."""
    return {**asdict(batch), "opened_at": batch.opened_at.isoformat()}


def batch_of(row: Mapping[str, Any]) -> Batch:
    """Return a batch from its JSON values."""
    return Batch(
        **{
            **row,
            "sender": Sender(**row["sender"]),
            "digest": BatchDigest(**row["digest"]),
            "opened_at": _instant(row["opened_at"]),
        }
    )


def row_of_record(record: RequestRecord) -> dict[str, Any]:
    """Return a record as JSON values, about 10 kB for 1,000 recipients."""
    row: dict[str, Any] = {
        "size": record.size,
        "claimed_at": record.claimed_at.isoformat(),
        "owner": record.owner,
        "send_at": record.send_at and record.send_at.isoformat(),
    }
    if record.due is not None:
        row["due"] = sorted(int(due.timestamp()) // 60 for due in record.due)
    if record.ids:
        row["ids"] = [record.ids.get(position) for position in range(record.size)]
        each = [
            str(record.costs[position]) if position in record.costs else None
            for position in range(record.size)
        ]
        costs = {each[position] for position in record.ids}
        row["costs"] = costs.pop() if len(costs) == 1 else each
    if record.declined:
        positions = defaultdict(list)
        for position, reason in sorted(record.declined.items()):
            positions[str(reason)].append(position)
        row["declined"] = dict(positions)
    if record.cancelling_at is not None:
        row["cancelling_at"] = record.cancelling_at.isoformat()
    if record.digests is not None:
        row["digests"] = row_of_digests(record.digests)
    return row


def row_of_digests(digests: Sequence[RecipientDigest]) -> dict[str, Any]:
    """Return recipients as JSON values: their numbers, and the lengths of runs of equal texts and times."""
    runs = [
        [text, send_at and int(send_at.timestamp()), len(list(alike))]
        for (text, send_at), alike in groupby(digests, key=itemgetter(1, 2))
    ]
    numbers = bytes.fromhex("".join(digest.number for digest in digests))
    return {"numbers": b64encode(numbers).decode(), "texts": runs}


def digests_of(row: Mapping[str, Any]) -> tuple[RecipientDigest, ...]:
    """Return recipients from their JSON values."""
    digits = b64decode(row["numbers"]).hex()
    numbers = iter(digits[at : at + SHORT_HASH_DIGITS] for at in range(0, len(digits), SHORT_HASH_DIGITS))
    return tuple(
        RecipientDigest(number, text, send_at and pendulum.from_timestamp(send_at))
        for text, send_at, size in row["texts"]
        for number in islice(numbers, size)
    )


def record_of(row: Mapping[str, Any]) -> RequestRecord:
    """Return a record from its JSON values."""
    ids = {
        position: message_id
        for position, message_id in enumerate(row.get("ids", ()))
        if message_id is not None
    }
    costs = row.get("costs")
    each: list[Any] = costs if isinstance(costs, list) else [costs] * row["size"]
    return RequestRecord(
        size=row["size"],
        claimed_at=_instant(row["claimed_at"]),
        owner=row["owner"],
        send_at=row["send_at"] and _instant(row["send_at"]),
        ids=ids,
        costs={position: Decimal(each[position]) for position in ids if each[position] is not None},
        declined={
            position: RejectReason(reason)
            for reason, positions in row.get("declined", {}).items()
            for position in positions
        },
        cancelling_at=_instant(row["cancelling_at"]) if "cancelling_at" in row else None,
        due=frozenset(pendulum.from_timestamp(60 * due) for due in row["due"]) if "due" in row else None,
        digests=digests_of(row["digests"]) if "digests" in row else None,
    )


def _instant(text: str) -> DateTime:
    return pendulum.DateTime.fromisoformat(text).in_timezone("UTC")
