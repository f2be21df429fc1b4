"""The wait of a task for delivery, on its worker or, deferred, in the triggerer.

The delivery sensor and the send operators share it.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.delivery.events import LedgerAddress
from airflow_provider_winsms.delivery.packed_ids import pack
from airflow_provider_winsms.delivery.schedule import SHORTEST_PAUSE
from airflow_provider_winsms.delivery.tracker import DeliveryTracker, UnreadableIds
from airflow_provider_winsms.exceptions import GatewayUnavailable, LedgerUnavailable
from airflow_provider_winsms.gateways.backoff import back_off
from airflow_provider_winsms.options import NOT_FOUND_GRACE
from airflow_provider_winsms.utils.batches import history_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.delivery.events import IdSource
    from airflow_provider_winsms.delivery.outcome import DeliveryOutcome
    from airflow_provider_winsms.delivery.schedule import Schedule
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.triggers.sms import SmsDeliveryTrigger

IDS_IN_A_TRIGGER = 1000
"""How many ids the arguments of a trigger hold. If there are more, the arguments refer to them."""

IDS_SHOWN = 10
"""How many ids of undelivered texts the log shows. The counts cover all texts."""

WAITING_FOR_KEY = "waiting_for"
"""The XCom key for the ids of a task that defers with many ids."""

_BACKSTOP = timedelta(minutes=10)
"""How much longer than the end of the wait Airflow waits for the trigger: a triggerer may restart."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long to wait, and for which share of the texts. Instants are in seconds since the epoch.

    :param first_at: when to ask first.
    :param end_at: when to stop.
    :param grace_until: until then an unknown id may be one that the gateway has just made.
    :param ledger: the ledger that reports are written into before they count.
    :param not_found_holds: seconds for which an id must be unknown until it counts as lost.
    """

    sms_conn_id: str
    min_delivered: float
    schedule: Schedule
    first_at: float
    end_at: float
    grace_until: float
    ledger: LedgerAddress | None = None
    not_found_holds: float = NOT_FOUND_GRACE

    def trigger(self, source: IdSource) -> SmsDeliveryTrigger:
        """Return a trigger that waits on these terms."""
        from airflow_provider_winsms.triggers.sms import SmsDeliveryTrigger

        return SmsDeliveryTrigger(
            sms_conn_id=self.sms_conn_id,
            source=source,
            min_delivered=self.min_delivered,
            begins_at=self.schedule.begins_at,
            shortest_pause=self.schedule.shortest,
            longest_pause=self.schedule.longest,
            first_at=self.first_at,
            end_at=self.end_at,
            grace_until=self.grace_until,
            ledger=None if self.ledger is None else list(self.ledger),
            not_found_holds=self.not_found_holds,
        )

    def deferral_timeout(self, now: float) -> timedelta:
        """Return how long Airflow waits for the trigger."""
        # A pendulum.Duration does not pass from a task to its supervisor (Airflow 3.3.2).
        return timedelta(seconds=max(0.0, self.end_at - now)) + _BACKSTOP


class WorkerWait:
    """The wait of one try on its worker.

    :param now: returns seconds since the epoch.
    :raises InvalidMessage: if ``min_delivered`` is no share.
    """

    def __init__(
        self,
        hook: SmsHook,
        message_ids: Iterable[MessageId],
        terms: Terms,
        now: Callable[[], float],
        log: Any,
    ) -> None:
        self.terms = terms
        self._tracker = DeliveryTracker(
            message_ids,
            min_delivered=terms.min_delivered,
            grace_until=terms.grace_until,
            not_found_holds=terms.not_found_holds,
        )
        self._hook = hook
        self._now = now
        self._log = log
        self._failures = 0
        self._unreadable = UnreadableIds()
        self._not_before = terms.first_at
        self.trouble = ""
        """The error of the last look, or an empty string."""

    @property
    def is_settled(self) -> bool:
        """Whether waiting longer changes nothing."""
        return self._tracker.is_settled

    @property
    def is_over(self) -> bool:
        """Whether it is settled, or its end is reached."""
        return self.is_settled or self._now() >= self.terms.end_at

    @property
    def outcome(self) -> DeliveryOutcome:
        """The outcome as it is now."""
        return self._tracker.outcome()

    def pause(self) -> float:
        """Return the seconds until the next look."""
        now = self._now()
        next_at = max(now + self.terms.schedule.pause(now), self._not_before)
        return max(0.0, min(next_at, self.terms.end_at) - now)

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
            self.trouble = str(error)
            retry_after = error.retry_after if isinstance(error, GatewayUnavailable) else None
            pause = back_off(max(self.terms.schedule.shortest, SHORTEST_PAUSE), self._failures, retry_after)
            self._log.warning("%s Asking again in %.0f seconds.", error, pause)
            self._not_before = self._now() + pause
        else:
            self._failures, self.trouble = 0, ""

    def _look(self) -> None:
        with ExitStack() as stack:
            history = None
            if self.terms.ledger is not None:
                history = stack.enter_context(history_at(*self.terms.ledger))
            for call in self._tracker.calls(self._hook.gateway):
                reports = self._hook.execute(call)
                self._unreadable.name(reports.unreadable, self._log)
                if history is not None and (changes := self._tracker.changes(reports)):
                    history.record_reports(changes)
                self._tracker.record(reports, self._now())

    def source(self, store_ids: Callable[[str], dict[str, Any]]) -> IdSource:
        """Return where a trigger finds the ids.

        :param store_ids: stores many packed ids in an XCom, and returns the reference to it.
        """
        packed = pack(self._tracker.message_ids)
        return (
            {"message_ids": packed} if len(self._tracker) <= IDS_IN_A_TRIGGER else {"xcom": store_ids(packed)}
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


def result_or_raise(
    outcome: DeliveryOutcome, *, min_delivered: float, ran_out: str | None, trouble: str, log: Any
) -> dict[str, Any]:
    """Return the counts of a wait if enough texts arrived.

    :param ran_out: the time that ran out before the wait was settled, or ``None``.
    :param trouble: the error of the last question, or an empty string.
    :raises DeliveryFailed: if too few arrived. The log then names the first of the others.
    """
    log.info("Delivery: %s", outcome.summary())
    if outcome.is_success:
        return outcome.summary()
    first = ", ".join(f"{report.message_id} {report.state}" for report in outcome.undelivered[:IDS_SHOWN])
    log.info("Not delivered, the first of them: %s.", first)
    why = f"Too few texts arrived for min_delivered={min_delivered:g}"
    if ran_out is not None:
        why = f"Not settled within {ran_out}"
    raise outcome.failure(why, trouble)


def ledger_address(conn_id: str | None, prefix: str) -> LedgerAddress | None:
    """Return the ledger that reports are written into, or ``None`` without a connection."""
    return None if conn_id is None else LedgerAddress(conn_id, prefix)
