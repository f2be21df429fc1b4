"""Hands Airflow's task state store (3.3 and later) down to the ledger, with facts about the try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.ledger.task_state import TaskStore, TaskTry


def task_store_of(context: Context, name: str = "") -> TaskStore:
    """Return the store of a task instance. Its entries never expire. Before 3.3, they end with the process.

    :param name: the prefix of the keys, if several share the task instance.
    """
    from airflow_provider_winsms.ledger.task_state import TaskStore

    store: Any = context.get("task_state_store")
    if store is None:
        return TaskStore(None, name=name, this_try=_try_of(context.get("ti")))
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    # By default Airflow drops a key after 30 days. A task may be cleared later than that.
    return TaskStore(store, retention=NEVER_EXPIRE, name=name, this_try=_try_of(context.get("ti")))


def map_index_of(instance: Any) -> int:
    """Return the index of a mapped task instance; -1 if its task is not mapped."""
    return -1 if instance.map_index is None else int(instance.map_index)


def _try_of(instance: Any) -> TaskTry:
    from airflow_provider_winsms.ledger.task_state import TaskTry

    if instance is None:
        return TaskTry()
    # A clear raises `max_tries`; a retry does not.
    was_cleared = instance.max_tries > (instance.task.retries or 0)
    return TaskTry(
        was_cleared=was_cleared,
        is_first=not was_cleared and instance.try_number <= 1,
        is_wiped_on_success=bool(conf.getboolean("state_store", "clear_on_success", fallback=False)),
    )
