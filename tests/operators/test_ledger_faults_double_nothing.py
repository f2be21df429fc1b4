"""A ledger that fails, or a task that runs out of time, loses no text and doubles none."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider_winsms.exceptions import GatewayUnavailable, LedgerUnavailable, OutcomeUnknown
from tests.support.send_world import AFTER, ANN, BEN, GUARANTEES, MANY, broken_store, once, time_out

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


def test_a_ledger_that_goes_away_before_a_request_leaves_the_rest_to_a_retry(
    world: SendWorld, runner: TaskRunner
) -> None:
    runner.retries = 1
    with broken_store(runner, when=r"PUT /store.*sms_send\.1\.1\.000002 "):
        error = world.run(to=MANY)
    assert isinstance(error, LedgerUnavailable)
    assert not isinstance(error, AirflowFailException)
    assert runner.reported["state"] != "failed"
    assert world.texts == once(*MANY[:1000])
    assert world.run(to=MANY) is None
    assert world.texts == once(*MANY)


def test_a_ledger_that_cannot_be_read_sends_nothing(world: SendWorld, runner: TaskRunner) -> None:
    with broken_store(runner, when="GET /store"):
        assert isinstance(world.run(), LedgerUnavailable)
    assert world.sandbox.requests() == []


def test_an_unreadable_balance_after_a_lost_answer_submits_nothing_more(world: SendWorld) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.sandbox.add_fault("html-answer", operation="getCreditBalance", times=100)
    assert isinstance(world.run(to=MANY), GatewayUnavailable)
    assert world.asked("smsSend") == 1


def test_a_record_that_fails_is_written_again(world: SendWorld, runner: TaskRunner) -> None:
    with broken_store(runner, when=r'PUT /store.*"ids":', times=3):
        assert world.run() is None
    first = runner.result
    assert world.run() is None
    assert runner.result["message_ids"] == first["message_ids"]
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
def test_an_answer_that_cannot_be_recorded_is_logged_and_never_sent_again(
    guarantee: str, world: SendWorld, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    with broken_store(runner, when=r'PUT /store.*"ids":'):
        assert isinstance(world.run(guarantee=guarantee), LedgerUnavailable)
    said = capsys.readouterr().out
    assert all(str(row["apiMessageId"]) in said for row in world.live)
    error = world.run(guarantee=guarantee)
    assert error is None if guarantee == "exactly_once" else isinstance(error, OutcomeUnknown)
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
def test_an_execution_timeout_is_retried_and_what_was_answered_stays_sent(
    guarantee: str, world: SendWorld, runner: TaskRunner
) -> None:
    runner.retries = 1
    world.before[2] = time_out
    kwargs = {"to": MANY, "guarantee": guarantee, "execution_timeout": timedelta(hours=1)}
    assert isinstance(world.run(**kwargs), AirflowTaskTimeout)
    assert runner.reported["state"] != "failed"
    assert runner.xcoms["partial_result"]["accepted"] == 1000
    error = world.run(**kwargs)
    if guarantee == "exactly_once":
        assert error is None
        assert world.texts == once(*MANY)
    else:
        assert isinstance(error, OutcomeUnknown)
        assert world.texts == once(*MANY[:1000], *MANY[2000:])


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_an_execution_timeout_before_a_request_leaves_gives_it_back(
    guarantee: str, world: SendWorld, runner: TaskRunner
) -> None:
    runner.retries = 1
    world.waiting[2] = time_out
    kwargs = {"to": MANY, "guarantee": guarantee, "execution_timeout": timedelta(hours=1)}
    assert isinstance(world.run(**kwargs), AirflowTaskTimeout)
    assert world.run(**kwargs) is None
    assert world.texts == once(*MANY)
