"""Bulk inserts: rows are encoded for the database's fastest path, and cut to its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select

from airflow_provider_winsms.columns import DictionaryColumn
from airflow_provider_winsms.sql.compiler import compiled
from airflow_provider_winsms.sql.copy_text import copy_text
from airflow_provider_winsms.sql.dialects import BulkMethod
from airflow_provider_winsms.sql.errors import TOO_LARGE, PacketTooLarge
from airflow_provider_winsms.sql.value_rows import value_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Table

    from airflow_provider_winsms.sql.connection import Database

_VALUE_BYTES = 40
"""The most bytes of a number or an instant in a statement, and of the punctuation between texts."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows in the form of the database's fastest path."""

    length: int
    content: Any = field(repr=False)


def encode(columns: Sequence[Sequence[Any]], method: BulkMethod) -> EncodedRows:
    """Encode rows, given as columns of equal length, for ``insert_encoded``. It needs no connection."""
    return EncodedRows(len(columns[0]) if columns else 0, _ENCODERS[method](columns))


def insert(
    database: Database, step: str, table: Table, names: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows by the database's fastest path.

    :param step: names its purpose, for the error.
    :param names: the columns that the rows have, in the order of the table.
    """
    columns = [_with_constant(column) for column in zip(*rows, strict=True)]
    insert_encoded(database, step, table, names, [encode(columns, database.dialect.bulk)])


def _with_constant(column: Sequence[Any]) -> Sequence[Any]:
    """Return a column whose value is encoded once if all rows share it."""
    is_constant = column[0] is column[-1] and column.count(column[0]) == len(column)
    return DictionaryColumn.constant(column[0], len(column)) if is_constant else column


def insert_encoded(
    database: Database, step: str, table: Table, names: Sequence[str], encoded: Sequence[EncodedRows]
) -> None:
    """Insert encoded rows by the path that they are encoded for."""
    filled = [rows.content for rows in encoded if rows.length]
    statement = _insertion(database, table, names)

    def write(cursor: Any) -> None:
        if database.dialect.bulk is BulkMethod.COPY:
            _copy_in(cursor, statement, filled)
        elif database.dialect.bulk is BulkMethod.ARRAYS:
            for columns in filled:
                cursor.execute(statement, columns)
        elif database.dialect.bulk is BulkMethod.VALUES:
            for places, values in chain.from_iterable(filled):
                cursor.executemany(f"{statement} {places}", values)
        else:
            for rows in _statements(statement, list(chain.from_iterable(filled)), database.max_packet):
                cursor.executemany(statement, rows)

    if filled:
        database.run(step, write)


def _insertion(database: Database, table: Table, names: Sequence[str]) -> str:
    """Return the statement that inserts rows, without values."""
    columns = ", ".join(database.quoted(table.c[name]) for name in names)
    if database.dialect.bulk is BulkMethod.COPY:
        return f"COPY {database.quoted(table)} ({columns}) FROM STDIN"
    if database.dialect.bulk is BulkMethod.VALUES:
        return f"INSERT INTO {database.quoted(table)} ({columns}) VALUES"
    values: dict[str, Any] = {name: bindparam(name, None) for name in names}
    if database.dialect.bulk is BulkMethod.ARRAYS:
        arrays = select(*map(func.unnest, values.values()))
        return compiled(table.insert().from_select(names, arrays), database.core)[0]
    return compiled(table.insert().values(values), database.core)[0]


def _statements(
    statement: str, rows: list[tuple[Any, ...]], max_packet: int
) -> Iterable[list[tuple[Any, ...]]]:
    """Cut rows into chunks that fit into one statement of the driver."""
    return _cut_by_bytes(rows, max_packet - 2 * len(statement)) if max_packet else [rows]


def _cut_by_bytes(rows: Iterable[tuple[Any, ...]], limit: int) -> Iterator[list[tuple[Any, ...]]]:
    """Cut rows into chunks that take at most ``limit`` bytes in a statement.

    :raises PacketTooLarge: a single row takes more.
    """
    chunk: list[tuple[Any, ...]] = []
    bytes_left = limit
    for row in rows:
        size = _max_bytes(row)
        if size > bytes_left and chunk:
            yield chunk
            chunk, bytes_left = [], limit
        if size > limit and sum(len(str(value).encode()) for value in row) > limit:
            raise PacketTooLarge(TOO_LARGE)
        chunk.append(row)
        bytes_left -= size
    if chunk:
        yield chunk


def _max_bytes(row: tuple[Any, ...]) -> int:
    """Return the most bytes of a row in a statement, with a backslash before each byte of a text."""
    return sum(
        _VALUE_BYTES + 2 * len(value if value.isascii() else value.encode())
        if isinstance(value, str)
        else _VALUE_BYTES
        for value in row
    )


def _copy_in(cursor: Any, statement: str, texts: Iterable[bytes]) -> None:
    """Stream rows through psycopg 3 or 2."""
    if hasattr(cursor, "copy_expert"):
        cursor.copy_expert(statement, BytesIO(b"".join(texts)))
    else:
        with cursor.copy(statement) as stream:
            for text in texts:
                stream.write(text)


_ENCODERS: Mapping[BulkMethod, Callable[[Sequence[Sequence[Any]]], Any]] = {
    BulkMethod.ROWS: lambda columns: list(zip(*columns, strict=True)),
    BulkMethod.COPY: copy_text,
    BulkMethod.VALUES: value_rows,
    BulkMethod.ARRAYS: lambda columns: list(map(list, columns)),
}
