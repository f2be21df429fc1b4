"""The operator in Airflow: what it refuses before it asks anything, and what a task run shows of it."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.providers.postgres.hooks.postgres import PostgresHook

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from airflow_provider_winsms.warehouse.datasets import DATASETS, INCOMING, LoadRun
from airflow_provider_winsms.warehouse.mapping import PrivacyPolicy
from airflow_provider_winsms.warehouse.relations import TableName
from airflow_provider_winsms.warehouse.table import WITHOUT_TRANSACTIONS, open_table
from tests.support.databases import CONN_ID
from tests.transfers.loads import operator, run

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.lists import Lists
    from tests.support.task_runner import TaskRunner

SECRET_NUMBER, SECRET_TEXT = "27825559876", "Our little secret"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"dataset": "outgoing"},
            r"one of incoming, opt_outs, short_code, scheduled, deliveries; got 'outgoing'",
        ),
        ({"mode": "all"}, r"mode must be one of incremental, backfill, full_refresh; got 'all'"),
        ({"privacy": "digest"}, r"privacy must be one of none, keyed_hash, masked; got 'digest'"),
        ({"text": "digest"}, r"text must be one of keep, drop, redact_numbers; got 'digest'"),
        ({"prefetch": 0}, r"prefetch must be a whole number from 1 to 32; got 0"),
        ({"prefetch": 33}, r"prefetch must be a whole number from 1 to 32; got 33"),
        ({"prefetch": "4"}, r"prefetch must be a whole number from 1 to 32; got '4'"),
        ({"prefetch": 1.5}, r"prefetch must be a whole number from 1 to 32; got 1\.5"),
        ({"dataset": "deliveries"}, r"'deliveries' is read from a ledger: give `ledger_conn_id`"),
        ({"ledger_conn_id": CONN_ID}, r"`ledger_conn_id` is for the dataset 'deliveries'; 'incoming'"),
        (
            {"dataset": "deliveries", "ledger_conn_id": CONN_ID, "include_raw": True},
            r"`include_raw`.*'deliveries' is read from a ledger",
        ),
    ],
    ids=repr,
)
def test_a_parameter_that_makes_no_sense_is_refused_before_anything_is_asked(
    given: dict[str, Any], words: str, lists: Lists, sqlite: Database
) -> None:
    with pytest.raises(InvalidMessage, match=words) as raised:
        run(sqlite, **given)
    assert isinstance(raised.value, AirflowFailException)
    assert lists.requests == 0
    assert sqlite.tables() == []


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (None, "no connection 'warehouse'"),
        ({"conn_type": "winsms", "password": "x"}, "type 'winsms'; expected an SQL database"),
        ({"conn_type": "abacus"}, "type 'abacus', for which no installed package has a hook"),
    ],
    ids=["missing", "not-sql", "unknown-type"],
)
def test_a_connection_that_is_no_database_is_refused(
    connection: dict[str, Any] | None, words: str, runner: TaskRunner
) -> None:
    runner.connections = {**runner.connections, **({CONN_ID: connection} if connection else {})}
    found = runner.run(operator(None))
    assert isinstance(found.error, ConfigurationError)
    assert isinstance(found.error, AirflowFailException)
    assert words in str(found.error)


@pytest.mark.parametrize("conn_type", sorted(WITHOUT_TRANSACTIONS))
def test_a_database_that_would_keep_half_of_a_load_is_refused(conn_type: str, postgres: Database) -> None:
    hook = type("OtherHook", (PostgresHook,), {"conn_type": conn_type})(CONN_ID)
    name = TableName("replies", postgres.schema)
    load = LoadRun(SmsToSqlOperator.clock.now(), None, "credits")
    with (
        pytest.raises(ConfigurationError, match=f"'{conn_type}' cannot be loaded into"),
        open_table(hook, INCOMING, name, load, PrivacyPolicy("none", "keep", None)),
    ):
        pass
    assert postgres.tables() == []


def test_a_task_run_renders_its_fields_and_returns_counts(
    sandbox: Sandbox, runner: TaskRunner, sqlite: Database
) -> None:
    sandbox.incoming(SECRET_NUMBER, SECRET_TEXT)
    runner.connections = {**runner.connections, CONN_ID: sqlite.connection}
    given: dict[str, Any] = {
        "table": "replies_{{ run_id }}",
        "schema": "{{ 'main' }}",
        "mode": "{{ 'back' }}fill",
        "sql_conn_id": "ware{{ 'house' }}",
        "sms_conn_id": "winsms_{{ 'default' }}",
    }
    runner.run(operator(None, "in{{ 'coming' }}", **given))
    assert runner.result == {
        "dataset": "incoming",
        "table": "main.replies_run",
        "rows_read": 1,
        "rows_loaded": 1,
        "rows_removed": 0,
        "unreadable": 0,
        "requests": 1,
        "total": 1,
        "high_water_mark": 5_000_001,
    }
    assert sqlite.column("load_run_id", "replies_run") == ["run"]
    everything = "\n".join(runner.requests)
    assert SECRET_NUMBER not in everything
    assert SECRET_TEXT not in everything
    assert json.loads(json.dumps(runner.result)) == runner.result


def test_the_docstring_has_every_parameter_every_dataset_and_what_is_templated() -> None:
    text = inspect.getdoc(SmsToSqlOperator) or ""
    described = {part.split(":")[0]: part for part in text.split(":param ")[1:]}
    parameters = inspect.signature(SmsToSqlOperator.__init__).parameters
    assert list(described) == [name for name in parameters if name not in {"self", "kwargs"}]
    assert {name for name, words in described.items() if "(templated)" in words} == set(
        SmsToSqlOperator.template_fields
    )
    for dataset in DATASETS:
        assert f"\n{dataset} " in text
