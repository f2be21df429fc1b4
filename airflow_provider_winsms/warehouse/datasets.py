"""Datasets that can be loaded, and their columns, as data. ``docs/warehouse.md`` is made from them.

A published column is neither renamed nor dropped; new ones may be added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from airflow_provider_winsms.options import check_choice
from airflow_provider_winsms.sql.types import ColumnType

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_winsms.ledger.deliveries import DeliverySizes


class WriteDisposition(Enum):
    """How a load writes rows to the table."""

    APPEND = auto()
    """Rows never change: insert the rows that the table lacks."""

    UPSERT = auto()
    """Insert the rows that the table lacks, and update those that changed."""

    SNAPSHOT = auto()
    """As ``UPSERT``, and mark rows that left the list as removed."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    :param wire: its source: the field of WinSMS's answer, or the column of the ledger.
    :param is_read: whether it has a source; otherwise the load sets it.
    :param is_indexed: whether it has an index, because readers look up rows by it.
    :param is_personal: whether it may say something about a person, and is emptied when they are forgotten.
    """

    name: str
    kind: ColumnType
    meaning: str
    wire: str = ""
    is_required: bool = False
    is_read: bool = True
    is_indexed: bool = False
    is_personal: bool = False


@dataclass(frozen=True, slots=True)
class Dataset:
    """A kind of rows that one table holds.

    :param key: the columns of the table's primary key.
    :param discriminator: a column that tells a table of the dataset from the tables of the others.
    :param capability: the capability of the gateway that it needs; empty if it is read from a ledger.
    :param has_history: whether a second table has one row per validity period on the list (SCD2).
    """

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    write_disposition: WriteDisposition
    discriminator: str
    capability: str = ""
    has_history: bool = False

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of all columns, in their order."""
        return tuple(column.name for column in self.columns)

    @property
    def personal_columns(self) -> tuple[str, ...]:
        """The names of the columns that are emptied when a person is forgotten."""
        return (KEY_ID, *(column.name for column in self.columns if column.is_personal))

    @property
    def is_from_ledger(self) -> bool:
        """Whether its source is a ledger, and no gateway."""
        return not self.capability

    def with_raw(self) -> Dataset:
        """Return the dataset with a column for the gateway's raw row."""
        return replace(self, columns=(*self.columns, RAW))

    def as_upsert(self) -> Dataset:
        """Return the dataset with a disposition that updates changed rows."""
        return (
            replace(self, write_disposition=WriteDisposition.UPSERT)
            if self.write_disposition is WriteDisposition.APPEND
            else self
        )


@dataclass(frozen=True, slots=True)
class LoadRun:
    """One run of the operator, as its rows record it.

    :param at: its beginning, in UTC.
    :param run_id: its DAG run.
    :param currency: the gateway's, for amounts of its lists.
    """

    at: datetime
    run_id: str | None
    currency: str


@dataclass(frozen=True, slots=True)
class LoadSizes:
    """The batch sizes of a load, and the bound on the growth of a list.

    :param merged_rows: how many rows are staged and merged at a time.
    :param rows_arrive: during one read a list may grow to twice its length, and by this many rows.
    :param deliveries: the batch sizes of reading a ledger; ``None`` for the defaults.
    """

    merged_rows: int = 10_000
    rows_arrive: int = 10**6
    deliveries: DeliverySizes | None = None


DEFAULT_SIZES = LoadSizes()


LOADED, LOAD_RUN = "loaded_at", "load_run_id"
"""The columns that name the load that wrote a row."""

FIRST_SEEN, LAST_SEEN, REMOVED = "first_seen_at", "last_seen_at", "removed_at"
"""The columns of a snapshot that say which loads saw a row listed."""

NUMBER, KEY_ID = "number", "number_key_id"

MASKED = "masked"
"""The key id of a masked number. No key has it, because the id of a key is hexadecimal digits."""

ADDRESS_KIND, CURRENCY = "address_kind", "currency"

RAW = Column("raw", ColumnType.TEXT, "the whole row as JSON, with `include_raw=True`", is_personal=True)

