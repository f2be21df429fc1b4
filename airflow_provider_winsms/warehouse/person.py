"""All that a loaded table holds on one person, and its removal.

A row stays, because the rows are the memory of a load: without it, the next load would read it again. Its
number becomes a pseudonym, which no load replaces by the number.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, null, select, update

from airflow_provider_winsms.exceptions import ConfigurationError, LoadFailed
from airflow_provider_winsms.sql.connection import Database
from airflow_provider_winsms.sql.functions import readable
from airflow_provider_winsms.sql.tables import table_of
from airflow_provider_winsms.sql.types import ColumnType, read_plain
from airflow_provider_winsms.sql.values import read_instant
from airflow_provider_winsms.warehouse.datasets import (
    DATASETS,
    FIRST_SEEN,
    KEY_ID,
    LAST_SEEN,
    LOADED,
    NUMBER,
)
from airflow_provider_winsms.warehouse.transaction import LoadTransaction
from airflow_provider_winsms.warehouse.views import HISTORY_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from sqlalchemy import Table

    from airflow_provider_winsms.ledger.person import Person
    from airflow_provider_winsms.sql.errors import Refusal
    from airflow_provider_winsms.warehouse.datasets import Dataset
    from airflow_provider_winsms.warehouse.relations import TableName

_RIGHTS = "The connection's user needs SELECT and UPDATE on the table, and DELETE if it holds opt-outs."


class PersonalRows:
    """The rows on one person in a loaded table, and in its history. Every method raises ``LoadFailed``.

    :ivar dataset: the dataset of the table.
    :raises ConfigurationError: if there is no such table, or no load has filled it.
    """

    def __init__(self, database: Database, name: TableName) -> None:
        self._database = database
        self._transaction = LoadTransaction(database, name)
        found = self._columns(name)
        self.dataset = _dataset_of(name, found)
        self._tables = {str(name): self._table(name, found, self.dataset.key)}
        if self.dataset.has_history:
            self._add_history(name)

    def rows(self, person: Person) -> dict[str, list[dict[str, Any]]]:
        """Return the rows by the names of the tables, with all columns that loads fill."""
        return {name: self._rows(table, person) for name, table in self._tables.items()}

    def forget(self, person: Person) -> dict[str, int]:
        """Replace the number of each row, and empty its personal columns; return how many rows of each table.

        It waits for a load of the table. All is changed, or nothing.
        """
        return self._database.transact(lambda: self._forget_all(person))

    def other_keys(self, person: Person) -> list[str]:
        """Return the ids of further keys, under which numbers are hashed that cannot be searched."""
        found = set()
        for table in self._tables.values():
            key_id = table.c[KEY_ID]
            others = select(key_id).distinct().where(key_id.is_not(None), key_id.not_in(person.key_ids))
            found.update(self._transaction.rows(others))
        return sorted(key_id for (key_id,) in found)

    def _add_history(self, name: TableName) -> None:
        if found := self._columns(name.history):
            key = (*self.dataset.key, FIRST_SEEN)
            self._tables[str(name.history)] = self._table(name.history, found, key)
        elif name.table.endswith(HISTORY_SUFFIX):
            msg = f"The table {name} is a history. Name the table of opt-outs: its history goes with it."
            raise ConfigurationError(msg)

    def _columns(self, name: TableName) -> set[str]:
        return self._transaction.columns(table_of(name.parts, ())) or set()

    def _table(self, name: TableName, found: set[str], key: Sequence[str]) -> Table:
        """Return a table with those columns of the dataset that it has."""
        columns = [column for column in self.dataset.with_raw().columns if column.name in found]
        return table_of(name.parts, columns, key)

    def _rows(self, table: Table, person: Person) -> list[dict[str, Any]]:
        kinds = {c.name: c.kind for c in self.dataset.with_raw().columns if c.name in table.c}
        values = [
            readable(table.c[name]).label(name) if kind is ColumnType.INSTANT else table.c[name]
            for name, kind in kinds.items()
        ]
        query = select(*values).where(table.c[NUMBER].in_(list(person.pseudonyms)))
        found = self._transaction.rows(query.order_by(*table.primary_key))
        return [
            {name: read_plain(kind, value) for (name, kind), value in zip(kinds.items(), row, strict=True)}
            for row in found
        ]

    def _forget_all(self, person: Person) -> dict[str, int]:
        self._transaction.begin()
        counts = {name: self._forget(table, person) for name, table in self._tables.items()}
        self._transaction.commit()
        return counts

    def _forget(self, table: Table, person: Person) -> int:
        if NUMBER in self.dataset.key:
            self._delete_doubles(table, person)
        personal = {name: null() for name in self.dataset.with_raw().personal_columns if name in table.c}
        return sum(
            self._execute(
                update(table).values({NUMBER: pseudonym, **personal}).where(table.c[NUMBER] == form)
            )
            for form, pseudonym in person.pseudonyms.items()
        )

    def _delete_doubles(self, table: Table, person: Person) -> None:
        """Delete all rows but one that would get the same key: the one that a load saw last stays.

        A number has several rows if a table was loaded with other privacy, or if the number came back under
        another key after it was forgotten.
        """
        pseudonyms = {**person.pseudonyms, **{each: each for each in person.pseudonyms.values()}}
        number, first, last = table.c[NUMBER], table.c[FIRST_SEEN], table.c[LAST_SEEN]
        columns = [number, readable(first).label("first"), readable(func.coalesce(last, first)).label("last")]
        kept: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        found = self._transaction.rows(select(*columns).where(number.in_(list(pseudonyms))))
        for row in sorted(found, key=lambda row: (row[2] is not None, row[2])):
            is_period = FIRST_SEEN in {column.name for column in table.primary_key}
            key = (pseudonyms[row[0]], row[1] if is_period else None)
            if double := kept.get(key):
                of_period = [first == self._instant(double[1])] if is_period else []
                self._execute(delete(table).where(number == double[0], *of_period))
            kept[key] = row

    def _instant(self, value: Any) -> Any:
        return self._database.dialect.instant(read_instant(value))

    def _execute(self, statement: Any) -> int:
        return self._database.execute("forget a number", statement)


@contextmanager
def open_personal_rows(hook: DbApiHook, name: TableName) -> Iterator[PersonalRows]:
    """Connect, and yield the rows of a table.

    :raises ConfigurationError: if there is no such table, or no load has filled it.
    :raises LoadFailed: if the database refuses a statement.
    """

    def refused(refusal: Refusal) -> LoadFailed:
        message = refusal.message(f"table {name}", refusal.hint(_RIGHTS, "A repeat is safe."))
        return LoadFailed(message, refusal.kind, refusal.code, is_permanent=refusal.needs_a_person)

    with closing(Database(hook, refused)) as database:
        database.open()
        yield PersonalRows(database, name)


def _dataset_of(name: TableName, found: set[str]) -> Dataset:
    """Return the dataset of the table that has some columns."""
    if not found:
        msg = f"There is no table {name}, or the connection's user may not read it."
        raise ConfigurationError(msg)
    for dataset in DATASETS.values():
        if found >= {NUMBER, KEY_ID, LOADED, *dataset.key, dataset.discriminator}:
            return dataset
    msg = f"No load has filled the table {name}. Name a table of SmsToSqlOperator."
    raise ConfigurationError(msg)
