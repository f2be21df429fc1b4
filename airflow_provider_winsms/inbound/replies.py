"""Replies that waits look for: the incoming list, back to the first question that waits for an answer."""

from __future__ import annotations

import math
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provider_winsms.inbound.feeds import FeedConnection, ReadScope, TailReader, sequence_of
from airflow_provider_winsms.polling.shared_question import SharedQuestion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.gateways.transport import AsyncTransport
    from airflow_provider_winsms.inbound.feeds import FeedRow


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


class ReplyQuestions(SharedQuestion):
    """Reads the replies when the first wait is due, and hands the new ones to all waits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._replies = Replies()

    async def _ask(self, transport: AsyncTransport) -> None:
        async with aclosing(self._subscriptions.active()) as waits:
            since = min([each.tracker.since async for each in waits], default=math.inf)
        new = await self._replies.read(connection_of(transport), since)
        if new:
            self._log.info("%d new %s.", len(new), "reply" if len(new) == 1 else "replies")
        self._replies.forget_before(since)
        await self._hand_out(lambda wait: self._replies_for(wait.tracker, new))

    def _replies_for(self, tracker: ReplyTracker, new: list[Reply]) -> list[Reply]:
        """Return the new replies; all that are kept, for a wait that gets some for the first time."""
        is_served, tracker.is_served = tracker.is_served, True
        return new if is_served else self._replies.all()


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
