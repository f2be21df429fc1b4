"""Daemon threads that work for an event loop. A process that ends does not wait for them."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class DaemonThreads:
    """A pool of daemon threads. A thread starts when all others are busy.

    A process that ends would wait for the threads of ``concurrent.futures``, and so for a hanging request.

    :param most: the most threads.
    :param name: the name of each thread.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any] | None]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], T]) -> T:
        """Run work in one of the threads, and return its result.

        Cancellation drops work that has not begun, and does not wait for work that runs.
        """
        future: Future[T] = Future()
        with self._lock:
            self._busy += 1
            if len(self._threads) < min(self._busy, self._most):
                self._start()
        self._jobs.put((future, work))
        return await asyncio.wrap_future(future)

    async def end(self, seconds: float) -> None:
        """End the threads, and wait for them, but no longer than so many seconds."""
        ends: list[Future[None]] = [Future() for _ in self._threads]
        for end in ends:
            self._jobs.put((end, None))
        if ends:
            _, still_busy = await asyncio.wait(map(asyncio.wrap_future, ends), timeout=seconds)
            for each in still_busy:
                each.cancel()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while self._execute(*self._jobs.get()):
            with self._lock:
                self._busy -= 1

    @staticmethod
    def _execute(future: Future[Any], work: Callable[[], Any] | None) -> bool:
        """Run a job; return ``False`` if it was the last."""
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work() if work else None)
            # The caller that awaits the future gets every error.
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)
        return work is not None
