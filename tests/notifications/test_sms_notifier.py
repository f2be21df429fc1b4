"""Many failures make few texts, and no alert is lost in silence. The sandbox's outbox is the judge."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pendulum
import pytest
from airflow.providers.common.compat.sdk import Variable
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.operators.python import PythonOperator

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.notifications.sms import SmsNotifier
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.runtime import Clock
from airflow_provider_winsms.sandbox import Sandbox
from tests.conftest import API_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.task_runner import TaskRunner

PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"
ON_CALL, OTHER = "27825550101", "27825550102"
SAST = "Africa/Johannesburg"
MONDAY = pendulum.datetime(2026, 11, 30, 2, 10, tz=SAST)
EXCEPTION = "the password of 0825550199 is hunter2"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(api_key=API_KEY, speed=0, credits=1000, now=MONDAY) as box:
        yield box


@pytest.fixture(params=["a variable", "tables"])
def counts(request: pytest.FixtureRequest, runner: TaskRunner, tmp_path: Path) -> dict[str, Any]:
    """The arguments of a notifier, by the place where it counts."""
    if request.param == "a variable":
        return {}
    runner.add_database("book", tmp_path / "ledger.db")
    return {"ledger_conn_id": "book"}


class World:
    """Tasks that fail, in the sandbox's time."""

    def __init__(self, sandbox: Sandbox, runner: TaskRunner) -> None:
        self.sandbox = sandbox
        self.runner = runner

    def notifier(self, **kwargs: Any) -> SmsNotifier:
        box = self.sandbox

        class Notifier(SmsNotifier):
            clock = Clock(lambda: pendulum.from_timestamp(box.now().timestamp()), lambda _: None)

        given = {"text": "{{ dag.dag_id }} failed: {{ ti.task_id }}.", "to": ON_CALL, **kwargs}
        return Notifier(**given)

    def fail(self, task_id: str = "load", **kwargs: Any) -> None:
        """Run a task that fails, and alerts."""
        self.run(
            PythonOperator(
                task_id=task_id, python_callable=_fail, on_failure_callback=self.notifier(**kwargs)
            )
        )

    def run(self, task: Any) -> Any:
        return self.runner.another().run(task)

    @property
    def texts(self) -> list[str]:
        return [row["message"] for row in self.sandbox.outbox()]


def _fail() -> None:
    raise ConnectionError(EXCEPTION)


def _succeed() -> None:
    """Do nothing."""


def _questions(request: httpx.Request) -> httpx.Response | None:
    """Take a question to a person, as Airflow's API does."""
    if not request.url.path.startswith("/hitlDetails/"):
        return None
    return httpx.Response(201, json=json.loads(request.content))


@pytest.fixture
def world(sandbox: Sandbox, runner: TaskRunner) -> World:
    return World(sandbox, runner)


def test_a_failure_is_texted_to_everybody_on_call(world: World, counts: dict[str, Any]) -> None:
    world.fail(to=[ON_CALL, OTHER], **counts)
    assert [(row["mobileNumber"], row["message"]) for row in world.sandbox.outbox()] == [
        (ON_CALL, "dag failed: load."),
        (OTHER, "dag failed: load."),
    ]


def test_within_the_cooldown_alerts_are_held_back_and_the_next_text_counts_them(
    world: World, counts: dict[str, Any]
) -> None:
    for _ in range(4):
        world.fail(**counts)
        world.sandbox.advance(60)
    world.sandbox.advance(15 * 60)
    world.fail("store", **counts)
    world.fail("store", **counts)
    world.sandbox.advance(15 * 60)
    world.fail(**counts)
    assert world.texts == [
        "dag failed: load.",
        "dag failed: store. 3 more since 02:11.",
        "dag failed: load. 1 more since 02:29.",
    ]


@pytest.mark.parametrize(("seconds", "texts"), [(899, 1), (900, 2)])
def test_the_cooldown_ends_to_the_second(
    seconds: int, texts: int, world: World, counts: dict[str, Any]
) -> None:
    world.fail(**counts)
    world.sandbox.advance(seconds)
    world.fail(**counts)
    assert len(world.texts) == texts


def test_each_key_has_a_cooldown_of_its_own(world: World, counts: dict[str, Any]) -> None:
    for task_id in ("load", "store", "load"):
        world.fail(task_id, key="{{ ti.task_id }}", **counts)
    assert world.texts == ["dag failed: load.", "dag failed: store."]


def test_a_day_has_a_most_and_begins_at_midnight(world: World, counts: dict[str, Any]) -> None:
    for _ in range(25):
        world.fail(most_per_day=3, cooldown=timedelta(hours=1), **counts)
        world.sandbox.advance(3600)
    assert world.texts == [
        *["dag failed: load."] * 3,
        "dag failed: load. 19 more since 05:10.",
        *["dag failed: load."] * 2,
    ] or world.texts[3].startswith("dag failed: load. 19 more since 30 Nov 05:10.")


