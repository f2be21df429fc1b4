"""A sandbox whose lists are those that a test gives it, in whatever order."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.sandbox.scripts import Listing, ListQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_winsms.gateways.base import Call
    from airflow_provider_winsms.sandbox.scripts import Script

    Row = dict[str, Any]

PAGE_SIZE = 10


def page_range(call: Call[Any]) -> tuple[int, int]:
    """Return the offset and the number of rows that a call asks for."""
    return int(call.query["offset"]), int(call.query["limit"])


class Lists:
    """Rows of four lists, which may be changed at any time.

    :ivar rows: incoming messages; ``short_code``, ``scheduled`` and ``opt_outs`` likewise.
    :ivar most: the most rows of a page, whatever is asked for.
    :ivar hidden: how many rows the total counts and no page has.
    :ivar meanwhile: is called before each answer, in its thread, with the request's number from 1.
    :ivar extra: the extras of the connection.
    :ivar asked: the pages that were asked for.
    """

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.rows: list[Row] = []
        self.short_code: list[Row] = []
        self.scheduled: list[Row] = []
        self.opt_outs: list[Row] = []
        self.most = 1000
        self.hidden = 0
        self.meanwhile: Callable[[int], object] = lambda _: None
        self.extra: dict[str, Any] = {"page_size": PAGE_SIZE}
        self.asked: list[ListQuery] = []
        self.requests = 0
        self._lock = threading.Lock()
        box.script("getIncomingMessages", self._paged(lambda: self.rows))
        box.script("getShortCodeMessages", self._paged(lambda: self.short_code))
        box.script("getScheduledMessages", self._paged(lambda: self.scheduled))
        box.script("getOptoutMessages", self._whole)

    @property
    def connection(self) -> str:
        return connection_to(self.box, **self.extra)

    def _paged(self, rows: Callable[[], Sequence[Row]]) -> Script:
        def page(asked: ListQuery) -> Listing:
            self._begin()
            self.asked.append(asked)
            found = rows()
            end = asked.offset + min(asked.limit, self.most)
            return Listing(found[asked.offset : end], len(found) + self.hidden)

        return page

    def _whole(self, _: ListQuery) -> Listing:
        self._begin()
        return Listing(self.opt_outs)

    def _begin(self) -> None:
        with self._lock:
            self.requests += 1
            number = self.requests
        self.meanwhile(number)


@contextmanager
def listing() -> Iterator[Lists]:
    with Sandbox(speed=0) as box:
        yield Lists(box)


def connection_to(box: Sandbox, **extra: Any) -> str:
    """Return the Airflow connection that leads to a sandbox, as JSON."""
    connection = {"conn_type": "winsms", "host": box.base_url, "password": box.api_key}
    return json.dumps({**connection, "extra": json.dumps(extra)})


def one_at_a_time(script: Script) -> Script:
    """Return a script that answers no request before the one before is answered."""
    turn = threading.Lock()

    def answer(asked: ListQuery) -> Listing:
        with turn:
            return script(asked)

    return answer


def row(message_id: int | None, number: str = "27825550101", text: str = "YES", **more: Any) -> Row:
    """Return an incoming message, a short code message or an opt-out."""
    return {
        "incomingApiMessageId": message_id,
        "mobileNumber": number,
        "receiveTime": "202603021030",
        "messageText": text,
        **more,
    }


def waiting(message_id: int, number: str = "27825550101", **more: Any) -> Row:
    """Return a scheduled message."""
    return {
        "apiMessageId": message_id,
        "mobileNumber": number,
        "submitTime": "202603021030",
        "scheduledSendTime": "202603051800",
        "creditCost": 1.5,
        **more,
    }
