"""People are asked by text, once, and their answers decide. The sandbox's phones answer."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
import requests
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup

from airflow_provider_winsms.exceptions import (
    ApprovalFailed,
    ConfigurationError,
    InvalidMessage,
    OutcomeUnknown,
    SendStopped,
)
from airflow_provider_winsms.inbound.approval import MOST_WRONG_CODES
from airflow_provider_winsms.operators.approval import SmsApprovalOperator
from airflow_provider_winsms.runtime import Clock
from airflow_provider_winsms.sandbox import Sandbox
from tests.conftest import API_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.task_runner import TaskRunner

ANN, BEN, CAT = "27825550101", "27825550102", "27825550103"
STRANGER = "27825550199"
SUBJECT = "Deploy sales_etl to production?"
NOON = pendulum.datetime(2026, 11, 30, 12, tz="Africa/Johannesburg")
DEFERRED = pytest.mark.parametrize("deferrable", [False, True], ids=["on a worker", "deferred"])


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key=API_KEY, speed=0, credits=1000, now=NOON) as box:
        yield box


class World:
    """An approval in the sandbox's time. People answer while the task waits."""

    def __init__(self, box: Sandbox, runner: TaskRunner) -> None:
        self.box = box
        self.runner = runner
        self.meanwhile: list[Callable[[], object]] = []
        self.asking: SmsApprovalOperator

    def sleep(self, seconds: float) -> None:
        self.box.advance(seconds)
        if self.meanwhile:
            self.meanwhile.pop(0)()

    def ask(self, **kwargs: Any) -> SmsApprovalOperator:
        box = self.box

        class Ask(SmsApprovalOperator):
            clock = Clock(lambda: pendulum.from_timestamp(box.now().timestamp()), self.sleep)

            def _sleep(asking, seconds_: float) -> None:  # noqa: N805 - Airflow runs a copy of the task
                self.asking = asking
                super()._sleep(seconds_)

        with DAG("dag", schedule=None):
            given: dict[str, Any] = {"to": ANN, "subject": SUBJECT, "deferrable": False, **kwargs}
            ask = Ask(task_id="ask", **given)
            ask >> [EmptyOperator(task_id="deploy"), EmptyOperator(task_id="report", trigger_rule="all_done")]
        return ask

    def run(self, *answers: Callable[[], object], **kwargs: Any) -> Any:
        """Run an approval on its worker. Return its result or its error. Each look sees one more answer."""
        self.meanwhile = list(answers)
        found = self.runner.run(self.ask(**kwargs))
        return found.error or self.runner.result

    def code_of(self, number: str) -> str:
        """Return the code in the last text to a number."""
        text = [row["message"] for row in self.box.outbox() if row["mobileNumber"] == number][-1]
        found = re.search(r"Reply \w+ (\d{6}) or ", text)
        assert found is not None
        return found[1]

    def kill(self) -> None:
        """Tell the task that it is being killed, as Airflow does."""
        self.asking.on_kill()

    def says(self, number: str, words: str, *, of: str | None = None) -> Callable[[], object]:
        """Return what a phone does: it sends words, with the code of a number in place of ``CODE``."""
        return lambda: self.box.incoming(number, re.sub("CODE", lambda _: self.code_of(of or number), words))

    @property
    def skipped(self) -> list[str]:
        """The tasks that the task asked Airflow to skip."""
        return [
            name
            for request in self.runner.requests
            if "/skip-downstream" in request
            for name in re.findall(r'"(deploy|report)"', request)
        ]


@pytest.fixture
def world(sandbox: Sandbox, runner: TaskRunner) -> World:
    return World(sandbox, runner)


def test_each_person_gets_the_question_with_a_code_of_their_own(world: World) -> None:
    world.run(world.says(ANN, "YES CODE"), to=[ANN, "082 555 0102"])
    texts = {row["mobileNumber"]: row["message"] for row in world.box.outbox()}
    assert set(texts) == {ANN, BEN}
    for number, text in texts.items():
        code = world.code_of(number)
        assert text == f"{SUBJECT} Reply YES {code} or NO {code}"
    assert world.code_of(ANN) != world.code_of(BEN)


