"""The text for COPY says the same whatever form the columns have."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.columns import DictionaryColumn
from airflow_provider_winsms.sql.copy_text import copy_text

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\\\t\n\r\bN."), max_size=8)
KINDS: list[st.SearchStrategy[Any]] = [
    TEXTS,
    TEXTS | st.none(),
    st.integers(),
    st.integers() | st.none(),
    st.sampled_from(["5000000000", "27825550101"]),
    st.datetimes(timezones=st.just(UTC)) | st.none(),
    st.decimals(allow_nan=False, allow_infinity=False, places=4) | st.none(),
    st.none(),
]
UNESCAPED = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


@st.composite
def columns(draw: st.DrawFn) -> list[Sequence[Any]]:
    length = draw(st.integers(0, 4))
    keys = draw(st.lists(st.integers(0, 2), min_size=length, max_size=length))
    found: list[Sequence[Any]] = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(KINDS))
        form = draw(st.integers(0, 3))
        if form == 0:
            found.append(DictionaryColumn.constant(draw(kind), length))
        elif form == 1:
            found.append(DictionaryColumn(keys, {key: draw(kind) for key in sorted(set(keys))}))
        elif form == 2:
            found.append(DictionaryColumn(range(length), dict(enumerate(draw(many(kind, length))))))
        else:
            found.append(draw(many(kind, length)))
    return found


def many(kind: st.SearchStrategy[Any], length: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(kind, min_size=length, max_size=length)


def parsed(text: str) -> list[list[str | None]]:
    """Read the text format as PostgreSQL documents it."""
    return [[cell_value(cell) for cell in line.split("\t")] for line in text.split("\n")[:-1]]


def cell_value(cell: str) -> str | None:
    if cell == "\\N":
        return None
    first, *rest = cell.replace("\\\\", "\\\0").split("\\")
    return first + "".join(
        "\\" + part[1:] if part[0] == "\0" else UNESCAPED[part[0]] + part[1:] for part in rest
    )


@given(columns())
def test_each_row_is_a_line_that_is_read_back_as_its_values(columns: list[Sequence[Any]]) -> None:
    rows = [[None if value is None else str(value) for value in row] for row in zip(*columns, strict=True)]
    assert parsed(copy_text(columns).decode()) == rows


@pytest.mark.parametrize("empty", [[], [[]], [DictionaryColumn.constant("a", 0), []]])
def test_no_rows_are_no_line(empty: list[Sequence[Any]]) -> None:
    assert copy_text(empty) == b""


def test_values_of_any_kind_are_the_words_of_postgresql() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert copy_text([["a\\\t"], [7], [None], [moment], [Decimal("1.50")]]) == (
        b"a\\\\\\t\t7\t\\N\t2026-01-02 03:04:05.000006+00:00\t1.50\n"
    )
