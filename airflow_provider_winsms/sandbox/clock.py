"""The clock of the sandbox. It may run fast, stand still, or be advanced, but never goes back."""

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
    """The sandbox's time, in seconds since the epoch.

    :param start: its time now.
    :param speed: how many of its seconds pass in one second of wall time; at 0 it stands still.
    """

    def __init__(self, start: float, speed: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        if not 0 <= speed < math.inf:
            msg = f"speed must be a number of 0 or more, not {speed}."
            raise ValueError(msg)
        self.speed = speed
        self._start = start
        self._monotonic = monotonic
        self._monotonic_start = monotonic()

    def now(self) -> float:
        """Return its time."""
        return self._start + (self._monotonic() - self._monotonic_start) * self.speed

    def advance(self, seconds: float) -> None:
        """Move the time ahead.

        :raises ValueError: for a negative time, or for more than a century.
        """
        if not 0 <= seconds <= _CENTURY:
            msg = f"The clock can be advanced by 0 to {_CENTURY:.0f} seconds, not by {seconds}."
            raise ValueError(msg)
        self._start += seconds


def resumed(sandbox_time: float, wall: float, speed: float) -> float:
    """Return the time at which the clock continues after a stop.

    Its time passed as fast as wall time meanwhile; at speed 0 it stood still.

    :param sandbox_time: its time at the last transaction.
    :param wall: the wall time at that moment.
    """
    return sandbox_time + max(0.0, time.time() - wall) if speed else sandbox_time


def instant(seconds: float) -> datetime:
    """Return seconds since the epoch as an aware time of Johannesburg."""
    return datetime.fromtimestamp(seconds, SAST)


def epoch_seconds(moment: datetime | None) -> float:
    """Return an aware time, or the present, as seconds since the epoch.

    :raises ValueError: if the time is naive.
    """
    if moment is None:
        return time.time()
    if moment.tzinfo is None:
        msg = "The time must be aware. Give it a time zone."
        raise ValueError(msg)
    return moment.timestamp()
