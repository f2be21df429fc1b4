"""Watchers in Airflow's real shared streams, against a gateway behind a real socket."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.exceptions import SerializationError
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetWatcher
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.inbound.feeds import KEYS_KEPT, POLLS_PER_DEEP_READ, ROWS_READ_AGAIN, FeedRow
from airflow_provider_winsms.inbound.filters import EXPOSABLE, selection
from airflow_provider_winsms.inbound.subscriber import EVENT_SPACING, MOST_IN_FLIGHT
from airflow_provider_winsms.inbound.watcher import LONGEST_POLL_PAUSE
from airflow_provider_winsms.messages import IncomingMessage
from airflow_provider_winsms.triggers.incoming import SmsIncomingTrigger
from tests.conftest import API_KEY
from tests.support.lists import Lists, row
from tests.triggers.triggerer import Store, Time, Triggerer, settled, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_winsms.sandbox import Sandbox

NUMBER, OTHER = "27825559871", "27825559872"
TEXT = "Yes, Quetzalcoatl it is"


@pytest.fixture
def gateway(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    connect(monkeypatch, sandbox.base_url, sandbox.api_key)
    return sandbox


@pytest.fixture
def listed(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Lists:
    """The sandbox, which lists what the test says, in pages of 10."""
    found = Lists(sandbox)
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", found.connection)
    return found


@pytest.fixture
def large_pages(listed: Lists, monkeypatch: pytest.MonkeyPatch) -> Lists:
    """The same, in pages of the size that is asked for by default."""
    listed.extra = {}
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", listed.connection)
    return listed


def connect(monkeypatch: pytest.MonkeyPatch, host: str, key: str) -> None:
    connection = {"conn_type": "winsms", "host": host, "password": key}
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))


@pytest.fixture
async def time() -> AsyncIterator[Time]:
    made = Time()
    yield made
    for triggerer in made.triggerers:
        await triggerer.kill()


@pytest.fixture
def stores() -> dict[str, Store]:
    """What the metadata database has of assets; it outlives triggerers."""
    return {}


@pytest.fixture
def triggerer(stores: dict[str, Store], time: Time) -> Triggerer:
    return Triggerer(stores, time)


@pytest.fixture
async def watching(triggerer: Triggerer) -> Triggerer:
    """A triggerer with a watcher of replies that has begun, of what the gateway of the test lists."""
    await triggerer.watch("replies")
    return triggerer


async def restarted(dead: Triggerer) -> Triggerer:
    """Kill a triggerer, and return the next one."""
    await dead.kill()
    return Triggerer(dead.stores, dead.time)


async def fired(triggerer: Triggerer) -> int:
    """Wait until watchers have fired what they do, and return how many events that are."""
    await until(lambda: triggerer.fired)
    await settled()
    return len(triggerer.fired)


def asked(sandbox: Sandbox) -> int:
    return len(sandbox.requests())


class TestOneEventPerMessage:
    async def test_a_message_fires_once_with_ids_and_nothing_else(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        await triggerer.watch("replies", keywords=["No", "Yes"])
        message_id = gateway.incoming(NUMBER, TEXT)
        await triggerer.poll_and_store(times=3)
        (event,) = triggerer.stored
        assert event.payload == {
            "dataset": "incoming",
            "event_key": str(message_id),
            "message_id": message_id,
            "in_reply_to": None,
            "received_at": gateway.now().astimezone(UTC).replace(second=0, microsecond=0).isoformat(),
            "keyword": "Yes",
        }

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize(
        "bad", [{"mobileNumber": NUMBER}, {**row(7), "incomingApiMessageId": "A1"}, TEXT]
    )
    async def test_a_row_that_cannot_be_read_holds_up_no_other_and_is_told_of_once(
        self,
        listed: Lists,
        triggerer: Triggerer,
        caplog: pytest.LogCaptureFixture,
        bad: Any,
        newest_first: bool,
    ) -> None:
        rows: list[Any] = [row(each) for each in range(1, 31)]
        listed.rows = rows[::-1] if newest_first else list(rows)
        await triggerer.watch("replies")
        rows += [row(31), bad, row(32)]
        listed.rows = rows[::-1] if newest_first else list(rows)
        await triggerer.poll_and_store(times=3)
        assert sorted(triggerer.keys()) == ["31", "32"]
        said = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
        assert len(said) == 1
        assert "1 row of the list" in said[0]
        assert NUMBER not in said[0]

    async def test_what_is_listed_at_the_first_start_fires_nothing(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        gateway.add_incoming([(NUMBER, "old")] * 1500)
        await triggerer.watch("replies")
        await triggerer.poll_and_store()
        assert triggerer.keys() == []
        new = gateway.incoming(NUMBER, "new")
        await triggerer.poll_and_store()
        assert triggerer.keys() == [str(new)]

    async def test_two_in_the_same_minute_from_the_same_number_fire_twice(
        self, gateway: Sandbox, watching: Triggerer
    ) -> None:
        ids = [gateway.incoming(NUMBER, "YES") for _ in range(2)]
        await watching.poll_and_store()
        assert watching.keys() == list(map(str, ids))

    async def test_messages_of_the_short_code_fire_too(self, gateway: Sandbox, triggerer: Triggerer) -> None:
        await triggerer.watch("codes", dataset="short_code")
        gateway.incoming(NUMBER, "not on the short code")
        message_id = gateway.shortcode(NUMBER, "WIN")
        await triggerer.poll_and_store()
        assert triggerer.keys() == [str(message_id)]


class TestRestarts:
    async def test_what_comes_while_the_triggerer_is_down_fires_when_it_is_back(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        gateway.add_incoming([(NUMBER, "old")] * 1200)
        await triggerer.watch("replies")
        triggerer = await restarted(triggerer)
        ids = gateway.add_incoming([(NUMBER, "missed")] * 700)
        triggerer.start("replies")
        await triggerer.store_until(lambda: len(triggerer.stored) >= len(ids))
        assert triggerer.keys() == list(map(str, ids))

    async def test_an_event_stored_right_before_the_end_is_repeated_under_its_key(
        self, gateway: Sandbox, watching: Triggerer
    ) -> None:
        gateway.incoming(NUMBER, "YES")
        await watching.poll()
        watching.store_and_die()
        first = watching.stored
        watching = await restarted(watching)
        await watching.watch("replies")
        watching.store()
        assert [event.payload for event in watching.stored] == [event.payload for event in first]

    async def test_a_watcher_that_is_cut_off_while_it_hands_its_event_over_fires_it_again(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        """The others go on, and what they share is settled; the event of this one never left."""
        triggerer.start("cut off")
        await triggerer.watch("stays")
        gateway.incoming(NUMBER, "YES")
        triggerer.hand_over = asyncio.Event()
        await triggerer.poll()
        await triggerer.stop("cut off")
        triggerer.hand_over.set()
        await settled()
        triggerer.store()
        await settled()
        assert [event.watcher for event in triggerer.stored] == ["stays"]
        triggerer.start("cut off")
        await triggerer.poll_and_store()
        assert sorted(event.watcher for event in triggerer.stored) == ["cut off", "stays"]

    async def test_a_watcher_with_other_arguments_begins_again(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        await triggerer.watch("replies", "asset")
        triggerer = await restarted(triggerer)
        gateway.incoming(NUMBER, "YES")
        await triggerer.watch("replies", "asset", keywords=["YES"])
        assert triggerer.fired == []


class TestSharing:
    async def test_watchers_with_different_filters_share_one_poll(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        triggerer.start("yes", keywords=["YES"])
        triggerer.start("no", keywords=["no"])
        await triggerer.watch("long", pattern=r"\w{12}")
        ids = gateway.add_incoming([(NUMBER, "Yes!"), (NUMBER, "no, Quetzalcoatl"), (NUMBER, "Perhaps")])
        before = asked(gateway)
        await triggerer.poll_and_store(times=2)
        assert asked(gateway) - before == 2
        fired = {event.watcher: event.payload["message_id"] for event in triggerer.stored}
        assert fired == {"yes": ids[0], "no": ids[1], "long": ids[1]}
        assert len(triggerer.stored) == 3

    async def test_each_of_them_has_a_cursor_of_its_own_on_one_asset(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        triggerer.start("yes", "asset", keywords=["YES"])
        await triggerer.watch("no", "asset", keywords=["NO"])
        assert len(triggerer.stores["asset"].cursors) == 2
        assert gateway.requests()

    async def test_one_that_joins_late_gets_what_it_missed_and_the_others_nothing_twice(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        triggerer.start("late")
        await triggerer.watch("early", keywords=["YES"])
        triggerer = await restarted(triggerer)
        await triggerer.watch("early", keywords=["YES"])
        missed = gateway.add_incoming([(NUMBER, "YES")] * 300)
        triggerer.time.turn()
        await triggerer.store_until(lambda: len(triggerer.keys("early")) == len(missed))
        triggerer.start("late")
        await triggerer.store_until(lambda: len(triggerer.keys("late")) == len(missed))
        assert triggerer.keys("late") == triggerer.keys("early") == list(map(str, missed))

    async def test_one_whose_event_is_not_stored_in_time_fires_it_again_and_holds_nobody_up(
        self, gateway: Sandbox, stores: dict[str, Store], time: Time
    ) -> None:
        """Airflow fails such a watcher, and makes a new one."""
        triggerer = Triggerer(stores, time, ack_timeout=0.1)
        triggerer.start("slow", keywords=["YES"])
        await triggerer.watch("quiet", keywords=["NO"])
        message_id = str(gateway.incoming(NUMBER, "YES"))
        await triggerer.poll()
        await until(lambda: triggerer.failed)
        assert type(triggerer.failed["slow"]).__name__ == "AckTimeout"
        assert message_id not in stores["slow"].cursor()["seen"]
        assert message_id in stores["quiet"].cursor()["seen"]
        triggerer.fired = []
        triggerer.start("slow", keywords=["YES"])
        await until(lambda: triggerer.fired)
        triggerer.store()
        await settled()
        assert triggerer.keys("slow") == [message_id]
        assert triggerer.keys("quiet") == []

    async def test_a_watcher_on_two_assets_keeps_its_cursor_with_both(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        await triggerer.watch("replies", "one", "two")
        gateway.incoming(NUMBER, "YES")
        await triggerer.poll_and_store()
        assert triggerer.stores["one"].cursors == triggerer.stores["two"].cursors
        triggerer = await restarted(triggerer)
        await triggerer.watch("replies", "two", "three")
        assert triggerer.fired == []
        assert triggerer.keys() == []


class TestTheLastOfSeveral:
    """Airflow hands it on only with a later event, if it is stored while the first ones are being queued."""

    async def test_is_fired_some_seconds_after_the_others(
        self, gateway: Sandbox, watching: Triggerer
    ) -> None:
        gateway.incoming(NUMBER, "alone")
        await watching.poll()
        assert watching.time.held == []
        gateway.add_incoming([(NUMBER, "YES")] * 5)
        await watching.poll()
        (seconds,) = watching.time.held
        assert EVENT_SPACING - 1 < seconds <= EVENT_SPACING
        assert len(watching.fired) == 6

    async def test_is_the_last_of_all_watchers_of_an_asset(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        triggerer.start("yes", "asset", keywords=["YES"])
        triggerer.start("no", "asset", keywords=["NO"])
        await triggerer.watch("yes elsewhere", "another asset", keywords=["YES"], pattern="")
        gateway.add_incoming([(NUMBER, "YES"), (NUMBER, "NO")])
        await triggerer.poll()
        (seconds,) = triggerer.time.held
        assert EVENT_SPACING - 1 < seconds <= EVENT_SPACING
        assert len(triggerer.fired) == 3

    async def test_is_not_lost_while_it_is_held_back(self, gateway: Sandbox, watching: Triggerer) -> None:
        ids = gateway.add_incoming([(NUMBER, "YES")] * 2)
        watching.time.lasts = asyncio.Event()
        await watching.poll_and_store()
        assert watching.keys() == [str(ids[0])]
        watching.time.lasts = None
        watching = await restarted(watching)
        await watching.watch("replies")
        watching.store()
        assert watching.keys() == [str(ids[1])]


class TestAnyOrder:
    async def test_ids_that_come_late_are_noticed(self, listed: Lists, triggerer: Triggerer) -> None:
        listed.rows = [row(number) for number in range(1000, 1040, 2)]
        await triggerer.watch("replies")
        listed.rows += [row(1050), row(1045)]
        await triggerer.poll_and_store()
        listed.rows[-1:-1] = [row(1047), row(1035)]
        await triggerer.poll_and_store()
        assert triggerer.keys() == ["1045", "1050", "1035", "1047"]

    async def test_a_list_that_has_the_newest_first_is_read_from_its_beginning(
        self, listed: Lists, triggerer: Triggerer
    ) -> None:
        listed.rows = [row(number) for number in range(1099, 999, -1)]
        await triggerer.watch("replies")
        before = listed.requests
        listed.rows[:0] = [row(1101), row(1100)]
        await triggerer.poll_and_store()
        assert listed.requests - before == 1
        assert triggerer.keys() == ["1100", "1101"]
        triggerer = await restarted(triggerer)
        listed.rows[:0] = [row(number) for number in range(1115, 1101, -1)]
        await triggerer.watch("replies")
        triggerer.store()
        assert triggerer.keys() == [str(number) for number in range(1102, 1116)]

    async def test_of_a_list_in_no_order_nothing_is_missed(self, listed: Lists, triggerer: Triggerer) -> None:
        ids = [(number * 7919) % 4999 + 1000 for number in range(60)]
        listed.rows = [row(number) for number in ids[:30]]
        await triggerer.watch("replies")
        for place, number in enumerate(ids[30:]):
            listed.rows.insert((place * 37) % len(listed.rows), row(number))
        await triggerer.poll_and_store()
        watermark = min(ids[:30])
        assert sorted(triggerer.keys()) == sorted(str(number) for number in ids[30:] if number > watermark)

    async def test_a_poll_reads_the_end_of_the_list_and_more_only_for_more_news(
        self, listed: Lists, triggerer: Triggerer
    ) -> None:
        listed.rows = [row(number) for number in range(1000, 1500)]
        await triggerer.watch("replies")
        before = listed.requests
        await triggerer.poll_and_store()
        assert listed.requests - before == 1
        listed.rows += [row(number) for number in range(1500, 1525)]
        await triggerer.poll_and_store()
        assert listed.requests - before == 1 + 4
        assert triggerer.keys() == [str(number) for number in range(1500, 1525)]

    async def test_a_list_that_forgets_its_oldest_rows_is_read_on(
        self, listed: Lists, triggerer: Triggerer
    ) -> None:
        listed.rows = [row(number) for number in range(1000, 1100)]
        await triggerer.watch("replies")
        listed.rows = [row(number) for number in range(1070, 1102)]
        await triggerer.poll_and_store()
        assert triggerer.keys() == ["1100", "1101"]

    async def test_an_empty_list_is_watched_from_its_first_row(
        self, listed: Lists, watching: Triggerer
    ) -> None:
        listed.rows = [row(7)]
        await watching.poll_and_store()
        assert watching.keys() == ["7"]


def leaving(rows: list[dict[str, Any]], place: int) -> dict[str, list[dict[str, Any]]]:
    """Return which rows leave a list, oldest first, while one comes at a place."""
    return {
        "none leaves": [],
        "an old one leaves": rows[:1],
        "more leave than come": rows[:7],
        "so many leave that the page starts later": rows[:300],
        "the one before it leaves": rows[place - 1 : place],
        "the newest leaves": rows[-1:],
    }


def in_order(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda each: each["incomingApiMessageId"])


class TestALateMessage:
    """Its id is lower than those of others that fired, or it stands among them."""

    @pytest.mark.parametrize("case", leaving([], 0))
    @pytest.mark.parametrize("newer", [1, 99, 101, 499])
    @pytest.mark.parametrize("newest_first", [False, True])
    async def test_is_told_once_whatever_leaves_meanwhile(
        self, large_pages: Lists, triggerer: Triggerer, case: str, newer: int, newest_first: bool
    ) -> None:
        rows = [row(number) for number in range(2000, 5000, 2)]
        step = -1 if newest_first else 1
        large_pages.rows = rows[::step]
        await triggerer.watch("replies")
        place = len(rows) - newer
        gone = leaving(rows, place)[case]
        late = row(rows[place]["incomingApiMessageId"] - 1)
        listed = [*rows[:place], late, *rows[place:], row(6000)]
        large_pages.rows = [each for each in listed if each not in gone][::step]
        await triggerer.poll_and_store(times=3)
        assert triggerer.keys() == [str(late["incomingApiMessageId"]), "6000"]

    async def test_is_found_by_one_request_at_each_poll(
        self, large_pages: Lists, triggerer: Triggerer
    ) -> None:
        rows = [row(number) for number in range(2000, 5000, 2)]
        large_pages.rows = rows
        await triggerer.watch("replies")
        assert large_pages.requests == 2
        for late in range(1, 12):
            # One comes among the newest 500, and the oldest leaves, so that the total stays.
            large_pages.rows = in_order(*large_pages.rows[1:], row(4999 - 80 * late))
            await triggerer.poll_and_store()
            assert large_pages.requests == 2 + late
        assert triggerer.keys() == [str(4999 - 80 * late) for late in range(1, 12)]

    async def test_is_found_in_pages_that_are_too_small_for_all_within_some_polls(
        self, listed: Lists, triggerer: Triggerer
    ) -> None:
        listed.rows = [row(number) for number in range(2000, 3600, 2)]
        await triggerer.watch("replies")
        listed.rows = in_order(*listed.rows[1:], row(2601))
        await triggerer.poll_and_store(times=POLLS_PER_DEEP_READ)
        assert triggerer.keys() == ["2601"]

    async def test_with_another_late_one_is_found_at_once_in_small_pages_if_the_total_shows_it(
        self, listed: Lists, triggerer: Triggerer
    ) -> None:
        listed.rows = [row(number) for number in range(2000, 3600, 2)]
        await triggerer.watch("replies")
        listed.rows = in_order(*listed.rows[1:], row(2601), row(3701))[1:]
        await triggerer.poll_and_store()
        assert triggerer.keys() == ["2601", "3701"]

    @pytest.mark.parametrize("newest_first", [False, True])
    async def test_is_told_by_a_watcher_that_has_just_begun_with_few_that_are_listed(
        self, large_pages: Lists, triggerer: Triggerer, newest_first: bool
    ) -> None:
        """None of them is so old that it would count as seen."""
        step = -1 if newest_first else 1
        large_pages.rows = [row(number) for number in range(2000, 2040, 2)][::step]
        await triggerer.watch("replies")
        large_pages.rows = [row(1999), *large_pages.rows[::step]][::step]
        await triggerer.poll_and_store(times=2)
        triggerer = await restarted(triggerer)
        await triggerer.watch("replies")
        assert triggerer.fired == []
        large_pages.rows = [row(1998), *large_pages.rows[::step], row(2041)][::step]
        await triggerer.poll_and_store()
        assert triggerer.keys() == ["1998", "2041"]

    async def test_is_told_of_a_list_that_was_empty_and_grew_at_its_beginning(
        self, large_pages: Lists, watching: Triggerer
    ) -> None:
        """One row does not show the order of a list, so the next poll checks it."""

        def has_stored(size: int) -> bool:
            return len(watching.stored) == size

        for size in (1, 700, 1400):
            large_pages.rows = [row(number) for number in range(2000 + size, 2000, -1)]
            watching.time.turn()
            await watching.store_until(partial(has_stored, size))
        large_pages.rows = [row(9000), *large_pages.rows[:-1]]
        await watching.poll_and_store()
        assert watching.keys()[-1] == "9000"

    async def test_is_told_once_after_a_restart_in_which_it_came(
        self, large_pages: Lists, triggerer: Triggerer
    ) -> None:
        large_pages.rows = [row(number) for number in range(2000, 5000, 2)]
        await triggerer.watch("replies")
        triggerer = await restarted(triggerer)
        large_pages.rows = in_order(*large_pages.rows[2:], row(4101), row(5001))
        await triggerer.watch("replies")
        await triggerer.poll_and_store(times=2)
        assert triggerer.keys() == ["4101", "5001"]


class TestABacklog:
    async def test_thousands_are_told_in_order_and_never_too_many_at_a_time(
        self, gateway: Sandbox, watching: Triggerer
    ) -> None:
        writes = watching.stores["replies"].writes
        ids = gateway.add_incoming([(NUMBER, "YES")] * 3000)
        watching.time.turn()
        most = 0
        while len(watching.stored) < len(ids):
            await asyncio.sleep(0.001)
            most = max(most, len(watching.fired))
            watching.store()
        await settled()
        assert watching.keys() == list(map(str, ids))
        assert most <= MOST_IN_FLIGHT
        assert watching.stores["replies"].writes - writes <= len(ids) / (MOST_IN_FLIGHT - 1) + 2
        cursor = watching.stores["replies"].cursor()
        assert len(cursor["seen"]) <= 500
        assert cursor["watermark"] == ids[-501]

    @pytest.mark.parametrize(
        "kills", [(81, 81, 81), (1, 2, 3), (16, 16, 16), (15, 16, 17), (40, 1, 90), (199, 5, 5)]
    )
    async def test_a_kill_in_a_burst_repeats_no_more_than_were_in_flight(
        self, gateway: Sandbox, watching: Triggerer, kills: tuple[int, ...]
    ) -> None:
        """Airflow tells of events only once all are stored that it took over together."""
        ids = gateway.add_incoming([(NUMBER, "YES")] * 300)
        watching.time.turn()
        keys: list[str] = []
        for kill in kills:
            while await fired(watching) < kill - len(watching.stored):
                watching.store()
            watching.store_and_die(kill - len(watching.stored))
            keys += watching.keys()
            watching = await restarted(watching)
            watching.start("replies")
        while str(ids[-1]) not in watching.keys():  # noqa: SIM118 - not a mapping
            await fired(watching)
            watching.store()
        keys += watching.keys()
        assert sorted(set(keys)) == sorted(map(str, ids))
        assert len(keys) - len(ids) <= len(kills) * MOST_IN_FLIGHT

    async def test_nothing_more_is_fired_until_the_cursor_of_what_was_stored_is_written(
        self, gateway: Sandbox, watching: Triggerer
    ) -> None:
        gateway.add_incoming([(NUMBER, "YES")] * 200)
        store = watching.stores["replies"]
        store.answers.clear()
        watching.time.turn()
        await until(lambda: watching.fired)
        await settled()
        watching.store()
        await settled()
        assert watching.fired == []
        store.answers.set()
        await until(lambda: watching.fired)


def hours_ago(hours: int) -> dict[str, Any]:
    """Return an opt-out that came in so long ago, with as many for its id."""
    time = datetime.now(UTC) - timedelta(hours=hours)
    return row(hours, receiveTime=time.strftime("%Y%m%d%H%M"))


class TestOptOuts:
    async def test_each_fires_once_also_one_made_by_hand(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        gateway.opt_out("27825550001")
        await triggerer.watch("gone", dataset="opt_outs")
        stop = gateway.incoming(NUMBER, "STOP")
        gateway.opt_out(OTHER)
        await triggerer.poll_and_store(times=2)
        first, second = (event.payload for event in triggerer.stored)
        assert {first["message_id"], second["message_id"]} == {stop, None}
        assert first["event_key"] != second["event_key"]
        triggerer = await restarted(triggerer)
        await triggerer.watch("gone", dataset="opt_outs")
        assert triggerer.fired == []

    async def test_one_of_the_last_day_that_is_listed_late_fires_also_if_the_watcher_has_just_begun(
        self, listed: Lists, triggerer: Triggerer
    ) -> None:
        listed.opt_outs = [hours_ago(1), hours_ago(3)]
        await triggerer.watch("gone", dataset="opt_outs")
        listed.opt_outs = [listed.opt_outs[0], hours_ago(4), hours_ago(50)]
        await triggerer.poll_and_store(times=2)
        assert [event.payload["message_id"] for event in triggerer.stored] == [4]

    async def test_a_number_that_opts_out_again_fires_again(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        await triggerer.watch("gone", dataset="opt_outs")
        gateway.opt_out(NUMBER)
        await triggerer.poll_and_store()
        gateway.remove_opt_out(NUMBER)
        await triggerer.poll_and_store()
        gateway.advance(60)
        gateway.opt_out(NUMBER)
        await triggerer.poll_and_store()
        assert len(set(triggerer.keys())) == len(triggerer.keys()) == 2

    async def test_their_cursor_forgets_what_is_older_than_a_day_and_tells_it_no_more(
        self, listed: Lists, triggerer: Triggerer
    ) -> None:
        await triggerer.watch("gone", dataset="opt_outs")
        kept = []
        for hours in (96, 73, 24):
            listed.opt_outs.append(hours_ago(hours))
            await triggerer.poll_and_store()
            kept.append(len(triggerer.stores["gone"].cursor()["seen"]))
        await triggerer.poll_and_store()
        assert kept == [1, 2, 1]
        assert [event.payload["message_id"] for event in triggerer.stored] == [96, 73, 24]

    async def test_under_another_key_the_last_days_are_told_once_more(
        self, listed: Lists, triggerer: Triggerer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await triggerer.watch("gone", dataset="opt_outs")
        for hours in (96, 24):
            listed.opt_outs.append(hours_ago(hours))
            await triggerer.poll_and_store()
        listed.box.api_key = "another"
        monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", listed.connection)
        await triggerer.poll_and_store(times=2)
        assert [event.payload["message_id"] for event in triggerer.stored] == [96, 24, 24]
        assert len(set(triggerer.keys())) == 3

    async def test_one_without_a_time_and_one_from_the_future_hide_no_others(
        self, listed: Lists, triggerer: Triggerer
    ) -> None:
        await triggerer.watch("gone", dataset="opt_outs")
        now = datetime.now(UTC).strftime("%Y%m%d%H%M")
        listed.opt_outs = [
            row(None, receiveTime=None),
            row(1, receiveTime="290001010000"),
            row(2, number=OTHER, receiveTime=now),
        ]
        await triggerer.poll_and_store(times=2)
        assert sorted(str(event.payload["message_id"]) for event in triggerer.stored) == ["1", "2", "None"]


class TestFilters:
    @pytest.mark.parametrize(
        ("arguments", "texts"),
        [
            ({}, ["Yes, please", "no", "\N{THUMBS UP SIGN}"]),
            ({"keywords": ["yes"]}, ["Yes, please"]),
            ({"keywords": ["NO", "YES"]}, ["Yes, please", "no"]),
            ({"pattern": "(?i)PLEASE$"}, ["Yes, please"]),
            ({"keywords": ["NO"], "pattern": "please"}, []),
        ],
    )
    async def test_a_message_must_pass_all_of_them(
        self, gateway: Sandbox, triggerer: Triggerer, arguments: dict[str, Any], texts: list[str]
    ) -> None:
        await triggerer.watch("replies", **arguments, exposed_fields=["text"])
        gateway.add_incoming([(NUMBER, text) for text in ("Yes, please", "no", "\N{THUMBS UP SIGN}")])
        await triggerer.poll_and_store()
        assert [event.payload["text"] for event in triggerer.stored] == texts

    @pytest.mark.parametrize("value", [f'["{NUMBER}"]', f"082 555 9871, {NUMBER}", f"+27 0{NUMBER[2:]}"])
    async def test_senders_are_those_that_a_variable_lists(
        self, gateway: Sandbox, triggerer: Triggerer, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv("AIRFLOW_VAR_STAFF", value)
        await triggerer.watch("staff", senders_variable="staff")
        mine = gateway.incoming(NUMBER, "YES")
        gateway.incoming(OTHER, "YES")
        await triggerer.poll_and_store()
        assert triggerer.keys() == [str(mine)]

    @pytest.mark.parametrize("value", [None, "[27825559871", "27825559871, Ann"])
    async def test_without_a_list_of_senders_a_watcher_waits_and_the_others_do_not(
        self,
        gateway: Sandbox,
        triggerer: Triggerer,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        value: str | None,
    ) -> None:
        monkeypatch.setenv("AIRFLOW_VAR_STAFF", NUMBER)
        await triggerer.watch("staff", senders_variable="staff")
        triggerer = await restarted(triggerer)
        if value is None:
            monkeypatch.delenv("AIRFLOW_VAR_STAFF")
        else:
            monkeypatch.setenv("AIRFLOW_VAR_STAFF", value)
        triggerer.start("staff", senders_variable="staff")
        await triggerer.watch("all")
        message_id = gateway.incoming(NUMBER, "YES")
        await triggerer.poll_and_store()
        assert triggerer.keys() == triggerer.keys("all") == [str(message_id)]
        assert "The Variable 'staff' (senders_variable)" in caplog.text
        assert "Ann" not in caplog.text
        monkeypatch.setenv("AIRFLOW_VAR_STAFF", NUMBER)
        await triggerer.poll_and_store(times=4)
        assert triggerer.keys("staff") == [str(message_id)]


class TestPersonalData:
    async def test_it_is_in_no_payload_store_argument_or_log(
        self,
        gateway: Sandbox,
        triggerer: Triggerer,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        monkeypatch.setenv("AIRFLOW_VAR_STAFF", f"{NUMBER},{OTHER}")
        watchers = [
            triggerer.start("replies", senders_variable="staff", keywords=["YES"]),
            triggerer.start("gone", dataset="opt_outs"),
        ]
        await triggerer.begun(2)
        gateway.incoming(NUMBER, TEXT)
        gateway.incoming(OTHER, "Stop")
        gateway.add_fault("429-too-many-requests", retry_after=3600, times=2)
        await triggerer.poll_and_store(2, times=3)
        triggerer.stores["replies"].is_broken = True
        gateway.incoming(NUMBER, TEXT)
        await triggerer.poll_and_store(2, times=2)
        assert len(triggerer.stored) == 3
        written = [
            caplog.text,
            *(str(event.payload) for event in triggerer.stored),
            *(str(store.rows) for store in triggerer.stores.values()),
            *(str(watcher.serialize()) for watcher in watchers),
        ]
        for secret in (NUMBER[-9:], OTHER[-9:], "Quetzalcoatl", API_KEY):
            assert not [text for text in written if secret in text]

    async def test_what_is_asked_for_by_name_is_in_the_payload(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        await triggerer.watch("replies", exposed_fields=("number", "text"))
        gateway.incoming(NUMBER, TEXT)
        await triggerer.poll_and_store()
        (event,) = triggerer.stored
        assert (event.payload["number"], event.payload["text"]) == (NUMBER, TEXT)


class TestErrors:
    async def test_polls_that_fail_are_ever_further_apart_and_nothing_is_missed(
        self, gateway: Sandbox, triggerer: Triggerer
    ) -> None:
        await triggerer.watch("replies", poll_interval=100)
        message_id = gateway.incoming(NUMBER, "YES")
        gateway.add_fault("429-too-many-requests", retry_after=3600, times=2)
        await triggerer.poll()
        await triggerer.poll()
        assert triggerer.time.pauses[-2:] == [3600, 3600]
        await triggerer.poll_and_store()
        assert triggerer.time.pauses[-1] == 100
        assert triggerer.keys() == [str(message_id)]

    async def test_a_wrong_key_is_asked_with_seldom_and_a_mended_one_is_picked_up(
        self,
        gateway: Sandbox,
        triggerer: Triggerer,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        await triggerer.watch("replies", poll_interval=10)
        connect(monkeypatch, gateway.base_url, "a-wrong-key")
        message_id = gateway.incoming(NUMBER, "YES")
        before = asked(gateway)
        for _ in range(12):
            await triggerer.poll()
        assert asked(gateway) - before == 12
        assert all(10 <= seconds <= LONGEST_POLL_PAUSE for seconds in triggerer.time.pauses)
        assert caplog.text.count("Check the API key") == 12
        assert "a-wrong-key" not in caplog.text
        connect(monkeypatch, gateway.base_url, gateway.api_key)
        await triggerer.poll_and_store()
        assert triggerer.keys() == [str(message_id)]

    async def test_a_missing_connection_is_told_and_waited_for(
        self,
        gateway: Sandbox,
        triggerer: Triggerer,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        await triggerer.watch("replies", sms_conn_id="not_yet")
        assert "There is no connection 'not_yet'" in caplog.text
        connection = {"conn_type": "winsms", "host": gateway.base_url, "password": gateway.api_key}
        monkeypatch.setenv("AIRFLOW_CONN_NOT_YET", json.dumps(connection))
        await triggerer.poll()
        gateway.incoming(NUMBER, "YES")
        await triggerer.poll_and_store()
        assert len(triggerer.stored) == 1

    async def test_a_cursor_that_cannot_be_written_is_written_later(
        self, gateway: Sandbox, watching: Triggerer, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = watching.stores["replies"]
        store.is_broken = True
        message_id = str(gateway.incoming(NUMBER, "YES"))
        await watching.poll_and_store()
        assert "could not be saved" in caplog.text
        assert watching.failed == {}
        store.is_broken = False
        await watching.poll_and_store()
        assert message_id in store.cursor()["seen"]
        assert watching.keys() == [message_id]

    async def test_a_cursor_that_cannot_be_read_is_read_later(
        self, gateway: Sandbox, watching: Triggerer
    ) -> None:
        watching = await restarted(watching)
        message_id = gateway.incoming(NUMBER, "YES")
        watching.stores["replies"].is_broken = True
        await watching.watch("replies")
        watching.stores["replies"].is_broken = False
        await watching.poll_and_store(times=2)
        assert watching.keys() == [str(message_id)]

    async def test_a_cursor_that_is_none_is_not_overwritten(
        self, gateway: Sandbox, watching: Triggerer, caplog: pytest.LogCaptureFixture
    ) -> None:
        (key,) = watching.stores["replies"].cursors
        watching.stores["replies"].rows[key] = '"mine"'
        watching = await restarted(watching)
        await watching.watch("replies")
        gateway.incoming(NUMBER, "YES")
        await watching.poll()
        assert watching.stores["replies"].rows[key] == '"mine"'
        assert "to start from now" in caplog.text
        assert watching.fired == []


CURSOR, BEGUN, ANY = "0123456789abcdef", ("-begun",), ("",)


class TestAStoreThatDoesNotFindWhatItHas:
    """Airflow tells a triggerer of any 404, also of a proxy's, only that there is no such key."""

    @pytest.mark.parametrize("reads", [1, 2, 3])
    @pytest.mark.parametrize("hidden", [tuple(CURSOR), BEGUN, ANY], ids=["cursor", "witness", "every key"])
    async def test_replies_that_came_while_no_triggerer_ran_are_told_in_the_end(
        self, hidden: tuple[str, ...], reads: int, gateway: Sandbox, watching: Triggerer
    ) -> None:
        watching = await restarted(watching)
        ids = [gateway.incoming(NUMBER, "YES") for _ in range(50)]
        store = watching.stores["replies"]
        store.hidden, store.hidden_reads = hidden, reads
        watching.start("replies")
        for _ in range(40):
            await watching.poll_and_store()
            if len(watching.keys()) == len(ids):
                break
        assert sorted(watching.keys()) == sorted(map(str, ids))

    async def test_a_watcher_without_its_cursor_watches_nothing_until_a_person_decides(
        self, gateway: Sandbox, watching: Triggerer, caplog: pytest.LogCaptureFixture
    ) -> None:
        rows = watching.stores["replies"].rows
        (key,) = watching.stores["replies"].cursors
        del rows[key]
        watching = await restarted(watching)
        await watching.watch("replies")
        gateway.incoming(NUMBER, "YES")
        await watching.poll_and_store()
        assert watching.stored == []
        assert f"has {key}-begun, but not its cursor" in caplog.text
        del rows[f"{key}-begun"]
        await watching.poll_and_store(times=20)
        new = gateway.incoming(NUMBER, "NO")
        await watching.poll_and_store()
        assert watching.keys() == [str(new)]


