"""A gateway over a real socket that lists exactly the rows it is told to, in whatever order."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    Row = dict[str, Any]


class ListServer:
    """Serves ``rows`` as incoming messages and ``opt_outs`` as opt-outs; both may be changed at any time.

    :ivar most: the most rows of a page, whatever is asked for.
    :ivar hidden: how many rows the total counts and no page has.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.opt_outs: list[Row] = []
        self.most = 1000
        self.hidden = 0
        self.requests = 0
        self.port = 0

    @property
    def connection(self) -> str:
        host = f"http://127.0.0.1:{self.port}/api/rest/v1"
        extra = json.dumps({"page_size": 10})
        return json.dumps({"conn_type": "winsms", "host": host, "password": "any", "extra": extra})

    def answer(self, target: str) -> Row:
        self.requests += 1
        parts = urlsplit(target)
        if parts.path.endswith("/optout"):
            return {"incomingOptoutMessages": self.opt_outs}
        query = parse_qs(parts.query)
        offset, limit = int(query["offset"][0]), min(int(query["limit"][0]), self.most)
        return {
            "incomingMessages": self.rows[offset : offset + limit],
            "resultsOffset": offset,
            "resultsLimit": limit,
            "resultsTotalAvailable": len(self.rows) + self.hidden,
        }


@contextmanager
def listing() -> Iterator[ListServer]:
    listed = ListServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one packet: in two, the second waits 40 ms for the first to be acknowledged.
        wbufsize = -1

        def do_GET(self) -> None:
            body = json.dumps(listed.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        listed.port = server.server_port
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield listed
        finally:
            server.shutdown()


def row(message_id: int | None, number: str = "27825550101", text: str = "YES", **more: Any) -> Row:
    return {
        "incomingApiMessageId": message_id,
        "mobileNumber": number,
        "receiveTime": "202603021030",
        "messageText": text,
        **more,
    }
