"""A database, whichever has a ``DbApiHook``: one connection, its statements and its errors.

A driver's own words may quote a row, and so a phone number or a text. They are left behind here: what is
raised says what was tried, and the type and the code of the driver's error.
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from hashlib import sha256
from io import StringIO
from itertools import chain
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_winsms.exceptions import ConfigurationError, SmsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook

T = TypeVar("T")

_REPEATS = 4
"""How often a transaction is done again that was lost, or broken off in favour of another."""

_LACKS_RIGHTS = frozenset({"42501", "1142", "1044"})
_LACKS_SCHEMA = frozenset({"3F000", "3D000", "1049"})
_MAY_ONLY_READ = frozenset({"SQLITE_READONLY", "SQLITE_READONLY_DIRECTORY"})
_IS_READ_ONLY = frozenset({"25006", "1290", "1836"})
"""A standby answers so, which may be a primary in a moment."""

_BROKEN_OFF = frozenset({"40001", "40P01", "1213", "1020", "SQLITE_BUSY_SNAPSHOT"})
"""A deadlock, or a row that changed underneath: the codes of PostgreSQL, MySQL and MariaDB, and SQLite."""

_TOO_LARGE = 1153
"""MySQL's number for a packet above ``max_allowed_packet``."""

_UNENCODABLE = frozenset({"22P05", "22021", "1366", "UnicodeEncodeError"})
"""A character that the encoding of the database, or of a column, does not have."""

_HELPED_BY_A_REPEAT = frozenset(
    {"23505", "1062", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "1203", "1226"}
)
"""Rows that another program wrote at the same moment; or too many connections: MySQL says 42000."""

_PERMANENT = (
    # SQLSTATE: not supported, data, constraints, logins, databases, schemas, and syntax or a name.
    *("0A", "22", "23", "28", "3D", "3F", "42"),
    # MySQL: rights, logins, databases, nulls, columns, syntax, tables, packets, ranges, values, references.
    *("1044", "1045", "1048", "1049", "1054", "1064", "1142", "1146", "1153", "1264", "1265", "1292", "1364"),
    *("1366", "1406", "1451", "1452"),
    *("SQLITE_CONSTRAINT", "SQLITE_ERROR", "SQLITE_MISMATCH", "SQLITE_READONLY", "SQLITE_TOOBIG"),
    # Types of errors, where a driver gives no code.
    *("DataError", "ProgrammingError", "NotSupportedError", "UnicodeEncodeError", "PacketTooLarge"),
    *("BinderException", "CatalogException", "ConstraintException", "ConversionException", "ParserException"),
)
"""What codes, or types, of errors begin with that are the same at each repeat."""

_MENDS: tuple[tuple[frozenset[str], str], ...] = (
    (
        _LACKS_SCHEMA,
        (
            "The schema that the connection leads to does not exist. Create it first, with CREATE SCHEMA or, "
            "in MySQL and MariaDB, CREATE DATABASE: only tables and views are created here."
        ),
    ),
    (_MAY_ONLY_READ, "The file may only be read. Let this process write to it and to its folder."),
    (_IS_READ_ONLY, "The server takes no writes, as a standby. Connect to the primary. A repeat is safe."),
    (
        frozenset({str(_TOO_LARGE)}),
        (
            "One row is longer than the server's variable `max_allowed_packet`. Raise it there, with "
            "SET GLOBAL max_allowed_packet = <bytes> and in its configuration."
        ),
    ),
)
"""What to do about errors of some codes."""

_HIGHEST_ERROR_NUMBER = 99_999

_LONGEST_NAME = 63
"""PostgreSQL cuts names off after so many bytes, and says so only in a notice."""

_VALUE_BYTES = 40
"""The most that a number or a moment takes in a statement, and what stands between texts."""

_EXTRAS = ("duckdb", "mysql", "postgres", "sqlite")
"""The extras of this package, each of which brings the hook for connections of that type."""

