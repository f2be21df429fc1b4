"""The operator that brings the delivery states in the ledger's tables up to date."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.options import STATUS_RETENTION, check_conn_id, check_prefix, shown
from airflow_provider_winsms.runtime import SYSTEM_CLOCK
from airflow_provider_winsms.utils.batches import history_at
from airflow_provider_winsms.utils.errors import permanent_errors_fail_at_once
from airflow_provider_winsms.utils.parameters import CheckedParameters
from airflow_provider_winsms.utils.task_store import AirflowTaskStore
from airflow_provider_winsms.utils.templates import TemplatedFields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.delivery.refresh import StatusRefresh
    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.runtime import Clock


def _check_max_age(name: str, max_age: object) -> None:
    if not isinstance(max_age, timedelta) or not timedelta(0) < max_age <= STATUS_RETENTION:
        msg = (
            f"{name} must be a timedelta above 0 and of at most {STATUS_RETENTION.days} days, as gateways "
            f"forget texts; got {shown(max_age)}."
        )
        raise InvalidMessage(msg)


class SmsRefreshStatusOperator(CheckedParameters, TemplatedFields, BaseOperator):
    """Bring the states of texts in the ledger's tables up to date: all whose delivery is not known yet.

    Asks the gateway about every text that was sent through ``sms_conn_id`` with this ledger, was due within
    ``max_age``, and has no final state, in as few requests as its limit allows, and writes what it answers.
    Meant for a DAG of its own, each night. Texts that wait for their ``send_at`` are left alone. So are those
    that are older than ``max_age``, in whatever state: a gateway forgets (WinSMS after 90 days), and a text
    that it has forgotten must not become one that it never knew. An id that was not found is asked for again
    until two days after its text was due, as it may have been too fresh, and for two days after it was first
    not found, as the gateway may know it again.

    Each answer is committed before the place is remembered from which a retry goes on, in Airflow's task
    state store (3.3 and later). Before that, and when it was cleared, the task begins anew: what became
    final is not asked for again, so that only time is lost. A final state never changes.

    Returns ``{"checked": n, "states": {state: n}, "changed": n, "still_open": n, "refused": n,
    "unreadable": n, "requests": n}``, of all tries together: ``checked`` are the texts asked about,
    ``states`` what the gateway said of them (values of ``DeliveryState``), ``changed`` how many rows that was
    news for, ``still_open`` those without a final state, the ones it left out and refused among them.
    ``refused`` counts ids that the gateway takes in no request, ``unreadable`` those whose answer cannot be
    read, which the log names; both are left as they are, and hold up no others.

    :param ledger_conn_id: the connection of the database with the ledger. (templated)
    :param ledger_prefix: what the names of the ledger's tables begin with.
    :param max_age: how long ago a text may have been due; at most 89 days, as a status is kept for 90.
    :param sms_conn_id: the connection whose texts are asked about, and whose type says which gateway.
        (templated)
    """

    template_fields: Sequence[str] = ("ledger_conn_id", "sms_conn_id")
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        "ledger_conn_id": check_conn_id,
        "ledger_prefix": check_prefix,
        "max_age": _check_max_age,
        "sms_conn_id": check_conn_id,
    }
    ui_color = "#e3dcf3"
    clock: ClassVar[Clock] = SYSTEM_CLOCK
    hook_of = staticmethod(SmsHook.of)
    """Finds the hook of the gateway; a seam for tests."""

    def __init__(
        self,
        *,
        ledger_conn_id: str,
        ledger_prefix: str = "sms_",
        max_age: timedelta = STATUS_RETENTION,
        sms_conn_id: str = "winsms_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id
        self.ledger_prefix = ledger_prefix
        self.max_age = max_age
        self.sms_conn_id = sms_conn_id
        self._refresh: StatusRefresh | None = None
        self.check_when_read()

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, write, and return what was learnt, in counts."""
        from airflow_provider_winsms.delivery.refresh import RefreshPlace, StatusRefresh

        with permanent_errors_fail_at_once():
            self.check_when_rendered()
            hook = self.hook_of(self.sms_conn_id)
            with history_at(self.ledger_conn_id, self.ledger_prefix) as history:
                place = RefreshPlace(AirflowTaskStore(context), self._identity(context))
                self._refresh = StatusRefresh(hook, history, place, self.log)
                progress = self._refresh.run(now=self.clock.now(), max_age=self.max_age)
        progress.log_to(self.log)
        return progress.summary()

    def on_kill(self) -> None:
        """Stop when the answer that is waited for is written."""
        if self._refresh is not None:
            self._refresh.stop()

    def _identity(self, context: Context) -> list[Any]:
        """Return what a place belongs to. A clear raises ``max_tries``, and is for beginning anew."""
        return [self.sms_conn_id, self.ledger_conn_id, self.ledger_prefix, context["ti"].max_tries]
