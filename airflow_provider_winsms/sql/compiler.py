"""Statements of SQLAlchemy, compiled for the database at hand and the placeholders of its driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Table
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.sql.compiler import IdentifierPreparer, SQLCompiler
from sqlalchemy.sql.elements import quoted_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Column, Dialect
    from sqlalchemy.sql.elements import CompilerElement

    Statement = str | CompilerElement

_NAMES = {
    "postgres": "postgresql",
    **{name: name for name in ("mssql", "mysql", "oracle", "redshift", "snowflake", "sqlite")},
}
"""SQLAlchemy's names of databases, by the types of their connections."""

_PARAMETER_STYLES = {"?": "qmark", "%s": "format"}
"""SQLAlchemy's names, by the placeholder of the hook."""


class DuckDb(PGDialect):
    """DuckDB, whose SQL is close to that of PostgreSQL."""

    name = "duckdb"


def dialect_of(conn_type: str, placeholder: str = "%s", quote: str = '"{}"') -> Dialect:
    """Return SQLAlchemy's dialect for the database of a connection; that of standard SQL if it knows none.

    :param placeholder: the hook's.
    :param quote: the hook's format of a quoted name, for a database that SQLAlchemy does not know.
    """
    style: Any = _PARAMETER_STYLES.get(placeholder, "numeric" if placeholder.startswith(":") else "format")
    known = _known(conn_type)
    if known is not None:
        return known(paramstyle=style)
    dialect = DefaultDialect(paramstyle=style)
    opening, _, closing = quote.partition("{}")
    dialect.identifier_preparer = IdentifierPreparer(dialect, opening, closing)
    return dialect


def _known(conn_type: str) -> type[DefaultDialect] | None:
    if conn_type == "duckdb":
        return DuckDb
    if conn_type == "postgres":
        # That of a driver would add casts for its own parameters.
        return PGDialect
    try:
        found: type[DefaultDialect] = registry.load(_NAMES[conn_type])
    except (KeyError, ImportError, NoSuchModuleError):
        return None
    return found


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
