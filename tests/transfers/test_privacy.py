"""What is personal: hidden in the table if that is asked for, and never in a log or an error."""

from __future__ import annotations

import json
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    InvalidMessage,
    LoadFailed,
)
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.operators.sms import SmsSendOperator
from tests.conftest import API_KEY
from tests.support.databases import CONN_ID
from tests.support.lists import row, waiting
from tests.transfers.loads import create_table_that_refuses, operator, run, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.lists import Lists
    from tests.support.task_runner import TaskRunner

SECRET_NUMBER, SECRET_TEXT = "27825559876", "Our little secret"
OLD_KEY, NEW_KEY = "an old key of sufficient length", "a new key of sufficient length"
LISTED = ("incoming", "short_code", "opt_outs", "scheduled")
BEGAN = datetime(2026, 5, 1, tzinfo=UTC)


def use_key(lists: Lists, monkeypatch: pytest.MonkeyPatch, key: str) -> KeyedHash:
    lists.extra["hash_secret"] = key
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", lists.connection)
    return KeyedHash(key)


def list_everywhere(lists: Lists, *numbers: str, text: str = "YES") -> None:
    lists.rows = [row(n, number, text) for n, number in enumerate(numbers, 1)]
    lists.short_code = lists.opt_outs = lists.rows
    lists.scheduled = [waiting(n, number) for n, number in enumerate(numbers, 1)]


# Numbers


