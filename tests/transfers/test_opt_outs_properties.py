"""Whatever opt-outs are listed: the table says who is out now, and its history who was out when."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import GatewayUnavailable, LoadFailed
from airflow_provider_winsms.gateways.throttle import Throttle
from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.sql.values import read_instant
from airflow_provider_winsms.warehouse.datasets import OPT_OUTS, LoadRun, LoadSizes
from airflow_provider_winsms.warehouse.load import load_stream
from airflow_provider_winsms.warehouse.mapping import PrivacyPolicy
from airflow_provider_winsms.warehouse.relations import TableName
from airflow_provider_winsms.warehouse.table import open_table
from tests.support.lists import connection_to

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database

EXAMPLES = int(os.environ.get("LIST_EXAMPLES", "0"))
"""How many sequences are tried; 0: as many as each test has time for."""

QUICKLY = settings(
    max_examples=EXAMPLES or 15,
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
)
AT_LENGTH = settings(QUICKLY, max_examples=EXAMPLES or 80)
ON_A_SERVER = settings(QUICKLY, max_examples=EXAMPLES or 20)
ATTEMPTS = 3
BEGINNING = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class Entry(NamedTuple):
    """One entry of the list; ``minute`` is that of an hour, or ``None`` for what is no time."""

    number: str
    minute: int | None
    message_id: int | None
    text: str

    @property
    def age(self) -> tuple[Any, ...]:
        """What is lowest for the oldest: what is unknown comes last."""
        minute, message_id = self.minute, self.message_id
        return (minute is None, minute or 0, message_id is None, message_id or 0, self.text)

    def wire(self) -> dict[str, Any]:
        time = "soon" if self.minute is None else f"2026030210{self.minute:02}"
        return {
            "incomingApiMessageId": self.message_id,
            "mobileNumber": self.number,
            "receiveTime": time,
            "messageText": self.text,
        }


class Plan(NamedTuple):
    """One load.

    :param breaks_off: how many answers end in the middle.
    :param is_late: whether it began before the one that went before.
    """

    entries: list[Entry]
    breaks_off: int
    is_late: bool


@dataclass(frozen=True)
class Period:
    """A row, of the table or its history; moments are counted in loads."""

    entry: Entry
    first_seen: int
    last_seen: int
    removed: int | None = None


ENTRIES = st.builds(
    Entry,
    number=st.sampled_from([f"2782555010{each}" for each in range(5)]),
    minute=st.none() | st.integers(0, 3),
    message_id=st.none() | st.integers(1, 4),
    text=st.sampled_from(["STOP", "END"]),
)
PLANS = st.builds(
    Plan,
    entries=st.lists(ENTRIES, max_size=9),
    breaks_off=st.sampled_from([0, 0, 0, 0, 1, ATTEMPTS]),
    is_late=st.sampled_from([False, False, False, False, True]),
)


class Expected:
    """What the table and its history must hold, worked out in Python."""

    def __init__(self) -> None:
        self.current: dict[str, Period] = {}
        self.history: list[Period] = []

    def load(self, at: int, entries: list[Entry]) -> None:
        oldest: dict[str, Entry] = {}
        for entry in sorted(entries, key=lambda entry: entry.age):
            oldest.setdefault(entry.number, entry)
        self._load_history(at, oldest)
        for number, entry in oldest.items():
            first = self.current[number].first_seen if number in self.current else at
            self.current[number] = Period(entry, first, at)
        for number, period in self.current.items():
            if number not in oldest and period.removed is None:
                self.current[number] = replace(period, removed=at)

    def _load_history(self, at: int, oldest: dict[str, Entry]) -> None:
        going_on = set()
        for place, period in enumerate(self.history):
            if period.removed is not None:
                continue
            listed = oldest.get(period.entry.number)
            if listed and listed[1:3] == period.entry[1:3]:
                self.history[place] = replace(period, entry=listed, last_seen=at)
                going_on.add(period.entry.number)
            else:
                self.history[place] = replace(period, removed=at)
        self.history += [Period(entry, at, at) for number, entry in oldest.items() if number not in going_on]


def moment(at: int) -> datetime:
    return BEGINNING + timedelta(minutes=at)


def found(database: Database, table: str) -> list[Period]:
    rows = database.execute(
        "SELECT number, opted_out_at, message_id, text, first_seen_at, last_seen_at, removed_at, loaded_at, "  # noqa: S608 - a test's own name
        f"opted_out_at_wire FROM {{}}{table} ORDER BY number, first_seen_at"
    )
    return [period(*row) for row in rows]


def period(*row: Any) -> Period:
    number, opted_out_at, message_id, text, *times, loaded_at, wire = row
    minute = None if opted_out_at is None else read_instant(opted_out_at).minute
    assert wire == ("soon" if minute is None else f"2026030210{minute:02}")
    first, last, removed = (None if time is None else count_of(time) for time in times)
    assert first is not None
    assert last is not None
    assert first <= count_of(loaded_at) <= max(last, removed or 0)
    message_id = None if message_id is None else int(message_id)
    return Period(Entry(number, minute, message_id, text), first, last, removed)


def count_of(time: Any) -> int:
    minutes = (read_instant(time) - BEGINNING) / timedelta(minutes=1)
    assert minutes == int(minutes)
    return int(minutes)


SIZES = LoadSizes(merged_rows=3)


def load(database: Database, at: int) -> None:
    """Load, without the waits before what is tried again."""
    hook = SmsHook.of("winsms_default")
    name, personal = TableName("outs", database.schema), PrivacyPolicy("none", "keep", None)
    with (
        Transport(hook.endpoint, sleep=lambda _: None, part_rows=2) as transport,
        open_table(
            database.hook(), OPT_OUTS, name, LoadRun(moment(at), "run", "credits"), personal, sizes=SIZES
        ) as (
            table,
            shaper,
        ),
    ):
        call = hook.gateway.opt_outs()
        load_stream(lambda: transport.stream(call), shaper, table, Throttle(1))


def live(gateway: Sandbox, database: Database, plans: list[Plan]) -> None:
    for table in ("outs", "outs_history"):
        database.execute(f"DROP TABLE IF EXISTS {{}}{table}")
    expected, latest = Expected(), -1
    for step, plan in enumerate(plans):
        at = latest - 1 if plan.is_late and latest > 0 else 2 * step
        refused = (GatewayUnavailable,) * answer_with(gateway, plan) + (LoadFailed,) * (at < latest)
        if refused:
            with pytest.raises(refused):
                load(database, at)
        else:
            load(database, at)
            expected.load(at, plan.entries)
            # Only rows say when a list was loaded: of an empty one, nothing is known.
            latest = max([period.last_seen for period in expected.current.values()], default=-1)
        assert found(database, "outs") == [period for _, period in sorted(expected.current.items())]
        by_age = sorted(expected.history, key=lambda period: (period.entry.number, period.first_seen))
        assert found(database, "outs_history") == by_age


def answer_with(gateway: Sandbox, plan: Plan) -> bool:
    """Let the gateway list what is planned, and tell whether it breaks off too often."""
    gateway.script_rows("getOptoutMessages", [entry.wire() for entry in plan.entries])
    gateway.clear_faults()
    if plan.breaks_off:
        # A call is tried four times before its first part came, which is all of this answer.
        times = plan.breaks_off * 4 if plan.breaks_off == ATTEMPTS else plan.breaks_off
        gateway.add_fault("truncated-json", times=times)
    return plan.breaks_off == ATTEMPTS


@pytest.fixture
def gateway(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A gateway whose answers come in parts of 2 rows, of which 3 at a time are staged."""
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", connection_to(sandbox))
    return sandbox


