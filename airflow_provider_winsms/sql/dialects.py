"""The dialects: the differences between databases."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.sql.values import utc

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from decimal import Decimal

_REPLACE_VIEW = ("CREATE OR REPLACE VIEW {view} AS {query}",)
_RECREATE_VIEW = ("DROP VIEW IF EXISTS {view}", "CREATE VIEW {view} AS {query}")


class BulkMethod(StrEnum):
    """The way in which many rows are inserted at once."""

    ROWS = "rows"
    """``executemany``."""

    COPY = "copy"
    """``COPY ... FROM STDIN``, in PostgreSQL's text format."""

    VALUES = "values"
    """Statements with many rows each, with numbered placeholders."""

    ARRAYS = "arrays"
    """One array for each column; ``unnest`` makes rows of them."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The differences of one database from the others.

    :param instant: converts an instant for the driver.
    :param amount: converts an amount for the driver.
    :param unicode: methods of drivers, with their arguments, that make a connection take all of Unicode. The
        first that the connection has is called.
    :param opening: the statements that set a new connection up, independently of the defaults of its user,
        database and server. Reading and storing values depend on them.
    :param durable: further such statements, for a connection whose commits must survive a crash of the
        server.
    :param lossy: the query for the server's settings that can lose commits, each with its value.
    :param volatile: the query that finds a row if the whole database ends with its connection.
    :param packet: the query for the most bytes of a statement, where the driver puts rows into one.
    :param encoding: the query for the encoding of the database.
    :param clock: the query for the time of the server's clock, in whole seconds since 1970; empty if there is
        no server.
    :param lock: the statements that begin a transaction of which only one runs at a time. ``{lock_name}`` is
        a literal.
    :param long_lock: the query that such a transaction needs too if it is long. It returns 1, and lasts for
        the connection.
    :param by_index: the query that lets the transaction look rows up by indexes, even if the planner does not
        know yet how many rows a table has.
    :param bulk: the way in which many rows are inserted at once.
    :param has_if_not_exists: whether ``CREATE TABLE IF NOT EXISTS`` skips a table that is there.
    :param has_temporary_tables: whether ``CREATE TEMPORARY TABLE`` creates a table for the length of a
        connection.
    :param keeps_temporary_in_memory: whether such a table takes memory of this process.
    :param skips_conflicts: whether ``ON CONFLICT (...) DO NOTHING`` skips existing rows.
    :param no_spill: the statement that keeps a transaction from blocking readers before its commit. It takes
        memory.
    :param has_indexes: whether a loaded table gets indexes besides that of its key.
    :param has_indexes_inside: whether the statement that creates a table or its columns creates the index.
    :param column_types: the query for the names and types of the columns of a table: ``{table}`` is its
        quoted name, ``{name}`` its plain one, ``{schema}`` its schema as a literal or NULL; empty if none is
        known.
    :param change_type: the statement that changes the type of a column; empty if there is none. ``{null}``
        says whether it may be null.
    :param has_cursors: whether a connection has cursors; otherwise it serves as one.
    :param views: the ways to create or replace ``{view}``, each with its statements. A later way is for a
        view that an earlier one cannot replace. Empty if the figures of views are not tested in the database.
    """

    instant: Callable[[datetime], Any] = utc
    amount: Callable[[Decimal], Any] = lambda amount: amount
    unicode: tuple[tuple[str, tuple[str, ...]], ...] = ()
    opening: tuple[str, ...] = ()
    durable: tuple[str, ...] = ()
    lossy: str = ""
    volatile: str = ""
    packet: str = ""
    encoding: str = ""
    clock: str = ""
    lock: tuple[str, ...] = ()
    long_lock: str = ""
    by_index: str = ""
    bulk: BulkMethod = BulkMethod.ROWS
    has_if_not_exists: bool = True
    has_temporary_tables: bool = True
    keeps_temporary_in_memory: bool = False
    skips_conflicts: bool = False
    no_spill: str = ""
    has_indexes: bool = True
    has_indexes_inside: bool = False
    column_types: str = ""
    change_type: str = ""
    has_cursors: bool = True
    views: tuple[tuple[str, ...], ...] = ()


