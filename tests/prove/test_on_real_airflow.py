"""What the package promises, proved on a running Airflow: its scheduler, its workers, its triggerer.

Each claim has a DAG (``dags/``), a connection and a sandbox of its own. The sandboxes' clocks stand still
until a test moves them on, so that nothing depends on how fast this machine is.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.gateways.winsms.connection import BASE_URL
from airflow_provider_winsms.sandbox import Sandbox
from tests.prove.real_airflow import RealAirflow, telltale

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.prove.real_airflow import Run

pytestmark = pytest.mark.airflow

DAGS = Path(__file__).parent / "dags"

CLAIM = """
import json, sys, uuid
import httpx
from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI
with httpx.Client(transport=InProcessExecutionAPI().transport, base_url="http://in-process") as client:
    paths = [f"/store/ti/{uuid.UUID(task)}/claim" for task in sys.argv[1:]]
    claims = [client.put(path, json={"value": "mine"}) for path in paths]
print(json.dumps([claim.status_code for claim in claims]))
"""
"""Has each of some task instances, by its id, claim something in its task state store."""

ON_CALL, LATE_TEXT = "27825550299", "the distillery does not answer"
HOUR = 3600
"""Seconds in which every text meets its fate, scheduled ones too."""

SAID: dict[str, dict[str, Any]] = {
    "delivered": {
        "text": "Marula harvest begins on Thursday at the north gate",
        "to": ["27825550110", "+27 82 555 0111", "(082) 555-0112", "27825550113", "27 82 555 0113"],
        "messages": [
            {"text": "Baobab tour leaves at nine, bring water", "to": ["27825550114", "27825550115"]},
            {"text": "Fever tree walk is full, next one in May", "to": "27825550116, 0825550117"},
        ],
    },
    "sends_and_waits": {"text": "Marigold seeds are back in stock", "to": ["27825550210", "27825550211"]},
    "undelivered": {"text": "Quiver tree talk moved to hall seven", "to": ["27000000011", "27000000012"]},
    "key_withdrawn": {"text": "Spekboom cuttings are ready for you", "to": ["27825550130"]},
    "triggerer_killed": {"text": "Rooibos tasting starts at sundown", "to": ["27825550140", "27825550141"]},
    "wrong_key": {},
    "answer_lost": {"text": "Yellowwood planks arrive on Monday", "to": ["27825550150", "27825550151"]},
    "worker_killed": {"text": "Aloe nursery closes early today", "to": ["27825550160", "27825550161"]},
    "worker_killed_held": {
        "text": "Bees of the fynbos, a walk at six",
        "to": ["27825550190", "27825550191"],
    },
    "cleared": {"text": "Karoo lamb is on the table tonight", "to": ["27825550200"]},
    "refused": {
        "text": "Protea show opens at ten",
        "to": ["27825550170", "2782555017O"],
        "messages": [{"text": "Jacaranda street is closed \N{JACK-O-LANTERN}", "to": "27825550171"}],
    },
    "late": {"text": "Buchu oil is distilled this evening", "to": ["27825550220"]},
    "fails": {},
    "replies": {"text": "Honeybush for two please, at noon", "to": ["27825550180"]},
}
"""What is sent to whom, by DAG; in ``replies``, by whom."""

KEYS = {dag_id: f"key-of-{dag_id}-5e0c7b" for dag_id in SAID} | {"withdrawn": "key-from-now-on-5e0c7b"}
SPEEDS = {"worker_killed_held": 1}
"""Of the clocks that must go with the time of the tasks, as texts are scheduled and looked up there."""

TIMEOUTS = {dag_id: {"connect_timeout": 1, "read_timeout": 20} for dag_id in ("worker_killed", "cleared")}
"""Of connections: a try waits so long for the answer of a try before it, which may still be at it."""

REFUSED_KEY = "key-that-is-refused-5e0c7b"
HASH_SECRET = "secret-of-the-hashes-5e0c7b"  # noqa: S105 - a test's own
SHOWN = {
    "conn_type": "winsms",
    "password": "key-that-is-shown-5e0c7b",
    "extra": {"hash_secret": "secret-that-is-shown-5e0c7b"},
}
"""A connection that a task prints. Airflow hides it in the task's log, but not in its own console."""