_KEY_NUMBER = (
    Column(
        NUMBER,
        ColumnType.NUMBER,
        "the phone, as international digits; with `keyed_hash` 64 hexadecimal digits instead",
        "mobileNumber",
        is_required=True,
    ),
    Column(
        KEY_ID, ColumnType.WORD, "the id of the key of the number's hash; null if the number is not hashed"
    ),
    Column(ADDRESS_KIND, ColumnType.WORD, "the kind of address that `number` is: `phone`"),
)
"""The columns of a number that identifies its row, so that it is never masked."""
_NUMBER = (
    replace(
        _KEY_NUMBER[0],
        meaning=f"{_KEY_NUMBER[0].meaning}; with `masked` only its first two and last three digits",
    ),
    replace(
        _KEY_NUMBER[1],
        meaning="the id of the key of the number's hash; `masked` for a masked number; null for a plain one",
    ),
    _KEY_NUMBER[2],
)
_CURRENCY = Column(CURRENCY, ColumnType.WORD, "the unit of the amounts: a code such as `PLN`, or `credits`")
_SEEN = (
    Column(
        FIRST_SEEN, ColumnType.INSTANT, "the first load that saw it listed", is_required=True, is_read=False
    ),
    Column(
        LAST_SEEN, ColumnType.INSTANT, "the last load that saw it listed", is_required=True, is_read=False
    ),
    Column(
        REMOVED,
        ColumnType.INSTANT,
        "the load that no longer saw it listed; null while it is listed",
        is_read=False,
    ),
)
_LOADED = (
    Column(
        LOADED,
        ColumnType.INSTANT,
        "when the load that last changed the row began; a change of `last_seen_at` does not count",
        is_required=True,
        is_read=False,
    ),
    Column(LOAD_RUN, ColumnType.NAME, "the DAG run of that load", is_read=False),
)


def _moment(name: str, meaning: str, wire: str) -> tuple[Column, Column]:
    """Return the column of a moment, and the column of the gateway's text for it."""
    return (
        Column(name, ColumnType.INSTANT, f"{meaning}, to the minute; null if the gateway gave no time", wire),
        Column(
            f"{name}_wire",
            ColumnType.WORD,
            "the gateway's own text for it, in its own time zone; null if it wrote nothing",
            wire,
        ),
    )


def _message_id(wire: str, meaning: str = "the gateway's id") -> Column:
    return Column("message_id", ColumnType.ID, meaning, wire, is_required=True)


_RECEIVED = (
    _message_id("incomingApiMessageId"),
    *_NUMBER,
    *_moment("received_at", "when it came in", "receiveTime"),
    Column("text", ColumnType.TEXT, "its text; null if texts are dropped", "messageText", is_personal=True),
)

INCOMING = Dataset(
    "incoming",
    "Texts that phones sent to the account: one row for each.",
    key=("message_id",),
    columns=(
        *_RECEIVED,
        Column(
            "in_reply_to",
            ColumnType.ID,
            "the last text sent to that number, which may not be the text that it answers",
            "outgoingApiMessageId",
        ),
        *_LOADED,
    ),
    write_disposition=WriteDisposition.APPEND,
    discriminator="in_reply_to",
    capability="incoming",
)

SHORT_CODE = Dataset(
    "short_code",
    "Texts that phones sent to the account's short or long code: one row for each.",
    key=("message_id",),
    columns=(*_RECEIVED, *_LOADED),
    write_disposition=WriteDisposition.APPEND,
    discriminator="received_at",
    capability="short_code",
)

OPT_OUTS = Dataset(
    "opt_outs",
    "Numbers that may not be texted: one row for each number that ever was on the list.",
    key=("number",),
    columns=(
        *_KEY_NUMBER,
        *_moment(
            "opted_out_at",
            "when it opted out; of several entries for a number the oldest counts",
            "receiveTime",
        ),
        Column(
            "text",
            ColumnType.TEXT,
            "the text of the opt-out, or the remark on an entry made by hand; null if texts are dropped",
            "messageText",
            is_personal=True,
        ),
        Column(
            "message_id",
            ColumnType.ID,
            "the incoming message that opted out; null for an entry made by hand",
            "incomingApiMessageId",
        ),
        *_SEEN,
        *_LOADED,
    ),
    write_disposition=WriteDisposition.SNAPSHOT,
    discriminator="opted_out_at",
    capability="opt_outs",
    has_history=True,
)

