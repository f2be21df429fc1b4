"""What `make bench` puts in place of Airflow is enough for a send, so that it does not break unnoticed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.sandbox import Sandbox
from airflow_provider_winsms.sql.dialects import DIALECTS
from scripts import bench_campaigns, bench_loads_cpu, bench_loads_targets, bench_waits
from scripts.bench_loads_targets import Run
from scripts.bench_loads_ways import IN_TURN, INSERT_ROWS, OURS, OVERLAPPED, PREPARED
from scripts.bench_sends import execute, gateway_variable, number
from scripts.bulk_gateways import BulkGateway, BulkGateways, text

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


@pytest.mark.alone
@pytest.mark.airflow
def test_waits_are_measured_from_joining_to_the_last_event() -> None:
    run = bench_waits.measured(bench_waits.ONE_FOR_ALL, 20, 100, pause=3.0)
    assert run.requests == 2
    assert bench_waits.measured(bench_waits.ONE_EACH, 20, 100, pause=3.0).requests == 20


@pytest.mark.database
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_every_way_to_load_that_is_measured_loads_what_is_listed(kind: str) -> None:
    with bench_loads_targets.opened(kind, rows=0) as target:
        for run in (Run(OURS, 2), Run(OVERLAPPED, 2), Run(IN_TURN), Run(PREPARED), Run(INSERT_ROWS)):
            assert target.measured(run, 2500, milliseconds=1).seconds > 0
        figures, asked = target.measured_again(2500, 10)
        assert figures.seconds > 0
        assert asked <= 3


@pytest.mark.database
def test_a_campaign_is_measured_beside_a_loop() -> None:
    case = bench_campaigns.Case(2000, 0.01, 5)
    ((measured, figures),) = bench_campaigns.measured((case,))
    assert measured is case
    assert figures.planned_a_second > 0
    assert figures.seconds > 0
    assert figures.loop_rows_a_second > 0


def test_each_part_of_the_client_is_measured() -> None:
    parts = dict(bench_loads_cpu.seconds(2000))
    assert {f"map and encode rows: {kind}" for kind in DIALECTS} < parts.keys()
    assert all(taken > 0 for taken in parts.values())


def test_the_measured_list_is_the_same_however_it_is_cut() -> None:
    with BulkGateways(rows=1000) as gateways:
        gateway = gateways.of(2498)
        gateway.rows += 2
        whole = [row for offset in (0, 1000, 2000) for row in _listed(gateway, offset, 1000)]
        assert [row["incomingApiMessageId"] % 10_000 for row in whole] == list(range(2500))
        assert [row["messageText"] for row in whole] == list(map(text, range(2500)))
        for offset, limit in ((0, 1), (1, 1000), (998, 3), (1999, 501), (2500, 1000), (2600, 1)):
            assert _listed(gateway, offset, limit) == whole[offset : offset + limit]
        assert gateway.requests == 9
        assert len(_asked(gateway, "/sms/incoming/optout")["incomingOptoutMessages"]) == 2500


def _listed(gateway: BulkGateway, offset: int, limit: int) -> list[dict[str, Any]]:
    answer = _asked(gateway, f"/sms/incoming?offset={offset}&limit={limit}")
    assert answer["resultsTotalAvailable"] == 2500
    rows: list[dict[str, Any]] = answer["incomingMessages"]
    return rows


def _asked(gateway: BulkGateway, path: str) -> Any:
    headers = {"AUTHORIZATION": gateway.box.api_key}
    return requests.get(f"{gateway.box.base_url}{path}", headers=headers, timeout=10).json()
