"""A list of any length, read in parts while it arrives: over real sockets, but for where it may be cut."""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import sys
import threading
import tracemalloc
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable, SmsError
from airflow_provider_winsms.gateways.base import Response
from airflow_provider_winsms.gateways.streaming import LONGEST_VALUE, PART_ROWS
from airflow_provider_winsms.gateways.transport import ATTEMPTS, Transport
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.sandbox import Sandbox
from tests.gateways.calls import ANN, BALANCE
from tests.gateways.carriers import CALLERS, GATEWAY, KEY, WHERE, Carrier, Time
from tests.gateways.stub import Reply, Stub, answer, cut
from tests.gateways.stub import closing as closed
from tests.gateways.test_contract import lost_answers
from tests.gateways.under_test import REFUSED, Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

CALL = GATEWAY.opt_outs()
LOST = lost_answers(Operation(BALANCE, {"creditBalance": 1}))
NAME = "incomingOptoutMessages"
WORDS = 'Stop {"it}], [ \\ "please'


def row(place: int, **more: Any) -> dict[str, Any]:
    entry = {"incomingApiMessageId": place, "mobileNumber": f"2782{place:07}", "receiveTime": 201701201522}
    return {**entry, "messageText": WORDS, **more}


def listed(count: int, indent: int | None = None) -> bytes:
    envelope = {"statusCode": 200, "timeStamp": "20170120152253514", "version": "1.0"}
    rows = [row(place) for place in range(count)]
    return json.dumps({**envelope, NAME: rows, "note": [{}]}, indent=indent).encode()


def chunked(*chunks: bytes) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def transport(stub: Stub, time: Time | None = None, **endpoint: Any) -> Transport:
    time = time or Time()
    where = replace(WHERE, base_url=stub.base_url, **endpoint)
    return Transport(where, sleep=time.sleep, clock=time.clock)


def read(
    stub: Stub, call: Any = CALL, time: Time | None = None, **endpoint: Any
) -> tuple[list[int], SmsError | None]:
    """Return the ids of all parts, and what ended them."""
    ids: list[int] = []
    with transport(stub, time, **endpoint) as carrying:
        try:
            for part in carrying.stream(call):
                ids += [entry.message_id for entry in part]
        except SmsError as error:
            return ids, error
    return ids, None


def assert_silent(text: str) -> None:
    for secret in (KEY, "2782", "please", WORDS):
        assert secret not in text


def drop_at(reply: bytes, share: float) -> Reply:
    return cut(Reply(reply), int(len(reply) * share))


