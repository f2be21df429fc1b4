"""Lists of a gateway: each is read by one of three strategies, as the gateway declares.

A list by offset is read as it is. A list of numbered pages is served by offset, so that one reader reads
both. A queue is read block by block: a request for the next block acknowledges the block before it.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from airflow_provider_winsms.exceptions import GatewayUnavailable, OutcomeUnknown, UnsupportedCapability
from airflow_provider_winsms.gateways.base import ListReading

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from airflow_provider_winsms.gateways.base import BeforeSend, Call, Execute, Gateway
    from airflow_provider_winsms.messages import Columns, IncomingMessage, Page

T = TypeVar("T")

PageRequests: TypeAlias = "Generator[Call[Page[T]], Any, Page[T]]"

_CALLS: dict[str, Callable[[Gateway], Callable[[int, int], Call[Page[Any]]]]] = {
    "incoming": lambda gateway: gateway.incoming,
    "short_code": lambda gateway: gateway.short_code,
    "list_scheduled": lambda gateway: gateway.scheduled,
    "sent_history": lambda gateway: gateway.sent,
}
"""The call of each list that has pages, by the capability that it needs."""


@dataclass(frozen=True, slots=True)
class Block(Generic[T]):
    """The rows of one block of a queue.

    :param token: asks for the next block, and acknowledges this one; ``None`` for the last block.
    """

    rows: Columns[T] = field(repr=False)
    token: str | None = field(repr=False)


def reading_of(gateway: Gateway, capability: str) -> ListReading:
    """Return how a list is read.

    :param capability: the field of ``Capabilities`` that says whether there is the list.
    """
    declared = getattr(gateway.capabilities, capability)
    return declared if isinstance(declared, ListReading) else gateway.capabilities.pages


def page_requests(gateway: Gateway, capability: str, offset: int, limit: int) -> PageRequests[Any]:
    """Yield the requests for the rows of a list from an offset, and return their page.

    It does no I/O: send it the page of each request. The page may have fewer rows than ``limit``, though the
    list has more.

    :param capability: as in ``reading_of``.
    :raises UnsupportedCapability: the list is a queue.
    """
    describe, reading = _CALLS[capability](gateway), reading_of(gateway, capability)
    if reading is ListReading.QUEUE:
        msg = (
            f"The gateway {gateway.name} lists each text of `{capability}` once, as a queue. It can be "
            "loaded, but not watched or read by offset. Nothing was requested."
        )
        raise UnsupportedCapability(msg)
    if reading is ListReading.NUMBERED:
        return (yield from _numbered(describe, offset, limit, gateway.limits.page_rows))
    page: Page[Any] = yield describe(offset, limit)
    return page


def pages_by_offset(
    gateway: Gateway, capability: str, execute: Execute, before_send: BeforeSend = nullcontext
) -> Callable[[int, int], Page[Any]]:
    """Return a function that reads the rows of a list from an offset, up to a number of rows.

    Several threads may call it.

    :param capability: as in ``reading_of``. A queue is refused when it is read.
    """

    def fetch(offset: int, limit: int) -> Page[Any]:
        requests = page_requests(gateway, capability, offset, limit)
        page = None
        while True:
            try:
                call = requests.send(page)
            except StopIteration as end:
                found: Page[Any] = end.value
                return found
            page = execute(call, before_send)

    return fetch


def _numbered(
    describe: Callable[[int, int], Call[Page[T]]], offset: int, limit: int, most_rows: int
) -> PageRequests[T]:
    """Read rows from an offset: all of them if a page of some size has them, or the first of them."""
    sizes = range(limit, most_rows + 1)
    size = next((size for size in sizes if offset % size + limit <= size), limit)
    index = offset // size
    page = replace((yield describe(index + 1, size)), offset=index * size)
    if page.length < min(size, page.total - page.offset) and (yield describe(index + 2, size)).length:
        # The numbers of pages count full ones: the rows after a short page would be skipped.
        msg = (
            f"The gateway lists {page.length} rows on page {index + 1} of {size} each, and rows after "
            "it. If each page is so short, set a smaller `page_size` in the connection."
        )
        raise GatewayUnavailable(msg)
    return _cut(page, offset, offset + limit)


class ConsumingQueue:
    """A queue of incoming texts. One request is made at a time, and none ahead.

    :param before_send: makes the context of each request.
    """

    def __init__(self, gateway: Gateway, execute: Execute, before_send: BeforeSend) -> None:
        self._gateway = gateway
        self._execute = execute
        self._before_send = before_send
        self.requests = 0

    def blocks(self) -> Generator[Block[IncomingMessage]]:
        """Yield each block. Taking the next one acknowledges the block before: commit that first.

        :raises GatewayUnavailable: the answer with the next block was lost. The gateway keeps that block
            until its own token is followed.
        """
        token: str | None = None
        while True:
            block = self._take(token)
            yield block
            if (token := block.token) is None:
                return

    def _take(self, token: str | None) -> Block[IncomingMessage]:
        call = self._gateway.take_incoming(token)
        self.requests += 1
        if token is not None:
            call = replace(call, is_repeatable=False)
        try:
            return self._execute(call, self._before_send)
        except OutcomeUnknown as error:
            lost = str(error)
        # Raised outside the handler: nothing is unknown about what was loaded.
        msg = f"The answer with the next block of the queue was lost: {lost}"
        raise GatewayUnavailable(msg)


def _cut(page: Page[T], start: int, end: int) -> Page[T]:
    """Return the part of a page between two offsets."""
    first, last = start - page.offset, end - page.offset
    kept = [index for index, at in enumerate(page.readable_at()) if first <= at < last]
    rows = page.rows if len(kept) == len(page.rows) else page.rows[kept[0] : kept[-1] + 1] if kept else ()
    unreadable = tuple(at - first for at in page.unreadable_at if first <= at < last)
    return replace(page, rows=rows, offset=start, unreadable_at=unreadable)