PACKAGES = {
    "duckdb": "airflow-provider-duckdb",
    "gcpbigquery": "apache-airflow-providers-google",
    "hiveserver2": "apache-airflow-providers-apache-hive",
    "mssql": "apache-airflow-providers-microsoft-mssql",
    "redshift": "apache-airflow-providers-amazon",
    **{
        name: f"apache-airflow-providers-{name}"
        for name in (
            "databricks",
            "exasol",
            "jdbc",
            "mysql",
            "odbc",
            "oracle",
            "postgres",
            "presto",
            "snowflake",
            "sqlite",
            "teradata",
            "trino",
            "vertica",
        )
    },
}
"""The packages with hooks of databases, by the types of their connections."""

_COPY_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
"""The backslash comes first, as it is in the others."""


_UPDATE_FROM = "UPDATE {target} SET {values} FROM {other} WHERE {match} AND ({condition})"


class Kind(StrEnum):
    """What a column holds; each database has its own type for it."""

    ID = "id"
    """A whole number of 64 bits."""

    COUNT = "count"
    """A whole number of 32 bits."""

    AMOUNT = "amount"
    """An amount of credits, to two decimal places."""

    NUMBER = "number"
    """A phone number, as digits, or its hash."""

    TEXT = "text"
    """A text of any length."""

    INSTANT = "instant"
    """A moment, in UTC."""

    NAME = "name"
    """An identifier that Airflow gave."""

    WORD = "word"
    """One of a few words, or hexadecimal digits, of up to 64 letters."""


def utc(moment: datetime) -> datetime:
    """Return a plain ``datetime`` in UTC, as drivers look types up by name."""
    return datetime.fromtimestamp(moment.timestamp(), tz=UTC)


def read_instant(value: Any) -> datetime:
    """Return the moment that a driver read from a column of the kind ``INSTANT``."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def read_amount(value: Any) -> Decimal:
    """Return the amount that a driver read from a column of the kind ``AMOUNT``, or that it summed up."""
    return round(Decimal(str(value)), 2)


def storable(text: str) -> str:
    """Put U+FFFD for what databases refuse: NUL, and the half of an emoji that a cut in a text leaves."""
    if text.isascii() and "\0" not in text:
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\ufffd")


class Bulk(StrEnum):
    """How a database takes many rows at once."""

    ROWS = "rows"
    """``executemany``."""

    COPY = "copy"
    """``COPY ... FROM STDIN``, in PostgreSQL's text format."""

    ARRAYS = "arrays"
    """One array for each column, of which ``unnest`` makes rows."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between databases.

    :param types: the type of a column, for each kind.
    :param instant: what a driver is given for a moment in UTC.
    :param amount: what a driver is given for an amount.
    :param unicode: methods of drivers that make a connection take all of Unicode, with their arguments; the
        first that it has is called.
    :param opening: what is said to a new connection, whatever the defaults of its user, database and server:
        all that the reading and the storing of values depend on.
    :param durable: what is said as well to a connection whose commits must outlive a crash of the server.
    :param lossy: a query for the settings of a server, each with its value, by which commits may be lost.
    :param volatile: a query that finds a row if the whole database ends with its connection.
    :param packet: the query for how many bytes a statement may have, where a driver puts rows into one.
    :param encoding: the query for the encoding of the database.
    :param lock: what begins a transaction of which only one is made at a time. ``{lock_name}`` is a literal.
    :param long_lock: what else is needed for that where the transaction is long: it answers 1, and lasts for
        the connection.
    :param quote: how a name is quoted; ``None``: as the hook says.
    :param bulk: how it takes many rows at once.
    :param options: what follows the columns of a new table.
    :param temporary: what begins the statement that makes a table for the length of a connection; empty, if
        none is known.
    :param keeps_temporary_in_memory: whether such a table takes our memory.
    :param empty: the statement that deletes all rows of such a table.
    :param update: the statement that updates rows of ``{target}`` from those of ``{other}`` that ``{match}``,
        if ``{condition}``; empty: values can only be looked up, one by one.
    :param joins_to_update: whether it joins them, so that columns of ``{values}`` need their table's name.
    :param skips_conflicts: whether ``ON CONFLICT (...) DO NOTHING`` leaves out rows that are there already.
    :param no_spill: what keeps a transaction from locking readers out before its commit, and takes memory.
    :param index: the statement that makes an index; empty, if none is to be made. ``{schema}`` is the table's
        schema with a dot behind it, if there is one.
    :param has_indexes_inside: whether an index is made in the statement that makes its table or its columns.
    :param has_cursors: whether a connection has cursors, rather than being one.
    :param readable: what is selected of a column with a moment, so that ``read_instant`` can read it.
    """

    types: Mapping[Kind, str]
    instant: Callable[[datetime], Any] = utc
    amount: Callable[[Decimal], Any] = lambda amount: amount
    unicode: tuple[tuple[str, tuple[str, ...]], ...] = ()
    opening: tuple[str, ...] = ()
    durable: tuple[str, ...] = ()
    lossy: str = ""
    volatile: str = ""
    packet: str = ""
    encoding: str = ""
    lock: tuple[str, ...] = ()
    long_lock: str = ""
    quote: str | None = None
    bulk: Bulk = Bulk.ROWS
    options: str = ""
    temporary: str = "CREATE TEMPORARY TABLE"
    keeps_temporary_in_memory: bool = False
    empty: str = "DELETE FROM {table}"
    update: str = _UPDATE_FROM
    joins_to_update: bool = False
    skips_conflicts: bool = False
    no_spill: str = ""
    index: str = "CREATE INDEX {name} ON {schema}{table} ({columns})"
    has_indexes_inside: bool = False
    has_cursors: bool = True
    readable: str = "{column}"


