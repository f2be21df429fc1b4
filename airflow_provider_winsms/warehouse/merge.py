"""The statements that merge staged rows into a table, in SQL that each database takes.

Each statement follows the staged rows, or reads the table once. Nulls are equal to nulls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.sql.dialects import ColumnType
from airflow_provider_winsms.warehouse.datasets import (
    FIRST_SEEN,
    KEY_ID,
    LAST_SEEN,
    LOAD_RUN,
    LOADED,
    NUMBER,
    RAW,
    REMOVED,
    WriteDisposition,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_winsms.sql.connection import Database
    from airflow_provider_winsms.warehouse.datasets import Column, Dataset

STAGED_PLACE = "staged_place"
"""A column of the staging table: the ordinal of the row."""

PERIOD_ID = ("opted_out_at", "message_id")
"""The columns that tell apart two validity periods (SCD2) of one number on the list."""


class _Names(dict[str, str]):
    """Words of a query. A word that is not given is the quoted name of a column."""

    def __init__(self, quoted: Callable[[str], str], **words: str) -> None:
        super().__init__(words)
        self._quoted = quoted

    def __missing__(self, name: str) -> str:
        return self._quoted(name)


class MergeStatements:
    """The statements of one dataset, one table and its staging table.

    :param target: the table's schema, if there is one, and its name.
    :param staging: the quoted name of the staging table.
    :param history: the quoted name of the history table.
    :ivar has_unique_key: whether the table refuses a second row with the same key.
    :ivar with_older_raw: the tables with raw rows of earlier loads, if this load stores none. A changed row
        loses its raw row, which may show data that this load must hide.
    """

    def __init__(
        self, database: Database, dataset: Dataset, target: Sequence[str], staging: str, history: str
    ) -> None:
        self._database = database
        self._dialect = database.dialect
        self._dataset = dataset
        self._parts = target
        self.target = database.quoted(*target)
        self.staging = staging
        self.history = history
        self.has_unique_key = False
        self.with_older_raw: set[str] = set()

    # Making tables

    def ways_to_create(self) -> list[list[str]]:
        """Create the table, with its indexes or without."""
        return self._with_and_without_indexes(
            lambda indexes: self.create(self.target, self._dataset.key, indexes), self._dataset.columns
        )

    def create(self, table: str, key: Iterable[str], further: Iterable[str] = ()) -> str:
        """Create the table, or its history.

        :param further: definitions that follow the columns and the key.
        """
        columns = map(self.definition, self._dataset.columns)
        definitions = ", ".join((*columns, f"PRIMARY KEY ({self._listed(key)})", *further))
        return f"CREATE TABLE IF NOT EXISTS {table} ({definitions}){self._dialect.options}"

    def definition(self, column: Column) -> str:
        """Return the definition of a column in ``CREATE TABLE``."""
        return f"{self._optional(column)}{' NOT NULL' if column.is_required else ''}"

    def ways_to_add(self, table: str, column: Column) -> list[list[str]]:
        """Add a column to a table that has rows without it, with its index or without."""
        addition = f"ALTER TABLE {table} ADD COLUMN {self._optional(column)}"
        return self._with_and_without_indexes(
            lambda indexes: ", ADD ".join((addition, *indexes)), [column] if table == self.target else ()
        )

    def _with_and_without_indexes(
        self, statement: Callable[[Sequence[str]], str], columns: Iterable[Column]
    ) -> list[list[str]]:
        """Return two ways to make columns: with their indexes, which a database may refuse, and without.

        :param statement: makes the columns, with the indexes that the dialect declares inside it.
        """
        names = [column.name for column in columns if column.is_indexed and self._dialect.index]
        plain, indexes = [statement(())], [self._database.index(self._parts, [name]) for name in names]
        if not indexes:
            return [plain]
        return [[statement(indexes)] if self._dialect.has_indexes_inside else [*plain, *indexes], plain]

    def create_staging(self, beginning: str) -> str:
        """Create the staging table, with an index if the merge looks up rows in it.

        :param beginning: the beginning of the statement, such as ``CREATE TEMPORARY TABLE``.
        """
        definitions = list(map(self._optional, self._dataset.columns))
        places = (STAGED_PLACE,) if self._dataset.has_history else ()
        definitions += [f"{self._q(place)} {self._dialect.types[ColumnType.ID]}" for place in places]
        if self._dataset.write_disposition is not WriteDisposition.APPEND or not self._dialect.temporary:
            definitions.append(f"PRIMARY KEY ({self._listed((*self._dataset.key, *places))})")
        return f"{beginning} {self.staging} ({', '.join(definitions)}){self._dialect.options}"

    def drop_staging(self) -> str:
        """Drop the staging table."""
        return f"DROP TABLE {self.staging}"

    def seed_history(self) -> str:
        """Begin the history with the rows of the table that a load has seen."""
        names = self._listed(self._dataset.column_names)
        needed = [
            f"{self._q(column.name)} IS NOT NULL" for column in self._dataset.columns if column.is_required
        ]
        return (
            f"INSERT INTO {self.history} ({names}) SELECT {names} FROM {self.target} "  # noqa: S608 - quoted names
            f"WHERE NOT EXISTS (SELECT 1 FROM {self.history}) AND {' AND '.join(needed)}"
        )

    # Counting

    def highest(self) -> str:
        """Find the highest key."""
        return f"SELECT MAX({self._q(self._dataset.key[0])}) FROM {self.target}"  # noqa: S608 - quoted names

    def count(self, low: int, high: int | None) -> str:
        """Count the rows from one id to another, or to the highest."""
        key = self._q(self._dataset.key[0])
        until = "" if high is None else f" AND {key} <= {high:d}"
        return f"SELECT COUNT(*) FROM {self.target} WHERE {key} >= {low:d}{until}"  # noqa: S608 - quoted names and numbers

    def any_key_id(self) -> str:
        """Find the id of a key that hashed a number."""
        return f"SELECT MAX({self._q(KEY_ID)}) FROM {self.target}"  # noqa: S608 - quoted names

    def count_all(self, table: str) -> str:
        """Count the rows of a table."""
        return f"SELECT COUNT(*) FROM {table}"  # noqa: S608 - quoted names

    def count_among(self, ids: Iterable[int]) -> str:
        """Count how many of some ids the table has."""
        key = self._q(self._dataset.key[0])
        listed = ", ".join(map(str, ids))
        return f"SELECT COUNT(DISTINCT {key}) FROM {self.target} WHERE {key} IN ({listed})"  # noqa: S608 - as above

    def count_newer(self) -> str:
        """Count the rows that a later load saw or missed. Takes the beginning of this load, twice."""
        later = f"{self._q(LAST_SEEN)} > {self._p} OR {self._q(REMOVED)} > {self._p}"
        return f"SELECT COUNT(*) FROM {self.target} WHERE {later}"  # noqa: S608 - quoted names

    def query(self, query: str, moments: Mapping[str, str]) -> str:
        """Put names into a query: see ``TargetTable.select``."""
        words = _Names(self._q, table=self.target, p=self._p)
        readable = {
            name: self._dialect.readable.format(column=moment.format_map(words))
            for name, moment in moments.items()
        }
        return query.format_map(_Names(self._q, table=self.target, p=self._p, **readable))

    # Merging

    def delete(self) -> str:
        """Delete one row. Takes its key."""
        key = " AND ".join(f"{self._q(name)} = {self._p}" for name in self._dataset.key)
        return f"DELETE FROM {self.target} WHERE {key}"  # noqa: S608 - quoted names

    def empty_staging(self) -> str:
        """Delete all staged rows."""
        return self._dialect.empty.format(table=self.staging)

    def insert_nothing(self) -> str:
        """Insert no row. Only a table with a unique key accepts the statement."""
        names = self._listed(self._dataset.column_names)
        nothing = f"SELECT {names} FROM {self.target} WHERE 1 = 0"  # noqa: S608 - quoted names
        return f"INSERT INTO {self.target} ({names}) {nothing} {self._on_conflict()}"

    def insert(self) -> str:
        """Insert the staged rows that the table lacks."""
        if self.has_unique_key:
            return f"{self._insert(self.target)} WHERE 1 = 1 {self._on_conflict()}"
        there = f"SELECT 1 FROM {self.target} WHERE {self._match(self.target)}"  # noqa: S608 - quoted names
        return f"{self._insert(self.target)} WHERE NOT EXISTS ({there})"

    def update_changed(self) -> str:
        """Update changed rows in place: other tables may refer to them."""
        target, first = self.target, self._q(FIRST_SEEN)
        condition = self._differs(target, self._data_columns)
        names = [name for name in self._dataset.column_names if name not in self._dataset.key]
        values = {name: self._staged(target, name) for name in names} | self._no_older_raw(target)
        if self._dataset.write_disposition is WriteDisposition.SNAPSHOT:
            condition += f" OR {target}.{self._q(REMOVED)} IS NOT NULL"
            values[FIRST_SEEN] = f"COALESCE({target}.{first}, {values[FIRST_SEEN]})"
        return self._update(target, values, condition)

    def _no_older_raw(self, table: str) -> dict[str, str]:
        return {RAW.name: "NULL"} if table in self.with_older_raw else {}

    def mark_seen(self, table: str) -> str:
        """Mark rows as listed. Takes the beginning of the load."""
        return (
            f"UPDATE {table} SET {self._q(LAST_SEEN)} = {self._p} WHERE {self._q(REMOVED)} IS NULL "  # noqa: S608 - quoted names
            f"AND EXISTS (SELECT 1 FROM {self.staging} WHERE {self._match(table)})"
        )

    def mark_removed(self, table: str, *, is_hashed: bool) -> str:
        """Mark rows that were not listed.

        Takes the beginning of the load, its run, the beginning twice, and the key's id if hashed numbers are
        the key. Numbers under another key may be listed: their hashes differ.
        """
        q, p = self._q, self._p
        same_key = f"AND {q(KEY_ID)} {f'= {p}' if is_hashed else 'IS NULL'}"
        return (
            f"UPDATE {table} SET {q(REMOVED)} = {p}, {q(LOAD_RUN)} = {p}, {q(LOADED)} = {p} "  # noqa: S608 - quoted names
            f"WHERE {q(REMOVED)} IS NULL AND ({q(LAST_SEEN)} < {p} OR {q(LAST_SEEN)} IS NULL) "
            f"{same_key if NUMBER in self._dataset.key else ''}"
        )

    def close_periods(self) -> str:
        """Close the validity periods of numbers that are listed with another ``PERIOD_ID``.

        Takes the beginning of the load, its run, and the beginning again.
        """
        q, differs = self._q, self._differs(self.history, PERIOD_ID)
        return (
            f"UPDATE {self.history} SET {q(REMOVED)} = {self._p}, {q(LOAD_RUN)} = {self._p}, "  # noqa: S608 - quoted names
            f"{q(LOADED)} = {self._p} WHERE {q(REMOVED)} IS NULL AND EXISTS (SELECT 1 FROM {self.staging} "
            f"WHERE {self._match(self.history)} AND ({differs}))"
        )

    def update_open_periods(self) -> str:
        """Update open validity periods from the list. Takes the beginning of the load, and its run."""
        q, p = self._q, self._p
        names = [name for name in self._data_columns if name not in PERIOD_ID]
        values = {LOADED: p, LOAD_RUN: p, **{name: self._staged(self.history, name) for name in names}}
        values |= self._no_older_raw(self.history)
        condition = f"{self.history}.{q(REMOVED)} IS NULL AND ({self._differs(self.history, names)})"
        return self._update(self.history, values, condition)

    def open_periods(self) -> str:
        """Open a validity period for each number without an open one."""
        match = f"{self._match(self.history)} AND {self._q(REMOVED)} IS NULL"
        open_period = f"SELECT 1 FROM {self.history} WHERE {match}"  # noqa: S608 - quoted names
        return f"{self._insert(self.history)} WHERE NOT EXISTS ({open_period})"

    def mark_open_periods(self) -> str:
        """Mark the staged rows whose numbers have an open validity period."""
        removed, first = self._q(REMOVED), self._q(FIRST_SEEN)
        match = f"{self._match(self.history)} AND {self.history}.{removed} IS NULL"
        return (
            f"UPDATE {self.staging} SET {removed} = "  # noqa: S608 - quoted names
            f"(SELECT MAX({self.history}.{first}) FROM {self.history} WHERE {match})"
        )

    def open_unmarked_periods(self) -> str:
        """Open a validity period for each row without a mark.

        So the statement does not read the history that it writes. Otherwise the database would gather all new
        rows first, in memory that may be this process's.
        """
        return f"{self._insert(self.history)} WHERE {self._q(REMOVED)} IS NULL"

    def unmark(self) -> str:
        """Remove the marks."""
        return f"UPDATE {self.staging} SET {self._q(REMOVED)} = NULL"  # noqa: S608 - quoted names

    # Several staged rows for one number

    def count_duplicated_keys(self) -> str:
        """Count the keys that are staged more than once."""
        key = self._q(self._dataset.key[0])
        twice = f"SELECT {key} FROM {self.staging} GROUP BY {key} HAVING COUNT(*) > 1"  # noqa: S608 - quoted names
        return f"SELECT COUNT(*) FROM ({twice}) AS twice"  # noqa: S608 - quoted names

    def duplicates(self) -> str:
        """Find the places of staged rows whose key has an older staged row.

        Unknown times and ids come last. No document promises an order of the list, so it decides nothing.
        """
        key, place = self._q(self._dataset.key[0]), self._q(STAGED_PLACE)
        ages = ", ".join(
            f"CASE WHEN {q} IS NULL THEN 1 ELSE 0 END, {q}" for q in map(self._q, (*PERIOD_ID, "text"))
        )
        rank = f"ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {ages}, {place}) AS age"
        ranked = f"SELECT {place}, {rank} FROM {self.staging}"  # noqa: S608 - quoted names
        return f"SELECT {place} FROM ({ranked}) AS ranked WHERE age > 1"  # noqa: S608 - quoted names

    def unstage(self, places: Iterable[int]) -> str:
        """Delete staged rows by their places."""
        return f"DELETE FROM {self.staging} WHERE {self._q(STAGED_PLACE)} IN ({', '.join(map(str, places))})"  # noqa: S608 - quoted names

    @property
    def _data_columns(self) -> tuple[str, ...]:
        columns = self._dataset.columns
        return tuple(c.name for c in columns if c.is_read and c.name not in self._dataset.key)

    @property
    def _p(self) -> str:
        return self._database.placeholder

    def _q(self, name: str) -> str:
        return self._database.quoted(name)

    def _listed(self, names: Iterable[str]) -> str:
        return ", ".join(map(self._q, names))

    def _optional(self, column: Column) -> str:
        return f"{self._q(column.name)} {self._dialect.types[column.kind]}"

    def _match(self, table: str) -> str:
        return " AND ".join(
            f"{table}.{self._q(name)} = {self.staging}.{self._q(name)}" for name in self._dataset.key
        )

    def _differs(self, table: str, names: Iterable[str]) -> str:
        def differs(name: str) -> str:
            ours, theirs = f"{table}.{self._q(name)}", f"{self.staging}.{self._q(name)}"
            return (
                f"{ours} <> {theirs} OR ({ours} IS NULL AND {theirs} IS NOT NULL) "
                f"OR ({ours} IS NOT NULL AND {theirs} IS NULL)"
            )

        return " OR ".join(map(differs, names))

    def _staged(self, table: str, name: str) -> str:
        """Return the staged value of a column of an updated row."""
        value = f"{self.staging}.{self._q(name)}"
        if self._dialect.update:
            return value
        return f"(SELECT MAX({value}) FROM {self.staging} WHERE {self._match(table)})"  # noqa: S608 - quoted names

    def _update(self, table: str, values: Mapping[str, str], condition: str) -> str:
        """Update the rows of a table that are staged and meet a condition."""
        match, columns = self._match(table), dict(zip(values, map(self._q, values), strict=True))
        if self._dialect.joins_to_update:
            columns = {name: f"{table}.{column}" for name, column in columns.items()}
        listed = ", ".join(f"{columns[name]} = {value}" for name, value in values.items())
        if not self._dialect.update:
            staged = f"SELECT 1 FROM {self.staging} WHERE {match} AND ({condition})"  # noqa: S608 - quoted names
            return f"UPDATE {table} SET {listed} WHERE EXISTS ({staged})"  # noqa: S608 - quoted names
        return self._dialect.update.format(
            target=table, other=self.staging, match=match, values=listed, condition=condition
        )

    def _on_conflict(self) -> str:
        return f"ON CONFLICT ({self._listed(self._dataset.key)}) DO NOTHING"

    def _insert(self, table: str) -> str:
        names = self._listed(self._dataset.column_names)
        return f"INSERT INTO {table} ({names}) SELECT {names} FROM {self.staging}"  # noqa: S608 - quoted names
