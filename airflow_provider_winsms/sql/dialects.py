"""What the databases differ in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.sql.values import utc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from decimal import Decimal

_UPDATE_FROM = "UPDATE {target} SET {values} FROM {other} WHERE {match} AND ({condition})"


class ColumnType(StrEnum):
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


class BulkMethod(StrEnum):
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

    types: Mapping[ColumnType, str]
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
    bulk: BulkMethod = BulkMethod.ROWS
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
            ColumnType.ID: "BIGINT",
            ColumnType.COUNT: "INTEGER",
            ColumnType.AMOUNT: "NUMERIC(12, 2)",
            ColumnType.NUMBER: "TEXT",
            ColumnType.TEXT: "TEXT",
            ColumnType.INSTANT: "TIMESTAMP WITH TIME ZONE",
            ColumnType.NAME: "TEXT",
            ColumnType.WORD: "TEXT",
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
        bulk=BulkMethod.COPY,
        empty="TRUNCATE TABLE {table}",
        index="CREATE INDEX IF NOT EXISTS {name} ON {schema}{table} ({columns})",
        skips_conflicts=True,
    ),
    "sqlite": Dialect(
        types={
            ColumnType.ID: "INTEGER",
            ColumnType.COUNT: "INTEGER",
            ColumnType.AMOUNT: "NUMERIC",
            ColumnType.NUMBER: "TEXT",
            ColumnType.TEXT: "TEXT",
            ColumnType.INSTANT: "TEXT",
            ColumnType.NAME: "TEXT",
            ColumnType.WORD: "TEXT",
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
            ColumnType.ID: "BIGINT",
            ColumnType.COUNT: "INTEGER",
            ColumnType.AMOUNT: "NUMERIC(12, 2)",
            ColumnType.NUMBER: "VARCHAR(100)",
            ColumnType.TEXT: "LONGTEXT",
            ColumnType.INSTANT: "DATETIME(6)",
            ColumnType.NAME: "VARCHAR(250)",
            ColumnType.WORD: "VARCHAR(64)",
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
            ColumnType.ID: "BIGINT",
            ColumnType.COUNT: "INTEGER",
            ColumnType.AMOUNT: "DECIMAL(12, 2)",
            ColumnType.NUMBER: "TEXT",
            ColumnType.TEXT: "TEXT",
            ColumnType.INSTANT: "TIMESTAMP WITH TIME ZONE",
            ColumnType.NAME: "TEXT",
            ColumnType.WORD: "TEXT",
        },
        opening=("SET TimeZone = 'UTC'", "SET enable_progress_bar = false"),
        # Without it each statement is a transaction. Only one process has the file, and it needs no lock.
        lock=("BEGIN TRANSACTION",),
        keeps_temporary_in_memory=True,
        bulk=BulkMethod.ARRAYS,
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
        ColumnType.ID: "BIGINT",
        ColumnType.COUNT: "INTEGER",
        ColumnType.AMOUNT: "NUMERIC(12, 2)",
        ColumnType.NUMBER: "VARCHAR(100)",
        ColumnType.TEXT: "VARCHAR(4000)",
        ColumnType.INSTANT: "TIMESTAMP WITH TIME ZONE",
        ColumnType.NAME: "VARCHAR(250)",
        ColumnType.WORD: "VARCHAR(64)",
    },
    temporary="",
    update="",
)
"""For every other database; the types are those of standard SQL."""
