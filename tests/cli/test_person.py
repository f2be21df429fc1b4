"""A person asks what is held on them, and asks to be forgotten: the real commands, on real databases."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
import yaml

from airflow_provider_winsms.exceptions import GatewayUnavailable, IdempotencyConflict
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.ledger.base import DueText, Sender, TextLimit
from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.warehouse.view_queries import VIEWS
from airflow_provider_winsms.warehouse.views import SourceTables, create_views
from tests.cli.person_world import (
    ANN,
    BEN,
    CAT,
    LOADED,
    REPLY,
    SECRET,
    SPELLINGS,
    STOP,
    personal_parts,
    reference_of,
    text_to,
    world_of,
)
from tests.support import databases
from tests.support.databases import CONN_ID
from tests.support.hooks import narrow_hook
from tests.support.lists import Lists, row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.cli.home import Home
    from tests.cli.person_world import World
    from tests.support.databases import Database

__all__ = ["world_of"]

FORGOTTEN = KeyedHash(SECRET).pseudonym(ANN)
BEFORE, AFTER = "the secret of the year before", "the secret of the year after"


@pytest.fixture
def lists(sandbox: Sandbox) -> Lists:
    return Lists(sandbox)


@pytest.fixture(
    params=[
        "sqlite",
        "postgres_by_path",
        pytest.param("mariadb", marks=pytest.mark.database),
        pytest.param("duckdb", marks=pytest.mark.database),
        pytest.param("portable", marks=pytest.mark.database),
    ]
)
def database(request: pytest.FixtureRequest) -> Database:
    """An empty database, of each kind, behind the connection ``warehouse``."""
    found: Database = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def world(world_of: Callable[..., World], database: Database) -> World:
    """All that there may be on Ann, and on Ben."""
    world = world_of(database)
    world.list_persons()
    if world.has_ledger:
        world.send(ANN, BEN)
    world.load()
    return world


@pytest.fixture
def small(world_of: Callable[..., World], sqlite: Database) -> World:
    """The same, in SQLite."""
    world = world_of(sqlite)
    world.list_persons()
    world.send(ANN, BEN)
    world.load()
    return world


# What is shown


def test_all_that_is_held_is_shown_for_each_spelling_of_the_number(small: World) -> None:
    found = [small.show("--unmasked", number=each) for each in SPELLINGS]
    assert all(each == found[0] for each in found)
    counts = {place.rpartition(":")[2]: len(rows) for place, rows in found[0].items()}
    assert counts == {"sms_": 1, "replies": 2, "outs": 1, "outs_history": 1, "waiting": 1, "texts": 1}
    (text,) = found[0]["ledger warehouse:sms_"]
    assert (text["number"], text["text"], text["reference"]) == (ANN, text_to(ANN), reference_of(ANN))
    assert (text["dag_id"], text["task_id"], text["state"], text["cost"]) == (
        "dag",
        "send",
        "accepted",
        "1.0000",
    )
    assert found[0]["table warehouse:replies"][0]["text"] == REPLY


def test_masked_it_shows_neither_number_nor_text_nor_reference(small: World) -> None:
    for output in ("table", "plain", "json", "yaml"):
        shown = small.command("show", "--number", ANN, *small.everywhere, "--output", output)
        assert "27******101" in shown
        assert f"({len(REPLY)} characters)" in shown
        assert not [part for part in personal_parts() if part in shown]


def test_a_number_that_was_not_typed_is_never_shown(small: World) -> None:
    """A reply of Ann names Ben, and herself in another spelling."""
    for output in ("table", "plain", "json", "yaml"):
        shown = small.command("show", "--number", ANN, *small.everywhere, "--output", output, "--unmasked")
        words = " ".join(shown.split())
        assert BEN not in words
        assert f"Call [number] or {SPELLINGS[1]}" in words


def test_an_unknown_number_holds_nothing(small: World) -> None:
    assert "27******103: nothing held" in small.command("show", "--number", CAT, *small.everywhere)
    before = small.tables()
    assert "27******103: nothing held" in small.forget(number=CAT)
    assert small.tables() == before
    for output, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        shown = read(small.command("show", "--number", CAT, *small.everywhere, "--output", output))
        assert shown["held"] == []


def test_it_says_what_it_does_not_search(small: World) -> None:
    for name in ("show", "forget"):
        said = small.command(name, "--number", CAT, *small.everywhere)
        assert "The provider writes no whole number and no text into Airflow's logs, XComs" in said
        assert "Ask the gateway to delete its records." in said


# What is forgotten


def test_no_row_of_any_table_holds_number_text_or_reference_afterwards(world: World) -> None:
    assert all(part in world.dump() for part in [ANN, REPLY, STOP])
    said = world.forget()
    assert not [part for part in personal_parts() if part in world.dump() + said]
    assert all(part in world.dump() for part in [BEN, "Yes"])
    assert "nothing held" in world.command("show", "--number", ANN, *world.everywhere)
    assert "nothing held" in world.forget()
    assert world.show(number=BEN)


@pytest.mark.parametrize("mode", ["incremental", "backfill", "full_refresh"])
def test_no_later_load_doubles_a_row_or_brings_the_number_back(mode: str, world: World) -> None:
    counts = {name: len(rows) for name, rows in world.tables().items()}
    world.forget()
    forgotten = world.tables()
    for _ in range(2):
        results = world.load(mode=mode)
        assert {name: each["rows_removed"] for name, each in results.items()} == dict.fromkeys(results, 0)
        assert {name: each["rows_loaded"] for name, each in results.items()} == dict.fromkeys(results, 0)
    assert {name: len(rows) for name, rows in world.tables().items()} == counts
    assert not [part for part in personal_parts() if part in world.dump()]
    if mode == "incremental":
        for name in ("replies", "sms_messages", "texts"):
            assert world.tables().get(name) == forgotten.get(name)


def test_raw_rows_are_taken_out_and_do_not_come_back(
    world_of: Callable[..., World], database: Database
) -> None:
    world = world_of(database)
    world.list_persons()
    datasets = ("incoming", "opt_outs", "scheduled")
    world.load(*datasets, include_raw=True)
    tables = [("--table", world.place(LOADED[dataset])) for dataset in datasets]
    world.forget(*chain.from_iterable(tables))
    assert not [part for part in personal_parts() if part in world.dump()]
    world.load(*datasets, include_raw=True, mode="full_refresh")
    assert not [part for part in personal_parts() if part in world.dump()]
    assert f'"mobileNumber": "{BEN}"' in world.dump()


def test_an_opt_out_stays_on_the_list_until_the_gateway_takes_it_off(world: World) -> None:
    world.forget()
    removed = "SELECT removed_at FROM {}" + f"outs WHERE number = '{FORGOTTEN}'"  # noqa: S608 - a test's own
    world.load("opt_outs")
    assert world.database.execute(removed) == [(None,)]
    world.lists.opt_outs = [row(6, BEN, "Stop")]
    assert world.load("opt_outs")["opt_outs"]["rows_removed"] == 1
    ((at,),) = world.database.execute(removed)
    assert at is not None
    world.lists.opt_outs = [row(6, BEN, "Stop"), row(12, ANN, STOP)]
    assert world.load("opt_outs")["opt_outs"]["rows_loaded"] == 1
    assert world.database.execute(removed) == [(None,)]
    assert world.database.count("outs_history") == 3
    assert not [part for part in personal_parts() if part in world.dump()]


def test_a_new_reply_of_the_person_is_a_new_row(world: World) -> None:
    world.forget()
    world.lists.rows.append(row(20, ANN, "Hello again"))
    assert world.load("incoming")["incoming"]["rows_loaded"] == 1
    numbers = [number for (number,) in world.database.execute("SELECT number FROM {}replies")]
    assert sorted(numbers) == sorted([ANN, BEN, FORGOTTEN, FORGOTTEN])


@pytest.mark.parametrize("hides", [{}, {"privacy": "keyed_hash"}], ids=["plain", "hashed"])
def test_a_deliveries_table_follows_its_ledger_and_keeps_what_it_has_forgotten(
    hides: dict[str, str], small: World
) -> None:
    small.load("deliveries", mode="full_refresh", **hides)
    small.forget("--ledger-conn-id", CONN_ID)
    small.load("deliveries", mode="full_refresh", **hides)
    assert Counter(small.database.column("number", "texts"))[FORGOTTEN] == 1
    assert small.database.column("reference", "texts") == [None, reference_of(BEN)]
    small.send(CAT, task_id="again")
    small.load("deliveries", **hides)
    said = small.forget("--table", f"{CONN_ID}:texts", number=CAT)
    assert "name it with --ledger-conn-id" in said
    small.load("deliveries", mode="full_refresh", **hides)
    assert KeyedHash(SECRET).pseudonym(CAT) in small.database.column("number", "texts")


def test_hashed_numbers_are_found_by_the_hash(world_of: Callable[..., World], database: Database) -> None:
    world = world_of(database)
    world.list_persons()
    if world.has_ledger:
        world.send(ANN, BEN, ledger_privacy="keyed_hash")
    world.load(privacy="keyed_hash", mode="full_refresh")
    hashed = KeyedHash(SECRET).of(ANN)
    assert hashed in world.dump()
    assert {each["number"] for rows in world.show().values() for each in rows} == {"27******101 (hashed)"}
    counts = {name: len(rows) for name, rows in world.tables().items()}
    world.forget()
    assert not [part for part in [hashed, *personal_parts()] if part in world.dump()]
    world.load(privacy="keyed_hash")
    world.load(privacy="keyed_hash", mode="full_refresh")
    assert hashed not in world.dump()
    assert {name: len(rows) for name, rows in world.tables().items()} == counts
    world.lists.opt_outs.clear()
    assert world.load("opt_outs", privacy="keyed_hash")["opt_outs"]["rows_removed"] == 2


def test_numbers_hashed_under_another_key_are_named(small: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FORMER", small.lists.connection)
    small.connect(hash_secret=BEFORE)
    small.send(ANN, task_id="hashed", ledger_privacy="keyed_hash")
    small.load("incoming", privacy="keyed_hash", mode="full_refresh")
    small.connect(hash_secret=AFTER)
    key_id = KeyedHash(BEFORE).key_id
    said = small.command("show", "--number", ANN, *small.everywhere)
    assert said.count("could not be searched") == 2
    assert said.count(f"has one of these ids: {key_id}.") == 2
    small.connect(hash_secret=BEFORE)
    both = ("--sms-conn-id", "winsms_default", "--sms-conn-id", "former")
    said = small.forget(*small.everywhere, *both)
    assert "could not be searched" not in said
    assert not [part for part in personal_parts() if part in small.dump()]
    assert KeyedHash(BEFORE).of(ANN) not in small.dump()


def test_a_number_that_is_there_in_plain_and_hashed_becomes_one_opt_out(
    world_of: Callable[..., World], database: Database
) -> None:
    """The table was loaded in plain first. A load with hashes leaves these rows."""
    world = world_of(database)
    world.list_persons()
    world.load("opt_outs")
    world.load("opt_outs", privacy="keyed_hash")
    assert world.database.count("outs") == 4
    world.forget("--table", world.place("outs"))
    numbers = [number for (number,) in world.database.execute("SELECT number FROM {}outs")]
    assert Counter(numbers)[FORGOTTEN] == 1
    assert world.database.count("outs") == 3
    assert ANN not in world.dump()
    assert KeyedHash(SECRET).of(ANN) not in world.dump()


def test_a_number_that_came_back_is_forgotten_again(
    world_of: Callable[..., World], database: Database
) -> None:
    """A load under another key does not know the pseudonym."""
    world = world_of(database)
    world.list_persons()
    world.load("opt_outs")
    place = ("--table", world.place("outs"))
    world.forget(*place)
    world.connect(hash_secret=AFTER)
    world.load("opt_outs")
    assert ANN in world.dump()
    world.connect(hash_secret=SECRET)
    world.forget(*place)
    assert ANN not in world.dump()
    world.load("opt_outs")
    assert ANN not in world.dump()
    rows = "SELECT removed_at FROM {}" + f"outs WHERE number = '{FORGOTTEN}'"  # noqa: S608 - a test's own
    assert world.database.execute(rows) == [(None,)]


def test_several_ledgers_are_forgotten_each_with_its_prefix(small: World, tmp_path: Path) -> None:
    other = databases.sqlite(tmp_path / "other.db")
    small.monkeypatch.setenv("AIRFLOW_CONN_HISTORY", json.dumps(other.connection))
    small.runner.connections = {**small.runner.connections, "history": other.connection}
    small.send(ANN, ledger_conn_id="history", ledger_prefix="mine_")
    small.send(ANN, ledger_conn_id="history")
    ledgers = ["--ledger-conn-id", CONN_ID, "--ledger-conn-id", "history", "--ledger-prefix", "mine_"]
    said = small.forget(*ledgers)
    assert "ledger warehouse:sms_: 1 row forgotten" in said
    assert "ledger history:mine_: 1 row forgotten" in said
    assert other.column("number", "mine_messages") == [FORGOTTEN]
    assert other.column("number", "sms_messages") == [ANN]


# What stays


def test_the_views_answer_as_before(world: World) -> None:
    """Two persons are forgotten, and stay two recipients."""
    if not world.has_ledger:
        pytest.skip("A ledger is kept in no such database.")
    tables = SourceTables(incoming="replies", opt_outs="outs", ledger_prefix="sms_")
    create_views(world.database.hook(), tables, "sms_")
    before = answers(world.database)
    assert before["sms_replies_by_campaign"][0][4:6] == (2, 2)
    for number in (ANN, BEN):
        world.forget(number=number)
    assert answers(world.database) == before


def answers(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of each view, and the counts of the batches."""
    counts = "accepted, declined, unknown, cancelled, cost, refunded FROM {}sms_batches"
    queries = {f"sms_{view.name}": f"* FROM {{}}sms_{view.name}" for view in VIEWS} | {"batches": counts}
    return {name: sorted(database.execute(f"SELECT {query}"), key=repr) for name, query in queries.items()}


