"""What a second try, a clear, a kill or a lost answer does. The sandbox's outbox is the judge."""

from __future__ import annotations

import hashlib
import json
import re
import signal
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pendulum
import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider_winsms.clocks import Clock
from airflow_provider_winsms.exceptions import (
    ClaimLost,
    ClocksDiffer,
    ConfigurationError,
    GatewayUnavailable,
    IdempotencyConflict,
    InvalidMessage,
    LedgerUnavailable,
    OutcomeUnknown,
    OutOfCredits,
    SendRejected,
    SendStopped,
)
from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.messages import Recipient
from airflow_provider_winsms.operators import sms
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from airflow_provider_winsms.sandbox import Sandbox
from tests.conftest import API_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.task_runner import TaskRunner

ANN, BEN, CAT = "27825550101", "27825550102", "27825550103"
HALLO, OTHER = "Hallo, this is a test.", "Another text."
MANY = [f"2782{place:07d}" for place in range(2500)]
MORE = [f"2782{place:07d}" for place in range(5000)]
AFTER, BEFORE = "lost-after-acceptance", "reset-before-acceptance"
NOT_A_REFUSAL = [f"{status}-after-acceptance" for status in (302, 400, 401, 403, 404, 422)]
"""Refusals by their status, and not by their body, of texts that were accepted."""
GUARANTEES = ["at_most_once", "exactly_once", "at_least_once"]
FIRST_SECOND_THIRD = pytest.mark.parametrize("skip", [0, 1, 2], ids=["first", "second", "third"])


class WorkerDied(BaseException):
    """Ends a try as the death of its process does: nothing more is written down."""


@dataclass
class World:
    """What happens around a send: at a moment of the sandbox's time, or right at one of its requests."""

    sandbox: Sandbox
    runner: TaskRunner
    later: list[tuple[datetime, Callable[[], object]]] = field(default_factory=list)
    waiting: dict[int, Callable[[], object]] = field(default_factory=dict)
    before: dict[int, Callable[[], object]] = field(default_factory=dict)
    after: dict[int, Callable[[], object]] = field(default_factory=dict)
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    sends: int = 0
    waited: float = 0.0

    def now(self) -> pendulum.DateTime:
        return pendulum.from_timestamp(self.sandbox.now().timestamp())

    def sleep(self, seconds: float) -> None:
        self.waited += seconds
        self.sandbox.advance(seconds)
        for at, act in [event for event in self.later if event[0] <= self.sandbox.now()]:
            self.later.remove((at, act))
            act()

    def in_seconds(self, seconds: float, act: Callable[[], object]) -> None:
        """Let something happen while a send waits."""
        self.later.append((self.sandbox.now() + timedelta(seconds=seconds), act))

    def post(self, body: bytes, path: str = "/sms/outgoing/send") -> None:
        """Send as somebody else does."""
        answer = requests.post(
            self.sandbox.base_url + path,
            data=body,
            headers={"AUTHORIZATION": API_KEY, "Content-Type": "application/json"},
            timeout=5,
        )
        assert answer.json()["statusCode"] == 200

    def foreign(self, number: str, send_at: datetime) -> None:
        local = pendulum.instance(send_at).in_timezone("Africa/Johannesburg").strftime("%Y%m%d%H%M")
        row = {"message": "Not ours.", "recipients": [{"mobileNumber": number}], "scheduledTime": local}
        self.post(json.dumps({**row, "maxSegments": 1}).encode())

    @property
    def texts(self) -> Counter[str]:
        """How many texts each number has got, or will get."""
        return Counter(row["mobileNumber"] for row in self.live)

    @property
    def live(self) -> list[dict[str, Any]]:
        return [
            row for row in self.sandbox.outbox() if not row["cancelled"] and row["message"] != "Not ours."
        ]

    @property
    def spent(self) -> Decimal:
        return 10_000 - Decimal(str(self.sandbox.account()["creditBalance"]))

    def asked(self, operation: str) -> int:
        return sum(1 for request in self.sandbox.requests() if request["operation"] == operation)


@pytest.fixture(autouse=True)
def world(sandbox: Sandbox, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(sandbox, runner)
    sandbox.set_account(credit_balance=10_000)
    really, construct = Transport.send, Transport.__init__

    def send(self: Transport, call: Any, leaving: Any = nullcontext) -> Any:
        if not call.operation.startswith("smsSend"):
            return really(self, call, leaving)
        world.sends += 1
        number = world.sends
        world.waiting.pop(number, lambda: None)()
        if act := world.before.pop(number, None):
            with leaving():
                act()
        world.bodies.append((call.path, call.body))
        try:
            return really(self, call, leaving)
        finally:
            world.after.pop(number, lambda: None)()

    def without_waits(self: Transport, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **kwargs)
        self._sleep = lambda _: None

    monkeypatch.setattr(Transport, "send", send)
    monkeypatch.setattr(Transport, "__init__", without_waits)
    for operator in (sms.SmsSendOperator, sms.SmsSendBatchOperator):
        monkeypatch.setattr(operator, "clock", Clock(world.now, world.sleep))
    handler = signal.getsignal(signal.SIGTERM)
    yield world
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def ten_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WinSMSGateway, "limits", replace(WinSMSGateway.limits, recipients=10))


def send(**kwargs: Any) -> SmsSendOperator:
    return SmsSendOperator(task_id="send", **{"text": HALLO, "to": [ANN, BEN], **kwargs})


def send_batch(*messages: Any, **kwargs: Any) -> SmsSendBatchOperator:
    return SmsSendBatchOperator(task_id="send", messages=list(messages), **kwargs)


def die() -> None:
    raise WorkerDied


def kill() -> None:
    signal.raise_signal(signal.SIGTERM)


def without_balance(result: dict[str, Any]) -> dict[str, Any]:
    """What an answer said of the balance is not remembered."""
    return {name: value for name, value in result.items() if name != "balance"}


def once(*numbers: str) -> Counter[str]:
    return Counter(numbers)


# What was recorded is not sent again.


@pytest.mark.parametrize("guarantee", GUARANTEES)
@pytest.mark.parametrize("is_cleared", [False, True], ids=["retry", "clear"])
def test_a_try_after_a_success_returns_the_same_and_sends_nothing(
    guarantee: str, is_cleared: bool, world: World, runner: TaskRunner
) -> None:
    runner.run(send(guarantee=guarantee))
    first, requests_before = runner.result, len(world.sandbox.requests())
    world.sandbox.advance(86_400)
    if is_cleared:
        runner.clear()
    assert runner.run(send(guarantee=guarantee)).error is None
    assert without_balance(runner.result) == without_balance(first)
    assert len(world.sandbox.requests()) == requests_before
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("guarantee", GUARANTEES)
@FIRST_SECOND_THIRD
def test_a_retry_resumes_at_the_first_request_without_an_outcome(
    skip: int, guarantee: str, world: World, runner: TaskRunner
) -> None:
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=skip, retry_after=3600)
    runner.retries = 1
    error = runner.run(send(to=MANY, guarantee=guarantee)).error
    assert isinstance(error, GatewayUnavailable)
    assert not isinstance(error, AirflowFailException)
    assert runner.reported["state"] != "failed"
    assert world.asked("smsSend") == skip + 1
    assert runner.run(send(to=MANY, guarantee=guarantee)).error is None
    assert world.asked("smsSend") == 4
    assert world.texts == once(*MANY)
    assert runner.result["accepted"] == 2500
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]
    assert Decimal(runner.result["cost"]) == world.spent == 2500


@pytest.mark.parametrize("guarantee", GUARANTEES)
@pytest.mark.parametrize("is_cleared", [False, True], ids=["retry", "clear"])
def test_the_log_says_what_an_earlier_try_sent_and_what_this_one_did(
    is_cleared: bool, guarantee: str, world: World, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, retry_after=3600)
    runs = []
    for _ in range(3):
        runner.run(send(to=MANY, guarantee=guarantee))
        runs.append(capsys.readouterr().out)
        if is_cleared:
            runner.clear()
    first, second, third = runs
    assert "Sending to 2500 recipients" in first
    assert "esum" not in first
    assert "Resuming, nothing that was accepted is sent again: 2500 recipients" in second
    assert "Resumed: 1000 accepted by an earlier try, 1500 sent now. In all:" in second
    assert "Resumed: 2500 accepted by an earlier try, 0 sent now. In all:" in third
    assert "Sending to" not in second + third


