"""The only HTTP in the house: one described ``Call`` carried by ``requests``, for tasks and for event loops.

What an answer means is decided once, in ``read_answer``. An event loop has the same transport work for it in
threads, so that proxies, certificates and bounds are the same for a task and for the trigger that it defers
to. The rule for trying
again is one as well: ``GatewayUnavailable`` says that the request was not carried out, or does no harm when
repeated. A send whose connection broke, or whose answer is neither a success nor a refusal that the gateway
documents, is neither: it ends as ``OutcomeUnknown``. A 429 says that the request was turned away (RFC 6585,
section 4), so a send is tried again after it.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from airflow_provider_winsms.exceptions import (
    GatewayUnavailable,
    SendStopped,
)
from airflow_provider_winsms.gateways.pauses import reading_in_turn
from airflow_provider_winsms.gateways.responses import (
    LONGEST_HEAD,
    MOST_FRAMING,
    Answer,
    Body,
    clock_reading,
    failure_of,
    longest_body,
    lost_answer,
    malformed_answer,
    read_answer,
    read_parts,
    whole_answer,
)
from airflow_provider_winsms.gateways.streaming import PART_ROWS
from airflow_provider_winsms.gateways.threads import DaemonThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    import requests
    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import BeforeSend, Call
    from airflow_provider_winsms.gateways.endpoint import Endpoint
    from airflow_provider_winsms.gateways.session import Exchange, Session
    from airflow_provider_winsms.runtime import ClockReading

T = TypeVar("T")

ATTEMPTS = 4
"""How often a request is tried that may be tried again."""

LONGEST_WAIT = 60.0
"""Seconds: the longest wait between two attempts. A gateway that asks for more gets it from the caller."""

# The shortest that servers in use keep a connection open is 5 seconds (Apache httpd, Node.js).
_LONGEST_IDLE = 3.0
_SECONDS_TO_END = 1.0


class Pace:
    """Spaces requests evenly, so that there are never more of them per second than the rate.

    :param rate: requests per second; ``None`` for no limit.
    """

    def __init__(self, rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._clock = clock
        self._next = 0.0
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take the next place, and return the seconds until it comes."""
        with self._lock:
            now = self._clock()
            place = max(now, self._next)
            self._next = place + self._interval
            return place - now


