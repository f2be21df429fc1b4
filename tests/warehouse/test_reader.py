from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable
from airflow_provider_winsms.messages import Page
from airflow_provider_winsms.runtime import PROGRESS_SECONDS
from airflow_provider_winsms.sql.bulk import EncodedRows
from airflow_provider_winsms.warehouse.mapping import Chunk
from airflow_provider_winsms.warehouse.reader import IdSet, PagedList, ProgressLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAGE_SIZE = 10


class Log:
    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, words: str, *values: object) -> None:
        self.said.append(words % values)


class Listed:
    """A list whose rows are numbers, and which notes what it is asked.

    :ivar most: the most rows of a page, whatever is asked for.
    :ivar hidden: how many rows the total counts and no page has.
    :ivar comes: rows that come in after each answer.
    """

    def __init__(self, rows: Iterable[int]) -> None:
        self.rows = list(rows)
        self.most = 1000
        self.hidden = 0
        self.comes: list[range] = []
        self.asked: list[tuple[int, int]] = []
        self.log = Log()
        self._lock = threading.Lock()

    def fetch(self, offset: int, limit: int) -> Page[int]:
        with self._lock:
            self.asked.append((offset, limit))
            page = Page(
                self.rows[offset : offset + min(limit, self.most)], offset, len(self.rows) + self.hidden
            )
            if self.comes:
                self.rows += self.comes.pop(0)
            return page

    def pages(self, most_ahead: int = 3) -> PagedList[int]:
        return PagedList(self.fetch, chunk, PAGE_SIZE, most_ahead, ProgressLog(self.log))


def chunk(rows: Sequence[int]) -> Chunk:
    """Return the rows of a page, each once."""
    return Chunk(EncodedRows(len(rows), rows), list(dict.fromkeys(rows)))


def keys(chunks: Iterable[Chunk]) -> list[int]:
    return [key for each in chunks for key in each.keys]


# Pages


