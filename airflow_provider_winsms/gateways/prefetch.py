"""Asking ahead: some requests are on their way while the answer to an earlier one is worked on."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
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
