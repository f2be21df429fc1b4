"""Opt-outs: who is on the list now, and every period of a number on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable, LoadFailed
from airflow_provider_winsms.warehouse.datasets import LoadSizes
from tests.support.lists import row, waiting
from tests.transfers.loads import everything, run, run_impatiently, stored

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.lists import Lists

ANN, BEN = "27825550101", "27825550102"
BY_HAND = "* MANUALLY ADDED BY USER *"
DAYS = [datetime(2026, 5, day, 6, tzinfo=UTC) for day in range(1, 8)]
"""When loads begin."""

BEGAN = datetime(2026, 5, 1, 12, tzinfo=UTC)
MANY = 7000
"""So many entries that parts of an answer were handed out when it breaks off in the middle."""


def now(database: Database, *names: str) -> list[tuple[Any, ...]]:
    """Return the table's rows: each number, and what else is asked for."""
    return [tuple(each[name] for name in ("number", *names)) for each in stored(database, "opt_outs")]


def periods(database: Database) -> list[tuple[Any, ...]]:
    """Return number, first day, last day, day of removal and id of each period; days from 1."""

    def day(at: datetime | None) -> int | None:
        return None if at is None else DAYS.index(at) + 1

    return sorted(
        (
            each["number"],
            day(each["first_seen_at"]),
            day(each["last_seen_at"]),
            day(each["removed_at"]),
            each["message_id"],
        )
        for each in stored(database, "opt_outs", "replies_history")
    )


def load_on(database: Database, day: int, **kwargs: Any) -> dict[str, Any]:
    return run(database, "opt_outs", began=DAYS[day - 1], run_id=f"day {day}", **kwargs)


# The list


def test_each_number_that_opted_out_is_there_once(gateway: Sandbox, database: Database) -> None:
    reply = gateway.incoming(ANN, "STOP")
    gateway.opt_out(BEN)
    result = run(database, "opt_outs")
    assert (result["rows_loaded"], result["requests"], result["total"]) == (2, 1, 2)
    assert result["high_water_mark"] is None
    assert now(database, "message_id", "text", "removed_at") == [
        (ANN, reply, "STOP", None),
        (BEN, None, BY_HAND, None),
    ]


@pytest.mark.usefixtures("gateway")
def test_an_empty_list_makes_empty_tables(one_database: Database) -> None:
    assert run(one_database, "opt_outs")["total"] == 0
    assert (one_database.count("replies"), one_database.count("replies_history")) == (0, 0)


def test_the_same_list_changes_only_when_it_was_last_seen(lists: Lists, database: Database) -> None:
    lists.opt_outs = [row(1, ANN), row(None, BEN, BY_HAND, receiveTime="")]
    load_on(database, 1)
    before = stored(database, "opt_outs"), stored(database, "opt_outs", "replies_history")
    result = load_on(database, 2)
    assert (result["rows_loaded"], result["rows_removed"]) == (0, 0)
    after = stored(database, "opt_outs"), stored(database, "opt_outs", "replies_history")
    for table in before:
        for each in table:
            assert each.pop("last_seen_at") == DAYS[0]
    for table in after:
        for each in table:
            assert each.pop("last_seen_at") == DAYS[1]
    assert after == before


def test_a_number_that_is_removed_and_opts_out_again_has_two_periods(
    lists: Lists, any_database: Database
) -> None:
    first, again, other = row(1, ANN), row(5, ANN, "quit", receiveTime="202605040800"), row(2, BEN)
    for day, listed, loaded, removed in (
        (1, [first, other], 2, 0),
        (2, [first, other], 0, 0),
        (3, [other], 0, 1),
        (4, [other], 0, 0),
        (5, [again, other], 1, 0),
        (6, [], 0, 2),
        (7, [other], 1, 0),
    ):
        lists.opt_outs = listed
        result = load_on(any_database, day)
        assert (result["rows_loaded"], result["rows_removed"]) == (loaded, removed), day
    assert periods(any_database) == [
        (ANN, 1, 2, 3, 1),
        (ANN, 5, 5, 6, 5),
        (BEN, 1, 5, 6, 2),
        (BEN, 7, 7, None, 2),
    ]
    assert now(any_database, "first_seen_at", "removed_at", "message_id", "text", "load_run_id") == [
        (ANN, DAYS[0], DAYS[5], 5, "quit", "day 6"),
        (BEN, DAYS[0], None, 2, "YES", "day 7"),
    ]


