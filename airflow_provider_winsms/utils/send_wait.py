"""The wait of a send operator for the delivery of what it sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import XCom

from airflow_provider_winsms.delivery.events import WaitResult
from airflow_provider_winsms.delivery.schedule import SHORTEST_PAUSE
from airflow_provider_winsms.delivery.wait import DeliveryWait, id_source
from airflow_provider_winsms.exceptions import SendStopped
from airflow_provider_winsms.options import NOT_FOUND_GRACE, PARTIAL_RESULT_KEY
from airflow_provider_winsms.utils.delivery_wait import WorkerWait, defer, xcom_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_provider_winsms.delivery.events import DeliveryEvent
    from airflow_provider_winsms.delivery.wait import IdSource
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.ledger.base import LedgerAddress
    from airflow_provider_winsms.runtime import Clock
    from airflow_provider_winsms.sending.plan import Plan

_MAX_SLEEP = 1.0
"""The longest sleep in seconds, so that a task notices soon that it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendWait:
    """Waits on the worker or, deferred, in the triggerer. Durations are in seconds.

    :param hold: for how long texts without a time are held back.
    :param timeout: how long to wait after the last text is due.
    :param is_killed: returns whether the task is being killed. That ends a wait on the worker.
    """

    task: BaseOperator
    clock: Clock
    sms_conn_id: str
    ledger: LedgerAddress | None
    hold: timedelta
    deferrable: bool
    min_delivered: float
    poll_interval: float
    max_poll_interval: float
    timeout: float
    is_killed: Callable[[], bool]

    def run(self, hook: SmsHook, sent: dict[str, Any], planned: Plan, context: Context) -> dict[str, Any]:
        """Leave the result of the send in an XCom, wait, and return the result with the delivery.

        :raises DeliveryFailed: if too few texts arrived.
        :raises SendStopped: if the task is killed.
        """
        context["ti"].xcom_push(key=PARTIAL_RESULT_KEY, value=sent)
        ids = sent["message_ids"]
        wait = self._wait(
            planned, id_source(ids, xcom_of(context, PARTIAL_RESULT_KEY)), hook.gateway.currency
        )
        worker_wait = WorkerWait(wait, ids, hook, self._now, self.task.log)
        if self.deferrable and not worker_wait.is_settled:
            self.task.log.info("Sent; waiting for delivery in the triggerer.")
            defer(self.task, wait, self._now())
        return self._with_delivery(sent, worker_wait.run(self._sleep))

    def resume(self, event: DeliveryEvent, context: Context) -> dict[str, Any]:
        """Return the result of the send with the delivery that the trigger found.

        :raises DeliveryFailed: if too few texts arrived.
        :raises SmsError: the permanent error that ended the wait.
        """
        result = WaitResult.from_event(event)
        sent: dict[str, Any] | None = XCom.get_one(**xcom_of(context, PARTIAL_RESULT_KEY))
        if sent is None:
            self.task.log.warning("The XCom %s with the result of the send is gone.", PARTIAL_RESULT_KEY)
        return self._with_delivery(sent or {}, result)

    def _wait(self, planned: Plan, source: IdSource, currency: str) -> DeliveryWait:
        now = self.clock.now()
        held = now + self.hold
        times = {part.message.send_at or held for request in planned.requests for part in request.parts}
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
        delivery = result.summary_or_raise(min_delivered=self.min_delivered, limit=limit, log=self.task.log)
        return {**sent, "delivery": delivery}

    def _sleep(self, pause: float) -> None:
        while pause > 0 and not self.is_killed():
            self.clock.sleep(min(pause, _MAX_SLEEP))
            pause -= _MAX_SLEEP
        if self.is_killed():
            msg = (
                "The task is being killed while it waits. All sent texts stay sent. A later try waits again."
            )
            raise SendStopped(msg)

    def _now(self) -> float:
        return self.clock.now().timestamp()
