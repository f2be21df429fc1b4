from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    OutcomeUnknown,
    SmsError,
)
from airflow_provider_winsms.gateways.base import Response
from airflow_provider_winsms.gateways.endpoint import Endpoint
from airflow_provider_winsms.gateways.transport import ATTEMPTS, AsyncTransport, RateLimiter, Transport
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.messages import Message, Recipient
from airflow_provider_winsms.sandbox import Sandbox
from tests.gateways.calls import ANN, BALANCE, SEND, SENT, TEXT
from tests.gateways.carriers import GATEWAY, KEY, Carrier, Time
from tests.gateways.stub import NO_ANSWER, RESET, RESET_BEFORE_BODY, Reply, Stub, answer, closing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_winsms.gateways.auth import Authentication
    from tests.gateways.certificates import Identity

ACCEPTED = answer(200, SENT)
CREDITS = answer(200, {"creditBalance": 5})


class TestWhatNeverLeft:
    """A send that provably never left is tried again, and is unavailable at last: never unknown."""

    def test_a_gateway_that_comes_up_in_time_gets_the_send_once(self, carrier: Carrier) -> None:
        stub = Stub(ACCEPTED)
        carrier.time.on_wait = lambda: stub.listen() if len(carrier.time.waits) == 1 else None
        try:
            ((receipt,),) = carrier.execute(stub.base_url, SEND)
        finally:
            stub.stop()
        assert receipt.accepted
        assert len(stub.requests) == 1

    def test_a_name_that_does_not_resolve(self, carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def unknown(host: Any, *_: Any, **__: Any) -> NoReturn:
            asked.append(host)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        # The resolver is the one thing here that no socket of ours can stand in for.
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        error = carrier.failure("https://gateway.invalid/api/rest/v1", SEND)
        assert type(error) is GatewayUnavailable
        assert len(asked) == ATTEMPTS

    def test_a_server_that_does_not_speak_tls(self, carrier: Carrier) -> None:
        with handshaking(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
            error = carrier.failure(f"https://127.0.0.1:{port}", SEND)
        assert type(error) is GatewayUnavailable

    @pytest.mark.parametrize("ending", [socket.SHUT_RDWR, socket.SHUT_WR])
    def test_a_handshake_that_breaks_off(self, carrier: Carrier, ending: int) -> None:
        with handshaking(lambda connection: connection.shutdown(ending)) as port:
            error = carrier.failure(f"https://127.0.0.1:{port}", SEND)
        assert type(error) is GatewayUnavailable

    def test_a_handshake_that_hangs(self, carrier: Carrier) -> None:
        with handshaking(lambda _: None) as port:
            error = carrier.failure(
                f"https://127.0.0.1:{port}", SEND, attempts=1, connect_timeout=0.05, read_timeout=0.05
            )
        assert type(error) is GatewayUnavailable

    def test_a_proxy_that_does_not_let_it_through(
        self, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Stub(answer(403, body=b"<html>No.</html>")) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            error = carrier.failure("https://gateway.example/api/rest/v1", SEND)
        assert type(error) is GatewayUnavailable
        assert [request.method for request in proxy.requests] == ["CONNECT"] * ATTEMPTS
        assert KEY not in str([request.headers for request in proxy.requests])

    @pytest.mark.parametrize(
        "base_url",
        [
            "https://",
            "https://.example",
            "https://" + "a" * 64 + ".example",
            "https://a b",
            "ftp://a",
            "a.example",
        ],
    )
    def test_a_base_url_that_leads_nowhere(self, carrier: Carrier, base_url: str) -> None:
        for error in carrier.outcomes(base_url, SEND, BALANCE):
            assert type(error) in {ConfigurationError, GatewayUnavailable}

    def test_a_key_that_no_header_can_carry_is_to_be_mended_and_not_shown(self, carrier: Carrier) -> None:
        with Stub(ACCEPTED) as stub:
            error = carrier.failure(stub.base_url, SEND, api_key="sec\r\nret: x")
        assert type(error) is ConfigurationError
        assert "sec" not in str(error)
        assert stub.requests == []


class handshaking:  # noqa: N801 - reads as a verb
    """A port that accepts connections, and does something other than a handshake."""

    def __init__(self, deed: Any) -> None:
        self._deed = deed
        self._socket = socket.socket()
        self._connections: list[socket.socket] = []

    def __enter__(self) -> int:
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        port: int = self._socket.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for connection in [*self._connections, self._socket]:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._deed(connection)


def trust(monkeypatch: pytest.MonkeyPatch, identity: Identity) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(identity.certificate))


class TestWhatMayHaveArrived:
    @pytest.mark.parametrize("ending", [RESET_BEFORE_BODY, RESET, NO_ANSWER])
    def test_a_send_whose_connection_breaks_is_unknown_and_stays_one(
        self, carrier: Carrier, ending: Reply
    ) -> None:
        with Stub(ending) as stub:
            error = carrier.failure(stub.base_url, SEND)
        assert type(error) is OutcomeUnknown
        assert stub.connections == 1

    @pytest.mark.parametrize("wire", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
    def test_a_send_whose_answer_does_not_come_in_time_is_unknown(
        self, carrier: Carrier, wire: bytes
    ) -> None:
        with Stub(Reply(wire)) as stub:
            error = carrier.failure(stub.base_url, SEND, read_timeout=0.05)
        assert type(error) is OutcomeUnknown
        assert len(stub.requests) == 1

    def test_tls_that_breaks_after_the_handshake_leaves_a_send_unknown(
        self, carrier: Carrier, identity: Identity, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trust(monkeypatch, identity)
        garbage = Reply(beneath=b"\x17\x03\x03\x00\x20" + b"?" * 32, closes=True)
        with Stub(garbage, tls=identity.server) as stub:
            error = carrier.failure(stub.base_url, SEND)
        assert type(error) is OutcomeUnknown
        assert len(stub.requests) == 1

    def test_a_trusted_certificate_lets_it_through(
        self, carrier: Carrier, identity: Identity, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trust(monkeypatch, identity)
        with Stub(ACCEPTED, tls=identity.server) as stub:
            ((receipt,),) = carrier.execute(stub.base_url, SEND)
        assert receipt.message_id == 2316


class TestBounds:
    @pytest.mark.parametrize("status", [200, 302, 422, 500])
    @pytest.mark.parametrize(
        "framing", ["Content-Length: 9999999999", "Transfer-Encoding: chunked", "X-None: 1"]
    )
    def test_an_endless_answer_is_not_read_to_its_end(
        self, carrier: Carrier, status: int, framing: str
    ) -> None:
        piece = b" " * 65536
        sent = 0

        def more() -> bytes:
            nonlocal sent
            sent += len(piece)
            return b"10000\r\n" + piece + b"\r\n" if "chunked" in framing else piece

        head = f"HTTP/1.1 {status} Said\r\nLocation: /elsewhere\r\n{framing}\r\n\r\n"
        with Stub(Reply(head.encode(), streams=more)) as stub:
            error = carrier.failure(stub.base_url, replace(SEND, max_answer_bytes=1_000_000))
        assert type(error) is OutcomeUnknown
        assert "longer than 1000000 bytes" in str(error)
        # What lies in the buffers of two sockets was sent, and not read.
        assert sent < 64_000_000

    def test_what_unpacks_beyond_the_bound_is_not_unpacked_to_its_end(self, carrier: Carrier) -> None:
        packed = gzip.compress(bytes(50_000_000))
        with Stub(answer(200, body=packed, headers={"Content-Encoding": "gzip"})) as stub:
            error = carrier.failure(stub.base_url, replace(SEND, max_answer_bytes=100_000))
        assert "longer than 100000 bytes" in str(error)

    def test_a_packed_answer_is_unpacked(self, carrier: Carrier) -> None:
        packed = gzip.compress(json.dumps(SENT).encode())
        with Stub(answer(200, body=packed, headers={"Content-Encoding": "gzip"})) as stub:
            ((receipt,),) = carrier.execute(stub.base_url, SEND)
        assert receipt.accepted

    def test_an_answer_of_exactly_the_bound_is_read(self, carrier: Carrier) -> None:
        size = len(json.dumps(SENT))
        with Stub(ACCEPTED) as stub:
            carrier.execute(stub.base_url, replace(SEND, max_answer_bytes=size))
            error = carrier.failure(stub.base_url, replace(SEND, max_answer_bytes=size - 1))
        assert type(error) is OutcomeUnknown

    @pytest.mark.parametrize("framing", ["Content-Length: 9999", "Transfer-Encoding: chunked"])
    def test_an_answer_that_drips_ends_though_no_single_byte_is_late(
        self, carrier: Carrier, framing: str
    ) -> None:
        looks = threading.Semaphore(0)

        def next_byte() -> bytes:
            # The next byte leaves when the client has looked at the clock for the one before.
            looks.acquire(timeout=5)
            return b"1\r\n \r\n" if "chunked" in framing else b" "

        class Dripping(Time):
            def clock(self) -> float:
                looks.release()
                return super().clock()

        carrier.time = Dripping(tick=59.0)
        head = f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"
        with Stub(Reply(head.encode(), streams=next_byte)) as stub:
            error = carrier.failure(stub.base_url, SEND, read_timeout=60.0)
            looks.release(100)
        assert type(error) is OutcomeUnknown
        assert "its answer took longer than 600 seconds" in str(error)
        assert len(stub.requests) == 1


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_none_is_followed_and_the_key_stays_home(self, carrier: Carrier, status: int) -> None:
        with Stub(CREDITS) as elsewhere:
            there = elsewhere.base_url + "/credits/balance"
            with Stub(answer(status, headers={"Location": there})) as stub:
                outcomes = carrier.outcomes(stub.base_url, BALANCE, SEND)
        assert all(isinstance(outcome, SmsError) for outcome in outcomes)
        assert elsewhere.connections == 0

    @pytest.mark.parametrize(
        "location", ["http://[bad", "//", "http://", "mailto:a@b", "http://a:99999/", "\xff\xfe", "?" * 9000]
    )
    def test_one_to_nowhere_is_the_same(self, carrier: Carrier, location: str) -> None:
        with Stub(answer(302, headers={"Location": location})) as stub:
            outcomes = carrier.outcomes(stub.base_url, SEND, BALANCE)
        assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown, ConfigurationError]


class TestSecrets:
    def test_the_key_of_the_connection_wins_over_netrc(
        self, carrier: Carrier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: Identity
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login someone password else\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        trust(monkeypatch, identity)
        for tls in (None, identity.server):
            with Stub(ACCEPTED, tls=tls) as stub:
                carrier.execute(stub.base_url, SEND)
            assert stub.requests[0].headers["authorization"] == KEY

    def test_a_gateway_on_this_machine_is_not_reached_through_a_proxy(
        self, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Stub(ACCEPTED) as stub, Stub(ACCEPTED) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
            carrier.execute(stub.base_url, SEND)
        assert (len(stub.requests), proxy.connections) == (1, 0)

    def test_the_key_goes_into_one_header_and_nowhere_else(self, carrier: Carrier) -> None:
        with Stub(ACCEPTED) as stub:
            carrier.execute(stub.base_url, SEND)
        (request,) = stub.requests
        assert [name for name, value in request.headers.items() if KEY in value] == ["authorization"]
        assert KEY not in request.target
        assert KEY.encode() not in request.body

    def test_no_repr_shows_the_key_a_number_or_a_text(self) -> None:
        where = Endpoint("winsms_default", GATEWAY, "http://127.0.0.1:1", KEY)
        with Transport(where) as transport:
            shown = repr([where, transport, vars(transport), AsyncTransport(where), SEND])
        assert_silent(shown)

    @pytest.mark.parametrize(
        "document", [{"errorMessage": {"a": 1}}, {"errorMessage": None}, [1], "no", 5, None]
    )
    def test_an_error_without_words_is_still_told_by_its_status(
        self, carrier: Carrier, document: Any
    ) -> None:
        with Stub(answer(422, body=json.dumps(document).encode())) as stub:
            outcomes = carrier.outcomes(stub.base_url, SEND, BALANCE)
        assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown, InvalidMessage]
        assert all("HTTP 422" in str(outcome) for outcome in outcomes)


def assert_silent(text: str) -> None:
    for secret in (KEY, KEY.lower(), ANN, TEXT):
        assert secret not in text


class TestConnections:
    def test_one_connection_serves_many_calls(self, carrier: Carrier) -> None:
        with Stub(ACCEPTED, answer(422, {}), answer(500, {}), answer(204), CREDITS) as stub:
            carrier.outcomes(stub.base_url, *[SEND] * 4, *[BALANCE] * 20)
        assert len(stub.requests) == 24
        assert stub.connections == 1

    def test_a_connection_that_the_gateway_closed_meanwhile_costs_nothing(self, carrier: Carrier) -> None:
        with Stub(closing(ACCEPTED)) as stub:
            outcomes = carrier.outcomes(stub.base_url, *[SEND] * 5, between=stub.await_end)
        assert not any(isinstance(outcome, SmsError) for outcome in outcomes)
        assert len(stub.requests) == stub.connections == 5

    def test_a_connection_that_idled_is_not_trusted_with_a_send(self) -> None:
        carrier = Carrier("task")

        def idle() -> None:
            carrier.time.now += 4

        with Stub(ACCEPTED) as stub:
            carrier.outcomes(stub.base_url, *[SEND] * 3, between=idle)
        assert stub.connections == 3

    def test_a_connection_that_closes_on_a_send_leaves_it_unknown_and_is_not_used_again(
        self, carrier: Carrier
    ) -> None:
        with Stub(ACCEPTED, NO_ANSWER, ACCEPTED) as stub:
            outcomes = carrier.outcomes(stub.base_url, SEND, SEND, SEND)
        assert [type(outcome) for outcome in outcomes] == [tuple, OutcomeUnknown, tuple]
        assert [request.connection for request in stub.requests] == [1, 1, 2]

    def test_an_answer_that_nobody_asked_for_is_not_taken_for_that_to_a_send(self) -> None:
        twice = Reply(CREDITS.wire + answer(422, {"errorMessage": "Nothing was sent."}).wire)
        with Stub(twice, ACCEPTED) as stub:
            balance, (receipt,) = Carrier("task").execute(stub.base_url, BALANCE, SEND)
        assert balance.credits == 5
        assert receipt.accepted

    def test_threads_may_share_a_transport(self) -> None:
        messages = [Message(TEXT, (Recipient(f"2782000{n:04}", f"id-{n}"),)) for n in range(64)]
        with Sandbox(api_key=KEY, speed=0, credits=1000) as box:
            where = Endpoint("winsms_default", GATEWAY, box.base_url, KEY)
            with Transport(where) as transport, ThreadPoolExecutor(8) as pool:
                results = list(pool.map(lambda message: transport.execute(GATEWAY.send(message)), messages))
            assert [
                text["mobileNumber"]
                for (receipt,) in results
                for text in box.outbox()
                if (text["apiMessageId"] == receipt.message_id)
            ] == [message.recipients[0].number for message in messages]
            assert len(box.outbox()) == 64

    def test_the_client_of_an_event_loop_is_built_off_its_thread(self) -> None:
        threads = []

        class Noting(WinSMSGateway):
            def authentication(self, endpoint: Endpoint) -> Authentication:
                threads.append(threading.get_ident())
                return super().authentication(endpoint)

        async def open_and_close() -> None:
            where = Endpoint(
                "winsms_default", Noting(time_zone="UTC", country_code="27"), "https://gateway.example", KEY
            )
            async with AsyncTransport(where):
                pass

        asyncio.run(open_and_close())
        assert threads
        assert threading.get_ident() not in threads


class TestPace:
    def test_requests_keep_their_distance(self, carrier: Carrier) -> None:
        with Stub(CREDITS) as stub:
            carrier.execute(stub.base_url, *[BALANCE] * 5, requests_per_second=4)
        assert carrier.time.slept == [0.25] * 4

    def test_attempts_keep_it_too(self, carrier: Carrier) -> None:
        busy = answer(503, {}, headers={"Retry-After": "10"})
        with Stub(busy) as stub:
            carrier.failure(stub.base_url, BALANCE, requests_per_second=0.05)
        assert carrier.time.slept == [10.0] * 6

    def test_without_a_rate_nobody_waits(self, carrier: Carrier) -> None:
        with Stub(CREDITS) as stub:
            carrier.execute(stub.base_url, *[BALANCE] * 5)
        assert carrier.time.waits == []

    def test_threads_take_turns(self) -> None:
        pace = RateLimiter(10, lambda: 0.0)
        with ThreadPoolExecutor(8) as pool:
            places = sorted(pool.map(lambda _: pace.reserve(), range(100)))
        assert places == pytest.approx([n / 10 for n in range(100)])


@pytest.fixture(autouse=True)
def no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize("is_usual", [True, False])
def test_a_task_reads_a_usual_answer_fast_and_an_event_loop_leaves_nothing_to_be_read(
    carrier: Carrier, *, is_usual: bool
) -> None:
    def read(body: bytes) -> Any:
        if is_usual:
            return body.decode()
        raise ValueError

    with Stub(CREDITS) as stub:
        (result,) = carrier.execute(stub.base_url, replace(BALANCE, read=read))
    parsed = BALANCE.parse(Response({"creditBalance": 5}))
    assert result == ('{"creditBalance": 5}' if is_usual and carrier.caller == "task" else parsed)
