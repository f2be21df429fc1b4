"""The result of a wait, and the event in which a trigger returns it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from airflow_provider_winsms.delivery.outcome import DeliveryOutcome
from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, UnsupportedCapability

if TYPE_CHECKING:
    from airflow_provider_winsms.exceptions import SmsError
    from airflow_provider_winsms.runtime import Log

IDS_SHOWN = 10
"""How many ids of undelivered texts the log shows. The counts cover all texts."""


class DeliveryEvent(TypedDict, total=False):
    """The result of the wait, or the permanent error that ended it."""

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


@dataclass(frozen=True, slots=True)
class WaitResult:
    """How a wait ended.

    :param timed_out: whether its time ran out before it was settled.
    :param trouble: the error of the last question, or an empty string.
    """

    outcome: DeliveryOutcome
    timed_out: bool
    trouble: str

    def to_event(self) -> DeliveryEvent:
        """Return the event that carries it."""
        return {
            "ended": "timed_out" if self.timed_out else "settled",
            "outcome": self.outcome.to_json(),
            "trouble": self.trouble,
        }

    @classmethod
    def from_event(cls, event: DeliveryEvent) -> WaitResult:
        """Read an event.

        :raises SmsError: the permanent error that ended the wait.
        """
        if event["ended"] == "refused":
            raise next(kind for kind in REFUSALS if kind.__name__ == event["error_type"])(event["error"])
        outcome = DeliveryOutcome.from_json(event["outcome"])
        return cls(outcome, event["ended"] == "timed_out", event.get("trouble", ""))

    def summary_or_raise(self, *, min_delivered: float, limit: str, log: Log) -> dict[str, Any]:
        """Return the counts if enough texts arrived.

        :param limit: the time that a wait has, in words.
        :raises DeliveryFailed: if too few arrived. The log then names the first of the others.
        """
        outcome = self.outcome
        log.info("Delivery: %s", outcome.summary())
        if outcome.is_success:
            return outcome.summary()
        first = ", ".join(f"{report.message_id} {report.state}" for report in outcome.undelivered[:IDS_SHOWN])
        log.info("Not delivered, the first of them: %s.", first)
        why = f"Too few texts arrived for min_delivered={min_delivered:g}"
        if self.timed_out:
            why = f"Not settled within {limit}"
        raise outcome.failure(why, self.trouble)
