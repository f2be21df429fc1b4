"""Reservations of texts, by which tasks that run at once keep to one limit on the texts to a person."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from typing import TYPE_CHECKING

from airflow_provider_winsms.ledger.batches import key_digest
from airflow_provider_winsms.ledger.database import chunks, transaction
from airflow_provider_winsms.ledger.row_lock import RowLock
from airflow_provider_winsms.ledger.schema import RESERVATIONS
from airflow_provider_winsms.ledger.statements import (
    DELETE_EXPIRED_RESERVATIONS,
    DELETE_RESERVATIONS,
    FIND_LOCK,
    LOCK_RESERVATIONS,
    READ_RESERVATIONS,
    READ_RESERVED_AROUND,
    READ_TEXTS_AROUND,
    READ_TEXTS_OF_DAG_AROUND,
    READ_TEXTS_OF_KEY,
)
from airflow_provider_winsms.sql.values import read_instant, utc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pendulum import DateTime

    from airflow_provider_winsms.ledger.base import DueText, Sender, TextLimit
    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.ledger.stored_forms import StoredForms


class Reservations:
    """The ``SendHistory`` of one batch key, in the ledger's tables.

    Only one process at a time counts and reserves: it has the lock, which is a row, until it commits.
    """

    def __init__(self, database: LedgerDatabase, forms: StoredForms, key: str) -> None:
        self._database = database
        self._forms = forms
        self._key = {"key_digest": key_digest(key)}
        self._lock = RowLock(database, RESERVATIONS, FIND_LOCK)

    @transaction
    def over_limit(self, texts: Sequence[DueText], limit: TextLimit, now: DateTime) -> list[int]:
        """Return the positions of the texts that do not keep to a limit."""
        return self._divided(texts, limit, now)[1]

    def reserve(self, texts: Sequence[DueText], limit: TextLimit, sender: Sender, now: DateTime) -> list[int]:
        """Reserve all texts that keep to a limit, and return the positions of the others."""
        at = self._database.instant(now)
        self._lock.ensure(("", "", 0, "", "", at, at, at))
        return self._reserve(texts, limit, sender, now)

    @transaction
    def release(self, now: DateTime) -> None:
        """Delete the reservations of the batch key for texts that were not submitted."""
        self._database.execute(LOCK_RESERVATIONS, now=self._database.instant(now))
        self._next_places()

    @transaction
    def _reserve(
        self, texts: Sequence[DueText], limit: TextLimit, sender: Sender, now: DateTime
    ) -> list[int]:
        at = self._database.instant(now)
        self._database.execute(LOCK_RESERVATIONS, now=at)
        self._database.execute(DELETE_EXPIRED_RESERVATIONS, now=at)
        places = self._next_places()
        within, over = self._divided(texts, limit, now)
        key, by = self._key["key_digest"], (sender.dag_id, self._forms.key_id)
        rows = []
        for text in within:
            stored, expires_at = self._forms.number(text.number), text.due_at + limit.per
            times = self._database.instant(text.due_at), at, self._database.instant(expires_at)
            rows.append((key, stored, places[stored], *by, *times))
            places[stored] += 1
        self._database.insert(RESERVATIONS, rows)
        return over

    def _next_places(self) -> dict[str, int]:
        """Delete what this key reserved and did not submit, and return the next place for each number.

        The reservations for texts that a later round sends again stay.
        """
        places: dict[str, int] = defaultdict(int)
        resent = set()
        for number, settled, texts in self._database.read(READ_TEXTS_OF_KEY, **self._key):
            places[number] = int(settled)
            if texts > settled:
                resent.add(number)
        own = dict(self._database.read(READ_RESERVATIONS, **self._key))
        for number in resent & own.keys():
            places[number] = max(places[number], own[number])
        for chunk in chunks([number for number in own if number not in resent]):
            self._database.execute(DELETE_RESERVATIONS, numbers=chunk, **self._key)
        return places

    def _divided(
        self, texts: Sequence[DueText], limit: TextLimit, now: DateTime
    ) -> tuple[list[DueText], list[int]]:
        """Return the texts that keep to a limit, and the positions of the others."""
        self._database.look_up_by_index()
        sent = self._times_of(texts, limit, now)
        within, over = [], []
        for text in texts:
            due_at, times = utc(text.due_at), sent[text.number]
            if is_within(limit, times, due_at):
                insort(times, due_at)
                within.append(text)
            else:
                over.append(text.position)
        return within, over

    def _times_of(
        self, texts: Sequence[DueText], limit: TextLimit, now: DateTime
    ) -> defaultdict[str, list[datetime]]:
        """Return the times of the texts to each number, of this and all other batches, in order."""
        times: defaultdict[str, list[datetime]] = defaultdict(list)
        if not texts:
            return times
        numbers = {form: each for each in {t.number for t in texts} for form in self._forms.all_of(each)}
        values = {
            "since": self._database.instant(min(text.due_at for text in texts) - limit.per),
            "until": self._database.instant(max(text.due_at for text in texts) + limit.per),
            "dag_id": limit.dag_id or "",
        }
        read_texts = READ_TEXTS_OF_DAG_AROUND if limit.dag_id else READ_TEXTS_AROUND
        reserved = {"now": self._database.instant(now), **self._key}
        for chunk in chunks(list(numbers)):
            rows = self._database.read(read_texts, numbers=chunk, **values)
            rows += self._database.read(READ_RESERVED_AROUND, numbers=chunk, **values, **reserved)
            for stored, due_at in rows:
                times[numbers[stored]].append(read_instant(due_at))
        for each in times.values():
            each.sort()
        return times


def is_within(limit: TextLimit, times: Sequence[datetime], due_at: datetime) -> bool:
    """Tell whether one more text keeps to a limit. Texts that are ``per`` apart are not within ``per``.

    :param times: of the other texts to the same person, in order.
    :param due_at: of the text.
    """
    first = bisect_right(times, due_at - limit.per)
    starts = {*times[first : bisect_right(times, due_at)], due_at}
    counts = (bisect_left(times, start + limit.per) - bisect_left(times, start) for start in starts)
    return all(count < limit.most for count in counts)
