"""The connection of a load: short transactions first, then a long one that holds the lock of its table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import LoadFailed

if TYPE_CHECKING:
    from sqlalchemy import Table

    from airflow_provider_winsms.sql.compiler import Statement
    from airflow_provider_winsms.sql.connection import Database
    from airflow_provider_winsms.warehouse.relations import TableName


class LoadTransaction:
    """The connection of one load, and the long transaction at its end. Every method raises ``LoadFailed``.

    :ivar is_open: whether the long transaction has begun, and is not committed yet.
    """

    def __init__(self, database: Database, name: TableName) -> None:
        self.database = database
        self.dialect = database.dialect
        self.is_open = False
        self._name = name

    def begin(self) -> None:
        """Begin the long transaction, and take the lock of the table."""
        self.is_open = True
        if not self._lock():
            msg = f"Another load of the table {self._name} has locked it for an hour. A later try goes on."
            raise LoadFailed(msg)

    def _lock(self) -> bool:
        """Take the lock of the table; ``False`` if it was not free within an hour."""
        statement = self.dialect.long_lock.format(lock_name=f"'{self._name.table}'")
        is_held = not statement or self.database.rows("take a lock", statement) == [(1,)]
        self.database.lock(self._name.table)
        return is_held

    def commit(self) -> None:
        """Commit the long transaction."""
        self.database.commit()
        self.is_open = False

    def rollback(self) -> None:
        """Roll the long transaction back."""
        self.database.rollback()
        self.is_open = False

    def commit_if_short(self) -> None:
        """Commit, if the long transaction has not begun."""
        if not self.is_open:
            self.database.commit()

    def scalar(self, query: Statement) -> int | None:
        """Return the one number that a query finds."""
        ((value,),) = self.rows(query)
        return None if value is None else int(value)

    def rows(self, query: Statement) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        found = self.database.rows("read the table", query)
        self.commit_if_short()
        return found

    def execute(self, statement: Statement) -> int:
        """Run a statement of the merge, and return how many rows it changed."""
        return self.database.execute("merge the rows into the table", statement)

    def run_alone(self, step: str, *statements: Statement) -> None:
        """Run statements in a transaction of their own."""
        try:
            if len(statements) > 1:
                self.database.lock(f"{self._name.table} schema")
            for statement in statements:
                self.database.execute(step, statement)
            self.database.commit()
        except LoadFailed:
            self.database.rollback()
            raise

    def columns(self, table: Table) -> set[str] | None:
        """Return the columns of a table; ``None`` if it is not there."""
        try:
            found = self.database.columns("read the columns of the table", table)
            self.database.commit()
        except LoadFailed:
            self.database.rollback()
            return None
        return found