def test_a_text_that_is_looked_up_was_sent_by_the_earlier_try(
    world: World, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    world.sandbox.add_fault("lost-after-acceptance", operation="smsSend")
    runner.retries = 1
    task = send(guarantee="exactly_once", send_at=world.now().add(hours=3))
    assert runner.run(task).error is None
    capsys.readouterr()
    runner.run(task)
    assert "Resumed: 2 accepted by an earlier try, 0 sent now." in capsys.readouterr().out


def test_the_result_of_a_send_over_two_tries_is_that_of_one(world: World, runner: TaskRunner) -> None:
    to = [*MANY, "27000000005", MANY[0]]
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, retry_after=3600)
    runner.run(send(to=to))
    runner.run(send(to=to))
    assert without_balance(runner.result) == {
        "batch": runner.result["batch"],
        "message_ids": [row["apiMessageId"] for row in world.live],
        "accepted": 2500,
        "rejected": {"bad_number": 1},
        "unknown": 0,
        "not_tried": 0,
        "duplicates": 1,
        "cost": "2500.0",
        "requests": 3,
    }


# At most once.


@pytest.mark.parametrize(
    "fault", [*NOT_A_REFUSAL, AFTER, BEFORE, "500-after-acceptance", "503-before-acceptance"]
)
@FIRST_SECOND_THIRD
def test_a_lost_answer_leaves_its_recipients_unknown_and_the_others_get_their_text(
    skip: int, fault: str, world: World, runner: TaskRunner
) -> None:
    runner.retries = 3
    world.sandbox.add_fault(fault, operation="smsSend", skip=skip)
    result = runner.run(send(to=MANY))
    lost = MANY[skip * 1000 : (skip + 1) * 1000]
    assert isinstance(result.error, OutcomeUnknown)
    assert isinstance(result.error, AirflowFailException)
    assert runner.reported["state"] == "failed"
    accepted = 2500 - len(lost)
    assert f"({len(lost)} in request {skip + 1})" in str(result.error)
    assert f"{accepted} accepted, 0 declined, {len(lost)} unknown, 0 not tried" in str(result.error)
    partial = runner.xcoms["partial_result"]
    assert (partial["accepted"], partial["unknown"], partial["not_tried"]) == (accepted, len(lost), 0)
    reached = set(MANY) if "after" in fault else set(MANY) - set(lost)
    assert world.texts == once(*reached)
    assert world.asked("smsSend") == 3


@pytest.mark.parametrize("is_cleared", [False, True], ids=["retry", "clear"])
@pytest.mark.parametrize("fault", [*NOT_A_REFUSAL, AFTER, BEFORE, "truncated-json", "html-answer"])
def test_what_is_unknown_is_never_sent_again(
    fault: str, is_cleared: bool, world: World, runner: TaskRunner
) -> None:
    world.sandbox.add_fault(fault, operation="smsSend")
    runner.run(send())
    reached = world.texts
    if is_cleared:
        runner.clear()
    result = runner.run(send())
    assert isinstance(result.error, OutcomeUnknown)
    assert isinstance(result.error, AirflowFailException)
    assert world.asked("smsSend") == 1
    assert world.texts == reached


def test_after_a_lost_answer_the_gateway_must_answer_a_free_request_first(
    world: World, runner: TaskRunner
) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    runner.run(send(to=MANY))
    operations = [request["operation"] for request in world.sandbox.requests()]
    assert operations == ["smsSend", "getCreditBalance", "smsSend", "smsSend"]


def test_a_gateway_that_stays_away_after_a_lost_answer_leaves_the_rest_to_a_retry(
    world: World, runner: TaskRunner
) -> None:
    runner.retries = 1
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.sandbox.add_fault("429-too-many-requests", operation="getCreditBalance", retry_after=3600)
    error = runner.run(send(to=MANY)).error
    assert isinstance(error, GatewayUnavailable)
    assert runner.reported["state"] != "failed"
    assert world.asked("smsSend") == 1
    assert isinstance(runner.run(send(to=MANY)).error, OutcomeUnknown)
    assert world.texts == once(*MANY)
    assert runner.xcoms["partial_result"]["unknown"] == 1000


@pytest.mark.parametrize("is_cleared", [False, True], ids=["retry", "clear"])
def test_two_lost_answers_in_a_row_stop_the_submission_and_a_later_try_sends_the_rest(
    is_cleared: bool, world: World, runner: TaskRunner
) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend", skip=1)
    world.sandbox.add_fault(BEFORE, operation="smsSend", skip=1)
    error = runner.run(send(to=MORE)).error
    assert isinstance(error, OutcomeUnknown)
    assert "(1000 in request 2; 1000 in request 3)" in str(error)
    assert "1000 accepted, 0 declined, 2000 unknown, 2000 not tried" in str(error)
    assert world.asked("smsSend") == 3
    if is_cleared:
        runner.clear()
    error = runner.run(send(to=MORE)).error
    assert isinstance(error, OutcomeUnknown)
    assert "3000 accepted, 0 declined, 2000 unknown, 0 not tried" in str(error)
    assert world.asked("smsSend") == 5
    assert world.texts == once(*MORE[:2000], *MORE[3000:])


def test_lost_answers_that_are_not_in_a_row_do_not_stop_the_submission(
    world: World, runner: TaskRunner
) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.sandbox.add_fault(AFTER, operation="smsSend", skip=1)
    world.sandbox.add_fault(AFTER, operation="smsSend", skip=2)
    error = runner.run(send(to=MORE)).error
    assert "2000 accepted, 0 declined, 3000 unknown, 0 not tried" in str(error)
    assert world.texts == once(*MORE)


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_worker_that_dies_at_a_request_leaves_it_unknown_and_the_retry_sends_the_rest(
    at: str, world: World, runner: TaskRunner
) -> None:
    getattr(world, at)[2] = die
    runner.run(send(to=MANY))
    error = runner.run(send(to=MANY)).error
    assert isinstance(error, OutcomeUnknown)
    assert "(1000 in request 2)" in str(error)
    assert world.texts == once(*(MANY if at == "after" else MANY[:1000] + MANY[2000:]))


# Exactly once.


def test_texts_without_a_time_are_held_and_go_out_by_themselves(world: World, runner: TaskRunner) -> None:
    runner.run(send(guarantee="exactly_once"))
    (minute,) = {row["scheduledTime"] for row in world.live}
    due = pendulum.from_format(minute, "YYYYMMDDHHmm", tz="Africa/Johannesburg")
    assert timedelta(minutes=5) <= due - world.now() < timedelta(minutes=6)
    world.sandbox.advance(3600)
    assert {row["status"] for row in world.live} <= {"DELIVERED", "FAILED", "SENT"}


def test_the_hold_can_be_chosen_and_must_outlast_the_lookup(world: World, runner: TaskRunner) -> None:
    runner.run(send(guarantee="exactly_once", hold=timedelta(minutes=30)))
    (minute,) = {row["scheduledTime"] for row in world.live}
    due = pendulum.from_format(minute, "YYYYMMDDHHmm", tz="Africa/Johannesburg")
    assert timedelta(minutes=30) <= due - world.now() < timedelta(minutes=31)
    error = runner.run(send(guarantee="exactly_once", hold=timedelta(minutes=2))).error
    assert isinstance(error, InvalidMessage)
    assert "`hold` must be a timedelta of at least 160 seconds" in str(error)


LATER = pytest.mark.parametrize("hours", [None, 2], ids=["held", "send_at"])


def in_hours(world: World, hours: int | None) -> pendulum.DateTime | None:
    return None if hours is None else world.now().add(hours=hours)


@LATER
@pytest.mark.parametrize(
    "fault", [*NOT_A_REFUSAL, AFTER, "500-after-acceptance", "truncated-json", "html-answer"]
)
def test_a_lost_answer_is_looked_up_and_what_was_accepted_is_adopted(
    fault: str, hours: int | None, world: World, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    world.sandbox.add_fault(fault, operation="smsSend")
    assert runner.run(send(guarantee="exactly_once", send_at=in_hours(world, hours))).error is None
    assert world.asked("smsSend") == 1
    assert world.texts == once(ANN, BEN)
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]
    assert Decimal(runner.result["cost"]) == world.spent == 2
    said = capsys.readouterr().out
    assert "2 recipients of 2 in doubt stand in the list of scheduled texts" in said
    assert "with their number, minute and time of submission: accepted" in said


