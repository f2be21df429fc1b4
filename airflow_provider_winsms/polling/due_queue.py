"""The queue of the ids that a poll has to ask for: which are due, and when the next ones are."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import closing, suppress
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_winsms.polling.subscriptions import drain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.polling.subscriptions import AnySubscription, Subscriptions


class DueQueue:
    """Gives the ids that are due, each once, and sleeps until the next ones are.

    :param now: seconds since the epoch.
    """

    def __init__(self, subscriptions: Subscriptions, now: Callable[[], float]) -> None:
        self._subscriptions = subscriptions
        self._now = now
        self._unanswered: dict[MessageId, None] = {}
        self._not_before = -math.inf
        self._wake = asyncio.Event()
        self._wakes_at = math.inf

    def put(self, subscription: AnySubscription) -> None:
        """Put in a wait that has just been added. It may shorten the sleep."""
        subscription.due_at = subscription.first_at
        if (wakes_at := self._wake_time(subscription)) < self._wakes_at:
            self._wakes_at = wakes_at
            self._wake.set()

    def put_back(self, ids: Iterable[MessageId]) -> None:
        """Put back ids whose request got no answer. They are due at once, behind all others."""
        self._unanswered.update(dict.fromkeys(ids))

    def pause(self, seconds: float) -> None:
        """Let no id be due for some seconds."""
        self._not_before = self._now() + seconds

    @property
    def is_paused(self) -> bool:
        """Whether a pause is on."""
        return self._now() < self._not_before

    async def sleep(self) -> None:
        """Sleep until ids are due or a wait ends."""
        while (seconds := await self._next_wake() - self._now()) > 0:
            self._wake.clear()
            # `now` may lag behind the loop's clock. Woken too early, it sleeps on.
            with suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                    await self._wake.wait()

    async def _next_wake(self) -> float:
        self._wakes_at = self._not_before if self._unanswered else math.inf
        first = min(
            [self._wake_time(subscription) async for subscription in self._subscriptions.active()],
            default=math.inf,
        )
        # A wait that was put in meanwhile may be due earlier.
        self._wakes_at = min(self._wakes_at, first)
        return self._wakes_at

    def _wake_time(self, subscription: AnySubscription) -> float:
        return min(max(subscription.asks_at, self._not_before), subscription.end_at)

    async def has_due(self) -> bool:
        """Whether the time of a wait has come. Unlike its ids, a wait is not due early if its end is near."""
        now = self._now()
        return any([each.due_at <= now async for each in self._subscriptions.active()])

    async def requests(self, size: int) -> Generator[Sequence[MessageId]]:
        """Return the ids that are due, in requests of a size. Each is cut when it is taken.

        Waits come and go in between. If it is closed early, the next call continues at the same id.
        """
        now = self._now()
        due = deque([each async for each in self._subscriptions.active() if _has_ids(each, now)])
        return self._requests(due, now, size)

    def _requests(self, due: deque[AnySubscription], now: float, size: int) -> Generator[Sequence[MessageId]]:
        ids = self._due_ids(due, now)
        with closing(ids):
            while request := list(islice(ids, size)):
                yield request

    def _due_ids(self, due: deque[AnySubscription], now: float) -> Generator[MessageId]:
        """Yield the ids that are due, each once.

        Ids that got no answer before come last: an id that the gateway cannot answer must not block the
        others.
        """
        unanswered, self._unanswered = self._unanswered, {}
        rest: deque[MessageId] = deque()
        try:
            yield from self._ids_of(due, now, unanswered)
            rest.extend(unanswered)
            unanswered.clear()
            while rest:
                if self._is_wanted(message_id := rest.popleft()):
                    yield message_id
        finally:
            self.put_back(unanswered)
            self.put_back(rest)

    def _ids_of(
        self, due: deque[AnySubscription], now: float, unanswered: dict[MessageId, None]
    ) -> Generator[MessageId]:
        """Yield the ids of waits, and remove them from those without an answer."""
        seen: set[MessageId] = set()
        for subscription in drain(due):
            if subscription.ended.done() or self._subscriptions.is_being_held(subscription):
                continue
            ids = subscription.take_ids(now)
            for message_id in ids:
                if self._must_stop(subscription):
                    break
                if message_id in seen:
                    continue
                if not self._subscriptions.is_only_owner(subscription, message_id):
                    seen.add(message_id)
                unanswered.pop(message_id, None)
                try:
                    yield message_id
                except GeneratorExit:
                    if next(ids, None) is not None and not self._must_stop(subscription):
                        subscription.interrupted_after = message_id
                    raise

    def _must_stop(self, subscription: AnySubscription) -> bool:
        """Whether no more of the ids of a wait may leave."""
        return (
            subscription.ended.done()
            or subscription.is_held
            or self._subscriptions.is_being_held(subscription)
        )

    def _is_wanted(self, message_id: MessageId) -> bool:
        """Whether an id is still open in a wait that has not ended."""
        return any(
            not subscription.ended.done() and subscription.tracker.is_open(message_id)
            for subscription in self._subscriptions.of(message_id)
        )


def _has_ids(subscription: AnySubscription, now: float) -> bool:
    return subscription.is_due(now) or subscription.interrupted_after is not None