def test_texts_go_out_between_two_times_only(world: World, counts: dict[str, Any]) -> None:
    hours = {"only_between": ("07:00", "22:00"), **counts}
    world.fail(**hours)
    world.fail(**hours)
    assert world.texts == []
    world.sandbox.advance(5 * 3600)
    world.fail(**hours)
    assert world.texts == ["dag failed: load. 2 more since 02:10."]


@pytest.mark.parametrize(("between", "texts"), [(("22:00", "06:00"), 1), (("02:11", "02:10"), 0)])
def test_a_window_may_cross_midnight(between: Any, texts: int, world: World, counts: dict[str, Any]) -> None:
    world.fail(only_between=between, **counts)
    assert len(world.texts) == texts


def test_an_alert_whose_text_was_surely_not_sent_is_counted_by_the_next_one_at_once(
    world: World, counts: dict[str, Any]
) -> None:
    world.fail(**counts)
    world.fail(**counts)
    world.sandbox.advance(1000)
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", retry_after=3600)
    world.fail(**counts)
    world.sandbox.advance(60)
    world.fail(**counts)
    assert world.texts == ["dag failed: load.", "dag failed: load. 2 more since 02:10."]


def test_what_a_text_with_an_unknown_outcome_was_to_tell_is_told_again(
    world: World, counts: dict[str, Any]
) -> None:
    world.fail(**counts)
    world.fail(**counts)
    world.sandbox.advance(1000)
    world.sandbox.add_fault("lost-after-acceptance", operation="smsSend")
    world.fail(**counts)
    world.fail(**counts)
    world.sandbox.advance(1000)
    world.fail(**counts)
    assert world.texts == [
        "dag failed: load.",
        "dag failed: load. 1 more since 02:10.",
        "dag failed: load. 2 more since 02:10.",
    ]


