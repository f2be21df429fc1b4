"""Faults on demand: the table of faults, and the queue of those that are armed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from airflow_provider_winsms.sandbox.operations import operation_named
from airflow_provider_winsms.sandbox.wire import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox.operations import Operation
    from airflow_provider_winsms.sandbox.state import Row


_LONGEST_DELAY = 3600


class Ending(StrEnum):
    """How much of an answer the client receives."""

    WHOLE = "whole"
    """The whole answer."""

    CUT = "cut"
    """The head and half of the body; then the connection closes."""

    CLOSED = "closed"
    """Nothing; the connection closes."""

    RESET = "reset"
    """Nothing; the connection is reset."""


class Delay(StrEnum):
    """Where a fault delays a request."""

    BEFORE = "before"
    """The request is carried out after the delay."""

    AFTER = "after"
    """The request is carried out at once, and answered after the delay."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer for the socket to send.

    :param content: a JSON document, or a page of HTML as text. The document may have ``JsonRows``.
    """

    status: int
    content: Any = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    ending: Ending = Ending.WHOLE

    @property
    def is_sent(self) -> bool:
        """Whether the client receives any of it."""
        return self.ending in {Ending.WHOLE, Ending.CUT}

    @property
    def body(self) -> bytes:
        """The bytes of the body."""
        return self.content.encode() if self._is_html else encode(self.content)

    @property
    def content_type(self) -> str:
        """The ``Content-Type`` of the body."""
        return "text/html; charset=utf-8" if self._is_html else "application/json; charset=utf-8"

    @property
    def _is_html(self) -> bool:
        return isinstance(self.content, str)


@dataclass(slots=True)
class ArmedFault:
    """A fault that is ready to strike.

    :param times: how often it still strikes; ``None`` is without end.
    :param skip: how many of the requests that it applies to still pass.
    :param seconds: its delay, of wall time.
    """

    fault_id: int
    fault: Fault
    operation: Operation | None
    times: int | None
    probability: float | None
    random: Random
    seconds: float
    retry_after: int
    rows: int
    skip: int
    struck: int = 0

    def strikes(self, operation: Operation) -> bool:
        """Whether it strikes this request. A request that passes is counted."""
        if self.times == 0 or self.operation not in {None, operation} or not self.fault.applies_to(operation):
            return False
        if self.skip:
            self.skip -= 1
            return False
        return self.probability is None or self.random.random() < self.probability

    def count(self) -> None:
        """Note that it struck."""
        self.struck += 1
        if self.times is not None:
            self.times -= 1

    def as_row(self) -> Row:
        """Return the row that the control surface shows."""
        return {
            "id": self.fault_id,
            "fault": self.fault.name,
            "operation": self.operation.name if self.operation else None,
            "timesLeft": self.times,
            "probability": self.probability,
            "struck": self.struck,
        }


def _any_operation(_: Operation) -> bool:
    return True


def _with_rows(operation: Operation) -> bool:
    return bool(operation.rows)


def _with_pages(operation: Operation) -> bool:
    return operation.is_paged


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of failure.

    :param transform: turns the answer into the one that the client receives.
    :param refuses: whether the request is not carried out.
    :param delay: where it delays the request; ``None`` if it does not.
    :param applies_to: tells which operations it can strike.
    :param adds_rows: whether new rows join the list after the answer.
    """

    name: str
    meaning: str
    transform: Callable[[Reply, ArmedFault], Reply]
    refuses: bool = False
    delay: Delay | None = None
    applies_to: Callable[[Operation], bool] = _any_operation
    adds_rows: bool = False


def _as_it_is(reply: Reply, _: ArmedFault) -> Reply:
    return reply


def _ending(ending: Ending) -> Callable[[Reply, ArmedFault], Reply]:
    return lambda reply, _: replace(reply, ending=ending)


def _internal_error(reply: Reply, _: ArmedFault) -> Reply:
    return _error(reply, 500, "An unknown error has occurred - authorising API Key")


def _too_many(reply: Reply, armed: ArmedFault) -> Reply:
    error = _error(reply, 429, "Too many requests.")
    return replace(error, headers={"Retry-After": str(armed.retry_after)})


def _error(reply: Reply, status: int, text: str) -> Reply:
    stamp = {name: reply.content[name] for name in ("timeStamp", "version")}
    return replace(reply, status=status, content={**stamp, "statusCode": status, "errorMessage": text})


