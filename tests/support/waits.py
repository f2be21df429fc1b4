"""Waits and ledgers for polls in virtual time."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.delivery.status_questions import StatusQuestions
from airflow_provider_winsms.delivery.tracker import DeliveryTracker
from airflow_provider_winsms.ledger.base import LedgerAddress
from airflow_provider_winsms.polling.poller import Poller, PollerDependencies
from airflow_provider_winsms.polling.schedule import Schedule
from airflow_provider_winsms.polling.subscriptions import Subscription
from tests.support.memory_gateway import DELIVERED, MemoryGateway
from tests.support.virtual_time import BEGINNING, GUEST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from airflow_provider_winsms.messages import DeliveryReport, MessageId
    from airflow_provider_winsms.polling.subscriptions import AnySubscription

LOG = logging.getLogger(__name__)
FIRST_AT = BEGINNING + 10
BOOK, OTHER_BOOK = LedgerAddress("book", "sms_"), LedgerAddress("other_book", "sms_")


@dataclass
class Books:
    """Ledgers in memory.

    :param fails: is given a ledger before it is written, and may raise.
    """

    fails: Callable[[LedgerAddress], None] = lambda _: None
    tries: list[tuple[float, LedgerAddress]] = field(default_factory=list)
    written: list[tuple[LedgerAddress, MessageId, str]] = field(default_factory=list)

    async def write(self, ledger: LedgerAddress, reports: Sequence[DeliveryReport]) -> None:
        self.tries.append((now(), ledger))
        await asyncio.sleep(0.1)
        self.fails(ledger)
        self.written += [(ledger, report.message_id, report.state.value) for report in reports]


def now() -> float:
    return asyncio.get_running_loop().time()


def poller_dependencies(
    there: MemoryGateway, books: Books | None = None, chance: float = 0.0
) -> PollerDependencies:
    return dependencies_of(there.open_transport, books, chance=chance)


def dependencies_of(
    open_transport: Callable[[], Awaitable[Any]],
    books: Books | None = None,
    *,
    clock: Callable[[], float] = now,
    chance: float = 0.0,
) -> PollerDependencies:
    questions = partial(StatusQuestions, write=(books or Books()).write, log=LOG, now=clock)
    return PollerDependencies(open_transport, questions, LOG, now=clock, chance=lambda: chance)


def subscription(
    ids: Iterable[MessageId],
    *,
    first_at: float = FIRST_AT,
    lasts: float = 3600.0,
    pause: float = 60.0,
    begins_at: float = BEGINNING,
    needs: float = 1.0,
    ledger: LedgerAddress | None = None,
) -> Subscription[DeliveryTracker]:
    tracker = DeliveryTracker(ids, min_delivered=needs, grace_until=BEGINNING, not_found_holds=120.0)
    return Subscription(tracker, Schedule(begins_at, pause, 3600.0), first_at, now() + lasts, ledger)


def start_waits(
    there: MemoryGateway, *subscriptions: AnySubscription, books: Books | None = None
) -> list[asyncio.Task[None]]:
    dependencies = poller_dependencies(there, books)
    poll = Poller.of("winsms_default", dependencies)
    return [asyncio.create_task(poll.wait(one), name=GUEST) for one in subscriptions]


async def until(instant: float) -> None:
    await asyncio.sleep(instant - now())


async def cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def waited_for(there: MemoryGateway) -> list[MessageId]:
    """Return the ids that somebody waits for."""
    return [*Poller.of("winsms_default", poller_dependencies(there))._subscriptions._owners]


def nothing_is_left(there: MemoryGateway) -> bool:
    return not there.transports and not Poller._pollers.get(asyncio.get_running_loop())


def deliver(there: MemoryGateway, ids: Iterable[MessageId]) -> None:
    there.states.update(dict.fromkeys(ids, DELIVERED))
