"""What a send promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.options import CLAIM_LIFETIME, DUE_MARGIN, LONGEST_HOLD, Guarantee

if TYPE_CHECKING:
    from datetime import timedelta

GATEWAY_CLOCK_TOLERANCE = DUE_MARGIN
"""What is due later than this is surely in the gateway's list: so far may its clock and a worker's differ."""

LEDGER_CLOCK_TOLERANCE = CLAIM_LIFETIME / 2
"""Two workers then differ by ``CLAIM_LIFETIME``, for which a claim waits before it is taken for lost.

A request that left at once, as nearly all do, cannot arrive after another worker has given it up.
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a send promises.

    :param hold: how far ahead a text is scheduled that names no time, under ``EXACTLY_ONCE``.
    :param in_flight: how long after its claim a request may still reach the gateway.
    """

    guarantee: Guarantee
    hold: timedelta
    in_flight: timedelta

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
        return self.guarantee is Guarantee.EXACTLY_ONCE
