"""A gateway over a loopback socket whose lists are unlike WinSMS's: numbered pages, text ids, and a queue."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_winsms.gateways.base import Call, ListReading, Response
from airflow_provider_winsms.gateways.lists import Block
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.gateways.winsms.times import parse_time
from airflow_provider_winsms.messages import Columns, IncomingMessage, Page, ScheduledMessage
from tests.support.hooks import hook_of_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Row = dict[str, Any]

NUMBER = "27825550101"


def text(message_id: int | str | None, minute: int, said: str = "YES", number: str = NUMBER) -> Row:
    """Return an incoming text, which came in at a minute of one hour."""
    return {"id": message_id, "from": number, "at": f"2026030210{minute:02}", "text": said}


class ListServer:
    """The lists of a gateway, which may be changed at any time.

    :ivar incoming: the texts of the paged list, in its order.
    :ivar scheduled: the ids of scheduled texts, in their order.
    :ivar queue: the texts that wait to be taken, in blocks of ``block`` texts.
    :ivar most: the most rows of a page, whatever is asked for.
    :ivar meanwhile: is called after each answer is made, with the request's number from 1.
    :ivar asked: the queries, in their order.
    :ivar loses: the numbers of the requests that are executed, and answered by a broken connection.
    """

    def __init__(self) -> None:
        self.incoming: list[Row] = []
        self.scheduled: list[int] = []
        self.queue: list[Any] = []
        self.block = 3
        self.most = 1000
        self.meanwhile: Callable[[int], object] = lambda _: None
        self.asked: list[dict[str, str]] = []
        self.loses: set[int] = set()
        self._lock = threading.Lock()
        self._taken = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def connection(self) -> str:
        host = f"http://127.0.0.1:{self._server.server_address[1]}"
        extra = json.dumps({"page_size": 10, "hash_secret": "a key of a test that hashes ids"})
        return json.dumps({"conn_type": "winsms", "host": host, "password": "key", "extra": extra})

    @contextmanager
    def running(self) -> Iterator[ListServer]:
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, path: str, query: dict[str, str]) -> tuple[dict[str, Any], int, int]:
        """Return the document of an answer, the total of its head, and the number of the request."""
        with self._lock:
            self.asked.append(query)
            request, total = len(self.asked), 0
            if path.endswith("/queue"):
                document = self._block(query.get("next"))
            else:
                rows: Sequence[Any] = self.scheduled if path.endswith("/scheduled") else self.incoming
                size = min(int(query["size"]), self.most)
                start = (int(query["page"]) - 1) * size
                document, total = {"rows": rows[start : start + size]}, len(rows)
            self.meanwhile(request)
        return document, total, request

    def _block(self, token: str | None) -> dict[str, Any]:
        """Return the first block that is not acknowledged. A token that was followed already does nothing."""
        if token == f"t{self._taken + self.block}":
            del self.queue[: self.block]
            self._taken += self.block
        rows = self.queue[: self.block]
        has_more = len(self.queue) > self.block
        return {"rows": rows, "next": f"t{self._taken + self.block}" if has_more else None}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                document, total, request = server.answer(url.path, dict(parse_qsl(url.query)))
                if request in server.loses:
                    self.close_connection = True
                    return
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("X-Total-Results", str(total))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


class NumberedGateway(WinSMSGateway):
    """Has lists of numbered pages, and no texts to a short code."""

    name = "Numbered"
    capabilities: ClassVar = replace(
        WinSMSGateway.capabilities,
        incoming=ListReading.NUMBERED,
        pages=ListReading.NUMBERED,
        short_code=False,
    )
    limits: ClassVar = replace(WinSMSGateway.limits, page_rows=20)

    def incoming(self, start: int, limit: int) -> Call[Page[IncomingMessage]]:
        return self._page("incoming", start, limit, self._texts)

    def scheduled(self, start: int, limit: int) -> Call[Page[ScheduledMessage]]:
        return self._page("scheduled", start, limit, _scheduled)

    def take_incoming(self, token: str | None) -> Call[Block[IncomingMessage]]:
        def parse(response: Response) -> Block[IncomingMessage]:
            return Block(self._texts(response.document["rows"]), response.document["next"])

        query = {} if token is None else {"next": token}
        return Call("takeTexts", "GET", "/queue", parse, query=query, is_repeatable=token is None)

    def _page(self, name: str, start: int, limit: int, read: Callable[[Any], Any]) -> Call[Page[Any]]:
        def parse(response: Response) -> Page[Any]:
            return Page(read(response.document["rows"]), 0, int(response.headers["X-Total-Results"]))

        query = {"page": start, "size": limit}
        return Call(f"list {name}", "GET", f"/{name}", parse, query=query, is_repeatable=True)

    def _texts(self, rows: Sequence[Any]) -> Columns[IncomingMessage]:
        readable = [row for row in rows if isinstance(row, dict)]
        written = [row["at"] for row in readable]
        return Columns(
            IncomingMessage,
            {
                "message_id": [row["id"] for row in readable],
                "number": [row["from"] for row in readable],
                "received_at": [parse_time(each, self.time_zone) for each in written],
                "text": [row["text"] for row in readable],
                "in_reply_to": [None] * len(readable),
                "raw": readable,
                "received_at_wire": written,
            },
            unreadable=len(rows) - len(readable),
        )


class QueueGateway(NumberedGateway):
    """Has a queue of incoming texts."""

    name = "Queue"
    capabilities: ClassVar = replace(NumberedGateway.capabilities, incoming=ListReading.QUEUE)


def _scheduled(ids: Sequence[int]) -> Columns[ScheduledMessage]:
    nothing = [None] * len(ids)
    columns = {
        "message_id": ids,
        "number": [NUMBER] * len(ids),
        "submitted_at": nothing,
        "send_at": nothing,
        "refund": nothing,
        "raw": [{}] * len(ids),
        "submitted_at_wire": nothing,
        "send_at_wire": nothing,
    }
    return Columns(ScheduledMessage, columns)


NumberedHook, QueueHook = hook_of_gateway(NumberedGateway), hook_of_gateway(QueueGateway)
