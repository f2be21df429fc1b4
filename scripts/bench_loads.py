"""The speed of loads, beside other ways to load and beside one that is written by hand.

``python -m scripts.bench_loads`` measures everything, ``--only PART`` one part, and ``--quick`` only ours and
that by hand. Each load is a process of its own, and its rows are checked afterwards.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table

from scripts import bench_loads_cpu, bench_loads_targets
from scripts.bench_loads_targets import Run, Target
from scripts.bench_loads_ways import DLT, IN_TURN, INSERT_ROWS, OURS, OVERLAPPED, PREPARED, Figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROUNDS = 3
FEW, MANY, MOST = 100_000, 500_000, 1_000_000
NOTE = (
    "Bare: written by hand with requests, json and the driver, into a table like ours. Overlapped: threads "
    "fetch and parse before COPY and merge need the rows (SQLite: executemany). "
    "Prepared: only COPY and merge, of rows fetched and formatted before. insert_rows: the hook's, with its "
    "defaults, in a loop. dlt: rest_api, merge, through CSV files, its fastest. CPU: seconds of the client. "
    "MB: resident memory above the start."
)
NO_DLT = "DLT COULD NOT BE INSTALLED, AND IS NOT MEASURED."

_NEW_ROWS = 10
_LONG = "latency-whole"
_LATENCIES = (50, 150)
_IN_FLIGHT = {FEW: (2, 4, 8), MANY: (4, 8)}
_CALCULATED = (
    f"One round. The loop, insert_rows, dlt and k = 1 are calculated: {MANY // FEW} times the seconds of "
    f"{FEW:,} rows. To measure them: --only {_LONG}."
)


class Shown(NamedTuple):
    """A table to print."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str | None = None


def tables(parts: Sequence[str] = ()) -> Iterator[Shown]:
    """Measure, and yield a table for each case.

    :param parts: names of parts; by default all except the one that takes long.
    """
    for part in parts or (part for part in PARTS if part != _LONG):
        yield from PARTS[part]()


def quick(rows: int, rounds: int, kind: str = "postgres") -> Iterator[Shown]:
    """Yield a table of ours beside the way by hand."""
    with bench_loads_targets.opened(kind) as target:
        yield _compared(target, rows, (), rounds)


def _into_postgres() -> Iterator[Shown]:
    competitors = _competitors()
    with bench_loads_targets.opened("postgres") as target:
        for rows in (FEW, MANY):
            yield _compared(target, rows, competitors)


def _into_sqlite() -> Iterator[Shown]:
    with bench_loads_targets.opened("sqlite") as target:
        for rows in (FEW, MANY):
            yield _compared(target, rows, (INSERT_ROWS,))


def _competitors() -> tuple[str, ...]:
    if bench_loads_targets.can_dlt():
        return INSERT_ROWS, DLT
    sys.stderr.write(f"{NO_DLT}\n")
    return (INSERT_ROWS,)


def _compared(target: Target, rows: int, competitors: Sequence[str], rounds: int = ROUNDS) -> Shown:
    """Compare ways without latency, in turn. Slow ways run once."""
    ways = (OURS, OVERLAPPED, PREPARED)
    taken: dict[str, list[Figures]] = {way: [] for way in (*ways, IN_TURN, *competitors)}
    for number in range(rounds):
        for way in ways if number else taken:
            taken[way].append(target.measured(Run(way), rows))
    seconds = {way: statistics.median(each.seconds for each in runs) for way, runs in taken.items()}
    return Shown(
        f"Load {rows:,} incoming messages into {target.store.name}, without latency: the speed",
        ("", "seconds", "rows/s", "of bare", "of prepared", "of ours", "CPU", "MB"),
        [
            (
                way,
                f"{seconds[way]:.2f}",
                f"{rows / seconds[way]:,.0f}",
                *(f"{seconds[other] / seconds[way]:.2f}" for other in (OVERLAPPED, PREPARED, OURS)),
                f"{statistics.median(each.cpu for each in runs):.2f}",
                f"{max(each.growth for each in runs):.0f}",
            )
            for way, runs in taken.items()
        ],
        f"{NOTE} Medians of {rounds} rounds; {', '.join((IN_TURN, *competitors))}: once.",
    )


