"""How a wait for delivery ended."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow_provider_winsms.exceptions import DeliveryFailed
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, credits_text

REPORTS_KEPT = 1000
"""How many reports of undelivered texts an error or event carries; the counts are always of all."""


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """How a wait ended: counts and ids, neither numbers nor texts.

    :param states: how many texts are in each state, over all ids.
    :param cost: credits, as the gateway states it now; it may take back the cost of what failed. ``None`` if
        what it states of a text is no amount.
    :param undelivered: reports of texts that did not arrive, at most ``REPORTS_KEPT``.
    """

    total: int
    needed: int
    states: dict[str, int]
    cost: Decimal | None
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
        """Return ``{"total": n, "delivered": n, "states": {state: n}, "cost": "2.0"}``; or no cost."""
        return {
            "total": self.total,
            "delivered": self.delivered,
            "states": self.states,
            "cost": None if self.cost is None else credits_text(self.cost),
        }

    def failure(self, why: str, trouble: str = "") -> DeliveryFailed:
        """Return the error that says so.

        :param trouble: what was in the way of the last question, if something was.
        """
        counts = ", ".join(f"{count} {state}" for state, count in self.states.items())
        msg = f"{why}: {self.delivered} of {self.total} texts delivered, {self.needed} needed ({counts})."
        if trouble:
            msg = f"{msg} What was in the way: {trouble}"
        return DeliveryFailed(msg, self.undelivered)

    def to_json(self) -> dict[str, Any]:
        """Return what ``from_json`` reads; a trigger event carries it."""
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
            undelivered=tuple(
                DeliveryReport(message_id, DeliveryState(state), code)
                for message_id, state, code in value["undelivered"]
            ),
        )
