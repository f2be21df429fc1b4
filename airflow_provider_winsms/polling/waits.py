"""What all waits share: how they are stored, how they end, and how long Airflow waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, UnsupportedCapability
from airflow_provider_winsms.options import check_number

if TYPE_CHECKING:
    from airflow_provider_winsms.exceptions import SmsError
    from airflow_provider_winsms.options import Check

_BACKSTOP = timedelta(minutes=10)
"""How much longer than the end of the wait Airflow waits for the trigger: a triggerer may restart."""


class WaitEvent(TypedDict, total=False):
    """How a wait ended, with the error of the last question, or the permanent error that ended it."""

    ended: Literal["settled", "timed_out", "refused"]
    trouble: str
    error_type: str
    error: str


REFUSALS = (ConfigurationError, InvalidMessage, UnsupportedCapability)
"""The errors that end a wait at once. The trigger raises any other error with its traceback."""


def refusal(error: SmsError) -> WaitEvent:
    """Return the event for one of ``REFUSALS``. An error of a derived type resumes as that one."""
    kind = next(kind for kind in REFUSALS if isinstance(error, kind))
    return {"ended": "refused", "error_type": kind.__name__, "error": str(error)}


def raise_if_refused(event: WaitEvent) -> None:
    """Raise the permanent error that an event carries, if it carries one."""
    if event["ended"] == "refused":
        raise next(kind for kind in REFUSALS if kind.__name__ == event["error_type"])(event["error"])


def deferral_timeout(end_at: float, now: float) -> timedelta:
    """Return how long Airflow waits for the trigger of a wait with this end."""
    # A pendulum.Duration does not pass from a task to its supervisor (Airflow 3.3.2).
    return timedelta(seconds=max(0.0, end_at - now)) + _BACKSTOP


def checked_fields(kind: type, value: object, checks: Mapping[str, Check], subject: str) -> Mapping[str, Any]:
    """Return the fields of a stored wait.

    :param kind: the dataclass of the wait.
    :param checks: of its fields. A field without one is a number, 0 or more.
    :param subject: names the wait in errors.
    :raises InvalidMessage: naming a field that is missing or wrong.
    """
    names = [field.name for field in fields(kind)]
    given = value if isinstance(value, Mapping) else {}
    if missing := [name for name in names if name not in given]:
        msg = f"{subject} lacks {', '.join(missing)}."
        raise InvalidMessage(msg)
    if len(given) > len(names):
        msg = f"{subject} may hold only {', '.join(names)}."
        raise InvalidMessage(msg)
    for name in names:
        checks.get(name, check_number)(name, given[name])
    return given


def check_text(name: str, text: object) -> None:
    """Check that a parameter is a text.

    :raises InvalidMessage: it is not.
    """
    if not isinstance(text, str):
        msg = f"{name} must be a text."
        raise InvalidMessage(msg)