SCHEDULED = Dataset(
    "scheduled",
    "Texts that wait at the gateway for their time: one row for each text that a load ever saw there.",
    key=("message_id",),
    columns=(
        _message_id("apiMessageId"),
        *_NUMBER,
        *_moment("submitted_at", "when it was sent to the gateway", "submitTime"),
        *_moment("send_at", "when it is to go out", "scheduledSendTime"),
        Column(
            "refund",
            ColumnType.AMOUNT,
            "the amount that the gateway gives back if it is cancelled",
            "creditCost",
        ),
        _CURRENCY,
        *_SEEN,
        *_LOADED,
    ),
    write_disposition=WriteDisposition.SNAPSHOT,
    discriminator="submitted_at_wire",
    capability="list_scheduled",
)

DELIVERIES = Dataset(
    "deliveries",
    "Texts that were sent with a ledger, and their states: one row for each text to one recipient.",
    key=("batch_id", "round", "request", "position"),
    columns=(
        Column(
            "batch_id",
            ColumnType.WORD,
            "the batch: all texts of one send of one task",
            "sms_messages.batch_id",
            is_required=True,
        ),
        Column(
            "round",
            ColumnType.COUNT,
            "1, or more if it was sent again",
            "sms_messages.round",
            is_required=True,
        ),
        Column(
            "request", ColumnType.COUNT, "the request of the round", "sms_messages.request", is_required=True
        ),
        Column(
            "position",
            ColumnType.COUNT,
            "the position in the request",
            "sms_messages.position",
            is_required=True,
        ),
        Column(
            "message_id",
            ColumnType.ID,
            "the gateway's id; null if it was not accepted",
            "sms_messages.message_id",
        ),
        Column("dag_id", ColumnType.NAME, "the DAG that sent it", "sms_batches.dag_id"),
        Column("run_id", ColumnType.NAME, "its run", "sms_batches.run_id"),
        Column("task_id", ColumnType.NAME, "its task", "sms_batches.task_id"),
        Column(
            "map_index",
            ColumnType.COUNT,
            "the index of a mapped task; -1 for any other",
            "sms_batches.map_index",
        ),
        Column("sms_conn_id", ColumnType.NAME, "the connection of the gateway", "sms_batches.sms_conn_id"),
        replace(_NUMBER[0], wire="sms_messages.number"),
        replace(_NUMBER[1], wire="sms_batches.key_id"),
        replace(_NUMBER[2], wire="sms_messages.address_kind"),
        Column("state", ColumnType.WORD, "its state: a value of `MessageState`", "sms_messages.state"),
        Column(
            "reason", ColumnType.WORD, "why it was declined: a value of `RejectReason`", "sms_messages.reason"
        ),
        Column("cost", ColumnType.AMOUNT, "its price; 0 if it was not accepted", "sms_messages.cost"),
        Column(
            "refund",
            ColumnType.AMOUNT,
            "the amount given back when it was cancelled",
            "sms_messages.refund",
        ),
        replace(_CURRENCY, wire="sms_messages.currency"),
        Column(
            "submitted_at", ColumnType.INSTANT, "when its request was claimed", "sms_messages.submitted_at"
        ),
        Column("send_at", ColumnType.INSTANT, "when it is to go out; null: at once", "sms_messages.send_at"),
        Column("state_at", ColumnType.INSTANT, "when it entered its state", "sms_messages.state_at"),
        Column(
            "reference",
            ColumnType.NAME,
            "the sender's own name for the text",
            "sms_messages.reference",
            is_indexed=True,
            is_personal=True,
        ),
        *_LOADED,
    ),
    write_disposition=WriteDisposition.UPSERT,
    discriminator="batch_id",
)

DATASETS = {dataset.name: dataset for dataset in (INCOMING, OPT_OUTS, SHORT_CODE, SCHEDULED, DELIVERIES)}
"""Every dataset by its name."""


def dataset_named(name: str) -> Dataset:
    """Return a dataset by its name.

    :raises InvalidMessage: if there is none of that name.
    """
    check_choice("dataset", name, DATASETS)
    return DATASETS[name]
