"""The statements that make staged rows rows of a table, in SQL that each database takes.

Each follows the staged rows, or passes the table once. Nulls are equal to nulls.
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

PLACE = "staged_place"
"""A column of the staging table: the how-manyth row it is."""

ENTRY = ("opted_out_at", "message_id")
"""What tells one spell on a list from the next one of the same number."""


class _Names(dict[str, str]):
    """Words of a query: those that are given, and any other as the quoted name of a column."""

    def __init__(self, quoted: Callable[[str], str], **words: str) -> None:
        super().__init__(words)
        self._quoted = quoted

    def __missing__(self, name: str) -> str:
        return self._quoted(name)


class Statements:
    """The statements of one dataset, one table and its staging table.

    :param target: the table's schema, if there is one, and its name.
    :param staging: the staging table, as it stands in a statement; ``history`` likewise.
    :param has_unique_key: whether the table refuses a second row with the same key.
    :param with_older_raw: the tables with raw rows of earlier loads, where this one loads none. A row that
        changes loses its raw one, which may tell what this load is to hide.
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

        :param further: what stands behind its columns and its key.
        """
        columns = map(self.definition, self._dataset.columns)
        definitions = ", ".join((*columns, f"PRIMARY KEY ({self._listed(key)})", *further))
        return f"CREATE TABLE IF NOT EXISTS {table} ({definitions}){self._dialect.options}"

    def definition(self, column: Column) -> str:
        """Return a column as it stands in ``CREATE TABLE``."""
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
        """Return what makes columns, once with their indexes, which a database may refuse, and once without.

        :param statement: makes the columns, with those indexes that the dialect has inside it.
        """
        names = [column.name for column in columns if column.is_indexed and self._dialect.index]
        plain, indexes = [statement(())], [self._database.index(self._parts, [name]) for name in names]
        if not indexes:
            return [plain]
        return [[statement(indexes)] if self._dialect.has_indexes_inside else [*plain, *indexes], plain]

    def create_staging(self, beginning: str) -> str:
        """Create the staging table, with an index where rows of the table are looked up in it.

        :param beginning: what the statement begins with, such as ``CREATE TEMPORARY TABLE``.
        """
        definitions = list(map(self._optional, self._dataset.columns))
        places = (PLACE,) if self._dataset.has_history else ()
        definitions += [f"{self._q(place)} {self._dialect.types[ColumnType.ID]}" for place in places]
        if self._dataset.merging is not WriteDisposition.APPEND or not self._dialect.temporary:
            definitions.append(f"PRIMARY KEY ({self._listed((*self._dataset.key, *places))})")
        return f"{beginning} {self.staging} ({', '.join(definitions)}){self._dialect.options}"

    def drop_staging(self) -> str:
        """Drop the staging table."""
        return f"DROP TABLE {self.staging}"

    def seed_history(self) -> str:
        """Begin the history with what the table knows: nothing of rows that no load has seen."""
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
        """Find a key that a number was hashed with."""
        return f"SELECT MAX({self._q(KEY_ID)}) FROM {self.target}"  # noqa: S608 - quoted names

    def count_all(self, table: str) -> str:
        """Count the rows of a table."""
        return f"SELECT COUNT(*) FROM {table}"  # noqa: S608 - quoted names

    def count_among(self, ids: Iterable[int]) -> str:
        """Count which ids there are."""
        key = self._q(self._dataset.key[0])
        listed = ", ".join(map(str, ids))
        return f"SELECT COUNT(DISTINCT {key}) FROM {self.target} WHERE {key} IN ({listed})"  # noqa: S608 - as above

    def count_newer(self) -> str:
        """Count the rows that a load saw, or missed, which began later. Takes when this one began, twice."""
        later = f"{self._q(LAST_SEEN)} > {self._p} OR {self._q(REMOVED)} > {self._p}"
        return f"SELECT COUNT(*) FROM {self.target} WHERE {later}"  # noqa: S608 - quoted names

    def query(self, query: str, moments: Mapping[str, str]) -> str:
        """Put names into a query: see ``LoadingTable.select``."""
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
        """Insert no row, which only a table takes that has a unique key."""
        names = self._listed(self._dataset.column_names)
        nothing = f"SELECT {names} FROM {self.target} WHERE 1 = 0"  # noqa: S608 - quoted names
        return f"INSERT INTO {self.target} ({names}) {nothing} {self._on_conflict()}"

    def insert(self) -> str:
        """Insert what the table lacks."""
        if self.has_unique_key:
            return f"{self._insert(self.target)} WHERE 1 = 1 {self._on_conflict()}"
        there = f"SELECT 1 FROM {self.target} WHERE {self._match(self.target)}"  # noqa: S608 - quoted names
        return f"{self._insert(self.target)} WHERE NOT EXISTS ({there})"

    def update_changed(self) -> str:
        """Update the rows that are staged otherwise, where they are: other tables may refer to them."""
        target, first = self.target, self._q(FIRST_SEEN)
        condition = self._differs(target, self._facts)
        names = [name for name in self._dataset.column_names if name not in self._dataset.key]
        values = {name: self._staged(target, name) for name in names} | self._no_older_raw(target)
        if self._dataset.merging is WriteDisposition.SNAPSHOT:
            condition += f" OR {target}.{self._q(REMOVED)} IS NOT NULL"
            values[FIRST_SEEN] = f"COALESCE({target}.{first}, {values[FIRST_SEEN]})"
        return self._update(target, values, condition)

    def _no_older_raw(self, table: str) -> dict[str, str]:
        return {RAW.name: "NULL"} if table in self.with_older_raw else {}

    def see(self, table: str) -> str:
        """Note that rows were listed. Takes when the load began."""
        return (
            f"UPDATE {table} SET {self._q(LAST_SEEN)} = {self._p} WHERE {self._q(REMOVED)} IS NULL "  # noqa: S608 - quoted names
            f"AND EXISTS (SELECT 1 FROM {self.staging} WHERE {self._match(table)})"
        )

    def remove(self, table: str, *, is_hashed: bool) -> str:
        """Mark what was not listed.

        Takes when the load began, its run, when it began, twice, and the key's id if numbers are the key and
        are hashed: whether those under another key are missing cannot be told.
        """
        q, p = self._q, self._p
        same_key = f"AND {q(KEY_ID)} {f'= {p}' if is_hashed else 'IS NULL'}"
        return (
            f"UPDATE {table} SET {q(REMOVED)} = {p}, {q(LOAD_RUN)} = {p}, {q(LOADED)} = {p} "  # noqa: S608 - quoted names
            f"WHERE {q(REMOVED)} IS NULL AND ({q(LAST_SEEN)} < {p} OR {q(LAST_SEEN)} IS NULL) "
            f"{same_key if NUMBER in self._dataset.key else ''}"
        )

    def end_spells(self) -> str:
        """End the spells of numbers that are listed with another entry.

        Takes when the load began, its run, and when it began.
        """
        q, differs = self._q, self._differs(self.history, ENTRY)
        return (
            f"UPDATE {self.history} SET {q(REMOVED)} = {self._p}, {q(LOAD_RUN)} = {self._p}, "  # noqa: S608 - quoted names
            f"{q(LOADED)} = {self._p} WHERE {q(REMOVED)} IS NULL AND EXISTS (SELECT 1 FROM {self.staging} "
            f"WHERE {self._match(self.history)} AND ({differs}))"
        )

    def correct_spells(self) -> str:
        """Bring the spells under way into line with the list. Takes when the load began, and its run."""
        q, p = self._q, self._p
        names = [name for name in self._facts if name not in ENTRY]
        values = {LOADED: p, LOAD_RUN: p, **{name: self._staged(self.history, name) for name in names}}
        values |= self._no_older_raw(self.history)
        under_way = f"{self.history}.{q(REMOVED)} IS NULL AND ({self._differs(self.history, names)})"
        return self._update(self.history, values, under_way)

    def begin_spells(self) -> str:
        """Begin a spell for each number that is in none."""
        match = f"{self._match(self.history)} AND {self._q(REMOVED)} IS NULL"
        under_way = f"SELECT 1 FROM {self.history} WHERE {match}"  # noqa: S608 - quoted names
        return f"{self._insert(self.history)} WHERE NOT EXISTS ({under_way})"

    def mark_spells_under_way(self) -> str:
        """Mark the staged rows whose numbers are in a spell."""
        removed, first = self._q(REMOVED), self._q(FIRST_SEEN)
        match = f"{self._match(self.history)} AND {self.history}.{removed} IS NULL"
        return (
            f"UPDATE {self.staging} SET {removed} = "  # noqa: S608 - quoted names
            f"(SELECT MAX({self.history}.{first}) FROM {self.history} WHERE {match})"
        )

    def begin_unmarked_spells(self) -> str:
        """Begin a spell for each row without a mark: the history is not read while it is written.

        Where it is, all new rows are gathered first, in memory that may be ours.
        """
        return f"{self._insert(self.history)} WHERE {self._q(REMOVED)} IS NULL"

    def unmark(self) -> str:
        """Take the marks away."""
        return f"UPDATE {self.staging} SET {self._q(REMOVED)} = NULL"  # noqa: S608 - quoted names

    # Several entries for one number

    def count_twice(self) -> str:
        """Count the keys that are staged more than once."""
        key = self._q(self._dataset.key[0])
        twice = f"SELECT {key} FROM {self.staging} GROUP BY {key} HAVING COUNT(*) > 1"  # noqa: S608 - quoted names
        return f"SELECT COUNT(*) FROM ({twice}) AS twice"  # noqa: S608 - quoted names

    def younger(self) -> str:
        """Find the places of staged rows for whose key an older one is staged.

        Unknown times and ids come last. The list's own order decides nothing, as none is promised.
        """
        key, place = self._q(self._dataset.key[0]), self._q(PLACE)
        ages = ", ".join(
            f"CASE WHEN {q} IS NULL THEN 1 ELSE 0 END, {q}" for q in map(self._q, (*ENTRY, "text"))
        )
        rank = f"ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {ages}, {place}) AS age"
        ranked = f"SELECT {place}, {rank} FROM {self.staging}"  # noqa: S608 - quoted names
        return f"SELECT {place} FROM ({ranked}) AS ranked WHERE age > 1"  # noqa: S608 - quoted names

    def unstage(self, places: Iterable[int]) -> str:
        """Delete staged rows by their places."""
        return f"DELETE FROM {self.staging} WHERE {self._q(PLACE)} IN ({', '.join(map(str, places))})"  # noqa: S608 - quoted names

    @property
    def _facts(self) -> tuple[str, ...]:
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
        """Return what is staged for a column of a row that is updated."""
        value = f"{self.staging}.{self._q(name)}"
        if self._dialect.update:
            return value
        return f"(SELECT MAX({value}) FROM {self.staging} WHERE {self._match(table)})"  # noqa: S608 - quoted names

    def _update(self, table: str, values: Mapping[str, str], condition: str) -> str:
        """Update rows of a table that are staged, if they meet a condition."""
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
