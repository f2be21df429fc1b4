"""The campaign of the cookbook: planned, approved, sent within the hours and the budget, and reported."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import PlanNotApproved, RefusedByRule
from airflow_provider_winsms.sandbox import Sandbox
from tests.conftest import API_KEY
from tests.transfers.campaigns import ANN, BEN, CAT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

EXAMPLE = Path(__file__).parents[2] / "example_dags" / "example_sms_lender.py"
PEOPLE = [(1, ANN, "Ann"), (2, f"0{BEN[2:]}", "Ben"), (3, CAT, "Cat"), (4, "nobody", "Dan"), (5, ANN, "Ann")]


@pytest.fixture(params=["2026-11-30T12:00", "2026-11-30T21:00"], ids=["by day", "at night"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    now = pendulum.parse(request.param, tz="Africa/Johannesburg")
    assert isinstance(now, pendulum.DateTime)
    with Sandbox(api_key=API_KEY, speed=0, credits=1000, now=now) as box:
        yield box


@pytest.fixture
def customers(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    sqlite.let_tasks_find_it(monkeypatch)
    sqlite.execute("CREATE TABLE {}customers (id INTEGER, number VARCHAR(40), name VARCHAR(200))")
    for number, phone, name in PEOPLE:
        sqlite.execute(f"INSERT INTO {{}}customers VALUES ({number}, '{phone}', '{name}')")  # noqa: S608 - ours
    return sqlite


@pytest.fixture
def dag() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE))


def planned(dag: dict[str, Any], runner: TaskRunner) -> dict[str, Any]:
    one = runner.another()
    assert one.run(dag["plan"]).error is None
    found: dict[str, Any] = one.result
    return found


@pytest.mark.usefixtures("customers")
def test_a_campaign_is_planned_approved_and_sent_as_it_was_planned(
    dag: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    sandbox.opt_out(CAT)
    plan = planned(dag, runner)
    assert not sandbox.outbox()
    assert (plan["recipients"], plan["duplicates"], plan["invalid"]["recipients"]) == (2, 1, 1)
    assert plan["estimated_cost"]["total"] == "2.0"
    assert plan["taken_out"] == [{"rule": "OptOuts", "reason": "opted_out", "recipients": 1}]
    sandbox.advance(600)
    dag["send"].approved_plan = plan["plan_id"]
    is_day = sandbox.now().hour < 20
    dag["send"].deferrable = False  # a triggerer goes by the clock on the wall
    assert runner.run(dag["send"]).error is None
    times = {row["scheduledTime"] for row in sandbox.outbox()}
    assert times == ({None} if is_day else {"202612010800"})
    assert sorted(row["mobileNumber"] for row in sandbox.outbox()) == [ANN, BEN]
    assert runner.result["rejected"] == {"bad_number": 1, "opted_out": 1}
    assert dag["report"].function(runner.result) == "2 of 2 arrived, for 2.0 credits."


def test_what_was_not_approved_is_not_sent(
    dag: dict[str, Any], sandbox: Sandbox, runner: TaskRunner, customers: Database
) -> None:
    dag["send"].approved_plan = planned(dag, runner)["plan_id"]
    customers.execute("INSERT INTO {}customers VALUES (6, '27825550199', 'Eve')")
    error = runner.run(dag["send"]).error
    assert isinstance(error, PlanNotApproved)
    assert "1 recipient" in str(error)
    assert not sandbox.outbox()


@pytest.mark.usefixtures("customers")
def test_a_campaign_above_its_budget_is_not_even_planned(
    dag: dict[str, Any], sandbox: Sandbox, runner: TaskRunner
) -> None:
    from airflow_provider_winsms.rules import marketing_za

    dag["plan"].rules = marketing_za(budget=2)
    assert isinstance(runner.run(dag["plan"]).error, RefusedByRule)
    assert not sandbox.outbox()


def test_the_dag_is_short() -> None:
    code = EXAMPLE.read_text().partition('"""\n\nfrom __future__')[2]
    assert len([line for line in code.splitlines() if line.strip()]) < 45
