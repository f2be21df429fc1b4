"""A server that says, byte by byte, whatever a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from typing import Self

_PATIENCE = 10.0
_BASE_PATH = "/api/rest/v1"


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def document(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True)
class Reply:
    """What is sent when a request has come, and what becomes of the connection then."""

    wire: bytes = b""
    closes: bool = False
    resets: bool = False
    reads_body: bool = True
    beneath: bytes = b""
    """Sent past TLS, as no peer would."""
    streams: Callable[[], bytes] | None = field(default=None)
    """Called for more bytes until the client has gone or none are left."""


def answer(
    status: int = 200,
    document: Any = None,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    content = json.dumps({} if document is None else document).encode() if body is None else body
    if status in {204, 304}:
        content = b""
    named = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return Reply(f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + content)


def refusal(status: int, text: str = "No.", *, headers: Mapping[str, str] | None = None) -> Reply:
    """Answer as the gateway's own documents have a refusal."""
    return answer(status, refusal_document(status, text), headers=headers)


def refusal_document(status: int, text: str = "No.") -> dict[str, Any]:
    stamp = "20170120152253514"
    return {"timeStamp": stamp, "version": "1.0", "statusCode": status, "errorMessage": text}


def closing(reply: Reply) -> Reply:
    """Close after the answer without having announced it."""
    return Reply(reply.wire, closes=True)


def cut(reply: Reply, keep: int) -> Reply:
    """Close when so many bytes of the answer are out."""
    return Reply(reply.wire[:keep], closes=True)


def cut_by_reset(reply: Reply, keep: int) -> Reply:
    return Reply(reply.wire[:keep], resets=True)


NO_ANSWER = Reply(closes=True)
RESET = Reply(resets=True)
RESET_BEFORE_BODY = Reply(resets=True, reads_body=False)


class Stub:
    """An HTTP server on the loopback interface. Its script is said once; its last reply is said for ever.

    :param logins: the answers to requests of these paths, which are not of the script and noted apart.
    """

    def __init__(
        self, *script: Reply, tls: ssl.SSLContext | None = None, logins: Mapping[str, Reply] | None = None
    ) -> None:
        self.script = deque(script or (answer(),))
        self.requests: list[Request] = []
        self.logins: list[Request] = []
        self._login_replies = {f"{_BASE_PATH}{path}": reply for path, reply in (logins or {}).items()}
        self.connections = 0
        self.ended = threading.Semaphore(0)
        """Released each time a connection has been closed from this side."""
        self._tls = tls
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._socket = socket.socket()
        # Bound and not listening, the port refuses connections and nobody else can have it.
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}{_BASE_PATH}"

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def listen(self) -> None:
        self._socket.listen()
        self._run(self._accept)

    def stop(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_PATIENCE)

    def await_end(self) -> None:
        """Wait until one more connection has been closed by the server."""
        assert self.ended.acquire(timeout=_PATIENCE)

    def _run(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                self._run(self._serve, connection, self.connections)

    def _serve(self, plain: socket.socket, number: int) -> None:
        connection = plain
        with suppress(OSError, EOFError):
            plain.settimeout(_PATIENCE)
            if self._tls:
                connection = self._tls.wrap_socket(plain, server_side=True)
            self._note(connection)
            self._converse(connection, number)
        self._forget(connection)
        connection.close()
        plain.close()
        self.ended.release()

    def _note(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def _converse(self, connection: socket.socket, number: int) -> None:
        with connection.makefile("rb") as stream:
            while True:
                reply = self._heard(stream, number)
                connection.sendall(reply.wire)
                if reply.beneath:
                    socket.socket.sendall(connection, reply.beneath)
                while reply.streams and (more := reply.streams()):
                    connection.sendall(more)
                if reply.resets:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if reply.resets or reply.closes:
                    return

    def _heard(self, stream: Any, number: int) -> Reply:
        method, target, _ = _line(stream).split(" ", 2)
        headers: dict[str, str] = {}
        while line := _line(stream):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        login = self._login_replies.get(target)
        with self._lock:
            reply = login or (self.script.popleft() if len(self.script) > 1 else self.script[0])
        size = int(headers.get("content-length", 0)) if reply.reads_body else 0
        body = stream.read(size)
        if len(body) < size:
            raise EOFError
        with self._lock:
            noted = self.logins if login else self.requests
            noted.append(Request(method, target, headers, body, number))
        return reply


def _line(stream: Any) -> str:
    line: bytes = stream.readline()
    if not line:
        raise EOFError
    return line.decode("latin-1").rstrip("\r\n")
