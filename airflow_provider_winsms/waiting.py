"""Waiting for delivery: which ids are still open, what is settled, and when to stop.

One judge for the sensor that holds a worker and for the trigger that does not. It knows neither Airflow nor
HTTP; the present is always handed in.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_winsms.exceptions import DeliveryFailed, GatewayUnavailable, InvalidMessage
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, credits_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from airflow_provider_winsms.gateways.base import Call, Gateway
    from airflow_provider_winsms.messages import MessageId

    StatusCall = Call[tuple[DeliveryReport, ...]]

REPORTS_KEPT = 1000
"""How many reports of undelivered texts an error or event carries; the counts are always of all."""

LONGEST_BACK_OFF = 300.0
"""Seconds: the longest pause after polls that failed, unless the gateway asks for a longer one."""


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """How a wait ended: counts and ids, neither numbers nor texts.

    :param states: how many texts are in each state, over all ids.
    :param cost: credits, as the gateway states it now; it may take back the cost of what failed.
    :param undelivered: reports of texts that did not arrive, at most ``REPORTS_KEPT``.
    """

    total: int
    needed: int
    states: dict[str, int]
    cost: Decimal
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
        """Return ``{"total": n, "delivered": n, "states": {state: n}, "cost": "2.0"}``."""
        return {
            "total": self.total,
            "delivered": self.delivered,
            "states": self.states,
            "cost": credits_text(self.cost),
        }

    def failure(self, why: str) -> DeliveryFailed:
        """Return the error that says so."""
        counts = ", ".join(f"{count} {state}" for state, count in self.states.items())
        msg = f"{why}: {self.delivered} of {self.total} texts delivered, {self.needed} needed ({counts})."
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
            cost=Decimal(value["cost"]),
            undelivered=tuple(
                DeliveryReport(message_id, DeliveryState(state), code)
                for message_id, state, code in value["undelivered"]
            ),
        )


class DeliveryWait:
    """Follows texts until each is settled, or too few can still arrive.

    :param min_delivered: the share, 0 to 1, of the texts that must arrive.
    :param grace_until: until then an id that the gateway does not know may be one that it has just made.
    """

    def __init__(
        self, message_ids: Sequence[MessageId], *, min_delivered: float, grace_until: pendulum.DateTime
    ) -> None:
        if not isinstance(min_delivered, (int, float)) or not 0 <= min_delivered <= 1:
            msg = f"min_delivered must be a share, a number from 0 to 1; got {min_delivered!r}."
            raise InvalidMessage(msg)
        self._reports = {
            message_id: DeliveryReport(message_id, DeliveryState.UNKNOWN) for message_id in message_ids
        }
        self._open = dict.fromkeys(message_ids)
        self._grace_until = grace_until
        # The subtraction takes back what binary fractions add: 0.07 * 100 is 7.000000000000001.
        self._needed = math.ceil(min_delivered * len(self._reports) - 1e-9)
        self._lost = 0

    def calls(self, gateway: Gateway) -> Iterator[StatusCall]:
        """Describe the requests of one poll: all open ids, in as few requests as the limit allows.

        Stops in the middle of a poll if its answers have settled the wait.
        """
        ids, size = list(self._open), gateway.limits.message_ids
        for start in range(0, len(ids), size):
            if self.is_settled:
                return
            yield gateway.delivery_reports(ids[start : start + size])

    def absorb(self, reports: tuple[DeliveryReport, ...], now: pendulum.DateTime) -> None:
        """Take note of what the gateway answered."""
        for report in reports:
            if report.message_id in self._open:
                self._absorb(report, now)

    def _absorb(self, report: DeliveryReport, now: pendulum.DateTime) -> None:
        self._reports[report.message_id] = DeliveryReport(
            report.message_id, report.state, report.code, report.cost, report.time
        )
        in_grace = report.state is DeliveryState.NOT_FOUND and now < self._grace_until
        if report.state.is_final and not in_grace:
            del self._open[report.message_id]
            self._lost += not report.state.is_delivered

    @property
    def is_settled(self) -> bool:
        """Whether waiting longer changes nothing: every id is final, or too few can still arrive."""
        return not self._open or len(self._reports) - self._lost < self._needed

    def outcome(self) -> DeliveryOutcome:
        """Return how things stand."""
        reports = self._reports.values()
        states = Counter(report.state for report in reports)
        undelivered = [report for report in reports if not report.state.is_delivered]
        return DeliveryOutcome(
            total=len(self._reports),
            needed=self._needed,
            states={state.value: states[state] for state in DeliveryState if states[state]},
            cost=sum((report.cost for report in reports), start=Decimal(0)),
            undelivered=tuple(undelivered[:REPORTS_KEPT]),
        )


async def poll_until_settled(
    wait: DeliveryWait,
    gateway: Gateway,
    carry: Callable[[StatusCall], Awaitable[tuple[DeliveryReport, ...]]],
    *,
    poll_interval: float,
    end_at: pendulum.DateTime,
    log: Any,
    now: Callable[[], pendulum.DateTime] = pendulum.now,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Poll until the wait is settled or its end has come, whichever is first; at least once.

    A poll that fails for now is followed by a longer pause, or the one that the gateway asks for.

    :param now: the clock; like ``sleep`` a seam for tests.
    :raises SmsError: a permanent one, as it comes.
    """
    failures = 0
    while True:
        try:
            for call in wait.calls(gateway):
                wait.absorb(await carry(call), now())
            pause, failures = poll_interval, 0
        except GatewayUnavailable as error:
            failures += 1
            pause = back_off(poll_interval, failures, error)
            log.warning("%s Asking again in %.0f seconds.", error, pause)
        left = (end_at - now()).total_seconds()
        if wait.is_settled or left <= 0:
            return
        await sleep(min(pause, left))


def back_off(poll_interval: float, failures: int, error: GatewayUnavailable) -> float:
    """Return the seconds to pause after polls in a row that failed, the last of them with an error."""
    longest = max(LONGEST_BACK_OFF, poll_interval)
    ceiling = min(longest, poll_interval * 2 ** min(failures, 16))
    return max(random.uniform(poll_interval, ceiling), error.retry_after or 0)  # noqa: S311 - jitter, no secret
