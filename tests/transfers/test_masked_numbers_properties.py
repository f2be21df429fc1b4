"""Whatever numbers share a mask, every row is loaded exactly once, and a second load changes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.operators.sms import SmsSendOperator
from tests.support.list_server import ListServer, QueueHook
from tests.support.list_server import text as queued
from tests.support.lists import row, waiting
from tests.transfers.loads import beside_ledger, run, stored
from tests.transfers.test_list_strategies import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.databases import Database
    from tests.support.lists import Lists
    from tests.support.task_runner import TaskRunner

HASH_SECRET = "a key of sufficient length"  # noqa: S105 - a test's own
BEGAN = datetime(2026, 5, 1, tzinfo=UTC)
tables = (f"replies_{each}" for each in count(1))

COLLIDING = st.builds("2782{:04}78{}".format, st.integers(0, 9999), st.integers(8, 9))
"""Numbers with one of two masks."""
SHORT = st.sampled_from(["", "1", "12345", "123456", "MyBank"])
"""Numbers that are masked whole."""
NUMBERS = COLLIDING | SHORT
MODES = st.sampled_from(["incremental", "backfill", "full_refresh"])


def mask(number: str) -> str:
    return f"{number[:2]}******{number[-3:]}" if len(number) > 6 else "******"


def some(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )


@dataclass(frozen=True)
class Step:
    """Two loads in turn.

    :param arriving: the numbers of rows that arrive before them.
    :param leaving: how many of the first rows leave before them, of a list from which rows leave.
    """

    mode: str
    arriving: list[str]
    leaving: int


STEPS = st.lists(
    st.builds(Step, MODES, st.lists(NUMBERS, max_size=12), st.integers(0, 3)), min_size=1, max_size=4
)


@pytest.mark.parametrize("dataset", ["incoming", "short_code"])
@some(25)
@given(steps=STEPS)
def test_each_text_is_there_once(
    dataset: str, steps: list[Step], lists: Lists, one_database: Database
) -> None:
    table, listed = next(tables), list[dict[str, Any]]()
    lists.rows = lists.short_code = listed
    for step in steps:
        listed += [row(n, number) for n, number in enumerate(step.arriving, len(listed) + 1)]
        loads = [run(one_database, dataset, table=table, privacy="masked", mode=step.mode) for _ in range(2)]
        assert [each["rows_loaded"] for each in loads] == [len(step.arriving), 0]
        assert [
            (each["message_id"], each["number"], each["number_key_id"])
            for each in stored(one_database, dataset, table)
        ] == [(each["incomingApiMessageId"], mask(each["mobileNumber"]), "masked") for each in listed]


@some(25)
@given(steps=STEPS)
def test_each_scheduled_text_is_there_once_and_only_those_that_left_are_marked(
    steps: list[Step], lists: Lists, one_database: Database
) -> None:
    table, ids, numbers = next(tables), count(1), dict[int, str]()
    began = (BEGAN + timedelta(minutes=each) for each in count())
    lists.scheduled = []
    for step in steps:
        new = {next(ids): number for number in step.arriving}
        numbers |= new
        lists.scheduled = lists.scheduled[step.leaving :] + [waiting(*each) for each in new.items()]
        for loaded in (len(new), 0):
            result = run(one_database, "scheduled", table=table, privacy="masked", began=next(began))
            assert result["rows_loaded"] == loaded
        listed = {each["apiMessageId"] for each in lists.scheduled}
        assert {
            each["message_id"]: (each["number"], each["removed_at"] is None)
            for each in stored(one_database, "scheduled", table)
        } == {message_id: (mask(number), message_id in listed) for message_id, number in numbers.items()}
    assert len(stored(one_database, "scheduled", table)) == len(numbers)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ListServer]:
    with ListServer().running() as found:
        connection = {**json.loads(found.connection), "extra": json.dumps({"hash_secret": HASH_SECRET})}
        monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))
        yield found


@some(15)
@given(numbers=st.lists(COLLIDING, min_size=1, max_size=12, unique=True))
def test_each_text_of_a_queue_is_there_once(
    numbers: list[str], server: ListServer, one_database: Database
) -> None:
    """Its key is a keyed hash, because a text of a queue has no id."""
    table = next(tables)
    texts = [queued(None, 5, "YES", number) for number in numbers]
    for _ in range(2):
        server.queue = list(texts)
        load(one_database, QueueHook, table=table, privacy="masked")
        found = stored(one_database, "incoming", table)
        assert sorted(each["number"] for each in found) == sorted(map(mask, numbers))


@pytest.fixture
def sender(
    lists: Lists, one_database: Database, runner: TaskRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TaskRunner:
    lists.extra["hash_secret"] = HASH_SECRET
    return beside_ledger(runner, lists, one_database, tmp_path / "sends.db", monkeypatch)


SENDS = st.lists(
    st.tuples(
        st.lists(COLLIDING, min_size=1, max_size=6, unique=True), st.sampled_from(["none", "keyed_hash"])
    ),
    min_size=1,
    max_size=3,
)


@some(8)
@given(sends=SENDS, modes=st.lists(MODES, min_size=2, max_size=2))
def test_each_delivery_is_there_once(
    sends: list[tuple[list[str], str]], modes: list[str], sender: TaskRunner, one_database: Database
) -> None:
    """A number that the ledger has hashed keeps its hash."""
    table, expected, hashes = next(tables), list[tuple[str, str | None]](), KeyedHash(HASH_SECRET)
    ledger: dict[str, Any] = {"ledger_conn_id": "ledger", "ledger_prefix": f"of_{table}_"}
    for numbers, privacy in sends:
        options: dict[str, Any] = {**ledger, "ledger_privacy": privacy}
        task = SmsSendOperator(task_id=f"send_{len(expected)}", text="Hi", to=numbers, **options)
        assert sender.another().run(task).error is None
        expected += (
            (mask(each), "masked") if privacy == "none" else (hashes.of(each), hashes.key_id)
            for each in numbers
        )
        for mode, loaded in zip(modes, (len(numbers), 0), strict=True):
            result = run(one_database, "deliveries", table=table, privacy="masked", mode=mode, **ledger)
            assert result["rows_loaded"] == loaded
        found = stored(one_database, "deliveries", table)
        assert sorted((each["number"], each["number_key_id"]) for each in found) == sorted(expected)