SECRET = "k" * 20
BAD_ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"dataset": "outgoing"}, "dataset must be one of incoming, short_code, opt_outs; got 'outgoing'."),
    ({"dataset": ["incoming"]}, "dataset must be one of"),
    ({"keywords": "YES"}, "keywords must be a list of words"),
    ({"keywords": []}, "keywords must be a list of words"),
    ({"keywords": ["yes please"]}, "'yes please' is none"),
    *(({"keywords": keywords}, "keywords must be a list of words") for keywords in (["YES", 1], [5])),
    ({"pattern": "("}, "pattern is not a regular expression that RE2 can search for: missing ): ("),
    ({"pattern": 5}, "pattern is not a regular expression: it is of type int"),
    ({"pattern": "\ud800"}, "pattern is not a regular expression"),
    ({"pattern": "(?:" * 5000}, "pattern is not a regular expression"),
    *(
        ({"pattern": pattern}, "RE2 has no lookarounds (?=, (?!, (?<=, (?<! and no backreferences")
        for pattern in (r"yes(?=!)", r"yes(?!!)", r"(?<=ja)nee", r"(?<!ja)nee", r"(.)\1", r"(?P<a>b)(?P=a)")
    ),
    ({"poll_interval": 0}, "poll_interval must be a number of seconds, 1 or more; got 0."),
    *(
        ({"poll_interval": seconds}, "poll_interval must be a number of seconds")
        for seconds in (0.5, float("nan"), float("inf"), "30", True)
    ),
    ({"exposed_fields": ["raw"]}, "exposed_fields must be a list of 'number' and 'text'"),
    ({"exposed_fields": "text"}, "exposed_fields must be a list of 'number' and 'text'"),
    ({"exposed_fields": None}, "exposed_fields must be a list of 'number' and 'text'"),
    *(
        ({"sms_conn_id": conn_id}, "sms_conn_id must be the id of a connection")
        for conn_id in ("", 5, None, "my conn", f"winsms://:{SECRET}@host")
    ),
    *(
        ({"senders_variable": name}, "senders_variable must be the name of a Variable")
        for name in (["2782"], "", 5)
    ),
]


