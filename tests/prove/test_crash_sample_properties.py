from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from tests.prove.crash.sample import pairs, sampled

if TYPE_CHECKING:
    from tests.prove.crash.sample import Cell

CELLS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3), min_size=1)


@given(st.lists(CELLS))
def test_every_two_circumstances_of_any_cells_meet_in_the_sample_and_no_cell_is_in_it_twice(
    cells: list[Cell],
) -> None:
    places = sampled(cells)
    assert pairs(cells[place] for place in places) == pairs(cells)
    assert len(places) == len(set(places)) <= len(cells)
    assert places == sampled(cells)
