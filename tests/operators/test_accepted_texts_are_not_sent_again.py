"""What an earlier try recorded stays sent: a later try returns it and sends the rest."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_winsms.exceptions import GatewayUnavailable, InvalidMessage
from tests.support.send_world import ANN, BEN, FIRST_SECOND_THIRD, GUARANTEES, MANY, once, without_balance

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


@pytest.mark.parametrize("guarantee", GUARANTEES)
@pytest.mark.parametrize("is_cleared", [False, True], ids=["retry", "clear"])
def test_a_try_after_a_success_returns_the_same_and_sends_nothing(
    guarantee: str, is_cleared: bool, world: SendWorld, runner: TaskRunner
) -> None:
    world.run(guarantee=guarantee)
    first, requests_before = runner.result, len(world.sandbox.requests())
    world.sandbox.advance(86_400)
    if is_cleared:
        runner.clear()
    assert world.run(guarantee=guarantee) is None
    assert without_balance(runner.result) == without_balance(first)
    assert len(world.sandbox.requests()) == requests_before
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("guarantee", GUARANTEES)
@FIRST_SECOND_THIRD
def test_a_retry_resumes_at_the_first_request_without_an_outcome(
    skip: int, guarantee: str, world: SendWorld, runner: TaskRunner
) -> None:
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=skip, retry_after=3600)
    runner.retries = 1
    error = world.run(to=MANY, guarantee=guarantee)
    assert isinstance(error, GatewayUnavailable)
    assert not isinstance(error, AirflowFailException)
    assert runner.reported["state"] != "failed"
    assert world.asked("smsSend") == skip + 1
    assert world.texts == once(*MANY[: 1000 * skip])
    assert world.run(to=MANY, guarantee=guarantee) is None
    assert world.asked("smsSend") == 4
    assert world.texts == once(*MANY)
    assert runner.result["accepted"] == 2500
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]
    assert Decimal(runner.result["cost"]) == world.spent == 2500


@pytest.mark.parametrize("guarantee", GUARANTEES)
@pytest.mark.parametrize("is_cleared", [False, True], ids=["retry", "clear"])
def test_the_log_says_what_an_earlier_try_sent_and_what_this_one_did(
    is_cleared: bool, guarantee: str, world: SendWorld, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, retry_after=3600)
    runs = []
    for _ in range(3):
        world.run(to=MANY, guarantee=guarantee)
        runs.append(capsys.readouterr().out)
        if is_cleared:
            runner.clear()
    first, second, third = runs
    assert "Sending to 2500 recipients" in first
    assert "esum" not in first
    assert "Resuming; no accepted text is sent again: 2500 recipients" in second
    assert "Resumed: 1000 accepted by an earlier try, 1500 sent now. In all:" in second
    assert "Resumed: 2500 accepted by an earlier try, 0 sent now. In all:" in third
    assert "Sending to" not in second + third


def test_a_text_that_is_looked_up_was_sent_by_the_earlier_try(
    world: SendWorld, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    world.sandbox.add_fault("lost-after-acceptance", operation="smsSend")
    runner.retries = 1
    task = world.send(guarantee="exactly_once", send_at=world.now().add(hours=3))
    assert runner.run(task).error is None
    capsys.readouterr()
    runner.run(task)
    assert "Resumed: 2 accepted by an earlier try, 0 sent now." in capsys.readouterr().out


def test_the_result_of_a_send_over_two_tries_is_that_of_one(world: SendWorld, runner: TaskRunner) -> None:
    to = [*MANY, "27000000005", MANY[0]]
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, retry_after=3600)
    world.run(to=to)
    assert runner.xcoms["partial_result"]["not_tried"] == 1501
    world.run(to=to)
    assert without_balance(runner.result) == {
        "batch": runner.result["batch"],
        "message_ids": [row["apiMessageId"] for row in world.live],
        "accepted": 2500,
        "rejected": {"bad_number": 1},
        "unknown": 0,
        "not_tried": 0,
        "duplicates": 1,
        "cost": "2500.0",
        "currency": "credits",
        "requests": 3,
    }


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_what_was_recorded_is_returned_though_its_time_has_passed(
    guarantee: str, world: SendWorld, runner: TaskRunner
) -> None:
    task = {"send_at": world.now().add(hours=1), "guarantee": guarantee}
    world.run(**task)
    first = runner.result
    world.sandbox.advance(7200)
    assert world.run(**task) is None
    assert runner.result["message_ids"] == first["message_ids"]
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_what_is_still_to_be_submitted_when_its_time_has_passed_is_refused(
    guarantee: str, world: SendWorld, runner: TaskRunner
) -> None:
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, retry_after=3600)
    task = {"to": MANY, "send_at": world.now().add(hours=1), "guarantee": guarantee}
    world.run(**task)
    world.sandbox.advance(7200)
    error = world.run(**task)
    assert isinstance(error, InvalidMessage)
    assert isinstance(error, AirflowFailException)
    assert "The time of 1000 texts has passed" in str(error)
    assert runner.xcoms["partial_result"]["accepted"] == 1000
    assert runner.xcoms["partial_result"]["not_tried"] == 1500
    assert world.texts == once(*MANY[:1000])