DIALECTS = {
    "postgres": Dialect(
        # psycopg 2 remembers the encoding that a connection began with.
        unicode=(("set_client_encoding", ("UTF8",)),),
        opening=(
            # A role or a database may have its own defaults, which drivers cannot read or restore.
            "SET client_encoding = 'UTF8'",
            "SET datestyle = 'ISO, MDY'",
            "SET timezone = 'UTC'",
            "SET standard_conforming_strings = on",
            # A process that freezes in a transaction must not keep its locks for ever.
            "SET idle_in_transaction_session_timeout = '60s'",
            # The default may differ. A transaction that waited for a lock must see its last holder's rows.
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
            # The server's log would quote rows that it refuses. Only a superuser may set this.
            (
                "SELECT set_config('log_error_verbosity', 'terse', false) FROM pg_catalog.pg_roles "
                "WHERE rolname = current_user AND rolsuper"
            ),
        ),
        # Only the value `remote_apply` promises more.
        durable=(
            (
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') <> 'remote_apply'"
            ),
        ),
        lossy="SELECT name, setting FROM pg_catalog.pg_settings WHERE name = 'fsync' AND setting = 'off'",
        encoding="SELECT current_setting('server_encoding') AS encoding",
        clock="SELECT FLOOR(EXTRACT(EPOCH FROM clock_timestamp())) AS seconds",
        # Needs no privilege, unlike LOCK TABLE, and is released with the transaction.
        lock=("SELECT pg_advisory_xact_lock(hashtext({lock_name}))",),
        # Two pages of a gateway may be minutes apart.
        long_lock=(
            "SELECT COUNT(*) AS is_held FROM (SELECT "
            "set_config('idle_in_transaction_session_timeout', '30min', true)) AS setting"
        ),
        # Just after many rows were written, the planner overestimates a list of values. Then it reads a whole
        # table for each list, or spends 100 ms on compiling and on starting processes.
        by_index=(
            "SELECT set_config('enable_seqscan', 'off', true) AS scan, "
            "set_config('jit', 'off', true) AS jit, "
            "set_config('max_parallel_workers_per_gather', '0', true) AS workers"
        ),
        bulk=BulkMethod.COPY,
        column_types=(
            "SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_catalog.pg_attribute "
            "WHERE attrelid = to_regclass('{table}') AND attnum > 0 AND NOT attisdropped"
        ),
        change_type="ALTER TABLE {table} ALTER COLUMN {column} TYPE {type}",
        skips_conflicts=True,
        # A view below other views can only be replaced by one with the same columns, and more at the end.
        views=(_REPLACE_VIEW, _RECREATE_VIEW),
    ),
    "sqlite": Dialect(
        # SQLite has no type for time; its functions take ISO 8601, which sorts as text.
        instant=lambda instant: utc(instant).isoformat(),
        # SQLite has no decimals either. A sum of these is right once it is rounded to four places.
        amount=str,
        # SQLite takes one writer at a time; the driver's default lets the next one wait for only 5 seconds.
        # Staged rows would else be written into a temporary file.
        opening=("PRAGMA busy_timeout = 60000", "PRAGMA temp_store = MEMORY"),
        # Below EXTRA, a commit's journal may reappear after a power cut and undo it. On macOS, nothing is on
        # disk without `fullfsync`.
        durable=("PRAGMA synchronous = EXTRA", "PRAGMA fullfsync = ON"),
        lossy=(
            "SELECT 'journal_mode' AS name, journal_mode FROM pragma_journal_mode "
            "WHERE journal_mode IN ('memory', 'off')"
        ),
        volatile="SELECT name FROM pragma_database_list WHERE name = 'main' AND COALESCE(file, '') = ''",
        lock=("BEGIN IMMEDIATE",),
        bulk=BulkMethod.VALUES,
        keeps_temporary_in_memory=True,
        no_spill="PRAGMA cache_spill = OFF",
        column_types="SELECT name, type FROM pragma_table_info('{name}', {schema})",
        skips_conflicts=True,
        views=(_RECREATE_VIEW,),
    ),
    "mysql": Dialect(
        # DATETIME has no zone.
        instant=lambda instant: utc(instant).replace(tzinfo=None),
        # A driver encodes parameters in the character set that it was told.
        unicode=(
            ("set_charset_collation", ("utf8mb4", "utf8mb4_general_ci")),
            ("set_character_set", ("utf8mb4",)),
        ),
        opening=(
            # Under `"charset": "utf8"` a character has three bytes, and an emoji takes four.
            "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci",
            # A value that does not fit is an error, and is not cut off. All other modes are off: some change
            # values (EMPTY_STRING_IS_NULL) or the syntax (NO_BACKSLASH_ESCAPES, ORACLE).
            "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
            "SET SESSION time_zone = '+00:00'",
            # A server's default of these may cut a query short, or refuse to change rows.
            "SET SESSION sql_select_limit = 18446744073709551615",
            "SET SESSION sql_safe_updates = 0",
            # As in PostgreSQL. The default also locks the gaps between rows, so unrelated transactions wait.
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            # Drivers put values into statements, and the log of slow statements would keep them.
            "SET SESSION long_query_time = 31536000",
        ),
        lossy=(
            "SELECT 'innodb_flush_log_at_trx_commit' AS name, "
            "@@GLOBAL.innodb_flush_log_at_trx_commit AS setting "
            "FROM DUAL WHERE @@GLOBAL.innodb_flush_log_at_trx_commit IN (0, 2) "
            # A server that restarts rolls back transactions that its binary log lacks.
            "UNION ALL SELECT 'sync_binlog', @@GLOBAL.sync_binlog "
            "FROM DUAL WHERE @@GLOBAL.log_bin = 1 AND @@GLOBAL.sync_binlog <> 1"
        ),
        packet="SELECT @@SESSION.max_allowed_packet AS bytes",
        clock="SELECT UNIX_TIMESTAMP() AS seconds",
        column_types=(
            "SELECT column_name AS name, column_type AS type FROM information_schema.columns "
            "WHERE table_schema = COALESCE({schema}, DATABASE()) AND table_name = '{name}'"
        ),
        change_type="ALTER TABLE {table} MODIFY {column} {type} {null}",
        # Each of its DDL statements is a transaction.
        has_indexes_inside=True,
        # With row locks alone, two loads would wait for each other in turn.
        long_lock="SELECT GET_LOCK(MD5({lock_name}), 3600) AS is_held",
        views=(_REPLACE_VIEW,),
    ),
    "duckdb": Dialect(
        opening=("SET TimeZone = 'UTC'", "SET enable_progress_bar = false"),
        # Without it each statement is a transaction. Only one process opens the file, so it needs no lock.
        lock=("BEGIN TRANSACTION",),
        keeps_temporary_in_memory=True,
        bulk=BulkMethod.ARRAYS,
        skips_conflicts=True,
        # With an index, DuckDB 1.4 refuses to update a row twice in a transaction: it deletes and inserts it.
        has_indexes=False,
        column_types=(
            "SELECT column_name AS name, data_type AS type FROM information_schema.columns "
            "WHERE table_schema = COALESCE({schema}, current_schema()) AND table_name = '{name}'"
        ),
        # Its cursors are separate connections, in separate transactions.
        has_cursors=False,
        views=(_REPLACE_VIEW,),
    ),
    # The statements for the following databases are compiled in tests, and not run.
    "oracle": Dialect(
        # Its driver drops the zone of an instant, and the database puts that of the session in its place.
        opening=("ALTER SESSION SET TIME_ZONE = '+00:00'",),
        # Oracle 23ai has it. Its temporary tables are permanent; only their rows are temporary.
        has_if_not_exists=False,
        has_temporary_tables=False,
    ),
    "redshift": Dialect(has_temporary_tables=False, has_indexes=False),
    "snowflake": Dialect(has_temporary_tables=False, has_indexes=False),
}
"""By the connection's type. MariaDB's is ``mysql``."""

STANDARD = Dialect(has_if_not_exists=False, has_temporary_tables=False)
"""The dialect of every other database."""
