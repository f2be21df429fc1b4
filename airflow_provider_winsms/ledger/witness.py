"""A second record of the claimed requests, which reveals that the ledger has lost some.

It is one small value in Airflow's task state store, beside the ledger. A ledger may lack claims because its
tables were dropped, because its connection leads elsewhere, or because a store answers "not found" for a
record that it has. Airflow tells a worker only "not found", so a single such answer proves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

from airflow_provider_winsms.exceptions import LedgerUnavailable, OutcomeUnknown
from airflow_provider_winsms.ledger.base import RequestKey, positions_in, spans_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.ledger.base import Batch, Ledger, RequestRecord, ResendPlan
    from airflow_provider_winsms.ledger.sql import SqlLedger
    from airflow_provider_winsms.ledger.task_state import TaskStateLedger, TaskStore
    from airflow_provider_winsms.messages import Message

CLAIMS_KEY = "sms_claims"
"""The key of the claims. The value has each batch key, its generations, their rounds, and their requests."""

_PROBE_KEY = "sms_probe"

_UNRELIABLE = (
    "Airflow's task state store did not return what was just written to it, so its answers about earlier "
    "tries prove nothing. Nothing was sent. A retry goes on."
)
_TABLES_LACK = (
    "Restore the tables, or point `ledger_conn_id` and `ledger_prefix` at those of the earlier try; a retry "
    'goes on. To send all again, to everybody: clear the task with on_clear="resend", or start a new DAG run.'
)
_STORE_LACKS = (
    "If Airflow's task state store failed for a moment, a retry goes on. If a person deleted the key there: "
    "delete all keys of the task in it and clear the task, or start a new DAG run. Both send all again, to "
    "everybody."
)
_CREATED_NOW = (
    "This try created the ledger's tables. An earlier try of this task may have sent with tables that are "
    "gone. Nothing was sent. Point `ledger_conn_id` at the ledger of the earlier try. If no earlier try has "
    "sent anything, clear the task: it then sends."
)


class Witness:
    """The requests that the tries of this task instance have claimed under one batch key.

    Without a task state store (before Airflow 3.3) it has only those of this try.

    :param store: of the task instance.
    :param key: of the batch.
    :ivar is_kept: whether it outlives this try.
    :raises LedgerUnavailable: from every method, if the store cannot be reached.
    """

    def __init__(self, store: TaskStore, key: str) -> None:
        self.is_kept = store.is_kept
        self.this_try = store.this_try
        self._store = store
        self._key = blake2b(key.encode(), digest_size=8).hexdigest()
        self._others: dict[str, Any] = {}
        self._claims: set[tuple[int, RequestKey]] = set()

    def load(self) -> None:
        """Read the claims of earlier tries.

        :raises LedgerUnavailable: if the store has no claims, and does not return what is written to it.
        """
        rows = self._store.get(CLAIMS_KEY)
        if rows is None and self.is_kept and not self.this_try.is_first:
            self._probe()
            rows = self._store.get(CLAIMS_KEY)
        self._others = dict(rows or {})
        self._claims = set(_claims(self._others.pop(self._key, {})))

    def last_generation(self) -> int:
        """Return the last generation with a claim, or 0."""
        return max((generation for generation, _ in self._claims), default=0)

    def last_round(self, generation: int) -> int:
        """Return the last round of a generation with a claim, or 0."""
        return max((key.round for of, key in self._claims if of == generation), default=0)

    def has(self, generation: int, key: RequestKey) -> bool:
        """Tell whether a request was claimed."""
        return (generation, key) in self._claims

    def remember(self, generation: int, key: RequestKey) -> None:
        """Remember that a request was claimed. The next claim writes it."""
        self._claims.add((generation, key))

    def add(self, generation: int, key: RequestKey) -> None:
        """Write that a request was claimed."""
        self.remember(generation, key)
        self._write()

    def remove(self, generation: int, key: RequestKey) -> None:
        """Write that a request is no longer claimed."""
        self._claims.discard((generation, key))
        self._write()

    def forget_after(self, generation: int) -> None:
        """Write that no request of a later generation was claimed."""
        self._claims = {(of, key) for of, key in self._claims if of <= generation}
        self._write()

    def _write(self) -> None:
        self._store.set(CLAIMS_KEY, {**self._others, self._key: _rows(self._claims)})

    def _probe(self) -> None:
        nonce = uuid4().hex
        self._store.set(_PROBE_KEY, nonce)
        if self._store.get(_PROBE_KEY) != nonce:
            raise LedgerUnavailable(_UNRELIABLE)
        self._store.delete(_PROBE_KEY)


class WitnessedLedger:
    """A ledger that is compared with its witness, and refuses to go on if it lacks claims.

    :param resends: whether a task that a person clears sends all again.
    :param is_new: whether this try created the ledger.
    :param remedy: tells a person what to do if the ledger lacks claims.
    """

    def __init__(self, ledger: Ledger, witness: Witness, *, resends: bool, is_new: bool, remedy: str) -> None:
        self._ledger = ledger
        self._witness = witness
        self._may_forget = resends and witness.this_try.was_cleared
        self._is_new = is_new
        self._remedy = remedy
        self._generation = 1
        self.take_over, self.revise, self.reject = ledger.take_over, ledger.revise, ledger.reject
        self.short_hash, self.recipient_digests = ledger.short_hash, ledger.recipient_digests
        self.renew, self.record, self.open_round = ledger.renew, ledger.record, ledger.open_round
        self.mark_not_received, self.mark_cancelling = ledger.mark_not_received, ledger.mark_cancelling
        self.known_ids, self.conflicts = ledger.known_ids, ledger.conflicts
        self.read_clock = ledger.read_clock

    def latest(self) -> Batch | None:
        """Return the batch that an earlier try opened.

        :raises LedgerUnavailable: if the ledger lacks it.
        """
        # The witness comes first: it checks whether the store answers correctly.
        self._witness.load()
        found = self._ledger.latest()
        self._generation = 0 if found is None else found.generation
        if self._witness.last_generation() > self._generation:
            if not self._may_forget:
                self._refuse("the batch")
            self._witness.forget_after(self._generation)
        if found is None:
            self._refuse_if_created_now()
        return found

    def open(self, batch: Batch) -> Batch:
        """Write a batch."""
        opened = self._ledger.open(batch)
        self._generation = opened.generation
        return opened

    def find(self, key: RequestKey) -> RequestRecord | None:
        """Return the record of a request.

        :raises LedgerUnavailable: if the ledger lacks it.
        """
        found = self._ledger.find(key)
        if found is not None:
            self._witness.remember(self._generation, key)
        elif self._witness.has(self._generation, key):
            self._refuse(f"request {key.request} of round {key.round}")
        return found

    def claim(self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]) -> None:
        """Claim a request, in the ledger first: a request whose claim has no witness has not left."""
        self._ledger.claim(key, record, messages)
        self._witness.add(self._generation, key)

    def release_claim(self, key: RequestKey, record: RequestRecord) -> None:
        """Delete a claim."""
        self._witness.remove(self._generation, key)
        self._ledger.release_claim(key, record)

    def rounds(self) -> list[ResendPlan]:
        """Return the resend plan of each round after the first.

        :raises LedgerUnavailable: if the ledger lacks one of them.
        """
        found = self._ledger.rounds()
        if self._witness.last_round(self._generation) > len(found) + 1:
            self._refuse(f"round {len(found) + 2}")
        return found

    def _refuse_if_created_now(self) -> None:
        """Refuse if there is no witness, and this later try created the ledger."""
        is_witnessed = self._witness.is_kept or self._witness.this_try.is_first
        if self._is_new and not is_witnessed and not self._may_forget:
            raise OutcomeUnknown(_CREATED_NOW)

    def _refuse(self, what: str) -> NoReturn:
        msg = (
            f"An earlier try of this task claimed requests, but the ledger lacks {what}, so what was sent is "
            f"unknown here. Nothing more was sent. {self._remedy}"
        )
        raise LedgerUnavailable(msg)


def beside_tables(ledger: SqlLedger, store: TaskStore, key: str, *, resends: bool) -> WitnessedLedger:
    """Return a ledger in tables that is compared with its witness."""
    witness = Witness(store, key)
    return WitnessedLedger(ledger, witness, resends=resends, is_new=ledger.is_new, remedy=_TABLES_LACK)


def beside_store(ledger: TaskStateLedger, store: TaskStore, key: str) -> WitnessedLedger:
    """Return a ledger in the task state store that is compared with its witness, in the same store."""
    # The store may have lost the batch and kept records. So only a person can delete all keys together.
    return WitnessedLedger(ledger, Witness(store, key), resends=False, is_new=False, remedy=_STORE_LACKS)


def _claims(rows: Any) -> list[tuple[int, RequestKey]]:
    return [
        (int(generation), RequestKey(int(round_), position))
        for generation, rounds in rows.items()
        for round_, spans in rounds.items()
        for position in positions_in(spans)
    ]


def _rows(claims: set[tuple[int, RequestKey]]) -> dict[str, dict[str, str]]:
    """Return claims as JSON values."""
    numbers = defaultdict[tuple[int, int], list[int]](list)
    for generation, key in claims:
        numbers[generation, key.round].append(key.request)
    rows = defaultdict[str, dict[str, str]](dict)
    for (generation, of_round), found in sorted(numbers.items()):
        rows[str(generation)][str(of_round)] = spans_of(found)
    return dict(rows)
