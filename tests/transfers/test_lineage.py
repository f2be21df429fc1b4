"""What a load tells others: the events of assets, and the inputs and outputs of OpenLineage."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.sdk import Asset, AssetAlias
from openlineage.client.serde import Serde

from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sql.values import read_instant
from airflow_provider_winsms.transfers.lineage import DatabaseLocation
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from airflow_provider_winsms.warehouse.datasets import DELIVERIES, INCOMING
from tests.conftest import API_KEY
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

NUMBER, TEXT = "27825559871", "My answer is Quetzalcoatl"
PASSWORD, USER = "pass-of-the-warehouse", "user-of-the-warehouse"
REPLIES = Asset(name="replies", uri="warehouse://our/replies")


def load(database: Database, dataset: str = "incoming", **kwargs: Any) -> SmsToSqlOperator:
    target = {"sql_conn_id": CONN_ID, "table": "replies", "schema": database.schema}
    return SmsToSqlOperator(task_id="load", dataset=dataset, **{**target, **kwargs})


@pytest.fixture
def told(runner: TaskRunner, sqlite: Database) -> TaskRunner:
    runner.connections = {**runner.connections, CONN_ID: sqlite.connection}
    return runner


def events(runner: TaskRunner) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = runner.reported["outlet_events"]
    return found


# Assets


def test_the_event_of_an_asset_says_what_was_loaded_and_what_its_rows_know_the_load_by(
    told: TaskRunner, sandbox: Sandbox, sqlite: Database
) -> None:
    ids = [sandbox.incoming(NUMBER, TEXT) for _ in range(3)]
    assert told.run(load(sqlite, outlets=[REPLIES])).error is None
    (event,) = events(told)
    assert event["dest_asset_key"] == {"name": "replies", "uri": "warehouse://our/replies"}
    loaded_at = event["extra"].pop("loaded_at")
    assert event["extra"] == {
        "dataset": "incoming",
        "table": "replies",
        "rows_read": 3,
        "rows_loaded": 3,
        "rows_removed": 0,
        "unreadable": 0,
        "requests": 1,
        "total": 3,
        "high_water_mark": ids[-1],
        "load_run_id": "run",
    }
    ((row, run_id),) = sqlite.execute("SELECT DISTINCT loaded_at, load_run_id FROM replies")
    assert (read_instant(row), run_id) == (read_instant(loaded_at), "run")


def test_every_asset_is_told_and_what_is_no_asset_is_left_alone(told: TaskRunner, sqlite: Database) -> None:
    others: list[Any] = [Asset("others"), AssetAlias("alias"), {"lineage": "of some other kind"}]
    assert told.run(load(sqlite, outlets=[REPLIES, *others])).error is None
    assert [event["dest_asset_key"]["name"] for event in events(told)] == ["replies", "others"]
    assert all(event["extra"]["rows_loaded"] == 0 for event in events(told))


def test_without_assets_nobody_is_told(told: TaskRunner, sqlite: Database) -> None:
    assert told.run(load(sqlite)).error is None
    assert events(told) == []


def test_a_load_that_fails_tells_nobody(told: TaskRunner, sandbox: Sandbox, sqlite: Database) -> None:
    sandbox.add_fault("html-answer", times=9)
    assert told.run(load(sqlite, outlets=[REPLIES], table="{{ 'no good name' }}")).error is not None
    assert "outlet_events" not in told.reported


# OpenLineage


class Known:
    """A task as the listener knows it when it asks for lineage."""

    dag_id, run_id = "dag", "run"


def lineage(operator: SmsToSqlOperator, *, fails: bool = False) -> dict[str, Any]:
    """Return what Airflow's listener finds, as it is sent."""
    from airflow.utils.state import TaskInstanceState

    state = TaskInstanceState.FAILED if fails else TaskInstanceState.SUCCESS
    found = ExtractorManager().extract_metadata(Known(), operator, state, Known())
    return {"inputs": list(map(sent, found.inputs)), "outputs": list(map(sent, found.outputs))}


def sent(dataset: Any) -> Any:
    return json.loads(Serde.to_json(dataset))


