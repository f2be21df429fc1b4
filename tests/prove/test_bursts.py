"""Two hundred replies at once, and a triggerer that is killed three times among them, on a running Airflow.

Each kill comes at the moment when a further part of the burst appears in Airflow's database: some events are
stored then whose cursor is not. ``docs/events.md`` says what may follow: no reply is lost, and a kill repeats
at most as many events of a watcher as were in flight, none of which its cursor had.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.sandbox import Sandbox
from scripts import warehouse
from tests.prove.event_tables import EventTables, create_warehouse
from tests.prove.real_airflow import RealAirflow

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.airflow

DAGS = Path(__file__).parent / "dags_events"
KEY = "key-of-a-burst-5e0c7b"
BURST = 200
KILLED_AT = (1, 70, 140)
"""How many replies are stored as events when the triggerer is killed, at the least."""

REPEATED_AT_MOST = 16
"""So many events of a watcher a kill may repeat, as ``docs/events.md`` says."""

WATCHERS = {"every": 1, "yes_by_queue": 2}
"""Those of replies: each tells each how-manyth reply of the burst."""

OF_OPT_OUTS = 1
PATIENCE = 600.0
"""Seconds that anything may take: a bound for a busy machine, not an expectation."""


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kill:
    """What was there of one watcher when its triggerer was dead.

    :param stored: the keys of the events that Airflow had stored, in their order.
    :param remembered: the keys in the cursor.
    """

    stored: list[str]
    remembered: set[str]

    @property
    def in_flight(self) -> set[str]:
        """The keys of events that are stored, and not in the cursor."""
        return set(self.stored) - self.remembered


@dataclass
class Story:
    """What was there at each kill and in the end, by watcher."""

    tables: EventTables
    ids: list[str]
    kills: dict[str, list[Kill]] = field(default_factory=lambda: {name: [] for name in WATCHERS})

    def told(self, watcher: str) -> list[str]:
        """Return the keys of the replies that a watcher is to tell, in the order in which they came."""
        return self.ids[:: WATCHERS[watcher]]

    def note_kill(self) -> None:
        """Note what is there, once whatever the triggerer had still asked for is done."""
        time.sleep(1)
        for name, kills in self.kills.items():
            kill = Kill(self.tables.stored(name), self.tables.remembered(name))
            _log.info("%s: %d stored, %d of them in flight", name, len(kill.stored), len(kill.in_flight))
            kills.append(kill)

    def stored_since(self, watcher: str, number: int) -> list[str]:
        """Return the keys of what Airflow stored between one kill and the next, or the end."""
        kills = self.kills[watcher]
        later = kills[number + 1].stored if number + 1 < len(kills) else self.tables.stored(watcher)
        return later[len(kills[number].stored) :]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    path = tmp_path_factory.mktemp("warehouse") / "warehouse.db"
    create_warehouse(path)
    with (
        Sandbox(api_key=KEY, speed=0, seed=7) as box,
        warehouse.postgres(tmp_path_factory.mktemp("postgres")) as conninfo,
    ):
        connections: dict[str, Any] = {
            "winsms_default": {"conn_type": "winsms", "host": box.base_url, "password": KEY},
            "warehouse": {"conn_type": "sqlite", "host": str(path)},
        }
        variables = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()}
        home = tmp_path_factory.mktemp("airflow")
        with RealAirflow(home, DAGS, variables, postgres=conninfo) as airflow:
            yield tell(airflow, box, EventTables(airflow, path))


def tell(airflow: RealAirflow, box: Sandbox, tables: EventTables) -> Story:
    """Let a burst come in, and kill the triggerer in it."""
    airflow.until(lambda: len(tables.cursors()) == len(WATCHERS) + OF_OPT_OUTS, "every watcher to have begun")
    words = ["Yes", "no"] * (BURST // 2)
    burst = box.add_incoming((f"2782{each:07}", f"{word} to seat {each}") for each, word in enumerate(words))
    story = Story(tables, list(map(str, burst)))
    for count in KILLED_AT:
        airflow.until(lambda: len(set(tables.stored("every"))) >= count, f"{count} events", PATIENCE, 0.01)  # noqa: B023 - it is called at once
        airflow.kill("triggerer")
        story.note_kill()
        airflow.start("triggerer")
    for name in WATCHERS:
        airflow.until(lambda: set(story.told(name)) <= tables.taken(name), f"all of {name}", PATIENCE)  # noqa: B023 - as above
        airflow.until(lambda: set(story.told(name)) <= tables.remembered(name), f"cursor {name}", PATIENCE)  # noqa: B023 - as above
    for name in WATCHERS:
        stored = tables.stored(name)
        again = len(stored) - len(set(stored))
        _log.info("%s: %d stored in the end, %d of them again", name, len(stored), again)
    return story


def test_each_kill_came_in_the_middle_of_the_burst(story: Story) -> None:
    stored = [len(set(kill.stored)) for kill in story.kills["every"]]
    assert [count >= planned for count, planned in zip(stored, KILLED_AT, strict=True)] == [True] * 3
    assert max(stored) < BURST


@pytest.mark.parametrize("watcher", WATCHERS)
class TestABurst:
    def test_no_reply_is_lost_and_nothing_else_is_told(self, watcher: str, story: Story) -> None:
        assert set(story.tables.stored(watcher)) == set(story.told(watcher))

    def test_replies_are_told_in_the_order_in_which_they_came(self, watcher: str, story: Story) -> None:
        assert list(dict.fromkeys(story.tables.stored(watcher))) == story.told(watcher)

    def test_a_kill_repeats_only_what_was_in_flight(self, watcher: str, story: Story) -> None:
        for number, kill in enumerate(story.kills[watcher]):
            since = story.stored_since(watcher, number)
            repeated = set(since) & set(kill.stored)
            assert len(since) == len(set(since))
            assert repeated <= kill.in_flight
            assert len(kill.in_flight) <= REPEATED_AT_MOST

    def test_kills_repeat_no_more_than_the_page_says(self, watcher: str, story: Story) -> None:
        stored = story.tables.stored(watcher)
        assert len(stored) - len(set(stored)) <= REPEATED_AT_MOST * len(KILLED_AT)

    def test_the_cursor_has_the_whole_burst_in_the_end(self, watcher: str, story: Story) -> None:
        assert set(story.told(watcher)) <= story.tables.remembered(watcher)

    def test_runs_are_given_every_event_and_take_each_reply_in_once(self, watcher: str, story: Story) -> None:
        assert story.tables.given(watcher) == Counter(story.tables.stored(watcher))
        assert story.tables.taken(watcher) == set(story.told(watcher))
