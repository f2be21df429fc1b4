"""Nobody gets more texts than a cap allows, whichever tasks send at once. The outbox is the judge."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.ledger.base import DueText, TextLimit
from airflow_provider_winsms.ledger.database import LedgerDatabase
from airflow_provider_winsms.ledger.person import Person, PersonalMessages
from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from airflow_provider_winsms.operators.sms import SmsCancelScheduledOperator
from airflow_provider_winsms.phone import NumberPlan
from airflow_provider_winsms.rules import FrequencyCap
from tests.ledger.batches import HASHES, KEY, NOON, batch, ledger, number
from tests.support.database_fixtures import postgres_by_path as postgres
from tests.support.databases import CONN_ID
from tests.support.racers import raced
from tests.support.send_world import ANN, BEN, CAT, WorkerDied, die, once

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.ledger.base import Sender
    from airflow_provider_winsms.rules import Draft, RuleContext
    from tests.support.databases import Database
    from tests.support.send_world import SendWorld

__all__ = ["postgres"]

DAY = timedelta(days=1)
ONCE_A_DAY = TextLimit(1, DAY)
SECRET = "k" * 16
SENDER = batch().sender


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database, of each kind, behind the connection ``warehouse``."""
    found: Database = request.getfixturevalue(request.param)
    return found


@dataclass(frozen=True)
class Meanwhile:
    """A rule behind the cap, at which something happens: texts are reserved, and no batch is open yet."""

    happens: Any

    def apply(self, draft: Draft, context: RuleContext) -> None:
        """Decide nothing."""

    def reserve(self, draft: Draft, context: RuleContext) -> None:  # noqa: ARG002 - it asks nothing
        self.happens()

    def release(self, context: RuleContext) -> None:
        """Give nothing back."""


