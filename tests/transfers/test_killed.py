"""A load that is killed, at any point: the table is as before or as after, and a retry completes it."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from tests.ledger.batches import HASHES, NOON, accepted, batch, messages, record
from tests.support.databases import CONN_ID
from tests.support.lists import Lists, listing, row
from tests.transfers.load_process import Loaders, Order, loaders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.databases import Database
    from tests.transfers.load_process import Ending

    Rows = list[tuple[Any, ...]]

pytestmark = pytest.mark.database

TABLE = "loaded"
NEWS = 45
"""Rows that come before each load, in pages of 10, of which 20 at a time are merged."""

STRIDES = {"postgres": 8, "mariadb": 8, "sqlite": 25, "duckdb": 30}
"""Every n-th step is tried, and each of the last ones. ``KILL_STRIDE=1`` tries each, in half an hour."""

NO_WAIT = 20.0
"""Seconds that a load may take: one that waits for a lock that stayed takes a minute or more."""

SIZES: dict[str, Any] = {"merged_rows": 20, "part_rows": 10, "ledger_rows": 10}


class Source:
    """What is loaded: it changes before each load."""

    dataset: str
    mode = "incremental"
    now: str | None = None

    def __init__(self, server: Lists, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.round = 0

    @property
    def environment(self) -> dict[str, str]:
        return {"AIRFLOW_CONN_WINSMS_DEFAULT": self.server.connection}

    @property
    def tables(self) -> list[str]:
        return [TABLE]

    @property
    def more(self) -> dict[str, Any]:
        """Parameters of the operator."""
        return {}

    def change(self) -> None:
        self.round += 1

    def forget(self) -> None:
        """Become empty."""
        raise NotImplementedError

    def expected(self) -> dict[str, Rows]:
        """Return what each table must hold, as ``QUERIES`` ask for it."""
        raise NotImplementedError


class Incoming(Source):
    dataset = "incoming"

    def change(self) -> None:
        super().change()
        first = len(self.server.rows) + 1
        self.server.rows += [row(each, text=f"Text {each}") for each in range(first, first + NEWS)]

    def forget(self) -> None:
        self.server.rows = []

    def expected(self) -> dict[str, Rows]:
        return {
            TABLE: sorted(
                (str(each["incomingApiMessageId"]), each["messageText"]) for each in self.server.rows
            )
        }


class Refreshed(Incoming):
    mode = "full_refresh"

    def change(self) -> None:
        Source.change(self)
        self.server.rows = [row(each, text=f"Text {self.round}") for each in range(1, NEWS + 1)]


class OptOuts(Source):
    """Of three parts of the numbers, each time one leaves and the one that had left comes back."""

    dataset = "opt_outs"

    def __init__(self, server: Lists, folder: Path) -> None:
        super().__init__(server, folder)
        self._seen: dict[str, tuple[bool, str]] = {}
        self._periods: list[tuple[str, bool, str]] = []

    @property
    def tables(self) -> list[str]:
        return [TABLE, f"{TABLE}_history"]

    def change(self) -> None:
        super().change()
        numbers = [f"2782{each:07}" for each in range(NEWS) if each % 3 != self.round % 3]
        text = f"STOP {self.round}"
        self.server.opt_outs = [row(None, each, text, receiveTime="202603021030") for each in numbers]
        listed = dict.fromkeys(numbers, text)
        seen = [
            (number, is_gone or number not in listed, said if is_gone or number not in listed else text)
            for number, is_gone, said in self._periods
        ]
        going_on = {number for number, is_gone, _ in seen if not is_gone}
        self._periods = seen + [(number, False, text) for number in numbers if number not in going_on]
        self._seen = {
            **{number: (True, said) for number, (_, said) in self._seen.items()},
            **dict.fromkeys(numbers, (False, text)),
        }

    def forget(self) -> None:
        self._seen.clear()
        self._periods.clear()

    def expected(self) -> dict[str, Rows]:
        current = [(number, is_gone, said) for number, (is_gone, said) in sorted(self._seen.items())]
        return {TABLE: current, f"{TABLE}_history": sorted(self._periods)}


class Deliveries(Source):
    """Each batch is sent a day later than the one before, so that only the last few are read again."""

    dataset = "deliveries"
    now = NOON.add(years=1).isoformat()

    def __init__(self, server: Lists, folder: Path) -> None:
        super().__init__(server, folder)
        self._rows: Rows = []

    @property
    def environment(self) -> dict[str, str]:
        connection = {"conn_type": "sqlite", "host": str(self.folder / "sms.db")}
        return {**super().environment, "AIRFLOW_CONN_LEDGER": json.dumps(connection)}

    @property
    def more(self) -> dict[str, Any]:
        return {"ledger_conn_id": "ledger", "refresh": False}

    def change(self) -> None:
        super().change()
        hook = BaseHook.get_connection("ledger").get_hook()
        opened = batch(f"etl/{self.round}")
        with SqlLedger(hook, opened.key, HASHES, SqlOptions()) as ledger:
            ledger.open(opened)
            for request in (1, 2, 3):
                first = self.round * 100 + request * 20
                claim = record(12, at=NOON.add(days=self.round))
                ledger.claim(RequestKey(1, request), claim, messages(12))
                ledger.record(
                    RequestKey(1, request), claim, {each: accepted(first + each) for each in range(12)}
                )
                self._rows += [(str(first + each), "accepted") for each in range(12)]
        with closing(sqlite3.connect(self.folder / "sms.db")) as ledger_file:
            # As if answers had come on that day, and not just now.
            ledger_file.execute("UPDATE sms_requests SET answered_at = claimed_at")
            ledger_file.commit()

    def forget(self) -> None:
        (self.folder / "sms.db").unlink(missing_ok=True)
        self._rows = []

    def expected(self) -> dict[str, Rows]:
        return {TABLE: sorted(self._rows)}


QUERIES = {
    "incoming": ("SELECT message_id, text FROM {}", "message_id"),
    "opt_outs": ("SELECT number, removed_at IS NOT NULL, text FROM {}", "number"),
    "deliveries": ("SELECT message_id, state FROM {}", "message_id"),
}

OF_KIND: dict[str, tuple[type[Source], ...]] = {
    "postgres": (Incoming, Refreshed, OptOuts, Deliveries),
    "mariadb": (Incoming, Refreshed, OptOuts, Deliveries),
    "sqlite": (Incoming, OptOuts),
    "duckdb": (Incoming, OptOuts),
}


def named(cell: tuple[type[Source], str]) -> str:
    source, kind = cell
    return f"{source.__name__.lower()}-{kind}"


class Cell:
    """A source, a database, and what loads from the one into the other."""

    def __init__(self, source: Source, database: Database, processes: Loaders) -> None:
        self.source = source
        self.database = database
        self._processes = processes
        task = {
            "dataset": source.dataset,
            "mode": source.mode,
            "sql_conn_id": CONN_ID,
            "table": TABLE,
            "schema": database.schema,
            "prefetch": 1,
            **source.more,
        }
        self.order = Order(task, {**database.environment, **source.environment}, now=source.now, **SIZES)

    def run(self, **changes: Any) -> Ending:
        (ending,) = self._processes.run(replace(self.order, **changes))
        return ending

    def content(self) -> dict[str, Rows]:
        """Return what the tables hold that are there."""
        query, key = QUERIES[self.source.dataset]
        there = set(self.database.tables())
        assert there <= set(self.source.tables), "Something was left behind."
        found = {}
        for table in self.source.tables:
            if table in there:
                rows = self.database.execute(query.format(self.database.named(table)) + f" ORDER BY {key}")
                found[table] = sorted(
                    (*row[:1], bool(row[1]), *row[2:]) if len(row) == 3 else row for row in rows
                )
        return found

    def complete(self) -> None:
        """Load, and see that nothing is in its way and all is there."""
        ending = self.run()
        assert ending.error == ""
        assert ending.seconds < NO_WAIT, "A lock stayed."
        assert self.content() == self.source.expected()

    def empty(self) -> None:
        for table in set(self.database.tables()):
            self.database.execute(f"DROP TABLE {self.database.named(table)}")
        self.source.forget()


@pytest.fixture(scope="module")
def processes() -> Iterator[Loaders]:
    with loaders() as found:
        yield found


@pytest.fixture(params=[(source, kind) for kind in STRIDES for source in OF_KIND[kind]], ids=named)
def cell(
    request: pytest.FixtureRequest, processes: Loaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cell]:
    source, kind = request.param
    with listing() as server:
        found: Source = source(server, tmp_path)
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield Cell(found, request.getfixturevalue(kind), processes)


def blows(cell: Cell, settle: Callable[[], object]) -> Iterator[Ending]:
    """Kill a load before its first step, the next one before a later one, and the last one at its end.

    Each time the source has changed, or rows of it would not be loaded.

    :param settle: is done after a load that ended before it was to be killed.
    """
    stride = int(os.environ.get("KILL_STRIDE", STRIDES[cell.database.kind]))
    for step in count(1, stride):
        cell.source.change()
        ending = cell.run(dies_before=step)
        if not ending.was_killed:
            assert step > 15, "There were more steps."
            break
        yield ending
    settle()
    for last in range(step - stride + 1, step):
        cell.source.change()
        ending = cell.run(dies_before=last)
        if not ending.was_killed:
            settle()
            break
        yield ending
    cell.source.change()
    yield cell.run(dies_at_end=True)


def test_a_later_load_that_is_killed_at_any_step_is_all_there_or_not_at_all_and_a_retry_completes_it(
    cell: Cell,
) -> None:
    before: list[dict[str, Rows]] = []

    def settle() -> None:
        before[:] = [cell.content()]

    cell.source.change()
    cell.complete()
    settle()
    for ending in blows(cell, settle):
        assert ending.was_killed
        assert cell.content() in (*before, cell.source.expected())
        cell.complete()
        settle()


def test_a_first_load_that_is_killed_at_any_step_leaves_no_row_or_all_and_a_retry_completes_it(
    cell: Cell,
) -> None:
    for ending in blows(cell, cell.empty):
        assert ending.was_killed
        rows = [row for rows in cell.content().values() for row in rows]
        assert not rows or cell.content() == cell.source.expected()
        cell.complete()
        cell.empty()


def test_nor_does_it_matter_in_the_middle_of_which_step_it_is_killed(cell: Cell) -> None:
    cell.source.change()
    cell.complete()
    before, chance = cell.content(), random.Random(5)  # noqa: S311 - moments, not secrets
    took = cell.run().seconds
    for _ in range(6):
        cell.source.change()
        ending = cell.run(dies_after=chance.uniform(0, 1.5 * took))
        assert ending.was_killed or ending.error == ""
        assert cell.content() in (before, cell.source.expected())
        cell.complete()
        before = cell.content()
