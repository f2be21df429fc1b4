"""Rows in the form that a database's bulk path takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import StringIO
from types import NoneType
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.sql.dialects import BulkMethod
from airflow_provider_winsms.sql.errors import TOO_LARGE, PacketTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_VALUE_BYTES = 40
"""The most that a number or a moment takes in a statement, and what stands between texts."""

_COPY_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
"""The backslash comes first, as it is in the others."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows, in the shape in which a database takes them fastest."""

    length: int
    content: Any = field(repr=False)


def cut_by_bytes(rows: Iterable[tuple[Any, ...]], room: int) -> Iterator[list[tuple[Any, ...]]]:
    """Cut rows into lists that take no more bytes in a statement than there is room.

    :raises PacketTooLarge: if there is none for a single row.
    """
    alike: list[tuple[Any, ...]] = []
    left = room
    for row in rows:
        size = _most_bytes(row)
        if size > left and alike:
            yield alike
            alike, left = [], room
        if size > room and sum(len(str(value).encode()) for value in row) > room:
            raise PacketTooLarge(TOO_LARGE)
        alike.append(row)
        left -= size
    if alike:
        yield alike


def _most_bytes(row: tuple[Any, ...]) -> int:
    """Return how many bytes a row takes in a statement at most, with a backslash before each of a text."""
    return sum(
        _VALUE_BYTES + 2 * len(value if value.isascii() else value.encode())
        if isinstance(value, str)
        else _VALUE_BYTES
        for value in row
    )


def copy_in(cursor: Any, statement: str, texts: Iterable[str]) -> None:
    """Stream rows, through psycopg 3 or 2."""
    if hasattr(cursor, "copy_expert"):
        cursor.copy_expert(statement, StringIO("".join(texts)))
    else:
        with cursor.copy(statement) as stream:
            for text in texts:
                stream.write(text)


def _copy_text(columns: Sequence[Sequence[Any]]) -> str:
    """Return rows as PostgreSQL's text format has them."""
    varied = list(columns)
    ending = "\n"
    # What all rows end with is written once, and goes between them.
    while len(varied) > 1 and _is_constant(varied[-1]):
        ending = f"\t{_copy_cell(varied.pop()[0])}{ending}"
    rows = ending.join(map("\t".join, zip(*map(_copy_cells, varied), strict=True)))
    return f"{rows}{ending}" if columns and columns[0] else ""


def _is_constant(values: Sequence[Any]) -> bool:
    return len(values) > 0 and values[0] is values[-1] and list(values).count(values[0]) == len(values)


def _copy_cells(values: Sequence[Any]) -> Iterable[str]:
    kinds = set(map(type, values))
    if kinds == {int}:
        return map(str, values)
    if kinds == {str}:
        return _copy_texts(values)
    if kinds <= {int, NoneType}:
        return ["\\N" if value is None else str(value) for value in values]
    # The same moment, or the same word, stands in many rows, and is one object there.
    single = dict(zip(map(id, values), values, strict=True))
    cells = {place: _copy_cell(value) for place, value in single.items()}
    return map(cells.__getitem__, map(id, values))


def _copy_texts(values: Sequence[str]) -> Sequence[str]:
    """Escape all at once, which is many times faster. None holds a NUL, as no column takes one."""
    together = "\0".join(values)
    if not any(special in together for special in _COPY_ESCAPES):
        return values
    escaped = _escaped(together).split("\0")
    return escaped if len(escaped) == len(values) else list(map(_escaped, values))


def _copy_cell(value: Any) -> str:
    if isinstance(value, str):
        return _escaped(value)
    return "\\N" if value is None else str(value)


def _escaped(text: str) -> str:
    for special, escape in _COPY_ESCAPES.items():
        text = text.replace(special, escape)
    return text


ENCODERS: Mapping[BulkMethod, Callable[[Sequence[Sequence[Any]]], Any]] = {
    BulkMethod.ROWS: lambda columns: list(zip(*columns, strict=True)),
    BulkMethod.COPY: _copy_text,
    BulkMethod.ARRAYS: lambda columns: list(map(list, columns)),
}
