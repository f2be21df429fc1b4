"""The target table of a load, over one connection of any database.

Rows are staged some thousands at a time, in a table that only the connection sees, and merged from there into
the target table. The first merge begins a transaction that holds the table's lock, and the end of the load
commits it: the table gets all rows of a load, or none. A load of few rows, the usual kind, merges once, at
its end. So its transaction is short, and is tried again if the database breaks it off. Some merges need all
rows at once, so all of them are staged first: in temporary tables outside the transaction, or inside it if
temporary tables would take this process's memory.
"""

from __future__ import annotations

import logging
import uuid
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import ConfigurationError, LoadFailed
from airflow_provider_winsms.options import check_identifier
from airflow_provider_winsms.sql.connection import Database
from airflow_provider_winsms.warehouse.datasets import (
    DATASETS,
    DEFAULT_SIZES,
    FIRST_SEEN,
    NUMBER,
    RAW,
    WriteDisposition,
)
from airflow_provider_winsms.warehouse.mapping import RowMapper
from airflow_provider_winsms.warehouse.merge import STAGED_PLACE, MergeStatements
from airflow_provider_winsms.warehouse.views import HISTORY_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_winsms.sql.errors import Refusal
    from airflow_provider_winsms.warehouse.datasets import Column, Dataset, LoadRun, LoadSizes
    from airflow_provider_winsms.warehouse.mapping import Chunk, PrivacyPolicy

ATTEMPTS = 3
"""How often a merge is tried: a database without a lock may refuse one of two merges at once."""

WITHOUT_TRANSACTIONS = frozenset(
    {
        "databricks",
        "drill",
        "druid",
        "elasticsearch",
        "gcpbigquery",
        "hive_cli",
        "hive_metastore",
        "hiveserver2",
        "impala",
        "kylin",
        "pinot",
        "presto",
        "trino",
    }
)
"""Types of connections whose hooks have no transaction: a load that fails would leave half of its rows."""

_log = logging.getLogger(__name__)

_CREATE = "create the table"
_IDS_AT_ONCE = 1000
_RIGHTS = (
    "The connection's user needs SELECT, INSERT, UPDATE and DELETE on the table, TEMPORARY on the database, "
    "and, if the table is missing or lacks columns, to create it and alter it."
)


