"""Statements of SQLAlchemy, compiled for the database at hand and the placeholders of its driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Table
from sqlalchemy.dialects.mssql.base import MSDialect
from sqlalchemy.dialects.mysql.base import MySQLDialect
from sqlalchemy.dialects.oracle.base import OracleDialect
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.compiler import IdentifierPreparer, SQLCompiler
from sqlalchemy.sql.elements import quoted_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Column, Dialect
    from sqlalchemy.sql.elements import CompilerElement

    Statement = str | CompilerElement

_PARAMETER_STYLES = {"?": "qmark", "%s": "format"}
"""SQLAlchemy's names, by the placeholder of the hook."""


class DuckDb(PGDialect):
    """DuckDB, whose SQL is close to that of PostgreSQL."""

    name = "duckdb"


class Redshift(PGDialect):
    """Amazon Redshift, whose SQL comes from PostgreSQL."""

    name = "redshift"


class Snowflake(PGDialect):
    """Snowflake, whose names, types and updates are spelt as in PostgreSQL."""

    name = "snowflake"


_DIALECTS: Mapping[str, type[DefaultDialect]] = {
    "duckdb": DuckDb,
    "mssql": MSDialect,
    "mysql": MySQLDialect,
    "oracle": OracleDialect,
    "postgres": PGDialect,
    "redshift": Redshift,
    "snowflake": Snowflake,
    "sqlite": SQLiteDialect,
}
"""By the type of the connection. None is that of a driver, which would add casts for its own parameters."""


def dialect_of(conn_type: str, placeholder: str = "%s", quote: str = '"{}"') -> Dialect:
    """Return SQLAlchemy's dialect for the database of a connection; that of standard SQL if it knows none.

    :param placeholder: the hook's.
    :param quote: the hook's format of a quoted name, for a database that SQLAlchemy does not know.
    """
    style: Any = _PARAMETER_STYLES.get(placeholder, "numeric" if placeholder.startswith(":") else "format")
    # Its hook says `%s`, which its driver does not take.
    style = "numeric" if conn_type == "oracle" else style
    if conn_type in _DIALECTS:
        return _DIALECTS[conn_type](paramstyle=style)
    dialect = DefaultDialect(paramstyle=style)
    opening, _, closing = quote.partition("{}")
    dialect.identifier_preparer = IdentifierPreparer(dialect, opening, closing)
    return dialect


def compiled(statement: CompilerElement, dialect: Dialect) -> tuple[str, tuple[Any, ...]]:
    """Return the text of a statement, and its parameters in their order.

    The values of parameters are the driver's: nothing converts them.
    """
    found = statement.compile(dialect=dialect, compile_kwargs=_COMPILE)
    if not isinstance(found, SQLCompiler):
        return str(found), ()
    names, values = found.positiontup or (), found.construct_params(escape_names=False)
    return str(found), tuple(values[name] for name in names)


_COMPILE: Mapping[str, Any] = {"render_postcompile": True}
"""A list of values is as many parameters."""


def updates_from_tables(dialect: Dialect) -> bool:
    """Whether UPDATE reads other tables too, as far as SQLAlchemy knows the database."""
    return dialect.statement_compiler.update_from_clause is not SQLCompiler.update_from_clause


def name_of(name: str) -> quoted_name:
    """Return a name that is quoted in every statement."""
    return quoted_name(name, quote=True)


def quoted(part: Table | Column[Any], dialect: Dialect) -> str:
    """Return the quoted name of a table, with its schema, or of a column."""
    preparer = dialect.identifier_preparer
    return preparer.format_table(part) if isinstance(part, Table) else preparer.format_column(part)