def names(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


def loaded(database: Database, dataset: str = "incoming", **kwargs: Any) -> dict[str, Any]:
    operator = load(database, dataset, **kwargs)
    operator.execute({})
    return lineage(operator)


def test_the_input_is_the_list_of_the_gateway_and_the_output_the_table(
    gateway: Sandbox, sqlite: Database
) -> None:
    for _ in range(3):
        gateway.incoming(NUMBER, TEXT)
    found = loaded(sqlite)
    place = urlsplit(gateway.base_url).netloc
    file = sqlite.connection["host"]
    assert names(found["inputs"]) == [(f"winsms://{place}", "winsms_default.incoming")]
    assert names(found["outputs"]) == [(f"sqlite://{file}", "main.replies")]
    assert found["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] == 3
    assert found["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 3


@pytest.mark.usefixtures("gateway")
def test_the_output_has_the_columns_of_the_table_with_their_types_and_meanings(database: Database) -> None:
    (output,) = loaded(database, include_raw=True)["outputs"]
    fields = {field["name"]: field for field in output["facets"]["schema"]["fields"]}
    assert list(fields) == [*INCOMING.column_names, "raw"]
    kind = {"sqlite": "TEXT", "mariadb": "DATETIME(6)"}.get(database.kind, "TIMESTAMP WITH TIME ZONE")
    assert fields["received_at"]["type"] == kind
    assert fields["text"]["description"] == "its text; null if texts are dropped"
    assert output["facets"]["documentation"]["description"] == INCOMING.meaning
    assert output["facets"]["dataSource"]["uri"] == output["namespace"]


def test_what_has_a_history_has_two_outputs(gateway: Sandbox, database: Database) -> None:
    gateway.opt_out(NUMBER)
    current, history = loaded(database, "opt_outs")["outputs"]
    assert history["name"] == f"{current['name']}_history"
    assert current["outputFacets"]["outputStatistics"]["rowCount"] == 1
    assert not history["outputFacets"]
    assert history["facets"]["schema"]["fields"] == current["facets"]["schema"]["fields"]


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize(("refresh", "asked"), [(True, ["winsms_default.deliveries"]), (False, [])])
def test_deliveries_come_from_the_tables_of_the_ledger_and_from_the_gateway_if_it_was_asked(
    refresh: bool, asked: list[str], sqlite: Database
) -> None:
    found = loaded(sqlite, DELIVERIES.name, ledger_conn_id=CONN_ID, ledger_prefix="our_", refresh=refresh)
    assert [name for _, name in names(found["inputs"])] == [
        *asked,
        "main.our_messages",
        "main.our_batches",
    ]
    assert {dataset["namespace"] for dataset in found["inputs"][len(asked) :]} == {
        found["outputs"][0]["namespace"]
    }


def test_of_a_load_that_failed_there_is_none(gateway: Sandbox, sqlite: Database) -> None:
    gateway.add_fault("html-answer", times=99)
    operator = load(sqlite)
    operator.table = "no good name"
    with pytest.raises(Exception, match="table"):
        operator.execute({})
    assert lineage(operator, fails=True) == {"inputs": [], "outputs": []}


@pytest.mark.database
def test_a_load_needs_no_openlineage(gateway: Sandbox, sqlite: Database) -> None:
    """As it is where the extra is not installed."""
    gateway.incoming(NUMBER, TEXT)
    missing = ["openlineage", "airflow.providers.openlineage.extractors"]
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r}));"
        "from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator as Load;"
        f"load = Load(task_id='load', dataset='incoming', sql_conn_id={CONN_ID!r}, table='t');"
        "print(load.execute({})['rows_loaded'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1"
    assert sqlite.count("t") == 1


# Names of databases


def location(
    connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch, schema: str | None
) -> DatabaseLocation:
    from airflow_provider_winsms.hooks.connections import sql_hook

    monkeypatch.setenv("AIRFLOW_CONN_NAMED", json.dumps(connection))
    return DatabaseLocation.of(sql_hook("named"), schema)


