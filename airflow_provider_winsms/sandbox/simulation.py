"""One account of the gateway and its time, without a network."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_winsms.sandbox.account import Account
from airflow_provider_winsms.sandbox.clock import SandboxClock, resumed
from airflow_provider_winsms.sandbox.inbox import Inbox
from airflow_provider_winsms.sandbox.outbox import Outbox
from airflow_provider_winsms.sandbox.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Simulation:
    """An account with its texts and replies. Parameters are those of ``LoopbackGateway``.

    :param start: its time at the start of a new state, in seconds since the epoch.
    :param tenths: the credits of a new account, in tenths.
    """

    def __init__(
        self,
        *,
        start: float,
        speed: float,
        seed: int,
        tenths: int,
        state: str | Path | None,
        optouts_in_incoming: bool,
        newest_first: bool,
    ) -> None:
        self.clock = SandboxClock(start, speed)
        self.lock = threading.RLock()
        """Held during a transaction."""
        self._state = State(state, tenths)
        self.account = Account(self._state)
        self.inbox = Inbox(self._state, optouts_in_incoming=optouts_in_incoming)
        self.outbox = Outbox(self._state, self.account, self.inbox, seed, newest_first=newest_first)
        if seen := self._state.clock():
            self.clock = SandboxClock(resumed(*seen, speed), speed)

    @contextmanager
    def transaction(self) -> Iterator[float]:
        """Commit one change, after everything that fell due before it, as a whole or not at all."""
        with self.lock:
            now = self.clock.now()
            with self._state.transaction(now):
                self.outbox.send_due(now)
                self.inbox.deliver_replies(now)
                yield now

    def advance(self, seconds: float) -> None:
        """Advance its time. Everything that falls due happens."""
        with self.lock:
            self.clock.advance(seconds)
            with self.transaction():
                pass

    def clear(self) -> None:
        """Delete everything but the time, inside a transaction."""
        self._state.clear()

    def close(self) -> None:
        """Write the state to its file, and close it."""
        with self.lock:
            with self.transaction():
                pass
            self._state.close()
