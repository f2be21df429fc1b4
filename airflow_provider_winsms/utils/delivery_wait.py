"""A wait for delivery as a task runs it: on its worker, or deferred. The sensor and the sends share it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_winsms.delivery.events import WaitResult
from airflow_provider_winsms.delivery.schedule import SHORTEST_PAUSE
from airflow_provider_winsms.delivery.tracker import UnreadableIds
from airflow_provider_winsms.exceptions import GatewayUnavailable, LedgerUnavailable
from airflow_provider_winsms.gateways.backoff import back_off
from airflow_provider_winsms.ledger.base import LedgerAddress
from airflow_provider_winsms.utils.batches import ledger_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_provider_winsms.delivery.wait import DeliveryWait
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.runtime import Log

WAITING_FOR_KEY = "waiting_for"
"""The XCom key for the ids of a sensor that defers with many ids."""


class WorkerWait:
    """The wait of one try on its worker.

    :param now: returns seconds since the epoch.
    """

    def __init__(
        self,
        wait: DeliveryWait,
        message_ids: Iterable[MessageId],
        hook: SmsHook,
        now: Callable[[], float],
        log: Log,
    ) -> None:
        self.wait = wait
        self._tracker = wait.tracker(message_ids)
        self._hook = hook
        self._now = now
        self._log = log
        self._failures = 0
        self._unreadable = UnreadableIds()
        self._not_before = wait.first_at
        self._trouble = ""

    @property
    def message_ids(self) -> Sequence[MessageId]:
        """All ids, in their order."""
        return self._tracker.message_ids

    @property
    def is_settled(self) -> bool:
        """Whether waiting longer changes nothing."""
        return self._tracker.is_settled

    @property
    def is_over(self) -> bool:
        """Whether it is settled, or its end is reached."""
        return self.is_settled or self._now() >= self.wait.end_at

    @property
    def result(self) -> WaitResult:
        """The result if it ends now."""
        return WaitResult(self._tracker.outcome(), not self.is_settled, self._trouble)

    def run(self, sleep: Callable[[float], None]) -> WaitResult:
        """Look until it is over, and return the result.

        :raises SmsError: as ``look`` does.
        """
        self.look()
        while not self.is_over:
            sleep(self.pause())
            self.look()
        return self.result

    def pause(self) -> float:
        """Return the seconds until the next look."""
        now = self._now()
        next_at = max(now + self.wait.schedule.pause(now), self._not_before)
        return max(0.0, min(next_at, self.wait.end_at) - now)

    def look(self) -> None:
        """Ask for the open texts, unless a back-off is on.

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

    def _look(self) -> None:
        from airflow_provider_winsms.ledger.reports import DeliveryReports

        with ExitStack() as stack:
            written = None
            if self.wait.ledger is not None:
                written = DeliveryReports(stack.enter_context(ledger_at(*self.wait.ledger)))
            for call in self._tracker.calls(self._hook.gateway):
                reports = self._hook.execute(call)
                self._unreadable.name(reports.unreadable, self._log)
                if written is not None and (changes := self._tracker.changes(reports)):
                    written.record_reports(changes)
                self._tracker.record(reports, self._now())


def defer(task: BaseOperator, wait: DeliveryWait, now: float) -> NoReturn:
    """Continue a wait in the triggerer. The task resumes in ``execute_complete``, with a delivery event."""
    from airflow_provider_winsms.triggers.sms import SmsDeliveryTrigger

    task.defer(
        trigger=SmsDeliveryTrigger(wait),
        method_name="execute_complete",
        timeout=wait.deferral_timeout(now),
    )


def xcom_of(context: Context, key: str) -> dict[str, Any]:
    """Return the reference to an XCom of the running task: the arguments of ``XCom.get_one``."""
    instance = context["ti"]
    return {
        "key": key,
        "dag_id": instance.dag_id,
        "run_id": instance.run_id,
        "task_id": instance.task_id,
        "map_index": instance.map_index,
    }


def ledger_address(conn_id: str | None, prefix: str) -> LedgerAddress | None:
    """Return the ledger that reports are written into, or ``None`` without a connection."""
    return None if conn_id is None else LedgerAddress(conn_id, prefix)
