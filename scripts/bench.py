"""Measure, side by side in one run. Ratios hold on any machine; seconds only on this one."""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
import sys
from math import ceil
from typing import TYPE_CHECKING

import structlog
from rich.console import Console
from rich.table import Table

from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from scripts import bench_campaigns, bench_ledgers, bench_loads, bench_memory, bench_waits, process_memory
from scripts.bench_sends import NUMBERS, RECIPIENTS, TEXT, execute, sandbox
from scripts.public_modules import public_modules

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE_IMPORT = "from airflow.sdk import DAG, BaseOperator"
BASES_IMPORT = (
    "from airflow.providers.common.compat.sdk import BaseHook, BaseSensorOperator; "
    "from airflow.triggers.base import BaseEventTrigger"
)
console = Console(highlight=False)


def main() -> None:
    """Print one table per question."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    _bench_requests()
    _bench_ledgers()
    _bench_memory()
    _bench_campaigns()
    _bench_waits()
    _bench_loads()
    _bench_imports()


def _bench_requests() -> None:
    with sandbox() as url:
        to_all = SmsSendOperator(task_id="send", text=TEXT, to=NUMBERS)
        rows = [("one text to all", execute(to_all, url)["requests"], ceil(RECIPIENTS / 1000))]
        for length in (80, 160):
            messages = _messages(length)
            sent = execute(SmsSendBatchOperator(task_id="send", messages=messages), url)["requests"]
            rows.append((f"a text of {length} characters of its own to each", sent, _fewest(messages)))
    _print(f"{RECIPIENTS:,} recipients", ("", "requests sent", "fewest possible"), *rows)


def _bench_ledgers() -> None:
    for case, seconds in bench_ledgers.seconds():
        loop, bare = seconds[bench_ledgers.LOOP], seconds[bench_ledgers.NO_LEDGER]
        _print(
            f"Cost of the ledger: {case.recipients:,} recipients at {case.latency * 1000:.0f} ms latency",
            ("", "seconds", "to the loop", "to no ledger"),
            *(
                (name, f"{taken:.2f}", f"{taken / loop:.2f}", f"{taken / bare:.2f}")
                for name, taken in seconds.items()
            ),
            note=bench_ledgers.NOTE,
        )


def _bench_memory() -> None:
    if not process_memory.is_known():
        console.print("The memory of a send is measured on Linux only.")
        return
    rows = []
    for recipients in (RECIPIENTS, 10 * RECIPIENTS):
        for name, with_tables in (("a dict", False), ("tables in SQLite", True)):
            start, peak = bench_memory.measured(recipients, with_tables=with_tables)
            rows.append((f"{recipients:,}", name, f"{peak - start:.0f}", f"{peak:.0f}"))
    _print(
        "Resident memory of a send from a generator, in MB",
        ("recipients", "ledger", "above its start", "in all"),
        *rows,
    )


def _bench_campaigns() -> None:
    rows = [
        (
            f"{case.rows:,}",
            f"{case.latency * 1000:.0f}",
            f"{figures.planned_a_second:,.0f}",
            f"{figures.seconds:.1f}",
            f"{figures.megabytes:.0f}",
            f"{case.rows / figures.seconds / figures.loop_rows_a_second:.0f}",
        )
        for case, figures in bench_campaigns.measured()
    ]
    _print(
        "A text of its own to each row of a query in PostgreSQL",
        ("rows", "latency in ms", "planned a second", "seconds in all", "MB", "times as fast as the loop"),
        *rows,
        note=bench_campaigns.NOTE,
    )


def _bench_waits() -> None:
    if not process_memory.is_known():
        console.print("The cost of waiting is measured on Linux only.")
        return
    for triggers in (1000, 5000):
        _print(
            f"{triggers:,} triggers wait for {bench_waits.FEW} texts each",
            ("", bench_waits.ONE_EACH, bench_waits.ONE_FOR_ALL, "times"),
            *bench_waits.compared(triggers),
        )
    for latency in (0.0, 0.05):
        _print(
            f"10,000 triggers wait for 100 texts each, at {latency * 1000:.0f} ms latency",
            ("", "CPU s", "blocked ms", "of these working", "collecting ms"),
            *bench_waits.at_scale(10_000, 100, latency),
            note=bench_waits.NOTE,
        )


def _bench_loads() -> None:
    for table in bench_loads.tables():
        _print(table.title, table.head, *table.rows, note=table.note)


def _bench_imports() -> None:
    """Time all steps in one interpreter, because its start varies by more than the steps take."""
    steps = (BASE_IMPORT, BASES_IMPORT, f"import {', '.join(public_modules())}")
    samples = [_import_seconds(steps) for _ in range(11)]
    base, bases, ours = (statistics.median(seconds) for seconds in zip(*samples, strict=True))
    _print(
        "What a DAG file imports",
        ("", "CPU ms", "beyond"),
        (BASE_IMPORT, f"{base * 1000:.0f}", ""),
        *(
            (name, f"{seconds * 1000:.1f}", f"{seconds / base * 100:.1f} %")
            for name, seconds in (
                ("every public module after it", bases + ours),
                ("of these, Airflow's own hook, sensor and trigger", bases),
            )
        ),
    )


def _import_seconds(steps: Sequence[str]) -> list[float]:
    """Return the CPU time that each step takes, one after the other, in a fresh interpreter."""
    timed = "".join(f"{step}; times.append(now()); " for step in steps)
    code = (
        "from itertools import pairwise; from time import process_time as now; "
        f"times = [now()]; {timed}print(*(after - before for before, after in pairwise(times)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(seconds) for seconds in done.stdout.split()]


def _print(title: str, head: Sequence[str], *rows: Sequence[object], note: str | None = None) -> None:
    table = Table(*head, title=title, title_justify="left", caption=note, caption_justify="left")
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)


def _messages(length: int) -> list[dict[str, str]]:
    return [{"text": f"{index:06d}".ljust(length, "x"), "to": number} for index, number in enumerate(NUMBERS)]


def _fewest(messages: list[dict[str, str]]) -> int:
    """Return the fewest requests that hold the batch, whose messages all have one length."""
    message = {
        "message": messages[0]["text"],
        "recipients": [{"mobileNumber": messages[0]["to"]}],
        "maxSegments": 1,
    }
    size = len(json.dumps(message, separators=(",", ":"))) + 1
    return ceil(RECIPIENTS / min(1000, (195_000 - len('{"messages":[]}') + 1) // size))


if __name__ == "__main__":
    main()
