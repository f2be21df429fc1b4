"""The parts of a watcher, each alone: no Airflow, no HTTP."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.gateways.base import ListReading
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.inbound.cursor import Cursor
from airflow_provider_winsms.inbound.feeds import (
    DEFAULT_BOUNDS,
    KEYS_KEPT,
    LISTS,
    MINUTES_KEPT,
    FeedConnection,
    FeedRow,
    ReadScope,
    minute_watermark,
    sequence_of,
)
from airflow_provider_winsms.inbound.filters import first_word, selection
from airflow_provider_winsms.inbound.subscriber import (
    EVENT_SPACING,
    LONGEST_EVENT_HOLD,
    Envelope,
    EventSpacer,
    Subscriber,
    Subscribers,
)
from airflow_provider_winsms.inbound.watcher import (
    JOIN_WINDOW,
    LONGEST_POLL_PAUSE,
    Watcher,
    described,
    poll_pause,
)
from airflow_provider_winsms.messages import IncomingMessage, Page
from airflow_provider_winsms.phone import NumberPlan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from airflow_provider_winsms.gateways.base import Call

NOON = pendulum.datetime(2026, 3, 2, 12, tz="Africa/Johannesburg")


def row(message_id: int, text: str = "YES") -> FeedRow:
    return FeedRow(str(message_id), message_id, IncomingMessage(message_id, "27825559871", NOON, text))


class InMemoryStore:
    """Keeps a cursor as JSON."""

    def __init__(self, kept: Any = None) -> None:
        self.kept = json.dumps(kept)

    async def load(self) -> Any:
        return json.loads(self.kept)

    async def save(self, value: dict[str, Any]) -> None:
        self.kept = json.dumps(value)


class TestTheFirstWord:
    @pytest.mark.parametrize(
        ("text", "word"),
        [
            ("YES", "YES"),
            ("  yes!!", "yes"),
            ("Yes,please", "Yes"),
            ("Yes.Thanks", "Yes"),
            ("\u00a1S\u00ed! gracias", "S\u00ed"),
            ('"yes" she said', "yes"),
            ("opt-in please", "opt-in"),
            ("don't", "don't"),
            ("yes/no", "yes/no"),
            ("\N{THUMBS UP SIGN}", ""),
            ("", ""),
        ],
    )
    def test_is_bare_of_punctuation(self, text: str, word: str) -> None:
        assert first_word(text) == word


class TestACursor:
    @pytest.mark.parametrize(
        "value",
        [
            "x",
            5,
            [],
            {},
            {"watermark": 1},
            {"watermark": "1", "seen": {}},
            {"watermark": 1, "seen": {"a": "b"}},
        ],
    )
    def test_that_is_none_is_refused(self, value: Any) -> None:
        with pytest.raises(ConfigurationError, match="to start from now"):
            Cursor.from_json(value)

    def test_keeps_the_newest_rows_apart(self) -> None:
        cursor = Cursor(None, {str(each): each for each in range(1, 2001)})
        cursor.compact(DEFAULT_BOUNDS.row_watermark, ())
        assert (cursor.watermark, len(cursor.seen)) == (2000 - KEYS_KEPT, KEYS_KEPT)

    def test_of_opt_outs_keeps_a_day_apart_and_all_without_a_time(self) -> None:
        cursor = Cursor(None, {"old": 10, "young": 20_000, "newest": 20_001, "timeless": None})
        cursor.compact(minute_watermark, ())
        assert cursor.to_json() == {
            "watermark": 20_001 - MINUTES_KEPT,
            "seen": {"young": 20_000, "newest": 20_001, "timeless": None},
        }


class TestASubscriber:
    async def test_does_not_count_a_row_as_seen_whose_event_is_not_stored(self) -> None:
        """However many newer events are stored: its successor fires the event again."""
        store = InMemoryStore({"watermark": 0, "seen": {}})
        subscriber = Subscriber("name", selection("incoming", None, None, ()), store)
        await subscriber.prepare(NumberPlan("27"), 0)
        rows = [row(each) for each in range(1, 1000)]
        assert len([each for each in rows if subscriber.enqueue(each)]) == len(rows)
        envelopes = [*map(Envelope, rows), Envelope(None)]
        assert len([payload async for payload in subscriber.payloads(each_of(envelopes))]) == len(rows)
        subscriber.nack(rows[0])
        for each in rows[1:]:
            subscriber.ack(each)
        await subscriber.save()
        successor = Subscriber("name", selection("incoming", None, None, ()), store)
        await successor.prepare(NumberPlan("27"), 0)
        assert [each.key for each in rows if successor.enqueue(each)] == ["1"]
        assert subscriber.enqueue(rows[0])
        assert subscriber.must_read_back


async def each_of(envelopes: Iterable[Envelope]) -> AsyncIterator[Envelope]:
    for envelope in envelopes:
        yield envelope


class TestBackingOff:
    @pytest.mark.parametrize("failures", [1, 2, 5, 1000])
    def test_is_longer_after_more_failures_up_to_a_bound(self, failures: int) -> None:
        seconds = [poll_pause(30.0, failures) for _ in range(100)]
        assert all(30 <= each <= min(LONGEST_POLL_PAUSE, 30 * 2.0 ** min(failures, 16)) for each in seconds)

    def test_an_unforeseen_error_is_logged_by_type_and_place_as_its_text_may_quote_a_row(self) -> None:
        try:
            int("27825559871x")
        except ValueError as error:
            text = described(error)
        assert "ValueError" in text
        assert "test_watcher.py" in text
        assert "2782555" not in text


class TestAGatewayWhoseListCannotBeWatched:
    @pytest.mark.parametrize(
        ("dataset", "changed", "says"),
        [
            ("opt_outs", {"opt_outs": False}, "does not offer opt_outs, and `dataset` needs it."),
            ("incoming", {"incoming": None}, "does not offer incoming, and `dataset` needs it."),
            ("incoming", {"incoming": ListReading.QUEUE}, "lists each text of `incoming` once, as a queue."),
        ],
    )
    async def test_is_told_in_the_log_and_asked_for_nothing(
        self, dataset: Any, changed: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Lesser(WinSMSGateway):
            capabilities = replace(WinSMSGateway.capabilities, **changed)

        asked: list[Call[Any]] = []

        async def execute(call: Call[Any]) -> None:
            asked.append(call)

        @asynccontextmanager
        async def connect() -> AsyncIterator[FeedConnection]:
            gateway = Lesser(time_zone="UTC", country_code="27")
            yield FeedConnection(gateway, execute, 1000, KeyedHash("key"))

        class Ended(BaseException):
            """The watcher's process ends."""

        async def pause(seconds: float, *_: object) -> None:
            if seconds != JOIN_WINDOW:
                raise Ended

        subscribers = Subscribers()
        subscribers.join(Subscriber("name", selection(dataset, None, None, ()), InMemoryStore()))
        log = logging.getLogger("watcher")
        watcher = Watcher(LISTS[dataset], subscribers, connect, poll_interval=300.0, log=log, pause=pause)
        with pytest.raises(Ended):
            await anext(watcher.envelopes())
        assert f"The gateway WinSMS {says}" in caplog.text
        assert asked == []


