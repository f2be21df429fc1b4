"""The tables of the ledger, as data.

The name of each table begins with a prefix, by default ``sms_``. One transaction creates them all
when they are first needed. A published column is neither renamed nor dropped; new columns may be added.

An instant is a ``TIMESTAMP WITH TIME ZONE`` in PostgreSQL, a ``DATETIME(6)`` in UTC in MySQL and MariaDB, and
ISO 8601 text in UTC in SQLite. A message id is text; order whole numbers by their length, then by the text.
An amount has four decimal places. SQLite has no decimals: round a sum there to four places, and it is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.exceptions import ConfigurationError, LedgerUnavailable
from airflow_provider_winsms.messages import DeliveryState
from airflow_provider_winsms.sql.column_types import check_types
from airflow_provider_winsms.sql.tables import creation, table_of
from airflow_provider_winsms.sql.types import ColumnType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_winsms.sql.compiler import Statement
    from airflow_provider_winsms.sql.connection import Database


class MessageState(StrEnum):
    """How far one text to one recipient has come."""

    UNKNOWN = "unknown"
    """Submitted, or about to be. There is no answer yet, or it was lost."""

    ACCEPTED = "accepted"
    """The gateway accepted it, to go out now."""

    SCHEDULED = "scheduled"
    """The gateway accepted it, to go out at ``send_at``."""

    DECLINED = "declined"
    """Not accepted; ``reason`` says why."""

    CANCELLING = "cancelling"
    """The gateway accepted it, and a cancellation began. Its result is not known yet."""

    CANCELLED = "cancelled"
    """Cancelled; ``refund`` is the amount that the gateway gave back."""

    QUEUED = "queued"
    """The gateway accepted it, and holds it in its queue."""

    SENT = "sent"
    """Handed to the network. There is no report yet, and perhaps never one."""

    DELIVERED = "delivered"
    """Arrived on the phone, at ``state_at``."""

    FAILED = "failed"
    """Transmitted, but not delivered."""

    NOT_SENT = "not_sent"
    """The gateway accepted it, but never transmitted it."""

    NOT_FOUND = "not_found"
    """The gateway accepted it, but does not know its id, or has forgotten it."""

    @property
    def counter(self) -> str:
        """The column of the batch that counts texts in this state."""
        return str(self) if self in _COUNTED_APART else "accepted"


_COUNTED_APART = frozenset({MessageState.UNKNOWN, MessageState.DECLINED, MessageState.CANCELLED})

ACCEPTED_STATES = tuple(state for state in MessageState if state not in _COUNTED_APART)
"""The states of a text that the gateway accepted and that was not cancelled."""

_PENDING = (MessageState.ACCEPTED, MessageState.SCHEDULED, MessageState.NOT_FOUND)
_FINAL_FROM = (*_PENDING, MessageState.QUEUED, MessageState.SENT, MessageState.CANCELLING)

REPORTED_FROM: Mapping[DeliveryState, tuple[MessageState, ...]] = {
    DeliveryState.QUEUED: _PENDING,
    DeliveryState.SENT: (*_PENDING, MessageState.QUEUED, MessageState.CANCELLING),
    DeliveryState.NOT_FOUND: (
        MessageState.ACCEPTED,
        MessageState.SCHEDULED,
        MessageState.QUEUED,
        MessageState.SENT,
    ),
    DeliveryState.DELIVERED: _FINAL_FROM,
    DeliveryState.FAILED: _FINAL_FROM,
    DeliveryState.NOT_SENT: _FINAL_FROM,
}
"""The states that a report may change: no text goes back. ``DeliveryState.UNKNOWN`` changes none."""

OPEN_STATES = _FINAL_FROM
"""The states that a report may change. ``NOT_FOUND`` is one of them for a limited time."""

CANCELLABLE = (MessageState.ACCEPTED, MessageState.SCHEDULED, MessageState.QUEUED)
"""The states of a text that may still be waiting."""


def state_list(states: Iterable[MessageState]) -> str:
    """Return states as a list in SQL."""
    return ", ".join(f"'{state}'" for state in states)


class LedgerColumn(NamedTuple):
    """One column of a table."""

    name: str
    kind: ColumnType
    meaning: str
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class LedgerTable:
    """One table.

    :param name: its name without the prefix.
    :param key: the columns of its primary key.
    :param unique: columns whose values together are unique.
    :param indexes: the columns of each further index.
    """

    name: str
    meaning: str
    columns: tuple[LedgerColumn, ...]
    key: tuple[str, ...]
    unique: tuple[str, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of its columns, in their order."""
        return tuple(column.name for column in self.columns)