@pytest.mark.parametrize(
    "change",
    [{"incomingApiMessageId": 9}, {"receiveTime": "202605030800"}, {"incomingApiMessageId": None}],
    ids=["id", "time", "no id"],
)
def test_an_entry_that_changes_between_two_loads_is_another_period(
    change: dict[str, Any], lists: Lists, one_database: Database
) -> None:
    lists.opt_outs = [row(1, ANN), row(2, BEN)]
    load_on(one_database, 1)
    lists.opt_outs = [{**lists.opt_outs[0], **change}, row(2, BEN)]
    assert load_on(one_database, 3)["rows_loaded"] == 1
    load_on(one_database, 4)
    message_id = change.get("incomingApiMessageId", 1)
    assert periods(one_database) == [(ANN, 1, 1, 3, 1), (ANN, 3, 4, None, message_id), (BEN, 1, 4, None, 2)]
    assert now(one_database, "first_seen_at", "removed_at", "message_id")[0] == (
        ANN,
        DAYS[0],
        None,
        message_id,
    )


def test_words_that_change_alone_are_no_other_period(lists: Lists, database: Database) -> None:
    lists.opt_outs = [row(1, ANN, "Stop")]
    load_on(database, 1)
    lists.opt_outs = [row(1, ANN, "STOP")]
    assert load_on(database, 2)["rows_loaded"] == 1
    assert periods(database) == [(ANN, 1, 2, None, 1)]
    assert now(database, "text") == [(ANN, "STOP")]


def test_a_number_written_by_hand_that_is_not_listed_is_marked_as_removed(
    lists: Lists, database: Database
) -> None:
    database.execute("CREATE TABLE {}replies (number VARCHAR(100) PRIMARY KEY)")
    database.execute(f"INSERT INTO {{}}replies VALUES ('{ANN}'), ('{BEN}')")  # noqa: S608 - a test's own
    lists.opt_outs = [row(1, ANN)]
    assert load_on(database, 1)["rows_removed"] == 1
    assert now(database, "removed_at") == [(ANN, None), (BEN, DAYS[0])]
    assert periods(database) == [(ANN, 1, 1, None, 1)]


# Several entries for one number


def test_of_several_entries_for_a_number_the_oldest_counts_in_any_order(
    lists: Lists, database: Database
) -> None:
    entries = [
        row(None, ANN, BY_HAND, receiveTime="202603030900"),
        row(12, ANN, "Stop", receiveTime="202603021030"),
        row(12, ANN, "Stop", receiveTime="202603021030"),
        row(13, ANN, "Stop", receiveTime="202603021030"),
        row(None, ANN, BY_HAND, receiveTime=None),
        row(None, BEN, BY_HAND, receiveTime=None),
        row(14, BEN, "Quit", receiveTime=None),
    ]
    for day in range(1, 6):
        lists.opt_outs = list(entries)
        Random(day).shuffle(lists.opt_outs)  # noqa: S311 - repeatable on purpose
        assert load_on(database, day)["rows_loaded"] == (2 if day == 1 else 0)
    assert now(database, "message_id", "text") == [(ANN, 12, "Stop"), (BEN, 14, "Quit")]
    assert periods(database) == [(ANN, 1, 5, None, 12), (BEN, 1, 5, None, 14)]


def test_entries_for_one_number_that_are_far_apart_are_still_one_row(
    lists: Lists, database: Database
) -> None:
    """They come in different parts of the answer, and are staged apart."""
    others = [row(n, f"2782{n:07}") for n in range(1, 2600)]
    lists.opt_outs = [
        row(5000, ANN, receiveTime="202603030900"),
        *others,
        row(4000, ANN, receiveTime="202603021030"),
    ]
    assert load_on(database, 1, sizes=LoadSizes(merged_rows=20))["rows_loaded"] == 2600
    assert [found for found in now(database, "message_id") if found[0] == ANN] == [(ANN, 4000)]
    lists.opt_outs.pop()
    assert load_on(database, 2, sizes=LoadSizes(merged_rows=20))["rows_loaded"] == 1
    assert [found for found in periods(database) if found[0] == ANN] == [
        (ANN, 1, 1, 2, 4000),
        (ANN, 2, 2, None, 5000),
    ]
    lists.opt_outs = lists.opt_outs[:2000]
    assert load_on(database, 3, sizes=LoadSizes(merged_rows=20))["rows_removed"] == 600
    assert database.count("replies_history WHERE removed_at IS NULL") == 2000


# Lists that are old, or not whole


def test_an_older_list_does_not_overwrite_a_newer_one(lists: Lists, database: Database) -> None:
    lists.opt_outs = [row(1, ANN)]
    load_on(database, 2)
    before = everything(database), everything(database, "replies_history")
    lists.opt_outs = [row(2, BEN)]
    with pytest.raises(LoadFailed, match="began later"):
        load_on(database, 1)
    assert (everything(database), everything(database, "replies_history")) == before
    assert load_on(database, 3)["rows_removed"] == 1


