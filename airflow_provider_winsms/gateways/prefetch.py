"""Prefetching: the next requests are in flight while the caller works on an earlier answer."""

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


def prefetch(
    work: Callable[[A], B], items: Iterable[A], workers: int, *, buffered: int = 0
) -> Generator[tuple[A, B], None, None]:
    """Yield each item with its result, in order, while threads work on the next items.

    An item is taken only when a thread or the buffer has room for it, so it may depend on earlier results.
    Close the generator if you do not exhaust it: work that has not begun is then cancelled, and running work
    is not waited for.

    :param work: makes the result of an item; runs in threads.
    :param workers: the number of threads.
    :param buffered: how many results may wait, so that the threads go on while the caller is busy.
    """
    pool = ThreadPoolExecutor(workers, "sms-prefetch")
    remaining = iter(items)
    pending: deque[tuple[A, Future[B]]] = deque()
    is_done = False

    def submit(count: int) -> None:
        pending.extend((item, pool.submit(work, item)) for item in islice(remaining, count))

    try:
        submit(workers + buffered)
        while pending:
            item, future = pending.popleft()
            result = future.result()
            submit(workers + buffered - len(pending))
            yield item, result
        is_done = True
    finally:
        # An error need not wait for requests that only read.
        pool.shutdown(wait=is_done, cancel_futures=True)