_CURRENCY = LedgerColumn(
    "currency", ColumnType.WORD, "the unit of the amounts: a code such as `PLN`, or `credits`"
)

BATCHES = LedgerTable(
    "batches",
    "One row for each batch: all texts of one send of one task.",
    columns=(
        LedgerColumn("batch_id", ColumnType.WORD, "32 hexadecimal digits, from the key and the generation"),
        LedgerColumn("key_digest", ColumnType.WORD, "SHA-256 of the key, in hexadecimal digits"),
        LedgerColumn("batch_key", ColumnType.TEXT, "the idempotency key, or DAG/run/task/map index"),
        LedgerColumn(
            "generation", ColumnType.COUNT, "how often it was sent on purpose, from 1; a clear may raise it"
        ),
        LedgerColumn("dag_id", ColumnType.NAME, "the DAG that sends"),
        LedgerColumn("run_id", ColumnType.NAME, "its run"),
        LedgerColumn("task_id", ColumnType.NAME, "its task"),
        LedgerColumn("map_index", ColumnType.COUNT, "the index of a mapped task; -1 for any other"),
        LedgerColumn("owner", ColumnType.TEXT, "the owner of the task, as Airflow has it"),
        LedgerColumn("sms_conn_id", ColumnType.NAME, "the connection of the gateway"),
        LedgerColumn("guarantee", ColumnType.WORD, "the guarantee of the task, for answers that are lost"),
        LedgerColumn("texts_digest", ColumnType.TEXT, "keyed digest of the texts, their times and segments"),
        LedgerColumn("numbers_digest", ColumnType.TEXT, "keyed digest of the numbers, in their order"),
        LedgerColumn("key_id", ColumnType.WORD, "the id of the key of the digests and the hashes"),
        LedgerColumn("recipients", ColumnType.COUNT, "number of planned texts to one recipient each"),
        LedgerColumn("requests", ColumnType.COUNT, "number of planned requests"),
        LedgerColumn(
            "duplicates", ColumnType.COUNT, "recipients left out, because the same text goes to them already"
        ),
        LedgerColumn("max_tries", ColumnType.COUNT, "`max_tries` of the task instance; a clear raises it"),
        LedgerColumn(
            "revision", ColumnType.COUNT, "how often a later try took over the batch, with another list"
        ),
        LedgerColumn(
            "accepted", ColumnType.COUNT, "texts that the gateway accepted and that were not cancelled"
        ),
        LedgerColumn("declined", ColumnType.COUNT, "texts that the gateway declined, in all rounds"),
        LedgerColumn("unknown", ColumnType.COUNT, "texts whose outcome is unknown"),
        LedgerColumn("cancelled", ColumnType.COUNT, "accepted texts that were cancelled"),
        LedgerColumn(
            "cost",
            ColumnType.AMOUNT,
            "the price of all accepted texts, including texts that were cancelled later; less `refunded` it "
            "is the `cost` in the result of the send",
        ),
        LedgerColumn(
            "refunded", ColumnType.AMOUNT, "the amount that the gateway gave back for cancelled texts"
        ),
        _CURRENCY,
        LedgerColumn("opened_at", ColumnType.INSTANT, "when the first try began"),
        LedgerColumn("updated_at", ColumnType.INSTANT, "when its requests or counts last changed"),
        LedgerColumn(
            "superseded_at", ColumnType.INSTANT, "when a later generation replaced it", is_required=False
        ),
    ),
    key=("batch_id",),
    unique=("key_digest", "generation"),
)

