"""A wait as a task runs it on its worker: it looks, and after a temporary failure it waits longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from airflow_provider_winsms.exceptions import GatewayUnavailable, LedgerUnavailable, SendStopped
from airflow_provider_winsms.gateways.backoff import back_off
from airflow_provider_winsms.polling.schedule import SHORTEST_PAUSE

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.polling.schedule import Schedule
    from airflow_provider_winsms.runtime import Clock, Log

RESUMED = "Resuming after the wait in the triggerer."
"""Begins the log of a task that its trigger woke."""


class Wait(Protocol):
    """The times of a wait, in seconds; instants are since the epoch."""

    @property
    def schedule(self) -> Schedule:
        """When to look."""

    @property
    def shortest_pause(self) -> float:
        """The pause after a failure is no shorter."""

    @property
    def first_at(self) -> float:
        """When to look first."""

    @property
    def end_at(self) -> float:
        """When to stop."""


_MAX_SLEEP = 1.0
"""The longest sleep in seconds, so that a task notices soon that it is killed."""

W = TypeVar("W", bound=Wait)


class WorkerWait(Generic[W]):
    """The wait of one try on its worker. A subclass says what it looks at.

    :param now: returns seconds since the epoch.
    """

    def __init__(self, wait: W, hook: SmsHook, now: Callable[[], float], log: Log) -> None:
        self.wait = wait
        self._hook = hook
        self._now = now
        self._log = log
        self._failures = 0
        self._not_before = wait.first_at
        self._trouble = ""

    @property
    def is_settled(self) -> bool:
        """Whether waiting longer changes nothing."""
        raise NotImplementedError

    @property
    def result(self) -> Any:
        """The result if it ends now."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether it is settled, or its end is reached."""
        return self.is_settled or self._now() >= self.wait.end_at

    def pause(self) -> float:
        """Return the seconds until the next look."""
        now = self._now()
        next_at = max(now + self.wait.schedule.pause(now), self._not_before)
        return max(0.0, min(next_at, self.wait.end_at) - now)

    def look(self) -> None:
        """Ask the gateway, unless a back-off is on.

        :raises SmsError: a permanent one, as it comes.
        """
        if self._now() < self._not_before:
            return
        try:
            self._look()
        except (GatewayUnavailable, LedgerUnavailable) as error:
            if error.is_permanent:
                raise
            self._failures += 1
            self._trouble = str(error)
            retry_after = error.retry_after if isinstance(error, GatewayUnavailable) else None
            pause = back_off(max(self.wait.shortest_pause, SHORTEST_PAUSE), self._failures, retry_after)
            self._log.warning("%s Asking again in %.0f seconds.", error, pause)
            self._not_before = self._now() + pause
        else:
            self._failures, self._trouble = 0, ""

    def run(self, sleep: Callable[[float], None]) -> Any:
        """Look until it is over, and return the result.

        :raises SmsError: as ``look`` does.
        """
        self.look()
        while not self.is_over:
            sleep(self.pause())
            self.look()
        return self.result

    def _look(self) -> None:
        raise NotImplementedError


def sleep_unless_killed(clock: Clock, seconds: float, is_killed: Callable[[], bool]) -> None:
    """Sleep, and look every few seconds whether the task is being killed.

    :raises SendStopped: if it is.
    """
    while seconds > 0 and not is_killed():
        clock.sleep(min(seconds, _MAX_SLEEP))
        seconds -= _MAX_SLEEP
    if is_killed():
        msg = "The task is being killed while it waits. All sent texts stay sent. A later try waits again."
        raise SendStopped(msg)
