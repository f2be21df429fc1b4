"""A gateway unlike WinSMS, end to end: operators, sensor, loads, watchers and tables, through its sandbox."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from sms_pigeon_for_tests.gateway import PigeonGateway

from airflow_provider_winsms.exceptions import OutcomeUnknown, OutOfCredits, UnsupportedCapability
from airflow_provider_winsms.gateways.base import StatusSource
from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.messages import Recipient
from airflow_provider_winsms.operators.sms import (
    SmsCancelScheduledOperator,
    SmsRefreshStatusOperator,
    SmsSendBatchOperator,
    SmsSendOperator,
)
from airflow_provider_winsms.runtime import Clock
from airflow_provider_winsms.sensors.sms import SmsDeliverySensor
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from tests.support.databases import CONN_ID
from tests.support.pigeon import PASSWORD, USER, Fault, PigeonBox
from tests.support.task_runner import TaskRunner
from tests.support.variants import variant
from tests.triggers.triggerer import Time, Triggerer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.databases import Database

ANN, BEN, CAT = "48512345601", "48512345602", "48512345603"
MANY = [f"48512{index:06}" for index in range(100_001, 100_121)]
SEND = "POST /texts"


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[PigeonBox]:
    with PigeonBox() as found:
        monkeypatch.setenv("AIRFLOW_CONN_PIGEON", json.dumps(found.connection))
        yield found


REAL = [pytest.param(kind, marks=pytest.mark.database) for kind in ("postgres_by_path", "mariadb")]


@pytest.fixture(params=["sqlite", *REAL])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database behind the connection ``warehouse``."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["store", "sqlite", *REAL])
def memory(request: pytest.FixtureRequest) -> Database | None:
    """The ledger: the task's own store, or tables."""
    return None if request.param == "store" else request.getfixturevalue(request.param)


@pytest.fixture
def runner(box: PigeonBox) -> Iterator[TaskRunner]:
    handler = signal.getsignal(signal.SIGTERM)
    yield TaskRunner({"pigeon": box.connection})
    signal.signal(signal.SIGTERM, handler)


def on(box: PigeonBox, kind: type[Any], lacks: str = "") -> type[Any]:
    """Return an operator that goes by the sandbox's time, and repeats requests at once.

    :param lacks: a capability that the gateway does not have.
    """
    without: dict[str, Any] = {lacks: StatusSource.NONE if lacks == "status" else False} if lacks else {}
    gateway = variant(PigeonGateway, capabilities=replace(PigeonGateway.capabilities, **without))

    def hook_of(conn_id: str) -> SmsHook:
        hook = SmsHook.of(conn_id)
        hook.endpoint = replace(hook.endpoint, gateway=gateway(country_code="48"))
        hook._transport = Transport(hook.endpoint, sleep=lambda _: None)
        return hook

    clock = Clock(lambda: pendulum.instance(box.now()), box.advance)
    attributes = {"hook_of": staticmethod(hook_of)} | ({"clock": clock} if hasattr(kind, "clock") else {})
    return variant(kind, **attributes)


def send(box: PigeonBox, lacks: str = "", **kwargs: Any) -> SmsSendOperator:
    kwargs = {"text": "Dzie\u0144 dobry", "to": [ANN, BEN, CAT], "sms_conn_id": "pigeon", **kwargs}
    operator: SmsSendOperator = on(box, SmsSendOperator, lacks)(task_id="send", **kwargs)
    return operator


def ledger_of(runner: TaskRunner, memory: Database | None) -> dict[str, Any]:
    if memory is None:
        return {}
    runner.connections = {**runner.connections, CONN_ID: memory.connection}
    return {"ledger_conn_id": CONN_ID}


def numbers(box: PigeonBox) -> Counter[str]:
    return Counter(text.number.removeprefix("+") for text in box.outbox())


def sends(box: PigeonBox) -> int:
    return sum(1 for asked in box.asked if f"{asked.method} {asked.path}" == SEND)


