"""At most once: recipients whose answer was lost stay unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_winsms.exceptions import GatewayUnavailable, OutcomeUnknown
from tests.support.send_world import AFTER, BEFORE, FIRST_SECOND_THIRD, MANY, MORE, NOT_A_REFUSAL, die, once

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


@pytest.mark.parametrize(
    "fault",
    [*NOT_A_REFUSAL, AFTER, BEFORE, "500-after-acceptance", "502-after-acceptance", "503-before-acceptance"],
)
@FIRST_SECOND_THIRD
def test_a_lost_answer_leaves_its_recipients_unknown_and_the_others_get_their_text(
    skip: int, fault: str, world: SendWorld, runner: TaskRunner
) -> None:
    runner.retries = 3
    world.sandbox.add_fault(fault, operation="smsSend", skip=skip)
    result = runner.run(world.send(to=MANY))
    lost = MANY[skip * 1000 : (skip + 1) * 1000]
    assert isinstance(result.error, OutcomeUnknown)
    assert isinstance(result.error, AirflowFailException)
    assert runner.reported["state"] == "failed"
    accepted = 2500 - len(lost)
    assert f"({len(lost)} in request {skip + 1})" in str(result.error)
    assert f"{accepted} accepted, 0 declined, {len(lost)} unknown, 0 not tried" in str(result.error)
    partial = runner.xcoms["partial_result"]
    assert len(partial["message_ids"]) == partial["accepted"] == accepted
    assert (partial["unknown"], partial["not_tried"]) == (len(lost), 0)
    reached = set(MANY) if "after" in fault else set(MANY) - set(lost)
    assert world.texts == once(*reached)
    assert world.asked("smsSend") == 3


@pytest.mark.parametrize("is_cleared", [False, True], ids=["retry", "clear"])
@pytest.mark.parametrize("fault", [*NOT_A_REFUSAL, AFTER, BEFORE, "truncated-json", "html-answer"])
def test_what_is_unknown_is_never_sent_again(
    fault: str, is_cleared: bool, world: SendWorld, runner: TaskRunner
) -> None:
    world.sandbox.add_fault(fault, operation="smsSend")
    world.run()
    reached = world.texts
    if is_cleared:
        runner.clear()
    result = runner.run(world.send())
    assert isinstance(result.error, OutcomeUnknown)
    assert isinstance(result.error, AirflowFailException)
    assert world.asked("smsSend") == 1
    assert world.texts == reached


def test_after_a_lost_answer_the_gateway_must_answer_a_free_request_first(world: SendWorld) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.run(to=MANY)
    operations = [request["operation"] for request in world.sandbox.requests()]
    assert operations == ["smsSend", "getCreditBalance", "smsSend", "smsSend"]


def test_a_gateway_that_stays_away_after_a_lost_answer_leaves_the_rest_to_a_retry(
    world: SendWorld, runner: TaskRunner
) -> None:
    runner.retries = 1
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.sandbox.add_fault("429-too-many-requests", operation="getCreditBalance", retry_after=3600)
    error = world.run(to=MANY)
    assert isinstance(error, GatewayUnavailable)
    assert runner.reported["state"] != "failed"
    assert world.asked("smsSend") == 1
    assert isinstance(world.run(to=MANY), OutcomeUnknown)
    assert world.texts == once(*MANY)
    assert runner.xcoms["partial_result"]["unknown"] == 1000


@pytest.mark.parametrize("is_cleared", [False, True], ids=["retry", "clear"])
def test_two_lost_answers_in_a_row_stop_the_submission_and_a_later_try_sends_the_rest(
    is_cleared: bool, world: SendWorld, runner: TaskRunner
) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend", skip=1)
    world.sandbox.add_fault(BEFORE, operation="smsSend", skip=1)
    error = world.run(to=MORE)
    assert isinstance(error, OutcomeUnknown)
    assert "(1000 in request 2; 1000 in request 3)" in str(error)
    assert "1000 accepted, 0 declined, 2000 unknown, 2000 not tried" in str(error)
    assert world.asked("smsSend") == 3
    if is_cleared:
        runner.clear()
    error = world.run(to=MORE)
    assert isinstance(error, OutcomeUnknown)
    assert "3000 accepted, 0 declined, 2000 unknown, 0 not tried" in str(error)
    assert world.asked("smsSend") == 5
    assert world.texts == once(*MORE[:2000], *MORE[3000:])


def test_lost_answers_that_are_not_in_a_row_do_not_stop_the_submission(world: SendWorld) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.sandbox.add_fault(AFTER, operation="smsSend", skip=1)
    world.sandbox.add_fault(AFTER, operation="smsSend", skip=2)
    error = world.run(to=MORE)
    assert "2000 accepted, 0 declined, 3000 unknown, 0 not tried" in str(error)
    assert world.texts == once(*MORE)


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_worker_that_dies_at_a_request_leaves_it_unknown_and_the_retry_sends_the_rest(
    at: str, world: SendWorld
) -> None:
    getattr(world, at)[2] = die
    world.run(to=MANY)
    error = world.run(to=MANY)
    assert isinstance(error, OutcomeUnknown)
    assert "(1000 in request 2)" in str(error)
    assert world.texts == once(*(MANY if at == "after" else MANY[:1000] + MANY[2000:]))
