"""The base of the triggers whose waits share one poll: all of a kind, on one connection, in one triggerer."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_winsms.exceptions import GatewayUnavailable, SmsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence

    from airflow_provider_winsms.gateways.transport import AsyncTransport
    from airflow_provider_winsms.polling.due_queue import DueQueue
    from airflow_provider_winsms.polling.poller import Questions
    from airflow_provider_winsms.polling.subscriptions import AnySubscription, Subscriptions
    from airflow_provider_winsms.polling.waits import WaitEvent

log = logging.getLogger(__name__)
"""Takes the messages that concern more than one wait."""


class SharedPollTrigger(BaseTrigger):
    """Waits in a shared poll, and fires one event. A subclass says what it waits for."""

    first_poll_after: ClassVar[float] = 10.0
    """Seconds between deferring and the first poll, and so the first event; a seam for tests.

    A trigger that fires 2 to 5 seconds after its task deferred can fail the task on Airflow 3.3: the
    executor reports the end of the first run late, when the task is queued again (apache/airflow #66374,
    #67287, #71580). The task asked once before it deferred, so nothing is missed.
    """

    look_again_after: ClassVar[Sequence[float]] = (2.0, 8.0)
    """Seconds between looks at a connection that is not found; a seam for tests."""

    pause: ClassVar[Callable[..., Awaitable[None]]] = staticmethod(asyncio.sleep)
    """Waits for seconds; a seam for tests."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire one event. An error that is none of ``REFUSALS`` is raised with its traceback."""
        from airflow_provider_winsms.polling.waits import REFUSALS, refusal

        not_before = time.time() + self.first_poll_after
        event: WaitEvent
        try:
            event = await self._event(not_before)
        except REFUSALS as error:
            event = refusal(error)
        await self.pause(max(0.0, not_before - time.time()))
        yield TriggerEvent(event)

    async def _event(self, not_before: float) -> WaitEvent:
        """Wait, and return the event.

        :param not_before: when the first poll may be; seconds since the epoch.
        :raises SmsError: a permanent one, as it comes.
        """
        raise NotImplementedError

    async def _wait_in_poll(
        self,
        sms_conn_id: str,
        subscription: AnySubscription,
        questions: Callable[[Subscriptions, DueQueue], Questions],
        topic: Hashable,
    ) -> None:
        """Wait until the subscription ends.

        :param questions: makes the questions of the poll.
        :param topic: what they are about. A poll asks for one topic of one connection.
        :raises SmsError: a permanent one, as it comes.
        """
        from airflow_provider_winsms.polling.poller import Poller, PollerDependencies

        connect = partial(open_transport, sms_conn_id, self.pause, self.look_again_after)
        dependencies = PollerDependencies(connect, questions, log)
        await Poller.of((topic, sms_conn_id), dependencies).wait(subscription)


async def open_transport(
    sms_conn_id: str, sleep: Callable[[float], Awaitable[None]], pauses: Sequence[float]
) -> AsyncTransport:
    """Open a transport. Look its connection up several times: Airflow may miss it for a moment."""
    for pause in pauses:
        with suppress(SmsError):
            return await _transport(sms_conn_id)
        await sleep(pause)
    return await _transport(sms_conn_id)


async def _transport(sms_conn_id: str) -> AsyncTransport:
    from airflow_provider_winsms.hooks.async_hooks import async_hook

    try:
        return (await async_hook(sms_conn_id)).get_async_conn()
    except SmsError:
        raise
    except Exception as error:
        msg = f"The connection {sms_conn_id!r} could not be read ({type(error).__name__})."
        raise GatewayUnavailable(msg) from error
