"""A gateway that only lists what came in, but fast, and as much of it as is asked for. It checks nothing.

Run as ``python -m scripts.list_server ROWS``: so many rows are made before it prints its URL, more when they
are asked for. Below that URL is a gateway for each number of rows and each latency in milliseconds, such as
``/500000/50``, with ``GET /sms/incoming`` and ``GET /sms/incoming/optout``. There, ``POST /add?rows=10`` has
more rows arrive, and ``POST /count`` answers how many requests came since it was last asked.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from array import array
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST_ID = 5_000_000_000
"""The id of the first row; ids ascend by one."""

_ROWS_OF_A_MINUTE = 10
_CHUNK = 1000
_OUTGOING_ID = 4_000_000_000
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_TEXTS = (
    "Yes please, I will fetch it on Saturday morning. Order",
    "Thanks, the parcel has arrived in good order. Reference",
    "Can you deliver after five in the afternoon instead? Ticket",
    "Please phone me back about the account, I was at work. Case",
    "No thank you, the other one was delivered last week. Parcel",
    "Ja dankie, ek sal dit m\u00f4re by die toonbank kom haal. Bestelling",
    'Where is it? The site says "on its way" since Monday. Order',
    "Fine \U0001f44d see you at the counter in Long Street. Booking",
    "The first line of an answer\nand a second one, for number",
    "The gate code is 4471, ring twice at the back door. Delivery",
    "Wrong number, this is not the person you want. Message",
    "Siyabonga kakhulu, sizofika kusasa ekuseni. Inombolo",
    "We are open till six\tor by appointment \\ phone. Visit",
    "Is the price with VAT or without? Kindly confirm. Quote",
    "Confirmed for two people, one of them vegetarian. Table",
    "I have never bought there, why do I get these? Complaint",
)
_ENCODED = tuple(json.dumps(text)[1:-1] for text in _TEXTS)
_ENVELOPE = '{{"timeStamp":"20260101120000000","version":"1.0","statusCode":200,{paging}"{name}":['
_REQUEST = re.compile(rb"[A-Z]+ /(\d+)/(\d+)(/[a-z/]+)(?:\?(\S*))? ")
_PARAMETER = re.compile(rb"(offset|limit|rows)=(\d+)")


def text(place: int) -> str:
    """Return the text of a row."""
    return f"{_TEXTS[place % len(_TEXTS)]} {place}"


def _incoming(place: int, time: str) -> str:
    return (
        f'{{"incomingApiMessageId":{FIRST_ID + place},"mobileNumber":"2782{place * 7919 % 10_000_000:07d}",'
        f'"receiveTime":"{time}","messageText":"{_ENCODED[place % len(_ENCODED)]} {place}",'
        f'"outgoingApiMessageId":{_OUTGOING_ID + place * 3}}},'
    )


def _opt_out(place: int, time: str) -> str:
    return (
        f'{{"incomingApiMessageId":{FIRST_ID + place},"mobileNumber":"2782{place:07d}",'
        f'"receiveTime":"{time}","messageText":"STOP"}},'
    )


class _Chunk(NamedTuple):
    """Rows with a comma after each; where each begins, and where the last one ends."""

    rows: bytes
    begins: array[int]


class Rows:
    """The rows of one list, encoded once, a thousand at a time, when they are first asked for."""

    def __init__(self, row: Callable[[int, str], str]) -> None:
        self._row = row
        self._chunk = cache(self._encoded)

    def prepare(self, rows: int) -> None:
        """Encode that many."""
        for place in range(rows // _CHUNK):
            self._chunk(place)

    def between(self, begin: int, end: int) -> Iterator[bytes]:
        """Yield a stretch in pieces, a comma after each row."""
        while begin < end:
            place, first = divmod(begin, _CHUNK)
            last = min(end - place * _CHUNK, _CHUNK)
            chunk = self._chunk(place)
            is_whole = (first, last) == (0, _CHUNK)
            yield chunk.rows if is_whole else chunk.rows[chunk.begins[first] : chunk.begins[last]]
            begin = place * _CHUNK + last

    def _encoded(self, place: int) -> _Chunk:
        encoded, begins = bytearray(), array("I", [0])
        for row in range(place * _CHUNK, (place + 1) * _CHUNK):
            encoded += self._row(row, _minute(row // _ROWS_OF_A_MINUTE)).encode()
            begins.append(len(encoded))
        return _Chunk(bytes(encoded), begins)


@cache
def _minute(count: int) -> str:
    return f"{_BEGIN + timedelta(minutes=count):%Y%m%d%H%M}"


class Gateway(NamedTuple):
    """One of the gateways.

    :param rows: how many it lists, besides those that were added.
    """

    rows: int
    milliseconds: int


class ListServer:
    """What all connections share."""

    def __init__(self, rows: int) -> None:
        self._incoming, self._opt_outs = Rows(_incoming), Rows(_opt_out)
        self._incoming.prepare(rows)
        self._added: Counter[Gateway] = Counter()
        self._requests: Counter[Gateway] = Counter()

    def answer(self, gateway: Gateway, path: bytes, query: dict[bytes, int]) -> bytes:
        """Return the body of the answer to a request."""
        if path == b"/add":
            self._added[gateway] += query[b"rows"]
            return b"{}"
        if path == b"/count":
            return b"%d" % self._requests.pop(gateway, 0)
        self._requests[gateway] += 1
        total = gateway.rows + self._added[gateway]
        if path == b"/sms/incoming":
            return self._page(total, query.get(b"offset", 0), query.get(b"limit", 100))
        return _listed("incomingOptoutMessages", "", self._opt_outs.between(0, total))

    def _page(self, total: int, offset: int, limit: int) -> bytes:
        paging = f'"resultsOffset":{offset},"resultsLimit":{limit},"resultsTotalAvailable":{total},'
        return _listed("incomingMessages", paging, self._incoming.between(offset, min(offset + limit, total)))


def _listed(name: str, paging: str, rows: Iterator[bytes]) -> bytes:
    pieces = list(rows)
    if pieces:
        pieces[-1] = pieces[-1][:-1]
    return b"".join([_ENVELOPE.format(name=name, paging=paging).encode(), *pieces, b"]}"])


class Connection(asyncio.Protocol):
    """Answers the requests of one connection, which have no bodies."""

    def __init__(self, server: ListServer) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        """Keep what answers are written to."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        *heads, self._received = (self._received + data).split(b"\r\n\r\n")
        for head in heads:
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        request = _REQUEST.match(head)
        if request is None:
            self._transport.abort()
            return
        rows, milliseconds, path, query = request.groups()
        gateway = Gateway(int(rows), int(milliseconds))
        parameters = {name: int(value) for name, value in _PARAMETER.findall(query or b"")}
        body = self._server.answer(gateway, path, parameters)
        start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        write = partial(self._transport.writelines, (start, body))
        if gateway.milliseconds:
            asyncio.get_running_loop().call_later(gateway.milliseconds / 1000, write)
        else:
            write()


async def main() -> None:
    """Serve until the process is ended."""
    lists = ListServer(int(sys.argv[1]))
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(lists), "127.0.0.1", 0, backlog=256
    )
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