class TestWholeLists:
    @pytest.mark.parametrize("count", [0, 1, PART_ROWS, PART_ROWS + 1, 2500])
    def test_the_parts_make_the_list_that_one_reading_makes(self, count: int) -> None:
        with Stub(answer(200, body=listed(count))) as stub, transport(stub) as carrying:
            parts = list(carrying.stream(CALL))
            whole = carrying.execute(CALL)
        streamed = [entry for part in parts for entry in part]
        assert streamed == list(whole)
        assert [entry.raw for entry in streamed] == [entry.raw for entry in whole]
        assert [len(part) for part in parts[:-1]] == [PART_ROWS] * (len(parts) - 1)
        assert stub.connections == 1

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(chunked(*(listed(1500)[at : at + 1000] for at in range(0, len(listed(1500)), 1000)))),
            Reply(chunked(*(bytes([byte]) for byte in listed(1500)[:20_000]), listed(1500)[20_000:])),
            answer(200, body=gzip.compress(listed(1500)), headers={"Content-Encoding": "gzip"}),
            answer(200, body=b"\xef\xbb\xbf" + listed(1500)),
            answer(200, body=b"\r\n\t " * 100_000 + listed(1500, indent=9) + b" " * 100_000),
            closed(Reply(b"HTTP/1.1 200 OK\r\n\r\n" + listed(1500))),
        ],
        ids=["chunks", "bytes", "packed", "byte order mark", "white space", "until it closes"],
    )
    def test_it_does_not_matter_how_an_answer_comes(self, reply: Reply) -> None:
        with Stub(reply) as stub:
            assert read(stub) == (list(range(1500)), None)
        assert len(stub.requests) == 1

    def test_a_part_is_there_before_the_answer_has_ended(self) -> None:
        whole = listed(5000)
        go_on = threading.Event()
        rest = iter([whole[len(whole) // 2 :]])

        def more() -> bytes:
            assert go_on.wait(10)
            return next(rest, b"")

        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
        with Stub(Reply(head + whole[: len(whole) // 2], streams=more)) as stub, transport(stub) as carrying:
            parts = carrying.stream(CALL)
            assert len(next(parts)) == PART_ROWS
            assert not go_on.is_set()
            go_on.set()
            assert sum(map(len, parts)) == 4000

    def test_long_rows_make_smaller_parts(self) -> None:
        long = json.dumps({NAME: [row(n, messageText="x" * 300_000) for n in range(10)]}).encode()
        with Stub(answer(200, body=long)) as stub, transport(stub) as carrying:
            assert [len(part) for part in carrying.stream(CALL)] == [4, 4, 2]

    def test_a_call_that_names_no_rows_is_read_whole(self) -> None:
        with Stub(answer(200, {"creditBalance": 5})) as stub, transport(stub) as carrying:
            (balance,) = carrying.stream(BALANCE)
        assert balance.credits == 5

    def test_a_hook_streams_what_it_lists(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Sandbox(api_key=KEY, speed=0) as box:
            connection = {"conn_type": "winsms", "host": box.base_url, "password": KEY}
            monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))
            hook = SmsHook.of("winsms_default")
            assert list(hook.stream_opt_outs()) == []
            box.opt_out(ANN)
            ((streamed,),) = hook.stream_opt_outs()
            assert (streamed,) == tuple(hook.get_opt_outs())
            hook.get_conn().close()
        assert streamed.number == ANN


class TestBeforeTheFirstPart:
    @pytest.mark.parametrize("status", [*REFUSED, 429])
    def test_what_is_no_success_is_what_it_is_to_a_call_that_is_sent(self, status: int) -> None:
        said = {"errorMessage": f"{ANN} may not."}
        with Stub(answer(status, said, headers={"Retry-After": "61"})) as stub:
            ids, error = read(stub)
            (sent,) = Carrier("task").outcomes(stub.base_url, CALL)
        assert (ids, type(error), str(error)) == ([], type(sent), str(sent))
        assert getattr(error, "retry_after", None) == getattr(sent, "retry_after", None)
        assert len(stub.requests) == 2

    @pytest.mark.parametrize("lost", LOST)
    def test_a_lost_answer_is_asked_for_again(self, lost: str) -> None:
        time = Time()
        with Stub(LOST[lost], LOST[lost], answer(200, body=listed(1500))) as stub:
            assert read(stub, time=time) == (list(range(1500)), None)
        assert len(stub.requests) == 3
        assert len(time.waits) == 2

    @pytest.mark.parametrize("lost", LOST)
    def test_one_that_stays_lost_is_unavailable_after_the_last_attempt(self, lost: str) -> None:
        with Stub(LOST[lost]) as stub:
            ids, error = read(stub)
        assert (ids, type(error)) == ([], GatewayUnavailable)
        assert len(stub.requests) == ATTEMPTS

    def test_the_wait_that_is_asked_for_and_the_rate_are_kept(self) -> None:
        time = Time()
        busy = answer(503, {}, headers={"Retry-After": "7"})
        with Stub(busy, answer(200, body=listed(1))) as stub:
            assert read(stub, time=time, requests_per_second=0.1) == ([0], None)
        assert time.waits == [7.0, 3.0]

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_a_short_list_that_is_cut_is_asked_for_again_whatever_of_it_came(self, share: float) -> None:
        short = answer(200, body=listed(PART_ROWS))
        with Stub(drop_at(short.wire, share), short) as stub:
            assert read(stub) == (list(range(PART_ROWS)), None)
        assert len(stub.requests) == 2

    def test_no_redirect_is_followed(self) -> None:
        with Stub(answer(200, body=listed(1))) as elsewhere:
            with Stub(answer(302, headers={"Location": elsewhere.base_url})) as stub:
                assert read(stub)[0] == []
            assert elsewhere.connections == 0

    def test_of_an_endless_answer_that_is_no_success_little_is_read(self) -> None:
        endless = Reply(b"HTTP/1.1 500 No\r\n\r\n", streams=lambda: b" " * 65536)
        with Stub(endless) as stub:
            errors = [read(stub)[1], *(Carrier(name).outcomes(stub.base_url, CALL)[0] for name in CALLERS)]
        assert all("longer than 1048576 bytes" in str(error) for error in errors)


class TestAfterTheFirstPart:
    @pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
    @pytest.mark.parametrize("framing", ["Content-Length: {}", "X-None: {}"])
    def test_an_answer_that_breaks_off_is_unavailable_and_not_asked_for_again(
        self, share: float, framing: str
    ) -> None:
        whole = listed(10_000)
        wire = f"HTTP/1.1 200 OK\r\n{framing.format(len(whole))}\r\n\r\n".encode() + whole
        time = Time()
        with Stub(drop_at(wire, share)) as stub:
            ids, error = read(stub, time=time)
        assert type(error) is GatewayUnavailable
        assert len(stub.requests) == 1
        assert time.waits == []
        assert ids == list(range(len(ids)))
        assert 0 < len(ids) < 10_000 * share
        assert_silent(f"{error!r} {vars(error)}")

    def test_so_is_one_whose_connection_is_reset(self) -> None:
        whole = listed(10_000)
        was_read = threading.Event()
        resetting = Reply(
            b"HTTP/1.1 200 OK\r\n\r\n" + whole[: len(whole) // 2],
            streams=lambda: b"" if was_read.wait(10) else b" ",
            resets=True,
        )
        with Stub(resetting) as stub, transport(stub) as carrying:
            parts = carrying.stream(CALL)
            next(parts)
            was_read.set()
            with pytest.raises(GatewayUnavailable, match="the connection broke"):
                list(parts)
        assert len(stub.requests) == 1

    @pytest.mark.parametrize("missing", [b"}", b"]}", b"}]}", b'"}]}'])
    def test_the_last_part_is_not_handed_out_before_the_answer_is_known_to_be_whole(
        self, missing: bytes
    ) -> None:
        whole = json.dumps({NAME: [row(n) for n in range(2500)]}).encode()
        with Stub(answer(200, body=whole.removesuffix(missing))) as stub:
            ids, error = read(stub)
        assert ids == list(range(len(ids)))
        assert PART_ROWS <= len(ids) <= 2 * PART_ROWS
        assert str(error) == (
            f"getOptoutMessages: no usable answer from the gateway of the connection 'winsms_default' at "
            f"127.0.0.1:{stub.port} (its answer is not whole JSON)."
        )
        assert len(stub.requests) == 1

    def test_a_gateway_that_falls_silent_is_unavailable_after_the_read_timeout(self) -> None:
        whole = listed(10_000)
        still = threading.Event()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
        silent = Reply(head + whole[: len(whole) // 2], streams=lambda: b" " if still.wait(10) else b"")
        with Stub(silent) as stub:
            ids, error = read(stub, read_timeout=0.2)
            still.set()
        assert len(ids) >= PART_ROWS
        assert type(error) is GatewayUnavailable
        assert "no answer in time" in str(error)

    def test_the_time_that_the_caller_takes_is_its_own(self) -> None:
        time = Time()
        with Stub(answer(200, body=listed(10_000))) as stub, transport(stub, time) as carrying:
            rows = 0
            for part in carrying.stream(CALL):
                time.now += 100_000
                rows += len(part)
        assert rows == 10_000

    def test_the_time_of_the_gateway_has_a_bound_though_no_single_byte_is_late(self) -> None:
        with Stub(answer(200, body=listed(50_000))) as stub:
            ids, error = read(stub, time=Time(tick=40.0))
        assert 0 < len(ids) < 50_000
        assert type(error) is GatewayUnavailable
        assert "its answer took longer than" in str(error)


class TestStopping:
    def endless(self) -> Iterator[bytes]:
        yield b'HTTP/1.1 200 OK\r\n\r\n{"%s": [{}' % NAME.encode()
        while True:
            yield b", {}" * 10_000

    def test_closing_the_iterator_closes_the_connection_and_the_next_call_gets_another(self) -> None:
        endless = self.endless()
        with Stub(Reply(streams=lambda: next(endless)), answer(200, body=listed(1))) as stub:
            with transport(stub) as carrying:
                with closing(carrying.stream(CALL)) as parts:
                    assert len(next(parts)) == PART_ROWS
                stub.await_end()
                ((entry,),) = carrying.stream(CALL)
            assert entry.message_id == 0
            assert stub.connections == 2

    def test_so_does_an_error_of_the_caller(self) -> None:
        endless = self.endless()
        with Stub(Reply(streams=lambda: next(endless))) as stub, transport(stub) as carrying:
            with suppress(ZeroDivisionError), closing(carrying.stream(CALL)) as parts:
                for part in parts:
                    assert len(part) / 0
            stub.await_end()

    def test_an_iterator_that_is_not_begun_asks_for_nothing(self) -> None:
        with Stub() as stub, transport(stub) as carrying:
            carrying.stream(CALL).close()
        assert stub.connections == 0

    def test_other_calls_may_be_carried_meanwhile_whatever_time_has_passed(self) -> None:
        time = Time()
        replies = answer(200, body=listed(5000)), answer(200, {"creditBalance": 5})
        with Stub(*replies) as stub, transport(stub, time) as carrying:
            parts = carrying.stream(CALL)
            rows = len(next(parts))
            for _ in range(3):
                time.now += 10
                assert carrying.execute(BALANCE).credits == 5
            assert rows + sum(map(len, parts)) == 5000


def rows_in(text: str) -> bytes:
    return f'{{"{NAME}": {text}}}'.encode()


MALFORMED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "is not whole JSON"),
    "another document": (b'{"fish": true}', "does not have one list of rows"),
    "no object": (b"[[]]", "is not whole JSON"),
    "no list": (rows_in('{"a": 1}'), "does not have one list of rows"),
    "no list at all": (rows_in("null"), "does not have one list of rows"),
    "two lists": (f'{{"{NAME}": [], "{NAME}": []}}'.encode(), "does not have one list of rows"),
    "a list within": (b'{"a": %s}' % rows_in("[{}]"), "does not have one list of rows"),
    "a comma too many": (rows_in("[{},]"), "is not whole JSON"),
    "a comma too few": (rows_in("[{} {}]"), "is not whole JSON"),
    "a comma at the end": (b'{"a": 1, "%s": [],}' % NAME.encode(), "is not whole JSON"),
    "no colon": (f'{{"{NAME}" []}}'.encode(), "is not whole JSON"),
    "a name without quotes": (f"{{{NAME}: []}}".encode(), "is not whole JSON"),
    "a name that is a number": (f'{{1: 2, "{NAME}": []}}'.encode(), "is not whole JSON"),
    "an end too few": (rows_in("[{}]")[:-1], "is not whole JSON"),
    "an end too many": (rows_in("[{}]") + b"}", "is not whole JSON"),
    "a document behind it": (rows_in("[{}]") + b"{}", "is not whole JSON"),
    "a NUL behind it": (rows_in("[{}]") + b"\x00", "is not whole JSON"),
    "a number that goes on": (b'{"a": 1.5.5, "%s": []}' % NAME.encode(), "is not whole JSON"),
    "no text": (rows_in("[{}]").replace(b"{}", b'{"a": "\xff\xfe 27821234567"}'), "is not whole JSON"),
    "half a character": (rows_in("[{}]") + b"\xc3", "is not whole JSON"),
    "nesting without end": (rows_in('[{"a": ' + "[" * 100_000), "is not whole JSON"),
    "a row that is too long": (
        rows_in(f'[{{"a": "{"x" * LONGEST_VALUE}"}}]'),
        "more than 1048576 characters",
    ),
    "a value that is too long": (b'{"a": "%s"}' % (b"x" * LONGEST_VALUE), "more than 1048576 characters"),
}


class TestBadAnswers:
    @pytest.mark.parametrize("what", MALFORMED)
    def test_one_that_is_malformed_is_unavailable_and_quoted_nowhere(
        self, what: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        body, says = MALFORMED[what]
        with Stub(answer(200, body=body)) as stub:
            ids, error = read(stub)
        assert (ids, type(error)) == ([], GatewayUnavailable)
        assert says in str(error)
        assert len(stub.requests) == ATTEMPTS
        assert error is not None
        assert error.__suppress_context__
        assert error.__cause__ is None
        for text in (caplog.text, f"{error!r} {vars(error)}"):
            assert ANN not in text
            assert_silent(text)

    def test_a_row_of_just_the_bound_is_read(self) -> None:
        padding = LONGEST_VALUE - len('{"a": ""}')
        body = rows_in(f'[{{}}, {{"a": "{"x" * padding}"}}, {{}}]')
        with Stub(answer(200, body=body), answer(200, body=body.replace(b"xx", b"xxx", 1))) as stub:
            with transport(stub) as carrying:
                assert sum(map(len, carrying.stream(CALL))) == 3
            assert "more than 1048576 characters" in str(read(stub)[1])

    @pytest.mark.parametrize("filler", [b", {}", b" ", b'{"', b'", "', b"9"])
    @pytest.mark.parametrize("opening", [b"{", b'{"a": ', f'{{"{NAME}": [{{}}'.encode(), rows_in("[{}]")])
    def test_an_endless_answer_is_not_read_to_its_end(self, opening: bytes, filler: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\n\r\n" + opening
        with Stub(Reply(head, streams=lambda: filler * 16_384)) as stub:
            endless = replace(
                CALL, max_answer_bytes=3_000_000, parse=lambda _: CALL.parse(Response({NAME: []}))
            )
            _, error = read(stub, endless)
        assert type(error) is GatewayUnavailable

    @pytest.mark.parametrize("opening", [b'{"a": "', rows_in("[{}, {")[:-1] + b'"a": "'])
    def test_a_value_without_end_is_given_up_long_before_the_answer_is_too_long(self, opening: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\n\r\n" + opening
        sent: list[int] = []

        def more() -> bytes:
            sent.append(65_536)
            return b"x" * 65_536

        with Stub(Reply(head, streams=more)) as stub:
            _, error = read(stub)
        assert "more than 1048576 characters" in str(error)
        # What lies in the buffers of two sockets was sent, and not read.
        assert sum(sent) < ATTEMPTS * 16_000_000

    def test_an_answer_of_exactly_the_bound_is_read(self) -> None:
        size = len(listed(2500))
        with Stub(answer(200, body=listed(2500))) as stub:
            assert read(stub, replace(CALL, max_answer_bytes=size)) == (list(range(2500)), None)
            ids, error = read(stub, replace(CALL, max_answer_bytes=size - 1))
        assert len(ids) < 2500
        assert f"longer than {size - 1} bytes" in str(error)


class TestMemory:
    def test_it_does_not_grow_with_the_list(self) -> None:
        few, many = peak_of(8_000), peak_of(24_000)
        assert many < few + 500_000
        assert many < 8_000_000

    @pytest.mark.database
    def test_a_million_opt_outs_take_no_more_than_a_hundred_thousand(self) -> None:
        few, many = resident_growth_of(100_000), resident_growth_of(1_000_000)
        assert max(few, many) < 20
        assert abs(many - few) < 5


def served(count: int) -> Reply:
    """Make a list while it is sent, so that it is in nobody's memory."""

    def chunks() -> Iterator[bytes]:
        yield b'HTTP/1.1 200 OK\r\n\r\n{"%s": [{}' % NAME.encode()
        for start in range(1, count, 500):
            yield "".join("," + json.dumps(row(n)) for n in range(start, min(start + 500, count))).encode()
        yield b"]}"

    made = chunks()
    return Reply(streams=lambda: next(made, b""), closes=True)


def peak_of(count: int) -> int:
    """Return the bytes that Python takes at most while a list is read."""
    with Stub(served(count)) as stub, transport(stub) as carrying:
        tracemalloc.start()
        try:
            assert sum(map(len, carrying.stream(CALL))) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


READER = """
import re, sys
from pathlib import Path
from airflow_provider_winsms.gateways.endpoint import Endpoint
from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

gateway = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")
with Transport(Endpoint("winsms_default", gateway, sys.argv[1], "any")) as transport:
    transport.execute(gateway.balance())
    before = peak()
    rows = sum(map(len, transport.stream(gateway.opt_outs())))
print(rows, peak() - before)
"""


def resident_growth_of(count: int) -> float:
    """Return the megabytes by which another process grows at most while it reads a list."""
    with Stub(answer(200, {"creditBalance": 5}), served(count)) as stub:
        command = [sys.executable, "-c", READER, stub.base_url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    rows, growth = done.stdout.split()
    assert int(rows) == count
    return float(growth)
