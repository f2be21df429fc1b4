"""Many waits in one triggerer, which is killed among them, on a running Airflow over PostgreSQL.

There are 200 of them, and a thousand where proofs run whole: for each wait Airflow starts two processes,
which take a third of a second each. Everything is Airflow's own: each of the tasks is scheduled, is run by a
LocalExecutor in a process of its own through the Execution API, looks once, defers, is served by the
triggerer, and is resumed in another process. (The scheduler imports the provider before it forks, which
spares each task half a second.) Only the gateway is a sandbox, whose time stands still until the test moves
it on: half of the texts meet their fates one hour later, and the triggerer is killed when the first of them
are known; the others meet theirs when another triggerer has taken over.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import requests

from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.sandbox.server import Server
from scripts import warehouse
from tests.prove.real_airflow import RealAirflow, telltale
from tests.prove.whole import IS_WHOLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from airflow_provider_winsms.sandbox.admission import RawRequest
    from airflow_provider_winsms.sandbox.faults import Reply

pytestmark = [pytest.mark.airflow, pytest.mark.alone]

DAGS = Path(__file__).parent / "dags_waits"
PRELOAD = ("requests", "airflow_provider_winsms.hooks.winsms", "airflow_provider_winsms.sensors.sms")

SENSORS, OWN_IDS = (1000, 3) if IS_WHOLE else (200, 6)
"""Of sensors a multiple of 100; with so many ids that a tick takes more than one request."""

IDS_PER_REQUEST = 1000
TICK = 5.0
"""Seconds between two ticks, at the least."""

POKE_INTERVAL = 10.0
HOUR = 3600
PATIENCE = 900.0
"""Seconds that all tasks may take: a bound for a busy machine, not an expectation."""

KEY = "key-of-many-waits-5e0c7b"
TEXT = "Waterblommetjie stew is served from seven on"
NUMBERS = "27813570924"
"""What every number begins with; four digits follow."""

FAILS = "27000000011"
DELIVERED = "27000000010"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Poll:
    """One status request: when it came, in seconds of a monotonic clock, and the ids it asked for."""

    at: float
    ids: tuple[int, ...]


class Gateway:
    """A sandbox with two doors, one for the workers and one for the triggerer, at which polls are noted."""

    def __init__(self) -> None:
        self.box = Sandbox(api_key=KEY, speed=0, seed=7)
        self.polls: dict[str, list[Poll]] = {"workers": [], "triggerer": []}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.box)
        self._doors = {name: self._opened(name) for name in self.polls}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _opened(self, name: str) -> Server:
        server = Server(("127.0.0.1", 0), partial(self._answer, name))
        server.start()
        self._stack.callback(server.stop)
        return server

    def _answer(self, door: str, request: RawRequest) -> Reply:
        if request.path.endswith("/status"):
            self.polls[door].append(Poll(time.monotonic(), tuple(json.loads(request.body))))
        return self.box.answer(request)

    def connection(self, door: str) -> dict[str, str]:
        """Return the variable that leads a component to a door."""
        url = self.box.base_url.replace(f":{self.box.port}/", f":{self._doors[door].server_port}/")
        connection = {"conn_type": "winsms", "host": url, "password": KEY}
        return {"AIRFLOW_CONN_WINSMS_DEFAULT": json.dumps(connection)}

    def send(self, numbers: Sequence[str], *, hours: int) -> list[int]:
        """Have texts accepted that go out in so many hours, and return their ids."""
        send_at = f"{self.box.now() + timedelta(hours=hours):%Y%m%d%H%M}"
        ids = []
        for first in range(0, len(numbers), IDS_PER_REQUEST):
            recipients = [{"mobileNumber": number} for number in numbers[first : first + IDS_PER_REQUEST]]
            answer = requests.post(
                f"{self.box.base_url}/sms/outgoing/send",
                json={"message": TEXT, "recipients": recipients, "scheduledTime": send_at},
                headers={"AUTHORIZATION": KEY},
                timeout=60,
            )
            answer.raise_for_status()
            ids += [row["apiMessageId"] for row in answer.json()["recipients"]]
        return ids


def fated_to_fail(sensor: int) -> bool:
    """Tell whether all texts of a sensor's own fail."""
    return sensor % 100 == 99


