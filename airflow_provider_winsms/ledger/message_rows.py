"""The rows of messages: their outcomes, and the counts of their batches."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.ledger.database import chunks, id_text, read_moment, request_of
from airflow_provider_winsms.ledger.schema import MessageState
from airflow_provider_winsms.ledger.statements import (
    ACCEPT_MESSAGES,
    ADD_TO_COUNTS,
    DECLINE_MESSAGES,
    MARK_REQUEST_ANSWERED,
    MARK_REQUEST_ANSWERED_AND_NOT_CANCELLING,
    READ_MESSAGES,
    READ_SENT_MESSAGES,
    UPDATE_MESSAGES,
    with_message_ids,
)
from airflow_provider_winsms.messages import RejectReason, message_id_of
from airflow_provider_winsms.sql.values import read_amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.ledger.base import RequestKey
    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.messages import MessageId, Receipt

_ROWS_AT_ONCE = 1000
"""The number of rows that one statement writes."""


class MessageRow(NamedTuple):
    """The outcome in the row of a message. The number and the text never change, so they are not read."""

    position: int
    is_held: bool
    state: MessageState
    reason: RejectReason | None = None
    message_id: MessageId | None = None
    cost: Decimal = Decimal(0)
    refund: Decimal = Decimal(0)

    def after(self, receipt: Receipt) -> MessageRow:
        """Return the row after a receipt. A known outcome stays, with the reports since."""
        if receipt.reason is None:
            if receipt.message_id is None or receipt.message_id == self.message_id:
                return self
            return self.accepted(receipt.message_id, _or_zero(receipt.cost))
        if receipt.reason is RejectReason.CANCELLED and self.message_id is not None:
            return self._cancelled(_or_zero(receipt.cost))
        return self.declined(receipt.reason)

    def accepted(self, message_id: MessageId, cost: Decimal) -> MessageRow:
        """Return the row of a text that the gateway accepted."""
        return MessageRow(self.position, self.is_held, self._accepted_state, None, message_id, cost)

    def declined(self, reason: RejectReason) -> MessageRow:
        """Return the row of a text that the gateway declined."""
        return MessageRow(self.position, self.is_held, MessageState.DECLINED, reason)

    def not_cancelled(self) -> MessageRow:
        """Return the row after a cancellation that did not happen."""
        return self._replace(state=self._accepted_state) if self.state is MessageState.CANCELLING else self

    @property
    def _accepted_state(self) -> MessageState:
        return MessageState.SCHEDULED if self.is_held else MessageState.ACCEPTED

    def _cancelled(self, refund: Decimal) -> MessageRow:
        if self.state is MessageState.CANCELLED:
            return self
        return self._replace(state=MessageState.CANCELLED, reason=RejectReason.CANCELLED, refund=refund)


class SentMessage(NamedTuple):
    """A text in the tables.

    :param number: as stored: its digits, or a hash of them.
    :param key_id: the id of the key of the hashes.
    """

    message_id: MessageId
    number: str
    send_at: DateTime | None
    key_id: str

    def __repr__(self) -> str:
        """Show no number."""
        return f"SentMessage({self.message_id!r}, send_at={self.send_at!r})"


class MessageRows:
    """The rows of messages in the tables. Each method is a part of its caller's transaction.

    A method that writes needs the lock of the batch, which the caller took before.
    """

    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database

    def of_request(self, batch_id: str, key: RequestKey) -> list[MessageRow]:
        """Return the rows of a request, in order."""
        return list(map(_row, self._database.read(READ_MESSAGES, **request_of(batch_id, key))))

    def mark_answered(self, batch_id: str, key: RequestKey, *, ends_cancelling: bool = False) -> None:
        """Write that the outcome of a request was recorded.

        :param ends_cancelling: whether this ends its cancellation.
        """
        statement = MARK_REQUEST_ANSWERED_AND_NOT_CANCELLING if ends_cancelling else MARK_REQUEST_ANSWERED
        self._database.execute(statement, now=self._database.now(), **request_of(batch_id, key))

    def settle(self, batch_id: str, key: RequestKey, receipts: Mapping[int, Receipt]) -> int:
        """Write the first outcome of rows in doubt, without reading them; return their number.

        :param receipts: receipts of texts that were accepted or declined, by position.
        """
        alike = defaultdict(list)
        for position, receipt in receipts.items():
            alike[receipt.reason, _or_zero(receipt.cost)].append((position, receipt.message_id))
        counts, cost, now = Counter[str](), Decimal(0), self._database.now()
        for (reason, price), rows in alike.items():
            for chunk in chunks(rows, _ROWS_AT_ONCE):
                values = {"now": now, **request_of(batch_id, key)}
                if reason is None:
                    settled = self._accept(dict(chunk), price, values)
                    cost += settled * price
                else:
                    settled = self._decline([position for position, _ in chunk], reason, values)
                counts["declined" if reason else "accepted"] += settled
        settled = counts.total()
        counts["unknown"] = -settled
        self.change_counts(batch_id, counts, cost)
        return settled

    def _accept(self, ids: Mapping[int, MessageId | None], price: Decimal, values: Mapping[str, Any]) -> int:
        statement, message_ids = with_message_ids(ACCEPT_MESSAGES, _id_texts(ids))
        cost = self._database.amount(price)
        return self._database.execute(statement, cost=cost, positions=list(ids), **message_ids, **values)

    def _decline(self, positions: Sequence[int], reason: RejectReason, values: Mapping[str, Any]) -> int:
        nothing = self._database.amount(Decimal(0))
        return self._database.execute(
            DECLINE_MESSAGES, reason=reason.value, cost=nothing, positions=positions, **values
        )

    def update(
        self, batch_id: str, key: RequestKey, old: Sequence[MessageRow], new: Sequence[MessageRow]
    ) -> None:
        """Write the changed rows of a request, and update the counts.

        :param old: the present rows.
        :param new: the rows to write, in the same order.
        """
        changes = [(before, after) for before, after in zip(old, new, strict=True) if before != after]
        alike = defaultdict(list)
        for _, row in changes:
            alike[row.state, row.reason, row.cost, row.refund].append(row)
        now = self._database.now()
        for rows in alike.values():
            for chunk in chunks(rows, _ROWS_AT_ONCE):
                self._update_alike(batch_id, key, chunk, now)
        if changes:
            self._count(batch_id, [row for row, _ in changes], [row for _, row in changes])

    def _update_alike(self, batch_id: str, key: RequestKey, rows: Sequence[MessageRow], now: Any) -> None:
        first = rows[0]
        statement, message_ids = with_message_ids(
            UPDATE_MESSAGES, _id_texts({row.position: row.message_id for row in rows})
        )
        self._database.execute(
            statement,
            state=first.state.value,
            reason=None if first.reason is None else first.reason.value,
            cost=self._database.amount(first.cost),
            refund=self._database.amount(first.refund),
            now=now,
            positions=[row.position for row in rows],
            **message_ids,
            **request_of(batch_id, key),
        )

    def _count(self, batch_id: str, old: Iterable[MessageRow], new: Iterable[MessageRow]) -> None:
        """Add the difference between rows to the counts of their batch."""
        counts, cost, refund = Counter[str](), Decimal(0), Decimal(0)
        for rows, sign in ((old, -1), (new, 1)):
            for row in rows:
                counts[row.state.counter] += sign
                cost += sign * row.cost
                refund += sign * row.refund
        self.change_counts(batch_id, counts, cost, refund)

    def change_counts(
        self, batch_id: str, counts: Counter[str], cost: Decimal = Decimal(0), refund: Decimal = Decimal(0)
    ) -> None:
        """Add to the counts of a batch."""
        self._database.execute(
            ADD_TO_COUNTS,
            batch_id=batch_id,
            now=self._database.now(),
            **{name: counts[name] for name in ("accepted", "declined", "unknown", "cancelled")},
            cost=self._database.amount(cost),
            refunded=self._database.amount(refund),
        )

    def sent_as(self, message_ids: Iterable[MessageId], sms_conn_id: str) -> list[SentMessage]:
        """Return the texts of any batch that were sent through a connection and have some ids."""
        return [
            SentMessage(
                message_id_of(message_id), number, None if send_at is None else read_moment(send_at), key_id
            )
            for chunk in chunks(list(map(id_text, message_ids)))
            for message_id, number, send_at, key_id in self._database.read(
                READ_SENT_MESSAGES, message_ids=chunk, sms_conn_id=sms_conn_id
            )
        ]


def _id_texts(ids: Mapping[int, MessageId | None]) -> dict[int, str | None]:
    """Return the id of each position as the tables hold it."""
    return {
        position: None if message_id is None else id_text(message_id) for position, message_id in ids.items()
    }


def _or_zero(amount: Decimal | None) -> Decimal:
    """Return an amount as the tables store it: 0 if it is unknown."""
    return Decimal(0) if amount is None else amount


def _row(values: tuple[Any, ...]) -> MessageRow:
    position, is_held, state, reason, message_id, cost, refund = values
    return MessageRow(
        position,
        bool(is_held),
        MessageState(state),
        None if reason is None else RejectReason(reason),
        None if message_id is None else message_id_of(message_id),
        read_amount(cost),
        read_amount(refund),
    )