class TestASend:
    def test_reaches_each_recipient_once_with_its_ids_and_its_cost(
        self, box: PigeonBox, runner: TaskRunner, memory: Database | None
    ) -> None:
        to = ["512 345 601", "+48 512 345 602", "0048512345000", ANN]
        assert runner.run(send(box, to=to, **ledger_of(runner, memory))).error is None
        assert numbers(box) == Counter([ANN, BEN])
        result = runner.result
        assert result["message_ids"] == [text.id for text in box.outbox()]
        assert result["rejected"] == {"bad_number": 1}
        assert (result["cost"], result["currency"], result["duplicates"]) == ("0.165", "PLN", 1)

    def test_goes_out_in_the_alphabet_that_has_its_letters(self, box: PigeonBox, runner: TaskRunner) -> None:
        assert runner.run(send(box, text="Zażółć gęślą jaźń — już")).error is None
        assert {text.body for text in box.outbox()} == {"Zażółć gęślą jaźń — już"}

    def test_of_many_is_cut_into_the_gateways_requests(self, box: PigeonBox, runner: TaskRunner) -> None:
        to = [f"48512{index:06}" for index in range(100_001, 100_251)]
        assert runner.run(send(box, to=to)).error is None
        assert numbers(box) == Counter(to)
        assert sends(box) == 3

    def test_of_different_texts_goes_out_in_batches(self, box: PigeonBox, runner: TaskRunner) -> None:
        messages = [{"text": f"Text {index}", "to": [ANN, BEN]} for index in range(25)]
        batch = on(box, SmsSendBatchOperator)(task_id="send", messages=messages, sms_conn_id="pigeon")
        assert runner.run(batch).error is None
        assert Counter(text.body for text in box.outbox()) == Counter(
            message["text"] for message in messages for _ in range(2)
        )
        assert sends(box) == 2
        assert runner.result["message_ids"] == [text.id for text in box.outbox()]

    def test_outlives_a_session(self, box: PigeonBox, runner: TaskRunner) -> None:
        runner.run(send(box, to=[ANN]))
        box.end_sessions()
        assert runner.another().run(send(box, to=[BEN])).error is None
        assert numbers(box) == Counter([ANN, BEN])
        assert box.sign_ins == 2

    def test_with_a_wrong_password_signs_in_once_and_sends_nothing(
        self, box: PigeonBox, runner: TaskRunner
    ) -> None:
        box.password = "another"  # noqa: S105 - a sandbox's
        for _ in range(2):
            error = runner.run(send(box)).error
            assert isinstance(error, AirflowFailException)
            assert PASSWORD not in str(error)
            assert USER not in str(error)
        assert (box.sign_ins, numbers(box)) == (1, Counter())

    def test_that_the_account_cannot_pay_for_resumes_when_it_can(
        self, box: PigeonBox, runner: TaskRunner, memory: Database | None
    ) -> None:
        box.balance, options = Decimal("0.1"), ledger_of(runner, memory)
        runner.retries = 2
        assert isinstance(runner.run(send(box, **options)).error, OutOfCredits)
        box.balance = Decimal(10)
        assert runner.run(send(box, **options)).error is None
        assert numbers(box) == Counter([ANN, BEN, CAT])

    @pytest.mark.parametrize("fault", [Fault.LATER, Fault.REFUSED])
    def test_that_was_turned_away_is_sent_by_the_retry_alone(
        self, box: PigeonBox, runner: TaskRunner, fault: Fault
    ) -> None:
        box.add_fault(SEND, fault)
        runner.retries = 1
        error = runner.run(send(box)).error
        assert (error is None) is (fault is Fault.LATER)
        if error:
            runner.clear()
            assert runner.run(send(box)).error is None
        assert numbers(box) == Counter([ANN, BEN, CAT])


class TestALostAnswer:
    @pytest.mark.parametrize("fault", [Fault.LOST, Fault.DROPPED, Fault.ERROR_500])
    @pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
    def test_is_looked_up_by_reference_and_nothing_goes_out_twice(
        self, box: PigeonBox, runner: TaskRunner, memory: Database | None, guarantee: str, fault: Fault
    ) -> None:
        box.add_fault(SEND, fault)
        runner.retries, options = 3, {"guarantee": guarantee, **ledger_of(runner, memory)}
        error = runner.run(send(box, **options)).error
        while error is not None and runner.try_number <= 3:
            box.advance(600)
            error = runner.run(send(box, **options)).error
        reached = numbers(box)
        assert max(reached.values(), default=1) == 1
        if guarantee == "exactly_once" or fault is not Fault.DROPPED:
            assert reached == Counter([ANN, BEN, CAT])
        if guarantee == "exactly_once":
            assert error is None
            assert sorted(runner.result["message_ids"]) == sorted(text.id for text in box.outbox())
            assert not any(text.send_at for text in box.outbox())

    def test_stays_unknown_where_nothing_may_be_sent_again(self, box: PigeonBox, runner: TaskRunner) -> None:
        box.add_fault(SEND, Fault.DROPPED)
        assert isinstance(runner.run(send(box)).error, OutcomeUnknown)
        assert numbers(box) == Counter()


