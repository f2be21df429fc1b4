"""However a list is ordered, misbehaves and grows: the table has its rows, each once and as they were."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.sandbox.scripts import Listing, ListQuery
from airflow_provider_winsms.sql.values import read_instant
from airflow_provider_winsms.warehouse.datasets import DEFAULT_SIZES, LoadSizes
from tests.support.lists import connection_to, one_at_a_time
from tests.support.lists import row as wire_row
from tests.transfers.loads import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database

EXAMPLES = int(os.environ.get("LIST_EXAMPLES", "0"))
"""How many lists are tried; 0: as many as each test has time for."""

QUICKLY = settings(
    max_examples=EXAMPLES or 20,
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
)
AT_LENGTH = settings(QUICKLY, max_examples=EXAMPLES or 80)
ON_A_SERVER = settings(QUICKLY, max_examples=EXAMPLES or 25)
BEGINNING = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
FIRST_ID = 1000


# What a gateway may do


@dataclass(frozen=True)
class Arrival:
    """One row that arrives.

    :param is_late: whether its id is lower than others that are listed already.
    :param place: where in the list it comes, from 0 to 99; ``None``: where new rows come.
    """

    is_late: bool
    place: int | None


@dataclass(frozen=True)
class Spoilt:
    """What is wrong with one page.

    :param fault: ``"doubled"``, ``"missing"``, ``"reversed"``, ``"short"``, ``"empty"`` or ``"total"``.
    :param place: which row of it is meant, from 0 to 99.
    """

    fault: str
    place: int


@dataclass(frozen=True)
class Plan:
    """One load, and what happens meanwhile, by the how-manyth request of the load.

    :param before: rows that arrive before it.
    """

    mode: str
    before: list[Arrival]
    spoilt: dict[int, Spoilt]
    between: dict[int, list[Arrival]]

    @property
    def is_calm(self) -> bool:
        return not self.spoilt and not self.between


@dataclass(frozen=True)
class World:
    """A list, what the table has before anything is loaded, and the loads.

    :param lacks: places of listed rows that the table lacks, of those it has for a beginning.
    :param known: how many of the listed rows the table has, before some of them are taken away; from the
        lowest id on.
    :param forgotten: how many rows the table has whose ids are lower than those of the list.
    :param extra: how many rows the table has among those listed that the gateway never listed.
    :param has_key: whether the table was made by a load, with its key, or by hand, with two columns.
    :param most: the most rows of a page, whatever is asked for.
    """

    order: str
    rows: int
    gap: int
    known: int
    lacks: frozenset[int]
    forgotten: int
    extra: int
    has_key: bool
    page_size: int
    most: int
    ahead: int
    merged_rows: int
    plans: list[Plan]


ARRIVALS = st.lists(
    st.builds(Arrival, is_late=st.sampled_from([False, False, True]), place=st.none() | st.integers(0, 99)),
    max_size=6,
)
SPOILT = st.builds(
    Spoilt,
    fault=st.sampled_from(["doubled", "missing", "reversed", "short", "empty", "total"]),
    place=st.integers(0, 99),
)
REQUESTS = st.integers(0, 9)
PLANS = st.builds(
    Plan,
    mode=st.sampled_from(["incremental"] * 6 + ["backfill", "full_refresh"]),
    before=ARRIVALS,
    spoilt=st.one_of(st.just({}), st.dictionaries(REQUESTS, SPOILT, max_size=3)),
    between=st.one_of(st.just({}), st.dictionaries(REQUESTS, ARRIVALS, max_size=3)),
)
WORLDS = st.builds(
    World,
    order=st.sampled_from(["ascending", "descending", "shuffled"]),
    rows=st.integers(0, 40),
    gap=st.sampled_from([1, 3]),
    known=st.sampled_from([0, 10, 40]),
    lacks=st.frozensets(st.integers(0, 39), max_size=8),
    forgotten=st.sampled_from([0, 0, 3]),
    extra=st.sampled_from([0, 0, 0, 1, 3]),
    has_key=st.booleans(),
    page_size=st.integers(2, 7),
    most=st.sampled_from([1000, 1000, 3]),
    ahead=st.sampled_from([1, 1, 3]),
    merged_rows=st.sampled_from([3, 20_000]),
    plans=st.lists(PLANS, min_size=1, max_size=4),
)


class Source:
    """Lists rows as a world has it.

    :ivar asked: offset and limit of each request of the load.
    :ivar struck: the requests of the load during which something went wrong.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        ids = [FIRST_ID + place * world.gap for place in range(world.rows)]
        if world.order == "descending":
            ids.reverse()
        if world.order == "shuffled":
            ids.sort(key=lambda each: each * 37 % 101)
        self.ids = ids
        self._text = "First"
        self.asked: list[tuple[int, int]] = []
        self.struck: list[int] = []
        self._given: list[range] = []
        self._plan = Plan("", [], {}, {})

    def begin(self, plan: Plan) -> None:
        self._plan, self.asked, self.struck, self._given = plan, [], [], []
        self._arrive(plan.before)

    def rename(self) -> None:
        """Give each row another text, which only a full refresh brings into the table."""
        self._text += "'"

    def text(self, message_id: int) -> str:
        return f"{self._text} {message_id}"

    def answer(self, asked: ListQuery) -> Listing:
        offset, limit, _ = asked
        request = len(self.asked)
        self.asked.append((offset, limit))
        self._given.append(range(offset, offset + min(limit, self._world.most)))
        page = self.ids[offset : offset + min(limit, self._world.most)]
        total = len(self.ids)
        if spoilt := self._plan.spoilt.get(request):
            page, total = self._spoil(spoilt, page, total)
        if self._arrive(self._plan.between.get(request, [])) or spoilt:
            self.struck.append(request)
        return Listing([wire_row(each, text=self.text(each)) for each in page], total)

    @property
    def last_reading(self) -> int:
        """The request with which the whole list was last begun to be read; 0, if it never was."""
        whole = [
            place
            for place, (offset, limit) in enumerate(self.asked)
            if offset == 0 and limit == self._world.page_size
        ]
        return whole[-1] if whole else 0

    @property
    def was_calm(self) -> bool:
        """Whether nothing went wrong in what was read last."""
        return not any(request >= self.last_reading for request in self.struck)

    @property
    def was_read_whole(self) -> bool:
        """Whether what was read last had each place of the list."""
        given = self._given[self.last_reading :]
        return all(any(place in part for part in given) for place in range(len(self.ids)))

    def _spoil(self, spoilt: Spoilt, page: list[int], total: int) -> tuple[list[int], int]:
        place = spoilt.place % (len(page) or 1)
        match spoilt.fault:
            case "doubled":
                return page[: place + 1] + page[place:], total
            case "missing":
                return page[:place] + page[place + 1 :], total
            case "reversed":
                return page[::-1], total
            case "short":
                return page[: place + 1], total
            case "empty":
                return [], total
        return page, total + place + 1

    def _arrive(self, arrivals: list[Arrival]) -> int:
        for arrival in arrivals:
            self._put(arrival)
        return len(arrivals)

    def _put(self, arrival: Arrival) -> None:
        ids = self.ids
        fresh = max(ids, default=FIRST_ID) + self._world.gap
        if arrival.is_late and ids:
            taken = set(ids)
            fresh = next(each for each in count(max(ids), -1) if each not in taken)
        if arrival.place is not None:
            place = arrival.place * (len(ids) + 1) // 100
        else:
            place = {"ascending": len(ids), "descending": 0, "shuffled": fresh % (len(ids) + 1)}[
                self._world.order
            ]
        ids.insert(place, fresh)


