"""Masked numbers in a table: what is shown of them, what refuses them, and how a table changes to them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.operators.sms import SmsSendOperator
from airflow_provider_winsms.warehouse.datasets import DATASETS, MASKED, NUMBER
from tests.support.databases import CONN_ID
from tests.support.lists import row
from tests.transfers.loads import beside_ledger, everything, operator, run, stored
from tests.transfers.test_privacy import OLD_KEY, list_everywhere, use_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.databases import Database
    from tests.support.lists import Lists
    from tests.support.task_runner import TaskRunner

ANN, BEN = "27824567789", "27829999789"
"""Two numbers with the same mask."""
MASK = "27******789"
LISTED_WITH_IDS = ("incoming", "short_code", "scheduled")


def numbers(database: Database, dataset: str = "incoming") -> list[tuple[str, str | None]]:
    return [(each["number"], each["number_key_id"]) for each in stored(database, dataset)]


# What is shown


@pytest.mark.parametrize("dataset", LISTED_WITH_IDS)
def test_a_masked_number_shows_its_first_two_and_last_three_digits(
    dataset: str, lists: Lists, one_database: Database
) -> None:
    list_everywhere(lists, ANN, BEN)
    assert run(one_database, dataset, privacy="masked")["rows_loaded"] == 2
    assert numbers(one_database, dataset) == [(MASK, MASKED)] * 2
    assert not [number for number in (ANN, BEN) if number in str(everything(one_database))]


@pytest.mark.parametrize(
    "short", ["", "1", "12345", "123456", "31245", "MyBank", "+27", "\u0661\u0662\u0663"]
)
def test_a_short_number_is_masked_whole(short: str, lists: Lists, one_database: Database) -> None:
    lists.rows = [row(1, short)]
    run(one_database, privacy="masked")
    assert numbers(one_database) == [("*" * 6, MASKED)]


@pytest.mark.parametrize("spelt", ["+27 82 456 7789", "082 456 7789", "27824567789.0", ANN])
def test_a_number_has_one_mask_however_the_gateway_writes_it(
    spelt: str, lists: Lists, one_database: Database
) -> None:
    lists.rows = [row(1, spelt)]
    run(one_database, privacy="masked")
    assert numbers(one_database) == [(MASK, MASKED)]


@pytest.mark.parametrize("dataset", LISTED_WITH_IDS)
def test_masks_need_no_key(dataset: str, lists: Lists, sqlite: Database) -> None:
    list_everywhere(lists, ANN)
    assert SmsHook.of("winsms_default").endpoint.hash_secret is None
    assert run(sqlite, dataset, privacy="masked")["rows_loaded"] == 1


# What refuses them


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_dataset_whose_rows_are_told_apart_by_numbers_refuses_masks_when_the_dag_is_read(
    dataset: str,
) -> None:
    given: dict[str, Any] = {"privacy": "masked"}
    if DATASETS[dataset].is_from_ledger:
        given["ledger_conn_id"] = CONN_ID
    if NUMBER not in DATASETS[dataset].key:
        assert operator(None, dataset, **given)
        return
    with pytest.raises(InvalidMessage) as raised:
        operator(None, dataset, **given)
    says = str(raised.value)
    assert says.startswith("Task 'load': privacy=\"masked\" does not go with the dataset 'opt_outs'")
    assert "different numbers have the same mask" in says
    assert 'Give privacy="keyed_hash"' in says


def test_a_dataset_that_is_known_later_refuses_masks_before_anything_is_read(
    lists: Lists, sqlite: Database, runner: TaskRunner
) -> None:
    list_everywhere(lists, ANN)
    connections = {"winsms_default": json.loads(lists.connection), CONN_ID: sqlite.connection}
    load = operator(sqlite, "{{ 'opt_outs' }}", privacy="masked")
    error = replace(runner, connections=connections).run(load).error
    assert isinstance(error, InvalidMessage)
    assert "does not go with the dataset 'opt_outs'" in str(error)
    assert lists.requests == 0


@pytest.mark.parametrize("dataset", LISTED_WITH_IDS)
def test_the_whole_row_is_not_kept_beside_a_mask(dataset: str) -> None:
    with pytest.raises(InvalidMessage, match="`include_raw` keeps the whole row"):
        operator(None, dataset, privacy="masked", include_raw=True)


def test_the_ledger_takes_no_masks() -> None:
    with pytest.raises(InvalidMessage, match="ledger_privacy must be one of none, keyed_hash; got 'masked'"):
        SmsSendOperator(
            task_id="send",
            text="Hi",
            to=ANN,
            ledger_conn_id=CONN_ID,
            ledger_privacy="masked",  # type: ignore[arg-type] # it is what is refused
        )


# How a table changes to them, and from them


@pytest.mark.parametrize("dataset", LISTED_WITH_IDS)
@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("masked", "none", r"holds masked numbers.*as they are\. Give privacy=\"masked\""),
        (
            "keyed_hash",
            "masked",
            r"holds hashed numbers.*would store them masked\. Give privacy=\"keyed_hash\"",
        ),
    ],
)
def test_a_load_that_hides_less_than_the_table_is_refused_before_anything_is_read(
    dataset: str,
    before: str,
    after: str,
    says: str,
    lists: Lists,
    one_database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_key(lists, monkeypatch, OLD_KEY)
    list_everywhere(lists, ANN, BEN)
    run(one_database, dataset, privacy=before)
    held, requests = everything(one_database), lists.requests
    for mode in ("incremental", "full_refresh"):
        with pytest.raises(ConfigurationError, match=says):
            run(one_database, dataset, privacy=after, mode=mode)
    assert (everything(one_database), lists.requests) == (held, requests)


def test_hashed_numbers_are_found_among_masked_ones(
    lists: Lists, one_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_key(lists, monkeypatch, OLD_KEY)
    list_everywhere(lists, ANN)
    run(one_database, privacy="masked")
    list_everywhere(lists, ANN, BEN)
    run(one_database, privacy="keyed_hash")
    assert len({number for number, _ in numbers(one_database)}) == 2
    with pytest.raises(ConfigurationError, match="holds hashed numbers"):
        run(one_database, privacy="masked")


@pytest.mark.parametrize("dataset", ["incoming", "short_code"])
def test_a_full_refresh_masks_plain_numbers_and_hashes_masked_ones(
    dataset: str, lists: Lists, one_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = use_key(lists, monkeypatch, OLD_KEY)
    list_everywhere(lists, ANN, BEN)
    run(one_database, dataset, include_raw=True)
    assert run(one_database, dataset, privacy="masked")["rows_loaded"] == 0
    assert run(one_database, dataset, privacy="masked", mode="full_refresh")["rows_loaded"] == 2
    assert numbers(one_database, dataset) == [(MASK, MASKED)] * 2
    assert ANN not in str(everything(one_database))
    assert run(one_database, dataset, privacy="keyed_hash", mode="full_refresh")["rows_loaded"] == 2
    assert numbers(one_database, dataset) == [(hashes.of(each), hashes.key_id) for each in (ANN, BEN)]


# Deliveries


@pytest.fixture
def with_ledger(
    lists: Lists, one_database: Database, runner: TaskRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TaskRunner:
    lists.extra["hash_secret"] = OLD_KEY
    return beside_ledger(runner, lists, one_database, tmp_path / "sends.db", monkeypatch)


def send(runner: TaskRunner, *to: str, **given: Any) -> None:
    task = SmsSendOperator(task_id="send", text="Hi", to=list(to), ledger_conn_id="ledger", **given)
    assert runner.another().run(task).error is None


def load_deliveries(database: Database, **given: Any) -> dict[str, Any]:
    return run(database, "deliveries", ledger_conn_id="ledger", **given)


def test_a_number_that_the_ledger_has_hashed_stays_hashed(
    with_ledger: TaskRunner, one_database: Database
) -> None:
    hashes = KeyedHash(OLD_KEY)
    send(with_ledger, ANN, BEN, ledger_privacy="keyed_hash")
    load_deliveries(one_database, privacy="masked")
    assert numbers(one_database, "deliveries") == [(hashes.of(each), hashes.key_id) for each in (ANN, BEN)]
    assert load_deliveries(one_database, privacy="masked")["rows_loaded"] == 0


def test_a_load_of_deliveries_that_forgets_the_masks_is_refused(
    with_ledger: TaskRunner, one_database: Database
) -> None:
    send(with_ledger, ANN, BEN)
    load_deliveries(one_database, privacy="masked")
    assert numbers(one_database, "deliveries") == [(MASK, MASKED)] * 2
    with pytest.raises(ConfigurationError, match="holds masked numbers"):
        load_deliveries(one_database)
