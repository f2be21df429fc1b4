"""The schedule of the questions about texts."""

from __future__ import annotations

from dataclasses import dataclass, replace

SHORTEST_PAUSE = 1.0
"""The shortest pause in seconds. Without one, a pause of 0 would ask without rest."""

SHARE_OF_AGE = 0.1
"""The pause between two questions about a text, as a share of its age."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When texts are asked for: often while they are young, seldom when they are old.

    The pause between two questions is a tenth of the texts' age, within bounds. So a delivery becomes known
    at most a tenth later than it took, or ``shortest`` later if that is more. With the operators' default
    bounds, a text that never arrives is asked for about 90 times on its first day.

    :param begins_at: when the texts were due to leave, or the wait began; seconds since the epoch.
    :param shortest: the pause while they are young, in seconds.
    :param longest: the longest pause in seconds, unless ``shortest`` is longer.
    """

    begins_at: float
    shortest: float
    longest: float

    def pause(self, now: float) -> float:
        """Return the seconds until the next question."""
        return max(self.shortest, min(self.longest, SHARE_OF_AGE * (now - self.begins_at)))

    def without_rush(self) -> Schedule:
        """Return the schedule of a shared poll: its pauses are no shorter than ``SHORTEST_PAUSE``."""
        return replace(self, shortest=max(self.shortest, SHORTEST_PAUSE))
