"""The progress of a wait for delivery, for its log: counts only, no id and no number."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_winsms.delivery.outcome import delivered_in_words

if TYPE_CHECKING:
    from airflow_provider_winsms.delivery.tracker import DeliveryTracker
    from airflow_provider_winsms.runtime import Log

LINE_INTERVAL = 60.0
"""The shortest time in seconds between two log lines of one wait."""


class WaitProgress:
    """Logs how far a wait is when its counts have changed, at most once a minute."""

    def __init__(self, tracker: DeliveryTracker, log: Log) -> None:
        self._tracker = tracker
        self._log = log
        self._logged_at = -math.inf
        self._states: dict[str, int] = {}

    def note(self, now: float, next_at: float) -> None:
        """Note that answers were recorded, or that a poll is over. A wait that is settled logs its result.

        :param now: the present, in seconds since the epoch.
        :param next_at: when the next poll is; seconds since the epoch.
        """
        if now - self._logged_at < LINE_INTERVAL or self._tracker.is_settled:
            return
        # To count a million texts takes a while, so the time is compared first.
        states = self._tracker.states()
        if states == self._states:
            return
        self._states, self._logged_at = states, now
        self._log.info(
            "Waiting for delivery: %s. The next poll is at %s UTC.",
            delivered_in_words(states),
            f"{datetime.fromtimestamp(next_at, UTC):%Y-%m-%d %H:%M:%S}",
        )
