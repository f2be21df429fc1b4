"""The types of columns, in SQLAlchemy's words, for each database."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, Numeric, String, Text, Unicode
from sqlalchemy.dialects import mssql, mysql, oracle
from sqlalchemy.types import UserDefinedType

from airflow_provider_winsms.sql.values import AMOUNT_PLACES, read_amount, read_instant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine


_WHOLE_NUMBER = re.compile(r"\w*int(eger)?\b.*", re.IGNORECASE)
_SCALE = re.compile(r"\w+\(\d+, ?(\d+)\).*")


class ColumnType(StrEnum):
    """The kind of values in a column. Each database has its own type for it."""

    ID = "id"
    """A message id: up to 64 characters, all of them printable ASCII."""

    COUNT = "count"
    """A whole number of 32 bits."""

    AMOUNT = "amount"
    """An amount, to four decimal places."""

    NUMBER = "number"
    """A phone number, as digits, or its hash."""

    TEXT = "text"
    """A text of any length."""

    INSTANT = "instant"
    """An instant, in UTC."""

    NAME = "name"
    """An identifier from Airflow."""

    WORD = "word"
    """One of a few words, or hexadecimal digits: up to 64 characters."""

    def fits(self, declared: str) -> bool:
        """Tell whether a column of a type can hold the values, as far as the type's name tells."""
        if self is ColumnType.ID:
            return not _WHOLE_NUMBER.fullmatch(declared)
        scale = _SCALE.fullmatch(declared) if self is ColumnType.AMOUNT else None
        return scale is None or int(scale[1]) >= AMOUNT_PLACES


class _Instant(UserDefinedType[Any]):
    """The type of standard SQL. Drivers are given the values as ``Dialect.instant`` makes them."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TIMESTAMP WITH TIME ZONE"


def _text(otherwise: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return a type without a limit, in databases where that costs nothing."""
    return otherwise.with_variant(Text(), "postgresql", "sqlite", "duckdb")


TYPES: Mapping[ColumnType, TypeEngine[Any]] = {
    ColumnType.ID: String(64)
    # Most locales compare texts many times more slowly.
    .with_variant(String(64, collation="C"), "postgresql")
    .with_variant(mysql.VARCHAR(64, charset="ascii", collation="ascii_bin"), "mysql")
    .with_variant(Text(), "sqlite")
    .with_variant(String(), "duckdb"),
    ColumnType.COUNT: Integer(),
    ColumnType.AMOUNT: Numeric(14, 4).with_variant(Numeric(), "sqlite"),
    ColumnType.NUMBER: _text(String(100)),
    ColumnType.TEXT: _text(Unicode(4000))
    .with_variant(mysql.LONGTEXT(), "mysql")
    .with_variant(mssql.NVARCHAR(None), "mssql")
    # Oracle compares no CLOB.
    .with_variant(oracle.NVARCHAR2(2000), "oracle")
    # Redshift counts bytes. Its TEXT has 256 of them.
    .with_variant(String(65535), "redshift"),
    ColumnType.INSTANT: _Instant()
    .with_variant(mysql.DATETIME(fsp=6), "mysql")
    # SQLite has no type for time; its functions take ISO 8601, which sorts as text.
    .with_variant(Text(), "sqlite")
    .with_variant(mssql.DATETIMEOFFSET(), "mssql"),  # type: ignore[no-untyped-call] # SQLAlchemy has no type for it
    ColumnType.NAME: _text(Unicode(250)).with_variant(String(1000), "redshift"),
    ColumnType.WORD: _text(String(64)),
}
"""By the kind of their values."""


def type_names(dialect: Dialect) -> dict[ColumnType, str]:
    """Return the names of the types in a database."""
    return {kind: str(declared.compile(dialect=dialect)) for kind, declared in TYPES.items()}


def read_plain(kind: ColumnType, value: Any) -> Any:
    """Return a value that a driver read, with an instant as ISO 8601 in UTC, and an amount as its digits."""
    if value is None:
        return None
    if kind is ColumnType.INSTANT:
        return read_instant(value).isoformat()
    return str(read_amount(value)) if kind is ColumnType.AMOUNT else value
