"""Texts and their outcomes in the ledger's tables, read for a load.

A load into another database keeps an exact copy without reading all rows; ``DeliveryReader.deliveries_since``
says why.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.ledger.database import chunks, id_text, transaction
from airflow_provider_winsms.ledger.schema import OPEN_STATES, MessageState
from airflow_provider_winsms.ledger.statements import (
    READ_DELIVERIES,
    READ_DELIVERIES_OF_IDS,
    READ_NEXT_REQUESTS,
    READ_SENDERS,
    READ_SIZES,
)
from airflow_provider_winsms.messages import message_id_of
from airflow_provider_winsms.sql.values import read_amount, read_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from decimal import Decimal

    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.sql.statements import NamedStatement

CHANGING_STATES = (MessageState.UNKNOWN, *OPEN_STATES)
"""The states of a text that may change without a trace in its request: by a report, by a cancellation, or as
the claim of its request is deleted together with the text. A change of a text in another state, such as an
answer that comes after it was marked as not received, also writes the ``answered_at`` of its request."""

LATEST_COMMIT = timedelta(hours=1)
"""The most time between the instant that a change states and its commit. It is ample: a request without an
answer is always read, however late its claim was committed; ``answered_at`` is taken at the end of its
transaction, and again if that is repeated; PostgreSQL ends a transaction that is idle for a minute. The rest
is for clocks that differ. On other databases a process would have to freeze for as long just before its
commit."""

_HASH_DIGITS = 64
"""A number is shorter than its hash."""


class Delivery(NamedTuple):
    """One text to one recipient in one request, for a load. The first four fields are its key.

    :param round: counts from 1, like ``request``; ``position`` from 0.
    :param message_id: the gateway's; ``None`` if it is not known that the gateway accepted the text.
    :param number: international digits, or the 64 hexadecimal digits of their keyed hash.
    :param number_key_id: the id of the key of that hash; ``None`` for digits.
    :param state: a value of ``MessageState``.
    :param reason: why it was declined, a value of ``RejectReason``.
    :param address_kind: the kind of address that the number is.
    :param cost: in ``currency``, like ``refund``.
    :param submitted_at: in UTC, like the other instants.
    :param reference: the sender's own name for the text.
    """

    batch_id: str
    round: int
    request: int
    position: int
    message_id: MessageId | None
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    sms_conn_id: str
    number: str
    number_key_id: str | None
    address_kind: str
    state: str
    reason: str | None
    cost: Decimal
    refund: Decimal
    currency: str
    submitted_at: datetime
    send_at: datetime | None
    state_at: datetime
    reference: str | None = None

    def __repr__(self) -> str:
        """Show no number."""
        return f"Delivery({self.batch_id!r}, {self.round}, {self.request}, {self.position}, {self.state!r})"


class _BatchSender(NamedTuple):
    """The columns of a batch that each of its deliveries has."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key_id: str


class BatchRequestKey(NamedTuple):
    """Identifies a request of any batch."""

    batch_id: str
    round: int
    request: int


_BEFORE_ALL = BatchRequestKey("", 0, 0)

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeliverySizes:
    """The most that one statement reads.

    :param requests: requests that it lists, to read their messages.
    :param page_rows: messages that it reads for a load.
    :param page_parts: requests, or ids, that it reads these messages of.
    """

    requests: int = 10_000
    page_rows: int = 5_000
    page_parts: int = 500

    def pages(self, requests: Iterable[tuple[BatchRequestKey, int]]) -> Iterator[list[BatchRequestKey]]:
        """Split requests into pages, by the number of messages in each. Empty requests are left out."""
        page: list[BatchRequestKey] = []
        rows = 0
        for key, size in requests:
            if page and (rows + size > self.page_rows or len(page) == self.page_parts):
                yield page
                page, rows = [], 0
            if size:
                page.append(key)
                rows += size
        if page:
            yield page


