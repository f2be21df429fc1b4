"""The list of scheduled texts is read right in either order, and while other texts come in."""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING

import pendulum
import pytest

from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.runtime import Clock
from tests.support.clock import clock_of
from tests.support.hooks import narrow_hook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

PAGE, REQUEST = 20, 40
TO = [f"2782555{place:04}" for place in range(2 * REQUEST)]
ELSEWHERE = [f"2783555{place:04}" for place in range(15)]
LOOKS_BEFORE = 10
"""How often the list is read before its request cannot arrive any more."""

LIST, SEND, CANCEL = "getScheduledMessages", "smsSend", "deleteScheduledMessages"


class Send(SmsSendOperator):
    """A send whose requests have more recipients than a page of the list has rows."""

    hook_of = narrow_hook(recipients=REQUEST, page_rows=PAGE)


@pytest.fixture(autouse=True, params=[False, True], ids=["oldest first", "newest first"])
def long_list(request: pytest.FixtureRequest, sandbox: Sandbox, runner: TaskRunner) -> None:
    """Add texts of another program to the list."""
    sandbox.set_scheduled_list(newest_first=request.param)
    elsewhere = Send(
        task_id="elsewhere", text="Later", to=ELSEWHERE, send_at=pendulum.instance(sandbox.now()).add(hours=3)
    )
    assert runner.another().run(elsewhere).error is None
    runner.retries = 3


@pytest.fixture
def killed_send(sandbox: Sandbox) -> Iterator[type[Send]]:
    """Return a send that is killed at its first wait, as Airflow kills tasks, and at no other."""
    handler, signals = signal.getsignal(signal.SIGTERM), iter([signal.SIGTERM])
    right = clock_of(sandbox)

    def sleep(seconds: float) -> None:
        for number in signals:
            signal.raise_signal(number)
        right.sleep(seconds)

    class KilledSend(Send):
        clock = Clock(right.now, sleep)

    yield KilledSend
    signal.signal(signal.SIGTERM, handler)


def send(kind: type[Send] = Send) -> Send:
    return kind(task_id="send", text="Hallo", to=TO, guarantee="exactly_once", retries=3, cancel_on_kill=True)


def texts(sandbox: Sandbox) -> Counter[str]:
    rows = [row for row in sandbox.outbox() if row["message"] == "Hallo" and not row["cancelled"]]
    return Counter(row["mobileNumber"] for row in rows)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_lost_answer_is_looked_up_and_each_text_goes_out_once(
    rows: int, sandbox: Sandbox, runner: TaskRunner
) -> None:
    """The list cannot be read until the request can no longer arrive; the first reading then decides."""
    sandbox.add_fault("lost-after-acceptance", operation=SEND)
    sandbox.add_fault("503-before-acceptance", operation=SEND, skip=1)
    sandbox.add_fault("429-too-many-requests", operation=LIST, retry_after=3600, times=LOOKS_BEFORE)
    sandbox.add_fault("rows-between-pages", operation=LIST, rows=rows, times=8)
    assert runner.run(send()).error is None
    assert texts(sandbox) == Counter(TO)


@pytest.mark.parametrize(
    ("fault", "cancelled"), [("lost-after-acceptance", REQUEST), ("503-before-acceptance", 0)]
)
def test_texts_whose_cancelling_was_not_answered_go_out_once(
    fault: str, cancelled: int, sandbox: Sandbox, runner: TaskRunner, killed_send: type[Send]
) -> None:
    sandbox.add_fault("503-before-acceptance", operation=SEND, skip=1)
    sandbox.add_fault(fault, operation=CANCEL)
    sandbox.add_fault("rows-between-pages", operation=LIST, probability=1)
    assert runner.run(send(killed_send)).error is not None
    assert sum(row["cancelled"] for row in sandbox.outbox()) == cancelled
    assert runner.run(send(killed_send)).error is None
    assert texts(sandbox) == Counter(TO)
