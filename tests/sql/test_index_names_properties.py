from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.sql.names import index_name

TABLES = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,62}\Z")


@given(TABLES, TABLES)
def test_names_of_indexes_are_short_enough_and_differ_as_their_tables_do(table: str, other: str) -> None:
    name = index_name(table, ["reference"])
    assert len(name) <= 63
    assert name.endswith("_reference")
    assert (name == index_name(other, ["reference"])) == (table == other)
