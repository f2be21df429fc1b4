"""One connection to any database with a ``DbApiHook``: its statements and its errors.

The text of a driver's error may quote a row, and so a phone number or a text. No error raised here holds it:
an error names the step, and the type and the code of the driver's error.
"""

from __future__ import annotations

from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import select, text

from airflow_provider_winsms.exceptions import ConfigurationError, SmsError
from airflow_provider_winsms.sql.compiler import compiled, dialect_of, quoted
from airflow_provider_winsms.sql.dialects import DIALECTS, STANDARD
from airflow_provider_winsms.sql.errors import NotOpened, Refusal, codes_of
from airflow_provider_winsms.sql.names import how_to_install, missing_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlalchemy import Column, Table

    from airflow_provider_winsms.sql.compiler import Statement


T = TypeVar("T")


_REPEATS = 4
"""How often a transaction is repeated whose connection was lost, or that the database aborted."""


class Attempt:
    """One attempt at a transaction. Its work begins with ``begin``; its end commits, or rolls back.

    It ends without an error if the next attempt may succeed. So its work counts only if it ``is_committed``.
    """

    def __init__(self, database: Database, *, is_last: bool) -> None:
        self._database = database
        self._is_last = is_last
        self.is_committed = False

    def begin(self) -> None:
        """Connect, if there is no connection."""
        self._database.begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            return self._is_to_be_repeated(error)
        try:
            self._database.commit()
        except BaseException as failure:
            if not self._is_to_be_repeated(failure):
                raise
            return True
        self.is_committed = True
        return False

    def _is_to_be_repeated(self, error: BaseException) -> bool:
        # Not even a task's timeout may leave half a transaction to the next work.
        self._database.roll_back_or_close()
        return isinstance(error, SmsError) and not self._is_last and self._database.is_worth_a_repeat