REQUESTS = LedgerTable(
    "requests",
    "One row for each claimed request. A request is submitted at most once.",
    columns=(
        LedgerColumn("batch_id", ColumnType.WORD, "the batch"),
        LedgerColumn("round", ColumnType.COUNT, "1, plus one each time that texts had to be sent again"),
        LedgerColumn("request", ColumnType.COUNT, "the index of the request in its round, from 1"),
        LedgerColumn("recipients", ColumnType.COUNT, "number of texts to one recipient each in it"),
        LedgerColumn(
            "process", ColumnType.NAME, "the process that claimed it: host, process id and a random part"
        ),
        LedgerColumn(
            "claimed_at", ColumnType.INSTANT, "when it was claimed; it left shortly after, or never"
        ),
        LedgerColumn("send_at", ColumnType.INSTANT, "the minute until which it was held", is_required=False),
        LedgerColumn(
            "answered_at", ColumnType.INSTANT, "when its outcome was last recorded", is_required=False
        ),
        LedgerColumn(
            "cancelling_at",
            ColumnType.INSTANT,
            "when its killed task began to cancel it; null again after the outcome is recorded",
            is_required=False,
        ),
    ),
    key=("batch_id", "round", "request"),
)

MESSAGES = LedgerTable(
    "messages",
    "One row for each text to one recipient, in each request that contained it.",
    columns=(
        LedgerColumn("batch_id", ColumnType.WORD, "the batch"),
        LedgerColumn(
            "round",
            ColumnType.COUNT,
            "the round of the request; 0 for recipients in no request: invalid, or taken out by a rule",
        ),
        LedgerColumn("request", ColumnType.COUNT, "the request"),
        LedgerColumn("position", ColumnType.COUNT, "the position in the request, from 0"),
        LedgerColumn(
            "number",
            ColumnType.NUMBER,
            'international digits; with `ledger_privacy="keyed_hash"` their keyed hash',
        ),
        LedgerColumn("address_kind", ColumnType.WORD, "the kind of address that `number` is: `phone`"),
        LedgerColumn(
            "text", ColumnType.TEXT, 'the keyed hash of the text; with `ledger_text="keep"` the text'
        ),
        LedgerColumn("state", ColumnType.WORD, "its state: a value of `MessageState`"),
        LedgerColumn(
            "reason", ColumnType.WORD, "why it was declined: a value of `RejectReason`", is_required=False
        ),
        LedgerColumn(
            "message_id",
            ColumnType.ID,
            "the gateway's id; join it with `in_reply_to` of the replies",
            is_required=False,
        ),
        LedgerColumn(
            "cost",
            ColumnType.AMOUNT,
            "its price; 0 if it was not accepted, if a person resolved it, or if the gateway stated no "
            "amount that can be read",
        ),
        LedgerColumn("refund", ColumnType.AMOUNT, "the amount given back when it was cancelled; otherwise 0"),
        _CURRENCY,
        LedgerColumn("submitted_at", ColumnType.INSTANT, "when its request was claimed"),
        LedgerColumn("send_at", ColumnType.INSTANT, "when it is to go out; null: at once", is_required=False),
        LedgerColumn(
            "state_at", ColumnType.INSTANT, "when it entered its state; for `delivered`, the gateway's time"
        ),
        LedgerColumn(
            "reference", ColumnType.NAME, "the sender's own name for the text, as given", is_required=False
        ),
    ),
    key=("batch_id", "round", "request", "position"),
    indexes=(("message_id",), ("number",), ("reference",)),
)

