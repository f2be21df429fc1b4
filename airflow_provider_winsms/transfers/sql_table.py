"""The table that rows are loaded into, over one connection of whichever database.

Rows are staged in a temporary table, which nobody but the connection sees, and merged into the table by one
transaction. Between two batches no transaction stays open: SQLite would keep a lock that makes two loads
fail each other, and PostgreSQL an idle transaction while a page is on its way.
"""

from __future__ import annotations

import re
import uuid
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, LoadFailed
from airflow_provider_winsms.transfers.datasets import FIRST_SEEN, LAST_SEEN, LOADED, REMOVED, RUN, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_winsms.transfers.datasets import Column, Dataset, Load

T = TypeVar("T")

BATCH_ROWS = 1000
"""Rows of one ``executemany``."""

MERGE_ATTEMPTS = 3
"""How often a merge is tried: where a database has no lock below, two at once may refuse one of them."""

_INSUFFICIENT_PRIVILEGE = "42501"
_RIGHTS = (
    "The connection's user needs SELECT, INSERT and UPDATE on the table, TEMPORARY on the database, and, if "
    "the table is missing, CREATE on its schema."
)

# PostgreSQL cuts names off after 63 bytes, and says so only in a notice.
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between databases.

    :param types: the type of a column, for each kind.
    :param instant: what a driver is given for a moment in UTC.
    :param opening: what is said to a new connection.
    :param lock: what begins a merge, so that only one is made at a time, for a table without a key as well.
        ``{lock_name}`` is the table as a literal.
    """

    types: Mapping[Kind, str]
    instant: Callable[[datetime], Any]
    opening: tuple[str, ...] = ()
    lock: tuple[str, ...] = ()


DIALECTS = {
    "postgres": Dialect(
        types={
            Kind.ID: "BIGINT",
            Kind.NUMBER: "TEXT",
            Kind.TEXT: "TEXT",
            Kind.INSTANT: "TIMESTAMP WITH TIME ZONE",
            Kind.NAME: "TEXT",
        },
        instant=lambda moment: moment,
        # Needs no privilege, unlike LOCK TABLE, and is released with the transaction.
        lock=("SELECT pg_advisory_xact_lock(hashtext({lock_name}))",),
    ),
    "sqlite": Dialect(
        types={
            Kind.ID: "INTEGER",
            Kind.NUMBER: "TEXT",
            Kind.TEXT: "TEXT",
            Kind.INSTANT: "TEXT",
            Kind.NAME: "TEXT",
        },
        # SQLite has no type for time; its functions take ISO 8601, which sorts as text.
        instant=lambda moment: moment.isoformat(),
        # SQLite takes one writer at a time; the driver alone would let the next one wait for 5 seconds only.
        opening=("PRAGMA busy_timeout = 60000",),
    ),
}
"""By the connection's type."""

STANDARD = Dialect(
    types={
        Kind.ID: "BIGINT",
        Kind.NUMBER: "VARCHAR(100)",
        Kind.TEXT: "VARCHAR(4000)",
        Kind.INSTANT: "TIMESTAMP WITH TIME ZONE",
        Kind.NAME: "VARCHAR(250)",
    },
    instant=lambda moment: moment,
)
"""For every other database; the types are those of standard SQL."""

_CREATE = "CREATE TABLE IF NOT EXISTS {target} ({definitions}, PRIMARY KEY ({key}))"
_CREATE_STAGING = """CREATE TEMPORARY TABLE {staging}
    ({definitions}, {place} BIGINT NOT NULL, PRIMARY KEY ({key}, {place}))"""
_COLUMNS = "SELECT * FROM {target} WHERE 1 = 0"
_STAGE = "INSERT INTO {staging} ({columns}, {place}) VALUES ({values})"
_HIGHEST = "SELECT MAX({key}) FROM {target}"
_STAGED = "SELECT COUNT(DISTINCT {key}) FROM {staging}"
_NEW = """SELECT COUNT(DISTINCT {staging}.{key}) FROM {staging} WHERE {place} > {value}
    AND NOT EXISTS (SELECT 1 FROM {target} WHERE {target}.{key} = {staging}.{key})"""
