"""Values of data frames, without pandas: stand-ins behave like its NaT and NA."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import Recipient
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ANN, BEN = "27825550101", "27825550102"


class NAType:
    """Like pandas' NA: comparisons with it give NA, and it has no truth value."""

    def __repr__(self) -> str:
        return "<NA>"

    def __eq__(self, _: object) -> Any:
        return self

    def __ne__(self, _: object) -> Any:
        return self

    def __bool__(self) -> bool:
        msg = "boolean value of NA is ambiguous"
        raise TypeError(msg)

    __hash__ = None  # type: ignore[assignment]


class NaTType(datetime):
    """Like pandas' NaT: a datetime that equals nothing, and has no time."""

    def __eq__(self, _: object) -> bool:
        return False

    def __ne__(self, _: object) -> bool:
        return True

    def utcoffset(self) -> Any:
        return math.nan

    def astimezone(self, _: object = None) -> Any:
        msg = "NaTType does not support astimezone"
        raise ValueError(msg)

    __hash__ = None  # type: ignore[assignment]


class Many:
    """Like an array: a comparison gives many results, which have no common truth value."""

    def __ne__(self, _: object) -> Any:
        return self

    def __bool__(self) -> bool:
        msg = "The truth value of an array is ambiguous"
        raise ValueError(msg)

    __hash__ = None  # type: ignore[assignment]


class Whole:
    """Like a numpy number: neither int nor float, and written like one."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


NA, NAT = NAType(), NaTType(1, 1, 1)
MISSING = [None, NA, NAT, math.nan, Decimal("NaN"), Decimal("sNaN")]
NOT_WHOLE = [2.5, "inf", Decimal("1e999999"), "2.5", "nan", True, 0.0, 7.0, Whole("2.5"), b"2"]


@pytest.mark.parametrize("missing", MISSING, ids=repr)
def test_a_missing_value_is_as_none(missing: Any, sandbox: Sandbox, runner: TaskRunner) -> None:
    row = {"text": "Hi", "to": ANN, "send_at": missing, "max_segments": missing}
    assert runner.another().run(SmsSendBatchOperator(task_id="batch", messages=[row])).error is None
    to = [Recipient(ANN, reference=missing)]
    kwargs: dict[str, Any] = {"send_at": missing, "max_segments": missing}
    assert runner.another().run(SmsSendOperator(task_id="send", text="Hi", to=to, **kwargs)).error is None
    by_function: dict[str, Any] = {name: lambda value=value, **_: value for name, value in kwargs.items()}
    task = SmsSendOperator(task_id="called", text="Hi", to=ANN, **by_function)
    assert runner.another().run(task).error is None
    assert [(text["message"], text["mobileNumber"]) for text in sandbox.outbox()] == [("Hi", ANN)] * 3


@pytest.mark.parametrize(
    "two",
    [2.0, Decimal(2), Decimal("2.0"), "2", "2.0", " 2 ", Whole("2.0"), 2],
    ids=lambda two: f"{type(two).__name__} {two}",
)
def test_a_whole_number_of_segments_may_be_of_any_type(
    two: Any, sandbox: Sandbox, runner: TaskRunner
) -> None:
    task = SmsSendOperator(task_id="send", text="x" * 161, to=ANN, max_segments=lambda **_: two)
    assert runner.run(task).error is None
    assert len(sandbox.outbox()) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        *(
            ({"max_segments": lambda value=value, **_: value}, "max_segments must be a whole number")
            for value in NOT_WHOLE
        ),
        *(({"to": [ANN, value]}, "Recipient 2 is empty") for value in MISSING),
        *(
            ({"send_at": lambda value=value, **_: value}, "send_at")
            for value in (1.5, 20_270_131, b"x", Many())
        ),
        ({"text": lambda **_: NA}, "text is of type NAType"),
        ({"to": lambda **_: NA}, "`to` is of type NAType"),
        ({"to": lambda **_: math.nan}, "Recipient 1 is empty"),
    ],
)
def test_what_is_neither_is_refused_at_once_and_says_why(
    wrong: dict[str, Any], says: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    runner.retries = 3
    kwargs: dict[str, Any] = {"text": "Hi", "to": [ANN, BEN], **wrong}
    error = runner.run(SmsSendOperator(task_id="send", **kwargs)).error
    assert isinstance(error, InvalidMessage)
    assert isinstance(error, AirflowFailException)
    assert says in str(error)
    assert sandbox.requests() == []
