"""Digests of claimed recipients: those of phones never change, and a device is no phone with equal digits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from airflow_provider_winsms.ledger.task_state import TaskStateLedger
from airflow_provider_winsms.messages import Message, Recipient
from airflow_provider_winsms.utils.task_store import task_store_of
from tests.ledger.batches import FIRST, batch, record

if TYPE_CHECKING:
    from airflow_provider_winsms.ledger.base import Ledger, RecipientDigest
    from airflow_provider_winsms.options import StoredPrivacy
    from tests.support.databases import Database

DIGITS = "27825550101"
MESSAGE = Message("Hi", [Recipient(DIGITS), Recipient(DIGITS, kind="MDN"), Recipient(DIGITS, kind="ESN")])


class MemoryStore(dict[str, Any]):
    """The task state of one task."""

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = value


def ledger_of_a_task() -> TaskStateLedger:
    instance = SimpleNamespace(try_number=1, max_tries=1, task=SimpleNamespace(retries=1))
    context: Any = {"ti": instance, "task_state_store": MemoryStore()}
    return TaskStateLedger(task_store_of(context), hashes=KeyedHash("key"), keeps_digests=True)


def claimed_digests(ledger: Ledger, message: Message) -> list[RecipientDigest]:
    """Return the digests of the recipients of a claimed request, as a later try reads them."""
    ledger.open(batch())
    ledger.claim(FIRST, record(len(message.recipients)), [message])
    return list(ledger.recipient_digests(FIRST) or ())


def test_the_digest_of_a_phone_is_that_of_earlier_versions_and_a_kind_makes_another() -> None:
    digests = claimed_digests(ledger_of_a_task(), MESSAGE)
    assert [digest.number for digest in digests] == [
        "3e5191031b105e24",
        "ca2332a9c6a8c509",
        "1a26201dbf90bc68",
    ]
    assert {digest.text for digest in digests} == {"79072ecd38d20cb6"}


@pytest.mark.parametrize("privacy", ["none", "keyed_hash"])
def test_tables_and_the_task_state_have_the_same_digests(sqlite: Database, privacy: StoredPrivacy) -> None:
    with SqlLedger(sqlite.hook(), "key", KeyedHash("key"), SqlOptions(privacy=privacy)) as tables:
        assert claimed_digests(tables, MESSAGE) == claimed_digests(ledger_of_a_task(), MESSAGE)
