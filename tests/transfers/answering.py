"""A gateway over a real socket whose answers a test works out itself, one request at a time."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = dict[str, Any]

BREAKS_OFF = {"breaksOff": True}
"""An answer with this in it ends in the middle."""


class Answering:
    """A gateway.

    :ivar answer: takes the path below the API's, and the query; one request is answered at a time.
    """

    def __init__(self) -> None:
        self.answer: Callable[[str, dict[str, int]], Answer]
        self.port = 0
        self._turn = threading.Lock()

    def connection(self, **extra: Any) -> str:
        """Return the Airflow connection that leads to it, as JSON."""
        host = f"http://127.0.0.1:{self.port}/api/rest/v1"
        return json.dumps(
            {"conn_type": "winsms", "host": host, "password": "any", "extra": json.dumps(extra)}
        )

    def body(self, target: str) -> tuple[bytes, int]:
        """Return the body of an answer, and the length that its head states."""
        parts = urlsplit(target)
        query = {name: int(value) for name, value in parse_qsl(parts.query)}
        with self._turn:
            answer = self.answer(parts.path.removeprefix("/api/rest/v1"), query)
        body = json.dumps(answer).encode()
        return (body[: len(body) // 2] if "breaksOff" in answer else body), len(body)


@contextmanager
def answering() -> Iterator[Answering]:
    gateway = Answering()
    with serving(gateway.body) as gateway.port:
        yield gateway


@contextmanager
def serving(answer: Callable[[str], tuple[bytes, int]]) -> Iterator[int]:
    """Serve answers over a real socket, and yield its port.

    :param answer: returns a body, and the length that its head states, for what was asked for.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one packet: in two, the second waits 40 ms for the first to be acknowledged.
        wbufsize = -1

        def do_GET(self) -> None:
            body, length = answer(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = self.close_connection or len(body) < length

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
