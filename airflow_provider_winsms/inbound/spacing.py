"""The spacing of one asset's events, so that Airflow gives each event to a DAG run."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EVENT_SPACING = 10.0
"""Seconds between the last event of an asset and the one before it.

Airflow 3.3 gives a DAG run the events that were stored before the first of them was queued. An event stored
between that and the run's creation, a second or so later, waits for the next event. So the last of several
events is held back until the others are queued and handled, and takes them along.
"""

LONGEST_EVENT_HOLD = 120.0
"""Seconds: the longest that an event is held back. Airflow waits five minutes for one to be stored."""


class EventSpacer:
    """The time of each asset's last event.

    :param clock: the present in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def reserve(self, assets: Iterable[str], *, is_last: bool) -> float:
        """Note an event of some assets. Return the seconds to hold it back.

        :param is_last: whether no later event is known yet.
        """
        now = self._clock()
        before = max((self._last.get(asset, -math.inf) for asset in assets), default=-math.inf)
        due = min(max(now, before + EVENT_SPACING), now + LONGEST_EVENT_HOLD) if is_last else now
        for asset in assets:
            self._last[asset] = max(due, before)
        return due - now


SHARED_SPACER = EventSpacer()
"""The spacer of all watchers in this process."""
