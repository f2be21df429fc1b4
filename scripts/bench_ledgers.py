"""The cost of each ledger: the same send with every ledger in turn, in one process.

The process is an Airflow with a metadata database of its own on SQLite. The send with Airflow's task
state store is a task of ``dag.test()``: its requests go through Airflow's client, its Execution API (in the
same process) and the database. Only ``execute()`` is timed.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import structlog

from airflow_provider_winsms.operators.sms import SmsSendOperator
from scripts import warehouse
from scripts.bench_sends import (
    NUMBERS,
    ROUNDS,
    TEXT,
    add_latency,
    execute,
    gateway_variable,
    sandbox,
    send_in_a_loop,
    timed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow.sdk import DAG

    from scripts.warehouse import Warehouse

LOOP = "a plain requests loop"
NO_LEDGER = "SmsSendOperator, its ledger in a dict"
NOTE = (
    "Airflow's store: a task of dag.test(), its Execution API in the same process. Only execute() is timed. "
    f"Medians of {ROUNDS} rounds."
)


class Case(NamedTuple):
    """The number of recipients and the latency. A higher latency has fewer recipients, to save time."""

    recipients: int
    latency: float


CASES = (Case(100_000, 0.0), Case(30_000, 0.1))
_WARM_UP = Case(1000, 0.0)


def seconds() -> Iterator[tuple[Case, dict[str, float]]]:
    """Yield, for each case, the median seconds of each way to send."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sms-bench-")))
        url = stack.enter_context(sandbox())
        ledgers = {kind: stack.enter_context(warehouse.opened(kind, home)) for kind in ("sqlite", "postgres")}
        environment = {**os.environ, **_settings(home), **gateway_variable(url), **_as_variables(ledgers)}
        _migrate(environment, home / "migrate.log")
        command = [sys.executable, "-m", "scripts.bench_ledgers", url]
        process = stack.enter_context(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        )
        for case, line in zip(CASES, process.stdout or (), strict=True):
            yield case, json.loads(line)


def main() -> None:
    """Measure, and print a line of JSON for each case."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    (url,) = sys.argv[1:]
    _round(_ways(url, _WARM_UP))
    for case in CASES:
        add_latency(url, case.latency)
        ways = _ways(url, case)
        rounds = [_round(ways) for _ in range(ROUNDS)]
        medians = {name: statistics.median(each[name] for each in rounds) for name in ways}
        print(json.dumps(medians), file=answers)


def _round(ways: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    return {name: run() for name, run in ways.items()}


class TimedSend(SmsSendOperator):
    """A send that records its duration."""

    seconds: ClassVar[float] = 0.0

    def execute(self, context: Any) -> dict[str, Any]:
        """Send, and record the duration."""
        began = time.perf_counter()
        result = super().execute(context)
        TimedSend.seconds = time.perf_counter() - began
        return result


def _ways(url: str, case: Case) -> dict[str, Callable[[], float]]:
    numbers, dag = NUMBERS[: case.recipients], _stored_dag(case)

    def ours(**kwargs: Any) -> float:
        operator = SmsSendOperator(task_id="send", text=TEXT, to=numbers, **kwargs)
        return timed(lambda: execute(operator, url))

    return {
        LOOP: lambda: timed(lambda: send_in_a_loop(url, numbers)),
        NO_LEDGER: ours,
        "Airflow's task state store (SQLite)": lambda: _run(dag),
        "tables in SQLite": lambda: ours(ledger_conn_id="ledger_sqlite"),
        "tables in PostgreSQL": lambda: ours(ledger_conn_id="ledger_postgres"),
    }


def _run(dag: DAG) -> float:
    run = dag.test()
    if run.state != "success":
        msg = f"The task that sends ended as {run.state}."
        raise RuntimeError(msg)
    return TimedSend.seconds


def _stored_dag(case: Case) -> DAG:
    """Return a DAG of one send that is stored in Airflow's database, as if it came from a file."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.sdk import DAG
    from airflow.utils.session import create_session

    def numbers(**_: Any) -> list[str]:
        return NUMBERS[: case.recipients]

    with DAG(f"bench_{case.recipients}", schedule=None) as dag:
        TimedSend(task_id="send", text=TEXT, to=numbers)
    with create_session() as session:
        session.merge(DagBundleModel(name="bench"))
    bag = DagBag(dag_folder=os.devnull)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "bench", None)
    return dag


def _migrate(environment: Mapping[str, str], log: Path) -> None:
    with log.open("w") as file:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(command, env=environment, stdout=file, stderr=file, check=True)


def _settings(home: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }


def _as_variables(ledgers: Mapping[str, Warehouse]) -> dict[str, str]:
    return {
        f"AIRFLOW_CONN_LEDGER_{kind.upper()}": json.dumps(ledger.connection)
        for kind, ledger in ledgers.items()
    }


if __name__ == "__main__":
    main()
