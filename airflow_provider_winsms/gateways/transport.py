"""The transport, the only HTTP of the package: it executes a ``Call``, for tasks and for event loops.

``read_answer`` alone decides what an answer means. An event loop uses the same transport in threads, so a
task and its trigger have the same proxies, certificates and bounds.

One rule decides about retries: a request is retried after ``GatewayUnavailable`` alone, which says that the
request was not executed, or does no harm when repeated. A send ends as ``OutcomeUnknown`` if its connection
broke, or if its answer is neither a success nor a documented refusal. A send is retried after a 429, which
says that the gateway turned the request away (RFC 6585, section 4).
"""

from __future__ import annotations

import threading
import time
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from airflow_provider_winsms.exceptions import GatewayUnavailable, SmsError
from airflow_provider_winsms.gateways.base import Call, Response
from airflow_provider_winsms.gateways.pauses import exclusive_reading
from airflow_provider_winsms.gateways.pool import ConnectionPool
from airflow_provider_winsms.gateways.responses import (
    Answer,
    clock_reading,
    read_answer,
    read_parts,
    whole_answer,
)
from airflow_provider_winsms.gateways.streaming import PART_ROWS
from airflow_provider_winsms.gateways.threads import DaemonThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.auth import Headers
    from airflow_provider_winsms.gateways.base import BeforeSend, T
    from airflow_provider_winsms.gateways.endpoint import Endpoint
    from airflow_provider_winsms.runtime import ClockReading

R = TypeVar("R")

ATTEMPTS = 4
"""The most attempts of a request that may be retried."""

LONGEST_WAIT = 60.0
"""Seconds: the longest wait between two attempts. A gateway that asks for more gets it from the caller."""

_SHUTDOWN_SECONDS = 1.0


