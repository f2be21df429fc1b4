"""One poll for every wait: the loop that asks a gateway about the texts of all who wait on one event loop.

It knows neither Airflow nor HTTP. Whoever waits attends the poll of its connection, which begins with the
first and ends with the last. At each tick the ids that are due, each once whoever asked for it, go out in as
few requests as the gateway's limit allows, and each answer is handed on as it comes.

Airflow 3.3 could drive such a loop too (shared streams). It would put every answer into the queue of every
trigger: ten thousand triggers and a thousand answers are ten million wake-ups at a tick. Here an answer
reaches those whose ids it holds; and waits share a poll on any Airflow.
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
    from airflow_provider_winsms.delivery.tracker import DeliveryWait
    from airflow_provider_winsms.gateways.transport import AsyncTransport
    from airflow_provider_winsms.messages import DeliveryReport, MessageId

TICK = 5.0
"""Seconds between two ticks, at the least; fewer if a wait asks for a shorter pause."""

JITTER = 0.2
"""The part of a tick that is added to it at random, so that triggerers do not ask in step."""

FINAL_ANSWER_GRACE = 30.0
"""Seconds after its end that a wait listens for the answer to a last question."""

LEDGER_LASTS = 20.0
"""Seconds that a ledger may take to be written; whoever has none waits for it no longer than that."""

LEDGER_PAUSE = 30.0
"""Seconds after which texts are asked for again whose news could not be written into their ledger."""

_AT_A_STRETCH = 10_000
"""How many ids are gone through before others have their turn."""

_WAITERS_AT_A_STRETCH = 2000
_REPORTS_AT_A_STRETCH = 250


@dataclass(frozen=True, slots=True)
class PollerDependencies:
    """What a poll is given by those who know Airflow; and seams for tests.

    :param open_transport: reads the connection; what it returns is not opened yet.
    :param write: writes reports into a ledger; raises ``LedgerUnavailable`` if it cannot for now.
    :param log: what a poll has to say that is of no wait alone.
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
    """One who waits.

    :param texts: its texts, and what is known of them.
    :param first_at: when its texts may be asked for first; seconds since the epoch.
    :param end_at: when it ends, if it is not settled before; seconds since the epoch.
    :param ledger: where reports are written before they count.
    """

    texts: DeliveryWait
    schedule: Schedule
    first_at: float
    end_at: float
    ledger: LedgerAddress | None = None
    due_at: float = field(init=False, default=math.inf)
    is_held: bool = field(init=False, default=False)
    """Whether its texts are not to be asked for for a while, as their news could not be written."""
    trouble: str = field(init=False, default="")
    """What was in the way of the last question about its texts."""
    over: asyncio.Future[None] = field(init=False)

    def __post_init__(self) -> None:
        self.end_at = max(self.end_at, self.first_at)
        self.over = asyncio.get_running_loop().create_future()

    def is_due(self, now: float) -> bool:
        """Whether to ask for its texts now, as it is time, or as the next tick may be too late."""
        return self.due_at <= now or self.end_at <= now + TICK * (1 + JITTER)

    def put_off(self, now: float) -> None:
        """Set when its texts are due again; the last time is where it ends."""
        self.due_at = min(now + self.schedule.pause(now), self.end_at)
        self.is_held = False

    def hold(self, until: float, why: str) -> None:
        """Set when its texts are due again, and not sooner, even if they are being asked for."""
        self.due_at = min(until, self.end_at)
        self.is_held = True
        self.trouble = why

    def absorb(self, reports: Iterable[DeliveryReport], now: float) -> None:
        """Take note of an answer, and end if that settles it."""
        self.trouble = ""
        self.texts.absorb(reports, now)
        if self.texts.is_settled:
            self.end()

    def end(self, error: Exception | None = None) -> None:
        """End, unless it is over."""
        if not self.over.done():
            self.over.set_result(None) if error is None else self.over.set_exception(error)


