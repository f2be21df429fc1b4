"""With on_clear="resend" a cleared task sends everything again, and a retry does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import SendRejected
from tests.support.send_world import AFTER, ANN, BEFORE, BEN, CAT, GUARANTEES, HALLO, OTHER, once

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_resend_sends_all_again_after_a_clear_and_may_send_another_text(
    guarantee: str, world: SendWorld, runner: TaskRunner
) -> None:
    world.run(guarantee=guarantee, on_clear="resend")
    first = runner.result["batch"]
    runner.clear()
    assert world.run(guarantee=guarantee, on_clear="resend", text=OTHER, to=[ANN, CAT]) is None
    sent = sorted((row["mobileNumber"], row["message"]) for row in world.live)
    assert sent == [(ANN, OTHER), (ANN, HALLO), (BEN, HALLO), (CAT, OTHER)]
    assert runner.result["batch"] != first
    assert runner.result["accepted"] == 2


def test_resend_changes_nothing_for_retries(world: SendWorld, runner: TaskRunner) -> None:
    runner.retries = 3
    world.run(on_clear="resend")
    world.run(on_clear="resend")
    runner.clear()
    world.run(on_clear="resend")
    world.run(on_clear="resend")
    assert world.texts == once(ANN, ANN, BEN, BEN)


def test_resend_after_a_lost_answer_sends_all_again(world: SendWorld, runner: TaskRunner) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.run(on_clear="resend")
    runner.clear()
    assert world.run(on_clear="resend") is None
    assert world.texts == once(ANN, ANN, BEN, BEN)


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
def test_the_texts_of_before_a_clear_are_not_taken_for_those_that_are_sent_again(
    fault: str, world: SendWorld, runner: TaskRunner
) -> None:
    task: dict[str, Any] = {"guarantee": "exactly_once", "on_clear": "resend"}
    task["send_at"] = world.now().add(hours=2)
    assert world.run(**task) is None
    runner.clear()
    world.sandbox.add_fault(fault, operation="smsSend")
    assert world.run(**task, text=OTHER) is None
    assert world.texts == once(ANN, ANN, BEN, BEN)
    ids = [row["apiMessageId"] for row in world.live if row["message"] == OTHER]
    assert runner.result["message_ids"] == ids


def test_declined_recipients_are_not_tried_again(world: SendWorld, runner: TaskRunner) -> None:
    runner.retries = 3
    task: dict[str, Any] = {"to": [ANN, "27000000005"], "on_rejected": "fail"}
    assert isinstance(world.run(**task), SendRejected)
    assert runner.reported["state"] == "failed"
    runner.clear()
    assert isinstance(world.run(**task), SendRejected)
    assert world.asked("smsSend") == 1
