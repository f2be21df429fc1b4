"""The list of scheduled texts is read right whichever end the newest stand at, and while others come in."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pendulum
import pytest

from airflow_provider_winsms.clocks import Clock
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.operators.sms import SmsSendOperator
from tests.support.clock import clock_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

PAGE, REQUEST = 20, 40
TO = [f"2782555{place:04}" for place in range(2 * REQUEST)]
ELSEWHERE = [f"2783555{place:04}" for place in range(15)]
LOOKS_BEFORE = 10
"""So often a list is looked at before its request can no longer arrive."""

LIST, SEND, CANCEL = "getScheduledMessages", "smsSend", "deleteScheduledMessages"


@pytest.fixture(autouse=True, params=[False, True], ids=["oldest first", "newest first"])
def long_list(
    request: pytest.FixtureRequest, sandbox: Sandbox, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Give a request more recipients than a page has rows, and put texts of another program beside them."""
    limits = replace(WinSMSGateway.limits, recipients=REQUEST, page_rows=PAGE)
    monkeypatch.setattr(WinSMSGateway, "limits", limits)
    sandbox.set_scheduled_list(newest_first=request.param)
    elsewhere = SmsSendOperator(
        task_id="elsewhere", text="Later", to=ELSEWHERE, send_at=pendulum.instance(sandbox.now()).add(hours=3)
    )
    assert runner.another().run(elsewhere).error is None
    runner.retries = 3


@pytest.fixture
def killed_at_its_first_wait(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a send that waits killed, as Airflow kills tasks: once."""
    handler, signals = signal.getsignal(signal.SIGTERM), iter([signal.SIGTERM])
    clock = clock_of(sandbox)

    def sleep(seconds: float) -> None:
        for number in signals:
            signal.raise_signal(number)
        clock.sleep(seconds)

    monkeypatch.setattr(SmsSendOperator, "clock", Clock(clock.now, sleep))
    yield
    signal.signal(signal.SIGTERM, handler)


def send() -> SmsSendOperator:
    return SmsSendOperator(
        task_id="send", text="Hallo", to=TO, guarantee="exactly_once", retries=3, cancel_on_kill=True
    )


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


@pytest.mark.usefixtures("killed_at_its_first_wait")
@pytest.mark.parametrize(
    ("fault", "cancelled"), [("lost-after-acceptance", REQUEST), ("503-before-acceptance", 0)]
)
def test_texts_whose_cancelling_was_not_answered_go_out_once(
    fault: str, cancelled: int, sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.add_fault("503-before-acceptance", operation=SEND, skip=1)
    sandbox.add_fault(fault, operation=CANCEL)
    sandbox.add_fault("rows-between-pages", operation=LIST, probability=1)
    assert runner.run(send()).error is not None
    assert sum(row["cancelled"] for row in sandbox.outbox()) == cancelled
    assert runner.run(send()).error is None
    assert texts(sandbox) == Counter(TO)
