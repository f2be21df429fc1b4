"""The figures of each view, on each database, against the same counted one by one in Python.

The texts are in a loaded table, or in the tables of a ledger.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import duckdb
import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.ledger.schema import (
    BATCHES,
    MESSAGES,
    REQUESTS,
    ROUNDS,
    MessageState,
)
from airflow_provider_winsms.sql.dialects import DIALECTS
from airflow_provider_winsms.sql.types import ColumnType
from airflow_provider_winsms.warehouse.view_queries import NEEDED_COLUMNS, VIEWS
from airflow_provider_winsms.warehouse.views import SourceTables, ViewSet
from scripts.demo_history import COLUMNS
from tests.support import databases
from tests.transfers.view_model import (
    EXPECTED,
    MINUTE,
    NUMBERS,
    OPEN,
    OUTCOMES,
    START,
    TRANSMITTED,
    World,
    a_text,
    after_opt_out,
    compare,
    left,
    opt_out_check,
    plain,
    random_world,
    replies_by_campaign,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.transfers.view_model import Row

TABLES = SourceTables("deliveries", "incoming", "opt_outs")
LEDGER = SourceTables(None, "incoming", "opt_outs", ledger_prefix="sms_")
LEDGER_COLUMNS = {
    f"sms_{table.name}": {column.name: column.kind for column in table.columns}
    for table in (MESSAGES, BATCHES)
}
BY_DAY = ["delivery_by_day", "declined_by_day", "delivery_time_by_day", "cost_by_day"]


@dataclass(frozen=True)
class Place:
    """A database with empty tables.

    :param types: of the columns.
    :param instant: what its driver is given for a moment.
    :param mark: a placeholder.
    """

    conn_type: str
    connection: Any
    types: Mapping[ColumnType, str]
    instant: Callable[[datetime], Any]
    mark: str
    quote: str

    tables: SourceTables = TABLES

    def named(self, *names: str) -> str:
        return ".".join(self.quote.format(name) for name in names)

    @property
    def columns(self) -> dict[str, Mapping[str, ColumnType]]:
        """The columns of each table."""
        if self.tables is TABLES:
            return dict(COLUMNS)
        return {**LEDGER_COLUMNS, **{name: COLUMNS[name] for name in COLUMNS if name != "deliveries"}}

    def fill(self, world: World) -> None:
        rows = {
            table: list(map(with_hash, getattr(world, table))) for table in COLUMNS if table != "deliveries"
        }
        texts = list(map(with_hash, world.deliveries))
        rows |= {"deliveries": texts} if self.tables is TABLES else ledger_rows(texts)
        for table, columns in self.columns.items():
            names = ", ".join(map(self.named, columns))
            marks = ", ".join([self.mark] * len(columns))
            statement = f"INSERT INTO {self.named(table)} ({names}) VALUES ({marks})"  # noqa: S608 - ours
            cells = [tuple(map(self.cell, map(row.get, columns))) for row in rows[table]]
            if cells:
                with closing(self.connection.cursor()) as cursor:
                    cursor.executemany(statement, cells)
        self.connection.commit()

    def cell(self, value: Any) -> Any:
        if isinstance(value, datetime):
            return self.instant(value)
        return str(value) if isinstance(value, Decimal) else value

    def execute(self, *statements: str) -> None:
        with closing(self.connection.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement)

    def make_tables(self) -> None:
        for table, columns in self.columns.items():
            kinds = ", ".join(f"{self.named(name)} {self.types[kind]}" for name, kind in columns.items())
            self.execute(f"CREATE TABLE {self.named(table)} ({kinds})")

    def make_views(self, zone: str = "UTC") -> None:
        views = ViewSet(self.conn_type, self.tables, "sms_", ZoneInfo(zone))
        self.execute(*(statement for _, statement in views.statements()))
        self.connection.commit()

    def rows(self, view: str) -> list[Row]:
        (columns,) = (found.columns for found in VIEWS if found.name == view)
        # To give a moment with a zone, DuckDB's driver needs a package more.
        is_duck = self.conn_type == "duckdb"
        asked = [f"EPOCH_US({name})" if is_duck and name == "started_at" else name for name in columns]
        with closing(self.connection.cursor()) as cursor:
            cursor.execute(f"SELECT {', '.join(asked)} FROM {self.named(f'sms_{view}')}")  # noqa: S608 - ours
            return [dict(zip(columns, map(plain, columns, row), strict=True)) for row in cursor.fetchall()]


def moved(world: World, by: timedelta) -> World:
    """Return a world in which everything happened some time later."""

    def later(rows: list[Row]) -> list[Row]:
        return [
            {name: cell + by if isinstance(cell, datetime) else cell for name, cell in row.items()}
            for row in rows
        ]

    rows: Any = {table: later(getattr(world, table)) for table in COLUMNS}
    return replace(world, **rows)


def with_hash(row: Row) -> Row:
    """Return a row whose number has the length of a hash, if there is a key."""
    return {**row, "number": row["number"].rjust(64, "0")} if row.get("number_key_id") else row


def ledger_rows(texts: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of a ledger's tables with some texts, and with a recipient that was never submitted."""
    batches: dict[tuple[Any, ...], Row] = {}
    messages: list[Row] = []
    for text in texts:
        sender = {name: text[name] for name in ("dag_id", "run_id", "task_id", "map_index", "sms_conn_id")}
        key_id = text.get("number_key_id") or "00000000"
        batch_id = f"{text['batch_id']}/{len(batches)}"
        batch = batches.setdefault(
            (text["batch_id"], key_id, *sender.values()), {"batch_id": batch_id, "key_id": key_id, **sender}
        )
        messages.append({**text, "batch_id": batch["batch_id"]})
    for batch in batches.values():
        invalid = {"number": "", "state": "declined", "reason": "invalid", "submitted_at": START}
        messages.append({"batch_id": batch["batch_id"], "round": 0, **invalid})
    return {"sms_batches": list(batches.values()), "sms_messages": messages}


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Place]:
    with closing(databases.sqlite(tmp_path / "warehouse.db").connect()) as connection:
        dialect = DIALECTS["sqlite"]
        yield Place("sqlite", connection, databases.types_of("sqlite"), dialect.instant, "?", '"{}"')


