"""The expressions that databases spell differently, as functions of SQLAlchemy.

An instant is a column of the kind ``INSTANT``. The spellings for Microsoft SQL Server, Oracle, Redshift and
Snowflake are compiled in tests, and not run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement, char_length

from airflow_provider_winsms.sql.time_zones import WEEK, stretches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

    from sqlalchemy.sql.compiler import SQLCompiler
    from sqlalchemy.sql.elements import ColumnElement

    from airflow_provider_winsms.sql.time_zones import Stretch


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


class _LocalDayOf(FunctionElement[Any]):
    """The day of an instant in a time zone."""

    name = "local_day_of"
    inherit_cache = False

    def __init__(self, instant: ColumnElement[Any], zone: ZoneInfo) -> None:
        super().__init__(instant)
        self.zone = zone


_SHIFTED_DAYS = {
    "mysql": "DATE(DATE_ADD({0}, INTERVAL {1} SECOND))",
    "sqlite": "DATE({0}, '{1} seconds')",
    "duckdb": "CAST(MAKE_TIMESTAMP(EPOCH_US({0}) + {1}000000) AS DATE)",
}
"""The day of an instant that is moved by some seconds, by SQLAlchemy's name of the database."""

FIRST_YEAR, LAST_YEAR = 2020, 2040
"""The years whose offsets from UTC stand in an expression. Before and after them the nearest one holds."""

_BEFORE = {
    "mysql": "{0} < '{1:%Y-%m-%d %H:%M:%S}'",
    "sqlite": "DATETIME({0}) < '{1:%Y-%m-%d %H:%M:%S}'",
    "duckdb": "EPOCH_US({0}) < {2}000000",
}
"""Whether an instant is before another, which is given as itself and as seconds since 1970."""


@compiles(_LocalDayOf)
def _local_day(function: _LocalDayOf, compiler: SQLCompiler, **options: Any) -> str:
    database = compiler.dialect.name
    (instant,) = (compiler.process(argument, **options) for argument in function.clauses)
    if database == "postgresql":
        return f"CAST({instant} AT TIME ZONE '{function.zone.key}' AS DATE)"
    if database not in _BEFORE:
        msg = f"The function {function.name} has no spelling for the database {database!r}."
        raise CompileError(msg)
    return _day_in(known_stretches(function.zone), instant, database)


@cache
def known_stretches(zone: tzinfo) -> Sequence[Stretch]:
    """Return the stretches of the known years, in which no zone changed its offset twice within a week."""
    begin, end = (round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (FIRST_YEAR, LAST_YEAR + 1))
    return list(stretches(zone, begin, end, WEEK))


def _day_in(known: Sequence[Stretch], instant: str, database: str) -> str:
    """Return the day of an instant that is in one of these stretches. It takes few comparisons."""
    if len(known) == 1:
        return _SHIFTED_DAYS[database].format(instant, known[0].offset)
    half = len(known) // 2
    begin = known[half].begin
    is_before = _BEFORE[database].format(instant, datetime.fromtimestamp(begin, UTC), begin)
    earlier, later = (_day_in(some, instant, database) for some in (known[:half], known[half:]))
    return f"CASE WHEN {is_before} THEN {earlier} ELSE {later} END"


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


def day_of(instant: ColumnElement[Any], zone: tzinfo = UTC) -> ColumnElement[Any]:
    """Return the day of an instant in a time zone: UTC, or one with an IANA name.

    PostgreSQL looks it up. For other databases its offsets of some years stand in the expression.
    """
    return _LocalDayOf(instant, zone) if isinstance(zone, ZoneInfo) and zone.key != "UTC" else _DayOf(instant)


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
