"""A gateway over a real socket that lists exactly the rows it is told to, in whatever order."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.transfers.answering import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Row = dict[str, Any]

NAMES = {
    "/sms/incoming": "incomingMessages",
    "/shortcode/incoming": "shortcodeMessages",
    "/sms/scheduled": "scheduledMessages",
}


class Asked(NamedTuple):
    """One request for a page."""

    offset: int
    limit: int


class ListServer:
    """Serves its rows; they may be changed at any time.

    :ivar rows: incoming messages; ``short_code``, ``scheduled`` and ``opt_outs`` likewise.
    :ivar most: the most rows of a page, whatever is asked for.
    :ivar hidden: how many rows the total counts and no page has.
    :ivar breaking: how many of the next answers break off, near their end.
    :ivar meanwhile: is called before each answer, in its thread, with the request's number from 1.
    :ivar extra: the extras of the connection.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.short_code: list[Row] = []
        self.scheduled: list[Row] = []
        self.opt_outs: list[Row] = []
        self.most = 1000
        self.hidden = 0
        self.breaking = 0
        self.meanwhile: Callable[[int], object] = lambda _: None
        self.extra: dict[str, Any] = {"page_size": 10}
        self.asked: list[Asked] = []
        self.requests = 0
        self.port = 0
        self._lock = threading.Lock()

    @property
    def connection(self) -> str:
        host = f"http://127.0.0.1:{self.port}/api/rest/v1"
        extra = json.dumps(self.extra)
        return json.dumps({"conn_type": "winsms", "host": host, "password": "any", "extra": extra})

    def body(self, target: str) -> tuple[bytes, int]:
        """Return the body of an answer, and the length that its head states."""
        answer, breaks = self.answer(target)
        body = json.dumps(answer).encode()
        return (body[: len(body) * 19 // 20] if breaks else body), len(body)

    def answer(self, target: str) -> tuple[Row, bool]:
        """Return the answer to a request, and whether it is to break off."""
        with self._lock:
            self.requests += 1
            number = self.requests
            breaks, self.breaking = self.breaking > 0, max(0, self.breaking - 1)
        self.meanwhile(number)
        parts = urlsplit(target)
        path = parts.path.removeprefix("/api/rest/v1")
        if path.endswith("/optout"):
            return {"incomingOptoutMessages": self.opt_outs}, breaks
        query = parse_qs(parts.query)
        asked = Asked(int(query["offset"][0]), int(query["limit"][0]))
        self.asked.append(asked)
        return self._page(path, asked), breaks

    def _page(self, path: str, asked: Asked) -> Row:
        rows = {
            "/sms/incoming": self.rows,
            "/shortcode/incoming": self.short_code,
            "/sms/scheduled": self.scheduled,
        }[path]
        return {
            NAMES[path]: rows[asked.offset : asked.offset + min(asked.limit, self.most)],
            "resultsOffset": asked.offset,
            "resultsLimit": asked.limit,
            "resultsTotalAvailable": len(rows) + self.hidden,
        }


@contextmanager
def listing() -> Iterator[ListServer]:
    listed = ListServer()
    with serving(listed.body) as listed.port:
        yield listed


def row(message_id: int | None, number: str = "27825550101", text: str = "YES", **more: Any) -> Row:
    """Return an incoming message, a short code message or an opt-out."""
    return {
        "incomingApiMessageId": message_id,
        "mobileNumber": number,
        "receiveTime": "202603021030",
        "messageText": text,
        **more,
    }


def waiting(message_id: int, number: str = "27825550101", **more: Any) -> Row:
    """Return a scheduled message."""
    return {
        "apiMessageId": message_id,
        "mobileNumber": number,
        "submitTime": "202603021030",
        "scheduledSendTime": "202603051800",
        "creditCost": 1.5,
        **more,
    }