@pytest.fixture
def postgres(postgres_database: str) -> Iterator[Place]:
    with databases.scratch_postgres(postgres_database) as database, closing(database.connect()) as connection:
        connection.execute(f"SET search_path = {database.schema}")
        connection.execute("SET TIME ZONE 'Pacific/Auckland'")
        dialect = DIALECTS["postgres"]
        yield Place("postgres", connection, databases.types_of("postgres"), dialect.instant, "%s", '"{}"')


@pytest.fixture
def mariadb() -> Iterator[Place]:
    server = databases.mysql_server()
    with databases.scratch_mariadb(server) as database, closing(database.connect()) as connection:
        dialect = DIALECTS["mysql"]
        place = Place("mysql", connection, databases.types_of("mysql"), dialect.instant, "%s", "`{}`")
        place.execute("SET time_zone = '+12:00'")
        yield place


def duck(instant_type: str) -> Iterator[Place]:
    with closing(duckdb.connect()) as connection:
        # A cursor is a connection of its own.
        connection.execute("SET GLOBAL TimeZone = 'Pacific/Auckland'")
        types = {**databases.types_of("generic"), ColumnType.INSTANT: instant_type}
        instant = (lambda at: at.isoformat()) if "ZONE" in instant_type else naive
        yield Place("duckdb", connection, types, instant, "?", '"{}"')


def naive(at: datetime) -> Any:
    return at.replace(tzinfo=None)


@pytest.fixture
def duckdb_with_zones() -> Iterator[Place]:
    yield from duck("TIMESTAMP WITH TIME ZONE")


