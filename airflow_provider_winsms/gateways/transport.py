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

import email.utils
import json
import re
import threading
import time
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from airflow_provider_winsms.clocks import Reading
from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    OutcomeUnknown,
    SendStopped,
    SmsError,
)
from airflow_provider_winsms.gateways.daemons import DaemonThreads
from airflow_provider_winsms.gateways.pauses import reading_in_turn
from airflow_provider_winsms.gateways.rows import PART_ROWS, DocumentError, document_of, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from types import TracebackType

    import requests
    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Call, Gateway, Leaving
    from airflow_provider_winsms.gateways.session import Exchange, Session

T = TypeVar("T")

ATTEMPTS = 4
"""How often a request is tried that may be tried again."""

LONGEST_WAIT = 60.0
"""Seconds: the longest wait between two attempts. A gateway that asks for more gets it from the caller."""

# The shortest that servers in use keep a connection open is 5 seconds (Apache httpd, Node.js).
_LONGEST_IDLE = 3.0
_LONGEST_RETRY_AFTER = 24 * 3600.0
_SECONDS_TO_END = 1.0
_LONGEST_HEAD = 1024 * 1024
# A chunk of one byte takes six on the wire.
_MOST_FRAMING = 8
_LONGEST_REFUSAL = 1024 * 1024
_HIDDEN_REASON = "its reason is not shown, as it may quote a text, a number or the key"
_PERSONAL_DIGITS = re.compile(r"\d{7,}")
_REFUSED = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a gateway is reached, how, and as whom.

    :param name: what the user calls it, for errors.
    :param base_url: without a trailing slash.
    :param connect_timeout: seconds until the connection must stand.
    :param read_timeout: seconds without a byte after which an answer counts as lost. A whole answer may take
        ten times as long.
    :param page_size: rows asked for in one request of a list.
    :param requests_per_second: the most requests per second, or ``None``.
    :param max_concurrent_requests: the most requests about deliveries, or pages of a list, that are on their
        way at a time.
    :param hash_secret: what numbers and texts are hashed with where they may not be stored, or ``None``.
    """

    name: str
    gateway: Gateway
    base_url: str
    api_key: str = field(repr=False)
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    page_size: int = 1000
    requests_per_second: float | None = None
    max_concurrent_requests: int = 4
    hash_secret: str | None = field(default=None, repr=False)

    @property
    def answer_timeout(self) -> float:
        """Seconds that a whole answer may take, however slowly its bytes drip in."""
        return 10 * self.read_timeout

    @property
    def where(self) -> str:
        """The gateway in words, for errors: its connection and its host, without what may be secret."""
        host = re.split(r"[/?#]", self.base_url.split("://", 1)[-1], maxsplit=1)[0].rpartition("@")[2]
        return f"gateway of the connection {self.name!r} at {host}"

    def leads_where(self, other: Endpoint) -> bool:
        """Whether both reach the same gateway, as the same account."""
        return (self.base_url, self.api_key) == (other.base_url, other.api_key)

    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        return {
            **self.gateway.headers(self.api_key),
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Content-Type": "application/json",
            "User-Agent": "airflow-provider-winsms",
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


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

    def send(self, call: Call[T], leaving: Leaving = nullcontext) -> T:
        """Carry out a call, trying again where that is safe.

        :param leaving: entered each time right before the request leaves, which what it raises prevents;
            left with what is raised for the answer.
        :raises ConfigurationError: wrong key, wrong base URL.
        :raises InvalidMessage: the gateway refused the request whole.
        :raises GatewayUnavailable: not carried out, or safe to repeat, and still failing at the last attempt.
        :raises OutcomeUnknown: a call that must not be repeated was submitted, and its answer was lost.
        """
        result: T = Retrying(sleep=self._sleep, **self._policy)(self._attempt, call, leaving)
        return result

    def read_clock(self, call: Call[Any], now: Callable[[], DateTime]) -> Reading | None:
        """Carry out a call that may be repeated, and return what its answer tells of the gateway's clock.

        :param now: this machine's clock.
        :returns: ``None`` if the answer tells nothing.

        Raises what ``send`` raises.
        """
        reading: Reading | None = Retrying(sleep=self._sleep, **self._policy)(self._read_clock, call, now)
        return reading

    def stream(self, call: Call[T], leaving: Leaving = nullcontext) -> Generator[T]:
        """Carry out a call, and yield what it returns in parts, as the answer arrives.

        A part has at most ``part_rows`` rows, and memory holds a few parts, however long the answer is. The
        last part is handed out when the answer is known to be whole: what was made of the others must not
        be kept if the iterator raises. To stop early, close it. A call that does not name its ``rows`` is
        read whole, as its one part.

        The request is tried again as by ``send`` until the first part is handed out; an answer that breaks
        off later is ``GatewayUnavailable``, and the caller starts anew. The time that the caller takes over
        a part is not counted as the gateway's.

        :param leaving: as of ``send``, and left with the first part.

        Raises what ``send`` raises.
        """
        if call.rows is None:
            yield self.send(call, leaving)
            return
        first, others = Retrying(sleep=self._sleep, **self._policy)(self._begin, call, call.rows, leaving)
        with closing(others):
            yield from first
            yield from others

    def _attempt(self, call: Call[T], leaving: Leaving) -> T:
        self._keep_pace()
        with leaving():
            answer = self._fetch(call)
            with self._reading():
                return read_answer(call, answer, self.endpoint)

    def _read_clock(self, call: Call[Any], now: Callable[[], DateTime]) -> Reading | None:
        self._keep_pace()
        asked_at = now()
        answer = self._fetch(call)
        answered_at = now()
        read_answer(call, answer, self.endpoint)
        return _clock_reading(answer, self.endpoint.gateway, asked_at, answered_at)

    def _begin(self, call: Call[T], key: str, leaving: Leaving) -> tuple[list[T], Generator[T]]:
        """Return the first part, or none where there are no rows, and the others to come."""
        self._keep_pace()
        parts = self._parts(call, key)
        with leaving():
            return list(islice(parts, 1)), parts

    def _parts(self, call: Call[T], key: str) -> Generator[T]:
        with self._answering(call) as (response, pieces):
            if response.status_code != HTTPStatus.OK:
                raise _failure(call, _whole_answer(response, pieces), self.endpoint)
            yield from read_parts(call, key, pieces, self.endpoint, self._part_rows)

    def _fetch(self, call: Call[Any]) -> Answer:
        with self._answering(call) as (response, pieces):
            return _whole_answer(response, pieces)

    def _keep_pace(self) -> None:
        if wait := self._pace.reserve():
            self._sleep(wait)

    @contextmanager
    def _answering(self, call: Call[Any]) -> Iterator[tuple[requests.Response, Iterator[bytes]]]:
        """Submit a request; yield the head of its answer, and the pieces of its body, which are to come."""
        from airflow_provider_winsms.gateways.session import FAULTS, cause_of, has_no_connection

        self._retire_idle_connections()
        body = _Body(call.body)
        with self._exchange(call) as exchange:
            try:
                with self._submitted(call, body, exchange) as response:
                    yield response, self._pieces(call, response, exchange)
            except ValueError as error:
                if exchange.is_awaited:
                    raise _lost(call, type(error).__name__, self.endpoint) from None
                raise _malformed(call, error, body, self.endpoint) from None
            except FAULTS as error:
                never_left = body.never_left or has_no_connection(error)
                what = exchange.broken_bound or cause_of(error)
                raise _lost(call, what, self.endpoint, never_left=never_left) from None
            finally:
                self._last_used = self._clock()

    def _submitted(self, call: Call[Any], body: _Body, exchange: Exchange) -> requests.Response:
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

        most = _LONGEST_HEAD + _MOST_FRAMING * call.max_answer_bytes
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

        length, most = 0, _longest(call, response.status_code)
        exchange.resume()
        try:
            for piece in body_of(response):
                length += len(piece)
                if length > most:
                    raise _lost(call, f"its answer is longer than {most} bytes", self.endpoint)
                yield piece
                exchange.resume()
        except EncodingError as error:
            raise _lost(call, f"its answer {error}", self.endpoint) from None

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

    async def send(self, call: Call[T]) -> T:
        """Carry out a call, trying again where that is safe. Raises what ``Transport.send`` raises."""
        return await self._threads.run(partial(self._transport.send, call))

    def _sleep(self, seconds: float) -> None:
        """Wait, but no longer than until the transport is closed."""
        self._is_over.wait(seconds)


class _Body:
    """A request's body, which knows whether a connection ever took it.

    The body is asked for after the connection stands and the head is written. A request whose body nobody
    asked for was not carried out, whatever went wrong.
    """

    def __init__(self, content: bytes | None) -> None:
        self._content = content or b""
        self._was_taken = False

    def __len__(self) -> int:
        return len(self._content)

    def __iter__(self) -> Iterator[bytes]:
        self._was_taken = True
        yield self._content

    @property
    def never_left(self) -> bool:
        """Whether it is certain that the request never left; of a request without a body, it never is."""
        return bool(self._content) and not self._was_taken


def read_answer(call: Call[T], answer: Answer, endpoint: Endpoint) -> T:
    """Return what an answer says, or raise what it means.

    A 200 that cannot be read and a 5xx may come after the request was carried out. So may a 4xx or a redirect
    that is not the gateway's own refusal: a proxy, a firewall or a portal answers with those too.
    """
    if answer.status == HTTPStatus.OK:
        return _read_success(call, answer, endpoint)
    raise _failure(call, answer, endpoint)


def read_parts(
    call: Call[T], key: str, pieces: Iterable[bytes], endpoint: Endpoint, most: int = PART_ROWS
) -> Iterator[T]:
    """Yield what a successful answer says, part by part, or raise what it means.

    :param key: of the list of rows.
    :param pieces: the answer's body, cut anywhere; what iterating over it raises is passed on.
    :param most: rows in one part.
    """
    try:
        for rows in parts_of(pieces, key, most):
            yield _parsed(call, {key: rows}, endpoint)
    except DocumentError as error:
        raise _lost(call, f"its answer {error}", endpoint) from None


def _whole_answer(response: requests.Response, pieces: Iterable[bytes]) -> Answer:
    return Answer(response.status_code, response.headers, b"".join(pieces))


def _read_success(call: Call[T], answer: Answer, endpoint: Endpoint) -> T:
    try:
        document = document_of(answer.body)
    except DocumentError as error:
        raise _lost(call, f"its answer of {len(answer.body)} bytes {error}", endpoint) from None
    return _parsed(call, document, endpoint)


def _parsed(call: Call[T], document: Any, endpoint: Endpoint) -> T:
    try:
        return call.parse(document)
    except SmsError:
        raise
    # Whatever is wrong with an answer, the request behind it was carried out.
    except Exception as error:  # noqa: BLE001
        what = f"its answer does not have the promised shape ({_shape_error(error)})"
        raise _lost(call, what, endpoint) from None


def _shape_error(error: Exception) -> str:
    return _PERSONAL_DIGITS.sub("***", str(error)) if type(error) is ValueError else type(error).__name__


def _failure(call: Call[Any], answer: Answer, endpoint: Endpoint) -> SmsError:
    status, document = answer.status, _document_of(answer)
    reason = _reason(document, endpoint.gateway)
    where = f"{call.operation}: HTTP {status}{reason}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        msg = f"{where}. The {endpoint.where} asks for fewer requests."
        return GatewayUnavailable(msg, _retry_after(answer))
    if _may_have_been_carried_out(status):
        return _lost(call, f"HTTP {status}{reason}", endpoint, retry_after=_retry_after(answer))
    if not call.is_repeatable and not endpoint.gateway.is_refusal(status, document):
        what = f"HTTP {status}{reason}, which is no refusal that {endpoint.gateway.name} documents"
        return _lost(call, what, endpoint)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return ConfigurationError(
            f"{where}. Check the API key, which is the password of the connection {endpoint.name!r}."
        )
    if status in _REFUSED:
        return InvalidMessage(f"{where}. The gateway refused the request as a whole; nothing was sent.")
    return ConfigurationError(
        f"{where}. Check the base URL, which is the host of the connection {endpoint.name!r}."
    )


def _may_have_been_carried_out(status: int) -> bool:
    return (
        status >= HTTPStatus.INTERNAL_SERVER_ERROR
        or status < HTTPStatus.MULTIPLE_CHOICES
        or status in {HTTPStatus.SEE_OTHER, HTTPStatus.REQUEST_TIMEOUT}
    )


def _document_of(answer: Answer) -> Any:
    """Return the JSON of an answer, or ``None`` if it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _reason(document: Any, gateway: Gateway) -> str:
    """Return the gateway's own words as far as it documents them: what else it says may quote anything."""
    words = " ".join(gateway.error_text(document).split())
    known = (text for text in gateway.error_texts if words.startswith(text))
    return f" ({next(known, _HIDDEN_REASON).rstrip('.')})" if words else ""


