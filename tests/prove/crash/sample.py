"""A sample of cells in which every two circumstances meet that meet in any cell.

Two circumstances are two values of two factors: a guarantee and a blow, say, or a ledger and a moment.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from heapq import heapify, heappop, heappush
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pytest

    Cell = Mapping[str, object]
    Value = tuple[str, object]
    Pair = tuple[Value, Value]


def sampled(cells: Sequence[Cell]) -> list[int]:
    """Return the places of a sample's cells, in order; it is the same each time.

    The cell is taken next that brings the most pairs that are missing, the first one of several.
    """
    missing = [pairs([cell]) for cell in cells]
    best = [(-len(found), place) for place, found in enumerate(missing)]
    heapify(best)
    covered: set[Pair] = set()
    sample = []
    while best:
        promised, place = heappop(best)
        missing[place] -= covered
        gain = len(missing[place])
        if gain == -promised:
            covered |= missing[place]
            sample.append(place)
        elif gain:
            heappush(best, (-gain, place))
    return sorted(sample)


def pairs(cells: Iterable[Cell]) -> set[Pair]:
    """Return all pairs of values that meet in a cell, and each value as a pair with itself."""
    return {
        pair
        for cell in cells
        for pair in combinations_with_replacement(sorted(cell.items(), key=lambda value: value[0]), 2)
    }


def cell_of(test: pytest.Function) -> Cell:
    """Return the factors of a test, each with its value: its function, and all that parametrizes it."""
    parameters = test.callspec.params if hasattr(test, "callspec") else {}
    return {"test": test.originalname, **dict(_factors(parameters))}


def _factors(values: Mapping[str, Any], prefix: str = "") -> Iterator[Value]:
    for name, value in values.items():
        if is_dataclass(value):
            parts = {field.name: getattr(value, field.name) for field in fields(value)}
            yield from _factors(parts, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
