"""Exactly once: texts in doubt are looked up, and sent again only if they are not listed."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_winsms.exceptions import GatewayUnavailable, InvalidMessage, OutcomeUnknown
from tests.support.send_world import (
    AFTER,
    ANN,
    BEFORE,
    BEN,
    FIRST_SECOND_THIRD,
    HALLO,
    LATER,
    MANY,
    NOT_A_REFUSAL,
    OTHER,
    die,
    in_hours,
    once,
)

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


def test_texts_without_a_time_are_held_and_go_out_by_themselves(world: SendWorld) -> None:
    world.run(guarantee="exactly_once")
    (minute,) = {row["scheduledTime"] for row in world.live}
    due = pendulum.from_format(minute, "YYYYMMDDHHmm", tz="Africa/Johannesburg")
    assert timedelta(minutes=5) <= due - world.now() < timedelta(minutes=6)
    world.sandbox.advance(3600)
    assert {row["status"] for row in world.live} <= {"DELIVERED", "FAILED", "SENT"}


def test_the_hold_can_be_chosen_and_must_outlast_the_lookup(world: SendWorld) -> None:
    world.run(guarantee="exactly_once", hold=timedelta(minutes=30))
    (minute,) = {row["scheduledTime"] for row in world.live}
    due = pendulum.from_format(minute, "YYYYMMDDHHmm", tz="Africa/Johannesburg")
    assert timedelta(minutes=30) <= due - world.now() < timedelta(minutes=31)
    error = world.run(guarantee="exactly_once", hold=timedelta(minutes=2))
    assert isinstance(error, InvalidMessage)
    assert "`hold` must be a timedelta of at least 160 seconds" in str(error)


@LATER
@pytest.mark.parametrize(
    "fault", [*NOT_A_REFUSAL, AFTER, "500-after-acceptance", "truncated-json", "html-answer"]
)
def test_a_lost_answer_is_looked_up_and_what_was_accepted_is_adopted(
    fault: str, hours: int | None, world: SendWorld, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    world.sandbox.add_fault(fault, operation="smsSend")
    assert world.run(guarantee="exactly_once", send_at=in_hours(world, hours)) is None
    assert world.asked("smsSend") == 1
    assert world.texts == once(ANN, BEN)
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]
    assert Decimal(runner.result["cost"]) == world.spent == 2
    said = capsys.readouterr().out
    assert "The list of scheduled texts has 2 recipients of 2 in doubt" in said
    assert "with their number, minute and time of submission: accepted" in said


@LATER
def test_what_is_not_in_the_list_by_the_time_it_must_be_is_submitted_again(
    hours: int | None, world: SendWorld, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    assert world.run(guarantee="exactly_once", send_at=in_hours(world, hours)) is None
    assert world.asked("smsSend") == 2
    assert world.texts == once(ANN, BEN)
    assert world.waited >= 30
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]
    assert runner.result["rejected"] == {}
    assert Decimal(runner.result["cost"]) == world.spent == 2
    said = capsys.readouterr().out
    assert "The list of scheduled texts lacks 2 recipients in doubt" in said
    assert "not accepted, and submitted again" in said


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
@FIRST_SECOND_THIRD
def test_each_of_many_gets_exactly_one_text(
    skip: int, fault: str, world: SendWorld, runner: TaskRunner
) -> None:
    world.sandbox.add_fault(fault, operation="smsSend", skip=skip)
    assert world.run(to=MANY, guarantee="exactly_once") is None
    assert world.texts == once(*MANY)
    assert runner.result["accepted"] == 2500
    assert sorted(runner.result["message_ids"]) == [row["apiMessageId"] for row in world.live]
    assert Decimal(runner.result["cost"]) == world.spent == 2500


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_retry_looks_up_what_a_worker_that_died_had_submitted(
    at: str, world: SendWorld, runner: TaskRunner
) -> None:
    getattr(world, at)[2] = die
    world.run(to=MANY, guarantee="exactly_once")
    world.sandbox.advance(20)
    assert world.run(to=MANY, guarantee="exactly_once") is None
    assert world.texts == once(*MANY)
    assert runner.result["accepted"] == world.spent == 2500


@pytest.mark.parametrize("at", ["before", "after"])
def test_what_is_due_before_it_can_be_looked_up_is_unknown(
    at: str, world: SendWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    getattr(world, at)[1] = die
    world.run(guarantee="exactly_once")
    reached = world.texts
    world.sandbox.advance(600)
    error = world.run(guarantee="exactly_once")
    assert isinstance(error, OutcomeUnknown)
    assert isinstance(error, AirflowFailException)
    assert world.texts == reached
    assert "the list of scheduled texts proves nothing" in capsys.readouterr().out


def test_a_list_that_cannot_be_read_proves_nothing(world: SendWorld) -> None:
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    world.sandbox.add_fault(
        "429-too-many-requests", operation="getScheduledMessages", retry_after=3600, times=10_000
    )
    assert isinstance(world.run(guarantee="exactly_once"), OutcomeUnknown)
    assert world.asked("smsSend") == 1


def test_a_list_that_can_be_read_again_is(world: SendWorld) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.sandbox.add_fault(
        "429-too-many-requests", operation="getScheduledMessages", retry_after=3600, times=3
    )
    assert world.run(guarantee="exactly_once") is None
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("seconds", [1, 29, 31, 60, 95])
def test_a_request_that_is_accepted_late_is_found(seconds: int, world: SendWorld, runner: TaskRunner) -> None:
    def arrive() -> None:
        path, body = world.bodies[0]
        world.post(body, path)

    world.after[1] = lambda: world.in_seconds(seconds, arrive)
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    assert world.run(guarantee="exactly_once") is None
    assert world.texts == once(ANN, BEN)
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
def test_two_texts_to_one_number_are_looked_up_together(
    fault: str, world: SendWorld, runner: TaskRunner
) -> None:
    world.sandbox.add_fault(fault, operation="smsSendBatch")
    texts = ({"text": HALLO, "to": [ANN, BEN]}, {"text": OTHER, "to": ANN})
    assert world.run_batch(*texts, guarantee="exactly_once") is None
    sent = sorted((row["mobileNumber"], row["message"]) for row in world.live)
    assert sent == [(ANN, OTHER), (ANN, HALLO), (BEN, HALLO)]
    assert sorted(runner.result["message_ids"]) == [row["apiMessageId"] for row in world.live]


def test_of_two_texts_to_one_number_the_one_in_doubt_is_not_taken_for_the_other(
    world: SendWorld, runner: TaskRunner
) -> None:
    world.sandbox.add_fault("missing-row", operation="smsSendBatch")
    texts = ({"text": HALLO, "to": ANN}, {"text": OTHER, "to": ANN})
    assert world.run_batch(*texts, guarantee="exactly_once") is None
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]
    assert [row["message"] for row in world.live] == [HALLO, OTHER]


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
def test_two_requests_with_the_same_numbers_are_told_apart(
    fault: str, world: SendWorld, runner: TaskRunner
) -> None:
    world.limits["recipients"] = 2
    world.sandbox.add_fault(fault, operation="smsSendBatch", skip=1)
    texts = [{"text": text, "to": [ANN, BEN]} for text in (HALLO, OTHER, "A third one.")]
    assert world.run_batch(*texts, guarantee="exactly_once") is None
    assert world.texts == once(*[ANN, BEN] * 3)
    assert sorted(runner.result["message_ids"]) == [row["apiMessageId"] for row in world.live]


def test_a_foreign_text_to_the_same_number_and_minute_leaves_the_number_unknown(world: SendWorld) -> None:
    send_at = world.now().add(hours=2).start_of("hour")
    world.after[1] = lambda: world.foreign(ANN, send_at)
    world.sandbox.add_fault(AFTER, operation="smsSend")
    error = world.run(guarantee="exactly_once", send_at=send_at)
    assert isinstance(error, OutcomeUnknown)
    assert "(1 in request 1)" in str(error)
    assert "1 accepted, 0 declined, 1 unknown" in str(error)
    assert world.texts == once(ANN, BEN)


def test_a_foreign_text_that_was_submitted_before_is_not_taken_for_ours(world: SendWorld) -> None:
    send_at = world.now().add(hours=2).start_of("hour")
    world.foreign(ANN, send_at)
    world.sandbox.advance(240)
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    assert world.run(guarantee="exactly_once", send_at=send_at) is None
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
def test_a_batch_with_several_times_goes_out_once_at_each(
    fault: str, world: SendWorld, runner: TaskRunner
) -> None:
    hour = world.now().add(hours=2).start_of("hour")
    times = [None, hour, hour.add(days=1), None]
    texts = [{"text": f"Text {place}", "to": [ANN, BEN], "send_at": t} for place, t in enumerate(times)]
    world.sandbox.add_fault(fault, operation="smsSendBatch")
    assert world.run_batch(*texts, guarantee="exactly_once") is None
    sent = Counter((row["message"], row["mobileNumber"]) for row in world.live)
    assert sent == Counter((text["text"], number) for text in texts for number in (ANN, BEN))
    by_text = {row["message"]: row["scheduledTime"] for row in world.live}
    for place, time in enumerate(times[1:3], start=1):
        assert time is not None
        assert by_text[f"Text {place}"] == time.in_timezone("Africa/Johannesburg").format("YYYYMMDDHHmm")
    assert by_text["Text 0"] == by_text["Text 3"] < by_text["Text 1"]
    assert Decimal(runner.result["cost"]) == world.spent == 8


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
def test_a_text_that_is_due_soon_is_found_or_unknown(fault: str, world: SendWorld) -> None:
    world.sandbox.add_fault(fault, operation="smsSend")
    send_at = world.now().start_of("minute").add(minutes=2)
    error = world.run(guarantee="exactly_once", send_at=send_at)
    assert error is None if fault == AFTER else isinstance(error, OutcomeUnknown)
    assert world.asked("smsSend") == 1


@pytest.mark.usefixtures("ten_a_request")
def test_two_lost_answers_in_a_row_that_are_found_do_not_stop_the_submission(world: SendWorld) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend", times=5)
    assert world.run(to=MANY[:50], guarantee="exactly_once") is None
    assert world.texts == once(*MANY[:50])


@pytest.mark.usefixtures("ten_a_request")
def test_two_requests_in_a_row_that_do_not_arrive_leave_the_rest_to_a_retry(
    world: SendWorld, runner: TaskRunner
) -> None:
    runner.retries = 1
    world.sandbox.add_fault(BEFORE, operation="smsSend", skip=1, times=2)
    error = world.run(to=MANY[:50], guarantee="exactly_once")
    assert isinstance(error, GatewayUnavailable)
    assert runner.reported["state"] != "failed"
    assert world.asked("smsSend") == 3
    assert world.run(to=MANY[:50], guarantee="exactly_once") is None
    assert world.texts == once(*MANY[:50])
    assert runner.result["accepted"] == world.spent == 50


@pytest.mark.usefixtures("ten_a_request")
@pytest.mark.parametrize("fault", [AFTER, BEFORE, "missing-row"])
@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
@pytest.mark.parametrize("hours", [[None], [2], [None, 2]], ids=["now", "send_at", "mixed"])
def test_no_lost_answer_makes_two_texts_of_one(
    hours: list[int | None], guarantee: str, fault: str, world: SendWorld, runner: TaskRunner
) -> None:
    to = MANY[:15]
    texts = [{"text": f"{hour} h", "to": to, "send_at": in_hours(world, hour)} for hour in hours]
    world.sandbox.add_fault(fault, operation="smsSendBatch")
    error = world.run_batch(*texts, guarantee=guarantee)
    runner.clear()
    again = world.run_batch(*texts, guarantee=guarantee)
    assert type(again) is type(error)
    sent = Counter((row["message"], row["mobileNumber"]) for row in world.live)
    assert max(sent.values()) == 1
    if error is None:
        assert len(sent) == len(texts) * 15
        assert sorted(runner.result["message_ids"]) == [row["apiMessageId"] for row in world.live]
    else:
        assert isinstance(error, OutcomeUnknown)
        assert guarantee == "at_most_once"
