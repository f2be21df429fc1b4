"""Calls of an event loop: one that hangs is in nobody's way, and ends with the transport."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest

from airflow_provider_winsms.exceptions import SmsError
from airflow_provider_winsms.gateways.endpoint import Endpoint
from airflow_provider_winsms.gateways.pauses import exclusive_reading
from airflow_provider_winsms.gateways.streaming import document_of
from airflow_provider_winsms.gateways.threads import DaemonThreads
from airflow_provider_winsms.gateways.transport import AsyncTransport
from tests.gateways.calls import BALANCE
from tests.gateways.carriers import GATEWAY, KEY
from tests.gateways.stub import Reply, Stub, answer, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_winsms.gateways.base import Response
    from airflow_provider_winsms.messages import Answers, DeliveryReport

T = TypeVar("T")

CREDITS = answer(200, {"creditBalance": 5})
SILENCE = Reply()


def at(stub: Stub, **options: float) -> Endpoint:
    return Endpoint("winsms_default", GATEWAY, stub.base_url, KEY, **options)  # type: ignore[arg-type]


async def test_a_call_that_hangs_delays_no_other() -> None:
    with Stub(SILENCE, SILENCE, SILENCE, CREDITS) as stub:
        async with AsyncTransport(at(stub, max_concurrent_requests=4)) as transport:
            hanging = [asyncio.create_task(transport.execute(BALANCE)) for _ in range(3)]
            await until(lambda: len(stub.requests) == 3)
            for _ in range(5):
                assert (await transport.execute(BALANCE)).credits == 5
            assert not any(task.done() for task in hanging)
    for task in hanging:
        with pytest.raises(SmsError):
            await task


@pytest.mark.parametrize(
    "reply",
    [
        SILENCE,
        Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
        Reply(streams=lambda: b"HTTP/1.1 100 Continue\r\n\r\n"),
        refusal(503, headers={"Retry-After": "50"}),
    ],
)
async def test_a_call_that_is_given_up_ends_with_its_transport(reply: Reply) -> None:
    before = set(threading.enumerate())
    with Stub(reply) as stub:

        async def ask() -> None:
            async with AsyncTransport(at(stub)) as transport:
                await transport.execute(BALANCE)

        task = asyncio.create_task(ask())
        await until(lambda: len(stub.requests) == 1)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 5
        calls = [t for t in set(threading.enumerate()) - before if t.name == "sms-calls"]
        for thread in calls:
            thread.join(5)
        assert not any(thread.is_alive() for thread in calls)


async def test_no_more_calls_are_on_their_way_than_the_connection_allows() -> None:
    with Stub(SILENCE) as stub:
        async with AsyncTransport(at(stub, max_concurrent_requests=2)) as transport:
            tasks = [asyncio.create_task(transport.execute(BALANCE)) for _ in range(6)]
            await until(lambda: len(stub.requests) == 2)
            await asyncio.sleep(0.05)
            assert stub.connections == 2
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


@pytest.fixture
def threads_keep_their_turn() -> Iterator[None]:
    """Python takes no thread's turn away."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    yield
    sys.setswitchinterval(interval)


class Turns:
    """Counts the turns of an event loop."""

    def __init__(self) -> None:
        self.count = 0

    async def of(self, task: asyncio.Future[T]) -> T:
        while not task.done():
            await asyncio.sleep(0)
            self.count += 1
        return await task

    def during(self, work: Callable[[], object]) -> int:
        before = self.count
        work()
        return self.count - before


MANY = list(range(20_000))
STATUSES = {"messageStatuses": [{"apiMessageId": each, "statusDelivered": True} for each in MANY]}


@pytest.mark.alone
@pytest.mark.usefixtures("threads_keep_their_turn")
async def test_a_loop_has_its_turn_while_an_answer_is_read() -> None:
    """Or it would wait for Python to take the turn from a thread, 5 milliseconds, several times in one go."""
    turns, had = Turns(), list[int]()
    call = GATEWAY.delivery_reports(MANY)

    def parse(response: Response) -> Answers[DeliveryReport]:
        had.append(turns.during(lambda: call.parse(response)))
        return call.parse(response)

    with Stub(answer(200, STATUSES)) as stub:
        async with AsyncTransport(at(stub)) as transport:
            sending = asyncio.create_task(transport.execute(replace(call, parse=parse)))
            reports = await turns.of(sending)
    assert len(reports) == len(MANY)
    assert had[0] > 10


@pytest.mark.alone
@pytest.mark.usefixtures("threads_keep_their_turn")
async def test_a_loop_has_its_turn_while_a_long_answer_is_decoded() -> None:
    body = json.dumps(STATUSES).encode()
    turns, threads = Turns(), DaemonThreads(1, "reads")

    def decode() -> int:
        with exclusive_reading(threading.Lock()):
            return turns.during(lambda: document_of(body))

    assert await turns.of(asyncio.create_task(threads.run(decode))) > 10
    await threads.end(10)


ENDS = """
import asyncio, sys, threading
from airflow_provider_winsms.gateways.threads import DaemonThreads

async def main():
    threads = DaemonThreads(1, "held-up")
    begun = threading.Event()
    task = asyncio.create_task(threads.run(lambda: begun.set() or threading.Event().wait(60)))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    task.cancel()
    await threads.end(0.01)

asyncio.run(main())
print("ended")
"""


def test_a_process_that_ends_does_not_wait_for_what_cannot_be_ended() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ENDS], capture_output=True, text=True, timeout=30, check=True
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - of a server in another thread
            await asyncio.sleep(0.002)
