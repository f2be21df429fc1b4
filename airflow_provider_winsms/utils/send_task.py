"""The task instance that sends, and the ledger that remembers what it sent."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.hashing import require_secret
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.ledger.base import Sender
from airflow_provider_winsms.ledger.task_state import TaskStateLedger
from airflow_provider_winsms.ledger.witness import beside_store, beside_tables
from airflow_provider_winsms.utils.task_store import map_index_of, task_store_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import BaseOperator, Context

    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.ledger.base import Ledger, SendHistory, SendSpending
    from airflow_provider_winsms.options import StoredPrivacy, StoredText
    from airflow_provider_winsms.sending.attempt import SendOrder


@dataclass(frozen=True, slots=True)
class SendTask:
    """Where a send runs: as the task, or inside another task or its callback.

    :param key: the default key of its batch. It is the same for each try, and after a clear.
    :param max_tries: of the task instance. It changes only when a person clears the task.
    :param scope: the end of the send's key. Empty if the send is the task.
    :param is_of_one_try: whether each try makes a send of its own.
    :param may_change: whether a later try may send another list.
    """

    context: Context = field(repr=False)
    key: str = field(repr=False)
    sender: Sender
    max_tries: int
    scope: str
    is_of_one_try: bool
    may_change: bool

    @classmethod
    def of(cls, operator: BaseOperator, context: Context, *, may_change: bool) -> SendTask:
        """Return where an operator runs. The callback of each try is an event of its own."""
        instance: Any = context["ti"]
        sender = Sender(
            dag_id=instance.dag_id,
            run_id=instance.run_id,
            task_id=instance.task_id,
            map_index=map_index_of(instance),
            owner=operator.owner,
        )
        scope, is_over = "", False
        if getattr(instance, "task", operator) is not operator:
            scope = f"@{operator.task_id}"
            is_over = "exception" in context or getattr(instance, "state", "running") not in {None, "running"}
            if is_over:
                scope = f"{scope}@after_try_{instance.try_number}"
        return cls(
            context,
            sender.key + scope,
            sender,
            instance.max_tries,
            scope,
            is_of_one_try=is_over,
            may_change=may_change,
        )


class OpenLedger(NamedTuple):
    """The ledger of an order, and what its tables tell of other tasks.

    :param history: ``None``: there are no tables.
    :param spending: ``None``: there are no tables.
    """

    ledger: Ledger
    history: SendHistory | None = None
    spending: SendSpending | None = None


@contextmanager
def open_ledger(
    task: SendTask,
    order: SendOrder,
    hook: SmsHook,
    *,
    conn_id: str | None,
    prefix: str,
    privacy: StoredPrivacy,
    text: StoredText,
) -> Iterator[OpenLedger]:
    """Open the ledger of an order: tables of a database, or else Airflow's task state store.

    :param conn_id: the connection of the database. ``None``: there is none.
    :raises ConfigurationError: if numbers are to be hashed, and the connection of the gateway has no key.
    """
    if conn_id is None:
        store = task_store_of(task.context, task.scope)
        in_store = TaskStateLedger(
            store,
            hashes=hook.hashes,
            keeps_digests=order.may_change,
            may_resend=order.resends,
            is_of_one_try=task.is_of_one_try,
        )
        yield OpenLedger(beside_store(in_store, task_store_of(task.context), order.key))
        return
    from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions

    if privacy == "keyed_hash":
        require_secret("ledger_privacy", hook.endpoint.hash_secret, order.sms_conn_id)
    options = SqlOptions(prefix, privacy, text)
    with SqlLedger(sql_hook(conn_id), order.key, hook.hashes, options) as tables:
        ledger = beside_tables(tables, task_store_of(task.context), order.key, resends=order.resends)
        yield OpenLedger(ledger, tables.history, tables.spending)
