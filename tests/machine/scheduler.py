"""Runs two processes in turns. The order and the number of steps are fixed before they start."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class StepScheduler:
    """Runs programs one at a time, each as a thread that waits for its turn.

    :param slices: how many steps pass until the other one's turn comes, each time; after the last one,
        whoever runs goes on to the end.
    """

    def __init__(self, slices: Iterable[int]) -> None:
        self._slices = iter(slices)
        self._left = next(self._slices, -1)
        self._current = 0
        self._running: list[bool] = []
        self._gates: list[threading.Semaphore] = []
        self._over = threading.Semaphore(0)
        self._errors: list[BaseException] = []

    def run(self, *programs: Callable[[], None]) -> None:
        """Run programs to their ends, the first one first; raise what one of them raised."""
        self._running = [True] * len(programs)
        if len(programs) == 1:
            programs[0]()
            return
        self._gates = [threading.Semaphore(0) for _ in programs]
        threads = [
            threading.Thread(target=self._play, args=(number, program))
            for number, program in enumerate(programs)
        ]
        for thread in threads:
            thread.start()
        self._gates[0].release()
        self._over.acquire()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def step(self) -> None:
        """Count a step of whoever runs; it may have to wait here until its turn comes again."""
        self._left -= 1
        me, other = self._current, 1 - self._current
        if self._left != 0 or len(self._running) == 1 or not self._running[other]:
            return
        self._left, self._current = next(self._slices, -1), other
        self._gates[other].release()
        self._gates[me].acquire()

    def _play(self, me: int, program: Callable[[], None]) -> None:
        self._gates[me].acquire()
        try:
            program()
        except BaseException as error:  # noqa: BLE001 - raised again on the thread of run
            self._errors.append(error)
        self._running[me] = False
        other = 1 - me
        if self._running[other]:
            self._left, self._current = -1, other
            self._gates[other].release()
        else:
            self._over.release()
