"""A killed send stops, and cancels if asked to. A later try sends the rest once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider_winsms.exceptions import OutcomeUnknown, SendStopped
from tests.support.send_world import (
    AFTER,
    ANN,
    BEFORE,
    BEN,
    CAT,
    GUARANTEES,
    MANY,
    Attack,
    broken_store,
    in_hours,
    kill,
    once,
    time_out,
)

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_winsms.operators.sms import SmsSendOperator
    from airflow_provider_winsms.rules import Draft, RuleContext
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_a_kill_stops_the_submission_and_a_later_try_goes_on(guarantee: str, world: SendWorld) -> None:
    world.after[2] = kill
    assert isinstance(world.run(to=MANY, guarantee=guarantee), SendStopped)
    assert world.texts == once(*MANY[:2000])
    assert world.run(to=MANY, guarantee=guarantee) is None
    assert world.texts == once(*MANY)
    assert world.asked("deleteScheduledMessages") == 0


def test_a_kill_in_a_lookup_stops_it_and_a_later_try_goes_on(world: SendWorld) -> None:
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    world.after[1] = lambda: world.in_seconds(10, kill)
    assert isinstance(world.run(guarantee="exactly_once"), SendStopped)
    assert world.waited < 15
    assert world.run(guarantee="exactly_once") is None
    assert world.texts == once(ANN, BEN)


def test_a_list_that_proves_nothing_is_not_read_until_the_texts_are_due(world: SendWorld) -> None:
    task: dict[str, Any] = {"guarantee": "exactly_once", "send_at": world.now().add(days=7)}
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.sandbox.add_fault(
        "429-too-many-requests", operation="getScheduledMessages", retry_after=3600, times=10_000
    )
    assert isinstance(world.run(**task), OutcomeUnknown)
    assert 3600 < world.waited < 4200
    world.sandbox.clear_faults()
    assert world.run(**task) is None
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("hours", [1, None], ids=["send_at", "held"])
def test_a_kill_cancels_what_is_not_due_and_a_later_try_sends_it(
    hours: int | None, world: SendWorld, runner: TaskRunner
) -> None:
    task: dict[str, Any] = {"to": MANY, "cancel_on_kill": True, "send_at": in_hours(world, hours)}
    task["guarantee"] = "at_most_once" if hours else "exactly_once"
    world.after[2] = kill
    assert isinstance(world.run(**task), SendStopped)
    assert world.texts == once()
    assert world.spent == 0
    assert world.run(**task) is None
    assert world.texts == once(*MANY)
    assert world.spent == 2500
    assert runner.result["accepted"] == 2500
    assert runner.result["cost"] == "2500.0"
    assert sorted(runner.result["message_ids"]) == [row["apiMessageId"] for row in world.live]


def test_a_kill_cancels_nothing_that_is_due(world: SendWorld) -> None:
    world.after[2] = kill
    world.run(to=MANY, cancel_on_kill=True)
    assert world.texts == once(*MANY[:2000])
    assert world.run(to=MANY, cancel_on_kill=True) is None
    assert world.texts == once(*MANY)


def test_an_execution_timeout_cancels_as_a_kill_does(world: SendWorld) -> None:
    task: dict[str, Any] = {
        "to": MANY,
        "cancel_on_kill": True,
        "send_at": world.now().add(hours=1),
        "execution_timeout": timedelta(hours=1),
    }
    world.before[3] = time_out
    assert isinstance(world.run(**task), AirflowTaskTimeout)
    assert world.texts == once()
    error = world.run(**task)
    assert isinstance(error, OutcomeUnknown)
    assert world.texts == once(*MANY[:2000])


def test_a_kill_in_a_lookup_cancels_what_was_accepted_in_the_same_request(world: SendWorld) -> None:
    task: dict[str, Any] = {"to": [ANN, BEN, CAT], "guarantee": "exactly_once", "cancel_on_kill": True}
    world.sandbox.add_fault("missing-row", operation="smsSend")
    world.sandbox.add_fault(
        "429-too-many-requests", operation="getScheduledMessages", retry_after=3600, times=10_000
    )
    world.after[1] = lambda: world.in_seconds(10, kill)
    assert isinstance(world.run(**task), SendStopped)
    assert world.texts == once(BEN)
    world.sandbox.clear_faults()
    assert world.run(**task) is None
    assert world.texts == once(ANN, BEN, CAT)


@pytest.mark.parametrize("recipients", [1, 1000])
@pytest.mark.parametrize("fault", [AFTER, "missing-row"])
def test_a_cancellation_whose_answer_is_lost_loses_no_text_and_doubles_none(
    fault: str, recipients: int, world: SendWorld
) -> None:
    world.limits["recipients"] = recipients
    task: dict[str, Any] = {"cancel_on_kill": True, "send_at": world.now().add(hours=1)}
    world.sandbox.add_fault(fault, operation="deleteScheduledMessages")
    world.after[1] = kill
    world.run(**task)
    assert world.texts == once()
    assert world.run(**task) is None
    assert world.texts == once(ANN, BEN)


def test_a_kill_that_is_cut_off_while_it_cancels_loses_no_text_and_doubles_none(
    world: SendWorld, runner: TaskRunner
) -> None:
    world.limits["recipients"] = 1
    task: dict[str, Any] = {"cancel_on_kill": True, "send_at": world.now().add(hours=1)}
    world.after[1] = kill
    with broken_store(runner, when=r'PUT /store.*"cancelled"'):
        world.run(**task)
    assert world.texts == once()
    assert world.run(**task) is None
    assert world.texts == once(ANN, BEN)


def test_texts_that_the_gateway_has_forgotten_are_not_taken_for_cancelled(attack: Attack) -> None:
    world = attack.world
    world.waiting[2] = time_out
    world.sandbox.add_fault("503-before-acceptance", operation="deleteScheduledMessages", times=50)
    assert isinstance(attack.run(guarantee="exactly_once"), AirflowTaskTimeout)
    world.sandbox.clear_faults()
    world.sandbox.advance(91 * 24 * 3600)
    attack.runner.clear()
    assert attack.run(guarantee="exactly_once") is None
    assert world.texts == once(*MANY[:11])


def test_what_a_person_cancelled_in_the_middle_is_not_sent_by_the_retry(attack: Attack) -> None:
    world = attack.world

    def cancel_one() -> None:
        attack.cancel(message_ids=[world.live[0]["apiMessageId"]])
        time_out()

    world.waiting[2] = cancel_one
    assert isinstance(attack.run(send_at=world.now().add(hours=5)), AirflowTaskTimeout)
    attack.runner.clear()
    assert attack.run(send_at=world.now().add(hours=5)) is None
    assert world.texts == once(*MANY[1:11])


def test_what_a_person_cancelled_after_an_interrupted_kill_is_not_sent_by_the_retry(
    runner: TaskRunner, world: SendWorld, ten_a_request: None, tmp_path: Path
) -> None:
    del ten_a_request
    attack = Attack(runner, world, tmp_path)
    send_at = world.now().add(hours=5)
    world.waiting[2] = time_out
    world.sandbox.add_fault("503-before-acceptance", operation="deleteScheduledMessages", times=50)
    assert isinstance(attack.run(send_at=send_at), AirflowTaskTimeout)
    world.sandbox.clear_faults()
    attack.cancel(batch=runner.xcoms["partial_result"]["batch"], ledger_conn_id="tables")
    world.sandbox.advance(300)
    assert attack.run(send_at=send_at) is None
    assert world.texts == once(MANY[10])


@dataclass(frozen=True)
class Kills:
    """A rule that kills its task, once."""

    kills: list[SmsSendOperator] = field(repr=False)

    def apply(self, draft: Draft, context: RuleContext) -> None:  # noqa: ARG002 - as of every rule
        while self.kills:
            self.kills.pop().on_kill()


@pytest.mark.parametrize("guarantee", GUARANTEES)
@pytest.mark.parametrize("moment", ["rendered", "planned"])
def test_a_kill_before_the_first_request_sends_nothing_and_a_retry_sends_all(
    moment: str, guarantee: str, world: SendWorld
) -> None:
    kills: list[Any] = []
    tries: list[None] = []

    def to(context: Any, **_: Any) -> list[str]:
        tries.append(None)
        if len(tries) == 1:
            task = context["task"]
            task.on_kill() if moment == "rendered" else kills.append(task)
        return [ANN, BEN]

    options: dict[str, Any] = {"to": to, "guarantee": guarantee, "rules": [Kills(kills)]}
    assert isinstance(world.run(**options), SendStopped)
    assert not world.texts
    assert world.run(**options) is None
    assert world.texts == once(ANN, BEN)
