"""Validity periods (SCD2): the history has one row for each period that a number was on the list."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, delete, func, null, select, update

from airflow_provider_winsms.warehouse.datasets import FIRST_SEEN, LOAD_RUN, LOADED, REMOVED
from airflow_provider_winsms.warehouse.relations import STAGED_PLACE
from airflow_provider_winsms.warehouse.stored import IDS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Select, Update

    from airflow_provider_winsms.warehouse.relations import Relations
    from airflow_provider_winsms.warehouse.transaction import LoadTransaction

PERIOD_ID = ("opted_out_at", "message_id")
"""The columns that tell apart two validity periods of one number on the list."""


class ValidityPeriods:
    """The periods of one history table, which follow the staged rows. Every method raises ``LoadFailed``.

    :param at: the beginning of the load, as the driver takes it.
    :param run_id: its DAG run.
    """

    def __init__(
        self, transaction: LoadTransaction, relations: Relations, at: Any, run_id: str | None
    ) -> None:
        self._transaction = transaction
        self._relations = relations
        self._history = relations.history
        self._staging = relations.staging
        self._is_open = relations.history.c[REMOVED].is_(None)
        self._at = at
        self._written = {LOADED: at, LOAD_RUN: run_id}

    def keep_oldest(self) -> None:
        """Keep the oldest of several staged rows for one number: the number has been out since then."""
        if not self._transaction.scalar(self._count_duplicated_keys()):
            return
        place = self._staging.c[STAGED_PLACE.name]
        places = iter([row[0] for row in self._transaction.rows(self._duplicates())])
        while some := list(islice(places, IDS_AT_ONCE)):
            self._transaction.execute(delete(self._staging).where(place.in_(some)))

    def merge(self) -> None:
        """Close the periods that ended, update the open ones, and open a period for each new one."""
        execute, relations = self._transaction.execute, self._relations
        execute(self._close())
        execute(relations.mark_seen(self._history, self._at))
        execute(self._update_open())
        if relations.dialect.keeps_temporary_in_memory:
            self._open_in_steps()
        else:
            has_open_period = relations.has_row(self._history, self._is_open)
            execute(relations.insert(self._history, self._staging, ~has_open_period))

    def _close(self) -> Update:
        """Close the validity periods of numbers that are listed with another ``PERIOD_ID``."""
        is_another = self._relations.differs(self._history, PERIOD_ID)
        return (
            update(self._history)
            .values({REMOVED: self._at, **self._written})
            .where(self._is_open, self._relations.is_staged(self._history, is_another))
        )

    def _update_open(self) -> Update:
        """Update open validity periods from the list."""
        relations, history = self._relations, self._history
        names = [name for name in relations.data_columns if name not in PERIOD_ID]
        values = {**self._written, **{name: relations.staged(history, name) for name in names}}
        return relations.update(history, values, self._is_open & relations.differs(history, names))

    def _open_in_steps(self) -> None:
        """Open a validity period for each number without an open one.

        Numbers with one are marked first, so that no statement reads the history that it writes. Otherwise
        the database would gather all new rows first, in memory that may be this process's.
        """
        execute, staging, history = self._transaction.execute, self._staging, self._history
        open_since = select(func.max(history.c[FIRST_SEEN])).where(
            self._relations.match(history), self._is_open
        )
        execute(update(staging).values({REMOVED: open_since.scalar_subquery()}))
        execute(self._relations.insert(history, staging, staging.c[REMOVED].is_(None)))
        execute(update(staging).values({REMOVED: null()}))

    def _count_duplicated_keys(self) -> Select[Any]:
        """Count the keys that are staged more than once."""
        key = self._staging.c[self._relations.dataset.key[0]]
        duplicated = select(key).group_by(key).having(func.count() > 1)
        return select(func.count()).select_from(duplicated.subquery())

    def _duplicates(self) -> Select[Any]:
        """Find the places of staged rows whose key has an older staged row.

        Unknown times and ids come last. No document promises an order of the list, so it decides nothing.
        """
        staged, key = self._staging.c, self._relations.dataset.key[0]
        opted_out_at, message_id = (staged[name] for name in PERIOD_ID)
        place = staged[STAGED_PLACE.name]
        # A whole number is lower than a longer one.
        values = opted_out_at, func.char_length(message_id), message_id, staged["text"]
        ages = [part for value in values for part in _nulls_last(value)]
        age = func.row_number().over(partition_by=staged[key], order_by=[*ages, place])
        ranked = select(place, age.label("age")).subquery()
        return select(ranked.c[STAGED_PLACE.name]).where(ranked.c.age > 1)


def _nulls_last(value: ColumnElement[Any]) -> Iterator[ColumnElement[Any]]:
    """Yield the order by a value with nulls at the end."""
    yield case((value.is_(None), 1), else_=0)
    yield value
