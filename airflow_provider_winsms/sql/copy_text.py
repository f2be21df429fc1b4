"""Rows in the text format of PostgreSQL's COPY.

A row is joined of few texts: columns beside each other whose values depend on the same key are one text.
"""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.columns import DictionaryColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NULL = "\\N"


def copy_text(columns: Sequence[Sequence[Any]]) -> bytes:
    """Return rows, given as columns of equal length, in UTF-8."""
    if not columns or not columns[0]:
        return b""
    cells = _merged(map(_cells, columns))
    ending = "\n"
    if len(cells) > 1 and _is_constant(cells[-1]):
        # All rows end alike.
        ending = f"\t{cells.pop()[0]}\n"
    return _encoded(list(map("\t".join, zip(*cells, strict=True))), ending.encode())


def _encoded(rows: Sequence[str], ending: bytes) -> bytes:
    # Each row by itself: one emoji would give each character of a text of all rows four bytes.
    try:
        return ending.join(map(str.encode, rows)) + ending
    except UnicodeEncodeError:
        # Half an emoji, which the database refuses.
        return ending.join([row.encode(errors="surrogatepass") for row in rows]) + ending


def _merged(columns: Iterable[Sequence[str]]) -> list[Sequence[str]]:
    merged: list[Sequence[str]] = []
    for column in columns:
        both = _joined(merged[-1], column) if merged else None
        merged[-1:] = [*merged[-1:], column] if both is None else [both]
    return merged


def _joined(left: Sequence[str], right: Sequence[str]) -> DictionaryColumn[str] | None:
    """Return two neighbours as one column, if that has few distinct cells."""
    if not (isinstance(left, DictionaryColumn) and isinstance(right, DictionaryColumn)):
        return None
    if right.is_constant:
        return left.map(lambda cell: f"{cell}\t{right[0]}")
    if left.is_constant:
        return right.map(lambda cell: f"{left[0]}\t{cell}")
    if left.keys is not right.keys:
        return None
    cells = {key: f"{cell}\t{right.values[key]}" for key, cell in left.values.items()}
    return DictionaryColumn(left.keys, cells)


def _is_constant(column: Sequence[str]) -> bool:
    return isinstance(column, DictionaryColumn) and column.is_constant


def _cells(values: Sequence[Any]) -> Sequence[str]:
    if isinstance(values, DictionaryColumn):
        cells = _cells(list(values.values.values()))
        return DictionaryColumn(values.keys, dict(zip(values.values, cells, strict=True)))
    types = set(map(type, values))
    if types == {int}:
        return list(map(str, values))
    if types == {int, NoneType}:
        return [_NULL if value is None else str(value) for value in values]
    if types != {str}:
        return list(map(_cell, values))
    if all(map(str.isalnum, values)):
        return values
    return [
        _escaped(value) if "\\" in value or "\n" in value or "\t" in value or "\r" in value else value
        for value in values
    ]


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return _escaped(value)
    return _NULL if value is None else str(value)


def _escaped(text: str) -> str:
    # The backslash comes first, as the other escapes contain it.
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
