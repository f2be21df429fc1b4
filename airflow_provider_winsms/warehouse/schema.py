"""The schema of a load's tables: they are created, and get the columns that they lack."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import ConfigurationError, LoadFailed
from airflow_provider_winsms.sql.column_types import check_types
from airflow_provider_winsms.sql.types import ColumnType
from airflow_provider_winsms.warehouse.datasets import DATASETS, FIRST_SEEN, RAW, WriteDisposition
from airflow_provider_winsms.warehouse.relations import STAGED_PLACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provider_winsms.warehouse.datasets import Column
    from airflow_provider_winsms.warehouse.relations import Relations, TableName
    from airflow_provider_winsms.warehouse.transaction import LoadTransaction


class TableDefinitions:
    """The statements that make the tables of one load."""

    def __init__(self, relations: Relations) -> None:
        self._relations = relations
        self._dataset = relations.dataset
        self._dialect = relations.dialect

    def ways_to_create(self) -> list[list[str]]:
        """Create the table, with its indexes or without."""
        return self._with_and_without_indexes(
            lambda indexes: self._create(self._relations.target, self._dataset.key, indexes),
            self._dataset.columns,
        )

    def create_history(self) -> str:
        """Create the history."""
        return self._create(self._relations.history, (*self._dataset.key, FIRST_SEEN))

    def ways_to_add(self, table: str, column: Column) -> list[list[str]]:
        """Add a column to a table that has rows without it, with its index or without."""
        addition = f"ALTER TABLE {table} ADD COLUMN {self._optional(column)}"
        return self._with_and_without_indexes(
            lambda indexes: ", ADD ".join((addition, *indexes)),
            [column] if table == self._relations.target else (),
        )

    def create_staging(self, beginning: str) -> str:
        """Create the staging table, with an index if the merge looks up rows in it.

        :param beginning: the beginning of the statement, such as ``CREATE TEMPORARY TABLE``.
        """
        relations = self._relations
        definitions = list(map(self._optional, self._dataset.columns))
        places = (STAGED_PLACE,) if self._dataset.has_history else ()
        definitions += [
            f"{relations.quoted(place)} {self._relations.types[ColumnType.COUNT]}" for place in places
        ]
        if self._dataset.write_disposition is not WriteDisposition.APPEND or not self._dialect.temporary:
            definitions.append(f"PRIMARY KEY ({relations.listed((*self._dataset.key, *places))})")
        return f"{beginning} {relations.staging} ({', '.join(definitions)}){self._dialect.options}"

    def _create(self, table: str, key: Iterable[str], further: Iterable[str] = ()) -> str:
        """Create a table.

        :param further: definitions that follow the columns and the key.
        """
        columns = map(self._definition, self._dataset.columns)
        definitions = ", ".join((*columns, f"PRIMARY KEY ({self._relations.listed(key)})", *further))
        return f"CREATE TABLE IF NOT EXISTS {table} ({definitions}){self._dialect.options}"

    def _definition(self, column: Column) -> str:
        return f"{self._optional(column)}{' NOT NULL' if column.is_required else ''}"

    def _optional(self, column: Column) -> str:
        return f"{self._relations.quoted(column.name)} {self._relations.types[column.kind]}"

    def _with_and_without_indexes(
        self, statement: Callable[[Sequence[str]], str], columns: Iterable[Column]
    ) -> list[list[str]]:
        """Return two ways to make columns: with their indexes, which a database may refuse, and without.

        :param statement: makes the columns, with the indexes that the dialect declares inside it.
        """
        names = [column.name for column in columns if column.is_indexed and self._dialect.index]
        plain, indexes = [statement(())], list(map(self._relations.index, names))
        if not indexes:
            return [plain]
        return [[statement(indexes)] if self._dialect.has_indexes_inside else [*plain, *indexes], plain]


_log = logging.getLogger(__name__)

CREATE = "create the table"
"""The step that creates a table, for errors."""


class TableSchema:
    """The tables of one load. Several loads may make them at once. Every method raises ``LoadFailed``."""

    def __init__(self, transaction: LoadTransaction, relations: Relations, name: TableName) -> None:
        self._transaction = transaction
        self._relations = relations
        self._dataset = relations.dataset
        self._name = name
        self._definitions = TableDefinitions(relations)

    def ensure(self) -> None:
        """Create the table and its history if they are missing, and add the columns that they lack.

        :raises ConfigurationError: if there is a table that lacks its key, or is of another dataset.
        """
        self._ensure_table(self._relations.target, self._name, self._definitions.ways_to_create())
        if self._dataset.has_history:
            self._ensure_history()
        self._relations.has_unique_key = self._relations.dialect.skips_conflicts and self._is_unique()

    def create_staging(self) -> None:
        """Create the staging table: inside the load's transaction if that has begun."""
        create, dialect = self._definitions.create_staging, self._relations.dialect
        if not dialect.temporary:
            statement = create("CREATE TABLE IF NOT EXISTS")
            self._ensure_table(self._relations.staging, self._name.staging, [[statement]])
        elif self._transaction.is_open:
            self._transaction.execute(create("CREATE TABLE"))
        else:
            self._transaction.run_alone("create a staging table", create(dialect.temporary))

    def _ensure_table(self, table: str, name: TableName, ways: Sequence[Sequence[str]]) -> None:
        """Create a table, or add the columns that it lacks.

        :param ways: the statements of each way to create it, the best way first.
        """
        found = self._transaction.columns(table) or self._created(table, ways)
        if missing := [part for part in self._dataset.key if part not in found]:
            msg = (
                f"The table {name} is none of the dataset {self._dataset.name!r}: it lacks "
                f"{', '.join(missing)}, by which its rows are told apart. Give the name of another table."
            )
            raise ConfigurationError(msg)
        self._refuse_foreign_table(name, found)
        otherwise = "Give the name of another table."
        check_types(self._transaction.database, name.parts, self._dataset.columns, otherwise)
        self._transaction.commit_if_short()
        if RAW.name in found.difference(self._dataset.column_names):
            self._relations.with_older_raw.add(table)
        for column in self._dataset.columns:
            if column.name not in found:
                self._add_column(table, column)

    def _created(self, table: str, ways: Sequence[Sequence[str]]) -> set[str]:
        columns = self._transaction.columns
        self._run_unless_done(CREATE, ways, lambda: columns(table) is not None)
        found = columns(table)
        if found is None:
            # A second query raises the reason.
            return self._transaction.database.columns("read the columns of the table", table)
        return found

    def _refuse_foreign_table(self, name: TableName, found: set[str]) -> None:
        strange = found - set(self._dataset.column_names)
        for other in DATASETS.values():
            if other.discriminator in strange and found.issuperset(other.key):
                msg = (
                    f"The table {name} is one of the dataset {other.name!r}, as it has the column "
                    f"{other.discriminator}; loaded is {self._dataset.name!r}. Name another table."
                )
                raise ConfigurationError(msg)

    def _add_column(self, table: str, column: Column) -> None:
        self._run_unless_done(
            "add a column",
            self._definitions.ways_to_add(table, column),
            lambda: column.name in (self._transaction.columns(table) or ()),
        )

    def _ensure_history(self) -> None:
        history = self._relations.history
        self._ensure_table(history, self._name.history, [[self._definitions.create_history()]])
        # Another load may have begun the history just now.
        self._run_unless_done(
            "begin the history",
            [[self._seed_history()]],
            lambda: bool(self._transaction.scalar(f"SELECT COUNT(*) FROM {history}")),  # noqa: S608 - a quoted name
        )

    def _seed_history(self) -> str:
        """Begin the history with the rows of the table that a load has seen."""
        relations, names = self._relations, self._relations.listed(self._dataset.column_names)
        needed = [
            f"{relations.quoted(column.name)} IS NOT NULL"
            for column in self._dataset.columns
            if column.is_required
        ]
        return (
            f"INSERT INTO {relations.history} ({names}) SELECT {names} FROM {relations.target} "  # noqa: S608 - quoted names
            f"WHERE NOT EXISTS (SELECT 1 FROM {relations.history}) AND {' AND '.join(needed)}"
        )

    def _is_unique(self) -> bool:
        """Whether the table has a unique key: only then it accepts the clause for conflicts."""
        target, names = self._relations.target, self._relations.listed(self._dataset.column_names)
        nothing = f"SELECT {names} FROM {target} WHERE 1 = 0"  # noqa: S608 - quoted names
        statement = f"INSERT INTO {target} ({names}) {nothing} {self._relations.on_conflict()}"
        try:
            self._transaction.run_alone("look for the key of the table", statement)
        except LoadFailed:
            return False
        return True

    def _run_unless_done(self, step: str, ways: Sequence[Sequence[str]], is_done: Callable[[], bool]) -> None:
        """Run statements. If the database refuses them, another load may have just done the same.

        :param ways: the statements of each way, the best way first; a later one is for a database that
            refuses an index.
        """
        for statements in ways:
            try:
                self._transaction.run_alone(step, *statements)
            except LoadFailed:
                if is_done():
                    return
                if statements is ways[-1]:
                    raise
            else:
                if statements is not ways[0]:
                    _log.warning(
                        "The database refuses an index of the table %s. Loads work without it.", self._name
                    )
                return
