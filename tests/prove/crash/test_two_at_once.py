from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import ExitStack
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.sandbox import Sandbox
from tests.prove.crash.cells import Case, Cell
from tests.prove.crash.judge import judge
from tests.prove.crash.points import Blow, Moment, Point
from tests.prove.crash.proxy import Proxy
from tests.prove.crash.stage import Api, Try

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.prove.crash.stage import Workers
    from tests.prove.crash.table import Record
    from tests.support.databases import Database

    NewCell = Callable[[Case], AbstractContextManager[Cell]]

pytestmark = pytest.mark.crash

GUARANTEES = ("at_most_once", "exactly_once", "at_least_once")
LEDGERS = ("state", "sqlite", "postgres")
TABLES = ("sqlite", "postgres")
SPEED = 20
"""How many seconds pass in one, where two processes wait for each other."""
ROUNDS = 2

ZOMBIES = [
    Case(guarantee, ledger, point, Blow.STOP)
    for point, guarantee, ledger in product(
        [
            Point(step, moment, number)
            for number in (1, 3)
            for step in ("claim", "record")
            for moment in (Moment.ABOUT, Moment.AFTER_COMMIT)
        ],
        GUARANTEES,
        LEDGERS,
    )
]


@pytest.mark.parametrize("case", ZOMBIES, ids=lambda case: case.id)
def test_a_zombie_that_wakes_up_after_its_retry_sends_nobody_a_second_text(
    case: Case, new_cell: NewCell, table: Record
) -> None:
    with new_cell(case) as cell:
        zombie = cell.zombie()
        cell.run_on()
        before = Counter(text["mobileNumber"] for text in cell.texts)
        zombie.wake()
        zombie.run()
        assert zombie.ended is not None
        later = Counter(text["mobileNumber"] for text in cell.texts) - before
        # Under at_most_once nobody gave the claim up, and what the retry called unknown may still go out.
        assert not later or (case.guarantee == "at_most_once" and not set(later) & set(before))
        table.add(judge(cell, ledger_knows_more=True))


@pytest.fixture
def live_gateway() -> Iterator[Sandbox]:
    """A gateway whose time passes."""
    with Sandbox(speed=SPEED, credits=1000) as box:
        yield box


class LiveTry(Try):
    """A try whose waiting takes time."""

    def _answer(self, words: dict[str, Any]) -> Any:
        if "sleep" in words:
            time.sleep(words["sleep"] / SPEED)
            return True
        return super()._answer(words)


PEOPLE = [f"2782599{place:04d}" for place in range(12)]


def tables_of_their_own(database: Database, number: int) -> dict[str, Any]:
    """Return where a test remembers: another gateway counts its ids from the same one."""
    return {"ledger_conn_id": "ledger", "ledger_prefix": f"twins_{database.kind}_{number}_"}


def begun(
    workers: Workers,
    gateway: Sandbox,
    proxy: Proxy,
    database: Database,
    task: dict[str, Any],
    api: Api | None = None,
) -> Try:
    host = gateway.base_url.replace(f":{gateway.port}/", f":{proxy.port}/")
    connection = {"conn_type": "winsms", "host": host, "password": gateway.api_key}
    api = api or Api({"winsms_default": connection, "ledger": database.connection}, retries=3)
    return LiveTry.of(workers, api, gateway, task, request_size=2)


def run_to_the_end(first: Try, again: Callable[[Api], Try]) -> None:
    """Run a try, and its retries."""
    last = first
    last.run()
    while last.api.reported.get("state") not in {"success", "failed"} and last.api.try_number <= 3:
        last = again(last.api)
        last.begin()
        last.run()


@pytest.mark.parametrize("guarantee", GUARANTEES)
@pytest.mark.parametrize("ledger", TABLES)
@pytest.mark.parametrize("kind", ["two mapped copies", "a zombie and its retry"])
@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_processes_with_one_key_send_each_text_once_and_both_end(
    guarantee: str,
    ledger: str,
    kind: str,
    number: int,
    workers: Workers,
    live_gateway: Sandbox,
    request: pytest.FixtureRequest,
) -> None:
    database: Database = request.getfixturevalue(f"{ledger}_ledger")
    place = [*product(range(ROUNDS), ("two mapped copies", "a zombie and its retry"), GUARANTEES)].index(
        (number, kind, guarantee)
    )
    task = {
        "text": "Hallo",
        "to": PEOPLE,
        "guarantee": guarantee,
        "retries": 3,
        "idempotency_key": "one key",
        **tables_of_their_own(database, place),
    }
    names = ("copy_1", "copy_2") if kind == "two mapped copies" else ("send", "send")
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(live_gateway.port))

        def again(api: Api, name: str) -> Try:
            made = begun(workers, live_gateway, proxy, database, {**task, "task_id": name}, api)
            stack.callback(made.close)
            return made

        pair = [begun(workers, live_gateway, proxy, database, {**task, "task_id": name}) for name in names]
        for each in pair:
            stack.callback(each.close)
        threads = [
            threading.Thread(target=run_to_the_end, args=(each, lambda api, name=name: again(api, name)))
            for each, name in zip(pair, names, strict=True)
        ]
        for each in pair:
            each.begin()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        ends = [(each.api.reported, each.ended) for each in pair]
        assert not any(thread.is_alive() for thread in threads)
    assert {each.api.reported.get("state") for each in pair} == {"success"}, ends
    assert Counter(text["mobileNumber"] for text in live_gateway.outbox()) == Counter(PEOPLE)
    results = [each.api.result for each in pair]
    assert results[0]["message_ids"] == results[1]["message_ids"]
    assert [result["cost"] for result in results] == ["12.0", "12.0"]