def _proxy_error(status: int, title: str) -> Callable[[Reply, ArmedFault], Reply]:
    page = f"<html><head><title>{status} {title}</title></head><body><h1>{title}</h1></body></html>"
    return lambda reply, _: replace(reply, status=status, content=page)


def _other_json(status: int) -> Callable[[Reply, ArmedFault], Reply]:
    return lambda reply, _: replace(reply, status=status, content={"error": "The request was refused."})


def _answer_with(status: int) -> Callable[[Reply, ArmedFault], Reply]:
    return lambda reply, _: replace(reply, status=status)


def _redirect(reply: Reply, armed: ArmedFault) -> Reply:
    page = _proxy_error(302, "Found")(reply, armed)
    return replace(page, headers={"Location": "https://portal.example/login"})


def _html(reply: Reply, _: ArmedFault) -> Reply:
    return replace(reply, status=200, content="<html><body><h1>Down for maintenance</h1></body></html>")


def _rows(change: Callable[[list[Any]], list[Any]]) -> Callable[[Reply, ArmedFault], Reply]:
    return lambda reply, _: replace(reply, content=_changed(reply.content, change))


def _changed(content: Any, change: Callable[[list[Any]], list[Any]]) -> Any:
    """Change the innermost list of rows. Of a batch send, these are the recipients of the first message."""
    name = next((name for name, value in content.items() if isinstance(value, list) and value), None)
    if name is None:
        return content
    first, *others = content[name]
    if isinstance(first, dict) and "recipients" in first:
        return {**content, name: [_changed(first, change), *others]}
    return {**content, name: change(content[name])}


def _first_twice(rows: list[Any]) -> list[Any]:
    return [rows[0], *rows]


def _reversed(rows: list[Any]) -> list[Any]:
    return rows[::-1]


def _without_middle(rows: list[Any]) -> list[Any]:
    middle = len(rows) // 2
    return rows[:middle] + rows[middle + 1 :]


_BAD_GATEWAY = _proxy_error(502, "Bad Gateway")
_UNAVAILABLE = _proxy_error(503, "Service Unavailable")

FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            "reset-before-acceptance",
            "not carried out; the connection is reset",
            _ending(Ending.RESET),
            refuses=True,
        ),
        Fault("500-before-acceptance", "not carried out, and answered 500", _internal_error, refuses=True),
        Fault("502-before-acceptance", "not carried out, and answered 502", _BAD_GATEWAY, refuses=True),
        Fault("503-before-acceptance", "not carried out, and answered 503", _UNAVAILABLE, refuses=True),
        Fault(
            "429-too-many-requests",
            "not carried out, and answered 429 with Retry-After (retryAfter, default 1)",
            _too_many,
            refuses=True,
        ),
        Fault(
            "late-acceptance",
            "carried out and answered only after a delay (seconds, default 1)",
            _as_it_is,
            delay=Delay.BEFORE,
        ),
        Fault(
            "latency",
            "carried out at once, and answered after a delay (seconds, default 1)",
            _as_it_is,
            delay=Delay.AFTER,
        ),
        Fault(
            "lost-after-acceptance",
            "carried out, but the connection closes without an answer",
            _ending(Ending.CLOSED),
        ),
        Fault("500-after-acceptance", "carried out, but answered 500", _internal_error),
        Fault("502-after-acceptance", "carried out, but answered 502", _BAD_GATEWAY),
        Fault("503-after-acceptance", "carried out, but answered 503", _UNAVAILABLE),
        Fault(
            "302-after-acceptance",
            "carried out, but answered 302 with a page of HTML, as a portal does",
            _redirect,
        ),
        Fault(
            "400-after-acceptance",
            "carried out, and its answer comes with the status 400",
            _answer_with(400),
        ),
        Fault(
            "401-after-acceptance",
            "carried out, but answered 401 with a page of HTML, as a proxy does",
            _proxy_error(401, "Unauthorized"),
        ),
        Fault(
            "403-after-acceptance",
            "carried out, but answered 403 with a page of HTML, as a firewall does",
            _proxy_error(403, "Forbidden"),
        ),
        Fault(
            "404-after-acceptance",
            "carried out, but answered 404 with JSON that is not WinSMS's, as a proxy does",
            _other_json(404),
        ),
        Fault(
            "422-after-acceptance",
            "carried out, but answered 422 with JSON that is not WinSMS's, as a proxy does",
            _other_json(422),
        ),
        Fault(
            "truncated-json",
            "carried out, but the connection closes after half of the answer",
            _ending(Ending.CUT),
        ),
        Fault("html-answer", "carried out, but answered 200 with a page of HTML", _html),
        Fault(
            "duplicated-row",
            "the first row of the answer comes twice",
            _rows(_first_twice),
            applies_to=_with_rows,
        ),
        Fault(
            "missing-row",
            "the middle row of the answer is left out",
            _rows(_without_middle),
            applies_to=_with_rows,
        ),
        Fault(
            "reordered-rows", "the rows of the answer are reversed", _rows(_reversed), applies_to=_with_rows
        ),
        Fault(
            "rows-between-pages",
            "new rows (rows, default 1) join the list right after a page is served",
            _as_it_is,
            applies_to=_with_pages,
            adds_rows=True,
        ),
    )
}
"""Every fault by its name."""


