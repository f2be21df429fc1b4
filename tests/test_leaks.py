"""Seed known values, run everything, in success and in failure, and search all that comes out for them."""

from __future__ import annotations

import json
import logging
import signal
import sqlite3
import traceback
from argparse import Namespace
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.sdk import DAG
from httpx import Response

from airflow_provider_winsms.cli.commands import unresolved
from airflow_provider_winsms.exceptions import (
    BalanceTooLow,
    ConfigurationError,
    DeliveryFailed,
    GatewayUnavailable,
    IdempotencyConflict,
    InvalidMessage,
    LedgerUnavailable,
    OutcomeUnknown,
    OutOfCredits,
    SendStopped,
)
from airflow_provider_winsms.operators.sms import (
    SmsBalanceCheckOperator,
    SmsCancelScheduledOperator,
    SmsRefreshStatusOperator,
    SmsSendBatchOperator,
    SmsSendOperator,
)
from airflow_provider_winsms.operators.views import SmsViewsOperator
from airflow_provider_winsms.sensors.sms import SmsBalanceSensor, SmsDeliverySensor
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator
from airflow_provider_winsms.warehouse.datasets import DATASETS
from tests.conftest import API_KEY
from tests.support.send_world import SendWorld, broken_store, kill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

LISTED = [dataset for dataset in DATASETS if dataset != "deliveries"]
NUMBER, STOPPER = "27825559871", "27825559872"
FAILS, STAYS_SENT, BAD_NUMBER = "27000000011", "27000000013", "27000000005"
TEXT, REPLY = "Your secret word is Xylophone", "My answer is Quetzalcoatl"
HASH_KEY = "hash-key-that-nobody-sees"
SECRETS = (NUMBER, STOPPER, FAILS, STAYS_SENT, BAD_NUMBER, "Xylophone", "Quetzalcoatl", API_KEY, HASH_KEY)


def send(**kwargs: Any) -> SmsSendOperator:
    return SmsSendOperator(task_id="send", **{"text": TEXT, "to": [NUMBER, FAILS, STAYS_SENT], **kwargs})


def send_batch(**kwargs: Any) -> SmsSendBatchOperator:
    return SmsSendBatchOperator(task_id="send", messages=[{"text": TEXT, "to": NUMBER}], **kwargs)


def load(dataset: str, **kwargs: Any) -> SmsToSqlOperator:
    return SmsToSqlOperator(
        task_id="load", dataset=dataset, sql_conn_id="warehouse", **{"table": "sms", **kwargs}
    )


def wait(message_ids: Any, **kwargs: Any) -> SmsDeliverySensor:
    return SmsDeliverySensor(task_id="wait", message_ids=message_ids, poke_interval=0.02, **kwargs)


@pytest.fixture
def everything_written(
    runner: TaskRunner, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[[], str]]:
    """Give a function that returns all that was logged, printed, stored, raised or sent to Airflow."""
    caplog.set_level(logging.DEBUG)
    logging.captureWarnings(capture=True)

    def everything() -> str:
        printed = capfd.readouterr()
        raised = [line for error in errors for line in traceback.format_exception(error)]
        stored = [
            json.dumps(part, default=str) for part in (runner.xcoms, runner.task_state, runner.reported)
        ]
        return "\n".join([printed.out, printed.err, caplog.text, *runner.requests, *stored, *raised])

    errors: list[BaseException] = []
    run_really = runner.run

    def run(task: Any) -> Any:
        result = run_really(task)
        if result.error is not None:
            errors.append(result.error)
        return result

    runner.run = run  # type: ignore[method-assign] # keeps the errors; the runner itself does the work
    yield everything
    logging.captureWarnings(capture=False)


def _send_and_wait(runner: TaskRunner, **kwargs: Any) -> None:
    runner.run(send())
    runner.run_to_its_end(wait(runner.result, timeout=0.2, **kwargs))


def _send_that_waits(**kwargs: Any) -> Callable[[TaskRunner, Sandbox], object]:
    def scenario(runner: TaskRunner, sandbox: Sandbox) -> None:
        sandbox.add_fault("429-too-many-requests", operation="smsStatus", retry_after=1)
        task = send(wait_for_delivery=True, delivery_timeout=0.2, **kwargs)
        assert isinstance(runner.run_to_its_end(task).error, DeliveryFailed)

    return scenario


