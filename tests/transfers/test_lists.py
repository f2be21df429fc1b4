"""Lists that only grow: what is read of them, and that the table has each of their rows once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable
from airflow_provider_winsms.sandbox.scripts import ListQuery
from airflow_provider_winsms.warehouse.datasets import LoadSizes
from tests.support.lists import row
from tests.transfers.loads import arrive, everything, run, run_impatiently, stored, was_read_again

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.lists import Lists

PAGE = "getIncomingMessages"


def rows_of(*ids: int) -> list[dict[str, Any]]:
    return [row(message_id) for message_id in ids]


def requests_of(gateway: Sandbox, work: Callable[[], object]) -> int:
    before = len(gateway.requests())
    work()
    return len(gateway.requests()) - before


# The first load


def test_the_first_load_brings_every_row(gateway: Sandbox, any_database: Database) -> None:
    ids = arrive(gateway, 25)
    assert run(any_database) == {
        "dataset": "incoming",
        "table": "replies" if any_database.schema is None else f"{any_database.schema}.replies",
        "rows_read": 25,
        "rows_loaded": 25,
        "rows_removed": 0,
        "unreadable": 0,
        "requests": 3,
        "total": 25,
        "high_water_mark": ids[-1],
    }
    assert any_database.message_ids("replies") == ids


@pytest.mark.usefixtures("gateway")
def test_an_empty_list_makes_an_empty_table(one_database: Database) -> None:
    result = run(one_database)
    assert (result["rows_loaded"], result["total"], result["high_water_mark"]) == (0, 0, None)
    assert run(one_database)["requests"] == 1
    assert one_database.count("replies") == 0


def test_a_list_that_was_empty_once_is_loaded_later(gateway: Sandbox, one_database: Database) -> None:
    run(one_database)
    ids = arrive(gateway, 25)
    assert run(one_database)["rows_loaded"] == 25
    assert one_database.message_ids("replies") == ids


def test_short_code_messages_are_loaded_as_replies_are(gateway: Sandbox, database: Database) -> None:
    first = [gateway.shortcode(f"2782{n:07}", f"Text {n}") for n in range(12)]
    gateway.incoming("27825550101", "To the account, not to the code")
    assert run(database, "short_code")["rows_loaded"] == 12
    late = gateway.shortcode("27825550199", "Late")
    result = run(database, "short_code")
    assert (result["rows_loaded"], result["requests"], result["high_water_mark"]) == (1, 2, late)
    assert database.message_ids("replies") == [*first, late]


# What later loads cost


@pytest.mark.parametrize("news", [0, 1, 9])
@pytest.mark.parametrize("dataset", ["incoming", "short_code"])
def test_no_news_and_few_news_take_two_requests(
    dataset: str, news: int, lists: Lists, one_database: Database
) -> None:
    lists.rows = lists.short_code = rows_of(*range(1, 501))
    run(one_database, dataset)
    before = everything(one_database)
    lists.rows += rows_of(*range(501, 501 + news))
    lists.asked.clear()
    result = run(one_database, dataset)
    assert lists.asked == [ListQuery(0, 1), ListQuery(490 + news, 10)]
    assert (result["requests"], result["rows_loaded"]) == (2, news)
    assert result["high_water_mark"] == 500 + news
    assert [kept for kept in everything(one_database) if kept in before] == before


def test_ten_news_at_the_default_page_size_take_two_requests(
    lists: Lists, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists.extra = {}
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", lists.connection)
    lists.rows = rows_of(*range(1, 2501))
    run(database)
    lists.rows += rows_of(*range(2501, 2511))
    result = run(database)
    assert (result["requests"], result["rows_loaded"]) == (2, 10)


def test_news_of_many_pages_are_all_read_and_little_else(lists: Lists, database: Database) -> None:
    lists.rows = rows_of(*range(1, 101))
    run(database)
    lists.rows += rows_of(*range(101, 158))
    result = run(database)
    assert (result["rows_loaded"], result["requests"], result["rows_read"]) == (57, 7, 61)
    assert database.message_ids("replies") == list(range(1, 158))


def test_one_row_in_the_list_is_neither_lost_nor_read_for_ever(lists: Lists, one_database: Database) -> None:
    lists.rows = rows_of(7)
    assert run(one_database)["rows_loaded"] == 1
    assert run(one_database)["requests"] == 2
    lists.rows += rows_of(8)
    assert run(one_database)["rows_loaded"] == 1


@pytest.mark.parametrize(("prefetch", "most"), [(None, 3), (1, 1), (4, 4)])
def test_as_many_requests_are_on_their_way_as_may_be(
    prefetch: int | None, most: int, lists: Lists, sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists.extra = {"page_size": 10, "max_concurrent_requests": 3}
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", lists.connection)
    lists.rows = rows_of(*range(1, 11 + 120))
    together, under_way, seen = threading.Barrier(most), [], []

    def meanwhile(number: int) -> None:
        under_way.append(number)
        if number > 1:
            # Nobody is answered before so many have asked.
            together.wait(timeout=10)
            seen.append(len(under_way))
        under_way.remove(number)

    lists.meanwhile = meanwhile
    assert run(sqlite, prefetch=prefetch)["rows_loaded"] == 130
    assert max(seen) == most


def test_pages_that_come_in_another_order_than_asked_for_make_the_same_table(
    lists: Lists, sqlite: Database
) -> None:
    lists.rows = rows_of(*range(1, 51))
    answered = {number: threading.Event() for number in range(2, 6)}

    def meanwhile(number: int) -> None:
        # The second page waits for the last one.
        if number == 2:
            assert answered[5].wait(timeout=10)
        elif number in answered:
            answered[number].set()

    lists.meanwhile = meanwhile
    assert run(sqlite)["rows_loaded"] == 50
    assert sqlite.message_ids("replies") == list(range(1, 51))


# Rows that come late, that are gone, that are not the gateway's


def test_rows_deleted_from_the_table_come_back(lists: Lists, database: Database) -> None:
    lists.rows = rows_of(*range(1, 61))
    run(database)
    database.execute(
        "DELETE FROM {}replies WHERE (LENGTH(message_id) = 1 AND message_id < '6') "
        "OR message_id BETWEEN '30' AND '40'"
    )
    database.execute("DELETE FROM {}replies WHERE message_id = '60'")
    assert run(database)["rows_loaded"] == 17
    assert database.message_ids("replies") == list(range(1, 61))


def test_rows_that_the_gateway_has_forgotten_stay(lists: Lists, database: Database) -> None:
    lists.rows = rows_of(*range(1, 61))
    run(database)
    lists.rows = [*lists.rows[30:], row(61)]
    result = run(database)
    assert (result["rows_loaded"], result["requests"]) == (1, 2)
    assert database.message_ids("replies") == list(range(1, 62))


def test_a_list_that_was_emptied_takes_no_row_away(lists: Lists, one_database: Database) -> None:
    lists.rows = rows_of(*range(1, 31))
    run(one_database)
    lists.rows = []
    result = run(one_database)
    assert (result["rows_loaded"], result["requests"], result["high_water_mark"]) == (0, 1, 30)
    assert one_database.count("replies") == 30


def test_a_list_of_which_the_table_has_nothing_any_more_is_loaded(lists: Lists, database: Database) -> None:
    """All that the table has is forgotten: the list begins behind it, as a descending one does."""
    lists.rows = rows_of(*range(1, 31))
    run(database)
    lists.rows = rows_of(*range(40, 75))
    assert run(database)["rows_loaded"] == 35
    assert database.message_ids("replies") == [*range(1, 31), *range(40, 75)]


def test_a_late_row_with_a_low_id_is_found_at_the_end(lists: Lists, database: Database) -> None:
    lists.rows = rows_of(*range(100, 160))
    run(database)
    lists.rows += rows_of(50, 160)
    result = run(database)
    assert result["rows_loaded"] == 2
    assert not was_read_again(result)
    assert database.message_ids("replies") == [50, *range(100, 161)]


def test_a_late_row_just_before_the_end_is_found_without_reading_all(
    lists: Lists, one_database: Database
) -> None:
    lists.rows = rows_of(*range(2, 202, 2))
    run(one_database)
    lists.rows.insert(len(lists.rows) - 3, row(195))
    result = run(one_database)
    assert (result["rows_loaded"], result["requests"]) == (1, 2)


@pytest.mark.parametrize(("late", "place"), [(5, 0), (101, 1), (101, 30)])
def test_a_late_row_far_from_the_end_is_found_by_the_total(
    late: int, place: int, lists: Lists, one_database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    lists.rows = rows_of(*range(100, 220, 2))
    run(one_database)
    lists.rows.insert(place, row(late))
    result = run(one_database)
    assert (result["rows_loaded"], was_read_again(result)) == (1, True)
    assert "The rows do not add up to the 61 that the gateway states" in capfd.readouterr().out
    assert one_database.message_ids("replies") == sorted([late, *range(100, 220, 2)])
    assert not was_read_again(run(one_database))


def test_a_late_row_is_found_though_the_table_has_more_rows_than_the_list(
    lists: Lists, database: Database
) -> None:
    lists.rows = rows_of(*range(2, 162, 2))
    run(database)
    lists.rows = [*lists.rows[30:40], row(75), *lists.rows[40:]]
    assert run(database)["rows_loaded"] == 1


BY_HAND = (
    "INSERT INTO {}replies (message_id, number, loaded_at) VALUES ('61', '27821', '2026-01-01 00:00:00')"
)


def test_a_row_by_hand_that_the_gateway_never_had_makes_each_load_read_all_and_say_so(
    lists: Lists, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    lists.rows = rows_of(*range(2, 122, 2))
    run(database)
    database.execute(BY_HAND)
    for news in ([], [122], [124]):
        lists.rows += rows_of(*news)
        capfd.readouterr()
        result = run(database)
        assert (result["rows_loaded"], was_read_again(result)) == (len(news), True)
        assert f"do not add up to the {len(lists.rows)}" in capfd.readouterr().out
    assert database.message_ids("replies") == sorted([*range(2, 126, 2), 61])


def test_a_row_that_one_by_hand_makes_up_for_in_number_is_found_by_a_backfill(
    lists: Lists, database: Database
) -> None:
    lists.rows = rows_of(*range(2, 122, 2))
    run(database)
    database.execute(BY_HAND)
    lists.rows.insert(10, row(21))
    assert run(database, mode="backfill")["rows_loaded"] == 1
    assert database.message_ids("replies") == sorted([*range(2, 122, 2), 21, 61])


# A list that misbehaves


def ordered(order: str, count: int) -> list[dict[str, Any]]:
    ids = list(range(1, count + 1))
    orders = {
        "ascending": ids,
        "descending": ids[::-1],
        "shuffled": sorted(ids, key=lambda n: n * 37 % 101),
    }
    return rows_of(*orders[order])


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
@pytest.mark.parametrize("news", [0, 1, 35])
def test_the_order_of_the_list_does_not_matter(
    order: str, news: int, lists: Lists, one_database: Database
) -> None:
    lists.rows = ordered(order, 60)
    run(one_database)
    lists.rows = ordered(order, 60 + news)
    result = run(one_database)
    assert result["rows_loaded"] == news
    if order != "shuffled":
        assert not was_read_again(result)
    assert one_database.message_ids("replies") == list(range(1, 61 + news))


def test_a_descending_list_takes_one_request_more(lists: Lists, sqlite: Database) -> None:
    lists.rows = ordered("descending", 300)
    run(sqlite)
    lists.rows = ordered("descending", 309)
    lists.asked.clear()
    run(sqlite)
    assert lists.asked == [ListQuery(0, 1), ListQuery(308, 1), ListQuery(0, 10)]


def test_rows_that_arrive_at_the_front_while_a_descending_list_is_read_are_loaded(
    lists: Lists, sqlite: Database
) -> None:
    lists.rows = ordered("descending", 60)
    run(sqlite)
    lists.rows = ordered("descending", 90)
    first = lists.requests

    def meanwhile(number: int) -> None:
        if number == first + 4:
            lists.rows = ordered("descending", 95)

    lists.meanwhile = meanwhile
    run(sqlite)
    assert sqlite.message_ids("replies") == list(range(1, 96))


def test_a_list_whose_last_row_is_gone_when_it_is_asked_for_is_read_whole(
    lists: Lists, sqlite: Database
) -> None:
    lists.rows = ordered("descending", 60)
    run(sqlite)
    first = lists.requests

    def meanwhile(number: int) -> None:
        if number == first + 2:
            lists.rows = [row(61), *ordered("descending", 60)[:-1]][:-1]

    lists.meanwhile = meanwhile
    run(sqlite)
    assert sqlite.message_ids("replies") == list(range(1, 62))


@pytest.mark.parametrize("fault", ["duplicated-row", "missing-row", "reordered-rows"])
@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("which", ["first-load", "later-load"])
def test_a_spoilt_page_neither_loses_nor_doubles_a_row(
    fault: str, page: int, which: str, gateway: Sandbox, one_database: Database
) -> None:
    ids = arrive(gateway, 35)
    if which == "later-load":
        run(one_database)
        ids += arrive(gateway, 25)
    gateway.add_fault(fault, operation=PAGE, skip=page - 1)
    run(one_database)
    assert gateway.faults()[-1]["struck"] == 1
    assert one_database.message_ids("replies") == ids


def test_a_row_on_two_pages_is_there_once_also_where_the_table_has_no_key(
    lists: Lists, database: Database
) -> None:
    database.execute("CREATE TABLE {}replies (message_id VARCHAR(64), number VARCHAR(64))")
    lists.rows = rows_of(*range(1, 16), 15, 3, *range(16, 40))
    run(database)
    assert database.message_ids("replies") == list(range(1, 40))


@pytest.mark.parametrize("which", ["first-load", "later-load"])
def test_rows_that_arrive_between_pages_are_loaded(
    which: str, gateway: Sandbox, one_database: Database
) -> None:
    arrive(gateway, 35)
    if which == "later-load":
        run(one_database)
        arrive(gateway, 12)
    gateway.add_fault("rows-between-pages", operation=PAGE, times=3, rows=7)
    result = run(one_database)
    assert one_database.count("replies") == result["total"] == (35 if which == "first-load" else 47) + 21
    assert not was_read_again(result)


def test_rows_that_arrive_once_the_end_was_read_are_caught_up_with(
    gateway: Sandbox, database: Database
) -> None:
    arrive(gateway, 35)
    run(database)
    arrive(gateway, 12)
    gateway.add_fault("rows-between-pages", operation=PAGE, skip=1, rows=7)
    result = run(database)
    assert (result["rows_loaded"], result["requests"]) == (19, 4)


def test_a_page_that_repeats_a_row_does_not_make_the_next_one_skip_one(
    gateway: Sandbox, one_database: Database
) -> None:
    arrive(gateway, 35)
    gateway.add_fault("duplicated-row", operation=PAGE, skip=1)
    assert run(one_database)["requests"] <= 5
    assert one_database.count("replies") == 35


def test_rows_that_do_not_add_up_are_read_once_more_and_the_log_says_so(
    lists: Lists, sqlite: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    lists.rows = rows_of(*range(1, 26))
    lists.hidden = 2
    result = run(sqlite)
    assert (result["rows_loaded"], result["total"], result["rows_read"]) == (25, 27, 50)
    log = capfd.readouterr().out
    assert "do not add up to the 27" in log
    assert "states 27 rows and lists 25" in log


def test_a_gateway_that_gives_shorter_pages_than_asked_for_is_read_whole(
    lists: Lists, database: Database
) -> None:
    lists.rows = rows_of(*range(1, 61))
    lists.most = 7
    run(database)
    lists.rows += rows_of(*range(61, 90))
    run(database)
    assert database.message_ids("replies") == list(range(1, 90))


def test_a_list_that_comes_in_several_merges_is_as_one_that_comes_in_one(
    lists: Lists, database: Database
) -> None:
    lists.rows = rows_of(*range(300, 390), 5, 4, 380, *range(390, 440))
    assert run(database, sizes=LoadSizes(merged_rows=20))["rows_loaded"] == 142
    assert database.message_ids("replies") == [4, 5, *range(300, 440)]
    lists.rows += rows_of(*range(500, 590))
    assert run(database, mode="backfill", sizes=LoadSizes(merged_rows=20))["rows_loaded"] == 90
    assert run(database, sizes=LoadSizes(merged_rows=20))["rows_loaded"] == 0


# Modes


@pytest.mark.parametrize("dataset", ["incoming", "short_code"])
def test_a_backfill_reads_all_and_changes_no_row(dataset: str, lists: Lists, one_database: Database) -> None:
    lists.rows = lists.short_code = rows_of(*range(1, 41))
    run(one_database, dataset)
    one_database.execute("UPDATE {}replies SET text = 'By hand' WHERE message_id = '7'")
    one_database.execute("DELETE FROM {}replies WHERE message_id IN ('3', '30')")
    kept = everything(one_database)
    result = run(one_database, dataset, mode="backfill")
    assert (result["rows_read"], result["rows_loaded"]) == (40, 2)
    assert [found for found in everything(one_database) if found in kept] == kept
    assert one_database.message_ids("replies") == list(range(1, 41))


@pytest.mark.parametrize("dataset", ["incoming", "short_code"])
def test_a_full_refresh_puts_right_what_is_wrong_and_only_that(
    dataset: str, lists: Lists, one_database: Database
) -> None:
    lists.rows = lists.short_code = rows_of(*range(1, 41))
    run(one_database, dataset, run_id="first")
    one_database.execute("UPDATE {}replies SET text = 'By hand' WHERE message_id = '7'")
    one_database.execute("UPDATE {}replies SET received_at = NULL WHERE message_id = '8'")
    one_database.execute("UPDATE {}replies SET number = '1' WHERE message_id = '9'")
    one_database.execute("DELETE FROM {}replies WHERE message_id = '10'")
    lists.rows = lists.short_code = rows_of(*range(3, 41))
    result = run(one_database, dataset, run_id="second", mode="full_refresh")
    assert (result["rows_read"], result["rows_loaded"]) == (38, 4)
    found = stored(one_database, dataset)
    # Those that the gateway has forgotten stay.
    assert [each["message_id"] for each in found] == list(range(1, 41))
    assert [each["message_id"] for each in found if each["load_run_id"] == "second"] == [7, 8, 9, 10]
    assert {(each["text"], each["number"]) for each in found} == {("YES", "27825550101")}
    assert all(each["received_at"] == datetime(2026, 3, 2, 8, 30, tzinfo=UTC) for each in found)
    assert run(one_database, dataset, mode="full_refresh")["rows_loaded"] == 0


# A gateway that fails


@pytest.mark.parametrize("fault", ["truncated-json", "500-before-acceptance", "html-answer"])
@pytest.mark.parametrize("which", ["first-load", "later-load"])
def test_a_page_that_stays_away_leaves_the_table_as_it_was(
    fault: str, which: str, gateway: Sandbox, one_database: Database
) -> None:
    ids = [] if which == "first-load" else arrive(gateway, 20)
    run_impatiently(one_database)
    arrive(gateway, 30)
    gateway.add_fault(fault, operation=PAGE, skip=2, times=30)
    with pytest.raises(GatewayUnavailable):
        run_impatiently(one_database)
    assert one_database.message_ids("replies") == ids
    gateway.clear_faults()
    run(one_database)
    assert one_database.count("replies") == len(ids) + 30


def test_a_page_that_stays_away_leaves_none_of_what_was_merged_before(
    gateway: Sandbox, database: Database
) -> None:
    arrive(gateway, 100)
    gateway.add_fault("500-before-acceptance", operation=PAGE, skip=8, times=30)
    with pytest.raises(GatewayUnavailable):
        run_impatiently(database, sizes=LoadSizes(merged_rows=20))
    assert database.count("replies") == 0
    gateway.clear_faults()
    assert run(database, sizes=LoadSizes(merged_rows=20))["rows_loaded"] == 100


def test_a_page_that_comes_at_the_second_try_does_no_harm(gateway: Sandbox, one_database: Database) -> None:
    arrive(gateway, 30)
    gateway.add_fault("truncated-json", operation=PAGE, skip=1)
    assert run_impatiently(one_database)["rows_loaded"] == 30


def test_an_unavailable_gateway_leaves_retries_to_airflow(gateway: Sandbox, sqlite: Database) -> None:
    arrive(gateway, 30)
    gateway.add_fault("429-too-many-requests", operation=PAGE, skip=1, retry_after=120)
    with pytest.raises(GatewayUnavailable) as raised:
        run(sqlite)
    assert not raised.value.is_permanent
    assert sqlite.count("replies") == 0


@pytest.mark.parametrize("stated", [0, 5, 24])
def test_a_total_that_is_too_low_is_not_believed(stated: int, lists: Lists, sqlite: Database) -> None:
    lists.rows = rows_of(*range(1, 26))
    lists.hidden = stated - 25
    if stated < 20:
        with pytest.raises(GatewayUnavailable, match="lists more rows than it states"):
            run(sqlite)
        assert sqlite.count("replies") == 0
    else:
        assert run(sqlite)["rows_loaded"] == 25
