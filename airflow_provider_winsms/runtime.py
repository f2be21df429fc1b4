"""The clock and the log that are handed in, and clocks that must agree.

These are this machine's, the gateway's, and that of the database with the ledger.
Two workers that share a ledger judge each other's claims by their own clocks. Where these are minutes apart,
one of them takes a request for lost that the other is still submitting.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pendulum

from airflow_provider_winsms.exceptions import ClocksDiffer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pendulum import DateTime

_ZONE_STEP = timedelta(minutes=30)
"""Zones lie whole half hours apart, but for a few that lie quarters."""


class ClockReading(NamedTuple):
    """What another clock showed between two looks at this machine's.

    :param clock: names the other clock, for errors.
    :param resolution: how much later it may have been than it showed.
    :param is_zone_known: whether the zone of what it showed is known; if not, the two may be any number of
        half hours apart and agree.
    """

    clock: str
    shown: datetime
    asked_at: datetime
    answered_at: datetime
    resolution: timedelta = timedelta(0)
    is_zone_known: bool = True

    @property
    def least_difference(self) -> timedelta:
        """How far the clocks are apart at least: positive if the other is ahead, 0 if they may agree."""
        least, most = self.shown - self.answered_at, self.shown + self.resolution - self.asked_at
        if not self.is_zone_known:
            shift = round((least + most) / 2 / _ZONE_STEP) * _ZONE_STEP
            least, most = least - shift, most - shift
        return max(least, timedelta(0)) + min(most, timedelta(0))


class Clock(NamedTuple):
    """The present, and how to wait for a later one."""

    now: Callable[[], DateTime]
    sleep: Callable[[float], None]


SYSTEM_CLOCK = Clock(partial(pendulum.now, "UTC"), time.sleep)


async def pause(seconds: float, woken: asyncio.Event | None = None) -> None:
    """Wait for seconds to pass, or for an event if there is one."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await (asyncio.Event() if woken is None else woken).wait()


class Log(Protocol):
    """What is said to people."""

    def info(self, words: str, /, *values: object) -> Any:
        """Say what was done."""

    def warning(self, words: str, /, *values: object) -> Any:
        """Say what a person may have to know."""

    def exception(self, words: str, /, *values: object) -> Any:
        """Say what went wrong, with the error that is being handled."""


def check_agreement(reading: ClockReading, tolerance: timedelta) -> None:
    """Hold a clock against this machine's.

    :raises ClocksDiffer: if they are certainly further apart than the tolerance.
    """
    difference = abs(reading.least_difference)
    if difference > tolerance:
        msg = (
            f"This machine's clock showed {_instant(reading.answered_at)} when {reading.clock} showed "
            f"{_instant(reading.shown)}: they are at least {difference.total_seconds():.0f} seconds apart. "
            f'guarantee="exactly_once" needs {tolerance.total_seconds():.0f} seconds or less: '
            "it tells by them whether a request can still arrive. Nothing more was submitted. Set the clock "
            "that is wrong, as NTP does, and try again."
        )
        raise ClocksDiffer(msg)


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