def _history(runner: TaskRunner, sandbox: Sandbox) -> None:
    """Send, wait and refresh beside a ledger."""
    ledger = {"ledger_conn_id": "warehouse", "ledger_text": "keep"}
    runner.run(send(**ledger))
    sensor = wait(
        None,
        batch=runner.result["batch"],
        ledger_conn_id="warehouse",
        timeout=2,
        min_delivered=0.5,
        deferrable=True,
    )
    assert runner.run(sensor).state == "deferred"
    runner.resume(sensor, runner.fire())
    sandbox.add_fault("truncated-json", operation="smsStatus")
    refresh = SmsRefreshStatusOperator(task_id="refresh", ledger_conn_id="warehouse")
    runner.run(refresh)
    assert runner.run(refresh).error is None


def _mapped(runner: TaskRunner, _sandbox: Sandbox) -> None:
    """Map over texts, of a task that would show one that is the same for all."""
    runner.map_index = 0
    for dag in (None, DAG("mapped", schedule=None)):
        options = {"task_id": "send", "show_text": True} | ({"dag": dag} if dag else {})
        operator = SmsSendOperator.partial(**options).expand_kwargs([{"text": TEXT, "to": NUMBER}])
        assert runner.run(operator).error is None
        runner.task_state.clear()


def _fault_before_rendering(runner: TaskRunner, _sandbox: Sandbox) -> None:
    """Let Airflow fail while the fields are as the DAG file has them."""
    runner.xcoms_to_clear = ["return_value"]
    runner.stand_in = lambda request: Response(409) if request.method == "DELETE" else None
    assert runner.run(send()).state == "failed"


def _lose_an_answer(fault: str) -> Callable[[TaskRunner, Sandbox], object]:
    def scenario(runner: TaskRunner, sandbox: Sandbox) -> None:
        sandbox.add_fault(fault)
        runner.run(send())
        runner.run(send())

    return scenario


def _send_again(fault: str, **kwargs: Any) -> Callable[[TaskRunner, Sandbox], object]:
    """Lose what a fault loses, and try, clear and try again, the last time with something else."""

    def scenario(runner: TaskRunner, sandbox: Sandbox) -> None:
        sandbox.add_fault(fault, operation="smsSend")
        runner.run(send(**kwargs))
        runner.run(send(**kwargs))
        runner.clear()
        runner.run(send(**kwargs))
        assert isinstance(runner.run(send(**{**kwargs, "text": f"{TEXT}!"})).error, IdempotencyConflict)
        assert isinstance(runner.run(send(**{**kwargs, "to": [STOPPER]})).error, IdempotencyConflict)

    return scenario


def _ambiguous(runner: TaskRunner, sandbox: Sandbox) -> None:
    sandbox.add_fault("missing-row", operation="smsSend")
    sandbox.add_fault("429-too-many-requests", operation="getScheduledMessages", retry_after=3600, times=99)
    assert isinstance(runner.run(send(guarantee="exactly_once")).error, OutcomeUnknown)


def _resend(runner: TaskRunner, _sandbox: Sandbox) -> None:
    runner.run(send(on_clear="resend"))
    runner.clear()
    assert runner.run(send(on_clear="resend", text=f"{TEXT}!")).error is None


def _no_credits(runner: TaskRunner, sandbox: Sandbox) -> None:
    sandbox.set_account(credit_balance=1)
    assert isinstance(runner.run(send()).error, OutOfCredits)
    sandbox.set_account(credit_balance=100)
    assert runner.run(send()).error is None


def _killed(fault: str | None = None) -> Callable[[TaskRunner, Sandbox], object]:
    """Kill the task when its first request has been answered, and cancel what that held."""

    def scenario(runner: TaskRunner, sandbox: Sandbox) -> None:
        if fault:
            sandbox.add_fault(fault, operation="deleteScheduledMessages", retry_after=3600)
        numbers = [*(f"2783{place:07d}" for place in range(1000)), NUMBER]
        world = SendWorld(sandbox, runner, after={1: kill})
        task = {"text": TEXT, "to": numbers, "send_at": world.now().add(hours=1), "cancel_on_kill": True}
        handler = signal.getsignal(signal.SIGTERM)
        assert isinstance(world.run(**task), (SendStopped, GatewayUnavailable))
        signal.signal(signal.SIGTERM, handler)
        world.run(**task)

    return scenario


