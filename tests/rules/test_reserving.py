"""What rules reserve is what is sent: nothing for a send that is refused, and nobody whom a rule took out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import PlanNotApproved, RefusedByRule
from airflow_provider_winsms.rules import CreditBudget, FrequencyCap, OnlyTo
from tests.ledger.batches import NOON, ledger
from tests.support.database_fixtures import postgres_by_path as postgres
from tests.support.databases import CONN_ID
from tests.support.racers import raced
from tests.support.send_world import ANN, BEN, CAT, once

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.rules import Draft, RuleContext
    from tests.support.databases import Database
    from tests.support.send_world import SendWorld

__all__ = ["postgres"]

LIMITS = [FrequencyCap(), CreditBudget(2, per="day")]
"""What allows two texts, to two people, in one day."""

RULES_IN_ANY_ORDER = pytest.mark.parametrize(
    "arrange", [list, lambda rules: rules[::-1]], ids=["", "reversed"]
)


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Database:
    found: Database = request.getfixturevalue(request.param)
    found.let_tasks_find_it(monkeypatch)
    return found


@dataclass(frozen=True)
class Late:
    """A rule that fails when everything else is reserved."""

    error: Exception

    def apply(self, draft: Draft, context: RuleContext) -> None:
        """Decide nothing."""

    def reserve(self, draft: Draft, context: RuleContext) -> None:  # noqa: ARG002 - it asks nothing
        raise self.error

    def release(self, context: RuleContext) -> None:
        """Give nothing back."""


@dataclass(frozen=True)
class Tomorrow:
    """A rule that moves every text by a day."""

    def apply(self, draft: Draft, context: RuleContext) -> None:
        for entry in draft:
            draft.move(entry.position, context.now.add(days=1))


def run(world: SendWorld, task_id: str, *to: str, **kwargs: Any) -> BaseException | None:
    """Run a task of this name once, within the limits."""
    world.runner = replace(world.runner.another(), retries=1)
    return world.run(
        **{"task_id": task_id, "to": list(to), "rules": LIMITS, "ledger_conn_id": CONN_ID, **kwargs}
    )


def reservations(database: Database) -> tuple[list[str], list[float]]:
    """Return whom the tables hold places for, and the amounts that are reserved."""
    places = database.execute("SELECT number FROM {}sms_reservations WHERE number <> '' ORDER BY 1")
    amounts = database.execute("SELECT amount FROM {}sms_spending WHERE key_digest <> ''")
    return [number for (number,) in places], [float(amount) for (amount,) in amounts]


def plan_id(world: SendWorld, *to: str) -> str:
    assert run(world, "plan", *to, plan_only=True) is None
    found: str = world.runner.result["plan_id"]
    return found


def test_a_refused_approval_leaves_nothing_reserved(world: SendWorld, database: Database) -> None:
    approved = plan_id(world, ANN, BEN)
    assert isinstance(run(world, "first", ANN, CAT, approved_plan=approved), PlanNotApproved)
    assert reservations(database) == ([], [])
    assert run(world, "second", ANN, CAT) is None
    assert world.texts == once(ANN, CAT)


def test_an_approved_plan_is_sent_and_reserved(world: SendWorld, database: Database) -> None:
    assert run(world, "first", ANN, BEN, approved_plan=plan_id(world, ANN, BEN)) is None
    assert reservations(database) == ([ANN, BEN], [2.0])


@pytest.mark.parametrize(
    "error", [RefusedByRule("Enough."), ValueError("27825550101")], ids=["refuses", "fails"]
)
def test_a_send_that_a_rule_refuses_at_last_leaves_nothing_reserved(
    error: Exception, world: SendWorld, database: Database
) -> None:
    found = run(world, "first", ANN, BEN, rules=[*LIMITS, Late(error)])
    assert found is not None
    assert ANN not in str(found)
    assert reservations(database) == ([], [])
    assert run(world, "second", ANN, BEN) is None
    assert world.texts == once(ANN, BEN)


def test_what_cannot_be_given_back_is_logged_and_the_send_is_refused_all_the_same(
    world: SendWorld, sqlite: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sqlite.let_tasks_find_it(monkeypatch)

    @dataclass(frozen=True)
    class Drops(Late):
        def reserve(self, draft: Draft, context: RuleContext) -> None:  # noqa: ARG002 - it asks nothing
            sqlite.execute("DROP TABLE {}sms_reservations")
            raise self.error

    error = run(world, "first", ANN, BEN, rules=[*LIMITS, Drops(RefusedByRule("Enough."))])
    assert isinstance(error, RefusedByRule)
    assert "What the rule FrequencyCap reserved was not given back" in capsys.readouterr().out
    assert not world.texts


@RULES_IN_ANY_ORDER
def test_nothing_is_reserved_for_whom_any_rule_took_out(
    arrange: Callable[[list[Any]], list[Any]], world: SendWorld, database: Database
) -> None:
    rules = arrange([FrequencyCap(), CreditBudget(20, per="day"), OnlyTo([ANN])])
    assert run(world, "first", ANN, BEN, CAT, rules=rules) is None
    assert reservations(database) == ([ANN], [1.0])
    assert run(world, "second", BEN) is None
    assert world.texts == once(ANN, BEN)


@RULES_IN_ANY_ORDER
def test_a_text_that_a_rule_moves_is_reserved_for_its_new_time(
    arrange: Callable[[list[Any]], list[Any]], world: SendWorld, database: Database
) -> None:
    rules = arrange([FrequencyCap(per=timedelta(hours=20)), Tomorrow()])
    assert run(world, "first", ANN, rules=rules) is None
    assert database.count("sms_reservations") == 2
    assert run(world, "second", ANN, rules=[FrequencyCap(per=timedelta(hours=3))]) is None
    assert world.texts == {ANN: 2}


def test_a_plan_writes_no_row(world: SendWorld, database: Database) -> None:
    plan_id(world, ANN, BEN)
    assert [database.count(f"sms_{table}") for table in ("reservations", "spending", "batches")] == [0, 0, 0]


def test_giving_back_keeps_what_was_submitted(world: SendWorld, database: Database) -> None:
    assert run(world, "first", ANN) is None
    with ledger(database, "another key") as tables:
        tables.history.release(NOON)
        tables.spending.release(NOON)
    assert reservations(database) == ([ANN], [1.0])


_SPENDING = """
import sys
from decimal import Decimal
from airflow.providers.common.compat.sdk import BaseHook
from airflow_provider_winsms.ledger.base import SpendingScope
from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from tests.ledger.batches import HASHES, NOON, batch
from tests.support.databases import CONN_ID
process, scope = int(sys.argv[1]), SpendingScope("winsms_default", None, None, NOON, NOON.add(days=1))
print("ready", flush=True)
sys.stdin.readline()
hook = BaseHook.get_connection(CONN_ID).get_hook()
for part in range(5):
    with SqlLedger(hook, f"batch {process} {part}", HASHES, SqlOptions()) as ledger:
        spent = ledger.spending.reserve(Decimal(3), Decimal(100), scope, batch().sender, NOON)
        print("may spend" if spent + 3 <= 100 else "refused", flush=True)
"""


@pytest.mark.database
def test_twenty_processes_keep_to_one_budget_together(database: Database) -> None:
    ledger(database).close()
    said = [line for out in raced(_SPENDING, 20) for line in out if line in {"may spend", "refused"}]
    assert (said.count("may spend"), said.count("refused")) == (33, 67)
    assert reservations(database)[1] == [3.0] * 33
