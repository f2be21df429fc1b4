"""The ``requests`` session beneath the transport: it bounds each answer, and names the causes of errors.

``requests`` bounds only the wait for each read. A server could hold it for ever: it sends the head of an
answer byte by byte, or interim answers, chunk extensions or trailers without end. Here each read waits at
most for the rest of the answer's own time. One layer of encoding is decoded, in chunks of bounded size.
"""

from __future__ import annotations

import io
import re
import socket
import ssl
import zlib
from contextlib import suppress
from contextvars import ContextVar
from functools import cache, partial
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, NewConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

READ_SIZE = 64 * 1024
"""Bytes: the most that is read or decompressed at a time."""

NETWORK_ERRORS = (OSError, HTTPError)
"""The errors of submitting a request and of reading its answer."""

# One connection for each thread that may share a session; the default is ten.
_POOL_SIZE = 32
_FIRST_FINAL_STATUS = 200
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})\b")


class Exchange:
    """One request and its answer, with the bounds of the answer.

    The time in which the caller works on a chunk of the body does not count.

    :param seconds: the time from the request's beginning to the end of its answer.
    :param wire_bytes: the bytes of the answer's head, interim answers, framing and body.
    :param clock: monotonic seconds.
    """

    def __init__(self, seconds: float, wire_bytes: int, clock: Callable[[], float]) -> None:
        self._seconds = self._left = seconds
        self._wire_bytes = self._bytes_left = wire_bytes
        self._clock = clock
        self._since = clock()
        self._socket: Any = None
        self._answer: HTTPResponse | None = None
        self.broken_bound = ""
        """The bound that ended the exchange, in words that end a sentence."""

    @property
    def is_awaited(self) -> bool:
        """Whether the request was submitted, and the exchange waits for its answer."""
        return self._socket is not None

    def abort(self) -> None:
        """End the exchange from another thread: its current or next read fails."""
        self.broken_bound = "the caller gave up"
        if self._socket is not None:
            # SSLSocket.shutdown would drop the TLS state, and TLS within TLS has no shutdown of its own.
            plain = getattr(self._socket, "socket", self._socket)
            with suppress(OSError):
                socket.socket.shutdown(plain, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the answer. urllib3 leaves it open where it cannot wrap it."""
        if self._answer is not None:
            self._answer.close()

    def await_answer(self, sock: Any, answer: HTTPResponse) -> None:
        """Note the socket of the answer, and its reader."""
        self._socket, self._answer = sock, answer
        self._charge()
        self._check()

    def resume(self) -> None:
        """Start the clock again: until now the caller worked on a chunk."""
        self._since = self._clock()

    def receive(self, sock: Any, longest_wait: float | None, read: Callable[[], int]) -> int:
        """Read once, and return the number of bytes.

        :param longest_wait: seconds for this read alone.
        :raises OSError: a bound is broken; ``broken_bound`` names it.
        """
        self._charge()
        self._check()
        sock.settimeout(min(self._left, self._left if longest_wait is None else longest_wait))
        try:
            count = read()
        finally:
            self._charge()
        self._bytes_left -= count
        return count

    def _charge(self) -> None:
        now = self._clock()
        self._left -= now - self._since
        self._since = now
        if self._left <= 0 and not self.broken_bound:
            self.broken_bound = f"its answer took longer than {self._seconds:g} seconds"

    def _check(self) -> None:
        if self._bytes_left <= 0 and not self.broken_bound:
            self.broken_bound = f"its answer is longer than {self._wire_bytes} bytes on the wire"
        if self.broken_bound:
            raise OSError(self.broken_bound)


class Session(requests.Session):
    """A pooled session that several threads may share.

    :param trust_env: whether proxies, NO_PROXY, REQUESTS_CA_BUNDLE and .netrc of the environment apply.
    """

    def __init__(self, *, trust_env: bool) -> None:
        super().__init__()
        self.trust_env = trust_env
        adapter = _Adapter(pool_maxsize=_POOL_SIZE)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def submit(
        self, exchange: Exchange, method: str, url: str, headers: Mapping[str, str], **options: Any
    ) -> requests.Response:
        """Submit a request, and return its answer as soon as the head is read.

        It takes the arguments and raises the errors of ``requests.Session.request``.
        """
        # An auth callable, as requests would else overwrite a header with the host's entry in ~/.netrc.
        auth = partial(_with_headers, headers=headers)
        token = _exchange.set(exchange)
        try:
            return self.request(method, url, auth=auth, allow_redirects=False, stream=True, **options)
        except BaseException:
            exchange.close()
            raise
        finally:
            _exchange.reset(token)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return no target: requests would read the body of a redirect without a bound."""


def body_of(response: requests.Response) -> Iterator[bytes]:
    """Yield the decoded body of an answer as it arrives, in chunks of at most ``READ_SIZE``.

    :raises EncodingError: the encoding was not asked for, is one of several, or the body is cut off.
    """
    # iter_content would wait until a chunk is full, however slowly the bytes arrive.
    chunks = iter(lambda: response.raw.read1(READ_SIZE, decode_content=False), b"")
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return chunks
    if encoding in {"gzip", "x-gzip", "deflate"}:
        return _inflated(chunks)
    msg = "is encoded in a way that was not asked for"
    raise EncodingError(msg)


class EncodingError(Exception):
    """An answer's encoding cannot be decoded. The text is a verb phrase, and quotes nothing of the answer."""


def cause_of(error: Exception) -> str:
    """Return the cause of an error without its text, which may hold addresses and values of headers."""
    root = _root_cause(error)
    cause = _describe(root)
    return f"the proxy: {cause}" if isinstance(error, requests.exceptions.ProxyError) else cause


def has_no_connection(error: Exception) -> bool:
    """Whether an error says that no connection was opened."""
    return isinstance(error, requests.ConnectTimeout) or isinstance(_root_cause(error), NewConnectionError)


_exchange: ContextVar[Exchange] = ContextVar("exchange")


class _BoundedResponse(HTTPResponse):
    """Reads an answer within the bounds of its exchange."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        exchange = _exchange.get()
        self.fp: Any = io.BufferedReader(_BoundedReader(self.fp.detach(), sock, exchange))
        exchange.await_answer(sock, self)

    def begin(self) -> None:
        super().begin()
        # An interim answer has no body, and another answer follows it (RFC 9110, section 15.2). http.client
        # knows only 100: it would take the answer after a 103 for the answer to the next request.
        while self.status < _FIRST_FINAL_STATUS:
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()


class _BoundedReader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: Any, exchange: Exchange) -> None:
        self._raw = raw
        self._socket = sock
        self._longest_wait = sock.gettimeout()
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._exchange.receive(self._socket, self._longest_wait, lambda: self._raw.readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        _bound_answers_of(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        _bound_answers_of(manager)
        return manager


def _bound_answers_of(manager: Any) -> None:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _bounded(pool) for scheme, pool in pools.items()}


@cache
def _bounded(pool: Any) -> Any:
    """Return a pool class whose connections read answers within their bounds."""
    if pool.ConnectionCls.response_class is _BoundedResponse:
        return pool
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": _BoundedResponse})
    return type("Pool", (pool,), {"ConnectionCls": connection})


def _with_headers(request: requests.PreparedRequest, headers: Mapping[str, str]) -> requests.PreparedRequest:
    request.headers.update(headers)
    return request


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                # One gzip file may follow another (RFC 1952, section 2.2).
                inflater = zlib.decompressobj(_GZIP_OR_ZLIB) if inflater.eof else inflater
                yield inflater.decompress(rest, READ_SIZE)
                rest = inflater.unconsumed_tail or inflater.unused_data
        yield inflater.flush()
    except zlib.error:
        msg = "cannot be unpacked"
        raise EncodingError(msg) from None
    if not inflater.eof:
        msg = "breaks off"
        raise EncodingError(msg)


def _root_cause(error: BaseException) -> BaseException:
    """Return the first error, which ``requests`` and ``urllib3`` wrap in their own."""
    for inner in (getattr(error, "original_error", None), getattr(error, "reason", None), *error.args[:1]):
        if isinstance(inner, BaseException):
            return _root_cause(inner)
    return error


_CAUSES = {
    "NameResolutionError": "the host name could not be resolved",
    "ConnectTimeoutError": "no connection in time",
    "ReadTimeoutError": "no answer in time",
    "ProtocolError": "the connection broke",
    "RemoteDisconnected": "the connection broke",
    "ConnectionResetError": "the connection broke",
    "BrokenPipeError": "the connection broke",
    "IncompleteRead": "the connection broke",
    "SSLEOFError": "the connection broke within TLS",
}


def _describe(root: BaseException) -> str:
    name = type(root).__name__
    if name in _CAUSES:
        return f"{_CAUSES[name]}: {name}"
    if isinstance(root, NewConnectionError):
        return f"no connection: {getattr(root.__cause__, 'strerror', None) or name}"
    if isinstance(root, ssl.SSLError):
        return _describe_tls(root)
    if "CA certificate bundle" in str(root):
        return "the file of trusted certificates that REQUESTS_CA_BUNDLE names is not there"
    refused = _TUNNEL_REFUSED.match(str(root))
    return f"it answered {refused[1]}" if refused else name


def _describe_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {error.verify_message.rstrip('.')}. "
            "REQUESTS_CA_BUNDLE may name the file of its authority"
        )
    return f"TLS failed: {error.reason or type(error).__name__}"
