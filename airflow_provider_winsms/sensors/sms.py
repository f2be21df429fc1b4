"""The sensor that waits until texts have arrived."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pendulum
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_winsms.airflow_errors import as_sensor_timeout, permanent_errors_fail_at_once
from airflow_provider_winsms.exceptions import GatewayUnavailable, InvalidMessage
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.messages import each_message_id
from airflow_provider_winsms.triggers.sms import SmsDeliveryTrigger, read_delivery_event
from airflow_provider_winsms.waiting import DeliveryWait, back_off

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.messages import MessageId, MessageIds
    from airflow_provider_winsms.templating import Templated
    from airflow_provider_winsms.triggers.sms import DeliveryEvent
    from airflow_provider_winsms.waiting import DeliveryOutcome

# How much longer than the trigger's own end Airflow waits for it: a triggerer may be restarting.
_BACKSTOP = timedelta(minutes=10)


class SmsDeliverySensor(BaseSensorOperator):
    """Wait until texts have arrived, or it is clear that too few will.

    Ends when every text is delivered or failed for good, or as soon as ``min_delivered`` can no longer be
    reached. At ``timeout`` it succeeds if enough have arrived, and else fails as a sensor that timed out.
    A text may stay at ``sent`` for ever where its network reports nothing, so set a ``timeout``.

    Returns ``{"total": n, "delivered": n, "states": {state: n}, "cost": "2.0"}``; states are values of
    ``DeliveryState``, the cost is in credits. Fails with ``DeliveryFailed``, whose ``reports`` say what
    became of the texts that did not arrive (ids and states; at most 1000). A wrong key or id ends the wait
    at once, an unreachable gateway does not.

    :param message_ids: ids, or what a send operator returned (``send.output``). (templated)
    :param min_delivered: the share of the texts that must arrive, 0 to 1.
    :param not_found_grace: how long after its start the sensor takes an id that the gateway does not know for
        one that it has just made; a ``timedelta`` or seconds.
    :param poke_interval: pause between polls; a ``timedelta`` or seconds. Deferred, the first poll comes no
        sooner than 10 seconds.
    :param timeout: how long to wait in all; a ``timedelta`` or seconds.
    :param deferrable: whether to wait in the triggerer, without a worker. Follows
        ``[operators] default_deferrable``.
    :param sms_conn_id: the connection, whose type says which gateway. (templated)
    """

    template_fields: Sequence[str] = ("message_ids", "sms_conn_id")
    ui_color = "#d9e6f7"

    def __init__(
        self,
        *,
        message_ids: Templated[MessageIds],
        min_delivered: float = 1.0,
        not_found_grace: timedelta | float = 120,
        poke_interval: timedelta | float = 30,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        sms_conn_id: str = "winsms_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.message_ids = message_ids
        self.min_delivered = min_delivered
        self.not_found_grace = not_found_grace
        self.deferrable = deferrable
        self.sms_conn_id = sms_conn_id

        self._wait: _Wait | None = None

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Look once; then wait in the triggerer, or here."""
        self._wait = None
        if self.deferrable:
            return self._look_and_defer(context)
        result: dict[str, Any] | None = super().execute(context)
        return result

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Ask once how far the texts have come."""
        with permanent_errors_fail_at_once():
            if self._wait is None:
                self._wait = self._begun(context)
            self._wait.look()
            settled = self._wait.texts.is_settled
            if settled or pendulum.now() >= self._wait.end_at:
                outcome = self._wait.texts.outcome()
                return PokeReturnValue(True, self._judge(outcome, timed_out=not settled))  # noqa: FBT003
        return False

    def execute_complete(self, context: Context, event: DeliveryEvent) -> dict[str, Any]:  # noqa: ARG002
        """Judge what the trigger found."""
        with permanent_errors_fail_at_once():
            outcome, timed_out = read_delivery_event(event)
            return self._judge(outcome, timed_out=timed_out)

    def _begun(self, context: Context) -> _Wait:
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        started_at = pendulum.instance(first) if isinstance(first, datetime) else pendulum.now()
        hook = SmsHook.of(self.sms_conn_id)
        message_ids = hook.gateway.message_ids(each_message_id(self.message_ids))
        grace_until = started_at + _duration(self.not_found_grace)
        return _Wait(
            hook=hook,
            message_ids=message_ids,
            texts=DeliveryWait(message_ids, min_delivered=self.min_delivered, grace_until=grace_until),
            poll_interval=self.poke_interval,
            not_before=started_at,
            grace_until=grace_until,
            end_at=started_at.add(seconds=self.timeout),
            log=self.log,
        )

    def _look_and_defer(self, context: Context) -> dict[str, Any] | None:
        """Look once, skipping where Airflow does so around a poke and after a resume."""
        try:
            found = self.poke(context)
        except AirflowException as error:
            if self.soft_fail or self.never_fail:
                msg = "Skipping, as soft_fail or never_fail is set."
                raise AirflowSkipException(msg) from error
            raise
        return found.xcom_value if isinstance(found, PokeReturnValue) else self._defer()

    def _judge(self, outcome: DeliveryOutcome, *, timed_out: bool) -> dict[str, Any]:
        self.log.info("Delivery: %s", outcome.summary())
        if outcome.is_success:
            return outcome.summary()
        if timed_out:
            raise as_sensor_timeout(outcome.failure(f"Not settled within {self.timeout:g} seconds"))
        why = f"Too few texts arrived for min_delivered={self.min_delivered:g}"
        raise outcome.failure(why)

    def _defer(self) -> NoReturn:
        wait = cast("_Wait", self._wait)
        # Not a pendulum.Duration: those do not pass from a task to its supervisor (Airflow 3.3.2).
        remaining = timedelta(seconds=max(0.0, (wait.end_at - pendulum.now()).total_seconds()))
        self.log.info("Delivery: %s; waiting in the triggerer.", wait.texts.outcome().summary())
        self.defer(
            trigger=SmsDeliveryTrigger(
                sms_conn_id=self.sms_conn_id,
                message_ids=wait.message_ids,
                min_delivered=self.min_delivered,
                poll_interval=self.poke_interval,
                end_at=wait.end_at.timestamp(),
                grace_until=wait.grace_until.timestamp(),
            ),
            method_name="execute_complete",
            timeout=remaining + _BACKSTOP,
        )


@dataclass
class _Wait:
    """The wait of one try, from its first look on."""

    hook: SmsHook
    message_ids: Sequence[MessageId]
    texts: DeliveryWait
    poll_interval: float
    not_before: pendulum.DateTime
    grace_until: pendulum.DateTime
    end_at: pendulum.DateTime
    log: Any
    failures: int = 0

    def look(self) -> None:
        """Poll, unless polls that failed ask for a longer pause."""
        if pendulum.now() < self.not_before:
            return
        try:
            for call in self.texts.calls(self.hook.gateway):
                self.texts.absorb(self.hook.carry(call), pendulum.now())
            self.failures = 0
        except GatewayUnavailable as error:
            self.failures += 1
            pause = back_off(self.poll_interval, self.failures, error)
            self.log.warning("%s Asking again in %.0f seconds.", error, pause)
            self.not_before = pendulum.now().add(seconds=pause)


def _duration(value: timedelta | float) -> timedelta:
    if isinstance(value, timedelta):
        return value
    try:
        return timedelta(seconds=value)
    except (TypeError, ValueError, OverflowError):
        msg = "not_found_grace must be a timedelta or seconds."
        raise InvalidMessage(msg) from None
