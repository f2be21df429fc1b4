"""The ledger in Airflow's task state store (3.3 and later), which outlives retries and worker deaths.

Before 3.3 a task instance has no memory, and every try but the first may follow one that sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_KEY = "sms_send"


class TaskStateLedger:
    """The send ledger of one task instance.

    :param context: the task's context.
    """

    def __init__(self, context: Context) -> None:
        self._store: Any = context.get("task_state_store")
        self._try_number = int(context["ti"].try_number)
        self._intended = False

    def may_have_sent(self) -> bool:
        """Tell whether an earlier try may have submitted a request; without a store, any may have."""
        if self._store is None:
            return self._try_number > 1
        return self._store.get(_KEY) is not None

    def intend(self) -> None:
        """Write the intent, once: it stands for every request of the task."""
        if self._store is not None and not self._intended:
            self._store.set(_KEY, {"state": "sending", "try_number": self._try_number})
        self._intended = True

    def withdraw(self) -> None:
        """Delete the intent."""
        if self._store is not None:
            self._store.delete(_KEY)
        self._intended = False
