"""What keeps a test alone that several processes would run beside others."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

SOON, AT_LAST = 0.05, 10.0


class Other:
    """A test of another process; a thread, as each lock is of a file that is opened for it."""

    def __init__(self, turn: Callable[[], AbstractContextManager[None]]) -> None:
        self._turn = turn
        self._may_end = threading.Event()
        self._has_begun = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with self._turn():
            self._has_begun.set()
            self._may_end.wait(AT_LAST)

    def has_begun(self, within: float = AT_LAST) -> bool:
        return self._has_begun.wait(within)

    def end(self) -> None:
        self._may_end.set()
        self._thread.join()


@contextmanager
def running(*others: Other) -> Iterator[None]:
    try:
        yield
    finally:
        for other in others:
            other.end()


def test_tests_run_side_by_side(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    with turns.side_by_side(), running(other := Other(turns.side_by_side)):
        assert other.has_begun()


def test_no_test_runs_beside_one_that_is_alone(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    with turns.alone():
        others = Other(turns.side_by_side), Other(turns.alone)
        assert not any(other.has_begun(SOON) for other in others)
    with running(*others):
        assert any(other.has_begun() for other in others)


def test_one_that_waits_to_be_alone_goes_before_those_that_come_later(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    with turns.side_by_side():
        alone = Other(turns.alone)
        assert not alone.has_begun(SOON)
        later = Other(turns.side_by_side)
        assert not later.has_begun(SOON)
    assert alone.has_begun()
    assert not later.has_begun(SOON)
    alone.end()
    with running(later):
        assert later.has_begun()
