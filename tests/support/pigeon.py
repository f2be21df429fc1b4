"""The sandbox of Pigeon: its API over a loopback socket, with its time and its faults in a test's hands."""

from __future__ import annotations

import json
import threading
import uuid
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

USER, PASSWORD = "reader-7", "coo-coo-4f1d-seeded-for-tests"
PRICE = Decimal("0.0825")
SESSION_SECONDS = 900
HEADER = "X-Pigeon-Session"


class Fault(Enum):
    """What becomes of one request in place of its answer."""

    LOST = auto()
    """It is executed, and the connection closes without an answer."""
    DROPPED = auto()
    """It is not executed, and the connection closes without an answer."""
    ERROR_500 = auto()
    """It is executed, and answered by a 500."""
    LATER = auto()
    """It is not executed, and answered by the documented problem."""
    REFUSED = auto()
    """It is not executed, and answered by the documented problem."""


@dataclass(slots=True)
class Text:
    """A text that was accepted."""

    id: str
    body: str
    number: str
    reference: str | None
    submitted_at: datetime
    send_at: datetime | None
    state: str
    changed_at: datetime | None = None

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "number": self.number,
            "cid": self.reference,
            "state": self.state,
            "price": str(PRICE),
            "submitted_at": _stamp(self.submitted_at),
            "at": _stamp(self.send_at),
            "changed_at": _stamp(self.changed_at),
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has arrived, without its body."""

    method: str
    path: str
    query: dict[str, str]


class _Problem(Exception):  # noqa: N818 - it becomes an answer
    def __init__(self, status: int, name: str, title: str) -> None:
        super().__init__(name)
        self.status = status
        self.document = problem(status, name, title)


def problem(status: int, name: str, title: str) -> dict[str, Any]:
    """Return a problem document (RFC 9457)."""
    return {"type": f"urn:pigeon:problem:{name}", "title": title, "status": status}


@dataclass(slots=True)
class _Answer:
    status: int
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class PigeonBox:
    """Pigeon on this machine.

    :ivar texts: those that were accepted, in their order.
    :ivar inbox: the incoming texts, newest first.
    :ivar asked: the requests, without sign-ins.
    :ivar sign_ins: the number of sign-ins that were tried.
    :ivar before_answer: is called with each request, when that was executed.
    """

    def __init__(self, credits_left: str = "100") -> None:
        self.texts: list[Text] = []
        self.inbox: list[dict[str, Any]] = []
        self.asked: list[Asked] = []
        self.sign_ins = 0
        self.balance = Decimal(credits_left)
        self.password = PASSWORD
        self.before_answer: Callable[[Asked], object] = lambda _: None
        self._time = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
        self._faults: deque[tuple[str, Fault]] = deque()
        self._sessions: dict[str, datetime] = {}
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        # An account that has sent before: its history reaches back to before every batch.
        self._accept("An older text.", "+48512000000", None, None)
        self.advance(3600)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v2"

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection that leads here."""
        return {"conn_type": "pigeon", "host": self.base_url, "login": USER, "password": PASSWORD}

    def now(self) -> datetime:
        return self._time

    def advance(self, seconds: float) -> None:
        """Let time pass, and send the texts that are due."""
        with self._lock:
            self._time += timedelta(seconds=seconds)
            for text in self.texts:
                if text.state == "scheduled" and text.send_at and text.send_at <= self._time:
                    text.state, text.changed_at = "sent", text.send_at

    def add_fault(self, path: str, fault: Fault) -> None:
        """Let a fault befall the next request of a method and path, such as ``POST /texts``."""
        self._faults.append((path, fault))

    def end_sessions(self) -> None:
        """Forget all tokens."""
        self._sessions.clear()

    def deliver(self, state: str = "delivered") -> None:
        """Let all texts that are sent arrive, or not."""
        with self._lock:
            for text in self.texts:
                if text.state == "sent":
                    text.state, text.changed_at = state, self._time

    def receive(self, body: str, number: str = "+48512345678") -> str:
        """Receive a text, and return its id."""
        with self._lock:
            text_id = str(uuid.uuid4())
            row = {"id": text_id, "number": number, "received_at": _stamp(self._time), "body": body}
            self.inbox.insert(0, row)
            return text_id

    def outbox(self) -> list[Text]:
        """Return the texts that were accepted since the beginning."""
        return self.texts[1:]

    def _answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[_Answer, Fault | None]:
        url = urlsplit(target)
        path, query = unquote(url.path).removeprefix("/v2"), dict(parse_qsl(url.query))
        with self._lock:
            fault = self._fault_of(f"{method} {path}")
            try:
                return self._routed(method, path, query, headers, body, fault), fault
            except _Problem as found:
                return _Answer(found.status, found.document), fault

    def _routed(
        self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes, fault: Fault | None
    ) -> _Answer:
        document = json.loads(body) if body else None
        if (method, path) == ("POST", "/sessions"):
            return self._sign_in(document)
        self.asked.append(Asked(method, path, query))
        if self._sessions.get(headers.get(HEADER, ""), self._time) <= self._time:
            raise _Problem(401, "session-over", "The session is over")
        if fault is Fault.LATER:
            raise _Problem(503, "later", "Later")
        if fault is Fault.REFUSED:
            raise _Problem(422, "refused", "Refused")
        if fault is Fault.DROPPED:
            return _Answer(500)
        answer = self._executed(method, path, query, document)
        self.before_answer(self.asked[-1])
        return answer

    def _executed(self, method: str, path: str, query: dict[str, str], document: Any) -> _Answer:  # noqa: PLR0911 - a table
        match method, path.split("/")[1:]:
            case "POST", ["texts"]:
                return self._send(document["texts"])
            case "GET", ["texts"] if "ids" in query:
                return self._states(query["ids"].split(","))
            case "GET", ["texts"]:
                return _page([text.row() for text in reversed(self.texts)], query)
            case "DELETE", ["texts", text_id]:
                return self._cancel(text_id)
            case "GET", ["inbox"]:
                return _page(self.inbox, query)
            case "GET", ["account"]:
                return _Answer(200, {"balance": str(self.balance)})
            case "PUT", ["accounts", _, "transfer"]:
                self.balance -= Decimal(document["amount"])
                return _Answer(204)
        raise _Problem(400, "refused", "Refused")

    def _fault_of(self, request: str) -> Fault | None:
        for planned in self._faults:
            if planned[0] == request:
                self._faults.remove(planned)
                return planned[1]
        return None

    def _sign_in(self, document: Any) -> _Answer:
        self.sign_ins += 1
        if (document["user"], document["password"]) != (USER, self.password):
            raise _Problem(401, "login-refused", "User or password are wrong")
        token = uuid.uuid4().hex
        self._sessions[token] = self._time + timedelta(seconds=SESSION_SECONDS)
        return _Answer(201, {"token": token, "expires_in": SESSION_SECONDS})

    def _send(self, texts: list[dict[str, Any]]) -> _Answer:
        count = sum(len(text["to"]) for text in texts)
        if count * PRICE > self.balance:
            raise _Problem(402, "no-credits", "No credits")
        rows = []
        for index, text in enumerate(texts):
            at = datetime.fromisoformat(text["at"]) if "at" in text else None
            for recipient in text["to"]:
                known = {"text": index, "number": recipient["number"]}
                if recipient["number"].endswith("000"):
                    rows.append({**known, "error": "bad-number"})
                    continue
                accepted = self._accept(text["body"], recipient["number"], recipient.get("cid"), at)
                rows.append({**known, **accepted.row()})
        # The document promises no order.
        return _Answer(202, {"texts": rows[::-1]})

    def _accept(self, body: str, number: str, reference: str | None, at: datetime | None) -> Text:
        state = "scheduled" if at else "sent"
        text = Text(str(uuid.uuid4()), body, number, reference, self._time, at, state)
        self.texts.append(text)
        self.balance -= PRICE
        return text

    def _states(self, ids: list[str]) -> _Answer:
        found = [text.row() for text in self.texts if text.id in ids]
        if not found:
            raise _Problem(404, "no-such-text", "No such text")
        return _Answer(200, {"texts": found})

    def _cancel(self, text_id: str) -> _Answer:
        for text in self.texts:
            if text.id == text_id and text.state == "scheduled":
                text.state, text.changed_at = "cancelled", self._time
                self.balance += PRICE
                return _Answer(204)
        raise _Problem(404, "no-such-text", "No such text")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        box = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                with suppress(ConnectionError):
                    super().handle_one_request()

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer, fault = box._answer(self.command, self.path, self.headers, body)
                if fault in {Fault.LOST, Fault.DROPPED}:
                    self.close_connection = True
                    return
                if fault is Fault.ERROR_500:
                    answer = _Answer(500, {"title": "Something broke"})
                content = b"" if answer.document is None else json.dumps(answer.document).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - as http.server calls them

            def date_time_string(self, timestamp: float | None = None) -> str:
                del timestamp
                return format_datetime(box.now(), usegmt=True)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def _page(rows: list[dict[str, Any]], query: dict[str, str]) -> _Answer:
    number, size = int(query["page"]), int(query["per_page"])
    shown = rows[(number - 1) * size : number * size]
    return _Answer(200, {"rows": shown}, {"X-Total": str(len(rows))})


def _stamp(time: datetime | None) -> str | None:
    return time.isoformat().replace("+00:00", "Z") if time else None
