"""Cancellations by a person's task in the ledger's tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.ledger.database import id_text, transaction
from airflow_provider_winsms.ledger.message_rows import MessageRows
from airflow_provider_winsms.ledger.schema import (
    ACCEPTED_STATES,
    CANCELLABLE,
    REPORTED_FROM,
    MessageState,
    state_list,
)
from airflow_provider_winsms.messages import message_id_of
from airflow_provider_winsms.sql.values import read_amount

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.messages import DeliveryState, MessageId

_WAITING = state_list(CANCELLABLE)
_ACCEPTED_STATE = (
    f"CASE WHEN send_at IS NULL THEN '{MessageState.ACCEPTED}' ELSE '{MessageState.SCHEDULED}' END"
)


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
        batch = "SELECT batch_id FROM {batches} WHERE batch_id = {p}"
        if not self._database.read("look for the batch", batch, batch_id):
            msg = f"There is no batch {batch_id!r} in the ledger."
            raise InvalidMessage(msg)
        query = (
            "SELECT message_id FROM {messages} WHERE batch_id = {p} AND state IN ({states}) "
            "ORDER BY round, request, position"
        )
        states = state_list((*ACCEPTED_STATES, *((MessageState.CANCELLED,) if with_cancelled else ())))
        rows = self._database.read("read message ids", query, batch_id, states=states)
        return [message_id_of(row[0]) for row in rows]

    @transaction
    def states(self, message_ids: Collection[MessageId]) -> dict[MessageId, tuple[MessageState, Decimal]]:
        """Return the state and the cost of each text that is in the tables."""
        query = "SELECT message_id, state, cost FROM {messages} WHERE message_id IN ({ids})"
        return {
            message_id_of(message_id): (MessageState(state), read_amount(cost))
            for chunk, ids in self._database.in_chunks(list(map(id_text, message_ids)))
            for message_id, state, cost in self._database.read("read states", query, *chunk, ids=ids)
        }

    @transaction
    def mark_cancelling(self, message_ids: Collection[MessageId]) -> None:
        """Write that texts are about to be cancelled, as far as they still wait at the gateway."""
        # It locks the rows of messages alone, as it changes no count.
        statement = (
            "UPDATE {messages} SET state = 'cancelling', state_at = {p} "
            "WHERE message_id IN ({ids}) AND state IN ({waiting})"
        )
        now = self._database.now()
        for chunk, ids in self._database.in_chunks(list(map(id_text, message_ids))):
            self._database.execute("mark messages", statement, now, *chunk, ids=ids, waiting=_WAITING)

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
        statement = (
            "UPDATE {messages} SET state = {state}, state_at = {p} "
            "WHERE message_id IN ({ids}) AND state = 'cancelling'"
        )
        now = self._database.now()
        for state, ids in of_state.items():
            word = f"'{state}'" if state in REPORTED_FROM else _ACCEPTED_STATE
            for chunk, listed in self._database.in_chunks(ids):
                self._database.execute("mark messages", statement, now, *chunk, ids=listed, state=word)

    @transaction
    def _batches_of(self, ids: Sequence[str]) -> list[str]:
        query = "SELECT DISTINCT batch_id FROM {messages} WHERE message_id IN ({ids})"
        return sorted(
            {
                row[0]
                for chunk, listed in self._database.in_chunks(ids)
                for row in self._database.read("look for batches", query, *chunk, ids=listed)
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
        statement = (
            "UPDATE {messages} SET state = 'cancelled', refund = {p}, state_at = {p} "
            "WHERE batch_id = {p} AND message_id IN ({ids}) AND state IN ({waiting}, 'cancelling')"
        )
        values = self._database.amount(refund), self._database.now(), batch_id
        return sum(
            self._database.execute("mark messages", statement, *values, *chunk, ids=listed, waiting=_WAITING)
            for chunk, listed in self._database.in_chunks(ids)
        )
