"""Whatever a list does between polls: each row fires an event, and once unless the watcher is killed."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pendulum
from hypothesis import example, given, settings

from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.inbound.cursor import Cursor
from airflow_provider_winsms.inbound.feeds import (
    DEFAULT_BOUNDS,
    POLLS_PER_DEEP_READ,
    Bounds,
    FeedConnection,
    lists_within,
)
from airflow_provider_winsms.inbound.filters import first_word, selection
from airflow_provider_winsms.inbound.subscriber import Subscriber, Subscribers
from airflow_provider_winsms.inbound.watcher import JOIN_WINDOW, Watcher
from airflow_provider_winsms.messages import IncomingMessage, Page
from tests.inbound.test_watcher import InMemoryStore, row
from tests.support.lists import page_range

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_winsms.gateways.base import Call

KEYS_KEPT = 8
ROWS_READ_AGAIN = 12
LISTS = lists_within(Bounds(KEYS_KEPT, ROWS_READ_AGAIN))
NOON = pendulum.datetime(2026, 3, 2, 12, tz="Africa/Johannesburg")

Change = tuple[str, int]
CHANGES = st.tuples(
    st.sampled_from(["come", "late", "late at the end", "leave", "replace"]), st.integers(0, 30)
)
"""What happens to a list, and how often or where."""


@dataclass
class ChangingList:
    """A gateway's list of messages, in which rows come, come late and leave."""

    page_size: int
    is_newest_first: bool
    listed: list[int]
    ever: list[int] = field(default_factory=list)
    polled: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ever = list(self.listed)

    async def execute(self, call: Call[Any]) -> Page[IncomingMessage]:
        await asyncio.sleep(0)
        self.polled |= set(self.listed)
        ordered = self.listed[::-1] if self.is_newest_first else self.listed
        offset, limit = page_range(call)
        rows = tuple(IncomingMessage(each, "1", NOON, "YES") for each in ordered[offset : offset + limit])
        return Page(rows, offset, len(ordered))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[FeedConnection]:
        gateway = WinSMSGateway(time_zone="UTC", country_code="27")
        yield FeedConnection(gateway, self.execute, self.page_size, KeyedHash("key"))

    def change(self, kind: str, number: int) -> None:
        if kind == "come":
            for _ in range(number % 4 + 1):
                self._add(max(self.ever, default=0) + 1000, len(self.listed))
        elif kind == "leave":
            for _ in range(number % 4 + 1):
                self._remove(number // 4)
        elif kind == "replace":
            self._remove(number)
            self._late(number, is_at_end=False)
        else:
            self._late(number, is_at_end=kind == "late at the end")

    def _late(self, number: int, *, is_at_end: bool) -> None:
        """Let one come in with an id below others, of which a cursor tells all apart."""
        newest = sorted(self.ever)[-KEYS_KEPT + 1 :]
        if not newest:
            return
        below = newest[number % len(newest)]
        late = next(each for each in range(below - 1, below - 1000, -1) if each not in self.ever)
        if sum(each > late for each in self.ever) >= KEYS_KEPT:
            return
        belongs = max((at for at, each in enumerate(self.listed) if each < late), default=-1) + 1
        self._add(late, len(self.listed) if is_at_end else belongs)

    def _add(self, message_id: int, place: int) -> None:
        self.listed.insert(place, message_id)
        self.ever.append(message_id)

    def _remove(self, place: int) -> None:
        """Let one leave that was there at a poll."""
        there = [each for each in self.listed if each in self.polled]
        if there:
            self.listed.remove(there[place % len(there)])


class Ended(BaseException):
    """The watcher's process ends."""


async def watch(
    changing: ChangingList, store: InMemoryStore, life: list[list[Change]], dies: int
) -> list[int]:
    """Watch a list that changes before each poll but the first, and return the ids that fired.

    :param dies: after how many events the watcher is killed, before it is known that the last is stored.
    """
    steps = iter([*life, None])

    async def pause(seconds: float, _: asyncio.Event | None = None) -> None:
        if seconds == JOIN_WINDOW:
            return
        if (step := next(steps)) is None:
            raise Ended
        for kind, number in step:
            changing.change(kind, number)

    async def hold(_: float) -> None:
        pass

    subscribers = Subscribers()
    subscriber = Subscriber("name", selection("incoming", None, None, ()), store, pause=hold, lists=LISTS)
    subscribers.join(subscriber)
    log = logging.getLogger("quiet")
    watcher = Watcher(
        LISTS["incoming"], subscribers, changing.connect, poll_interval=30.0, log=log, pause=pause
    )
    fired: list[int] = []
    try:
        async for payload in subscriber.payloads(watcher.auto_acked()):
            fired.append(payload["message_id"])
            if len(fired) == dies:
                break
    except Ended:
        pass
    return fired


LIVES = st.lists(
    st.tuples(st.lists(st.lists(CHANGES, max_size=3), max_size=8), st.none() | st.integers(1, 6)), max_size=4
)


async def live(changing: ChangingList, lives: list[tuple[list[list[Change]], int | None]]) -> list[int]:
    store = InMemoryStore()
    fired = await watch(changing, store, [], 0)
    for life, dies in lives:
        fired += await watch(changing, store, life, dies or 0)
    return fired + await watch(changing, store, [[]] * (POLLS_PER_DEEP_READ + 1), 0)


def fired_of(
    size: int, page_size: int, newest_first: bool, lives: list[tuple[list[list[Change]], int | None]]
) -> tuple[list[int], list[int]]:
    """Return the ids that had to fire, and those that did."""
    changing = ChangingList(page_size, newest_first, [1000 * number for number in range(1, size + 1)])
    fired = asyncio.run(live(changing, lives))
    return changing.ever[size:], fired


@given(st.integers(0, 40), st.sampled_from([13, 20, 1000]), st.booleans(), LIVES)
@settings(max_examples=150, deadline=None, derandomize=True)
@example(size=30, page_size=20, newest_first=False, lives=[([[("late", 0), ("leave", 0)]], None)])
@example(size=30, page_size=20, newest_first=True, lives=[([[("replace", 3)], [("come", 3)]], None)])
def test_each_row_fires_and_once_unless_the_watcher_is_killed(
    size: int, page_size: int, newest_first: bool, lives: list[tuple[list[list[Change]], int | None]]
) -> None:
    due, fired = fired_of(size, page_size, newest_first, lives)
    assert sorted(set(fired)) == sorted(due)
    kills = sum(dies is not None for _, dies in lives)
    # A subscriber that is alone has one event at a time of which it is not known that it is stored.
    assert len(fired) - len(due) <= kills


@given(st.integers(0, 40), st.integers(2, 12), st.booleans(), st.lists(CHANGES, max_size=3))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_each_row_fires_once_in_pages_that_are_too_small_for_all(
    size: int, page_size: int, newest_first: bool, changes: list[Change]
) -> None:
    """Unless so many newer ones come before all are looked at that a cursor no longer tells it apart."""
    due, fired = fired_of(size, page_size, newest_first, [([changes], None)])
    ever = [*range(1000, 1000 * (size + 1), 1000), *due]
    kept = {each for each in due if sum(other > each for other in ever) < KEYS_KEPT}
    assert kept <= set(fired) <= set(due)
    assert len(fired) == len(set(fired))


@given(st.text())
def test_the_first_word_is_its_own_first_word(text: str) -> None:
    assert first_word(first_word(text)) == first_word(text)


@given(
    st.none() | st.integers(0, 10**9),
    st.dictionaries(st.text(max_size=20), st.none() | st.integers(0, 10**9), max_size=20),
)
def test_a_cursor_is_read_as_it_was_written(watermark: int | None, seen: dict[str, int | None]) -> None:
    written = json.loads(json.dumps(Cursor(watermark, seen).to_json()))
    assert Cursor.from_json(written).to_json() == written


@given(st.sets(st.integers(1, 3000), min_size=1), st.sets(st.integers(1, 3000)))
def test_a_cursor_forgets_no_row_that_it_has_and_takes_in_none_that_is_held(
    seen: set[int], held: set[int]
) -> None:
    cursor = Cursor(0, {str(each): each for each in seen})
    cursor.compact(DEFAULT_BOUNDS.row_watermark, held - seen)
    assert all(cursor.has(row(each)) for each in seen)
    assert not any(cursor.has(row(each)) for each in held - seen)