DIALECTS = {
    "postgres": Dialect(
        types={
            Kind.ID: "BIGINT",
            Kind.COUNT: "INTEGER",
            Kind.AMOUNT: "NUMERIC(12, 2)",
            Kind.NUMBER: "TEXT",
            Kind.TEXT: "TEXT",
            Kind.INSTANT: "TIMESTAMP WITH TIME ZONE",
            Kind.NAME: "TEXT",
            Kind.WORD: "TEXT",
        },
        # psycopg 2 remembers the encoding that a connection began with.
        unicode=(("set_client_encoding", ("UTF8",)),),
        opening=(
            # A role or a database may have defaults of its own, which no driver can read or write back.
            "SET client_encoding = 'UTF8'",
            "SET datestyle = 'ISO, MDY'",
            "SET timezone = 'UTC'",
            "SET standard_conforming_strings = on",
            # A process that freezes in the middle of a transaction does not keep its locks for ever.
            "SET idle_in_transaction_session_timeout = '60s'",
            # Elsewhere the default may be another: what waited for a lock must see what its holder wrote.
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
            # The server's log would quote rows that it refuses. Only a superuser may say so.
            (
                "SELECT set_config('log_error_verbosity', 'terse', false) FROM pg_catalog.pg_roles "
                "WHERE rolname = current_user AND rolsuper"
            ),
        ),
        # Of all its values, only `remote_apply` promises more.
        durable=(
            (
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') <> 'remote_apply'"
            ),
        ),
        lossy="SELECT name, setting FROM pg_catalog.pg_settings WHERE name = 'fsync' AND setting = 'off'",
        encoding="SELECT current_setting('server_encoding') AS encoding",
        # Needs no privilege, unlike LOCK TABLE, and is released with the transaction.
        lock=("SELECT pg_advisory_xact_lock(hashtext({lock_name}))",),
        # Between two pages of a gateway there may be minutes.
        long_lock=(
            "SELECT COUNT(*) AS is_held FROM (SELECT "
            "set_config('idle_in_transaction_session_timeout', '30min', true)) AS setting"
        ),
        bulk=Bulk.COPY,
        empty="TRUNCATE TABLE {table}",
        index="CREATE INDEX IF NOT EXISTS {name} ON {schema}{table} ({columns})",
        skips_conflicts=True,
    ),
    "sqlite": Dialect(
        types={
            Kind.ID: "INTEGER",
            Kind.COUNT: "INTEGER",
            Kind.AMOUNT: "NUMERIC",
            Kind.NUMBER: "TEXT",
            Kind.TEXT: "TEXT",
            Kind.INSTANT: "TEXT",
            Kind.NAME: "TEXT",
            Kind.WORD: "TEXT",
        },
        # SQLite has no type for time; its functions take ISO 8601, which sorts as text.
        instant=lambda moment: utc(moment).isoformat(),
        # Nor has it decimals. A sum of these is right once it is rounded to two places.
        amount=str,
        # SQLite takes one writer at a time; the driver alone would let the next one wait for 5 seconds only.
        # What is staged there would else be written into a temporary file.
        opening=("PRAGMA busy_timeout = 60000", "PRAGMA temp_store = MEMORY"),
        # With less than EXTRA, the journal of a commit may be back after a power cut, and undo it. macOS has
        # written nothing to disk without `fullfsync`.
        durable=("PRAGMA synchronous = EXTRA", "PRAGMA fullfsync = ON"),
        lossy=(
            "SELECT 'journal_mode' AS name, journal_mode FROM pragma_journal_mode "
            "WHERE journal_mode IN ('memory', 'off')"
        ),
        volatile="SELECT name FROM pragma_database_list WHERE name = 'main' AND COALESCE(file, '') = ''",
        lock=("BEGIN IMMEDIATE",),
        keeps_temporary_in_memory=True,
        no_spill="PRAGMA cache_spill = OFF",
        # The name of an index has the schema, and that of its table must have none.
        index="CREATE INDEX IF NOT EXISTS {schema}{name} ON {table} ({columns})",
        # It would pass the whole table, and look each row up among those that are staged.
        update=(
            "UPDATE {target} SET {values} FROM {other} WHERE {match} AND {target}.rowid IN "
            "(SELECT {target}.rowid FROM {other} CROSS JOIN {target} ON {match} WHERE {condition})"
        ),
        skips_conflicts=True,
    ),
    "mysql": Dialect(
        types={
            Kind.ID: "BIGINT",
            Kind.COUNT: "INTEGER",
            Kind.AMOUNT: "NUMERIC(12, 2)",
            Kind.NUMBER: "VARCHAR(100)",
            Kind.TEXT: "LONGTEXT",
            Kind.INSTANT: "DATETIME(6)",
            Kind.NAME: "VARCHAR(250)",
            Kind.WORD: "VARCHAR(64)",
        },
        # A hook may not know that double quotes are for texts there.
        quote="`{}`",
        # DATETIME has no zone.
        instant=lambda moment: utc(moment).replace(tzinfo=None),
        # A driver encodes what it sends by the character set that it knows of.
        unicode=(
            ("set_charset_collation", ("utf8mb4", "utf8mb4_general_ci")),
            ("set_character_set", ("utf8mb4",)),
        ),
        opening=(
            # Under `"charset": "utf8"` a character has three bytes, and an emoji takes four.
            "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
            # What does not fit is an error, not cut off. All other modes are off, as some of them change
            # values (EMPTY_STRING_IS_NULL), or how statements are read (NO_BACKSLASH_ESCAPES, ORACLE).
            "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
            "SET SESSION time_zone = '+00:00'",
            # Each would cut a query short, or refuse to change rows, by a default of the server.
            "SET SESSION sql_select_limit = 18446744073709551615",
            "SET SESSION sql_safe_updates = 0",
            # As in PostgreSQL. The default locks the gaps between rows too, by which strangers wait for each
            # other.
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            # Drivers write values into statements, and the log of slow ones would keep them.
            "SET SESSION long_query_time = 31536000",
        ),
        lossy=(
            "SELECT 'innodb_flush_log_at_trx_commit' AS name, "
            "@@GLOBAL.innodb_flush_log_at_trx_commit AS setting "
            "FROM DUAL WHERE @@GLOBAL.innodb_flush_log_at_trx_commit IN (0, 2) "
            # A server that starts again takes back what its binary log lacks.
            "UNION ALL SELECT 'sync_binlog', @@GLOBAL.sync_binlog "
            "FROM DUAL WHERE @@GLOBAL.log_bin = 1 AND @@GLOBAL.sync_binlog <> 1"
        ),
        packet="SELECT @@SESSION.max_allowed_packet AS bytes",
        # Transactions, all of Unicode, and upper and lower case that differ, whatever the server's defaults.
        options=" ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        update="UPDATE {target} INNER JOIN {other} ON {match} SET {values} WHERE {condition}",
        joins_to_update=True,
        index="INDEX {name} ({columns})",
        # Each of its statements about tables is a transaction.
        has_indexes_inside=True,
        # Row locks alone make two loads wait for each other, in turns.
        long_lock="SELECT GET_LOCK(MD5({lock_name}), 3600) AS is_held",
    ),
    "duckdb": Dialect(
        types={
            Kind.ID: "BIGINT",
            Kind.COUNT: "INTEGER",
            Kind.AMOUNT: "DECIMAL(12, 2)",
            Kind.NUMBER: "TEXT",
            Kind.TEXT: "TEXT",
            Kind.INSTANT: "TIMESTAMP WITH TIME ZONE",
            Kind.NAME: "TEXT",
            Kind.WORD: "TEXT",
        },
        opening=("SET TimeZone = 'UTC'", "SET enable_progress_bar = false"),
        # Without it each statement is a transaction. Only one process has the file, and it needs no lock.
        lock=("BEGIN TRANSACTION",),
        keeps_temporary_in_memory=True,
        bulk=Bulk.ARRAYS,
        skips_conflicts=True,
        # With one, DuckDB 1.4 refuses to update a row twice in a transaction, as it deletes and inserts it.
        index="",
        # Its cursors are connections of their own, in transactions of their own.
        has_cursors=False,
        # Else it asks for a package that it does not bring.
        readable="CAST({column} AS VARCHAR)",
    ),
}
"""By the connection's type. MariaDB's is ``mysql``."""

