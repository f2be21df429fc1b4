"""The ledger in the task state store, where the store answers once that it has not what it has."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, LedgerUnavailable
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.task_state import TaskStateLedger
from airflow_provider_winsms.messages import ScheduledMessage
from airflow_provider_winsms.utils.task_store import task_store_of
from tests.ledger.batches import HASHES, NOON, accepted, batch, messages, record


class Lying:
    """A store that has a key, and says once that it has not."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.lies: set[str] = set()

    def get(self, key: str) -> Any:
        if key in self.lies:
            self.lies.remove(key)
            return None
        return self.rows.get(key)

    def set(self, key: str, value: Any, **_: Any) -> None:
        self.rows[key] = value


def ledger(store: Lying) -> TaskStateLedger:
    instance = SimpleNamespace(try_number=2, max_tries=1, task=SimpleNamespace(retries=1))
    context: Any = {"ti": instance, "task_state_store": store}
    return TaskStateLedger(task_store_of(context), hashes=HASHES)


@pytest.fixture
def store() -> Lying:
    """A store with two requests of a generation, the second of them in doubt, and a later generation."""
    made = Lying()
    first = ledger(made)
    first.open(batch(generation=1))
    for number in (1, 2):
        key, claim = RequestKey(1, number), record(1)
        first.claim(key, claim, messages(1))
        if number == 1:
            claim.apply({0: accepted(100)})
            first.record(key, claim, {0: accepted(100)})
    first.open(batch(generation=2))
    return made


@pytest.mark.parametrize("number", [1, 2])
def test_one_false_not_found_does_not_end_the_records_of_a_generation(store: Lying, number: int) -> None:
    store.lies = {f"sms_send.1.1.{number:06d}"}
    later = ledger(store)
    assert later.latest() is not None
    assert later.conflicts(RequestKey(1, 1), NOON, ["27825550000"]) == {"27825550000"}
    assert not store.lies


def test_one_false_not_found_does_not_hide_an_id(store: Lying) -> None:
    store.lies = {"sms_send.1.1.000001"}
    later = ledger(store)
    assert later.latest() is not None
    row = ScheduledMessage(100, "27825550000", NOON, None, None)
    assert later.known_ids([row]) == {100}
    assert not store.lies


@pytest.mark.parametrize("name", ["currency", "digest", "opened_at"])
def test_the_record_of_another_version_is_refused_in_words(store: Lying, name: str) -> None:
    del store.rows["sms_send"][name]
    with pytest.raises(ConfigurationError, match=r"another version .* Nothing was sent"):
        ledger(store).latest()


def test_a_record_with_a_fact_of_a_later_version_is_refused_in_words(store: Lying) -> None:
    store.rows["sms_send"]["later"] = 1
    with pytest.raises(ConfigurationError, match=r"another version .* Nothing was sent"):
        ledger(store).latest()


@pytest.mark.parametrize("decisions", ["", "{}", "0123456789" * 20_000], ids=["none", "short", "long"])
def test_decisions_read_back_as_they_were_written(decisions: str) -> None:
    store = Lying()
    ledger(store).open(replace(batch(), decisions=decisions))
    found = ledger(store).latest()
    assert found is not None
    assert found.decisions == decisions


def test_a_batch_whose_decisions_are_gone_is_not_sent() -> None:
    store = Lying()
    ledger(store).open(replace(batch(), decisions="{}"))
    store.lies = {"sms_rules.1.0"}
    with pytest.raises(LedgerUnavailable, match="decisions"):
        ledger(store).latest()
