"""What the pages show is run here, and what they list is held against the code."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
import sqlite3
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.cli.cli_parser import get_parser
from airflow.sdk import DAG, task

from airflow_provider_winsms import rules
from airflow_provider_winsms.operators.approval import SmsApprovalOperator
from airflow_provider_winsms.operators.sms import (
    SmsBalanceCheckOperator,
    SmsRefreshStatusOperator,
    SmsSendBatchOperator,
    SmsSendOperator,
)
from airflow_provider_winsms.options import Guarantee
from airflow_provider_winsms.sending.plan import ListChanges
from airflow_provider_winsms.sensors.sms import SmsBalanceSensor, SmsDeliverySensor
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator
from scripts.docs import cookbook, excerpts, pages
from tests.support.send_world import SendWorld

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ROOT = Path(__file__).resolve().parent.parent
PAGES = {str(page.relative_to(pages.FOLDER)): page.read_text() for page in pages.pages()}
RECIPES = {name: page for name, page in PAGES.items() if re.fullmatch(r"cookbook/(?!README).*", name)}


def fenced_blocks() -> list[tuple[str, str, str]]:
    """Return the page, the language and the text of each example."""
    return [
        (name, language, block)
        for name, page in PAGES.items()
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    ]


def blocks(language: str) -> list[tuple[str, str]]:
    return [(name, block) for name, written_in, block in fenced_blocks() if written_in == language]


EXAMPLE_TEST = "test_example_dags.py::test_every_example_is_run_by_a_test_here"
PLAN_OF_XCOM = "{{ ti.xcom_pull(task_ids='plan')['plan_id'] }}"
GATEWAY_TEST = "test_second_gateway.py::test_reaches_each_recipient_once_with_its_ids_and_its_cost"

NUMBERS_TEST = "test_docs.py::test_each_way_to_give_numbers_that_is_shown_sends_and_stores_no_number"

LOG_TEST = "test_docs.py::test_the_log_of_a_send_that_is_shown_is_its_log"

FIRST_DAG = (
    "import pendulum\nfrom airflow.sdk import DAG\n\n"
    "from airflow_provider_winsms.operators.sms import SmsSendOperator\n"
    "from airflow_provider_winsms.sensors.sms import SmsDeliverySensor\n"
)

EXAMPLES = [
    # language, beginning, the test that runs it
    *(
        (language, beginning, f"test_readme.py::{test}")
        for language, beginning, test in (
            ("bash", "make ", "test_every_command_is_one_that_a_test_runs"),
            ("bash", "pip install ", "test_every_command_is_one_that_a_test_runs"),
            ("bash", "python -m airflow_provider_winsms.sandbox", "test_the_sandbox_starts_as_shown"),
            ("bash", "export AIRFLOW_CONN", "test_each_connection_shown_can_be_read"),
            ("bash", "curl ", "test_each_command_to_the_sandbox_works"),
            ("python", FIRST_DAG, "test_the_first_dag_sends_and_waits"),
            ("text", "2 of 2 accepted", "test_the_first_dag_sends_and_waits"),
            ("json", '{"batch"', "test_the_result_shown_has_the_keys_of_a_result"),
            ("text", "16 of 160", "test_the_check_of_a_text_prints_what_is_shown"),
        )
    ),
    ("python", "SmsSendOperator(", "test_docs.py::test_each_send_that_is_shown_sends"),
    ("text", "Sending to", LOG_TEST),
    ("text", "Request 1 submitted", LOG_TEST),
    ("python", "SendingHours(", "rules/test_sending_hours.py::test_the_hours_that_are_shown_are_obeyed"),
    ("python", "from dataclasses", "rules/test_rules.py::test_the_rule_that_is_shown_takes_out_and_refuses"),
    ("python", "SmsApprovalOperator(", "test_docs.py::test_the_approval_that_is_shown_takes_a_reply"),
    (
        "python",
        "SmsNotifier(",
        "notifications/test_sms_notifier.py::test_the_notifier_that_is_shown_texts_whoever_is_on_call",
    ),
    ("python", "SmsDeliverySensor(", "test_docs.py::test_the_sensor_that_is_shown_waits"),
    ("python", "SmsBalanceSensor(", "test_docs.py::test_the_wait_for_the_balance_that_is_shown_waits"),
    ("python", "SmsBalanceCheckOperator(", "test_docs.py::test_the_check_of_the_balance_that_is_shown_warns"),
    ("json", '{"balance"', "test_docs.py::test_the_wait_for_the_balance_that_is_shown_waits"),
    ("python", "SmsRefreshStatusOperator(", "test_docs.py::test_the_refresh_that_is_shown_notes_deliveries"),
    ("python", "SmsToSqlOperator(", "test_docs.py::test_each_load_that_is_shown_loads"),
    ("python", "SqlToSmsOperator", "test_docs.py::test_each_campaign_that_is_shown_sends"),
    *(("python", beginning, NUMBERS_TEST) for beginning in ("def on_call(", "PHONES = ", "TEAMS = ")),
    ("python", '{"kept"', "test_docs.py::test_the_changes_that_are_shown_have_the_keys_of_changes"),
    ("python", "SmsViewsOperator(", "operators/test_views.py::test_what_the_page_shows_makes_the_views"),
    ("python", "SQLCheckOperator(", "operators/test_views.py::test_what_the_page_shows_makes_the_views"),
    ("python", "from airflow", "triggers/test_incoming.py::test_each_watcher_that_is_shown_tells_what_comes"),
    (
        "python",
        "import hmac",
        "transfers/test_joining_hashes.py::test_the_python_that_is_shown_makes_the_hashes",
    ),
    ("pgsql", "SELECT", "transfers/test_joining_hashes.py::test_the_query_for_postgresql_finds_the_customer"),
    ("sqlite", "SELECT", "transfers/test_joining_hashes.py::test_the_query_for_sqlite_finds_the_customer"),
    ("sql", "SELECT", "test_docs.py::test_each_query_that_is_shown_answers"),
    ("ini", "[winsms]", "plugins/test_settings.py::test_the_settings_that_are_shown_are_read"),
    ("bash", "airflow sms", "test_docs.py::test_each_command_that_is_shown_is_one_of_the_command_line"),
    ("json", '{\n  "plan_id"', "test_docs.py::test_the_plan_that_is_shown_has_the_keys_of_a_plan"),
    ("json", '{"total"', "test_docs.py::test_the_sensor_that_is_shown_waits"),
    ("sql", "-- What did each customer", "test_example_dags.py::test_who_got_what"),
    ("json", '{"conn_type"', "test_example_dags.py::test_staging_texts_only_the_phones_of_its_connection"),
    *(("python", code, GATEWAY_TEST) for code in excerpts.all_code()),
    *(("python", code, EXAMPLE_TEST) for code in cookbook.all_code()),
]


@pytest.fixture(scope="module")
def fresh_files() -> Mapping[Path, str]:
    return pages.fresh_files()


@pytest.mark.parametrize(
    "path",
    sorted(pages.fresh_files()),
    ids=lambda path: path.name,
)
def test_the_generated_parts_are_what_the_code_says(path: Path, fresh_files: Mapping[Path, str]) -> None:
    assert path.read_text() == fresh_files[path], "Run `python -m scripts.docs`, which writes them."


def test_every_block_that_there_is_stands_on_one_page() -> None:
    shown = [name for page in PAGES.values() for name in pages.block_names(page)]
    assert sorted(shown) == sorted(pages.blocks())


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_a_page_links_to_is_there(name: str) -> None:
    links = re.findall(r"\]\(((?!https?:)[^)#]+)", PAGES[name])
    folder = (pages.FOLDER / name).parent
    assert [link for link in links if not (folder / link).exists()] == []


def test_the_index_of_the_cookbook_lists_each_page() -> None:
    listed = re.findall(r"^\|.*\]\((.*?)\) \|$", PAGES["cookbook/README.md"], re.MULTILINE)
    assert sorted(f"cookbook/{page}" for page in listed) == sorted(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_page_of_the_cookbook_leads_with_its_dag_and_is_short(name: str) -> None:
    languages = [language for page, language, _ in fenced_blocks() if page == name]
    (example,) = pages.block_names(RECIPES[name])
    assert languages[0] == "python"
    assert example in cookbook.SHOWN
    assert len(RECIPES[name].splitlines()) < 80
    assert len(cookbook.code(example).splitlines()) < 60


def test_a_block_is_filled_and_the_rest_of_its_page_stays() -> None:
    page = "Ours.\n\n<!-- generated: sum -->\n\nold\n\n<!-- end -->\n\nOurs too.\n"
    filled = pages.filled(page, {"sum": "1 + 1 = 2"})
    assert filled == page.replace("old", "1 + 1 = 2")
    assert pages.filled(filled, {"sum": "1 + 1 = 2"}) == filled


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("<!-- generated: sum -->", "<!-- generated: sum --> has no partner"),
        ("<!-- end -->", "<!-- end --> has no partner"),
        ("<!-- generated: sum --><!-- generated: sum --><!-- end -->", "has no partner"),
        ("<!-- generated: som --><!-- end -->", "No block is named 'som'. Named are: sum"),
    ],
)
def test_a_mark_that_cannot_be_is_refused(page: str, says: str) -> None:
    with pytest.raises(pages.MarkError, match=says):
        pages.filled(page, {"sum": "1 + 1 = 2"})


@pytest.mark.parametrize("found", fenced_blocks(), ids=lambda found: f"{found[0]}:{found[1]}")
def test_every_example_is_one_that_a_test_runs(found: tuple[str, str, str]) -> None:
    _, language, block = found
    (test,) = (
        test for known, beginning, test in EXAMPLES if known == language and block.startswith(beginning)
    )
    file, _, name = test.partition("::")
    assert f"def {name}" in (ROOT / "tests" / file).read_text()


@pytest.mark.parametrize(
    ("page", "code"), [found for found in blocks("python") if found[1].startswith("SmsSend")]
)
def test_each_send_that_is_shown_sends(
    page: str,
    code: str,
    sandbox: Sandbox,
    runner: TaskRunner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_STAGING_PHONES", '["082 555 0101"]')
    runner.add_database("warehouse", tmp_path / "warehouse.db")
    namespace: dict[str, Any] = {
        **vars(rules),
        "SmsSendOperator": SmsSendOperator,
        "customers": ["27825550101"],
        "timedelta": timedelta,
    }
    if "approved_plan" in code:
        (plan,) = (
            block for _, block in blocks("python") if re.match("SmsSend.*plan_only=True", block, re.DOTALL)
        )
        assert runner.run(eval(plan, namespace)).error is None  # noqa: S307 - the page's own code
        code = code.replace(PLAN_OF_XCOM, runner.result["plan_id"])
    send = eval(code, namespace)  # noqa: S307 - the page's own code
    assert runner.run(send).error is None, page
    expected = [] if send.plan_only else ["27825550101"]
    assert [text["mobileNumber"] for text in sandbox.outbox()] == expected


def test_the_plan_that_is_shown_has_the_keys_of_a_plan(runner: TaskRunner) -> None:
    (block,) = (block for _, block in blocks("json") if "plan_id" in block)
    shown = json.loads(block)
    text = "Your instalment is due on Friday."
    to = [f"2782{place:07}" for place in range(1200)]
    task = SmsSendOperator(
        task_id="plan", text=text, to=[*to, *to[:3], "08******12"], plan_only=True, rules=[rules.OnlyTo(to)]
    )
    assert runner.run(task).error is None
    plan = runner.result
    assert list(plan) == list(shown)
    counts = ("requests", "segments", "duplicates", "estimated_cost", "texts", "times")
    assert {name: plan[name] for name in counts} == {name: shown[name] for name in counts}
    assert plan["plan_id"].partition(".")[2] == shown["plan_id"].partition(".")[2]
    assert set(plan["invalid"]) == set(shown["invalid"])


@pytest.mark.parametrize("code", [code for _, code in blocks("python") if code.startswith("SqlToSms")])
def test_each_campaign_that_is_shown_sends(
    code: str, sandbox: Sandbox, runner: TaskRunner, tmp_path: Path
) -> None:
    runner.add_database("warehouse", tmp_path / "warehouse.db")
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as database:
        database.execute("CREATE TABLE customers (number TEXT, phone TEXT, name TEXT, amount INTEGER)")
        database.execute("INSERT INTO customers VALUES ('27825550101', '27825550101', 'Ann', 120)")
        database.commit()
    with DAG("dag", schedule=None):
        task = eval(code, {"SqlToSmsOperator": SqlToSmsOperator})  # noqa: S307 - the page's own code
    indexes = range(20) if ".expand(" in code else [-1]
    for index in indexes:
        assert dataclasses.replace(runner.another(), map_index=index).run(task).error is None
    (text,) = sandbox.outbox()
    assert text["message"].startswith("Hi Ann, ")


@pytest.mark.parametrize("code", [code for page, code in blocks("python") if page == "mapped-tasks.md"])
def test_each_way_to_give_numbers_that_is_shown_sends_and_stores_no_number(
    code: str, sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {"DAG": DAG, "task": task, "SmsSendOperator": SmsSendOperator}
    exec(code, namespace)  # noqa: S102 - the page's own code
    runner.results["late_payers"] = ["ann", "ben"]
    numbers = ["27825550101", "27825550102"]
    send = namespace["dag"].get_task("send")
    for index in [0, 1] if ".expand(" in code else [-1]:
        each = dataclasses.replace(runner.another(), map_index=index)
        assert each.run(send).error is None
        assert not any(number in request for request in each.requests for number in numbers)
    assert sorted(text["mobileNumber"] for text in sandbox.outbox()) == numbers
    assert "came through an XCom" not in capsys.readouterr().out


def test_the_approval_that_is_shown_takes_a_reply(sandbox: Sandbox, runner: TaskRunner) -> None:
    (code,) = (code for _, code in blocks("python") if code.startswith("SmsApprovalOperator("))
    runner.variables["on_call_phones"] = "27825550101"
    ask = eval(code, {"SmsApprovalOperator": SmsApprovalOperator})  # noqa: S307 - the page's own code
    ask.poll_interval = 0.1
    assert runner.run(ask).state == "deferred"
    (text,) = sandbox.outbox()
    assert re.fullmatch(r"Deploy sales_etl to production\? Reply YES (\d{6}) or NO \1", text["message"])
    sandbox.incoming("27825550101", f"yes {text['message'][-6:]}")
    assert runner.resume(ask, runner.fire()).error is None
    assert runner.result["chosen"] == "YES"


def test_the_sensor_that_is_shown_waits(sandbox: Sandbox, runner: TaskRunner, tmp_path: Path) -> None:
    runner.add_database("warehouse", tmp_path / "warehouse.db")
    send = SmsSendOperator(task_id="send", text="Hallo", to="27000000010")
    runner.run(send)
    sandbox.advance(3600)
    (code,) = (code for _, code in blocks("python") if code.startswith("SmsDeliverySensor("))
    wait = eval(code, {"SmsDeliverySensor": SmsDeliverySensor, "send": send})  # noqa: S307 - as above
    wait.message_ids = runner.result
    assert runner.run(wait).error is None
    assert runner.result["delivered"] == 1
    (shown,) = (shown for _, shown in blocks("json") if shown.startswith('{"total"'))
    assert list(runner.result) == list(json.loads(shown))


def test_the_wait_for_the_balance_that_is_shown_waits(sandbox: Sandbox, runner: TaskRunner) -> None:
    (code,) = (code for _, code in blocks("python") if code.startswith("SmsBalanceSensor("))
    wait = eval(code, {"SmsBalanceSensor": SmsBalanceSensor})  # noqa: S307 - as above
    wait.params = {"credits": "1500"}
    assert runner.run(wait).state == "deferred"
    (shown,) = (json.loads(shown) for _, shown in blocks("json") if shown.startswith('{"balance"'))
    sandbox.set_account(credit_balance=float(shown["balance"]))
    wait.params = {"credits": "150.5"}
    assert runner.run(wait).state == "success"
    assert runner.result == shown


def test_the_check_of_the_balance_that_is_shown_warns(sandbox: Sandbox, runner: TaskRunner) -> None:
    (code,) = (code for _, code in blocks("python") if code.startswith("SmsBalanceCheckOperator("))
    check = eval(code, {"SmsBalanceCheckOperator": SmsBalanceCheckOperator})  # noqa: S307 - as above
    sandbox.set_account(credit_balance=188.6)
    assert runner.run(check).state == "success"
    assert f"returns `{json.dumps(runner.result)}`" in PAGES["waiting.md"]


def test_the_refresh_that_is_shown_notes_deliveries(
    sandbox: Sandbox, runner: TaskRunner, tmp_path: Path
) -> None:
    runner.add_database("warehouse", tmp_path / "warehouse.db")
    runner.run(SmsSendOperator(task_id="send", text="Hallo", to="27000000010", ledger_conn_id="warehouse"))
    sandbox.advance(3600)
    (code,) = (code for _, code in blocks("python") if code.startswith("SmsRefreshStatusOperator("))
    refresh = eval(code, {"SmsRefreshStatusOperator": SmsRefreshStatusOperator})  # noqa: S307 - as above
    assert runner.run(refresh).error is None
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as database:
        assert database.execute("SELECT state FROM sms_messages").fetchall() == [("delivered",)]


def test_each_query_that_is_shown_answers(sandbox: Sandbox, runner: TaskRunner, tmp_path: Path) -> None:
    runner.add_database("warehouse", tmp_path / "warehouse.db")
    sandbox.add_fault("missing-row", operation="smsSend")
    messages = [{"text": "Hallo", "to": ["27825550101", "27825550102", "27000000005"]}]
    runner.run(SmsSendBatchOperator(task_id="send", messages=messages, ledger_conn_id="warehouse"))
    today, day = sandbox.now().date(), timedelta(days=1)
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as database:
        for name, query in blocks("sql"):
            if name in RECIPES:
                continue
            days = {"yesterday": today - 2 * day, "today": today + 2 * day}
            assert database.execute(query.format(**days)).fetchall(), query


def test_the_guarantees_are_those_that_there_are() -> None:
    named = re.findall(r'^\| `"(\w+)"`', PAGES["promises.md"], re.MULTILINE)
    assert named == [str(guarantee) for guarantee in Guarantee]


@pytest.mark.parametrize("code", [code for _, code in blocks("python") if code.startswith("SmsToSql")])
def test_each_load_that_is_shown_loads(
    code: str, sandbox: Sandbox, runner: TaskRunner, tmp_path: Path
) -> None:
    runner.add_database("warehouse", tmp_path / "warehouse.db")
    sandbox.incoming("27825550101", "Yes")
    send = SmsSendOperator(task_id="send", text="Hallo", to="27825550101", ledger_conn_id="warehouse")
    assert runner.another().run(send).error is None
    load = eval(code, {"SmsToSqlOperator": SmsToSqlOperator})  # noqa: S307 - the page's own code
    assert runner.run(load).error is None
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as database:
        query = f"SELECT number FROM {load.table}"  # noqa: S608 - the page's own name
        assert database.execute(query).fetchall() == [("27825550101",)]


@pytest.mark.parametrize(
    "line",
    [line for _, block in blocks("bash") for line in block.splitlines() if line.startswith("airflow")],
)
def test_each_command_that_is_shown_is_one_of_the_command_line(line: str) -> None:
    program, *arguments = shlex.split(line.replace(" BATCH ", f" {'f' * 32} "), comments=True)
    assert program == "airflow"
    parsed = get_parser().parse_args(arguments)
    assert callable(parsed.func)


def test_the_changes_that_are_shown_have_the_keys_of_changes() -> None:
    (shown,) = (code for _, code in blocks("python") if code.startswith("{"))
    assert list(ast.literal_eval(shown)) == [field.name for field in dataclasses.fields(ListChanges)]


def test_the_log_of_a_send_that_is_shown_is_its_log(
    sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.set_account(credit_balance=10_000)
    world = SendWorld(sandbox, runner)
    for number in range(1, 6):
        world.after[number] = partial(sandbox.advance, 2.9)
    people = ["27000000006", *(f"2782{place:07}" for place in range(4199))]
    assert world.run(to=people) is None
    shown, inside = (block for name, block in blocks("text") if name == "task-page.md")
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    for line in [*shown.replace("▶ ", "::group::").splitlines(), *inside.splitlines()]:
        assert line in said
