from __future__ import annotations

import json
import re
import runpy
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.warehouse.datasets import DATASETS
from scripts import warehouse
from scripts.airflow_process import AirflowProcess
from scripts.docs import pages
from scripts.run_examples import EXAMPLES
from tests.support.task_runner import TaskRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLES = {"on_call_phones": "27000000101, 27000000102", "staging_phones": "27000000102"}
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
OTHERS = {"example_sms_lender": "transfers/test_lender_campaign.py"}
"""Examples that depend on the hour of the day, and the files that run them on a clock of their own."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Sandbox]:
    with Sandbox(speed=60, seed=7, credits=200) as box:
        yield box


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    with warehouse.opened("sqlite", tmp_path_factory.mktemp("warehouse")) as opened:
        yield opened


@pytest.fixture(scope="module")
def airflow(
    gateway: Sandbox, store: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AirflowProcess]:
    connections = {**connected(gateway), "warehouse": store.connection}
    with AirflowProcess(tmp_path_factory.mktemp("airflow"), connections, VARIABLES) as process:
        yield process


def connected(gateway: Sandbox) -> dict[str, Any]:
    return {
        "winsms_default": {
            "conn_type": "winsms",
            "host": gateway.base_url,
            "password": gateway.api_key,
            "extra": json.dumps({"hash_secret": "of the examples alone"}),
        }
    }


def shown(page: str, language: str) -> str:
    """Return the one block of a page of the cookbook in a language."""
    text = (pages.FOLDER / "cookbook" / page).read_text()
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return str(block)


def results(airflow: AirflowProcess, example: str) -> dict[str, Any]:
    answer = airflow.run(example, lambda: time.sleep(0.02))
    assert answer["state"] == "success", airflow.log.read_text()[-5000:]
    tasks: dict[str, Any] = answer["results"]
    return tasks


def test_sending_one_text(airflow: AirflowProcess, gateway: Sandbox) -> None:
    gateway.reset()
    assert results(airflow, "example_sms_send")["tell_ann"]["accepted"] == 1
    (text,) = gateway.outbox()
    assert text["mobileNumber"] == "27000000101"
    assert text["message"].startswith("Hi Ann, the nightly load of 20")


def test_sending_a_batch_and_waiting_for_it(airflow: AirflowProcess, gateway: Sandbox) -> None:
    gateway.reset()
    tasks = results(airflow, "example_sms_batch_and_wait")
    assert tasks["send_reminders"]["rejected"] == {"bad_number": 1}
    assert tasks["wait_for_delivery"] == {
        "total": 4,
        "delivered": 4,
        "states": {"delivered": 4},
        "cost": "4.0",
        "currency": "credits",
    }
    assert tasks["report"] == "4 of 4 reminders arrived, for 4.0 credits."
    assert len({text["message"] for text in gateway.outbox()}) == 4


def test_a_campaign_from_a_query(airflow: AirflowProcess, gateway: Sandbox) -> None:
    gateway.reset()
    results(airflow, "example_sms_campaign")
    texts = {row["mobileNumber"]: row["message"].partition(",")[0] for row in gateway.outbox()}
    assert texts == {"27000000101": "Hi Ann", "27000000102": "Hi Ben", "27000000020": "Hi customer"}
    results(airflow, "example_sms_campaign")
    assert len(gateway.outbox()) == 6


def test_scheduling_and_cancelling(airflow: AirflowProcess, gateway: Sandbox) -> None:
    gateway.reset()
    cancelled = results(airflow, "example_sms_schedule_and_cancel")["cancel_offer"]
    counts = {"cancelled": 2, "cancelled_before": 0, "not_cancelled": 0, "gone_out": 0}
    assert cancelled == {**counts, "refund": "2.0", "currency": "credits", "requests": 1}
    assert gateway.account()["creditBalance"] == 200


def test_loading_replies_and_opt_outs(
    airflow: AirflowProcess, gateway: Sandbox, store: warehouse.Warehouse
) -> None:
    gateway.reset()
    gateway.incoming("27000000102", "YES")
    gateway.opt_out("27000000177")
    first = results(airflow, "example_sms_to_warehouse")
    assert [first[task]["rows_loaded"] for task in ("load_replies", "load_opt_outs")] == [1, 1]
    assert store.rows("SELECT number, text FROM sms_incoming") == [("27000000102", "YES")]
    assert store.rows("SELECT number FROM sms_opt_outs") == [("27000000177",)]
    second = results(airflow, "example_sms_to_warehouse")
    assert [second[task]["rows_loaded"] for task in ("load_replies", "load_opt_outs")] == [0, 0]


def test_refreshing_the_states_of_texts(
    airflow: AirflowProcess, gateway: Sandbox, store: warehouse.Warehouse
) -> None:
    gateway.reset()
    sender = TaskRunner({**connected(gateway), "warehouse": store.connection})
    to = ["27000000010", "27000000011"]
    sender.run(SmsSendOperator(task_id="send", text="Hallo", to=to, ledger_conn_id="warehouse"))
    tasks = results(airflow, "example_sms_refresh_status")
    assert tasks["refresh_status"] == {
        "checked": 2,
        "states": {"delivered": 1, "failed": 1},
        "changed": 2,
        "still_open": 0,
        "refused": 0,
        "unreadable": 0,
        "requests": 1,
    }
    assert len(tasks["delivery_rate"]) == 1
    assert store.rows("SELECT accepted, delivered, rate FROM sms_delivery_by_day") == [(2, 1, 0.5)]
    assert results(airflow, "example_sms_refresh_status")["refresh_status"]["checked"] == 0


def test_waiting_for_credits(airflow: AirflowProcess, gateway: Sandbox) -> None:
    gateway.reset()
    tasks = results(airflow, "example_sms_balance")
    assert tasks["wait_for_credits"] == {"balance": "200.0", "currency": "credits"}
    assert tasks["send"]["accepted"] == 3
    low = {"balance": "197.0", "least": "250.0", "is_low": True, "currency": "credits"}
    assert tasks["check_reserve"] == low


def test_a_person_approves_what_is_sent(airflow: AirflowProcess, gateway: Sandbox) -> None:
    gateway.reset()
    gateway.opt_out("27000000103")
    answer = airflow.run("example_sms_approval Approve", lambda: time.sleep(0.02))
    assert answer["state"] == "success", airflow.log.read_text()[-5000:]
    (question,) = answer["asked"]
    assert question["body"].strip().splitlines() == [
        "* 2 recipients in 1 requests, 2 segments",
        "* 2.0 credits",
        "* 1 duplicates left out, 0 invalid recipients",
        "* 1 taken out by OptOuts (opted_out)",
    ]
    assert "27000000101" not in str(answer)
    assert sorted(row["mobileNumber"] for row in gateway.outbox()) == ["27000000101", "27000000102"]
    assert answer["results"]["send"]["accepted"] == 2


def test_what_a_person_rejects_is_not_sent(airflow: AirflowProcess, gateway: Sandbox) -> None:
    gateway.reset()
    answer = airflow.run("example_sms_approval Reject", lambda: time.sleep(0.02))
    assert "send" not in answer["results"]
    assert gateway.outbox() == []


@pytest.mark.airflow
def test_keeping_the_history(gateway: Sandbox, tmp_path: Path) -> None:
    """In a warehouse of its own, as ids begin anew with each test."""
    gateway.reset()
    with ExitStack() as stack:
        store = stack.enter_context(warehouse.opened("sqlite", tmp_path))
        connections = {**connected(gateway), "warehouse": store.connection}
        send = SmsSendOperator(
            task_id="send", text="Hallo", to=["27000000010", "27000000011"], ledger_conn_id="warehouse"
        )
        TaskRunner(connections).run(send)
        gateway.incoming("27000000010", "YES")
        gateway.opt_out("27000000177")
        (home := tmp_path / "airflow").mkdir()
        airflow = stack.enter_context(AirflowProcess(home, connections))
        tasks = results(airflow, "example_sms_history")
        loaded = {
            dataset: tasks[f"load_{dataset}"]["rows_loaded"]
            for dataset in DATASETS
            if dataset != "short_code"
        }
        assert loaded == {"deliveries": 2, "incoming": 1, "opt_outs": 1, "scheduled": 0}
        assert "sms_opt_out_check" in tasks["make_views"]["views"]
        assert store.rows("SELECT accepted, delivered FROM sms_delivery_by_day") == [(2, 1)]
        assert store.rows("SELECT replies FROM sms_replies_by_campaign WHERE dag_id IS NOT NULL") == [(1,)]
        again = results(airflow, "example_sms_history")
        assert [again[f"load_{dataset}"]["rows_loaded"] for dataset in loaded] == [0] * 4


def test_confirming_what_was_answered_copes_with_a_run_that_no_reply_started(
    airflow: AirflowProcess, gateway: Sandbox, store: warehouse.Warehouse
) -> None:
    """Replies start it where there is a scheduler and a triggerer: ``tests/prove/test_events.py``."""
    gateway.reset()
    assert results(airflow, "example_sms_reply_confirms")["confirm"] == []
    assert store.rows("SELECT * FROM appointments") == []
    assert gateway.outbox() == []


def test_a_code_arrives_and_leaves_no_trace(airflow: AirflowProcess, gateway: Sandbox) -> None:
    gateway.reset()
    before = airflow.log.stat().st_size
    tasks = results(airflow, "example_sms_one_time_code")
    assert tasks["send_code"]["delivery"]["delivered"] == 1
    (text,) = gateway.outbox()
    assert (text["mobileNumber"], text["message"]) == (
        "27000000101",
        "493021 is your code. Tell it to nobody.",
    )
    assert not any(secret in json.dumps(tasks) for secret in ("493021", "27000000101"))
    of_send = airflow.log.read_text()[before:].partition("make_logins")[2]
    sent = [line for line in of_send.splitlines() if "INSERT" not in line]
    assert sent
    assert not any(secret in line for line in sent for secret in ("493021", "27000000101"))


def test_a_code_whose_answer_is_lost_is_not_sent_again(airflow: AirflowProcess, gateway: Sandbox) -> None:
    gateway.reset()
    gateway.add_fault("lost-after-acceptance", operation="smsSend")
    assert airflow.run("example_sms_one_time_code", lambda: time.sleep(0.02))["state"] == "failed"
    assert len(gateway.outbox()) == 1


def test_a_retry_sends_a_code_that_the_gateway_did_not_take(
    airflow: AirflowProcess, gateway: Sandbox
) -> None:
    gateway.reset()
    gateway.set_account(credit_balance=0)
    before = airflow.latest_run("example_sms_one_time_code")

    def top_up() -> None:
        time.sleep(0.02)
        run = airflow.latest_run("example_sms_one_time_code")
        if run != before and ("send_code", "up_for_retry") in airflow.task_states(run or 0):
            gateway.set_account(credit_balance=5)

    assert airflow.run("example_sms_one_time_code", top_up)["state"] == "success"
    assert len(gateway.outbox()) == 1


def test_a_clear_texts_no_second_code(gateway: Sandbox, tmp_path: Path) -> None:
    gateway.reset()
    runner = TaskRunner(connected(gateway))
    runner.add_database("warehouse", tmp_path / "warehouse.db")
    example = runpy.run_path(str(EXAMPLES / "example_sms_one_time_code.py"))
    send = example["send_code"]
    send.params, send.wait_for_delivery = {"login": "login-1"}, False
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as database:
        for statement in (*example["LOGINS"], "UPDATE logins SET code = '111111'"):
            database.execute(statement)
            database.commit()
            if statement.startswith(("INSERT", "UPDATE")):
                runner.run(send)
                runner.clear()
    assert [text["message"][:6] for text in gateway.outbox()] == ["493021"]


def test_an_approval_by_reply(airflow: AirflowProcess, gateway: Sandbox) -> None:
    gateway.reset()
    answered: list[str] = []

    def answer() -> None:
        time.sleep(0.02)
        for text in gateway.outbox()[len(answered) :]:
            gateway.incoming(text["mobileNumber"], f"Yes {text['message'][-6:]}")
            answered.append(text["mobileNumber"])

    run = airflow.run("example_sms_approval_by_reply", answer)
    assert (run["state"], run["results"]["ask"]["chosen"]) == ("success", "YES")
    assert run["results"]["deploy"] == "Deployed."
    assert answered == ["27000000101", "27000000102"]


def test_failures_text_whoever_is_on_call_once(
    airflow: AirflowProcess, gateway: Sandbox, store: warehouse.Warehouse
) -> None:
    gateway.reset()
    for _ in range(2):
        assert airflow.run("example_sms_on_call", lambda: time.sleep(0.02))["state"] == "failed"
    texts = gateway.outbox()
    assert [text["mobileNumber"] for text in texts] == ["27000000101", "27000000102"]
    assert {text["message"] for text in texts} == {"example_sms_on_call failed: load, try 1."}
    assert store.rows("SELECT COUNT(*), COUNT(sent_in) FROM sms_alerts WHERE alert_id <> ''") == [(6, 1)]


def test_who_got_what(airflow: AirflowProcess, gateway: Sandbox, store: warehouse.Warehouse) -> None:
    gateway.reset()
    for _ in range(2):
        results(airflow, "example_sms_who_got_what")
    rows = store.rows("SELECT id, name, task_id, text, state, reason, cost FROM who_got_what ORDER BY id")
    delivered = ("C-1", "Ann", "remind", "Hi Ann, your invoice is ready.", "delivered", None, 1)
    declined = ("C-2", "Ben", "remind", "Hi Ben, your invoice is ready.", "declined", "bad_number", 0)
    assert rows == [delivered, delivered, declined, declined]
    (ann, ben) = store.rows(shown("who-got-what.md", "sql"))
    assert ann[:2] == ("Ann", 2)
    assert ann[2] is not None
    assert ben == ("Ben", 0, None)


def test_analysts_count_people_without_their_numbers(
    airflow: AirflowProcess, gateway: Sandbox, store: warehouse.Warehouse
) -> None:
    gateway.reset()
    gateway.incoming("27000000102", "Call me on 27000000102")
    gateway.opt_out("27000000102")
    results(airflow, "example_sms_analysts")
    joined = "SELECT r.text FROM replies_hashed r INNER JOIN opt_outs_hashed o ON o.number = r.number"
    assert store.rows(joined) == [("Call me on [number]",)]
    assert store.rows("SELECT number, text FROM replies_masked") == [("27******102", "Call me on [number]")]
    ((number,),) = store.rows("SELECT number FROM replies_hashed")
    assert re.fullmatch("[0-9a-f]{64}", number)


def test_staging_texts_only_the_phones_of_its_variable(airflow: AirflowProcess, gateway: Sandbox) -> None:
    gateway.reset()
    assert results(airflow, "example_sms_staging")["send"]["rejected"] == {"not_allowed": 2}
    assert [text["mobileNumber"] for text in gateway.outbox()] == ["27000000102"]


def test_staging_texts_only_the_phones_of_its_connection(gateway: Sandbox) -> None:
    gateway.reset()
    extra = json.dumps(json.loads(shown("staging.md", "json"))["extra"])
    runner = TaskRunner({"winsms_default": {**connected(gateway)["winsms_default"], "extra": extra}})
    to = ["27000000101", "27000000102", "27000000103"]
    runner.run(SmsSendOperator(task_id="send", text="Hallo", to=to))
    assert [text["mobileNumber"] for text in gateway.outbox()] == to[:2]


def test_every_example_is_run_by_a_test_here() -> None:
    text = Path(__file__).read_text()
    assert NAMES
    runs = (r'results\(airflow, "{}"\)', r'airflow\.run\("{}", ', r'airflow\.run\("{} ')
    names = [name for name in NAMES if name not in OTHERS]
    assert all(any(re.search(run.format(name), text) for run in runs) for name in names)
    assert all(name in (Path(__file__).parent / file).read_text() for name, file in OTHERS.items())


@pytest.mark.parametrize("name", NAMES)
def test_an_example_explains_itself_on_airflows_page(name: str) -> None:
    dag = runpy.run_path(str(EXAMPLES / f"{name}.py"))["dag"]
    assert dag.dag_id == name
    assert len(dag.doc_md.split()) > 40
    assert "sms" in dag.tags
