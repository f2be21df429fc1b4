"""Rows that cannot be read are counted and left out; all others are loaded, as cheaply as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.lists import row, waiting
from tests.transfers.loads import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.databases import Database
    from tests.support.lists import Lists

STRANGER = "27825559871"
BAD_IDS: list[Any] = [None, "A1", "", -1, 1.5, True, False, 10**30, [1], {}]
NO_ROWS: list[Any] = [None, 7, STRANGER, True, [], [1]]
WITHOUT_ID = {"mobileNumber": STRANGER, "receiveTime": "202603021030", "messageText": "A secret"}
BAD_REPLIES = [*({**WITHOUT_ID, "incomingApiMessageId": bad} for bad in BAD_IDS), WITHOUT_ID, *NO_ROWS]
BAD_WAITING = [*({**waiting(0, STRANGER), "apiMessageId": bad} for bad in BAD_IDS), *NO_ROWS]


def replies(count: int, start: int = 1) -> list[Any]:
    return [row(message_id) for message_id in range(start, start + count)]


@pytest.mark.parametrize("bad", BAD_REPLIES, ids=repr)
@pytest.mark.parametrize("dataset", ["incoming", "short_code"])
def test_a_reply_that_cannot_be_read_is_left_out_and_counted(
    dataset: str, bad: Any, lists: Lists, sqlite: Database, said: Callable[[], str]
) -> None:
    lists.rows = lists.short_code = [*replies(15), bad, *replies(15, 16)]
    result = run(sqlite, dataset)
    assert (result["rows_loaded"], result["unreadable"], result["total"]) == (30, 1, 31)
    assert result["requests"] == 4
    assert sqlite.message_ids("replies") == list(range(1, 31))
    log = said()
    assert "1 row of the gateway's list cannot be read" in log
    assert STRANGER not in log
    assert "A secret" not in log


@pytest.mark.parametrize("place", [0, 1, 5, 9, 10, 11, 250, 489, 490, 495, 499, 500])
@pytest.mark.parametrize("newest_first", [False, True])
def test_a_later_load_is_cheap_and_exact_wherever_an_unreadable_row_is(
    place: int, newest_first: bool, lists: Lists, sqlite: Database, said: Callable[[], str]
) -> None:
    rows = replies(500)
    rows.insert(place, WITHOUT_ID)
    lists.rows = rows[::-1] if newest_first else rows
    assert run(sqlite)["unreadable"] == 1
    said()
    for _ in range(2):
        result = run(sqlite)
        assert (result["rows_loaded"], result["total"]) == (0, 501)
        assert result["unreadable"] == 1
        assert result["requests"] <= 12, "A search, and not the 51 pages of the list."
    rows += replies(3, 501)
    lists.rows = rows[::-1] if newest_first else rows
    result = run(sqlite)
    assert (result["rows_loaded"], result["unreadable"]) == (3, 1)
    assert result["requests"] <= 12
    assert sqlite.message_ids("replies") == list(range(1, 504))
    assert "add up" not in said()


def test_a_list_of_nothing_but_an_unreadable_row_is_loaded(lists: Lists, sqlite: Database) -> None:
    lists.rows = [WITHOUT_ID]
    for _ in range(2):
        result = run(sqlite)
        assert (result["rows_loaded"], result["unreadable"], result["total"]) == (0, 1, 1)
        assert result["requests"] <= 3


def test_a_row_that_can_be_read_again_is_loaded(lists: Lists, sqlite: Database) -> None:
    lists.rows = [*replies(200), WITHOUT_ID, *replies(200, 202)]
    run(sqlite)
    lists.rows[200] = row(201)
    assert run(sqlite)["unreadable"] == 0
    assert sqlite.message_ids("replies") == list(range(1, 402))


@pytest.mark.parametrize("more", [{"receiveTime": {}}, {"outgoingApiMessageId": "x"}, {"messageText": []}])
def test_a_reply_with_an_id_is_loaded_whatever_else_is_wrong(
    more: dict[str, Any], lists: Lists, sqlite: Database
) -> None:
    lists.rows = [row(1), row(2, **more) if "messageText" not in more else {**row(2), **more}, row(3)]
    assert (run(sqlite)["unreadable"], sqlite.message_ids("replies")) == (0, [1, 2, 3])


# Snapshots


@pytest.mark.parametrize("bad", BAD_WAITING, ids=repr)
@pytest.mark.parametrize("place", [0, 8, 9, 10, 25])
def test_a_scheduled_row_that_cannot_be_read_is_left_out_and_no_other_is_taken_for_gone(
    place: int, bad: Any, lists: Lists, sqlite: Database
) -> None:
    lists.scheduled = [waiting(n) for n in range(1, 26)]
    run(sqlite, "scheduled")
    gone = lists.scheduled.pop(3)
    lists.scheduled.insert(place, bad)
    result = run(sqlite, "scheduled")
    assert (result["unreadable"], result["rows_removed"], result["total"]) == (1, 0, 25)
    assert result["requests"] == 3, "It is not read once more, as if rows had moved."
    lists.scheduled.remove(bad)
    assert run(sqlite, "scheduled")["rows_removed"] == 1
    removed = sqlite.execute("SELECT message_id FROM {}replies WHERE removed_at IS NOT NULL")
    assert removed == [(str(gone["apiMessageId"]),)]


@pytest.mark.parametrize("bad", NO_ROWS, ids=repr)
def test_an_opt_out_that_is_no_row_is_left_out_and_no_other_is_taken_for_gone(
    bad: Any, lists: Lists, sqlite: Database
) -> None:
    lists.opt_outs = [row(n, f"2782555010{n}") for n in range(5)]
    run(sqlite, "opt_outs")
    lists.opt_outs = [*lists.opt_outs[1:3], bad, *lists.opt_outs[3:], row(9, "27825550109")]
    result = run(sqlite, "opt_outs")
    assert (result["unreadable"], result["rows_removed"], result["rows_loaded"]) == (1, 0, 1)
    lists.opt_outs.remove(bad)
    assert run(sqlite, "opt_outs")["rows_removed"] == 1


@pytest.mark.parametrize("bad", ["A1", -1, 1.5, True, {}], ids=repr)
def test_an_opt_out_with_an_id_that_is_none_is_an_opt_out(bad: Any, lists: Lists, sqlite: Database) -> None:
    lists.opt_outs = [row(1, "27825550101"), {**row(2, "27825550102"), "incomingApiMessageId": bad}]
    assert run(sqlite, "opt_outs")["unreadable"] == 0
    assert sqlite.column("number", "replies") == ["27825550101", "27825550102"]