@pytest.fixture
def duckdb_in_utc() -> Iterator[Place]:
    yield from duck("TIMESTAMP")


@pytest.fixture(
    params=[
        "sqlite",
        "postgres",
        pytest.param("mariadb", marks=pytest.mark.database),
        pytest.param("duckdb_with_zones", marks=pytest.mark.database),
        pytest.param("duckdb_in_utc", marks=pytest.mark.database),
        "ledger in sqlite",
        "ledger in postgres",
        pytest.param("ledger in mariadb", marks=pytest.mark.database),
    ]
)
def place(request: pytest.FixtureRequest) -> Place:
    source, _, kind = request.param.rpartition(" in ")
    found: Place = request.getfixturevalue(kind)
    found = replace(found, tables=LEDGER if source else TABLES)
    found.make_tables()
    return found


def test_every_view_has_a_calculation_of_its_own_here() -> None:
    assert list(EXPECTED) == [view.name for view in VIEWS]


@pytest.mark.parametrize("seed", range(4))
def test_the_figures_are_those_counted_one_by_one(place: Place, seed: int) -> None:
    world = random_world(seed)
    place.fill(world)
    place.make_views()
    compare(place.rows, world)


@pytest.mark.parametrize(
    "zone", ["Africa/Johannesburg", "America/New_York", "Atlantic/Azores", "Europe/Warsaw"]
)
def test_days_are_those_of_the_time_zone_that_the_views_were_made_with_last(place: Place, zone: str) -> None:
    """In this night, at 1:00 UTC, the clocks of Europe change."""
    begin = datetime(2026, 3, 28, 21, 0, tzinfo=UTC)
    world = replace(moved(random_world(5), begin - START), zone=ZoneInfo(zone))
    place.fill(world)
    place.make_views("Pacific/Apia")
    place.make_views(zone)
    compare(place.rows, world)
    place.make_views()
    compare(place.rows, replace(world, zone=UTC))


def test_random_worlds_hold_every_case() -> None:
    """Otherwise the comparison would prove less than it seems to."""
    worlds = [random_world(seed) for seed in range(4)]
    outcomes = {outcome for world in worlds for *_, outcome in after_opt_out(world)}
    replies = [row for world in worlds for row in replies_by_campaign(world)]
    assert outcomes == set(OUTCOMES)
    assert any(row[0] is None for row in replies)
    assert any(row[6] > row[7] > 0 for row in replies)
    assert any(row[6] > row[8] for row in replies)
    assert all(next(opt_out_check(world))[3] for world in worlds)


def test_empty_tables_have_empty_views_and_a_check_of_zeros(place: Place) -> None:
    place.make_views()
    for view in VIEWS:
        rows = [tuple(row.values()) for row in place.rows(view.name)]
        assert rows == ([(0,) * len(view.columns)] if view.name == "opt_out_check" else []), view.name


def test_hashed_numbers_give_the_figures_of_plain_ones(place: Place) -> None:
    world = random_world(7)
    for row in (*world.deliveries, *world.incoming, *world.opt_outs_history, *world.opt_outs):
        row["number"], row["number_key_id"] = (
            f"{row['number_key_id']}{row['number']}".rjust(64, "0"),
            "1a2b3c4d",
        )
    place.fill(world)
    place.make_views()
    compare(place.rows, world)


def test_amounts_of_four_places_add_up_exactly(place: Place) -> None:
    text = {**a_text(), "state": "delivered", "cost": Decimal("0.0825"), "refund": Decimal(0)}
    place.fill(World([text] * 2))
    place.make_views()
    (row,) = place.rows("cost_by_day")
    assert (row["cost"], row["net_cost"], row["cost_per_delivered"]) == (0.165, 0.165, 0.0825)


