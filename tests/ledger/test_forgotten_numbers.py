"""Forgotten numbers are still told apart, so that look-ups and conflicts are decided as before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pendulum
import pytest

from airflow_provider_winsms.hashing import KeyedHash, Pseudonym
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.database import LedgerDatabase
from airflow_provider_winsms.ledger.person import Person, PersonalMessages
from airflow_provider_winsms.messages import ScheduledMessage
from airflow_provider_winsms.phone import NumberPlan
from tests.ledger.batches import (
    FIRST,
    HASHES,
    LATER,
    TEXT,
    accepted,
    batch,
    ledger,
    messages,
    number,
    record,
    sent,
)

if TYPE_CHECKING:
    from tests.support.databases import Database

OTHER = KeyedHash("another key of some length")
FORMS = pytest.mark.parametrize(
    "options", [{}, {"privacy": "keyed_hash"}, {"text": "keep"}], ids=["plain", "hashed", "texts"]
)


def person(*keys: KeyedHash, position: int = 0) -> Person:
    return Person(number(position), keys or (HASHES,), NumberPlan("27"))


def forget(database: Database, *keys: KeyedHash) -> int:
    with LedgerDatabase(database.hook()) as opened:
        return PersonalMessages(opened).forget(person(*keys)).sent


def waiting(message_id: int, number: str) -> ScheduledMessage:
    return ScheduledMessage(message_id, number, None, LATER, None)


@FORMS
def test_the_digests_of_recipients_are_those_of_before(options: dict[str, str], database: Database) -> None:
    with ledger(database, **options) as tables:
        tables.open(batch())
        sent(tables)
        before = tables.recipient_digests(FIRST)
        found = tables.find(FIRST)
        assert forget(database) == 1
        assert tables.recipient_digests(FIRST) == before
        assert tables.find(FIRST) == found
        stored = database.column("number", "sms_messages")
        assert HASHES.pseudonym(number(0)) in stored
        assert not {number(0), HASHES.of(number(0))} & {*stored, *database.column("text", "sms_messages")}
        assert forget(database) == 0


def test_under_another_key_the_recipients_are_not_told(database: Database) -> None:
    with ledger(database, text="keep") as tables:
        tables.open(batch())
        sent(tables)
        assert forget(database, OTHER) == 1
        assert tables.recipient_digests(FIRST) is None
        assert sorted(database.column("text", "sms_messages")) == ["", TEXT, TEXT]


@FORMS
def test_a_listed_text_of_a_forgotten_recipient_is_known(options: dict[str, str], database: Database) -> None:
    with ledger(database, **options) as tables:
        tables.open(batch())
        tables.claim(FIRST, record(send_at=LATER), messages())
        tables.record(FIRST, record(send_at=LATER), {place: accepted(100 + place) for place in range(3)})
        rows = [waiting(100, number(0)), waiting(100, number(7)), waiting(101, number(1))]
        before = [tables.known_ids([row]) for row in rows]
        assert before == [{100}, set(), {101}]
        forget(database)
        assert [tables.known_ids([row]) for row in rows] == before


@FORMS
@pytest.mark.parametrize("reader", [{}, {"privacy": "keyed_hash"}], ids=["plain try", "hashed try"])
def test_a_forgotten_recipient_in_doubt_conflicts_with_the_same_number_alone(
    reader: dict[str, str], options: dict[str, str], database: Database
) -> None:
    with ledger(database, **options) as tables:
        tables.open(batch())
        tables.claim(FIRST, record(1, send_at=LATER), messages(1))
    forget(database)
    with ledger(database, "another/key", **reader) as tables:
        tables.open(batch("another/key"))
        numbers = {number(0), number(1)}
        assert tables.conflicts(RequestKey(1, 1), LATER, numbers) == {number(0)}
        assert tables.conflicts(RequestKey(1, 1), pendulum.datetime(2026, 3, 3), numbers) == set()


def test_a_recipient_forgotten_under_another_key_conflicts_with_every_number(database: Database) -> None:
    with ledger(database) as tables:
        tables.open(batch())
        tables.claim(FIRST, record(1, send_at=LATER), messages(1))
    forget(database, OTHER)
    with ledger(database, "another/key") as tables:
        tables.open(batch("another/key"))
        numbers = {number(0), number(1)}
        assert tables.conflicts(RequestKey(1, 1), LATER, numbers) == numbers


def test_a_pseudonym_is_read_and_nothing_else_is() -> None:
    pseudonym = HASHES.pseudonym(number(0))
    assert Pseudonym.read(pseudonym) == (HASHES.key_id, HASHES.of(number(0))[:16])
    assert str(Pseudonym.read(pseudonym)) == pseudonym
    for stored in ("", number(0), HASHES.of(number(0)), f"{pseudonym}0", "forgotten:"):
        assert Pseudonym.read(stored) is None
