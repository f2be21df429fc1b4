"""The base of the sensors that wait on their worker, or in the triggerer in a poll that waits share."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_provider_winsms.utils.errors import permanent_errors_fail_at_once

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.utils.worker_wait import WorkerWait

    _Sensor = BaseSensorOperator
else:
    # A base between a sensor and Airflow's must leave the constructor of Airflow's in its place.
    _Sensor = object


class SharedPollSensor(_Sensor):
    """Looks once. Then waits in the triggerer if it is ``deferrable``, and otherwise on its worker."""

    deferrable: bool
    _began_at: float | None = None
    _wait: WorkerWait[Any] | None = None

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Look once. Then wait in the triggerer, or here."""
        # It starts before Airflow's own timeout, which would end the wait without a result.
        self._began_at, self._wait = time.time(), None
        if self.deferrable:
            return self._look_and_defer(context)
        result: dict[str, Any] | None = super().execute(context)
        return result

    def poke(self, context: Context) -> PokeReturnValue | bool:
        """Ask the gateway once."""
        with permanent_errors_fail_at_once():
            if self._wait is None:
                self._wait = self._start_wait(context)
            wait = self._wait
            wait.look()
            if wait.is_over:
                return PokeReturnValue(is_done=True, xcom_value=self._judge(wait.result))
        return False

    def _start_wait(self, context: Context) -> WorkerWait[Any]:
        """Check the parameters, and return the wait of this try."""
        raise NotImplementedError

    def _judge(self, result: Any) -> dict[str, Any]:
        """Return the result of the task for the result of its wait, or raise its error."""
        raise NotImplementedError

    def _defer(self, context: Context) -> NoReturn:
        """Continue the wait in the triggerer. The task resumes in ``execute_complete``."""
        raise NotImplementedError

    def _start_time(self, context: Context) -> float:
        """Return when the sensor began, also if it was rescheduled since; seconds since the epoch."""
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
        return first.timestamp() if isinstance(first, datetime) else self._began_at or time.time()

    def _look_and_defer(self, context: Context) -> dict[str, Any] | None:
        """Look once. Skip the task as Airflow does around a poke and after a resume."""
        try:
            found = self.poke(context)
        except AirflowException as error:
            if self.soft_fail or self.never_fail:
                msg = "Skipping, as soft_fail or never_fail is set."
                raise AirflowSkipException(msg) from error
            raise
        return found.xcom_value if isinstance(found, PokeReturnValue) else self._defer(context)

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        """Return the seconds until the next poke. Airflow's own pause knows no schedule and no end."""
        if self.exponential_backoff or self._wait is None:
            own: float = super()._get_next_poke_interval(*args, **kwargs)
            return own
        return self._wait.pause()