# One statement, so that both counts are of the same moment.
_HELD = """SELECT (SELECT COUNT(*) FROM {target} WHERE {key} >= {value}) +
    (SELECT COUNT(DISTINCT {staging}.{key}) FROM {staging}
    WHERE NOT EXISTS (SELECT 1 FROM {target} WHERE {target}.{key} = {staging}.{key}))"""

_INSERT = """INSERT INTO {target} ({columns}) SELECT {columns} FROM
    (SELECT {columns}, ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {place}) AS {copy}
        FROM {staging}) AS staged
    WHERE {copy} = 1 AND NOT EXISTS (SELECT 1 FROM {target} WHERE {target}.{key} = staged.{key})"""

# INTERSECT takes two nulls for the same, which `=` does not.
_REWRITE = """UPDATE {target} SET ({rewritten}) =
        (SELECT {rewritten} FROM {staging} WHERE {staging}.{key} = {target}.{key})
    WHERE {last_seen} <= {value} AND EXISTS (SELECT 1 FROM {staging} WHERE {staging}.{key} = {target}.{key}
        AND NOT EXISTS (SELECT {target_facts} INTERSECT SELECT {staging_facts}))"""
_SEE = """UPDATE {target} SET {last_seen} = {value} WHERE {last_seen} < {value}
    AND EXISTS (SELECT 1 FROM {staging} WHERE {staging}.{key} = {target}.{key})"""
_REMOVE = """UPDATE {target} SET {removed} = {value}, {loaded_at} = {value}, {run_id} = {value}
    WHERE {removed} IS NULL AND {last_seen} <= {value}
    AND NOT EXISTS (SELECT 1 FROM {staging} WHERE {staging}.{key} = {target}.{key})"""