SECRET = {"login": USER, "password": PASSWORD}


@pytest.mark.parametrize(
    ("connection", "schema", "namespace", "table"),
    [
        pytest.param(
            {"conn_type": "postgres", "host": "db.example", "schema": "sms", **SECRET},
            "raw",
            "postgres://db.example:5432",
            "sms.raw.replies",
            id="postgres: as the specification says, with the port of every PostgreSQL",
        ),
        pytest.param(
            {"conn_type": "mysql", "host": "db.example", "port": 3307, "schema": "sms", **SECRET},
            None,
            "mysql://db.example:3307",
            "sms.replies",
            id="mysql: databases have tables right below them",
        ),
        pytest.param(
            {"conn_type": "mysql", "host": "db.example", "port": 3306, "schema": "sms", **SECRET},
            "raw",
            "mysql://db.example:3306",
            "raw.replies",
            id="mysql: what is called a schema is a database",
        ),
        pytest.param(
            {"conn_type": "sqlite", "host": "/data/sms.db"},
            None,
            "sqlite:///data/sms.db",
            "main.replies",
            id="sqlite: a file",
        ),
        pytest.param(
            {"conn_type": "duckdb", "host": "/data/sms.duckdb"},
            None,
            "duckdb:///data/sms.duckdb",
            "sms.main.replies",
            id="duckdb: as dbt has it",
        ),
        pytest.param(
            {"conn_type": "duckdb", "host": f"md:sms?motherduck_token={PASSWORD}"},
            "raw",
            "duckdb://md:sms",
            "md:sms.raw.replies",
            id="duckdb: a token behind the name is left out",
        ),
        pytest.param(
            {"conn_type": "portable", "host": f"https://{USER}:{PASSWORD}@db.example/?key={PASSWORD}"},
            None,
            "portable://db.example",
            "replies",
            id="any other: what stands before and behind the host is left out",
        ),
        pytest.param(
            {"conn_type": "portable", "host": "db.example", "port": 1521, "schema": "sms", **SECRET},
            "raw",
            "portable://db.example:1521",
            "sms.raw.replies",
            id="any other: by its type, host and port",
        ),
    ],
)
def test_a_table_is_named_as_others_name_it(
    connection: dict[str, Any],
    schema: str | None,
    namespace: str,
    table: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = location(connection, monkeypatch, schema)
    assert (found.namespace, found.named("replies")) == (namespace, table)
    assert PASSWORD not in str(found)
    assert USER not in str(found)


@pytest.mark.usefixtures("gateway")
def test_a_postgresql_is_asked_where_it_looks_names_up(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.connection["extra"] = json.dumps({"options": f"-c search_path={postgres.schema}"})
    postgres.let_tasks_find_it(monkeypatch)
    (output,) = loaded(postgres, schema=None)["outputs"]
    assert output["name"] == f"{postgres.connection['schema']}.{postgres.schema}.replies"


def test_a_database_that_is_gone_is_named_by_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "schema": "sms", **SECRET}
    found = location(gone, monkeypatch, None)
    assert (found.namespace, found.named("replies")) == ("postgres://127.0.0.1:1", "sms.replies")


@pytest.mark.parametrize("dataset", ["incoming", "opt_outs", "scheduled", "deliveries"])
def test_nothing_personal_and_no_secret_is_told(
    dataset: str, told: TaskRunner, sandbox: Sandbox, sqlite: Database
) -> None:
    send = SmsSendOperator(task_id="send", text=TEXT, to=[NUMBER], ledger_conn_id=CONN_ID)
    assert told.another().run(send).error is None
    sandbox.incoming(NUMBER, TEXT)
    sandbox.opt_out(NUMBER)
    ledger = {"ledger_conn_id": CONN_ID} if dataset == DELIVERIES.name else {}
    operator = load(sqlite, dataset, outlets=[REPLIES], **ledger)
    assert told.run(operator).error is None
    written = json.dumps(events(told))
    assert "high_water_mark" in written
    assert [secret for secret in (NUMBER, "Quetzalcoatl", API_KEY) if secret in written] == []