def test_the_same_event_texts_once_however_often_its_callback_is_called(
    world: World, runner: TaskRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.add_database("book", tmp_path / "ledger.db")
    for name in ("winsms_default", "book"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(runner.connections[name]))
    context: Any = {
        "dag_run": {"dag_id": "sales_etl", "dag_run_id": "manual__1"},
        "deadline": {"id": "5e0c7b"},
    }
    for _ in range(2):
        world.notifier(text="{{ dag_run.dag_id }} is late.", ledger_conn_id="book")(context)
        world.sandbox.advance(1000)
    assert world.texts == ["sales_etl is late."]


def test_a_typo_in_the_template_of_a_deadline_is_an_error_and_no_empty_text(
    world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(runner.connections["winsms_default"]))
    context: Any = {"dag_run": {"dag_id": "sales_etl", "dag_run_id": "manual__1"}}
    world.notifier(text="Late: {{ dagrun.dag_id }}")(context)
    assert not world.texts


def test_a_text_whose_answer_was_lost_is_never_sent_again(world: World, counts: dict[str, Any]) -> None:
    world.sandbox.add_fault("lost-after-acceptance", operation="smsSend")
    world.fail(**counts)
    world.fail(**counts)
    assert world.texts == ["dag failed: load."]


def test_an_account_without_credits_loses_no_alert(world: World, counts: dict[str, Any]) -> None:
    world.sandbox.set_account(credit_balance=0)
    world.fail(**counts)
    world.sandbox.set_account(credit_balance=10)
    world.fail(**counts)
    assert world.texts == ["dag failed: load. 1 more since 02:10."]


@pytest.mark.parametrize(
    "wrong",
    [
        {"sms_conn_id": "nowhere"},
        {"ledger_conn_id": "nowhere"},
        {"text": "{{ nowhere.at_all }}"},
        {"to": "{{ var.value.nowhere }}"},
        {"to": "{{ 'quagga' }}"},
    ],
    ids=str,
)
def test_whatever_is_wrong_the_task_ends_as_it_would_and_the_log_tells_no_number_and_no_text(
    wrong: dict[str, Any], world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"text": "Call {{ '0825550188' }}", "to": ON_CALL, **wrong}
    load = PythonOperator(
        task_id="load", python_callable=_succeed, on_success_callback=world.notifier(**given)
    )
    assert world.run(load).state == "success"
    out = capsys.readouterr().out
    assert "The alert was not sent" in out
    for secret in (ON_CALL, ON_CALL[2:], "825550188", "quagga", API_KEY):
        assert secret not in out
    assert not world.texts


def test_an_alert_of_a_send_is_not_confused_with_it(world: World, counts: dict[str, Any]) -> None:
    send = SmsSendOperator(
        task_id="send", text="Hi", to=OTHER, on_success_callback=world.notifier(**counts), **counts
    )
    assert world.run(send).state == "success"
    assert world.texts == ["Hi", "dag failed: send."]


def test_a_question_to_a_person_is_announced(world: World, counts: dict[str, Any]) -> None:
    world.runner.stand_in = _questions
    notifier = world.notifier(text="{{ ti.task_id }} waits for you.", **counts)
    approve = ApprovalOperator(task_id="approve", subject="Deploy?", notifiers=[notifier])
    world.run(approve)
    assert world.texts == ["approve waits for you."]


def test_numbers_may_come_from_a_variable(world: World, counts: dict[str, Any]) -> None:
    world.runner.variables["on_call"] = f"{ON_CALL}, 082 555 0102"
    world.fail(to="{{ var.value.on_call }}", **counts)
    assert len(world.texts) == 2


def test_the_notifier_that_is_shown_texts_whoever_is_on_call(
    world: World, runner: TaskRunner, tmp_path: Path
) -> None:
    runner.add_database("warehouse", tmp_path / "ledger.db")
    runner.variables["on_call_phones"] = ON_CALL
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    notifier = eval(code, {"SmsNotifier": SmsNotifier})  # noqa: S307 - the page's own code
    world.run(PythonOperator(task_id="load", python_callable=_fail, on_failure_callback=notifier))
    assert world.texts == ["dag failed: load."]


def test_the_callback_of_a_deadline_texts_from_an_event_loop(
    world: World, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(runner.connections["winsms_default"]))
    monkeypatch.setenv("AIRFLOW_VAR_ON_CALL", ON_CALL)
    run = {"dag_id": "sales_etl", "dag_run_id": "manual__1"}
    context: Any = {"dag_run": run, "deadline": {"deadline_time": "2026-11-30T00:00:00Z"}}

    async def miss_the_deadline() -> None:
        text, to = "{{ dag_run.dag_id }} is late.", "{{ var.value.on_call }}"
        await world.notifier(text=text, to=to, context=context)

    kept: dict[str, str] = {}
    monkeypatch.setattr(Variable, "set", kept.__setitem__)
    asyncio.run(miss_the_deadline())
    assert world.texts == ["sales_etl is late."]
    assert [name.startswith("sms_alert_") for name in kept] == [True]


def test_a_notifier_renders_anew_for_each_event(world: World, counts: dict[str, Any]) -> None:
    notifier = world.notifier(key="{{ ti.task_id }}", **counts)
    for task_id in ("load", "store"):
        world.run(PythonOperator(task_id=task_id, python_callable=_fail, on_failure_callback=notifier))
    assert world.texts == ["dag failed: load.", "dag failed: store."]
    assert notifier.text.startswith("{{")


def test_a_long_text_is_shortened_and_a_strange_one_is_spelled(world: World, counts: dict[str, Any]) -> None:
    world.fail(**counts)
    world.fail(**counts)
    world.sandbox.advance(1000)
    world.fail(text="\N{JACK-O-LANTERN}" + "{{ 'failed with \x07 words ' * 40 }}", **counts)
    (_, text) = world.texts
    assert text.startswith("?failed with ? words")
    assert text.endswith("... 1 more since 02:10.")
    assert 300 < len(text) <= 306


def test_the_ledger_has_a_trace_of_each_text_and_of_each_alert(
    world: World, runner: TaskRunner, tmp_path: Path
) -> None:
    runner.add_database("book", tmp_path / "ledger.db")
    for _ in range(3):
        world.fail(ledger_conn_id="book")
    with sqlite3.connect(tmp_path / "ledger.db") as book:
        (batch,) = book.execute("SELECT dag_id, task_id, guarantee, accepted FROM sms_batches").fetchall()
        alerts = book.execute(
            "SELECT task_id, sent_in = alert_id FROM sms_alerts WHERE alert_id <> ''"
        ).fetchall()
    assert batch == ("dag", "load", "at_most_once", 1)
    assert sorted(alerts, key=str) == [("load", 1), ("load", None), ("load", None)]


@pytest.mark.parametrize("hangs_at", ["the gateway", "the database"])
def test_a_task_is_delayed_by_the_time_out_at_most(
    hangs_at: str, world: World, runner: TaskRunner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.add_database("book", tmp_path / "ledger.db")
    world.fail(ledger_conn_id="book", key="other")
    lock = sqlite3.connect(tmp_path / "ledger.db")
    if hangs_at == "the gateway":
        world.sandbox.add_fault("latency", operation="smsSend", seconds=3600)
    else:
        lock.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    world.fail(ledger_conn_id="book", timeout=0.5)
    assert time.monotonic() - began < 20
    lock.close()
    assert "took longer than 0.5 seconds" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": ""},
        {"to": 1.5j},
        {"cooldown": "soon"},
        {"most_per_day": 0},
        {"max_segments": "many"},
        {"only_between": ("7", "22")},
        {"only_between": "07:00-22:00"},
        {"only_between": ("00:00", "00:00")},
        {"only_between": ("07:00", "22:00"), "time_zone": "Nowhere/City"},
        {"time_zone": "Nowhere/City"},
        {"sms_conn_id": ""},
        {"ledger_prefix": "a b"},
        {"timeout": 0},
        {"timeout": 61},
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_where_the_dag_is_read(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        SmsNotifier(**{"text": "Hi", "to": ON_CALL, **wrong})