ROUNDS = LedgerTable(
    "rounds",
    "The recipients of each later round: one row for each earlier request that contained some of them.",
    columns=(
        LedgerColumn("batch_id", ColumnType.WORD, "the batch"),
        LedgerColumn("round", ColumnType.COUNT, "the round that sends again, from 2"),
        LedgerColumn("of_round", ColumnType.COUNT, "the round of the earlier request"),
        LedgerColumn("of_request", ColumnType.COUNT, "the earlier request"),
        LedgerColumn("positions", ColumnType.TEXT, "the recipients' positions in it, such as 0-4,7"),
    ),
    key=("batch_id", "round", "of_round", "of_request"),
)

DECISIONS = LedgerTable(
    "decisions",
    "What the rules of a batch decided about its recipients, in parts. A later try follows it.",
    columns=(
        LedgerColumn("batch_id", ColumnType.WORD, "the batch"),
        LedgerColumn("part", ColumnType.COUNT, "the index of the part, from 0"),
        LedgerColumn(
            "content",
            ColumnType.TEXT,
            "a part of JSON: outcomes in the order of the list, without numbers and texts",
        ),
    ),
    key=("batch_id", "part"),
)

RESERVATIONS = LedgerTable(
    "reservations",
    "One row for each text that `FrequencyCap` let a batch send, until it expires. It counts as a text until "
    "the batch has a row for it in `messages`. The row with an empty number is a lock.",
    columns=(
        LedgerColumn("key_digest", ColumnType.WORD, "SHA-256 of the key of the batch, in hexadecimal digits"),
        LedgerColumn("number", ColumnType.NUMBER, "the number, as in `messages`"),
        LedgerColumn(
            "place", ColumnType.COUNT, "the index of the text among the batch's texts to it, from 0"
        ),
        LedgerColumn("dag_id", ColumnType.NAME, "the DAG that sends"),
        LedgerColumn("key_id", ColumnType.WORD, "the id of the key of the hashes"),
        LedgerColumn("due_at", ColumnType.INSTANT, "when the text is to go out"),
        LedgerColumn("reserved_at", ColumnType.INSTANT, "when it was reserved"),
        LedgerColumn("expires_at", ColumnType.INSTANT, "until when it counts"),
    ),
    key=("key_digest", "number", "place"),
    indexes=(("number",),),
)

SPENDING = LedgerTable(
    "spending",
    "One row for each batch key that `CreditBudget` let send. It counts until it is settled, unless the "
    "batch has cost more. The row with an empty key is a lock.",
    columns=(
        LedgerColumn("key_digest", ColumnType.WORD, "SHA-256 of the key of the batch, in hexadecimal digits"),
        LedgerColumn("sms_conn_id", ColumnType.NAME, "the connection of the gateway"),
        LedgerColumn("dag_id", ColumnType.NAME, "the DAG that sends"),
        LedgerColumn("run_id", ColumnType.NAME, "its run"),
        LedgerColumn("amount", ColumnType.AMOUNT, "what all its texts may cost"),
        LedgerColumn("reserved_at", ColumnType.INSTANT, "when it was reserved"),
        LedgerColumn(
            "settled_at",
            ColumnType.INSTANT,
            "since when only the cost in `batches` counts; null: the send has not ended",
            is_required=False,
        ),
    ),
    key=("key_digest",),
)

ALERTS = LedgerTable(
    "alerts",
    "One row for each alert of `SmsNotifier`, also for those that were held back, for 90 days. The row with "
    "an empty id is a lock.",
    columns=(
        LedgerColumn("alert_id", ColumnType.WORD, "identifies the alert: random hexadecimal digits"),
        LedgerColumn("key_digest", ColumnType.WORD, "SHA-256 of the alert's key, in hexadecimal digits"),
        LedgerColumn("dag_id", ColumnType.NAME, "the DAG that raised it"),
        LedgerColumn("run_id", ColumnType.NAME, "its run"),
        LedgerColumn("task_id", ColumnType.NAME, "its task; empty if the alert is of the whole DAG"),
        LedgerColumn("raised_at", ColumnType.INSTANT, "when it was raised"),
        LedgerColumn(
            "sent_in",
            ColumnType.WORD,
            "the alert whose text was sent for it: itself, or a later one that counted it; null: none yet",
            is_required=False,
        ),
    ),
    key=("alert_id",),
    indexes=(("key_digest", "raised_at"),),
)
TABLES = (BATCHES, REQUESTS, MESSAGES, ROUNDS, DECISIONS, RESERVATIONS, SPENDING, ALERTS)