def test_an_approval_lets_the_tasks_downstream_run(world: World) -> None:
    result = world.run(world.says(ANN, "YES CODE"))
    assert {name: result[name] for name in ("chosen", "timed_out", "asked")} == {
        "chosen": "YES",
        "timed_out": False,
        "asked": 1,
    }
    assert result["answers"] == [
        {"number": "27******101", "option": "YES", "at": "2026-11-30T10:00:00+00:00"}
    ]
    assert world.skipped == []


def test_a_rejection_skips_the_tasks_right_downstream(world: World) -> None:
    assert world.run(world.says(ANN, "NO CODE"))["chosen"] == "NO"
    assert sorted(world.skipped) == ["deploy", "report"]


def test_a_rejection_fails_the_task_if_it_is_asked_to(world: World) -> None:
    error = world.run(world.says(ANN, "NO CODE"), fail_on_reject=True)
    assert isinstance(error, ApprovalFailed)
    assert world.skipped == []


def test_a_mapping_chooses_the_branch(world: World) -> None:
    options = {"PROD": "deploy", "WAIT": "report"}
    assert world.run(world.says(ANN, "wait CODE"), options=options)["chosen"] == "WAIT"
    assert world.skipped == ["deploy"]


def test_a_mapping_may_name_a_task_group(world: World) -> None:
    ask = world.ask(options={"PROD": "deploy", "TEST": "tries"})
    with ask.dag, TaskGroup("tries"):
        ask >> EmptyOperator(task_id="first") >> EmptyOperator(task_id="second")
    world.meanwhile = [world.says(ANN, "TEST CODE")]
    assert world.runner.run(ask).error is None
    assert sorted(world.skipped) == ["deploy", "report"]


@pytest.mark.parametrize(
    "words",
    [
        "YES CODE",
        "yes CODE.",
        "Yes, CODE!",
        "YESCODE",
        "CODE yes",
        "  yes\n CODE",
        "YES please: CODE, thanks",
    ],
)
def test_an_answer_may_be_written_in_many_ways(words: str, world: World) -> None:
    assert world.run(world.says(ANN, words))["chosen"] == "YES"


@pytest.mark.parametrize(
    ("number", "words", "of"),
    [
        (STRANGER, "YES CODE", ANN),
        (BEN, "YES CODE", ANN),
        (ANN, "YES", ANN),
        (ANN, "CODE", ANN),
        (ANN, "YES 0000000", ANN),
        (ANN, "Yess CODE", ANN),
        (ANN, "Ja CODE", ANN),
        (ANN, "YES or NO CODE", ANN),
        (ANN, "not yes CODE", ANN),
        (ANN, "YES CODE 123456", ANN),
    ],
    ids=[
        "a stranger",
        "another code",
        "no code",
        "no option",
        "wrong",
        "misspelt",
        "Ja",
        "both",
        "not",
        "two",
    ],
)
def test_what_is_no_answer_decides_nothing(number: str, words: str, of: str, world: World) -> None:
    error = world.run(world.says(number, words, of=of), to=[ANN, BEN], timeout=300)
    assert isinstance(error, ApprovalFailed)
    assert "0 of 2 people answered" in str(error)


@pytest.mark.parametrize(
    ("guesses", "chosen"), [(MOST_WRONG_CODES - 1, "YES"), (MOST_WRONG_CODES, "NO")], ids=["few", "too many"]
)
def test_a_wrong_code_may_be_corrected_but_not_guessed(guesses: int, chosen: str, world: World) -> None:
    def guess(number: int) -> Callable[[], object]:
        return lambda: world.box.incoming(ANN, f"YES {world.code_of(ANN)[:2]}{9000 + number}")

    wrong = [guess(number) for number in range(guesses)]
    assert world.run(*wrong, world.says(ANN, "YES CODE"), timeout=600, default="NO")["chosen"] == chosen


