"""A question whose answer counts for all waits of a poll, such as one for the balance, or for new replies."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_winsms.gateways.transport import AsyncTransport
    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.polling.due_queue import DueQueue
    from airflow_provider_winsms.polling.subscriptions import AnySubscription, Subscriptions
    from airflow_provider_winsms.runtime import Log


class SharedQuestion:
    """Asks when the first wait is due, and hands the answer to all of them. A subclass says what it asks.

    :param log: takes messages that concern more than one wait.
    :param now: seconds since the epoch.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        queue: DueQueue,
        *,
        log: Log,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._subscriptions = subscriptions
        self._queue = queue
        self._log = log
        self._now = now

    async def ask_due(self, transport: AsyncTransport) -> None:
        """Ask if a wait is due. The answer counts for all waits, so each is due again after its own pause.

        :raises SmsError: as the transport does.
        """
        if await self._queue.has_due():
            await self._ask(transport)

    async def _ask(self, transport: AsyncTransport) -> None:
        """Ask, and hand the answer out."""
        raise NotImplementedError

    async def _hand_out(self, answers_for: Callable[[AnySubscription], Iterable[Any]]) -> None:
        """Let each wait record the answers for it. Other tasks run behind each wait that this ends."""
        now = self._now()
        async with aclosing(self._subscriptions.active()) as waits:
            async for each in waits:
                each.schedule_next(now)
                each.record(answers_for(each), now)
                if each.ended.done():
                    await asyncio.sleep(0)


class TrackerWithoutIds:
    """The part of a ``Tracker`` that a wait has which waits for no texts."""

    message_ids: tuple[MessageId, ...] = ()

    def open_ids(self, after: MessageId | None = None) -> Iterator[MessageId]:  # noqa: ARG002 - as a tracker
        """Iterate over no ids."""
        return iter(())

    def is_open(self, message_id: MessageId) -> bool:  # noqa: ARG002 - as a tracker
        """Return ``False``."""
        return False
