"""The table that rows are loaded into, over one connection of whichever database.

Rows are staged some thousands at a time, in a table that only the connection sees, and merged from there into
the table. The first merge begins a transaction that holds the table's lock, and the end of the load commits
it: all of a load is there, or nothing. A load of few rows, as most are, merges once, at its end, so that the
transaction is short, and is tried again where the database breaks it off. Rows of which only all together
say what is to be merged are all staged first: in temporary tables apart from the transaction, or within it
where those would take our memory.
"""

from __future__ import annotations

import logging
import uuid
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import ConfigurationError, LoadFailed
from airflow_provider_winsms.options import check_identifier
from airflow_provider_winsms.sql.connection import Database
from airflow_provider_winsms.warehouse.datasets import (
    DATASETS,
    FIRST_SEEN,
    NUMBER,
    RAW,
    USUAL_SIZES,
    WriteDisposition,
)
from airflow_provider_winsms.warehouse.mapping import RowMapper
from airflow_provider_winsms.warehouse.merge import PLACE, Statements
from airflow_provider_winsms.warehouse.views import HISTORY_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_provider_winsms.sql.errors import Refusal
    from airflow_provider_winsms.warehouse.datasets import Column, Dataset, Load, LoadSizes
    from airflow_provider_winsms.warehouse.mapping import Chunk, Personal

ATTEMPTS = 3
"""How often a merge is tried: where a database has no lock below, two at once may refuse one of them."""

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
"""Types of connections whose databases, through their hooks, keep half of a load that fails."""

_log = logging.getLogger(__name__)

_CREATE = "create the table"
_IDS_AT_ONCE = 1000
_RIGHTS = (
    "The connection's user needs SELECT, INSERT, UPDATE and DELETE on the table, TEMPORARY on the database, "
    "and, if the table is missing or lacks columns, to create it and alter it."
)


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

    @property
    def history(self) -> TableName:
        """The table with a row for each spell on the list."""
        return TableName(self.table + HISTORY_SUFFIX, self.schema)

    @property
    def staging(self) -> TableName:
        """The table that rows are staged in where a database has no temporary ones."""
        return TableName(f"{self.table}_staging", self.schema)

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(slots=True)
class Merged:
    """What a load did to the table.

    :param loaded: rows that came in or changed.
    :param removed: rows that the list no longer holds, and that are marked so.
    """

    loaded: int = 0
    removed: int = 0


