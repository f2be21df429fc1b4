"""Errors of this package that are also Airflow's: a permanent one fails the task at once, without retries.

The error keeps its type and its attributes: ``except DeliveryFailed`` still catches it, with its reports.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)

from airflow_provider_winsms.exceptions import NothingToSend, SmsError, rebuilt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_winsms.options import OnEmpty


@contextmanager
def permanent_errors_fail_at_once() -> Iterator[None]:
    """Let every permanent ``SmsError`` inside fail the task for good. Other errors pass unchanged."""
    try:
        yield
    except AirflowException:
        raise
    except SmsError as error:
        if not error.is_permanent:
            raise
        raise as_airflow(error, AirflowFailException) from error.__cause__


@contextmanager
def empty_lists_skip(on_empty: OnEmpty, may_skip: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """With ``on_empty="skip"``, let an empty list inside skip the task."""
    try:
        yield
    except NothingToSend as error:
        if on_empty == "skip" and may_skip():
            raise AirflowSkipException(str(error)) from None
        raise


def as_sensor_timeout(error: SmsError) -> SmsError:
    """Return the same error as an ``AirflowSensorTimeout`` too."""
    return as_airflow(error, AirflowSensorTimeout)


def as_airflow(error: SmsError, base: type[AirflowException]) -> SmsError:
    """Return the same error as an Airflow type too. It pickles."""
    both = _both(type(error), base)  # type: ignore[arg-type] # classes hash
    return rebuilt(both, error.args, error.__dict__)


@cache
def _both(kind: type[SmsError], base: type[AirflowException]) -> type[SmsError]:
    def reduce(self: SmsError) -> tuple[object, ...]:
        return as_airflow, (rebuilt(kind, self.args, self.__dict__), base)

    members = {"__reduce__": reduce, "__module__": kind.__module__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind, base), members)
