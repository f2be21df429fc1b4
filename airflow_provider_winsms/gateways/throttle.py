"""The adaptive limit of concurrent requests."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import GatewayUnavailable, SendStopped

if TYPE_CHECKING:
    from collections.abc import Iterator


class Throttle:
    """The limit of requests in flight: lower while the gateway has trouble, and higher again later.

    A 429, a 5xx or a lost answer halves the limit. As many answers as the limit raise it by one.

    :param most: the highest limit.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._allowed = most
        self._in_flight = 0
        self._answered = 0
        self._is_stopped = False
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        """The limit now."""
        return self._allowed

    def stop(self) -> None:
        """Let no further request leave, not even a retry."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def raise_if_stopped(self) -> None:
        """Check that ``stop`` was not called.

        :raises SendStopped: it was.
        """
        if self._is_stopped:
            msg = "The task is being killed; nothing more is asked. A later try goes on."
            raise SendStopped(msg)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait until a request may leave, and record its outcome. Execute the request in this context.

        :raises SendStopped: no further request may leave.
        """
        self._acquire()
        try:
            yield
        except GatewayUnavailable:
            self._record(is_answered=False)
            raise
        except BaseException:
            self._release()
            raise
        self._record(is_answered=True)

    def _acquire(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._in_flight < self._allowed)
            self.raise_if_stopped()
            self._in_flight += 1

    def _release(self) -> None:
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def _record(self, *, is_answered: bool) -> None:
        with self._changed:
            if is_answered:
                self._answered += 1
                if self._answered >= self._allowed < self.most:
                    self._allowed, self._answered = self._allowed + 1, 0
            else:
                self._allowed, self._answered = max(1, self._allowed // 2), 0
        self._release()
