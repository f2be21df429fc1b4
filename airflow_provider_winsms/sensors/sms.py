"""The sensor that waits until texts have arrived. The module also exports the sensor of the balance."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from airflow.providers.common.compat.sdk import BaseSensorOperator, conf

from airflow_provider_winsms.exceptions import DeliveryFailed
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.links.sms import SmsClientZoneLink
from airflow_provider_winsms.options import (
    NOT_FOUND_GRACE,
    check_conn_id,
    check_flag,
    check_prefix,
    check_share,
    each_message_id,
    optional,
    seconds,
)
from airflow_provider_winsms.sensors.balance import SmsBalanceSensor
from airflow_provider_winsms.sensors.shared_poll import SharedPollSensor
from airflow_provider_winsms.utils.batches import (
    check_batch_id,
    check_ids_or_batch,
    check_message_ids,
    ids_of_batch,
)
from airflow_provider_winsms.utils.errors import as_sensor_timeout, permanent_errors_fail_at_once
from airflow_provider_winsms.utils.parameters import CheckedParameters
from airflow_provider_winsms.utils.templates import TemplatedFields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.delivery.outcome import DeliveryEvent, WaitResult
    from airflow_provider_winsms.delivery.wait import IdSource
    from airflow_provider_winsms.messages import MessageId, MessageIds
    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.utils.delivery_wait import DeliveryWorkerWait
    from airflow_provider_winsms.utils.parameters import JointCheck
    from airflow_provider_winsms.utils.templates import Templated

__all__ = ["SmsBalanceSensor", "SmsDeliverySensor"]


class SmsDeliverySensor(SharedPollSensor, CheckedParameters, TemplatedFields, BaseSensorOperator):
    """Wait until texts have arrived, or it is clear that too few will.

    Ends when every text is delivered or failed for good, or as soon as ``min_delivered`` can no longer be
    reached. At ``timeout`` it succeeds if enough have arrived. If not, it fails as a sensor that timed out.
    A text may stay at ``sent`` for ever if its network reports nothing, so set a ``timeout``.

    Returns ``{"total": n, "delivered": n, "states": {state: n}, "cost": "2.0", "currency": "credits"}``.
    States are values of ``DeliveryState``. The cost is what the delivery reports state, and ``None`` if they
    state no readable amount.
    Fails with ``DeliveryFailed``, whose ``reports`` hold the ids and states of texts that did not arrive (at
    most 1000). A wrong key or id ends the wait at once. An unreachable gateway or ledger does not.

    It asks for young texts often and for old ones seldom: the pause is a tenth of the time since the wait
    began, but no shorter than ``poke_interval`` and no longer than ``max_wait``. All deferred sensors of one
    connection in a triggerer share one poll. Its requests hold a thousand ids each.

    :param message_ids: ids, or what a send operator returned (``send.output``); lists of any length.
        (templated)
    :param batch: instead of ids, the batch that a send operator with the same ``ledger_conn_id`` returned
        (``send.output["batch"]``): all its texts that were accepted. (templated)
    :param ledger_conn_id: the connection of the database with the ledger. Each new state is written into its
        ``messages`` table before it counts. ``None``: no ledger. (templated)
    :param ledger_prefix: the prefix of the names of the ledger's tables.
    :param min_delivered: the share of the texts that must arrive, 0 to 1.
    :param not_found_grace: for how long an id must be unknown to the gateway until it counts as lost, and for
        how long after the start of the sensor none counts as lost; a ``timedelta`` or seconds. Reschedule
        mode keeps no answers between two looks: there an unknown id counts as lost two days after the sensor
        began.
    :param poke_interval: the pause while texts are young; a ``timedelta`` or seconds. Deferred, the first
        poll comes no sooner than 10 seconds, and later ones no more often than every second.
    :param max_wait: the longest pause; a ``timedelta`` or seconds.
    :param timeout: how long to wait in all; a ``timedelta`` or seconds.
    :param deferrable: whether to wait in the triggerer, without a worker. Follows
        ``[operators] default_deferrable``.
    :param sms_conn_id: the connection, whose type says which gateway. (templated)
    """

    template_fields: Sequence[str] = ("message_ids", "batch", "ledger_conn_id", "sms_conn_id")
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        "message_ids": check_message_ids,
        "batch": check_batch_id,
        "ledger_conn_id": optional(check_conn_id),
        "ledger_prefix": check_prefix,
        "min_delivered": check_share,
        "not_found_grace": seconds,
        "poke_interval": seconds,
        "max_wait": optional(seconds),
        "timeout": optional(seconds),
        "deferrable": check_flag,
        "sms_conn_id": check_conn_id,
    }
    joint_checks: ClassVar[tuple[JointCheck, ...]] = (
        (("message_ids", "batch", "ledger_conn_id"), check_ids_or_batch),
    )
    ui_color = "#d9e6f7"
    operator_extra_links = (SmsClientZoneLink(),)
    hook_of = staticmethod(SmsHook.of)
    """Finds the hook of the gateway; a seam for tests."""

    def __init__(
        self,
        *,
        message_ids: Templated[MessageIds] = None,
        batch: Templated[str] | None = None,
        ledger_conn_id: str | None = None,
        ledger_prefix: str = "sms_",
        min_delivered: float = 1.0,
        not_found_grace: timedelta | float = NOT_FOUND_GRACE,
        poke_interval: timedelta | float = 10,
        max_wait: timedelta | float = timedelta(hours=1),
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        sms_conn_id: str = "winsms_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, max_wait=max_wait, **kwargs)
        self.message_ids = message_ids
        self.batch = batch
        self.ledger_conn_id = ledger_conn_id
        self.ledger_prefix = ledger_prefix
        self.min_delivered = min_delivered
        self.not_found_grace = not_found_grace
        self.deferrable = deferrable
        self.sms_conn_id = sms_conn_id
        self.check_when_read()

    def execute_complete(self, context: Context, event: DeliveryEvent) -> dict[str, Any]:  # noqa: ARG002
        """Return the counts of the trigger's event, or raise its error."""
        from airflow_provider_winsms.delivery.outcome import WaitResult
        from airflow_provider_winsms.utils.worker_wait import RESUMED

        self.log.info(RESUMED)
        with permanent_errors_fail_at_once():
            return self._judge(WaitResult.from_event(event))

    def _start_wait(self, context: Context) -> DeliveryWorkerWait:
        from airflow_provider_winsms.delivery.wait import DeliveryWait
        from airflow_provider_winsms.ledger.reports import NOT_FOUND_MAY_PASS
        from airflow_provider_winsms.utils.delivery_wait import DeliveryWorkerWait, ledger_address

        began_at = self._start_time(context)
        self.check_when_rendered()
        hook = self.hook_of(self.sms_conn_id)
        hook.gateway.require("status")
        ids, source = self._texts(hook, context)
        grace = seconds("not_found_grace", self.not_found_grace)
        # A rescheduled sensor keeps no answers between two looks.
        forgets = self.reschedule and not self.deferrable
        wait = DeliveryWait(
            sms_conn_id=self.sms_conn_id,
            source=source,
            min_delivered=self.min_delivered,
            begins_at=began_at,
            shortest_pause=self.poke_interval,
            longest_pause=0.0 if self.max_wait is None else self.max_wait.total_seconds(),
            first_at=began_at,
            end_at=began_at + self.timeout,
            grace_until=began_at + (max(grace, NOT_FOUND_MAY_PASS.total_seconds()) if forgets else grace),
            ledger=ledger_address(self.ledger_conn_id, self.ledger_prefix),
            not_found_holds=0.0 if forgets else grace,
            currency=hook.gateway.currency,
        )
        return DeliveryWorkerWait(wait, ids, hook, time.time, self.log)

    def _texts(self, hook: SmsHook, context: Context) -> tuple[Sequence[MessageId], IdSource]:
        """Return the ids of the texts, and where a trigger finds them."""
        from airflow_provider_winsms.delivery.wait import id_source
        from airflow_provider_winsms.utils.delivery_wait import WAITING_FOR_KEY, xcom_of

        if self.batch is None:
            ids = hook.gateway.message_ids(each_message_id(self.message_ids))
            return ids, id_source(ids, xcom_of(context, WAITING_FOR_KEY))
        batch = cast("str", self.batch).strip()
        return ids_of_batch(cast("str", self.ledger_conn_id), self.ledger_prefix, batch), {"batch": batch}

    def _judge(self, result: WaitResult) -> dict[str, Any]:
        limit = f"{self.timeout:g} seconds"
        try:
            return result.summary_or_raise(min_delivered=self.min_delivered, limit=limit, log=self.log)
        except DeliveryFailed as error:
            if result.timed_out:
                raise as_sensor_timeout(error) from None
            raise

    def _defer(self, context: Context) -> NoReturn:
        from airflow_provider_winsms.delivery.packed_ids import pack
        from airflow_provider_winsms.utils.delivery_wait import WAITING_FOR_KEY, defer

        waiting = cast("DeliveryWorkerWait", self._wait)
        if "xcom" in waiting.wait.source:
            packed = pack(waiting.message_ids)
            context["ti"].xcom_push(key=WAITING_FOR_KEY, value={"message_ids": packed})
        self.log.info("Delivery: %s; waiting in the triggerer.", waiting.result.outcome.in_words())
        defer(self, waiting.wait, time.time())