class TestReadingTheEnd:
    async def test_rows_whose_ids_have_no_order_are_in_the_order_of_their_times(self) -> None:
        listed = [
            IncomingMessage("ab12", "1", NOON.add(seconds=1), "YES"),
            IncomingMessage("zz90", "1", NOON, "YES"),
            IncomingMessage("cc34", "1", None, "YES"),
        ]

        async def execute(_: Call[Any]) -> Page[IncomingMessage]:
            return Page(listed, 0, 3)

        connection = FeedConnection(
            WinSMSGateway(time_zone="UTC", country_code="27"), execute, 1000, KeyedHash("key")
        )
        reader = LISTS["incoming"].reader()
        rows = await reader.read(connection, nothing_seen())
        assert [each.key for each in sorted(rows, key=sequence_of)] == ["cc34", "zz90", "ab12"]


def nothing_seen() -> ReadScope:
    return ReadScope(lambda _: False, float("inf"), float("inf"), has_new_subscribers=True)


def test_no_event_is_held_back_until_airflow_gives_it_up() -> None:
    spacer = EventSpacer(lambda: 1000.0)
    holds = [spacer.reserve(["replies"], is_last=True) for _ in range(40)]
    assert holds[:3] == [0, EVENT_SPACING, 2 * EVENT_SPACING]
    assert max(holds) == LONGEST_EVENT_HOLD
