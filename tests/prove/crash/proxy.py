"""A way to the gateway that can be cut at any byte: a TCP proxy between a worker and the sandbox."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from tests.prove.crash.points import Blow, Moment, Point

if TYPE_CHECKING:
    from types import TracebackType

_SENDS = re.compile(rb"POST \S+/sms/outgoing/send(multi)? ")
_LISTS = re.compile(rb"GET \S+/sms/scheduled\b")
_CANCELS = re.compile(rb"POST \S+/sms/scheduled/delete ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NOTICE = 0.3
"""Seconds in which a signal reaches a process that waits for bytes."""


class Proxy:
    """Passes requests on, one by one, and strikes the worker at one point.

    :param port: the sandbox's.
    """

    def __init__(self, port: int, point: Point | None = None, blow: Blow | None = None) -> None:
        self._target = ("127.0.0.1", port)
        self._point = point
        self._blow = blow
        self._seen: Counter[str] = Counter()
        self._late: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.pid = 0
        self.has_struck = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def disarm(self) -> None:
        """Strike no more."""
        self._point = None

    def let_late_arrive(self) -> None:
        """Let what was sent long ago reach the gateway."""
        with self._lock:
            late, self._late = self._late, []
        for request in late:
            self._carried(request)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, worker: socket.socket) -> None:
        with worker, suppress(OSError):
            while request := _read_message(worker):
                if not self._pass_on(request, worker):
                    return

    def _pass_on(self, request: bytes, worker: socket.socket) -> bool:
        """Pass one request on, and its answer back; tell whether the connection stands."""
        step = _step(request)
        self._seen[step] += 1
        point = self._point if not self.has_struck else None
        if point is not None and (point.step, point.number) == (step, self._seen[step]):
            return self._strike(point.moment, request, worker)
        answer = self._carried(request)
        if step == "list":
            self.let_late_arrive()
        worker.sendall(answer)
        return bool(answer) and _is_whole(answer)

    def _strike(self, moment: Moment, request: bytes, worker: socket.socket) -> bool:
        self.has_struck = True
        answer = b""
        if moment is Moment.HALF_SENT and self._blow is not Blow.TERM:
            self._send_half(request)
        elif moment is Moment.SENT:
            self._late.append(request)
        else:
            answer = self._carried(request)
        if moment is Moment.HALF_ANSWERED:
            worker.sendall(answer[: len(answer) // 2])
            answer = answer[len(answer) // 2 :]
        self._hit()
        if self._blow is Blow.TERM and moment is not Moment.SENT:
            worker.sendall(answer)
            return True
        return False

    def _hit(self) -> None:
        if self._blow is Blow.KILL:
            os.kill(self.pid, signal.SIGKILL)
        elif self._blow in {Blow.TIMEOUT, Blow.TERM}:
            os.kill(self.pid, signal.SIGALRM if self._blow is Blow.TIMEOUT else signal.SIGTERM)
            time.sleep(_NOTICE)

    def _send_half(self, request: bytes) -> None:
        head = request.index(b"\r\n\r\n") + 4
        with socket.create_connection(self._target) as gateway:
            gateway.sendall(request[: head + (len(request) - head) // 2])

    def _carried(self, request: bytes) -> bytes:
        """Have the gateway carry a request out, and return what it answers, whole or not."""
        with socket.create_connection(self._target) as gateway:
            gateway.sendall(request)
            return _read_message(gateway)


def _step(request: bytes) -> str:
    if _SENDS.match(request):
        return "send"
    if _CANCELS.match(request):
        return "cancel"
    return "list" if _LISTS.match(request) else "other"


def _read_message(connection: socket.socket) -> bytes:
    """Read one HTTP message, or what there is of it."""
    read = b""
    with suppress(OSError):
        while not _is_whole(read):
            piece = connection.recv(65536)
            if not piece:
                break
            read += piece
    return read


def _is_whole(message: bytes) -> bool:
    head, end, body = message.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)
