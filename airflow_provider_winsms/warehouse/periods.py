"""Validity periods (SCD2): the history has one row for each period that a number was on the list."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.warehouse.datasets import FIRST_SEEN, LOAD_RUN, LOADED, REMOVED
from airflow_provider_winsms.warehouse.relations import STAGED_PLACE
from airflow_provider_winsms.warehouse.stored import IDS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        self._at = at
        self._run_id = run_id

    def keep_oldest(self) -> None:
        """Keep the oldest of several staged rows for one number: the number has been out since then."""
        if not self._transaction.scalar(self._count_duplicated_keys()):
            return
        places = iter([row[0] for row in self._transaction.rows(self._duplicates())])
        while some := list(islice(places, IDS_AT_ONCE)):
            self._transaction.execute(self._unstage(some))

    def merge(self) -> None:
        """Close the periods that ended, update the open ones, and open a period for each new one."""
        execute, at, run_id = self._transaction.execute, self._at, self._run_id
        execute(self._close(), at, run_id, at)
        execute(self._relations.mark_seen(self._history), at)
        execute(self._update_open(), at, run_id)
        if self._relations.dialect.keeps_temporary_in_memory:
            execute(self._mark_open())
            execute(self._open_unmarked())
            execute(self._unmark())
        else:
            execute(self._open())

    def _close(self) -> str:
        """Close the validity periods of numbers that are listed with another ``PERIOD_ID``.

        Takes the beginning of the load, its run, and the beginning again.
        """
        relations, history = self._relations, self._history
        q, p = relations.quoted, relations.placeholder
        differs = relations.differs(history, PERIOD_ID)
        return (
            f"UPDATE {history} SET {q(REMOVED)} = {p}, {q(LOAD_RUN)} = {p}, "  # noqa: S608 - quoted names
            f"{q(LOADED)} = {p} WHERE {q(REMOVED)} IS NULL AND EXISTS (SELECT 1 FROM {relations.staging} "
            f"WHERE {relations.match(history)} AND ({differs}))"
        )

    def _update_open(self) -> str:
        """Update open validity periods from the list. Takes the beginning of the load, and its run."""
        relations, history, p = self._relations, self._history, self._relations.placeholder
        names = [name for name in relations.data_columns if name not in PERIOD_ID]
        values = {LOADED: p, LOAD_RUN: p, **{name: relations.staged(history, name) for name in names}}
        values |= relations.no_older_raw(history)
        is_open = f"{history}.{relations.quoted(REMOVED)} IS NULL"
        return relations.update(history, values, f"{is_open} AND ({relations.differs(history, names)})")

    def _open(self) -> str:
        """Open a validity period for each number without an open one."""
        match = f"{self._relations.match(self._history)} AND {self._relations.quoted(REMOVED)} IS NULL"
        open_period = f"SELECT 1 FROM {self._history} WHERE {match}"  # noqa: S608 - quoted names
        return f"{self._relations.insert_staged(self._history)} WHERE NOT EXISTS ({open_period})"

    def _mark_open(self) -> str:
        """Mark the staged rows whose numbers have an open validity period."""
        removed, first = self._relations.quoted(REMOVED), self._relations.quoted(FIRST_SEEN)
        match = f"{self._relations.match(self._history)} AND {self._history}.{removed} IS NULL"
        return (
            f"UPDATE {self._relations.staging} SET {removed} = "  # noqa: S608 - quoted names
            f"(SELECT MAX({self._history}.{first}) FROM {self._history} WHERE {match})"
        )

    def _open_unmarked(self) -> str:
        """Open a validity period for each row without a mark.

        So the statement does not read the history that it writes. Otherwise the database would gather all new
        rows first, in memory that may be this process's.
        """
        unmarked = f"{self._relations.quoted(REMOVED)} IS NULL"
        return f"{self._relations.insert_staged(self._history)} WHERE {unmarked}"

    def _unmark(self) -> str:
        """Remove the marks."""
        return f"UPDATE {self._relations.staging} SET {self._relations.quoted(REMOVED)} = NULL"  # noqa: S608 - quoted names

    def _count_duplicated_keys(self) -> str:
        """Count the keys that are staged more than once."""
        key = self._relations.quoted(self._relations.dataset.key[0])
        twice = f"SELECT {key} FROM {self._relations.staging} GROUP BY {key} HAVING COUNT(*) > 1"  # noqa: S608 - quoted names
        return f"SELECT COUNT(*) FROM ({twice}) AS twice"  # noqa: S608 - quoted names

    def _duplicates(self) -> str:
        """Find the places of staged rows whose key has an older staged row.

        Unknown times and ids come last. No document promises an order of the list, so it decides nothing.
        """
        q = self._relations.quoted
        key, place = q(self._relations.dataset.key[0]), q(STAGED_PLACE)
        opted_out_at, message_id = map(q, PERIOD_ID)
        # A whole number is lower than a longer one.
        orders = opted_out_at, f"LENGTH({message_id})", message_id, q("text")
        ages = ", ".join(f"CASE WHEN {each} IS NULL THEN 1 ELSE 0 END, {each}" for each in orders)
        rank = f"ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {ages}, {place}) AS age"
        ranked = f"SELECT {place}, {rank} FROM {self._relations.staging}"  # noqa: S608 - quoted names
        return f"SELECT {place} FROM ({ranked}) AS ranked WHERE age > 1"  # noqa: S608 - quoted names

    def _unstage(self, places: Iterable[int]) -> str:
        """Delete staged rows by their places."""
        listed = ", ".join(map(str, places))
        place = self._relations.quoted(STAGED_PLACE)
        return f"DELETE FROM {self._relations.staging} WHERE {place} IN ({listed})"  # noqa: S608 - quoted names