def test_an_older_list_does_nothing_either_where_the_newer_one_was_empty_but_once(
    lists: Lists, database: Database
) -> None:
    lists.opt_outs = [row(1, ANN), row(2, BEN)]
    load_on(database, 1)
    lists.opt_outs = [row(2, BEN)]
    load_on(database, 3)
    lists.opt_outs = [row(1, ANN), row(2, BEN)]
    with pytest.raises(LoadFailed):
        load_on(database, 2)
    assert now(database, "removed_at") == [(ANN, DAYS[2]), (BEN, None)]


def test_an_answer_that_breaks_off_in_the_middle_is_asked_for_again_and_doubles_nothing(
    lists: Lists, any_database: Database
) -> None:
    lists.opt_outs = [row(n, f"2782{n:07}") for n in range(1, MANY + 1)]
    lists.box.add_fault("truncated-json", times=2)
    result = run_impatiently(any_database, "opt_outs", sizes=LoadSizes(merged_rows=500))
    assert (result["rows_loaded"], result["rows_read"], result["requests"]) == (MANY, MANY, 3)
    assert lists.requests == 3
    assert any_database.count("replies") == any_database.count("replies_history") == MANY


def test_an_answer_that_always_breaks_off_changes_nothing(lists: Lists, one_database: Database) -> None:
    lists.opt_outs = [row(n, f"2782{n:07}") for n in range(1, MANY + 1)]
    run(one_database, "opt_outs", sizes=LoadSizes(merged_rows=500))
    lists.opt_outs += [row(n, f"2782{n:07}") for n in range(MANY + 1, MANY + 501)]
    before = everything(one_database), everything(one_database, "replies_history")
    lists.box.add_fault("truncated-json", times=100)
    with pytest.raises(GatewayUnavailable):
        run_impatiently(one_database, "opt_outs", sizes=LoadSizes(merged_rows=500))
    assert (everything(one_database), everything(one_database, "replies_history")) == before
    lists.box.clear_faults()
    result = run(one_database, "opt_outs", sizes=LoadSizes(merged_rows=500))
    assert (result["rows_loaded"], result["rows_removed"]) == (500, 0)


def test_a_gateway_that_is_away_removes_nobody(gateway: Sandbox, one_database: Database) -> None:
    gateway.opt_out(ANN)
    run(one_database, "opt_outs")
    gateway.add_fault("html-answer", operation="getOptoutMessages", times=30)
    with pytest.raises(GatewayUnavailable):
        run_impatiently(one_database, "opt_outs")
    gateway.clear_faults()
    assert now(one_database, "removed_at") == [(ANN, None)]


def test_against_the_sandbox_a_number_goes_and_comes_back(gateway: Sandbox, one_database: Database) -> None:
    gateway.opt_out(ANN)
    run(one_database, "opt_outs")
    gateway.remove_opt_out(ANN)
    assert run(one_database, "opt_outs")["rows_removed"] == 1
    assert run(one_database, "opt_outs")["rows_removed"] == 0
    gateway.advance(timedelta(days=3).total_seconds())
    reply = gateway.incoming(ANN, "quit")
    assert run(one_database, "opt_outs")["rows_loaded"] == 1
    assert now(one_database, "message_id", "text", "removed_at") == [(ANN, reply, "quit", None)]
    assert one_database.count("replies_history") == 2


@pytest.mark.parametrize("dataset", ["opt_outs", "scheduled"])
def test_a_load_that_began_before_one_that_saw_an_empty_list_changes_nothing(
    dataset: str, lists: Lists, database: Database
) -> None:
    listed = [row(1, "27825550101")] if dataset == "opt_outs" else [waiting(1, "27825550101")]
    field = "opt_outs" if dataset == "opt_outs" else "scheduled"
    setattr(lists, field, listed)
    run(database, dataset, began=BEGAN)
    setattr(lists, field, [])
    run(database, dataset, began=BEGAN + timedelta(hours=2))
    before = everything(database)
    setattr(lists, field, listed)
    with pytest.raises(LoadFailed, match="began later"):
        run(database, dataset, began=BEGAN + timedelta(hours=1))
    assert everything(database) == before


def test_open_periods_forget_texts_as_the_table_does(lists: Lists, any_database: Database) -> None:
    lists.opt_outs = [row(1, "27825550101", "STOP, and call 0825550199")]
    run(any_database, "opt_outs", began=BEGAN)
    run(any_database, "opt_outs", text="drop", mode="full_refresh", began=BEGAN + timedelta(days=1))
    for table in ("replies", "replies_history"):
        (found,) = stored(any_database, "opt_outs", table)
        assert (found["text"], found["first_seen_at"]) == (None, BEGAN)


def test_two_spellings_of_a_number_that_a_database_takes_for_one_are_one(
    lists: Lists, mariadb: Database
) -> None:
    lists.opt_outs = [row(1, "27825550101"), row(2, "27825550101 ")]
    assert run(mariadb, "opt_outs")["rows_loaded"] == 1
    assert run(mariadb, "opt_outs")["rows_loaded"] == 0
