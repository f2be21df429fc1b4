"""The types of the columns of a table that exists already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.sql.types import type_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Table

    from airflow_provider_winsms.sql.connection import Database
    from airflow_provider_winsms.sql.tables import ColumnDefinition


def check_types(
    database: Database, table: Table, columns: Sequence[ColumnDefinition], otherwise: str
) -> None:
    """Refuse a table of an older version, if the database tells the types of its columns.

    :param columns: those that the table should have.
    :param otherwise: what a person can do instead of changing the types; a sentence.
    :raises ConfigurationError: if the type of a column cannot hold its values. The error shows the statements
        that change the types, if there are any.
    """
    dialect = database.dialect
    if not dialect.column_types:
        return
    schema = f"'{table.schema}'" if table.schema else "NULL"
    query = dialect.column_types.format(table=database.quoted(table), name=table.name, schema=schema)
    found = dict(database.rows("read the types of the columns", query))
    wrong = [each for each in columns if each.name in found and not each.kind.fits(found[each.name])]
    if not wrong:
        return
    types = type_names(database.core)
    statements = "; ".join(
        dialect.change_type.format(
            table=database.quoted(table),
            column=database.quoted(table.c[column.name]),
            type=types[column.kind],
            null="NOT NULL" if column.is_required else "NULL",
        )
        for column in wrong
    )
    change = f" Drop the views that read it, and run {statements}. Or:" if dialect.change_type else ""
    listed = ", ".join(f"{column.name} ({found[column.name]})" for column in wrong)
    msg = (
        f"The table {table.fullname} has types of an older version, which cannot hold the values of "
        f"{listed}.{change} {otherwise}"
    )
    raise ConfigurationError(msg)