STANDARD = Dialect(
    types={
        Kind.ID: "BIGINT",
        Kind.COUNT: "INTEGER",
        Kind.AMOUNT: "NUMERIC(12, 2)",
        Kind.NUMBER: "VARCHAR(100)",
        Kind.TEXT: "VARCHAR(4000)",
        Kind.INSTANT: "TIMESTAMP WITH TIME ZONE",
        Kind.NAME: "VARCHAR(250)",
        Kind.WORD: "VARCHAR(64)",
    },
    temporary="",
    update="",
)
"""For every other database; the types are those of standard SQL."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows, in the shape in which a database takes them fastest."""

    length: int
    content: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the database would not do, without its words.

    :param step: what was tried: "commit", "read the rows".
    :param kind: the type of the driver's error.
    :param codes: its codes: SQLSTATE, or what the driver has instead, and other numbers.
    :param encoding: the database's, where it is one of its properties.
    """

    step: str
    kind: str
    codes: tuple[str, ...]
    encoding: str = ""

    @property
    def code(self) -> str:
        """SQLSTATE, or what the driver has instead, or an empty string."""
        return next(iter(self.codes), "")

    @property
    def lacks_rights(self) -> bool:
        """Whether the connection's user may not do that."""
        return not _LACKS_RIGHTS.isdisjoint(self.codes)

    @property
    def was_broken_off(self) -> bool:
        """Whether the transaction gave way to another, and may pass the next time."""
        return not _BROKEN_OFF.isdisjoint(self.codes)

    @property
    def is_permanent(self) -> bool:
        """Whether a repeat meets the same."""
        if not _HELPED_BY_A_REPEAT.isdisjoint(self.codes):
            return False
        return any(code.startswith(_PERMANENT) for code in self.codes or (self.kind,))

    @property
    def needs_a_person(self) -> bool:
        """Whether nothing helps but that somebody changes the database, its rights or what is stored."""
        certain = _LACKS_RIGHTS | _LACKS_SCHEMA | _MAY_ONLY_READ | {str(_TOO_LARGE)}
        return not certain.isdisjoint(self.codes) or self._is_unencodable

    @property
    def _is_unencodable(self) -> bool:
        return not _UNENCODABLE.isdisjoint((*self.codes, self.kind))

    def hint(self, rights: str, passing: str) -> str:
        """Return what to do.

        :param rights: what to say if the connection's user lacks rights.
        :param passing: what to say where a repeat can help.
        """
        if self.lacks_rights:
            return rights
        for codes, words in _MENDS:
            if not codes.isdisjoint(self.codes):
                return words
        if self._is_unencodable:
            named = (
                f"The encoding {self.encoding} of the database" if self.encoding else "The column's encoding"
            )
            return (
                f"{named} lacks a character of a row. Use a database or a column whose encoding is UTF-8 "
                "(PostgreSQL: ENCODING 'UTF8'; MySQL: utf8mb4), or store no texts."
            )
        return "A repeat meets the same: mend the cause first." if self.is_permanent else passing

    def message(self, where: str, hint: str) -> str:
        """Return what to tell a person."""
        cause = f"{self.kind}, {self.code}" if self.code else self.kind
        return f"The database could not {self.step} ({cause}; {where}). {hint}"


