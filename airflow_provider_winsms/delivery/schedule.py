"""When texts are asked for."""

from __future__ import annotations

from dataclasses import dataclass

SHORTEST_PAUSE = 1.0
"""Seconds: a pause of 0 would ask without end."""

SHARE_OF_AGE = 0.1
"""The part of a text's age that passes between two questions about it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When texts are asked for: often while they are young, seldom when they are old.

    The pause between two questions is a tenth of the texts' age, within bounds. So a delivery is known at
    most a tenth later than it took, or ``shortest`` later if that is more; and with the bounds that operators
    begin with, a text that never arrives is asked for about 90 times on its first day.

    :param begins_at: when the texts were due to leave, or the wait began; seconds since the epoch.
    :param shortest: seconds; the pause while they are young.
    :param longest: seconds; the pause is never longer, unless ``shortest`` is.
    """

    begins_at: float
    shortest: float
    longest: float

    def pause(self, now: float) -> float:
        """Return the seconds until the next question."""
        return max(self.shortest, min(self.longest, SHARE_OF_AGE * (now - self.begins_at)))