def _passed(runner: TaskRunner, sandbox: Sandbox) -> None:
    task = {"send_at": _of(sandbox).add(hours=1)}
    sandbox.add_fault("429-too-many-requests", operation="smsSend", retry_after=3600)
    runner.run(send(**task))
    sandbox.advance(7200)
    assert isinstance(runner.run(send(**task)).error, InvalidMessage)


def _unrecorded(runner: TaskRunner, sandbox: Sandbox) -> None:
    """Let the store take the claim and nothing after it."""
    with broken_store(runner, when=r'PUT /store.*"ids"'):
        assert isinstance(runner.run(send()).error, LedgerUnavailable)
    assert sandbox.outbox()
    runner.run(send())


def _of(sandbox: Sandbox) -> pendulum.DateTime:
    return pendulum.from_timestamp(sandbox.now().timestamp())


def _balances(runner: TaskRunner, _sandbox: Sandbox) -> None:
    """Wait for more than there is in both modes, and check the balance."""
    for deferrable in (False, True):
        sensor = SmsBalanceSensor(
            task_id="wait", least=999_999, poke_interval=0.02, timeout=0.1, deferrable=deferrable
        )
        assert isinstance(runner.run_to_its_end(sensor).error, BalanceTooLow)
    check = SmsBalanceCheckOperator(task_id="check", least=999_999)
    assert isinstance(runner.run(check).error, BalanceTooLow)


def _wrong_key(runner: TaskRunner, _sandbox: Sandbox) -> None:
    wrong = {**runner.connections["winsms_default"], "password": f"{API_KEY}-not"}
    runner.connections = {**runner.connections, "winsms_default": wrong}
    runner.run(send())
    runner.run(wait([1]))


def _malformed_connections(runner: TaskRunner, sandbox: Sandbox) -> None:
    """Put the secrets where they do not belong."""
    named = {"hash_secret": HASH_KEY}
    connection = runner.connections["winsms_default"]
    for wrong in (
        *({"extra": json.dumps(extra)} for extra in (json.dumps(named), [named], HASH_KEY, {HASH_KEY: ""})),
        *({"extra": json.dumps({"hash_secret": value})} for value in ([HASH_KEY], f"{HASH_KEY}\n")),
        {"extra": f"{{{json.dumps(named)[1:-1]}, {json.dumps(named)[1:-1]}}}"},
        {"extra": json.dumps(named)[:-1]},
        *({"host": host} for host in (f"https://:{API_KEY}@host", f"https://host/?key={API_KEY}")),
        {"host": "https://host", "schema": f"v2?key={API_KEY}"},
    ):
        runner.connections = {**runner.connections, "winsms_default": {**connection, **wrong}}
        assert isinstance(runner.run(send()).error, ConfigurationError)
        assert isinstance(runner.run(wait([1])).error, ConfigurationError)
    assert sandbox.requests() == []


def _ledger_that_may_only_be_read(runner: TaskRunner, _sandbox: Sandbox) -> None:
    ledger = {"ledger_conn_id": "warehouse", "ledger_text": "keep"}
    runner.run(send(**ledger))
    read_only = {**runner.connections["warehouse"], "extra": json.dumps({"mode": "ro"})}
    runner.connections = {**runner.connections, "warehouse": read_only}
    assert isinstance(
        runner.run(send(**ledger, to=[STOPPER], idempotency_key="new")).error, LedgerUnavailable
    )


