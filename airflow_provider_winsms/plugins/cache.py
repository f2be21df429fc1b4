"""Answers of slow places, shared by all who ask for them at about the same time."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from cachetools import TTLCache

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")

_MOST_ANSWERS = 64
_READERS = 4


class SharedAnswers:
    """Reads each answer once for all who ask within some seconds. Nobody waits longer than a deadline.

    A place that does not answer keeps one of a few threads busy, whoever asks.

    :param lifetime: the seconds for which an answer, or its error, is used again.
    :param deadline: the seconds that anybody waits.
    """

    def __init__(self, lifetime: float, deadline: float) -> None:
        self.deadline = deadline
        self._futures: TTLCache[Hashable, Future[Any]] = TTLCache(_MOST_ANSWERS, lifetime)
        self._lock = Lock()
        self._executor = ThreadPoolExecutor(_READERS, thread_name_prefix="sms-page")

    def ask(self, key: Hashable, read: Callable[[], T]) -> Callable[[], T]:
        """Begin to read an answer, unless that has begun, and return what waits for it.

        The wait raises ``TimeoutError`` if there is no answer within the deadline. The answer is read all the
        same, for whoever asks next.
        """
        with self._lock:
            future = self._futures.get(key)
            if future is None:
                future = self._futures[key] = self._executor.submit(read)
        return partial(future.result, self.deadline)
