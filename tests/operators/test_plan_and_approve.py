"""A plan says what would be sent and sends nothing. A send with its id sends that, or nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Param, task

from airflow_provider_winsms.exceptions import InvalidMessage, PlanNotApproved, RefusedByRule
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from airflow_provider_winsms.rules import Draft, OnlyTo, OptOuts, RuleContext
from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator
from tests.support.send_world import ANN, BEN, CAT

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner

SOME_ID = f"{'0' * 32}.1.1.1"
MANY = [f"2782555{at:04}" for at in range(8)]


@dataclass(frozen=True)
class Refuse:
    def apply(self, draft: Draft, context: RuleContext) -> None:  # noqa: ARG002 - as of every rule
        msg = f"{len(draft)} texts are too many."
        raise RefusedByRule(msg)


@dataclass(frozen=True)
class Priced:
    """A rule that knows prices, and sees whether a send is only planned."""

    prices: dict[str, Decimal]
    seen: list[bool] = field(default_factory=list, repr=False, compare=False)

    def apply(self, draft: Draft, context: RuleContext) -> None:  # noqa: ARG002 - as of every rule
        self.seen.append(context.is_dry_run)


def send(**kwargs: Any) -> SmsSendOperator:
    return SmsSendOperator(task_id="send", **{"text": "Hallo", "to": [ANN, BEN], **kwargs})


def send_batch(*messages: dict[str, Any], **kwargs: Any) -> SmsSendBatchOperator:
    return SmsSendBatchOperator(task_id="send", messages=list(messages), **kwargs)


def planned(runner: TaskRunner, plans: Any) -> dict[str, Any]:
    """Return the plan of a task, which another task instance makes."""
    other = runner.another()
    error = other.run(plans).error
    assert error is None, error
    plan: dict[str, Any] = other.result
    assert other.task_state == {}
    return plan


def plan_id(runner: TaskRunner, **kwargs: Any) -> str:
    found: str = planned(runner, send(plan_only=True, **kwargs))["plan_id"]
    return found


def numbers(sandbox: Sandbox) -> list[str]:
    return sorted(row["mobileNumber"] for row in sandbox.outbox())


def test_a_plan_says_what_would_be_sent_and_asks_the_gateway_nothing(
    sandbox: Sandbox, runner: TaskRunner
) -> None:
    first, last = (f"{sandbox.now().year + years}-06-01T07:00:00+00:00" for years in (1, 2))
    messages: list[dict[str, Any]] = [
        {"text": "Hallo", "to": [ANN, BEN, ANN, "letters"]},
        {"text": "x" * 161, "to": "+447700900123", "send_at": last},
        {"text": "€", "to": CAT, "send_at": first},
        {"text": "", "to": [CAT, ANN]},
        {"text": "The fourth", "to": [CAT]},
    ]
    plan = planned(runner, send_batch(*messages, plan_only=True))
    assert plan.pop("plan_id").endswith(".5.1.6")
    problems = plan["invalid"].pop("shown")
    assert [words[:10] for words in problems] == ["Message 1:", "Message 4:"]
    assert plan == {
        "recipients": 5,
        "requests": 1,
        "segments": 6,
        "duplicates": 1,
        "estimated_cost": {
            "total": None,
            "currency": "credits",
            "by_country": {
                "27": {"recipients": 4, "segments": 4, "cost": "4.0"},
                "44": {"recipients": 1, "segments": 2, "cost": None},
            },
        },
        "taken_out": [],
        "invalid": {"recipients": 3},
        "texts": [
            {"segments": 1, "septets": 5},
            {"segments": 2, "septets": 161},
            {"segments": 1, "septets": 2},
        ],
        "times": {"first": first, "last": last, "without_time": 3},
    }
    assert sandbox.requests() == []


def test_a_plan_asks_the_gateway_only_what_its_rules_ask(sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.opt_out(BEN)
    plan = planned(runner, send(plan_only=True, rules=[OptOuts(), OnlyTo([BEN])]))
    assert plan["taken_out"] == [
        {"rule": "OptOuts", "reason": "opted_out", "recipients": 1},
        {"rule": "OnlyTo", "reason": "not_allowed", "recipients": 1},
    ]
    assert (plan["recipients"], plan["estimated_cost"]["total"]) == (0, "0.0")
    assert [request["operation"] for request in sandbox.requests()] == ["getOptoutMessages"]


def test_a_rule_with_prices_says_what_a_segment_costs_and_hears_that_nothing_is_sent(
    runner: TaskRunner,
) -> None:
    priced = Priced({"27": Decimal("0.5"), "2782": Decimal(2), "44": Decimal(3)})
    to = [ANN, "27115550101", "+447700900123"]
    cost = planned(runner, send(plan_only=True, to=to, rules=[priced]))["estimated_cost"]
    assert cost["total"] == "5.5"
    assert {code: row["cost"] for code, row in cost["by_country"].items()} == {"27": "2.5", "44": "3.0"}
    assert priced.seen == [True]


def test_a_refusal_by_a_rule_fails_a_plan_as_it_fails_the_send(sandbox: Sandbox, runner: TaskRunner) -> None:
    assert isinstance(runner.run(send(plan_only=True, rules=[Refuse()])).error, RefusedByRule)
    assert sandbox.requests() == []


@pytest.mark.parametrize(("on_empty", "state"), [("fail", "failed"), ("skip", "skipped")])
def test_a_plan_of_an_empty_list_ends_as_the_send_would(
    on_empty: Any, state: str, runner: TaskRunner
) -> None:
    assert runner.run(send(to=[], plan_only=True, on_empty=on_empty)).state == state


def test_a_plan_shows_texts_only_if_asked_to_and_masks_numbers_in_them(runner: TaskRunner) -> None:
    text = "Call 082 555 0101 or 27825550101 by 09:30, code 1234"
    assert "text" not in planned(runner, send(text=text, plan_only=True))["texts"][0]
    (shown,) = planned(runner, send(text=text, plan_only=True, show_texts=True))["texts"]
    assert shown["text"] == "Call ****** or ****** by 09:30, code 1234"


@pytest.mark.parametrize(
    "spelled",
    ["082/555/0101", "082_555_0101", "082 - 555 - 0101", "(082) 555-0101", "+27 82 555 0101", "082.555.0101"],
)
def test_a_number_is_masked_however_its_digits_are_parted(spelled: str, runner: TaskRunner) -> None:
    (shown,) = planned(runner, send(text=f"Call {spelled}, Ann", plan_only=True, show_texts=True))["texts"]
    assert sum(map(str.isdecimal, shown["text"])) == 0
    assert shown["text"].endswith("******, Ann")


def test_a_plan_writes_to_no_table(runner: TaskRunner, sandbox: Sandbox, tmp_path: Path) -> None:
    runner.add_database("ledger", tmp_path / "ledger.db")
    planned(runner, send(plan_only=True, ledger_conn_id="ledger"))
    assert not (tmp_path / "ledger.db").exists()
    assert sandbox.outbox() == []


def test_a_shard_of_a_query_is_planned_and_sent(runner: TaskRunner, sandbox: Sandbox, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "customers.db")) as database:
        database.execute("CREATE TABLE customers (number TEXT, name TEXT)")
        rows = [(f"2782555{place:04}", "Ann") for place in range(20)]
        database.executemany("INSERT INTO customers VALUES (?, ?)", rows)
        database.commit()
    runner.add_database("customers", tmp_path / "customers.db")
    options: dict[str, Any] = {
        "task_id": "send",
        "sql": "SELECT number, name FROM customers ORDER BY number",
        "sql_conn_id": "customers",
        "text": "Hi {{ name }}",
        "shards": 2,
        "shard": 1,
    }
    plan = planned(runner, SqlToSmsOperator(**options, plan_only=True))
    assert 0 < plan["recipients"] < 20
    assert runner.run(SqlToSmsOperator(**options, approved_plan=plan["plan_id"])).error is None
    assert len(sandbox.outbox()) == plan["recipients"]


def test_an_approved_plan_is_sent(sandbox: Sandbox, runner: TaskRunner) -> None:
    approved = plan_id(runner, rules=[OnlyTo([ANN])])
    assert runner.run(send(rules=[OnlyTo([ANN])], approved_plan=approved)).error is None
    assert numbers(sandbox) == [ANN]


def test_the_id_of_a_plan_depends_on_no_clock_and_not_on_hold(sandbox: Sandbox, runner: TaskRunner) -> None:
    held: dict[str, Any] = {"guarantee": "exactly_once"}
    before = plan_id(runner, **held)
    sandbox.advance(3 * 86_400 + 7 * 3600)
    assert plan_id(runner, **held, hold=timedelta(hours=3)) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"to": [ANN]}, "has 1 recipient more, 1 segment more than this send"),
        ({"to": [ANN, BEN, CAT]}, "has 1 recipient fewer, 1 segment fewer than this send"),
        ({"text": "x" * 161}, "has 2 segments fewer than this send"),
        ({"text": "Hello"}, "other texts, numbers or times"),
        ({"to": [ANN, CAT]}, "other texts, numbers or times"),
        ({"to": [BEN, ANN]}, "other texts, numbers or times"),
        ({"max_segments": 2}, "other texts, numbers or times"),
        ({"rules": [OnlyTo([ANN])]}, "has 1 recipient more, 1 segment more than this send"),
    ],
)
def test_anything_else_than_the_approved_plan_is_refused_before_a_batch_is_opened(
    change: dict[str, Any], says: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    error = runner.run(send(approved_plan=plan_id(runner), **change)).error
    assert isinstance(error, PlanNotApproved)
    assert error.is_permanent
    assert says in str(error)
    assert sandbox.requests() == []
    assert runner.task_state == {}


def test_another_time_is_not_the_approved_plan(sandbox: Sandbox, runner: TaskRunner) -> None:
    at, later = (f"{sandbox.now().year + years}-06-01T09:00+02:00" for years in (1, 2))
    error = runner.run(send(send_at=later, approved_plan=plan_id(runner, send_at=at))).error
    assert isinstance(error, PlanNotApproved)
    assert "other texts, numbers or times" in str(error)
    assert sandbox.requests() == []


@pytest.mark.parametrize("given", [None, "", " ", "None", "plan", "0.1.1.1", SOME_ID + ".1", 7, {"a": 1}])
def test_what_is_no_plan_id_is_refused_where_the_dag_is_read(given: Any) -> None:
    with pytest.raises(InvalidMessage, match="approved_plan"):
        send(approved_plan=given)


@pytest.mark.parametrize("is_native", [False, True])
@pytest.mark.parametrize("given", ["{{ params.plan }}", "{{ '' }}", "{{ none }}"])
@pytest.mark.parametrize("value", [None, "", "None"])
def test_an_empty_value_of_a_template_is_refused_and_not_ignored(
    given: str, value: Any, is_native: bool, sandbox: Sandbox, runner: TaskRunner
) -> None:
    params = {"plan": Param(value, type=["null", "string"])}
    with DAG("dag", schedule=None, render_template_as_native_obj=is_native):
        sends = send(approved_plan=given, params=params)
    error = runner.run(sends).error
    assert isinstance(error, InvalidMessage)
    assert "no plan was approved" in str(error)
    assert sandbox.requests() == []


@pytest.mark.parametrize("value", [None, "", {"plan_id": None}])
@pytest.mark.parametrize("way", ["partial", "expand", "expand_kwargs"])
def test_an_empty_value_of_another_task_is_refused_in_a_mapped_task_too(
    way: str, value: Any, sandbox: Sandbox, runner: TaskRunner
) -> None:
    options: dict[str, Any] = {"task_id": "send", "text": "Hallo"}
    with DAG("dag", schedule=None):

        @task
        def approve() -> Any: ...

        mapped: Any
        if way == "partial":
            runner.results["approve"] = value
            mapped = SmsSendOperator.partial(**options, approved_plan=approve()).expand(to=[[ANN]])
        elif way == "expand":
            runner.results["approve"] = [value]
            mapped = SmsSendOperator.partial(**options, to=[ANN]).expand(approved_plan=approve())
        else:
            runner.results["approve"] = [{"approved_plan": value}]
            mapped = SmsSendOperator.partial(**options, to=[ANN]).expand_kwargs(approve())
    runner.map_index = 0
    error = runner.run(mapped).error
    assert isinstance(error, InvalidMessage)
    assert sandbox.requests() == []


def test_options_that_contradict_each_other_are_refused_where_the_dag_is_read() -> None:
    with pytest.raises(InvalidMessage, match="plan_only"):
        send(plan_only=True, approved_plan=SOME_ID)
    with pytest.raises(InvalidMessage, match="show_texts"):
        send(show_texts=True)


def ledger_of(world: SendWorld, kept_in: str, tmp_path: Path) -> dict[str, Any]:
    world.runner.add_database("ledger", tmp_path / "ledger.db")
    return {"ledger_conn_id": "ledger"} if kept_in == "tables" else {}


def stop_after_the_first_request(sandbox: Sandbox) -> None:
    sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, times=1, retry_after=3600)


@pytest.mark.parametrize("kept_in", ["store", "tables"])
def test_a_retry_resumes_what_was_opened_under_the_approval(
    kept_in: str, sandbox: Sandbox, world: SendWorld, tmp_path: Path
) -> None:
    world.limits["recipients"] = 2
    options = {"to": MANY, "rules": [OnlyTo(MANY[:7])], **ledger_of(world, kept_in, tmp_path)}
    plan = planned(world.runner, world.send(plan_only=True, **options))
    assert plan["requests"] == 4
    stop_after_the_first_request(sandbox)
    assert world.run(approved_plan=plan["plan_id"], **options) is not None
    assert numbers(sandbox) == MANY[:2]
    assert world.run(approved_plan=plan["plan_id"], **options) is None
    assert numbers(sandbox) == MANY[:7]


@pytest.mark.parametrize("kept_in", ["store", "tables"])
@pytest.mark.parametrize("is_approved_anew", [False, True])
def test_a_changed_list_is_refused_although_the_rest_might_be_sent(
    kept_in: str, is_approved_anew: bool, sandbox: Sandbox, world: SendWorld, tmp_path: Path
) -> None:
    world.limits["recipients"] = 2
    options: dict[str, Any] = {"on_changed": "send_the_rest", **ledger_of(world, kept_in, tmp_path)}
    approved = planned(world.runner, world.send(plan_only=True, to=MANY, **options))["plan_id"]
    stop_after_the_first_request(sandbox)
    assert world.run(approved_plan=approved, to=MANY, **options) is not None
    if is_approved_anew:
        approved = planned(world.runner, world.send(plan_only=True, to=MANY[1:], **options))["plan_id"]
    error = world.run(approved_plan=approved, to=MANY[1:], **options)
    assert isinstance(error, PlanNotApproved)
    assert "send_the_rest" in str(error)
    assert numbers(sandbox) == MANY[:2]
