"""The outcome of a wait for delivery, and the event by which a trigger reports it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import (
    DeliveryFailed,
)
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, amount_text, pluralize
from airflow_provider_winsms.polling.waits import WaitEvent, raise_if_refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_winsms.runtime import Log

REPORTS_KEPT = 1000
"""How many reports of undelivered texts an error or event carries. The counts cover all texts."""


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """How a wait ended, in counts and ids, without phone numbers and texts.

    :param states: how many texts are in each state.
    :param cost: the sum of the prices that the reports state; a gateway may state 0 for a text that failed.
        ``None`` if it states no readable amount for a text.
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

    def in_words(self) -> str:
        """Return ``2 of 3 delivered, 1 sent; the reports state 3.0 credits``."""
        cost = (
            "no cost that can be read" if self.cost is None else f"{amount_text(self.cost)} {self.currency}"
        )
        return f"{delivered_in_words(self.states)}; the reports state {cost}"

    def cost_difference(self, charged: Decimal | None) -> Decimal | None:
        """Return what was charged, less what the reports state; ``None`` if one of them is unknown."""
        return None if charged is None or self.cost is None else charged - self.cost

    def log_cost_difference(self, charged: Decimal | None, log: Log) -> None:
        """Log in words how the reports differ from what was charged, if they do."""
        difference = self.cost_difference(charged)
        if charged is None or self.cost is None or not difference:
            return
        undelivered = self.total - self.delivered
        log.info(
            "The send was charged %s %s, and the delivery reports state %s, which is %s %s. A gateway may "
            "state 0 for a text that failed, and a text without a report counts as 0: %s did not arrive.",
            amount_text(charged),
            self.currency,
            amount_text(self.cost),
            amount_text(abs(difference)),
            "less" if difference > 0 else "more",
            pluralize(undelivered, "text"),
        )

    def failure(self, why: str, trouble: str = "") -> DeliveryFailed:
        """Return the error for this outcome.

        :param trouble: the error of the last question, or an empty string.
        """
        counts = states_in_words(self.states)
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


def delivered_in_words(states: Mapping[str, int]) -> str:
    """Return ``2 of 3 delivered, 1 sent``."""
    delivered = states.get(DeliveryState.DELIVERED, 0)
    others = {state: count for state, count in states.items() if state != DeliveryState.DELIVERED}
    counts = (f"{delivered} of {sum(states.values())} delivered", states_in_words(others))
    return ", ".join(filter(None, counts))


def states_in_words(states: Mapping[str, int]) -> str:
    """Return ``2 delivered, 1 failed``."""
    return ", ".join(f"{count} {state}" for state, count in states.items())


IDS_SHOWN = 10
"""How many ids of undelivered texts the log shows. The counts cover all texts."""


class DeliveryEvent(WaitEvent, total=False):
    """The result of a wait for delivery, or the permanent error that ended it."""

    outcome: dict[str, Any]


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
        raise_if_refused(event)
        outcome = DeliveryOutcome.from_json(event["outcome"])
        return cls(outcome, event["ended"] == "timed_out", event.get("trouble", ""))

    def summary_or_raise(self, *, min_delivered: float, limit: str, log: Log) -> dict[str, Any]:
        """Return the counts if enough texts arrived.

        :param limit: the time that a wait has, in words.
        :raises DeliveryFailed: if too few arrived. The log then names the first of the others.
        """
        outcome = self.outcome
        log.info("Delivery: %s.", outcome.in_words())
        if outcome.is_success:
            return outcome.summary()
        first = ", ".join(f"{report.message_id} {report.state}" for report in outcome.undelivered[:IDS_SHOWN])
        log.info("Not delivered, the first of them: %s.", first)
        why = f"Too few texts arrived for min_delivered={min_delivered:g}"
        if self.timed_out:
            why = f"Not settled within {limit}"
        raise outcome.failure(why, self.trouble)
