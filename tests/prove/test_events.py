"""Replies start DAGs, on a running Airflow: its scheduler, DAG processor, workers and triggerer.

The triggerer is killed twice: at rest, so that replies come in while it is down, and at the moment when an
event of its appears in the database. The DAGs are those of ``dags_events``, and the example of a reply that
confirms an appointment.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sandbox import Sandbox
from scripts.run_examples import EXAMPLES
from tests.prove.event_tables import EventTables, create_warehouse
from tests.prove.real_airflow import RealAirflow, telltale
from tests.support.task_runner import TaskRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.airflow

DAGS = Path(__file__).parent / "dags_events"
EXAMPLE = "example_sms_reply_confirms"
PRELOAD = ("requests", "airflow_provider_winsms.hooks.winsms", "airflow_provider_winsms.operators.sms")
KEY = "key-of-the-events-5e0c7b"
PATIENT, PASSER_BY, STOPPER, BY_HAND = "27825550301", "27825550302", "27825550303", "27825550304"
REMINDER = "The plover clinic expects you at nine"
WATCHERS = 4
TEXTS = {
    "first": (PASSER_BY, "Yes, two seats by the baobab"),
    "same minute": (PASSER_BY, "no seats after all, says Quagga"),
    "while down": (PASSER_BY, "YES! Three by the window, Quagga"),
    "at the kill": (PASSER_BY, "yes and a cushion for Quagga"),
    "confirms": (PATIENT, "Yes thank you, Dr Oribi"),
}


class Story:
    """What happened, and what was there in the end."""

    def __init__(self, airflow: RealAirflow, box: Sandbox, warehouse: Path) -> None:
        self.airflow = airflow
        self.box = box
        self.tables = EventTables(airflow, warehouse)
        self.ids: dict[str, str] = {}
        self.quiet_requests: Counter[str] = Counter()
        self.down = False

    def reply(self, name: str) -> None:
        """Let a phone reply."""
        self.ids[name] = str(self.box.incoming(*TEXTS[name]))

    def until_stored(self, *names: str) -> None:
        """Wait until the events of replies are in Airflow's database."""
        keys = {self.ids[name] for name in names}
        self.airflow.until(lambda: keys <= set(self.stored("every")), f"events of {names}")

    def until_remembered(self, *names: str) -> None:
        """Wait until replies are in the cursor of the watcher of all of them."""
        self.airflow.until(
            lambda: {self.ids[name] for name in names} <= self.tables.remembered("every"), f"cursor {names}"
        )

    def stored(self, dag_id: str) -> Counter[str]:
        """Return how often Airflow stored which event."""
        return Counter(self.tables.stored(dag_id))

    def asked(self) -> Counter[str]:
        """Return how often the gateway was asked for what."""
        return Counter(row["operation"] for row in self.box.requests())


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    warehouse = tmp_path_factory.mktemp("warehouse") / "warehouse.db"
    with Sandbox(api_key=KEY, speed=0, seed=7) as box:
        connections = {
            "winsms_default": {"conn_type": "winsms", "host": box.base_url, "password": KEY},
            "warehouse": {"conn_type": "sqlite", "host": str(warehouse)},
        }
        remind(connections, warehouse)
        variables = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()}
        home = tmp_path_factory.mktemp("airflow")
        folder = dags(tmp_path_factory.mktemp("dags"))
        with RealAirflow(home, folder, variables, preload=PRELOAD) as airflow:
            told = Story(airflow, box, warehouse)
            tell(told)
            yield told


