"""A send resumes when the account can pay for it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_winsms.exceptions import ConfigurationError, OutOfCredits
from tests.support.send_world import CAT, GUARANTEES, MANY, once

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


@pytest.mark.usefixtures("ten_a_request")
@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_a_try_after_the_account_was_topped_up_sends_to_those_it_could_not_pay_for_and_the_rest(
    guarantee: str, world: SendWorld, runner: TaskRunner
) -> None:
    runner.retries = 2
    world.sandbox.set_account(credit_balance=15)
    error = world.run(to=MANY[:50], guarantee=guarantee)
    assert isinstance(error, OutOfCredits)
    assert not isinstance(error, AirflowFailException)
    assert runner.reported["state"] != "failed"
    assert "15 accepted, 5 declined (5 x no_credits), 0 unknown, 30 not tried" in str(error)
    assert world.texts == once(*MANY[:15])
    assert len(runner.xcoms["partial_result"]["message_ids"]) == 15
    assert isinstance(world.run(to=MANY[:50], guarantee=guarantee), OutOfCredits)
    world.sandbox.set_account(credit_balance=10_000)
    assert world.run(to=MANY[:50], guarantee=guarantee) is None
    assert world.texts == once(*MANY[:50])
    assert runner.result["rejected"] == {}
    assert runner.result["accepted"] == 50
    assert runner.result["cost"] == "50.0"
    assert world.spent == 35


@pytest.mark.usefixtures("ten_a_request")
def test_a_later_round_sends_to_those_of_several_requests_at_once(world: SendWorld) -> None:
    """Its one request has recipients of two earlier ones."""
    world.sandbox.set_account(credit_balance=7)
    world.run(to=MANY[:15])
    world.sandbox.set_account(credit_balance=3)
    world.run(to=MANY[:15])
    world.sandbox.set_account(credit_balance=10_000)
    assert world.run(to=MANY[:15]) is None
    assert world.texts == once(*MANY[:15])


@pytest.mark.parametrize(
    ("barred", "free"),
    [({"locked": True}, {"locked": False}), ({"trial_number": CAT}, {"trial_number": None})],
    ids=["locked", "trial"],
)
def test_a_barred_account_fails_at_once_and_a_clear_sends_the_rest(
    barred: dict[str, Any], free: dict[str, Any], world: SendWorld, runner: TaskRunner
) -> None:
    runner.retries = 3
    world.after[1] = lambda: world.sandbox.set_account(**barred)
    error = world.run(to=MANY)
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, AirflowFailException)
    assert runner.reported["state"] == "failed"
    assert world.texts == once(*MANY[:1000])
    assert world.asked("smsSend") == 2
    world.sandbox.set_account(**free)
    runner.clear()
    assert world.run(to=MANY) is None
    assert world.texts == once(*MANY)
    assert runner.result["rejected"] == {}
