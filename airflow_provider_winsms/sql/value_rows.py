"""Rows for SQLite's statements that insert many rows each. A value that they share is bound once for all."""

from __future__ import annotations

from functools import lru_cache
from itertools import compress, count
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_winsms.columns import DictionaryColumn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST_ROWS = 50
"""With more rows a statement takes no less time for each."""

_MOST_VALUES = 900
"""SQLite before 3.32 takes 999 values in a statement."""


Statements: TypeAlias = "list[tuple[str, list[tuple[Any, ...]]]]"
"""What follows ``VALUES`` in a statement, and the values of each of its executions."""


def value_rows(columns: Sequence[Sequence[Any]]) -> Statements:
    """Return the statements that insert rows, given as columns of equal length."""
    if not columns or not columns[0]:
        return []
    shares = [isinstance(each, DictionaryColumn) and each.is_constant for each in columns]
    # A row has at least one value of its own.
    shares[0] = shares[0] and not all(shares)
    shared = tuple(each[0] for each in compress(columns, shares))
    own = [each for each, is_shared in zip(columns, shares, strict=True) if not is_shared]
    values: list[Any] = [None] * sum(map(len, own))
    for index, column in enumerate(own):
        values[index :: len(own)] = column
    return [
        (_places(tuple(shares), rows), [(*shared, *part) for part in parts])
        for rows, parts in _parts(values, len(own))
    ]


def _parts(values: list[Any], width: int) -> Iterator[tuple[int, list[list[Any]]]]:
    """Cut values into equal parts of many rows, and a rest; each with its number of rows."""
    rows = max(1, min(_MOST_ROWS, _MOST_VALUES // width))
    whole = len(values) // (rows * width) * (rows * width)
    if whole:
        yield rows, [values[at : at + rows * width] for at in range(0, whole, rows * width)]
    if whole < len(values):
        yield (len(values) - whole) // width, [values[whole:]]


@lru_cache(maxsize=256)
def _places(shares: tuple[bool, ...], rows: int) -> str:
    """Return the numbered placeholders of rows: those of shared values come first.

    :param shares: which columns have a shared value.
    """
    own = count(1 + sum(shares))
    return ", ".join(_row(shares, own) for _ in range(rows))


def _row(shares: tuple[bool, ...], own: Iterator[int]) -> str:
    shared = count(1)
    return f"({', '.join(f'?{next(shared if is_shared else own)}' for is_shared in shares)})"
