"""The outcome of a wait for delivery."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow_provider_winsms.exceptions import DeliveryFailed
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, amount_text

REPORTS_KEPT = 1000
"""How many reports of undelivered texts an error or event carries. The counts cover all texts."""


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """How a wait ended, in counts and ids, without phone numbers and texts.

    :param states: how many texts are in each state.
    :param cost: the price that the gateway states now; it may refund texts that failed. ``None`` if it
        states no readable amount for a text.
    :param currency: of the cost.
    :param undelivered: reports of texts that did not arrive, at most ``REPORTS_KEPT``.
    """

    total: int
    needed: int
    states: dict[str, int]
    cost: Decimal | None
    currency: str
    undelivered: tuple[DeliveryReport, ...]

    @property
    def delivered(self) -> int:
        """How many texts arrived."""
        return self.states.get(DeliveryState.DELIVERED, 0)

    @property
    def is_success(self) -> bool:
        """Whether enough texts arrived."""
        return self.delivered >= self.needed

    def summary(self) -> dict[str, Any]:
        """Return the counts as JSON values; ``cost`` is a decimal string, or ``None``."""
        return {
            "total": self.total,
            "delivered": self.delivered,
            "states": self.states,
            "cost": None if self.cost is None else amount_text(self.cost),
            "currency": self.currency,
        }

    def failure(self, why: str, trouble: str = "") -> DeliveryFailed:
        """Return the error for this outcome.

        :param trouble: the error of the last question, or an empty string.
        """
        counts = ", ".join(f"{count} {state}" for state, count in self.states.items())
        msg = f"{why}: {self.delivered} of {self.total} texts delivered, {self.needed} needed ({counts})."
        if trouble:
            msg = f"{msg} The last error: {trouble}"
        return DeliveryFailed(msg, self.undelivered)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value that a trigger event carries."""
        undelivered = [[report.message_id, report.state.value, report.code] for report in self.undelivered]
        return {**self.summary(), "needed": self.needed, "undelivered": undelivered}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> DeliveryOutcome:
        """Read what ``to_json`` wrote."""
        return cls(
            total=value["total"],
            needed=value["needed"],
            states=dict(value["states"]),
            cost=None if value["cost"] is None else Decimal(value["cost"]),
            currency=value["currency"],
            undelivered=tuple(
                DeliveryReport(message_id, DeliveryState(state), code)
                for message_id, state, code in value["undelivered"]
            ),
        )
