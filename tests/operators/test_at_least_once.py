"""At least once: texts in doubt are sent again, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import GatewayUnavailable
from tests.support.send_world import AFTER, ANN, BEFORE, BEN, MANY, die, once

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


def test_under_at_least_once_a_lost_answer_is_submitted_again(world: SendWorld, runner: TaskRunner) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend", skip=1)
    assert world.run(to=MANY, guarantee="at_least_once") is None
    assert world.texts == once(*MANY, *MANY[1000:2000])
    assert runner.result["accepted"] == 2500
    assert world.spent == 3500


def test_under_at_least_once_a_retry_repeats_only_what_was_in_doubt(world: SendWorld) -> None:
    world.after[2] = die
    world.run(to=MANY, guarantee="at_least_once")
    assert world.run(to=MANY, guarantee="at_least_once") is None
    assert world.texts == once(*MANY, *MANY[1000:2000])


def test_under_at_least_once_a_gateway_that_loses_every_answer_is_left_to_a_retry(
    world: SendWorld, runner: TaskRunner
) -> None:
    runner.retries = 1
    world.sandbox.add_fault(BEFORE, operation="smsSend", times=3)
    assert isinstance(world.run(guarantee="at_least_once"), GatewayUnavailable)
    assert runner.reported["state"] != "failed"
    world.sandbox.clear_faults()
    assert world.run(guarantee="at_least_once") is None
    assert world.texts == once(ANN, BEN)
