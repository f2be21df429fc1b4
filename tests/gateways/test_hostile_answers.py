"""Whatever a server answers, a call ends in its time and its memory, for a task as for an event loop."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
import zlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable, OutcomeUnknown
from tests.gateways.calls import BALANCE, SEND, SENT
from tests.gateways.carriers import GATEWAY, Carrier, Time
from tests.gateways.stub import Reply, Stub, answer, closing
from tests.gateways.test_transport import handshaking

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from airflow_provider_winsms.gateways.base import Call

_PATIENCE = 3.0
"""Seconds after which a server ends what has no end."""

SECONDS_OF_A_LOOK = 20.0
"""How far the clock goes on with each look at it."""

WHOLE = json.dumps(SENT).encode()
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ZLIB_WITHOUT_ITS_HEAD = zlib.compress(WHOLE)[2:]


@dataclass
class Endless:
    """Sends the same bytes again and again, and notes if the client stays to the end."""

    more: bytes
    pause: float = 0.0
    was_heard_out: bool = False
    began: float = field(default_factory=time.monotonic)

    def __call__(self) -> bytes:
        time.sleep(self.pause)
        self.was_heard_out = time.monotonic() > self.began + _PATIENCE
        return b"" if self.was_heard_out else self.more


def dripping(more: bytes) -> Endless:
    return Endless(more, pause=0.001)


ENDLESS: dict[str, tuple[bytes, Callable[[], Endless]]] = {
    "a status line that drips": (b"HTTP/1.1 200 ", lambda: dripping(b"O")),
    "a header that drips": (HEAD + b"X-A: ", lambda: dripping(b"a")),
    "an interim answer that drips": (b"HTTP/1.1 100 Continue\r\nX-A: ", lambda: dripping(b"a")),
    "a flood of 100": (b"", lambda: Endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)),
    "a flood of 102": (b"", lambda: Endless(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)),
    "a flood of 103": (b"", lambda: Endless(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" * 100)),
    "a body that drips": (HEAD + b"Content-Length: 99999\r\n\r\n", lambda: dripping(b" ")),
    "a body of unknown length that drips": (HEAD + b"\r\n", lambda: dripping(b" ")),
    "chunks that drip": (CHUNKED, lambda: dripping(b"1\r\n \r\n")),
    "a chunk extension that drips": (CHUNKED + b"5;a=", lambda: dripping(b"b")),
    "trailers that drip": (
        CHUNKED + b"%x\r\n%s\r\n0\r\n" % (len(WHOLE), WHOLE),
        lambda: dripping(b"A: b\r\n"),
    ),
    "a packed body that drips": (
        HEAD + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(WHOLE)[:2],
        lambda: dripping(b"\x00\x00\x00\xff\xff"),
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_answer_without_end_is_left_at_its_deadline(carrier: Carrier, name: str) -> None:
    carrier.time = Time(tick=SECONDS_OF_A_LOOK)
    begin, endless = ENDLESS[name]
    stream = endless()
    with Stub(Reply(begin, streams=stream)) as stub:
        error = carrier.failure(stub.base_url, SEND, read_timeout=60.0)
        assert not stream.was_heard_out
    assert type(error) is OutcomeUnknown
    assert "its answer took longer than 600 seconds" in str(error)
    assert len(stub.requests) == 1


def test_a_question_whose_answer_has_no_end_may_be_asked_again(carrier: Carrier) -> None:
    carrier.time = Time(tick=SECONDS_OF_A_LOOK)
    stream = Endless(b"HTTP/1.1 100 Continue\r\n\r\n")
    with Stub(Reply(streams=stream)) as stub:
        error = carrier.failure(stub.base_url, BALANCE, attempts=2, read_timeout=60.0)
        assert not stream.was_heard_out
    assert type(error) is GatewayUnavailable
    assert "its answer took longer than 600 seconds" in str(error)
    assert stub.connections == 2


def test_an_answer_without_end_is_left_at_its_length_however_fast_it_comes(carrier: Carrier) -> None:
    interim = b"HTTP/1.1 100 Continue\r\nX-A: %s\r\n\r\n" % (b"a" * 60_000)
    stream = Endless(interim)
    with Stub(Reply(streams=stream)) as stub:
        error = carrier.failure(stub.base_url, replace(SEND, max_answer_bytes=1000))
        assert not stream.was_heard_out
    assert type(error) is OutcomeUnknown
    assert "its answer is longer than 1056576 bytes on the wire" in str(error)


def test_the_head_of_a_proxys_answer_is_left_at_its_deadline(
    carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier.time = Time(tick=SECONDS_OF_A_LOOK)
    stream = dripping(b"a")
    with Stub(Reply(b"HTTP/1.1 200 OK\r\nX-A: ", streams=stream)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        (error,) = carrier.outcomes("https://gateway.example/v1", SEND, attempts=1, read_timeout=60.0)
        assert not stream.was_heard_out
    assert type(error) is GatewayUnavailable


def test_a_handshake_that_drips_is_left_when_the_connection_should_stand(carrier: Carrier) -> None:
    stream = dripping(b"\x02")

    def drip(connection: socket.socket) -> None:
        with suppress(OSError):
            # A record of a handshake, of 16 kB.
            connection.sendall(b"\x16\x03\x03\x40\x00")
            while more := stream():
                connection.sendall(more)

    with handshaking(drip) as port:
        (error,) = carrier.outcomes(f"https://127.0.0.1:{port}", SEND, attempts=1, connect_timeout=0.1)
    assert not stream.was_heard_out
    assert type(error) is GatewayUnavailable


def packed(body: bytes, encoding: str) -> Reply:
    return answer(200, body=body, headers={"Content-Encoding": encoding})


def document(body: bytes) -> Reply:
    return answer(200, body=body)


UNUSABLE: dict[str, tuple[Reply, str]] = {
    "gzip within gzip": (
        packed(gzip.compress(gzip.compress(bytes(9_000_000))), "gzip, gzip"),
        "not asked for",
    ),
    "gzip in two headers": (
        Reply(
            HEAD + b"Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(WHOLE),
            closes=True,
        ),
        "not asked for",
    ),
    "gzip of a name unknown": (packed(gzip.compress(WHOLE), "gzip;q=1"), "not asked for"),
    "Brotli": (packed(b"\x0b\x02\x80{}\x03", "br"), "not asked for"),
    "Zstandard": (packed(b"\x28\xb5\x2f\xfd\x04\x00\x11\x00\x00{}", "zstd"), "not asked for"),
    "gzip cut off": (packed(gzip.compress(WHOLE)[:-1], "gzip"), "breaks off"),
    "gzip with a wrong checksum": (packed(gzip.compress(WHOLE)[:-8] + bytes(8), "gzip"), "unpacked"),
    "nothing, packed": (packed(b"", "gzip"), "breaks off"),
    "deflate without its head": (packed(ZLIB_WITHOUT_ITS_HEAD, "deflate"), "unpacked"),
    "a length too long": (
        Reply(HEAD + b"Content-Length: 9999\r\n\r\n" + WHOLE, closes=True),
        "the connection broke",
    ),
    "a length too short": (answer(200, body=WHOLE, headers={"Content-Length": "9"}), "whole JSON"),
    "two lengths": (answer(200, body=WHOLE, headers={"Content-Length": "9, 10"}), "InvalidHeader"),
    "a line without end": (Reply(HEAD + b"X-A: " + b"a" * 70_000), "the connection broke"),
    "headers without end": (Reply(HEAD + b"X-A: a\r\n" * 200), "the connection broke"),
    "no HTTP 1": (Reply(b"HTTP/2 200\r\n\r\n" + WHOLE, closes=True), "the connection broke"),
    "no status": (Reply(b"HTTP/1.1 xx OK\r\n\r\n", closes=True), "the connection broke"),
    "a status of four digits": (Reply(b"HTTP/1.1 2000 OK\r\n\r\n", closes=True), "the connection broke"),
    "an interim answer alone": (
        Reply(b"HTTP/1.1 103 Early Hints\r\n\r\n", closes=True),
        "the connection broke",
    ),
    "brackets without end": (document(b"[" * 100_000), "whole JSON"),
    "a number of 5000 digits": (document(b'{"recipients": %s}' % (b"9" * 5000)), "its answer"),
    "NaN": (document(b'{"recipients": NaN, "creditBalance": "NaN"}'), "shape"),
    "Infinity": (document(b"-Infinity"), "shape"),
    "half a surrogate": (document(b'{"recipients": "\\ud800", "creditBalance": "\\ud800"}'), "shape"),
    "the same key twice": (document(WHOLE[:-1] + b', "recipients": 1, "creditBalance": {}}'), "shape"),
}


BALANCES_TOO = {"NaN", "half a surrogate", "the same key twice"}
"""These are a balance that cannot be read, which is none."""


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_answer_that_cannot_be_used_ends_the_call(carrier: Carrier, name: str) -> None:
    reply, words = UNUSABLE[name]
    calls: list[tuple[Call[Any], type[Exception]]] = [(SEND, OutcomeUnknown)]
    if name not in BALANCES_TOO:
        calls.append((BALANCE, GatewayUnavailable))
    for call, kind in calls:
        with Stub(reply) as stub:
            error = carrier.failure(stub.base_url, call, attempts=1, read_timeout=5.0)
        assert (type(error), len(stub.requests)) == (kind, 1)
        assert words in str(error)


def test_what_is_packed_twice_is_not_unpacked_even_once(carrier: Carrier) -> None:
    bomb, words = UNUSABLE["gzip within gzip"]
    with Stub(bomb) as stub:
        tracemalloc.start()
        try:
            error = carrier.failure(stub.base_url, SEND)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert words in str(error)
    assert peak < 5_000_000


def test_an_answer_about_ids_is_as_long_as_they_are_many(carrier: Carrier) -> None:
    call = GATEWAY.delivery_reports([2316])
    with Stub(document(b'{"messageStatuses": [%s 1]}' % (b"[]," * 50_000))) as stub:
        error = carrier.failure(stub.base_url, call, attempts=1)
    assert "its answer is longer than 67584 bytes" in str(error)


USABLE: dict[str, Reply] = {
    "gzip": packed(gzip.compress(WHOLE), "GZIP"),
    "gzip in two files": packed(gzip.compress(WHOLE[:9]) + gzip.compress(WHOLE[9:]), "x-gzip"),
    "deflate": packed(zlib.compress(WHOLE), "deflate"),
    "no encoding, said so": packed(WHOLE, "identity"),
    "chunks with extensions and trailers": Reply(
        CHUNKED + b"%x;a=b\r\n%s\r\n0\r\nA: b\r\n\r\n" % (len(WHOLE), WHOLE)
    ),
    "interim answers before it": Reply(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nA: b\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + document(WHOLE).wire
    ),
    "no length": closing(Reply(HEAD + b"\r\n" + WHOLE)),
}


@pytest.mark.parametrize("name", USABLE)
def test_an_answer_that_is_only_unusual_is_read(carrier: Carrier, name: str) -> None:
    with Stub(USABLE[name]) as stub:
        for receipts in carrier.execute(stub.base_url, SEND, SEND):
            assert [receipt.message_id for receipt in receipts] == [2316]
