"""The operator that cancels scheduled texts, through whichever gateway the connection names."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.links.sms import SmsClientZoneLink
from airflow_provider_winsms.options import (
    Tolerance,
    check_choice,
    check_conn_id,
    check_prefix,
    each_message_id,
    optional,
)
from airflow_provider_winsms.utils.batches import (
    check_batch_id,
    check_ids_or_batch,
    check_message_ids,
    ledger_at,
)
from airflow_provider_winsms.utils.errors import permanent_errors_fail_at_once
from airflow_provider_winsms.utils.parameters import CheckedParameters
from airflow_provider_winsms.utils.task_store import task_store_of
from airflow_provider_winsms.utils.templates import TemplatedFields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.ledger.cancellations import Cancellations
    from airflow_provider_winsms.messages import MessageId, MessageIds
    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.sending.cancellation import CancelJournal
    from airflow_provider_winsms.utils.parameters import JointCheck
    from airflow_provider_winsms.utils.templates import Templated


class SmsCancelScheduledOperator(CheckedParameters, TemplatedFields, BaseOperator):
    """Cancel scheduled texts that have not gone out yet, and get their cost back.

    Returns ``{"cancelled": n, "cancelled_before": n, "not_cancelled": n, "gone_out": n, "refund": "3.0",
    "currency": "credits", "requests": n}``:

    * ``cancelled``: texts that are cancelled now;
    * ``cancelled_before``: the part of ``cancelled`` that was known to be cancelled when the task began;
    * ``not_cancelled``: texts that were not cancelled;
    * ``gone_out``: the part of ``not_cancelled`` that had already gone out. The gateway did not know the ids
      of the rest when it was first asked;
    * ``refund``: the amount that came back, without that for ``cancelled_before``;
    * ``currency``: the unit of that amount;
    * ``requests``: requests to cancel.

    A repeat, a retry and a clear are safe, and refund nothing twice. The operator records each request
    before it asks the gateway. With ``ledger_conn_id`` the record is in the tables of the ledger, where other
    tasks find it too. Otherwise it is in Airflow's task state store (3.3 and later), where only the same task
    instance finds it.

    If an answer is lost, the gateway is asked again. A text that is then neither scheduled nor has a status
    counts as cancelled. Its refund is its cost, if the tables of the ledger have it. Otherwise ``refund``
    leaves it out. Before Airflow 3.3, without ``ledger_conn_id``, a later try cannot tell a text that an
    earlier try cancelled from a wrong id. It counts such a text as not cancelled.

    :param message_ids: ids, or the result of a send operator (``send.output``); lists of any length.
        (templated)
    :param batch: the batch that a send operator with the same ``ledger_conn_id`` returned
        (``send.output["batch"]``), instead of ids. All its accepted texts are cancelled. It may come from any
        task of any DAG. (templated)
    :param ledger_conn_id: the connection of the database with the ledger, if there is one. (templated)
    :param ledger_prefix: the prefix of the names of the ledger's tables.
    :param on_not_cancelled: when texts that are not cancelled fail the task: ``"fail_if_all"``, ``"fail"``
        (one is enough) or ``"ignore"``.
    :param sms_conn_id: the connection. Its type decides which gateway is used. (templated)
    """

    template_fields: Sequence[str] = ("message_ids", "batch", "sms_conn_id", "ledger_conn_id")
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        "message_ids": check_message_ids,
        "batch": check_batch_id,
        "ledger_conn_id": optional(check_conn_id),
        "ledger_prefix": check_prefix,
        "sms_conn_id": check_conn_id,
        "on_not_cancelled": partial(check_choice, choices=Tolerance),
    }
    joint_checks: ClassVar[tuple[JointCheck, ...]] = (
        (("message_ids", "batch", "ledger_conn_id"), check_ids_or_batch),
    )
    ui_color = "#f3e3d0"
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
        sms_conn_id: str = "winsms_default",
        on_not_cancelled: Tolerance = "fail_if_all",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.message_ids = message_ids
        self.batch = batch
        self.ledger_conn_id = ledger_conn_id
        self.ledger_prefix = ledger_prefix
        self.sms_conn_id = sms_conn_id
        self.on_not_cancelled = on_not_cancelled
        self.check_when_read()

    def execute(self, context: Context) -> dict[str, Any]:
        """Cancel the texts, and return the outcome in counts."""
        from airflow_provider_winsms.sending.cancellation import Canceller

        with permanent_errors_fail_at_once():
            self.check_when_rendered()
            hook = self.hook_of(self.sms_conn_id)
            # The states tell which texts went out, of those that were not cancelled.
            for capability in ("cancel", "status"):
                hook.gateway.require(capability)
            with self._cancellations() as cancellations:
                ids = self._ids(hook, cancellations)
                journal = _journal(context, cancellations)
                outcome = Canceller(hook.gateway, hook.get_conn().execute, journal, self.log).run(ids)
                outcome.log_to(self.log)
                outcome.raise_if_failed(self.on_not_cancelled)
                return outcome.summary()

    @contextmanager
    def _cancellations(self) -> Iterator[Cancellations | None]:
        from airflow_provider_winsms.ledger.cancellations import Cancellations

        if self.ledger_conn_id is None:
            yield None
            return
        with ledger_at(self.ledger_conn_id, self.ledger_prefix) as ledger:
            yield Cancellations(ledger)

    def _ids(self, hook: SmsHook, cancellations: Cancellations | None) -> Sequence[MessageId]:
        if self.batch is None or cancellations is None:
            return hook.gateway.message_ids(each_message_id(self.message_ids))
        return cancellations.message_ids(str(self.batch).strip(), with_cancelled=True)


def _journal(context: Context, cancellations: Cancellations | None) -> CancelJournal:
    from airflow_provider_winsms.sending.cancellation import SqlCancelJournal, StoreCancelJournal

    journal = StoreCancelJournal(task_store_of(context))
    return journal if cancellations is None else SqlCancelJournal(cancellations, journal)
