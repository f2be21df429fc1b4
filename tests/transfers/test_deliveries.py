"""Texts and what became of them, from a ledger in one database into a table of another, or of the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseHook

from airflow_provider_winsms.exceptions import GatewayUnavailable, InvalidMessage
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.database import LedgerDatabase
from airflow_provider_winsms.ledger.unresolved import UnresolvedRequests
from airflow_provider_winsms.messages import Recipient
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from airflow_provider_winsms.sql.values import read_amount, read_instant
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from airflow_provider_winsms.warehouse.datasets import LoadSizes
from tests.conftest import API_KEY
from tests.support import databases
from tests.support.databases import CONN_ID, Database
from tests.support.task_runner import TaskRunner
from tests.transfers.loads import run

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox

DELIVERED, FAILS, DECLINED = "27000000010", "27000000011", "27000000005"
HASH_KEY = "a key that outlives API keys"


@pytest.fixture
def ledger(tmp_path: Path) -> Database:
    """Where sends keep their ledger."""
    return databases.sqlite(tmp_path / "sends.db")


@pytest.fixture
def runner(sandbox: Sandbox, database: Database, ledger: Database) -> TaskRunner:
    extra = {"hash_secret": HASH_KEY}
    gateway = {
        "conn_type": "winsms",
        "host": sandbox.base_url,
        "password": API_KEY,
        "extra": json.dumps(extra),
    }
    return TaskRunner({"winsms_default": gateway, "ledger": ledger.connection, CONN_ID: database.connection})


@pytest.fixture(autouse=True)
def loads_find_the_gateway(runner: TaskRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    for conn_id, connection in runner.connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


def send(runner: TaskRunner, *to: str, **kwargs: Any) -> dict[str, Any]:
    """Send through a task of its own."""
    another = runner.another()
    given = {"task_id": "send", "text": "Hallo", "to": list(to), "ledger_conn_id": "ledger"}
    another.run(SmsSendOperator(**{**given, **kwargs}))
    return dict(another.result or {})


def send_batch(runner: TaskRunner, *messages: dict[str, Any]) -> None:
    another = runner.another()
    operator = SmsSendBatchOperator(task_id="batch", messages=list(messages), ledger_conn_id="ledger")
    assert another.run(operator).error is None


def load(database: Database, **kwargs: Any) -> dict[str, Any]:
    given = {"table": "texts", "ledger_conn_id": "ledger", **kwargs}
    return run(database, "deliveries", run_id="nightly", **given)


def states(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("SELECT number, state FROM {}texts ORDER BY 1")


def test_people_who_share_a_phone_are_told_apart_by_reference(runner: TaskRunner, database: Database) -> None:
    send_batch(
        runner,
        {"text": "Dear Ann", "to": DELIVERED, "reference": "customer 7"},
        {"text": "Dear Ben", "to": DELIVERED, "reference": 8},
        {"text": "Dear Cat", "to": DELIVERED},
        {"text": "Dear all", "to": [Recipient(FAILS, "their own"), DECLINED], "reference": "team"},
    )
    assert load(database)["rows_loaded"] == 5
    rows = database.execute("SELECT reference, number, reason FROM {}texts ORDER BY request, position")
    assert rows == [
        ("customer 7", DELIVERED, None),
        ("8", DELIVERED, None),
        (None, DELIVERED, None),
        ("their own", FAILS, None),
        ("team", DECLINED, "bad_number"),
    ]


def test_a_text_is_there_with_all_that_the_ledger_knows(runner: TaskRunner, database: Database) -> None:
    sent = send(runner, DELIVERED, DECLINED)
    began = datetime.now(UTC)
    result = load(database, refresh=False)
    assert result["rows_loaded"] == result["rows_read"] == result["total"] == 2
    assert result["high_water_mark"] is None
    columns = (
        "batch_id, round, request, position, message_id, dag_id, run_id, task_id, map_index, sms_conn_id"
    )
    (bad, good) = database.execute(
        f"SELECT {columns}, number, number_key_id, address_kind, state, reason, cost, refund, currency, "  # noqa: S608 - our own names
        "submitted_at, send_at, state_at, loaded_at, load_run_id FROM {}texts ORDER BY number"
    )
    assert good[:4] == (sent["batch"], 1, 1, 0)
    assert good[4] == str(sent["message_ids"][0])
    assert good[5:10] == ("dag", "run", "send", -1, "winsms_default")
    assert good[10:15] == (DELIVERED, None, "phone", "accepted", None)
    assert (read_amount(good[15]), read_amount(good[16]), good[17]) == (Decimal(1), Decimal(0), "credits")
    assert (good[19], good[22]) == (None, "nightly")
    for moment in (good[18], good[20], good[21]):
        assert abs(read_instant(moment) - began) < timedelta(minutes=10)
    assert (bad[4], bad[10], bad[13], bad[14]) == (None, DECLINED, "declined", "bad_number")


def test_states_are_brought_up_to_date_first(
    sandbox: Sandbox, runner: TaskRunner, database: Database
) -> None:
    send(runner, DELIVERED, FAILS)
    load(database, refresh=False)
    sandbox.advance(3600)
    assert load(database, refresh=False)["rows_loaded"] == 0
    assert states(database) == [(DELIVERED, "accepted"), (FAILS, "accepted")]
    assert load(database)["rows_loaded"] == 2
    assert states(database) == [(DELIVERED, "delivered"), (FAILS, "failed")]
    assert load(database)["rows_loaded"] == 0


@pytest.mark.parametrize("on_delete", ["", "ON DELETE CASCADE"])
def test_a_text_that_gets_another_state_keeps_what_refers_to_it(
    on_delete: str, sandbox: Sandbox, runner: TaskRunner, database: Database
) -> None:
    if database.kind == "duckdb":
        on_delete = ""  # it knows no other
    send(runner, DELIVERED, FAILS)
    load(database, refresh=False)
    table, noted = database.named("texts"), database.named("noted")
    key = "batch_id, round, request, position"
    database.execute(
        f"CREATE TABLE {noted} (batch_id VARCHAR(64), round INTEGER, request INTEGER, position INTEGER, "
        f"FOREIGN KEY ({key}) REFERENCES {table} ({key}) {on_delete}){database.table_options}"
    )
    database.execute(f"INSERT INTO {noted} SELECT {key} FROM {table}")  # noqa: S608 - a test's own names
    sandbox.advance(3600)
    assert load(database)["rows_loaded"] == 2
    assert database.count("noted") == 2


def test_what_was_sent_since_comes_in_and_what_was_there_stays(
    runner: TaskRunner, database: Database
) -> None:
    send(runner, DELIVERED)
    load(database)
    before = database.execute("SELECT * FROM {}texts")
    send(runner, "27825550101", task_id="send_more")
    assert load(database)["rows_loaded"] == 1
    assert before[0] in database.execute("SELECT * FROM {}texts")
    assert database.count("texts") == 2


def test_a_request_that_was_given_back_is_taken_out_again(
    sandbox: Sandbox, runner: TaskRunner, database: Database, ledger: Database
) -> None:
    sandbox.add_fault("lost-after-acceptance", operation="smsSend")
    send(runner, "27825550101")
    load(database)
    assert states(database) == [("27825550101", "unknown")]
    ledger.execute("DELETE FROM sms_messages")
    ledger.execute("DELETE FROM sms_requests")
    result = load(database)
    assert (result["rows_removed"], database.count("texts")) == (1, 0)


def test_what_a_person_found_out_comes_in(sandbox: Sandbox, runner: TaskRunner, database: Database) -> None:
    sandbox.add_fault("lost-after-acceptance", operation="smsSend")
    send(runner, "27825550101")
    load(database)
    with LedgerDatabase(BaseHook.get_connection("ledger").get_hook()) as ledger:
        requests = UnresolvedRequests(ledger)
        (parked,) = requests.unresolved()
        requests.resolve(parked.batch_id, RequestKey(*parked.key), [4711])
    assert load(database, refresh=False)["rows_loaded"] == 1
    assert database.execute("SELECT message_id, state FROM {}texts") == [("4711", "accepted")]


@pytest.mark.parametrize("ledger_privacy", ["none", "keyed_hash"])
def test_numbers_are_hashed_once_and_the_same_everywhere(
    ledger_privacy: str, runner: TaskRunner, database: Database
) -> None:
    send(runner, DELIVERED, ledger_privacy=ledger_privacy)
    load(database, privacy="keyed_hash")
    hashes = SmsHook.of("winsms_default").hashes
    assert database.execute("SELECT number, number_key_id FROM {}texts") == [
        (hashes.of(DELIVERED), hashes.key_id)
    ]


def test_a_full_refresh_hashes_what_was_loaded_in_the_clear(runner: TaskRunner, database: Database) -> None:
    send(runner, DELIVERED)
    load(database)
    assert load(database, privacy="keyed_hash", mode="full_refresh")["rows_loaded"] == 1
    assert database.column("number", "texts") == [SmsHook.of("winsms_default").hashes.of(DELIVERED)]


@pytest.mark.parametrize("database", ["sqlite", "mariadb"], indirect=True)
def test_the_ledger_may_be_in_the_same_database(
    runner: TaskRunner, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(database.connection))
    runner.connections = {**runner.connections, "ledger": database.connection}
    send(runner, *(f"2782{n:07}" for n in range(1500)))
    assert load(database, sizes=LoadSizes(merged_rows=500), refresh=False)["rows_loaded"] == 1500


def test_a_gateway_that_is_away_changes_nothing(
    sandbox: Sandbox, runner: TaskRunner, database: Database
) -> None:
    send(runner, DELIVERED)
    sandbox.add_fault("429-too-many-requests", operation="smsStatus", retry_after=120)
    with pytest.raises(GatewayUnavailable):
        load(database)
    assert load(database, refresh=False)["rows_loaded"] == 1


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"ledger_conn_id": None}, "'deliveries' is read from a ledger: give `ledger_conn_id`"),
        ({"table": "sms_messages"}, "'sms_messages', which is the name of a table of the ledger"),
        (
            {"dataset": "incoming"},
            "`ledger_conn_id` is for the dataset 'deliveries'; 'incoming' has no ledger",
        ),
        ({"include_raw": True}, "'deliveries' is read from a ledger"),
        ({"mode": "all"}, "mode must be one of incremental, backfill, full_refresh"),
        ({"prefetch": 0}, "prefetch must be a whole number from 1 to 32; got 0"),
        ({"privacy": "hash"}, "privacy must be one of none, keyed_hash, masked"),
        ({"text": "digest"}, "text must be one of keep, drop, redact_numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_what_does_not_go_together_is_refused_before_anything_is_read(
    kwargs: dict[str, Any], words: str, sandbox: Sandbox
) -> None:
    given = {"dataset": "deliveries", "ledger_conn_id": "ledger", "table": "texts", **kwargs}
    with pytest.raises(InvalidMessage) as raised:
        SmsToSqlOperator(task_id="load", sql_conn_id=CONN_ID, **given)
    assert words in str(raised.value)
    assert isinstance(raised.value, AirflowFailException)
    assert sandbox.requests() == []