def _lost(
    call: Call[Any],
    what: str,
    endpoint: Endpoint,
    *,
    never_left: bool = False,
    retry_after: float | None = None,
) -> SmsError:
    if never_left:
        return GatewayUnavailable(f"{call.operation}: the {endpoint.where} could not be reached ({what}).")
    if call.is_repeatable:
        return GatewayUnavailable(
            f"{call.operation}: no usable answer from the {endpoint.where} ({what}).", retry_after
        )
    return OutcomeUnknown(
        f"{call.operation}: submitted to the {endpoint.where}, and then {what}. "
        "It may have been carried out; it is not repeated."
    )


def _malformed(call: Call[Any], error: Exception, body: _Body, endpoint: Endpoint) -> SmsError:
    """Tell a request that cannot be made from one that may have left; the error's text may not be shown."""
    what = type(error).__name__
    if body.never_left or not body:
        return ConfigurationError(
            f"{call.operation}: the request to the {endpoint.where} cannot be made ({what}). "
            "Check the base URL and the API key."
        )
    return _lost(call, what, endpoint)


def _longest(call: Call[Any], status: int) -> int:
    """Return how many bytes of an answer are read: of one that is no success, little is to be said."""
    most = call.max_answer_bytes
    return most if status == HTTPStatus.OK else min(most, _LONGEST_REFUSAL)


def _clock_reading(
    answer: Answer, gateway: Gateway, asked_at: DateTime, answered_at: DateTime
) -> Reading | None:
    """Read ``Date``, which is in GMT (RFC 9110, section 6.6.1), or else the gateway's own time."""
    # The answer of a cache is as old as it says (RFC 9111, section 5.1), or older.
    if answer.headers.get("Age", "0").strip() != "0":
        return None
    clock = f"the clock of {gateway.name}"
    if date := _date(answer):
        return Reading(clock, date, asked_at, answered_at, timedelta(seconds=1))
    stamp = gateway.answered_at(_document_of(answer))
    return Reading(clock, stamp, asked_at, answered_at, is_zone_known=False) if stamp else None


def _date(answer: Answer) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        return None
    return date if date.tzinfo else None


def _retry_after(answer: Answer) -> float | None:
    """Read ``Retry-After``: seconds or a date (RFC 9110, section 10.2.3)."""
    value = answer.headers.get("Retry-After", "").strip()
    try:
        seconds = float(value) if value.isdecimal() else _seconds_until(value)
    except ValueError:
        return None
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER)


def _seconds_until(date: str) -> float:
    return email.utils.parsedate_to_datetime(date).timestamp() - time.time()


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
