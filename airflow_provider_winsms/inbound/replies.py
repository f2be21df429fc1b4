"""Replies that waits look for: the incoming list, back to the first question that waits for an answer."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provider_winsms.inbound.feeds import FeedConnection, ReadScope, TailReader, sequence_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_winsms.gateways.transport import AsyncTransport
    from airflow_provider_winsms.inbound.feeds import FeedRow
    from airflow_provider_winsms.polling.due_queue import DueQueue
    from airflow_provider_winsms.polling.subscriptions import Subscriptions
    from airflow_provider_winsms.runtime import Log


class Reply(NamedTuple):
    """One text that a phone sent.

    :param at: when it arrived, in seconds since the epoch; ``None`` if the gateway does not tell.
    """

    key: str
    number: str
    text: str
    at: float | None

    def __repr__(self) -> str:
        """Show no number and no text."""
        return f"Reply(key={self.key!r}, at={self.at!r})"


class ReplyTracker(Protocol):
    """What a wait for replies keeps.

    :ivar since: replies before this instant do not count; in seconds since the epoch.
    :ivar is_served: whether it has got all replies that were read before.
    """

    since: float
    is_served: bool

    def record(self, replies: Iterable[Reply], now: float) -> None:
        """Record replies. Some of them may have been recorded before."""


@dataclass(slots=True)
class Replies:
    """The replies since some instant. Each reading adds those that have come since the one before.

    It keeps them in memory until no wait needs them: a wait that begins later may look for any of them.
    """

    _since: float = math.inf
    _reader: TailReader = field(default_factory=lambda: TailReader("incoming"))
    _kept: dict[str, Reply] = field(default_factory=dict)

    async def read(self, connection: FeedConnection, since: float) -> list[Reply]:
        """Read the list, and return all replies since an instant that were not returned before, oldest first.

        If the instant is earlier than what is kept, all since then are returned again.

        :raises SmsError: as the connection's calls do.
        """
        if since < self._since:
            self._since, self._reader, self._kept = since, TailReader("incoming"), {}
        scope = ReadScope(
            is_new=lambda row: row.key not in self._kept and _is_since(row, self._since),
            floor=-math.inf,
            read_back_to=math.inf,
            has_new_subscribers=False,
        )
        rows = await self._reader.read(connection, scope)
        new = [_reply_of(row) for row in sorted(rows, key=sequence_of) if scope.is_new(row)]
        self._kept.update((reply.key, reply) for reply in new)
        return new

    def all(self) -> list[Reply]:
        """Return all that is kept, oldest first."""
        return list(self._kept.values())

    def forget_before(self, since: float) -> None:
        """Keep no reply that no wait needs any more. A wait that begins earlier has the list read again."""
        if since > self._since:
            self._since = since
            kept = self._kept.items()
            self._kept = {key: reply for key, reply in kept if reply.at is None or reply.at >= since}


class ReplyQuestions:
    """Reads the replies when the first wait is due, and hands the new ones to all waits.

    :param log: takes messages that concern more than one wait.
    :param now: seconds since the epoch.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        queue: DueQueue,
        *,
        log: Log,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._subscriptions = subscriptions
        self._queue = queue
        self._log = log
        self._now = now
        self._replies = Replies()

    async def ask_due(self, transport: AsyncTransport) -> None:
        """Read if a wait is due. What is read counts for all waits, so each is due again after its pause.

        :raises SmsError: as the transport does.
        """
        if not await self._queue.has_due():
            return
        async with aclosing(self._subscriptions.active()) as waits:
            since = min([each.tracker.since async for each in waits], default=math.inf)
        new = await self._replies.read(connection_of(transport), since)
        if new:
            self._log.info("%d new %s.", len(new), "reply" if len(new) == 1 else "replies")
        self._replies.forget_before(since)
        await self._hand_out(new)

    async def _hand_out(self, new: list[Reply]) -> None:
        now = self._now()
        async with aclosing(self._subscriptions.active()) as waits:
            async for each in waits:
                each.schedule_next(now)
                each.record(new if each.tracker.is_served else self._replies.all(), now)
                each.tracker.is_served = True
                if each.ended.done():
                    await asyncio.sleep(0)


def connection_of(transport: AsyncTransport) -> FeedConnection:
    """Return the connection of a reader over an open transport."""
    endpoint = transport.endpoint
    return FeedConnection(endpoint.gateway, transport.execute, endpoint.page_size, endpoint.hashes)


def _is_since(row: FeedRow, since: float) -> bool:
    at = _instant_of(row)
    return at is None or at >= since


def _reply_of(row: FeedRow) -> Reply:
    record: Any = row.record
    return Reply(row.key, record.number, record.text or "", _instant_of(row))


def _instant_of(row: FeedRow) -> float | None:
    record: Any = row.record
    return None if record.received_at is None else record.received_at.timestamp()
