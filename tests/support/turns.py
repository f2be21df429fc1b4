"""Turns of tests that run in several processes: side by side, or one of them alone."""

from __future__ import annotations

import fcntl
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Turns:
    """Locks that the processes of one run share.

    :param folder: the same for all of them.
    """

    def __init__(self, folder: Path) -> None:
        self._door = folder / "door.lock"
        self._room = folder / "room.lock"

    @contextmanager
    def side_by_side(self) -> Iterator[None]:
        """Wait for the test that is alone, and for the one that waits to be alone, to end."""
        with ExitStack() as stack:
            with _locked(self._door, fcntl.LOCK_EX):
                stack.enter_context(_locked(self._room, fcntl.LOCK_SH))
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other test begin, and wait for those that run to end."""
        with _locked(self._door, fcntl.LOCK_EX), _locked(self._room, fcntl.LOCK_EX):
            yield


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, kind)
        try:
            yield
        finally:
            # A process that the test forked may have the file still open.
            fcntl.flock(file, fcntl.LOCK_UN)
