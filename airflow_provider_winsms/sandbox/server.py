"""The server: HTTP/1.1 with keep-alive on the loopback interface. It logs nothing and can cut an answer."""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_winsms.sandbox.admission import RawRequest
from airflow_provider_winsms.sandbox.faults import Ending, Reply
from airflow_provider_winsms.sandbox.origins import check_origin, is_loopback
from airflow_provider_winsms.sandbox.wire import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

_MAX_READ = 8_000_000
_BODY_TIMEOUT = 10.0
_POLL_INTERVAL = 0.02
_STOP_TIMEOUT = 2.0


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "WinSMSSandbox"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        """Register the connection, so that ``stop`` can close it."""
        super().setup()
        self.server.add_connection(self.connection)

    def finish(self) -> None:
        """Remove the connection."""
        self.server.remove_connection(self.connection)
        with suppress(OSError):
            super().finish()

    def serve(self) -> None:
        """Answer one request of any method."""
        try:
            reply = self.server.answer(self._request())
        except RequestRefused as refusal:
            self.close_connection = True
            reply = Reply(refusal.status, {"error": refusal.text})
        self._send(reply)

    def __getattr__(self, name: str) -> Any:
        """Return ``serve`` for every method; http.server looks up ``do_GET`` for GET."""
        if name.startswith("do_"):
            return self.serve
        raise AttributeError(name)

    def _request(self) -> RawRequest:
        """Read the request to its end, so that a client that still writes can receive a refusal.

        :raises RequestRefused: if it cannot be read, or comes from another host.
        """
        target, size = self._target(), self._size()
        request = RawRequest(
            method=self.command,
            path=target.path,
            query=dict(parse_qsl(target.query, keep_blank_values=True)),
            api_key=self.headers.get("AUTHORIZATION"),
            content_type=self.headers.get("Content-Type", ""),
            size=size,
            body=self._body(size),
        )
        check_origin(target, self.headers)
        return request

    def _target(self) -> SplitResult:
        try:
            return urlsplit(self.path)
        except ValueError:
            raise RequestRefused(400, "The target of the request is neither a path nor a URL.") from None

    def _size(self) -> int:
        if "Transfer-Encoding" in self.headers:
            raise RequestRefused(411, "The sandbox reads only bodies with a Content-Length.")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdecimal() and len(length) < 16):  # noqa: PLR2004
            raise RequestRefused(400, "The Content-Length is not a number.")
        return int(length)

    def _body(self, size: int) -> bytes:
        if size > _MAX_READ:
            self.close_connection = True
            return b""
        self.connection.settimeout(_BODY_TIMEOUT)
        body = self.rfile.read(size)
        self.connection.settimeout(None)
        if len(body) < size:
            msg = "The client closed the connection before the end of its body."
            raise ConnectionAbortedError(msg)
        return body

    def _send(self, reply: Reply) -> None:
        if reply.ending is Ending.RESET:
            self._reset()
        if reply.ending is not Ending.WHOLE:
            self.close_connection = True
        if reply.is_sent:
            self._write(reply)

    def _write(self, reply: Reply) -> None:
        body = reply.body
        self.send_response(reply.status)
        headers = {"Content-Type": reply.content_type, "Content-Length": str(len(body)), **reply.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if reply.ending is Ending.WHOLE else body[: len(body) // 2])

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the ``Date`` of an answer, by the sandbox's clock."""
        return super().date_time_string(self.server.now() if timestamp is None else timestamp)

    def _reset(self) -> None:
        # With a linger time of 0, closing the socket sends RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is not HTTP with a status only."""
        del message, explain
        self.close_connection = True
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Log nothing: a request line may hold personal data."""


class Server(ThreadingHTTPServer):
    """Passes requests to ``answer``, and its replies to the client.

    :param now: seconds since the epoch, for the ``Date`` of each answer.
    :raises ValueError: if the host is not a loopback address.
    """

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address: ClassVar[bool] = True  # type: ignore[misc]

    def __init__(
        self,
        address: tuple[str, int],
        answer: Callable[[RawRequest], Reply],
        now: Callable[[], float] = time.time,
    ) -> None:
        _check_loopback(address[0])
        self.answer = answer
        self.now = now
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind without a look-up of the host name, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def start(self) -> None:
        """Serve in a thread of its own."""
        arguments = {"poll_interval": _POLL_INTERVAL}
        threading.Thread(
            target=self.serve_forever, kwargs=arguments, name="winsms-sandbox", daemon=True
        ).start()

    def stop(self) -> None:
        """Stop serving, close every connection, and wait until their threads end."""
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._open, timeout=_STOP_TIMEOUT)

    def add_connection(self, connection: socket.socket) -> None:
        """Add an open connection."""
        with self._changed:
            self._open.add(connection)

    def remove_connection(self, connection: socket.socket) -> None:
        """Remove a closed connection."""
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print where an error occurred, without content of the request. A client that left is no error."""
        del request, client_address
        error = sys.exception()
        if not isinstance(error, (ConnectionError, TimeoutError)):
            places = "".join(traceback.format_tb(error.__traceback__)) if error else ""
            sys.stderr.write(f"{places}{type(error).__name__} in the sandbox\n")


def _check_loopback(host: str) -> None:
    if ":" in host or not is_loopback(host):
        msg = f"The sandbox listens on IPv4 loopback addresses only (127.0.0.1, localhost), not on {host}."
        raise ValueError(msg)
