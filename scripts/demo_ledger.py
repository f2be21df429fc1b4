"""The fictional history of two weeks, in the tables of a ledger."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.ledger.database import transaction
from airflow_provider_winsms.ledger.schema import BATCHES, MESSAGES, REQUESTS, MessageState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.ledger.schema import LedgerTable

    Row = dict[str, Any]


class LedgerWriter:
    """Writes texts, given as rows of the dataset ``deliveries``, as if sends had recorded them."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database

    @transaction
    def write(self, deliveries: Sequence[Row]) -> None:
        """Write texts with their batches, each of one request. The texts of a batch follow each other."""
        batches = [list(texts) for _, texts in groupby(deliveries, itemgetter("batch_id"))]
        self._insert(BATCHES, map(_batch, batches))
        self._insert(REQUESTS, map(_request, batches))
        self._insert(MESSAGES, ({**text, "address_kind": "phone", "text": "0" * 64} for text in deliveries))

    def _insert(self, table: LedgerTable, rows: Iterable[Row]) -> None:
        moments = {column.name for column in table.columns if column.name.endswith("_at")}
        amounts = {"cost", "refund", "refunded"}
        cells = [
            tuple(
                self._database.instant(row.get(name))
                if name in moments
                else self._database.amount(row[name])
                if name in amounts
                else row.get(name)
                for name in table.column_names
            )
            for row in rows
        ]
        self._database.insert(table, cells)


def _batch(texts: Sequence[Row]) -> Row:
    first, counts = texts[0], Counter(MessageState(text["state"]).counter for text in texts)
    return {
        **{name: first[name] for name in ("batch_id", "dag_id", "run_id", "task_id", "map_index")},
        **{name: first[name] for name in ("sms_conn_id", "currency")},
        "key_digest": first["batch_id"] * 2,
        "batch_key": f"{first['dag_id']}/{first['run_id']}/{first['task_id']}/-1",
        "generation": 1,
        "owner": "data-team",
        "guarantee": "at_most_once",
        "texts_digest": "0" * 64,
        "numbers_digest": "0" * 64,
        "key_id": first["number_key_id"] or "",
        "recipients": len(texts),
        "requests": 1,
        "duplicates": 0,
        "max_tries": 0,
        "revision": 0,
        **{name: counts[name] for name in ("accepted", "declined", "unknown", "cancelled")},
        "cost": sum((text["cost"] for text in texts), Decimal(0)),
        "refunded": sum((text["refund"] for text in texts), Decimal(0)),
        "opened_at": first["submitted_at"],
        "updated_at": _end(texts),
    }


def _request(texts: Sequence[Row]) -> Row:
    first = texts[0]
    return {
        **{name: first[name] for name in ("batch_id", "round", "request", "send_at")},
        "recipients": len(texts),
        "process": "demo",
        "claimed_at": first["submitted_at"],
        "answered_at": first["submitted_at"],
    }


def _end(texts: Sequence[Row]) -> datetime:
    latest: datetime = max(text["state_at"] for text in texts)
    return latest
