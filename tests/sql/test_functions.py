"""Days and seconds are the same in every database, whatever the time zone of the session."""

from __future__ import annotations

import random
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import literal_column
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import CompileError

from airflow_provider_winsms.sql.compiler import compiled, dialect_of
from airflow_provider_winsms.sql.dialects import DIALECTS
from airflow_provider_winsms.sql.functions import (
    FIRST_YEAR,
    LAST_YEAR,
    day_of,
    known_stretches,
    seconds_between,
    whole_days_in,
)
from airflow_provider_winsms.sql.types import ColumnType

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.sql.elements import ColumnElement

    from tests.support.databases import Database

START: ColumnElement[Any] = literal_column("started_at")
END: ColumnElement[Any] = literal_column("ended_at")
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
ZONES = {
    "postgres": "SET TIME ZONE 'Pacific/Auckland'",
    "mariadb": "SET time_zone = '+12:00'",
    "duckdb": "SET TimeZone = 'Pacific/Auckland'",
}


@pytest.fixture(
    params=[
        "sqlite",
        "postgres",
        pytest.param("mariadb", marks=pytest.mark.database),
        pytest.param("duckdb", marks=pytest.mark.database),
    ]
)
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def cells(database: Database, *instants: datetime) -> list[Any]:
    convert = DIALECTS[database.connection["conn_type"]].instant
    # To give a moment with a zone, DuckDB's driver needs a package more.
    return [at.isoformat() if database.kind == "duckdb" else convert(at) for at in instants]


@pytest.mark.parametrize(
    ("start", "seconds"),
    [
        (MIDNIGHT, 0),
        (MIDNIGHT - timedelta(milliseconds=1), 0.25),
        (MIDNIGHT - timedelta(milliseconds=1), 86_399.999),
        (MIDNIGHT, 86_400),
        (MIDNIGHT + timedelta(hours=23, minutes=59, seconds=59), 1_000_000.5),
        (MIDNIGHT.replace(month=12, hour=11), -90.125),
    ],
)
def test_a_database_counts_days_and_seconds_as_python_does(
    database: Database, start: datetime, seconds: float
) -> None:
    dialect = dialect_of(database.connection["conn_type"])
    instant = database.types[ColumnType.INSTANT]
    database.execute(f"CREATE TABLE {{}}spans (started_at {instant}, ended_at {instant})")
    late = seconds_between(START, END)
    figures = (day_of(START), day_of(END), late, whole_days_in(late))
    query = ", ".join(compiled(each, dialect)[0] for each in figures)
    mark = "%s" if database.kind in {"postgres", "mariadb"} else "?"
    table = database.named("spans")
    end = start + timedelta(seconds=seconds)
    with closing(database.connect()) as connection, closing(connection.cursor()) as cursor:
        if zone := ZONES.get(database.kind):
            cursor.execute(zone)
        cursor.execute(f"INSERT INTO {table} VALUES ({mark}, {mark})", cells(database, start, end))  # noqa: S608 - ours
        cursor.execute(f"SELECT {query} FROM {table}")  # noqa: S608 - ours
        ((*days, found, whole_days),) = cursor.fetchall()
    assert [date.fromisoformat(str(day)) for day in days] == [start.date(), end.date()]
    assert float(found) == pytest.approx(seconds, abs=0.001)
    if seconds >= 0:
        assert int(whole_days) == timedelta(seconds=seconds).days


PLACES = (
    "Africa/Johannesburg",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/Warsaw",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "UTC",
)


def telling_instants(zone: ZoneInfo) -> list[datetime]:
    """Return instants around the changes of an offset, around midnights, and some others."""
    chance = random.Random(zone.key)  # noqa: S311 - no secret
    starts = [datetime.fromtimestamp(each.begin, UTC) for each in known_stretches(zone)]
    some = [
        datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(21 * 8766)) for _ in range(200)
    ]
    midnights = [at.astimezone(zone).replace(hour=0, minute=0).astimezone(UTC) for at in some]
    return [at + timedelta(seconds=late) for at in (*starts, *some, *midnights) for late in (-1, 0, 1)]