class Database:
    """One connection to a database. It opens on first use, and commits only on request.

    :param make_error: makes the error to raise where the database refuses something.
    :param is_durable: whether a commit must survive a crash of the server, as far as a connection can decide.
    """

    def __init__(
        self, hook: DbApiHook, make_error: Callable[[Refusal], SmsError], *, is_durable: bool = False
    ) -> None:
        self._hook = hook
        self._make_error = make_error
        self._is_durable = is_durable
        self._connection: Any = None
        self._refusal: Refusal | None = None
        self._is_connection_lost = False
        self.max_packet = 0
        """The bytes that a statement may have; 0 if the database does not tell."""
        self._encoding = ""
        self.dialect = DIALECTS.get(hook.conn_type, STANDARD)
        self.core = dialect_of(hook.conn_type, hook.placeholder, hook.escape_word_format)
        """SQLAlchemy's dialect."""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, and it is not known to be lost."""
        return self._connection is not None

    def open(self) -> None:
        """Connect."""
        self._connection = self._connect()
        if self._hook.supports_autocommit:
            self._hook.set_autocommit(self._connection, autocommit=False)
        self._set_up()
        self.commit()

    def _set_up(self) -> None:
        """Set encoding, time zone and modes, so that defaults of user, database and server do not matter."""
        step = "open the connection"
        for method, arguments in self.dialect.unicode:
            if (call := getattr(self._connection, method, None)) is not None:
                self._without_driver_text(step, partial(call, *arguments))
                break
        for statement in (*self.dialect.opening, *(self.dialect.durable if self._is_durable else ())):
            self.execute(step, statement)
        if self.dialect.packet:
            self.max_packet = int(self.rows(step, self.dialect.packet)[0][0])
        if self.dialect.encoding:
            self._encoding = str(self.rows(step, self.dialect.encoding)[0][0])

    def close(self) -> None:
        """Close the connection. Uncommitted changes are lost."""
        connection, self._connection = self._connection, None
        with suppress(Exception):
            connection.close()

    def quoted(self, part: Table | Column[Any]) -> str:
        """Return the quoted name of a table, with its schema, or of a column."""
        return quoted(part, self.core)

    def execute(self, step: str, statement: Statement, parameters: Sequence[Any] = ()) -> int:
        """Run a statement, and return how many rows it changed.

        :param step: names its purpose, for the error.
        :param statement: SQLAlchemy's with its parameters, or the text of one.
        :param parameters: those of a text.
        """
        text, values = self._ready(statement, parameters)

        def execute(cursor: Any) -> int:
            cursor.execute(text, values)
            return int(cursor.rowcount)

        return self.run(step, execute)

    def rows(self, step: str, statement: Statement, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query, whose columns must have distinct names, and return its rows."""
        text, values = self._ready(statement, parameters)

        def read(cursor: Any) -> list[tuple[Any, ...]]:
            cursor.execute(text, values)
            # A connection may ask for rows as mappings.
            return [tuple(row.values() if hasattr(row, "values") else row) for row in cursor.fetchall()]

        return self.run(step, read)

    def _ready(self, statement: Statement, parameters: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
        """Return the text of a statement, and its parameters in their order."""
        if isinstance(statement, str):
            return statement, tuple(parameters)
        return compiled(statement, self.core)

    def columns(self, step: str, table: Table) -> set[str]:
        """Return the names of the columns that a table or a view has in the database."""
        query, _ = compiled(select(text("*")).select_from(table).where(text("1 = 0")), self.core)

        def read(cursor: Any) -> set[str]:
            cursor.execute(query)
            names = {column[0] for column in cursor.description}
            cursor.fetchall()
            return names

        return self.run(step, read)

    def lock(self, name: str) -> None:
        """Take the lock of this name for the transaction, if the database has such locks. Wait for it."""
        for statement in self.dialect.lock:
            self.execute("take a lock", statement.format(lock_name=f"'{name}'"))

    def commit(self) -> None:
        """Commit the transaction."""
        self._without_driver_text("commit", self._connection.commit)

    def rollback(self) -> None:
        """Roll back. A failure is ignored, as the earlier error says more."""
        with suppress(Exception):
            self._connection.rollback()

    def transact(self, work: Callable[[], T]) -> T:
        """Do some work in one transaction: all of it, or nothing.

        The transaction is repeated if the connection was lost, on a new one, or if the database aborted it.
        So a repeat of the work must do no harm, even after a commit whose answer was lost.
        """
        for attempt in self.attempts():
            with attempt:
                attempt.begin()
                result = work()
            if attempt.is_committed:
                return result
        raise AssertionError

    def attempts(self) -> Iterator[Attempt]:
        """Yield attempts at a transaction, of which only the last one counts (see ``transact``)."""
        return (Attempt(self, is_last=not repeats_left) for repeats_left in reversed(range(_REPEATS + 1)))

    def begin(self) -> None:
        """Connect, unless there is a connection, and forget the error of an earlier transaction."""
        self._refusal, self._is_connection_lost = None, False
        if self._connection is None:
            self.open()

    def roll_back_or_close(self) -> None:
        """Roll back. The connection is lost if that fails."""
        if self._connection is None:
            return
        try:
            self._connection.rollback()
        except Exception:  # noqa: BLE001 - drivers have no type in common
            self.close()
            self._is_connection_lost = True

    @property
    def is_worth_a_repeat(self) -> bool:
        """Whether the transaction failed because the connection was lost, or the database aborted it."""
        return self._refusal is not None and (self._is_connection_lost or self._refusal.was_aborted)

    def _connect(self) -> Any:
        """Connect. No row is involved yet, so the driver's error may be the cause of ours."""
        conn_id = getattr(self._hook, self._hook.conn_name_attr)
        try:
            return self._hook.get_conn()
        except ImportError as error:
            msg = (
                f"The database of the connection {conn_id!r} needs {missing_module(error)}. "
                f"{how_to_install(self._hook.conn_type)}"
            )
            raise ConfigurationError(msg) from error
        except Exception as error:
            self._refusal = NotOpened(conn_id, type(error).__name__, codes_of(error))
            raise self._make_error(self._refusal) from error

    def run(self, step: str, work: Callable[[Any], T]) -> T:
        """Do some work with a cursor, or with the connection of a driver without cursors."""

        def with_cursor() -> T:
            if not self.dialect.has_cursors:
                return work(self._connection)
            with closing(self._connection.cursor()) as cursor:
                return work(cursor)

        return self._without_driver_text(step, with_cursor)

    def _without_driver_text(self, step: str, work: Callable[[], T]) -> T:
        """Do some work. Our error is raised outside the handler, so no chain leads to the driver's."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - drivers have no type in common
            self._refusal = Refusal(step, type(error).__name__, codes_of(error), self._encoding)
        raise self._make_error(self._refusal)
