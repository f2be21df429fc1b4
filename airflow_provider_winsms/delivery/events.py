"""The JSON values that a task gives its trigger, and the event that the trigger returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from airflow_provider_winsms.delivery.outcome import DeliveryOutcome
from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, UnsupportedCapability

if TYPE_CHECKING:
    from airflow_provider_winsms.exceptions import SmsError


class LedgerAddress(NamedTuple):
    """The connection and the table prefix of a ledger."""

    conn_id: str
    prefix: str


class IdSource(TypedDict, total=False):
    """Where the ids of a wait are. It has one key: the packed ids, a batch of the ledger, or an XCom.

    Only few ids are packed here. An XCom holds ids under ``message_ids``, packed or as a list.
    """

    message_ids: str
    batch: str
    xcom: dict[str, Any]


class DeliveryEvent(TypedDict, total=False):
    """The outcome of the wait, or the permanent error that ended it.

    ``trouble`` is the error of the last question, or an empty string.
    """

    ended: Literal["settled", "timed_out", "refused"]
    outcome: dict[str, Any]
    trouble: str
    error_type: str
    error: str


REFUSALS = (ConfigurationError, InvalidMessage, UnsupportedCapability)
"""The errors that end a wait at once. The trigger raises any other error with its traceback."""


def refusal(error: SmsError) -> DeliveryEvent:
    """Return the event for a permanent error."""
    return {"ended": "refused", "error_type": type(error).__name__, "error": str(error)}


def read_delivery_event(event: DeliveryEvent) -> tuple[DeliveryOutcome, bool, str]:
    """Return the outcome, whether the time ran out, and the error of the last question.

    :raises SmsError: the permanent error that ended the wait.
    """
    if event["ended"] == "refused":
        raise next(kind for kind in REFUSALS if kind.__name__ == event["error_type"])(event["error"])
    outcome = DeliveryOutcome.from_json(event["outcome"])
    return outcome, event["ended"] == "timed_out", event.get("trouble", "")
