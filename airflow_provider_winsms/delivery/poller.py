"""One shared poll: the loop that asks a gateway about the texts of all waits on one event loop.

It knows neither Airflow nor HTTP. Each wait subscribes to the poll of its connection. The poll begins with
the first subscription and ends with the last. At each tick it asks for the ids that are due, each id once, in
as few requests as the gateway's limit allows. It hands on each answer as it comes.

Airflow 3.3 could drive such a loop too (shared streams). It would put every answer into the queue of every
trigger: ten thousand triggers and a thousand answers are ten million wake-ups at a tick. Here an answer
reaches only the waits that hold its ids, and waits share a poll on any Airflow.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import defaultdict, deque
from contextlib import AsyncExitStack, aclosing, closing, suppress
from contextvars import Context
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from airflow_provider_winsms.delivery.tracker import UnreadableIds
from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    LedgerUnavailable,
    SmsError,
)
from airflow_provider_winsms.gateways.backoff import back_off
from airflow_provider_winsms.messages import pluralize

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        Awaitable,
        Callable,
        Container,
        Generator,
        Hashable,
        Iterable,
        Iterator,
        Sequence,
    )

    from airflow_provider_winsms.delivery.events import LedgerAddress
    from airflow_provider_winsms.delivery.schedule import Schedule
    from airflow_provider_winsms.delivery.tracker import DeliveryTracker
    from airflow_provider_winsms.gateways.transport import AsyncTransport
    from airflow_provider_winsms.messages import DeliveryReport, MessageId

TICK = 5.0
"""The shortest time between two ticks in seconds. A wait with a shorter pause shortens it."""

JITTER = 0.2
"""The largest share of a tick that is added to it at random. So triggerers do not ask in step."""

FINAL_ANSWER_GRACE = 30.0
"""Seconds after its end for which a wait accepts the answer to its last question."""

LEDGER_WRITE_TIMEOUT = 20.0
"""Seconds that one write into a ledger may take. It bounds how long waits of other ledgers are delayed."""

LEDGER_RETRY_DELAY = 30.0
"""Seconds until texts are asked for again after their ledger could not be written."""

_IDS_PER_TURN = 10_000
"""How many ids one turn of the event loop handles."""

_SUBSCRIPTIONS_PER_TURN = 2000
_REPORTS_PER_TURN = 250


@dataclass(frozen=True, slots=True)
class PollerDependencies:
    """The functions that a poll calls but cannot import, and seams for tests.

    :param open_transport: reads the connection and returns a transport that is not open yet.
    :param write: writes reports into a ledger. Raises ``LedgerUnavailable`` if it cannot for now.
    :param log: takes messages that concern more than one wait.
    :param now: seconds since the epoch.
    :param chance: a random number from 0 to 1.
    """

    open_transport: Callable[[], Awaitable[AsyncTransport]]
    write: Callable[[LedgerAddress, Sequence[DeliveryReport]], Awaitable[None]]
    log: Any
    now: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random


@dataclass(slots=True, eq=False)
class Subscription:
    """One wait that takes part in a shared poll. Instants are in seconds since the epoch.

    :param tracker: the texts and their states.
    :param first_at: when its texts may be asked for first.
    :param end_at: when it ends at the latest.
    :param ledger: the ledger that reports are written into before they count.
    """

    tracker: DeliveryTracker
    schedule: Schedule
    first_at: float
    end_at: float
    ledger: LedgerAddress | None = None
    due_at: float = field(init=False, default=math.inf)
    is_held: bool = field(init=False, default=False)
    """Whether no request asks for its texts until they are due: their ledger could not be written."""
    trouble: str = field(init=False, default="")
    """The error of the last question about its texts, or an empty string."""
    ended: asyncio.Future[None] = field(init=False)

    def __post_init__(self) -> None:
        self.end_at = max(self.end_at, self.first_at)
        self.ended = asyncio.get_running_loop().create_future()

    def is_due(self, now: float) -> bool:
        """Whether to ask for its texts now: they are due, or the next tick may come after the end."""
        return self.due_at <= now or self.end_at <= now + TICK * (1 + JITTER)

    def reschedule(self, now: float) -> None:
        """Set when its texts are due again, at the latest at the end."""
        self.due_at = min(now + self.schedule.pause(now), self.end_at)
        self.is_held = False

    def hold(self, until: float, why: str) -> None:
        """Set when its texts are due again, and stop the requests for them that have not left."""
        self.due_at = min(until, self.end_at)
        self.is_held = True
        self.trouble = why

    def record(self, reports: Iterable[DeliveryReport], now: float) -> None:
        """Record an answer, and end the wait if it is settled."""
        self.trouble = ""
        self.tracker.record(reports, now)
        if self.tracker.is_settled:
            self.end()

    def end(self, error: Exception | None = None) -> None:
        """End the wait, unless it has ended."""
        if not self.ended.done():
            self.ended.set_result(None) if error is None else self.ended.set_exception(error)


class SharedPoll:
    """The poll of one connection on one event loop. ``of`` returns it."""

    _polls: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, SharedPoll]]] = (
        WeakKeyDictionary()
    )

    def __init__(self, key: Hashable, dependencies: PollerDependencies) -> None:
        self._key = key
        self._dependencies = dependencies
        self._subscriptions: dict[Subscription, None] = {}
        self._owners: dict[MessageId, Subscription | frozenset[Subscription]] = {}
        self._unanswered: list[MessageId] = []
        self._task: asyncio.Task[None] | None = None
        self._exit_stack = AsyncExitStack()
        self._transport: AsyncTransport | None = None
        self._wake = asyncio.Event()
        self._wakes_at = math.inf
        self._not_before = -math.inf
        self._held_ledgers: set[LedgerAddress] = set()
        self._failures = 0
        self._trouble = ""
        self._unreadable = UnreadableIds()

    @classmethod
    def of(cls, key: Hashable, dependencies: PollerDependencies) -> SharedPoll:
        """Return the poll of a key on this event loop. It keeps the dependencies of the first call."""
        polls = cls._polls.setdefault(asyncio.get_running_loop(), {})
        if key not in polls:
            polls[key] = cls(key, dependencies)
        return polls[key]

    async def wait(self, subscription: Subscription) -> None:
        """Wait until the texts are settled or the end is reached.

        :raises SmsError: a permanent one, as it comes.
        """
        self._subscriptions[subscription] = None
        try:
            await self._join(subscription)
            await subscription.ended
        finally:
            self._leave(subscription)
            await self._release_ids(subscription)
            if not self._subscriptions and self._task is not None:
                # It closes its transport: nothing may be left open when the event loop ends.
                await asyncio.wait({self._task})

    async def _join(self, subscription: Subscription) -> None:
        joint: dict[Subscription | frozenset[Subscription], frozenset[Subscription]] = {}
        for count, message_id in enumerate(subscription.tracker.message_ids, start=1):
            owner = self._owners.setdefault(message_id, subscription)
            if owner is not subscription:
                if owner not in joint:
                    joint[owner] = frozenset({*_as_subscriptions(owner), subscription})
                self._owners[message_id] = joint[owner]
            if count % _IDS_PER_TURN == 0:
                await asyncio.sleep(0)
        subscription.due_at = subscription.first_at
        if self._task is None:
            # An empty context: a copy would log everything as if the first wait had said it.
            self._task = asyncio.create_task(self._run(), context=Context())
        if (wakes_at := self._wake_time(subscription)) < self._wakes_at:
            self._wakes_at = wakes_at
            self._wake.set()

    def _leave(self, subscription: Subscription) -> None:
        subscription.ended.cancel()
        if not subscription.ended.cancelled():
            # asyncio complains of an error that was never read, as where the wait was cancelled too.
            subscription.ended.exception()
        del self._subscriptions[subscription]
        if not self._subscriptions and self._retire() and self._task is not None:
            self._task.cancel()

    async def _release_ids(self, subscription: Subscription) -> None:
        """Remove one who left from the owners of its ids. Other tasks run in between."""
        chunks = self._released(subscription)
        try:
            for _ in chunks:
                await asyncio.sleep(0)
        finally:
            # Cancelled in between, it removes the rest at once.
            deque(chunks, maxlen=0)

    def _released(self, subscription: Subscription) -> Iterator[None]:
        owners = self._owners
        without: dict[Subscription | frozenset[Subscription], frozenset[Subscription]] = {}
        for count, message_id in enumerate(subscription.tracker.message_ids, start=1):
            owner = owners.get(message_id)
            if owner is subscription:
                del owners[message_id]
            elif isinstance(owner, frozenset) and subscription in owner:
                if owner not in without:
                    without[owner] = owner - {subscription}
                if without[owner]:
                    owners[message_id] = without[owner]
                else:
                    del owners[message_id]
            if count % _IDS_PER_TURN == 0:
                yield

    def _retire(self) -> bool:
        """Accept no further waits: later ones get another poll. Return whether it accepted any until now."""
        polls = self._polls[asyncio.get_running_loop()]
        is_open = polls.get(self._key) is self
        if is_open:
            del polls[self._key]
        return is_open

    async def _run(self) -> None:
        try:
            while True:
                await self._sleep_until_due()
                # One timer for all waits: asyncio blocks for long when many timers were cancelled.
                timer = asyncio.create_task(self._expire_while_asking())
                try:
                    await self._tick()
                finally:
                    timer.cancel()
        # A fault of this package. Each wait raises it with its traceback.
        except Exception as error:  # noqa: BLE001
            self._retire()
            await self._end_where(_all, error)
        finally:
            await self._disconnect()

    async def _sleep_until_due(self) -> None:
        """Sleep until texts are due or a wait ends. A wait that joins may shorten the sleep."""
        while (pause := await self._next_wake() - self._dependencies.now()) > 0:
            self._wake.clear()
            # `now` may lag behind the loop's clock. Woken too early, it sleeps on.
            with suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(pause) else pause):
                    await self._wake.wait()

    async def _next_wake(self) -> float:
        self._wakes_at = self._not_before if self._unanswered else math.inf
        first = min(
            [self._wake_time(subscription) async for subscription in self._active()], default=math.inf
        )
        # A wait that joined in between may be due earlier.
        self._wakes_at = min(self._wakes_at, first)
        return self._wakes_at

    def _wake_time(self, subscription: Subscription) -> float:
        return min(max(subscription.due_at, self._not_before), subscription.end_at)

    async def _active(self) -> AsyncGenerator[Subscription, None]:
        """Walk through the waits that have not ended. Other tasks run in between.

        A wait leaves a moment after it has ended.
        """
        for count, subscription in enumerate(_drain(deque(self._subscriptions)), start=1):
            if not subscription.ended.done():
                yield subscription
            if count % _SUBSCRIPTIONS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _tick(self) -> None:
        """Ask for the texts that are due, unless a back-off is on. Then end the waits that are over."""
        if self._dependencies.now() >= self._not_before:
            try:
                await self._ask_due()
                self._failures, self._trouble = 0, ""
                self._not_before = self._dependencies.now() + await self._tick_interval()
            except GatewayUnavailable as error:
                self._back_off(error)
            except ConfigurationError as error:
                await self._reload_connection(error)
            except SmsError as error:
                await self._end_where(_all, error)
        now = self._dependencies.now()
        await self._end_where(lambda subscription: subscription.end_at <= now)

    async def _expire_while_asking(self) -> None:
        """End waits during a tick when the grace for their last answer is over."""
        while True:
            await self._end_where(self._is_past_grace, trouble="No answer came in time.")
            first = min([subscription.end_at async for subscription in self._active()], default=math.inf)
            await asyncio.sleep(min(TICK, max(0.0, first + FINAL_ANSWER_GRACE - self._dependencies.now())))

    def _is_past_grace(self, subscription: Subscription) -> bool:
        return subscription.end_at + FINAL_ANSWER_GRACE <= self._dependencies.now()

    async def _tick_interval(self) -> float:
        shortest = min(
            [subscription.schedule.shortest async for subscription in self._active()], default=TICK
        )
        return min(TICK, shortest) * (1 + JITTER * self._dependencies.chance())

    def _back_off(self, error: GatewayUnavailable) -> None:
        self._failures += 1
        pause = back_off(TICK, self._failures, error.retry_after)
        self._not_before = self._dependencies.now() + pause
        self._trouble = str(error)
        waits = pluralize(len(self._subscriptions), "wait")
        self._dependencies.log.warning("%s Asking again in %.0f seconds; %s.", error, pause, waits)

    async def _end_where(
        self, is_meant: Callable[[Subscription], bool], error: Exception | None = None, trouble: str = ""
    ) -> None:
        """End waits one after the other: each wakes a task that computes an outcome.

        :param trouble: the error of a wait that knows of no other.
        """
        trace = None if error is None else error.__traceback__
        async with aclosing(self._active()) as present:
            async for subscription in present:
                if is_meant(subscription):
                    subscription.trouble = subscription.trouble or self._trouble or trouble
                    # Each wait that raises the error adds a frame to its traceback.
                    subscription.end(None if error is None else error.with_traceback(trace))
                    await asyncio.sleep(0)

    async def _connect(self) -> AsyncTransport:
        if self._transport is None:
            self._transport = await self._exit_stack.enter_async_context(
                await self._dependencies.open_transport()
            )
        return self._transport

    async def _disconnect(self) -> None:
        self._transport = None
        await self._exit_stack.aclose()

    async def _reload_connection(self, error: ConfigurationError) -> None:
        """Use the connection's new key or address if it has changed; end all waits if it has not."""
        try:
            if await self._has_reconnected():
                return
        except GatewayUnavailable as temporary:
            self._back_off(temporary)
            return
        except SmsError:
            pass
        await self._end_where(_all, error)

    async def _has_reconnected(self) -> bool:
        used = self._transport
        if used is None:
            return False
        found = await self._dependencies.open_transport()
        if found.endpoint.is_same_account(used.endpoint):
            return False
        await self._disconnect()
        self._transport = await self._exit_stack.enter_async_context(found)
        return True

    async def _ask_due(self) -> None:
        """Ask for the texts that are due, with several requests at a time. After a failure no more leave.

        :raises SmsError: the first permanent one, or else the first temporary one.
        """
        transport = await self._connect()
        now = self._dependencies.now()
        due = deque([subscription async for subscription in self._active() if subscription.is_due(now)])
        requests = self._requests(due, now, transport.endpoint.gateway.limits.status_ids)
        failures: list[tuple[Exception, Sequence[MessageId]]] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(transport.endpoint.max_concurrent_requests):
                group.create_task(self._execute(requests, transport, failures))
        requests.close()
        for _, ids in failures:
            self._unanswered.extend(ids)
        if failures:
            errors = (error for error, _ in failures)
            raise min(errors, key=lambda error: isinstance(error, GatewayUnavailable))

    async def _execute(
        self,
        requests: Iterator[Sequence[MessageId]],
        transport: AsyncTransport,
        failures: list[tuple[Exception, Sequence[MessageId]]],
    ) -> None:
        """Execute requests one after the other, until none is left or one has failed."""
        for ids in requests:
            try:
                await self._ask(transport, ids)
            # `_ask_due` raises them.
            except Exception as error:  # noqa: BLE001
                failures.append((error, ids))
            if failures:
                return

    def _requests(self, due: deque[Subscription], now: float, size: int) -> Generator[Sequence[MessageId]]:
        """Cut the ids that are due into requests, one at a time, since waits come and go in between."""
        ids = self._due_ids(due, now)
        with closing(ids):
            while request := list(islice(ids, size)):
                yield request

    def _due_ids(self, due: deque[Subscription], now: float) -> Generator[MessageId]:
        """Walk through the ids that are due, each once.

        If it is closed early, the next tick continues at the same id. Ids that got no answer before come
        last: an id that the gateway cannot answer must not block the others.
        """
        owners = self._owners
        missed, self._unanswered = dict.fromkeys(self._unanswered), []
        seen: set[MessageId] = set()
        rest: Iterator[MessageId] = iter(())
        try:
            for subscription in _drain(due):
                if subscription.ended.done() or self._is_being_held(subscription):
                    continue
                if not subscription.is_due(now):
                    continue
                subscription.reschedule(now)
                rest = subscription.tracker.open_ids()
                for message_id in rest:
                    if subscription.ended.done() or subscription.is_held or self._is_being_held(subscription):
                        break
                    if message_id in seen:
                        continue
                    if owners.get(message_id) is not subscription:
                        seen.add(message_id)
                    missed.pop(message_id, None)
                    yield message_id
            rest = iter([message_id for message_id in missed if self._is_wanted(message_id)])
            missed.clear()
            yield from rest
        except GeneratorExit:
            self._unanswered.extend((*rest, *missed))
            raise

    def _is_being_held(self, subscription: Subscription) -> bool:
        return subscription.ledger in self._held_ledgers

    def _is_wanted(self, message_id: MessageId) -> bool:
        """Whether an id is still open in a wait that has not ended."""
        owners = self._owners_of(message_id)
        return any(
            not subscription.ended.done() and subscription.tracker.is_open(message_id)
            for subscription in owners
        )

    def _owners_of(self, message_id: MessageId) -> list[Subscription]:
        """Return the waits of an id, without those that left and whose ids are still being released."""
        owners = _as_subscriptions(self._owners.get(message_id, ()))
        return [subscription for subscription in owners if subscription in self._subscriptions]

    async def _ask(self, transport: AsyncTransport, ids: Sequence[MessageId]) -> None:
        """Ask for some ids, and hand the answer on to their waits."""
        try:
            reports = await transport.execute(transport.endpoint.gateway.delivery_reports(ids))
        except InvalidMessage as error:
            await self._ask_in_halves(transport, ids, error)
            return
        self._unreadable.name(reports.unreadable, self._dependencies.log)
        answers = defaultdict(list)
        for report in reports:
            for subscription in self._owners_of(report.message_id):
                answers[subscription].append(report)
        await self._write(answers)
        now = self._dependencies.now()
        handed_on = 0
        for subscription in _drain(deque(answers)):
            own = answers.pop(subscription)
            subscription.record(own, now)
            handed_on += len(own)
            if subscription.ended.done() or handed_on >= _REPORTS_PER_TURN:
                handed_on = 0
                await asyncio.sleep(0)

    async def _ask_in_halves(
        self, transport: AsyncTransport, ids: Sequence[MessageId], error: InvalidMessage
    ) -> None:
        """Find the id that the gateway refuses a request for, and end only the waits that hold it."""
        subscriptions = {subscription for message_id in ids for subscription in self._owners_of(message_id)}
        if len(subscriptions) <= 1 or len(ids) == 1:
            for subscription in subscriptions:
                subscription.end(error)
            return
        middle = len(ids) // 2
        await self._ask(transport, ids[:middle])
        await self._ask(transport, ids[middle:])

    async def _write(self, answers: dict[Subscription, list[DeliveryReport]]) -> None:
        """Write changed states into the ledgers, and drop answers that could not be written."""
        subscriptions: defaultdict[LedgerAddress, list[Subscription]] = defaultdict(list)
        for subscription in answers:
            if subscription.ledger is not None:
                subscriptions[subscription.ledger].append(subscription)
        for ledger, of_ledger in subscriptions.items():
            changes = {
                report.message_id: report
                for subscription in of_ledger
                for report in subscription.tracker.changes(answers[subscription])
            }
            if changes and (error := await self._write_to(ledger, list(changes.values()))):
                for subscription in of_ledger:
                    del answers[subscription]
                await self._hold_ledger(ledger, of_ledger, error)

    async def _write_to(self, ledger: LedgerAddress, reports: Sequence[DeliveryReport]) -> SmsError | None:
        """Write reports, and return the error if there is one. It concerns only the waits of this ledger."""
        try:
            async with asyncio.timeout(LEDGER_WRITE_TIMEOUT):
                await self._dependencies.write(ledger, reports)
        except SmsError as error:
            return error
        except Exception as error:  # noqa: BLE001 - it concerns one ledger
            msg = f"The ledger behind {ledger.conn_id!r} could not be written ({type(error).__name__})."
            return LedgerUnavailable(msg)
        return None

    async def _hold_ledger(
        self, ledger: LedgerAddress, lost: Sequence[Subscription], error: SmsError
    ) -> None:
        """Hold back the waits of a ledger that could not be written.

        :param lost: the waits whose answers were dropped.
        """
        if error.is_permanent:
            await self._end_where(lambda subscription: subscription.ledger == ledger, error)
            return
        until = self._dependencies.now() + LEDGER_RETRY_DELAY
        self._held_ledgers.add(ledger)
        try:
            count = await self._hold_all(ledger, set(lost), until, str(error))
        finally:
            self._held_ledgers.discard(ledger)
        waits = pluralize(count, "wait")
        self._dependencies.log.warning(
            "%s Asking and writing again in %.0f seconds; %s.", error, LEDGER_RETRY_DELAY, waits
        )

    async def _hold_all(
        self, ledger: LedgerAddress, lost: Container[Subscription], until: float, why: str
    ) -> int:
        """Hold back the waits of a ledger, and return how many there are."""
        count = 0
        async with aclosing(self._active()) as present:
            async for subscription in present:
                if subscription.ledger == ledger:
                    count += 1
                    subscription.hold(until if subscription in lost else max(until, subscription.due_at), why)
        return count


def _drain(subscriptions: deque[Subscription]) -> Iterator[Subscription]:
    """Yield and remove each. A container of many ended waits would free them all in one blocking step."""
    while subscriptions:
        yield subscriptions.popleft()


def _all(_: Subscription) -> bool:
    return True


def _as_subscriptions(owner: Subscription | Iterable[Subscription]) -> Iterable[Subscription]:
    return (owner,) if isinstance(owner, Subscription) else owner