# The table


class Table:
    """The table, and what it must hold: the text and the moment of its load, for each id."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.rows: dict[int, tuple[str, datetime | None]] = {}

    def fill(self, world: World, listed: list[int]) -> None:
        """Put in, by hand, what the world says was there before."""
        self._database.execute("DROP TABLE IF EXISTS {}replies")
        if not world.known and not world.forgotten and not world.extra:
            return
        key = " PRIMARY KEY" if world.has_key else ""
        self._database.execute(f"CREATE TABLE {{}}replies (message_id VARCHAR(64){key}, text TEXT)")
        ids = [each for place, each in enumerate(sorted(listed)[: world.known]) if place not in world.lacks]
        ids += range(FIRST_ID - world.forgotten, FIRST_ID)
        # Between those of the list, wherever there is room.
        ids += [FIRST_ID + 3 * place + 1 for place in range(world.extra) if world.gap > 1]
        self.rows = {each: (f"By hand {each}", None) for each in ids}
        values = ", ".join(f"('{each}', '{text}')" for each, (text, _) in self.rows.items())
        if values:
            self._database.execute(f"INSERT INTO {{}}replies VALUES {values}")  # noqa: S608 - a test's own

    def found(self) -> dict[int, tuple[str, datetime | None]]:
        rows = self._database.execute("SELECT message_id, text, loaded_at FROM {}replies")
        found = {int(key): (text, at and read_instant(at)) for key, text, at in rows}
        assert len(found) == len(rows), "A row is there twice."
        return found


def load(
    database: Database, mode: str, at: datetime, dataset: str = "incoming", sizes: LoadSizes = DEFAULT_SIZES
) -> dict[str, Any]:
    return run(database, dataset, run_id="run", began=at, mode=mode, sizes=sizes)


class Life:
    """Carries a world out, and judges each load."""

    def __init__(self, world: World, database: Database) -> None:
        self._world = world
        self._database = database
        self.source = Source(world)
        self._table = Table(database)
        self._at = BEGINNING

    def run(self) -> None:
        self._table.fill(self._world, self.source.ids)
        for plan in self._world.plans:
            self._load(plan)
            if plan.mode == "full_refresh":
                self.source.rename()
        self._load(Plan("incremental", [], {}, {}))
        self._load(Plan("backfill", [], {}, {}))

    def _load(self, plan: Plan) -> None:
        self._at += timedelta(minutes=1)
        before = dict(self._table.rows)
        self.source.begin(plan)
        load(self._database, plan.mode, self._at, sizes=LoadSizes(merged_rows=self._world.merged_rows))
        found = self._table.found()
        for each, row in found.items():
            assert row in self._possible(plan, each, before), "A row is not as it was."
        assert before.keys() <= found.keys(), "A row was lost."
        if self.source.was_calm and self._can_be_told(before):
            event("whole")
            missing = set(self.source.ids) - found.keys()
            assert not missing, "A row was missed."
        self._table.rows = found

    def _possible(
        self, plan: Plan, each: int, before: dict[int, tuple[str, datetime | None]]
    ) -> list[tuple[str, datetime | None]]:
        """Return how a row may look after a load."""
        loaded = (self.source.text(each), self._at)
        if each not in before:
            return [loaded] if each in self.source.ids else []
        if plan.mode != "full_refresh" or each not in self.source.ids:
            return [before[each]]
        if not self.source.was_calm:
            return [before[each], loaded]
        return [before[each]] if before[each][0] == loaded[0] and before[each][1] else [loaded]

    def _can_be_told(self, before: dict[int, Any]) -> bool:
        """Whether counts show that rows are missing: not, if the table has others instead."""
        others = before.keys() - set(self.source.ids)
        return self.source.was_read_whole or not any(
            each >= min(self.source.ids, default=0) for each in others
        )


@pytest.fixture
def live(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[[World, Database], None]:
    def live(world: World, database: Database) -> None:
        life = Life(world, database)
        sandbox.script("getIncomingMessages", one_at_a_time(life.source.answer))
        extra = {"page_size": world.page_size, "max_concurrent_requests": world.ahead}
        monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", connection_to(sandbox, **extra))
        life.run()

    return live


@QUICKLY
@given(world=WORLDS)
def test_whatever_a_list_does_the_table_has_its_rows_each_once(
    world: World, live: Callable[[World, Database], None], sqlite: Database
) -> None:
    live(world, sqlite)


@pytest.mark.database
@AT_LENGTH
@given(world=WORLDS)
def test_so_it_has_in_many_more_cases(
    world: World, live: Callable[[World, Database], None], sqlite: Database
) -> None:
    live(world, sqlite)


@pytest.mark.database
@ON_A_SERVER
@given(world=WORLDS)
def test_so_it_has_on_postgresql(
    world: World, live: Callable[[World, Database], None], postgres: Database
) -> None:
    live(world, postgres)


# The sandbox, with its own faults

FAULTS = ("duplicated-row", "missing-row", "reordered-rows", "rows-between-pages")


class Strike(NamedTuple):
    """A fault of the sandbox, and how many requests it lets pass first."""

    fault: str
    skip: int


STRIKES = st.lists(st.builds(Strike, st.sampled_from(FAULTS), st.integers(0, 5)), max_size=3)


@pytest.mark.database
@ON_A_SERVER
@given(rounds=st.lists(st.tuples(st.integers(0, 45), STRIKES), min_size=1, max_size=3))
def test_whatever_the_sandbox_does_the_table_has_its_rows_each_once(
    rounds: list[tuple[int, list[Strike]]],
    sandbox: Sandbox,
    sqlite: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", connection_to(sandbox, page_size=10))
    sandbox.reset()
    sqlite.execute("DROP TABLE IF EXISTS replies")
    for news, strikes in rounds:
        sandbox.add_incoming((f"2782{n:07}", f"Reply {n}") for n in range(news))
        for fault, skip in strikes:
            sandbox.add_fault(fault, operation="getIncomingMessages", skip=skip, times=1)
        load(sqlite, "incremental", BEGINNING)
        sandbox.clear_faults()
        load(sqlite, "incremental", BEGINNING)
        listed = SmsHook.of("winsms_default").get_incoming(0, 1000).rows
        assert sqlite.message_ids("replies") == [each.message_id for each in listed]


# A list that rows leave


class Change(NamedTuple):
    """Places of rows that leave a list, from 0 to 99, and how many come."""

    leave: list[int]
    come: int


CHANGES = st.builds(Change, leave=st.lists(st.integers(0, 99), max_size=3), come=st.integers(0, 3))
SNAPSHOTS = st.lists(
    st.tuples(CHANGES, st.one_of(st.just({}), st.dictionaries(REQUESTS, CHANGES, max_size=3))),
    min_size=1,
    max_size=4,
)


class Waiting:
    """Texts that wait for their time.

    :ivar throughout: those that were listed at every moment of the load.
    """

    def __init__(self) -> None:
        self.ids = list(range(FIRST_ID, FIRST_ID + 12))
        self.throughout: set[int] = set()
        self.is_calm = True
        self._next = FIRST_ID + 12
        self._between: dict[int, Change] = {}
        self._asked = 0

    def begin(self, before: Change, between: dict[int, Change]) -> None:
        self._change(before)
        self.throughout, self.is_calm = set(self.ids), True
        self._between, self._asked = between, 0

    def answer(self, asked: ListQuery) -> Listing:
        page, total = self.ids[asked.offset : asked.offset + asked.limit], len(self.ids)
        if change := self._between.get(self._asked):
            self._change(change)
            self.throughout &= set(self.ids)
            self.is_calm = False
        self._asked += 1
        rows = [{"apiMessageId": each, "mobileNumber": "27825550101", "creditCost": 1} for each in page]
        return Listing(rows, total)

    def _change(self, change: Change) -> None:
        for place in change.leave:
            if self.ids:
                self.ids.pop(place * len(self.ids) // 100)
        self.ids += range(self._next, self._next + change.come)
        self._next += change.come


Snapshot = dict[int, tuple[datetime, datetime, datetime | None]]


def snapshot(database: Database) -> Snapshot:
    """Return when rows were first and last seen, and missed, by their ids."""
    rows = database.execute("SELECT message_id, first_seen_at, last_seen_at, removed_at FROM {}replies")
    found = {
        int(key): (read_instant(first), read_instant(last), removed and read_instant(removed))
        for key, first, last, removed in rows
    }
    assert len(found) == len(rows), "A row is there twice."
    return found


def expected_after(before: Snapshot, listed: list[int], at: datetime) -> Snapshot:
    """Return what a load makes of a table that reads a whole list."""
    gone = {
        key: (first, last, removed or at)
        for key, (first, last, removed) in before.items()
        if key not in listed
    }
    return gone | {key: (before.get(key, (at,))[0], at, None) for key in listed}


def watch(gateway: Sandbox, database: Database, steps: list[tuple[Change, dict[int, Change]]]) -> None:
    waiting, before, at = Waiting(), dict[int, Any](), BEGINNING
    gateway.script("getScheduledMessages", one_at_a_time(waiting.answer))
    database.execute("DROP TABLE IF EXISTS {}replies")
    for change, between in [*steps, (Change([], 1), {})]:
        at += timedelta(minutes=1)
        waiting.begin(change, between)
        load(database, "incremental", at, "scheduled")
        found = snapshot(database)
        if waiting.is_calm:
            assert found == expected_after(before, waiting.ids, at)
        assert before.keys() <= found.keys(), "A row was lost."
        missed = {key for key, (_, _, removed) in found.items() if removed == at}
        assert missed.isdisjoint(waiting.throughout), "A row that was listed all the time was missed."
        before = found


@pytest.fixture
def waiting_list(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The sandbox, asked for 4 rows at a time."""
    extra = {"page_size": 4, "max_concurrent_requests": 1}
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", connection_to(sandbox, **extra))
    return sandbox


def test_a_row_is_not_missed_that_moved_up_into_a_page_that_was_read_while_another_came(
    waiting_list: Sandbox, sqlite: Database
) -> None:
    nothing = Change([], 0)
    watch(waiting_list, sqlite, [(nothing, {}), (nothing, {0: Change([0], 1)})])


@pytest.mark.database
@AT_LENGTH
@given(steps=SNAPSHOTS)
def test_whatever_leaves_a_list_meanwhile_the_table_says_what_is_still_on_it(
    steps: list[tuple[Change, dict[int, Change]]], waiting_list: Sandbox, sqlite: Database
) -> None:
    watch(waiting_list, sqlite, steps)
