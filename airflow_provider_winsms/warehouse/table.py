"""The target table of a load, over one connection of any database.

Rows are staged some thousands at a time, in a table that only the connection sees, and merged from there into
the target table. The first merge begins a transaction that holds the table's lock, and the end of the load
commits it: the table gets all rows of a load, or none. A load of few rows, the usual kind, merges once, at
its end. So its transaction is short, and is tried again if the database breaks it off. Some merges need all
rows at once, so all of them are staged first: in temporary tables outside the transaction, or inside it if
temporary tables would take this process's memory.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy.schema import DropTable

from airflow_provider_winsms.exceptions import ConfigurationError, LoadFailed
from airflow_provider_winsms.sql.bulk import insert_encoded
from airflow_provider_winsms.sql.connection import Database
from airflow_provider_winsms.sql.tables import DeleteAll
from airflow_provider_winsms.warehouse.datasets import DEFAULT_SIZES, MASKED, WriteDisposition
from airflow_provider_winsms.warehouse.mapping import RowMapper
from airflow_provider_winsms.warehouse.merge import Merge, MergeCounts
from airflow_provider_winsms.warehouse.relations import Relations
from airflow_provider_winsms.warehouse.schema import CREATE, TableSchema
from airflow_provider_winsms.warehouse.stored import StoredRows
from airflow_provider_winsms.warehouse.transaction import LoadTransaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlalchemy import Table

    from airflow_provider_winsms.sql.errors import Refusal
    from airflow_provider_winsms.warehouse.datasets import Dataset, LoadRun, LoadSizes
    from airflow_provider_winsms.warehouse.mapping import Chunk, PrivacyPolicy
    from airflow_provider_winsms.warehouse.relations import TableName

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

_RIGHTS = (
    "The connection's user needs SELECT, INSERT, UPDATE and DELETE on the table, TEMPORARY on the database, "
    "and, if the table is missing or lacks columns, to create it and alter it."
)


class TargetTable:
    """The table that a load fills, and the rows that are not merged yet. Every method raises ``LoadFailed``.

    :param merged_rows: how many rows are staged and merged at a time.
    :param personal: the treatment of personal data.
    :ivar stored: the rows that it has.
    """

    def __init__(
        self,
        database: Database,
        dataset: Dataset,
        name: TableName,
        load: LoadRun,
        *,
        merged_rows: int,
        personal: PrivacyPolicy,
    ) -> None:
        self._dataset = dataset
        self._database = database
        self._load = load
        self._name = name
        self._merged_rows = merged_rows
        self._personal = personal
        self._transaction = LoadTransaction(database, name)
        self._relations = relations = Relations(database, dataset, name)
        self._merge = Merge(self._transaction, relations, load, personal.key_id, personal.pseudonyms)
        self._committed = MergeCounts()
        self.stored = StoredRows(self._transaction, relations)
        self._pending: list[Chunk] = []
        self._rows_pending = 0
        self._keys: set[Any] = set()
        self._deleted: list[tuple[Any, ...]] = []
        self._inserts_directly = dataset.write_disposition is WriteDisposition.APPEND

    def prepare(self) -> None:
        """Create the table if it is missing, add the columns it lacks, and create the staging table.

        :raises ConfigurationError: if there is a table that lacks its key, or hides its numbers more than the
            load does.
        """
        schema = TableSchema(self._transaction, self._relations)
        schema.ensure()
        self._refuse_less_privacy()
        self._personal.forgotten = self.stored.forgotten()
        if self._relations.stages_in_transaction:
            self._begin()
        schema.create_staging()

    def allow_readers(self) -> None:
        """Let other connections read the database while rows are merged."""
        if statement := self._database.dialect.no_spill:
            self._transaction.run_alone("let others read", statement)

    def restart(self) -> None:
        """Forget all added rows, so that the list can be read again."""
        self._forget_pending()
        self._transaction.execute(DeleteAll(self._relations.staging))
        self._transaction.commit_if_short()

    def delete(self, keys: Iterable[tuple[Any, ...]]) -> None:
        """Delete rows from the table, by their keys, when the load ends."""
        self._deleted = sorted(keys)

    def add(self, chunk: Chunk) -> None:
        """Add rows. They are merged before ``finish`` returns."""
        if not self._keys.isdisjoint(chunk.keys):
            self._merge_now()
        self._keys.update(chunk.keys)
        self._pending.append(chunk)
        self._rows_pending += chunk.encoded.length
        if self._rows_pending >= self._merged_rows:
            self._stage() if self._dataset.has_history else self._merge_now()

    def finish(self, *, is_whole: bool = True) -> MergeCounts:
        """Merge the remaining rows, commit, and return the counts of all merges. More rows may follow.

        :param is_whole: whether all listed rows were read, so that a snapshot may mark the others as removed.
        """
        for left in reversed(range(1 if self._transaction.is_open else ATTEMPTS)):
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
                self._merge.run()
            self._merge.delete(self._deleted)
            if is_whole and self._dataset.write_disposition is WriteDisposition.SNAPSHOT:
                self._merge.mark_removed()
            if self._relations.stages_in_transaction:
                self._transaction.execute(DropTable(self._relations.staging))
            self._transaction.commit()
            self._forget_pending()
            self._committed = replace(self._merge.counts)
            is_done = True
        finally:
            if not is_done:
                self._transaction.rollback()
                # Another program may have written rows that seemed to be new.
                self._inserts_directly = False
                self._merge.counts = replace(self._committed)
        return self._merge.counts

    def _merge_now(self) -> None:
        self._begin()
        self._merge_pending()
        self._forget_pending()

    def _stage(self) -> None:
        """Stage rows for a merge that needs all rows at once."""
        if not self._database.dialect.has_temporary_tables:
            self._begin()
        self._insert(self._relations.staging, self._relations.staged_names)
        self._transaction.commit_if_short()
        self._forget_pending()

    def _forget_pending(self) -> None:
        self._pending, self._rows_pending = [], 0
        self._keys.clear()

    def _begin(self) -> None:
        if self._transaction.is_open:
            return
        self._transaction.begin()
        at = self._database.dialect.instant(self._load.at)
        if self._dataset.write_disposition is WriteDisposition.SNAPSHOT and self.stored.has_newer(at):
            msg = (
                f"A load of the table {self._name} that began later has finished first: the rows of this one "
                "are older. Nothing was changed; a later try reads the list again."
            )
            raise LoadFailed(msg)
        if self.stored.forgotten() != self._personal.forgotten:
            msg = (
                f"A person in the table {self._name} was forgotten while the list was read. Nothing was "
                "changed; a later try reads the list again."
            )
            raise LoadFailed(msg)

    def _merge_pending(self) -> None:
        if not self._pending:
            return
        if self._inserts_directly and self._are_new():
            self._merge.counts.loaded += self._rows_pending
            self._insert(self._relations.target, self._dataset.column_names)
            return
        self._insert(self._relations.staging, self._relations.staged_names)
        if not self._dataset.has_history:
            self._merge.run()

    def _are_new(self) -> bool:
        """Whether the table surely lacks all rows: its keys leave their range free, as new rows find it."""
        if str in set(map(type, self._keys)):
            return self.stored.is_empty()
        return not self.stored.has_between(self._keys)

    def _insert(self, table: Table, names: Sequence[str]) -> None:
        packs = [chunk.encoded for chunk in self._pending]
        insert_encoded(self._database, "put rows into the table", table, names, packs)

    def _refuse_less_privacy(self) -> None:
        """Refuse plain numbers in a table of masked or hashed ones, and masked numbers among hashed ones."""
        key_id = self._personal.key_id
        if key_id not in {None, MASKED}:
            return
        key_ids = self.stored.key_ids()
        # A ledger may have hashed its numbers itself.
        if key_ids - {MASKED} and not self._dataset.is_from_ledger:
            found, privacy = "hashed", "keyed_hash"
        elif MASKED in key_ids and key_id is None:
            found, privacy = "masked", "masked"
        else:
            return
        msg = (
            f"The table {self._name} holds {found} numbers, and this load would store them "
            f'{"masked" if key_id else "as they are"}. Give privacy="{privacy}", or the name of another '
            "table."
        )
        raise ConfigurationError(msg)


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
        if name.schema and refusal.step == CREATE and refusal.is_permanent and not refusal.lacks_rights:
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
        table = TargetTable(database, dataset, name, load, merged_rows=sizes.merged_rows, personal=personal)
        table.prepare()
        yield table, RowMapper(dataset, load, database, personal)
