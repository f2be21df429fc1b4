"""What happens around a send, in the sandbox's time. The sandbox's outbox is the judge."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import pendulum
import pytest
import requests
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.operators.sms import (
    SmsCancelScheduledOperator,
    SmsSendBatchOperator,
    SmsSendOperator,
)
from airflow_provider_winsms.runtime import Clock
from tests.support.hooks import narrow_hook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_winsms.gateways.base import BeforeSend, Call
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

T = TypeVar("T")

ANN, BEN, CAT = "27825550101", "27825550102", "27825550103"
HALLO, OTHER = "Hallo, this is a test.", "Another text."
MANY = [f"2782{place:07d}" for place in range(2500)]
MORE = [f"2782{place:07d}" for place in range(5000)]
AFTER, BEFORE = "lost-after-acceptance", "reset-before-acceptance"
NOT_A_REFUSAL = [f"{status}-after-acceptance" for status in (302, 400, 401, 403, 404, 422)]
"""Refusals by their status, and not by their body, of texts that were accepted."""
GUARANTEES = ["at_most_once", "exactly_once", "at_least_once"]
FIRST_SECOND_THIRD = pytest.mark.parametrize("skip", [0, 1, 2], ids=["first", "second", "third"])
LATER = pytest.mark.parametrize("hours", [None, 2], ids=["held", "send_at"])


class WorkerDied(BaseException):
    """Ends a try as the death of its process does: nothing more is written down."""


@dataclass
class SendWorld:
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
    clock_off: float = 0.0
    limits: dict[str, int] = field(default_factory=dict)

    def run(self, **kwargs: Any) -> BaseException | None:
        """Run the next try of a send in this world, and return its error."""
        return self.runner.run(self.send(**kwargs)).error

    def run_batch(self, *messages: Any, **kwargs: Any) -> BaseException | None:
        return self.runner.run(self.send_batch(*messages, **kwargs)).error

    def send(self, **kwargs: Any) -> SmsSendOperator:
        """Return a send in this world: on its clock, within its limits, its requests counted."""

        class Send(SmsSendOperator):
            clock = self.clock
            hook_of = self.hook_of

        return Send(**{"task_id": "send", "text": HALLO, "to": [ANN, BEN], **kwargs})

    def send_batch(self, *messages: Any, **kwargs: Any) -> SmsSendBatchOperator:
        class SendBatch(SmsSendBatchOperator):
            clock = self.clock
            hook_of = self.hook_of

        return SendBatch(task_id="send", messages=list(messages), **kwargs)

    @property
    def clock(self) -> Clock:
        off = self.clock_off
        return Clock(lambda: self.now().add(seconds=off), self.sleep)

    def hook_of(self, sms_conn_id: str) -> SmsHook:
        world = self

        class CountedTransport(Transport):
            def execute(self, call: Call[T], leaving: BeforeSend = nullcontext) -> T:
                if not call.operation.startswith("smsSend"):
                    return super().execute(call, leaving)
                with world.at_a_request(call, leaving):
                    return super().execute(call, leaving)

        class CountedHook(narrow_hook(**self.limits)):  # type: ignore[misc] # a class that is made here
            def get_conn(self) -> Transport:
                return transport

        hook = CountedHook(sms_conn_id)
        transport = CountedTransport(hook.endpoint, sleep=lambda _: None)
        return hook

    @contextmanager
    def at_a_request(self, call: Call[Any], leaving: BeforeSend) -> Iterator[None]:
        """Let happen what is to happen before a request, as it leaves, and after it."""
        self.sends += 1
        number = self.sends
        self.waiting.pop(number, lambda: None)()
        if act := self.before.pop(number, None):
            with leaving():
                act()
        self.bodies.append((call.path, call.body or b""))
        try:
            yield
        finally:
            self.after.pop(number, lambda: None)()

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
            headers={"AUTHORIZATION": self.sandbox.api_key, "Content-Type": "application/json"},
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


def die() -> None:
    raise WorkerDied


def kill() -> None:
    signal.raise_signal(signal.SIGTERM)


def without_balance(result: dict[str, Any]) -> dict[str, Any]:
    """What an answer said of the balance is not remembered."""
    return {name: value for name, value in result.items() if name != "balance"}


def once(*numbers: str) -> Counter[str]:
    return Counter(numbers)


def time_out() -> None:
    msg = "Timeout"
    raise AirflowTaskTimeout(msg)


def in_hours(world: SendWorld, hours: int | None) -> pendulum.DateTime | None:
    return None if hours is None else world.now().add(hours=hours)


@contextmanager
def broken_store(runner: TaskRunner, *, when: str, times: int = 10**9) -> Iterator[None]:
    """Let the store fail at requests that match."""
    left = [times]

    def answer(request: httpx.Request) -> httpx.Response | None:
        line = f"{request.method} {request.url.path} {request.content.decode()}"
        if not left[0] or not re.search(when, line):
            return None
        left[0] -= 1
        return httpx.Response(403, json={"detail": {"reason": "no", "message": "no"}})

    before, runner.stand_in = runner.stand_in, answer
    try:
        yield
    finally:
        runner.stand_in = before


class Attack:
    """A batch of eleven in two requests, in either ledger, that can be cancelled and killed in its middle."""

    def __init__(self, runner: TaskRunner, world: SendWorld, tables: Path | None) -> None:
        self.runner, self.world = runner, world
        self.options: dict[str, Any] = {"to": MANY[:11], "cancel_on_kill": True}
        if tables is not None:
            runner.add_database("tables", tables / "ledger.db")
            self.options["ledger_conn_id"] = "tables"

    def run(self, **kwargs: Any) -> BaseException | None:
        return self.world.run(**self.options, **kwargs)

    def cancel(self, **kwargs: Any) -> None:
        other = replace(self.runner, task_state={}, xcoms={}, requests=[])
        assert other.run(SmsCancelScheduledOperator(task_id="cancel", **kwargs)).error is None