class FaultOptions(TypedDict, total=False):
    """Options of a fault, all of them optional."""

    operation: str | None
    """The name or the path of the only operation that it strikes; by default any."""
    times: int | None
    """How often it strikes: by default once, or without end if there is a probability."""
    probability: float | None
    """The chance that it strikes a request, drawn from ``seed``."""
    seed: int
    """The seed of the probability; by default 0."""
    skip: int
    """How many of the requests that it applies to pass before it strikes; by default 0."""
    seconds: float
    """The delay, in seconds of wall time; by default 1."""
    retry_after: int
    """The ``Retry-After`` of ``429-too-many-requests``; by default 1."""
    rows: int
    """How many rows ``rows-between-pages`` adds; by default 1."""


class Faults:
    """The armed faults. One fault strikes a request: the oldest that applies to it."""

    def __init__(self) -> None:
        self._armed: list[ArmedFault] = []
        self._last_id = 0

    def add(self, fault: str, **options: Unpack[FaultOptions]) -> int:
        """Arm a fault and return its id.

        :raises ValueError: naming what is wrong.
        """
        armed = self._arm(fault, options)
        self._last_id += 1
        self._armed.append(armed)
        return armed.fault_id

    def _arm(self, fault: str, options: FaultOptions) -> ArmedFault:
        operation, probability = options.get("operation"), options.get("probability")
        times = options.get("times")
        armed = ArmedFault(
            fault_id=self._last_id + 1,
            fault=_named_fault(fault, operation),
            operation=operation_named(operation) if operation else None,
            times=1 if times is None and probability is None else times,
            probability=probability,
            random=Random(options.get("seed", 0)),  # noqa: S311 - repeatable on purpose
            seconds=options.get("seconds", 1.0),
            retry_after=options.get("retry_after", 1),
            rows=options.get("rows", 1),
            skip=options.get("skip", 0),
        )
        _check_counts(times=armed.times, rows=armed.rows)
        _check_skip(armed.skip)
        _check_probability(armed.probability)
        _check_seconds(seconds=armed.seconds, retry_after=armed.retry_after)
        return armed

    def strike(self, operation: Operation) -> ArmedFault | None:
        """Return the fault that strikes this request, and count it."""
        for armed in self._armed:
            if armed.strikes(operation):
                armed.count()
                return armed
        return None

    def as_rows(self) -> list[Row]:
        """Return the row of each fault, including spent ones."""
        return [armed.as_row() for armed in self._armed]

    def clear(self) -> None:
        """Remove every fault."""
        self._armed.clear()


def _named_fault(fault: str, operation: str | None) -> Fault:
    if fault not in FAULTS:
        msg = f"There is no fault {fault!r}. The faults are {', '.join(FAULTS)}."
        raise ValueError(msg)
    if operation and not FAULTS[fault].applies_to(operation_named(operation)):
        msg = f"{fault} cannot strike {operation}, whose answers have no such rows."
        raise ValueError(msg)
    return FAULTS[fault]


def _check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            msg = f"{name} must be 1 or more, not {count}."
            raise ValueError(msg)


def _check_skip(skip: int) -> None:
    if skip < 0:
        msg = f"skip must be 0 or more, not {skip}."
        raise ValueError(msg)


def _check_probability(probability: float | None) -> None:
    if probability is not None and not 0 <= probability <= 1:
        msg = f"probability must be from 0 to 1, not {probability}."
        raise ValueError(msg)


def _check_seconds(**delays: float) -> None:
    for name, delay in delays.items():
        if not 0 <= delay <= _LONGEST_DELAY:
            msg = f"{name} must be from 0 to {_LONGEST_DELAY}, not {delay}."
            raise ValueError(msg)
