"""Bulk inserts: rows are encoded for the database's fastest path, and cut to its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import StringIO
from itertools import chain
from types import NoneType
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.sql.dialects import BulkMethod
from airflow_provider_winsms.sql.errors import TOO_LARGE, PacketTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_winsms.sql.connection import Database

_VALUE_BYTES = 40
"""The most bytes of a number or an instant in a statement, and of the punctuation between texts."""

_COPY_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
"""The backslash comes first, as the other escapes contain it."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows in the form of the database's fastest path."""

    length: int
    content: Any = field(repr=False)


def encode(columns: Sequence[Sequence[Any]], method: BulkMethod) -> EncodedRows:
    """Encode rows, given as columns of equal length, for ``insert_encoded``. It needs no connection."""
    return EncodedRows(len(columns[0]) if columns else 0, _ENCODERS[method](columns))


def insert(
    database: Database, step: str, table: str, names: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows by the database's fastest path.

    :param step: names its purpose, for the error.
    :param table: its quoted name.
    :param names: the names of the columns.
    """
    encoded = encode(list(zip(*rows, strict=True)), database.dialect.bulk)
    insert_encoded(database, step, table, names, [encoded])


def insert_encoded(
    database: Database, step: str, table: str, names: Sequence[str], encoded: Sequence[EncodedRows]
) -> None:
    """Insert encoded rows, in one statement if the database has one for that; otherwise as ``insert``."""
    filled = [rows.content for rows in encoded if rows.length]
    listed = ", ".join(map(database.quoted, names))

    def write(cursor: Any) -> None:
        if database.dialect.bulk is BulkMethod.COPY:
            _copy_in(cursor, f"COPY {table} ({listed}) FROM STDIN", filled)
        elif database.dialect.bulk is BulkMethod.ARRAYS:
            arrays = ", ".join([f"unnest({database.placeholder})"] * len(names))
            for columns in filled:
                cursor.execute(f"INSERT INTO {table} ({listed}) SELECT {arrays}", columns)
        else:
            statement = f"INSERT INTO {table} ({listed}) VALUES ({database.placeholders(len(names))})"  # noqa: S608 - quoted names
            for rows in _statements(statement, list(chain.from_iterable(filled)), database.max_packet):
                cursor.executemany(statement, rows)

    if filled:
        database.run(step, write)


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


def _copy_in(cursor: Any, statement: str, texts: Iterable[str]) -> None:
    """Stream rows through psycopg 3 or 2."""
    if hasattr(cursor, "copy_expert"):
        cursor.copy_expert(statement, StringIO("".join(texts)))
    else:
        with cursor.copy(statement) as stream:
            for text in texts:
                stream.write(text)


def _copy_text(columns: Sequence[Sequence[Any]]) -> str:
    """Return rows in PostgreSQL's text format."""
    varied = list(columns)
    ending = "\n"
    # Constant columns at the end of all rows are encoded once, and joined between the rows.
    while len(varied) > 1 and _is_constant(varied[-1]):
        ending = f"\t{_copy_cell(varied.pop()[0])}{ending}"
    rows = ending.join(map("\t".join, zip(*map(_copy_cells, varied), strict=True)))
    return f"{rows}{ending}" if columns and columns[0] else ""


def _is_constant(values: Sequence[Any]) -> bool:
    return len(values) > 0 and values[0] is values[-1] and list(values).count(values[0]) == len(values)


def _copy_cells(values: Sequence[Any]) -> Iterable[str]:
    types = set(map(type, values))
    if types == {int}:
        return map(str, values)
    if types == {str}:
        return _copy_texts(values)
    if types <= {int, NoneType}:
        return ["\\N" if value is None else str(value) for value in values]
    # Many rows share an instant or a word, which is then one object.
    distinct = dict(zip(map(id, values), values, strict=True))
    cells = {identity: _copy_cell(value) for identity, value in distinct.items()}
    return map(cells.__getitem__, map(id, values))


def _copy_texts(values: Sequence[str]) -> Sequence[str]:
    """Escape all texts at once, which is many times faster. No text holds a NUL, as no column takes one."""
    joined = "\0".join(values)
    if not any(special in joined for special in _COPY_ESCAPES):
        return values
    escaped = _escaped(joined).split("\0")
    return escaped if len(escaped) == len(values) else list(map(_escaped, values))


def _copy_cell(value: Any) -> str:
    if isinstance(value, str):
        return _escaped(value)
    return "\\N" if value is None else str(value)


def _escaped(text: str) -> str:
    for special, escape in _COPY_ESCAPES.items():
        text = text.replace(special, escape)
    return text


_ENCODERS: Mapping[BulkMethod, Callable[[Sequence[Sequence[Any]]], Any]] = {
    BulkMethod.ROWS: lambda columns: list(zip(*columns, strict=True)),
    BulkMethod.COPY: _copy_text,
    BulkMethod.ARRAYS: lambda columns: list(map(list, columns)),
}