class TestBadArguments:
    def test_there_are_some_for_each_argument(self) -> None:
        named = {name for arguments, _ in BAD_ARGUMENTS for name in arguments}
        assert named == set(inspect.signature(SmsIncomingTrigger).parameters)

    @pytest.mark.parametrize(
        ("arguments", "said"), [*BAD_ARGUMENTS, ({"poll_interval": timedelta(seconds=30)}, "poll_interval")]
    )
    def test_they_are_an_import_error_of_the_dag_file(self, arguments: dict[str, Any], said: str) -> None:
        watcher = AssetWatcher(name="wrong", trigger=SmsIncomingTrigger(**arguments))
        with DAG("on_reply", schedule=[Asset("replies", watchers=[watcher])]) as dag:
            EmptyOperator(task_id="task")
        with pytest.raises(SerializationError) as raised:
            DagSerialization.to_dict(dag)
        assert isinstance(raised.value.__cause__, InvalidMessage)
        assert said in str(raised.value.__cause__)
        assert SECRET not in str(raised.value.__cause__)

    @pytest.mark.parametrize(("arguments", "said"), BAD_ARGUMENTS)
    async def test_stored_ones_are_told_in_the_log_now_and_then_and_ask_nothing(
        self,
        gateway: Sandbox,
        triggerer: Triggerer,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
        arguments: dict[str, Any],
        said: str,
    ) -> None:
        triggerer.start_stored("wrong", arguments)
        await triggerer.begun()
        await triggerer.poll()
        assert triggerer.failed == {}
        assert asked(gateway) == 0
        assert (caplog.text + "".join(capfd.readouterr())).count(said) >= 2
        assert all(60 <= seconds <= LONGEST_POLL_PAUSE for seconds in triggerer.time.pauses)


