"""The table that rows are loaded into, over one connection of whichever database.

Rows are staged in a temporary table, which nobody but the connection sees, and merged into the table by one
transaction. Between two batches no transaction stays open: SQLite would keep a lock that makes two loads
fail each other, and PostgreSQL an idle transaction while a page is on its way.
"""

from __future__ import annotations

import uuid
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.database import Database, Kind, check_identifier
from airflow_provider_winsms.exceptions import ConfigurationError, LoadFailed
from airflow_provider_winsms.transfers.datasets import FIRST_SEEN, LAST_SEEN, LOADED, REMOVED, RUN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_winsms.database import Refusal
    from airflow_provider_winsms.transfers.datasets import Column, Dataset, Load

BATCH_ROWS = 1000
"""Rows of one insert."""

MERGE_ATTEMPTS = 3
"""How often a merge is tried: where a database has no lock below, two at once may refuse one of them."""

_PLACE = "staged_place"
_RIGHTS = (
    "The connection's user needs SELECT, INSERT and UPDATE on the table, TEMPORARY on the database, and, if "
    "the table is missing, CREATE on its schema."
)

_CREATE = "CREATE TABLE IF NOT EXISTS {target} ({definitions}, PRIMARY KEY ({key}))"
_CREATE_STAGING = """CREATE TEMPORARY TABLE {staging}
    ({definitions}, {place} BIGINT NOT NULL, PRIMARY KEY ({key}, {place}))"""
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
        check_identifier("table", self.table)
        if self.schema is not None:
            check_identifier("schema", self.schema)

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

    def __init__(self, database: Database, dataset: Dataset, name: TableName, load: Load) -> None:
        self._database = database
        self._dialect = database.dialect
        self._dataset = dataset
        self._load = load
        self._name = name
        self._staged = 0
        self._words = self._vocabulary()

    def prepare(self) -> None:
        """Create the table if it is missing, and the staging table.

        :raises ConfigurationError: if there is a table that lacks columns.
        """
        self._check_columns(self._existing_columns())
        self._execute("create a temporary table", _CREATE_STAGING)
        self._database.commit()

    def stage(self, rows: Iterable[Any]) -> None:
        """Stage rows of the gateway, in batches."""
        prepared = map(self._prepared, rows)
        while batch := list(islice(prepared, BATCH_ROWS)):
            self._stage_batch(batch)
            self._database.commit()

    def _stage_batch(self, batch: list[tuple[Any, ...]]) -> None:
        columns = (*self._dataset.column_names, _PLACE)
        self._database.insert("stage rows", self._words["staging"], columns, batch)

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
            self._database.lock(str(self._name))
            merged = self._merge_snapshot() if self._dataset.is_snapshot else Merged(self._change(_INSERT), 0)
            self._database.commit()
        except LoadFailed:
            self._database.rollback()
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
        self._database.rollback()
        try:
            self._execute("create the table", _CREATE)
            self._database.commit()
        except LoadFailed:
            self._database.rollback()
            # Another load created it at the same moment, which PostgreSQL may refuse even with IF NOT EXISTS.
            with suppress(LoadFailed):
                return self._read_columns()
            raise
        return self._read_columns()

    def _read_columns(self) -> set[str]:
        columns = self._database.columns("read the columns of the table", self._words["target"])
        self._database.commit()
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
        rows = self._database.rows("count rows", template.format_map(self._words), parameters)
        self._database.commit()
        return rows[0][0]

    def _change(self, template: str, *parameters: Any) -> int:
        return self._execute("merge the rows into the table", template, *parameters)

    def _execute(self, step: str, template: str, *parameters: Any) -> int:
        return self._database.execute(step, template.format_map(self._words), parameters)

    def _vocabulary(self) -> dict[str, str]:
        quoted = self._database.quoted

        def listed(names: Iterable[str], owner: str = "") -> str:
            return ", ".join(owner + quoted(name) for name in names)

        columns = self._dataset.columns
        target, staging = quoted(*self._name.parts), quoted(f"sms_staging_{uuid.uuid4().hex}")
        facts = [column.name for column in columns if column.is_fact and column.name != self._dataset.key]
        kept = {self._dataset.key, FIRST_SEEN}
        names = {
            "key": self._dataset.key,
            "place": _PLACE,
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
            "value": self._database.placeholder,
            "columns": listed(self._dataset.column_names),
            "rewritten": listed(name for name in self._dataset.column_names if name not in kept),
            "target_facts": listed(facts, f"{target}."),
            "staging_facts": listed(facts, f"{staging}."),
            "definitions": ", ".join(map(self._definition, columns)),
        }

    def _definition(self, column: Column) -> str:
        null = " NOT NULL" if column.is_required else ""
        return f"{self._database.quoted(column.name)} {self._dialect.types[column.kind]}{null}"


@contextmanager
def open_table(hook: DbApiHook, dataset: Dataset, name: TableName, load: Load) -> Iterator[LoadingTable]:
    """Connect and make the table ready; what is staged goes with the connection.

    :raises ConfigurationError: if there is a table that lacks columns.
    :raises LoadFailed: if the database refuses something.
    """

    def refused(refusal: Refusal) -> LoadFailed:
        hint = _RIGHTS if refusal.lacks_rights else "A repeat is safe."
        return LoadFailed(refusal.message(f"table {name}", hint), refusal.kind, refusal.code)

    with closing(Database(hook, refused)) as database:
        database.open()
        table = LoadingTable(database, dataset, name, load)
        table.prepare()
        yield table
