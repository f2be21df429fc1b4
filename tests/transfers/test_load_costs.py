"""What a load costs: requests in proportion to what is new, and memory that does not depend on the rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from scripts import process_memory
from scripts.bulk_gateways import BulkGateways
from tests.support.databases import CONN_ID
from tests.support.lists import connection_to
from tests.transfers.load_process import Order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database

pytestmark = pytest.mark.database

MOST_GROWTH = 40
"""Megabytes by which a process may grow during a load."""

NOISE = 12
"""Megabytes by which two loads may differ."""

FEWER, MORE, MILLION = 100_000, 300_000, 1_000_000
"""``make bench`` loads a million into each; here, as it takes minutes, into one."""

ROOT = Path(__file__).parents[2]


def test_a_load_of_10_new_rows_among_500_000_makes_3_requests(
    sandbox: Sandbox, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", connection_to(sandbox, page_size=1000))
    task = SmsToSqlOperator(
        task_id="load", dataset="incoming", sql_conn_id=CONN_ID, table="replies", schema=postgres.schema
    )
    sandbox.add_incoming((f"2782{place:07}", "Yes") for place in range(500_000))
    assert task.execute({})["rows_loaded"] == 500_000
    before = len(sandbox.requests())
    new = sandbox.add_incoming((f"2783{place:07}", "No") for place in range(10))
    result = task.execute({})
    assert len(sandbox.requests()) - before <= 3
    assert (result["rows_loaded"], result["high_water_mark"]) == (10, new[-1])
    assert postgres.count("replies") == 500_010


@pytest.fixture(scope="module")
def gateways() -> Iterator[BulkGateways]:
    with BulkGateways(FEWER) as opened:
        yield opened


def growth(database: Database, gateways: BulkGateways, dataset: str, rows: int) -> float:
    """Load so many rows in a fresh process, and return by how many megabytes it grew at most."""
    table = f"loaded_{rows}"
    task = {"dataset": dataset, "sql_conn_id": CONN_ID, "table": table, "schema": database.schema}
    environment = {
        **database.environment,
        "AIRFLOW_CONN_WINSMS_DEFAULT": connection_to(gateways.of(rows).box, page_size=1000),
    }
    command = [
        sys.executable,
        "-m",
        "tests.transfers.load_process",
        json.dumps(asdict(Order(task, environment))),
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert measured["error"] == ""
    assert database.count(table) == rows
    found: float = measured["peak"] - measured["start"]
    return found


@pytest.mark.skipif(not process_memory.is_known(), reason="NO MEASURE OF MEMORY on this system")
@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
@pytest.mark.parametrize("dataset", ["incoming", "opt_outs"])
def test_memory_grows_by_the_same_few_megabytes_whatever_is_loaded(
    kind: str, dataset: str, gateways: BulkGateways, request: pytest.FixtureRequest
) -> None:
    database: Database = request.getfixturevalue(kind)
    most = MILLION if kind == "postgres" else MORE
    few, many = (growth(database, gateways, dataset, rows) for rows in (FEWER, most))
    sys.stdout.write(f"{dataset} into {kind}: {few:.1f} MB and {many:.1f} MB\n")
    assert few < MOST_GROWTH
    assert many < MOST_GROWTH
    assert abs(many - few) < NOISE
