"""Batches, requests and answers for the tests of the ledger."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.ledger.base import Batch, BatchDigest, RequestKey, RequestRecord, Sender
from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from airflow_provider_winsms.messages import Message, Receipt, Recipient, RejectReason

if TYPE_CHECKING:
    from pendulum import DateTime

    from tests.support.databases import Database

KEY = "etl/manual__1/send/-1"
TEXT = "Our little secret"
NOON = pendulum.datetime(2026, 3, 2, 12, 0, 0, 123456)
LATER = pendulum.datetime(2026, 3, 2, 15, 30)
FIRST = RequestKey(1, 1)
HASHES = KeyedHash("seeded-hash-key")


def ledger(database: Database, key: str = KEY, **options: Any) -> SqlLedger:
    return SqlLedger(database.hook(), key, HASHES, SqlOptions(**options))


def batch(key: str = KEY, generation: int = 1, dag_id: str = "etl", recipients: int = 3) -> Batch:
    return Batch(
        key=key,
        sender=Sender(dag_id, "manual__1", "send", -1, "data-team"),
        digest=BatchDigest("t" * 64, "n" * 64, HASHES.key_id, recipients, 1, 0),
        sms_conn_id="winsms_default",
        guarantee="exactly_once",
        max_tries=1 + generation,
        opened_at=NOON,
        currency="credits",
        generation=generation,
    )


def number(position: int) -> str:
    return f"2782555{position:04}"


def messages(size: int = 3, text: str = TEXT, send_at: DateTime | None = None) -> list[Message]:
    return [Message(text, tuple(Recipient(number(position)) for position in range(size)), send_at)]


def record(
    size: int = 3, owner: str = "host:1:a", at: DateTime = NOON, send_at: DateTime | None = None
) -> RequestRecord:
    return RequestRecord(size, at, owner, send_at)


def accepted(message_id: int, cost: str = "1.5") -> Receipt:
    return Receipt("", True, message_id, None, "", Decimal(cost), None)  # noqa: FBT003 - as on the wire


def declined(reason: RejectReason, refund: str = "0") -> Receipt:
    return Receipt("", False, None, reason, "", Decimal(refund), None)  # noqa: FBT003 - as on the wire


def sent(tables: SqlLedger, size: int = 3, first_id: int = 100, key: RequestKey = FIRST) -> RequestRecord:
    """Claim a request, and record that all of it was accepted, with ids that count up."""
    claim = record(size)
    tables.claim(key, claim, messages(size))
    receipts = {position: accepted(first_id + position) for position in range(size)}
    claim.apply(receipts)
    tables.record(key, claim, receipts)
    return claim


def sent_through_another_connection(database: Database) -> None:
    """Send a batch through ``winsms_other``, with ids from 200 on."""
    with ledger(database, "other") as other:
        other.open(replace(batch("other"), sms_conn_id="winsms_other"))
        sent(other, first_id=200)


def counts(database: Database) -> list[Any]:
    """Return the counts of the only batch: accepted, declined, unknown, cancelled, cost, refunded."""
    (row,) = database.execute(
        "SELECT accepted, declined, unknown, cancelled, cost, refunded FROM {}sms_batches"
    )
    return [*row[:4], *(Decimal(str(amount)) for amount in row[4:])]