@pytest.mark.parametrize("dataset", LISTED)
def test_numbers_are_keyed_hashes_if_that_is_asked_for(
    dataset: str, lists: Lists, one_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = use_key(lists, monkeypatch, OLD_KEY)
    list_everywhere(lists, SECRET_NUMBER, "27825550101", "")
    for loaded in (3, 0):
        assert run(one_database, dataset, privacy="keyed_hash")["rows_loaded"] == loaded
    for table in ["replies", "replies_history"] if dataset == "opt_outs" else ["replies"]:
        found = {(each["number"], each["number_key_id"]) for each in stored(one_database, dataset, table)}
        assert found == {(hashes.of(n), hashes.key_id) for n in (SECRET_NUMBER, "27825550101", "")}


def test_the_hash_of_a_number_is_the_same_as_in_the_ledger_and_in_every_table(
    sandbox: Sandbox, runner: TaskRunner, database: Database, tmp_path: Path
) -> None:
    gateway = {**runner.connections["winsms_default"], "extra": json.dumps({"hash_secret": OLD_KEY})}
    ledger = {"conn_type": "sqlite", "host": str(tmp_path / "sends.db")}
    runner = replace(
        runner, connections={"winsms_default": gateway, CONN_ID: database.connection, "ledger": ledger}
    )
    send = SmsSendOperator(
        task_id="send", text="Hallo", to=[SECRET_NUMBER], ledger_conn_id="ledger", ledger_privacy="keyed_hash"
    )
    assert runner.another().run(send).error is None
    sandbox.incoming(SECRET_NUMBER, "Stop")
    kinds: dict[str, dict[str, Any]] = {
        "incoming": {},
        "opt_outs": {},
        "deliveries": {"ledger_conn_id": "ledger"},
    }
    for dataset, given in kinds.items():
        load = operator(database, dataset, table=dataset, privacy="keyed_hash", **given)
        assert runner.another().run(load).error is None
    found = {
        database.execute(f"SELECT number, number_key_id FROM {{}}{dataset}")[0]  # noqa: S608 - our own names
        for dataset in kinds
    }
    assert found == {(KeyedHash(OLD_KEY).of(SECRET_NUMBER), KeyedHash(OLD_KEY).key_id)}


def test_opt_outs_under_another_key_are_left_alone(
    lists: Lists, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they are on the list still, nobody can tell."""
    list_everywhere(lists, "27825550101", "27825550102")
    began = iter(BEGAN + timedelta(days=day) for day in range(9))
    run(database, "opt_outs", began=next(began))
    old = use_key(lists, monkeypatch, OLD_KEY)
    run(database, "opt_outs", privacy="keyed_hash", began=next(began))
    new = use_key(lists, monkeypatch, NEW_KEY)
    lists.opt_outs = lists.opt_outs[:1]
    result = run(database, "opt_outs", privacy="keyed_hash", began=next(began))
    assert (result["rows_loaded"], result["rows_removed"]) == (1, 0)
    lists.opt_outs = []
    assert run(database, "opt_outs", privacy="keyed_hash", began=next(began))["rows_removed"] == 1
    for table in ("replies", "replies_history"):
        found = {
            (each["number_key_id"], each["number"]): each["removed_at"]
            for each in stored(database, "opt_outs", table)
        }
        assert found == {
            (None, "27825550101"): None,
            (None, "27825550102"): None,
            (old.key_id, old.of("27825550101")): None,
            (old.key_id, old.of("27825550102")): None,
            (new.key_id, new.of("27825550101")): BEGAN + timedelta(days=3),
        }


@pytest.mark.parametrize("dataset", ["incoming", "opt_outs"])
def test_a_load_that_forgets_to_ask_for_hashes_is_refused_before_anything_is_read(
    dataset: str, lists: Lists, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_everywhere(lists, "27825550101")
    use_key(lists, monkeypatch, NEW_KEY)
    run(database, dataset, privacy="keyed_hash")
    asked = len(lists.asked)
    with pytest.raises(ConfigurationError, match=r'holds hashed numbers.*Give privacy="keyed_hash"'):
        run(database, dataset)
    assert len(lists.asked) == asked
    assert database.count("replies") == 1


@pytest.mark.parametrize("dataset", ["incoming", "short_code"])
def test_a_full_refresh_hides_what_was_loaded_before(
    dataset: str, lists: Lists, one_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = use_key(lists, monkeypatch, OLD_KEY)
    list_everywhere(lists, SECRET_NUMBER, text=SECRET_TEXT)
    run(one_database, dataset, include_raw=True)
    run(one_database, dataset, privacy="keyed_hash", text="drop", mode="full_refresh")
    (found,) = stored(one_database, dataset)
    assert (found["number"], found["text"]) == (hashes.of(SECRET_NUMBER), None)
    assert SECRET_NUMBER not in str(one_database.execute("SELECT * FROM {}replies"))
    assert SECRET_TEXT not in str(one_database.execute("SELECT * FROM {}replies"))


def test_hashes_need_a_key_that_outlives_the_api_key(lists: Lists, sqlite: Database) -> None:
    with pytest.raises(ConfigurationError, match=r"`hash_secret`.*'winsms_default'") as raised:
        run(sqlite, privacy="keyed_hash")
    assert isinstance(raised.value, AirflowFailException)
    assert lists.requests == 0


# Texts


REDACTED = {
    "Phone me: 082 555 0101 or +27 (82) 555-0101!": "Phone me: [number] or [number]!",
    "27825550101": "[number]",
    "082.555.01.01/082-555-0102": "[number]",
    "\u0660\u0668\u0662\u0665\u0665\u0665\u0660\u0661\u0660\u0661": "[number]",
    "082\u00a0555\u00a00101": "[number]",
    "Table for 12 at 18:30, code 123456": "Table for 12 at 18:30, code 123456",
    "": "",
}


@pytest.mark.parametrize("dataset", ["incoming", "short_code", "opt_outs"])
def test_texts_may_be_loaded_without_numbers_or_not_at_all(
    dataset: str, lists: Lists, one_database: Database
) -> None:
    lists.rows = [row(n, f"2782{n:07}", text) for n, text in enumerate(REDACTED, 1)]
    lists.short_code = lists.opt_outs = lists.rows
    run(one_database, dataset, text="redact_numbers")
    run(one_database, dataset, text="drop", table="dropped")
    assert [each["text"] for each in stored(one_database, dataset)] == list(REDACTED.values())
    assert {each["text"] for each in stored(one_database, dataset, "dropped")} == {None}


@pytest.mark.parametrize("given", [{"privacy": "keyed_hash"}, {"text": "drop"}, {"text": "redact_numbers"}])
def test_the_whole_row_is_not_kept_where_something_is_to_be_hidden(
    given: dict[str, Any], lists: Lists, sqlite: Database
) -> None:
    with pytest.raises(InvalidMessage, match="`include_raw` keeps the whole row") as raised:
        run(sqlite, include_raw=True, **given)
    assert isinstance(raised.value, AirflowFailException)
    assert lists.requests == 0


# Nothing leaks


def assert_nothing_personal(text: str) -> None:
    assert not [secret for secret in (SECRET_NUMBER, SECRET_TEXT, API_KEY, OLD_KEY) if secret in text]


def everything_in(error: BaseException | None) -> str:
    """Return all that an error says, and all it can be followed to, suppressed or not."""
    if error is None:
        return ""
    own = f"{error!r} {error} {vars(error)} {''.join(traceback.format_exception(error))}"
    return own + everything_in(error.__cause__) + everything_in(error.__context__)


@pytest.mark.parametrize("rows", [1, 30])
def test_no_error_and_no_log_quotes_a_row_that_the_database_refused(
    rows: int, gateway: Sandbox, any_database: Database, said: Callable[[], str]
) -> None:
    create_table_that_refuses(any_database, SECRET_TEXT)
    gateway.add_incoming([(SECRET_NUMBER, SECRET_TEXT)] * rows)
    with pytest.raises(LoadFailed) as raised:
        run(any_database)
    assert_nothing_personal(said() + everything_in(raised.value))
    assert raised.value.kind in str(raised.value)
    assert raised.value.code in str(raised.value)
    codes = {
        "postgres": "23514",
        "portable": "23514",
        "sqlite": "SQLITE_CONSTRAINT_CHECK",
        "mariadb": "23000",
    }
    assert raised.value.code == codes.get(any_database.kind, "")


def test_no_error_and_no_log_quotes_a_row_whose_key_another_row_has(
    gateway: Sandbox, database: Database, said: Callable[[], str]
) -> None:
    create_table_that_refuses(database, "nothing")
    database.execute("CREATE UNIQUE INDEX one_text ON {}replies (text)".replace("(text)", "(number)"))
    gateway.add_incoming([(SECRET_NUMBER, SECRET_TEXT)] * 2)
    with pytest.raises(LoadFailed) as raised:
        run(database)
    assert_nothing_personal(said() + everything_in(raised.value))


def test_no_log_quotes_a_row_whose_id_no_database_keeps(
    lists: Lists, database: Database, said: Callable[[], str]
) -> None:
    lists.rows = [row(9_999_999_999_999_999_999, SECRET_NUMBER, SECRET_TEXT)]
    assert run(database)["unreadable"] == 1
    assert_nothing_personal(said())


@pytest.mark.parametrize("dataset", LISTED)
def test_a_load_logs_no_row_and_no_key(
    dataset: str,
    lists: Lists,
    one_database: Database,
    said: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_key(lists, monkeypatch, OLD_KEY)
    list_everywhere(lists, SECRET_NUMBER, text=SECRET_TEXT)
    lists.hidden = 1
    result = run(one_database, dataset)
    log = said()
    assert f"Loaded: {{'dataset': '{dataset}'" in log
    assert_nothing_personal(log + repr(result))


def test_a_row_that_cannot_be_read_is_not_quoted(
    lists: Lists, sqlite: Database, said: Callable[[], str]
) -> None:
    unreadable = row(SECRET_NUMBER + "x", SECRET_NUMBER, SECRET_TEXT)  # type: ignore[arg-type] # what a gateway may do
    lists.rows = [row(1, "27825550101"), unreadable]
    result = run(sqlite)
    assert result["unreadable"] == 1
    assert_nothing_personal(said() + repr(result))