class Transport:
    """Carries calls with ``requests``, over one pooled session that several threads may share.

    :param attempts: how often a request is tried that may be tried again.
    :param sleep: how to wait; like ``clock`` a seam for tests.
    :param clock: monotonic seconds.
    :param reading: what it returns is entered while an answer is decoded.
    :param part_rows: the most rows of a part that ``stream`` yields.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        reading: Callable[[], AbstractContextManager[None]] = nullcontext,
        *,
        part_rows: int = PART_ROWS,
    ) -> None:
        self.endpoint = endpoint
        self._part_rows = part_rows
        self._policy = _retry_policy(attempts)
        self._sleep = sleep
        self._clock = clock
        self._reading = reading
        self._pace = Pace(endpoint.requests_per_second, clock)
        self._session = _new_session(endpoint)
        self._last_used = clock()
        self._under_way: set[Exchange] = set()
        self._is_aborted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def abort(self) -> None:
        """Close all connections, those that are waited on as well: calls end, and none begins."""
        self._is_aborted = True
        for exchange in list(self._under_way):
            exchange.abort()
        self.close()

    def execute(self, call: Call[T], before_send: BeforeSend = nullcontext) -> T:
        """Carry out a call, trying again where that is safe.

        :param leaving: entered each time right before the request leaves, which what it raises prevents;
            left with what is raised for the answer.
        :raises ConfigurationError: wrong key, wrong base URL.
        :raises InvalidMessage: the gateway refused the request whole.
        :raises GatewayUnavailable: not carried out, or safe to repeat, and still failing at the last attempt.
        :raises OutcomeUnknown: a call that must not be repeated was submitted, and its answer was lost.
        """
        result: T = Retrying(sleep=self._sleep, **self._policy)(self._attempt, call, before_send)
        return result

    def read_clock(self, call: Call[Any], now: Callable[[], DateTime]) -> ClockReading | None:
        """Carry out a call that may be repeated, and return what its answer tells of the gateway's clock.

        :param now: this machine's clock.
        :returns: ``None`` if the answer tells nothing.

        Raises what ``execute`` raises.
        """
        reading: ClockReading | None = Retrying(sleep=self._sleep, **self._policy)(
            self._read_clock, call, now
        )
        return reading

    def stream(self, call: Call[T], before_send: BeforeSend = nullcontext) -> Generator[T]:
        """Carry out a call, and yield what it returns in parts, as the answer arrives.

        A part has at most ``part_rows`` rows, and memory holds a few parts, however long the answer is. The
        last part is handed out when the answer is known to be whole: what was made of the others must not
        be kept if the iterator raises. To stop early, close it. A call that does not name its ``rows`` is
        read whole, as its one part.

        The request is tried again as by ``execute`` until the first part is handed out; an answer that breaks
        off later is ``GatewayUnavailable``, and the caller starts anew. The time that the caller takes over
        a part is not counted as the gateway's.

        :param leaving: as of ``execute``, and left with the first part.

        Raises what ``execute`` raises.
        """
        if call.rows is None:
            yield self.execute(call, before_send)
            return
        first, others = Retrying(sleep=self._sleep, **self._policy)(self._begin, call, call.rows, before_send)
        with closing(others):
            yield from first
            yield from others

    def _attempt(self, call: Call[T], before_send: BeforeSend) -> T:
        self._keep_pace()
        with before_send():
            answer = self._fetch(call)
            with self._reading():
                return read_answer(call, answer, self.endpoint)

    def _read_clock(self, call: Call[Any], now: Callable[[], DateTime]) -> ClockReading | None:
        self._keep_pace()
        asked_at = now()
        answer = self._fetch(call)
        answered_at = now()
        read_answer(call, answer, self.endpoint)
        return clock_reading(answer, self.endpoint.gateway, asked_at, answered_at)

    def _begin(self, call: Call[T], key: str, before_send: BeforeSend) -> tuple[list[T], Generator[T]]:
        """Return the first part, or none where there are no rows, and the others to come."""
        self._keep_pace()
        parts = self._parts(call, key)
        with before_send():
            return list(islice(parts, 1)), parts

    def _parts(self, call: Call[T], key: str) -> Generator[T]:
        with self._answering(call) as (response, pieces):
            if response.status_code != HTTPStatus.OK:
                raise failure_of(call, whole_answer(response, pieces), self.endpoint)
            yield from read_parts(call, key, pieces, self.endpoint, self._part_rows)

    def _fetch(self, call: Call[Any]) -> Answer:
        with self._answering(call) as (response, pieces):
            return whole_answer(response, pieces)

    def _keep_pace(self) -> None:
        if wait := self._pace.reserve():
            self._sleep(wait)

    @contextmanager
    def _answering(self, call: Call[Any]) -> Iterator[tuple[requests.Response, Iterator[bytes]]]:
        """Submit a request; yield the head of its answer, and the pieces of its body, which are to come."""
        from airflow_provider_winsms.gateways.session import FAULTS, cause_of, has_no_connection

        self._retire_idle_connections()
        body = Body(call.body)
        with self._exchange(call) as exchange:
            try:
                with self._submitted(call, body, exchange) as response:
                    yield response, self._pieces(call, response, exchange)
            except ValueError as error:
                if exchange.is_awaited:
                    raise lost_answer(call, type(error).__name__, self.endpoint) from None
                raise malformed_answer(call, error, body, self.endpoint) from None
            except FAULTS as error:
                never_left = body.never_left or has_no_connection(error)
                what = exchange.broken_bound or cause_of(error)
                raise lost_answer(call, what, self.endpoint, never_left=never_left) from None
            finally:
                self._last_used = self._clock()

    def _submitted(self, call: Call[Any], body: Body, exchange: Exchange) -> requests.Response:
        return self._session.submit(
            exchange,
            call.method,
            self.endpoint.base_url + call.path,
            params=call.query,
            data=body or None,
            timeout=(self.endpoint.connect_timeout, self.endpoint.read_timeout),
        )

    @contextmanager
    def _exchange(self, call: Call[Any]) -> Iterator[Exchange]:
        """Bound what an answer may take, and let it be aborted.

        :raises SendStopped: the transport was aborted.
        """
        from airflow_provider_winsms.gateways.session import Exchange

        most = LONGEST_HEAD + MOST_FRAMING * call.max_answer_bytes
        exchange = Exchange(self.endpoint.answer_timeout, most, self._clock)
        self._under_way.add(exchange)
        try:
            if self._is_aborted:
                msg = f"{call.operation}: nothing more is asked; its connection is closed."
                raise SendStopped(msg)
            yield exchange
        finally:
            self._under_way.discard(exchange)

    def _pieces(self, call: Call[Any], response: requests.Response, exchange: Exchange) -> Iterator[bytes]:
        """Yield a body as it arrives, within its bounds."""
        from airflow_provider_winsms.gateways.session import EncodingError, body_of

        length, most = 0, longest_body(call, response.status_code)
        exchange.resume()
        try:
            for piece in body_of(response):
                length += len(piece)
                if length > most:
                    raise lost_answer(call, f"its answer is longer than {most} bytes", self.endpoint)
                yield piece
                exchange.resume()
        except EncodingError as error:
            raise lost_answer(call, f"its answer {error}", self.endpoint) from None

    def _retire_idle_connections(self) -> None:
        """Close connections that the gateway may close in the moment a send leaves, which would be lost."""
        if self._clock() - self._last_used > _LONGEST_IDLE:
            self._session.close()


class AsyncTransport:
    """Carries calls for an event loop: a ``Transport`` in threads of its own. Open it with ``async with``.

    Each of the calls that are on their way has a thread, so that one that hangs delays no other, up to the
    endpoint's ``max_concurrent_requests``. It takes what ``Transport`` takes.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self._is_over = threading.Event()
        reading = partial(reading_in_turn, threading.Lock())
        self._new_transport = partial(Transport, endpoint, attempts, sleep or self._sleep, clock, reading)
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
        self._is_over.set()
        self._transport.abort()
        await self._threads.end(_SECONDS_TO_END)

    async def execute(self, call: Call[T]) -> T:
        """Carry out a call, trying again where that is safe. Raises what ``Transport.execute`` raises."""
        return await self._threads.run(partial(self._transport.execute, call))

    def _sleep(self, seconds: float) -> None:
        """Wait, but no longer than until the transport is closed."""
        self._is_over.wait(seconds)


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


def _new_session(endpoint: Endpoint) -> Session:
    from airflow_provider_winsms.gateways.session import Session

    # Without TLS the gateway is on this machine, and a proxy would read the key and texts.
    return Session(endpoint.headers(), trust_env=endpoint.base_url.startswith("https:"))
