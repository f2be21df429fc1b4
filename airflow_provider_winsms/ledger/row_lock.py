"""A lock that is a row of a table: whoever has written the row has the lock, until its transaction ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import LedgerUnavailable
from airflow_provider_winsms.ledger.database import transaction

if TYPE_CHECKING:
    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.ledger.schema import LedgerTable
    from airflow_provider_winsms.sql.statements import NamedStatement


class RowLock:
    """The lock of a table.

    :param find: the query that returns its row.
    """

    def __init__(self, database: LedgerDatabase, table: LedgerTable, find: NamedStatement) -> None:
        self._database = database
        self._table = table
        self._find = find

    def ensure(self, row: tuple[Any, ...]) -> None:
        """Write the row, unless it is there. A transaction then takes the lock by changing the row."""
        try:
            self._write(row)
        except LedgerUnavailable:
            # Another process may have written it first.
            if not self._is_there():
                raise

    @transaction
    def _write(self, row: tuple[Any, ...]) -> None:
        if not self._database.read(self._find):
            self._database.insert(self._table, [row])

    @transaction
    def _is_there(self) -> bool:
        return bool(self._database.read(self._find))
