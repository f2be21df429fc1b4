"""A send whose answer is lost, on a real Airflow: resolved by a person, cleared, and finished."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.home import Home
from tests.prove.real_airflow import RealAirflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_winsms.sandbox import Sandbox

DAGS = Path(__file__).parent / "dags"
ANN, BEN = "27825550101", "27825550102"

pytestmark = pytest.mark.airflow


@pytest.fixture
def airflow(tmp_path: Path, sandbox: Sandbox) -> Iterator[RealAirflow]:
    connection = {"conn_type": "winsms", "host": sandbox.base_url, "password": sandbox.api_key}
    variables = {"AIRFLOW_CONN_WINSMS_DEFAULT": json.dumps(connection)}
    with RealAirflow(tmp_path, DAGS, variables) as started:
        yield started


def test_what_a_person_says_is_what_the_cleared_task_goes_by(airflow: RealAirflow, sandbox: Sandbox) -> None:
    home = Home(airflow.home)
    sandbox.add_fault("reset-before-acceptance", operation="smsSend")
    not_sent = airflow.run("sms_lost")
    not_sent.until("send", "failed")
    sandbox.add_fault("lost-after-acceptance", operation="smsSend")
    sent = airflow.run("sms_lost")
    sent.until("send", "failed")
    ids = [str(text["apiMessageId"]) for text in sandbox.outbox()]
    assert len(ids) == 2

    of_run = {row["run_id"]: row["batch_id"] for row in home.unresolved()}
    home.resolve(of_run[not_sent.run_id], "--request", "1", "--not-accepted", "--yes")
    home.resolve(of_run[sent.run_id], "--request", "1", "--accepted", *ids, "--yes")
    assert home.unresolved() == []

    for run in (not_sent, sent):
        run.clear("send")
        run.until("send", "success")
    assert [str(message_id) for message_id in sent.xcom("send")["message_ids"]] == ids
    assert Counter(text["mobileNumber"] for text in sandbox.outbox()) == {ANN: 2, BEN: 2}
