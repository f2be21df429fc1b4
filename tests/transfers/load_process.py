"""Processes that load, and that are killed wherever a test says.

Run as a module, it imports Airflow once, and reads orders from its input, one a line: a list of loads to be
made at the same time, each in a process of its own. When all have ended it writes how, as a line of JSON.
With an order as its argument it loads in its own process, and writes how much memory that took.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator

PROVIDERS = sorted(map(str, (Path(__file__).parents[1] / "support").glob("*_provider")))
"""Folders in which Airflow finds the hooks of databases for tests."""


@dataclass(frozen=True)
class Order:
    """One load.

    :param task: the parameters of the operator.
    :param environment: where it finds connections.
    :param dies_before: the step before which it is killed; steps are requests, and whatever is said to the
        database, counted from 1.
    :param dies_at_end: whether it is killed right after its last commit.
    :param dies_after: seconds after which it is killed, wherever it is then.
    :param begins_after: seconds.
    :param now: the time, if it is not the present.
    :param merged_rows: how many rows it merges at a time.
    :param ledger_rows: how many rows of a ledger it reads at a time.
    :param part_rows: how many rows of a long answer it takes at a time.
    :param has_queue: whether the gateway has a queue of texts, and no list.
    """

    task: dict[str, Any]
    environment: dict[str, str]
    dies_before: int | None = None
    dies_at_end: bool = False
    dies_after: float | None = None
    begins_after: float = 0.0
    now: str | None = None
    merged_rows: int = 10_000
    ledger_rows: int = 5_000
    part_rows: int = 1000
    has_queue: bool = False


@dataclass(frozen=True)
class Ending:
    """How a load ended.

    :param error: the type and the text of what it raised; empty if nothing.
    :param steps: what it did, in order; empty if it was killed.
    """

    was_killed: bool
    error: str
    steps: list[str]
    seconds: float


class Loaders:
    """What starts the loads."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.transfers.load_process"]
        path = os.pathsep.join(filter(None, (*PROVIDERS, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": path},
        )

    def run(self, *orders: Order) -> list[Ending]:
        """Let loads run at the same time, and return how each ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([asdict(order) for order in orders]) + "\n")
        self._process.stdin.flush()
        return [Ending(**ending) for ending in json.loads(self._process.stdout.readline())]

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()


@contextmanager
def loaders() -> Iterator[Loaders]:
    found = Loaders()
    try:
        yield found
    finally:
        found.close()


class Steps:
    """Counts what a load does, and kills its process where it is to die."""

    def __init__(self, dies_before: int | None) -> None:
        self._dies_before = dies_before
        self.taken: list[str] = []

    def take(self, what: str) -> None:
        self.taken.append(what)
        if len(self.taken) == self._dies_before:
            die()

    def watch(self) -> None:
        """Count each request, and each thing that is said to a database."""
        from airflow_provider_winsms.hooks.sms import SmsHook
        from airflow_provider_winsms.sql.connection import Database

        def counted(kind: Any, name: str, what: Callable[..., str]) -> None:
            original = getattr(kind, name)

            def step(self_: Any, *args: Any) -> Any:
                self.take(what(*args))
                return original(self_, *args)

            setattr(kind, name, step)

        counted(Database, "_without_driver_text", lambda step, _: str(step))
        counted(SmsHook, "execute", lambda *_: "ask the gateway")
        counted(SmsHook, "stream_opt_outs", lambda *_: "ask the gateway")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def begin(order: Order) -> tuple[int, int]:
    """Fork a process that loads; return its id, and where it says how it ended."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        return child, reading
    ending = asdict(carry_out(order))
    os.write(writing, json.dumps(ending).encode())
    os._exit(0)


def carry_out(order: Order) -> Ending:
    os.environ.update(order.environment)
    time.sleep(order.begins_after)
    steps, error, began = Steps(order.dies_before), "", time.monotonic()
    steps.watch()
    try:
        operator(order)(task_id="load", **order.task).execute({"run_id": "run"})
    except Exception as raised:  # noqa: BLE001 - it is told to whoever ordered the load
        error = f"{type(raised).__name__}: {raised}"
    if order.dies_at_end:
        die()
    return Ending(was_killed=False, error=error, steps=steps.taken, seconds=time.monotonic() - began)


def operator(order: Order) -> type[SmsToSqlOperator]:
    """Return the operator, on the clock and with the sizes that are ordered."""
    from airflow_provider_winsms.gateways.transport import Transport
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.ledger.deliveries import DeliverySizes
    from airflow_provider_winsms.runtime import SYSTEM_CLOCK
    from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
    from airflow_provider_winsms.warehouse.datasets import LoadSizes
    from tests.support.clock import standing_clock
    from tests.support.list_server import QueueHook
    from tests.support.variants import variant

    def hook_of(conn_id: str) -> SmsHook:
        hook = QueueHook(conn_id) if order.has_queue else SmsHook.of(conn_id)
        hook._transport = Transport(hook.endpoint, part_rows=order.part_rows)
        return hook

    return variant(
        SmsToSqlOperator,
        clock=standing_clock(datetime.fromisoformat(order.now)) if order.now else SYSTEM_CLOCK,
        hook_of=staticmethod(hook_of),
        sizes=LoadSizes(order.merged_rows, deliveries=DeliverySizes(page_rows=order.ledger_rows)),
    )


def end(child: int, reading: int) -> dict[str, Any]:
    """Wait until a process has ended, and return how."""
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if said:
        ending: dict[str, Any] = json.loads(said)
        return ending
    was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return asdict(Ending(was_killed=was_killed, error="" if was_killed else "ended", steps=[], seconds=0.0))


def measure(order: Order) -> dict[str, Any]:
    """Load here, and return resident megabytes: before, and at most. Linux alone tells."""
    from scripts import process_memory

    start = process_memory.reset_peak()
    ending = carry_out(order)
    return {"start": start, "peak": process_memory.peak(), "error": ending.error}


def main(modules: Sequence[str], arguments: Sequence[str]) -> None:
    """Carry out orders until there are no more, or the one that is given."""
    for module in modules:
        importlib.import_module(module)
    # What tasks log goes where it does not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if arguments:
        answers.write(json.dumps(measure(Order(**json.loads(arguments[0])))) + "\n")
        answers.close()
        return
    for line in sys.stdin:
        orders = [Order(**order) for order in json.loads(line)]
        begun = [begin(order) for order in orders]
        for order, (child, _) in zip(orders, begun, strict=True):
            if order.dies_after is not None:
                time.sleep(order.dies_after)
                os.kill(child, signal.SIGKILL)
        answers.write(json.dumps([end(*each) for each in begun]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(
        [
            "airflow.sdk.execution_time.supervisor",
            "mysql.connector",
            "airflow.providers.postgres.hooks.postgres",
            "airflow.providers.sqlite.hooks.sqlite",
            "airflow_provider_winsms.gateways.transport",
            "airflow_provider_winsms.hooks.winsms",
            "airflow_provider_winsms.warehouse.load",
            "airflow_provider_winsms.transfers.sms_to_sql",
            "airflow_provider_winsms.warehouse.table",
            "duckdb",
            "requests",
        ],
        sys.argv[1:],
    )
