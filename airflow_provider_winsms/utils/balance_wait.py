"""A wait for a balance as a task runs it: on its worker, or deferred."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_winsms.polling.balance import BalanceResult, BalanceWait, UnreadableBalance
from airflow_provider_winsms.utils.worker_wait import WorkerWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.runtime import Log


class BalanceWorkerWait(WorkerWait[BalanceWait]):
    """The wait for a balance of one try on its worker."""

    def __init__(self, wait: BalanceWait, hook: SmsHook, now: Callable[[], float], log: Log) -> None:
        super().__init__(wait, hook, now, log)
        self._tracker = wait.tracker()
        self._unreadable = UnreadableBalance(log)

    @property
    def is_settled(self) -> bool:
        """Whether the balance is enough."""
        return self._tracker.is_settled

    @property
    def result(self) -> BalanceResult:
        """The result if it ends now."""
        return BalanceResult(self._tracker.last, self.wait.sms_conn_id, self._trouble)

    def rest(self) -> BalanceWait:
        """Return the wait from the next look on."""
        return replace(self.wait, first_at=self._now() + self.pause())

    def _look(self) -> None:
        balance = self._hook.get_balance()
        self._unreadable.name(balance)
        self._tracker.record([balance], self._now())
        self._log.info("%s.", self._tracker.last)