@pytest.fixture(scope="module")
def boxes() -> Iterator[dict[str, Sandbox]]:
    with ExitStack() as opened:
        yield {
            dag_id: opened.enter_context(Sandbox(api_key=KEYS[dag_id], speed=SPEEDS.get(dag_id, 0), seed=7))
            for dag_id in SAID
        }


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warehouse") / "warehouse.db"


@pytest.fixture(scope="module")
def airflow(
    boxes: dict[str, Sandbox], warehouse: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealAirflow]:
    variables = {connection_variable(dag_id): connection(dag_id, box) for dag_id, box in boxes.items()}
    variables["AIRFLOW_CONN_WAREHOUSE"] = json.dumps({"conn_type": "sqlite", "host": str(warehouse)})
    variables["AIRFLOW_CONN_WINSMS_SHOWN"] = json.dumps(SHOWN)
    variables["WINSMS_PROOF"] = json.dumps(SAID)
    variables["AIRFLOW_VAR_ON_CALL"] = ON_CALL
    variables["AIRFLOW_VAR_LATE_TEXT"] = LATE_TEXT
    with RealAirflow(tmp_path_factory.mktemp("airflow"), DAGS, variables) as running:
        yield running


def connection_variable(dag_id: str) -> str:
    return f"AIRFLOW_CONN_WINSMS_{'DEFAULT' if dag_id == 'delivered' else dag_id.upper()}"


def connection(dag_id: str, box: Sandbox) -> str:
    key = REFUSED_KEY if dag_id == "wrong_key" else box.api_key
    extra = {"hash_secret": HASH_SECRET, **TIMEOUTS.get(dag_id, {})}
    return json.dumps({"conn_type": "winsms", "host": box.base_url, "password": key, "extra": extra})


class Story:
    """A DAG run that has ended, and the whole database as it was while the run was deferred."""

    def __init__(self, run: Run, box: Sandbox) -> None:
        self.run = run
        self.box = box
        self.states: dict[str, str] = {}
        self.meanwhile: dict[str, list[dict[str, Any]]] = {}
        self.first_result: dict[str, Any] = {}

    def sent_to(self) -> list[str]:
        return sorted(row["mobileNumber"] for row in self.box.outbox())

    def requests(self, operation: str) -> list[dict[str, Any]]:
        return [row for row in self.box.requests() if row["operation"] == operation]

    def waits(self) -> list[dict[str, Any]]:
        """Return the triggers of this run's wait, as they stood in the database while it was deferred."""
        return [row for row in self.meanwhile["trigger"] if row["id"] == self.trigger_id]

    def take_note(self) -> None:
        """Wait for the wait to be deferred, and note the database."""
        self.run.until("wait", "deferred")
        self.trigger_id = self.run.row("wait")["trigger_id"]
        self.meanwhile = self.run.airflow.tables()


def begun(airflow: RealAirflow, boxes: Mapping[str, Sandbox], dag_id: str) -> Story:
    return Story(airflow.run(dag_id), boxes[dag_id])