@dataclass(frozen=True, slots=True)
class NotOpened(Refusal):
    """A database that could not be connected to; ``step`` is the id of its connection."""

    def message(self, where: str, hint: str) -> str:  # noqa: ARG002 - nothing was tried there yet
        """Return what to tell a person."""
        mend = f" {hint}" if self.needs_a_person else ""
        return f"The database of the connection {self.step!r} could not be opened ({self.kind}).{mend}"


class PacketTooLarge(Exception):  # noqa: N818 - it names what was found
    """One row is longer than the server lets a statement be."""


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
        self.insert_packed(step, table, names, [self.pack(list(zip(*rows, strict=True)))])

    def pack(self, columns: Sequence[Sequence[Any]]) -> Packed:
        """Put rows, given as columns of equal length, into the shape that ``insert_packed`` takes.

        It needs no connection, so that it may be done in another thread.
        """
        return Packed(len(columns[0]) if columns else 0, _PACK[self.dialect.bulk](columns))

    def insert_packed(self, step: str, table: str, names: Sequence[str], packs: Sequence[Packed]) -> None:
        """Insert rows that were packed, in one statement if the database has one for that.

        :param table: as it stands in a statement.
        """
        filled = [pack.content for pack in packs if pack.length]
        listed = ", ".join(map(self.quoted, names))

        def insert(cursor: Any) -> None:
            if self.dialect.bulk is Bulk.COPY:
                _copy(cursor, f"COPY {table} ({listed}) FROM STDIN", filled)
            elif self.dialect.bulk is Bulk.ARRAYS:
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
        return _cut(rows, self._packet - 2 * len(statement)) if self._packet else [rows]

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
            self._refusal = NotOpened(conn_id, type(error).__name__, _codes(error))
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
            self._refusal = Refusal(step, type(error).__name__, _codes(error), self._encoding)
        raise self._refused(self._refusal)