def _at_latency(*, whole: bool) -> Iterator[Shown]:
    """Compare at latencies.

    :param whole: also measure the ways that go page by page with many rows, which takes minutes. Otherwise
        their seconds are calculated from fewer rows.
    """
    competitors = _competitors()
    with bench_loads_targets.opened("postgres") as target:
        for milliseconds in _LATENCIES:
            few = _page_by_page(target, FEW, milliseconds, (*competitors, OURS))
            yield _at(target, FEW, milliseconds, few, "One round.")
            if whole:
                many = _page_by_page(target, MANY, milliseconds, competitors)
                yield _at(target, MANY, milliseconds, many, "One round.")
            else:
                many = {run: seconds * MANY / FEW for run, seconds in few.items()}
                yield _at(target, MANY, milliseconds, many, _CALCULATED)


def _page_by_page(
    target: Target, rows: int, milliseconds: int, competitors: Sequence[str]
) -> dict[Run, float]:
    """Return the seconds of the ways that go page by page. They mostly sleep, so that two run at a time."""
    runs = [Run(IN_TURN), *(Run(way, 1 if way == OURS else 0) for way in competitors)]
    with ThreadPoolExecutor(2) as threads:
        taken = threads.map(lambda run: target.measured(run, rows, milliseconds).seconds, runs)
        return dict(zip(runs, taken, strict=True))


def _at(target: Target, rows: int, milliseconds: int, others: Mapping[Run, float], note: str) -> Shown:
    runs = (*(Run(OURS, in_flight) for in_flight in _IN_FLIGHT[rows]), Run(OVERLAPPED, _IN_FLIGHT[rows][-1]))
    taken = {**{run: target.measured(run, rows, milliseconds).seconds for run in runs}, **others}
    return Shown(
        f"Load {rows:,} incoming messages into {target.store.name}, at {milliseconds} ms latency: the speed",
        ("", "seconds", "rows/s", "of the loop", "of k loops", "of dlt"),
        [_at_row(run, rows, taken) for run in sorted(taken, key=lambda run: (run.way != OURS, run))],
        f"k requests in flight at once. The loop is the bare way in turn. {note}",
    )


def _at_row(run: Run, rows: int, taken: Mapping[Run, float]) -> tuple[str, ...]:
    speed = taken[Run(IN_TURN)] / taken[run]
    of_k = f"{speed / run.in_flight:.2f}" if run.in_flight else ""
    of_dlt = f"{taken[Run(DLT)] / taken[run]:.2f}" if Run(DLT) in taken else ""
    return str(run), f"{taken[run]:.2f}", f"{rows / taken[run]:,.0f}", f"{speed:.2f}", of_k, of_dlt


def _memory() -> Iterator[Shown]:
    rows = []
    for kind in ("postgres", "sqlite"):
        with bench_loads_targets.opened(kind) as target:
            for count in (FEW, MOST):
                figures = target.measured(Run(OURS), count)
                rows.append((target.store.name, f"{count:,}", f"{figures.growth:.0f}"))
    yield Shown("Memory of a load by SmsToSqlOperator", ("into", "rows", "MB above its start"), rows)


def _again() -> Iterator[Shown]:
    rows = []
    for kind in ("postgres", "sqlite"):
        with bench_loads_targets.opened(kind) as target:
            figures, asked = target.measured_again(MANY, _NEW_ROWS)
            rows.append((target.store.name, asked, f"{figures.seconds:.2f}"))
    yield Shown(
        f"A load of {_NEW_ROWS} new messages, after one of {MANY:,}", ("into", "requests", "seconds"), rows
    )


def _cpu() -> Iterator[Shown]:
    rows = [(part, f"{taken:.3f}") for part, taken in bench_loads_cpu.seconds(FEW)]
    yield Shown(f"CPU of the client by part, for {FEW:,} rows without requests", ("", "CPU s"), rows)


PARTS: dict[str, Callable[[], Iterator[Shown]]] = {
    "postgres": _into_postgres,
    "sqlite": _into_sqlite,
    "latency": partial(_at_latency, whole=False),
    _LONG: partial(_at_latency, whole=True),
    "cpu": _cpu,
    "memory": _memory,
    "again": _again,
}
"""The parts, by their names."""


def main() -> None:
    """Measure the given parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, default=[], help="may be given repeatedly")
    parser.add_argument(
        "--quick", action="store_true", help="only ours beside the way by hand, without latency"
    )
    parser.add_argument("--into", choices=("postgres", "sqlite"), default="postgres", help="for --quick")
    parser.add_argument("--rows", type=int, default=MANY, help="for --quick")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="for --quick")
    given = parser.parse_args()
    console = Console(highlight=False)
    for shown in quick(given.rows, given.rounds, given.into) if given.quick else tables(given.only):
        table = Table(*shown.head, title=shown.title, title_justify="left", caption=shown.note)
        for row in shown.rows:
            table.add_row(*map(str, row))
        console.print(table)


if __name__ == "__main__":
    main()
