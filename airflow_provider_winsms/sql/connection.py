"""A database, whichever has a ``DbApiHook``: one connection, its statements and its errors.

A driver's own words may quote a row, and so a phone number or a text. They are left behind here: what is
raised says what was tried, and the type and the code of the driver's error.
"""

from __future__ import annotations

from contextlib import closing, suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_winsms.exceptions import ConfigurationError, SmsError
from airflow_provider_winsms.sql.bulk import ENCODERS, EncodedRows, copy_in, cut_by_bytes
from airflow_provider_winsms.sql.dialects import DIALECTS, STANDARD, BulkMethod
from airflow_provider_winsms.sql.errors import NotOpened, Refusal, codes_of
from airflow_provider_winsms.sql.names import how_to_install, index_name, missing_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook

T = TypeVar("T")

_REPEATS = 4
"""How often a transaction is done again that was lost, or broken off in favour of another."""


class Database:
    """One connection to a database. It is made when it is first needed, and never commits by itself.

    :param refused: makes the error that is raised where the database refuses something.
    :param is_durable: whether a commit must outlive a crash of the server, as far as a connection decides
        that.
    """

    def __init__(
        self, hook: DbApiHook, refused: Callable[[Refusal], SmsError], *, is_durable: bool = False
    ) -> None:
        self._hook = hook
        self._refused = refused
        self._is_durable = is_durable
        self._connection: Any = None
        self._refusal: Refusal | None = None
        self._is_lost = False
        self._packet = 0
        self._encoding = ""
        self.dialect = DIALECTS.get(hook.conn_type, STANDARD)
        self.placeholder: str = hook.placeholder
        self._quote: str = self.dialect.quote or hook.escape_word_format

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._connection is not None

    def open(self) -> None:
        """Connect."""
        self._connection = self._connect()
        if self._hook.supports_autocommit:
            self._hook.set_autocommit(self._connection, autocommit=False)
        self._set_up()
        self.commit()

    def _set_up(self) -> None:
        """Make the connection the same, whatever the defaults of its user, its database and its server."""
        step = "open the connection"
        for method, arguments in self.dialect.unicode:
            if (call := getattr(self._connection, method, None)) is not None:
                self._without_its_words(step, partial(call, *arguments))
                break
        for statement in (*self.dialect.opening, *(self.dialect.durable if self._is_durable else ())):
            self.execute(step, statement)
        if self.dialect.packet:
            self._packet = int(self.rows(step, self.dialect.packet)[0][0])
        if self.dialect.encoding:
            self._encoding = str(self.rows(step, self.dialect.encoding)[0][0])

    def lossy_settings(self) -> list[str]:
        """Return the settings of the server by which commits may be lost, such as ``fsync=off``."""
        query = self.dialect.lossy
        rows = self.transact(lambda: self.rows("read settings", query)) if query else []
        return [f"{name}={value}" for name, value in rows]

    def is_volatile(self) -> bool:
        """Tell whether the database ends with its connection, as one in memory does."""
        query = self.dialect.volatile
        return bool(query and self.transact(lambda: self.rows("look for the file", query)))

    def close(self) -> None:
        """End the connection, and with it what was not committed."""
        connection, self._connection = self._connection, None
        with suppress(Exception):
            connection.close()

    def quoted(self, *names: str) -> str:
        """Return a name as it stands in a statement; several of them with dots between."""
        return ".".join(self._quote.format(name) for name in names)

    def index(self, table: Sequence[str], columns: Sequence[str]) -> str:
        """Return the statement that makes an index, or the part of one where the dialect says so.

        :param table: the table's schema, if there is one, and its name.
        """
        return self.dialect.index.format(
            name=self.quoted(index_name(table[-1], columns)),
            schema="".join(f"{self.quoted(schema)}." for schema in table[:-1]),
            table=self.quoted(table[-1]),
            columns=", ".join(map(self.quoted, columns)),
        )

    def placeholders(self, count: int) -> str:
        """Return placeholders with commas between."""
        return ", ".join([self.placeholder] * count)

    def execute(self, step: str, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement, and return how many rows it changed.

        :param step: what it does, for the error.
        """

        def execute(cursor: Any) -> int:
            cursor.execute(statement, tuple(parameters))
            return int(cursor.rowcount)

        return self._with_cursor(step, execute)

    def rows(self, step: str, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query, whose columns all have names of their own, and return its rows."""

        def read(cursor: Any) -> list[tuple[Any, ...]]:
            cursor.execute(statement, tuple(parameters))
            # A connection may ask for rows as mappings.
            return [tuple(row.values() if hasattr(row, "values") else row) for row in cursor.fetchall()]

        return self._with_cursor(step, read)

    def columns(self, step: str, table: str) -> set[str]:
        """Return the names of the columns of a table or a view, given as it stands in a statement."""

        def read(cursor: Any) -> set[str]:
            cursor.execute(f"SELECT * FROM {table} WHERE 1 = 0")  # noqa: S608 - a quoted name
            names = {column[0] for column in cursor.description}
            cursor.fetchall()
            return names

        return self._with_cursor(step, read)

    def insert(self, step: str, table: str, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows as fast as the database takes them.

        :param table: as it stands in a statement.
        """
        self.insert_encoded(step, table, names, [self.encode(list(zip(*rows, strict=True)))])

    def encode(self, columns: Sequence[Sequence[Any]]) -> EncodedRows:
        """Put rows, given as columns of equal length, into the shape that ``insert_encoded`` takes.

        It needs no connection, so that it may be done in another thread.
        """
        return EncodedRows(len(columns[0]) if columns else 0, ENCODERS[self.dialect.bulk](columns))

    def insert_encoded(
        self, step: str, table: str, names: Sequence[str], packs: Sequence[EncodedRows]
    ) -> None:
        """Insert rows that were packed, in one statement if the database has one for that.

        :param table: as it stands in a statement.
        """
        filled = [pack.content for pack in packs if pack.length]
        listed = ", ".join(map(self.quoted, names))

        def insert(cursor: Any) -> None:
            if self.dialect.bulk is BulkMethod.COPY:
                copy_in(cursor, f"COPY {table} ({listed}) FROM STDIN", filled)
            elif self.dialect.bulk is BulkMethod.ARRAYS:
                arrays = ", ".join([f"unnest({self.placeholder})"] * len(names))
                for columns in filled:
                    cursor.execute(f"INSERT INTO {table} ({listed}) SELECT {arrays}", columns)
            else:
                statement = f"INSERT INTO {table} ({listed}) VALUES ({self.placeholders(len(names))})"  # noqa: S608 - quoted names
                for rows in self._statements(statement, list(chain.from_iterable(filled))):
                    cursor.executemany(statement, rows)

        if filled:
            self._with_cursor(step, insert)

    def _statements(self, statement: str, rows: list[tuple[Any, ...]]) -> Iterable[list[tuple[Any, ...]]]:
        """Cut rows into what a driver may put into one statement."""
        return cut_by_bytes(rows, self._packet - 2 * len(statement)) if self._packet else [rows]

    def lock(self, name: str) -> None:
        """Wait until no other transaction holds the lock of this name, where the database has such locks."""
        for statement in self.dialect.lock:
            self.execute("take a lock", statement.format(lock_name=f"'{name}'"))

    def lock_for_long(self, name: str) -> bool:
        """Wait as ``lock`` does, for a transaction that may last; ``False`` if that took an hour in vain."""
        statement = self.dialect.long_lock.format(lock_name=f"'{name}'")
        is_held = not statement or self.rows("take a lock", statement) == [(1,)]
        self.lock(name)
        return is_held

    def commit(self) -> None:
        """Commit."""
        self._without_its_words("commit", self._connection.commit)

    def rollback(self) -> None:
        """Roll back; where that fails too, what failed before is the better thing to say."""
        with suppress(Exception):
            self._connection.rollback()

    def transact(self, work: Callable[[], T]) -> T:
        """Do some work in one transaction: all of it, or nothing.

        It is done again, on a new connection, where this one was lost, and where the database broke it off.
        So the work must be harmless to repeat even after a commit whose answer was lost.
        """
        for repeats_left in reversed(range(_REPEATS + 1)):
            try:
                return self._attempt(work)
            except SmsError:
                if not (repeats_left and self._may_pass()):
                    raise
        raise AssertionError

    def _attempt(self, work: Callable[[], T]) -> T:
        self._refusal, self._is_lost, is_committed = None, False, False
        try:
            if self._connection is None:
                self.open()
            result = work()
            self.commit()
            is_committed = True
        finally:
            # A task's timeout, too, must not leave half a transaction to what comes next.
            if not is_committed:
                self._undo()
        return result

    def _undo(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.rollback()
        except Exception:  # noqa: BLE001 - drivers have no type in common
            self.close()
            self._is_lost = True

    def _may_pass(self) -> bool:
        return self._refusal is not None and (self._is_lost or self._refusal.was_broken_off)

    def _connect(self) -> Any:
        """Connect. No row is about yet, so the driver's own error may stand behind ours."""
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
            raise self._refused(self._refusal) from error

    def _with_cursor(self, step: str, work: Callable[[Any], T]) -> T:
        def with_cursor() -> T:
            if not self.dialect.has_cursors:
                return work(self._connection)
            with closing(self._connection.cursor()) as cursor:
                return work(cursor)

        return self._without_its_words(step, with_cursor)

    def _without_its_words(self, step: str, work: Callable[[], T]) -> T:
        """Do some work. Its error is left behind before ours is raised, so that no chain leads to it."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - drivers have no type in common
            self._refusal = Refusal(step, type(error).__name__, codes_of(error), self._encoding)
        raise self._refused(self._refusal)
