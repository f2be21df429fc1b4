"""The meaning of an HTTP answer: a result, or the error that tells the caller's next move."""

from __future__ import annotations

import email.utils
import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    InvalidMessageId,
    OutcomeUnknown,
    OutOfCredits,
    SessionExpired,
    SmsError,
)
from airflow_provider_winsms.gateways.base import Problem, Response
from airflow_provider_winsms.gateways.streaming import (
    LONGEST_DECODED_AT_ONCE,
    MIN_READ_BYTES,
    PART_ROWS,
    DocumentError,
    document_of,
    parts_of,
)
from airflow_provider_winsms.runtime import ClockReading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    import requests
    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Call, Gateway, T
    from airflow_provider_winsms.gateways.endpoint import Endpoint

_LONGEST_RETRY_AFTER = 24 * 3600.0
LONGEST_HEAD = 1024 * 1024
# A chunk of one byte takes six on the wire.
FRAMING_FACTOR = 8
_LONGEST_REFUSAL = 1024 * 1024
_HIDDEN_REASON = "its reason is not shown, as it may quote a text, a number or the key"
_PERSONAL_DIGITS = re.compile(r"\d{7,}")
_REFUSED = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
_MISDIRECTED = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class RequestBody:
    """A request's body, which records whether a connection took it.

    ``requests`` takes the body after the connection is open and the head is written. A request whose body was
    not taken was not executed, whatever the error.
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
        """Whether the request certainly never left. Without a body this is never certain."""
        return bool(self._content) and not self._was_taken


def read_answer(call: Call[T], answer: Answer, endpoint: Endpoint) -> T:
    """Return the result of an answer, or raise its error.

    The request may have been executed before an unreadable 200 or a 5xx. So it may before a 4xx or a redirect
    that is not the gateway's own refusal: proxies, firewalls and portals answer with those too.
    """
    if answer.status in call.successes:
        return _read_success(call, answer, endpoint)
    if call.absent and endpoint.gateway.problem(_error_response(answer)) is Problem.NOT_THERE:
        return call.absent()
    raise failure_of(call, answer, endpoint)


def read_parts(
    call: Call[T],
    key: str,
    chunks: Iterable[bytes],
    endpoint: Endpoint,
    most: int = PART_ROWS,
    *,
    min_read_bytes: int = MIN_READ_BYTES,
    head: Response = Response(None),  # noqa: B008 - it is frozen
) -> Iterator[T]:
    """Yield the results of a successful answer part by part, or raise its error.

    :param key: the key of the list of rows.
    :param chunks: the answer's body, cut anywhere. Errors of the iteration are passed on.
    :param most: the most rows of one part.
    :param min_read_bytes: the fewest bytes that are decoded together.
    :param head: the answer's status and headers.
    """
    try:
        for rows in parts_of(chunks, key, most, min_read_bytes):
            yield _parsed(call, replace(head, document={key: rows}), endpoint)
    except DocumentError as error:
        raise lost_answer(call, f"its answer {error}", endpoint) from None


def whole_answer(response: requests.Response, chunks: Iterable[bytes]) -> Answer:
    """Read a body to its end."""
    return Answer(response.status_code, response.headers, b"".join(chunks))


def _read_success(call: Call[T], answer: Answer, endpoint: Endpoint) -> T:
    if call.read and len(answer.body) <= LONGEST_DECODED_AT_ONCE:
        with suppress(ValueError, RecursionError):
            return call.read(answer.body)
    try:
        # Only a 200 must have a body.
        has_body = answer.body or answer.status == HTTPStatus.OK
        document = document_of(answer.body) if has_body else None
    except DocumentError as error:
        raise lost_answer(call, f"its answer of {len(answer.body)} bytes {error}", endpoint) from None
    return _parsed(call, Response(document, answer.status, answer.headers), endpoint)


def _parsed(call: Call[T], response: Response, endpoint: Endpoint) -> T:
    try:
        return call.parse(response)
    # Whatever is wrong with a success, its request was executed.
    except Exception as error:
        if isinstance(error, SmsError) and not isinstance(error, InvalidMessageId):
            raise
        cause = f"its answer does not have the promised shape ({_shape_error(error)})"
        raise lost_answer(call, cause, endpoint) from None


def _shape_error(error: Exception) -> str:
    return _PERSONAL_DIGITS.sub("***", str(error)) if type(error) is ValueError else type(error).__name__


def failure_of(call: Call[Any], answer: Answer, endpoint: Endpoint) -> SmsError:
    """Return the error of an answer that is no success."""
    status, response = answer.status, _error_response(answer)
    reason = _reason(response.document, endpoint.gateway)
    problem = Problem.LATER if status == HTTPStatus.TOO_MANY_REQUESTS else endpoint.gateway.problem(response)
    if problem is Problem.LATER:
        msg = f"{call.operation}: HTTP {status}{reason}. The {endpoint.description} asks for fewer requests."
        return GatewayUnavailable(msg, _retry_after(answer))
    if problem is None and _may_have_been_executed(status):
        return lost_answer(call, f"HTTP {status}{reason}", endpoint, retry_after=_retry_after(answer))
    if problem is None and not call.is_repeatable:
        cause = f"HTTP {status}{reason}, which is no refusal that {endpoint.gateway.name} documents"
        return lost_answer(call, cause, endpoint)
    return _refusal(f"{call.operation}: HTTP {status}{reason}.", status, problem, endpoint)


def _refusal(what: str, status: int, problem: Problem | None, endpoint: Endpoint) -> SmsError:
    """Return the error of a request that was not executed, and will not be as it stands."""
    is_refused = status in _REFUSED or (problem is Problem.REFUSED and status not in _MISDIRECTED)
    if problem is Problem.NO_CREDITS:
        return OutOfCredits(f"{what} The account cannot pay for the request; nothing was sent. Top it up.")
    if problem is Problem.SIGN_IN_AGAIN or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        kind = SessionExpired if problem is Problem.SIGN_IN_AGAIN else ConfigurationError
        words = endpoint.gateway.credential_words
        return kind(f"{what} Check {words} of the connection {endpoint.name!r}.")
    if is_refused and problem is not Problem.NOT_THERE:
        return InvalidMessage(f"{what} The gateway refused the request as a whole; nothing was sent.")
    return ConfigurationError(
        f"{what} Check the base URL, which is the host of the connection {endpoint.name!r}."
    )


def _may_have_been_executed(status: int) -> bool:
    return (
        status >= HTTPStatus.INTERNAL_SERVER_ERROR
        or status < HTTPStatus.MULTIPLE_CHOICES
        or status in {HTTPStatus.SEE_OTHER, HTTPStatus.REQUEST_TIMEOUT}
    )


def _error_response(answer: Answer) -> Response:
    return Response(_document_of(answer), answer.status, answer.headers)


def _document_of(answer: Answer) -> Any:
    """Return the JSON of an answer, or ``None`` if it is not JSON."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _reason(document: Any, gateway: Gateway) -> str:
    """Return the gateway's own words as far as it documents them. Any other words may quote anything."""
    words = " ".join(gateway.error_text(document).split())
    known = (text for text in gateway.error_texts if words.startswith(text))
    return f" ({next(known, _HIDDEN_REASON).rstrip('.')})" if words else ""


