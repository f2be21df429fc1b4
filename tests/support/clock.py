"""Time for what sends: the sandbox's own, which passes when somebody waits for it."""

from __future__ import annotations

from types import new_class
from typing import TYPE_CHECKING, TypeVar

import pendulum

from airflow_provider_winsms.clocks import Clock

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox

Operator = TypeVar("Operator")


def clock_of(sandbox: Sandbox) -> Clock:
    """Return a clock on which waiting moves the sandbox's time on, and takes none."""

    def now() -> pendulum.DateTime:
        return pendulum.from_timestamp(sandbox.now().timestamp())

    return Clock(now, sandbox.advance)


def on_clock(operator: type[Operator], clock: Clock) -> type[Operator]:
    """Return an operator that goes by another clock."""
    return new_class(operator.__name__, (operator,), exec_body=lambda body: body.update(clock=clock))