@dataclass(frozen=True, slots=True)
class TableName:
    """A table's checked name.

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

    @property
    def history(self) -> TableName:
        """The table with one row per validity period (SCD2)."""
        return TableName(self.table + HISTORY_SUFFIX, self.schema)

    @property
    def staging(self) -> TableName:
        """The staging table of a database without temporary tables."""
        return TableName(f"{self.table}_staging", self.schema)

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(slots=True)
class MergeCounts:
    """The counts of a merge.

    :param loaded: new and changed rows.
    :param removed: rows that were marked as removed, or deleted.
    """

    loaded: int = 0
    removed: int = 0


class TargetTable:
    """The table that a load fills, and the rows that are not merged yet. Every method raises ``LoadFailed``.

    :param merged_rows: how many rows are staged and merged at a time.
    :param key_id: the id of the key that hashes the numbers; ``None`` if they are not hashed.
    """

    def __init__(
        self,
        database: Database,
        dataset: Dataset,
        name: TableName,
        load: LoadRun,
        *,
        merged_rows: int,
        key_id: str | None = None,
    ) -> None:
        self._database = database
        self._dataset = dataset
        self._load = load
        self._name = name
        self._merged_rows = merged_rows
        self._key_id = key_id
        self._sql = MergeStatements(
            database,
            dataset,
            target=name.parts,
            staging=database.quoted(*self._staging_parts()),
            history=database.quoted(*name.history.parts) if dataset.has_history else "",
        )
        self._at = database.dialect.instant(load.at)
        self._merged = MergeCounts()
        self._pending: list[Chunk] = []
        self._rows_pending = 0
        self._keys: set[Any] = set()
        self._deleted: list[tuple[Any, ...]] = []
        self._highest: int | None = None
        self._is_merging = False
        self._stages_outside_transaction = bool(database.dialect.temporary)
        self._inserts_directly = dataset.write_disposition is WriteDisposition.APPEND

    def prepare(self) -> None:
        """Create the table if it is missing, add the columns it lacks, and create the staging table.

        :raises ConfigurationError: if there is a table that lacks its key.
        """
        self._ensure_table(self._sql.target, self._name, self._sql.ways_to_create())
        if self._dataset.has_history:
            self._ensure_history()
        self._refuse_plain_among_hashes()
        self._sql.has_unique_key = self._database.dialect.skips_conflicts and self._is_unique()
        self._ensure_staging()

    def allow_readers(self) -> None:
        """Let other connections read the database while rows are merged."""
        if self._database.dialect.no_spill:
            self._run_alone("let others read", self._database.dialect.no_spill)

    def highest(self) -> int | None:
        """Return the highest id in the table, or ``None`` if it is empty."""
        return self._scalar(self._sql.highest())

    def count(self, low: int, high: int | None = None) -> int:
        """Count the rows from one id to another, or to the highest."""
        return self._scalar(self._sql.count(low, high)) or 0

    def count_missing(self, ids: Iterable[int]) -> int:
        """Count the ids that the table does not have. Each is given once, in ascending order."""
        ids, missing = iter(ids), 0
        while some := list(islice(ids, _IDS_AT_ONCE)):
            missing += len(some) - (self._scalar(self._sql.count_among(some)) or 0)
        return missing

    def select(self, query: str, *parameters: Any, **moments: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        :param query: ``{table}`` stands for the table, ``{p}`` for a parameter, and any other name for a
            column.
        :param parameters: a moment among them may have any time zone.
        :param moments: expressions for moments; ``read_instant`` reads their values.
        """
        values = [
            self._database.dialect.instant(value) if isinstance(value, datetime) else value
            for value in parameters
        ]
        return self._rows(self._sql.query(query, moments), *values)

    def restart(self) -> None:
        """Forget all added rows, so that the list can be read again."""
        self._forget_pending()
        self._execute(self._sql.empty_staging())
        if not self._is_merging:
            self._database.commit()

    def delete(self, keys: Iterable[tuple[Any, ...]]) -> None:
        """Delete rows from the table, by their keys, when the load ends."""
        self._deleted = sorted(keys)

    def add(self, chunk: Chunk) -> None:
        """Add rows. They are merged before ``finish`` returns."""
        if not self._keys.isdisjoint(chunk.keys):
            self._merge()
        self._keys.update(chunk.keys)
        self._pending.append(chunk)
        self._rows_pending += chunk.encoded.length
        if self._rows_pending >= self._merged_rows:
            self._stage() if self._dataset.has_history else self._merge()

    def finish(self, *, is_whole: bool = True) -> MergeCounts:
        """Merge the remaining rows, commit, and return the counts.

        :param is_whole: whether all listed rows were read, so that a snapshot may mark the others as removed.
        """
        for left in reversed(range(1 if self._is_merging else ATTEMPTS)):
            try:
                return self._finish_once(is_whole=is_whole)
            except LoadFailed as error:
                # A repeat cannot help if no driver raised the error, as when another load was faster.
                if not (left and error.kind):
                    raise
        raise AssertionError

    def _finish_once(self, *, is_whole: bool) -> MergeCounts:
        is_done = False
        try:
            self._begin()
            self._merge_pending()
            if self._dataset.has_history:
                self._merge_staged()
                self._execute(self._sql.empty_staging())
            for key in self._deleted:
                self._merged.removed += self._execute(self._sql.delete(), *key)
            if is_whole and self._dataset.write_disposition is WriteDisposition.SNAPSHOT:
                self._mark_removed()
            if self._database.dialect.temporary and not self._stages_outside_transaction:
                self._execute(self._sql.drop_staging())
            self._database.commit()
            is_done = True
        finally:
            if not is_done:
                self._database.rollback()
                # Another program may have written rows that seemed to be new.
                self._inserts_directly = self._is_merging = False
                self._merged = MergeCounts()
        return self._merged

    def _merge(self) -> None:
        self._begin()
        self._merge_pending()
        self._forget_pending()

    def _stage(self) -> None:
        """Stage rows for a merge that needs all rows at once."""
        if not self._stages_outside_transaction:
            self._begin()
        self._insert(self._sql.staging, self._staged_names)
        if not self._is_merging:
            self._database.commit()
        self._forget_pending()

    def _forget_pending(self) -> None:
        self._pending, self._rows_pending = [], 0
        self._keys.clear()

    def _begin(self) -> None:
        if self._is_merging:
            return
        self._is_merging = True
        if not self._database.lock_for_long(self._name.table):
            msg = f"Another load of the table {self._name} has locked it for an hour. A later try goes on."
            raise LoadFailed(msg)
        if self._inserts_directly:
            self._highest = self.highest()
        if self._dataset.write_disposition is WriteDisposition.SNAPSHOT and self._is_outdated():
            msg = (
                f"A load of the table {self._name} that began later has finished first: the rows of this one "
                "are older. Nothing was changed; a later try reads the list again."
            )
            raise LoadFailed(msg)

    def _is_outdated(self) -> bool:
        return bool(self._scalar(self._sql.count_newer(), self._at, self._at))

    def _merge_pending(self) -> None:
        if not self._pending:
            return
        if self._inserts_directly and self._are_new():
            self._merged.loaded += self._rows_pending
            self._insert(self._sql.target, self._dataset.column_names)
            return
        self._insert(self._sql.staging, self._staged_names)
        if not self._dataset.has_history:
            self._merge_staged()
            self._execute(self._sql.empty_staging())

    def _are_new(self) -> bool:
        """Whether all rows have higher keys than the table, as new rows do."""
        highest, self._highest = self._highest, max(self._keys)
        if highest is None:
            return True
        self._highest = max(self._highest, highest)
        return bool(min(self._keys) > highest)

    @property
    def _staged_names(self) -> tuple[str, ...]:
        places = (STAGED_PLACE,) if self._dataset.has_history else ()
        return (*self._dataset.column_names, *places)

    def _insert(self, table: str, names: Sequence[str]) -> None:
        packs = [chunk.encoded for chunk in self._pending]
        self._database.insert_encoded("put rows into the table", table, names, packs)

    def _merge_staged(self) -> None:
        if self._dataset.has_history:
            self._keep_oldest()
            self._merge_history()
        if self._dataset.write_disposition is not WriteDisposition.APPEND:
            self._merged.loaded += self._execute(self._sql.update_changed())
        if self._dataset.write_disposition is WriteDisposition.SNAPSHOT:
            self._execute(self._sql.mark_seen(self._sql.target), self._at)
        self._merged.loaded += self._execute(self._sql.insert())

    def _keep_oldest(self) -> None:
        """Keep the oldest of several staged rows for one number: the number has been out since then."""
        if not self._scalar(self._sql.count_duplicated_keys()):
            return
        places = iter([row[0] for row in self._rows(self._sql.duplicates())])
        while some := list(islice(places, _IDS_AT_ONCE)):
            self._execute(self._sql.unstage(some))

    def _merge_history(self) -> None:
        at, run_id = self._at, self._load.run_id
        self._execute(self._sql.close_periods(), at, run_id, at)
        self._execute(self._sql.mark_seen(self._sql.history), at)
        self._execute(self._sql.update_open_periods(), at, run_id)
        if self._database.dialect.keeps_temporary_in_memory:
            self._execute(self._sql.mark_open_periods())
            self._execute(self._sql.open_unmarked_periods())
            self._execute(self._sql.unmark())
        else:
            self._execute(self._sql.open_periods())

    def _mark_removed(self) -> None:
        """Mark rows that were not listed."""
        of_key = () if self._key_id is None or NUMBER not in self._dataset.key else (self._key_id,)
        values = (self._at, self._load.run_id, self._at, self._at, *of_key)
        mark = partial(self._sql.mark_removed, is_hashed=self._key_id is not None)
        self._merged.removed = self._execute(mark(self._sql.target), *values)
        if self._dataset.has_history:
            self._execute(mark(self._sql.history), *values)

    def _ensure_table(self, table: str, name: TableName, ways: Sequence[Sequence[str]]) -> None:
        """Create a table, or add the columns that it lacks.

        :param ways: the statements of each way to create it, the best way first.
        """
        found = self._columns(table) or self._created(table, ways)
        if missing := [part for part in self._dataset.key if part not in found]:
            msg = (
                f"The table {name} is none of the dataset {self._dataset.name!r}: it lacks "
                f"{', '.join(missing)}, by which its rows are told apart. Give the name of another table."
            )
            raise ConfigurationError(msg)
        self._refuse_foreign_table(name, found)
        if RAW.name in found.difference(self._dataset.column_names):
            self._sql.with_older_raw.add(table)
        for column in self._dataset.columns:
            if column.name not in found:
                self._add_column(table, column)

    def _refuse_foreign_table(self, name: TableName, found: set[str]) -> None:
        strange = found - set(self._dataset.column_names)
        for other in DATASETS.values():
            if other.discriminator in strange and found.issuperset(other.key):
                msg = (
                    f"The table {name} is one of the dataset {other.name!r}, as it has the column "
                    f"{other.discriminator}; loaded is {self._dataset.name!r}. Name another table."
                )
                raise ConfigurationError(msg)

    def _add_column(self, table: str, column: Column) -> None:
        self._run_unless_done(
            "add a column",
            self._sql.ways_to_add(table, column),
            lambda: column.name in (self._columns(table) or ()),
        )

    def _refuse_plain_among_hashes(self) -> None:
        """Refuse plain numbers in a table of hashed ones: the load lacks ``privacy``."""
        takes_plain = self._key_id is None and not self._dataset.is_from_ledger
        if takes_plain and self._rows(self._sql.any_key_id())[0][0] is not None:
            msg = (
                f"The table {self._name} holds hashed numbers, and this load would store them as they are. "
                'Give privacy="keyed_hash", or the name of another table.'
            )
            raise ConfigurationError(msg)

    def _created(self, table: str, ways: Sequence[Sequence[str]]) -> set[str]:
        self._run_unless_done(_CREATE, ways, lambda: self._columns(table) is not None)
        found = self._columns(table)
        # A second query raises the reason.
        return self._database.columns("read the columns of the table", table) if found is None else found

    def _ensure_history(self) -> None:
        sql, name = self._sql, self._name.history
        self._ensure_table(sql.history, name, [[sql.create(sql.history, (*self._dataset.key, FIRST_SEEN))]])
        # Another load may have begun the history just now.
        self._run_unless_done(
            "begin the history",
            [[sql.seed_history()]],
            lambda: bool(self._scalar(sql.count_all(sql.history))),
        )

    def _staging_parts(self) -> tuple[str, ...]:
        is_temporary = self._database.dialect.temporary
        return (f"sms_staging_{uuid.uuid4().hex}",) if is_temporary else self._name.staging.parts

    def _ensure_staging(self) -> None:
        sql, dialect = self._sql, self._database.dialect
        if not dialect.temporary:
            creation = sql.create_staging("CREATE TABLE IF NOT EXISTS")
            self._ensure_table(sql.staging, self._name.staging, [[creation]])
        elif self._dataset.has_history and dialect.keeps_temporary_in_memory:
            self._stages_outside_transaction = False
            self._begin()
            self._execute(sql.create_staging("CREATE TABLE"))
        else:
            self._run_alone("create a staging table", sql.create_staging(dialect.temporary))

    def _run_unless_done(self, step: str, ways: Sequence[Sequence[str]], is_done: Callable[[], bool]) -> None:
        """Run statements. If the database refuses them, another load may have just done the same.

        :param ways: the statements of each way, the best way first; a later one is for a database that
            refuses an index.
        """
        for statements in ways:
            try:
                self._run_alone(step, *statements)
            except LoadFailed:
                if is_done():
                    return
                if statements is ways[-1]:
                    raise
            else:
                if statements is not ways[0]:
                    _log.warning(
                        "The database refuses an index of the table %s. Loads work without it.", self._name
                    )
                return

    def _columns(self, table: str) -> set[str] | None:
        """Return the columns of a table; ``None`` if it is not there."""
        try:
            found = self._database.columns("read the columns of the table", table)
            self._database.commit()
        except LoadFailed:
            self._database.rollback()
            return None
        return found

    def _is_unique(self) -> bool:
        try:
            self._run_alone("look for the key of the table", self._sql.insert_nothing())
        except LoadFailed:
            return False
        return True

    def _scalar(self, query: str, *parameters: Any) -> int | None:
        ((value,),) = self._rows(query, *parameters)
        return None if value is None else int(value)

    def _rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        found = self._database.rows("read the table", query, parameters)
        if not self._is_merging:
            self._database.commit()
        return found

    def _execute(self, statement: str, *parameters: Any) -> int:
        return self._database.execute("merge the rows into the table", statement, parameters)

    def _run_alone(self, step: str, *statements: str) -> None:
        """Run statements in a transaction of their own."""
        try:
            if len(statements) > 1:
                self._database.lock(f"{self._name.table} schema")
            for statement in statements:
                self._database.execute(step, statement)
            self._database.commit()
        except LoadFailed:
            self._database.rollback()
            raise


