from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.prove.crash.sample import cell_of, pairs, sampled

if TYPE_CHECKING:
    from tests.prove.crash.sample import Cell

PROMISES = Path(__file__).resolve().parents[3] / "docs" / "promises.md"


@pytest.fixture
def matrix(request: pytest.FixtureRequest) -> list[Cell]:
    """Every cell there is, whichever are asked for."""
    module = request.node.getparent(pytest.Module)
    assert module is not None
    modules = [each for each in module.parent.collect() if isinstance(each, pytest.Module)]
    tests = [test for each in modules if each.path != module.path for test in each.collect()]
    return [cell_of(test) for test in tests if isinstance(test, pytest.Function)]


def test_every_two_circumstances_that_meet_in_the_matrix_meet_in_the_sample(matrix: list[Cell]) -> None:
    sample = [matrix[place] for place in sampled(matrix)]
    assert pairs(sample) == pairs(matrix)
    assert {"case.guarantee", "case.ledger", "case.point.step", "case.point.moment"} <= set().union(*sample)
    assert {"case.blow", "case.fault", "case.is_batch", "case.cancels", "test"} <= set().union(*sample)


def test_what_is_said_of_its_size_is_so(matrix: list[Cell]) -> None:
    words = " ".join(PROMISES.read_text(encoding="utf-8").split())
    assert f"{len(matrix):,} cases" in words
    assert "a sample of some 150" in words
    assert 130 <= len(sampled(matrix)) <= 170
