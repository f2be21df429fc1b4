"""The operator that refreshes the delivery states in the ledger's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.options import STATUS_RETENTION, check_conn_id, check_max_age, check_prefix
from airflow_provider_winsms.runtime import SYSTEM_CLOCK
from airflow_provider_winsms.utils.batches import ledger_at
from airflow_provider_winsms.utils.errors import permanent_errors_fail_at_once
from airflow_provider_winsms.utils.parameters import CheckedParameters
from airflow_provider_winsms.utils.task_store import task_store_of
from airflow_provider_winsms.utils.templates import TemplatedFields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.delivery.refresh import StatusRefresh
    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.runtime import Clock


class SmsRefreshStatusOperator(CheckedParameters, TemplatedFields, BaseOperator):
    """Refresh the delivery states of texts in the ledger's tables, if they are not final yet.

    The operator asks the gateway for every text that was sent through ``sms_conn_id`` with this ledger, was
    due within ``max_age``, and has no final state. It sends as few requests as the gateway's limit allows,
    and writes the answers. Run it each night, in a DAG of its own. Two kinds of texts are left alone:

    * texts that wait for their ``send_at``;
    * texts older than ``max_age``, or older than the gateway keeps their states, in any state. WinSMS keeps
      them for 90 days. A text that a gateway has forgotten must not look like one that it never knew.

    An id that the gateway did not find is asked for again until two days after its text was due, because it
    may have been too fresh. It is also asked for again for two days after it was first not found, because
    the gateway may find it again.

    Each answer is committed. Then Airflow's task state store (3.3 and later) keeps the position from which a
    retry resumes. Before Airflow 3.3, or after a clear, the task starts again from the beginning. It does
    not ask for final states again, so only time is lost. A final state never changes.

    Returns ``{"checked": n, "states": {state: n}, "changed": n, "still_open": n, "refused": n,
    "unreadable": n, "requests": n}``, for all tries together:

    * ``checked``: texts that the gateway was asked for;
    * ``states``: their states by the gateway's answers (values of ``DeliveryState``);
    * ``changed``: rows whose state changed;
    * ``still_open``: texts without a final state, including those that the gateway left out or refused;
    * ``refused``: ids that the gateway accepts in no request;
    * ``unreadable``: ids whose answer cannot be read; the log names them.

    Refused and unreadable ids stay as they are, and do not hold up other ids.

    :param ledger_conn_id: the connection of the database with the ledger. (templated)
    :param ledger_prefix: the prefix of the names of the ledger's tables.
    :param max_age: how long ago a text may have been due; at most 89 days, because a status is kept for 90.
    :param sms_conn_id: the connection of the texts. Its type decides which gateway is used. (templated)
    """

    template_fields: Sequence[str] = ("ledger_conn_id", "sms_conn_id")
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        "ledger_conn_id": check_conn_id,
        "ledger_prefix": check_prefix,
        "max_age": check_max_age,
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
        """Ask for states, write them, and return the counts."""
        from airflow_provider_winsms.delivery.refresh import RefreshCheckpoint, StatusRefresh
        from airflow_provider_winsms.ledger.reports import DeliveryReports

        with permanent_errors_fail_at_once():
            self.check_when_rendered()
            hook = self.hook_of(self.sms_conn_id)
            hook.gateway.require("status")
            with ledger_at(self.ledger_conn_id, self.ledger_prefix) as ledger:
                checkpoint = RefreshCheckpoint(task_store_of(context), self._identity(context))
                self._refresh = StatusRefresh(hook.get_conn(), DeliveryReports(ledger), checkpoint, self.log)
                progress = self._refresh.run(now=self.clock.now(), max_age=self.max_age)
        progress.log_to(self.log)
        return progress.summary()

    def on_kill(self) -> None:
        """Stop after the current answer is written."""
        if self._refresh is not None:
            self._refresh.stop()

    def _identity(self, context: Context) -> list[Any]:
        """Return the identity of the stored position. A clear changes ``max_tries``, and so starts again."""
        return [self.sms_conn_id, self.ledger_conn_id, self.ledger_prefix, context["ti"].max_tries]
