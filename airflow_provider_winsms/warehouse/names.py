"""The checked name of a load's table, and of the tables beside it."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_winsms.options import check_identifier
from airflow_provider_winsms.warehouse.views import HISTORY_SUFFIX


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
