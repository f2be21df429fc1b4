"""Asking ahead: some requests are on their way while the answer to an earlier one is worked on."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_winsms.exceptions import GatewayUnavailable, SendStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future

A = TypeVar("A")
B = TypeVar("B")


def ahead(
    work: Callable[[A], B], items: Iterable[A], most: int, *, kept: int = 0
) -> Generator[tuple[A, B], None, None]:
    """Yield each item with what work makes of it, in their order, while those that follow are worked on.

    Items are taken when there is room, so that they may depend on what was yielded before. Close it if it is
    not exhausted: what has not begun is then left, and what has is not waited for.

    :param work: runs in threads.
    :param most: how many of them.
    :param kept: how many results may wait besides, so that the threads go on while the caller is busy.
    """
    pool = ThreadPoolExecutor(most, "sms-ahead")
    coming = iter(items)
    waiting: deque[tuple[A, Future[B]]] = deque()
    is_done = False
    try:
        waiting.extend((item, pool.submit(work, item)) for item in islice(coming, most + kept))
        while waiting:
            item, future = waiting.popleft()
            result = future.result()
            room = most + kept - len(waiting)
            waiting.extend((each, pool.submit(work, each)) for each in islice(coming, room))
            yield item, result
        is_done = True
    finally:
        # What fails has not to wait for requests that only read.
        pool.shutdown(wait=is_done, cancel_futures=True)


class Throttle:
    """How many requests may be on their way: fewer where the gateway has trouble, and more again later.

    Trouble is a 429, a 5xx, or no answer: it halves the number. As many answers as it allows add one.

    :param most: the most there may be.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._allowed = most
        self._under_way = 0
        self._answered = 0
        self._is_stopped = False
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        """How many may be on their way now."""
        return self._allowed

    def stop(self) -> None:
        """Let no further request leave; one that failed is not tried again."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def heed_stop(self) -> None:
        """Go on only if nobody said to stop.

        :raises SendStopped: if somebody did.
        """
        if self._is_stopped:
            msg = "The task is being killed; nothing more is asked. A later try goes on."
            raise SendStopped(msg)

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Wait until a request may leave, and watch how it fares: it is carried out in this context.

        :raises SendStopped: if none may leave any more.
        """
        self._begin()
        try:
            yield
        except GatewayUnavailable:
            self._end(is_answered=False)
            raise
        except BaseException:
            self._leave()
            raise
        self._end(is_answered=True)

    def _begin(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._under_way < self._allowed)
            self.heed_stop()
            self._under_way += 1

    def _leave(self) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def _end(self, *, is_answered: bool) -> None:
        with self._changed:
            if is_answered:
                self._answered += 1
                if self._answered >= self._allowed < self.most:
                    self._allowed, self._answered = self._allowed + 1, 0
            else:
                self._allowed, self._answered = max(1, self._allowed // 2), 0
        self._leave()