class DeliveryReader:
    """Reads texts of any batch for a load.

    :param sizes: the most that one statement reads.
    :raises LedgerUnavailable: from every method, if the database refuses something.
    """

    def __init__(self, database: LedgerDatabase, sizes: DeliverySizes | None = None) -> None:
        self._database = database
        self._at_once = sizes or DeliverySizes()

    def deliveries_since(
        self, sms_conn_id: str, since: datetime | None, until: datetime | None = None
    ) -> Iterator[list[Delivery]]:
        """Yield the texts of requests that were submitted or answered since an instant, or not answered yet.

        They are ordered by their keys, and come in pages of whole requests. Each page is read on demand, by
        its own transaction. Other methods may be called between two pages.

        A copy is exact, as of an instant during its last load, if each load takes in

        * ``deliveries_of`` the ids that the copy has in a state of ``CHANGING_STATES``,
        * ``deliveries_in`` the requests of which the copy has a text in such a state without an id. It drops
          the texts among these that no reader returns: the claim of their request was deleted, unsubmitted,
        * then ``deliveries_since`` the copy's highest ``submitted_at`` of that connection, less
          ``LATEST_COMMIT``, ``until`` the instant of this call.

        The reason: a text that the copy lacks was submitted, or committed, after the last such call began, as
        the copy has no text from later than that call. So its request was submitted or answered since, or
        waits for its answer. The changes without a trace of a text in the copy are read again, and any other
        change marks its request as answered. Changes during a load are read by this load or by the next one.

        :param since: ``None`` for all.
        :param until: the latest ``submitted_at``. Without it, a load that runs for longer than
            ``LATEST_COMMIT`` may miss texts that are submitted while it runs.
        """
        after = _BEFORE_ALL
        while requests := self._requests(sms_conn_id, since, until, after):
            yield from self._deliveries_in(sms_conn_id, requests)
            after = requests[-1][0]

    def deliveries_of(self, sms_conn_id: str, message_ids: Iterable[MessageId]) -> Iterator[list[Delivery]]:
        """Yield the texts of a connection that have some ids, in pages.

        Ids that are not in the tables are left out.
        """
        ids = map(id_text, message_ids)
        while part := list(islice(ids, self._at_once.page_parts)):
            if page := self._deliveries_of(sms_conn_id, part):
                yield page

    def deliveries_in(
        self, sms_conn_id: str, requests: Iterable[tuple[str, int, int]]
    ) -> Iterator[list[Delivery]]:
        """Yield all texts of requests, given by batch, round and index, in pages.

        Requests that are not in the tables are left out.
        """
        keys = (BatchRequestKey(*key) for key in requests)
        while part := list(islice(keys, self._at_once.page_parts)):
            sizes = self._sizes(part)
            yield from self._deliveries_in(sms_conn_id, sizes)

    @transaction
    def _requests(
        self, sms_conn_id: str, since: datetime | None, until: datetime | None, after: BatchRequestKey
    ) -> list[tuple[BatchRequestKey, int]]:
        """Return the next requests after one, with the number of messages of the connection in each."""
        rows = self._database.read(
            READ_NEXT_REQUESTS,
            **after._asdict(),
            since=self._database.instant(since or _EARLIEST),
            until=self._database.instant(until or _LATEST),
            limit=[self._at_once.requests],
        )
        return [(BatchRequestKey(*row[:3]), row[3] if row[4] == sms_conn_id else 0) for row in rows]

    @transaction
    def _sizes(self, requests: Sequence[BatchRequestKey]) -> list[tuple[BatchRequestKey, int]]:
        rows = self._read(READ_SIZES, requests)
        return sorted((BatchRequestKey(*row[:3]), row[3]) for row in rows)

    def _deliveries_in(
        self, sms_conn_id: str, requests: Iterable[tuple[BatchRequestKey, int]]
    ) -> Iterator[list[Delivery]]:
        for part in self._at_once.pages(requests):
            if page := self._page(sms_conn_id, part):
                yield page

    @transaction
    def _page(self, sms_conn_id: str, requests: Sequence[BatchRequestKey]) -> list[Delivery]:
        return self._with_senders(sms_conn_id, self._read(READ_DELIVERIES, requests))

    @transaction
    def _deliveries_of(self, sms_conn_id: str, ids: Sequence[str]) -> list[Delivery]:
        rows = self._database.read(READ_DELIVERIES_OF_IDS, message_ids=ids)
        return self._with_senders(sms_conn_id, rows)

    def _read(self, query: NamedStatement, requests: Iterable[BatchRequestKey]) -> list[tuple[Any, ...]]:
        """Return the rows of some requests. Batches with the same requests are read at once."""
        return [
            row
            for (round_, numbers), batch_ids in _alike(requests).items()
            for row in self._database.read(query, batch_ids=batch_ids, round=round_, requests=numbers)
        ]

    def _with_senders(self, sms_conn_id: str, rows: Sequence[tuple[Any, ...]]) -> list[Delivery]:
        senders = self._senders(sms_conn_id, sorted({row[0] for row in rows}))
        known = sorted((row for row in rows if row[0] in senders), key=itemgetter(slice(4)))
        return [_delivery(row, sms_conn_id, senders[row[0]]) for row in known]

    def _senders(self, sms_conn_id: str, batch_ids: Sequence[str]) -> dict[str, _BatchSender]:
        return {
            row[0]: _BatchSender(*row[1:])
            for chunk in chunks(batch_ids)
            for row in self._database.read(READ_SENDERS, batch_ids=chunk, sms_conn_id=sms_conn_id)
        }


def _alike(requests: Iterable[BatchRequestKey]) -> dict[tuple[int, tuple[int, ...]], list[str]]:
    """Return the batches that have the same requests of a round, by the round and these requests."""
    numbers = defaultdict[tuple[str, int], list[int]](list)
    for batch_id, round_, request in requests:
        numbers[batch_id, round_].append(request)
    batches = defaultdict[tuple[int, tuple[int, ...]], list[str]](list)
    for (batch_id, round_), found in numbers.items():
        batches[round_, tuple(sorted(found))].append(batch_id)
    return batches


# The texts of a request have much in common.
_read_amount = lru_cache(maxsize=1024)(read_amount)
_read_instant = lru_cache(maxsize=1024)(read_instant)


def _delivery(row: tuple[Any, ...], sms_conn_id: str, sender: _BatchSender) -> Delivery:
    batch_id, round_, request, position, message_id, number, address_kind, state, reason, *rest = row
    cost, refund, currency, submitted_at, send_at, state_at, reference = rest
    return Delivery(
        batch_id,
        round_,
        request,
        position,
        None if message_id is None else message_id_of(message_id),
        sender.dag_id,
        sender.run_id,
        sender.task_id,
        sender.map_index,
        sms_conn_id,
        number,
        sender.key_id if len(number) == _HASH_DIGITS else None,
        address_kind,
        state,
        reason,
        _read_amount(cost),
        _read_amount(refund),
        currency,
        _read_instant(submitted_at),
        None if send_at is None else _read_instant(send_at),
        _read_instant(state_at),
        reference,
    )