class TestAlone:
    """As before Airflow 3.3, which has neither shared streams nor a place for cursors."""

    async def test_a_watcher_tells_what_comes_from_now_on_and_warns(
        self, gateway: Sandbox, time: Time, caplog: pytest.LogCaptureFixture
    ) -> None:
        trigger = time.watchers()(keywords=["YES"])
        events = trigger.run()
        gateway.incoming(NUMBER, "YES")
        first = asyncio.ensure_future(anext(events))
        await until(lambda: time.pauses)
        assert "starts no DAG" in caplog.text
        ids = gateway.add_incoming([(NUMBER, "YES"), (NUMBER, "NO"), (NUMBER, "Yes.")])
        time.turn()
        assert (await first).payload["message_id"] == ids[0]
        assert (await anext(events)).payload["message_id"] == ids[2]
        last = asyncio.ensure_future(anext(events))
        await until(lambda: len(time.pauses) == 2)
        time.turn()
        await until(lambda: len(time.pauses) == 3)
        assert not last.done()
        last.cancel()

    async def test_its_cursor_is_written_once_it_asks_for_more(
        self, gateway: Sandbox, time: Time, stores: dict[str, Store]
    ) -> None:
        trigger = time.watchers()()
        stores["asset"] = Store()
        trigger.asset_state_store = stores["asset"].accessor(lambda: True)  # type: ignore[assignment]
        events = trigger.run()
        first = asyncio.ensure_future(anext(events))
        await until(lambda: time.pauses)
        message_id = str(gateway.incoming(NUMBER, "YES"))
        time.turn()
        await first
        assert message_id not in stores["asset"].cursor()["seen"]
        following = asyncio.ensure_future(anext(events))
        await until(lambda: message_id in stores["asset"].cursor()["seen"])
        following.cancel()


