"""The clock, the log and the pace of long work, and the check that other clocks agree with this machine's.

The other clocks are the gateway's, and that of the ledger's database. Two workers that share a ledger judge
each other's claims by their own clocks. If these are minutes apart, one worker treats a request as lost that
the other is still submitting.
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
from airflow_provider_winsms.messages import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pendulum import DateTime

_ZONE_STEP = timedelta(minutes=30)
"""Most zones differ by whole half hours, and a few by quarters."""


class ClockReading(NamedTuple):
    """The time that another clock showed, between two readings of this machine's.

    :param clock: names the other clock, for errors.
    :param resolution: the most by which its time may have been later than shown.
    :param is_zone_known: whether the zone of the shown time is known. If not, clocks agree that differ by any
        number of half hours.
    """

    clock: str
    shown: datetime
    asked_at: datetime
    answered_at: datetime
    resolution: timedelta = timedelta(0)
    is_zone_known: bool = True

    @property
    def least_difference(self) -> timedelta:
        """The least difference of the clocks: positive if the other is ahead, 0 if they may agree."""
        least, most = self.shown - self.answered_at, self.shown + self.resolution - self.asked_at
        if not self.is_zone_known:
            shift = round((least + most) / 2 / _ZONE_STEP) * _ZONE_STEP
            least, most = least - shift, most - shift
        return max(least, timedelta(0)) + min(most, timedelta(0))


class Clock(NamedTuple):
    """The time now, and a way to wait."""

    now: Callable[[], DateTime]
    sleep: Callable[[float], None]


SYSTEM_CLOCK = Clock(partial(pendulum.now, "UTC"), time.sleep)


async def pause(seconds: float, woken: asyncio.Event | None = None) -> None:
    """Wait for seconds to pass, or for an event if there is one."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await (asyncio.Event() if woken is None else woken).wait()


class Log(Protocol):
    """The log for people."""

    def debug(self, message: str, /, *values: object) -> Any:
        """Log a detail that helps to find a mistake."""

    def info(self, message: str, /, *values: object) -> Any:
        """Log what was done."""

    def warning(self, message: str, /, *values: object) -> Any:
        """Log what a person may have to know."""

    def exception(self, message: str, /, *values: object) -> Any:
        """Log a failure, with the error that is being handled."""


class FoldedLines:
    """Lines of detail that are logged together, in a group that Airflow's log view folds.

    A group is opened, filled and closed at once. So no error leaves one open, which would fold all that
    follows, and a line from elsewhere is never folded.

    :param most: how many lines are logged in all. More would slow down the log view.
    """

    def __init__(self, log: Log, most: int) -> None:
        self._log = log
        self._left = most
        self._lines: list[str] = []

    def add(self, line: str) -> None:
        """Keep a line for the next group."""
        self._left -= 1
        if self._left >= 0:
            self._lines.append(line)
        if self._left == 0:
            self._lines.append("Those that follow have no line of their own.")

    def flush(self, title: str) -> None:
        """Log the lines since the last group, if there are any."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        self._log.info("::group::%s", title)
        for line in lines:
            self._log.info("%s", line)
        self._log.info("::endgroup::")


def group_title(first: int, last: int) -> str:
    """Return ``Request 3``, ``Requests 1 to 20``."""
    return f"Request {first}" if first == last else f"Requests {first} to {last}"


PROGRESS_SECONDS = 5.0
"""Seconds between two log lines about the progress of a long load or send."""


class Pace:
    """The pace of long work: when a log line about it is due, and how long the rest takes.

    :param now: returns seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began = self._logged = self._last = now()
        self._spent = 0.0
        self._parts = 0

    @property
    def taken(self) -> float:
        """The seconds from the beginning to the last step."""
        return self._last - self._began

    def step(self, *, counts: bool = True) -> bool:
        """Note that a part is done. Return whether a log line is due, which the caller then writes.

        :param counts: whether the part took as long as the rest will. The pace is the mean of such parts.
        """
        now = self._now()
        if counts:
            self._spent += max(0.0, now - self._last)
            self._parts += 1
        self._last = now
        if now - self._logged < PROGRESS_SECONDS:
            return False
        self._logged = now
        return True

    def time_left(self, parts: int) -> str:
        """Return how long so many more parts take, in words."""
        if not self._parts:
            return "the time left is not known yet"
        seconds = self._spent / self._parts * max(0, parts)
        size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), (1, "second"))
        return f"about {pluralize(round(seconds / size), unit)} left"


_UNITS = ((3600, "hour"), (60, "minute"))


def check_agreement(reading: ClockReading, tolerance: timedelta) -> None:
    """Compare a clock with this machine's.

    :raises ClocksDiffer: they certainly differ by more than the tolerance.
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
