"""What is done to the ledger's tables beside sending: reports, cancellations, and what a person decides."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.database import read_amount
from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.ledger.base import Place
from airflow_provider_winsms.ledger.schema import (
    ACCEPTED_STATES,
    CANCELLABLE,
    REPORTED_FROM,
    MessageState,
    quoted,
)
from airflow_provider_winsms.ledger.tables import OnTables, listed, parts, read_moment, whole_id
from airflow_provider_winsms.messages import RejectReason, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from pendulum import DateTime

    from airflow_provider_winsms.ledger.tables import Row
    from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, MessageId

_REPORTS_AT_ONCE = 10_000
"""How many reports are written by one transaction."""

_TIMES_AT_ONCE = 250
"""How many times of delivery a statement chooses from, which it tries one after the other."""

_ACCEPTED = quoted(ACCEPTED_STATES)
_WAITING = quoted(CANCELLABLE)
_AS_TAKEN = f"CASE WHEN send_at IS NULL THEN '{MessageState.ACCEPTED}' ELSE '{MessageState.SCHEDULED}' END"


@dataclass(frozen=True, slots=True)
class Parked:
    """A request with recipients of whom nobody knows whether the gateway took their texts.

    :param recipients: how many of them.
    """

    batch_id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    place: Place
    recipients: int
    intended_at: DateTime
    send_at: DateTime | None


class SmsHistory(OnTables):
    """The ledger's tables, for all but sending. It holds a connection until it is closed.

    :param hook: the database's: PostgreSQL, MySQL, MariaDB or SQLite.
    :param prefix: what the tables' names begin with.
    :raises LedgerUnavailable: from every method, if the database refuses something.
    """

    def __init__(self, hook: DbApiHook, prefix: str = "sms_") -> None:
        super().__init__(hook, prefix)

    def message_ids(self, batch_id: str, *, with_cancelled: bool = False) -> list[MessageId]:
        """Return the ids of all texts of a batch that the gateway took, in order.

        :param with_cancelled: whether those that were cancelled are among them.
        :raises InvalidMessage: if there is no such batch.
        """
        return self._tables.transact(lambda: self._message_ids(batch_id, with_cancelled=with_cancelled))

    def states(self, message_ids: Iterable[MessageId]) -> dict[MessageId, tuple[MessageState, Decimal]]:
        """Return the state and the cost of each text that the tables know."""
        ids = list(map(whole_id, message_ids))
        return self._tables.transact(lambda: self._states(ids))

    def cancelling(self, message_ids: Iterable[MessageId]) -> None:
        """Write that texts, as far as they wait at the gateway, are about to be cancelled."""
        ids = list(map(whole_id, message_ids))
        self._tables.transact(lambda: self._cancelling(ids))

    def cancelled(self, refunds: Mapping[MessageId, Decimal]) -> None:
        """Write which texts were cancelled, and what the gateway gave back for each."""
        whole = {whole_id(message_id): refund for message_id, refund in refunds.items()}
        batches = self._tables.transact(lambda: self._batches_of(list(whole)))
        self._tables.transact(lambda: self._cancelled(whole, batches))

    def not_cancelled(self, states: Mapping[MessageId, DeliveryState]) -> None:
        """Write back what became of texts that were to be cancelled and were not."""
        of_state = defaultdict(list)
        for message_id, state in states.items():
            of_state[state].append(whole_id(message_id))
        self._tables.transact(lambda: self._not_cancelled(of_state))

    def delivered(self, reports: Iterable[DeliveryReport]) -> None:
        """Write how far texts have come. A final state stays, and none goes back to an earlier one."""
        waiting: list[DeliveryReport] = []
        for report in reports:
            if report.state in REPORTED_FROM:
                waiting.append(report)
            if len(waiting) == _REPORTS_AT_ONCE:
                self._report(waiting)
                waiting = []
        self._report(waiting)

    def unresolved(self) -> list[Parked]:
        """Return the requests with recipients in doubt, of batches that are in force, oldest first."""
        return self._tables.transact(self._unresolved)

    def resolve(self, batch_id: str, place: Place, accepted: Sequence[MessageId] | None) -> None:
        """Write what a person found out about the recipients in doubt of a request.

        :param accepted: their ids, in their order; ``None`` if the gateway did not take them, so that a later
            try sends to them.
        :raises InvalidMessage: if there is no such request, if there are more or fewer ids than recipients in
            doubt, or if an id belongs to another recipient.
        """
        ids = None if accepted is None else list(map(whole_id, accepted))
        self._tables.transact(lambda: self._resolve(batch_id, Place(*place), ids))

    def _message_ids(self, batch_id: str, *, with_cancelled: bool) -> list[MessageId]:
        batch = "SELECT batch_id FROM {batches} WHERE batch_id = {p}"
        if not self._tables.read("look for the batch", batch, batch_id):
            msg = f"There is no batch {batch_id!r} in the ledger."
            raise InvalidMessage(msg)
        query = (
            "SELECT message_id FROM {messages} WHERE batch_id = {p} AND state IN ({states}) "
            "ORDER BY round, request, position"
        )
        states = quoted((*ACCEPTED_STATES, MessageState.CANCELLED)) if with_cancelled else _ACCEPTED
        return [row[0] for row in self._tables.read("read message ids", query, batch_id, states=states)]

    def _states(self, ids: Sequence[int]) -> dict[MessageId, tuple[MessageState, Decimal]]:
        query = "SELECT message_id, state, cost FROM {messages} WHERE message_id IN ({ids})"
        return {
            message_id: (MessageState(state), read_amount(cost))
            for part in parts(ids)
            for message_id, state, cost in self._tables.read("read states", query, ids=listed(part))
        }

    def _cancelling(self, ids: Sequence[int]) -> None:
        statement = (
            "UPDATE {messages} SET state = 'cancelling', state_at = {p} "
            "WHERE message_id IN ({ids}) AND state IN ({waiting})"
        )
        now = self._tables.now()
        for part in parts(ids):
            self._tables.execute("mark messages", statement, now, ids=listed(part), waiting=_WAITING)

    def _batches_of(self, ids: Sequence[int]) -> list[str]:
        query = "SELECT DISTINCT batch_id FROM {messages} WHERE message_id IN ({ids})"
        return sorted(
            {
                row[0]
                for part in parts(ids)
                for row in self._tables.read("look for batches", query, ids=listed(part))
            }
        )

    def _cancelled(self, refunds: Mapping[int, Decimal], batches: Sequence[str]) -> None:
        of_refund = defaultdict(list)
        for message_id, refund in refunds.items():
            of_refund[refund].append(message_id)
        for batch_id in batches:
            self._tables.lock(batch_id)
            counts = [(refund, self._cancel(batch_id, refund, ids)) for refund, ids in of_refund.items()]
            count, refunded = sum(n for _, n in counts), sum((r * n for r, n in counts), start=Decimal(0))
            moved = Counter({"accepted": -count, "cancelled": count})
            self._tables.change_counts(batch_id, moved, Decimal(0), refunded)

    def _cancel(self, batch_id: str, refund: Decimal, ids: Sequence[int]) -> int:
        """Mark those texts of a batch as cancelled, and return how many were not before."""
        statement = (
            "UPDATE {messages} SET state = 'cancelled', refund = {p}, state_at = {p} "
            "WHERE batch_id = {p} AND message_id IN ({ids}) AND state IN ({waiting}, 'cancelling')"
        )
        values = self._tables.amount(refund), self._tables.now(), batch_id
        return sum(
            self._tables.execute("mark messages", statement, *values, ids=listed(part), waiting=_WAITING)
            for part in parts(ids)
        )

    def _not_cancelled(self, of_state: Mapping[DeliveryState, Sequence[int]]) -> None:
        statement = (
            "UPDATE {messages} SET state = {state}, state_at = {p} "
            "WHERE message_id IN ({ids}) AND state = 'cancelling'"
        )
        now = self._tables.now()
        for state, ids in of_state.items():
            word = f"'{state}'" if state in REPORTED_FROM else _AS_TAKEN
            for part in parts(ids):
                self._tables.execute("mark messages", statement, now, ids=listed(part), state=word)

    def _report(self, reports: Sequence[DeliveryReport]) -> None:
        of_state: defaultdict[DeliveryState, dict[int, DeliveryReport]] = defaultdict(dict)
        for report in reports:
            of_state[report.state][whole_id(report.message_id)] = report
        self._tables.transact(lambda: self._write_reports(of_state))

    def _write_reports(self, of_state: Mapping[DeliveryState, Mapping[int, DeliveryReport]]) -> None:
        now = self._tables.now()
        for state, of_id in sorted(of_state.items()):
            times = {
                message_id: now if report.time is None else self._tables.instant(report.time)
                for message_id, report in of_id.items()
            }
            self._write_states(state, times)

    def _write_states(self, state: DeliveryState, times: Mapping[int, Any]) -> None:
        before = quoted(REPORTED_FROM[state])
        statement = (
            "UPDATE {messages} SET state = {p}, state_at = CASE message_id {cases} END "
            "WHERE message_id IN ({ids}) AND state IN ({before})"
        )
        for part in parts(sorted(times), _TIMES_AT_ONCE):
            cases = " ".join([f"WHEN {message_id} THEN {self._tables.placeholder}" for message_id in part])
            self._tables.execute(
                "write delivery states",
                statement,
                state.value,
                *map(times.__getitem__, part),
                ids=listed(part),
                before=before,
                cases=cases,
            )

    def _unresolved(self) -> list[Parked]:
        query = (
            "SELECT b.batch_id, b.dag_id, b.run_id, b.task_id, b.map_index, r.round, r.request, "
            "COUNT(*) AS recipients, r.intended_at, r.send_at "
            "FROM {messages} m "
            "INNER JOIN {requests} r "
            "ON r.batch_id = m.batch_id AND r.round = m.round AND r.request = m.request "
            "INNER JOIN {batches} b ON b.batch_id = m.batch_id "
            "WHERE m.state = 'unknown' AND b.unknown > 0 AND b.superseded_at IS NULL "
            "GROUP BY b.batch_id, b.dag_id, b.run_id, b.task_id, b.map_index, r.round, r.request, "
            "r.intended_at, r.send_at ORDER BY r.intended_at, b.batch_id, r.round, r.request"
        )
        return list(map(_parked, self._tables.read("read what is in doubt", query)))

    def _resolve(self, batch_id: str, place: Place, accepted: Sequence[int] | None) -> None:
        self._tables.lock(batch_id)
        rows = self._tables.rows_of(batch_id, place)
        in_doubt = [row for row in rows if row.state is MessageState.UNKNOWN]
        if not in_doubt:
            msg = f"Request {place.number} of round {place.round} of the batch {batch_id!r} is not in doubt."
            raise InvalidMessage(msg)
        if accepted is not None:
            self._check_ids(accepted, len(in_doubt))
        ids = iter(accepted or ())
        resolved = [
            _resolved(row, next(ids, None)) if row.state is MessageState.UNKNOWN else row for row in rows
        ]
        self._tables.update(batch_id, place, rows, resolved)
        self._tables.mark_answered(batch_id, place)

    def _check_ids(self, accepted: Sequence[int], in_doubt: int) -> None:
        if len(accepted) != in_doubt:
            msg = f"{counted(in_doubt, 'recipient')} in doubt, and {counted(len(accepted), 'id')} given."
            raise InvalidMessage(msg)
        taken = len(accepted) - len(set(accepted)) + len(self._tables.claimed(accepted))
        if taken:
            msg = f"{taken} of the {counted(len(accepted), 'id')} belong to another recipient."
            raise InvalidMessage(msg)


def _resolved(row: Row, message_id: int | None) -> Row:
    if message_id is None:
        return row.declined(RejectReason.NOT_RECEIVED)
    return row.accepted(message_id, Decimal(0))


def _parked(row: tuple[Any, ...]) -> Parked:
    batch_id, dag_id, run_id, task_id, map_index, round_, request, recipients, intended_at, send_at = row
    return Parked(
        batch_id,
        dag_id,
        run_id,
        task_id,
        map_index,
        Place(round_, request),
        recipients,
        read_moment(intended_at),
        None if send_at is None else read_moment(send_at),
    )
