"""Airflow's task state store (3.3 and later): a small memory of a task instance, which outlives its tries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_winsms.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import Context


class AirflowTaskStore:
    """The store of a task instance, whose entries never expire; before 3.3, one that ends with the process.

    Every method raises ``LedgerUnavailable`` where the store cannot be reached, or takes nothing any more
    from this try, as it has a successor.

    :param context: the task's context.
    :param name: whose entries these are, of several in one task instance; keys begin with it.
    """

    def __init__(self, context: Context, name: str = "") -> None:
        self._store: Any = context.get("task_state_store")
        self._instance: Any = context.get("ti")
        self._rows: dict[str, Any] = {}
        self._name = f"{name}{END_OF_NAME}" if name else ""

    @property
    def is_kept(self) -> bool:
        """Whether what is written outlives the process."""
        return self._store is not None

    @property
    def was_cleared(self) -> bool:
        """Whether a person cleared the task instance, which raises ``max_tries``; a retry does not."""
        return bool(self._instance.max_tries > (self._instance.task.retries or 0))

    @property
    def has_earlier_try(self) -> bool:
        """Whether the task instance was tried before."""
        return self.was_cleared or self._instance.try_number > 1

    @property
    def is_wiped_on_success(self) -> bool:
        """Whether a setting of Airflow's wipes the store when the task succeeds."""
        return bool(conf.getboolean("state_store", "clear_on_success", fallback=False))

    def get(self, key: str) -> Any:
        """Return what is kept under a key, or ``None``."""
        if not self.is_kept:
            return self._rows.get(key)
        return _guarded("read", lambda: self._store.get(self._name + key))

    def set(self, key: str, value: Any) -> None:
        """Keep a JSON value. It is committed when this returns."""
        if not self.is_kept:
            self._rows[key] = value
            return
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        # By default a key is dropped after 30 days, and a task may be cleared later than that.
        _guarded("written", lambda: self._store.set(self._name + key, value, retention=NEVER_EXPIRE))

    def delete(self, key: str) -> None:
        """Keep nothing under a key."""
        if not self.is_kept:
            self._rows.pop(key, None)
            return
        _guarded("written", lambda: self._store.delete(self._name + key))


def _guarded(what: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    # AirflowRuntimeError, and whatever a lost connection to the supervisor raises.
    except Exception as error:
        msg = f"Airflow's task state store could not be {what} ({type(error).__name__}). A retry goes on."
        raise LedgerUnavailable(msg) from error


END_OF_NAME = ":"
"""Stands between the name of a send within a task and its keys."""
