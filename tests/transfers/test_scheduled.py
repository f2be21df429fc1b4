"""Scheduled texts: which wait now, and since when the others do not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable, LoadFailed
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.messages import Message, Recipient
from airflow_provider_winsms.warehouse.datasets import LoadSizes
from tests.support.lists import waiting
from tests.transfers.loads import everything, run, run_impatiently, stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.lists import Lists

DAYS = [datetime(2026, 5, day, 6, tzinfo=UTC) for day in range(1, 8)]


def load_on(database: Database, day: int, **kwargs: Any) -> dict[str, Any]:
    return run(database, "scheduled", began=DAYS[day - 1], run_id=f"day {day}", **kwargs)


def known(database: Database, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(each[name] for name in ("message_id", *names)) for each in stored(database, "scheduled")]


def listed(*ids: int) -> list[dict[str, Any]]:
    return [waiting(message_id) for message_id in ids]


def test_against_the_sandbox_texts_are_seen_waiting_cancelled_and_gone(
    gateway: Sandbox, database: Database
) -> None:
    hook = SmsHook.of("winsms_default")
    send_at = pendulum.instance(gateway.now()).add(days=2).start_of("minute")
    message = Message("Later", tuple(Recipient(f"2782{n:07}") for n in range(23)), send_at=send_at)
    ids = [int(receipt.message_id or 0) for receipt in hook.send(message)]
    result = run(database, "scheduled")
    assert (result["rows_loaded"], result["total"], result["high_water_mark"]) == (23, 23, max(ids))
    found = stored(database, "scheduled")
    assert [each["message_id"] for each in found] == ids
    assert [each["number"] for each in found] == [f"2782{n:07}" for n in range(23)]
    assert {each["send_at"] for each in found} == {send_at}
    assert {each["send_at_wire"] for each in found} == {
        send_at.in_timezone("Africa/Johannesburg").format("YYYYMMDDHHmm")
    }
    submitted = pendulum.instance(gateway.now()).start_of("minute")
    assert {each["submitted_at"] for each in found} == {submitted}
    assert {each["refund"] for each in found} == {Decimal(1)}
    hook.cancel_scheduled(ids[:3])
    assert run(database, "scheduled")["rows_removed"] == 3
    gateway.advance(timedelta(days=3).total_seconds())
    assert run(database, "scheduled")["rows_removed"] == 20
    assert database.count("replies WHERE removed_at IS NULL") == 0
    hook.get_conn().close()


def test_rows_are_followed_from_load_to_load(lists: Lists, any_database: Database) -> None:
    moved = waiting(1, scheduledSendTime="202603061800", creditCost=2)
    for day, rows, loaded, removed in (
        (1, listed(1, 2), 2, 0),
        (2, listed(1, 2), 0, 0),
        (3, [moved], 1, 1),
        (4, [moved], 0, 0),
        (5, [moved, *listed(2, 3)], 2, 0),
        (6, [], 0, 3),
    ):
        lists.scheduled = rows
        result = load_on(any_database, day)
        assert (result["rows_loaded"], result["rows_removed"]) == (loaded, removed), day
    columns = ("first_seen_at", "last_seen_at", "removed_at", "send_at_wire", "refund", "load_run_id")
    assert known(any_database, *columns) == [
        (1, DAYS[0], DAYS[4], DAYS[5], "202603061800", Decimal(2), "day 6"),
        (2, DAYS[0], DAYS[4], DAYS[5], "202603051800", Decimal("1.50"), "day 6"),
        (3, DAYS[4], DAYS[4], DAYS[5], "202603051800", Decimal("1.50"), "day 6"),
    ]


def moves(
    lists: Lists, requests: set[int], change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    """Let the list change before some requests are answered."""
    first = lists.requests

    def meanwhile(number: int) -> None:
        if number - first in requests:
            lists.scheduled = change(lists.scheduled)

    lists.meanwhile = meanwhile


def test_rows_that_move_up_while_the_list_is_read_are_not_taken_for_removed(
    lists: Lists, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    """Rows vanish behind the reader, and others slip past it. Those that vanished were seen by this load."""
    lists.scheduled = listed(*range(1, 41))
    load_on(database, 1)
    moves(lists, {3}, lambda rows: rows[4:])
    result = load_on(database, 2)
    assert "moved while it was read" in capfd.readouterr().out
    assert (result["rows_loaded"], result["rows_removed"]) == (0, 0)
    lists.meanwhile = lambda _: None
    assert load_on(database, 3)["rows_removed"] == 4
    assert database.message_ids("replies WHERE removed_at IS NULL") == list(range(5, 41))


def test_a_list_that_keeps_moving_marks_nothing_until_it_stands_still(
    lists: Lists, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    lists.scheduled = listed(*range(1, 61))
    load_on(database, 1)
    moves(lists, {3, 9}, lambda rows: rows[4:])
    result = load_on(database, 2)
    assert (result["rows_removed"], "moved again" in capfd.readouterr().out) == (0, True)
    assert database.count("replies WHERE removed_at IS NULL") == 60
    lists.meanwhile = lambda _: None
    assert load_on(database, 3)["rows_removed"] == 8
    assert database.message_ids("replies WHERE removed_at IS NULL") == list(range(9, 61))


def test_rows_that_are_scheduled_while_the_list_is_read_are_loaded(lists: Lists, database: Database) -> None:
    lists.scheduled = listed(*range(1, 31))
    moves(lists, {3}, lambda rows: [*rows, *listed(*range(31, 45))])
    assert load_on(database, 1)["rows_loaded"] == 44


def test_rows_that_come_in_several_merges_keep_when_they_were_first_seen(
    lists: Lists, database: Database
) -> None:
    lists.scheduled = listed(*range(1, 91))
    assert load_on(database, 1, sizes=LoadSizes(merged_rows=20))["rows_loaded"] == 90
    lists.scheduled = [waiting(n, creditCost=3) for n in range(31, 121)]
    result = load_on(database, 2, sizes=LoadSizes(merged_rows=20))
    assert (result["rows_loaded"], result["rows_removed"]) == (90, 30)
    assert known(database, "first_seen_at", "removed_at") == [
        (n, DAYS[0] if n < 91 else DAYS[1], DAYS[1] if n < 31 else None) for n in range(1, 121)
    ]


def test_an_older_list_does_not_overwrite_a_newer_one(lists: Lists, database: Database) -> None:
    lists.scheduled = listed(1)
    load_on(database, 2)
    before = everything(database)
    lists.scheduled = []
    with pytest.raises(LoadFailed, match="began later"):
        load_on(database, 1)
    assert everything(database) == before


def test_a_page_that_stays_away_marks_nothing(gateway: Sandbox, one_database: Database) -> None:
    hook = SmsHook.of("winsms_default")
    send_at = pendulum.instance(gateway.now()).add(days=2)
    hook.send(Message("Later", tuple(Recipient(f"2782{n:07}") for n in range(23)), send_at=send_at))
    hook.get_conn().close()
    run(one_database, "scheduled")
    before = everything(one_database)
    gateway.add_fault("500-before-acceptance", operation="getScheduledMessages", skip=1, times=30)
    with pytest.raises(GatewayUnavailable):
        run_impatiently(one_database, "scheduled")
    assert everything(one_database) == before


def test_a_text_that_leaves_is_marked_whatever_its_number_was_hashed_with(
    lists: Lists, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists.scheduled = [waiting(1, "27825550101")]
    run(database, "scheduled")
    connection = {**json.loads(lists.connection), "extra": json.dumps({"hash_secret": "k" * 16})}
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))
    lists.scheduled = []
    assert run(database, "scheduled", privacy="keyed_hash")["rows_removed"] == 1
