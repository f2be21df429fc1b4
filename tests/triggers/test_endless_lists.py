"""Whatever total a gateway states: a poll ends, each listed row fires once, and a line in the log says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.inbound.feeds import Bounds, lists_within
from airflow_provider_winsms.sandbox.scripts import Listing, ListQuery
from airflow_provider_winsms.triggers.incoming import SmsIncomingTrigger
from tests.support.lists import connection_to, one_at_a_time, row
from tests.support.variants import variant
from tests.triggers.triggerer import Time, Triggerer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from airflow_provider_winsms.sandbox import Sandbox

    Total = Callable[[int, int], Any]

FIVE = list(range(1, 6))
MOST_REQUESTS = 100


class Endless:
    """A gateway whose pages and totals a test works out.

    :ivar ids: of the messages that it lists.
    :ivar page: takes them, offset and limit; returns those of a page.
    :ivar total: takes the offset and how many there are.
    """

    def __init__(self, box: Sandbox) -> None:
        self.ids = list(FIVE)
        self.page: Callable[[list[int], int, int], list[int]] = lambda ids, offset, limit: ids[offset:][
            :limit
        ]
        self.total: Total = lambda _, count: count
        self.requests = 0
        box.script("getIncomingMessages", one_at_a_time(self._answer))

    def _answer(self, asked: ListQuery) -> Listing:
        self.requests += 1
        page = self.page(self.ids, asked.offset, asked.limit)
        return Listing(list(map(row, page)), self.total(asked.offset, len(self.ids)))


@pytest.fixture
def endless(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Endless:
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", connection_to(sandbox, page_size=10))
    return Endless(sandbox)


def bounded(**bounds: int) -> type[SmsIncomingTrigger]:
    return variant(SmsIncomingTrigger, lists=lists_within(Bounds(**bounds)))


@pytest.fixture
async def triggerer() -> AsyncIterator[Triggerer]:
    time = Time()
    yield Triggerer({}, time, kind=bounded(most_requests=MOST_REQUESTS))
    for each in time.triggerers:
        await each.kill()


TOTALS: dict[str, Total] = {
    "10**18": lambda *_: 10**18,
    "growing": lambda offset, _: offset + 11,
    "by chance": lambda offset, count: count + offset * 7919 % 1000,
    "shrinking": lambda offset, count: max(0, count - offset),
}
PAGES: dict[str, Callable[[list[int], int, int], list[int]]] = {
    "oldest first": lambda ids, offset, limit: ids[offset:][:limit],
    "newest first": lambda ids, offset, limit: ids[::-1][offset:][:limit],
    "repeated": lambda ids, _, limit: ids[-limit:],
    "repeated, newest first": lambda ids, _, limit: ids[: -limit - 1 : -1],
}


@pytest.mark.parametrize("pages", PAGES)
@pytest.mark.parametrize("total", TOTALS)
async def test_each_listed_row_fires_once_and_each_poll_ends(
    endless: Endless, triggerer: Triggerer, total: str, pages: str, caplog: pytest.LogCaptureFixture
) -> None:
    endless.total, endless.page = TOTALS[total], PAGES[pages]
    await triggerer.watch("replies")
    assert endless.requests <= 2 * MOST_REQUESTS
    for arrived in ([6], [7, 8], []):
        endless.ids += arrived
        before = endless.requests
        await triggerer.poll_and_store()
        assert endless.requests - before <= 20
    assert triggerer.keys() == ["6", "7", "8"]
    if total == "10**18" and pages == "oldest first":
        assert caplog.text.count("rows that it does not list") == 1


async def test_a_list_without_end_is_read_on_from_poll_to_poll(
    endless: Endless, triggerer: Triggerer, caplog: pytest.LogCaptureFixture
) -> None:
    await triggerer.watch("replies")
    endless.total = TOTALS["growing"]
    endless.page = lambda _, offset, limit: list(range(offset + 1, offset + 1 + limit))
    before = endless.requests
    await triggerer.poll_and_store()
    assert endless.requests - before <= 2 * MOST_REQUESTS
    assert "The list has more new rows than one poll reads." in caplog.text
    keys = list(map(int, triggerer.keys()))
    assert keys[:100] == list(range(6, 106))


async def test_more_new_rows_than_one_poll_reads_all_fire_in_their_order(
    endless: Endless, triggerer: Triggerer
) -> None:
    patient = bounded(most_requests=16, keys_kept=20)
    dead = Triggerer({}, triggerer.time, kind=patient)
    await dead.watch("replies")
    await dead.poll_and_store()
    endless.ids = list(range(1, 301))
    await dead.kill()
    after = Triggerer(dead.stores, dead.time, kind=patient)
    after.start("replies")
    for _ in range(6):
        await after.poll_and_store()
    assert list(map(int, after.keys())) == list(range(6, 301))
