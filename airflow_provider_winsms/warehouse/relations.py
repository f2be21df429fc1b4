"""The names of the tables of one load, and the clauses in SQL that compare their rows."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_winsms.options import check_identifier
from airflow_provider_winsms.warehouse.datasets import LAST_SEEN, RAW, REMOVED
from airflow_provider_winsms.warehouse.views import HISTORY_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


STAGED_PLACE = "staged_place"
"""A column of the staging table: the ordinal of the row."""


class Relations:
    """The target table of a load, its staging table, and its history, by their quoted names.

    Each statement follows the staged rows, or reads a table once. Nulls are equal to nulls.

    :ivar has_unique_key: whether the target refuses a second row with the same key.
    :ivar with_older_raw: the tables with raw rows of earlier loads, if this load stores none. A changed row
        loses its raw row, which may show data that this load must hide.
    """

    def __init__(self, database: Database, dataset: Dataset, name: TableName) -> None:
        self._database = database
        self.dialect = database.dialect
        self.types = database.types
        self.dataset = dataset
        self.parts = name.parts
        self.target = database.quoted(*name.parts)
        is_temporary = bool(self.dialect.temporary)
        self.staging = database.quoted(
            *((f"sms_staging_{uuid.uuid4().hex}",) if is_temporary else name.staging.parts)
        )
        self.history = database.quoted(*name.history.parts) if dataset.has_history else ""
        self.has_unique_key = False
        self.with_older_raw: set[str] = set()

    @property
    def placeholder(self) -> str:
        """The placeholder of a parameter."""
        return self._database.placeholder

    @property
    def staged_names(self) -> tuple[str, ...]:
        """The columns of the staging table."""
        places = (STAGED_PLACE,) if self.dataset.has_history else ()
        return (*self.dataset.column_names, *places)

    @property
    def data_columns(self) -> tuple[str, ...]:
        """The columns that the gateway or the ledger fills, without those of the key."""
        columns = self.dataset.columns
        return tuple(c.name for c in columns if c.is_read and c.name not in self.dataset.key)

    def quoted(self, name: str) -> str:
        """Return the quoted name of a column."""
        return self._database.quoted(name)

    def listed(self, names: Iterable[str]) -> str:
        """Return quoted names with commas between them."""
        return ", ".join(map(self.quoted, names))

    def index(self, name: str) -> str:
        """Return the index of a column of the target, as its dialect declares it."""
        return self._database.index(self.parts, [name])

    def match(self, table: str) -> str:
        """Return the condition that a row of a table and a staged row have the same key."""
        return " AND ".join(
            f"{table}.{self.quoted(name)} = {self.staging}.{self.quoted(name)}" for name in self.dataset.key
        )

    def differs(self, table: str, names: Iterable[str]) -> str:
        """Return the condition that a row of a table differs from a staged row in one of some columns."""

        def differs(name: str) -> str:
            ours, theirs = f"{table}.{self.quoted(name)}", f"{self.staging}.{self.quoted(name)}"
            return (
                f"{ours} <> {theirs} OR ({ours} IS NULL AND {theirs} IS NOT NULL) "
                f"OR ({ours} IS NOT NULL AND {theirs} IS NULL)"
            )

        return " OR ".join(map(differs, names))

    def staged(self, table: str, name: str) -> str:
        """Return the staged value of a column of an updated row."""
        value = f"{self.staging}.{self.quoted(name)}"
        if self.dialect.update:
            return value
        return f"(SELECT MAX({value}) FROM {self.staging} WHERE {self.match(table)})"  # noqa: S608 - quoted names

    def no_older_raw(self, table: str) -> dict[str, str]:
        """Return the value that takes the raw row of an earlier load from a changed row."""
        return {RAW.name: "NULL"} if table in self.with_older_raw else {}

    def insert_staged(self, table: str) -> str:
        """Insert the staged rows into a table. A condition may follow."""
        names = self.listed(self.dataset.column_names)
        return f"INSERT INTO {table} ({names}) SELECT {names} FROM {self.staging}"  # noqa: S608 - quoted names

    def update(self, table: str, values: Mapping[str, str], condition: str) -> str:
        """Update the rows of a table that are staged and meet a condition."""
        match, columns = self.match(table), dict(zip(values, map(self.quoted, values), strict=True))
        if self.dialect.joins_to_update:
            columns = {name: f"{table}.{column}" for name, column in columns.items()}
        listed = ", ".join(f"{columns[name]} = {value}" for name, value in values.items())
        if not self.dialect.update:
            staged = f"SELECT 1 FROM {self.staging} WHERE {match} AND ({condition})"  # noqa: S608 - quoted names
            return f"UPDATE {table} SET {listed} WHERE EXISTS ({staged})"  # noqa: S608 - quoted names
        return self.dialect.update.format(
            target=table, other=self.staging, match=match, values=listed, condition=condition
        )

    def mark_seen(self, table: str) -> str:
        """Mark rows as listed. Takes the beginning of the load."""
        return (
            f"UPDATE {table} SET {self.quoted(LAST_SEEN)} = {self.placeholder} "  # noqa: S608 - quoted names
            f"WHERE {self.quoted(REMOVED)} IS NULL "
            f"AND EXISTS (SELECT 1 FROM {self.staging} WHERE {self.match(table)})"
        )

    def empty_staging(self) -> str:
        """Delete all staged rows."""
        return self.dialect.empty.format(table=self.staging)

    def on_conflict(self) -> str:
        """Return the clause that skips rows whose key is there."""
        return f"ON CONFLICT ({self.listed(self.dataset.key)}) DO NOTHING"
