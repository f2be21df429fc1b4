"""Over a ledger and over what a load took from it each view shows the same: figures counted one by one."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.ledger.base import Rejected, RequestKey, Sender
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, RejectReason
from airflow_provider_winsms.sql.dialects import DIALECTS
from airflow_provider_winsms.warehouse.view_queries import VIEWS
from airflow_provider_winsms.warehouse.views import SourceTables, create_views
from scripts.demo_history import COLUMNS
from tests.ledger.batches import HASHES, accepted, batch, declined, ledger, messages, number, record
from tests.ledger.history import History
from tests.support.databases import CONN_ID
from tests.transfers.loads import run, stored
from tests.transfers.view_model import DAGS, World, compare, one_of, plain, some_lists, some_moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tests.support.databases import Database
    from tests.transfers.view_model import Row

LISTS = ("incoming", "opt_outs", "opt_outs_history")
TABLES = ("sms_batches", "sms_requests", "sms_messages", "sms_rounds", "deliveries", *LISTS)
DIGITS = [number(position) for position in range(5)]
PEOPLE = [(digits, None) for digits in DIGITS] + [(HASHES.of(digits), HASHES.key_id) for digits in DIGITS]
OUTCOMES = ("accepted", "accepted", "accepted", "unknown", *RejectReason)
REPORTS = [state for state in DeliveryState if state is not DeliveryState.UNKNOWN] + [
    DeliveryState.DELIVERED
] * 4


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres_by_path", id="postgres"),
        pytest.param("mariadb", marks=pytest.mark.database),
    ]
)
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database with an empty ledger, empty loaded tables, and the views over both."""
    found: Database = request.getfixturevalue(request.param)
    gateway = {"conn_type": "winsms", "host": "http://127.0.0.1:9", "password": "none"}
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(gateway))
    ledger(found).close()
    load(found)
    for table in LISTS:
        columns = (f"{name} {found.types[kind]}" for name, kind in COLUMNS[table].items())
        found.execute(f"CREATE TABLE {{}}{table} ({', '.join(columns)})")
    lists = {"incoming": "incoming", "opt_outs": "opt_outs"}
    create_views(found.hook(), SourceTables("deliveries", **lists), "loaded_")
    create_views(found.hook(), SourceTables(ledger_prefix="sms_", **lists), "ledger_")
    return found


def load(database: Database) -> None:
    run(database, "deliveries", table="deliveries", ledger_conn_id=CONN_ID, refresh=False)


class Sends:
    """Batches with all that may become of a text."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        self._database, self._chance = database, chance
        self._next_id = count(1001)

    def run(self) -> None:
        for place in range(self._chance.randint(1, 3)):
            self._send(f"batch {place}")

    def _send(self, key: str) -> None:
        chance = self._chance
        sender = Sender(chance.choice(DAGS), f"run {chance.randrange(2)}", "send", -1, "team")
        with ledger(self._database, key, privacy=one_of(chance, "none", "keyed_hash")) as tables:
            tables.open(replace(batch(key), sender=sender))
            tables.reject([Rejected(RejectReason.BAD_NUMBER, None)] * chance.randrange(2))
            for index in range(1, chance.randint(1, 2) + 1):
                at, size = pendulum.instance(some_moment(chance)), chance.randint(1, 5)
                send_at = one_of(chance, None, at.add(minutes=chance.randrange(5, 300)))
                request, claim = RequestKey(1, index), record(size, at=at, send_at=send_at)
                tables.claim(request, claim, messages(size, send_at=send_at))
                receipts = {place: self._receipt() for place in range(size)}
                known = {place: receipt for place, receipt in receipts.items() if receipt is not None}
                claim.apply(known)
                tables.record(request, claim, known)
                self._go_on(
                    [receipt.message_id for receipt in known.values() if receipt.accepted], send_at or at
                )

    def _receipt(self) -> Any:
        outcome = self._chance.choice(OUTCOMES)
        if outcome == "accepted":
            return accepted(next(self._next_id), one_of(self._chance, "0.38", "1"))
        return None if outcome == "unknown" else declined(RejectReason(outcome))

    def _go_on(self, ids: list[Any], due: datetime) -> None:
        """Report most texts, and begin to cancel some of the others, not all of them with success."""
        chance = self._chance
        reported = [each for each in ids if chance.random() < 0.8]
        rest = [each for each in ids if each not in reported]
        with History(self._database.hook()) as history:
            history.record_reports(
                DeliveryReport(
                    each,
                    chance.choice(REPORTS),
                    time=pendulum.instance(due + timedelta(seconds=chance.randrange(-50, 20_000))),
                )
                for each in reported
            )
            history.mark_cancelling(rest)
            history.record_cancelled({each: Decimal("0.3") for each in rest[::2]})


def fill(database: Database, chance: random.Random) -> World:
    """Fill the empty tables, and return the rows that the views over the loaded ones read."""
    for table in TABLES:
        database.execute(f"DELETE FROM {{}}{table}")  # noqa: S608 - ours
    Sends(database, chance).run()
    load(database)
    texts = [
        {**row, "message_id": row["message_id"] and str(row["message_id"])}
        for row in stored(database, "deliveries", "deliveries")
    ]
    ids = [row["message_id"] for row in texts if row["message_id"]]
    lists = some_lists(chance, ids, PEOPLE, replies=10, periods=4)
    for table, rows in zip(LISTS, lists, strict=True):
        for row in rows:
            cells = ", ".join(literal(database, value) for value in row.values())
            database.execute(f"INSERT INTO {{}}{table} ({', '.join(row)}) VALUES ({cells})")  # noqa: S608 - ours
    return World(texts, *lists)


def literal(database: Database, value: Any) -> str:
    if value is None:
        return "NULL"
    cell = value if isinstance(value, str) else DIALECTS[database.connection["conn_type"]].instant(value)
    return f"'{cell}'"


def shown(database: Database, prefix: str, view: str) -> Iterator[Row]:
    (columns,) = (found.columns for found in VIEWS if found.name == view)
    for row in database.execute(f"SELECT {', '.join(columns)} FROM {{}}{prefix}{view}"):  # noqa: S608 - ours
        yield dict(zip(columns, map(plain, columns, row), strict=True))


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_a_ledger_and_what_was_loaded_from_it_answer_the_same(database: Database, seed: int) -> None:
    world = fill(database, random.Random(seed))  # noqa: S311 - reproducible on purpose
    for prefix in ("loaded_", "ledger_"):
        compare(lambda view, prefix=prefix: shown(database, prefix, view), world)  # type: ignore[misc] # bound now