@dataclass(frozen=True, slots=True)
class TableName:
    """A table's name, checked.

    :raises InvalidMessage: if it, or its schema's, is not a plain identifier.
    """

    table: str
    schema: str | None = None

    def __post_init__(self) -> None:
        _check_identifier("table", self.table)
        if self.schema is not None:
            _check_identifier("schema", self.schema)

    @property
    def parts(self) -> tuple[str, ...]:
        """The schema, if there is one, and the table."""
        return (self.table,) if self.schema is None else (self.schema, self.table)

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did to the table.

    :param loaded: rows that came in or changed.
    :param removed: rows that the list no longer holds, and that are marked so.
    """

    loaded: int
    removed: int


class LoadingTable:
    """The table, and the rows that are staged for it. Every method raises ``LoadFailed``."""

    def __init__(
        self, connection: Any, hook: DbApiHook, dataset: Dataset, name: TableName, load: Load
    ) -> None:
        self._connection = connection
        self._dialect = DIALECTS.get(hook.conn_type, STANDARD)
        self._dataset = dataset
        self._load = load
        self._name = name
        self._staged = 0
        self._words = self._vocabulary(hook)

    def prepare(self) -> None:
        """Create the table if it is missing, and the staging table.

        :raises ConfigurationError: if there is a table that lacks columns.
        """
        for statement in self._dialect.opening:
            self._execute("open the connection", statement)
        self._check_columns(self._existing_columns())
        self._execute("create a temporary table", _CREATE_STAGING)
        self._commit()

    def stage(self, rows: Iterable[Any]) -> None:
        """Stage rows of the gateway, in batches."""
        prepared = map(self._prepared, rows)
        while batch := list(islice(prepared, BATCH_ROWS)):
            self._stage_batch(batch)
            self._commit()

    def _stage_batch(self, batch: list[tuple[Any, ...]]) -> None:
        statement = _STAGE.format_map(self._words)
        self._guarded("stage rows", lambda cursor: cursor.executemany(statement, batch))

    @property
    def mark(self) -> int:
        """How many rows are staged."""
        return self._staged

    def highest(self) -> Any:
        """Return the highest key in the table, or ``None`` if it is empty."""
        return self._value(_HIGHEST)

    def staged(self) -> int:
        """Count the staged rows, each once."""
        return int(self._value(_STAGED))

    def new_since(self, mark: int) -> int:
        """Count the rows staged after a mark that the table does not have, each once."""
        return int(self._value(_NEW, mark))

    def held_from(self, lowest: Any) -> int:
        """Count the rows that the table will have from a key on."""
        return int(self._value(_HELD, lowest))

    def merge(self) -> Merged:
        """Put what is staged into the table, in one transaction, and none of it if that fails."""
        for _ in range(MERGE_ATTEMPTS - 1):
            with suppress(LoadFailed):
                return self._merge_once()
        return self._merge_once()

    def _merge_once(self) -> Merged:
        try:
            for statement in self._dialect.lock:
                self._execute("lock the table", statement)
            merged = self._merge_snapshot() if self._dataset.is_snapshot else Merged(self._change(_INSERT), 0)
            self._commit()
        except LoadFailed:
            self._rollback()
            raise
        return merged

    def _merge_snapshot(self) -> Merged:
        """Merge a snapshot. One older than the last, as its load began earlier, overwrites nothing."""
        at = self._dialect.instant(self._load.at)
        changed = self._change(_REWRITE, at)
        self._change(_SEE, at, at)
        removed = self._change(_REMOVE, at, at, self._load.run_id, at)
        return Merged(changed + self._change(_INSERT), removed)

    def _existing_columns(self) -> set[str]:
        with suppress(LoadFailed):
            return self._read_columns()
        self._rollback()
        try:
            self._execute("create the table", _CREATE)
            self._commit()
        except LoadFailed:
            self._rollback()
            # Another load created it at the same moment, which PostgreSQL may refuse even with IF NOT EXISTS.
            with suppress(LoadFailed):
                return self._read_columns()
            raise
        return self._read_columns()

    def _read_columns(self) -> set[str]:
        def read(cursor: Any) -> set[str]:
            cursor.execute(_COLUMNS.format_map(self._words))
            return {column[0] for column in cursor.description}

        columns = self._guarded("read the columns of the table", read)
        self._commit()
        return columns

    def _check_columns(self, found: set[str]) -> None:
        missing = [name for name in self._dataset.column_names if name not in found]
        if missing:
            msg = (
                f"The table {self._name} lacks columns of the dataset {self._dataset.name!r}: "
                f"{', '.join(missing)}. Add them, or give the name of a new table, which is then created."
            )
            raise ConfigurationError(msg)

    def _prepared(self, row: Any) -> tuple[Any, ...]:
        self._staged += 1
        return (*(self._cell(column, row) for column in self._dataset.columns), self._staged)

    def _cell(self, column: Column, row: Any) -> Any:
        value = column.value(row, self._load)
        return self._dialect.instant(value) if column.kind is Kind.INSTANT and value is not None else value

    def _value(self, template: str, *parameters: Any) -> Any:
        def read(cursor: Any) -> Any:
            cursor.execute(template.format_map(self._words), parameters)
            row = cursor.fetchone()
            # A connection may ask for rows as mappings.
            return next(iter(row.values() if hasattr(row, "values") else row))

        value = self._guarded("count rows", read)
        self._commit()
        return value

    def _change(self, template: str, *parameters: Any) -> int:
        def change(cursor: Any) -> int:
            cursor.execute(template.format_map(self._words), parameters)
            return int(cursor.rowcount)

        return self._guarded("merge the rows into the table", change)

    def _execute(self, step: str, template: str) -> None:
        self._guarded(step, lambda cursor: cursor.execute(template.format_map(self._words)))

    def _commit(self) -> None:
        self._without_its_words("commit", self._connection.commit)

    def _rollback(self) -> None:
        """Roll back; where that fails too, what failed before is the better thing to say."""
        with suppress(LoadFailed):
            self._without_its_words("roll back", self._connection.rollback)

    def _guarded(self, step: str, work: Callable[[Any], T]) -> T:
        def with_cursor() -> T:
            with closing(self._connection.cursor()) as cursor:
                return work(cursor)

        return self._without_its_words(step, with_cursor)

    def _without_its_words(self, step: str, work: Callable[[], T]) -> T:
        """Do some work. Its error is left behind before ours is raised, so that no chain leads to it."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - drivers have no type in common
            kind, code = type(error).__name__, _code(error)
        shown = f"{kind}, {code}" if code else kind
        hint = _RIGHTS if code == _INSUFFICIENT_PRIVILEGE else "A repeat is safe."
        msg = f"The database could not {step} ({shown}; table {self._name}). {hint}"
        raise LoadFailed(msg, kind, code)

    def _vocabulary(self, hook: DbApiHook) -> dict[str, str]:
        def quoted(name: str) -> str:
            return hook.escape_word_format.format(name)

        def listed(names: Iterable[str], owner: str = "") -> str:
            return ", ".join(owner + quoted(name) for name in names)

        columns = self._dataset.columns
        target, staging = ".".join(map(quoted, self._name.parts)), quoted(f"sms_staging_{uuid.uuid4().hex}")
        facts = [column.name for column in columns if column.is_fact and column.name != self._dataset.key]
        kept = {self._dataset.key, FIRST_SEEN}
        names = {
            "key": self._dataset.key,
            "place": "staged_place",
            "copy": "staged_copy",
            "last_seen": LAST_SEEN,
            "removed": REMOVED,
            "loaded_at": LOADED,
            "run_id": RUN,
        }
        return {
            **{word: quoted(name) for word, name in names.items()},
            "target": target,
            "staging": staging,
            "lock_name": f"'{self._name}'",
            "value": hook.placeholder,
            "values": ", ".join([hook.placeholder] * (len(columns) + 1)),
            "columns": listed(self._dataset.column_names),
            "rewritten": listed(name for name in self._dataset.column_names if name not in kept),
            "target_facts": listed(facts, f"{target}."),
            "staging_facts": listed(facts, f"{staging}."),
            "definitions": ", ".join(self._definition(column, quoted) for column in columns),
        }

    def _definition(self, column: Column, quoted: Callable[[str], str]) -> str:
        null = " NOT NULL" if column.is_required else ""
        return f"{quoted(column.name)} {self._dialect.types[column.kind]}{null}"