_ADDED_LATER = frozenset({DECISIONS, RESERVATIONS, SPENDING, ALERTS})
"""Tables that a ledger of an earlier version lacks, although it has recorded sends."""

_KINDS = ("postgres", "mysql", "sqlite")
"""The types of connections to databases whose keys and locks provably let only one process claim."""


def check_kind(conn_type: str) -> None:
    """Check that a database of this type can keep a ledger.

    :raises ConfigurationError: if it cannot.
    """
    if conn_type not in _KINDS:
        msg = (
            "A ledger is kept in PostgreSQL, MySQL, MariaDB or SQLite, whose locks let only one process "
            f"claim a request; the connection has the type {conn_type!r}."
        )
        raise ConfigurationError(msg)


_ANOTHER_PREFIX = (
    "Give another prefix, whose tables are then created. They know nothing of earlier sends: a try that "
    "continues one sends to all its recipients again."
)


class Schema:
    """The tables under one prefix, in one database."""

    def __init__(self, database: Database, prefix: str) -> None:
        self._database = database
        self._prefix = prefix
        self.tables = {
            table.name: table_of((prefix + table.name,), table.columns, table.key, table.unique)
            for table in TABLES
        }
        """By their names without the prefix."""

    def name(self, table: LedgerTable) -> str:
        """Return the quoted name of a table."""
        return self._database.quoted(self.tables[table.name])

    def prepare(self, *, must_exist: bool = False, reads_only: bool = False) -> bool:
        """Create the missing tables, and tell whether tables that record sends were missing.

        :param must_exist: whether missing tables that record sends are an error.
        :param reads_only: whether they must exist, and other missing tables are left missing.
        :raises ConfigurationError: if a table is missing and must exist, lacks columns, or has types that
            cannot hold their values.
        """
        missing = [table for table in TABLES if not self._exists(table)]
        is_new = bool(set(missing) - _ADDED_LATER)
        if is_new and (must_exist or reads_only):
            names = ", ".join(self._prefix + table.name for table in TABLES)
            msg = (
                f"There is no ledger with the prefix {self._prefix!r}. Not all of its tables exist: {names}."
            )
            raise ConfigurationError(msg)
        if missing and not reads_only:
            self._database.transact(self._create)
        for table in TABLES:
            if not (reads_only and table in missing):
                self._check(table, self._columns(table))
        return is_new

    def _exists(self, table: LedgerTable) -> bool:
        try:
            self._columns(table)
        except LedgerUnavailable:
            if not self._database.is_open:
                raise
            return False
        return True

    def _columns(self, table: LedgerTable) -> set[str]:
        step = f"read the columns of {self._prefix}{table.name}"
        return self._database.transact(lambda: self._database.columns(step, self.tables[table.name]))

    def _check(self, table: LedgerTable, found: set[str]) -> None:
        missing = [name for name in table.column_names if name not in found]
        if missing:
            msg = (
                f"The table {self._prefix}{table.name} lacks columns of the ledger: {', '.join(missing)}. "
                f"Add them. Or: {_ANOTHER_PREFIX}"
            )
            raise ConfigurationError(msg)
        created = self.tables[table.name]
        self._database.transact(lambda: check_types(self._database, created, table.columns, _ANOTHER_PREFIX))

    def _create(self) -> None:
        self._database.lock(f"{self._prefix}schema")
        for statement in self._statements():
            self._database.execute("create the tables", statement)

    def _statements(self) -> Iterator[Statement]:
        for table in TABLES:
            yield from creation(self.tables[table.name], table.indexes, self._database.dialect)
