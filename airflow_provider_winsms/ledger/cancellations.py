"""Cancellations by a person's task in the ledger's tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.ledger.database import chunks, id_text, transaction
from airflow_provider_winsms.ledger.message_rows import MessageRows
from airflow_provider_winsms.ledger.schema import ACCEPTED_STATES, REPORTED_FROM, MessageState
from airflow_provider_winsms.ledger.statements import (
    CANCEL_MESSAGES,
    MARK_MESSAGES_CANCELLING,
    MARK_MESSAGES_NOT_CANCELLED,
    READ_BATCH,
    READ_BATCH_IDS,
    READ_COST,
    READ_MESSAGE_IDS,
    READ_STATES,
    REPORT_MESSAGES_NOT_CANCELLED,
)
from airflow_provider_winsms.messages import message_id_of
from airflow_provider_winsms.sql.values import read_amount

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.messages import DeliveryState, MessageId


class Cancellations:
    """The cancellations of texts of any batch.

    :raises LedgerUnavailable: from every method, if the database refuses something.
    """

    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database
        self._messages = MessageRows(database)

    @transaction
    def message_ids(self, batch_id: str, *, with_cancelled: bool = False) -> list[MessageId]:
        """Return the ids of all accepted texts of a batch, in order.

        :param with_cancelled: whether cancelled texts are included.
        :raises InvalidMessage: if there is no such batch.
        """
        if not self._database.read(READ_BATCH, batch_id=batch_id):
            msg = f"There is no batch {batch_id!r} in the ledger."
            raise InvalidMessage(msg)
        states = (*ACCEPTED_STATES, *((MessageState.CANCELLED,) if with_cancelled else ()))
        rows = self._database.read(READ_MESSAGE_IDS, batch_id=batch_id, states=list(map(str, states)))
        return [message_id_of(row[0]) for row in rows]

    @transaction
    def net_cost(self, batch_id: str) -> Decimal | None:
        """Return what a batch was charged, less the refunds of its cancelled texts.

        :returns: ``None`` if there is no such batch.
        """
        for cost, refunded in self._database.read(READ_COST, batch_id=batch_id):
            return read_amount(cost) - read_amount(refunded)
        return None

    @transaction
    def states(self, message_ids: Collection[MessageId]) -> dict[MessageId, tuple[MessageState, Decimal]]:
        """Return the state and the cost of each text that is in the tables."""
        return {
            message_id_of(message_id): (MessageState(state), read_amount(cost))
            for chunk in chunks(list(map(id_text, message_ids)))
            for message_id, state, cost in self._database.read(READ_STATES, message_ids=chunk)
        }

    @transaction
    def mark_cancelling(self, message_ids: Collection[MessageId]) -> None:
        """Write that texts are about to be cancelled, as far as they still wait at the gateway."""
        now = self._database.now()
        for chunk in chunks(list(map(id_text, message_ids))):
            self._database.execute(MARK_MESSAGES_CANCELLING, now=now, message_ids=chunk)

    def record_cancelled(self, refunds: Mapping[MessageId, Decimal]) -> None:
        """Write that texts were cancelled, with the refund of each."""
        of_id = {id_text(message_id): refund for message_id, refund in refunds.items()}
        self._record_cancelled(of_id, self._batches_of(list(of_id)))

    @transaction
    def record_not_cancelled(self, states: Mapping[MessageId, DeliveryState]) -> None:
        """Write the states of texts whose cancellation did not happen."""
        of_state = defaultdict(list)
        for message_id, state in states.items():
            of_state[state].append(id_text(message_id))
        now = self._database.now()
        for state, ids in of_state.items():
            for chunk in chunks(ids):
                values = {"now": now, "message_ids": chunk}
                if state in REPORTED_FROM:
                    self._database.execute(REPORT_MESSAGES_NOT_CANCELLED, state=state.value, **values)
                else:
                    self._database.execute(MARK_MESSAGES_NOT_CANCELLED, **values)

    @transaction
    def _batches_of(self, ids: Sequence[str]) -> list[str]:
        return sorted(
            {
                row[0]
                for chunk in chunks(ids)
                for row in self._database.read(READ_BATCH_IDS, message_ids=chunk)
            }
        )

    @transaction
    def _record_cancelled(self, refunds: Mapping[str, Decimal], batches: Sequence[str]) -> None:
        of_refund = defaultdict(list)
        for message_id, refund in refunds.items():
            of_refund[refund].append(message_id)
        for batch_id in batches:
            self._database.lock(batch_id)
            counts = [(refund, self._cancel(batch_id, refund, ids)) for refund, ids in of_refund.items()]
            count, refunded = sum(n for _, n in counts), sum((r * n for r, n in counts), start=Decimal(0))
            moved = Counter({"accepted": -count, "cancelled": count})
            self._messages.change_counts(batch_id, moved, refund=refunded)

    def _cancel(self, batch_id: str, refund: Decimal, ids: Sequence[str]) -> int:
        """Mark texts of a batch as cancelled, and return the number of texts that changed."""
        given, now = self._database.amount(refund), self._database.now()
        return sum(
            self._database.execute(
                CANCEL_MESSAGES, refund=given, now=now, batch_id=batch_id, message_ids=chunk
            )
            for chunk in chunks(ids)
        )
