"""Loads on a running Airflow tell of themselves: to the DAGs that wait for their assets, and to OpenLineage.

The DAGs are those of ``dags_lineage``; the events of OpenLineage are what its own listener writes to a file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.warehouse.datasets import DATASETS
from tests.prove.real_airflow import RealAirflow, Run, telltale
from tests.support.databases import scratch_postgres
from tests.support.task_runner import TaskRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Database

pytestmark = pytest.mark.airflow

DAGS = Path(__file__).parent / "dags_lineage"
PRELOAD = ("requests", "airflow_provider_winsms.hooks.winsms")
KEY, HASH_KEY, PASSWORD = (
    "key-of-the-lineage-8d21f0",
    "hash-key-of-the-lineage-77",
    "pass-of-the-warehouse-3c",
)
PHONE, STOPPER = "27825550311", "27825550312"
TEXT, REPLY = "The plover clinic expects you at ten", "Yes, says Quagga"
REPLIES = 12


class Story:
    """What happened, and what was there in the end."""

    def __init__(self, airflow: RealAirflow, box: Sandbox, warehouse: Database, events: Path) -> None:
        self.airflow = airflow
        self.box = box
        self.warehouse = warehouse
        self.file = events
        self.extras: dict[str, dict[str, Any]] = {}
        self.read: Run

    def events(self, task: str) -> dict[str, dict[str, Any]]:
        """Return the events of OpenLineage of a task, by their types."""
        events = map(json.loads, self.file.read_text().splitlines())
        return {event["eventType"]: event for event in events if event["job"]["name"] == f"load.{task}"}

    def datasets(self, task: str, side: str) -> dict[str, dict[str, Any]]:
        """Return the inputs, or the outputs, of a task that is complete, by their names."""
        return {dataset["name"]: dataset for dataset in self.events(task)["COMPLETE"][side]}

    @property
    def place(self) -> str:
        """Where the tables are, as OpenLineage names it."""
        return f"{self.warehouse.connection['schema']}.{self.warehouse.schema}"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, postgres_database: str) -> Iterator[Story]:
    with Sandbox(api_key=KEY, speed=0, seed=7) as box, scratch_postgres(postgres_database) as warehouse:
        warehouse.connection["extra"] = json.dumps({"options": f"-c search_path={warehouse.schema}"})
        warehouse.connection["password"] = warehouse.connection.get("password") or PASSWORD
        gateway = {
            "conn_type": "winsms",
            "host": box.base_url,
            "extra": json.dumps({"hash_secret": HASH_KEY}),
        }
        connections = {
            "winsms_default": {**gateway, "password": KEY},
            "winsms_refused": {**gateway, "password": f"not-{KEY}"},
            "warehouse": warehouse.connection,
        }
        events = tmp_path_factory.mktemp("openlineage") / "events.jsonl"
        variables = {
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "file", "log_file_path": str(events), "append": True}
            ),
            # By default an event that takes longer than 10 seconds is given up.
            "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "120",
            **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()},
        }
        happen(box, connections)
        with RealAirflow(tmp_path_factory.mktemp("airflow"), DAGS, variables, preload=PRELOAD) as airflow:
            told = Story(airflow, box, warehouse, events)
            tell(told)
            yield told


def happen(box: Sandbox, connections: dict[str, Any]) -> None:
    """Send a text with a ledger, as another DAG would, and let replies and an opt-out come in."""
    send = SmsSendOperator(task_id="send", text=TEXT, to=PHONE, ledger_conn_id="warehouse")
    assert TaskRunner(connections).run(send).error is None
    for _ in range(REPLIES):
        box.incoming(PHONE, REPLY)
    box.opt_out(STOPPER)


def tell(story: Story) -> None:
    airflow = story.airflow
    run = airflow.run("load")
    for task in ("incoming", "opt_outs", "deliveries"):
        run.until(task, "success")
    run.until("refused", "failed")
    (read,) = airflow.until(lambda: airflow.get("/api/v2/dags/read/dagRuns")["dag_runs"], "a run of `read`")
    story.read = Run(airflow, "read", read["dag_run_id"])
    story.read.until("count_new", "success")
    assets = airflow.get("/api/v2/assets/events")["asset_events"]
    story.extras = {event["name"]: event["extra"] for event in assets}


class TestTheEventOfAnAsset:
    def test_says_what_was_loaded(self, story: Story) -> None:
        extra = story.extras["sms_incoming"]
        counts = ("dataset", "table", "rows_read", "rows_loaded", "rows_removed", "total")
        assert [extra[name] for name in counts] == ["incoming", "our_incoming", REPLIES, REPLIES, 0, REPLIES]
        assert extra["high_water_mark"] == max(story.warehouse.message_ids("our_incoming"))

    def test_comes_from_each_load_that_was_done_and_from_no_other(self, story: Story) -> None:
        assert set(story.extras) == {"sms_incoming", "sms_opt_outs", "sms_deliveries"}
        assert story.extras["sms_opt_outs"]["rows_loaded"] == 1
        assert story.extras["sms_deliveries"]["rows_loaded"] == 1

    def test_starts_the_dag_that_waits_for_it_which_finds_the_rows_of_that_load(self, story: Story) -> None:
        assert story.read.xcom("count_new") == [[REPLIES, REPLIES]]


class TestTheEventsOfOpenLineage:
    def test_the_input_is_the_list_of_the_gateway(self, story: Story) -> None:
        ((name, dataset),) = story.datasets("incoming", "inputs").items()
        assert name == "winsms_default.incoming"
        assert dataset["namespace"] == f"winsms://{urlsplit(story.box.base_url).netloc}"
        assert dataset["inputFacets"]["inputStatistics"]["rowCount"] == REPLIES

    def test_the_output_is_the_table_with_its_columns_and_the_rows_that_came(self, story: Story) -> None:
        ((name, dataset),) = story.datasets("incoming", "outputs").items()
        assert name == f"{story.place}.our_incoming"
        assert dataset["namespace"].startswith("postgres://")
        fields = [field["name"] for field in dataset["facets"]["schema"]["fields"]]
        assert fields == list(DATASETS["incoming"].column_names)
        assert dataset["outputFacets"]["outputStatistics"]["rowCount"] == REPLIES

    def test_opt_outs_go_into_two_tables(self, story: Story) -> None:
        tables = {f"{story.place}.our_opt_outs", f"{story.place}.our_opt_outs_history"}
        assert set(story.datasets("opt_outs", "outputs")) == tables

    def test_deliveries_come_from_the_ledger_and_the_gateway(self, story: Story) -> None:
        assert set(story.datasets("deliveries", "inputs")) == {
            "winsms_default.deliveries",
            f"{story.place}.sms_messages",
            f"{story.place}.sms_batches",
        }

    def test_a_load_that_failed_read_and_wrote_nothing(self, story: Story) -> None:
        event = story.events("refused")["FAIL"]
        assert event["inputs"] == event["outputs"] == []

    def test_nothing_goes_wrong_on_the_way(self, story: Story) -> None:
        logs = [file.read_text() for file in (story.airflow.home / "logs").rglob("attempt=*")]
        lines = [json.loads(line) for log in logs for line in log.splitlines()]
        words = [line["event"] for line in lines if line.get("level") in {"warning", "error"}]
        assert lines
        assert [said for said in words if "OpenLineage" in said] == []


class TestNothingPersonalAndNoSecretIsLeftBehind:
    @pytest.mark.parametrize(
        "secret",
        [KEY, HASH_KEY, PASSWORD, *map(telltale, (PHONE, STOPPER)), "Quagga", "plover"],
    )
    def test_in_the_database_in_no_file_and_in_no_event(self, story: Story, secret: str) -> None:
        files = [story.file, *(file for file in story.airflow.home.rglob("*") if file.is_file())]
        assert [str(file) for file in files if secret.encode() in file.read_bytes()] == []
        assert secret not in json.dumps(story.airflow.tables(), default=str)

    def test_the_search_looks_where_such_things_would_be(self, story: Story) -> None:
        assert "our_incoming" in json.dumps(story.airflow.rows("asset_event"), default=str)
        assert "our_incoming" in story.file.read_text()
