"""Airflow's task state store (3.3 and later): key-value state of a task instance that outlives its tries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

from airflow_provider_winsms.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.common.compat.sdk import Context


class AirflowTaskStore:
    """The store of a task instance. Its entries never expire. Before 3.3, they end with the process.

    Every method raises ``LedgerUnavailable`` if the store cannot be reached, or refuses this try because a
    later one has begun.

    :param context: the task's context.
    :param name: the prefix of the keys, if several share the task instance.
    """

    def __init__(self, context: Context, name: str = "") -> None:
        self._store: Any = context.get("task_state_store")
        self._instance: Any = context.get("ti")
        self._rows: dict[str, Any] = {}
        self._name = f"{name}{END_OF_NAME}" if name else ""

    @property
    def is_kept(self) -> bool:
        """Whether entries outlive the process."""
        return self._store is not None

    @property
    def was_cleared(self) -> bool:
        """Whether a person cleared the task instance. That raises ``max_tries``; a retry does not."""
        return bool(self._instance.max_tries > (self._instance.task.retries or 0))

    @property
    def has_earlier_try(self) -> bool:
        """Whether the task instance was tried before."""
        return self.was_cleared or self._instance.try_number > 1

    @property
    def is_wiped_on_success(self) -> bool:
        """Whether Airflow is set to wipe the store when the task succeeds."""
        return bool(conf.getboolean("state_store", "clear_on_success", fallback=False))

    def get(self, key: str) -> Any:
        """Return the value of a key, or ``None``."""
        if not self.is_kept:
            return self._rows.get(key)
        return _guarded("read", lambda: self._store.get(self._name + key))

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value. It is committed when this returns."""
        if not self.is_kept:
            self._rows[key] = value
            return
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        # By default Airflow drops a key after 30 days. A task may be cleared later than that.
        _guarded("written", lambda: self._store.set(self._name + key, value, retention=NEVER_EXPIRE))

    def delete(self, key: str) -> None:
        """Delete a key."""
        if not self.is_kept:
            self._rows.pop(key, None)
            return
        _guarded("written", lambda: self._store.delete(self._name + key))


def _guarded(what: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    # AirflowRuntimeError, or any error of a lost connection to the supervisor.
    except Exception as error:
        msg = f"Airflow's task state store could not be {what} ({type(error).__name__}). A retry goes on."
        raise LedgerUnavailable(msg) from error


END_OF_NAME = ":"
"""The separator between the name of a send within a task and its keys."""