class SharedPoll:
    """The poll of one connection on one event loop. Get it by ``of``."""

    _polls: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, SharedPoll]]] = (
        WeakKeyDictionary()
    )

    def __init__(self, key: Hashable, dependencies: PollerDependencies) -> None:
        self._key = key
        self._around = dependencies
        self._waiters: dict[Subscription, None] = {}
        self._owners: dict[MessageId, Subscription | frozenset[Subscription]] = {}
        self._missed: list[MessageId] = []
        self._task: asyncio.Task[None] | None = None
        self._line = AsyncExitStack()
        self._transport: AsyncTransport | None = None
        self._someone_came = asyncio.Event()
        self._wakes_at = math.inf
        self._not_before = -math.inf
        self._held_ledgers: set[LedgerAddress] = set()
        self._failures = 0
        self._trouble = ""
        self._unreadable = UnreadableIds()

    @classmethod
    def of(cls, key: Hashable, dependencies: PollerDependencies) -> SharedPoll:
        """Return the poll of a key on this event loop, with the surroundings of the first who asked."""
        polls = cls._polls.setdefault(asyncio.get_running_loop(), {})
        if key not in polls:
            polls[key] = cls(key, dependencies)
        return polls[key]

    async def wait(self, subscription: Subscription) -> None:
        """Wait until the texts are settled or the end has come.

        :raises SmsError: a permanent one, as it comes.
        """
        self._waiters[subscription] = None
        try:
            await self._join(subscription)
            await subscription.over
        finally:
            self._leave(subscription)
            await self._disown(subscription)
            if not self._waiters and self._task is not None:
                # Until it has hung up: nothing may be left when the event loop ends.
                await asyncio.wait({self._task})

    async def _join(self, subscription: Subscription) -> None:
        together: dict[Subscription | frozenset[Subscription], frozenset[Subscription]] = {}
        for count, message_id in enumerate(subscription.texts.message_ids, start=1):
            owner = self._owners.setdefault(message_id, subscription)
            if owner is not subscription:
                if owner not in together:
                    together[owner] = frozenset({*_each(owner), subscription})
                self._owners[message_id] = together[owner]
            if count % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        subscription.due_at = subscription.first_at
        if self._task is None:
            # In a context of its own, or it would log as if it were the first who came.
            self._task = asyncio.create_task(self._run(), context=Context())
        if (wakes_at := self._wakes_for(subscription)) < self._wakes_at:
            self._wakes_at = wakes_at
            self._someone_came.set()

    def _leave(self, subscription: Subscription) -> None:
        subscription.over.cancel()
        if not subscription.over.cancelled():
            # Or asyncio complains of an error that nobody looked at, where the wait was cancelled too.
            subscription.over.exception()
        del self._waiters[subscription]
        if not self._waiters and self._close() and self._task is not None:
            self._task.cancel()

    async def _disown(self, subscription: Subscription) -> None:
        """Forget which ids are those of one who left, and let others have their turn meanwhile."""
        stretches = self._disowned(subscription)
        try:
            for _ in stretches:
                await asyncio.sleep(0)
        finally:
            # Where it is cancelled meanwhile, the rest at once.
            deque(stretches, maxlen=0)

    def _disowned(self, subscription: Subscription) -> Iterator[None]:
        owners = self._owners
        without: dict[Subscription | frozenset[Subscription], frozenset[Subscription]] = {}
        for count, message_id in enumerate(subscription.texts.message_ids, start=1):
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
            if count % _AT_A_STRETCH == 0:
                yield

    def _close(self) -> bool:
        """Take in nobody any more: who comes gets another poll. Return whether that is new."""
        polls = self._polls[asyncio.get_running_loop()]
        is_open = polls.get(self._key) is self
        if is_open:
            del polls[self._key]
        return is_open

    async def _run(self) -> None:
        try:
            while True:
                await self._until_due()
                # One timer for all: asyncio goes through all timers at a stretch when many were cancelled.
                timer = asyncio.create_task(self._give_up_in_time())
                try:
                    await self._tick()
                finally:
                    timer.cancel()
        # A fault of ours: each of them shows it, with its traceback.
        except Exception as error:  # noqa: BLE001
            self._close()
            await self._end(_everybody, error)
        finally:
            await self._hang_up()

    async def _until_due(self) -> None:
        """Sleep until texts are due or a wait ends. One that comes meanwhile may be due earlier."""
        while (pause := await self._next_at() - self._around.now()) > 0:
            self._someone_came.clear()
            # If it was woken too early, by a clock that another one does not keep up with, it sleeps on.
            with suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(pause) else pause):
                    await self._someone_came.wait()

    async def _next_at(self) -> float:
        self._wakes_at = self._not_before if self._missed else math.inf
        first = min(
            [self._wakes_for(subscription) async for subscription in self._present()], default=math.inf
        )
        # One that came meanwhile may be due earlier.
        self._wakes_at = min(self._wakes_at, first)
        return self._wakes_at

    def _wakes_for(self, subscription: Subscription) -> float:
        return min(max(subscription.due_at, self._not_before), subscription.end_at)

    async def _present(self) -> AsyncGenerator[Subscription, None]:
        """Walk through those whose wait is not over, and let others have their turn meanwhile.

        They leave a moment after it is.
        """
        for count, subscription in enumerate(_taken_from(deque(self._waiters)), start=1):
            if not subscription.over.done():
                yield subscription
            if count % _WAITERS_AT_A_STRETCH == 0:
                await asyncio.sleep(0)

    async def _tick(self) -> None:
        """Ask for what is due, unless a pause is on, and end the waits whose time has come."""
        if self._around.now() >= self._not_before:
            try:
                await self._ask_for_what_is_due()
                self._failures, self._trouble = 0, ""
                self._not_before = self._around.now() + await self._spacing()
            except GatewayUnavailable as error:
                self._pause(error)
            except ConfigurationError as error:
                await self._look_for_another_key(error)
            except SmsError as error:
                await self._end(_everybody, error)
        now = self._around.now()
        await self._end(lambda subscription: subscription.end_at <= now)

    async def _give_up_in_time(self) -> None:
        """End, while a tick lasts, the waits that can listen no longer for an answer."""
        while True:
            await self._end(self._is_late, trouble="No answer came in time.")
            first = min([subscription.end_at async for subscription in self._present()], default=math.inf)
            await asyncio.sleep(min(TICK, max(0.0, first + FINAL_ANSWER_GRACE - self._around.now())))

    def _is_late(self, subscription: Subscription) -> bool:
        return subscription.end_at + FINAL_ANSWER_GRACE <= self._around.now()

    async def _spacing(self) -> float:
        shortest = min(
            [subscription.schedule.shortest async for subscription in self._present()], default=TICK
        )
        return min(TICK, shortest) * (1 + JITTER * self._around.chance())

    def _pause(self, error: GatewayUnavailable) -> None:
        self._failures += 1
        pause = back_off(TICK, self._failures, error.retry_after)
        self._not_before = self._around.now() + pause
        self._trouble = str(error)
        waits = pluralize(len(self._waiters), "wait")
        self._around.log.warning("%s Asking again in %.0f seconds; %s.", error, pause, waits)

    async def _end(
        self, is_meant: Callable[[Subscription], bool], error: Exception | None = None, trouble: str = ""
    ) -> None:
        """End waits one after the other: each wakes a task that has something to sum up.

        :param trouble: what was in the way, if nothing else is known of it.
        """
        trace = None if error is None else error.__traceback__
        async with aclosing(self._present()) as present:
            async for subscription in present:
                if is_meant(subscription):
                    subscription.trouble = subscription.trouble or self._trouble or trouble
                    # Each wait that raises it adds its own place to the traceback.
                    subscription.end(None if error is None else error.with_traceback(trace))
                    await asyncio.sleep(0)

    async def _opened(self) -> AsyncTransport:
        if self._transport is None:
            self._transport = await self._line.enter_async_context(await self._around.open_transport())
        return self._transport

    async def _hang_up(self) -> None:
        self._transport = None
        await self._line.aclose()

    async def _look_for_another_key(self, error: ConfigurationError) -> None:
        """Use the connection's new key or address, if it has one by now; if not, end all waits."""
        try:
            if await self._was_mended():
                return
        except GatewayUnavailable as not_now:
            self._pause(not_now)
            return
        except SmsError:
            pass
        await self._end(_everybody, error)

    async def _was_mended(self) -> bool:
        used = self._transport
        if used is None:
            return False
        found = await self._around.open_transport()
        if found.endpoint.is_same_account(used.endpoint):
            return False
        await self._hang_up()
        self._transport = await self._line.enter_async_context(found)
        return True

    async def _ask_for_what_is_due(self) -> None:
        """Ask, with several requests on their way at a time. After a failure no further one leaves.

        :raises SmsError: a permanent one, if there was one, or the first that was not.
        """
        transport = await self._opened()
        now = self._around.now()
        due = deque([subscription async for subscription in self._present() if subscription.is_due(now)])
        requests = self._requests(due, now, transport.endpoint.gateway.limits.message_ids)
        failures: list[tuple[Exception, Sequence[MessageId]]] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(transport.endpoint.max_concurrent_requests):
                group.create_task(self._execute(requests, transport, failures))
        requests.close()
        for _, ids in failures:
            self._missed.extend(ids)
        if failures:
            errors = (error for error, _ in failures)
            raise min(errors, key=lambda error: isinstance(error, GatewayUnavailable))

    async def _execute(
        self,
        requests: Iterator[Sequence[MessageId]],
        transport: AsyncTransport,
        failures: list[tuple[Exception, Sequence[MessageId]]],
    ) -> None:
        """Take one request after the other, while there are any and none has failed."""
        for ids in requests:
            try:
                await self._ask(transport, ids)
            # All are raised by who started this.
            except Exception as error:  # noqa: BLE001
                failures.append((error, ids))
            if failures:
                return

    def _requests(self, due: deque[Subscription], now: float, size: int) -> Generator[Sequence[MessageId]]:
        """Cut the ids that are due into requests, one at a time: waits come and go meanwhile."""
        ids = self._due_ids(due, now)
        with closing(ids):
            while request := list(islice(ids, size)):
                yield request

    def _due_ids(self, due: deque[Subscription], now: float) -> Generator[MessageId]:
        """Walk through the ids that are due, each once.

        If it is closed early, the next tick goes on where it ends. What was missed before comes last: what
        the gateway cannot answer must not be in the way of the rest.
        """
        owners = self._owners
        missed, self._missed = dict.fromkeys(self._missed), []
        seen: set[MessageId] = set()
        rest: Iterator[MessageId] = iter(())
        try:
            for subscription in _taken_from(due):
                if subscription.over.done() or self._is_being_held(subscription):
                    continue
                if not subscription.is_due(now):
                    continue
                subscription.put_off(now)
                rest = subscription.texts.open_ids()
                for message_id in rest:
                    if subscription.over.done() or subscription.is_held or self._is_being_held(subscription):
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
            self._missed.extend((*rest, *missed))
            raise

    def _is_being_held(self, subscription: Subscription) -> bool:
        return subscription.ledger in self._held_ledgers

    def _is_wanted(self, message_id: MessageId) -> bool:
        """Whether one who still waits has not heard the last of an id."""
        owners = self._owners_of(message_id)
        return any(
            not subscription.over.done() and subscription.texts.is_open(message_id) for subscription in owners
        )

    def _owners_of(self, message_id: MessageId) -> list[Subscription]:
        """Return those who wait for an id, without those who left and are still noted as its owners."""
        owners = _each(self._owners.get(message_id, ()))
        return [subscription for subscription in owners if subscription in self._waiters]

    async def _ask(self, transport: AsyncTransport, ids: Sequence[MessageId]) -> None:
        """Ask for some ids, and hand the answer on."""
        try:
            reports = await transport.execute(transport.endpoint.gateway.delivery_reports(ids))
        except InvalidMessage as error:
            await self._ask_apart(transport, ids, error)
            return
        self._unreadable.name(reports.unreadable, self._around.log)
        answers = defaultdict(list)
        for report in reports:
            for subscription in self._owners_of(report.message_id):
                answers[subscription].append(report)
        await self._write(answers)
        now = self._around.now()
        handed_on = 0
        for subscription in _taken_from(deque(answers)):
            own = answers.pop(subscription)
            subscription.absorb(own, now)
            handed_on += len(own)
            if subscription.over.done() or handed_on >= _REPORTS_AT_A_STRETCH:
                handed_on = 0
                await asyncio.sleep(0)

    async def _ask_apart(
        self, transport: AsyncTransport, ids: Sequence[MessageId], error: InvalidMessage
    ) -> None:
        """Find out whose id it is that the gateway refuses a request for, and end that wait alone."""
        subscriptions = {subscription for message_id in ids for subscription in self._owners_of(message_id)}
        if len(subscriptions) <= 1 or len(ids) == 1:
            for subscription in subscriptions:
                subscription.end(error)
            return
        middle = len(ids) // 2
        await self._ask(transport, ids[:middle])
        await self._ask(transport, ids[middle:])

    async def _write(self, answers: dict[Subscription, list[DeliveryReport]]) -> None:
        """Write what is new into the ledgers. What could not be written does not count yet."""
        subscriptions: defaultdict[LedgerAddress, list[Subscription]] = defaultdict(list)
        for subscription in answers:
            if subscription.ledger is not None:
                subscriptions[subscription.ledger].append(subscription)
        for ledger, its_waiters in subscriptions.items():
            news = {
                report.message_id: report
                for subscription in its_waiters
                for report in subscription.texts.news(answers[subscription])
            }
            if news and (error := await self._write_to(ledger, list(news.values()))):
                for subscription in its_waiters:
                    del answers[subscription]
                await self._hold_back(ledger, its_waiters, error)

    async def _write_to(self, ledger: LedgerAddress, reports: Sequence[DeliveryReport]) -> SmsError | None:
        """Write, and return what was in the way; whatever it is, it is no matter of other ledgers' waits."""
        try:
            async with asyncio.timeout(LEDGER_LASTS):
                await self._around.write(ledger, reports)
        except SmsError as error:
            return error
        except Exception as error:  # noqa: BLE001 - of one ledger
            msg = f"The ledger behind {ledger.conn_id!r} could not be written ({type(error).__name__})."
            return LedgerUnavailable(msg)
        return None

    async def _hold_back(self, ledger: LedgerAddress, lost: Sequence[Subscription], error: SmsError) -> None:
        """Hold back the waits of a ledger that could not be written.

        :param lost: those whose answers do not count.
        """
        if error.is_permanent:
            await self._end(lambda subscription: subscription.ledger == ledger, error)
            return
        until = self._around.now() + LEDGER_PAUSE
        self._held_ledgers.add(ledger)
        try:
            count = await self._hold_all(ledger, set(lost), until, str(error))
        finally:
            self._held_ledgers.discard(ledger)
        waits = pluralize(count, "wait")
        self._around.log.warning(
            "%s Asking and writing again in %.0f seconds; %s.", error, LEDGER_PAUSE, waits
        )

    async def _hold_all(
        self, ledger: LedgerAddress, lost: Container[Subscription], until: float, why: str
    ) -> int:
        """Hold back the waits of a ledger, and return how many there are."""
        count = 0
        async with aclosing(self._present()) as present:
            async for subscription in present:
                if subscription.ledger == ledger:
                    count += 1
                    subscription.hold(until if subscription in lost else max(until, subscription.due_at), why)
        return count


def _taken_from(subscriptions: deque[Subscription]) -> Iterator[Subscription]:
    """Walk through waiters, and keep none: many that are over would be freed at a stretch in the end."""
    while subscriptions:
        yield subscriptions.popleft()


def _everybody(_: Subscription) -> bool:
    return True


def _each(owner: Subscription | Iterable[Subscription]) -> Iterable[Subscription]:
    return (owner,) if isinstance(owner, Subscription) else owner
