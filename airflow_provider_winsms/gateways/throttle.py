"""How many requests may be on their way at once."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import GatewayUnavailable, SendStopped

if TYPE_CHECKING:
    from collections.abc import Iterator


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

    def raise_if_stopped(self) -> None:
        """Go on only if nobody said to stop.

        :raises SendStopped: if somebody did.
        """
        if self._is_stopped:
            msg = "The task is being killed; nothing more is asked. A later try goes on."
            raise SendStopped(msg)

    @contextmanager
    def slot(self) -> Iterator[None]:
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
            self.raise_if_stopped()
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
