"""The statements that make the tables of a load, and the columns that they lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.sql.dialects import ColumnType
from airflow_provider_winsms.warehouse.datasets import FIRST_SEEN, WriteDisposition
from airflow_provider_winsms.warehouse.relations import STAGED_PLACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provider_winsms.warehouse.datasets import Column
    from airflow_provider_winsms.warehouse.relations import Relations


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
            f"{relations.quoted(place)} {self._dialect.types[ColumnType.COUNT]}" for place in places
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
        return f"{self._relations.quoted(column.name)} {self._dialect.types[column.kind]}"

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