class TestAWait:
    @pytest.mark.parametrize("deferrable", [False, True])
    def test_ends_when_every_text_is_delivered(
        self, box: PigeonBox, runner: TaskRunner, deferrable: bool
    ) -> None:
        runner.run(send(box))
        ids = runner.result["message_ids"]
        box.deliver()
        sensor = on(box, SmsDeliverySensor)(
            task_id="wait",
            message_ids=ids,
            sms_conn_id="pigeon",
            deferrable=deferrable,
            poke_interval=0.02,
            timeout=5,
        )
        assert runner.run_to_its_end(sensor).error is None
        assert runner.result == {
            "total": 3,
            "delivered": 3,
            "states": {"delivered": 3},
            "cost": "0.2475",
            "currency": "PLN",
        }


class TestScheduledTexts:
    def test_are_cancelled_one_request_each(
        self, box: PigeonBox, runner: TaskRunner, memory: Database | None
    ) -> None:
        options = ledger_of(runner, memory)
        at = pendulum.instance(box.now()).add(hours=3)
        assert runner.run(send(box, send_at=at, **options)).error is None
        ids = runner.result["message_ids"]
        cancel = on(box, SmsCancelScheduledOperator)(
            task_id="cancel", message_ids=[*ids, "0b6f7f2e-unknown"], sms_conn_id="pigeon", **options
        )
        other = runner.another()
        other.run(cancel)
        assert {text.state for text in box.outbox()} == {"cancelled"}
        assert other.result["cancelled"] == 3

    @pytest.mark.parametrize("fault", [Fault.LOST, Fault.ERROR_500])
    def test_are_known_to_be_cancelled_though_the_answer_was_lost(
        self, box: PigeonBox, runner: TaskRunner, memory: Database | None, fault: Fault
    ) -> None:
        options = ledger_of(runner, memory)
        runner.run(send(box, send_at=pendulum.instance(box.now()).add(hours=3), **options))
        ids = runner.result["message_ids"]
        box.add_fault(f"DELETE /texts/{ids[1]}", fault)
        cancel = on(box, SmsCancelScheduledOperator)(
            task_id="cancel", message_ids=ids, sms_conn_id="pigeon", **options
        )
        other = runner.another()
        assert other.run(cancel).error is None
        assert (other.result["cancelled"], other.result["gone_out"]) == (3, 0)

    @pytest.mark.parametrize("fault", [None, Fault.LOST, Fault.DROPPED])
    def test_of_a_killed_task_are_cancelled(
        self, box: PigeonBox, runner: TaskRunner, memory: Database | None, fault: Fault | None
    ) -> None:
        at = pendulum.instance(box.now()).add(hours=3)
        options = {"send_at": at, "cancel_on_kill": True, "to": MANY, **ledger_of(runner, memory)}
        runner.retries = 3

        def kill(_: object) -> None:
            if not sends(box):
                return
            box.before_answer = lambda _: None
            if fault:
                box.add_fault(f"DELETE /texts/{box.outbox()[1].id}", fault)
            signal.raise_signal(signal.SIGTERM)

        box.before_answer = kill
        assert runner.run(send(box, **options)).error is not None
        assert sends(box) == 1
        assert runner.run(send(box, **options)).error is None
        live = Counter(text.number.removeprefix("+") for text in box.outbox() if text.state == "scheduled")
        assert live == Counter(MANY)

    def test_go_out_at_their_second(self, box: PigeonBox, runner: TaskRunner) -> None:
        at = pendulum.instance(box.now()).add(hours=3, seconds=7)
        runner.run(send(box, send_at=at))
        box.advance(3 * 3600 + 6)
        assert {text.state for text in box.outbox()} == {"scheduled"}
        box.advance(1)
        assert {text.state for text in box.outbox()} == {"sent"}