def _unresolved(runner: TaskRunner, sandbox: Sandbox) -> None:
    """Lose an answer, and list whom nobody knows about, in each form that there is."""
    sandbox.add_fault("lost-after-acceptance", operation="smsSend")
    runner.run(send(ledger_conn_id="warehouse", ledger_text="keep"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(runner.connections["warehouse"]))
        for output in ("table", "plain", "json", "yaml"):
            unresolved(
                Namespace(ledger_conn_id="warehouse", ledger_prefix="sms_", output=output, verbose=False)
            )


def _load(dataset: str) -> Callable[[TaskRunner, Sandbox], object]:
    def scenario(runner: TaskRunner, sandbox: Sandbox) -> None:
        sandbox.incoming(NUMBER, REPLY)
        sandbox.incoming(STOPPER, "STOP")
        sandbox.shortcode(NUMBER, REPLY)
        runner.set_extra(hash_secret=HASH_KEY)
        runner.run(send(send_at=pendulum.now("UTC").add(hours=3)))
        assert runner.run(load(dataset)).error is None
        hidden = load(dataset, table="hashed", privacy="keyed_hash", text="redact_numbers")
        assert runner.run(hidden).error is None
        if dataset != "opt_outs":
            masked = load(dataset, table="masked", privacy="masked", text="drop")
            assert runner.run(masked).error is None
            assert isinstance(runner.run(load(dataset, table="masked")).error, ConfigurationError)
        runner.refusal(partial(load, dataset, table="no;table"))
        sandbox.add_fault("truncated-json", times=10)
        runner.run(load(dataset, table="other"))

    return scenario


def _load_deliveries(runner: TaskRunner, _sandbox: Sandbox) -> None:
    runner.run(send(to=[NUMBER, FAILS, BAD_NUMBER], ledger_conn_id="warehouse", ledger_text="keep"))
    for task in (
        load("deliveries", ledger_conn_id="warehouse"),
        load("deliveries", ledger_conn_id="warehouse", mode="full_refresh"),
        load("opt_outs", table="outs"),
        SmsViewsOperator(task_id="views", sql_conn_id="warehouse", deliveries="sms", opt_outs="outs"),
    ):
        assert runner.run(task).error is None


def _campaign(**kwargs: Any) -> Callable[[TaskRunner, Sandbox], object]:
    """Send to rows of a table, some of which are invalid."""

    def scenario(runner: TaskRunner, _sandbox: Sandbox) -> None:
        with closing(sqlite3.connect(runner.connections["warehouse"]["host"])) as database:
            database.execute("CREATE TABLE people (number TEXT, name TEXT)")
            rows = [(NUMBER, "Xylophone"), (FAILS, "Xylophone"), (BAD_NUMBER, "Xylophone"), (NUMBER, None)]
            database.executemany("INSERT INTO people VALUES (?, ?)", [*rows, (f"{NUMBER}x", "Xylophone")])
            database.commit()
        query = {"sql": "SELECT number, name FROM people", "sql_conn_id": "warehouse"}
        given: dict[str, Any] = {"text": "Hi {{ name }}", **query, **kwargs}
        for on_invalid in ("fail", "reject"):
            runner.run(SqlToSmsOperator(task_id="send", on_invalid=on_invalid, **given))

    return scenario


SCENARIOS: dict[str, Callable[[TaskRunner, Sandbox], object]] = {
    "send": lambda runner, _: runner.run(send()),
    "send-batch": lambda runner, _: runner.run(send_batch()),
    "send-shown-text": lambda runner, _: runner.run(
        send(text=f"Call {NUMBER[:5]} {NUMBER[5:]} or {NUMBER}", show_text=True)
    ),
    "send-text-not-shown": lambda runner, _: runner.run(send(text=lambda **_: TEXT, show_text=True)),
    "send-mapped": _mapped,
    "send-fault-before-rendering": _fault_before_rendering,
    "plan": lambda runner, _: runner.run(send(to=[NUMBER, FAILS, f"{NUMBER}99999"], plan_only=True)),
    "plan-not-approved": lambda runner, _: runner.run(send(approved_plan=f"{'0' * 32}.1.1.1")),
    "campaign-plan": _campaign(plan_only=True),
    "send-declined": lambda runner, _: runner.run(send(to=[BAD_NUMBER])),
    "send-no-number": lambda runner, _: runner.run(send(to=[NUMBER + "99999", NUMBER])),
    "send-bad-text": lambda runner, _: runner.run(send(text=lambda **_: TEXT + "\U0001f600")),
    "send-strict": lambda runner, _: runner.run(send(text=f"“{TEXT}”", encoding="strict")),
    "send-long-text": lambda runner, _: runner.run(send(text=TEXT * 40)),
    "send-bad-template": lambda runner, _: runner.run(send(text=TEXT + " {% if %}")),
    "send-undefined": lambda runner, _: runner.run(send(text=TEXT + " {{ nobody.name }}")),
    "send-bad-callable": lambda runner, _: runner.run(send(to=lambda **_: int(NUMBER + "x"))),
    "send-past": lambda runner, _: runner.run(send(send_at=pendulum.datetime(2020, 1, 1))),
    "batch-bad-text": lambda runner, _: runner.run(
        SmsSendBatchOperator(task_id="send", messages=[{"text": TEXT, "to": NUMBER, "wrong": NUMBER}])
    ),
    "campaign": _campaign(),
    "campaign-hashed": _campaign(ledger_conn_id="warehouse", reference_column="name"),
    "campaign-parameters": _campaign(
        sql="SELECT number, name FROM people WHERE number = :number",
        sql_parameters=lambda **_: {"number": NUMBER},
    ),
    "campaign-without-a-column": _campaign(sql="SELECT '27825559871', 'Xylophone' FROM people"),
    "campaign-refused": _campaign(sql="SELECT number, json(name) AS name FROM people"),
    "campaign-bad-expression": _campaign(text="{{ {}[name] }} {{ name | int + name }}"),
    "lost-answer": _lose_an_answer("lost-after-acceptance"),
    "cut-answer": _lose_an_answer("truncated-json"),
    "html-answer": _lose_an_answer("html-answer"),
    "error-answer": _lose_an_answer("500-after-acceptance"),
    "reset": _lose_an_answer("reset-before-acceptance"),
    "missing-row": _lose_an_answer("missing-row"),
    "duplicated-row": _lose_an_answer("duplicated-row"),
    "lost-again": _send_again("lost-after-acceptance"),
    "lost-adopted": _send_again("lost-after-acceptance", guarantee="exactly_once"),
    "lost-absent": _send_again("reset-before-acceptance", guarantee="exactly_once"),
    "lost-repeated": _send_again("lost-after-acceptance", guarantee="at_least_once"),
    "lost-ambiguous": _ambiguous,
    "resent": _resend,
    "no-credits": _no_credits,
    "killed": _killed(),
    "killed-no-cancel": _killed("429-too-many-requests"),
    "time-passed": _passed,
    "unrecorded": _unrecorded,
    "balances": _balances,
    "wrong-key": _wrong_key,
    "malformed-connections": _malformed_connections,
    "read-only-ledger": _ledger_that_may_only_be_read,
    "unresolved": _unresolved,
    "wait": lambda runner, _: _send_and_wait(runner),
    "wait-deferred": lambda runner, _: _send_and_wait(runner, deferrable=True),
    "wait-failed": lambda runner, _: _send_and_wait(runner, min_delivered=1.0),
    "send-and-wait": _send_that_waits(),
    "send-and-wait-deferred": _send_that_waits(deferrable=True),
    "history": _history,
    "cancel": lambda runner, _: (
        runner.run(send(send_at=pendulum.now("UTC").add(hours=3))),
        runner.run(SmsCancelScheduledOperator(task_id="cancel", message_ids=runner.result)),
    ),
    **{f"load-{dataset}": _load(dataset) for dataset in LISTED},
    "load-deliveries": _load_deliveries,
}


PATIENT = {f"load-{dataset}" for dataset in LISTED}
"""Scenarios that wait between attempts, for seconds."""


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(scenario, id=name, marks=[pytest.mark.database] if name in PATIENT else [])
        for name, scenario in SCENARIOS.items()
    ],
)
def test_no_key_number_or_text_comes_out(
    scenario: Callable[[TaskRunner, Sandbox], object],
    runner: TaskRunner,
    sandbox: Sandbox,
    everything_written: Callable[[], str],
    tmp_path: Path,
) -> None:
    runner.add_database("warehouse", tmp_path / "warehouse.db")
    scenario(runner, sandbox)
    written = everything_written()
    assert "task" in written
    assert [secret for secret in SECRETS if secret in written] == []


def test_airflows_own_answer_for_a_connection_hides_its_secrets() -> None:
    from airflow.api_fastapi.core_api.datamodels.connections import ConnectionResponse

    connection = {
        **dict.fromkeys(ConnectionResponse.model_fields),
        "conn_id": "winsms_default",
        "conn_type": "winsms",
        "password": API_KEY,
        "extra": json.dumps({"hash_secret": HASH_KEY, "page_size": 7}),
    }
    answer = ConnectionResponse.model_validate(connection).model_dump_json()
    assert "page_size" in answer
    assert [secret for secret in SECRETS if secret in answer] == []


def test_the_search_finds_what_is_there(runner: TaskRunner, everything_written: Callable[[], str]) -> None:
    runner.run(SmsCancelScheduledOperator(task_id="cancel", message_ids=[TEXT], doc=NUMBER))
    logging.getLogger("somewhere").debug("%s", NUMBER)
    runner.xcoms["leak"] = TEXT
    assert [secret for secret in SECRETS if secret in everything_written()] == [NUMBER, "Xylophone"]
