"""What can be loaded: the columns of each dataset, as data; ``docs/warehouse.md`` is made from them.

A column, once published, is neither renamed nor dropped; new ones may be added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from airflow_provider_winsms.options import check_choice
from airflow_provider_winsms.sql.dialects import ColumnType

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_winsms.ledger.history import HistorySizes


class WriteDisposition(Enum):
    """How rows that are read become rows of the table."""

    APPEND = auto()
    """Rows never change: what the table lacks comes in."""

    UPSERT = auto()
    """What the table lacks comes in, and what has changed takes the place of what was there."""

    SNAPSHOT = auto()
    """As ``UPSERT``; besides, what is not listed any more is marked as removed."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    :param wire: the field of WinSMS's answer, or the column of the ledger, that it comes from.
    :param is_read: whether it is; otherwise the load says what it is.
    :param is_indexed: whether rows are looked up by it, so that it has an index.
    """

    name: str
    kind: ColumnType
    meaning: str
    wire: str = ""
    is_required: bool = False
    is_read: bool = True
    is_indexed: bool = False


@dataclass(frozen=True, slots=True)
class Dataset:
    """One thing that can be loaded into one table.

    :param key: the columns that tell its rows apart: the table's primary key.
    :param discriminator: a column by which a table of the dataset can be told from those of the others.
    :param has_history: whether a second table has a row for each spell that a row was on the list.
    """

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    merging: WriteDisposition
    discriminator: str
    has_history: bool = False

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of all columns, in their order."""
        return tuple(column.name for column in self.columns)

    @property
    def is_from_ledger(self) -> bool:
        """Whether it is read from a ledger, rather than from a gateway."""
        return self.name == "deliveries"

    def with_raw(self) -> Dataset:
        """Return it with one column more, for what the gateway wrote."""
        return replace(self, columns=(*self.columns, RAW))

    def rewriting(self) -> Dataset:
        """Return it as one whose rows take the place of those that are there, if they differ."""
        return (
            replace(self, merging=WriteDisposition.UPSERT)
            if self.merging is WriteDisposition.APPEND
            else self
        )


@dataclass(frozen=True, slots=True)
class Load:
    """One run of the operator, as its rows remember it.

    :param at: when it began, in UTC.
    :param run_id: the DAG run it belongs to.
    """

    at: datetime
    run_id: str | None


@dataclass(frozen=True, slots=True)
class LoadSizes:
    """How much of a load is handled at a time, and how much of what a gateway states is believed.

    :param merged_rows: so many rows are staged and merged at a time.
    :param rows_arrive: so many rows, beside as many as there were, may come while a list is read once.
    :param history: how much of a ledger is read at a time, if not as much as usual.
    """

    merged_rows: int = 10_000
    rows_arrive: int = 10**6
    history: HistorySizes | None = None


USUAL_SIZES = LoadSizes()


LOADED, LOAD_RUN = "loaded_at", "load_run_id"
"""The columns that say which load wrote a row."""

FIRST_SEEN, LAST_SEEN, REMOVED = "first_seen_at", "last_seen_at", "removed_at"
"""The columns that follow a row of a snapshot through its loads."""

NUMBER, KEY_ID = "number", "number_key_id"

RAW = Column("raw", ColumnType.TEXT, "the whole row as JSON, with `include_raw=True`")

_NUMBER = (
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
)
_LIFE = (
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
    """Return the columns of a moment, and of what the gateway wrote for it."""
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
    Column("text", ColumnType.TEXT, "its text; null if texts are dropped", "messageText"),
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
    merging=WriteDisposition.APPEND,
    discriminator="in_reply_to",
)

SHORT_CODE = Dataset(
    "short_code",
    "Texts that phones sent to the account's short or long code: one row for each.",
    key=("message_id",),
    columns=(*_RECEIVED, *_LOADED),
    merging=WriteDisposition.APPEND,
    discriminator="received_at",
)

OPT_OUTS = Dataset(
    "opt_outs",
    "Numbers that may not be texted: one row for each number that ever was on the list.",
    key=("number",),
    columns=(
        *_NUMBER,
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
        ),
        Column(
            "message_id",
            ColumnType.ID,
            "the incoming message that opted out; null for an entry made by hand",
            "incomingApiMessageId",
        ),
        *_LIFE,
        *_LOADED,
    ),
    merging=WriteDisposition.SNAPSHOT,
    discriminator="opted_out_at",
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
            "credits that the gateway gives back if it is cancelled",
            "creditCost",
        ),
        *_LIFE,
        *_LOADED,
    ),
    merging=WriteDisposition.SNAPSHOT,
    discriminator="submitted_at_wire",
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
        Column("state", ColumnType.WORD, "its state: a value of `MessageState`", "sms_messages.state"),
        Column(
            "reason", ColumnType.WORD, "why it was declined: a value of `RejectReason`", "sms_messages.reason"
        ),
        Column("cost", ColumnType.AMOUNT, "credits; 0 if it was not accepted", "sms_messages.cost"),
        Column(
            "refund", ColumnType.AMOUNT, "credits given back when it was cancelled", "sms_messages.refund"
        ),
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
        ),
        *_LOADED,
    ),
    merging=WriteDisposition.UPSERT,
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
