"""Examples on a running Airflow: its scheduler, its workers, its triggerer, and people who answer.

``example_sms_lender`` runs as it is published. By night its texts wait at the gateway until the next morning,
and so does the task. So it runs a second time, as ``lender_at_any_hour``, with hours that never close.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.rules import SendingHours
from airflow_provider_winsms.sandbox import Sandbox
from tests.prove.real_airflow import RealAirflow, Run
from tests.support.databases import scratch_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Database

pytestmark = pytest.mark.airflow

EXAMPLES = Path(__file__).parents[2] / "example_dags"
APPROVAL = "example_sms_approval_by_reply"
PUBLISHED, AT_ANY_HOUR = "example_sms_lender", "lender_at_any_hour"
CHANGES = {
    "rules import marketing_za": "rules import CreditBudget, OptOuts, SendingHours",
    "marketing_za(budget=20_000)": (
        '[OptOuts(), SendingHours({"mon-sun": "00:00-24:00"}, time_zone="UTC"), CreditBudget(20_000)]'
    ),
    PUBLISHED: AT_ANY_HOUR,
    '"sql_conn_id": "warehouse",': f'"sql_conn_id": "warehouse", "sms_conn_id": "winsms_{AT_ANY_HOUR}",',
}
KEY = "key-of-the-lender-6e21a0"
CUSTOMERS, INVALID, DOUBLE = 20_000, 3, 2
CUSTOMERS_AS_WRITTEN = [
    ("'082' || lpad(i::text, 7, '0')", CUSTOMERS),
    ("'+27 82' || lpad(i::text, 7, '0')", DOUBLE),
    ("'unknown'", INVALID),
]
OPTED_OUT = [f"2782{100 * at:07d}" for at in range(1, 8)]
RECIPIENTS = CUSTOMERS - len(OPTED_OUT)
ON_CALL = ["27825550301", "27825550302"]
HOUR, SAST = 3600, "Africa/Johannesburg"
PRELOAD = ("requests", "airflow_provider_winsms.hooks.winsms", "airflow_provider_winsms.transfers.sql_to_sms")


class Campaign:
    """A run of the DAG, up to its wait for delivery.

    :ivar asked: what the person read who approved it.
    """

    def __init__(self, run: Run, box: Sandbox) -> None:
        self.run = run
        self.box = box
        self.before = pendulum.now()
        self.asked = self._approve()
        self.run.until("approve", "success")
        self.run.until("send", "deferred")
        self.after = pendulum.now()

    def _approve(self) -> str:
        airflow, runs = self.run.airflow, f"/api/v2/dags/{self.run.dag_id}/dagRuns"
        self.run.until("approve", "awaiting_input")
        # Airflow 3.3 fails a task that is answered before its scheduler has heard that its worker is done.
        self.run.until_worker_is_done("approve")
        (detail,) = airflow.get(f"{runs}/~/hitlDetails?response_received=false")["hitl_details"]
        answer = f"{runs}/{self.run.run_id}/taskInstances/approve/-1/hitlDetails"
        airflow.patch(answer, {"chosen_options": ["Approve"]})
        return str(detail["body"])


@pytest.fixture(scope="module")
def warehouse(postgres_database: str) -> Iterator[Database]:
    """The customers of a lender. Some rows are wrong, as in life."""
    with scratch_postgres(postgres_database) as database:
        database.connection["extra"] = json.dumps({"options": f"-c search_path={database.schema}"})
        database.execute("CREATE TABLE {}customers (id INTEGER, number VARCHAR(40), name VARCHAR(200))")
        for numbers, count in CUSTOMERS_AS_WRITTEN:
            columns = f"{numbers}, 'Name ' || i FROM generate_series(1, {count}) i"
            database.execute(f"INSERT INTO {{}}customers SELECT i, {columns}")
        yield database


@pytest.fixture(scope="module")
def boxes() -> Iterator[dict[str, Sandbox]]:
    with ExitStack() as opened:
        found = {
            dag_id: opened.enter_context(Sandbox(api_key=KEY, speed=0, seed=7, credits=CUSTOMERS))
            for dag_id in (PUBLISHED, AT_ANY_HOUR, APPROVAL)
        }
        for dag_id in (PUBLISHED, AT_ANY_HOUR):
            for number in OPTED_OUT:
                found[dag_id].opt_out(number)
        yield found


@pytest.fixture(scope="module")
def airflow(
    warehouse: Database, boxes: dict[str, Sandbox], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealAirflow]:
    connections: dict[str, Any] = {
        f"winsms_{dag_id}": {"conn_type": "winsms", "host": box.base_url, "password": KEY}
        for dag_id, box in boxes.items()
    }
    connections["winsms_default"] = connections.pop(f"winsms_{PUBLISHED}")
    connections["warehouse"] = warehouse.connection
    variables = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()}
    variables["AIRFLOW_VAR_ON_CALL_PHONES"] = ", ".join(ON_CALL)
    dags = tmp_path_factory.mktemp("dags")
    source = (EXAMPLES / f"{PUBLISHED}.py").read_text(encoding="utf-8")
    (dags / "published.py").write_text(source, encoding="utf-8")
    for old, new in CHANGES.items():
        assert old in source
        source = source.replace(old, new)
    (dags / "at_any_hour.py").write_text(source, encoding="utf-8")
    approval = (EXAMPLES / f"{APPROVAL}.py").read_text(encoding="utf-8")
    of_box = f'task_id="ask", sms_conn_id="winsms_{APPROVAL}", poll_interval=2,'
    assert 'task_id="ask",' in approval
    (dags / "approval.py").write_text(approval.replace('task_id="ask",', of_box), encoding="utf-8")
    with RealAirflow(tmp_path_factory.mktemp("airflow"), dags, variables, preload=PRELOAD) as running:
        yield running


@pytest.fixture(scope="module")
def campaigns(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> dict[str, Campaign]:
    return {dag_id: Campaign(airflow.run(dag_id), boxes[dag_id]) for dag_id in (PUBLISHED, AT_ANY_HOUR)}


@pytest.fixture(params=[PUBLISHED, AT_ANY_HOUR])
def campaign(request: pytest.FixtureRequest, campaigns: dict[str, Campaign]) -> Campaign:
    return campaigns[request.param]


def test_a_person_approves_counts_and_a_cost(campaign: Campaign) -> None:
    assert f"{RECIPIENTS} recipients,\n{RECIPIENTS}.0 credits" in campaign.asked
    assert f"'reason': 'opted_out', 'recipients': {len(OPTED_OUT)}" in campaign.asked


def test_each_customer_is_texted_once_but_for_the_opted_out_and_the_invalid(campaign: Campaign) -> None:
    customers = {f"2782{at:07d}" for at in range(1, 1 + CUSTOMERS)}
    texts = Counter(row["mobileNumber"] for row in campaign.box.outbox())
    assert texts == Counter(customers - set(OPTED_OUT))


def test_as_published_the_texts_leave_within_the_hours_of_the_law(
    campaigns: dict[str, Campaign],
) -> None:
    published = campaigns[PUBLISHED]
    hours = SendingHours.za_marketing().opening
    possible = [
        None if hours.is_open(at) else hours.next_opening(at).in_timezone(SAST).format("YYYYMMDDHHmm")
        for at in (published.before, published.after)
    ]
    assert {row["scheduledTime"] for row in published.box.outbox()} <= set(possible)


def test_with_hours_that_are_open_it_ends_with_its_report(campaigns: dict[str, Campaign]) -> None:
    campaign = campaigns[AT_ANY_HOUR]
    campaign.box.advance(HOUR)
    assert campaign.run.until_ended("send", "report") == {"send": "success", "report": "success"}
    arrived = sum(row["status"] == "DELIVERED" for row in campaign.box.outbox())
    assert campaign.run.xcom("report") == f"{arrived} of {RECIPIENTS} arrived, for {RECIPIENTS}.0 credits."
    assert campaign.run.task("send")["try_number"] == 1


@pytest.fixture(scope="module")
def approvals(airflow: RealAirflow, boxes: dict[str, Sandbox]) -> list[Run]:
    """Two questions to two people. A triggerer dies before the answers come."""
    box, runs = boxes[APPROVAL], [airflow.run(APPROVAL) for _ in range(2)]
    for run in runs:
        run.until("ask", "deferred")
    texts = box.outbox()
    airflow.kill("triggerer")
    for text, option in zip(texts[::2], ("Yes", "no"), strict=True):
        box.incoming("27825550399", text["message"][-10:])
        box.incoming(text["mobileNumber"], f"{option} {text['message'][-6:]}.")
    airflow.start("triggerer")
    for run in runs:
        run.until("ask", "success")
        run.until("deploy", "success", "skipped")
    return runs


def test_a_reply_decides_whether_the_tasks_downstream_run(
    approvals: list[Run], boxes: dict[str, Sandbox]
) -> None:
    chosen = {run.xcom("ask")["chosen"]: run.task("deploy")["state"] for run in approvals}
    assert chosen == {"YES": "success", "NO": "skipped"}
    assert Counter(row["mobileNumber"] for row in boxes[APPROVAL].outbox()) == dict.fromkeys(ON_CALL, 2)


@pytest.mark.usefixtures("campaigns", "approvals")
def test_no_number_no_name_no_code_and_no_key_is_in_the_metadata_or_in_a_log(
    airflow: RealAirflow, boxes: dict[str, Sandbox]
) -> None:
    logs = "\n".join(file.read_text() for file in sorted((airflow.home / "logs").rglob("attempt=*.log")))
    kept = logs + json.dumps(airflow.tables(), default=str)
    assert KEY not in kept
    found = {f"27{digits[-9:]}" for digits in re.findall(r"(?:27|0)\s?82\d{7}", kept)}
    assert found.isdisjoint(f"2782{at:07d}" for at in range(1, 1 + CUSTOMERS))
    assert "Hi Name" not in kept
    assert found.isdisjoint(ON_CALL)
    codes = {row["message"][-6:] for row in boxes[APPROVAL].outbox()}
    assert not re.search(rf"(YES|NO) ({'|'.join(codes)})", kept)