def missing_module(error: ImportError) -> str:
    """Return what could not be imported."""
    return f"the Python module {error.name!r}" if error.name else f"a driver ({type(error).__name__})"


def how_to_install(conn_type: str) -> str:
    """Return the command that installs what connections of a type need."""
    if conn_type in _EXTRAS:
        return f"Install it: pip install 'airflow-provider-winsms[{conn_type}]'"
    return f"Install it: pip install {PACKAGES[conn_type]}" if conn_type in PACKAGES else "Install it."


def index_name(table: str, columns: Iterable[str]) -> str:
    """Return the name of a table's index, which says what it is of, and is no longer than databases take."""
    listed = "_".join(columns)
    name = f"{table}_{listed}"
    if len(name) <= _LONGEST_NAME:
        return name
    ending = f"_{sha256(name.encode()).hexdigest()[:8]}_{listed}"
    return table[: _LONGEST_NAME - len(ending)] + ending


def _cut(rows: Iterable[tuple[Any, ...]], room: int) -> Iterator[list[tuple[Any, ...]]]:
    """Cut rows into lists that take no more bytes in a statement than there is room.

    :raises PacketTooLarge: if there is none for a single row.
    """
    alike: list[tuple[Any, ...]] = []
    left = room
    for row in rows:
        size = _most_bytes(row)
        if size > left and alike:
            yield alike
            alike, left = [], room
        if size > room and sum(len(str(value).encode()) for value in row) > room:
            raise PacketTooLarge(_TOO_LARGE)
        alike.append(row)
        left -= size
    if alike:
        yield alike