def test_what_is_null_belongs_to_no_text(place: Place) -> None:
    text = {**a_text(), "state": "delivered", "number": "1", "number_key_id": None}
    reply = {
        "message_id": "1",
        "number": "1",
        "number_key_id": None,
        "received_at": None,
        "in_reply_to": None,
    }
    period = {"number": "1", "number_key_id": None, "opted_out_at": None, "removed_at": None}
    seen = {"first_seen_at": START + timedelta(days=9), "last_seen_at": START + timedelta(days=9)}
    loaded = {"loaded_at": START}
    place.fill(World([text], [{**reply, **loaded}], [], [{**period, **seen, **loaded}]))
    place.make_views()
    replies = {row["dag_id"]: row["replies"] for row in place.rows("replies_by_campaign")}
    opt_outs = {row["dag_id"]: row["opt_outs"] for row in place.rows("opt_outs_by_campaign")}
    assert replies == opt_outs == {text["dag_id"]: 0, None: 1}


def test_numbers_hashed_with_different_keys_are_never_taken_for_one(place: Place) -> None:
    text = {**a_text(), "state": "delivered", "number": "1"}
    at = left(text) + timedelta(hours=1)
    reply = {"message_id": "1", "number": "1", "received_at": at, "in_reply_to": None, "loaded_at": at}
    period = {"number": "1", "opted_out_at": left(text) - timedelta(hours=1), "removed_at": None}
    seen = {"first_seen_at": at, "last_seen_at": at, "loaded_at": at}
    for key_id, other in ((None, "1a2b3c4d"), ("1a2b3c4d", None), ("1a2b3c4d", "5e6f7a8b")):
        place.fill(
            World(
                [{**text, "number_key_id": key_id, "message_id": None}],
                [{**reply, "number_key_id": other}],
                [],
                [{**period, **seen, "number_key_id": other}],
            )
        )
        place.make_views()
        replies = {row["dag_id"]: row["replies"] for row in place.rows("replies_by_campaign")}
        assert replies == {text["dag_id"]: 0, None: 1}
        assert [row["sent"] for row in place.rows("opt_out_check")] == [0]
        place.execute(*(f"DELETE FROM {place.named(table)}" for table in place.columns))  # noqa: S608 - ours
        place.connection.commit()


def test_a_text_in_the_minute_of_the_opt_out_came_before_it(place: Place) -> None:
    """The gateway states minutes: an answer of 21:00:40 to a text of 21:00:20 is an opt-out of 21:00."""
    template = {**a_text(), "state": "delivered", "send_at": None, "number": "1"}
    world = World(
        [
            {
                **template,
                "number_key_id": None,
                "submitted_at": START + timedelta(seconds=second),
                "position": second,
            }
            for second in (20, 59, 60, 61)
        ],
        [],
        [],
        [
            {
                "number": "1",
                "number_key_id": None,
                "opted_out_at": START,
                "first_seen_at": START + MINUTE,
                "last_seen_at": START + MINUTE,
                "removed_at": None,
                "loaded_at": START,
            }
        ],
    )
    place.fill(world)
    place.make_views()
    assert [row["sent"] for row in place.rows("opt_out_check")] == [2]


def test_out_and_removed_and_out_again_leaves_the_time_between_free(place: Place) -> None:
    hours = [START + timedelta(hours=hour) for hour in range(8)]
    template = {**a_text(), "state": "delivered", "send_at": None, "number": "1"}
    period = {"number": "1", "number_key_id": None, "loaded_at": START}
    first = {
        "opted_out_at": hours[1],
        "first_seen_at": hours[1],
        "last_seen_at": hours[2],
        "removed_at": hours[3],
    }
    second = {
        "opted_out_at": hours[5],
        "first_seen_at": hours[5],
        "last_seen_at": hours[7],
        "removed_at": None,
    }
    history = [{**period, **first}, {**period, **second}]
    texts = [
        {
            **template,
            "number_key_id": None,
            "submitted_at": at + timedelta(minutes=30),
            "batch_id": str(at)[:32],
        }
        for at in hours
    ]
    place.fill(World(texts, [], [history[1]], history))
    place.make_views()
    (check,) = place.rows("opt_out_check")
    # Texts at 1:30, 5:30, 6:30 and 7:30 went out in spite of it; that at 2:30 between the loads that tell.
    assert check == {
        "numbers": 1,
        "spells": 2,
        "out_now": 1,
        "again": 1,
        "sent": 4,
        "in_doubt": 1,
        "stopped": 0,
    }