SEQUENCES = st.lists(PLANS, min_size=1, max_size=5)


@QUICKLY
@given(plans=SEQUENCES)
def test_the_table_and_its_history_are_what_python_makes_of_any_lists(
    plans: list[Plan], gateway: Sandbox, sqlite: Database
) -> None:
    live(gateway, sqlite, plans)


@pytest.mark.database
@AT_LENGTH
@given(plans=SEQUENCES)
def test_so_they_are_in_many_more_cases(plans: list[Plan], gateway: Sandbox, sqlite: Database) -> None:
    live(gateway, sqlite, plans)


@pytest.mark.database
@ON_A_SERVER
@given(plans=SEQUENCES)
def test_so_they_are_on_postgresql(plans: list[Plan], gateway: Sandbox, postgres: Database) -> None:
    live(gateway, postgres, plans)


@pytest.mark.parametrize("columns", ["number VARCHAR(100) PRIMARY KEY", "number VARCHAR(100), text TEXT"])
def test_a_table_by_hand_becomes_what_is_listed(columns: str, gateway: Sandbox, sqlite: Database) -> None:
    """It is unknown since when numbers that were put in by hand were on the list."""
    sqlite.execute(f"CREATE TABLE outs ({columns})")
    sqlite.execute("INSERT INTO outs (number) VALUES ('27825550100'), ('27825550199')")
    entry = Entry("27825550100", 1, 1, "STOP")
    answer_with(gateway, Plan([entry], 0, is_late=False))
    load(sqlite, 3)
    rows = sqlite.execute("SELECT number, text, removed_at IS NULL FROM outs ORDER BY number")
    assert rows == [("27825550100", "STOP", 1), ("27825550199", None, 0)]
    assert sqlite.execute("SELECT number FROM outs_history WHERE removed_at IS NULL") == [("27825550100",)]
