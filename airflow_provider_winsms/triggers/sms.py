"""The trigger that waits for delivery. All waits of a connection share one poll."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    InvalidMessage,
    LedgerUnavailable,
    SmsError,
)
from airflow_provider_winsms.triggers.approval import SmsApprovalTrigger
from airflow_provider_winsms.triggers.balance import SmsBalanceTrigger
from airflow_provider_winsms.triggers.incoming import SmsIncomingTrigger
from airflow_provider_winsms.triggers.shared_poll import SharedPollTrigger, log
from airflow_provider_winsms.utils.batches import ids_of_batch, ledger_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_winsms.delivery.outcome import DeliveryEvent
    from airflow_provider_winsms.delivery.tracker import DeliveryTracker
    from airflow_provider_winsms.delivery.wait import DeliveryWait
    from airflow_provider_winsms.ledger.base import LedgerAddress
    from airflow_provider_winsms.messages import DeliveryReport, MessageId

    T = TypeVar("T")

__all__ = ["SmsApprovalTrigger", "SmsBalanceTrigger", "SmsDeliveryTrigger", "SmsIncomingTrigger"]

_SHORTEST_RETRY_PAUSE = 5.0

_ledger_threads = ThreadPoolExecutor(4, "sms-ledger")
"""Threads only for ledgers: a database that hangs must not block the threads that all triggers share."""


class SmsDeliveryTrigger(SharedPollTrigger):
    """Waits until the texts are settled or the end is reached, and fires one ``DeliveryEvent``.

    All such triggers of one connection in a triggerer share one poll.

    :param wait: the wait, or its JSON object from the database. A wrong one is refused when it is stored or
        run.
    """

    def __init__(self, wait: DeliveryWait | Mapping[str, Any]) -> None:
        from airflow_provider_winsms.delivery.wait import DeliveryWait

        super().__init__()  # type: ignore[no-untyped-call]
        self.wait = wait.to_json() if isinstance(wait, DeliveryWait) else wait

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path and the wait that Airflow rebuilds the trigger from.

        :raises InvalidMessage: if the wait is wrong. Then the task does not defer.
        """
        from airflow_provider_winsms.delivery.wait import DeliveryWait

        wait = DeliveryWait.from_json(self.wait)
        return "airflow_provider_winsms.triggers.sms.SmsDeliveryTrigger", {"wait": wait.to_json()}

    async def _event(self, not_before: float) -> DeliveryEvent:
        from airflow_provider_winsms.delivery.outcome import WaitResult
        from airflow_provider_winsms.delivery.progress import WaitProgress
        from airflow_provider_winsms.delivery.status_questions import StatusQuestions
        from airflow_provider_winsms.delivery.wait import DeliveryWait
        from airflow_provider_winsms.polling.subscriptions import Subscription

        wait = DeliveryWait.from_json(self.wait)
        tracker = await self._tracker(wait)
        schedule, first_at = wait.schedule.without_rush(), max(wait.first_at, not_before)
        context, progress = copy_context(), WaitProgress(tracker, self.log)

        def note(now: float, next_at: float) -> None:
            """Log in the context of this wait, so that the line goes to the log of its task."""
            context.run(progress.note, now, next_at)

        subscription = Subscription(tracker, schedule, first_at, wait.end_at, wait.ledger, note)
        if not tracker.is_settled:
            questions = partial(StatusQuestions, write=_write, log=log)
            await self._wait_in_poll(wait.sms_conn_id, subscription, questions, "status")
        return WaitResult(tracker.outcome(), not tracker.is_settled, subscription.trouble).to_event()

    async def _tracker(self, wait: DeliveryWait) -> DeliveryTracker:
        """Read the ids, and return their tracker. To sort a million would block the event loop."""
        from airflow_provider_winsms.delivery.packed_ids import unpack

        source, ledger = wait.source, wait.ledger
        if "message_ids" in source:
            return wait.tracker(unpack(source["message_ids"]))
        if "batch" in source and ledger is not None:
            read = partial(ids_of_batch, *ledger, source["batch"])
        else:
            read = partial(_read_xcom, source["xcom"])
        return await self._read_with_retries(lambda: wait.tracker(read()), wait.end_at)

    async def _read_with_retries(self, read: Callable[[], T], end_at: float) -> T:
        """Read in a thread. Temporary errors are retried until the end of the wait.

        :raises SmsError: a permanent one, at once.
        """
        from airflow_provider_winsms.gateways.backoff import back_off

        failures = 0
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(_ledger_threads, read)
            except Exception as error:
                failures += 1
                pause = back_off(_SHORTEST_RETRY_PAUSE, failures, None)
                is_permanent = isinstance(error, SmsError) and error.is_permanent
                if is_permanent or time.time() + pause > end_at:
                    raise
                self.log.warning(
                    "The ids could not be read (%s). Reading again in %.0f seconds.",
                    type(error).__name__,
                    pause,
                )
                await self.pause(pause)


def _read_xcom(reference: Mapping[str, Any]) -> Sequence[MessageId]:
    from airflow.providers.common.compat.sdk import XCom

    from airflow_provider_winsms.delivery.packed_ids import checked_ids, unpack

    value: Any = XCom.get_one(**reference)
    if value is None:
        msg = f"The XCom {reference.get('key')!r} with the ids of the texts is gone. Clear the task."
        raise InvalidMessage(msg)
    ids = value.get("message_ids") if isinstance(value, dict) else None
    return unpack(ids) if isinstance(ids, str) else checked_ids(ids)


async def _write(ledger: LedgerAddress, reports: Sequence[DeliveryReport]) -> None:
    try:
        await asyncio.get_running_loop().run_in_executor(_ledger_threads, _write_reports, ledger, reports)
    except ConfigurationError as error:
        # The connection led to a ledger before the task deferred. Airflow also reports it missing if it
        # cannot read it for a moment.
        raise LedgerUnavailable(str(error)) from error


def _write_reports(ledger: LedgerAddress, reports: Sequence[DeliveryReport]) -> None:
    from airflow_provider_winsms.ledger.reports import DeliveryReports

    with ledger_at(*ledger) as database:
        DeliveryReports(database).record_reports(reports)
