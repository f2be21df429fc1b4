"""A wait for delivery as a task runs it: on its worker, or deferred. The sensor and the sends share it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import XCom

from airflow_provider_winsms.delivery.outcome import WaitResult
from airflow_provider_winsms.delivery.progress import WaitProgress
from airflow_provider_winsms.delivery.tracker import UnreadableIds
from airflow_provider_winsms.delivery.wait import DeliveryWait, id_source
from airflow_provider_winsms.exceptions import LedgerUnavailable
from airflow_provider_winsms.ledger.base import LedgerAddress
from airflow_provider_winsms.messages import amount_text
from airflow_provider_winsms.options import NOT_FOUND_GRACE, PARTIAL_RESULT_KEY
from airflow_provider_winsms.polling.schedule import SHORTEST_PAUSE
from airflow_provider_winsms.utils.batches import ledger_at
from airflow_provider_winsms.utils.worker_wait import RESUMED, WorkerWait, sleep_unless_killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_provider_winsms.delivery.outcome import DeliveryEvent
    from airflow_provider_winsms.delivery.wait import IdSource
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.runtime import Clock, Log
    from airflow_provider_winsms.sending.attempt import Sent

WAITING_FOR_KEY = "waiting_for"
"""The XCom key for the ids of a sensor that defers with many ids."""


class DeliveryWorkerWait(WorkerWait[DeliveryWait]):
    """The wait for delivery of one try on its worker.

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
        super().__init__(wait, hook, now, log)
        self._tracker = wait.tracker(message_ids)
        self._progress = WaitProgress(self._tracker, log)
        self._unreadable = UnreadableIds()

    @property
    def message_ids(self) -> Sequence[MessageId]:
        """All ids, in their order."""
        return self._tracker.message_ids

    @property
    def is_settled(self) -> bool:
        """Whether waiting longer changes nothing."""
        return self._tracker.is_settled

    @property
    def result(self) -> WaitResult:
        """The result if it ends now."""
        return WaitResult(self._tracker.outcome(), not self.is_settled, self._trouble)

    def pause(self) -> float:
        """Return the seconds until the next look. Log how far the wait is."""
        pause = super().pause()
        now = self._now()
        self._progress.note(now, now + pause)
        return pause

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SendWait:
    """Waits on the worker or, deferred, in the triggerer. Durations are in seconds.

    :param timeout: how long to wait after the last text is due.
    :param is_killed: returns whether the task is being killed. That ends a wait on the worker.
    """

    task: BaseOperator
    clock: Clock
    sms_conn_id: str
    ledger: LedgerAddress | None
    deferrable: bool
    min_delivered: float
    poll_interval: float
    max_poll_interval: float
    timeout: float
    is_killed: Callable[[], bool]

    def run(self, hook: SmsHook, sent: Sent, context: Context) -> dict[str, Any]:
        """Leave the result of the send in an XCom, wait, and return the result with the delivery.

        :raises DeliveryFailed: if too few texts arrived.
        :raises SendStopped: if the task is killed.
        """
        context["ti"].xcom_push(key=PARTIAL_RESULT_KEY, value=sent.result)
        ids = sent.result["message_ids"]
        source = id_source(ids, xcom_of(context, PARTIAL_RESULT_KEY))
        wait = self._wait(sent, source, hook.gateway.currency)
        worker_wait = DeliveryWorkerWait(wait, ids, hook, self._now, self.task.log)
        if self.deferrable and not worker_wait.is_settled:
            self.task.log.info("Sent; waiting for delivery in the triggerer.")
            defer(self.task, wait, self._now())
        return self._with_delivery(sent.result, worker_wait.run(self._sleep))

    def resume(self, event: DeliveryEvent, context: Context) -> dict[str, Any]:
        """Return the result of the send with the delivery that the trigger found.

        :raises DeliveryFailed: if too few texts arrived.
        :raises SmsError: the permanent error that ended the wait.
        """
        self.task.log.info("%s No text is sent again.", RESUMED)
        result = WaitResult.from_event(event)
        sent: dict[str, Any] | None = XCom.get_one(**xcom_of(context, PARTIAL_RESULT_KEY))
        if sent is None:
            self.task.log.warning("The XCom %s with the result of the send is gone.", PARTIAL_RESULT_KEY)
        return self._with_delivery(sent or {}, result)

    def _wait(self, sent: Sent, source: IdSource, currency: str) -> DeliveryWait:
        now = self.clock.now()
        own = {part.message.send_at for request in sent.plan.requests for part in request.parts}
        # A text without a time of its own leaves when its request does.
        times = {time or now for time in (own - {None}) | (set(sent.held_until) if None in own else set())}
        first_due = max(now, min(times, default=now)).timestamp()
        last_due = max((now, *times)).timestamp()
        return DeliveryWait(
            sms_conn_id=self.sms_conn_id,
            source=source,
            min_delivered=self.min_delivered,
            begins_at=first_due,
            shortest_pause=max(SHORTEST_PAUSE, self.poll_interval),
            longest_pause=self.max_poll_interval,
            first_at=first_due,
            end_at=last_due + self.timeout,
            grace_until=last_due + NOT_FOUND_GRACE,
            ledger=self.ledger,
            currency=currency,
        )

    def _with_delivery(self, sent: dict[str, Any], result: WaitResult) -> dict[str, Any]:
        limit = f"{self.timeout:g} seconds of when they were due"
        charged, log = self._charged(sent), self.task.log
        result.outcome.log_cost_difference(charged, log)
        delivery = result.summary_or_raise(min_delivered=self.min_delivered, limit=limit, log=log)
        difference = result.outcome.cost_difference(charged)
        delivery["cost_difference"] = None if difference is None else amount_text(difference)
        cost = {} if charged is None else {"cost": amount_text(charged)}
        return {**sent, **cost, "delivery": delivery}

    def _charged(self, sent: dict[str, Any]) -> Decimal | None:
        """Return what the send was charged, less the refunds of texts that were cancelled until now."""
        from airflow_provider_winsms.ledger.cancellations import Cancellations

        if sent.get("cost") is None:
            return None
        charged = None
        if self.ledger is not None:
            try:
                with ledger_at(*self.ledger) as ledger:
                    charged = Cancellations(ledger).net_cost(sent["batch"])
            except LedgerUnavailable as error:
                self.task.log.warning("%s Texts cancelled during the wait stay in the cost.", error)
        return Decimal(sent["cost"]) if charged is None else charged

    def _sleep(self, pause: float) -> None:
        sleep_unless_killed(self.clock, pause, self.is_killed)

    def _now(self) -> float:
        return self.clock.now().timestamp()
