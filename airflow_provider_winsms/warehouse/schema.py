"""The schema of a load's tables: they are created, and get the columns that they lack."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import exists, false, func, select
from sqlalchemy.schema import CreateTable

from airflow_provider_winsms.exceptions import ConfigurationError, LoadFailed
from airflow_provider_winsms.sql.column_types import check_types
from airflow_provider_winsms.sql.tables import addition, creation
from airflow_provider_winsms.warehouse.datasets import DATASETS, RAW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Table
    from sqlalchemy.dialects.postgresql import Insert

    from airflow_provider_winsms.sql.compiler import Statement
    from airflow_provider_winsms.sql.dialects import Dialect
    from airflow_provider_winsms.warehouse.datasets import Column
    from airflow_provider_winsms.warehouse.relations import Relations
    from airflow_provider_winsms.warehouse.transaction import LoadTransaction

_log = logging.getLogger(__name__)

CREATE = "create the table"
"""The step that creates a table, for errors."""


class TableSchema:
    """The tables of one load. Several loads may make them at once. Every method raises ``LoadFailed``."""

    def __init__(self, transaction: LoadTransaction, relations: Relations) -> None:
        self._transaction = transaction
        self._relations = relations
        self._dataset = relations.dataset
        self._dialect = relations.dialect

    def ensure(self) -> None:
        """Create the table and its history if they are missing, and add the columns that they lack.

        :raises ConfigurationError: if there is a table that lacks its key, or is of another dataset.
        """
        self._ensure_table(self._relations.target)
        if self._dataset.has_history:
            self._ensure_history()
        self._relations.has_unique_key = self._dialect.skips_conflicts and self._is_unique()

    def create_staging(self) -> None:
        """Create the staging table: inside the load's transaction if that has begun."""
        create = CreateTable(self._relations.staging)
        if not self._dialect.has_temporary_tables:
            self._ensure_table(self._relations.staging)
        elif self._transaction.is_open:
            self._transaction.execute(create)
        else:
            self._transaction.run_alone("create a staging table", create)

    def _ensure_table(self, table: Table) -> None:
        """Create a table, or add the columns that it lacks."""
        found = self._transaction.columns(table) or self._created(table)
        if missing := [part for part in self._dataset.key if part not in found]:
            msg = (
                f"The table {table.fullname} is none of the dataset {self._dataset.name!r}: it lacks "
                f"{', '.join(missing)}, by which its rows are told apart. Give the name of another table."
            )
            raise ConfigurationError(msg)
        self._refuse_foreign_table(table, found)
        otherwise = "Give the name of another table."
        check_types(self._transaction.database, table, self._dataset.columns, otherwise)
        self._transaction.commit_if_short()
        if RAW.name in found.difference(self._dataset.column_names):
            self._relations.declare_raw(table)
        for column in self._dataset.columns:
            if column.name not in found:
                self._add_column(table, column)

    def _created(self, table: Table) -> set[str]:
        columns = self._transaction.columns
        ways = self._ways(partial(creation, table), table, self._dataset.columns)
        self._run_unless_done(CREATE, ways, lambda: columns(table) is not None)
        found = columns(table)
        if found is None:
            # A second query raises the reason.
            return self._transaction.database.columns("read the columns of the table", table)
        return found

    def _refuse_foreign_table(self, table: Table, found: set[str]) -> None:
        strange = found - set(self._dataset.column_names)
        for other in DATASETS.values():
            if other.discriminator in strange and found.issuperset(other.key):
                msg = (
                    f"The table {table.fullname} is one of the dataset {other.name!r}, as it has the column "
                    f"{other.discriminator}; loaded is {self._dataset.name!r}. Name another table."
                )
                raise ConfigurationError(msg)

    def _add_column(self, table: Table, column: Column) -> None:
        self._run_unless_done(
            "add a column",
            self._ways(partial(addition, table.c[column.name]), table, [column]),
            lambda: column.name in (self._transaction.columns(table) or ()),
        )

    def _ensure_history(self) -> None:
        history = self._relations.history
        self._ensure_table(history)
        # Another load may have begun the history just now.
        self._run_unless_done(
            "begin the history",
            [[self._seed_history()]],
            lambda: bool(self._transaction.scalar(select(func.count()).select_from(history))),
        )

    def _seed_history(self) -> Insert:
        """Begin the history with the rows of the table that a load has seen."""
        history, target = self._relations.history, self._relations.target
        is_begun = exists().select_from(history)
        needed = (
            target.c[column.name].is_not(None) for column in self._dataset.columns if column.is_required
        )
        return self._relations.insert(history, target, ~is_begun, *needed)

    def _is_unique(self) -> bool:
        """Whether the table has a unique key: only then it accepts the clause for conflicts."""
        nothing = self._relations.insert_unless_there(self._relations.target, false())
        try:
            self._transaction.run_alone("look for the key of the table", nothing)
        except LoadFailed:
            return False
        return True

    def _ways(
        self,
        statements: Callable[[Iterable[Sequence[str]], Dialect], Iterable[Statement]],
        table: Table,
        columns: Iterable[Column],
    ) -> list[list[Statement]]:
        """Return two ways to make columns: with their indexes, which a database may refuse, and without.

        :param statements: takes the columns of each index.
        """
        has_indexes = table is self._relations.target and self._dialect.has_indexes
        indexes = [[column.name] for column in columns if column.is_indexed and has_indexes]
        return [list(statements(each, self._dialect)) for each in ([indexes, []] if indexes else [[]])]

    def _run_unless_done(
        self, step: str, ways: Sequence[Sequence[Statement]], is_done: Callable[[], bool]
    ) -> None:
        """Run statements. If the database refuses them, another load may have just done the same.

        :param ways: the statements of each way, the best way first; a later one is for a database that
            refuses an index.
        """
        for statements in ways:
            try:
                self._transaction.run_alone(step, *statements)
            except LoadFailed:
                if is_done():
                    return
                if statements is ways[-1]:
                    raise
            else:
                if statements is not ways[0]:
                    name = self._relations.target.fullname
                    _log.warning(
                        "The database refuses an index of the table %s. Loads work without it.", name
                    )
                return
