"""The merge of staged rows into the target table, by the write disposition of its dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.warehouse.datasets import (
    FIRST_SEEN,
    KEY_ID,
    LAST_SEEN,
    LOAD_RUN,
    LOADED,
    NUMBER,
    REMOVED,
    WriteDisposition,
)
from airflow_provider_winsms.warehouse.periods import ValidityPeriods

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.warehouse.datasets import LoadRun
    from airflow_provider_winsms.warehouse.relations import Relations
    from airflow_provider_winsms.warehouse.transaction import LoadTransaction


@dataclass(slots=True)
class MergeCounts:
    """The counts of a merge.

    :param loaded: new and changed rows.
    :param removed: rows that were marked as removed, or deleted.
    """

    loaded: int = 0
    removed: int = 0


class Merge:
    """Merges staged rows, and counts what it changed. Every method raises ``LoadFailed``.

    :param key_id: the id of the key that hashes the numbers; ``None`` if they are not hashed.
    """

    def __init__(
        self, transaction: LoadTransaction, relations: Relations, load: LoadRun, key_id: str | None
    ) -> None:
        self._transaction = transaction
        self._relations = relations
        self._dataset = relations.dataset
        self._run_id = load.run_id
        self._at = relations.dialect.instant(load.at)
        self._key_id = key_id
        self._periods = ValidityPeriods(transaction, relations, self._at, load.run_id)
        self.counts = MergeCounts()

    def run(self) -> None:
        """Merge the staged rows, and empty the staging table."""
        execute, disposition = self._transaction.execute, self._dataset.write_disposition
        if self._dataset.has_history:
            self._periods.keep_oldest()
            self._periods.merge()
        if disposition is not WriteDisposition.APPEND:
            self.counts.loaded += execute(self._update_changed())
        if disposition is WriteDisposition.SNAPSHOT:
            execute(self._relations.mark_seen(self._relations.target), self._at)
        self.counts.loaded += execute(self._insert())
        execute(self._relations.empty_staging())

    def delete(self, keys: Iterable[tuple[Any, ...]]) -> None:
        """Delete rows by their keys."""
        q, p = self._relations.quoted, self._relations.placeholder
        condition = " AND ".join(f"{q(name)} = {p}" for name in self._dataset.key)
        statement = f"DELETE FROM {self._relations.target} WHERE {condition}"  # noqa: S608 - quoted names
        for key in keys:
            self.counts.removed += self._transaction.execute(statement, *key)

    def mark_removed(self) -> None:
        """Mark rows that were not listed."""
        of_key = () if self._key_id is None or NUMBER not in self._dataset.key else (self._key_id,)
        values = (self._at, self._run_id, self._at, self._at, *of_key)
        execute, relations = self._transaction.execute, self._relations
        self.counts.removed = execute(self._mark_removed(relations.target), *values)
        if self._dataset.has_history:
            execute(self._mark_removed(relations.history), *values)

    def _insert(self) -> str:
        """Insert the staged rows that the table lacks."""
        relations, target = self._relations, self._relations.target
        if relations.has_unique_key:
            return f"{relations.insert_staged(target)} WHERE 1 = 1 {relations.on_conflict()}"
        there = f"SELECT 1 FROM {target} WHERE {relations.match(target)}"  # noqa: S608 - quoted names
        return f"{relations.insert_staged(target)} WHERE NOT EXISTS ({there})"

    def _update_changed(self) -> str:
        """Update changed rows in place: other tables may refer to them."""
        relations, target = self._relations, self._relations.target
        condition = relations.differs(target, relations.data_columns)
        names = [name for name in self._dataset.column_names if name not in self._dataset.key]
        values = {name: relations.staged(target, name) for name in names} | relations.no_older_raw(target)
        if self._dataset.write_disposition is WriteDisposition.SNAPSHOT:
            condition += f" OR {target}.{relations.quoted(REMOVED)} IS NOT NULL"
            first = f"{target}.{relations.quoted(FIRST_SEEN)}"
            values[FIRST_SEEN] = f"COALESCE({first}, {values[FIRST_SEEN]})"
        return relations.update(target, values, condition)

    def _mark_removed(self, table: str) -> str:
        """Mark rows that were not listed.

        Takes the beginning of the load, its run, the beginning twice, and the key's id if hashed numbers are
        the key. Numbers under another key may be listed: their hashes differ.
        """
        q, p = self._relations.quoted, self._relations.placeholder
        same_key = f"AND {q(KEY_ID)} {'IS NULL' if self._key_id is None else f'= {p}'}"
        return (
            f"UPDATE {table} SET {q(REMOVED)} = {p}, {q(LOAD_RUN)} = {p}, {q(LOADED)} = {p} "  # noqa: S608 - quoted names
            f"WHERE {q(REMOVED)} IS NULL AND ({q(LAST_SEEN)} < {p} OR {q(LAST_SEEN)} IS NULL) "
            f"{same_key if NUMBER in self._dataset.key else ''}"
        )