@LATER
def test_what_is_not_in_the_list_by_the_time_it_must_be_is_submitted_again(
    hours: int | None, world: World, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    assert runner.run(send(guarantee="exactly_once", send_at=in_hours(world, hours))).error is None
    assert world.asked("smsSend") == 2
    assert world.texts == once(ANN, BEN)
    assert world.waited >= 30
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]
    assert runner.result["rejected"] == {}
    assert Decimal(runner.result["cost"]) == world.spent == 2
    said = capsys.readouterr().out
    assert "2 recipients in doubt are not in the list of scheduled texts" in said
    assert "not accepted, and submitted again" in said


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
@FIRST_SECOND_THIRD
def test_each_of_many_gets_exactly_one_text(skip: int, fault: str, world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault(fault, operation="smsSend", skip=skip)
    assert runner.run(send(to=MANY, guarantee="exactly_once")).error is None
    assert world.texts == once(*MANY)
    assert runner.result["accepted"] == 2500
    assert sorted(runner.result["message_ids"]) == [row["apiMessageId"] for row in world.live]
    assert Decimal(runner.result["cost"]) == world.spent == 2500


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_retry_looks_up_what_a_worker_that_died_had_submitted(
    at: str, world: World, runner: TaskRunner
) -> None:
    getattr(world, at)[2] = die
    runner.run(send(to=MANY, guarantee="exactly_once"))
    world.sandbox.advance(20)
    assert runner.run(send(to=MANY, guarantee="exactly_once")).error is None
    assert world.texts == once(*MANY)
    assert runner.result["accepted"] == world.spent == 2500


@pytest.mark.parametrize("at", ["before", "after"])
def test_what_is_due_before_it_can_be_looked_up_is_unknown(
    at: str, world: World, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    getattr(world, at)[1] = die
    runner.run(send(guarantee="exactly_once"))
    reached = world.texts
    world.sandbox.advance(600)
    error = runner.run(send(guarantee="exactly_once")).error
    assert isinstance(error, OutcomeUnknown)
    assert isinstance(error, AirflowFailException)
    assert world.texts == reached
    assert "the list of scheduled texts proves nothing" in capsys.readouterr().out


def test_a_list_that_cannot_be_read_proves_nothing(world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    world.sandbox.add_fault(
        "429-too-many-requests", operation="getScheduledMessages", retry_after=3600, times=10_000
    )
    assert isinstance(runner.run(send(guarantee="exactly_once")).error, OutcomeUnknown)
    assert world.asked("smsSend") == 1


def test_a_list_that_can_be_read_again_is(world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.sandbox.add_fault(
        "429-too-many-requests", operation="getScheduledMessages", retry_after=3600, times=3
    )
    assert runner.run(send(guarantee="exactly_once")).error is None
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("seconds", [1, 29, 31, 60, 95])
def test_a_request_that_is_accepted_late_is_found(seconds: int, world: World, runner: TaskRunner) -> None:
    def arrive() -> None:
        path, body = world.bodies[0]
        world.post(body, path)

    world.after[1] = lambda: world.in_seconds(seconds, arrive)
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    assert runner.run(send(guarantee="exactly_once")).error is None
    assert world.texts == once(ANN, BEN)
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
def test_two_texts_to_one_number_are_looked_up_together(fault: str, world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault(fault, operation="smsSendBatch")
    texts = ({"text": HALLO, "to": [ANN, BEN]}, {"text": OTHER, "to": ANN})
    assert runner.run(send_batch(*texts, guarantee="exactly_once")).error is None
    sent = sorted((row["mobileNumber"], row["message"]) for row in world.live)
    assert sent == [(ANN, OTHER), (ANN, HALLO), (BEN, HALLO)]
    assert sorted(runner.result["message_ids"]) == [row["apiMessageId"] for row in world.live]


def test_of_two_texts_to_one_number_the_one_in_doubt_is_not_taken_for_the_other(
    world: World, runner: TaskRunner
) -> None:
    world.sandbox.add_fault("missing-row", operation="smsSendBatch")
    texts = ({"text": HALLO, "to": ANN}, {"text": OTHER, "to": ANN})
    assert runner.run(send_batch(*texts, guarantee="exactly_once")).error is None
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]
    assert [row["message"] for row in world.live] == [HALLO, OTHER]


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
def test_two_requests_with_the_same_numbers_are_told_apart(
    fault: str, world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WinSMSGateway, "limits", replace(WinSMSGateway.limits, recipients=2))
    world.sandbox.add_fault(fault, operation="smsSendBatch", skip=1)
    texts = [{"text": text, "to": [ANN, BEN]} for text in (HALLO, OTHER, "A third one.")]
    assert runner.run(send_batch(*texts, guarantee="exactly_once")).error is None
    assert world.texts == once(*[ANN, BEN] * 3)
    assert sorted(runner.result["message_ids"]) == [row["apiMessageId"] for row in world.live]


def test_a_foreign_text_to_the_same_number_and_minute_leaves_the_number_unknown(
    world: World, runner: TaskRunner
) -> None:
    send_at = world.now().add(hours=2).start_of("hour")
    world.after[1] = lambda: world.foreign(ANN, send_at)
    world.sandbox.add_fault(AFTER, operation="smsSend")
    error = runner.run(send(guarantee="exactly_once", send_at=send_at)).error
    assert isinstance(error, OutcomeUnknown)
    assert "(1 in request 1)" in str(error)
    assert "1 accepted, 0 declined, 1 unknown" in str(error)
    assert world.texts == once(ANN, BEN)


def test_a_foreign_text_that_was_submitted_before_is_not_taken_for_ours(
    world: World, runner: TaskRunner
) -> None:
    send_at = world.now().add(hours=2).start_of("hour")
    world.foreign(ANN, send_at)
    world.sandbox.advance(240)
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    assert runner.run(send(guarantee="exactly_once", send_at=send_at)).error is None
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
def test_a_batch_with_several_times_goes_out_once_at_each(
    fault: str, world: World, runner: TaskRunner
) -> None:
    hour = world.now().add(hours=2).start_of("hour")
    times = [None, hour, hour.add(days=1), None]
    texts = [{"text": f"Text {place}", "to": [ANN, BEN], "send_at": t} for place, t in enumerate(times)]
    world.sandbox.add_fault(fault, operation="smsSendBatch")
    assert runner.run(send_batch(*texts, guarantee="exactly_once")).error is None
    sent = Counter((row["message"], row["mobileNumber"]) for row in world.live)
    assert sent == Counter((text["text"], number) for text in texts for number in (ANN, BEN))
    by_text = {row["message"]: row["scheduledTime"] for row in world.live}
    for place, time in enumerate(times[1:3], start=1):
        assert time is not None
        assert by_text[f"Text {place}"] == time.in_timezone("Africa/Johannesburg").format("YYYYMMDDHHmm")
    assert by_text["Text 0"] == by_text["Text 3"] < by_text["Text 1"]
    assert Decimal(runner.result["cost"]) == world.spent == 8


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
def test_a_text_that_is_due_soon_is_found_or_unknown(fault: str, world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault(fault, operation="smsSend")
    send_at = world.now().start_of("minute").add(minutes=2)
    error = runner.run(send(guarantee="exactly_once", send_at=send_at)).error
    assert error is None if fault == AFTER else isinstance(error, OutcomeUnknown)
    assert world.asked("smsSend") == 1


@pytest.mark.usefixtures("ten_a_request")
def test_two_lost_answers_in_a_row_that_are_found_do_not_stop_the_submission(
    world: World, runner: TaskRunner
) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend", times=5)
    assert runner.run(send(to=MANY[:50], guarantee="exactly_once")).error is None
    assert world.texts == once(*MANY[:50])


@pytest.mark.usefixtures("ten_a_request")
def test_two_requests_in_a_row_that_do_not_arrive_leave_the_rest_to_a_retry(
    world: World, runner: TaskRunner
) -> None:
    runner.retries = 1
    world.sandbox.add_fault(BEFORE, operation="smsSend", skip=1, times=2)
    error = runner.run(send(to=MANY[:50], guarantee="exactly_once")).error
    assert isinstance(error, GatewayUnavailable)
    assert runner.reported["state"] != "failed"
    assert world.asked("smsSend") == 3
    assert runner.run(send(to=MANY[:50], guarantee="exactly_once")).error is None
    assert world.texts == once(*MANY[:50])
    assert runner.result["accepted"] == world.spent == 50


@pytest.mark.usefixtures("ten_a_request")
@pytest.mark.parametrize("fault", [AFTER, BEFORE, "missing-row"])
@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
@pytest.mark.parametrize("hours", [[None], [2], [None, 2]], ids=["now", "send_at", "mixed"])
def test_no_lost_answer_makes_two_texts_of_one(
    hours: list[int | None], guarantee: str, fault: str, world: World, runner: TaskRunner
) -> None:
    to = MANY[:15]
    texts = [{"text": f"{hour} h", "to": to, "send_at": in_hours(world, hour)} for hour in hours]
    world.sandbox.add_fault(fault, operation="smsSendBatch")
    error = runner.run(send_batch(*texts, guarantee=guarantee)).error
    runner.clear()
    again = runner.run(send_batch(*texts, guarantee=guarantee)).error
    assert type(again) is type(error)
    sent = Counter((row["message"], row["mobileNumber"]) for row in world.live)
    assert max(sent.values()) == 1
    if error is None:
        assert len(sent) == len(texts) * 15
        assert sorted(runner.result["message_ids"]) == [row["apiMessageId"] for row in world.live]
    else:
        assert isinstance(error, OutcomeUnknown)
        assert guarantee == "at_most_once"


# Answers with a row too few or too many.


def test_a_row_that_is_missing_leaves_only_its_recipient_unknown(world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault("missing-row", operation="smsSend")
    error = runner.run(send(to=[ANN, BEN, CAT])).error
    assert isinstance(error, OutcomeUnknown)
    assert "(1 in request 1)" in str(error)
    rows = {row["mobileNumber"]: row["apiMessageId"] for row in world.live}
    assert runner.xcoms["partial_result"]["message_ids"] == [rows[ANN], rows[CAT]]
    runner.clear()
    assert isinstance(runner.run(send(to=[ANN, BEN, CAT])).error, OutcomeUnknown)
    assert world.texts == once(ANN, BEN, CAT)


def test_a_row_that_comes_twice_is_read_once(world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault("duplicated-row", operation="smsSend")
    assert runner.run(send()).error is None
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]


@pytest.mark.parametrize("fault", ["missing-row", "duplicated-row"])
def test_a_recipient_whose_row_is_spoilt_is_looked_up(fault: str, world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault(fault, operation="smsSend")
    assert runner.run(send(to=[ANN, BEN, CAT], guarantee="exactly_once")).error is None
    assert runner.result["message_ids"] == [row["apiMessageId"] for row in world.live]
    assert world.texts == once(ANN, BEN, CAT)


def test_a_row_that_is_missing_is_sent_again_if_it_may_be_sent_twice(
    world: World, runner: TaskRunner
) -> None:
    world.sandbox.add_fault("missing-row", operation="smsSend")
    assert runner.run(send(to=[ANN, BEN, CAT], guarantee="at_least_once")).error is None
    assert world.texts == once(ANN, BEN, BEN, CAT)


# At least once.


def test_under_at_least_once_a_lost_answer_is_submitted_again(world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend", skip=1)
    assert runner.run(send(to=MANY, guarantee="at_least_once")).error is None
    assert world.texts == once(*MANY, *MANY[1000:2000])
    assert runner.result["accepted"] == 2500
    assert world.spent == 3500


def test_under_at_least_once_a_retry_repeats_only_what_was_in_doubt(world: World, runner: TaskRunner) -> None:
    world.after[2] = die
    runner.run(send(to=MANY, guarantee="at_least_once"))
    assert runner.run(send(to=MANY, guarantee="at_least_once")).error is None
    assert world.texts == once(*MANY, *MANY[1000:2000])


def test_under_at_least_once_a_gateway_that_loses_every_answer_is_left_to_a_retry(
    world: World, runner: TaskRunner
) -> None:
    runner.retries = 1
    world.sandbox.add_fault(BEFORE, operation="smsSend", times=3)
    assert isinstance(runner.run(send(guarantee="at_least_once")).error, GatewayUnavailable)
    assert runner.reported["state"] != "failed"
    world.sandbox.clear_faults()
    assert runner.run(send(guarantee="at_least_once")).error is None
    assert world.texts == once(ANN, BEN)


# Another guarantee in the next try.


@pytest.mark.parametrize("second", ["at_most_once", "exactly_once"])
@pytest.mark.parametrize("first", GUARANTEES)
@pytest.mark.parametrize("at", ["before", "after"])
def test_another_guarantee_in_the_next_try_doubles_nothing(
    at: str, first: str, second: str, world: World, runner: TaskRunner
) -> None:
    getattr(world, at)[2] = die
    runner.run(send(to=MANY, guarantee=first))
    error = runner.run(send(to=MANY, guarantee=second)).error
    assert max(world.texts.values()) == 1
    if error is None:
        assert first == "exactly_once"
        assert world.texts == once(*MANY)
    else:
        assert isinstance(error, OutcomeUnknown)
        assert (first, second) != ("exactly_once", "exactly_once")
        assert runner.xcoms["partial_result"]["unknown"] == 1000


def test_a_less_strict_guarantee_in_the_next_try_is_what_counts(world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    assert isinstance(runner.run(send()).error, OutcomeUnknown)
    runner.clear()
    assert runner.run(send(guarantee="at_least_once")).error is None
    assert world.texts == once(ANN, ANN, BEN, BEN)


@pytest.mark.parametrize("second", ["exactly_once", "at_most_once"])
def test_another_guarantee_cuts_the_requests_of_a_batch_as_the_first_did(
    second: str, world: World, runner: TaskRunner
) -> None:
    """A text with a time takes more bytes, so that fewer of them would fit into a request."""
    first = {"exactly_once": "at_most_once", "at_most_once": "exactly_once"}[second]
    long = [{"text": f"{place:03d} " + "x" * 150, "to": f"2782{place:07d}"} for place in range(1000)]
    world.sandbox.add_fault("429-too-many-requests", operation="smsSendBatch", skip=1, retry_after=3600)
    runner.run(send_batch(*long, guarantee=first))
    error = runner.run(send_batch(*long, guarantee=second)).error
    assert max(world.texts.values()) == 1
    assert error is None or "have no room for a time" in str(error)
    assert error is not None or len(world.texts) == 1000


def test_another_connection_in_the_next_try_doubles_nothing(world: World, runner: TaskRunner) -> None:
    """Another account does not list what the first one scheduled."""
    keyed = {**runner.connections["winsms_default"], "extra": json.dumps({"hash_secret": "x" * 40})}
    with Sandbox(api_key="another", speed=0, now=world.sandbox.now()) as elsewhere:
        other = {**keyed, "host": elsewhere.base_url, "password": "another"}
        runner.connections = {"winsms_default": keyed, "other": other}
        world.after[1] = die
        runner.run(send(guarantee="exactly_once"))
        error = runner.run(send(guarantee="exactly_once", sms_conn_id="other")).error
        assert isinstance(error, (IdempotencyConflict, OutcomeUnknown, ConfigurationError))
        assert elsewhere.outbox() == []
    assert world.texts == once(ANN, BEN)


def test_other_references_in_the_next_try_double_nothing(world: World, runner: TaskRunner) -> None:
    def texts(reference: str | None) -> list[dict[str, Any]]:
        return [{"text": f"No. {n}", "to": [Recipient(to, reference)]} for n, to in enumerate(MANY[:1100])]

    world.sandbox.add_fault("429-too-many-requests", operation="smsSendBatch", skip=1, retry_after=3600)
    runner.run(send_batch(*texts("c" * 150)))
    assert runner.run(send_batch(*texts(None))).error is None
    assert world.texts == once(*MANY[:1100])


# After a clear.


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_resend_sends_all_again_after_a_clear_and_may_send_another_text(
    guarantee: str, world: World, runner: TaskRunner
) -> None:
    runner.run(send(guarantee=guarantee, on_clear="resend"))
    first = runner.result["batch"]
    runner.clear()
    assert runner.run(send(guarantee=guarantee, on_clear="resend", text=OTHER, to=[ANN, CAT])).error is None
    sent = sorted((row["mobileNumber"], row["message"]) for row in world.live)
    assert sent == [(ANN, OTHER), (ANN, HALLO), (BEN, HALLO), (CAT, OTHER)]
    assert runner.result["batch"] != first
    assert runner.result["accepted"] == 2


def test_resend_changes_nothing_for_retries(world: World, runner: TaskRunner) -> None:
    runner.retries = 3
    runner.run(send(on_clear="resend"))
    runner.run(send(on_clear="resend"))
    runner.clear()
    runner.run(send(on_clear="resend"))
    runner.run(send(on_clear="resend"))
    assert world.texts == once(ANN, ANN, BEN, BEN)


def test_resend_after_a_lost_answer_sends_all_again(world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    runner.run(send(on_clear="resend"))
    runner.clear()
    assert runner.run(send(on_clear="resend")).error is None
    assert world.texts == once(ANN, ANN, BEN, BEN)


@pytest.mark.parametrize("fault", [AFTER, BEFORE])
def test_the_texts_of_before_a_clear_are_not_taken_for_those_that_are_sent_again(
    fault: str, world: World, runner: TaskRunner
) -> None:
    task: dict[str, Any] = {"guarantee": "exactly_once", "on_clear": "resend"}
    task["send_at"] = world.now().add(hours=2)
    assert runner.run(send(**task)).error is None
    runner.clear()
    world.sandbox.add_fault(fault, operation="smsSend")
    assert runner.run(send(**task, text=OTHER)).error is None
    assert world.texts == once(ANN, ANN, BEN, BEN)
    ids = [row["apiMessageId"] for row in world.live if row["message"] == OTHER]
    assert runner.result["message_ids"] == ids


def test_declined_recipients_are_not_tried_again(world: World, runner: TaskRunner) -> None:
    runner.retries = 3
    task: dict[str, Any] = {"to": [ANN, "27000000005"], "on_rejected": "fail"}
    assert isinstance(runner.run(send(**task)).error, SendRejected)
    assert runner.reported["state"] == "failed"
    runner.clear()
    assert isinstance(runner.run(send(**task)).error, SendRejected)
    assert world.asked("smsSend") == 1


# Another text, or other recipients, in the next try.


@pytest.mark.parametrize("is_cleared", [False, True], ids=["retry", "clear"])
@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"text": OTHER}, "has other text, time or segments than this one"),
        ({"to": [ANN, CAT]}, "has other recipients than this one"),
        ({"to": [BEN, ANN]}, "has other recipients than this one"),
        ({"max_segments": 3}, "has other text, time or segments than this one"),
        ({"text": OTHER, "to": [CAT, ANN]}, "has other text, time or segments and other recipients"),
    ],
    ids=["text", "recipients", "order", "segments", "both"],
)
def test_the_same_batch_with_something_else_in_it_is_refused_and_both_are_named(
    other: dict[str, Any], says: str, is_cleared: bool, world: World, runner: TaskRunner
) -> None:
    runner.run(send())
    first = runner.result["batch"]
    if is_cleared:
        runner.clear()
    error = runner.run(send(**other)).error
    assert isinstance(error, IdempotencyConflict)
    assert isinstance(error, AirflowFailException)
    assert says in str(error)
    assert first[:8] in str(error)
    named = re.findall(r"texts ([0-9a-f]{8}), numbers ([0-9a-f]{8})", str(error))
    assert len(set(named)) == 2
    assert world.texts == once(ANN, BEN)
    assert runner.run(send()).error is None
    assert world.texts == once(ANN, BEN)


def test_a_batch_under_which_nothing_was_submitted_is_replaced(world: World, runner: TaskRunner) -> None:
    good = runner.connections
    runner.connections = {"winsms_default": {**good["winsms_default"], "password": "a-wrong-key"}}
    assert isinstance(runner.run(send()).error, ConfigurationError)
    runner.connections = good
    assert runner.run(send(text=OTHER, to=[CAT])).error is None
    assert [(row["mobileNumber"], row["message"]) for row in world.live] == [(CAT, OTHER)]
    assert runner.run(send(text=OTHER, to=[CAT])).error is None
    assert world.texts == once(CAT)


def test_a_batch_under_which_a_request_may_be_out_is_not_replaced(world: World, runner: TaskRunner) -> None:
    world.before[1] = die
    runner.run(send())
    assert isinstance(runner.run(send(text=OTHER)).error, IdempotencyConflict)
    assert world.asked("smsSend") == 0


# Accounts that cannot send.


@pytest.mark.usefixtures("ten_a_request")
@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_a_try_after_the_account_was_topped_up_sends_to_those_it_could_not_pay_for_and_the_rest(
    guarantee: str, world: World, runner: TaskRunner
) -> None:
    runner.retries = 2
    world.sandbox.set_account(credit_balance=15)
    error = runner.run(send(to=MANY[:50], guarantee=guarantee)).error
    assert isinstance(error, OutOfCredits)
    assert not isinstance(error, AirflowFailException)
    assert runner.reported["state"] != "failed"
    assert "15 accepted, 5 declined (5 x no_credits), 0 unknown, 30 not tried" in str(error)
    assert world.texts == once(*MANY[:15])
    assert isinstance(runner.run(send(to=MANY[:50], guarantee=guarantee)).error, OutOfCredits)
    world.sandbox.set_account(credit_balance=10_000)
    assert runner.run(send(to=MANY[:50], guarantee=guarantee)).error is None
    assert world.texts == once(*MANY[:50])
    assert runner.result["rejected"] == {}
    assert runner.result["accepted"] == 50
    assert runner.result["cost"] == "50.0"
    assert world.spent == 35


@pytest.mark.usefixtures("ten_a_request")
def test_a_later_round_sends_to_those_of_several_requests_at_once(world: World, runner: TaskRunner) -> None:
    """Its one request has recipients of two earlier ones."""
    world.sandbox.set_account(credit_balance=7)
    runner.run(send(to=MANY[:15]))
    world.sandbox.set_account(credit_balance=3)
    runner.run(send(to=MANY[:15]))
    world.sandbox.set_account(credit_balance=10_000)
    assert runner.run(send(to=MANY[:15])).error is None
    assert world.texts == once(*MANY[:15])


@pytest.mark.parametrize(
    ("barred", "free"),
    [({"locked": True}, {"locked": False}), ({"trial_number": CAT}, {"trial_number": None})],
    ids=["locked", "trial"],
)
def test_a_barred_account_fails_at_once_and_a_clear_sends_the_rest(
    barred: dict[str, Any], free: dict[str, Any], world: World, runner: TaskRunner
) -> None:
    runner.retries = 3
    world.after[1] = lambda: world.sandbox.set_account(**barred)
    error = runner.run(send(to=MANY)).error
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, AirflowFailException)
    assert runner.reported["state"] == "failed"
    assert world.texts == once(*MANY[:1000])
    assert world.asked("smsSend") == 2
    world.sandbox.set_account(**free)
    runner.clear()
    assert runner.run(send(to=MANY)).error is None
    assert world.texts == once(*MANY)
    assert runner.result["rejected"] == {}


# Errors that pass.


def break_store(
    runner: TaskRunner, monkeypatch: pytest.MonkeyPatch, *, when: str, times: int = 10**9
) -> None:
    """Let the store fail at requests that match."""
    really, left = runner._answer, [times]

    def answer(request: httpx.Request) -> httpx.Response:
        line = f"{request.method} {request.url.path} {request.content.decode()}"
        if left[0] and re.search(when, line):
            left[0] -= 1
            return httpx.Response(403, json={"detail": {"reason": "no", "message": "no"}})
        return really(request)

    monkeypatch.setattr(runner, "_answer", answer)


def test_a_ledger_that_goes_away_before_a_request_leaves_the_rest_to_a_retry(
    world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.retries = 1
    with monkeypatch.context() as patch:
        break_store(runner, patch, when=r"PUT /store.*sms_send\.1\.1\.000002 ")
        error = runner.run(send(to=MANY)).error
    assert isinstance(error, LedgerUnavailable)
    assert not isinstance(error, AirflowFailException)
    assert runner.reported["state"] != "failed"
    assert world.texts == once(*MANY[:1000])
    assert runner.run(send(to=MANY)).error is None
    assert world.texts == once(*MANY)


def test_a_ledger_that_cannot_be_read_sends_nothing(
    world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_store(runner, monkeypatch, when="GET /store")
    assert isinstance(runner.run(send()).error, LedgerUnavailable)
    assert world.sandbox.requests() == []


def test_an_unreadable_balance_after_a_lost_answer_submits_nothing_more(
    world: World, runner: TaskRunner
) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.sandbox.add_fault("html-answer", operation="getCreditBalance", times=100)
    assert isinstance(runner.run(send(to=MANY)).error, GatewayUnavailable)
    assert world.asked("smsSend") == 1


def test_a_record_that_fails_is_written_again(
    world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_store(runner, monkeypatch, when=r'PUT /store.*"ids":', times=3)
    assert runner.run(send()).error is None
    first = runner.result
    assert runner.run(send()).error is None
    assert runner.result["message_ids"] == first["message_ids"]
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
def test_an_answer_that_cannot_be_recorded_is_logged_and_never_sent_again(
    guarantee: str,
    world: World,
    runner: TaskRunner,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        break_store(runner, patch, when=r'PUT /store.*"ids":')
        assert isinstance(runner.run(send(guarantee=guarantee)).error, LedgerUnavailable)
    said = capsys.readouterr().out
    assert all(str(row["apiMessageId"]) in said for row in world.live)
    error = runner.run(send(guarantee=guarantee)).error
    assert error is None if guarantee == "exactly_once" else isinstance(error, OutcomeUnknown)
    assert world.texts == once(ANN, BEN)


def time_out() -> None:
    msg = "Timeout"
    raise AirflowTaskTimeout(msg)


@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
def test_an_execution_timeout_is_retried_and_what_was_answered_stays_sent(
    guarantee: str, world: World, runner: TaskRunner
) -> None:
    runner.retries = 1
    world.before[2] = time_out
    kwargs = {"to": MANY, "guarantee": guarantee, "execution_timeout": timedelta(hours=1)}
    assert isinstance(runner.run(send(**kwargs)).error, AirflowTaskTimeout)
    assert runner.reported["state"] != "failed"
    assert runner.xcoms["partial_result"]["accepted"] == 1000
    error = runner.run(send(**kwargs)).error
    if guarantee == "exactly_once":
        assert error is None
        assert world.texts == once(*MANY)
    else:
        assert isinstance(error, OutcomeUnknown)
        assert world.texts == once(*MANY[:1000], *MANY[2000:])


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_an_execution_timeout_before_a_request_leaves_gives_it_back(
    guarantee: str, world: World, runner: TaskRunner
) -> None:
    runner.retries = 1
    world.waiting[2] = time_out
    kwargs = {"to": MANY, "guarantee": guarantee, "execution_timeout": timedelta(hours=1)}
    assert isinstance(runner.run(send(**kwargs)).error, AirflowTaskTimeout)
    assert runner.run(send(**kwargs)).error is None
    assert world.texts == once(*MANY)


# Times that pass between two tries.


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_what_was_recorded_is_returned_though_its_time_has_passed(
    guarantee: str, world: World, runner: TaskRunner
) -> None:
    task = {"send_at": world.now().add(hours=1), "guarantee": guarantee}
    runner.run(send(**task))
    first = runner.result
    world.sandbox.advance(7200)
    assert runner.run(send(**task)).error is None
    assert runner.result["message_ids"] == first["message_ids"]
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_what_is_still_to_be_submitted_when_its_time_has_passed_is_refused(
    guarantee: str, world: World, runner: TaskRunner
) -> None:
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, retry_after=3600)
    task = {"to": MANY, "send_at": world.now().add(hours=1), "guarantee": guarantee}
    runner.run(send(**task))
    world.sandbox.advance(7200)
    error = runner.run(send(**task)).error
    assert isinstance(error, InvalidMessage)
    assert isinstance(error, AirflowFailException)
    assert "The time of 1000 texts has passed" in str(error)
    assert runner.xcoms["partial_result"]["accepted"] == 1000
    assert runner.xcoms["partial_result"]["not_tried"] == 1500
    assert world.texts == once(*MANY[:1000])


# Kills.


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_a_kill_stops_the_submission_and_a_later_try_goes_on(
    guarantee: str, world: World, runner: TaskRunner
) -> None:
    world.after[2] = kill
    assert isinstance(runner.run(send(to=MANY, guarantee=guarantee)).error, SendStopped)
    assert world.texts == once(*MANY[:2000])
    assert runner.run(send(to=MANY, guarantee=guarantee)).error is None
    assert world.texts == once(*MANY)
    assert world.asked("deleteScheduledMessages") == 0


def test_a_kill_in_a_lookup_stops_it_and_a_later_try_goes_on(world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    world.after[1] = lambda: world.in_seconds(10, kill)
    assert isinstance(runner.run(send(guarantee="exactly_once")).error, SendStopped)
    assert world.waited < 15
    assert runner.run(send(guarantee="exactly_once")).error is None
    assert world.texts == once(ANN, BEN)


def test_a_list_that_proves_nothing_is_not_read_until_the_texts_are_due(
    world: World, runner: TaskRunner
) -> None:
    task: dict[str, Any] = {"guarantee": "exactly_once", "send_at": world.now().add(days=7)}
    world.sandbox.add_fault(AFTER, operation="smsSend")
    world.sandbox.add_fault(
        "429-too-many-requests", operation="getScheduledMessages", retry_after=3600, times=10_000
    )
    assert isinstance(runner.run(send(**task)).error, OutcomeUnknown)
    assert 3600 < world.waited < 4200
    world.sandbox.clear_faults()
    assert runner.run(send(**task)).error is None
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("hours", [1, None], ids=["send_at", "held"])
def test_a_kill_cancels_what_is_not_due_and_a_later_try_sends_it(
    hours: int | None, world: World, runner: TaskRunner
) -> None:
    task: dict[str, Any] = {"to": MANY, "cancel_on_kill": True, "send_at": in_hours(world, hours)}
    task["guarantee"] = "at_most_once" if hours else "exactly_once"
    world.after[2] = kill
    assert isinstance(runner.run(send(**task)).error, SendStopped)
    assert world.texts == once()
    assert world.spent == 0
    assert runner.run(send(**task)).error is None
    assert world.texts == once(*MANY)
    assert world.spent == 2500
    assert runner.result["accepted"] == 2500
    assert runner.result["cost"] == "2500.0"
    assert sorted(runner.result["message_ids"]) == [row["apiMessageId"] for row in world.live]


def test_a_kill_cancels_nothing_that_is_due(world: World, runner: TaskRunner) -> None:
    world.after[2] = kill
    runner.run(send(to=MANY, cancel_on_kill=True))
    assert world.texts == once(*MANY[:2000])
    assert runner.run(send(to=MANY, cancel_on_kill=True)).error is None
    assert world.texts == once(*MANY)


def test_an_execution_timeout_cancels_as_a_kill_does(world: World, runner: TaskRunner) -> None:
    task: dict[str, Any] = {
        "to": MANY,
        "cancel_on_kill": True,
        "send_at": world.now().add(hours=1),
        "execution_timeout": timedelta(hours=1),
    }
    world.before[3] = time_out
    assert isinstance(runner.run(send(**task)).error, AirflowTaskTimeout)
    assert world.texts == once()
    error = runner.run(send(**task)).error
    assert isinstance(error, OutcomeUnknown)
    assert world.texts == once(*MANY[:2000])


def test_a_kill_in_the_last_request_cancels_as_well(world: World, runner: TaskRunner) -> None:
    task: dict[str, Any] = {"cancel_on_kill": True, "send_at": world.now().add(hours=1)}
    world.after[1] = kill
    assert isinstance(runner.run(send(**task)).error, SendStopped)
    assert world.texts == once()
    assert runner.run(send(**task)).error is None
    assert world.texts == once(ANN, BEN)


def test_a_kill_in_a_lookup_cancels_what_was_accepted_in_the_same_request(
    world: World, runner: TaskRunner
) -> None:
    task: dict[str, Any] = {"to": [ANN, BEN, CAT], "guarantee": "exactly_once", "cancel_on_kill": True}
    world.sandbox.add_fault("missing-row", operation="smsSend")
    world.sandbox.add_fault(
        "429-too-many-requests", operation="getScheduledMessages", retry_after=3600, times=10_000
    )
    world.after[1] = lambda: world.in_seconds(10, kill)
    assert isinstance(runner.run(send(**task)).error, SendStopped)
    assert world.texts == once(BEN)
    world.sandbox.clear_faults()
    assert runner.run(send(**task)).error is None
    assert world.texts == once(ANN, BEN, CAT)


@pytest.mark.parametrize("recipients", [1, 1000])
@pytest.mark.parametrize("fault", [AFTER, "missing-row"])
def test_a_cancellation_whose_answer_is_lost_loses_no_text_and_doubles_none(
    fault: str, recipients: int, world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WinSMSGateway, "limits", replace(WinSMSGateway.limits, recipients=recipients))
    task: dict[str, Any] = {"cancel_on_kill": True, "send_at": world.now().add(hours=1)}
    world.sandbox.add_fault(fault, operation="deleteScheduledMessages")
    world.after[1] = kill
    runner.run(send(**task))
    assert world.texts == once()
    assert runner.run(send(**task)).error is None
    assert world.texts == once(ANN, BEN)


def test_a_kill_that_is_cut_off_while_it_cancels_loses_no_text_and_doubles_none(
    world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WinSMSGateway, "limits", replace(WinSMSGateway.limits, recipients=1))
    task: dict[str, Any] = {"cancel_on_kill": True, "send_at": world.now().add(hours=1)}
    world.after[1] = kill
    with monkeypatch.context() as patch:
        break_store(runner, patch, when=r'PUT /store.*"cancelled"')
        runner.run(send(**task))
    assert world.texts == once()
    assert runner.run(send(**task)).error is None
    assert world.texts == once(ANN, BEN)


# Two processes at once.


def only_the_latest_try_may_use_the_store(runner: TaskRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Airflow, where a task instance that is tried again gets another id, and the old one is gone."""
    really, latest = runner._answer, [""]

    def answer(request: httpx.Request) -> httpx.Response:
        if started := re.fullmatch(r"/task-instances/([^/]+)/run", request.url.path):
            latest[0] = started[1]
        used = re.fullmatch(r"/store/ti/([^/]+)/.*", request.url.path)
        if used and used[1] != latest[0]:
            return httpx.Response(404, json={"detail": {"reason": "not_found", "message": "not found"}})
        return really(request)

    monkeypatch.setattr(runner, "_answer", answer)


@pytest.mark.usefixtures("ten_a_request")
@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("slept", [0, 20, 40, 3600])
def test_a_try_that_wakes_up_after_its_successor_doubles_nothing(
    slept: int,
    number: int,
    guarantee: str,
    world: World,
    runner: TaskRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_the_latest_try_may_use_the_store(runner, monkeypatch)
    task: dict[str, Any] = {"to": MANY[:30], "guarantee": guarantee}

    def sleep_and_be_replaced() -> None:
        world.sandbox.advance(slept)
        runner.run(send(**task))

    world.before[number] = sleep_and_be_replaced
    zombie = runner.run(send(**task)).error
    assert zombie is not None
    assert max(world.texts.values()) == 1
    assert len(world.texts) >= 20


@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
def test_a_try_that_wakes_up_with_its_answer_doubles_nothing(
    guarantee: str, world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_the_latest_try_may_use_the_store(runner, monkeypatch)
    world.after[2] = lambda: runner.run(send(to=MANY, guarantee=guarantee))
    assert isinstance(runner.run(send(to=MANY, guarantee=guarantee)).error, (LedgerUnavailable, ClaimLost))
    assert world.texts == once(*MANY)


# What is remembered.


def test_what_is_remembered_of_a_request_is_small(world: World, runner: TaskRunner) -> None:
    runner.run(send(to=[*MANY, "27000000005"]))
    sizes = {key: len(json.dumps(value)) for key, value in runner.task_state.items()}
    assert set(sizes) == {"sms_claims", "sms_send", *(f"sms_send.1.1.00000{place}" for place in (1, 2, 3))}
    assert max(sizes.values()) < 16_000
    assert sizes["sms_send"] < 1000
    assert world.spent == 2500


@pytest.mark.crash
def test_a_thousand_requests_are_remembered_each(
    world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WinSMSGateway, "limits", replace(WinSMSGateway.limits, recipients=2))
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=600, retry_after=3600)
    runner.run(send(to=MANY[:2000]))
    assert runner.run(send(to=MANY[:2000])).error is None
    assert runner.result["requests"] == 1000
    assert world.asked("smsSend") == 1001
    assert world.texts == once(*MANY[:2000])
    assert len(runner.task_state) == 1002
    assert sum(len(key) + len(json.dumps(row)) for key, row in runner.task_state.items()) < 500_000


def test_nothing_that_is_remembered_tells_a_number_or_a_text(world: World, runner: TaskRunner) -> None:
    world.sandbox.add_fault("missing-row", operation="smsSend")
    runner.run(send(to=ANN, guarantee="exactly_once"))
    kept = json.dumps(runner.task_state)
    spellings = [ANN, f"+{ANN}", "0825550101", f'["{ANN}"]', f"{ANN},", HALLO, json.dumps([HALLO])]
    plain = {
        hashlib.new(name, prefix + spelling.encode()).hexdigest()
        for name in sorted(hashlib.algorithms_guaranteed - {"shake_128", "shake_256"})
        for spelling in spellings
        for prefix in (b"", len(spelling).to_bytes(8), str(len(spelling)).encode())
    }
    assert not [secret for secret in (*spellings[:3], HALLO, API_KEY) if secret in kept]
    assert not [digest for digest in plain if digest[:8] in kept]
    assert ANN not in " ".join(runner.task_state)


def test_another_key_makes_other_digests(runner: TaskRunner) -> None:
    runner.run(send())
    first = runner.task_state["sms_send"]["contents"]
    runner.task_state.clear()
    other = {**runner.connections["winsms_default"], "extra": json.dumps({"hash_secret": "x" * 40})}
    runner.connections = {"winsms_default": other}
    runner.run(send())
    second = runner.task_state["sms_send"]["contents"]
    assert (
        not set(first.values()) & set(second.values()) & {first["texts"], first["numbers"], first["key_id"]}
    )


# Combinations that are easily forgotten.


class Attack:
    """A batch of eleven in two requests, in either ledger, that can be cancelled and killed in its middle."""

    def __init__(self, runner: TaskRunner, world: World, tables: Path | None) -> None:
        self.runner, self.world = runner, world
        self.options: dict[str, Any] = {"to": MANY[:11], "cancel_on_kill": True}
        if tables is not None:
            warehouse = {"conn_type": "sqlite", "host": str(tables / "ledger.db")}
            runner.connections = {**runner.connections, "tables": warehouse}
            self.options["ledger_conn_id"] = "tables"

    def run(self, **kwargs: Any) -> BaseException | None:
        return self.runner.run(send(**self.options, **kwargs)).error

    def cancel(self, **kwargs: Any) -> None:
        other = replace(self.runner, task_state={}, xcoms={}, requests=[])
        assert other.run(sms.SmsCancelScheduledOperator(task_id="cancel", **kwargs)).error is None


@pytest.fixture(params=["store", "tables"])
def attack(
    request: pytest.FixtureRequest, runner: TaskRunner, world: World, ten_a_request: None, tmp_path: Path
) -> Attack:
    del ten_a_request
    return Attack(runner, world, tmp_path if request.param == "tables" else None)


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
    runner: TaskRunner, world: World, ten_a_request: None, tmp_path: Path
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


def test_a_text_of_a_later_round_is_not_taken_for_one_of_an_earlier(attack: Attack) -> None:
    world, options = attack.world, attack.options
    del options["to"], options["cancel_on_kill"]
    send_at = world.now().add(hours=5)
    messages = [
        {"text": "First.", "to": MANY[:10], "send_at": send_at},
        {"text": "Second.", "to": MANY[:1], "send_at": send_at},
    ]

    def run() -> BaseException | None:
        return attack.runner.run(send_batch(*messages, **options)).error

    world.sandbox.add_fault(BEFORE, operation="smsSendBatch")
    world.waiting[2] = lambda: world.sandbox.set_account(credit_balance=0)
    assert isinstance(run(), OutOfCredits)
    world.sandbox.set_account(credit_balance=100)
    assert isinstance(run(), OutcomeUnknown)
    attack.runner.clear()
    assert isinstance(run(), OutcomeUnknown)
    left = attack.runner.xcoms["partial_result"]
    assert (left["accepted"], left["unknown"]) == (1, 10)
    assert left["message_ids"] == [row["apiMessageId"] for row in world.live]


@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
def test_a_text_in_doubt_before_a_clear_is_not_taken_for_the_one_after_it(
    guarantee: str, attack: Attack
) -> None:
    world = attack.world
    task: dict[str, Any] = {"guarantee": guarantee, "on_clear": "resend", "send_at": world.now().add(hours=5)}
    attack.options.update(to=[ANN], cancel_on_kill=False)
    world.after[1] = die
    attack.run(text="Old text.", **task)
    attack.runner.clear()
    world.sandbox.advance(60)
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    error = attack.run(text="New text.", **task)
    assert isinstance(error, OutcomeUnknown) or {row["message"] for row in world.live} > {"Old text."}


@pytest.mark.parametrize("conn_id", ["winsms_default", "real"], ids=["ids used again", "another connection"])
def test_ids_that_the_ledger_has_from_elsewhere_hide_no_text(
    conn_id: str, attack: Attack, world: World
) -> None:
    """A sandbox has the same ids as the account that comes after it, and so has one that begins again."""
    send_at = world.now().add(hours=5)
    attack.options.update(cancel_on_kill=False, guarantee="exactly_once", on_clear="resend")
    assert attack.run(send_at=send_at) is None
    tried_out = world.live
    with Sandbox(api_key=API_KEY, speed=0, now=world.sandbox.now()) as real:
        there = {**attack.runner.connections["winsms_default"], "host": real.base_url}
        attack.runner.connections = {**attack.runner.connections, conn_id: there}
        attack.runner.clear()
        real.add_fault(AFTER, operation="smsSend")
        later = send_at if conn_id == "real" else send_at.add(minutes=1)
        assert attack.run(sms_conn_id=conn_id, send_at=later) is None
        texts = real.outbox()
    assert [row["apiMessageId"] for row in texts] == [row["apiMessageId"] for row in tried_out]
    assert attack.runner.result["message_ids"] == [row["apiMessageId"] for row in texts]


def test_a_number_that_another_task_keeps_as_a_hash_may_be_the_same(
    runner: TaskRunner, world: World, tmp_path: Path
) -> None:
    keyed = {**runner.connections["winsms_default"], "extra": json.dumps({"hash_secret": "x" * 40})}
    runner.connections = {"winsms_default": keyed}
    attack = Attack(runner, world, tmp_path)
    attack.options.update(to=[ANN], cancel_on_kill=False, guarantee="exactly_once")
    attack.options["send_at"] = world.now().add(hours=5)
    hashed = {**attack.options, "text": OTHER, "ledger_privacy": "keyed_hash"}
    world.after[1] = die
    runner.run(SmsSendOperator(task_id="other", **hashed))
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    assert isinstance(attack.run(), OutcomeUnknown)
    runner.run(SmsSendOperator(task_id="other", **hashed))
    assert [row["message"] for row in world.live] == [OTHER]


def test_two_texts_under_one_key_are_never_both_sent(
    runner: TaskRunner, world: World, tmp_path: Path
) -> None:
    attack = Attack(runner, world, tmp_path)
    attack.options.update(to=[ANN], cancel_on_kill=False, idempotency_key="a key")
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", retry_after=3600)
    assert isinstance(attack.run(), GatewayUnavailable)

    def numbers() -> Iterator[str]:
        """Read the numbers while the first task sends."""
        assert attack.run() is None
        yield ANN

    other = {**attack.options, "text": OTHER, "to": lambda **_: numbers()}
    again = replace(runner, xcoms={}, requests=[])
    assert isinstance(again.run(SmsSendOperator(task_id="other", **other)).error, IdempotencyConflict)
    assert [row["message"] for row in world.live] == [HALLO]


def test_a_batch_that_was_never_begun_is_cut_anew(world: World, runner: TaskRunner) -> None:
    long = [{"text": f"{place:04d} " + "x" * 115, "to": f"2782{place:07d}"} for place in range(1500)]
    good = runner.connections
    runner.connections = {"winsms_default": {**good["winsms_default"], "password": "a-wrong-key"}}
    assert isinstance(runner.run(send_batch(*long)).error, ConfigurationError)
    runner.connections = good
    assert runner.run(send_batch(*long, guarantee="exactly_once")).error is None
    assert len(world.texts) == 1500


@pytest.mark.parametrize("key", ["", "  ", "{{ params.missing }}", 42])
def test_an_idempotency_key_that_is_none_is_refused(
    key: Any, world: World, runner: TaskRunner, tmp_path: Path
) -> None:
    attack = Attack(runner, world, tmp_path)
    given = {**attack.options, "idempotency_key": key, "params": {"missing": None}}
    error = runner.refusal(lambda: send(**given))
    assert isinstance(error, InvalidMessage)
    assert world.asked("smsSend") == 0


@pytest.mark.parametrize("hold", ["300", None, timedelta.max, timedelta(days=2), timedelta(seconds=-1)])
def test_a_hold_that_is_none_is_refused(hold: Any, world: World, runner: TaskRunner) -> None:
    error = runner.refusal(lambda: send(guarantee="exactly_once", hold=hold))
    assert isinstance(error, InvalidMessage)
    assert world.asked("smsSend") == 0


@pytest.mark.parametrize("send_at", ["0001-01-01T00:00+02:00", "9999-12-31T23:59:30-02:00"])
def test_a_time_beyond_time_is_refused(send_at: str, runner: TaskRunner) -> None:
    assert isinstance(runner.run(send(send_at=send_at)).error, InvalidMessage)


@pytest.mark.parametrize("option", [{"ledger_privacy": "keyed_hash"}, {"ledger_text": "keep"}])
def test_what_only_tables_can_do_is_refused_without_them(option: dict[str, Any], runner: TaskRunner) -> None:
    assert "need `ledger_conn_id`" in str(runner.refusal(lambda: send(**option)))


# Clocks that differ.


def with_clock_off(monkeypatch: pytest.MonkeyPatch, world: World, seconds: float) -> None:
    monkeypatch.setattr(
        SmsSendOperator, "clock", Clock(lambda: world.now().add(seconds=seconds), world.sleep)
    )


@LATER
@pytest.mark.parametrize("seconds", [32, -32, 200, -200, 1800, -3600, 7200, 86_400])
def test_a_held_send_is_refused_where_the_gateway_has_another_time_and_sent_when_it_is_set(
    seconds: float, hours: int | None, world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.retries = 1
    right, send_at = SmsSendOperator.clock, world.now().add(hours=48) if hours else None
    with_clock_off(monkeypatch, world, seconds)
    result = runner.run(send(guarantee="exactly_once", send_at=send_at))
    assert isinstance(result.error, ClocksDiffer)
    assert result.state == "up_for_retry"
    assert "the clock of WinSMS showed" in str(result.error)
    assert f"{world.now().add(seconds=seconds):YYYY-MM-DDTHH:mm:ss}" in str(result.error)
    assert f"{world.now():YYYY-MM-DDTHH:mm:ss}" in str(result.error)
    assert (world.texts, world.asked("smsSend")) == (Counter(), 0)
    monkeypatch.setattr(SmsSendOperator, "clock", right)
    assert runner.run(send(guarantee="exactly_once", send_at=send_at)).error is None
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("seconds", [0, 5, -5, 29, -29])
def test_a_held_send_goes_out_where_clocks_nearly_agree(
    seconds: float, world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_clock_off(monkeypatch, world, seconds)
    assert runner.run(send(guarantee="exactly_once")).error is None
    assert world.texts == once(ANN, BEN)
    assert world.asked("getCreditBalance") == 1


@pytest.mark.parametrize("guarantee", ["at_most_once", "at_least_once"])
def test_a_send_that_is_not_held_asks_for_no_time(
    guarantee: str, world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_clock_off(monkeypatch, world, 200)
    assert runner.run(send(guarantee=guarantee)).error is None
    assert world.texts == once(ANN, BEN)
    assert world.asked("getCreditBalance") == 0


def test_a_retry_whose_clock_is_ahead_does_not_take_a_request_for_lost_that_is_on_its_way(
    world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.retries = 2
    right = SmsSendOperator.clock
    world.before[1] = die
    runner.run(send(guarantee="exactly_once"))
    with_clock_off(monkeypatch, world, 180)
    assert isinstance(runner.run(send(guarantee="exactly_once")).error, ClocksDiffer)
    assert world.sends == 1
    monkeypatch.setattr(SmsSendOperator, "clock", right)
    assert runner.run(send(guarantee="exactly_once")).error is None
    assert world.texts == once(ANN, BEN)
    assert world.waited >= 90