@pytest.mark.parametrize("most_ahead", [1, 2, 8])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 95, 100])
def test_a_list_is_read_whole_in_its_order_with_one_request_for_each_page(
    count: int, most_ahead: int
) -> None:
    listed = Listed(range(count))
    pages = listed.pages(most_ahead)
    assert keys(pages.to_end(0)) == listed.rows
    assert pages.requests == len(listed.asked) == max(1, -(-count // PAGE_SIZE))
    assert (pages.rows_read, pages.total) == (count, count)


def test_no_request_asks_for_more_than_a_page_or_for_what_another_asks_for() -> None:
    listed = Listed(range(35))
    list(listed.pages().to_end(4))
    assert sorted(listed.asked) == [(4, 10), (14, 10), (24, 10), (34, 10)]


def test_pages_that_are_shorter_than_asked_for_are_filled_up() -> None:
    listed = Listed(range(35))
    listed.most = 4
    assert keys(listed.pages().to_end(0)) == listed.rows


def test_rows_that_a_page_repeats_take_no_place_of_others() -> None:
    listed = Listed([*range(10), *range(8, 20)])
    read = keys(listed.pages().to_end(0))
    assert set(read) == set(range(20))


@pytest.mark.parametrize("most_ahead", [1, 3])
def test_rows_that_come_in_meanwhile_are_read_too(most_ahead: int) -> None:
    listed = Listed(range(25))
    listed.comes = [range(25, 26), range(26, 60), range(60, 85)]
    pages = listed.pages(most_ahead)
    assert keys(pages.to_end(0)) == list(range(85))
    assert pages.total == 85


def test_rows_that_are_counted_and_not_listed_end_the_reading() -> None:
    listed = Listed(range(25))
    listed.hidden = 1000
    pages = listed.pages()
    assert keys(pages.to_end(20)) == listed.rows[20:]
    assert pages.total == 1025


def test_a_part_is_read_to_its_end_and_no_further() -> None:
    listed = Listed(range(100))
    pages = listed.pages()
    assert pages.first().rows == [0]
    assert keys(pages.between(5, 28)) == listed.rows[5:28]
    assert pages.last().rows == [99]
    assert sorted(listed.asked) == [(0, 1), (5, 10), (15, 10), (25, 3), (99, 1)]


def test_an_empty_part_asks_for_nothing() -> None:
    listed = Listed(range(100))
    assert keys(listed.pages().between(7, 7)) == []
    assert listed.asked == []


def test_the_total_is_learnt_again_when_the_list_is_read_from_its_start() -> None:
    listed = Listed(range(30))
    pages = listed.pages()
    keys(pages.to_end(0))
    del listed.rows[12:]
    assert keys(pages.to_end(0)) == listed.rows
    assert pages.total == 12


def test_of_a_list_that_fails_the_beginning_may_be_read_and_the_rest_raises() -> None:
    listed = Listed(range(100))

    def fetch(offset: int, limit: int) -> Page[int]:
        if offset == 50:
            msg = "gone"
            raise GatewayUnavailable(msg)
        return listed.fetch(offset, limit)

    pages = PagedList(fetch, chunk, PAGE_SIZE, 2, ProgressLog(listed.log))
    read = pages.to_end(0)
    assert [keys([next(read)]) for _ in range(5)] == [listed.rows[n : n + 10] for n in range(0, 50, 10)]
    with pytest.raises(GatewayUnavailable):
        next(read)


# IdSet


def test_ids_may_be_walked_through_again() -> None:
    ids = IdSet()
    ids.add([3, 1])
    ids.add([2, 3])
    assert list(ids.each()) == list(ids.each()) == [1, 2, 3]


# Progress


def saying(*moments: float) -> tuple[ProgressLog, Log]:
    """Return what says how far it is, on a clock that shows some seconds one after the other, from 0."""
    clock, log = iter([0.0, *moments]), Log()
    return ProgressLog(log, lambda: next(clock)), log


def test_a_short_load_says_nothing() -> None:
    progress, log = saying(1, 2, PROGRESS_SECONDS - 0.01)
    for page in (1, 2, 3):
        progress.note(page, 3, page * 10)
    assert log.said == []


def test_it_says_pages_rows_their_speed_and_the_time_left_every_few_seconds() -> None:
    progress, log = saying(4, 8, 12, 16)
    for page in (1, 2, 3, 4):
        progress.note(page, 10, page * 1000)
    assert log.said == [
        "Read 2 of 10 pages, 2000 rows, 250 rows per second; about 32 seconds left.",
        "Read 4 of 10 pages, 4000 rows, 250 rows per second; about 24 seconds left.",
    ]


def test_a_list_that_is_read_again_takes_as_long_as_its_pages_did() -> None:
    progress, log = saying(*range(10, 110, 10))
    for page in range(1, 10):
        progress.note(page, 9, page * 1000)
    log.said.clear()
    progress.note(1, 9, 10_000)
    assert log.said == ["Read 1 of 9 pages, 10000 rows, 100 rows per second; about 80 seconds left."]


def test_more_pages_than_there_were_to_be_are_no_less_than_all() -> None:
    progress, log = saying(1, 6)
    progress.note(1, 1, 10)
    progress.note(2, 1, 20)
    assert log.said == ["Read 2 of 2 pages, 20 rows, 3 rows per second; about 0 seconds left."]


def test_every_page_is_noted_once() -> None:
    listed, clock, log = Listed(range(95)), iter(range(0, 600, 6)), Log()
    pages = PagedList(listed.fetch, chunk, PAGE_SIZE, 1, ProgressLog(log, lambda: next(clock)))
    list(pages.to_end(0))
    list(pages.between(40, 60))
    assert [words.split(" pages")[0] for words in log.said] == [
        *(f"Read {page} of 10" for page in range(1, 11)),
        "Read 1 of 2",
        "Read 2 of 2",
    ]
