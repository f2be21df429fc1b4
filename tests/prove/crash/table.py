"""What was tried, for a reader: a row for each boundary, a column for each guarantee and ledger."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.prove.crash.judge import Verdict


@dataclass
class Table:
    """The verdicts of a run."""

    verdicts: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        """Keep a verdict."""
        self.verdicts.append(verdict)

    def lines(self) -> Iterator[str]:
        """Yield the table, line by line."""
        columns = sorted({verdict.case.column for verdict in self.verdicts})
        rows: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for verdict in self.verdicts:
            rows[verdict.case.boundary][verdict.case.column].add(str(verdict))
        width = max(map(len, rows), default=0)
        marks = [chr(ord("A") + place) for place in range(len(columns))]
        yield from (f"{mark} = {column}" for mark, column in zip(marks, columns, strict=True))
        yield f"{'':{width}} " + " ".join(f"{mark:^7}" for mark in marks)
        for boundary, cells in rows.items():
            shown = (" ".join(sorted(cells[column])) or "-" for column in columns)
            yield f"{boundary:{width}} " + " ".join(f"{cell:^7}" for cell in shown)
        for guarantee in sorted({verdict.case.guarantee for verdict in self.verdicts}):
            yield _total(guarantee, [each for each in self.verdicts if each.case.guarantee == guarantee])


def _total(guarantee: str, verdicts: list[Verdict]) -> str:
    doubled, lost, unknown = (
        sum(getattr(verdict, name) for verdict in verdicts) for name in ("doubled", "lost", "unknown")
    )
    return f"{guarantee}: {len(verdicts)} cells, {doubled} doubled, {lost} without a text, {unknown} unknown"