def test_other_texts_of_a_person_are_no_guesses(world: World) -> None:
    texts = [world.says(ANN, f"There at {hour}, YES 99{hour}99") for hour in range(10, 20)]
    result = world.run(*texts, world.says(ANN, "YES CODE"))
    assert result["chosen"] == "YES"
    assert result["ignored"] == {"no_answer": 10}


def test_the_first_answer_of_a_person_counts(world: World) -> None:
    answers = (world.says(ANN, "YES CODE"), world.says(ANN, "NO CODE"), world.says(BEN, "YES CODE"))
    result = world.run(*answers, to=[ANN, BEN], min_approvals=2)
    assert result["chosen"] == "YES"
    assert [answer["option"] for answer in result["answers"]] == ["YES", "YES"]


@pytest.mark.parametrize("is_newest_first", [False, True])
def test_the_first_of_two_answers_counts_in_whatever_order_the_list_has_them(
    is_newest_first: bool, world: World
) -> None:
    def answer_twice() -> None:
        world.says(ANN, "YES CODE")()
        world.says(ANN, "NO CODE")()
        headers = {"AUTHORIZATION": API_KEY}
        url = f"{world.box.base_url}/sms/incoming?offset=0&limit=100"
        rows = requests.get(url, headers=headers, timeout=60).json()["incomingMessages"]
        world.box.script_rows("getIncomingMessages", rows[::-1] if is_newest_first else rows)

    assert world.run(answer_twice)["chosen"] == "YES"


def test_one_of_two_people_is_not_enough(world: World) -> None:
    error = world.run(world.says(ANN, "YES CODE"), to=[ANN, BEN], min_approvals=2, timeout=300)
    assert isinstance(error, ApprovalFailed)
    assert "1 of 2 people answered" in str(error)


def test_one_of_two_people_can_reject(world: World) -> None:
    answers = world.says(ANN, "YES CODE"), world.says(BEN, "NO CODE")
    assert world.run(*answers, to=[ANN, BEN], min_approvals=2)["chosen"] == "NO"


def test_at_the_time_out_the_default_is_taken(world: World) -> None:
    result = world.run(default="NO", timeout=timedelta(minutes=5))
    assert (result["chosen"], result["timed_out"], result["answers"]) == ("NO", True, [])
    assert sorted(world.skipped) == ["deploy", "report"]


def test_an_answer_after_the_time_out_is_too_late(world: World) -> None:
    assert isinstance(world.run(timeout=300), ApprovalFailed)
    world.box.advance(600)
    world.says(ANN, "YES CODE")()
    assert isinstance(world.run(timeout=300), ApprovalFailed)
    assert len(world.box.outbox()) == 1


def test_who_did_not_get_the_question_is_not_waited_for(world: World) -> None:
    world.box.opt_out(BEN)
    error = world.run(to=[ANN, BEN], min_approvals=2)
    assert "Only 1 of 2 people got the question" in str(error)


def test_a_retry_asks_nobody_again_and_counts_what_came_before_it(world: World) -> None:
    class WorkerDied(BaseException):
        pass

    def die() -> None:
        raise WorkerDied

    world.runner = replace(world.runner, retries=1)
    assert isinstance(world.run(world.says(BEN, "NO 1"), die), WorkerDied)
    world.says(ANN, "YES CODE")()
    assert world.run()["chosen"] == "YES"
    assert len(world.box.outbox()) == 1


def test_a_kill_ends_a_wait_on_a_worker_and_a_retry_goes_on(world: World) -> None:
    world.runner = replace(world.runner, retries=1)
    assert isinstance(world.run(world.kill), SendStopped)
    world.says(ANN, "YES CODE")()
    assert world.run()["chosen"] == "YES"
    assert len(world.box.outbox()) == 1


