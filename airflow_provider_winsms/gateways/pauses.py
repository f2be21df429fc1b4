"""Pauses that a thread makes while it reads an answer, so that an event loop has its turn.

Python takes its interpreter lock from a thread 5 milliseconds after another one wants it, and an event loop
wants it several times in one turn. A thread that sleeps for a moment hands the lock on at once.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

T = TypeVar("T")

_PAUSE = 50e-6
_ROWS_AT_A_STRETCH = 64

_makes_pauses: ContextVar[bool] = ContextVar("makes_pauses", default=False)


@contextmanager
def reading_in_turn(lock: AbstractContextManager[object]) -> Iterator[None]:
    """Read while no other thread with this lock does; ``with_pauses`` makes pauses meanwhile."""
    with lock:
        token = _makes_pauses.set(True)
        try:
            yield
        finally:
            _makes_pauses.reset(token)


def with_pauses(rows: Iterable[T]) -> Iterator[T]:
    """Walk through rows, with pauses if this thread reads in turn."""
    return _walk(rows) if _makes_pauses.get() else iter(rows)


def _walk(rows: Iterable[T]) -> Iterator[T]:
    for count, row in enumerate(rows, start=1):
        yield row
        if count % _ROWS_AT_A_STRETCH == 0:
            time.sleep(_PAUSE)
