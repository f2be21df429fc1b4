"""The wait for delivery, awaited in the triggerer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import pendulum
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    InvalidMessage,
    SmsError,
    UnsupportedCapability,
)
from airflow_provider_winsms.waiting import DeliveryOutcome, DeliveryWait, poll_until_settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.messages import MessageId

FIRST_POLL_AFTER = 10.0
"""Seconds between deferring and the first poll, and so the first event.

A trigger that fires 2 to 5 seconds after its task deferred can fail the task on Airflow 3.3: the executor's
late word of the first run's end meets the task when it is queued again (apache/airflow #66374, #67287,
#71580). The sensor has looked once before it deferred, so nothing is missed.
"""

SHORTEST_POLL_INTERVAL = 1.0
"""Seconds: an interval of 0 would ask without pause."""

_pause = asyncio.sleep

_REFUSALS: dict[str, type[SmsError]] = {
    error.__name__: error for error in (ConfigurationError, InvalidMessage, UnsupportedCapability)
}


class DeliveryEvent(TypedDict, total=False):
    """What the trigger tells the sensor: an outcome, or the permanent error that ended the wait."""

    ended: Literal["settled", "timed_out", "refused"]
    outcome: dict[str, Any]
    error_type: str
    error: str


class SmsDeliveryTrigger(BaseTrigger):
    """Polls until the texts are settled or the end has come. Its arguments hold ids and times only.

    :param end_at: when to stop, in seconds since the epoch; absolute, so that a restarted triggerer goes on
        to the same instant.
    :param grace_until: until when an unknown id counts as pending, in seconds since the epoch.
    """

    def __init__(
        self,
        *,
        sms_conn_id: str,
        message_ids: Sequence[MessageId],
        min_delivered: float,
        poll_interval: float,
        end_at: float,
        grace_until: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sms_conn_id = sms_conn_id
        self.message_ids = message_ids
        self.min_delivered = min_delivered
        self.poll_interval = poll_interval
        self.end_at = end_at
        self.grace_until = grace_until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path and arguments that the trigger is rebuilt from."""
        return (
            "airflow_provider_winsms.triggers.sms.SmsDeliveryTrigger",
            {
                "sms_conn_id": self.sms_conn_id,
                "message_ids": list(self.message_ids),
                "min_delivered": self.min_delivered,
                "poll_interval": self.poll_interval,
                "end_at": self.end_at,
                "grace_until": self.grace_until,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire one ``DeliveryEvent``. An unforeseen error is raised with its traceback."""
        try:
            event = await self._wait()
        except tuple(_REFUSALS.values()) as error:
            event = {"ended": "refused", "error_type": type(error).__name__, "error": str(error)}
        yield TriggerEvent(event)

    async def _wait(self) -> DeliveryEvent:
        left = self.end_at - pendulum.now().timestamp()
        await _pause(max(FIRST_POLL_AFTER, min(self.poll_interval, left)))
        hook = await _hook(self.sms_conn_id)
        wait = DeliveryWait(
            self.message_ids,
            min_delivered=self.min_delivered,
            grace_until=pendulum.from_timestamp(self.grace_until),
        )
        async with hook.get_async_conn() as transport:
            await poll_until_settled(
                wait,
                hook.gateway,
                transport.send,
                poll_interval=max(self.poll_interval, SHORTEST_POLL_INTERVAL),
                end_at=pendulum.from_timestamp(self.end_at),
                log=self.log,
            )
        return {"ended": "settled" if wait.is_settled else "timed_out", "outcome": wait.outcome().to_json()}


def read_delivery_event(event: DeliveryEvent) -> tuple[DeliveryOutcome, bool]:
    """Return the outcome, and whether the time ran out.

    :raises SmsError: the permanent error that ended the wait.
    """
    if event["ended"] == "refused":
        raise _REFUSALS[event["error_type"]](event["error"])
    return DeliveryOutcome.from_json(event["outcome"]), event["ended"] == "timed_out"


async def _hook(sms_conn_id: str) -> SmsHook:
    from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

    from airflow_provider_winsms.hooks.connections import missing_connection
    from airflow_provider_winsms.hooks.sms import WHAT, SmsHook

    try:
        connection = await get_async_connection(sms_conn_id)
    except AirflowNotFoundException:
        raise missing_connection(sms_conn_id, WHAT) from None
    extras = await get_async_extra_dejson(connection)
    return await asyncio.to_thread(SmsHook.of_connection, connection, extras)