def _most_bytes(row: tuple[Any, ...]) -> int:
    """Return how many bytes a row takes in a statement at most, with a backslash before each of a text."""
    return sum(
        _VALUE_BYTES + 2 * len(value if value.isascii() else value.encode())
        if isinstance(value, str)
        else _VALUE_BYTES
        for value in row
    )


def _copy(cursor: Any, statement: str, texts: Iterable[str]) -> None:
    """Stream rows, through psycopg 3 or 2."""
    if hasattr(cursor, "copy_expert"):
        cursor.copy_expert(statement, StringIO("".join(texts)))
    else:
        with cursor.copy(statement) as stream:
            for text in texts:
                stream.write(text)


def _copy_text(columns: Sequence[Sequence[Any]]) -> str:
    """Return rows as PostgreSQL's text format has them."""
    varied = list(columns)
    ending = "\n"
    # What all rows end with is written once, and goes between them.
    while len(varied) > 1 and _is_constant(varied[-1]):
        ending = f"\t{_copy_cell(varied.pop()[0])}{ending}"
    rows = ending.join(map("\t".join, zip(*map(_copy_cells, varied), strict=True)))
    return f"{rows}{ending}" if columns and columns[0] else ""


def _is_constant(values: Sequence[Any]) -> bool:
    return len(values) > 0 and values[0] is values[-1] and list(values).count(values[0]) == len(values)


def _copy_cells(values: Sequence[Any]) -> Iterable[str]:
    kinds = set(map(type, values))
    if kinds == {int}:
        return map(str, values)
    if kinds == {str}:
        return _copy_texts(values)
    if kinds <= {int, NoneType}:
        return ["\\N" if value is None else str(value) for value in values]
    # The same moment, or the same word, stands in many rows, and is one object there.
    single = dict(zip(map(id, values), values, strict=True))
    cells = {place: _copy_cell(value) for place, value in single.items()}
    return map(cells.__getitem__, map(id, values))


def _copy_texts(values: Sequence[str]) -> Sequence[str]:
    """Escape all at once, which is many times faster. None holds a NUL, as no column takes one."""
    together = "\0".join(values)
    if not any(special in together for special in _COPY_ESCAPES):
        return values
    escaped = _escaped(together).split("\0")
    return escaped if len(escaped) == len(values) else list(map(_escaped, values))


def _copy_cell(value: Any) -> str:
    if isinstance(value, str):
        return _escaped(value)
    return "\\N" if value is None else str(value)


def _escaped(text: str) -> str:
    for special, escape in _COPY_ESCAPES.items():
        text = text.replace(special, escape)
    return text


_PACK: Mapping[Bulk, Callable[[Sequence[Sequence[Any]]], Any]] = {
    Bulk.ROWS: lambda columns: list(zip(*columns, strict=True)),
    Bulk.COPY: _copy_text,
    Bulk.ARRAYS: lambda columns: list(map(list, columns)),
}


def _codes(error: Exception) -> tuple[str, ...]:
    """Return the SQLSTATE, or SQLite's name for the error, and MySQL's number for it.

    No other part is known safe.
    """
    words = (getattr(error, name, None) for name in ("sqlstate", "pgcode", "sqlite_errorname"))
    number = next(iter(error.args), None)
    is_number = isinstance(number, int) and 0 < number <= _HIGHEST_ERROR_NUMBER
    return (*(word for word in words if isinstance(word, str)), *([str(number)] if is_number else []))
