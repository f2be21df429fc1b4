"""The operator that checks whether an account has enough credits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_winsms.exceptions import GatewayUnavailable
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.links.sms import SmsClientZoneLink
from airflow_provider_winsms.options import OnLow, check_choice, check_conn_id, decimal_amount
from airflow_provider_winsms.utils.errors import permanent_errors_fail_at_once
from airflow_provider_winsms.utils.parameters import CheckedParameters
from airflow_provider_winsms.utils.templates import TemplatedFields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.polling.balance import BalanceComparison
    from airflow_provider_winsms.utils.templates import Templated


class SmsBalanceCheckOperator(CheckedParameters, TemplatedFields, BaseOperator):
    """Compare the account's balance once with the least that the DAG needs.

    Returns ``{"balance": "188.6", "least": "150.0", "is_low": False, "currency": "credits"}``. The amounts
    are decimal strings.

    A balance below ``least`` fails the task for good with ``BalanceTooLow``, which says how much there is and
    how much is needed. With ``on_low="warn"``, it is a warning in the log, and ``is_low`` is true.

    A balance that the gateway states in no readable way raises ``GatewayUnavailable``, and the task is
    retried. With ``on_low="warn"``, ``balance`` is then ``None``, and ``is_low`` is true. A gateway that
    tells no balance is refused before the first request.

    :param least: the least balance that is enough: a number, or decimal text such as ``"188.6"``, 0 or more.
        The comparison is exact. (templated)
    :param on_low: what a balance below ``least`` does: ``"fail"`` or ``"warn"``.
    :param sms_conn_id: the connection, whose type says which gateway. (templated)
    """

    template_fields: Sequence[str] = ("least", "sms_conn_id")
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        "least": decimal_amount,
        "on_low": partial(check_choice, choices=OnLow),
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
        on_low: OnLow = "fail",
        sms_conn_id: str = "winsms_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.least = least
        self.on_low = on_low
        self.sms_conn_id = sms_conn_id
        self.check_when_read()

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - as Airflow calls it
        """Ask for the balance, and compare it."""
        with permanent_errors_fail_at_once():
            self.check_when_rendered()
            compared = self._compare()
            if not compared.is_enough:
                self._report_low(compared)
        return compared.with_verdict()

    def _compare(self) -> BalanceComparison:
        from airflow_provider_winsms.polling.balance import BalanceComparison

        hook = self.hook_of(self.sms_conn_id)
        hook.gateway.require("balance", "least")
        least = decimal_amount("least", self.least)
        return BalanceComparison(hook.get_balance().credits, least, hook.gateway.currency)

    def _report_low(self, compared: BalanceComparison) -> None:
        from airflow_provider_winsms.polling.balance import UNREADABLE

        error = compared.error(self.sms_conn_id)
        if self.on_low == "warn":
            self.log.warning("%s", UNREADABLE if compared.balance is None else error)
        elif compared.balance is None:
            raise GatewayUnavailable(UNREADABLE)
        else:
            raise error
