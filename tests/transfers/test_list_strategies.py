"""Lists unlike WinSMS's: numbered pages, ids without an order, and a queue that is emptied by reading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable, SmsError
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from tests.support.databases import CONN_ID
from tests.support.list_server import ListServer, NumberedHook, QueueHook, text
from tests.support.variants import variant
from tests.transfers.loads import stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.hooks.sms import SmsHook
    from tests.support.databases import Database


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ListServer]:
    with ListServer().running() as found:
        monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", found.connection)
        yield found


def load(database: Database, hook: type[SmsHook], dataset: str = "incoming", **more: Any) -> dict[str, Any]:
    operator = variant(SmsToSqlOperator, hook_of=staticmethod(hook))
    where: dict[str, Any] = {"table": "replies", "schema": database.schema, "sql_conn_id": CONN_ID}
    return operator(task_id="load", dataset=dataset, **{**where, **more}).execute({})


def ids(database: Database, dataset: str = "incoming") -> list[str]:
    return sorted(str(row["message_id"]) for row in stored(database, dataset))


def texts(count: int, first: int = 1) -> list[dict[str, Any]]:
    """Return texts with ids that have no order, oldest first."""
    return [text(f"m{each * 7919 % 1000:03}-{each}", each) for each in range(first, first + count)]


def listed(server: ListServer) -> list[str]:
    return sorted(str(each["id"]) for each in server.incoming)


class TestNumberedPages:
    @pytest.mark.parametrize("count", [1, 9, 10, 11, 45])
    def test_every_row_is_loaded_once(self, server: ListServer, one_database: Database, count: int) -> None:
        server.incoming = [text(each, each) for each in range(1, count + 1)]
        assert load(one_database, NumberedHook)["rows_loaded"] == count
        assert ids(one_database) == listed(server)

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_a_later_load_reads_new_rows_alone(
        self, server: ListServer, one_database: Database, newest_first: bool
    ) -> None:
        server.incoming = [text(each, each) for each in range(1, 46)]
        if newest_first:
            server.incoming.reverse()
        load(one_database, NumberedHook)
        news = [text(each, each) for each in (46, 47)]
        server.incoming = news[::-1] + server.incoming if newest_first else server.incoming + news
        result = load(one_database, NumberedHook)
        assert (result["rows_loaded"], result["total"]) == (2, 47)
        assert result["rows_read"] < 30
        assert len(ids(one_database)) == 47

    def test_rows_that_arrive_while_a_list_is_read_are_neither_lost_nor_doubled(
        self, server: ListServer, one_database: Database
    ) -> None:
        server.incoming = [text(each, each) for each in range(40, 0, -1)]
        server.meanwhile = lambda request: (
            server.incoming.insert(0, text(40 + request, 41)) if request < 5 else None
        )
        load(one_database, NumberedHook)
        server.meanwhile = lambda _: None
        load(one_database, NumberedHook)
        assert len(ids(one_database)) == len(server.incoming) == 44

    def test_pages_shorter_than_their_size_are_refused(
        self, server: ListServer, one_database: Database
    ) -> None:
        server.incoming = [text(each, each) for each in range(1, 46)]
        server.most = 4
        with pytest.raises(GatewayUnavailable, match="on page 1 of 10 each"):
            load(one_database, NumberedHook)
        assert ids(one_database) == []

    def test_a_dataset_that_the_gateway_does_not_list_is_refused_by_name(
        self, server: ListServer, sqlite: Database
    ) -> None:
        with pytest.raises(Exception, match="Numbered does not offer short_code, and `dataset` needs it"):
            load(sqlite, NumberedHook, "short_code")
        assert server.asked == []


class TestNumberedPagesThatShrink:
    def test_two_readings_that_agree_mark_the_rows_that_left(
        self, server: ListServer, one_database: Database
    ) -> None:
        server.scheduled = list(range(1, 26))
        load(one_database, NumberedHook, "scheduled")
        server.scheduled.remove(3)
        assert load(one_database, NumberedHook, "scheduled")["rows_removed"] == 1
        assert removed(one_database) == ["3"]

    def test_a_row_that_a_page_skips_is_read_again_and_never_marked(
        self, server: ListServer, one_database: Database
    ) -> None:
        server.scheduled = list(range(1, 26))
        load(one_database, NumberedHook, "scheduled")
        first = len(server.asked)

        def change(request: int) -> None:
            """Let a row of the first page leave once that was read, so that the 11th moves onto it."""
            if request == first + 1:
                server.scheduled.remove(3)
                server.scheduled.append(26)

        server.meanwhile = change
        load(one_database, NumberedHook, "scheduled")
        # The first reading saw it: the next load marks it.
        assert removed(one_database) == []
        load(one_database, NumberedHook, "scheduled")
        assert removed(one_database) == ["3"]

    def test_a_list_that_never_stands_still_marks_nothing(
        self, server: ListServer, one_database: Database
    ) -> None:
        server.scheduled = list(range(1, 200))
        server.meanwhile = lambda _: server.scheduled.pop(0)
        load(one_database, NumberedHook, "scheduled")
        assert load(one_database, NumberedHook, "scheduled")["rows_removed"] == 0


def removed(database: Database) -> list[str]:
    rows = stored(database, "scheduled")
    return [str(row["message_id"]) for row in rows if row["removed_at"] is not None]


class TestIdsWithoutAnOrder:
    @pytest.mark.parametrize("mode", ["incremental", "backfill", "full_refresh"])
    def test_every_row_is_loaded_once(self, server: ListServer, one_database: Database, mode: str) -> None:
        server.incoming = texts(25)
        for _ in range(2):
            result = load(one_database, NumberedHook, mode=mode)
            assert ids(one_database) == listed(server)
            assert result["high_water_mark"] is None

    def test_a_list_with_the_newest_first_is_read_as_far_as_its_rows_are_new(
        self, server: ListServer, one_database: Database
    ) -> None:
        server.incoming = texts(45)[::-1]
        load(one_database, NumberedHook)
        server.incoming = texts(3, 46)[::-1] + server.incoming
        result = load(one_database, NumberedHook)
        assert (result["rows_loaded"], result["rows_read"]) == (3, 12)
        assert ids(one_database) == listed(server)

    @pytest.mark.parametrize("news", range(1, 14))
    def test_rows_that_left_hide_no_new_ones(
        self, server: ListServer, one_database: Database, news: int
    ) -> None:
        server.incoming = texts(40)[::-1]
        load(one_database, NumberedHook)
        known = listed(server)
        server.incoming = texts(news, 41)[::-1] + server.incoming[:20] + server.incoming[25:]
        load(one_database, NumberedHook)
        assert ids(one_database) == sorted({*known, *listed(server)})

    @pytest.mark.parametrize("order", ["oldest first", "no order", "one time"])
    def test_a_list_in_another_order_is_read_to_its_end(
        self, server: ListServer, one_database: Database, order: str
    ) -> None:
        def arranged(count: int) -> list[dict[str, Any]]:
            rows = texts(count)
            if order == "no order":
                rows.sort(key=lambda row: row["id"])
            return [{**row, "at": "202603021000"} for row in rows] if order == "one time" else rows

        server.incoming = arranged(30)
        load(one_database, NumberedHook)
        # As many left as came.
        server.incoming = arranged(35)[5:]
        load(one_database, NumberedHook)
        assert set(ids(one_database)) >= set(listed(server))
        assert len(ids(one_database)) == len(set(ids(one_database)))


class TestQueue:
    def test_every_text_is_loaded_and_each_block_is_acknowledged_after_its_commit(
        self, server: ListServer, one_database: Database
    ) -> None:
        server.queue = [text(None, each, f"Text {each}") for each in range(8)]
        seen: list[int] = []
        server.meanwhile = lambda _: seen.append(count(one_database))
        result = load(one_database, QueueHook)
        assert (result["rows_read"], result["rows_loaded"], result["requests"]) == (8, 8, 3)
        # What the table had when each block was asked for.
        assert seen[1:] == [3, 6]
        assert server.asked == [{}, {"next": "t3"}, {"next": "t6"}]

    def test_equal_texts_of_a_block_are_rows_of_their_own(
        self, server: ListServer, one_database: Database
    ) -> None:
        server.queue = [text(None, 5), text(None, 5), text(None, 6)]
        load(one_database, QueueHook)
        assert count(one_database) == 3

    def test_the_last_block_comes_again_and_merges_into_itself(
        self, server: ListServer, one_database: Database
    ) -> None:
        server.queue = [text(None, each) for each in range(2)] * 2
        load(one_database, QueueHook)
        assert load(one_database, QueueHook)["rows_loaded"] == 0
        assert count(one_database) == 3

    def test_a_lost_answer_is_not_asked_for_again_and_loses_nothing(
        self, server: ListServer, one_database: Database
    ) -> None:
        server.queue = [text(None, each, f"Text {each}") for each in range(8)]
        server.loses = {2}
        with pytest.raises(SmsError, match="lost"):
            load(one_database, QueueHook)
        assert len(server.asked) == 2
        load(one_database, QueueHook)
        assert said(one_database) == [f"Text {each}" for each in range(8)]

    def test_a_block_with_an_unreadable_row_stays_in_the_queue(
        self, server: ListServer, one_database: Database
    ) -> None:
        server.queue = [
            *(text(None, each, f"Text {each}") for each in range(4)),
            "?",
            text(None, 5, "Text 5"),
        ]
        server.queue += [text(None, 6, "Text 6")]
        with pytest.raises(GatewayUnavailable, match="1 row of a block"):
            load(one_database, QueueHook)
        assert said(one_database) == ["Text 0", "Text 1", "Text 2", "Text 3", "Text 5"]
        assert len(server.queue) == 4

    @pytest.mark.parametrize("mode", ["backfill", "full_refresh"])
    def test_a_mode_that_reads_rows_again_is_refused(
        self, server: ListServer, sqlite: Database, mode: str
    ) -> None:
        with pytest.raises(Exception, match="Queue lists each text once"):
            load(sqlite, QueueHook, mode=mode)
        assert server.asked == []

    def test_hidden_numbers_and_texts_are_in_no_key(self, server: ListServer, one_database: Database) -> None:
        server.queue = [text(None, 1, "Text")]
        load(one_database, QueueHook, privacy="keyed_hash", text="drop")
        ((key,),) = one_database.execute("SELECT message_id FROM {}replies")
        assert len(key) == 64


def count(database: Database) -> int:
    ((found,),) = database.execute("SELECT COUNT(*) FROM {}replies")
    return int(found)


def said(database: Database) -> list[str]:
    return [row[0] for row in database.execute("SELECT text FROM {}replies ORDER BY text")]
