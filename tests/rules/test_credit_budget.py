"""A send that would cost more than a budget is refused whole. The sandbox's account is the judge."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    InvalidMessage,
    OutOfCredits,
    RefusedByRule,
)
from airflow_provider_winsms.rules import CreditBudget, OnlyTo, marketing_za, transactional
from airflow_provider_winsms.sandbox import Sandbox
from tests.conftest import API_KEY
from tests.support.database_fixtures import postgres_by_path as postgres
from tests.support.databases import CONN_ID
from tests.support.send_world import WorkerDied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Database
    from tests.support.send_world import SendWorld

__all__ = ["postgres"]

MANY = [f"2782555{at:04}" for at in range(20)]
NAMIBIA = "264811234567"
TWO_SEGMENTS = "x" * 161
LEDGER = {"ledger_conn_id": CONN_ID}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    now = pendulum.datetime(2026, 11, 30, 12, tz="Africa/Johannesburg")
    with Sandbox(api_key=API_KEY, speed=0, credits=1000, now=now) as box:
        yield box


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Database:
    found: Database = request.getfixturevalue(request.param)
    found.let_tasks_find_it(monkeypatch)
    return found


@pytest.mark.parametrize(
    ("most", "is_sent"), [(40, True), ("40.0", True), (Decimal("39.9"), False), (0, False)]
)
def test_a_send_within_the_budget_is_sent_and_another_is_refused_whole(
    most: Any, is_sent: bool, sandbox: Sandbox, world: SendWorld
) -> None:
    error = world.run(text=TWO_SEGMENTS, to=MANY, rules=[CreditBudget(most)])
    assert isinstance(error, RefusedByRule) == (not is_sent)
    assert len(sandbox.outbox()) == (20 if is_sent else 0)
    if not is_sent:
        assert "would cost 40.0 credits" in str(error)


def test_who_is_taken_out_before_costs_nothing(sandbox: Sandbox, world: SendWorld) -> None:
    assert world.run(to=MANY, rules=[OnlyTo(MANY[:3]), CreditBudget(3)]) is None
    assert len(sandbox.outbox()) == 3


def test_a_country_without_a_price_is_named_and_no_number(sandbox: Sandbox, world: SendWorld) -> None:
    error = world.run(to=[*MANY, NAMIBIA, "4915112345678"], rules=[CreditBudget(500)])
    assert "+264 (1), +49 (1)" in str(error)
    assert "81123" not in str(error)
    assert not sandbox.outbox()


def test_the_longest_prefix_decides(sandbox: Sandbox, world: SendWorld) -> None:
    prices: dict[str, float | str | Decimal] = {"27": 1, "2": "0.5", "264": 100}
    error = world.run(to=[*MANY, NAMIBIA], rules=[CreditBudget(100, prices=prices)])
    assert "would cost 120.0 credits" in str(error)
    assert not sandbox.outbox()


def test_an_estimate_above_the_balance_is_refused_and_a_retry_after_a_top_up_sends(
    sandbox: Sandbox, world: SendWorld
) -> None:
    sandbox.set_account(credit_balance=19)
    assert isinstance(world.run(to=MANY, rules=[CreditBudget(500)]), OutOfCredits)
    assert not sandbox.outbox()
    sandbox.set_account(credit_balance=20)
    assert world.run(to=MANY, rules=[CreditBudget(500)]) is None


def test_a_difference_between_estimate_and_charge_is_logged(
    world: SendWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.run(to=MANY, rules=[CreditBudget(500, prices={"27": 3})]) is None
    out = capsys.readouterr().out
    assert "Estimated cost: 60.0 credits." in out
    assert "The texts cost 20.0 credits; the estimate was 60.0." in out


@pytest.mark.parametrize("per", ["dag_run", "day"])
def test_without_tables_only_a_task_can_have_a_budget(per: Any, sandbox: Sandbox, world: SendWorld) -> None:
    error = world.run(to=MANY, rules=[CreditBudget(500, per=per)])
    assert isinstance(error, ConfigurationError)
    assert "ledger_conn_id" in str(error)
    assert not sandbox.outbox()


@pytest.mark.parametrize("per", ["dag_run", "day"])
@pytest.mark.usefixtures("database")
def test_tasks_spend_one_budget_together(per: Any, sandbox: Sandbox, world: SendWorld) -> None:
    rules = [CreditBudget(50, per=per)]
    assert world.run(task_id="one", to=MANY, rules=rules, **LEDGER) is None
    world.runner = world.runner.another()
    assert world.run(task_id="two", to=MANY, rules=rules, **LEDGER) is None
    world.runner = world.runner.another()
    error = world.run(task_id="three", to=MANY[:11], rules=rules, **LEDGER)
    assert "would cost 11.0 credits, and the budget of" in str(error)
    assert "40.0 was spent or reserved before." in str(error)
    world.runner = world.runner.another()
    assert world.run(task_id="four", to=MANY[:10], rules=rules, **LEDGER) is None
    assert len(sandbox.outbox()) == 50


@pytest.mark.usefixtures("database")
def test_a_day_begins_at_midnight_of_its_time_zone(sandbox: Sandbox, world: SendWorld) -> None:
    rules = [CreditBudget(20, per="day")]
    assert world.run(task_id="one", to=MANY, rules=rules, **LEDGER) is None
    for hours, is_sent in ((11.9, False), (0.2, True)):
        sandbox.advance(hours * 3600)
        world.runner = world.runner.another()
        assert (world.run(task_id=f"at_{hours}", to=MANY, rules=rules, **LEDGER) is None) == is_sent


@pytest.mark.usefixtures("database")
def test_the_reservation_of_a_task_that_died_counts_for_others_and_not_for_its_retry(
    sandbox: Sandbox, world: SendWorld
) -> None:
    world.limits["recipients"] = 5
    rules = [CreditBudget(30, per="day")]

    def die() -> None:
        raise WorkerDied

    world.waiting[2] = die
    assert isinstance(world.run(task_id="one", to=MANY, rules=rules, **LEDGER), WorkerDied)
    first, world.runner = world.runner, world.runner.another()
    assert isinstance(world.run(task_id="two", to=MANY[:11], rules=rules, **LEDGER), RefusedByRule)
    assert world.run(task_id="three", to=MANY[:10], rules=rules, **LEDGER) is None
    world.runner = first
    sandbox.advance(120)
    world.run(task_id="one", to=MANY, rules=rules, **LEDGER)
    assert len(sandbox.outbox()) <= 30


@pytest.mark.usefixtures("database")
def test_a_refused_send_reserves_nothing(sandbox: Sandbox, world: SendWorld) -> None:
    rules = [CreditBudget(20, per="day")]
    assert isinstance(
        world.run(task_id="one", text=TWO_SEGMENTS, to=MANY, rules=rules, **LEDGER), RefusedByRule
    )
    world.runner = world.runner.another()
    assert world.run(task_id="two", to=MANY, rules=rules, **LEDGER) is None
    assert len(sandbox.outbox()) == 20


@pytest.mark.parametrize(
    "make",
    [
        lambda: CreditBudget(-1),
        lambda: CreditBudget("many"),
        lambda: CreditBudget(most=True),
        lambda: CreditBudget(float("nan")),
        lambda: CreditBudget(5, per="week"),  # type: ignore[arg-type] # that is the point
        lambda: CreditBudget(5, prices={}),
        lambda: CreditBudget(5, prices={"+27": 1}),
        lambda: CreditBudget(5, prices={"27": "cheap"}),
        lambda: CreditBudget(5, prices={"27": -1}),
    ],
)
def test_a_wrong_argument_is_refused_where_the_dag_is_read(make: Any) -> None:
    with pytest.raises(InvalidMessage):
        make()


def test_budgets_pickle_and_compare() -> None:
    rule = CreditBudget(500, per="day", prices={"27": 1, "264": "2.5"})
    assert pickle.loads(pickle.dumps(rule)) == rule  # noqa: S301 - our own
    assert rule == CreditBudget("500", per="day", prices={"264": Decimal("2.5"), "27": "1"})


@pytest.mark.parametrize(
    "rules", [marketing_za(), marketing_za(budget=50), transactional(), transactional(50)]
)
def test_the_ready_lists_send(rules: Any, sandbox: Sandbox, world: SendWorld) -> None:
    assert world.run(to=MANY, rules=rules) is None
    assert len(sandbox.outbox()) == 20
