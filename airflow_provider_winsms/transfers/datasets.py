"""What can be loaded: the columns of each dataset, as data; ``SmsToSqlOperator`` says what they mean.

A column, once published, is neither renamed nor dropped; new ones may be added.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.database import Kind, storable, utc
from airflow_provider_winsms.exceptions import InvalidMessage, UnsupportedCapability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from airflow_provider_winsms.messages import MessageId, OptOut


@dataclass(frozen=True, slots=True)
class Load:
    """One run of the operator, as its rows remember it.

    :param at: when it began, in UTC.
    :param run_id: the DAG run it belongs to.
    """

    at: datetime
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    :param value: what stands in it for a row of the gateway.
    :param is_fact: whether it says something about the world, rather than about the load.
    """

    name: str
    kind: Kind
    value: Callable[[Any, Load], Any]
    is_required: bool = False
    is_fact: bool = True


@dataclass(frozen=True, slots=True)
class Dataset:
    """One thing that can be loaded into one table.

    :param key: the column that tells its rows apart: the table's primary key.
    :param is_snapshot: whether the gateway always lists everything that holds now, so that what is missing
        from the list holds no more. Otherwise rows have ascending ids, and the list only grows.
    """

    name: str
    key: str
    columns: tuple[Column, ...]
    is_snapshot: bool = False

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of all columns, in their order."""
        return tuple(column.name for column in self.columns)


LOADED, RUN = "loaded_at", "run_id"
"""The columns that say which load wrote a row."""

FIRST_SEEN, LAST_SEEN, REMOVED = "first_seen_at", "last_seen_at", "removed_at"
"""The columns that follow a row of a snapshot through its loads."""


def _id(value: MessageId | None) -> int | None:
    if isinstance(value, str):
        msg = "The ids of this gateway are not whole numbers, so its messages cannot be loaded."
        raise UnsupportedCapability(msg)
    return value


def _utc(value: datetime | None) -> datetime | None:
    """Return a plain ``datetime`` in UTC; ``None`` if UTC has no such time."""
    with suppress(ValueError, OverflowError):
        return None if value is None else utc(value)
    return None


_LOADED = (
    Column(LOADED, Kind.INSTANT, lambda _, load: load.at, is_required=True, is_fact=False),
    Column(RUN, Kind.NAME, lambda _, load: load.run_id, is_fact=False),
)

INCOMING = Dataset(
    "incoming",
    key="message_id",
    columns=(
        Column("message_id", Kind.ID, lambda row, _: _id(row.message_id), is_required=True),
        Column("number", Kind.NUMBER, lambda row, _: storable(row.number), is_required=True),
        Column("received_at", Kind.INSTANT, lambda row, _: _utc(row.received_at)),
        Column("text", Kind.TEXT, lambda row, _: storable(row.text), is_required=True),
        Column("in_reply_to", Kind.ID, lambda row, _: _id(row.in_reply_to)),
        *_LOADED,
    ),
)

OPT_OUTS = Dataset(
    "opt_outs",
    key="number",
    is_snapshot=True,
    columns=(
        Column("number", Kind.NUMBER, lambda row, _: storable(row.number), is_required=True),
        Column("opted_out_at", Kind.INSTANT, lambda row, _: _utc(row.opted_out_at)),
        Column("text", Kind.TEXT, lambda row, _: storable(row.text), is_required=True),
        Column("message_id", Kind.ID, lambda row, _: _id(row.message_id)),
        Column(FIRST_SEEN, Kind.INSTANT, lambda _, load: load.at, is_required=True, is_fact=False),
        Column(LAST_SEEN, Kind.INSTANT, lambda _, load: load.at, is_required=True, is_fact=False),
        Column(REMOVED, Kind.INSTANT, lambda *_: None),
        *_LOADED,
    ),
)

DATASETS = {dataset.name: dataset for dataset in (INCOMING, OPT_OUTS)}
"""Every dataset by its name."""


def dataset_named(name: str) -> Dataset:
    """Return a dataset by its name.

    :raises InvalidMessage: if there is none of that name.
    """
    if name not in DATASETS:
        msg = f"There is no dataset {name!r}. The datasets are {', '.join(DATASETS)}."
        raise InvalidMessage(msg)
    return DATASETS[name]


def one_per_number(entries: Iterable[OptOut]) -> tuple[OptOut, ...]:
    """Return the oldest entry for each number: it has been out since then, whatever was entered later."""
    oldest: dict[str, OptOut] = {}
    for entry in entries:
        number = storable(entry.number)
        if number not in oldest or _age(entry) < _age(oldest[number]):
            oldest[number] = entry
    return tuple(oldest.values())


def _age(entry: OptOut) -> tuple[object, ...]:
    """Sort by time and id, unknown ones last: the list's own order decides nothing, as none is promised."""
    time, message_id = _utc(entry.opted_out_at), _id(entry.message_id)
    return (time is None, time or 0, message_id is None, message_id or 0, entry.text)
