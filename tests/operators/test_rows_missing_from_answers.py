"""An answer with a row too few or too many leaves only the recipient of that row in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.exceptions import OutcomeUnknown
from tests.support.send_world import ANN, BEN, CAT, once

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


def test_a_row_that_is_missing_leaves_only_its_recipient_unknown(
    world: SendWorld, runner: TaskRunner
) -> None:
    world.sandbox.add_fault("missing-row", operation="smsSend")
    error = world.run(to=[ANN, BEN, CAT])
    assert isinstance(error, OutcomeUnknown)
    assert "(1 in request 1)" in str(error)
    rows = {row["mobileNumber"]: row["apiMessageId"] for row in world.live}
    assert runner.xcoms["partial_result"]["message_ids"] == [rows[ANN], rows[CAT]]
    runner.clear()
    assert isinstance(world.run(to=[ANN, BEN, CAT]), OutcomeUnknown)
    assert world.texts == once(ANN, BEN, CAT)


def test_a_row_that_comes_twice_is_read_once(world: SendWorld, runner: TaskRunner) -> None:
    world.sandbox.add_fault("duplicated-row", operation="smsSend")
    assert world.run() is None
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]


@pytest.mark.parametrize("fault", ["missing-row", "duplicated-row"])
def test_a_recipient_whose_row_is_spoilt_is_looked_up(
    fault: str, world: SendWorld, runner: TaskRunner
) -> None:
    world.sandbox.add_fault(fault, operation="smsSend")
    assert world.run(to=[ANN, BEN, CAT], guarantee="exactly_once") is None
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]
    assert world.texts == once(ANN, BEN, CAT)


def test_a_row_that_is_missing_is_sent_again_if_it_may_be_sent_twice(world: SendWorld) -> None:
    world.sandbox.add_fault("missing-row", operation="smsSend")
    assert world.run(to=[ANN, BEN, CAT], guarantee="at_least_once") is None
    assert world.texts == once(ANN, BEN, BEN, CAT)
