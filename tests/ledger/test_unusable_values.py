"""What the gateway layer lets through, the ledger keeps; what it does not, costs no text its outcome."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.gateways.json_numbers import ID_END, PRICE_END
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sensors.sms import SmsDeliverySensor
from tests.gateways.stub import Stub, answer
from tests.ledger.batches import FIRST, accepted, counts, messages, record
from tests.support.databases import CONN_ID
from tests.support.task_runner import TaskRunner

if TYPE_CHECKING:
    from airflow_provider_winsms.ledger.sql import SqlLedger
    from tests.gateways.stub import Reply
    from tests.ledger.history import History
    from tests.support.databases import Database

NUMBERS = [f"2782555010{index}" for index in range(5)]
COSTS = ["1e30", "1e999999999", "1e999999999999999999999", "1e11", "1e10", "NaN", "true", "-1", "9" * 5000]
PRICES = [PRICE_END - Decimal("0.0001")] * 5


def receipts(cost: str = "1.3", message_id: str = "7") -> Reply:
    """Answer that five recipients are accepted, the third of them so."""
    rows = [
        f'{{"mobileNumber": "{number}", "accepted": true, "apiMessageId": {index + 1}, "creditCost": 1.3}}'
        for index, number in enumerate(NUMBERS)
    ]
    rows[2] = (
        f'{{"mobileNumber": "{NUMBERS[2]}", "accepted": true, "apiMessageId": {message_id}, '
        f'"creditCost": {cost}, "newCreditBalance": {cost}}}'
    )
    return answer(200, body=f'{{"recipients": [{", ".join(rows)}]}}'.encode())


def runner_for(stub: Stub) -> TaskRunner:
    gateway = {"conn_type": "winsms", "host": stub.base_url, "password": "any"}
    return TaskRunner({"winsms_default": gateway}, retries=3)


def send(**kwargs: Any) -> SmsSendOperator:
    return SmsSendOperator(task_id="send", text="Hi", to=NUMBERS, **kwargs)


@pytest.mark.usefixtures("sqlite")
@pytest.mark.parametrize("ledger_conn_id", [CONN_ID, None], ids=["tables", "task-state"])
@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost[:20])
def test_a_send_whose_cost_nobody_can_use_succeeds_and_says_that_it_is_unknown(
    cost: str, ledger_conn_id: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with Stub(receipts(cost)) as stub:
        runner = runner_for(stub)
        assert runner.run(send(ledger_conn_id=ledger_conn_id)).error is None
        assert runner.result["message_ids"] == [1, 2, 7, 4, 5]
        assert (runner.result["cost"], runner.result["unknown"]) == (None, 0)
        assert runner.run(send(ledger_conn_id=ledger_conn_id)).error is None
        assert len(stub.requests) == 1
    assert "states no amount that can be read for 1 accepted text" in capsys.readouterr().out


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost[:20])
def test_every_database_keeps_the_ids_beside_a_cost_that_nobody_can_use(
    database: Database, cost: str
) -> None:
    with Stub(receipts(cost)) as stub:
        assert runner_for(stub).run(send(ledger_conn_id=CONN_ID)).error is None
    found = database.execute("SELECT message_id, state, cost FROM {}sms_messages ORDER BY position")
    assert [(row[0], row[1]) for row in found] == [(str(each), "accepted") for each in (1, 2, 7, 4, 5)]
    assert counts(database) == [5, 0, 0, 0, Decimal("5.2"), Decimal(0)]


@pytest.mark.parametrize("message_id", ["9223372036854775808", "0", "1"])
def test_a_recipient_without_a_usable_id_is_unknown_and_never_sent_to_again(
    database: Database, runner: TaskRunner, message_id: str
) -> None:
    with Stub(receipts(message_id=message_id)) as stub:
        runner.connections, runner.retries = runner_for(stub).connections, 3
        assert runner.run(send(ledger_conn_id=CONN_ID, guarantee="at_most_once")).error is not None
        assert runner.run(send(ledger_conn_id=CONN_ID, guarantee="at_most_once")).error is not None
        assert [request.path[-5:] for request in stub.requests] == ["/send"]
    of_first = (None, "unknown") if message_id == "1" else ("1", "accepted")
    found = database.execute("SELECT message_id, state FROM {}sms_messages ORDER BY position")
    assert [tuple(row) for row in found] == [
        of_first,
        ("2", "accepted"),
        (None, "unknown"),
        ("4", "accepted"),
        ("5", "accepted"),
    ]


def test_the_highest_id_and_the_highest_price_are_kept_and_added_up(
    database: Database, tables: SqlLedger, history: History
) -> None:
    receipts = {index: accepted(ID_END - 1 - index, str(price)) for index, price in enumerate(PRICES)}
    claim = record(5)
    tables.claim(FIRST, claim, messages(5))
    claim.apply(receipts)
    tables.record(FIRST, claim, receipts)
    assert counts(database)[4] == sum(PRICES)
    ids = [ID_END - 1 - index for index in range(5)]
    assert {message_id: cost for message_id, (_, cost) in history.states(ids).items()} == dict(
        zip(ids, PRICES, strict=True)
    )


def test_ten_million_of_the_highest_price_fit_into_a_batch() -> None:
    assert 10**7 * (PRICE_END - Decimal("0.0001")) < 10**10


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost[:20])
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_wait_ends_although_nobody_can_use_a_cost(deferrable: bool, cost: str) -> None:
    row = '{"apiMessageId": %d, "statusDelivered": true, "creditCost": %s}'
    body = f'{{"messageStatuses": [{row % (1, cost)}, {row % (2, "1.3")}]}}'
    with Stub(answer(200, body=body.encode())) as stub:
        runner = runner_for(stub)
        sensor = SmsDeliverySensor(
            task_id="wait", message_ids=[1, 2], deferrable=deferrable, poke_interval=0.02, timeout=5
        )
        assert runner.run(sensor).error is None
    assert runner.result == {
        "total": 2,
        "delivered": 2,
        "states": {"delivered": 2},
        "cost": None,
        "currency": "credits",
    }


@pytest.mark.parametrize("balance", [*COSTS[:4], "NaN", "9" * 5000], ids=lambda balance: balance[:20])
def test_a_connection_whose_balance_nobody_can_use_is_a_connection(
    monkeypatch: pytest.MonkeyPatch, balance: str
) -> None:
    with Stub(answer(200, body=f'{{"creditBalance": {balance}}}'.encode())) as stub:
        gateway = {"conn_type": "winsms", "host": stub.base_url, "password": "any"}
        monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(gateway))
        found = SmsHook.of("winsms_default").test_connection()
    assert found == (True, "Connected; the gateway states no balance that can be read.")
