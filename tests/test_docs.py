"""What the pages show is run here, and what they list is held against the code."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.operators.sms import (
    SmsRefreshStatusOperator,
    SmsSendBatchOperator,
    SmsSendOperator,
)
from airflow_provider_winsms.sending import Guarantee
from airflow_provider_winsms.sensors.sms import SmsDeliverySensor
from scripts import docs
from tests.support.clock import clock_of

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner

ROOT = Path(__file__).resolve().parent.parent
PAGES = {page.name: page.read_text() for page in (ROOT / "docs").glob("*.md")}


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (name, block)
        for name, page in PAGES.items()
        for block in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    ]


@pytest.mark.parametrize("page", docs.PAGES)
def test_a_page_about_tables_is_the_tables(page: str) -> None:
    assert PAGES[page] == docs.PAGES[page](), "python -m scripts.docs writes it anew"


@pytest.mark.parametrize(
    ("page", "code"), [found for found in blocks("python") if found[1].startswith("SmsSend")]
)
def test_each_send_that_is_shown_sends(
    page: str, code: str, sandbox: Sandbox, runner: TaskRunner, tmp_path: Path
) -> None:
    runner.connections = {**runner.connections, "warehouse": warehouse(tmp_path)}
    namespace: dict[str, Any] = {"SmsSendOperator": SmsSendOperator, "customers": ["27825550101"]}
    send = eval(code, namespace)  # noqa: S307 - the page's own code
    assert runner.run(send).error is None, page
    assert [text["mobileNumber"] for text in sandbox.outbox()] == ["27825550101"]


def test_the_sensor_that_is_shown_waits(sandbox: Sandbox, runner: TaskRunner, tmp_path: Path) -> None:
    runner.connections = {**runner.connections, "warehouse": warehouse(tmp_path)}
    send = SmsSendOperator(task_id="send", text="Hallo", to="27000000010")
    runner.run(send)
    sandbox.advance(3600)
    (code,) = (code for _, code in blocks("python") if code.startswith("SmsDeliverySensor("))
    wait = eval(code, {"SmsDeliverySensor": SmsDeliverySensor, "send": send})  # noqa: S307 - as above
    wait.message_ids = runner.result
    assert runner.run(wait).error is None
    assert runner.result["delivered"] == 1


def test_the_refresh_that_is_shown_notes_deliveries(
    sandbox: Sandbox, runner: TaskRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SmsRefreshStatusOperator, "clock", clock_of(sandbox))
    runner.connections = {**runner.connections, "warehouse": warehouse(tmp_path)}
    runner.run(SmsSendOperator(task_id="send", text="Hallo", to="27000000010", ledger_conn_id="warehouse"))
    sandbox.advance(3600)
    (code,) = (code for _, code in blocks("python") if code.startswith("SmsRefreshStatusOperator("))
    refresh = eval(code, {"SmsRefreshStatusOperator": SmsRefreshStatusOperator})  # noqa: S307 - as above
    assert runner.run(refresh).error is None
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as database:
        assert database.execute("SELECT delivered, rate FROM sms_delivery_rate").fetchall() == [(1, 1.0)]


def test_each_query_that_is_shown_answers(sandbox: Sandbox, runner: TaskRunner, tmp_path: Path) -> None:
    runner.connections = {**runner.connections, "warehouse": warehouse(tmp_path)}
    sandbox.add_fault("missing-row", operation="smsSendBatch")
    messages = [{"text": "Hallo", "to": ["27825550101", "27825550102", "27000000005"]}]
    runner.run(SmsSendBatchOperator(task_id="send", messages=messages, ledger_conn_id="warehouse"))
    day = sandbox.now().date()
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as database:
        for _, query in blocks("sql"):
            days = {"yesterday": day.replace(day=1), "today": day.replace(year=day.year + 1)}
            assert database.execute(query.format(**days)).fetchall(), query


@pytest.mark.parametrize(
    ("page", "path"),
    [
        (name, path.partition("#")[0])
        for name, page in PAGES.items()
        for path in re.findall(r"\]\((?!https?:)([^)]+)\)", page)
    ],
)
def test_each_file_that_is_linked_to_exists(page: str, path: str) -> None:
    assert (ROOT / "docs" / path).exists(), page


def test_the_guarantees_are_those_that_there_are() -> None:
    named = re.findall(r'^\| `"(\w+)"`', PAGES["promises.md"], re.MULTILINE)
    assert named == [str(guarantee) for guarantee in Guarantee]


def warehouse(folder: Path) -> dict[str, Any]:
    return {"conn_type": "sqlite", "host": str(folder / "warehouse.db"), "extra": json.dumps({})}
