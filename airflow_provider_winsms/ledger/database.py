"""The database of a ledger: its tables over one connection, and transactions on them."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

import pendulum

from airflow_provider_winsms.exceptions import ConfigurationError, LedgerUnavailable
from airflow_provider_winsms.ledger.schema import TABLES, Schema, check_kind
from airflow_provider_winsms.ledger.statements import LISTS, LOCK_BATCH, LOCK_BATCH_IN_FORCE, WORDS
from airflow_provider_winsms.messages import message_id_of
from airflow_provider_winsms.options import check_prefix
from airflow_provider_winsms.runtime import ClockReading
from airflow_provider_winsms.sql.bulk import insert
from airflow_provider_winsms.sql.connection import Database
from airflow_provider_winsms.sql.statements import StatementCompiler
from airflow_provider_winsms.sql.values import read_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from pendulum import DateTime

    from airflow_provider_winsms.ledger.base import RequestKey
    from airflow_provider_winsms.ledger.schema import LedgerTable
    from airflow_provider_winsms.messages import MessageId
    from airflow_provider_winsms.sql.errors import Refusal
    from airflow_provider_winsms.sql.statements import NamedStatement

T = TypeVar("T")
P = ParamSpec("P")
Owner = TypeVar("Owner", bound="_OverDatabase")

_log = logging.getLogger(__name__)

_AT_ONCE = 500
"""The number of values in a list of one statement."""

_RIGHTS = (
    "The connection's user needs SELECT, INSERT, UPDATE and DELETE on the tables, and, if they are missing, "
    "the right to create tables."
)
_SAFE = "What is in the ledger stands; a repeat is safe."


class _OverDatabase(Protocol):
    """A class whose methods read or write a database."""

    @property
    def _database(self) -> Database | LedgerDatabase: ...


def transaction(method: Callable[Concatenate[Owner, P], T]) -> Callable[Concatenate[Owner, P], T]:
    """Run a method in a transaction of its own: all of it, or nothing.

    The method may run more than once: after a lost connection, a deadlock, or a commit whose answer was lost.
    So a repeat must do no harm, and no argument may be an iterator. Such a method calls no other one.
    """

    @wraps(method)
    def in_transaction(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in self._database.attempts():
            with attempt:
                attempt.begin()
                result = method(self, *args, **kwargs)
            if attempt.is_committed:
                return result
        raise AssertionError

    return in_transaction


class LedgerDatabase:
    """The ledger under one prefix, over one connection. Missing tables are created, unless they must exist.

    It holds the connection until it is closed. Only the thread that creates it may use it, because of
    SQLite's connections. A warning names each setting of the server that may lose commits.

    :param hook: the database's: PostgreSQL, MySQL, MariaDB or SQLite.
    :param prefix: the beginning of the tables' names.
    :param must_exist: whether missing tables are an error.
    :param reads_only: whether nothing will be written. Then the tables must exist, no table is created, and
        no setting of the server matters.
    :raises InvalidMessage: if the prefix cannot begin a name.
    :raises ConfigurationError: if the database cannot keep a ledger, or a table is missing or lacks columns.
    :raises LedgerUnavailable: from every method, if the database refuses something.
    """

    def __init__(
        self, hook: DbApiHook, prefix: str = "sms_", *, must_exist: bool = False, reads_only: bool = False
    ) -> None:
        check_prefix("ledger_prefix", prefix)
        check_kind(hook.conn_type)
        self._prefix = prefix
        self._database = Database(hook, self._refused, is_durable=True)
        schema = Schema(self._database, prefix)
        self._tables = schema.tables
        names = {table.name: schema.name(table) for table in TABLES}
        self.core = self._database.core
        """The SQL of the database, as SQLAlchemy has it."""
        self._ready = StatementCompiler(self.core, {**WORDS, **names}, LISTS).ready
        self.attempts = self._database.attempts
        self.amount = self._database.dialect.amount
        """Returns an amount as a parameter of the driver."""
        try:
            if not reads_only:
                self._check_durability()
            self.is_new = schema.prepare(must_exist=must_exist, reads_only=reads_only)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def now(self) -> Any:
        """Return the present instant as a parameter of the driver."""
        return self.instant(datetime.now(UTC))

    @transaction
    def read_clock(self) -> ClockReading | None:
        """Return a reading of the server's clock; ``None`` if there is no server."""
        query = self._database.dialect.clock
        if not query:
            return None
        asked_at = datetime.now(UTC)
        ((seconds,),) = self._database.rows("read the clock", query)
        shown = datetime.fromtimestamp(int(seconds), UTC)
        clock = "the clock of the ledger's database"
        return ClockReading(clock, shown, asked_at, datetime.now(UTC), timedelta(seconds=1))

    def instant(self, moment: datetime | None) -> Any:
        """Return an instant as a parameter of the driver."""
        return None if moment is None else self._database.dialect.instant(moment)

    def execute(self, statement: NamedStatement, **values: Any) -> int:
        """Run a statement with values for its parameters, and return the number of rows that it changed."""
        return self._database.execute(statement.step, *self._ready(statement, values))

    def read(self, statement: NamedStatement, **values: Any) -> list[tuple[Any, ...]]:
        """Run a query with values for its parameters, and return its rows."""
        return self._database.rows(statement.step, *self._ready(statement, values))

    def look_up_by_index(self) -> None:
        """Let the rest of the transaction look rows up by indexes, if the database can be told so."""
        if query := self._database.dialect.by_index:
            self._database.rows("prefer indexes", query)

    def insert(self, table: LedgerTable, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows. Their values have the order of the table's columns."""
        target = self._tables[table.name]
        insert(self._database, f"insert into the {table.name}", target, table.column_names, rows)

    def lock(self, batch_id: str, revision: int | None = None) -> bool:
        """Lock the batch until the transaction ends, and tell whether it is in force.

        :param revision: the only revision that is in force; ``None``: each one is.
        """
        values = {"batch_id": batch_id, "revision": revision}
        is_in_force = self.execute(LOCK_BATCH_IN_FORCE, now=self.now(), **values) > 0
        if not is_in_force:
            self.execute(LOCK_BATCH, now=self.now(), batch_id=batch_id)
        return is_in_force

    def _check_durability(self) -> None:
        dialect = self._database.dialect
        if dialect.volatile and self._queried("look for the file", dialect.volatile):
            msg = (
                "A ledger in memory ends with its task, and a retry would send again. Give the connection of "
                "`ledger_conn_id` a file."
            )
            raise ConfigurationError(msg)
        lossy = self._queried("read settings", dialect.lossy) if dialect.lossy else []
        if settings := [f"{name}={value}" for name, value in lossy]:
            _log.warning(
                "THE LEDGER MAY LOSE CLAIMS: the database server runs with %s. If it crashes, or its machine "
                "does, commits of its last moments are lost, and a retry may send those texts again. "
                "Set %s to its safe value on the server (docs/promises.md).",
                " and ".join(settings),
                " and ".join(setting.partition("=")[0] for setting in settings),
            )

    @transaction
    def _queried(self, step: str, query: str) -> list[tuple[Any, ...]]:
        return self._database.rows(step, query)

    def _refused(self, refusal: Refusal) -> LedgerUnavailable:
        hint = refusal.hint(_RIGHTS, _SAFE)
        message = refusal.message(f"ledger {self._prefix}*", hint)
        return LedgerUnavailable(message, is_permanent=refusal.needs_a_person)


def id_text(message_id: MessageId) -> str:
    """Return an id as the tables hold it.

    :raises InvalidMessage: if they cannot hold it.
    """
    text = str(message_id)
    message_id_of(text)
    return text


def request_of(batch_id: str, key: RequestKey) -> dict[str, Any]:
    """Return the parameters of a statement that identify a request."""
    return {"batch_id": batch_id, "round": key.round, "request": key.request}


def read_moment(value: Any) -> DateTime:
    """Return the instant of a value that a driver read."""
    return pendulum.instance(read_instant(value))


def chunks(values: Sequence[T], size: int = _AT_ONCE) -> Iterator[Sequence[T]]:
    """Split a sequence into chunks for one statement each."""
    return (values[start : start + size] for start in range(0, len(values), size))
