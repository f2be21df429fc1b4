"""The sandbox's time: it may run faster than wall time, stand still, or be advanced; it never goes back."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SAST = timezone(timedelta(hours=2), "SAST")
"""Africa/Johannesburg has been two hours ahead of UTC, all year, since 1944."""

_CENTURY = 100 * 365.25 * 86_400


class SandboxClock:
    """Seconds since the epoch, as the sandbox has them.

    :param start: the time it shows now.
    :param speed: how many of its seconds pass in one second of wall time; 0 stands still.
    """

    def __init__(self, start: float, speed: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        if not 0 <= speed < math.inf:
            msg = f"speed must be a number of 0 or more, not {speed}."
            raise ValueError(msg)
        self.speed = speed
        self._start = start
        self._monotonic = monotonic
        self._mark = monotonic()

    def now(self) -> float:
        """Return the time it shows."""
        return self._start + (self._monotonic() - self._mark) * self.speed

    def advance(self, seconds: float) -> None:
        """Move the time ahead.

        :raises ValueError: if that would move it back, or by more than a century.
        """
        if not 0 <= seconds <= _CENTURY:
            msg = f"The clock can be advanced by 0 to {_CENTURY:.0f} seconds, not by {seconds}."
            raise ValueError(msg)
        self._start += seconds


def resumed(shown: float, wall: float, speed: float) -> float:
    """Return the time to go on with after a stop: time passed at wall pace meanwhile, unless it stands still.

    :param shown: what the clock showed when it was last seen.
    :param wall: the wall time at that moment.
    """
    return shown + max(0.0, time.time() - wall) if speed else shown


def instant(seconds: float) -> datetime:
    """Return seconds since the epoch as an aware time of Johannesburg."""
    return datetime.fromtimestamp(seconds, SAST)
