"""The log of a wait for delivery: how far it is, and when it asks next."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from airflow_provider_winsms.delivery.progress import WaitProgress
from airflow_provider_winsms.delivery.tracker import DeliveryTracker
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sensors.sms import SmsDeliverySensor
from tests.support.task_runner import _in_environment

if TYPE_CHECKING:
    import pytest
    from airflow.triggers.base import BaseTrigger

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

DELIVERED, FAILED, STAYS_SENT = "27000000010", "27000000011", "27000000013"
LINE = r"Waiting for delivery: .*? UTC\."


class Log:
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, words: str, /, *values: object) -> None:
        self.lines.append(words % values)

    debug = warning = exception = info


def waiting(ids: range) -> tuple[WaitProgress, DeliveryTracker, Log]:
    log = Log()
    tracker = DeliveryTracker(ids, min_delivered=0, grace_until=0, not_found_holds=0)
    return WaitProgress(tracker, log), tracker, log


def arrive(tracker: DeliveryTracker, *ids: int) -> None:
    tracker.record([DeliveryReport(each, DeliveryState.DELIVERED) for each in ids], 0)


def test_a_line_comes_when_counts_change_and_at_most_once_a_minute() -> None:
    progress, tracker, log = waiting(range(1, 5))
    arrive(tracker, 1)
    progress.note(0, 10)
    progress.note(100, 110)
    arrive(tracker, 2)
    progress.note(120, 130)
    arrive(tracker, 3)
    progress.note(179, 189)
    progress.note(180, 200)
    assert log.lines == [
        "Waiting for delivery: 1 of 4 delivered, 3 unknown. The next poll is at 1970-01-01 00:00:10 UTC.",
        "Waiting for delivery: 2 of 4 delivered, 2 unknown. The next poll is at 1970-01-01 00:02:10 UTC.",
        "Waiting for delivery: 3 of 4 delivered, 1 unknown. The next poll is at 1970-01-01 00:03:20 UTC.",
    ]


def test_a_wait_that_is_settled_has_no_such_line() -> None:
    progress, tracker, log = waiting(range(1, 2))
    arrive(tracker, 1)
    progress.note(0, 10)
    assert log.lines == []


def waiting_send(**kwargs: Any) -> SmsSendOperator:
    options = {"to": [DELIVERED, STAYS_SENT], "wait_for_delivery": True, "min_delivered": 0.5, **kwargs}
    return SmsSendOperator(task_id="send", text="Hi", **options)


def test_a_wait_on_a_worker_says_how_far_it_is_and_ends_in_words(
    sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    began = sandbox.now()
    task = waiting_send(delivery_timeout=300, poll_interval=20)
    assert runner.run(task).state == "success"
    said = capsys.readouterr().out
    (line,) = re.findall(LINE, said)
    assert line.startswith("Waiting for delivery: 1 of 2 delivered, 1 sent. The next poll is at ")
    assert f"{began:%Y-%m-%d}" in line
    assert "Delivery: 1 of 2 delivered, 1 sent; the reports state 2.0 credits." in said


def deferred_trigger(runner: TaskRunner, to: list[str]) -> BaseTrigger:
    own = runner.another()
    task = waiting_send(to=to, delivery_timeout=0.3, poll_interval=1, deferrable=True)
    assert own.run(task).state == "deferred"
    return own.trigger()


def test_each_of_two_deferred_waits_in_one_poll_logs_into_its_own_task(runner: TaskRunner) -> None:
    """Airflow finds the task of a line by the ``trigger_id`` of the line's context."""
    triggers = {
        1: deferred_trigger(runner, [DELIVERED, STAYS_SENT]),
        2: deferred_trigger(runner, [FAILED, DELIVERED, STAYS_SENT]),
    }

    async def ended(number: int) -> None:
        with bound_contextvars(trigger_id=number):
            async for _ in triggers[number].run():
                return

    async def both() -> None:
        await asyncio.gather(ended(1), ended(2))

    with _in_environment(runner.connections), capture_logs(processors=[merge_contextvars]) as entries:
        asyncio.run(both())
    lines = [entry for entry in entries if entry["event"].startswith("Waiting for delivery")]
    assert {(line["trigger_id"], line["event"].split(".")[0]) for line in lines} == {
        (1, "Waiting for delivery: 1 of 2 delivered, 1 sent"),
        (2, "Waiting for delivery: 1 of 3 delivered, 1 sent, 1 failed"),
    }


def test_a_task_that_its_trigger_woke_says_that_it_resumes(
    runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    task = waiting_send(delivery_timeout=0.3, poll_interval=1, deferrable=True)
    assert runner.run(task).state == "deferred"
    event = runner.fire()
    capsys.readouterr()
    runner.resume(task, event)
    said = capsys.readouterr().out
    assert "Resuming after the wait in the triggerer. No text is sent again." in said
    assert said.index("Resuming") < said.index("Delivery: 1 of 2 delivered, 1 sent; the reports state")


def test_a_sensor_that_its_trigger_woke_says_that_it_resumes(
    runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.run(SmsSendOperator(task_id="send", text="Hi", to=[DELIVERED, STAYS_SENT])).error is None
    sensor = SmsDeliverySensor(
        task_id="wait", message_ids=runner.result, timeout=0.3, min_delivered=0.5, deferrable=True
    )
    assert runner.run(sensor).state == "deferred"
    event = runner.fire()
    capsys.readouterr()
    runner.resume(sensor, event)
    assert "Resuming after the wait in the triggerer." in capsys.readouterr().out
