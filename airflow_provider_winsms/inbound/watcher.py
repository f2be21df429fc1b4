"""Watching what phones send: one poll for all who follow a list, and each row told to each of them once.

A subscriber has a cursor, which says what it is done with. A row that its cursor lacks is offered to it, and
enters the cursor only when it is known that what the subscriber told of it is written down. So a row may be
told twice, if everything ends in between, and is never lost.

It knows neither Airflow nor HTTP: whoever uses it hands in how a gateway is reached, and where cursors are
kept.
"""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import SmsError
from airflow_provider_winsms.gateways import backoff
from airflow_provider_winsms.inbound.feeds import Need, sequence_of
from airflow_provider_winsms.inbound.subscriber import MOST_IN_FLIGHT, Envelope, Subscriber, Subscribers
from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.runtime import pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from airflow_provider_winsms.inbound.feeds import FeedConnection, FeedRow, WatchedList

LONGEST_BACK_OFF = 600.0
"""Seconds: the longest pause after polls that failed, unless the gateway asks for a longer one."""

GATHERING = 2.0
"""Seconds in which subscribers may join before they are served: those of a triggerer start one by one."""


class Watcher:
    """Polls one list, and offers what is new to its subscribers.

    :param connect: opens a line to the gateway; once for each poll, so that a mended connection is noticed.
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
        self._has_said_unlisted = False
        self._behind = 0
        self._in_flight = 0
        self._room = asyncio.Event()

    async def offers(self) -> AsyncIterator[Envelope]:
        """Yield what is new, for ever; whatever goes wrong is logged, and tried again after a pause."""
        failures = 0
        await self._gather()
        while True:
            self._subscribers.joined.clear()
            try:
                news = await self._poll()
            except Exception as error:  # noqa: BLE001 - whatever it is, giving up would make Airflow hurry
                failures += 1
                await self._back_off(failures, error)
                continue
            failures = 0
            for entry in (*news, None) if news else ():
                await self._room_for_one()
                yield Envelope(entry)
            await self._pause(self._rest(), self._subscribers.joined)
            if self._subscribers.joined.is_set() or not self._subscribers.subscribers:
                await self._gather()

    def _rest(self) -> float:
        """Return the seconds until the next poll: more each time that one is not enough."""
        if not self._reader.is_behind:
            self._behind = 0
            return self._poll_interval
        self._behind += 1
        seconds = back_off(self._poll_interval, self._behind)
        self._log.warning(
            "There is more of the list than one poll reads. Going on in %.0f seconds; no %s is passed over.",
            seconds,
            self._watched.noun,
        )
        return seconds

    async def _gather(self) -> None:
        """Wait until there is somebody to serve, and a little longer for others."""
        await self._subscribers.joined.wait()
        await self._pause(GATHERING)

    async def settled(self) -> AsyncIterator[Envelope]:
        """Yield what is new to a subscriber that is alone, and count as written down what it passed."""
        async for offer in self.offers():
            yield offer
            await self.settle([(offer, True)])

    async def settle(self, outcomes: Iterable[tuple[Envelope, bool]]) -> None:
        """Take note of offers, and whether all that was told of each is written down; save the cursors.

        A cursor that cannot be saved is saved later. Until then, only its rows are told again if all ends.
        """
        changed: dict[Subscriber, None] = {}
        settled = 0
        for offer, is_written in outcomes:
            settled += 1
            for subscriber, entry in offer.done:
                subscriber.settle(entry, is_written=is_written)
                changed[subscriber] = None
        try:
            for subscriber in changed:
                await self._save(subscriber)
        finally:
            # Rows that were offered before this would be in flight beside those that are not saved.
            self._in_flight -= settled
            self._room.set()

    async def _poll(self) -> list[FeedRow]:
        """Return what is new to anyone, oldest first."""
        async with self._connect() as line:
            ready = await self._ready(line)
            entries = await self._read(line, ready) if ready else []
        for subscriber in ready:
            if subscriber.cursor is None and not self._reader.is_behind:
                subscriber.begin(entries)
                self._log.info(
                    "Watching from now on; every %s that is listed counts as seen.", self._watched.noun
                )
        news = [entry for entry in entries if _any_wants(ready, entry)]
        if news:
            self._log.info("%s.", pluralize(len(news), f"new {self._watched.noun}"))
        for subscriber in ready:
            await self._save(subscriber)
        return sorted(news, key=sequence_of)

    async def _read(self, line: FeedConnection, ready: Sequence[Subscriber]) -> list[FeedRow]:
        looking_back = [subscriber for subscriber in ready if subscriber.looks_back]
        need = Need(
            is_news=lambda entry: any(subscriber.lacks(entry) for subscriber in ready),
            floor=min(subscriber.floor for subscriber in ready),
            reach=min((subscriber.floor for subscriber in looking_back), default=math.inf),
            has_beginners=any(subscriber.cursor is None for subscriber in ready),
        )
        # Meanwhile a row may come to be doubted, so that its subscriber must look back again.
        for subscriber in looking_back:
            subscriber.looks_back = False
        is_done = False
        try:
            entries = await self._reader.read(line, need)
            is_done = not self._reader.is_behind
        finally:
            for subscriber in looking_back:
                subscriber.looks_back |= not is_done
        self._say_unreadable(self._reader.unreadable)
        self._say_unlisted(self._reader.unlisted)
        return entries

    def _say_unlisted(self, count: int) -> None:
        if count and not self._has_said_unlisted:
            self._has_said_unlisted = True
            self._log.warning(
                "The gateway states %s that it does not list. What it lists is watched.",
                pluralize(count, "row"),
            )

    def _say_unreadable(self, count: int) -> None:
        """Say how many rows cannot be read; once, and again if there are more."""
        if count > self._unreadable:
            self._unreadable = count
            self._log.warning(
                "%s of the list cannot be read, and start no DAG. All others do.", pluralize(count, "row")
            )

    async def _ready(self, line: FeedConnection) -> list[Subscriber]:
        ready = []
        for subscriber in list(self._subscribers.subscribers):
            was_prepared = subscriber.is_prepared
            try:
                if not subscriber.is_resting():
                    await subscriber.prepare(line.gateway.country_code, self._clock())
            except Exception as error:  # noqa: BLE001 - of one subscriber; the others are served
                self._log.error("A watcher cannot be served for now. %s", described(error))
            if subscriber.is_prepared:
                ready.append(subscriber)
                if not was_prepared:
                    self._introduce(subscriber)
        return ready

    def _introduce(self, subscriber: Subscriber) -> None:
        if not subscriber.has_memory:
            self._log.warning(
                "This Airflow keeps no state for assets (3.3 does), so there is no cursor: whatever arrives "
                "while the triggerer is down, or restarts, starts no DAG."
            )
        elif subscriber.cursor is not None:
            self._log.info("Watching goes on where it stopped.")

    async def _save(self, subscriber: Subscriber) -> None:
        if not subscriber.is_dirty or self._subscribers.is_succeeded(subscriber):
            return
        try:
            await subscriber.save()
        except Exception as error:  # noqa: BLE001 - nothing is lost by it
            self._log.warning(
                "A cursor could not be saved, and will be later; if the triggerer ends before, events are "
                "repeated. %s",
                described(error),
            )

    async def _room_for_one(self) -> None:
        while self._in_flight >= MOST_IN_FLIGHT:
            self._room.clear()
            await self._room.wait()
        self._in_flight += 1

    async def _back_off(self, failures: int, error: Exception) -> None:
        seconds = back_off(self._poll_interval, failures, error)
        say = self._log.error if getattr(error, "is_permanent", True) else self._log.warning
        say("%s Asking again in %.0f seconds.", described(error), seconds)
        await self._pause(seconds)


def _any_wants(subscribers: Iterable[Subscriber], entry: FeedRow) -> bool:
    """Ask every subscriber, as each takes note of it."""
    wanting = [subscriber for subscriber in subscribers if subscriber.wants(entry)]
    return bool(wanting)


def back_off(poll_interval: float, failures: int, error: Exception | None = None) -> float:
    """Return the seconds to pause after polls in a row that failed, the last of them with an error."""
    retry_after = getattr(error, "retry_after", None)
    return backoff.back_off(poll_interval, failures, retry_after, LONGEST_BACK_OFF)


def described(error: Exception) -> str:
    """Return an error's own words, or of one that may quote a row, its type and where it came from."""
    if isinstance(error, SmsError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"Unforeseen {type(error).__name__}{where}."
