"""What can go wrong on demand: one table of faults, and the queue of those that were asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from airflow_provider_winsms.sandbox.operations import named
from airflow_provider_winsms.sandbox.wire import encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox.operations import Operation
    from airflow_provider_winsms.sandbox.state import Row


_LONGEST_WAIT = 3600


class Ending(StrEnum):
    """What the client gets to see of an answer."""

    WHOLE = "whole"
    """All of it."""

    CUT = "cut"
    """The right head and half of the body; then the connection closes."""

    CLOSED = "closed"
    """Nothing; the connection closes."""

    RESET = "reset"
    """Nothing; the connection is reset."""


class Waits(StrEnum):
    """When a fault waits."""

    BEFORE = "before"
    """Before the request is carried out."""

    AFTER = "after"
    """Before it is answered."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on its way to the socket.

    :param content: a JSON document, which may have rows that are encoded already, or text of HTML.
    """

    status: int
    content: Any = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    ending: Ending = Ending.WHOLE

    @property
    def is_sent(self) -> bool:
        """Whether the client gets any of it."""
        return self.ending in {Ending.WHOLE, Ending.CUT}

    @property
    def body(self) -> bytes:
        """The bytes of the body."""
        return self.content.encode() if self._is_html else encoded(self.content)

    @property
    def content_type(self) -> str:
        """What the body is."""
        return "text/html; charset=utf-8" if self._is_html else "application/json; charset=utf-8"

    @property
    def _is_html(self) -> bool:
        return isinstance(self.content, str)


@dataclass(slots=True)
class Armed:
    """A fault that waits for its request.

    :param times: how often it still strikes; ``None`` is without end.
    :param skip: how many requests that it concerns it still lets pass.
    :param seconds: of wall time.
    """

    key: int
    fault: Fault
    operation: Operation | None
    times: int | None
    probability: float | None
    chance: Random
    seconds: float
    retry_after: int
    rows: int
    skip: int
    struck: int = 0

    def strikes(self, operation: Operation) -> bool:
        """Whether it strikes this request; one that it lets pass is counted."""
        if self.times == 0 or self.operation not in {None, operation} or not self.fault.concerns(operation):
            return False
        if self.skip:
            self.skip -= 1
            return False
        return self.probability is None or self.chance.random() < self.probability

    def count(self) -> None:
        """Note that it struck."""
        self.struck += 1
        if self.times is not None:
            self.times -= 1

    def as_row(self) -> Row:
        """Return it as the control surface shows it."""
        return {
            "id": self.key,
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
    """One way to go wrong.

    :param spoil: turns the answer into what the client gets.
    :param refuses: whether the request is not carried out at all.
    :param waits: when it waits, if it does.
    :param concerns: which operations it can strike.
    :param adds_rows: whether new rows come into the list after the answer.
    """

    name: str
    meaning: str
    spoil: Callable[[Reply, Armed], Reply]
    refuses: bool = False
    waits: Waits | None = None
    concerns: Callable[[Operation], bool] = _any_operation
    adds_rows: bool = False


def _as_it_is(reply: Reply, _: Armed) -> Reply:
    return reply


def _ending(ending: Ending) -> Callable[[Reply, Armed], Reply]:
    return lambda reply, _: replace(reply, ending=ending)


def _internal_error(reply: Reply, _: Armed) -> Reply:
    return _error(reply, 500, "An unknown error has occurred - authorising API Key")


def _too_many(reply: Reply, armed: Armed) -> Reply:
    error = _error(reply, 429, "Too many requests.")
    return replace(error, headers={"Retry-After": str(armed.retry_after)})


def _error(reply: Reply, status: int, text: str) -> Reply:
    stamp = {name: reply.content[name] for name in ("timeStamp", "version")}
    return replace(reply, status=status, content={**stamp, "statusCode": status, "errorMessage": text})


def _proxy_error(status: int, title: str) -> Callable[[Reply, Armed], Reply]:
    page = f"<html><head><title>{status} {title}</title></head><body><h1>{title}</h1></body></html>"
    return lambda reply, _: replace(reply, status=status, content=page)


def _other_json(status: int) -> Callable[[Reply, Armed], Reply]:
    return lambda reply, _: replace(reply, status=status, content={"error": "The request was refused."})


def _answer_with(status: int) -> Callable[[Reply, Armed], Reply]:
    return lambda reply, _: replace(reply, status=status)


def _redirect(reply: Reply, armed: Armed) -> Reply:
    page = _proxy_error(302, "Found")(reply, armed)
    return replace(page, headers={"Location": "https://portal.example/login"})


def _html(reply: Reply, _: Armed) -> Reply:
    return replace(reply, status=200, content="<html><body><h1>Down for maintenance</h1></body></html>")


def _rows(change: Callable[[list[Any]], list[Any]]) -> Callable[[Reply, Armed], Reply]:
    return lambda reply, _: replace(reply, content=_changed(reply.content, change))


def _changed(content: Any, change: Callable[[list[Any]], list[Any]]) -> Any:
    """Change the innermost list of rows: of a send of many, the recipients of its first message."""
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
            "the connection is reset, nothing is done",
            _ending(Ending.RESET),
            refuses=True,
        ),
        Fault("500-before-acceptance", "500, nothing is done", _internal_error, refuses=True),
        Fault("502-before-acceptance", "502, nothing is done", _BAD_GATEWAY, refuses=True),
        Fault("503-before-acceptance", "503, nothing is done", _UNAVAILABLE, refuses=True),
        Fault(
            "429-too-many-requests",
            "429 with Retry-After (retryAfter, default 1), nothing is done",
            _too_many,
            refuses=True,
        ),
        Fault(
            "late-acceptance",
            "it is done and answered only after a delay (seconds, default 1)",
            _as_it_is,
            waits=Waits.BEFORE,
        ),
        Fault(
            "latency",
            "it is done at once and answered after a delay (seconds, default 1)",
            _as_it_is,
            waits=Waits.AFTER,
        ),
        Fault(
            "lost-after-acceptance",
            "it is done, and the connection closes without an answer",
            _ending(Ending.CLOSED),
        ),
        Fault("500-after-acceptance", "it is done, and answered 500", _internal_error),
        Fault("502-after-acceptance", "it is done, and answered 502", _BAD_GATEWAY),
        Fault("503-after-acceptance", "it is done, and answered 503", _UNAVAILABLE),
        Fault(
            "302-after-acceptance",
            "it is done, and answered 302 with a page of HTML, as a portal does",
            _redirect,
        ),
        Fault(
            "400-after-acceptance",
            "it is done, and its answer comes with the status 400",
            _answer_with(400),
        ),
        Fault(
            "401-after-acceptance",
            "it is done, and answered 401 with a page of HTML, as a proxy does",
            _proxy_error(401, "Unauthorized"),
        ),
        Fault(
            "403-after-acceptance",
            "it is done, and answered 403 with a page of HTML, as a firewall does",
            _proxy_error(403, "Forbidden"),
        ),
        Fault(
            "404-after-acceptance",
            "it is done, and answered 404 with JSON that is not WinSMS's, as a proxy does",
            _other_json(404),
        ),
        Fault(
            "422-after-acceptance",
            "it is done, and answered 422 with JSON that is not WinSMS's, as a proxy does",
            _other_json(422),
        ),
        Fault(
            "truncated-json",
            "it is done, and half of the answer comes before the connection closes",
            _ending(Ending.CUT),
        ),
        Fault("html-answer", "it is done, and answered 200 with a page of HTML", _html),
        Fault(
            "duplicated-row",
            "the first row of the answer comes twice",
            _rows(_first_twice),
            concerns=_with_rows,
        ),
        Fault(
            "missing-row",
            "the middle row of the answer is left out",
            _rows(_without_middle),
            concerns=_with_rows,
        ),
        Fault("reordered-rows", "the rows of the answer are reversed", _rows(_reversed), concerns=_with_rows),
        Fault(
            "rows-between-pages",
            "new rows (rows, default 1) come into the list right after a page is served",
            _as_it_is,
            concerns=_with_pages,
            adds_rows=True,
        ),
    )
}
"""Every fault by its name."""


class Choices(TypedDict, total=False):
    """When and how a fault strikes."""

    operation: str | None
    """The name or the path of the only operation it strikes; any, if left out."""
    times: int | None
    """How often; once if neither this nor a probability is given, and with a probability without end."""
    probability: float | None
    """The chance that it strikes a request, drawn from ``seed``."""
    seed: int
    """0, if left out."""
    skip: int
    """How many requests that it concerns pass before it strikes."""
    seconds: float
    """How long a fault that waits does, of wall time; 1, if left out."""
    retry_after: int
    """What ``429-too-many-requests`` says; 1, if left out."""
    rows: int
    """How many ``rows-between-pages`` adds; 1, if left out."""


class Faults:
    """Faults that were asked for. A request is struck by one of them, the oldest that concerns it."""

    def __init__(self) -> None:
        self._armed: list[Armed] = []
        self._last_key = 0

    def add(self, fault: str, **choices: Unpack[Choices]) -> int:
        """Ask for a fault and return its id.

        :raises ValueError: naming what is wrong.
        """
        armed = self._arm(fault, choices)
        self._last_key += 1
        self._armed.append(armed)
        return armed.key

    def _arm(self, fault: str, choices: Choices) -> Armed:
        operation, probability = choices.get("operation"), choices.get("probability")
        times = choices.get("times")
        armed = Armed(
            key=self._last_key + 1,
            fault=_named_fault(fault, operation),
            operation=named(operation) if operation else None,
            times=1 if times is None and probability is None else times,
            probability=probability,
            chance=Random(choices.get("seed", 0)),  # noqa: S311 - repeatable on purpose
            seconds=choices.get("seconds", 1.0),
            retry_after=choices.get("retry_after", 1),
            rows=choices.get("rows", 1),
            skip=choices.get("skip", 0),
        )
        _check_counts(times=armed.times, rows=armed.rows)
        _check_skip(armed.skip)
        _check_probability(armed.probability)
        _check_seconds(seconds=armed.seconds, retry_after=armed.retry_after)
        return armed

    def strike(self, operation: Operation) -> Armed | None:
        """Return the fault that strikes this request, and count it."""
        for armed in self._armed:
            if armed.strikes(operation):
                armed.count()
                return armed
        return None

    def listed(self) -> list[Row]:
        """Return every fault that was asked for, spent ones too."""
        return [armed.as_row() for armed in self._armed]

    def clear(self) -> None:
        """Forget every fault."""
        self._armed.clear()


def _named_fault(fault: str, operation: str | None) -> Fault:
    if fault not in FAULTS:
        msg = f"There is no fault {fault!r}. The faults are {', '.join(FAULTS)}."
        raise ValueError(msg)
    if operation and not FAULTS[fault].concerns(named(operation)):
        msg = f"{fault} cannot strike {operation}, which does not answer with such rows."
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


def _check_seconds(**waits: float) -> None:
    for name, wait in waits.items():
        if not 0 <= wait <= _LONGEST_WAIT:
            msg = f"{name} must be from 0 to {_LONGEST_WAIT}, not {wait}."
            raise ValueError(msg)