class Send(SmsSendOperator):
    """A send with two recipients a request."""

    hook_of = narrow_hook(recipients=2)


def campaign(*to: str, text: str = "Pay, please", **kwargs: Any) -> Send:
    kwargs = {"on_changed": "send_the_rest", "retries": 9, "ledger_conn_id": CONN_ID, **kwargs}
    return Send(task_id="campaign", text=text, to=list(to), **kwargs)


FORMS = pytest.mark.parametrize(
    "form",
    [{}, {"ledger_text": "keep"}, {"ledger_privacy": "keyed_hash"}],
    ids=["digest", "texts", "hashed"],
)


def numbers(sandbox: Sandbox) -> Counter[str]:
    return Counter(text["mobileNumber"] for text in sandbox.outbox())


@FORMS
@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
@pytest.mark.parametrize("changed", [False, True], ids=["same list", "other list"])
def test_a_retry_sends_to_nobody_twice(
    changed: bool,
    guarantee: str,
    form: dict[str, str],
    world_of: Callable[..., World],
    postgres_by_path: Database,
    sandbox: Sandbox,
) -> None:
    world = world_of(postgres_by_path)
    runner = world.runner.another()
    runner.retries = 9
    sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, times=1, retry_after=3600)
    first = campaign(ANN, BEN, CAT, guarantee=guarantee, **form)
    assert isinstance(runner.run(first).error, GatewayUnavailable)
    assert numbers(sandbox) == Counter([ANN, BEN])
    assert "1 row forgotten" in world.forget("--ledger-conn-id", CONN_ID)
    to = (CAT, ANN, "27825550104", BEN) if changed else (ANN, BEN, CAT)
    assert runner.run(campaign(*to, guarantee=guarantee, **form)).error is None
    assert numbers(sandbox) == Counter(set(to))