@contextmanager
def open_table(
    hook: DbApiHook,
    dataset: Dataset,
    name: TableName,
    load: LoadRun,
    personal: PrivacyPolicy,
    *,
    sizes: LoadSizes = DEFAULT_SIZES,
) -> Iterator[tuple[TargetTable, RowMapper]]:
    """Connect, prepare the table, and yield it with the mapper of its rows.

    Staged rows vanish with the connection.

    :raises ConfigurationError: if the table is of another dataset, or the connection has no transactions.
    :raises LoadFailed: if the database refuses a statement.
    """

    def refused(refusal: Refusal) -> LoadFailed:
        hint = refusal.hint(_RIGHTS, "A repeat is safe.")
        if name.schema and refusal.step == _CREATE and refusal.is_permanent and not refusal.lacks_rights:
            hint = f"If there is no schema {name.schema!r}, create it first: a load creates its table only."
        message = refusal.message(f"table {name}", hint)
        return LoadFailed(message, refusal.kind, refusal.code, is_permanent=refusal.needs_a_person)

    if hook.conn_type in WITHOUT_TRANSACTIONS:
        msg = (
            f"A connection of the type {hook.conn_type!r} cannot be loaded into: its hook knows no "
            "transactions, so that a load that fails would leave half of its rows. Load into a database that "
            "has them, such as PostgreSQL, and copy the table from there."
        )
        raise ConfigurationError(msg)
    with closing(Database(hook, refused)) as database:
        database.open()
        table = TargetTable(
            database, dataset, name, load, merged_rows=sizes.merged_rows, key_id=personal.key_id
        )
        table.prepare()
        yield table, RowMapper(dataset, load, database, personal)