def sent(gateway: Gateway) -> list[list[int]]:
    """Have every text accepted, and return the ids for each sensor: some of its own, and one for all.

    The texts of one half of the sensors go out in an hour, the others' in three.
    """
    numbers = [
        FAILS if fated_to_fail(number // OWN_IDS) else f"{NUMBERS}{number:04}"
        for number in range(SENSORS * OWN_IDS)
    ]
    middle = len(numbers) // 2
    (shared,) = gateway.send([DELIVERED], hours=1)
    own = gateway.send(numbers[:middle], hours=1) + gateway.send(numbers[middle:], hours=3)
    return [[*own[first : first + OWN_IDS], shared] for first in range(0, len(own), OWN_IDS)]


def halves() -> tuple[range, range]:
    """Return the sensors whose texts meet their fates first, and the others."""
    return range(SENSORS // 2), range(SENSORS // 2, SENSORS)


@dataclass
class Story:
    """What was seen of the waits, from their start to their end.

    :param message_ids: of each sensor.
    :param moments: seconds of a monotonic clock.
    :param meanwhile: the whole database while all were deferred.
    """

    airflow: RealAirflow
    gateway: Gateway
    message_ids: list[list[int]]
    moments: dict[str, float] = field(default_factory=dict)
    resumed_at_the_kill: int = 0
    meanwhile: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def note(self, moment: str) -> None:
        """Note that it is that moment now."""
        self.moments[moment] = time.monotonic()
        passed = self.moments[moment] - next(iter(self.moments.values()))
        _log.info("%6.1f s: %s; %d polls", passed, moment, len(self.gateway.polls["triggerer"]))

    def until(self, condition: Any, what: str) -> None:
        """Wait until something is so."""
        self.airflow.until(condition, what, PATIENCE)

    def states(self) -> Counter[str]:
        """Return how many tasks are in which state."""
        found = self.airflow.query("SELECT state, count(*) AS count FROM task_instance GROUP BY state")
        return Counter({str(row["state"]): row["count"] for row in found})

    def resumed(self) -> int:
        """Return how many tasks are no longer deferred."""
        return SENSORS - self.states()["deferred"]

    def have_ended(self) -> bool:
        """Tell whether every task and every trigger has."""
        states = self.states()
        return states["success"] + states["failed"] == SENSORS and not self.airflow.rows("trigger")

    def asked_since(self, moment: str) -> set[int]:
        """Return the ids that the triggerer has asked for since a moment."""
        begin = self.moments[moment]
        return {key for poll in list(self.gateway.polls["triggerer"]) if poll.at >= begin for key in poll.ids}

    def ids_of(self, sensors: Iterable[int]) -> set[int]:
        """Return all ids that some sensors wait for."""
        return {key for sensor in sensors for key in self.message_ids[sensor]}

    @property
    def shared_id(self) -> int:
        """The id that every sensor waits for, each by a schedule of its own."""
        return self.message_ids[0][-1]

    @cached_property
    def ticks(self) -> list[list[Poll]]:
        """The polls of the triggerers, tick by tick; one ends at the kill."""
        ticks: list[list[Poll]] = []
        last = float("-inf")
        for poll in self.polls:
            if poll.at - last >= TICK * 0.9 or self.was_killed_between(last, poll.at):
                ticks.append([])
            ticks[-1].append(poll)
            last = poll.at
        return ticks

    @cached_property
    def polls(self) -> list[Poll]:
        """The polls of the triggerers, from the first to the last."""
        return sorted(self.gateway.polls["triggerer"], key=lambda poll: poll.at)

    @cached_property
    def asked_at(self) -> dict[int, list[float]]:
        """When the triggerers asked for an id."""
        times: dict[int, list[float]] = {}
        for poll in self.polls:
            for key in poll.ids:
                times.setdefault(key, []).append(poll.at)
        return times

    def was_killed_between(self, early: float, late: float) -> bool:
        """Tell whether the triggerer was, so that what came late was another one's."""
        return early < self.moments["triggerer killed"] <= late

    @cached_property
    def tasks(self) -> dict[int, dict[str, Any]]:
        """The row of each task, by the number of its sensor."""
        return {row["map_index"]: row for row in self.airflow.rows("task_instance")}

    @cached_property
    def fates(self) -> dict[int, str]:
        """What became of each text, by its id."""
        return {row["apiMessageId"]: row["status"].lower() for row in self.gateway.box.outbox()}

    def fates_of(self, sensor: int) -> dict[str, int]:
        """Return how many texts of a sensor met which fate."""
        return dict(Counter(self.fates[key] for key in self.message_ids[sensor]))

    def is_enough(self, sensor: int) -> bool:
        """Tell whether half of a sensor's texts were delivered."""
        return self.fates_of(sensor).get("delivered", 0) >= (OWN_IDS + 1) / 2


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as opened:
        yield opened


@pytest.fixture(scope="module")
def story(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    message_ids = sent(gateway)
    variables = gateway.connection("workers") | {
        "WINSMS_WAITS": json.dumps(message_ids),
        "AIRFLOW__CORE__PARALLELISM": "12",
        "AIRFLOW__SCHEDULER__MAX_TIS_PER_QUERY": "64",
    }
    with (
        warehouse.postgres(tmp_path_factory.mktemp("postgres")) as conninfo,
        RealAirflow(
            tmp_path_factory.mktemp("airflow"),
            DAGS,
            variables,
            postgres=conninfo,
            of_component={"triggerer": gateway.connection("triggerer")},
            preload=PRELOAD,
        ) as airflow,
    ):
        told = Story(airflow, gateway, message_ids)
        live(told)
        yield told


def live(story: Story) -> None:
    """Have the waits begin, outlive a triggerer, and end."""
    first, second = halves()
    story.note("begun")
    story.airflow.run("waits")
    story.until(lambda: story.states()["deferred"] == SENSORS, "all waits to be deferred")
    story.note("all deferred")
    everything = story.ids_of(range(SENSORS))
    story.until(lambda: story.asked_since("all deferred") >= everything, "every text to be asked for")
    story.meanwhile = story.airflow.tables()
    story.note("every text asked for")
    story.gateway.box.advance(HOUR + HOUR / 2)
    story.note("first fates met")
    story.until(story.resumed, "the first waits to be resumed")
    story.airflow.kill("triggerer")
    story.note("triggerer killed")
    story.resumed_at_the_kill = story.resumed()
    story.airflow.start("triggerer")
    later = story.ids_of(second) - story.ids_of(first)
    story.until(lambda: story.asked_since("triggerer killed") >= later, "every late text to be asked for")
    story.gateway.box.advance(2 * HOUR)
    story.note("last fates met")
    story.until(story.have_ended, "all waits to end")
    story.note("all ended")


class TestOutcomes:
    def test_the_waits_were_all_deferred_at_once(self, story: Story) -> None:
        triggers = story.meanwhile["trigger"]
        assert len(triggers) == SENSORS
        assert {row["classpath"] for row in triggers} == {
            "airflow_provider_winsms.triggers.sms.SmsDeliveryTrigger"
        }

    def test_each_wait_ends_as_its_texts_did(self, story: Story) -> None:
        expected = {sensor: "success" if story.is_enough(sensor) else "failed" for sensor in range(SENSORS)}
        assert {sensor: row["state"] for sensor, row in story.tasks.items()} == expected

    def test_each_success_counts_its_texts(self, story: Story) -> None:
        counts = {
            row["map_index"]: row["value"]
            for row in story.airflow.rows("xcom")
            if row["key"] == "return_value"
        }
        assert {sensor: counted["states"] for sensor, counted in counts.items()} == {
            sensor: story.fates_of(sensor) for sensor in range(SENSORS) if story.is_enough(sensor)
        }
        assert {counted["total"] for counted in counts.values()} == {OWN_IDS + 1}

    def test_texts_failed_in_waits_of_both_ends(self, story: Story) -> None:
        failed = {sensor for sensor in range(SENSORS) if "failed" in story.fates_of(sensor)}
        enough = {sensor for sensor in range(SENSORS) if story.is_enough(sensor)}
        assert set(filter(fated_to_fail, range(SENSORS))) <= failed - enough
        assert len(failed & enough) > SENSORS / 20

    def test_a_wait_that_fails_says_why(self, story: Story) -> None:
        (log,) = story.airflow.home.glob("logs/**/task_id=wait/map_index=99/attempt=1.log")
        assert "Too few texts arrived" in log.read_text(encoding="utf-8")


class TestOnceEach:
    def test_each_task_ran_resumed_and_ended_once(self, story: Story) -> None:
        events: dict[int, list[str]] = {sensor: [] for sensor in range(SENSORS)}
        for row in sorted(story.airflow.rows("log"), key=lambda row: int(row["id"])):
            if row["task_id"] == "wait":
                events[row["map_index"]].append(row["event"])
        assert events == {
            sensor: ["running", "deferred", "running", story.tasks[sensor]["state"]]
            for sensor in range(SENSORS)
        }

    def test_each_took_one_try(self, story: Story) -> None:
        assert {row["try_number"] for row in story.tasks.values()} == {1}
        assert story.airflow.rows("task_instance_history") == []

    def test_no_trigger_is_left(self, story: Story) -> None:
        assert story.airflow.rows("trigger") == []

    def test_the_triggerer_was_killed_between_outcomes(self, story: Story) -> None:
        assert 0 < story.resumed_at_the_kill <= SENSORS / 2


class TestPolls:
    def test_every_tick_asks_in_as_few_requests_as_there_can_be(self, story: Story) -> None:
        assert [len(tick) for tick in story.ticks] == [
            -(-len({key for poll in tick for key in poll.ids}) // IDS_PER_REQUEST) for tick in story.ticks
        ]

    def test_no_id_is_asked_for_twice_in_a_tick(self, story: Story) -> None:
        for tick in story.ticks:
            asked = Counter(key for poll in tick for key in poll.ids)
            assert max(asked.values()) == 1

    def test_ticks_keep_their_distance(self, story: Story) -> None:
        starts = [tick[0].at for tick in story.ticks]
        pauses = [b - a for a, b in pairwise(starts) if not story.was_killed_between(a, b)]
        assert min(pauses) >= TICK * 0.99

    def test_a_text_is_asked_for_no_more_often_than_its_wait_says(self, story: Story) -> None:
        pauses = [
            b - a
            for key, times in story.asked_at.items()
            for a, b in pairwise(times)
            if key != story.shared_id and not story.was_killed_between(a, b)
        ]
        # A request may be longer on its way than the next one.
        assert min(pauses) >= POKE_INTERVAL * 0.8

    def test_a_text_whose_fate_is_known_is_not_asked_for_again(self, story: Story) -> None:
        first, second = halves()
        early, late = story.ids_of(first), story.ids_of(second) - story.ids_of(first)
        known = dict.fromkeys(early - {story.shared_id}, story.moments["first fates met"])
        known |= dict.fromkeys(late, story.moments["last fates met"])
        for key, moment in known.items():
            times = [at for at in story.asked_at[key] if at >= moment]
            assert len(times) <= 1 or (len(times) == 2 and story.was_killed_between(*times))

    def test_there_are_far_fewer_than_waits(self, story: Story) -> None:
        sizes = Counter(map(len, story.ticks))
        _log.info("%d polls in %d ticks, by size: %s", len(story.polls), len(story.ticks), dict(sizes))
        assert len(story.polls) < SENSORS / 2

    def test_the_sandbox_counted_the_same(self, story: Story) -> None:
        counted = [row for row in story.gateway.box.requests() if row["operation"] == "smsStatus"]
        polls = story.gateway.polls
        assert len(polls["workers"]) == SENSORS
        assert len(counted) == len(polls["workers"]) + len(polls["triggerer"])
        assert {row["status"] for row in counted} == {200}


@pytest.fixture(scope="module")
def left_behind(story: Story) -> dict[str, str]:
    """Return all that Airflow kept, by the place where it did: every log, and every row, then and now."""
    files = {
        str(file.relative_to(story.airflow.home)): file.read_text(encoding="utf-8", errors="replace")
        for file in story.airflow.home.rglob("*")
        if file.is_file()
    }
    moments = {"the end": story.airflow.tables(), "the wait": story.meanwhile}
    return files | {
        f"{table}.{column} at {moment}": "\n".join(as_text(row[column]) for row in rows)
        for moment, tables in moments.items()
        for table, rows in tables.items()
        for column in (rows[0] if rows else ())
    }


def as_text(value: object) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, (bytes, memoryview)) else str(value)


class TestNothingPersonalIsLeftBehind:
    @pytest.mark.parametrize(
        "secret", [KEY, TEXT[:20], TEXT[12:32], NUMBERS[2:], telltale(FAILS), telltale(DELIVERED)]
    )
    def test_no_key_text_or_number(self, left_behind: dict[str, str], secret: str) -> None:
        assert [place for place, text in left_behind.items() if secret in text] == []

    def test_the_search_looks_where_such_things_would_be(
        self, left_behind: dict[str, str], story: Story
    ) -> None:
        message_id = re.compile(rf"\b{story.message_ids[0][0]}\b")
        places = {place for place, text in left_behind.items() if message_id.search(text)}
        assert "rendered_task_instance_fields.rendered_fields at the end" in places
        assert "winsms_default" in left_behind["trigger.kwargs at the wait"]
        assert any(place.startswith("components/triggerer") for place in left_behind)
        assert any(place.endswith(".log") and ".trigger." in place for place in left_behind)