@pytest.fixture(scope="module")
def delivered(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    story = begun(airflow, boxes, "delivered")
    story.take_note()
    story.box.advance(HOUR)
    story.states = story.run.until_ended("send", "send_many", "wait", "read")
    return story


@pytest.fixture(scope="module")
def sends_and_waits(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    boxes["sends_and_waits"].set_account(credit_balance=2000)
    story = begun(airflow, boxes, "sends_and_waits")
    story.take_note()
    story.box.advance(HOUR)
    story.states = story.run.until_ended("wait")
    return story


@pytest.fixture(scope="module")
def undelivered(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    story = begun(airflow, boxes, "undelivered")
    story.take_note()
    story.box.advance(HOUR)
    story.states = story.run.until_ended("send", "wait")
    return story


@pytest.fixture(scope="module")
def key_withdrawn(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    story = begun(airflow, boxes, "key_withdrawn")
    story.take_note()
    story.box.api_key = KEYS["withdrawn"]
    story.states = story.run.until_ended("send", "wait")
    return story


@pytest.fixture(scope="module")
def triggerer_killed(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    story = begun(airflow, boxes, "triggerer_killed")
    story.take_note()
    polls = len(story.requests("smsStatus"))
    airflow.until(lambda: len(story.requests("smsStatus")) > polls, "the triggerer to poll")
    airflow.kill("triggerer")
    story.box.advance(HOUR)
    airflow.start("triggerer")
    story.states = story.run.until_ended("send", "wait", "read")
    return story


@pytest.fixture(scope="module")
def wrong_key(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    story = begun(airflow, boxes, "wrong_key")
    story.states = story.run.until_ended("wait")
    return story


@pytest.fixture(scope="module")
def answer_lost(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    boxes["answer_lost"].add_fault("lost-after-acceptance", operation="smsSend")
    story = begun(airflow, boxes, "answer_lost")
    story.states = story.run.until_ended("send")
    return story


@pytest.fixture(scope="module")
def worker_killed(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    boxes["worker_killed"].add_fault("latency", operation="smsSend", seconds=HOUR)
    story = begun(airflow, boxes, "worker_killed")
    airflow.until(story.sent_to, "the gateway to accept the texts")
    os.kill(story.run.row("send")["pid"], signal.SIGKILL)
    story.states = story.run.until_ended("send")
    return story


@pytest.fixture(scope="module")
def worker_killed_held(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    boxes["worker_killed_held"].add_fault("latency", operation="smsSend", seconds=HOUR, times=1)
    story = begun(airflow, boxes, "worker_killed_held")
    airflow.until(story.sent_to, "the gateway to accept the texts")
    os.kill(story.run.row("send")["pid"], signal.SIGKILL)
    story.states = story.run.until_ended("send")
    return story


@pytest.fixture(scope="module")
def cleared(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    story = begun(airflow, boxes, "cleared")
    story.run.until_ended("send")
    story.first_result = story.run.xcom("send")
    story.run.clear("send")
    airflow.until(lambda: story.run.task("send")["try_number"] == 2, "the cleared task to be tried again")
    story.states = story.run.until_ended("send")
    return story


@pytest.fixture(scope="module")
def refused(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    story = begun(airflow, boxes, "refused")
    story.states = story.run.until_ended("send", "send_many")
    return story


@pytest.fixture(scope="module")
def late(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    story = begun(airflow, boxes, "late")
    story.take_note()
    airflow.until(lambda: ON_CALL in story.sent_to(), "the deadline's text")
    story.box.advance(HOUR)
    story.states = story.run.until_ended("send", "wait")
    return story


@pytest.fixture(scope="module")
def replies(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> Story:
    said = SAID["replies"]
    boxes["replies"].incoming(said["to"][0], said["text"])
    story = begun(airflow, boxes, "replies")
    story.states = story.run.until_ended("load")
    return story


class TestDelivery:
    def test_a_wait_is_deferred_and_resumed_by_the_triggerer(self, delivered: Story) -> None:
        assert delivered.states == dict.fromkeys(("send", "send_many", "wait", "read"), "success")
        (trigger,) = delivered.waits()
        assert trigger["classpath"] == "airflow_provider_winsms.triggers.sms.SmsDeliveryTrigger"
        assert "fired event" in delivered.run.log("wait")

    def test_a_later_task_reads_how_many_arrived(self, delivered: Story) -> None:
        fates = Counter(row["status"].lower() for row in delivered.box.outbox())
        counts = delivered.run.xcom("read")
        assert counts["total"] == 8
        assert counts["delivered"] == fates["delivered"] > 0
        assert counts["states"] == dict(fates)

    def test_everyone_is_texted_once(self, delivered: Story) -> None:
        assert delivered.sent_to() == [f"278255501{tens}" for tens in range(10, 18)]
        assert delivered.run.xcom("send")["duplicates"] == 1

    def test_each_task_takes_one_try(self, delivered: Story) -> None:
        assert {delivered.run.task(task_id)["try_number"] for task_id in delivered.states} == {1}


class TestASendThatWaits:
    def test_it_sends_and_goes_on_when_the_texts_have_met_their_fates(self, sends_and_waits: Story) -> None:
        assert sends_and_waits.states == {"wait": "success"}
        fates = Counter(row["status"].lower() for row in sends_and_waits.box.outbox())
        result = sends_and_waits.run.xcom("wait")
        assert result["accepted"] == 1102
        assert result["delivery"]["states"] == dict(fates)

    def test_it_sends_once(self, sends_and_waits: Story) -> None:
        assert len(sends_and_waits.requests("smsSend")) == 2
        assert sends_and_waits.run.task("wait")["try_number"] == 1

    def test_the_triggerer_finds_the_ids_in_an_xcom(self, sends_and_waits: Story) -> None:
        (trigger,) = sends_and_waits.waits()
        assert "partial_result" in trigger["kwargs"]
        assert len(trigger["kwargs"]) < 2000


class TestAWaitThatFails:
    def test_texts_that_fail_fail_the_wait_through_the_triggerer(self, undelivered: Story) -> None:
        assert undelivered.states == {"send": "success", "wait": "failed"}
        assert undelivered.waits()
        log = undelivered.run.log("wait")
        assert "DeliveryFailed" in log
        assert "0 of 2 texts delivered, 2 needed (1 failed, 1 not_sent)" in log

    def test_it_is_not_tried_again(self, undelivered: Story) -> None:
        assert undelivered.run.task("wait")["try_number"] == 1

    def test_a_wrong_key_ends_it_at_once(self, wrong_key: Story) -> None:
        assert wrong_key.states == {"wait": "failed"}
        assert wrong_key.run.task("wait")["try_number"] == 1
        assert [row["status"] for row in wrong_key.requests("smsStatus")] == [401]
        assert "Check the API key" in wrong_key.run.log("wait")

    def test_a_key_that_is_withdrawn_ends_it_in_the_triggerer(self, key_withdrawn: Story) -> None:
        assert key_withdrawn.states == {"send": "success", "wait": "failed"}
        assert key_withdrawn.run.task("wait")["try_number"] == 1
        assert [row["status"] for row in key_withdrawn.requests("smsStatus")] == [200, 401]
        assert "ConfigurationError" in key_withdrawn.run.log("wait")


class TestAtMostOnce:
    def test_a_send_whose_answer_is_lost_is_not_repeated(self, answer_lost: Story) -> None:
        assert answer_lost.states == {"send": "failed"}
        assert answer_lost.sent_to() == ["27825550150", "27825550151"]
        assert len(answer_lost.requests("smsSend")) == 1

    def test_it_fails_for_good_on_its_first_try(self, answer_lost: Story) -> None:
        assert answer_lost.run.task("send")["try_number"] == 1
        assert "OutcomeUnknown" in answer_lost.run.log("send")

    def test_a_worker_that_dies_while_it_sends_is_followed_by_a_try_that_names_what_is_unknown(
        self, worker_killed: Story
    ) -> None:
        assert worker_killed.states == {"send": "failed"}
        assert worker_killed.run.task("send")["try_number"] == 2
        assert worker_killed.sent_to() == ["27825550160", "27825550161"]
        assert len(worker_killed.requests("smsSend")) == 1
        assert "The outcome for 2 recipients is unknown" in worker_killed.run.log("send")

    def test_a_try_that_was_given_up_can_claim_nothing_any_more(
        self, airflow: RealAirflow, worker_killed: Story
    ) -> None:
        (given_up,) = (
            row
            for row in airflow.rows("task_instance_history")
            if (row["run_id"], row["task_id"]) == (worker_killed.run.run_id, "send")
        )
        answers = json.loads(
            airflow.python(CLAIM, given_up["task_instance_id"], worker_killed.run.row("send")["id"])
        )
        assert answers == [HTTPStatus.NOT_FOUND, HTTPStatus.NO_CONTENT]

    def test_a_cleared_task_sends_nothing_again_and_returns_the_same(self, cleared: Story) -> None:
        assert cleared.states == {"send": "success"}
        assert cleared.sent_to() == ["27825550200"]
        assert cleared.run.xcom("send") == {**cleared.first_result, "balance": None}

    def test_what_cannot_be_sent_is_not_sent_in_part(self, refused: Story) -> None:
        assert refused.states == {"send": "failed", "send_many": "failed"}
        assert refused.box.requests() == []


class TestExactlyOnce:
    def test_a_worker_that_dies_while_it_sends_is_followed_by_a_try_that_finds_what_was_accepted(
        self, worker_killed_held: Story
    ) -> None:
        assert worker_killed_held.states == {"send": "success"}
        assert worker_killed_held.run.task("send")["try_number"] == 2
        assert worker_killed_held.sent_to() == ["27825550190", "27825550191"]
        ids = {row["apiMessageId"] for row in worker_killed_held.box.outbox()}
        assert set(worker_killed_held.run.xcom("send")["message_ids"]) == ids
        assert "The list of scheduled texts has" in worker_killed_held.run.log("send")


class TestATriggererThatDies:
    def test_another_one_takes_the_wait_to_the_same_end(self, triggerer_killed: Story) -> None:
        assert triggerer_killed.states == {"send": "success", "wait": "success", "read": "success"}
        assert triggerer_killed.run.xcom("read")["total"] == 2
        assert triggerer_killed.run.task("wait")["try_number"] == 1

    def test_nobody_is_texted_again(self, triggerer_killed: Story) -> None:
        assert triggerer_killed.sent_to() == ["27825550140", "27825550141"]


class TestADeadline:
    def test_a_run_that_is_late_texts_once_whoever_is_on_call(self, late: Story) -> None:
        assert late.states == {"send": "success", "wait": "success"}
        texts = [row["message"] for row in late.box.outbox() if row["mobileNumber"] == ON_CALL]
        assert texts == [f"late: {LATE_TEXT}"]


class TestADagThatFails:
    def test_its_callback_texts_from_the_dag_processor(
        self, airflow: RealAirflow, boxes: dict[str, Sandbox]
    ) -> None:
        assert airflow.run("fails").until_ended("fail") == {"fail": "failed"}
        airflow.until(boxes["fails"].outbox, "the text of the DAG's callback")
        (text,) = boxes["fails"].outbox()
        assert (text["mobileNumber"], text["message"]) == (ON_CALL, f"fails failed: {LATE_TEXT}")


class TestALoad:
    def test_replies_arrive_in_the_warehouse(self, replies: Story, warehouse: Path) -> None:
        assert replies.states == {"load": "success"}
        with closing(sqlite3.connect(warehouse)) as database:
            loaded = database.execute("SELECT number, text FROM replies").fetchall()
        assert loaded == [("27825550180", "Honeybush for two please, at noon")]


class TestTheConnectionForm:
    def test_its_fields_are_those_of_winsms(self, airflow: RealAirflow) -> None:
        (form,) = (
            row for row in airflow.get("/ui/connections/hook_meta") if row["connection_type"] == "winsms"
        )
        assert form["hook_name"] == "WinSMS"
        assert form["standard_fields"]["password"]["title"] == "API key"
        assert form["standard_fields"]["host"]["title"] == "Base URL"
        assert form["standard_fields"]["host"]["placeholder"] == f"empty means {BASE_URL}"
        assert all(field["description"] for field in form["extra_fields"].values())

    def test_the_button_tells_a_right_key(self, airflow: RealAirflow, boxes: dict[str, Sandbox]) -> None:
        answer = pressed(airflow, boxes["wrong_key"], KEYS["wrong_key"])
        assert answer["status"]
        assert answer["message"].startswith("Connected; 10000")

    def test_the_button_tells_a_wrong_key_and_does_not_show_it(
        self, airflow: RealAirflow, boxes: dict[str, Sandbox]
    ) -> None:
        answer = pressed(airflow, boxes["wrong_key"], REFUSED_KEY)
        assert not answer["status"]
        assert "Check the API key" in answer["message"]
        assert REFUSED_KEY not in answer["message"]


class TestAConnectionsSecrets:
    def test_airflows_api_and_its_audit_log_show_none_of_them(self, airflow: RealAirflow) -> None:
        # Secrets of their own, as Airflow's database has those of its connections.
        key, secret = "key-that-is-stored-5e0c7b", "secret-that-is-stored-5e0c7b"
        extra = json.dumps({"hash_secret": secret, "page_size": 7})
        form = {"connection_id": "stored", "conn_type": "winsms", "password": key, "extra": extra}
        answers = [airflow.post("/api/v2/connections", form), airflow.get("/api/v2/connections/stored")]
        for answer in answers:
            assert json.loads(answer["extra"]) == {"hash_secret": "***", "page_size": 7}
        audit = json.dumps(airflow.get("/api/v2/eventLogs?event=post_connection"))
        assert "stored" in audit
        shown = json.dumps(answers) + audit
        assert key not in shown
        assert secret not in shown

    def test_a_task_that_prints_them_prints_stars(self, replies: Story) -> None:
        replies.run.until_ended("show")
        log = replies.run.log("show")
        assert "hash_secret" in log
        assert "that-is-shown" not in log

    def test_the_button_does_not_show_what_is_wrong(
        self, airflow: RealAirflow, boxes: dict[str, Sandbox]
    ) -> None:
        extra = json.dumps({"hash_secret": [HASH_SECRET]})
        answer = pressed(airflow, boxes["wrong_key"], KEYS["wrong_key"], extra=extra)
        assert "wrong extra 'hash_secret'" in answer["message"]
        assert HASH_SECRET not in answer["message"]


def pressed(airflow: RealAirflow, box: Sandbox, key: str, **fields: str) -> dict[str, Any]:
    form = {"connection_id": "tried", "conn_type": "winsms", "host": box.base_url, "password": key}
    answer: dict[str, Any] = airflow.post("/api/v2/connections/test", {**form, **fields})
    return answer


@pytest.fixture(scope="module")
def stories(
    delivered: Story,
    sends_and_waits: Story,
    undelivered: Story,
    key_withdrawn: Story,
    triggerer_killed: Story,
    wrong_key: Story,
    answer_lost: Story,
    worker_killed: Story,
    worker_killed_held: Story,
    cleared: Story,
    refused: Story,
    late: Story,
    replies: Story,
) -> list[Story]:
    waits = [delivered, sends_and_waits, undelivered, key_withdrawn, triggerer_killed, wrong_key]
    return [*waits, answer_lost, worker_killed, worker_killed_held, cleared, refused, late, replies]


@pytest.fixture(scope="module")
def left_behind(airflow: RealAirflow, stories: list[Story]) -> dict[str, str]:
    """Return all that Airflow kept of the stories, by the place where it did.

    That is every row of the database, at the end and while tasks were deferred, and every file: the logs of
    tasks and components, and the database's own pages, which hold deleted rows too.
    """
    files = {
        str(file.relative_to(airflow.home)): file.read_bytes().decode("utf-8", "replace")
        for file in airflow.home.rglob("*")
        if file.is_file()
    }
    moments = {"the end": airflow.tables()} | {
        f"the wait of {story.run.dag_id}": story.meanwhile for story in stories
    }
    return files | {
        f"{table}.{column} at {moment}": "\n".join(map(as_text, values))
        for moment, tables in moments.items()
        for table, rows in tables.items()
        for column, values in columns(rows).items()
    }


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class TestNothingPersonalIsLeftBehind:
    def test_no_api_key_and_no_hash_secret(self, left_behind: dict[str, str]) -> None:
        places = found(left_behind, (*KEYS.values(), REFUSED_KEY, HASH_SECRET))
        assert not places, "\n".join(places)

    @pytest.mark.parametrize("dag_id", [dag_id for dag_id, said in SAID.items() if said])
    def test_no_text(self, left_behind: dict[str, str], dag_id: str) -> None:
        # Half a text is too much as well, and what is not ASCII is written in many ways.
        halves = [half for text in texts_of(SAID[dag_id]) for half in (text[:20], text[12:32])]
        places = found(left_behind, halves)
        assert not places, "\n".join(places)

    @pytest.mark.parametrize("dag_id", [dag_id for dag_id, said in SAID.items() if said])
    def test_no_number(self, left_behind: dict[str, str], dag_id: str) -> None:
        numbers = numbers_of(SAID[dag_id])
        places = found(left_behind, (*map(telltale, numbers), *numbers))
        assert not places, "\n".join(places)

    def test_no_alert(self, left_behind: dict[str, str]) -> None:
        places = found(left_behind, [telltale(ON_CALL), LATE_TEXT[:20], LATE_TEXT[12:]])
        assert not places, "\n".join(places)

    def test_the_search_looks_where_such_things_would_be(
        self, left_behind: dict[str, str], delivered: Story
    ) -> None:
        message_id = str(delivered.run.xcom("send")["message_ids"][0])
        places = found(left_behind, [message_id])
        assert any(place.startswith("airflow.db") for place in places)
        assert "xcom.value at the end" in places
        assert "trigger.kwargs at the wait of delivered" in found(left_behind, ["winsms_default"])
        assert "rendered_task_instance_fields.rendered_fields at the end" in places


def found(kept: Mapping[str, str], parts: Iterable[str]) -> list[str]:
    """Return the places where any of the parts is."""
    wanted = tuple(parts)
    return [place for place, text in kept.items() if any(part in text for part in wanted)]


def texts_of(said: Mapping[str, Any]) -> list[str]:
    return [row["text"] for row in (said, *said.get("messages", ())) if "text" in row]


def numbers_of(said: Mapping[str, Any]) -> list[str]:
    given = [row["to"] for row in (said, *said.get("messages", ())) if "to" in row]
    return [number for to in given for number in (to.split(", ") if isinstance(to, str) else to)]