def lost_answer(
    call: Call[Any],
    cause: str,
    endpoint: Endpoint,
    *,
    never_left: bool = False,
    retry_after: float | None = None,
) -> SmsError:
    """Return the error of a request without an answer."""
    if never_left:
        return GatewayUnavailable(
            f"{call.operation}: the {endpoint.description} could not be reached ({cause})."
        )
    if call.is_repeatable:
        return GatewayUnavailable(
            f"{call.operation}: no usable answer from the {endpoint.description} ({cause}).", retry_after
        )
    return OutcomeUnknown(
        f"{call.operation}: submitted to the {endpoint.description}, and then {cause}. "
        "It may have been carried out; it is not repeated."
    )


def malformed_answer(call: Call[Any], error: Exception, body: RequestBody, endpoint: Endpoint) -> SmsError:
    """Return the error of a request that cannot be made or may have left, without the text of ``error``."""
    cause = type(error).__name__
    if body.never_left or not body:
        return ConfigurationError(
            f"{call.operation}: the request to the {endpoint.description} cannot be made ({cause}). "
            "Check the base URL and the API key."
        )
    return lost_answer(call, cause, endpoint)


def answer_limit(call: Call[Any], status: int) -> int:
    """Return the most bytes that the body of an answer may have. An error answer needs few."""
    most = call.max_answer_bytes
    return most if status in call.successes else min(most, _LONGEST_REFUSAL)


def clock_reading(
    answer: Answer, gateway: Gateway, asked_at: DateTime, answered_at: DateTime
) -> ClockReading | None:
    """Read the clock from ``Date`` (GMT, RFC 9110, section 6.6.1), or else from the answer's own time."""
    # The answer of a cache is at least as old as its Age (RFC 9111, section 5.1).
    if answer.headers.get("Age", "0").strip() != "0":
        return None
    clock = f"the clock of {gateway.name}"
    if date := _date(answer):
        return ClockReading(clock, date, asked_at, answered_at, timedelta(seconds=1))
    stamp = gateway.answered_at(_document_of(answer))
    return ClockReading(clock, stamp, asked_at, answered_at, is_zone_known=False) if stamp else None


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
