"""The rows that the target table has already: counts and queries that decide what a load reads."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.messages import message_id_of
from airflow_provider_winsms.warehouse.datasets import KEY_ID, LAST_SEEN, REMOVED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.warehouse.relations import Relations
    from airflow_provider_winsms.warehouse.transaction import LoadTransaction

IDS_AT_ONCE = 1000
"""How many ids one statement lists."""


class _Names(dict[str, str]):
    """Words of a query. A word that is not given is the quoted name of a column."""

    def __init__(self, quoted: Callable[[str], str], **words: str) -> None:
        super().__init__(words)
        self._quoted = quoted

    def __missing__(self, name: str) -> str:
        return self._quoted(name)


class StoredRows:
    """The rows of the target table. Every method raises ``LoadFailed``."""

    def __init__(self, transaction: LoadTransaction, relations: Relations) -> None:
        self._transaction = transaction
        self._relations = relations
        self._target = relations.target
        self._key = relations.quoted(relations.dataset.key[0])

    def is_empty(self) -> bool:
        """Tell whether the table has no row."""
        return self._greatest() is None

    def highest(self) -> MessageId | None:
        """Return the highest id in the table, or ``None`` if it is empty. It reads all ids.

        Of whole numbers the longest is the highest. Of other texts it may be any.
        """
        key = self._key
        query = f"SELECT MAX({key}) AS greatest, MAX(LENGTH({key})) AS longest FROM {self._target}"  # noqa: S608 - quoted names
        ((greatest, longest),) = self._transaction.rows(query)
        if greatest is not None and len(greatest) < longest:
            greatest = self._greatest(f" WHERE LENGTH({key}) = {longest}")
        return None if greatest is None else message_id_of(greatest)

    def has_between(self, numbers: Collection[int]) -> bool:
        """Tell whether the table may have an id from the lowest of some whole numbers to the highest.

        ``False`` proves that it has none. It looks at ranges of texts, which an index finds.
        """
        ranges = _texts_of_one_length(min(numbers), max(numbers))
        return any(self._greatest(f" WHERE {self._between(*each)}") is not None for each in ranges)

    def count_all(self) -> int:
        """Count the rows."""
        return self._transaction.scalar(f"SELECT COUNT(*) FROM {self._target}") or 0  # noqa: S608 - a quoted name

    def count(self, low: int, high: int) -> int:
        """Count the rows from one whole number to another. An index finds the texts of one length."""
        counted = 0
        for first, last in _texts_of_one_length(low, high):
            condition = f"{self._between(first, last)} AND LENGTH({self._key}) = {len(first)}"
            query = f"SELECT COUNT(*) FROM {self._target} WHERE {condition}"  # noqa: S608 - quoted names and numbers
            counted += self._transaction.scalar(query) or 0
        return counted

    def count_missing(self, ids: Iterable[MessageId]) -> int:
        """Count the ids that the table does not have. Each is given once."""
        ids, missing = iter(ids), 0
        while some := list(islice(ids, IDS_AT_ONCE)):
            missing += len(some) - self._count_among(some)
        return missing

    def has_hashes(self) -> bool:
        """Whether a number in the table is hashed."""
        query = f"SELECT MAX({self._relations.quoted(KEY_ID)}) FROM {self._target}"  # noqa: S608 - quoted names
        return self._transaction.rows(query)[0][0] is not None

    def has_newer(self, at: Any) -> bool:
        """Whether a load that began after a moment saw or missed a row.

        :param at: the moment, as the driver takes it.
        """
        q, p = self._relations.quoted, self._relations.placeholder
        later = f"{q(LAST_SEEN)} > {p} OR {q(REMOVED)} > {p}"
        query = f"SELECT COUNT(*) FROM {self._target} WHERE {later}"  # noqa: S608 - quoted names
        return bool(self._transaction.scalar(query, at, at))

    def select(self, query: str, *parameters: Any, **moments: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        :param query: ``{table}`` stands for the table, ``{p}`` for a parameter, and any other name for a
            column.
        :param parameters: a moment among them may have any time zone.
        :param moments: expressions for moments; ``read_instant`` reads their values.
        """
        instant = self._relations.dialect.instant
        values = [instant(value) if isinstance(value, datetime) else value for value in parameters]
        return self._transaction.rows(self._named(query, moments), *values)

    def _named(self, query: str, moments: Mapping[str, str]) -> str:
        quoted, words = self._relations.quoted, {"table": self._target, "p": self._relations.placeholder}
        names = _Names(quoted, **words)
        readable = {
            name: self._relations.dialect.readable.format(column=moment.format_map(names))
            for name, moment in moments.items()
        }
        return query.format_map(_Names(quoted, **words, **readable))

    def _greatest(self, where: str = "") -> str | None:
        """Return the last id in the order of texts."""
        ((found,),) = self._transaction.rows(f"SELECT MAX({self._key}) FROM {self._target}{where}")  # noqa: S608 - quoted names and numbers
        return None if found is None else str(found)

    def _between(self, low: str, high: str) -> str:
        return f"{self._key} >= '{low}' AND {self._key} <= '{high}'"

    def _count_among(self, ids: Sequence[MessageId]) -> int:
        listed = ", ".join([self._relations.placeholder] * len(ids))
        query = f"SELECT COUNT(DISTINCT {self._key}) FROM {self._target} WHERE {self._key} IN ({listed})"  # noqa: S608 - quoted names
        return self._transaction.scalar(query, *map(str, ids)) or 0


def _texts_of_one_length(low: int, high: int) -> Iterator[tuple[str, str]]:
    """Cut a range of whole numbers where their texts get longer. Texts of one length have their order."""
    for digits in range(len(str(low)), len(str(high)) + 1):
        least = 10 ** (digits - 1) if digits > 1 else 0
        yield str(max(low, least)), str(min(high, 10**digits - 1))
