"""An event loop whose clock moves only while everybody sleeps, and then at once to who wakes first."""

from __future__ import annotations

import asyncio
import functools
import selectors
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

BEGINNING = 1000.0
"""What the clock shows at first; seconds."""


class _Selector(selectors.DefaultSelector):
    """Passes over the time that nobody uses."""

    now = BEGINNING
    turns = 0

    def select(self, timeout: float | None = None) -> Any:
        self.turns += 1
        events = super().select(0)
        if not events:
            if timeout is None:
                msg = "Everybody waits for what never comes."
                raise RuntimeError(msg)
            self.now += max(0.0, timeout)
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Has no use for threads: they live in another time."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    @property
    def turns(self) -> int:
        """How often all who were ready have had their turn."""
        return self._virtual.turns


GUEST = "a guest"
"""The name of a task that may be there as its test ends: it is cancelled, and has to clear up."""


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on a loop of its own, at whose end nothing may be left over."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def main() -> None:
            await test(*args, **kwargs)
            for task in asyncio.all_tasks():
                if task.get_name() == GUEST:
                    task.cancel()
            await asyncio.sleep(1)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"Still running: {left}"

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(main())

    return run
