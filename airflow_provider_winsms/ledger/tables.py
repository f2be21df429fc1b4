"""Access to the ledger's tables, shared by sending, reports, cancellations and loads.

Each transaction that changes a count first locks the row of its batch, by writing it. So the counts of a
batch always agree with its rows, and no two processes wait for each other in a circle.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import pendulum

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    LedgerUnavailable,
    UnsupportedCapability,
)
from airflow_provider_winsms.ledger.schema import (
    BATCHES,
    MESSAGES,
    REQUESTS,
    ROUNDS,
    MessageState,
    Schema,
    check_kind,
)
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.options import check_prefix
from airflow_provider_winsms.runtime import ClockReading
from airflow_provider_winsms.sql.connection import Database
from airflow_provider_winsms.sql.values import read_amount, read_instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from pendulum import DateTime

    from airflow_provider_winsms.ledger.base import RequestKey
    from airflow_provider_winsms.ledger.schema import LedgerTable
    from airflow_provider_winsms.messages import MessageId, Receipt
    from airflow_provider_winsms.sql.errors import Refusal

T = TypeVar("T")

_log = logging.getLogger(__name__)

_AT_ONCE = 500
"""The number of values in a list of one statement."""

_CHOICES_AT_ONCE = 1000
"""The number of cases in one statement."""

_CHOICES_IN_A_ROW = 32
"""The number of cases that it tries one after the other."""

_ID_LIMIT = 2**63

_RIGHTS = (
    "The connection's user needs SELECT, INSERT, UPDATE and DELETE on the tables, and, if they are missing, "
    "the right to create tables and views."
)
_SAFE = "What is in the ledger stands; a repeat is safe."


class MessageRow(NamedTuple):
    """The outcome in the row of a message. The number and the text never change, so they are not read."""

    position: int
    is_held: bool
    state: MessageState
    reason: RejectReason | None = None
    message_id: int | None = None
    cost: Decimal = Decimal(0)
    refund: Decimal = Decimal(0)

    def after(self, receipt: Receipt) -> MessageRow:
        """Return the row after a receipt. A known outcome stays, with the reports since."""
        if receipt.reason is None:
            is_known = receipt.message_id is None or receipt.message_id == self.message_id
            return self if is_known else self.accepted(whole_id(receipt.message_id), _or_zero(receipt.cost))
        if receipt.reason is RejectReason.CANCELLED and self.message_id is not None:
            return self._cancelled(_or_zero(receipt.cost))
        return self.declined(receipt.reason)

    def accepted(self, message_id: int, cost: Decimal) -> MessageRow:
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

    message_id: int
    number: str
    send_at: DateTime | None
    key_id: str

    def __repr__(self) -> str:
        """Show no number."""
        return f"SentMessage({self.message_id!r}, send_at={self.send_at!r})"


class LedgerTables:
    """The tables under one prefix, over one connection. Missing tables are created.

    A warning names each setting of the server that may lose commits.

    :raises InvalidMessage: if the prefix cannot begin a name.
    :raises ConfigurationError: if the database cannot keep a ledger, or a table lacks columns.
    :raises LedgerUnavailable: from every method, if the database refuses something.
    """

    def __init__(self, hook: DbApiHook, prefix: str) -> None:
        check_prefix("ledger_prefix", prefix)
        check_kind(hook.conn_type)
        self._prefix = prefix
        self._database = Database(hook, self._refused, is_durable=True)
        schema = Schema(self._database, hook.conn_type, prefix)
        self._epoch = schema.epoch
        self.placeholder = placeholder = self._database.placeholder
        self._words = {
            "p": placeholder,
            "here": f"batch_id = {placeholder} AND round = {placeholder} AND request = {placeholder}",
            "batches": schema.name(BATCHES),
            "requests": schema.name(REQUESTS),
            "messages": schema.name(MESSAGES),
            "rounds": schema.name(ROUNDS),
        }
        self.transact = self._database.transact
        try:
            self._check_durability()
            self.is_new = schema.prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        self._database.close()

    def now(self) -> Any:
        """Return the present instant as a parameter of the driver."""
        return self.instant(datetime.now(UTC))

    def read_clock(self) -> ClockReading | None:
        """Return a reading of the server's clock; ``None`` if there is no server."""
        if not self._epoch:
            return None
        asked_at = datetime.now(UTC)
        ((seconds,),) = self.read("read the clock", "SELECT {epoch}", epoch=self._epoch)
        shown = datetime.fromtimestamp(int(seconds), UTC)
        clock = "the clock of the ledger's database"
        return ClockReading(clock, shown, asked_at, datetime.now(UTC), timedelta(seconds=1))

    def instant(self, moment: datetime | None) -> Any:
        """Return an instant as a parameter of the driver."""
        return None if moment is None else self._database.dialect.instant(moment)

    def amount(self, amount: Decimal) -> Any:
        """Return an amount as a parameter of the driver."""
        return self._database.dialect.amount(amount)

    def execute(self, step: str, statement: str, *parameters: Any, **words: str) -> int:
        """Run a statement, and return the number of rows that it changed.

        Words in braces are filled in: the names of the tables, ``{p}`` for a parameter, and ``{here}`` for
        the condition on one request, which has three parameters: the batch id and the request key.
        """
        return self._database.execute(step, statement.format(**self._words, **words), parameters)

    def read(self, step: str, statement: str, *parameters: Any, **words: str) -> list[tuple[Any, ...]]:
        """Run a query, with words in braces as in ``execute``, and return its rows."""
        return self._database.rows(step, statement.format(**self._words, **words), parameters)

    def insert(self, table: LedgerTable, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows. Their values have the order of the table's columns."""
        name = self._words[table.name]
        self._database.insert(f"insert into the {table.name}", name, table.column_names, rows)

    def in_chunks(self, values: Sequence[T]) -> Iterator[tuple[Sequence[T], str]]:
        """Yield chunks of values for one statement each, with their placeholders."""
        for chunk in chunks(values):
            yield chunk, self._database.placeholders(len(chunk))

    def lock(self, batch_id: str, revision: int | None = None) -> bool:
        """Lock the batch until the transaction ends, and tell whether it is in force.

        :param revision: the only revision that is in force; ``None``: each one is.
        """
        any_batch = "UPDATE {batches} SET updated_at = {p} WHERE batch_id = {p}"
        in_force = f"{any_batch} AND superseded_at IS NULL AND revision = COALESCE({{p}}, revision)"
        is_in_force = self.execute("lock the batch", in_force, self.now(), batch_id, revision) > 0
        if not is_in_force:
            self.execute("lock the batch", any_batch, self.now(), batch_id)
        return is_in_force

    def rows_of(self, batch_id: str, key: RequestKey) -> list[MessageRow]:
        """Return the rows of a request, in order."""
        query = (
            "SELECT position, CASE WHEN send_at IS NULL THEN 0 ELSE 1 END AS is_held, state, reason, "
            "message_id, cost, refund FROM {messages} WHERE {here} ORDER BY position"
        )
        return list(map(_row, self.read("read the messages of a request", query, batch_id, *key)))

    def mark_answered(self, batch_id: str, key: RequestKey, *, ends_cancelling: bool = False) -> None:
        """Write that the outcome of a request was recorded.

        :param ends_cancelling: whether this ends its cancellation.
        """
        self.execute(
            "record the outcome of a request",
            "UPDATE {requests} SET answered_at = {p}, cancelling_at = {cancelling_at} WHERE {here}",
            self.now(),
            batch_id,
            *key,
            cancelling_at="NULL" if ends_cancelling else "cancelling_at",
        )

    def settle(self, batch_id: str, key: RequestKey, receipts: Mapping[int, Receipt]) -> int:
        """Write the first outcome of rows in doubt, without reading them; return their number.

        :param receipts: receipts of texts that were accepted or declined, by position.
        """
        alike = defaultdict(list)
        for position, receipt in receipts.items():
            alike[receipt.reason, _or_zero(receipt.cost)].append((position, receipt.message_id))
        counts, cost, now = Counter[str](), Decimal(0), self.now()
        for (reason, price), rows in alike.items():
            for chunk in chunks(rows, _CHOICES_AT_ONCE):
                settled = self._settle_alike(batch_id, key, reason, price, now=now, ids=dict(chunk))
                counts["declined" if reason else "accepted"] += settled
                cost += 0 if reason else settled * price
        settled = counts.total()
        counts["unknown"] = -settled
        self.change_counts(batch_id, counts, cost, Decimal(0))
        return settled

    def _settle_alike(
        self,
        batch_id: str,
        key: RequestKey,
        reason: RejectReason | None,
        price: Decimal,
        *,
        now: Any,
        ids: Mapping[int, MessageId | None],
    ) -> int:
        taken = "CASE WHEN send_at IS NULL THEN 'accepted' ELSE 'scheduled' END"
        statement = (
            "UPDATE {messages} SET state = {state}, reason = {p}, cost = {p}, state_at = {p}, "
            "message_id = {ids} WHERE {here} AND state = 'unknown' AND position IN ({positions})"
        )
        return self.execute(
            "write the outcome of a request",
            statement,
            None if reason is None else reason.value,
            self.amount(Decimal(0) if reason else price),
            now,
            batch_id,
            *key,
            state="'declined'" if reason else taken,
            ids=_chosen({position: None if reason else whole_id(known) for position, known in ids.items()}),
            positions=int_list(ids),
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
        now = self.now()
        for rows in alike.values():
            for chunk in chunks(rows, _CHOICES_AT_ONCE):
                self._update_alike(batch_id, key, chunk, now)
        if changes:
            self._count(batch_id, [row for row, _ in changes], [row for _, row in changes])

    def _update_alike(self, batch_id: str, key: RequestKey, rows: Sequence[MessageRow], now: Any) -> None:
        statement = (
            "UPDATE {messages} SET state = {p}, reason = {p}, cost = {p}, refund = {p}, state_at = {p}, "
            "message_id = {ids} WHERE {here} AND position IN ({positions})"
        )
        first = rows[0]
        reason = None if first.reason is None else first.reason.value
        amounts = self.amount(first.cost), self.amount(first.refund)
        self.execute(
            "write the outcome of a request",
            statement,
            first.state.value,
            reason,
            *amounts,
            now,
            batch_id,
            *key,
            ids=_chosen({row.position: row.message_id for row in rows}),
            positions=int_list(row.position for row in rows),
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

    def change_counts(self, batch_id: str, counts: Counter[str], cost: Decimal, refund: Decimal) -> None:
        """Add to the counts of a batch."""
        # SQLite adds floats, and sums of tenths are not exact. So they are rounded.
        statement = (
            "UPDATE {batches} SET accepted = accepted + {p}, declined = declined + {p}, "
            "unknown = unknown + {p}, cancelled = cancelled + {p}, cost = ROUND(cost + {p}, 2), "
            "refunded = ROUND(refunded + {p}, 2), updated_at = {p} WHERE batch_id = {p}"
        )
        differences = (counts[name] for name in ("accepted", "declined", "unknown", "cancelled"))
        amounts = self.amount(cost), self.amount(refund)
        self.execute("count the messages", statement, *differences, *amounts, self.now(), batch_id)

    def sent_as(self, message_ids: Iterable[int], sms_conn_id: str) -> list[SentMessage]:
        """Return the texts of any batch that were sent through a connection and have some ids."""
        query = (
            "SELECT m.message_id, m.number, m.send_at, b.key_id FROM {messages} m "
            "INNER JOIN {batches} b ON b.batch_id = m.batch_id "
            "WHERE m.message_id IN ({ids}) AND b.sms_conn_id = {p}"
        )
        return [
            SentMessage(message_id, number, None if send_at is None else read_moment(send_at), key_id)
            for chunk in chunks(list(message_ids))
            for message_id, number, send_at, key_id in self.read(
                "look message ids up", query, sms_conn_id, ids=int_list(chunk)
            )
        ]

    def _check_durability(self) -> None:
        if self._database.is_volatile():
            msg = (
                "A ledger in memory ends with its task, and a retry would send again. Give the connection of "
                "`ledger_conn_id` a file."
            )
            raise ConfigurationError(msg)
        if settings := self._database.lossy_settings():
            _log.warning(
                "THE LEDGER MAY LOSE CLAIMS: the database server runs with %s. If it crashes, or its machine "
                "does, commits of its last moments are lost, and a retry may send those texts again. "
                "Set %s to its safe value on the server (docs/promises.md).",
                " and ".join(settings),
                " and ".join(setting.partition("=")[0] for setting in settings),
            )

    def _refused(self, refusal: Refusal) -> LedgerUnavailable:
        hint = refusal.hint(_RIGHTS, _SAFE)
        message = refusal.message(f"ledger {self._prefix}*", hint)
        return LedgerUnavailable(message, is_permanent=refusal.needs_a_person)


class TableAccess:
    """The base of the ledger and of its history. It holds a connection until it is closed."""

    def __init__(self, hook: DbApiHook, prefix: str) -> None:
        self._tables = LedgerTables(hook, prefix)

    @property
    def is_new(self) -> bool:
        """Whether this access created the tables."""
        return self._tables.is_new

    def close(self) -> None:
        """End the connection."""
        self._tables.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def whole_id(message_id: MessageId | None) -> int:
    """Return an id, if the tables can hold it.

    :raises UnsupportedCapability: if it is no whole number of 64 bits.
    """
    if not isinstance(message_id, int) or not -_ID_LIMIT <= message_id < _ID_LIMIT:
        msg = "An id is no whole number of 64 bits, so its message cannot be kept in the tables."
        raise UnsupportedCapability(msg)
    return message_id


def read_moment(value: Any) -> DateTime:
    """Return the instant of a value that a driver read."""
    return pendulum.instance(read_instant(value))


def chunks(values: Sequence[T], size: int = _AT_ONCE) -> Iterator[Sequence[T]]:
    """Split a sequence into chunks for one statement each."""
    return (values[start : start + size] for start in range(0, len(values), size))


def int_list(values: Iterable[int]) -> str:
    """Return integers as SQL. Drivers handle a literal faster than parameters."""
    return ", ".join([str(int(value)) for value in values])


def _chosen(ids: Mapping[int, int | None]) -> str:
    """Return an expression for the message id of each position."""
    if set(ids.values()) == {None}:
        return "NULL"
    runs = chunks(sorted(ids.items()), _CHOICES_IN_A_ROW)
    return f"CASE {' '.join(map(_run, runs))} END"


def _run(run: Sequence[tuple[int, int | None]]) -> str:
    cases = " ".join([f"WHEN {position} THEN {message_id}" for position, message_id in run])
    return f"WHEN position <= {run[-1][0]} THEN CASE position {cases} END"


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
        message_id,
        read_amount(cost),
        read_amount(refund),
    )