def test_a_retry_with_another_text_does_not_text_the_forgotten_again(small: World, sandbox: Sandbox) -> None:
    runner = small.runner.another()
    runner.retries = 9
    sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, times=1, retry_after=3600)
    runner.run(campaign(ANN, BEN, CAT))
    before = numbers(sandbox)
    small.forget("--ledger-conn-id", CONN_ID)
    assert runner.run(campaign(ANN, BEN, CAT, text="Another text")).error is None
    assert numbers(sandbox) - before == Counter([CAT])


@pytest.mark.parametrize("changed", [False, True], ids=["same list", "other list"])
def test_a_retry_that_cannot_tell_whom_it_texted_sends_nothing(
    changed: bool, small: World, sandbox: Sandbox
) -> None:
    """The person was forgotten with a connection whose key is not the one of the send."""
    runner = small.runner.another()
    runner.retries = 9
    small.monkeypatch.setenv("AIRFLOW_CONN_OTHER", small.lists.connection.replace(SECRET, "o" * 20))
    sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, times=1, retry_after=3600)
    runner.run(campaign(ANN, BEN, CAT, ledger_text="keep"))
    before = numbers(sandbox)
    small.forget("--ledger-conn-id", CONN_ID, "--sms-conn-id", "other")
    assert not [part for part in (ANN, reference_of(ANN)) if part in str(small.tables()["sms_messages"])]
    if changed:
        error = runner.run(campaign(CAT, ANN, BEN, ledger_text="keep")).error
        assert isinstance(error, IdempotencyConflict)
        assert numbers(sandbox) == before
    else:
        assert runner.run(campaign(ANN, BEN, CAT, ledger_text="keep")).error is None
        assert numbers(sandbox) - before == Counter([CAT])


