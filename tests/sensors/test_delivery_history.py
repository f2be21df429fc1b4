"""The sensor beside the ledger: waiting for a batch, for very many texts, and writing what it sees."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout

from airflow_provider_winsms.exceptions import ConfigurationError, DeliveryFailed, InvalidMessage
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sensors.sms import SmsDeliverySensor
from airflow_provider_winsms.warehouse.views import SourceTables, create_views
from tests.support import databases
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

DELIVERED, FAILED, NEVER_SENT, STAYS_SENT = "27000000010", "27000000011", "27000000012", "27000000013"


@pytest.fixture
def waiter(runner: TaskRunner) -> TaskRunner:
    """Another task instance than the one that sends."""
    return runner.another()


@pytest.fixture(params=["poke", "deferrable"])
def mode(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


def sent(runner: TaskRunner, *numbers: str, **kwargs: Any) -> dict[str, Any]:
    runner.run(SmsSendOperator(task_id="send", text="Hi", to=list(numbers), **kwargs))
    result: dict[str, Any] = runner.result
    return result


def wait(runner: TaskRunner, mode: str, *, must_defer: bool = True, **kwargs: Any) -> BaseException | None:
    """Run the sensor to its end in either mode, and return the error that ended it."""
    kwargs = {"poke_interval": 0.02, "timeout": 5, **kwargs}
    sensor = SmsDeliverySensor(task_id="wait", deferrable=mode == "deferrable", **kwargs)
    result = runner.run(sensor)
    if mode == "deferrable" and must_defer:
        assert result.state == "deferred", result.error
        result = runner.resume(sensor, runner.fire())
    error: BaseException | None = result.error
    return error


def states(ledger: Database) -> list[str]:
    return [row[0] for row in ledger.execute("SELECT state FROM {}sms_messages ORDER BY position")]


def test_a_batch_is_waited_for_by_its_id(
    mode: str, ledger: Database, runner: TaskRunner, waiter: TaskRunner
) -> None:
    assert ledger.kind == "sqlite"
    batch = sent(runner, DELIVERED, STAYS_SENT, ledger_conn_id=CONN_ID)["batch"]
    wait(waiter, mode, batch="{{ '" + batch + "' }}", ledger_conn_id=CONN_ID, timeout=1, min_delivered=0.5)
    assert waiter.result["states"] == {"sent": 1, "delivered": 1}


def test_a_trigger_that_waits_for_a_batch_carries_no_ids(
    ledger: Database, runner: TaskRunner, waiter: TaskRunner
) -> None:
    result = sent(runner, STAYS_SENT, ledger_conn_id=CONN_ID)
    sensor = SmsDeliverySensor(
        task_id="wait", batch=result["batch"], ledger_conn_id=CONN_ID, deferrable=True, timeout=3600
    )
    assert waiter.run(sensor).state == "deferred"
    wait = waiter.trigger().serialize()[1]["wait"]
    assert wait["source"] == {"batch": result["batch"]}
    assert wait["ledger"] == [CONN_ID, "sms_"]
    assert str(result["message_ids"][0]) not in json.dumps(wait)
    assert ledger.count("sms_batches") == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"batch": "f" * 32, "ledger_conn_id": CONN_ID}, "There is no batch"),
        ({"message_ids": [1], "ledger_conn_id": "nowhere"}, "There is no connection 'nowhere'"),
        ({"message_ids": [1], "sms_conn_id": "nowhere"}, "There is no connection 'nowhere'"),
        ({"message_ids": ["x"]}, "whole number"),
    ],
)
@pytest.mark.usefixtures("ledger")
def test_bad_input_ends_the_wait_before_any_request(
    wrong: dict[str, Any], says: str, mode: str, sandbox: Sandbox, waiter: TaskRunner
) -> None:
    try:
        error = wait(waiter, mode, must_defer=False, **wrong)
    except InvalidMessage as refused:
        error = refused
    assert isinstance(error, (InvalidMessage, ConfigurationError))
    assert says in str(error)
    assert sandbox.requests() == []


def test_what_is_seen_is_written_into_the_ledger(
    mode: str, ledger: Database, runner: TaskRunner, waiter: TaskRunner
) -> None:
    result = sent(runner, DELIVERED, FAILED, NEVER_SENT, STAYS_SENT, ledger_conn_id=CONN_ID)
    assert states(ledger) == ["accepted"] * 4
    error = wait(waiter, mode, message_ids=result, ledger_conn_id=CONN_ID, min_delivered=0.5, timeout=1)
    assert isinstance(error, DeliveryFailed)
    assert states(ledger) == ["delivered", "failed", "not_sent", "sent"]


def test_the_views_on_delivery_know_what_the_wait_saw(
    mode: str, ledger: Database, runner: TaskRunner, waiter: TaskRunner
) -> None:
    result = sent(runner, DELIVERED, STAYS_SENT, ledger_conn_id=CONN_ID)
    wait(waiter, mode, message_ids=result, ledger_conn_id=CONN_ID, timeout=1)
    create_views(ledger.hook(), SourceTables(ledger_prefix="sms_"), "sms_")
    assert ledger.execute("SELECT accepted, delivered, rate FROM {}sms_delivery_by_day") == [(2, 1, 0.5)]


def test_a_prefix_names_the_tables(
    mode: str, ledger: Database, runner: TaskRunner, waiter: TaskRunner
) -> None:
    where: dict[str, Any] = {"ledger_conn_id": CONN_ID, "ledger_prefix": "winter_"}
    result = sent(runner, DELIVERED, STAYS_SENT, **where)
    wait(waiter, mode, message_ids=result, timeout=1, **where)
    assert ledger.column("state", "winter_messages") == ["delivered", "sent"]


def test_a_ledger_that_is_away_is_waited_for(
    mode: str,
    ledger: Database,
    runner: TaskRunner,
    waiter: TaskRunner,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    result = sent(runner, STAYS_SENT, ledger_conn_id=CONN_ID)
    away = databases.sqlite(tmp_path / "no" / "such" / "folder.db")
    away.let_tasks_find_it(monkeypatch)
    error = wait(waiter, mode, message_ids=result, ledger_conn_id=CONN_ID, timeout=0.5)
    assert isinstance(error, AirflowSensorTimeout)
    assert "The last error: The database of the connection 'warehouse' could not be opened" in str(error)
    assert states(ledger) == ["accepted"]


def test_a_ledger_whose_connection_cannot_be_read_for_now_does_not_end_a_deferred_wait(
    ledger: Database, runner: TaskRunner, waiter: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow calls a connection missing, too, whose secrets backend or metadata database is away."""
    result = sent(runner, STAYS_SENT, ledger_conn_id=CONN_ID)
    sensor = SmsDeliverySensor(
        task_id="wait", message_ids=result, ledger_conn_id=CONN_ID, deferrable=True, timeout=2
    )
    assert waiter.run(sensor).state == "deferred"
    for name in ledger.environment:
        monkeypatch.delenv(name)
    error = waiter.resume(sensor, waiter.fire()).error
    assert isinstance(error, AirflowSensorTimeout)
    assert f"The last error: There is no connection '{CONN_ID}'" in str(error)


