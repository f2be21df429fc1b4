"""Hundreds of tasks fail at once, in processes of their own. The sandbox's outbox is the judge."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.sandbox import Sandbox
from tests.conftest import API_KEY
from tests.ledger.batches import ledger
from tests.support.database_fixtures import postgres_by_path as postgres
from tests.support.racers import raced

if TYPE_CHECKING:
    from tests.support.databases import Database

__all__ = ["postgres"]

pytestmark = pytest.mark.database

COOLDOWN = 3600

_FAILING = f"""
import json, os, sys
from airflow.providers.standard.operators.python import PythonOperator
from airflow_provider_winsms.notifications.sms import SmsNotifier
from tests.support.task_runner import TaskRunner

def fail():
    raise ConnectionError

options = {{"text": "It failed.", "to": "27825550101", "ledger_conn_id": "book", "timeout": 60}}
connections, failures, processes = json.loads(os.environ["STORM"])
indexes = range(int(sys.argv[1]), failures, processes)
print("ready", flush=True)
sys.stdin.readline()
for index in indexes:
    notifier = SmsNotifier(cooldown={COOLDOWN}, **options)
    task = PythonOperator(task_id="load", python_callable=fail, on_failure_callback=notifier)
    TaskRunner(connections, map_index=index).run(task)
"""


def storm(
    box: Sandbox, database: Database, monkeypatch: pytest.MonkeyPatch, *, failures: int, processes: int
) -> float:
    """Let so many tasks fail, and return in how many seconds they did."""
    gateway = {"conn_type": "winsms", "host": box.base_url, "password": API_KEY}
    connections = {"winsms_default": gateway, "book": database.connection}
    monkeypatch.setenv("STORM", json.dumps([connections, failures, processes]))
    began = time.monotonic()
    raced(_FAILING, processes, seconds=400)
    return time.monotonic() - began


def alerts(database: Database) -> tuple[int, int]:
    """Return how many alerts there are, and how many of them a text was sent for."""
    ((count, sent),) = database.execute(
        "SELECT COUNT(*), COUNT(sent_in) FROM {}sms_alerts WHERE alert_id <> ''"
    )
    return int(count), int(sent)


def test_five_hundred_failures_at_once_send_one_text(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger(postgres).close()
    with Sandbox(api_key=API_KEY, credits=1000) as box:
        seconds = storm(box, postgres, monkeypatch, failures=500, processes=40)
        texts = [row["message"] for row in box.outbox()]
    assert 1 <= len(texts) <= 1 + seconds / COOLDOWN
    assert texts[0] == "It failed."
    assert alerts(postgres) == (500, 1)


def test_while_the_gateway_is_down_no_text_is_doubled_and_no_alert_is_lost(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger(postgres).close()
    with Sandbox(api_key=API_KEY, credits=1000) as box:
        box.add_fault("429-too-many-requests", operation="smsSend", times=50, retry_after=3600)
        storm(box, postgres, monkeypatch, failures=100, processes=10)
        texts = [row["message"] for row in box.outbox()]
    assert len(texts) <= 1
    told = sum(int(found[1]) for text in texts if (found := re.search(r"(\d+) more since", text)))
    assert alerts(postgres) == (100, len(texts) + told)