@contextmanager
def open_table(hook: DbApiHook, dataset: Dataset, name: TableName, load: Load) -> Iterator[LoadingTable]:
    """Connect and make the table ready; what is staged goes with the connection.

    :raises ConfigurationError: if there is a table that lacks columns.
    :raises LoadFailed: if the database refuses something.
    """
    with closing(_connect(hook)) as connection:
        if hook.supports_autocommit:
            hook.set_autocommit(connection, autocommit=False)
        table = LoadingTable(connection, hook, dataset, name, load)
        table.prepare()
        yield table


def _connect(hook: DbApiHook) -> Any:
    """Connect. No row is about yet, so the driver's own error may stand behind ours."""
    try:
        return hook.get_conn()
    except Exception as error:
        kind, code = type(error).__name__, _code(error)
        conn_id = getattr(hook, hook.conn_name_attr)
        msg = f"The database of the connection {conn_id!r} could not be opened ({kind})."
        raise LoadFailed(msg, kind, code) from error


def _check_identifier(what: str, name: object) -> None:
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        msg = (
            f"`{what}` must be a plain name: English letters, digits and underscores, at most 63 of them, "
            f"not beginning with a digit; got {name!r}."
        )
        raise InvalidMessage(msg)


def _code(error: Exception) -> str:
    """Return the SQLSTATE, of psycopg 3 or 2, or SQLite's name for the error; no other part is known safe."""
    codes: Sequence[str] = ("sqlstate", "pgcode", "sqlite_errorname")
    found = (getattr(error, code, None) for code in codes)
    return next((code for code in found if isinstance(code, str)), "")