class Happens:
    """Does something once. Its text is always the same, as that of a rule must be."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._acts = [act]

    def __call__(self) -> None:
        if self._acts:
            self._acts.pop()()

    def __repr__(self) -> str:
        return "Happens()"


def run(world: SendWorld, task_id: str, *to: str, **kwargs: Any) -> BaseException | None:
    """Run a task of this name once, with a cap of one text a day unless another one is given."""
    world.runner = replace(world.runner.another(), retries=1)
    return again(world, task_id, *to, **kwargs)


def again(world: SendWorld, task_id: str, *to: str, **kwargs: Any) -> BaseException | None:
    """Run the next try of the same task."""
    given = {"rules": [FrequencyCap()], "ledger_conn_id": CONN_ID, **kwargs}
    return world.run(task_id=task_id, to=list(to), **given)


def rejected(world: SendWorld) -> dict[str, int]:
    found: dict[str, int] = world.runner.result["rejected"]
    return found


def reserve(
    tables: SqlLedger,
    *people: int,
    limit: TextLimit = ONCE_A_DAY,
    now: Any = NOON,
    sender: Sender = SENDER,
) -> list[int]:
    """Reserve a text to each person that leaves at once, and return the positions of the others."""
    return tables.history.reserve(due(*people, now=now), limit, sender, now)


def due(*people: int, now: Any = NOON) -> list[DueText]:
    """Return a text to each person that leaves at once."""
    return [DueText(position, number(person), now) for position, person in enumerate(people)]


def reserved(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("SELECT number, place FROM {}sms_reservations WHERE number <> '' ORDER BY 1, 2")


# Tasks one after another


def test_who_had_a_text_from_another_task_gets_none(world: SendWorld, database: Database) -> None:  # noqa: ARG001
    assert run(world, "first", ANN, BEN) is None
    assert run(world, "second", BEN, CAT) is None
    assert rejected(world) == {"texted_recently": 1}
    assert world.texts == once(ANN, BEN, CAT)


@pytest.mark.parametrize(("early", "texts"), [(1, 1), (0, 2), (-1, 2)], ids=["within", "edge", "after"])
def test_the_time_ends_to_the_second(early: int, texts: int, world: SendWorld, database: Database) -> None:  # noqa: ARG001
    began = world.now()
    run(world, "first", ANN)
    world.sandbox.advance((began + DAY - world.now()).total_seconds() - early)
    run(world, "second", ANN, on_empty="skip")
    assert world.texts == {ANN: texts}


def test_each_text_counts_until_there_are_as_many_as_the_cap(world: SendWorld, sqlite: Database) -> None:  # noqa: ARG001
    for number_ in range(4):
        run(world, f"task_{number_}", ANN, rules=[FrequencyCap(most=3)], on_empty="skip")
        world.sandbox.advance(3600)
    assert world.texts == {ANN: 3}


def test_a_text_that_is_scheduled_counts_when_it_goes_out(world: SendWorld, sqlite: Database) -> None:  # noqa: ARG001
    tomorrow = world.now().add(hours=30)
    run(world, "scheduled", ANN, send_at=tomorrow)
    run(world, "a_day_before_it", ANN)
    run(world, "just_before_it", ANN, send_at=tomorrow.subtract(hours=20), on_empty="skip")
    run(world, "just_after_it", ANN, send_at=tomorrow.add(hours=20), on_empty="skip")
    run(world, "a_day_after_it", ANN, send_at=tomorrow.add(hours=24))
    assert world.texts == {ANN: 3}


@pytest.mark.parametrize(("across", "texts"), [("all", 1), ("dag", 2)])
def test_texts_of_another_dag_count_or_not(
    across: Any,
    texts: int,
    world: SendWorld,
    database: Database,  # noqa: ARG001 - where they are counted
) -> None:
    cap = {"rules": [FrequencyCap(across=across)], "on_empty": "skip"}
    run(world, "send", ANN, **cap)
    world.runner.dag_id = "another"
    run(world, "send", ANN, **cap)
    run(world, "again", ANN, **cap)
    assert world.texts == {ANN: texts}


@pytest.mark.parametrize("most", [1, 2])
def test_of_several_texts_to_one_person_in_a_list_the_first_ones_stay(
    most: int,
    world: SendWorld,
    database: Database,  # noqa: ARG001 - where they are counted
) -> None:
    rows = [{"text": f"Text {place}", "to": [ANN, BEN][place % 2]} for place in range(6)]
    options = {"rules": [FrequencyCap(most=most)], "ledger_conn_id": CONN_ID}
    assert world.run_batch(*rows, **options) is None
    assert {row["message"] for row in world.live} == {f"Text {place}" for place in range(2 * most)}
    assert rejected(world) == {"texted_recently": 6 - 2 * most}


def test_texts_of_tasks_without_the_cap_count(world: SendWorld, sqlite: Database) -> None:  # noqa: ARG001
    run(world, "plain", ANN, rules=[])
    run(world, "capped", ANN, BEN)
    assert world.texts == once(ANN, BEN)


def test_a_cleared_task_that_sends_again_texts_nobody_twice(world: SendWorld, sqlite: Database) -> None:  # noqa: ARG001
    run(world, "send", ANN, BEN, on_clear="resend")
    world.runner.clear()
    again(world, "send", ANN, BEN, on_clear="resend", on_empty="skip")
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("privacy", [("none", "keyed_hash"), ("keyed_hash", "none"), ("keyed_hash",) * 2])
def test_a_person_is_known_in_each_form_that_a_ledger_stores(
    privacy: tuple[str, str], world: SendWorld, database: Database
) -> None:
    world.runner.set_extra(hash_secret=SECRET)
    assert run(world, "first", ANN, ledger_privacy=privacy[0]) is None
    assert run(world, "second", ANN, BEN, ledger_privacy=privacy[1]) is None
    assert world.texts == once(ANN, BEN)
    stored = dict(reserved(database)).keys()
    expected = {("none", ANN): ANN, ("keyed_hash", ANN): KeyedHash(SECRET).of(ANN)}
    assert expected[privacy[0], ANN] in stored


# Texts that were not sent


def test_a_text_that_was_declined_for_good_frees_the_person(world: SendWorld, database: Database) -> None:  # noqa: ARG001
    world.sandbox.opt_out(ANN)
    run(world, "first", ANN, BEN)
    assert rejected(world) == {"opted_out": 1}
    run(world, "second", ANN, BEN, CAT)
    assert rejected(world) == {"opted_out": 1, "texted_recently": 1}
    assert world.texts == once(BEN, CAT)


def test_a_text_that_a_person_cancelled_frees_the_person(world: SendWorld, sqlite: Database) -> None:  # noqa: ARG001
    run(world, "first", ANN, send_at=world.now().add(hours=2))
    cancel = SmsCancelScheduledOperator(
        task_id="cancel", batch=world.runner.result["batch"], ledger_conn_id=CONN_ID
    )
    assert world.runner.another().run(cancel).error is None
    run(world, "second", ANN)
    assert world.texts == once(ANN)


def test_a_text_that_a_retry_sends_again_keeps_its_place(world: SendWorld, database: Database) -> None:  # noqa: ARG001
    world.sandbox.set_account(credit_balance=1)
    assert run(world, "first", ANN, BEN) is not None
    first = world.runner
    (paid,) = world.texts
    (unpaid,) = {ANN, BEN} - {paid}
    world.sandbox.set_account(credit_balance=10)
    run(world, "second", unpaid, CAT)
    assert world.texts == once(paid, CAT)
    world.runner = first
    assert again(world, "first", ANN, BEN) is None
    assert world.texts == once(ANN, BEN, CAT)


# Tasks at once


def test_two_tasks_at_once_do_not_both_text_a_person(world: SendWorld, database: Database) -> None:  # noqa: ARG001
    first = world.runner

    def another_task() -> None:
        assert run(world, "second", BEN, CAT) is None
        world.runner = first

    first.retries = 1
    assert again(world, "first", ANN, BEN, rules=[FrequencyCap(), Meanwhile(Happens(another_task))]) is None
    assert world.texts == once(ANN, BEN, CAT)
    assert "texted_recently" not in rejected(world)


def test_a_try_that_died_before_its_batch_was_open_is_not_in_its_own_way(
    world: SendWorld, database: Database
) -> None:
    rules = [FrequencyCap(), Meanwhile(Happens(die))]
    assert isinstance(run(world, "first", ANN, BEN, rules=rules), WorkerDied)
    first = world.runner
    assert reserved(database) == [(ANN, 0), (BEN, 0)]
    run(world, "second", BEN, CAT)
    world.runner = first
    assert again(world, "first", ANN, BEN, rules=rules) is None
    assert world.texts == once(ANN, BEN, CAT)


def test_a_try_with_another_list_gives_the_people_free_whom_it_lacks(
    world: SendWorld, database: Database
) -> None:
    rules = [FrequencyCap(), Meanwhile(Happens(die))]
    run(world, "first", ANN, BEN, rules=rules)
    again(world, "first", ANN, rules=rules)
    assert reserved(database) == [(ANN, 0)]
    run(world, "second", BEN)
    assert world.texts == once(ANN, BEN)


def test_a_changed_list_does_not_text_again_who_had_a_text(world: SendWorld, database: Database) -> None:  # noqa: ARG001
    world.limits["recipients"] = 1
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, times=1, retry_after=3600)
    options = {"on_changed": "send_the_rest"}
    assert run(world, "send", ANN, BEN, **options) is not None
    assert again(world, "send", ANN, BEN, CAT, text="Another text.", **options) is None
    assert world.texts == once(ANN, BEN, CAT)


def test_a_reservation_ends_with_its_time(database: Database) -> None:
    with ledger(database, "a") as first, ledger(database, "b") as second:
        assert reserve(first, 0) == []
        assert reserve(second, 0, now=NOON + DAY - timedelta(microseconds=1)) == [0]
        assert reserve(second, 0, now=NOON + DAY) == []
    assert database.count("sms_reservations") == 2  # the lock, and the new one


def test_a_repeat_of_a_reservation_changes_nothing(database: Database) -> None:
    with ledger(database) as tables:
        found = [(reserve(tables, 0, 1, 0), reserved(database)) for _ in range(3)]
    assert found == [([2], [(number(0), 0), (number(1), 0)])] * 3


def test_a_look_at_who_is_over_the_limit_reserves_nothing(database: Database) -> None:
    with ledger(database, "a") as first, ledger(database, "b") as second:
        assert first.history.over_limit(due(0, 1, 1), ONCE_A_DAY, NOON) == [2]
        assert database.count("sms_reservations") == 0
        assert reserve(second, 0) == []
        assert first.history.over_limit(due(0, 1), ONCE_A_DAY, NOON) == [0]
    assert reserved(database) == [(number(0), 0)]


def test_a_reservation_for_nobody_replaces_the_one_before(database: Database) -> None:
    with ledger(database, "a") as tables:
        reserve(tables, 0, 1)
        assert reserve(tables) == []
    assert reserved(database) == []


def test_who_was_forgotten_is_still_known(database: Database) -> None:
    person = Person(number(0), (HASHES,), NumberPlan("27"))
    with ledger(database, "a") as first, ledger(database, "b") as second:
        reserve(first, 0, 1)
        with LedgerDatabase(database.hook()) as opened:
            messages = PersonalMessages(opened)
            (row,) = messages.reservations(person)
            assert messages.forget(person) == (0, 1)
            assert messages.reservations(person) == []
        assert (row["number"], row["dag_id"], row["place"]) == (number(0), "etl", 0)
        assert reserve(second, 0, 2) == [0]
    assert (HASHES.pseudonym(number(0)), 0) in reserved(database)


def test_the_tables_of_an_earlier_version_get_the_missing_table(sqlite: Database) -> None:
    with SqlLedger(sqlite.hook(), KEY, HASHES, SqlOptions()) as tables:
        tables.open(batch())
    sqlite.execute("DROP TABLE {}sms_reservations")
    with SqlLedger(sqlite.hook(), KEY, HASHES, SqlOptions()) as tables:
        assert not tables.is_new
        assert reserve(tables, 0) == []


_RESERVING = """
import sys
from tests.support.databases import CONN_ID
from airflow.providers.common.compat.sdk import BaseHook
from airflow_provider_winsms.ledger.base import DueText, TextLimit
from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from tests.ledger.batches import HASHES
from tests.rules.test_frequency_cap import DAY, NOON, SENDER, number
process = int(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
hook = BaseHook.get_connection(CONN_ID).get_hook()
with SqlLedger(hook, f"batch {process}", HASHES, SqlOptions()) as ledger:
    people = [(process + place) % 50 for place in range(50)]
    texts = [DueText(place, number(person), NOON) for place, person in enumerate(people)]
    over = set(ledger.history.reserve(texts, TextLimit(3, DAY), SENDER, NOON))
    for place, person in enumerate(people):
        if place not in over:
            print("may text", person, flush=True)
"""


@pytest.mark.database
def test_twenty_processes_keep_to_one_cap_together(database: Database) -> None:
    ledger(database).close()
    said = [line for out in raced(_RESERVING, 20) for line in out if line.startswith("may text")]
    assert sorted(said) == sorted([f"may text {person}" for person in range(50)] * 3)


# Arguments


def test_a_task_without_a_ledger_in_tables_sends_nothing(world: SendWorld) -> None:
    error = run(world, "send", ANN, ledger_conn_id=None)
    assert isinstance(error, ConfigurationError)
    assert "Give the task `ledger_conn_id`" in str(error)
    assert not world.texts


@pytest.mark.parametrize(
    "arguments",
    [
        {"most": 0},
        {"most": True},
        {"most": 1.0},
        {"per": timedelta(0)},
        {"per": 3600},
        {"per": timedelta(days=-1)},
        {"across": "dags"},
    ],
    ids=str,
)
def test_an_invalid_argument_is_refused_where_the_dag_is_read(arguments: Any) -> None:
    with pytest.raises(InvalidMessage, match=next(iter(arguments))):
        FrequencyCap(**arguments)


def test_a_pickled_cap_is_equal() -> None:
    cap = FrequencyCap(most=2, per=timedelta(hours=3), across="dag")
    assert pickle.loads(pickle.dumps(cap)) == cap  # noqa: S301 - our own
