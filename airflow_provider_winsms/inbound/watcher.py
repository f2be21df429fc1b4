"""The watcher of a list: one poll for all its subscribers, and each new row offered to each of them once.

A subscriber has a cursor, which names the rows that it is done with. The watcher offers it the rows that its
cursor lacks. A row enters the cursor only when the subscriber's event is known to be stored. So a row may
fire twice, if the process ends in between, and is never lost.

Whoever makes a watcher hands in the connection to the gateway and the stores of cursors.
"""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import SmsError
from airflow_provider_winsms.gateways.backoff import back_off
from airflow_provider_winsms.inbound.feeds import ReadScope, sequence_of
from airflow_provider_winsms.inbound.subscriber import MOST_IN_FLIGHT, Envelope, Subscriber, Subscribers
from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.runtime import pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from airflow_provider_winsms.inbound.feeds import FeedConnection, FeedRow, WatchedList

LONGEST_POLL_PAUSE = 600.0
"""Seconds: the longest pause after failed polls, unless the gateway asks for a longer one."""

JOIN_WINDOW = 2.0
"""Seconds in which subscribers may join before the first poll: a triggerer starts them one by one."""


class Watcher:
    """Polls one list, and offers new rows to its subscribers.

    :param connect: connects to the gateway, once for each poll, so that a mended connection takes effect.
    :param pause: waits for seconds or an event; like ``clock``, in seconds, a seam for tests.
    """

    def __init__(
        self,
        watched: WatchedList,
        subscribers: Subscribers,
        connect: Callable[[], AbstractAsyncContextManager[FeedConnection]],
        *,
        poll_interval: float,
        log: Any,
        pause: Callable[..., Awaitable[None]] = pause,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = watched
        self._reader = watched.reader()
        self._subscribers = subscribers
        self._connect = connect
        self._poll_interval = poll_interval
        self._log = log
        self._pause = pause
        self._clock = clock
        self._unreadable = 0
        self._has_logged_unlisted = False
        self._polls_behind = 0
        self._in_flight = 0
        self._has_capacity = asyncio.Event()

    async def envelopes(self) -> AsyncIterator[Envelope]:
        """Yield new rows, for ever. Any error is logged; the poll is repeated after a pause."""
        failures = 0
        await self._wait_for_subscribers()
        while True:
            self._subscribers.joined.clear()
            try:
                rows = await self._poll()
            except Exception as error:  # noqa: BLE001 - if it ended on any error, Airflow would restart it at once
                failures += 1
                await self._back_off(failures, error)
                continue
            failures = 0
            for row in (*rows, None) if rows else ():
                await self._wait_for_capacity()
                yield Envelope(row)
            await self._pause(self._next_interval(), self._subscribers.joined)
            if self._subscribers.joined.is_set() or not self._subscribers.subscribers:
                await self._wait_for_subscribers()

    async def auto_acked(self) -> AsyncIterator[Envelope]:
        """Yield new rows to a subscriber that is alone. Its events count as stored once it has fired them."""
        async for envelope in self.envelopes():
            yield envelope
            await self.settle([(envelope, True)])

    async def settle(self, outcomes: Iterable[tuple[Envelope, bool]]) -> None:
        """Ack each envelope whose events are all stored, nack the others, and save the cursors.

        A cursor that cannot be saved is saved later. Only its rows fire again if the process ends before.
        """
        changed: dict[Subscriber, None] = {}
        settled = 0
        for envelope, is_stored in outcomes:
            settled += 1
            envelope.ack() if is_stored else envelope.nack()
            changed.update((subscriber, None) for subscriber, _ in envelope.handled)
        try:
            for subscriber in changed:
                await self._save(subscriber)
        finally:
            # Before this, new rows would be in flight beside those that are not saved.
            self._in_flight -= settled
            self._has_capacity.set()

    def _next_interval(self) -> float:
        """Return the seconds until the next poll: more each time that one poll does not read all new rows."""
        if not self._reader.is_behind:
            self._polls_behind = 0
            return self._poll_interval
        self._polls_behind += 1
        seconds = poll_pause(self._poll_interval, self._polls_behind)
        self._log.warning(
            "The list has more new rows than one poll reads. Continuing in %.0f seconds; no %s is skipped.",
            seconds,
            self._watched.noun,
        )
        return seconds

    async def _wait_for_subscribers(self) -> None:
        """Wait for a subscriber, and a little longer for others."""
        await self._subscribers.joined.wait()
        await self._pause(JOIN_WINDOW)

    async def _poll(self) -> list[FeedRow]:
        """Return the rows that are new to a subscriber, oldest first."""
        async with self._connect() as connection:
            connection.gateway.require(self._watched.name, "dataset")
            prepared = await self._prepare_subscribers(connection)
            rows = await self._read(connection, prepared) if prepared else []
        for subscriber in prepared:
            if subscriber.cursor is None and not self._reader.is_behind:
                subscriber.begin(rows)
                self._log.info("Watching from now on; every listed %s counts as seen.", self._watched.noun)
        new = [row for row in rows if _enqueue(prepared, row)]
        if new:
            self._log.info("%s.", pluralize(len(new), f"new {self._watched.noun}"))
        for subscriber in prepared:
            await self._save(subscriber)
        return sorted(new, key=sequence_of)

    async def _read(self, connection: FeedConnection, prepared: Sequence[Subscriber]) -> list[FeedRow]:
        reading_back = [subscriber for subscriber in prepared if subscriber.must_read_back]
        scope = ReadScope(
            is_new=lambda row: any(subscriber.lacks(row) for subscriber in prepared),
            floor=min(subscriber.floor for subscriber in prepared),
            read_back_to=min((subscriber.floor for subscriber in reading_back), default=math.inf),
            has_new_subscribers=any(subscriber.cursor is None for subscriber in prepared),
        )
        # A row that is nacked during the read makes its subscriber read back again.
        for subscriber in reading_back:
            subscriber.must_read_back = False
        is_done = False
        try:
            rows = await self._reader.read(connection, scope)
            is_done = not self._reader.is_behind
        finally:
            for subscriber in reading_back:
                subscriber.must_read_back |= not is_done
        self._log_unreadable(self._reader.unreadable)
        self._log_unlisted(self._reader.unlisted)
        return rows

    def _log_unlisted(self, count: int) -> None:
        if count and not self._has_logged_unlisted:
            self._has_logged_unlisted = True
            self._log.warning(
                "The gateway counts %s that it does not list. The listed rows are watched.",
                pluralize(count, "row"),
            )

    def _log_unreadable(self, count: int) -> None:
        """Log how many rows cannot be read; once, and again if the number grows."""
        if count > self._unreadable:
            self._unreadable = count
            self._log.warning(
                "%s of the list cannot be read, and start no DAG. All others do.", pluralize(count, "row")
            )

    async def _prepare_subscribers(self, connection: FeedConnection) -> list[Subscriber]:
        prepared = []
        for subscriber in list(self._subscribers.subscribers):
            was_prepared = subscriber.is_prepared
            try:
                if not subscriber.skips_poll():
                    await subscriber.prepare(connection.gateway.number_plan, self._clock())
            except Exception as error:  # noqa: BLE001 - one subscriber's error must not stop the others
                self._log.error("A watcher must wait; the others go on. %s", described(error))
            if subscriber.is_prepared:
                prepared.append(subscriber)
                if not was_prepared:
                    self._log_start(subscriber)
        return prepared

    def _log_start(self, subscriber: Subscriber) -> None:
        if not subscriber.has_store:
            self._log.warning(
                "This Airflow keeps no state for assets (3.3 does), so there is no cursor: a row "
                "that arrives while the triggerer is down, or restarts, starts no DAG."
            )
        elif subscriber.cursor is not None:
            self._log.info("Watching continues where it stopped.")

    async def _save(self, subscriber: Subscriber) -> None:
        if not subscriber.is_dirty or self._subscribers.is_replaced(subscriber):
            return
        try:
            await subscriber.save()
        except Exception as error:  # noqa: BLE001 - a later save loses nothing
            self._log.warning(
                "A cursor could not be saved. It is saved later; if the triggerer ends before, events fire "
                "again. %s",
                described(error),
            )

    async def _wait_for_capacity(self) -> None:
        while self._in_flight >= MOST_IN_FLIGHT:
            self._has_capacity.clear()
            await self._has_capacity.wait()
        self._in_flight += 1

    async def _back_off(self, failures: int, error: Exception) -> None:
        seconds = poll_pause(self._poll_interval, failures, error)
        log = self._log.error if getattr(error, "is_permanent", True) else self._log.warning
        log("%s Asking again in %.0f seconds.", described(error), seconds)
        await self._pause(seconds)


def _enqueue(subscribers: Iterable[Subscriber], row: FeedRow) -> bool:
    """Enqueue a row for every subscriber, and return whether one of them must get it."""
    wanting = [subscriber for subscriber in subscribers if subscriber.enqueue(row)]
    return bool(wanting)


def poll_pause(poll_interval: float, failures: int, error: Exception | None = None) -> float:
    """Return the seconds to pause after failed polls in a row, the last of them with an error."""
    retry_after = getattr(error, "retry_after", None)
    return back_off(poll_interval, failures, retry_after, LONGEST_POLL_PAUSE)


def described(error: Exception) -> str:
    """Return an error's own words; or its type and place, if its words may quote a row."""
    if isinstance(error, SmsError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"Unforeseen {type(error).__name__}{where}."
