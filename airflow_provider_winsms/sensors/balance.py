"""The sensor that waits until an account has enough credits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from airflow.providers.common.compat.sdk import BaseSensorOperator, conf

from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.links.sms import SmsClientZoneLink
from airflow_provider_winsms.options import check_conn_id, check_flag, decimal_amount, optional, seconds
from airflow_provider_winsms.sensors.shared_poll import SharedPollSensor
from airflow_provider_winsms.utils.errors import as_sensor_timeout, permanent_errors_fail_at_once
from airflow_provider_winsms.utils.parameters import CheckedParameters
from airflow_provider_winsms.utils.templates import TemplatedFields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from decimal import Decimal

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.polling.balance import BalanceEvent, BalanceResult
    from airflow_provider_winsms.utils.balance_wait import BalanceWorkerWait
    from airflow_provider_winsms.utils.templates import Templated


class SmsBalanceSensor(SharedPollSensor, CheckedParameters, TemplatedFields, BaseSensorOperator):
    """Wait until the account has enough credits, for example until a person has topped it up.

    Returns ``{"balance": "188.6", "currency": "credits"}``. The balance is a decimal string. At ``timeout``
    it fails as a sensor that timed out, with ``BalanceTooLow``, whose ``balance`` and ``least`` are decimals.

    A balance that the gateway states in no readable way does not count as enough: the log says so, and the
    wait goes on. An unreachable gateway does not end the wait. A wrong key ends it at once. So does a gateway
    that tells no balance, before the first request.

    All deferred sensors of one connection in a triggerer share one poll: one request asks for all of them.

    :param least: the least balance that is enough: a number, or decimal text such as ``"188.6"``, 0 or more.
        The comparison is exact. (templated)
    :param poke_interval: the pause between two questions; a ``timedelta`` or seconds. Deferred, the first
        poll comes no sooner than 10 seconds, and later ones no more often than every second.
    :param timeout: how long to wait in all; a ``timedelta`` or seconds.
    :param deferrable: whether to wait in the triggerer, without a worker. Follows
        ``[operators] default_deferrable``.
    :param sms_conn_id: the connection, whose type says which gateway. (templated)
    """

    template_fields: Sequence[str] = ("least", "sms_conn_id")
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        "least": decimal_amount,
        "poke_interval": seconds,
        "timeout": optional(seconds),
        "deferrable": check_flag,
        "sms_conn_id": check_conn_id,
    }
    ui_color = "#f7efd2"
    operator_extra_links = (SmsClientZoneLink(),)
    hook_of = staticmethod(SmsHook.of)
    """Finds the hook of the gateway; a seam for tests."""

    def __init__(
        self,
        *,
        least: Templated[Decimal | float | str],
        poke_interval: timedelta | float = 60,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        sms_conn_id: str = "winsms_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.least = least
        self.deferrable = deferrable
        self.sms_conn_id = sms_conn_id
        self.check_when_read()

    def execute_complete(self, context: Context, event: BalanceEvent) -> dict[str, Any]:  # noqa: ARG002
        """Return the balance of the trigger's event, or raise its error."""
        from airflow_provider_winsms.polling.balance import BalanceResult
        from airflow_provider_winsms.utils.worker_wait import RESUMED

        self.log.info(RESUMED)
        with permanent_errors_fail_at_once():
            return self._judge(BalanceResult.from_event(event))

    def _start_wait(self, context: Context) -> BalanceWorkerWait:
        from airflow_provider_winsms.polling.balance import BalanceWait
        from airflow_provider_winsms.utils.balance_wait import BalanceWorkerWait

        began_at = self._start_time(context)
        self.check_when_rendered()
        hook = self.hook_of(self.sms_conn_id)
        hook.gateway.require("balance", "least")
        wait = BalanceWait(
            sms_conn_id=self.sms_conn_id,
            least=str(decimal_amount("least", self.least)),
            currency=hook.gateway.currency,
            shortest_pause=self.poke_interval,
            first_at=began_at,
            end_at=began_at + self.timeout,
        )
        return BalanceWorkerWait(wait, hook, time.time, self.log)

    def _judge(self, result: BalanceResult) -> dict[str, Any]:
        if result.last.is_enough:
            return result.last.summary()
        raise as_sensor_timeout(result.error(f" after {self.timeout:g} seconds"))

    def _defer(self, context: Context) -> NoReturn:  # noqa: ARG002 - as its base has it
        from airflow_provider_winsms.triggers.sms import SmsBalanceTrigger

        wait = cast("BalanceWorkerWait", self._wait).rest()
        self.log.info("Waiting for the balance in the triggerer.")
        self.defer(
            trigger=SmsBalanceTrigger(wait),
            method_name="execute_complete",
            timeout=wait.deferral_timeout(time.time()),
        )
