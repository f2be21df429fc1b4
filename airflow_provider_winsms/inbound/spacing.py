"""Holds events of one asset apart, so that Airflow gives each to a DAG run."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SETTLING = 10.0
"""Seconds between the last event of an asset and the one before it.

Airflow 3.3 gives a DAG run those events that were stored before the first of them was queued; whatever is
stored between that and the run's creation, a second or so later, waits for the next event. So of several
events the last one is held back until the others are queued and done with, and takes them along.
"""

LONGEST_HOLD = 120.0
"""Seconds: no event is held back longer, as Airflow waits five minutes for one to be stored."""


class EventSpacer:
    """When which assets had events last.

    :param clock: the present in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    def take(self, assets: Iterable[str], *, is_last: bool) -> float:
        """Take note of an event of some assets, and return the seconds to hold it back.

        :param is_last: whether it is not known that more will follow.
        """
        now = self._clock()
        before = max((self._last.get(asset, -math.inf) for asset in assets), default=-math.inf)
        turn = min(max(now, before + SETTLING), now + LONGEST_HOLD) if is_last else now
        for asset in assets:
            self._last[asset] = max(turn, before)
        return turn - now


TURNS = EventSpacer()
"""When which asset had its last event; of all watchers in this process."""
