"""The ledger in Airflow's task state store (3.3 and later), which outlives retries and worker deaths.

Before 3.3 a task instance has no memory, and every try but the first may follow one that sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import conf

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_KEY = "sms_send"


class TaskStateLedger:
    """The send ledger of one task instance.

    :param context: the task's context.
    """

    def __init__(self, context: Context) -> None:
        self._store: Any = context.get("task_state_store")
        self._instance: Any = context["ti"]
        self.has_intended = False
        """Whether this try has announced a request, and not withdrawn it."""

    def may_have_sent(self) -> bool:
        """Tell whether an earlier try may have submitted a request; without a store, any may have."""
        if self._store is None:
            return bool(self._instance.try_number > 1)
        return self._store.get(_KEY) is not None or self._may_have_been_forgotten()

    def intend(self) -> None:
        """Write the intent, once: it stands for every request of the task."""
        if self._store is not None and not self.has_intended:
            from airflow.sdk.execution_time.context import NEVER_EXPIRE

            # By default a key is dropped after 30 days, and a task may be cleared later than that.
            self._store.set(_KEY, {"state": "sending"}, retention=NEVER_EXPIRE)
        self.has_intended = True

    def withdraw(self) -> None:
        """Delete the intent."""
        if self._store is not None:
            self._store.delete(_KEY)
        self.has_intended = False

    def _may_have_been_forgotten(self) -> bool:
        """Tell whether a success may have wiped the store, as a setting of Airflow's can have it.

        A clear raises ``max_tries``; retries leave it as it is.
        """
        was_cleared = self._instance.max_tries > (self._instance.task.retries or 0)
        return bool(was_cleared) and conf.getboolean("state_store", "clear_on_success", fallback=False)
