"""The expressions that databases spell differently, as functions of SQLAlchemy.

An instant is a column of the kind ``INSTANT``. The spellings for Microsoft SQL Server, Oracle, Redshift and
Snowflake are compiled in tests, and not run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement, char_length

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.sql.elements import ColumnElement


class _Calculation(FunctionElement[Any]):
    """A function with a spelling for each database.

    :cvar spellings: by SQLAlchemy's name of the database; the one for ``""`` is that of all others.
    """

    inherit_cache = True
    spellings: ClassVar[Mapping[str, str]]


@compiles(_Calculation)
def _compile(function: _Calculation, compiler: SQLCompiler, **options: Any) -> str:
    found = function.spellings.get(compiler.dialect.name, function.spellings.get(""))
    if found is None:
        msg = f"The function {function.name} has no spelling for the database {compiler.dialect.name!r}."
        raise CompileError(msg)
    return found.format(*(compiler.process(argument, **options) for argument in function.clauses))


class _DayOf(_Calculation):
    name = "day_of"
    spellings: ClassVar[Mapping[str, str]] = {
        "postgresql": "CAST({} AT TIME ZONE 'UTC' AS DATE)",
        "redshift": "CAST({} AT TIME ZONE 'UTC' AS DATE)",
        "mysql": "DATE({})",
        "sqlite": "DATE({})",
        # A cast would use the time zone of the session.
        "duckdb": "CAST(MAKE_TIMESTAMP(EPOCH_US({})) AS DATE)",
        "mssql": "CAST(SWITCHOFFSET({}, '+00:00') AS DATE)",
        "oracle": "TRUNC(SYS_EXTRACT_UTC({}))",
        "snowflake": "CAST(CONVERT_TIMEZONE('UTC', {}) AS DATE)",
    }


class _SecondsBetween(_Calculation):
    name = "seconds_between"
    spellings: ClassVar[Mapping[str, str]] = {
        # Before PostgreSQL 14 the epoch is a double, which ROUND cannot cut to some decimal places.
        "postgresql": "CAST(EXTRACT(EPOCH FROM ({1} - {0})) AS NUMERIC)",
        "redshift": "(DATEDIFF(microsecond, {0}, {1}) / 1000000.0)",
        "mysql": "(TIMESTAMPDIFF(MICROSECOND, {0}, {1}) / 1000000)",
        # SQLite counts milliseconds; as a fraction of days they are off by less than one.
        "sqlite": "ROUND((JULIANDAY({1}) - JULIANDAY({0})) * 86400, 3)",
        "duckdb": "((EPOCH_US({1}) - EPOCH_US({0})) / 1000000.0)",
        "mssql": "(DATEDIFF_BIG(MICROSECOND, {0}, {1}) / 1000000.0)",
        "oracle": (
            "(EXTRACT(DAY FROM ({1} - {0})) * 86400 + EXTRACT(HOUR FROM ({1} - {0})) * 3600 "
            "+ EXTRACT(MINUTE FROM ({1} - {0})) * 60 + EXTRACT(SECOND FROM ({1} - {0})))"
        ),
        "snowflake": "(TIMESTAMPDIFF(MICROSECOND, {0}, {1}) / 1000000)",
    }


class _WholeDaysIn(_Calculation):
    name = "whole_days_in"
    spellings: ClassVar[Mapping[str, str]] = {
        "": "CAST(FLOOR({} / 86400) AS INTEGER)",
        "mysql": "FLOOR({} / 86400)",
        # FLOOR is not in every build.
        "sqlite": "CAST({} / 86400 AS INTEGER)",
    }


class _Readable(_Calculation):
    name = "readable"
    spellings: ClassVar[Mapping[str, str]] = {
        "": "{}",
        # An instant would else need a package that DuckDB does not install.
        "duckdb": "CAST({} AS VARCHAR)",
    }


class _Unindexed(_Calculation):
    name = "unindexed"
    spellings: ClassVar[Mapping[str, str]] = {"": "{}", "sqlite": "+{}"}


@compiles(char_length, "snowflake")
def _length(function: char_length, compiler: SQLCompiler, **options: Any) -> str:
    return f"LENGTH{compiler.function_argspec(function, **options)}"


def day_of(instant: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the day of an instant, in UTC."""
    return _DayOf(instant)


def seconds_between(start: ColumnElement[Any], end: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the seconds from one instant to another, with their fraction; negative if the end is first."""
    return _SecondsBetween(start, end)


def whole_days_in(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the whole days in seconds, which are no less than 0."""
    return _WholeDaysIn(seconds)


def readable(instant: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return an instant, selected so that ``read_instant`` can read it."""
    return _Readable(instant)


def unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column by which SQLite looks up no rows. It reads its table, and looks up the other one."""
    return _Unindexed(column)
