"""Gateways for measurements: sandboxes that list hundreds of thousands of messages at little cost."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, Self

from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.sandbox.bulk import BulkRows, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

API_KEY = "no-secret"
FIRST_ID = 5_000_000_000
"""The id of the first row; ids ascend by one."""

TRAVEL = timedelta(days=1)
_STATUS = '"mobileNumber":"27820000000","statusTime":"202601011200","creditCost":1.0'
_ON_ITS_WAY = f'{_STATUS},"statusDelivered":false,"statusErrorCode":"SENT"'
_ARRIVED = f'{_STATUS},"statusDelivered":true,"statusErrorCode":""'
_ROWS_OF_A_MINUTE = 10
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


def text(index: int) -> str:
    """Return the text of a row."""
    return f"{_TEXTS[index % len(_TEXTS)]} {index}"


def _incoming(index: int) -> str:
    return (
        f'{{"incomingApiMessageId":{FIRST_ID + index},"mobileNumber":"2782{index * 7919 % 10_000_000:07d}",'
        f'"receiveTime":"{_time(index)}","messageText":"{_ENCODED[index % len(_ENCODED)]} {index}",'
        f'"outgoingApiMessageId":{_OUTGOING_ID + index * 3}}}'
    )


def _opt_out(index: int) -> str:
    return (
        f'{{"incomingApiMessageId":{FIRST_ID + index},"mobileNumber":"2782{index:07d}",'
        f'"receiveTime":"{_time(index)}","messageText":"STOP"}}'
    )


def _time(index: int) -> str:
    return _minute(index // _ROWS_OF_A_MINUTE)


@cache
def _minute(count: int) -> str:
    return f"{_BEGIN + timedelta(minutes=count):%Y%m%d%H%M}"


@contextmanager
def statuses_by_the_million(latency: float = 0.0) -> Iterator[Sandbox]:
    """Yield a sandbox that knows every id. All texts arrive when its clock is advanced by ``TRAVEL``.

    :param latency: seconds until each answer.
    """
    with Sandbox(api_key=API_KEY, speed=0) as box:
        arrival = box.now() + TRAVEL
        box.script("smsStatus", statuses(lambda: _ARRIVED if box.now() >= arrival else _ON_ITS_WAY))
        if latency:
            box.add_fault("latency", probability=1, seconds=latency)
        yield box


class Served(NamedTuple):
    """The key of a gateway: its number of rows, and the latency of its answers."""

    rows: int
    milliseconds: int


class BulkGateway:
    """One gateway.

    :ivar rows: how many rows it lists; the number may grow.
    """

    def __init__(self, box: Sandbox, rows: int) -> None:
        self.box = box
        self.rows = rows

    @property
    def requests(self) -> int:
        """The number of requests so far."""
        return len(self.box.requests())


class BulkGateways:
    """Gateways that share their rows. Each is opened at its first use.

    :param rows: how many rows are encoded in advance.
    """

    def __init__(self, rows: int = 0) -> None:
        self._incoming, self._opt_outs = BulkRows(_incoming), BulkRows(_opt_out)
        self._incoming.prepare(rows)
        self._open: dict[Served, BulkGateway] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Open no gateway yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all open gateways."""
        self._stack.close()

    def of(self, rows: int, milliseconds: int = 0) -> BulkGateway:
        """Return the gateway with this many rows at this latency."""
        served = Served(rows, milliseconds)
        if served not in self._open:
            self._open[served] = self._opened(served)
        return self._open[served]

    def _opened(self, served: Served) -> BulkGateway:
        box = self._stack.enter_context(Sandbox(api_key=API_KEY))
        gateway = BulkGateway(box, served.rows)
        box.script("getIncomingMessages", self._incoming.script(lambda: gateway.rows))
        box.script("getOptoutMessages", self._opt_outs.script(lambda: gateway.rows))
        if served.milliseconds:
            box.add_fault("latency", probability=1, seconds=served.milliseconds / 1000)
        return gateway
