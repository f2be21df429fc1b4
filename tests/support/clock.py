"""Time for what sends: the sandbox's own, which passes when somebody waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pendulum

from airflow_provider_winsms.runtime import Clock

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_winsms.sandbox import Sandbox


def clock_of(sandbox: Sandbox) -> Clock:
    """Return a clock on which waiting moves the sandbox's time on, and takes none."""

    def now() -> pendulum.DateTime:
        return pendulum.from_timestamp(sandbox.now().timestamp())

    return Clock(now, sandbox.advance)


def standing_clock(at: datetime) -> Clock:
    """Return a clock that stands still: whoever waits for it waits in vain."""
    moment = pendulum.instance(at)

    def sleep(_: float) -> None:
        raise AssertionError

    return Clock(lambda: moment, sleep)
