"""A query of a user, whose rows are read in chunks over one connection.

The session stays as the connection begins it: its time zone and its modes are the user's. No error holds the
text of the driver's error, which may quote a row or a parameter.
"""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_provider_winsms.exceptions import QueryFailed
from airflow_provider_winsms.sql.connection import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_winsms.sql.errors import Refusal

_ROWS_AT_ONCE = 2000

_NAMED_CURSORS = frozenset({"psycopg", "psycopg2"})
"""Drivers whose cursors with a name stay at the server. Their other cursors read all rows at once."""

_CURSOR_CLASSES = frozenset({"MySQLdb", "pymysql"})
"""Drivers with a class of cursors, ``SSCursor``, that reads row by row."""


@dataclass(frozen=True, slots=True)
class QueryRows:
    """The rows of a query that runs.

    :param columns: the names of the columns, in their order.
    :param chunks: lists of rows. They can be read once.
    """

    columns: tuple[str, ...]
    chunks: Iterator[list[tuple[Any, ...]]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Query:
    """One query that only reads.

    :param hook: the database's.
    :param parameters: of the query, as its driver takes them. ``None``: a percent sign is only itself.
    """

    hook: DbApiHook
    text: str = field(repr=False)
    parameters: Sequence[Any] | Mapping[str, Any] | None = field(default=None, repr=False)

    @contextmanager
    def opened(self) -> Iterator[QueryRows]:
        """Run the query, and give its rows. The connection ends with the block.

        :raises ConfigurationError: if a driver is missing.
        :raises QueryFailed: also from reading the rows, if the database refuses something.
        """
        with closing(_Reader(self.hook, _failed)) as reader:
            reader.open()
            reader.start(self.text, () if self.parameters is None else (self.parameters,))
            # A cursor at the server may have no description before the first row is read.
            first = reader.read()
            yield QueryRows(reader.names, reader.chunks_from(first))


class _Reader(Database):
    """A connection that runs one query, in the session as it is."""

    _cursor: Any = None

    def _set_up(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Close the cursor and the connection."""
        with suppress(Exception):
            self._cursor.close()
        super().close()

    def start(self, text: str, parameters: tuple[Any, ...]) -> None:
        """Run the query.

        :param parameters: nothing, or all parameters as one value.
        """

        def execute() -> None:
            self._cursor = self._streaming_cursor()
            self._cursor.execute(text, *parameters)

        self._without_driver_text("run the query", execute)

    def read(self) -> list[tuple[Any, ...]]:
        """Return the next rows; none at the end.

        :raises QueryFailed: also if the statement returns no rows, not even an empty list.
        """

        def read() -> list[Any] | None:
            if self._is_at_client and not self._cursor.description:
                return None
            found: list[Any] = self._cursor.fetchmany(_ROWS_AT_ONCE)
            return found

        rows = self._without_driver_text("read the rows of the query", read)
        if rows is None or not self._cursor.description:
            raise QueryFailed(_NO_ROWS, is_permanent=True)
        # A connection may ask for rows as mappings.
        return [tuple(row.values()) for row in rows] if rows and hasattr(rows[0], "values") else rows

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(str(column[0]) for column in self._cursor.description)

    def chunks_from(self, rows: list[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows that were read first, and all others."""
        while rows:
            yield rows
            rows = self.read()

    @property
    def _driver(self) -> str:
        return type(self._connection).__module__.partition(".")[0]

    @property
    def _is_at_client(self) -> bool:
        return self._driver not in _NAMED_CURSORS

    def _streaming_cursor(self) -> Any:
        """Return a cursor that reads some rows at a time, where the driver has one."""
        if not self.dialect.has_cursors:
            return self._connection
        if not self._is_at_client:
            return self._connection.cursor(name=f"sms_{uuid4().hex}")
        if self._driver in _CURSOR_CLASSES:
            return self._connection.cursor(import_module(f"{self._driver}.cursors").SSCursor)
        return self._connection.cursor()


_NO_ROWS = (
    "The statement in `sql` returns no rows. Give one query: SELECT, or WITH and SELECT. Nothing was sent."
)
_RIGHTS = "Give the connection's user the right to read what the query reads. Nothing was sent."
_PASSING = "Nothing was sent. A retry is safe."
_WRONG = (
    "Nothing was sent. If the query is wrong, correct `sql` or `sql_parameters`: it must be one query that "
    "only reads, and its parameters are written as the driver writes them."
)


def _failed(refusal: Refusal) -> QueryFailed:
    hint = refusal.hint(_RIGHTS, _PASSING) if refusal.needs_a_person or not refusal.is_permanent else _WRONG
    message = refusal.message("its text is not shown, as it may hold numbers", hint)
    return QueryFailed(message, refusal.kind, refusal.code, is_permanent=refusal.needs_a_person)