class RateLimiter:
    """Spaces requests evenly, so that they never exceed a rate.

    :param rate: requests per second; ``None`` for no limit.
    """

    def __init__(self, rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._clock = clock
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take the next slot, and return the seconds until it begins."""
        with self._lock:
            now = self._clock()
            slot = max(now, self._next)
            self._next = slot + self._interval
            return slot - now


class Transport:
    """Executes calls: it authenticates, paces and repeats requests, and reads their answers.

    :param attempts: the most attempts of a request that may be retried.
    :param sleep: waits for seconds; a seam for tests, as ``clock`` is.
    :param clock: returns monotonic seconds.
    :param decoding: makes the context in which an answer is decoded.
    :param part_rows: the most rows of a part that ``stream`` yields.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        decoding: Callable[[], AbstractContextManager[None]] = nullcontext,
        *,
        part_rows: int = PART_ROWS,
    ) -> None:
        self.endpoint = endpoint
        self._part_rows = part_rows
        self._policy = _retry_policy(attempts)
        self._sleep = sleep
        self._decoding = decoding
        self._rate_limiter = RateLimiter(endpoint.requests_per_second, clock)
        self._authentication = endpoint.gateway.authentication(endpoint)
        self._pool = ConnectionPool(endpoint, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self._pool.close()

    def abort(self) -> None:
        """Close all connections, also those in use: running calls end, and no further call begins."""
        self._pool.abort()

    def execute(self, call: Call[T], before_send: BeforeSend = nullcontext) -> T:
        """Execute a call. Retry it where that is safe.

        :param before_send: makes a context for each attempt. It is entered right before the request leaves;
            if entering it raises, the request does not leave. It is exited with the answer's error, if any.
        :raises ConfigurationError: wrong key, wrong base URL.
        :raises InvalidMessage: the gateway refused the request whole.
        :raises GatewayUnavailable: not executed, or safe to repeat, and still failing at the last attempt.
        :raises OutcomeUnknown: a call that must not be repeated was submitted, and its answer was lost.
        """
        return self._retry(lambda headers: self._attempt(headers, call, before_send))

    def read_clock(self, call: Call[Any], now: Callable[[], DateTime]) -> ClockReading | None:
        """Execute a call that may be repeated, and return the gateway's clock by its answer.

        :param now: this machine's clock.
        :returns: ``None`` if the answer states no time.

        Raises the errors of ``execute``.
        """
        return self._retry(lambda headers: self._read_clock(headers, call, now))

    def stream(self, call: Call[T], before_send: BeforeSend = nullcontext) -> Generator[T]:
        """Execute a call, and yield its result in parts, as the answer arrives.

        A part has at most ``part_rows`` rows, and memory holds a few parts, however long the answer is. The
        last part is yielded when the answer has proved to be whole. If the iterator raises, discard the
        results of all earlier parts. To stop early, close it. A call that does not name its ``rows`` is read
        whole, as one part.

        Until the first part is yielded, the request is retried as in ``execute``. An answer that is cut off
        later raises ``GatewayUnavailable``, and the caller starts again. The time in which the caller works
        on a part does not count as the gateway's.

        :param before_send: as in ``execute``; its context is exited with the first part.

        Raises the errors of ``execute``.
        """
        key = call.rows
        if key is None:
            yield self.execute(call, before_send)
            return
        first, others = self._retry(lambda headers: self._first_part(headers, call, key, before_send))
        with closing(others):
            yield from first
            yield from others

    def _retry(self, attempt: Callable[[Headers], R]) -> R:
        """Make attempts until one succeeds, or may not be followed by another."""
        result: R = Retrying(sleep=self._sleep, **self._policy)(self._authenticate, attempt)
        return result

    def _authenticate(self, attempt: Callable[[Headers], R]) -> R:
        """Make one attempt with the headers that the authentication flow yields, after its logins."""
        with closing(self._authentication.flow()) as flow:
            step = next(flow)
            while True:
                try:
                    if not isinstance(step, Call):
                        return attempt(step)
                    token = self._attempt({}, step, nullcontext)
                except SmsError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(token)

    def _attempt(self, headers: Headers, call: Call[T], before_send: BeforeSend) -> T:
        self._keep_pace()
        with before_send():
            answer = self._fetch(call, headers)
            with self._decoding():
                return read_answer(call, answer, self.endpoint)

    def _read_clock(
        self, headers: Headers, call: Call[Any], now: Callable[[], DateTime]
    ) -> ClockReading | None:
        self._keep_pace()
        asked_at = now()
        answer = self._fetch(call, headers)
        answered_at = now()
        read_answer(call, answer, self.endpoint)
        return clock_reading(answer, self.endpoint.gateway, asked_at, answered_at)

    def _first_part(
        self, headers: Headers, call: Call[T], key: str, before_send: BeforeSend
    ) -> tuple[list[T], Generator[T]]:
        """Return a list of the first part, empty if there are no rows, and the generator of the others."""
        self._keep_pace()
        parts = self._parts(call, key, headers)
        with before_send():
            return list(islice(parts, 1)), parts

    def _parts(self, call: Call[T], key: str, headers: Headers) -> Generator[T]:
        with self._pool.response_to(call, headers) as (response, chunks):
            if response.status_code not in call.successes:
                yield read_answer(call, whole_answer(response, chunks), self.endpoint)
                return
            head = Response(None, response.status_code, response.headers)
            yield from read_parts(call, key, chunks, self.endpoint, self._part_rows, head=head)

    def _fetch(self, call: Call[Any], headers: Headers) -> Answer:
        with self._pool.response_to(call, headers) as (response, chunks):
            return whole_answer(response, chunks)

    def _keep_pace(self) -> None:
        if wait := self._rate_limiter.reserve():
            self._sleep(wait)


class AsyncTransport:
    """Executes calls for an event loop: a ``Transport`` in its own threads. Open it with ``async with``.

    Each call in flight has a thread, up to the endpoint's ``max_concurrent_requests``. So a hanging call
    delays no other. The parameters are those of ``Transport``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self._is_closed = threading.Event()
        decoding = partial(exclusive_reading, threading.Lock())
        self._new_transport = partial(Transport, endpoint, attempts, sleep or self._sleep, clock, decoding)
        self._threads = DaemonThreads(endpoint.max_concurrent_requests, "sms-calls")
        self._transport: Transport

    async def __aenter__(self) -> Self:
        try:
            self._transport = await self._threads.run(self._new_transport)
        except BaseException:
            await self._threads.end(0)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed.set()
        self._transport.abort()
        await self._threads.end(_SHUTDOWN_SECONDS)

    async def execute(self, call: Call[T]) -> T:
        """Execute a call. Retry it where that is safe. Raises the errors of ``Transport.execute``."""
        # ``read`` would leave it to the event loop to make the values.
        return await self._threads.run(partial(self._transport.execute, replace(call, read=None)))

    def _sleep(self, seconds: float) -> None:
        """Wait for seconds, or until the transport is closed."""
        self._is_closed.wait(seconds)


def _retry_policy(attempts: int) -> dict[str, Any]:
    return {
        "retry": retry_if_exception(_is_worth_another_try),
        "stop": stop_after_attempt(attempts),
        "wait": _wait,
        "reraise": True,
    }


def _is_worth_another_try(error: BaseException) -> bool:
    return isinstance(error, GatewayUnavailable) and (error.retry_after or 0) <= LONGEST_WAIT


_back_off = wait_random_exponential(multiplier=1, max=LONGEST_WAIT)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return max(_back_off(state), getattr(error, "retry_after", None) or 0)