class TargetTable:
    """The table, and the rows that are on their way into it. Every method raises ``LoadFailed``.

    :param merged_rows: so many rows are staged and merged at a time.
    :param key_id: which key numbers are hashed with, if they are.
    """

    def __init__(
        self,
        database: Database,
        dataset: Dataset,
        name: TableName,
        load: Load,
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
        self._say = Statements(
            database,
            dataset,
            target=name.parts,
            staging=database.quoted(*self._staging_parts()),
            history=database.quoted(*name.history.parts) if dataset.has_history else "",
        )
        self._at = database.dialect.instant(load.at)
        self._merged = Merged()
        self._waiting: list[Chunk] = []
        self._rows_waiting = 0
        self._keys: set[Any] = set()
        self._dropped: list[tuple[Any, ...]] = []
        self._highest: int | None = None
        self._is_merging = False
        self._stages_apart = bool(database.dialect.temporary)
        self._may_go_straight = dataset.merging is WriteDisposition.APPEND

    def prepare(self) -> None:
        """Create the table if it is missing, add the columns it lacks, and create the staging table.

        :raises ConfigurationError: if there is a table that lacks its key.
        """
        self._provide(self._say.target, self._name, self._say.ways_to_create())
        if self._dataset.has_history:
            self._provide_history()
        self._refuse_plain_among_hashes()
        self._say.has_unique_key = self._database.dialect.skips_conflicts and self._is_unique()
        self._provide_staging()

    def let_others_read(self) -> None:
        """Let other connections read the database while rows are merged."""
        if self._database.dialect.no_spill:
            self._alone("let others read", self._database.dialect.no_spill)

    def highest(self) -> int | None:
        """Return the highest id in the table, or ``None`` if it is empty."""
        return self._scalar(self._say.highest())

    def count(self, low: int, high: int | None = None) -> int:
        """Count the rows from one id to another, or to the highest."""
        return self._scalar(self._say.count(low, high)) or 0

    def lacking(self, ids: Iterable[int]) -> int:
        """Count which ids the table does not have. Each is given once, in ascending order."""
        ids, lacking = iter(ids), 0
        while some := list(islice(ids, _IDS_AT_ONCE)):
            lacking += len(some) - (self._scalar(self._say.count_among(some)) or 0)
        return lacking

    def select(self, query: str, *parameters: Any, **moments: str) -> list[tuple[Any, ...]]:
        """Return what a query finds.

        :param query: in it, ``{table}`` stands for the table, ``{p}`` for a parameter, and any other name for
            a column.
        :param parameters: a moment among them may be of any zone.
        :param moments: expressions for moments, which are then read with ``read_instant``.
        """
        values = [
            self._database.dialect.instant(value) if isinstance(value, datetime) else value
            for value in parameters
        ]
        return self._rows(self._say.query(query, moments), *values)

    def restart(self) -> None:
        """Forget what was taken, so that a list can be read anew."""
        self._forget_waiting()
        self._change(self._say.empty_staging())
        if not self._is_merging:
            self._database.commit()

    def drop(self, keys: Iterable[tuple[Any, ...]]) -> None:
        """Take rows out of the table, by their keys, when the load ends."""
        self._dropped = sorted(keys)

    def add(self, chunk: Chunk) -> None:
        """Take some rows. Now or later they are merged, before ``finish`` returns."""
        if not self._keys.isdisjoint(chunk.keys):
            self._merge()
        self._keys.update(chunk.keys)
        self._waiting.append(chunk)
        self._rows_waiting += chunk.packed.length
        if self._rows_waiting >= self._merged_rows:
            self._stage() if self._dataset.has_history else self._merge()

    def finish(self, *, is_whole: bool = True) -> Merged:
        """Merge what is left, commit, and return what was done.

        :param is_whole: whether all that is listed was read, so that a snapshot may miss what was not.
        """
        for left in reversed(range(1 if self._is_merging else ATTEMPTS)):
            try:
                return self._finish_once(is_whole=is_whole)
            except LoadFailed as error:
                # What no driver said, such as that another load was faster, no repeat can help.
                if not (left and error.kind):
                    raise
        raise AssertionError

    def _finish_once(self, *, is_whole: bool) -> Merged:
        is_done = False
        try:
            self._begin()
            self._merge_waiting()
            if self._dataset.has_history:
                self._merge_staged()
                self._change(self._say.empty_staging())
            for key in self._dropped:
                self._merged.removed += self._change(self._say.delete(), *key)
            if is_whole and self._dataset.merging is WriteDisposition.SNAPSHOT:
                self._remove()
            if self._database.dialect.temporary and not self._stages_apart:
                self._change(self._say.drop_staging())
            self._database.commit()
            is_done = True
        finally:
            if not is_done:
                self._database.rollback()
                # Another program may have written rows that were thought to be new.
                self._may_go_straight = self._is_merging = False
                self._merged = Merged()
        return self._merged

    def _merge(self) -> None:
        self._begin()
        self._merge_waiting()
        self._forget_waiting()

    def _stage(self) -> None:
        """Stage rows of which only all together say what is to be merged."""
        if not self._stages_apart:
            self._begin()
        self._insert(self._say.staging, self._staged_names)
        if not self._is_merging:
            self._database.commit()
        self._forget_waiting()

    def _forget_waiting(self) -> None:
        self._waiting, self._rows_waiting = [], 0
        self._keys.clear()

    def _begin(self) -> None:
        if self._is_merging:
            return
        self._is_merging = True
        if not self._database.lock_for_long(self._name.table):
            msg = f"Another load of the table {self._name} has been at it for an hour. A later try goes on."
            raise LoadFailed(msg)
        if self._may_go_straight:
            self._highest = self.highest()
        if self._dataset.merging is WriteDisposition.SNAPSHOT and self._is_outdated():
            msg = (
                f"A load of the table {self._name} that began later was there before: what this one read is "
                "older. Nothing was changed; a later try reads anew."
            )
            raise LoadFailed(msg)

    def _is_outdated(self) -> bool:
        return bool(self._scalar(self._say.count_newer(), self._at, self._at))

    def _merge_waiting(self) -> None:
        if not self._waiting:
            return
        if self._may_go_straight and self._are_new():
            self._merged.loaded += self._rows_waiting
            self._insert(self._say.target, self._dataset.column_names)
            return
        self._insert(self._say.staging, self._staged_names)
        if not self._dataset.has_history:
            self._merge_staged()
            self._change(self._say.empty_staging())

    def _are_new(self) -> bool:
        """Tell whether all rows lie behind those of the table, as news do."""
        highest, self._highest = self._highest, max(self._keys)
        if highest is None:
            return True
        self._highest = max(self._highest, highest)
        return bool(min(self._keys) > highest)

    @property
    def _staged_names(self) -> tuple[str, ...]:
        places = (PLACE,) if self._dataset.has_history else ()
        return (*self._dataset.column_names, *places)

    def _insert(self, table: str, names: Sequence[str]) -> None:
        packs = [chunk.packed for chunk in self._waiting]
        self._database.insert_encoded("put rows into the table", table, names, packs)

    def _merge_staged(self) -> None:
        if self._dataset.has_history:
            self._keep_oldest()
            self._merge_history()
        if self._dataset.merging is not WriteDisposition.APPEND:
            self._merged.loaded += self._change(self._say.update_changed())
        if self._dataset.merging is WriteDisposition.SNAPSHOT:
            self._change(self._say.see(self._say.target), self._at)
        self._merged.loaded += self._change(self._say.insert())

    def _keep_oldest(self) -> None:
        """Of several entries for one number, keep the oldest: it has been out since then."""
        if not self._scalar(self._say.count_twice()):
            return
        younger = iter([row[0] for row in self._rows(self._say.younger())])
        while some := list(islice(younger, _IDS_AT_ONCE)):
            self._change(self._say.unstage(some))

    def _merge_history(self) -> None:
        at, run_id = self._at, self._load.run_id
        self._change(self._say.end_spells(), at, run_id, at)
        self._change(self._say.see(self._say.history), at)
        self._change(self._say.correct_spells(), at, run_id)
        if self._database.dialect.keeps_temporary_in_memory:
            self._change(self._say.mark_spells_under_way())
            self._change(self._say.begin_unmarked_spells())
            self._change(self._say.unmark())
        else:
            self._change(self._say.begin_spells())

    def _remove(self) -> None:
        """Mark what was not listed."""
        of_key = () if self._key_id is None or NUMBER not in self._dataset.key else (self._key_id,)
        values = (self._at, self._load.run_id, self._at, self._at, *of_key)
        is_hashed = self._key_id is not None
        self._merged.removed = self._change(self._say.remove(self._say.target, is_hashed=is_hashed), *values)
        if self._dataset.has_history:
            self._change(self._say.remove(self._say.history, is_hashed=is_hashed), *values)

    def _provide(self, table: str, name: TableName, ways: Sequence[Sequence[str]]) -> None:
        """Have a table with all columns of the dataset.

        :param ways: to create it, the best one first.
        """
        found = self._columns(table) or self._created(table, ways)
        if missing := [part for part in self._dataset.key if part not in found]:
            msg = (
                f"The table {name} is none of the dataset {self._dataset.name!r}: it lacks "
                f"{', '.join(missing)}, by which its rows are told apart. Give the name of another table."
            )
            raise ConfigurationError(msg)
        self._refuse_others_table(name, found)
        if RAW.name in found.difference(self._dataset.column_names):
            self._say.with_older_raw.add(table)
        for column in self._dataset.columns:
            if column.name not in found:
                self._add(table, column)

    def _refuse_others_table(self, name: TableName, found: set[str]) -> None:
        strange = found - set(self._dataset.column_names)
        for other in DATASETS.values():
            if other.discriminator in strange and found.issuperset(other.key):
                msg = (
                    f"The table {name} is one of the dataset {other.name!r}, as it has the column "
                    f"{other.discriminator}; loaded is {self._dataset.name!r}. Name another table."
                )
                raise ConfigurationError(msg)

    def _add(self, table: str, column: Column) -> None:
        self._unless_done(
            "add a column",
            self._say.ways_to_add(table, column),
            lambda: column.name in (self._columns(table) or ()),
        )

    def _refuse_plain_among_hashes(self) -> None:
        """Let nobody who forgets to ask for hashes put numbers beside them."""
        takes_plain = self._key_id is None and not self._dataset.is_from_ledger
        if takes_plain and self._rows(self._say.any_key_id())[0][0] is not None:
            msg = (
                f"The table {self._name} holds hashed numbers, and this load would store them as they are. "
                'Give privacy="keyed_hash", or the name of another table.'
            )
            raise ConfigurationError(msg)

    def _created(self, table: str, ways: Sequence[Sequence[str]]) -> set[str]:
        self._unless_done(_CREATE, ways, lambda: self._columns(table) is not None)
        found = self._columns(table)
        # Asked once more, it says why it does not answer.
        return self._database.columns("read the columns of the table", table) if found is None else found

    def _provide_history(self) -> None:
        say, name = self._say, self._name.history
        self._provide(say.history, name, [[say.create(say.history, (*self._dataset.key, FIRST_SEEN))]])
        # Nothing is done where the history has begun, by another load just now, perhaps.
        self._unless_done(
            "begin the history",
            [[say.seed_history()]],
            lambda: bool(self._scalar(say.count_all(say.history))),
        )

    def _staging_parts(self) -> tuple[str, ...]:
        is_temporary = self._database.dialect.temporary
        return (f"sms_staging_{uuid.uuid4().hex}",) if is_temporary else self._name.staging.parts

    def _provide_staging(self) -> None:
        say, dialect = self._say, self._database.dialect
        if not dialect.temporary:
            creation = say.create_staging("CREATE TABLE IF NOT EXISTS")
            self._provide(say.staging, self._name.staging, [[creation]])
        elif self._dataset.has_history and dialect.keeps_temporary_in_memory:
            self._stages_apart = False
            self._begin()
            self._change(say.create_staging("CREATE TABLE"))
        else:
            self._alone("create a staging table", say.create_staging(dialect.temporary))

    def _unless_done(self, step: str, ways: Sequence[Sequence[str]], is_done: Callable[[], bool]) -> None:
        """Do what another load may be doing just now, which a database may refuse to one of them.

        :param ways: to do it, the best one first; a further one is for a database that refuses an index.
        """
        for statements in ways:
            try:
                self._alone(step, *statements)
            except LoadFailed:
                if is_done():
                    return
                if statements is ways[-1]:
                    raise
            else:
                if statements is not ways[0]:
                    _log.warning(
                        "The database refuses an index of the table %s. Loads work without.", self._name
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
            self._alone("look for the key of the table", self._say.insert_nothing())
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

    def _change(self, statement: str, *parameters: Any) -> int:
        return self._database.execute("merge the rows into the table", statement, parameters)

    def _alone(self, step: str, *statements: str) -> None:
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
    load: Load,
    personal: Personal,
    *,
    sizes: LoadSizes = USUAL_SIZES,
) -> Iterator[tuple[TargetTable, RowMapper]]:
    """Connect and make the table ready, and what makes rows ready for it.

    What is staged goes with the connection.

    :raises ConfigurationError: if there is a table that is none of the dataset, or no transaction.
    :raises LoadFailed: if the database refuses something.
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
