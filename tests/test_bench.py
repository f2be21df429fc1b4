"""What `make bench` puts in place of Airflow is enough for a send, so that it does not break unnoticed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sandbox import Sandbox
from scripts import bench_waits
from scripts.bench_sends import execute, gateway_variable, number

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("ledger", [None, "bench_ledger"])
def test_the_measured_send_needs_no_airflow(
    ledger: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}
    monkeypatch.setenv("AIRFLOW_CONN_BENCH_LEDGER", json.dumps(tables))
    numbers = [number(place) for place in range(3)]
    operator = SmsSendOperator(task_id="send", text="Hello", to=numbers, ledger_conn_id=ledger)
    with Sandbox() as box:
        for name, value in gateway_variable(box.base_url).items():
            monkeypatch.setenv(name, value)
        assert [execute(operator, box.base_url)["accepted"] for _ in range(2)] == [3, 3]
        assert [text["mobileNumber"] for text in box.outbox()] == numbers * 2


@pytest.mark.slow
def test_waits_are_measured_from_joining_to_the_last_event() -> None:
    run = bench_waits.measured(bench_waits.ONE_FOR_ALL, 20, 100, pause=3.0)
    assert run.requests == 2
    assert bench_waits.measured(bench_waits.ONE_EACH, 20, 100, pause=3.0).requests == 20
