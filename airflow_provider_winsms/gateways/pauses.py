"""Pauses of a thread that decodes an answer, so that an event loop can run.

A thread that asks for Python's interpreter lock gets it after 5 milliseconds, and an event loop asks several
times per iteration. A thread that sleeps for a moment releases the lock at once.
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
_ROWS_PER_PAUSE = 64

_is_pausing: ContextVar[bool] = ContextVar("is_pausing", default=False)


@contextmanager
def exclusive_reading(lock: AbstractContextManager[object]) -> Iterator[None]:
    """Hold the lock, and let ``with_pauses`` pause in this context."""
    with lock:
        token = _is_pausing.set(True)
        try:
            yield
        finally:
            _is_pausing.reset(token)


def with_pauses(rows: Iterable[T]) -> Iterator[T]:
    """Yield rows, with pauses in the context of ``exclusive_reading``."""
    return _paused(rows) if _is_pausing.get() else iter(rows)


def _paused(rows: Iterable[T]) -> Iterator[T]:
    for count, row in enumerate(rows, start=1):
        yield row
        if count % _ROWS_PER_PAUSE == 0:
            time.sleep(_PAUSE)
