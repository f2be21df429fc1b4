"""A gateway in memory, for polls in virtual time: what is asked is noted, what is answered is settable."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gateways.endpoint import Endpoint
from airflow_provider_winsms.gateways.responses import Answer, read_answer
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.gateways.base import Call
    from airflow_provider_winsms.messages import MessageId

T = TypeVar("T")

SENT: dict[str, Any] = {"statusDelivered": False, "statusErrorCode": "SENT"}
DELIVERED: dict[str, Any] = {"statusDelivered": True}
FAILED: dict[str, Any] = {"statusDelivered": False, "statusErrorCode": "FAILED"}
NOT_FOUND: dict[str, Any] = {"statusDelivered": False, "statusErrorCode": "NOTFOUND"}


class NarrowGateway(WinSMSGateway):
    """Takes four ids in a request, so that few texts make many requests."""

    limits: ClassVar = replace(WinSMSGateway.limits, status_ids=4)


WIDE = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")
NARROW = NarrowGateway(time_zone="Africa/Johannesburg", country_code="27")


@dataclass(eq=False)
class Asked:
    """A request: when it left, for what, and whether it was answered."""

    at: float
    ids: list[MessageId]
    is_answered: bool = False


@dataclass
class MemoryGateway:
    """What the gateway knows, and what was asked of it.

    :param states: wire rows by id; an id that is not in it is on its way.
    :param latency: seconds until an answer comes.
    :param credits: what it states as the balance.
    :param closing: seconds that it takes to close a transport.
    :param fails: is given a request before its answer, and may raise.
    :param transports: those that were opened and are not closed.
    """

    gateway: WinSMSGateway = NARROW
    states: dict[MessageId, dict[str, Any]] = field(default_factory=dict)
    latency: Callable[[], float] = lambda: 0.0
    fails: Callable[[Asked], None] = lambda _: None
    closing: float = 0.0
    key: str = "key"
    max_concurrent_requests: int = 4
    refused: set[MessageId] = field(default_factory=set)
    credits: object = 0
    requests: list[Asked] = field(default_factory=list)
    opened: int = 0
    transports: list[MemoryTransport] = field(default_factory=list)
    on_their_way: int = 0
    most_on_their_way: int = 0

    async def open_transport(self) -> Any:
        """Read the connection, as it is now."""
        await asyncio.sleep(0)
        endpoint = Endpoint(
            "winsms_default",
            self.gateway,
            "http://gateway",
            self.key,
            max_concurrent_requests=self.max_concurrent_requests,
        )
        return MemoryTransport(self, endpoint)

    @property
    def asked(self) -> list[list[MessageId]]:
        """The ids of each request."""
        return [request.ids for request in self.requests]

    @property
    def times(self) -> list[float]:
        """When each request left."""
        return [request.at for request in self.requests]


class MemoryTransport:
    """Stands where an ``AsyncTransport`` stands."""

    def __init__(self, there: MemoryGateway, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._there = there

    async def __aenter__(self) -> Self:
        self._there.opened += 1
        self._there.transports.append(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(self._there.closing)
        self._there.transports.remove(self)

    async def execute(self, call: Call[T]) -> T:
        """Answer as the gateway would, by way of the real gateway's code."""
        there = self._there
        assert self in there.transports, "It is closed."
        request = Asked(asyncio.get_running_loop().time(), json.loads(call.body or b"[]"))
        there.requests.append(request)
        there.on_their_way += 1
        there.most_on_their_way = max(there.most_on_their_way, there.on_their_way)
        try:
            await asyncio.sleep(there.latency())
            there.fails(request)
            if there.refused.intersection(request.ids):
                msg = "smsStatus: HTTP 400. The gateway refused the request as a whole."
                raise InvalidMessage(msg)
            return self._answer(call, request)
        finally:
            there.on_their_way -= 1

    def _answer(self, call: Call[T], request: Asked) -> T:
        if call.operation == "getCreditBalance":
            return self._read(call, {"creditBalance": self._there.credits})
        rows = [{"apiMessageId": each, **self._there.states.get(each, SENT)} for each in request.ids]
        request.is_answered = True
        return self._read(call, {"messageStatuses": rows})

    def _read(self, call: Call[T], document: dict[str, Any]) -> T:
        return read_answer(call, Answer(200, {}, json.dumps(document).encode()), self.endpoint)
