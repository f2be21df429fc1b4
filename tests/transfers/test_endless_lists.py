"""Whatever total a gateway states, a load ends by itself: with the rows, or with an error that says why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable
from airflow_provider_winsms.sandbox.scripts import Listing, ListQuery
from airflow_provider_winsms.warehouse.datasets import LoadSizes
from tests.support.lists import connection_to, one_at_a_time, row, waiting
from tests.transfers.loads import run, run_impatiently, stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database

    Rows = Callable[[int, int], list[Any]]
    Total = Callable[[int], Any]

FIVE = [row(each) for each in range(1, 6)]
MOST_REQUESTS = 1000
SECONDS = 20


class Endless:
    """A gateway whose pages and totals a test works out.

    :ivar rows: takes offset and limit.
    :ivar total: takes the offset.
    """

    def __init__(self, box: Sandbox) -> None:
        self.rows: Rows = lambda offset, limit: FIVE[offset : offset + limit]
        self.total: Total = lambda _: 5
        self.requests = 0
        for operation in ("getIncomingMessages", "getScheduledMessages"):
            box.script(operation, one_at_a_time(self._answer))

    def _answer(self, asked: ListQuery) -> Listing:
        self.requests += 1
        assert self.requests <= MOST_REQUESTS, "the load does not end"
        return Listing(self.rows(asked.offset, asked.limit), self.total(asked.offset))


@pytest.fixture
def endless(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Endless:
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", connection_to(sandbox, page_size=10))
    return Endless(sandbox)


def repeated(_: int, limit: int) -> list[Any]:
    return FIVE[:limit]


def alternating(offset: int, limit: int) -> list[Any]:
    return [row(each + offset // 10 % 3 * 100) for each in range(1, 11)][:limit]


def distinct(offset: int, limit: int) -> list[Any]:
    return [row(each + 1) for each in range(offset, offset + limit)]


TOTALS: dict[str, Total] = {
    "10**18": lambda _: 10**18,
    "2**63-1": lambda _: 2**63 - 1,
    "10**9": lambda _: 10**9,
    "growing": lambda offset: offset + 11,
    "doubling": lambda offset: 2 * offset + 11,
    "growing fast": lambda offset: (offset + 1) * 10**6,
}


@pytest.mark.parametrize("mode", ["incremental", "full_refresh"])
@pytest.mark.parametrize("total", ["growing", "10**9"])
def test_rows_that_end_are_loaded_though_the_total_says_that_there_are_more(
    sqlite: Database, endless: Endless, total: str, mode: str
) -> None:
    endless.total = TOTALS[total]
    for _ in range(2):
        run(sqlite, mode=mode)
    assert [each["message_id"] for each in stored(sqlite)] == [1, 2, 3, 4, 5]
    assert endless.requests < 50


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("rows", [repeated, alternating], ids=["repeated", "alternating"])
def test_pages_that_repeat_without_end_end_the_load_with_an_error(
    sqlite: Database, endless: Endless, rows: Rows, total: str
) -> None:
    endless.rows, endless.total = rows, TOTALS[total]
    began = time.monotonic()
    with pytest.raises(GatewayUnavailable, match=r"The list does not end: the gateway states \d+ rows, "):
        run_impatiently(sqlite)
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize("total", ["10**18", "2**63-1", "growing fast", "doubling"])
def test_a_total_that_no_list_has_ends_the_load_with_an_error(
    sqlite: Database, endless: Endless, total: str
) -> None:
    endless.rows, endless.total = distinct, TOTALS[total]
    with pytest.raises(GatewayUnavailable, match=r"The list does not end.*Nothing was loaded"):
        run_impatiently(sqlite, sizes=LoadSizes(rows_arrive=1000))


@pytest.mark.parametrize("total", ["10**9", "10**18"])
def test_newest_rows_first_and_a_total_that_no_list_has_end_by_themselves(
    sqlite: Database, endless: Endless, total: str
) -> None:
    endless.rows = lambda offset, limit: FIVE[::-1][offset : offset + limit]
    run(sqlite)
    endless.total = TOTALS[total]
    if total == "10**9":
        run(sqlite)
    else:
        with pytest.raises(GatewayUnavailable, match="The list does not end"):
            run_impatiently(sqlite)
    assert [each["message_id"] for each in stored(sqlite)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("rows", [[], FIVE[:0]])
@pytest.mark.parametrize("total", [1, 10, 10**9])
def test_a_list_without_rows_is_loaded_whatever_total_it_states(
    sqlite: Database, endless: Endless, total: int, rows: list[Any]
) -> None:
    endless.rows, endless.total = lambda *_: rows, lambda _: total
    assert run(sqlite)["rows_loaded"] == 0
    assert endless.requests < 20


def test_a_total_that_shrinks_meanwhile_loads_what_is_listed(sqlite: Database, endless: Endless) -> None:
    endless.total = lambda offset: max(0, 1000 - 100 * offset)
    run(sqlite)
    assert [each["message_id"] for each in stored(sqlite)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("total", [-1, 5.5, "many", True, [], {}, 2**63, 10**30, float("nan")])
def test_a_total_that_is_none_ends_the_load_with_an_error(
    sqlite: Database, endless: Endless, total: Any
) -> None:
    endless.total = lambda _: total
    with pytest.raises(GatewayUnavailable, match="no whole number where an id or a count must be"):
        run_impatiently(sqlite)
    assert endless.requests <= 4


@pytest.mark.parametrize("total", ["10**18", "growing fast"])
def test_a_list_of_what_is_scheduled_that_does_not_end_is_refused(
    sqlite: Database, endless: Endless, total: str
) -> None:
    endless.rows = lambda _, limit: [waiting(each) for each in range(1, limit + 1)]
    endless.total = TOTALS[total]
    with pytest.raises(GatewayUnavailable, match="The list does not end"):
        run_impatiently(sqlite, "scheduled")
