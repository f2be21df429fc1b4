"""The rows that the target table has already: counts and queries that decide what a load reads."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select

from airflow_provider_winsms.hashing import PSEUDONYMS
from airflow_provider_winsms.ledger.deliveries import CHANGING_STATES
from airflow_provider_winsms.messages import message_id_of
from airflow_provider_winsms.sql.functions import readable
from airflow_provider_winsms.sql.values import read_instant
from airflow_provider_winsms.warehouse.datasets import KEY_ID, LAST_SEEN, NUMBER, REMOVED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.warehouse.relations import Relations
    from airflow_provider_winsms.warehouse.transaction import LoadTransaction

IDS_AT_ONCE = 1000
"""How many ids one statement lists."""


class StoredRows:
    """The rows of the target table. Every method raises ``LoadFailed``."""

    def __init__(self, transaction: LoadTransaction, relations: Relations) -> None:
        self._transaction = transaction
        self._target = relations.target
        self._key = relations.target.c[relations.dataset.key[0]]
        self._length = func.char_length(self._key)

    def is_empty(self) -> bool:
        """Tell whether the table has no row."""
        return self._greatest() is None

    def highest(self) -> MessageId | None:
        """Return the highest id in the table, or ``None`` if it is empty. It reads all ids.

        Of whole numbers the longest is the highest. Of other texts it may be any.
        """
        query = select(func.max(self._key), func.max(self._length))
        ((greatest, longest),) = self._transaction.rows(query)
        if greatest is not None and len(greatest) < longest:
            greatest = self._greatest(self._length == longest)
        return None if greatest is None else message_id_of(greatest)

    def has_between(self, numbers: Collection[int]) -> bool:
        """Tell whether the table may have an id from the lowest of some whole numbers to the highest.

        ``False`` proves that it has none. It looks at ranges of texts, which an index finds.
        """
        ranges = _texts_of_one_length(min(numbers), max(numbers))
        return any(self._greatest(self._key.between(*each)) is not None for each in ranges)

    def count_all(self) -> int:
        """Count the rows."""
        return self._count()

    def count(self, low: int, high: int) -> int:
        """Count the rows from one whole number to another. An index finds the texts of one length."""
        ranges = _texts_of_one_length(low, high)
        return sum(self._count(self._key.between(*each), self._length == len(each[0])) for each in ranges)

    def count_missing(self, ids: Iterable[MessageId]) -> int:
        """Count the ids that the table does not have. Each is given once."""
        ids, missing, found = iter(ids), 0, func.count(self._key.distinct())
        while some := list(map(str, islice(ids, IDS_AT_ONCE))):
            among = select(found).where(self._key.in_(some))
            missing += len(some) - (self._transaction.scalar(among) or 0)
        return missing

    def key_ids(self) -> set[str]:
        """Return the lowest and the highest key id of hidden numbers. ``MASKED`` is above that of any key."""
        key_id = self._target.c[KEY_ID]
        (ends,) = self._transaction.rows(select(func.min(key_id), func.max(key_id)))
        return {end for end in ends if end is not None}

    def forgotten(self) -> frozenset[str]:
        """Return the pseudonyms of forgotten numbers, if the numbers are the key; an index finds them."""
        if self._key.name != NUMBER:
            return frozenset()
        found = self._transaction.rows(select(self._key).where(self._key.like(PSEUDONYMS)))
        return frozenset(number for (number,) in found)

    def has_newer(self, at: Any) -> bool:
        """Whether a load that began after a moment saw or missed a row.

        :param at: the moment, as the driver takes it.
        """
        return self._count(or_(self._target.c[LAST_SEEN] > at, self._target.c[REMOVED] > at)) > 0

    def latest_submission(self, sms_conn_id: str) -> datetime | None:
        """Return when the last text left through a connection of a gateway."""
        latest = readable(func.max(self._target.c.submitted_at))
        ((found,),) = self._transaction.rows(select(latest).where(self._is_sent_with(sms_conn_id)))
        return None if found is None else read_instant(found)

    def changing_ids(self, sms_conn_id: str, due_since: datetime) -> list[MessageId]:
        """Return the ids of texts whose states may still change.

        :param due_since: the moment since which they were due.
        """
        row, since = self._target.c, self._transaction.dialect.instant(due_since)
        is_late = func.coalesce(row.send_at, row.submitted_at) >= since
        query = select(row.message_id).where(
            self._is_changing(sms_conn_id), row.message_id.is_not(None), is_late
        )
        return [message_id_of(message_id) for (message_id,) in self._transaction.rows(query)]

    def changing_without_id(self, sms_conn_id: str) -> set[tuple[Any, ...]]:
        """Return the keys of texts whose outcome is unknown to the table."""
        row = self._target.c
        query = select(*self._target.primary_key).where(
            self._is_changing(sms_conn_id), row.message_id.is_(None)
        )
        return set(self._transaction.rows(query))

    def _is_sent_with(self, sms_conn_id: str) -> ColumnElement[bool]:
        return self._target.c.sms_conn_id == sms_conn_id

    def _is_changing(self, sms_conn_id: str) -> ColumnElement[bool]:
        is_open = self._target.c.state.in_([str(state) for state in CHANGING_STATES])
        return self._is_sent_with(sms_conn_id) & is_open

    def _count(self, *conditions: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(self._target).where(*conditions)
        return self._transaction.scalar(query) or 0

    def _greatest(self, *conditions: ColumnElement[bool]) -> str | None:
        """Return the last id in the order of texts."""
        ((found,),) = self._transaction.rows(select(func.max(self._key)).where(*conditions))
        return None if found is None else str(found)


def _texts_of_one_length(low: int, high: int) -> Iterator[tuple[str, str]]:
    """Cut a range of whole numbers where their texts get longer. Texts of one length have their order."""
    for digits in range(len(str(low)), len(str(high)) + 1):
        least = 10 ** (digits - 1) if digits > 1 else 0
        yield str(max(low, least)), str(min(high, 10**digits - 1))
