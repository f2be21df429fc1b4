"""Shards of a campaign: everybody is in one of them, in every try."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_provider_winsms.exceptions import IdempotencyConflict, InvalidMessage
from airflow_provider_winsms.transfers.sql_to_sms import SqlToSmsOperator
from tests.support.databases import CONN_ID
from tests.transfers.campaigns import TABLE, campaign, enrol, texts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

MANY = [f"278255502{place:02}" for place in range(40)]
SHARDS = 3


@pytest.fixture
def people(sqlite: Database, runner: TaskRunner) -> Database:
    runner.retries = 9
    enrol(sqlite, *((number, "Ann") for number in MANY))
    return sqlite


def mapped(shards: int = SHARDS, places: Iterable[int] | None = None, **kwargs: Any) -> Any:
    with DAG("dag", schedule=None):
        return SqlToSmsOperator.partial(
            task_id="send",
            sql=f"SELECT number, name FROM {TABLE}",  # noqa: S608 - a test's own
            sql_conn_id=CONN_ID,
            text="Hi {{ name }}",
            shards=shards,
            **kwargs,
        ).expand(shard=list(range(shards) if places is None else places))


def instances(runner: TaskRunner, count: int = SHARDS) -> list[TaskRunner]:
    return [replace(runner.another(), map_index=index) for index in range(count)]


def everybody_once(sandbox: Sandbox) -> bool:
    return texts(sandbox) == [(number, "Hi Ann") for number in MANY]


@pytest.mark.parametrize("options", [{}, {"ledger_conn_id": CONN_ID, "idempotency_key": "offer"}])
def test_the_shards_together_send_to_everybody_once(
    options: dict[str, Any], people: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    for each in instances(runner):
        assert each.run(mapped(**options)).error is None
        assert 0 < each.result["accepted"] < len(MANY)
    assert everybody_once(sandbox)
    if options:
        assert people.execute("SELECT COUNT(DISTINCT batch_key) FROM sms_batches") == [(SHARDS,)]


def test_a_person_stays_in_a_shard_however_the_number_is_written_and_whatever_the_order(
    people: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    first, second, third = instances(runner)
    assert first.run(mapped()).error is None
    enrol(people, *((f"0{number[2:]}", "Ann") for number in reversed(MANY)))
    for each in (first, second, third):
        each.clear()
        assert each.run(mapped()).error is None
    assert everybody_once(sandbox)


def test_a_retry_of_a_shard_sends_to_who_came_meanwhile(
    people: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    enrol(people, *((number, "Ann") for number in MANY[:20]))
    tasks = instances(runner)
    for each in tasks:
        assert each.run(mapped()).error is None
    enrol(people, *((number, "Ann") for number in MANY))
    for each in tasks:
        each.clear()
        assert each.run(mapped()).error is None
        assert each.result["changes"]["gone"] == 0
    assert everybody_once(sandbox)


@pytest.mark.parametrize(
    "other", [{"shards": 2}, {"shards": 6}, {"places": [2, 0, 1]}], ids=["fewer", "more", "another-order"]
)
def test_a_task_that_has_another_shard_now_sends_nothing(
    other: dict[str, Any], people: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    tasks = instances(runner)
    for each in tasks:
        assert each.run(mapped()).error is None
    enrol(people, *((number, "Ann") for number in [*MANY, "27825550399"]))
    for each in tasks[:2]:
        each.clear()
        error = each.run(mapped(**other)).error
        assert isinstance(error, IdempotencyConflict)
        assert "An earlier try of this task had shard" in str(error)
    assert everybody_once(sandbox)


def test_a_task_that_is_mapped_over_its_queries_refuses_another_list(
    people: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    def over_queries(*conditions: str) -> Any:
        queries = [f"SELECT number, name FROM {TABLE} WHERE {condition}" for condition in conditions]  # noqa: S608 - a test's own
        with DAG("dag", schedule=None):
            return SqlToSmsOperator.partial(task_id="send", sql_conn_id=CONN_ID, text="Hi {{ name }}").expand(
                sql=queries
            )

    assert people.count(TABLE) == len(MANY)
    for each in (tasks := instances(runner, 2)):
        assert each.run(over_queries("id <= 10", "id > 10")).error is None
    tasks[0].clear()
    assert isinstance(tasks[0].run(over_queries("id > 10", "id <= 10")).error, IdempotencyConflict)
    assert everybody_once(sandbox)


def test_a_retry_of_a_whole_campaign_sends_the_rest(
    people: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    enrol(people, *((number, "Ann") for number in MANY[:30]))
    assert runner.run(campaign(people)).error is None
    enrol(people, *((number, "Ann") for number in MANY))
    runner.clear()
    assert runner.run(campaign(people)).error is None
    assert everybody_once(sandbox)


def test_an_invalid_row_is_judged_by_one_shard(
    people: Database, sandbox: Sandbox, runner: TaskRunner
) -> None:
    enrol(people, *((number, "Ann") for number in [*MANY, "nobody", None]))
    rejected = []
    for each in instances(runner):
        assert each.run(mapped(on_invalid="reject")).error is None
        rejected.append(sum(each.result["rejected"].values()))
    assert sum(rejected) == 2
    assert everybody_once(sandbox)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"shards": 20}, "`shard` is missing"),
        ({"shard": 1}, "`shards` is missing"),
        ({"shards": 3, "shard": 3}, "shard must be from 0 to 2"),
    ],
)
def test_a_shard_that_cannot_be_is_refused_when_the_dag_is_read(
    given: dict[str, Any], says: str, sqlite: Database
) -> None:
    with pytest.raises(InvalidMessage, match=says):
        campaign(sqlite, **given)


def test_a_shard_may_come_from_a_template(people: Database, sandbox: Sandbox, runner: TaskRunner) -> None:
    for place in range(SHARDS):
        task = campaign(people, shards=SHARDS, shard="{{ params.place }}", params={"place": place})
        assert runner.another().run(task).error is None
    assert everybody_once(sandbox)
    error = runner.another().run(campaign(people, shards=3, shard="{{ 3 }}")).error
    assert "shard must be from 0 to 2" in str(error)