def dags(folder: Path) -> Path:
    """Return a folder with the DAGs of the proof and the example, which asks each second."""
    shutil.copytree(DAGS, folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    example = (EXAMPLES / f"{EXAMPLE}.py").read_text()
    hasty = example.replace('keywords=["YES"]', 'keywords=["YES"], poll_interval=1')
    assert hasty != example
    (folder / "dags" / f"{EXAMPLE}.py").write_text(hasty)
    return folder / "dags"


def remind(connections: dict[str, Any], warehouse: Path) -> None:
    """Send a reminder, as another DAG would, and note its appointment."""
    sender = TaskRunner(connections)
    send = SmsSendOperator(task_id="remind", text=REMINDER, to=PATIENT, ledger_conn_id="warehouse")
    assert sender.run(send).error is None
    create_warehouse(warehouse)
    with closing(sqlite3.connect(warehouse)) as database, database:
        database.execute("CREATE TABLE appointments (reminder_id VARCHAR(64) PRIMARY KEY, confirmed INTEGER)")
        (reminder,) = sender.result["message_ids"]
        database.execute("INSERT INTO appointments VALUES (?, 0)", [str(reminder)])


def tell(story: Story) -> None:
    airflow = story.airflow
    airflow.until(lambda: len(story.tables.cursors()) == WATCHERS, "every watcher to have begun")
    story.reply("first")
    story.reply("same minute")
    story.until_remembered("first", "same minute")
    airflow.kill("triggerer")
    story.reply("while down")
    airflow.start("triggerer")
    story.until_remembered("while down")
    story.reply("at the kill")
    story.until_stored("at the kill")
    airflow.kill("triggerer")
    story.ids["stops"] = str(story.box.incoming(STOPPER, "STOP"))
    story.box.opt_out(BY_HAND)
    story.reply("confirms")
    airflow.start("triggerer")
    airflow.until(
        lambda: set(story.ids.values()) <= story.tables.taken("every"), "the replies to be taken in"
    )
    airflow.until(lambda: len(story.tables.taken("gone")) == 2, "the opt-outs to be taken in")
    airflow.until(lambda: thanked(story), "the patient to be thanked")
    count_requests(story)


def thanked(story: Story) -> bool:
    return any("Thank you" in row["message"] for row in story.box.outbox())


def count_requests(story: Story) -> None:
    """Count the requests of some seconds in which nothing happens."""
    before = story.asked()

    def enough() -> bool:
        story.quiet_requests = story.asked() - before
        return story.quiet_requests["getIncomingMessages"] + story.quiet_requests["getOptoutMessages"] >= 12

    story.airflow.until(enough, "some polls")


class TestAReply:
    def test_each_starts_its_dag_and_is_taken_in_once(self, story: Story) -> None:
        assert story.tables.taken("every") == set(story.ids.values())

    def test_two_of_the_same_minute_and_number_are_two_events(self, story: Story) -> None:
        stored = story.stored("every")
        assert stored[story.ids["first"]] == stored[story.ids["same minute"]] == 1

    def test_one_that_comes_while_the_triggerer_is_down_is_one_event_when_it_is_back(
        self, story: Story
    ) -> None:
        assert story.stored("every")[story.ids["while down"]] == 1

    def test_an_event_is_repeated_at_most_where_the_triggerer_died_with_it(self, story: Story) -> None:
        stored = story.stored("every")
        assert stored.pop(story.ids["at the kill"]) in {1, 2}
        assert set(stored.values()) == {1}

    def test_what_airflow_stored_it_gave_to_runs_and_a_repeat_was_taken_in_once(self, story: Story) -> None:
        assert story.tables.given("every") == story.stored("every")

    def test_the_queue_of_common_messaging_tells_those_that_match(self, story: Story) -> None:
        assert story.tables.taken("yes_by_queue") == {
            story.ids[name] for name in ("first", "while down", "at the kill", "confirms")
        }

    def test_the_example_confirms_the_appointment_and_thanks_once(self, story: Story) -> None:
        assert story.tables.found("SELECT confirmed FROM appointments") == [(1,)]
        thanks = [row["mobileNumber"] for row in story.box.outbox() if "Thank you" in row["message"]]
        assert thanks == [PATIENT]


class TestAnOptOut:
    def test_each_is_one_event_also_one_made_by_hand(self, story: Story) -> None:
        assert set(story.stored("gone").values()) == {1}
        assert len(story.stored("gone")) == 2


class TestThePoll:
    def test_three_watchers_of_one_list_share_it(self, story: Story) -> None:
        incoming, opt_outs = (
            story.quiet_requests[name] for name in ("getIncomingMessages", "getOptoutMessages")
        )
        assert abs(incoming - opt_outs) <= 2


class TestNothingPersonalIsLeftBehind:
    @pytest.mark.parametrize(
        "secret",
        [
            KEY,
            *map(telltale, (PATIENT, PASSER_BY, STOPPER, BY_HAND)),
            "Quagga",
            "Oribi",
            "plover",
        ],
    )
    def test_in_the_database_and_in_no_file(self, story: Story, secret: str) -> None:
        files = [
            str(file)
            for file in story.airflow.home.rglob("*")
            if file.is_file() and secret.encode() in file.read_bytes()
        ]
        assert files == []
        assert secret not in json.dumps(story.airflow.tables(), default=str)

    def test_the_search_looks_where_such_things_would_be(self, story: Story) -> None:
        key = story.ids["first"]
        assert key in json.dumps(story.airflow.rows("asset_event"), default=str)
        assert key in json.dumps(story.airflow.rows("asset_state_store"), default=str)
        logs = "\n".join(
            file.read_text() for file in (story.airflow.home / "components").glob("triggerer.log")
        )
        assert key in logs
