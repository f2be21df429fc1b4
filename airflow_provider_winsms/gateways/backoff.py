"""The pause after failed requests: exponential backoff with jitter."""

from __future__ import annotations

import random

LONGEST_BACK_OFF = 300.0
"""Seconds: the longest pause after failed polls, unless the gateway asks for a longer one."""


def back_off(
    poll_interval: float, failures: int, retry_after: float | None, longest: float = LONGEST_BACK_OFF
) -> float:
    """Return a random pause in seconds. Its upper bound doubles with each failure in a row.

    :param poll_interval: seconds; the pause is never shorter.
    :param retry_after: the seconds that the gateway asks for, or ``None``; the pause is never shorter.
    :param longest: seconds; the pause is never longer, unless one of the other two is.
    """
    ceiling = min(max(longest, poll_interval), poll_interval * 2 ** min(failures, 16))
    return max(random.uniform(poll_interval, ceiling), retry_after or 0)  # noqa: S311 - jitter, no secret
