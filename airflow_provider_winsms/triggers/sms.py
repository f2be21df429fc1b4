"""The trigger that waits for delivery. All waits of a connection share one poll."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    LedgerUnavailable,
    SmsError,
)
from airflow_provider_winsms.options import NOT_FOUND_GRACE, check_conn_id, check_number, check_share
from airflow_provider_winsms.triggers.incoming import SmsIncomingTrigger
from airflow_provider_winsms.utils.batches import history_at, ids_of_batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from airflow_provider_winsms.delivery.events import DeliveryEvent, IdSource, LedgerAddress
    from airflow_provider_winsms.gateways.transport import AsyncTransport
    from airflow_provider_winsms.messages import DeliveryReport, MessageId
    from airflow_provider_winsms.options import Check

    T = TypeVar("T")

__all__ = ["SmsDeliveryTrigger", "SmsIncomingTrigger"]

_SHORTEST_RETRY_PAUSE = 5.0

_ledger_threads = ThreadPoolExecutor(4, "sms-ledger")
"""Threads only for ledgers: a database that hangs must not block the threads that all triggers share."""

_log = logging.getLogger(__name__)


def _check_source(name: str, source: object) -> None:
    from airflow_provider_winsms.delivery.events import IdSource

    if (
        not isinstance(source, dict)
        or len(source) != 1
        or not source.keys() <= IdSource.__annotations__.keys()
    ):
        msg = f"{name} must say where the ids of the texts are: one of {', '.join(IdSource.__annotations__)}."
        raise InvalidMessage(msg)


def _check_ledger(name: str, ledger: object) -> None:
    match ledger:
        case None | [str(), str()]:
            return
    msg = f"{name} must be a connection and a prefix."
    raise InvalidMessage(msg)


_CHECKS: Mapping[str, Check] = {
    "sms_conn_id": check_conn_id,
    "source": _check_source,
    "min_delivered": check_share,
    "ledger": _check_ledger,
    **dict.fromkeys(
        (
            "begins_at",
            "shortest_pause",
            "longest_pause",
            "first_at",
            "end_at",
            "grace_until",
            "not_found_holds",
        ),
        check_number,
    ),
}
"""For each argument of a trigger, the check that refuses a wrong value."""


class SmsDeliveryTrigger(BaseTrigger):
    """Waits until the texts are settled or the end is reached. Its arguments hold only ids and times.

    All such triggers of one connection in a triggerer share one poll. Instants are absolute, in seconds since
    the epoch. So a restarted triggerer keeps the same end.

    :param source: where the ids are.
    :param min_delivered: the share, 0 to 1, of the texts that must arrive.
    :param begins_at: when the age of the texts begins.
    :param shortest_pause: seconds between two questions while the texts are young.
    :param longest_pause: seconds between two questions when they are old.
    :param first_at: when to ask first.
    :param end_at: when to stop.
    :param grace_until: until then an unknown id counts as pending.
    :param ledger: connection and prefix of the ledger that reports are written into, or ``None``.
    :param not_found_holds: seconds for which an id must be unknown until it counts as lost. A restarted
        trigger counts them from the beginning.
    """

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

    def __init__(
        self,
        *,
        sms_conn_id: str,
        source: IdSource,
        min_delivered: float,
        begins_at: float,
        shortest_pause: float,
        longest_pause: float,
        first_at: float,
        end_at: float,
        grace_until: float,
        ledger: Sequence[str] | None = None,
        not_found_holds: float = NOT_FOUND_GRACE,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sms_conn_id = sms_conn_id
        self.source = source
        self.min_delivered = min_delivered
        self.begins_at = begins_at
        self.shortest_pause = shortest_pause
        self.longest_pause = longest_pause
        self.first_at = first_at
        self.end_at = end_at
        self.grace_until = grace_until
        self.ledger = ledger
        self.not_found_holds = not_found_holds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path and the arguments that Airflow rebuilds the trigger from.

        :raises InvalidMessage: if an argument is wrong. Then the task does not defer.
        """
        for name, check in _CHECKS.items():
            check(name, getattr(self, name))
        return (
            "airflow_provider_winsms.triggers.sms.SmsDeliveryTrigger",
            {
                "sms_conn_id": self.sms_conn_id,
                "source": self.source,
                "min_delivered": self.min_delivered,
                "begins_at": self.begins_at,
                "shortest_pause": self.shortest_pause,
                "longest_pause": self.longest_pause,
                "first_at": self.first_at,
                "end_at": self.end_at,
                "grace_until": self.grace_until,
                "ledger": self.ledger,
                "not_found_holds": self.not_found_holds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire one ``DeliveryEvent``. Any other error is raised with its traceback."""
        from airflow_provider_winsms.delivery.events import REFUSALS, refusal

        not_before = time.time() + self.first_poll_after
        try:
            event = await self._wait(max(self.first_at, not_before))
        except REFUSALS as error:
            event = refusal(error)
        await self.pause(max(0.0, not_before - time.time()))
        yield TriggerEvent(event)

    async def _wait(self, first_at: float) -> DeliveryEvent:
        from airflow_provider_winsms.delivery.events import LedgerAddress
        from airflow_provider_winsms.delivery.poller import PollerDependencies, SharedPoll, Subscription
        from airflow_provider_winsms.delivery.schedule import SHORTEST_PAUSE, Schedule
        from airflow_provider_winsms.delivery.tracker import DeliveryTracker

        tracker = DeliveryTracker(
            await self._message_ids(),
            min_delivered=self.min_delivered,
            grace_until=self.grace_until,
            not_found_holds=self.not_found_holds,
        )
        ledger = None if self.ledger is None else LedgerAddress(*self.ledger)
        schedule = Schedule(self.begins_at, max(self.shortest_pause, SHORTEST_PAUSE), self.longest_pause)
        subscription = Subscription(tracker, schedule, first_at, self.end_at, ledger)
        if not tracker.is_settled:
            open_transport = partial(_open_transport, self.sms_conn_id, self.pause, self.look_again_after)
            dependencies = PollerDependencies(open_transport, _write, _log)
            await SharedPoll.of(self.sms_conn_id, dependencies).wait(subscription)
        return {
            "ended": "settled" if tracker.is_settled else "timed_out",
            "outcome": tracker.outcome().to_json(),
            "trouble": subscription.trouble,
        }

    async def _message_ids(self) -> Sequence[MessageId]:
        from airflow_provider_winsms.delivery.packed_ids import unpack

        match self.source:
            case {"message_ids": packed}:
                return unpack(packed)
            case {"batch": batch} if self.ledger is not None:
                conn_id, prefix = self.ledger
                return await self._read_with_retries(lambda: ids_of_batch(conn_id, prefix, batch))
            case {"xcom": reference}:
                return await self._read_with_retries(lambda: _read_xcom(reference))
        msg = "The source of the trigger names no message ids, and no batch with a ledger."
        raise InvalidMessage(msg)

    async def _read_with_retries(self, read: Callable[[], T]) -> T:
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
                if is_permanent or time.time() + pause > self.end_at:
                    raise
                self.log.warning(
                    "The ids could not be read (%s). Reading again in %.0f seconds.",
                    type(error).__name__,
                    pause,
                )
                await self.pause(pause)


def _read_xcom(reference: Mapping[str, Any]) -> Sequence[MessageId]:
    from airflow.providers.common.compat.sdk import XCom

    from airflow_provider_winsms.delivery.packed_ids import unpack

    value: Any = XCom.get_one(**reference)
    if value is None:
        msg = f"The XCom {reference.get('key')!r} with the ids of the texts is gone. Clear the task."
        raise InvalidMessage(msg)
    ids: str | list[MessageId] = value["message_ids"]
    return unpack(ids) if isinstance(ids, str) else ids


async def _open_transport(
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


async def _write(ledger: LedgerAddress, reports: Sequence[DeliveryReport]) -> None:
    try:
        await asyncio.get_running_loop().run_in_executor(_ledger_threads, _write_reports, ledger, reports)
    except ConfigurationError as error:
        # The connection led to a ledger before the task deferred. Airflow also reports it missing if it
        # cannot read it for a moment.
        raise LedgerUnavailable(str(error)) from error


def _write_reports(ledger: LedgerAddress, reports: Sequence[DeliveryReport]) -> None:
    with history_at(*ledger) as history:
        history.record_reports(reports)