# What is refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--number", "hallo"], "--number is not a phone number: it has letters in it."),
        (["--number", "2782555"], "--number "),
        (["--number", ANN], "No place is named. Give --ledger-conn-id, --table, or both."),
        (["--number", ANN, "--table", "outs"], "--table must be CONN_ID:TABLE"),
        (["--number", ANN, "--table", f"{CONN_ID}:a b"], "must be a plain name"),
        (["--number", ANN, "--table", f"{CONN_ID}:absent"], "There is no table absent"),
        (["--number", ANN, "--table", f"{CONN_ID}:sms_messages"], "No load has filled the table"),
        (["--number", ANN, "--table", f"{CONN_ID}:outs_history"], "is a history"),
        (["--number", ANN, "--ledger-conn-id", CONN_ID, "--ledger-prefix", "x_"], "There is no ledger"),
        (["--number", ANN, "--table", "nowhere:outs"], "There is no connection 'nowhere'"),
        (["--number", ANN, "--sms-conn-id", "nowhere"], "There is no connection 'nowhere'"),
    ],
)
@pytest.mark.parametrize("name", ["show", "forget"])
def test_what_cannot_be_searched_is_refused_and_changes_nothing(
    name: str, arguments: list[str], says: str, small: World
) -> None:
    before = small.tables()
    with pytest.raises(SystemExit) as end:
        small.command(name, *arguments)
    assert says in str(end.value)
    assert "hallo" not in str(end.value)
    assert small.tables() == before


