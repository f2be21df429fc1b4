"""The merge of staged rows into the target table, by the write disposition of its dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, or_, true, update

from airflow_provider_winsms.hashing import PSEUDONYMS
from airflow_provider_winsms.sql.tables import DeleteAll
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

    from sqlalchemy import ColumnElement, Table, Update
    from sqlalchemy.dialects.postgresql import Insert

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

    :param key_id: how the numbers are stored, as ``PrivacyPolicy.key_id`` says it.
    :param pseudonyms: the pattern, for LIKE, of the forgotten numbers that the load recognises.
    """

    def __init__(
        self,
        transaction: LoadTransaction,
        relations: Relations,
        load: LoadRun,
        key_id: str | None,
        pseudonyms: str = "",
    ) -> None:
        self._transaction = transaction
        self._relations = relations
        self._dataset = relations.dataset
        self._target = relations.target
        self._run_id = load.run_id
        self._at = relations.dialect.instant(load.at)
        self._key_id = key_id
        self._pseudonyms = pseudonyms
        self.counts = MergeCounts()

    def run(self) -> None:
        """Merge the staged rows, and empty the staging table."""
        execute, disposition = self._transaction.execute, self._dataset.write_disposition
        if self._dataset.has_history:
            periods = ValidityPeriods(self._transaction, self._relations, self._at, self._run_id)
            periods.keep_oldest()
            periods.merge()
        if disposition is not WriteDisposition.APPEND:
            self.counts.loaded += execute(self._update_changed())
        if disposition is WriteDisposition.SNAPSHOT:
            execute(self._relations.mark_seen(self._target, self._at))
        self.counts.loaded += execute(self._insert_new())
        execute(DeleteAll(self._relations.staging))

    def delete(self, keys: Iterable[tuple[Any, ...]]) -> None:
        """Delete rows by their keys."""
        columns = [self._target.c[name] for name in self._dataset.key]
        for key in keys:
            is_row = (column == value for column, value in zip(columns, key, strict=True))
            self.counts.removed += self._transaction.execute(delete(self._target).where(*is_row))

    def mark_removed(self) -> None:
        """Mark rows that were not listed."""
        self.counts.removed = self._transaction.execute(self._mark_removed(self._target))
        if self._dataset.has_history:
            self._transaction.execute(self._mark_removed(self._relations.history))

    def _insert_new(self) -> Insert:
        """Insert the staged rows that the table lacks."""
        relations, target = self._relations, self._target
        if relations.has_unique_key:
            return relations.insert_unless_there(relations.staging, true())
        return relations.insert(target, relations.staging, ~relations.has_row(target))

    def _update_changed(self) -> Update:
        """Update changed rows in place: other tables may refer to them."""
        relations, target = self._relations, self._target
        condition = relations.differs(target, relations.data_columns)
        names = [name for name in self._dataset.column_names if name not in self._dataset.key]
        values = {name: relations.staged(target, name) for name in names}
        if self._dataset.write_disposition is WriteDisposition.SNAPSHOT:
            condition |= target.c[REMOVED].is_not(None)
            values[FIRST_SEEN] = func.coalesce(target.c[FIRST_SEEN], values[FIRST_SEEN])
        return relations.update(target, values, condition)

    def _mark_removed(self, table: Table) -> Update:
        """Mark rows that were not listed.

        If hashed numbers are the key, numbers under another key may be listed: their hashes differ. So do the
        pseudonyms of forgotten numbers.
        """
        last_seen = table.c[LAST_SEEN]
        same_key = [self._has_same_key(table)] if NUMBER in self._dataset.key else []
        return (
            update(table)
            .values({REMOVED: self._at, LOAD_RUN: self._run_id, LOADED: self._at})
            .where(table.c[REMOVED].is_(None), or_(last_seen < self._at, last_seen.is_(None)), *same_key)
        )

    def _has_same_key(self, table: Table) -> ColumnElement[bool]:
        number = table.c[NUMBER]
        is_alike = and_(table.c[KEY_ID] == self._key_id, number.not_like(PSEUDONYMS))
        return or_(is_alike, number.like(self._pseudonyms))