class TestTheQueue:
    async def test_it_is_found_by_its_scheme(self) -> None:
        module = import_module("airflow.providers.common.messaging.triggers.msg_queue")
        trigger = module.MessageQueueTrigger(scheme="winsms", sms_conn_id="winsms_two", keywords=["YES"])
        assert isinstance(trigger.trigger, SmsIncomingTrigger)
        assert (
            trigger.serialize() == SmsIncomingTrigger(sms_conn_id="winsms_two", keywords=["YES"]).serialize()
        )

    def test_the_path_that_is_stored_leads_to_the_trigger(self) -> None:
        path, kwargs = SmsIncomingTrigger(keywords=("YES",)).serialize()
        module, _, name = path.rpartition(".")
        assert getattr(import_module(module), name) is SmsIncomingTrigger
        assert SmsIncomingTrigger(**kwargs).serialize() == (path, kwargs)


PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text()


class TestThePage:
    @pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    async def test_each_watcher_that_is_shown_tells_what_comes(
        self, gateway: Sandbox, triggerer: Triggerer, code: str
    ) -> None:
        namespace: dict[str, Any] = {}
        exec(compile(code, "events.md", "exec"), namespace)  # noqa: S102 - the page's own code
        (asset,) = (value for value in namespace.values() if isinstance(value, Asset))
        (watcher,) = asset.watchers
        _, arguments = watcher.trigger.serialize()
        await triggerer.watch("shown", **arguments)
        gateway.incoming(NUMBER, "STOP" if arguments["dataset"] == "opt_outs" else "yes!")
        await triggerer.poll_and_store()
        assert len(triggerer.stored) == 1

    async def test_it_lists_what_a_payload_has(self) -> None:
        row = FeedRow("1", 1, IncomingMessage(1, NUMBER, None, TEXT))
        payload = await selection("incoming", None, None, EXPOSABLE).payload(row, None)
        listed = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
        assert payload is not None
        assert set(re.findall(r"\w+", " ".join(listed))) >= set(payload)

    @pytest.mark.parametrize("figure", [KEYS_KEPT, MOST_IN_FLIGHT, ROWS_READ_AGAIN])
    def test_its_figures_are_those_of_the_code(self, figure: int) -> None:
        assert f" {figure} " in PAGE