def test_a_question_whose_answer_was_lost_is_not_asked_again(world: World) -> None:
    world.runner = replace(world.runner, retries=1)
    world.box.add_fault("lost-after-acceptance", operation="smsSend")
    assert isinstance(world.run(), OutcomeUnknown)
    assert len(world.box.outbox()) == 1
    assert isinstance(world.run(), OutcomeUnknown)
    assert len(world.box.outbox()) == 1


def test_a_clear_counts_the_answers_to_the_first_question(world: World) -> None:
    assert world.run(world.says(ANN, "YES CODE"))["chosen"] == "YES"
    world.runner.clear()
    assert world.run()["chosen"] == "YES"
    assert len(world.box.outbox()) == 1


def test_a_clear_may_ask_again_with_other_codes(world: World) -> None:
    assert world.run(world.says(ANN, "YES CODE"), on_clear="resend")["chosen"] == "YES"
    first = world.code_of(ANN)
    world.runner.clear()
    answers = world.says(ANN, f"YES {first}"), world.says(ANN, "NO CODE")
    assert world.run(*answers, on_clear="resend")["chosen"] == "NO"
    assert world.code_of(ANN) != first
    assert len(world.box.outbox()) == 2


def test_a_changed_key_ends_a_wait_that_it_makes_blind(world: World) -> None:
    ask = world.ask(deferrable=True)
    assert world.runner.run(ask).state == "deferred"
    world.runner.set_extra(hash_secret="another secret of the team")  # noqa: S106 - a test's own
    found = world.runner.resume(ask, world.runner.fire())
    assert isinstance(found.error, ConfigurationError)
    assert "has changed since the question was sent" in str(found.error)


def deferred(world: World, *answers: Callable[[], object], **kwargs: Any) -> Any:
    """Run an approval that defers, and answer before its trigger looks."""
    ask = world.ask(deferrable=True, **kwargs)
    assert world.runner.run(ask).state == "deferred"
    for answer in answers:
        answer()
    found = world.runner.resume(ask, world.runner.fire())
    return found.error or world.runner.result


def test_a_deferred_approval_is_decided_in_the_triggerer(runner: TaskRunner) -> None:
    with Sandbox(api_key=API_KEY, credits=1000) as box:
        gateway = {**runner.connections["winsms_default"], "host": box.base_url}
        world = World(box, replace(runner, connections={"winsms_default": gateway}))
        answers = world.says(STRANGER, "YES CODE", of=ANN), world.says(ANN, "YES CODE")
        result = deferred(world, *answers, poll_interval=1)
        assert (result["chosen"], len(box.outbox())) == ("YES", 1)


@DEFERRED
def test_no_number_no_text_and_no_code_is_stored_or_logged(
    deferrable: bool, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = f"Deploy the plans of {CAT}?"
    ask = world.ask(to=[ANN, BEN], deferrable=deferrable, subject=subject, min_approvals=2)
    world.meanwhile = [world.says(ANN, "YES CODE"), world.says(BEN, "No, please, CODE")]
    state = world.runner.run(ask).state
    codes = [world.code_of(ANN), world.code_of(BEN)]
    kept = " ".join(world.runner.requests) + capsys.readouterr().out
    assert state == ("deferred" if deferrable else "success")
    for secret in (ANN, ANN[2:], BEN, BEN[2:], CAT[2:], "the plans", API_KEY):
        assert secret not in kept
    for code in codes:
        assert not re.search(rf"\b{code}\b", kept)


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": 1.5j},
        {"subject": ""},
        {"options": ("YES",)},
        {"options": ("YES", "yes")},
        {"options": ("YES 1", "NO")},
        {"options": ("GO", "Stop")},
        {"options": "YES"},
        {"timeout": "soon"},
        {"min_approvals": 0},
        {"default": "MAYBE"},
        {"deferrable": 1},
        {"on_clear": "again"},
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_where_the_dag_is_read(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage, match=f"{next(iter(wrong))}|The text is empty"):
        SmsApprovalOperator(**{"task_id": "ask", "to": ANN, "subject": SUBJECT, **wrong})
