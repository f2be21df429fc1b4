from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.warehouse.reader import IdSet


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40))))
def test_ids_come_out_once_and_ascending_whatever_order_they_came_in(pages: list[list[int]]) -> None:
    ids = IdSet()
    for page in pages:
        ids.add(page)
    expected = sorted({each for page in pages for each in page})
    assert list(ids.each()) == expected
    assert ids.count() == len(expected)
    assert (ids.low, ids.high) == ((expected[0], expected[-1]) if expected else (None, None))
