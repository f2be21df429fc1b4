"""The tables of one load, and the statements that compare and copy their rows."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, exists, func, not_, null, or_, select, update

# Its clause for conflicts is that of SQLite and DuckDB too.
from sqlalchemy.dialects.postgresql import insert

from airflow_provider_winsms.hashing import PSEUDONYMS
from airflow_provider_winsms.options import check_identifier
from airflow_provider_winsms.sql.compiler import updates_from_tables
from airflow_provider_winsms.sql.functions import unindexed
from airflow_provider_winsms.sql.tables import column_of, table_of
from airflow_provider_winsms.sql.types import ColumnType
from airflow_provider_winsms.warehouse.datasets import (
    FIRST_SEEN,
    LAST_SEEN,
    NUMBER,
    RAW,
    REMOVED,
    Column,
    WriteDisposition,
)
from airflow_provider_winsms.warehouse.views import HISTORY_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import ColumnElement, Table, Update
    from sqlalchemy.dialects.postgresql import Insert

    from airflow_provider_winsms.sql.connection import Database
    from airflow_provider_winsms.warehouse.datasets import Dataset


@dataclass(frozen=True, slots=True)
class TableName:
    """A table's checked name.

    :raises InvalidMessage: if it, or its schema's, is not a plain identifier.
    """

    table: str
    schema: str | None = None

    def __post_init__(self) -> None:
        check_identifier("table", self.table)
        if self.schema is not None:
            check_identifier("schema", self.schema)

    @property
    def parts(self) -> tuple[str, ...]:
        """The schema, if there is one, and the table."""
        return (self.table,) if self.schema is None else (self.schema, self.table)

    @property
    def history(self) -> TableName:
        """The table with one row per validity period (SCD2)."""
        return TableName(self.table + HISTORY_SUFFIX, self.schema)

    @property
    def staging(self) -> TableName:
        """The staging table of a database without temporary tables."""
        return TableName(f"{self.table}_staging", self.schema)

    def __str__(self) -> str:
        return ".".join(self.parts)


STAGED_PLACE = Column("staged_place", ColumnType.COUNT, "the ordinal of the row")
"""A column of the staging table."""


class Relations:
    """The target table of a load, its staging table, and its history.

    Each statement follows the staged rows, or reads a table once. Nulls are equal to nulls.

    :ivar has_unique_key: whether the target refuses a second row with the same key.
    """

    def __init__(self, database: Database, dataset: Dataset, name: TableName) -> None:
        self.dialect = database.dialect
        self.dataset = dataset
        self.target = table_of(name.parts, dataset.columns, dataset.key)
        self.staging = self._staging_table(name)
        self.has_unique_key = False
        self._name = name
        self._updates_from_tables = updates_from_tables(database.core)

    @cached_property
    def history(self) -> Table:
        """The history, of a dataset that has one."""
        key = (*self.dataset.key, FIRST_SEEN)
        return table_of(self._name.history.parts, self.dataset.columns, key)

    @property
    def stages_in_transaction(self) -> bool:
        """Whether the load's transaction makes the staging table, and drops it.

        The staging table of a load with a history takes all rows. So it is a table of the database, if a
        temporary one would take memory of this process.
        """
        return self.dataset.has_history and self.dialect.keeps_temporary_in_memory

    def _staging_table(self, name: TableName) -> Table:
        """Return the staging table, with an index if the merge looks up rows in it."""
        dataset, is_own = self.dataset, self.dialect.has_temporary_tables
        places = (STAGED_PLACE,) if dataset.has_history else ()
        has_key = dataset.write_disposition is not WriteDisposition.APPEND or not is_own
        return table_of(
            (f"sms_staging_{uuid.uuid4().hex}",) if is_own else name.staging.parts,
            [replace(column, is_required=False) for column in (*dataset.columns, *places)],
            (*dataset.key, *(place.name for place in places)) if has_key else (),
            prefixes=("TEMPORARY",) if is_own and not self.stages_in_transaction else (),
        )

    @property
    def staged_names(self) -> tuple[str, ...]:
        """The columns of the staging table."""
        places = (STAGED_PLACE.name,) if self.dataset.has_history else ()
        return (*self.dataset.column_names, *places)

    @property
    def data_columns(self) -> tuple[str, ...]:
        """The columns that the gateway or the ledger fills, without those of the key."""
        columns = self.dataset.columns
        return tuple(c.name for c in columns if c.is_read and c.name not in self.dataset.key)

    def declare_raw(self, table: Table) -> None:
        """Declare the column for raw rows in a table of earlier loads, while this load stores none."""
        table.append_column(column_of(RAW, is_required=False))

    def match(self, table: Table) -> ColumnElement[bool]:
        """Return the condition that a row of a table and a staged row have the same key."""
        return and_(*(table.c[name] == self.staging.c[name] for name in self.dataset.key))

    def differs(self, table: Table, names: Iterable[str]) -> ColumnElement[bool]:
        """Return the condition that a row of a table differs from a staged row in one of some columns.

        The personal columns of a forgotten row do not count.
        """
        return or_(*(self._differs(table, name) for name in names))

    def _differs(self, table: Table, name: str) -> ColumnElement[bool]:
        differ = _differ(table.c[name], self.staging.c[name])
        if name not in self._kept_once_forgotten:
            return differ
        return and_(differ, not_(_is_forgotten(table.c[NUMBER], self.staging.c[NUMBER])))

    @property
    def _kept_once_forgotten(self) -> tuple[str, ...]:
        """The columns that no load fills again in a forgotten row.

        If the number is the key, forgotten rows are found by their pseudonyms, and staged without texts.
        """
        dataset = self.dataset
        has_number = NUMBER in dataset.column_names and NUMBER not in dataset.key
        return (NUMBER, *dataset.personal_columns) if has_number else ()

    def is_staged(self, table: Table, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        """Return the condition that a row of a table has a staged row, which meets conditions."""
        return exists().select_from(self.staging).where(self.match(table), *conditions)

    def has_row(self, table: Table, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        """Return the condition that a staged row has a row in a table, which meets conditions."""
        return exists().select_from(table).where(self.match(table), *conditions)

    def staged(self, table: Table, name: str) -> ColumnElement[Any]:
        """Return the value of a column of an updated row: the staged one, but of a forgotten row its own."""
        value = self._staged(table, name)
        if name not in self._kept_once_forgotten:
            return value
        return case((_is_forgotten(table.c[NUMBER], self._staged(table, NUMBER)), table.c[name]), else_=value)

    def _staged(self, table: Table, name: str) -> ColumnElement[Any]:
        value = self.staging.c[name]
        if self._updates_from_tables:
            return value
        return select(func.max(value)).where(self.match(table)).scalar_subquery()

    def update(self, table: Table, values: Mapping[str, Any], condition: ColumnElement[bool]) -> Update:
        """Update the rows of a table that are staged and meet a condition.

        A changed row loses the raw row of an earlier load, which may show data that this load must hide.
        """
        names, key = self.dataset.column_names, self.dataset.key
        older_raw = {RAW.name: null()} if RAW.name in table.c and RAW.name not in names else {}
        statement = update(table).values({**values, **older_raw})
        if not self._updates_from_tables:
            return statement.where(self.is_staged(table, condition))
        match = (table.c[name] == unindexed(self.staging.c[name]) for name in key)
        return statement.where(*match, condition)

    def insert(self, table: Table, source: Table, *conditions: ColumnElement[bool]) -> Insert:
        """Insert the rows of one of the tables that meet conditions into another one."""
        names = self.dataset.column_names
        return insert(table).from_select(
            names, select(*(source.c[name] for name in names)).where(*conditions)
        )

    def insert_unless_there(self, source: Table, condition: ColumnElement[bool]) -> Insert:
        """Insert rows into the target, as ``insert`` does, and skip those whose key is there."""
        key = [self.target.c[name] for name in self.dataset.key]
        return self.insert(self.target, source, condition).on_conflict_do_nothing(index_elements=key)

    def mark_seen(self, table: Table, at: Any) -> Update:
        """Mark staged rows as listed.

        :param at: the beginning of the load, as the driver takes it.
        """
        is_listed = table.c[REMOVED].is_(None)
        return update(table).values({LAST_SEEN: at}).where(is_listed, self.is_staged(table))


def _differ(ours: ColumnElement[Any], theirs: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that two values differ. Few databases have IS DISTINCT FROM."""
    one_is_null = (ours.is_(None), theirs.is_not(None)), (ours.is_not(None), theirs.is_(None))
    return or_(ours != theirs, *(and_(*each) for each in one_is_null))


def _is_forgotten(ours: ColumnElement[Any], theirs: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that the number of a row is forgotten, and that of its staged row is not.

    A ledger that has forgotten a number hands that on to the tables that are loaded from it.
    """
    number, staged = func.coalesce(ours, ""), func.coalesce(theirs, "")
    return and_(number.like(PSEUDONYMS), staged.not_like(PSEUDONYMS))
