"""The sink of a poll's answers: they are written into the ledgers, and then handed to the waits."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.delivery.tracker import UnreadableIds
from airflow_provider_winsms.exceptions import LedgerUnavailable, SmsError
from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.polling.subscriptions import drain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from airflow_provider_winsms.ledger.base import LedgerAddress
    from airflow_provider_winsms.messages import Answers, DeliveryReport
    from airflow_provider_winsms.polling.subscriptions import AnySubscription, Subscriptions

LEDGER_WRITE_TIMEOUT = 20.0
"""Seconds that one write into a ledger may take. It bounds how long waits of other ledgers are delayed."""

LEDGER_RETRY_DELAY = 30.0
"""Seconds until texts are asked for again after their ledger could not be written."""

_REPORTS_PER_TURN = 250


class ReportSink:
    """Takes reports for the waits that hold their ids. A report counts once its ledger has it.

    :param write: writes reports into a ledger. Raises ``LedgerUnavailable`` if it cannot for now.
    :param log: takes messages that concern more than one wait.
    :param now: seconds since the epoch.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        write: Callable[[LedgerAddress, Sequence[DeliveryReport]], Awaitable[None]],
        log: Any,
        now: Callable[[], float],
    ) -> None:
        self._subscriptions = subscriptions
        self._write = write
        self._log = log
        self._now = now
        self._unreadable = UnreadableIds()

    async def put(self, reports: Answers[DeliveryReport]) -> None:
        """Write reports, and hand them on. Waits whose ledger could not be written get none."""
        self._unreadable.name(reports.unreadable, self._log)
        answers: defaultdict[AnySubscription, list[DeliveryReport]] = defaultdict(list)
        for report in reports:
            for subscription in self._subscriptions.of(report.message_id):
                answers[subscription].append(report)
        await self._write_changes(answers)
        await self._hand_on(answers)

    async def _hand_on(self, answers: dict[AnySubscription, list[DeliveryReport]]) -> None:
        now = self._now()
        handed_on = 0
        for subscription in drain(deque(answers)):
            own = answers.pop(subscription)
            subscription.record(own, now)
            handed_on += len(own)
            if subscription.ended.done() or handed_on >= _REPORTS_PER_TURN:
                handed_on = 0
                await asyncio.sleep(0)

    async def _write_changes(self, answers: dict[AnySubscription, list[DeliveryReport]]) -> None:
        """Write changed states into the ledgers, and drop answers that could not be written."""
        subscriptions: defaultdict[LedgerAddress, list[AnySubscription]] = defaultdict(list)
        for subscription in answers:
            if subscription.ledger is not None:
                subscriptions[subscription.ledger].append(subscription)
        for ledger, of_ledger in subscriptions.items():
            changes = {
                report.message_id: report
                for subscription in of_ledger
                for report in subscription.tracker.changes(answers[subscription])
            }
            if changes and (error := await self._error_of_write(ledger, list(changes.values()))):
                for subscription in of_ledger:
                    del answers[subscription]
                await self._hold_back(ledger, of_ledger, error)

    async def _error_of_write(
        self, ledger: LedgerAddress, reports: Sequence[DeliveryReport]
    ) -> SmsError | None:
        """Write reports, and return the error if there is one. It concerns only the waits of this ledger."""
        try:
            async with asyncio.timeout(LEDGER_WRITE_TIMEOUT):
                await self._write(ledger, reports)
        except SmsError as error:
            return error
        except Exception as error:  # noqa: BLE001 - it concerns one ledger
            msg = f"The ledger behind {ledger.conn_id!r} could not be written ({type(error).__name__})."
            return LedgerUnavailable(msg)
        return None

    async def _hold_back(
        self, ledger: LedgerAddress, lost: Sequence[AnySubscription], error: SmsError
    ) -> None:
        """Hold back the waits of a ledger that could not be written, or end them if it never can be.

        :param lost: the waits whose answers were dropped.
        """
        if error.is_permanent:
            await self._subscriptions.end_where(lambda subscription: subscription.ledger == ledger, error)
            return
        until = self._now() + LEDGER_RETRY_DELAY
        count = await self._subscriptions.hold(ledger, set(lost), until, str(error))
        self._log.warning(
            "%s Asking and writing again in %.0f seconds; %s.",
            error,
            LEDGER_RETRY_DELAY,
            pluralize(count, "wait"),
        )