@pytest.mark.parametrize("place", PLACES)
def test_a_database_tells_the_day_in_a_time_zone_as_python_does(database: Database, place: str) -> None:
    zone = ZoneInfo(place)
    instants = telling_instants(zone)
    instant = database.types[ColumnType.INSTANT]
    database.execute(f"CREATE TABLE {{}}spans (place INTEGER, started_at {instant})")
    day = compiled(day_of(START, zone), dialect_of(database.connection["conn_type"]))[0]
    mark = "%s" if database.kind in {"postgres", "mariadb"} else "?"
    table = database.named("spans")
    with closing(database.connect()) as connection, closing(connection.cursor()) as cursor:
        if session := ZONES.get(database.kind):
            cursor.execute(session)
        rows = list(enumerate(cells(database, *instants)))
        cursor.executemany(f"INSERT INTO {table} VALUES ({mark}, {mark})", rows)  # noqa: S608 - ours
        cursor.execute(f"SELECT {day} FROM {table} ORDER BY place")  # noqa: S608 - ours
        found = [date.fromisoformat(str(row[0])) for row in cursor.fetchall()]
    assert found == [at.astimezone(zone).date() for at in instants]


def test_the_offsets_of_a_time_zone_are_those_of_python() -> None:
    first, second, *others = known_stretches(ZoneInfo("Europe/Warsaw"))
    assert datetime.fromtimestamp(first.begin, UTC) == datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
    assert datetime.fromtimestamp(second.begin, UTC) == datetime(2020, 3, 29, 1, tzinfo=UTC)
    assert (first.offset, second.offset) == (3600, 7200)
    assert len(others) == 2 * (LAST_YEAR - FIRST_YEAR + 1) - 1
    assert datetime.fromtimestamp(others[-1].end, UTC) == datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC)
    assert [each.offset for each in known_stretches(ZoneInfo("Africa/Johannesburg"))] == [7200]


@pytest.mark.parametrize("name", ["postgres", "mysql", "sqlite", "duckdb"])
def test_the_day_in_utc_is_the_same_expression_whatever_names_it(name: str) -> None:
    dialect = dialect_of(name)
    days = [day_of(START), day_of(START, UTC), day_of(START, ZoneInfo("UTC"))]
    assert len({compiled(day, dialect)[0] for day in days}) == 1


@pytest.mark.parametrize("name", ["mssql", "oracle", "snowflake"])
def test_a_database_that_is_not_tried_tells_no_day_in_a_time_zone(name: str) -> None:
    with pytest.raises(CompileError, match="local_day_of"):
        compiled(day_of(START, ZoneInfo("Europe/Warsaw")), dialect_named(name))


def dialect_named(name: str) -> Dialect:
    """Return the dialect of a database, or one like that of a package that is not installed."""
    found = dialect_of(name)
    if found.name != name:
        found = DefaultDialect()
        found.name = name
    return found


@pytest.mark.parametrize(
    ("name", "day", "seconds"),
    [
        (
            "mssql",
            "CAST(SWITCHOFFSET(started_at, '+00:00') AS DATE)",
            "(DATEDIFF_BIG(MICROSECOND, started_at, ended_at) / 1000000.0)",
        ),
        (
            "oracle",
            "TRUNC(SYS_EXTRACT_UTC(started_at))",
            (
                "(EXTRACT(DAY FROM (ended_at - started_at)) * 86400"
                " + EXTRACT(HOUR FROM (ended_at - started_at)) * 3600"
                " + EXTRACT(MINUTE FROM (ended_at - started_at)) * 60"
                " + EXTRACT(SECOND FROM (ended_at - started_at)))"
            ),
        ),
        (
            "redshift",
            "CAST(started_at AT TIME ZONE 'UTC' AS DATE)",
            "(DATEDIFF(microsecond, started_at, ended_at) / 1000000.0)",
        ),
        (
            "snowflake",
            "CAST(CONVERT_TIMEZONE('UTC', started_at) AS DATE)",
            "(TIMESTAMPDIFF(MICROSECOND, started_at, ended_at) / 1000000)",
        ),
    ],
)
def test_databases_that_are_not_run_have_spellings(name: str, day: str, seconds: str) -> None:
    dialect = dialect_named(name)
    late = seconds_between(START, END)
    assert compiled(day_of(START), dialect) == (day, ())
    assert compiled(late, dialect) == (seconds, ())
    assert compiled(whole_days_in(late), dialect) == (f"CAST(FLOOR({seconds} / 86400) AS INTEGER)", ())


def test_another_database_is_refused_by_name() -> None:
    with pytest.raises(CompileError, match="day_of has no spelling for the database 'firebird'"):
        compiled(day_of(START), dialect_named("firebird"))
