"""Delivery reports, cancellations and a person's decisions in the ledger's tables, and reads for loads.

A load into another database keeps an exact copy without reading all rows; ``SmsHistory.deliveries_since``
says why.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.schema import (
    ACCEPTED_STATES,
    CANCELLABLE,
    OPEN_STATES,
    REPORTED_FROM,
    MessageState,
    state_list,
)
from airflow_provider_winsms.ledger.tables import TableAccess, chunks, int_list, read_moment, whole_id
from airflow_provider_winsms.messages import DeliveryState, RejectReason, pluralize
from airflow_provider_winsms.sql.values import read_amount, read_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from pendulum import DateTime

    from airflow_provider_winsms.ledger.tables import MessageRow
    from airflow_provider_winsms.messages import DeliveryReport, MessageId

NOT_FOUND_MAY_PASS = timedelta(days=2)
"""How long an id is asked for that the gateway does not know. The time counts from when its text was due, as
the id may be too new, and from when the gateway first did not know it, as it may know it again. If one
nightly refresh comes too early for a text, the next one still asks for it."""

_REPORTS_AT_ONCE = 10_000
"""The number of reports in one transaction."""

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

_TIMES_AT_ONCE = 250
"""The number of delivery times in one statement, which tries them one after the other."""

_ACCEPTED = state_list(ACCEPTED_STATES)
_OPEN = state_list(OPEN_STATES)
_WAITING = state_list(CANCELLABLE)
_ACCEPTED_STATE = (
    f"CASE WHEN send_at IS NULL THEN '{MessageState.ACCEPTED}' ELSE '{MessageState.SCHEDULED}' END"
)


@dataclass(frozen=True, slots=True)
class UnresolvedRequest:
    """A request with recipients whose outcome is unknown.

    :param recipients: the number of these recipients.
    """

    batch_id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: RequestKey
    recipients: int
    claimed_at: DateTime
    send_at: DateTime | None


class OpenMessage(NamedTuple):
    """A text whose state may have changed.

    :param may_be_forgotten: whether it is so old that the gateway may have forgotten it.
    """

    message_id: int
    may_be_forgotten: bool


class Delivery(NamedTuple):
    """One text to one recipient in one request, for a load. The first four fields are its key.

    :param round: counts from 1, like ``request``; ``position`` from 0.
    :param message_id: the gateway's; ``None`` if it is not known that the gateway accepted the text.
    :param number: international digits, or the 64 hexadecimal digits of their keyed hash.
    :param number_key_id: the id of the key of that hash; ``None`` for digits.
    :param state: a value of ``MessageState``.
    :param reason: why it was declined, a value of ``RejectReason``.
    :param cost: in credits, like ``refund``.
    :param submitted_at: in UTC, like the other instants.
    :param reference: the sender's own name for the text.
    """

    batch_id: str
    round: int
    request: int
    position: int
    message_id: int | None
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    sms_conn_id: str
    number: str
    number_key_id: str | None
    state: str
    reason: str | None
    cost: Decimal
    refund: Decimal
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


@dataclass(frozen=True, slots=True)
class HistorySizes:
    """The most that one statement reads.

    :param window: messages among which it looks for open ones.
    :param requests: requests that it lists, to read their messages.
    :param page_rows: messages that it reads for a load.
    :param page_parts: requests, or ids, that it reads these messages of.
    """

    window: int = 10_000
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


class SmsHistory(TableAccess):
    """The ledger's tables for everything except sending. It holds a connection until it is closed.

    Only the thread that creates it may use it, because of SQLite's connections.

    :param hook: the database's: PostgreSQL, MySQL, MariaDB or SQLite.
    :param prefix: the beginning of the tables' names.
    :param sizes: the most that one statement reads.
    :raises LedgerUnavailable: from every method, if the database refuses something.
    """

    def __init__(self, hook: DbApiHook, prefix: str = "sms_", sizes: HistorySizes | None = None) -> None:
        super().__init__(hook, prefix)
        self._at_once = sizes or HistorySizes()

    def message_ids(self, batch_id: str, *, with_cancelled: bool = False) -> list[MessageId]:
        """Return the ids of all accepted texts of a batch, in order.

        :param with_cancelled: whether cancelled texts are included.
        :raises InvalidMessage: if there is no such batch.
        """
        return self._tables.transact(lambda: self._message_ids(batch_id, with_cancelled=with_cancelled))

    def states(self, message_ids: Iterable[MessageId]) -> dict[MessageId, tuple[MessageState, Decimal]]:
        """Return the state and the cost of each text that is in the tables."""
        ids = list(map(whole_id, message_ids))
        return self._tables.transact(lambda: self._states(ids))

    def mark_cancelling(self, message_ids: Iterable[MessageId]) -> None:
        """Write that texts are about to be cancelled, as far as they still wait at the gateway."""
        ids = list(map(whole_id, message_ids))
        self._tables.transact(lambda: self._mark_cancelling(ids))

    def record_cancelled(self, refunds: Mapping[MessageId, Decimal]) -> None:
        """Write that texts were cancelled, with the refund of each."""
        whole = {whole_id(message_id): refund for message_id, refund in refunds.items()}
        batches = self._tables.transact(lambda: self._batches_of(list(whole)))
        self._tables.transact(lambda: self._record_cancelled(whole, batches))

    def record_not_cancelled(self, states: Mapping[MessageId, DeliveryState]) -> None:
        """Write the states of texts whose cancellation did not happen."""
        of_state = defaultdict(list)
        for message_id, state in states.items():
            of_state[state].append(whole_id(message_id))
        self._tables.transact(lambda: self._record_not_cancelled(of_state))

    def open_messages(
        self, sms_conn_id: str, *, since: datetime, now: datetime, after: int | None = None
    ) -> Iterator[OpenMessage]:
        """Yield the texts of a connection whose state may change, ordered by their ids.

        A text is due when it was submitted, or at its ``send_at``. Texts that are not due yet are left out.
        So are texts that were not found for ``NOT_FOUND_MAY_PASS`` after they were due. The texts are read in
        windows, when they are asked for. Other methods may be called between two texts.

        :param since: the earliest due time.
        :param after: only larger ids; ``None``: all.
        """
        long_ago = now - NOT_FOUND_MAY_PASS
        instants = since, since, now, long_ago, long_ago
        values = *map(self._tables.instant, instants), sms_conn_id
        while (last := self._tables.transact(partial(self._end_of_window, after))) is not None:
            yield from self._tables.transact(partial(self._open_in_window, after, last, values))
            after = last

    def record_reports(self, reports: Iterable[DeliveryReport]) -> int:
        """Write delivery reports, and return the number of texts that they changed.

        A final state stays, and no text goes back to an earlier state.
        """
        waiting: list[DeliveryReport] = []
        changed = 0
        for report in reports:
            if report.state in REPORTED_FROM:
                waiting.append(report)
            if len(waiting) == _REPORTS_AT_ONCE:
                changed += self._report(waiting)
                waiting = []
        return changed + self._report(waiting)

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
        while requests := self._tables.transact(partial(self._requests, sms_conn_id, since, until, after)):
            yield from self._deliveries_in(sms_conn_id, requests)
            after = requests[-1][0]

    def deliveries_of(self, sms_conn_id: str, message_ids: Iterable[MessageId]) -> Iterator[list[Delivery]]:
        """Yield the texts of a connection that have some ids, in pages.

        Ids that are not in the tables are left out.
        """
        ids = map(whole_id, message_ids)
        while part := list(islice(ids, self._at_once.page_parts)):
            wanted = f"m.message_id IN ({int_list(part)})"
            if page := self._tables.transact(partial(self._deliveries, sms_conn_id, wanted)):
                yield page

    def deliveries_in(
        self, sms_conn_id: str, requests: Iterable[tuple[str, int, int]]
    ) -> Iterator[list[Delivery]]:
        """Yield all texts of requests, given by batch, round and index, in pages.

        Requests that are not in the tables are left out.
        """
        keys = (BatchRequestKey(*key) for key in requests)
        while part := list(islice(keys, self._at_once.page_parts)):
            sizes = self._tables.transact(partial(self._sizes, part))
            yield from self._deliveries_in(sms_conn_id, sizes)

    def unresolved(self) -> list[UnresolvedRequest]:
        """Return the requests with recipients in doubt, of batches that are in force, oldest first."""
        return self._tables.transact(self._unresolved)

    def resolve(self, batch_id: str, key: RequestKey, accepted: Sequence[MessageId] | None) -> None:
        """Write a person's decision about the recipients in doubt of a request.

        :param accepted: their message ids, in their order; ``None`` if the gateway did not accept the texts:
            then a later try sends them.
        :raises InvalidMessage: if there is no such request, if there are more or fewer ids than recipients in
            doubt, or if an id belongs to another recipient.
        """
        ids = None if accepted is None else list(map(whole_id, accepted))
        self._tables.transact(lambda: self._resolve(batch_id, RequestKey(*key), ids))

    def _message_ids(self, batch_id: str, *, with_cancelled: bool) -> list[MessageId]:
        batch = "SELECT batch_id FROM {batches} WHERE batch_id = {p}"
        if not self._tables.read("look for the batch", batch, batch_id):
            msg = f"There is no batch {batch_id!r} in the ledger."
            raise InvalidMessage(msg)
        query = (
            "SELECT message_id FROM {messages} WHERE batch_id = {p} AND state IN ({states}) "
            "ORDER BY round, request, position"
        )
        states = state_list((*ACCEPTED_STATES, MessageState.CANCELLED)) if with_cancelled else _ACCEPTED
        return [row[0] for row in self._tables.read("read message ids", query, batch_id, states=states)]

    def _states(self, ids: Sequence[int]) -> dict[MessageId, tuple[MessageState, Decimal]]:
        query = "SELECT message_id, state, cost FROM {messages} WHERE message_id IN ({ids})"
        return {
            message_id: (MessageState(state), read_amount(cost))
            for chunk in chunks(ids)
            for message_id, state, cost in self._tables.read("read states", query, ids=int_list(chunk))
        }

    def _end_of_window(self, after: int | None) -> int | None:
        # The window is of all messages, not only of open ones. Otherwise, if few are open, a planner could
        # read the whole table for each window.
        query = (
            "SELECT MAX(w.message_id) AS last_id FROM (SELECT message_id FROM {messages} "
            "WHERE message_id {behind} ORDER BY message_id LIMIT {limit}) w"
        )
        words = {"behind": _behind(after), "limit": str(self._at_once.window)}
        ((last,),) = self._tables.read("look for open messages", query, **words)
        return None if last is None else int(last)

    def _open_in_window(self, after: int | None, last: int, values: Sequence[Any]) -> list[OpenMessage]:
        # No planner makes a join of a subquery for one value. A join could begin with all messages of a
        # connection.
        query = (
            "SELECT m.message_id, CASE WHEN m.submitted_at < {p} THEN 1 ELSE 0 END AS may_be_forgotten "
            "FROM {messages} m WHERE m.message_id {behind} AND m.message_id <= {last} "
            "AND m.state IN ({open}) AND COALESCE(m.send_at, m.submitted_at) >= {p} "
            "AND COALESCE(m.send_at, m.submitted_at) <= {p} "
            "AND (m.state <> 'not_found' OR COALESCE(m.send_at, m.submitted_at) >= {p} OR m.state_at >= {p}) "
            "AND (SELECT b.sms_conn_id FROM {batches} b WHERE b.batch_id = m.batch_id) = {p} "
            "ORDER BY m.message_id"
        )
        words = {"behind": _behind(after), "last": str(last), "open": _OPEN}
        rows = self._tables.read("read open messages", query, *values, **words)
        return [OpenMessage(message_id, bool(is_old)) for message_id, is_old in rows]

    def _mark_cancelling(self, ids: Sequence[int]) -> None:
        statement = (
            "UPDATE {messages} SET state = 'cancelling', state_at = {p} "
            "WHERE message_id IN ({ids}) AND state IN ({waiting})"
        )
        now = self._tables.now()
        for chunk in chunks(ids):
            self._tables.execute("mark messages", statement, now, ids=int_list(chunk), waiting=_WAITING)

    def _batches_of(self, ids: Sequence[int]) -> list[str]:
        query = "SELECT DISTINCT batch_id FROM {messages} WHERE message_id IN ({ids})"
        return sorted(
            {
                row[0]
                for chunk in chunks(ids)
                for row in self._tables.read("look for batches", query, ids=int_list(chunk))
            }
        )

    def _record_cancelled(self, refunds: Mapping[int, Decimal], batches: Sequence[str]) -> None:
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
        """Mark texts of a batch as cancelled, and return the number of texts that changed."""
        statement = (
            "UPDATE {messages} SET state = 'cancelled', refund = {p}, state_at = {p} "
            "WHERE batch_id = {p} AND message_id IN ({ids}) AND state IN ({waiting}, 'cancelling')"
        )
        values = self._tables.amount(refund), self._tables.now(), batch_id
        return sum(
            self._tables.execute("mark messages", statement, *values, ids=int_list(chunk), waiting=_WAITING)
            for chunk in chunks(ids)
        )

    def _record_not_cancelled(self, of_state: Mapping[DeliveryState, Sequence[int]]) -> None:
        statement = (
            "UPDATE {messages} SET state = {state}, state_at = {p} "
            "WHERE message_id IN ({ids}) AND state = 'cancelling'"
        )
        now = self._tables.now()
        for state, ids in of_state.items():
            word = f"'{state}'" if state in REPORTED_FROM else _ACCEPTED_STATE
            for chunk in chunks(ids):
                self._tables.execute("mark messages", statement, now, ids=int_list(chunk), state=word)

    def _report(self, reports: Sequence[DeliveryReport]) -> int:
        of_state: defaultdict[DeliveryState, dict[int, DeliveryReport]] = defaultdict(dict)
        for report in reports:
            of_state[report.state][whole_id(report.message_id)] = report
        return self._tables.transact(lambda: self._write_reports(of_state))

    def _write_reports(self, of_state: Mapping[DeliveryState, Mapping[int, DeliveryReport]]) -> int:
        now, changed = self._tables.now(), 0
        for state, of_id in sorted(of_state.items()):
            # Only this process knows when the gateway first did not find a text. The time in its row tells
            # something else.
            is_ours = state is DeliveryState.NOT_FOUND
            times = {
                message_id: now if is_ours or report.time is None else self._tables.instant(report.time)
                for message_id, report in of_id.items()
            }
            changed += self._write_states(state, times)
        return changed

    def _write_states(self, state: DeliveryState, times: Mapping[int, Any]) -> int:
        before, changed = state_list(REPORTED_FROM[state]), 0
        statement = (
            "UPDATE {messages} SET state = {p}, state_at = CASE message_id {cases} END "
            "WHERE message_id IN ({ids}) AND state IN ({before})"
        )
        for chunk in chunks(sorted(times), _TIMES_AT_ONCE):
            cases = " ".join([f"WHEN {message_id} THEN {self._tables.placeholder}" for message_id in chunk])
            changed += self._tables.execute(
                "write delivery states",
                statement,
                state.value,
                *map(times.__getitem__, chunk),
                ids=int_list(chunk),
                before=before,
                cases=cases,
            )
        return changed

    def _requests(
        self, sms_conn_id: str, since: datetime | None, until: datetime | None, after: BatchRequestKey
    ) -> list[tuple[BatchRequestKey, int]]:
        """Return the next requests after one, with the number of messages of the connection in each."""
        # With the first condition every planner uses the primary key. The connection is compared outside of
        # the subquery: a planner that expects few rows of it would sort the whole table for each page.
        query = (
            "SELECT w.batch_id, w.round, w.request, w.recipients, b.sms_conn_id FROM ("
            "SELECT r.batch_id, r.round, r.request, r.recipients FROM {requests} r WHERE r.batch_id >= {p} "
            "AND (r.batch_id > {p} OR r.round > {p} OR (r.round = {p} AND r.request > {p})){between} "
            "ORDER BY r.batch_id, r.round, r.request LIMIT {limit}"
            ") w LEFT JOIN {batches} b ON b.batch_id = w.batch_id ORDER BY w.batch_id, w.round, w.request"
        )
        key = after.batch_id, after.batch_id, after.round, after.round, after.request
        between, instants = self._between(since, until)
        words = {"between": between, "limit": str(self._at_once.requests)}
        rows = self._tables.read("look for requests to load", query, *key, *instants, **words)
        return [(BatchRequestKey(*row[:3]), row[3] if row[4] == sms_conn_id else 0) for row in rows]

    def _between(self, since: datetime | None, until: datetime | None) -> tuple[str, list[Any]]:
        """Return a condition on the time of submission or answer, with its parameters."""
        p, condition, instants = self._tables.placeholder, "", []
        if since is not None:
            condition = f" AND (r.claimed_at >= {p} OR r.answered_at >= {p} OR r.answered_at IS NULL)"
            instants = [since, since]
        if until is not None:
            condition += f" AND r.claimed_at <= {p}"
            instants.append(until)
        return condition, list(map(self._tables.instant, instants))

    def _sizes(self, requests: Iterable[BatchRequestKey]) -> list[tuple[BatchRequestKey, int]]:
        query = "SELECT r.batch_id, r.round, r.request, r.recipients FROM {requests} r WHERE {wanted}"
        wanted, values = self._wanted("r", requests)
        rows = self._tables.read("look for requests to load", query, *values, wanted=wanted)
        return sorted((BatchRequestKey(*row[:3]), row[3]) for row in rows)

    def _deliveries_in(
        self, sms_conn_id: str, requests: Iterable[tuple[BatchRequestKey, int]]
    ) -> Iterator[list[Delivery]]:
        for part in self._at_once.pages(requests):
            wanted, values = self._wanted("m", part)
            if page := self._tables.transact(partial(self._deliveries, sms_conn_id, wanted, values)):
                yield page

    def _wanted(self, table: str, requests: Iterable[BatchRequestKey]) -> tuple[str, list[str]]:
        """Return a condition on requests, with its parameters. Most are the first of their batches."""
        batches = defaultdict(list)
        for batch_id, round_, request in requests:
            batches[round_, request].append(batch_id)
        alternatives = [
            f"({table}.round = {int(round_)} AND {table}.request = {int(request)} "
            f"AND {table}.batch_id IN ({', '.join([self._tables.placeholder] * len(ids))}))"
            for (round_, request), ids in batches.items()
        ]
        return " OR ".join(alternatives), [batch_id for ids in batches.values() for batch_id in ids]

    def _deliveries(self, sms_conn_id: str, wanted: str, values: Sequence[str] = ()) -> list[Delivery]:
        # A planner could begin a join with the batches, so they are read by their own statement.
        query = (
            "SELECT m.batch_id, m.round, m.request, m.position, m.message_id, m.number, m.state, m.reason, "
            "m.cost, m.refund, m.submitted_at, m.send_at, m.state_at, m.reference "
            "FROM {messages} m WHERE {wanted} ORDER BY m.batch_id, m.round, m.request, m.position"
        )
        rows = self._tables.read("read messages to load", query, *values, wanted=wanted)
        senders = self._senders(sms_conn_id, sorted({row[0] for row in rows}))
        return [_delivery(row, sms_conn_id, senders[row[0]]) for row in rows if row[0] in senders]

    def _senders(self, sms_conn_id: str, batch_ids: Sequence[str]) -> dict[str, _BatchSender]:
        query = (
            "SELECT batch_id, dag_id, run_id, task_id, map_index, key_id FROM {batches} "
            "WHERE batch_id IN ({ids}) AND sms_conn_id = {p}"
        )
        return {
            row[0]: _BatchSender(*row[1:])
            for chunk, ids in self._tables.in_chunks(batch_ids)
            for row in self._tables.read("read the batches to load", query, *chunk, sms_conn_id, ids=ids)
        }

    def _unresolved(self) -> list[UnresolvedRequest]:
        query = (
            "SELECT b.batch_id, b.dag_id, b.run_id, b.task_id, b.map_index, r.round, r.request, "
            "COUNT(*) AS recipients, r.claimed_at, r.send_at "
            "FROM {messages} m "
            "INNER JOIN {requests} r "
            "ON r.batch_id = m.batch_id AND r.round = m.round AND r.request = m.request "
            "INNER JOIN {batches} b ON b.batch_id = m.batch_id "
            "WHERE m.state = 'unknown' AND b.unknown > 0 AND b.superseded_at IS NULL "
            "GROUP BY b.batch_id, b.dag_id, b.run_id, b.task_id, b.map_index, r.round, r.request, "
            "r.claimed_at, r.send_at ORDER BY r.claimed_at, b.batch_id, r.round, r.request"
        )
        return list(map(_unresolved_request, self._tables.read("read the requests in doubt", query)))

    def _resolve(self, batch_id: str, key: RequestKey, accepted: Sequence[int] | None) -> None:
        self._tables.lock(batch_id)
        rows = self._tables.rows_of(batch_id, key)
        in_doubt = [row for row in rows if row.state is MessageState.UNKNOWN]
        if not in_doubt:
            msg = f"Request {key.request} of round {key.round} of the batch {batch_id!r} is not in doubt."
            raise InvalidMessage(msg)
        if accepted is not None:
            self._check_ids(batch_id, accepted, len(in_doubt))
        ids = iter(accepted or ())
        resolved = [
            _resolved(row, next(ids, None)) if row.state is MessageState.UNKNOWN else row for row in rows
        ]
        self._tables.update(batch_id, key, rows, resolved)
        self._tables.mark_answered(batch_id, key)

    def _check_ids(self, batch_id: str, accepted: Sequence[int], in_doubt: int) -> None:
        if len(accepted) != in_doubt:
            msg = f"{pluralize(in_doubt, 'recipient')} in doubt, and {pluralize(len(accepted), 'id')} given."
            raise InvalidMessage(msg)
        query = "SELECT sms_conn_id FROM {batches} WHERE batch_id = {p}"
        ((sms_conn_id,),) = self._tables.read("read the batch", query, batch_id)
        others = {text.message_id for text in self._tables.sent_as(accepted, sms_conn_id)}
        taken = len(accepted) - len(set(accepted)) + len(others)
        if taken:
            msg = f"{taken} of the {pluralize(len(accepted), 'id')} belong to another recipient."
            raise InvalidMessage(msg)


# The texts of a request have much in common.
_read_amount = lru_cache(maxsize=1024)(read_amount)
_read_instant = lru_cache(maxsize=1024)(read_instant)


def _delivery(row: tuple[Any, ...], sms_conn_id: str, sender: _BatchSender) -> Delivery:
    batch_id, round_, request, position, message_id, number, state, reason, cost, refund, *rest = row
    submitted_at, send_at, state_at, reference = rest
    return Delivery(
        batch_id,
        round_,
        request,
        position,
        message_id,
        sender.dag_id,
        sender.run_id,
        sender.task_id,
        sender.map_index,
        sms_conn_id,
        number,
        sender.key_id if len(number) == _HASH_DIGITS else None,
        state,
        reason,
        _read_amount(cost),
        _read_amount(refund),
        _read_instant(submitted_at),
        None if send_at is None else _read_instant(send_at),
        _read_instant(state_at),
        reference,
    )


def _behind(after: int | None) -> str:
    return "IS NOT NULL" if after is None else f"> {int(after)}"


def _resolved(row: MessageRow, message_id: int | None) -> MessageRow:
    if message_id is None:
        return row.declined(RejectReason.NOT_RECEIVED)
    return row.accepted(message_id, Decimal(0))


def _unresolved_request(row: tuple[Any, ...]) -> UnresolvedRequest:
    batch_id, dag_id, run_id, task_id, map_index, round_, request, recipients, claimed_at, send_at = row
    return UnresolvedRequest(
        batch_id,
        dag_id,
        run_id,
        task_id,
        map_index,
        RequestKey(round_, request),
        recipients,
        read_moment(claimed_at),
        None if send_at is None else read_moment(send_at),
    )