def test_very_many_ids_defer_in_few_bytes(sandbox: Sandbox, runner: TaskRunner, waiter: TaskRunner) -> None:
    sandbox.set_account(credit_balance=5_000)
    ids = sent(runner, *(f"2782{place:07d}" for place in range(5_000)))["message_ids"]
    sensor = SmsDeliverySensor(task_id="wait", message_ids=ids, deferrable=True, min_delivered=0)
    sandbox.add_fault("503-before-acceptance", operation="smsStatus", times=8)
    assert waiter.run(sensor).state == "deferred"
    assert len(json.dumps(waiter.reported)) < 5_000
    assert sum(map(len, waiter.requests)) < 10_000
    sandbox.clear_faults()
    sandbox.advance(3600)
    before = len(sandbox.requests())
    assert waiter.resume(sensor, waiter.fire()).error is None
    assert set(waiter.result["states"]) == {"delivered", "failed"}
    assert waiter.result["total"] == 5_000
    assert len(sandbox.requests()) - before == 5


def test_ids_that_are_gone_from_xcom_end_the_wait(runner: TaskRunner, waiter: TaskRunner) -> None:
    first, *_ = sent(runner, STAYS_SENT)["message_ids"]
    sensor = SmsDeliverySensor(
        task_id="wait", message_ids=list(range(first, first + 2000)), deferrable=True, min_delivered=0.0001
    )
    assert waiter.run(sensor).state == "deferred"
    waiter.xcoms.clear()
    error = waiter.resume(sensor, waiter.fire()).error
    assert isinstance(error, InvalidMessage)
    assert "The XCom 'waiting_for' with the ids of the texts is gone." in str(error)
