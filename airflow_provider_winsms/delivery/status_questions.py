"""The questions about texts: a poll asks for the states of the ids that are due, and the sink takes them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.delivery.report_sink import ReportSink
from airflow_provider_winsms.exceptions import GatewayUnavailable, InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from airflow_provider_winsms.gateways.transport import AsyncTransport
    from airflow_provider_winsms.ledger.base import LedgerAddress
    from airflow_provider_winsms.messages import DeliveryReport, MessageId
    from airflow_provider_winsms.polling.due_queue import DueQueue
    from airflow_provider_winsms.polling.subscriptions import Subscriptions


class StatusQuestions:
    """Takes the ids that are due from the queue, and asks for them in as few requests as the limit allows.

    :param write: writes reports into a ledger. Raises ``LedgerUnavailable`` if it cannot for now.
    :param log: takes messages that concern more than one wait.
    :param now: seconds since the epoch.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        queue: DueQueue,
        *,
        write: Callable[[LedgerAddress, Sequence[DeliveryReport]], Awaitable[None]],
        log: Any,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._subscriptions = subscriptions
        self._queue = queue
        self._sink = ReportSink(subscriptions, write, log, now)

    async def ask_due(self, transport: AsyncTransport) -> None:
        """Ask for the texts that are due, with several requests at a time. After a failure no more leave.

        :raises SmsError: the first permanent one, or else the first temporary one.
        """
        requests = await self._queue.requests(transport.endpoint.gateway.limits.status_ids)
        failures: list[tuple[Exception, Sequence[MessageId]]] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(transport.endpoint.max_concurrent_requests):
                group.create_task(self._execute(requests, transport, failures))
        requests.close()
        for _, ids in failures:
            self._queue.put_back(ids)
        if failures:
            errors = (error for error, _ in failures)
            raise min(errors, key=lambda error: isinstance(error, GatewayUnavailable))

    async def _execute(
        self,
        requests: Iterator[Sequence[MessageId]],
        transport: AsyncTransport,
        failures: list[tuple[Exception, Sequence[MessageId]]],
    ) -> None:
        """Execute requests one after the other, until none is left or one has failed."""
        for ids in requests:
            try:
                await self._ask(transport, ids)
            # `ask_due` raises them.
            except Exception as error:  # noqa: BLE001
                failures.append((error, ids))
            if failures:
                return

    async def _ask(self, transport: AsyncTransport, ids: Sequence[MessageId]) -> None:
        """Ask for some ids. If the gateway refuses one of them, end only the waits that hold it."""
        try:
            reports = await transport.execute(transport.endpoint.gateway.delivery_reports(ids))
        except InvalidMessage as error:
            waits = {each for message_id in ids for each in self._subscriptions.of(message_id)}
            if len(waits) <= 1 or len(ids) == 1:
                for each in waits:
                    each.end(error)
                return
            middle = len(ids) // 2
            await self._ask(transport, ids[:middle])
            await self._ask(transport, ids[middle:])
        else:
            await self._sink.put(reports)
