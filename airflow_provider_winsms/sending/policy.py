"""The guarantee of a send, with the times and the clock tolerances that it relies on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage, UnsupportedCapability
from airflow_provider_winsms.options import Guarantee, shown
from airflow_provider_winsms.runtime import check_agreement

if TYPE_CHECKING:
    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.gateways.endpoint import Endpoint
    from airflow_provider_winsms.runtime import ClockReading

LONGEST_HOLD = timedelta(days=1)
"""The longest time for which texts are held back."""

CLAIM_LIFETIME = timedelta(seconds=30)
"""A request leaves within this time of its claim, or is claimed again."""

DUE_MARGIN = timedelta(seconds=30)
"""From this time before a text is due, the gateway's list proves nothing, as clocks differ."""

GATEWAY_CLOCK_TOLERANCE = DUE_MARGIN
"""How far the gateway's clock and a worker's may differ.

A text that is due later than this is still in the gateway's list.
"""

LEDGER_CLOCK_TOLERANCE = CLAIM_LIFETIME / 2
"""How far the ledger's clock and a worker's may differ.

The clocks of two workers then differ by at most ``CLAIM_LIFETIME``, after which a claim counts as lost.
So a request that leaves at once, as nearly all do, cannot arrive after another worker has given it up.
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """The guarantee of a send, and its times.

    :param hold: how far ahead a text without a time is scheduled, under ``EXACTLY_ONCE``.
    :param in_flight: how long after its claim a request can still reach the gateway.
    :param needs_hold: whether only scheduled texts can be looked up after a lost answer.
    """

    guarantee: Guarantee
    hold: timedelta
    in_flight: timedelta
    needs_hold: bool = True

    def __post_init__(self) -> None:
        least = self.in_flight + 2 * DUE_MARGIN
        if self.is_held and not least <= self.hold <= LONGEST_HOLD:
            msg = (
                f"`hold` must be a timedelta of at least {least.total_seconds():.0f} seconds, and at most "
                f"{LONGEST_HOLD.days} day: a lost answer is looked up "
                f"until {self.in_flight.total_seconds():.0f} seconds after the request (30, and the "
                "connection's time-outs), and the text must not be due by then."
            )
            raise InvalidMessage(msg)

    @property
    def is_held(self) -> bool:
        """Whether texts without a time are scheduled ahead."""
        return self.holds(self.guarantee)

    @property
    def held_for(self) -> timedelta:
        """How far ahead texts without a time are scheduled; zero if they are sent at once."""
        return self.hold if self.is_held else timedelta(0)

    def held_until(self, now: DateTime, gateway: Gateway) -> DateTime | None:
        """Return the time of a text without one that is submitted now; ``None``: at once."""
        return gateway.first_possible_time(now + self.hold) if self.is_held else None

    def holds(self, guarantee: Guarantee) -> bool:
        """Tell whether a send with a guarantee schedules texts without a time ahead."""
        return guarantee is Guarantee.EXACTLY_ONCE and self.needs_hold


def check_hold(name: str, hold: object) -> None:
    """Check that texts can be held for a duration, independently of the time-outs of a connection.

    :raises InvalidMessage: no connection allows it.
    """
    least = CLAIM_LIFETIME + 2 * DUE_MARGIN
    if not isinstance(hold, timedelta) or not least < hold <= LONGEST_HOLD:
        msg = (
            f"{name} must be a timedelta of more than {least.total_seconds():.0f} seconds, and at most "
            f"{LONGEST_HOLD.days} day; got {shown(hold)}."
        )
        raise InvalidMessage(msg)


def policy_of(guarantee: Guarantee, hold: timedelta, gateway: Gateway, endpoint: Endpoint) -> Policy:
    """Return the policy of a send through an endpoint.

    :raises InvalidMessage: if ``hold`` is too short for the endpoint's time-outs.
    :raises UnsupportedCapability: if the gateway cannot keep the guarantee.
    """
    if guarantee is Guarantee.EXACTLY_ONCE and not gateway.capabilities.finds_lost_texts:
        msg = (
            f"The gateway {gateway.name} lists neither scheduled texts nor sent ones with their references. "
            f'So a lost answer cannot be looked up, and `guarantee` ("{guarantee}") needs that. Nothing was '
            "requested."
        )
        raise UnsupportedCapability(msg)
    timeouts = timedelta(seconds=endpoint.connect_timeout + endpoint.read_timeout)
    policy = Policy(
        guarantee, hold, CLAIM_LIFETIME + timeouts, needs_hold=not gateway.capabilities.finds_references
    )
    if policy.is_held:
        gateway.require("schedule", "hold")
    return policy


def require_cancelling(gateway: Gateway, parameter: str) -> None:
    """Check that a gateway cancels, and tells what a request to cancel did whose answer was lost.

    :raises UnsupportedCapability: it does not.
    """
    needs_list = not gateway.capabilities.states_cancellations
    for capability in ("cancel", *["list_scheduled"] * needs_list, "status"):
        gateway.require(capability, parameter)


def check_clocks(gateway: ClockReading | None, ledger: ClockReading | None) -> None:
    """Compare the clocks that a held send relies on with this machine's. A clock that cannot be read passes.

    :raises ClocksDiffer: if they certainly differ by more than a held send allows.
    """
    for reading, tolerance in ((gateway, GATEWAY_CLOCK_TOLERANCE), (ledger, LEDGER_CLOCK_TOLERANCE)):
        if reading is not None:
            check_agreement(reading, tolerance)
