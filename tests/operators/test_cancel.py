from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import InvalidMessage, NotCancelled
from airflow_provider_winsms.operators.sms import SmsCancelScheduledOperator, SmsSendOperator
from airflow_provider_winsms.sensors.sms import SmsDeliverySensor

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ANN, BEN = "27825550101", "27825550102"
ALL_CANCELLED = {
    "cancelled": 2,
    "cancelled_before": 0,
    "not_cancelled": 0,
    "gone_out": 0,
    "refund": "2.0",
    "currency": "credits",
    "requests": 1,
}


class FewOutputs(Sequence[Any]):
    """The outputs of mapped tasks as Airflow gives them: a sequence that is not a list."""

    def __init__(self, outputs: list[Any]) -> None:
        self._outputs = outputs

    def __len__(self) -> int:
        return len(self._outputs)

    def __getitem__(self, place: Any) -> Any:
        return self._outputs[place]


def cancel(message_ids: Any, **kwargs: Any) -> SmsCancelScheduledOperator:
    return SmsCancelScheduledOperator(task_id="cancel", message_ids=message_ids, **kwargs)


@pytest.fixture
def scheduled(runner: TaskRunner) -> dict[str, Any]:
    """The result of a send that scheduled two texts three hours ahead."""
    runner.run(
        SmsSendOperator(task_id="send", text="Later", to=[ANN, BEN], send_at=pendulum.now("UTC").add(hours=3))
    )
    result: dict[str, Any] = runner.result
    return result


def test_cancelling_gives_the_cost_back(
    scheduled: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    runner.run(cancel(scheduled["message_ids"]))
    assert runner.result == ALL_CANCELLED
    assert {text["status"] for text in sandbox.outbox()} == {"CANCELLED"}


def test_a_cancelled_text_never_goes_out(
    scheduled: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    runner.run(cancel(scheduled["message_ids"][:1]))
    sandbox.advance(4 * 3600)
    assert sorted(text["status"] for text in sandbox.outbox()) == ["CANCELLED", "DELIVERED"]


def test_cancelling_twice_refunds_once(
    scheduled: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    runner.run(cancel(scheduled))
    assert runner.run(cancel(scheduled, on_not_cancelled="fail")).error is None
    assert runner.result == {**ALL_CANCELLED, "cancelled_before": 2, "refund": "0.0", "requests": 0}
    assert sandbox.account()["creditBalance"] == 1000


def test_a_text_that_has_gone_out_is_not_cancelled(
    scheduled: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.advance(4 * 3600)
    error = runner.run(cancel(scheduled)).error
    assert isinstance(error, NotCancelled)
    assert "2 texts could not be cancelled: 2 gone out, 0 unknown" in str(error)


@pytest.mark.parametrize(
    "shape",
    [
        lambda sent: sent,
        lambda sent: [sent],
        lambda sent: sent["message_ids"],
        lambda sent: str(sent["message_ids"]),
        lambda sent: [str(message_id) for message_id in sent["message_ids"]],
        lambda sent: ", ".join(str(message_id) for message_id in sent["message_ids"]),
        json.dumps,
        lambda sent: "{{ " + str(sent["message_ids"]) + " }}",
    ],
    ids=["result", "mapped-results", "ids", "text", "texts", "commas", "json", "template"],
)
def test_ids_may_be_given_in_any_usual_way(shape: Any, scheduled: dict[str, Any], runner: TaskRunner) -> None:
    runner.run(cancel(shape(scheduled)))
    assert runner.result["cancelled"] == 2


@pytest.mark.parametrize(
    ("policy", "ids", "fails"),
    [("ignore", [999_999], False), ("fail", [999_999], True), ("fail_if_all", [999_999], True)],
)
def test_on_not_cancelled_decides_whether_the_task_fails(
    policy: str, ids: list[int], fails: bool, runner: TaskRunner
) -> None:
    assert isinstance(runner.run(cancel(ids, on_not_cancelled=policy)).error, NotCancelled) is fails


@pytest.mark.parametrize(
    ("message_ids", "says"),
    [
        ([], "There are no message ids"),
        (None, "There are no message ids"),
        ({"accepted": 0}, "There are no message ids"),
        ("[1, oops", "begins as a list and is none"),
        ("None", "There are no message ids"),
        ([[], None], "There are no message ids"),
        ([{"accepted": 0}, None], "There are no message ids"),
        ("[{'accepted': 0}]", "There are no message ids"),
        (["a1"], "whole number"),
        ([True], "whole number"),
        ([1.5], "whole number"),
        ([-1], "whole number"),
    ],
)
def test_wrong_ids_are_refused_before_any_request(
    message_ids: Any, says: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    error = runner.refusal(lambda: cancel(message_ids))
    assert isinstance(error, InvalidMessage)
    assert says in str(error)
    assert sandbox.requests() == []


def test_a_row_that_the_gateway_repeats_counts_once(
    scheduled: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.add_fault("duplicated-row", operation="deleteScheduledMessages")
    runner.run(cancel(scheduled))
    assert runner.result == ALL_CANCELLED


NONE = {"batch": "b", "message_ids": [], "accepted": 0}


@pytest.mark.parametrize(
    "outputs",
    [
        NONE,
        [NONE],
        [NONE, NONE],
        (NONE, None),
        [[NONE], [[NONE]]],
        [NONE, {"accepted": 0}],
        str(NONE),
        json.dumps(NONE),
        str([NONE, NONE]),
        json.dumps([NONE, None]),
        [str(NONE), [json.dumps([NONE])]],
        FewOutputs([NONE, NONE]),
    ],
    ids=lambda outputs: type(outputs).__name__,
)
def test_sends_that_had_nothing_accepted_leave_nothing_to_do(
    outputs: Any, sandbox: Sandbox, runner: TaskRunner
) -> None:
    runner.run(cancel(outputs))
    assert runner.result == {**ALL_CANCELLED, "cancelled": 0, "refund": "0.0", "requests": 0}
    runner.run(SmsDeliverySensor(task_id="wait", message_ids=outputs))
    assert runner.result == {"total": 0, "delivered": 0, "states": {}, "cost": "0.0", "currency": "credits"}
    assert sandbox.requests() == []


@pytest.mark.parametrize("as_given", [lambda outputs: outputs, str, FewOutputs])
def test_a_send_that_had_nothing_accepted_hides_no_other(
    as_given: Any, scheduled: dict[str, Any], runner: TaskRunner
) -> None:
    sent = {"message_ids": scheduled["message_ids"]}
    runner.run(cancel(as_given([NONE, sent, NONE])))
    assert runner.result == ALL_CANCELLED


def test_the_counts_of_each_request_are_in_a_folded_group(
    scheduled: dict[str, Any], runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    runner.run(cancel([*scheduled["message_ids"], 999_999]))
    lines = r"::group::Request 1\b|Request 1: .*? gateway|::endgroup::|Cancelled 2 of 3"
    said = re.findall(lines, capsys.readouterr().out)
    first = said.index("::group::Request 1")
    assert said[first - 1 : first + 4] == [
        "Request 1: 1 text not cancelled: unknown to the gateway",
        "::group::Request 1",
        "Request 1: 2 texts cancelled: the gateway",
        "::endgroup::",
        "Cancelled 2 of 3",
    ]
