"""What a trigger is given, and what it tells the task, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from airflow_provider_winsms.delivery.outcome import DeliveryOutcome
from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, UnsupportedCapability

if TYPE_CHECKING:
    from airflow_provider_winsms.exceptions import SmsError


class LedgerAddress(NamedTuple):
    """Where the ledger is that reports are written into."""

    conn_id: str
    prefix: str


class IdSource(TypedDict, total=False):
    """Where the ids of a wait are: here, packed, if they are few; else in a batch of the ledger or an XCom.

    An XCom holds them under ``message_ids``, packed or as a list.
    """

    message_ids: str
    batch: str
    xcom: dict[str, Any]


class DeliveryEvent(TypedDict, total=False):
    """What the trigger tells the task: an outcome, or the permanent error that ended the wait.

    ``trouble`` says what was in the way of the last question.
    """

    ended: Literal["settled", "timed_out", "refused"]
    outcome: dict[str, Any]
    trouble: str
    error_type: str
    error: str


REFUSALS = (ConfigurationError, InvalidMessage, UnsupportedCapability)
"""The errors that end a wait at once. Any other that is not foreseen is raised with its traceback."""


def refusal(error: SmsError) -> DeliveryEvent:
    """Return the event that says that a permanent error ended the wait."""
    return {"ended": "refused", "error_type": type(error).__name__, "error": str(error)}


def read_delivery_event(event: DeliveryEvent) -> tuple[DeliveryOutcome, bool, str]:
    """Return the outcome, whether the time ran out, and what was in the way of the last question.

    :raises SmsError: the permanent error that ended the wait.
    """
    if event["ended"] == "refused":
        raise next(kind for kind in REFUSALS if kind.__name__ == event["error_type"])(event["error"])
    outcome = DeliveryOutcome.from_json(event["outcome"])
    return outcome, event["ended"] == "timed_out", event.get("trouble", "")
