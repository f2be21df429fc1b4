"""What was tried, for a reader: a row for each boundary, a column for each guarantee and ledger.

As a plugin of pytest it shows the table at the end of a run. A verdict comes with the report of its test, as
the process that tries a cell need not be the one that shows the table.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from tests.prove.crash.judge import Verdict

_PROPERTY = "verdict"


class Entry(NamedTuple):
    """A verdict in plain values."""

    boundary: str
    column: str
    guarantee: str
    doubled: int
    lost: int
    unknown: int

    def __str__(self) -> str:
        return f"{self.doubled}/{self.lost}/{self.unknown}"


class Record:
    """Puts verdicts into the report of the test that came to them."""

    def __init__(self, test: pytest.Item) -> None:
        self._test = test

    def add(self, verdict: Verdict) -> None:
        """Keep a verdict."""
        case = verdict.case
        entry = Entry(
            case.boundary, case.column, case.guarantee, verdict.doubled, verdict.lost, verdict.unknown
        )
        self._test.user_properties.append((_PROPERTY, tuple(entry)))


@dataclass(eq=False)
class Table:
    """The verdicts of a run."""

    entries: list[Entry] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the verdicts of a test that has ended."""
        if report.when == "call":
            self.entries.extend(
                Entry(*values)  # type: ignore[misc] # the values of an entry, and typed as any object
                for name, values in report.user_properties
                if name == _PROPERTY
            )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what was tried."""
        if self.entries:
            terminalreporter.section("crash matrix: texts doubled/people without one/unknown")
            for line in self.lines():
                terminalreporter.write_line(line)

    def lines(self) -> Iterator[str]:
        """Yield the table, line by line."""
        columns = sorted({entry.column for entry in self.entries})
        rows: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for entry in self.entries:
            rows[entry.boundary][entry.column].add(str(entry))
        width = max(map(len, rows), default=0)
        marks = [chr(ord("A") + place) for place in range(len(columns))]
        yield from (f"{mark} = {column}" for mark, column in zip(marks, columns, strict=True))
        yield f"{'':{width}} " + " ".join(f"{mark:^7}" for mark in marks)
        for boundary, cells in rows.items():
            shown = (" ".join(sorted(cells[column])) or "-" for column in columns)
            yield f"{boundary:{width}} " + " ".join(f"{cell:^7}" for cell in shown)
        for guarantee in sorted({entry.guarantee for entry in self.entries}):
            yield _total(guarantee, [entry for entry in self.entries if entry.guarantee == guarantee])


def pytest_configure(config: pytest.Config) -> None:
    """Have a table made of the run."""
    config.pluginmanager.register(Table())


def _total(guarantee: str, entries: list[Entry]) -> str:
    doubled, lost, unknown = (
        sum(getattr(entry, name) for entry in entries) for name in ("doubled", "lost", "unknown")
    )
    return f"{guarantee}: {len(entries)} cells, {doubled} doubled, {lost} without a text, {unknown} unknown"