class TestTables:
    def test_have_what_became_of_each_text(
        self, box: PigeonBox, runner: TaskRunner, database: Database
    ) -> None:
        options = ledger_of(runner, database)
        to = [Recipient(number, "customer-7") for number in (ANN, BEN, CAT)]
        assert runner.run(send(box, to=to, **options)).error is None
        assert database.message_ids("sms_messages") == sorted(
            (text.id for text in box.outbox()), key=lambda each: (len(each), each)
        )
        assert {str(text.reference) for text in box.outbox()}.isdisjoint({"customer-7"})
        assert set(database.column("reference", "sms_messages")) == {"customer-7"}
        assert set(database.column("currency", "sms_messages")) == {"PLN"}
        assert {Decimal(str(cost)) for cost in database.column("cost", "sms_messages")} == {Decimal("0.0825")}
        box.deliver()
        refresh = on(box, SmsRefreshStatusOperator)(
            task_id="refresh", sms_conn_id="pigeon", ledger_conn_id=CONN_ID
        )
        other = runner.another()
        assert other.run(refresh).error is None
        assert set(database.column("state", "sms_messages")) == {"delivered"}
        load = on(box, SmsToSqlOperator)(
            task_id="load",
            dataset="deliveries",
            table="deliveries",
            sql_conn_id=CONN_ID,
            sms_conn_id="pigeon",
            ledger_conn_id=CONN_ID,
        )
        assert runner.another().run(load).error is None
        assert database.message_ids("deliveries") == database.message_ids("sms_messages")

    def test_are_loaded_with_replies_each_once(
        self, box: PigeonBox, runner: TaskRunner, database: Database
    ) -> None:
        runner.connections = {**runner.connections, CONN_ID: database.connection}

        def load() -> dict[str, Any]:
            operator = on(box, SmsToSqlOperator)(
                task_id="load", dataset="incoming", table="replies", sql_conn_id=CONN_ID, sms_conn_id="pigeon"
            )
            other = runner.another()
            assert other.run(operator).error is None
            result: dict[str, Any] = other.result
            return result

        ids = []
        for count in (120, 3):
            for index in range(count):
                box.advance(60)
                ids.append(box.receive(f"Tak {index}"))
            result = load()
            assert result["rows_loaded"] == count
            assert sorted(database.column("message_id", "replies")) == sorted(ids)
        assert result["rows_read"] < 120
        assert set(database.column("number", "replies")) == {"48512345678"}


class TestAWatcher:
    @pytest.fixture
    async def time(self) -> AsyncIterator[Time]:
        made = Time()
        yield made
        for triggerer in made.triggerers:
            await triggerer.kill()

    async def test_fires_once_for_each_new_reply(self, box: PigeonBox, time: Time) -> None:
        for index in range(60):
            box.advance(60)
            box.receive(f"Old {index}")
        triggerer = Triggerer({}, time)
        await triggerer.watch("replies", sms_conn_id="pigeon")
        ids = []
        for index in range(70):
            await asyncio.sleep(0)
            box.advance(index % 2)
            ids.append(box.receive(f"Tak {index}"))
        while len(triggerer.stored) < len(ids):
            await triggerer.poll_and_store()
        await triggerer.poll_and_store()
        assert sorted(event.payload["message_id"] for event in triggerer.stored) == sorted(ids)


class TestWhatTheGatewayCannotDo:
    @pytest.mark.parametrize("dataset", ["opt_outs", "scheduled", "short_code"])
    def test_is_refused_by_name_before_a_request(
        self, box: PigeonBox, runner: TaskRunner, sqlite: Database, dataset: str
    ) -> None:
        runner.connections = {**runner.connections, CONN_ID: sqlite.connection}
        load = on(box, SmsToSqlOperator)(
            task_id="load", dataset=dataset, table="rows", sql_conn_id=CONN_ID, sms_conn_id="pigeon"
        )
        error = runner.run(load).error
        assert isinstance(error, UnsupportedCapability)
        assert "Pigeon does not offer" in str(error)
        assert "`dataset`" in str(error)
        assert (box.asked, box.sign_ins) == ([], 0)


def test_the_connection_can_be_tried(box: PigeonBox) -> None:
    box.balance = Decimal("12.3400")
    assert SmsHook.of("pigeon").test_connection() == (True, "Connected; 12.3400 PLN left.")
