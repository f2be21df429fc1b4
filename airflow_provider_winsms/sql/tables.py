"""Tables as SQLAlchemy has them, made from columns as data, and the statements that create them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Column, Index, MetaData, PrimaryKeyConstraint, Table, UniqueConstraint, delete
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import ColumnCollectionConstraint, CreateIndex, CreateTable, DDLElement

from airflow_provider_winsms.sql.compiler import name_of
from airflow_provider_winsms.sql.names import index_name
from airflow_provider_winsms.sql.types import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy.schema import SchemaItem
    from sqlalchemy.sql.compiler import DDLCompiler

    from airflow_provider_winsms.sql.dialects import Dialect
    from airflow_provider_winsms.sql.types import ColumnType

# Transactions, all of Unicode, and case-sensitive texts, independently of the server's defaults.
_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_default_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


class ColumnDefinition(Protocol):
    """A column as data."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def kind(self) -> ColumnType:
        """The kind of its values."""

    @property
    def is_required(self) -> bool:
        """Whether each row has a value."""


def table_of(
    name: Sequence[str],
    columns: Iterable[ColumnDefinition],
    key: Sequence[str] = (),
    unique: Sequence[str] = (),
    *,
    prefixes: Sequence[str] = (),
) -> Table:
    """Return a table.

    :param name: its schema, if there is one, and its name.
    :param key: the columns of its primary key.
    :param unique: columns whose values together are unique.
    :param prefixes: words before TABLE in the statement that creates it, such as TEMPORARY.
    """
    parts: list[SchemaItem] = [column_of(each, is_required=each.is_required) for each in columns]
    parts += [PrimaryKeyConstraint(*map(name_of, key))] if key else []
    parts += [UniqueConstraint(*map(name_of, unique))] if unique else []
    schema = name_of(name[0]) if len(name) > 1 else None
    return Table(name_of(name[-1]), MetaData(), *parts, schema=schema, prefixes=prefixes, **_OPTIONS)


def column_of(column: ColumnDefinition, *, is_required: bool) -> Column[Any]:
    """Return a column."""
    return Column(name_of(column.name), TYPES[column.kind], nullable=not is_required, autoincrement=False)


class InlineIndex(ColumnCollectionConstraint):
    """An index in the statement that creates its table: in MySQL, each statement is a transaction."""

    __visit_name__ = "inline_index"


@compiles(InlineIndex)
def _inline_index(index: InlineIndex | Index, compiler: DDLCompiler, **_: Any) -> str:
    name = compiler.preparer.quote(name_of(str(index.name)))
    return f"INDEX {name} ({', '.join(map(compiler.preparer.format_column, index.columns))})"


class AddColumn(DDLElement):
    """Adds a column, which may be null, to its table.

    :param indexes: those that are added by the same statement.
    """

    def __init__(self, column: Column[Any], indexes: Iterable[Index]) -> None:
        self.column = column
        self.indexes = indexes


@compiles(AddColumn)
def _add_column(addition: AddColumn, compiler: DDLCompiler, **_: Any) -> str:
    column, preparer = addition.column, compiler.preparer
    name, declared = preparer.format_column(column), column.type.compile(dialect=compiler.dialect)
    parts = [f"{name} {declared}", *(_inline_index(index, compiler) for index in addition.indexes)]
    return f"ALTER TABLE {preparer.format_table(column.table)} {', '.join(f'ADD {part}' for part in parts)}"


class DeleteAll(DDLElement):
    """Deletes all rows of a temporary table."""

    def __init__(self, table: Table) -> None:
        self.table = table


@compiles(DeleteAll)
def _delete(deletion: DeleteAll, compiler: DDLCompiler, **_: Any) -> str:
    return str(compiler.sql_compiler.process(delete(deletion.table)))


@compiles(DeleteAll, "postgresql")
def _truncate(deletion: DeleteAll, compiler: DDLCompiler, **_: Any) -> str:
    # Deleted rows would stay until the end of the transaction.
    return f"TRUNCATE TABLE {compiler.preparer.format_table(deletion.table)}"


def creation(table: Table, indexes: Iterable[Sequence[str]], dialect: Dialect) -> Iterator[DDLElement]:
    """Yield the statements that create a table and its indexes, unless they exist, if the database can tell.

    :param indexes: the columns of each index.
    """
    inside, after = _indexes(table, indexes, dialect)
    if inside:
        table = table.to_metadata(MetaData())
        for index in inside:
            table.append_constraint(
                InlineIndex(*(table.c[each.name] for each in index.columns), name=index.name)
            )
    yield CreateTable(table, if_not_exists=dialect.has_if_not_exists)
    yield from after


def addition(column: Column[Any], indexes: Iterable[Sequence[str]], dialect: Dialect) -> Iterator[DDLElement]:
    """Yield the statements that add a column to its table, and indexes of it."""
    inside, after = _indexes(column.table, indexes, dialect)
    yield AddColumn(column, inside)
    yield from after


def _indexes(
    table: Table, indexes: Iterable[Sequence[str]], dialect: Dialect
) -> tuple[list[Index], list[CreateIndex]]:
    """Return the indexes that the statement for their columns creates, and the statements for the others."""
    found = [
        Index(name_of(index_name(table.name, names)), *(table.c[name] for name in names)) for names in indexes
    ]
    if dialect.has_indexes_inside:
        return found, []
    # Standard SQL has no indexes; many databases have this statement, and refuse the clause.
    return [], [CreateIndex(index, if_not_exists=dialect.has_if_not_exists) for index in found]
