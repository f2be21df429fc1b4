"""Rows come into SQLite as they are, whatever form their columns have and however many there are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.columns import DictionaryColumn
from airflow_provider_winsms.sql.value_rows import value_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"]))


def inserted(columns: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    names = ", ".join(f"c{index}" for index in range(len(columns)))
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"CREATE TABLE t ({names})")
        for places, values in value_rows(columns):
            # SQLite before 3.32 takes no more.
            database.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
            database.executemany(f"INSERT INTO t ({names}) VALUES {places}", values)  # noqa: S608 - ours
        return database.execute("SELECT * FROM t ORDER BY rowid").fetchall()


@st.composite
def tables(draw: st.DrawFn) -> list[Sequence[Any]]:
    length = draw(st.integers(0, 3) | st.sampled_from([49, 50, 51, 100, 120]))
    keys = [index % 3 for index in range(length)]
    found: list[Sequence[Any]] = []
    for _ in range(draw(st.integers(1, 30))):
        one, other = draw(VALUES), draw(VALUES)
        found.append(
            draw(
                st.sampled_from(
                    [
                        DictionaryColumn.constant(one, length),
                        DictionaryColumn(keys, {0: one, 1: other, 2: None}),
                        [one if index % 2 else index for index in range(length)],
                    ]
                )
            )
        )
    return found


@given(tables())
def test_each_row_is_inserted_once_and_in_its_order(columns: list[Sequence[Any]]) -> None:
    assert inserted(columns) == list(zip(*columns, strict=True))


@pytest.mark.parametrize("empty", [[], [[]], [DictionaryColumn.constant("a", 0), []]])
def test_no_rows_are_no_statement(empty: list[Sequence[Any]]) -> None:
    assert value_rows(empty) == []


def test_a_shared_value_is_bound_once_in_a_statement() -> None:
    run = DictionaryColumn.constant("run", 3)
    assert value_rows([[1, 2, 3], run]) == [("(?2, ?1), (?3, ?1), (?4, ?1)", [("run", 1, 2, 3)])]
    assert value_rows([run, run]) == [("(?2, ?1), (?3, ?1), (?4, ?1)", [("run", "run", "run", "run")])]