def test_without_a_lasting_key_no_opt_out_is_forgotten(small: World) -> None:
    small.connect()
    before = small.tables()
    with pytest.raises(SystemExit, match="needs a key that outlives the API key"):
        small.forget()
    assert small.tables() == before


def test_a_prefix_stands_after_its_ledger(small: World, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        small.command("show", "--number", ANN, "--ledger-prefix", "sms_", "--ledger-conn-id", CONN_ID)
    assert "give each --ledger-prefix after its --ledger-conn-id" in capsys.readouterr().err


# As a person runs them


@pytest.mark.airflow
def test_a_person_is_asked_first_and_the_number_stays_out_of_airflow(small: World, home: Home) -> None:
    home.variables.update(AIRFLOW_CONN_WINSMS_DEFAULT=small.lists.connection, **small.database.environment)
    shown = home.airflow("sms", "show", "--number", "-", *small.everywhere, "--unmasked", answer=f"{ANN}\n")
    assert shown.returncode == 0, shown.stderr
    assert (text_to(ANN) in shown.stdout, BEN in shown.stdout, shown.stderr) == (True, False, "")
    arguments = ("sms", "forget", "--number", ANN, *small.everywhere)
    refused = home.airflow(*arguments, answer="n\n")
    assert (refused.returncode, ANN in small.dump()) == (1, True)
    assert "Nothing was changed." in refused.stderr
    done = home.airflow(*arguments, answer="y\n")
    assert done.returncode == 0, done.stderr
    assert not [part for part in personal_parts() if part in small.dump() + done.stdout + done.stderr]
    with closing(sqlite3.connect(home.path / "airflow.db")) as metadata:
        assert ANN not in "".join(metadata.iterdump())


def test_a_text_that_is_only_reserved_is_shown_and_forgotten(small: World, sqlite: Database) -> None:
    sender = Sender("dag", "run", "send")
    with SqlLedger(sqlite.hook(), "a key", KeyedHash(SECRET), SqlOptions()) as tables:
        texts, limit = [DueText(0, CAT, pendulum.now("UTC"))], TextLimit(1, timedelta(days=1))
        tables.history.reserve(texts, limit, sender, texts[0].due_at)
    place = "ledger warehouse:sms_reservations"
    assert [row["number"] for row in small.show("--unmasked", number=CAT)[place]] == [CAT]
    assert f"{place}: 1 row forgotten" in small.forget(number=CAT)
    assert CAT not in sqlite.column("number", "sms_reservations")