def test_no_view_shows_a_number_or_a_text(place: Place) -> None:
    world = random_world(3)
    for row in world.incoming:
        row["text"] = "a private word"
    place.fill(world)
    place.make_views()
    for view in VIEWS:
        shown = str(place.rows(view.name))
        assert not [number for number in NUMBERS if number in shown], view.name
        assert "private" not in shown, view.name
        assert not {"number", "text", "message_id", "number_key_id"} & view.columns.keys()


def test_the_columns_are_those_that_are_described_in_their_order(place: Place) -> None:
    place.make_views()
    for view in VIEWS:
        with closing(place.connection.cursor()) as cursor:
            cursor.execute(f"SELECT * FROM {place.named(f'sms_{view.name}')} WHERE 1 = 0")  # noqa: S608 - ours
            assert [column[0] for column in cursor.description] == list(view.columns), view.name
            cursor.fetchall()


def test_the_views_read_what_the_datasets_have() -> None:
    for word, table in TABLES.names.items():
        assert set(NEEDED_COLUMNS[word]) <= COLUMNS[table].keys()


def test_no_view_is_called_like_a_part_of_the_ledger() -> None:
    tables = {table.name for table in (BATCHES, MESSAGES, REQUESTS, ROUNDS)}
    views_of_older_versions = {"delivery_rate", "time_to_deliver", "cost_per_delivered", "opt_out_rate"}
    assert not (tables | views_of_older_versions) & {view.name for view in VIEWS}


def test_every_state_is_either_judged_or_left_aside_on_purpose() -> None:
    assert set(MessageState) - TRANSMITTED - OPEN == {"declined", "cancelled", "not_sent"}


@pytest.mark.parametrize(
    ("tables", "views"),
    [
        (SourceTables("d"), BY_DAY),
        (SourceTables(ledger_prefix="sms_"), BY_DAY),
        (SourceTables("d", "i"), [*BY_DAY, "replies_by_campaign"]),
        (TABLES, [view.name for view in VIEWS]),
    ],
    ids=["deliveries", "a ledger", "and incoming", "and opt-outs"],
)
def test_only_views_are_made_whose_tables_there_are(tables: SourceTables, views: list[str]) -> None:
    assert [view.name for view in ViewSet("sqlite", tables, "sms_").views] == views


def test_a_database_that_may_count_days_otherwise_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="type 'oracle'"):
        ViewSet("oracle", TABLES, "sms_")


@pytest.mark.parametrize("prefix", ["", "1", 'x"; DROP TABLE y; --', "p" * 60, None])
def test_a_prefix_that_cannot_begin_a_name_is_refused(prefix: Any) -> None:
    if prefix == "":
        assert ViewSet("sqlite", TABLES, prefix).names[0] == "delivery_by_day"
        return
    with pytest.raises(InvalidMessage, match="view_prefix"):
        ViewSet("sqlite", TABLES, prefix)


@pytest.mark.parametrize("names", [("a b",), ("d", "i-"), ("d", "i", "o" * 60), ("d", "i", "o", "s.t")])
def test_a_name_that_is_no_plain_name_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidMessage, match="plain name"):
        SourceTables(*names)


def test_a_view_never_takes_the_name_of_a_table() -> None:
    with pytest.raises(InvalidMessage, match="name of a table"):
        ViewSet("sqlite", SourceTables("SMS_cost_by_day"), "sms_")
