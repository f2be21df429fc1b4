"""Write the page of questions, with answers on made-up history: ``python -m scripts.questions``."""

from __future__ import annotations

from contextlib import closing
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.views import VIEWS, Tables, ViewSet
from scripts.demo_history import DAYS, FIRST_DAY, warehouse

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_winsms.views import View

    Row = dict[str, Any]

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = "questions.md"
DELIVERY_PLOT = "delivery-by-day.svg"
OPT_OUT_PLOT = "texts-after-opt-out.svg"

_BEGINNING = """\
# Questions that are asked first

Views over the tables that `SmsToSqlOperator` loads answer them. This makes the views, and replaces those that
are there, after an upgrade for instance:

```python
SmsViewsOperator(
    task_id="views",
    sql_conn_id="warehouse",
    deliveries="deliveries",
    incoming="incoming",
    opt_outs="opt_outs",
    view_prefix="sms_",
)
```

Without `incoming` or `opt_outs` the views that read them are left out. PostgreSQL, MySQL, MariaDB, SQLite and
DuckDB are tested; other databases are refused. The views are made in the schema of the tables, and a column
of a view, once published, is neither renamed nor dropped; new ones are added at the end.

No view shows a number or a text. Numbers are compared with one another only where they were hashed with the
same key, or not at all, so that all of it works on hashed numbers; after `hash_secret` was changed, a reply
is no longer found by its number under the old key.

A gateway may state minutes (WinSMS does): what left within the minute of a reply or an opt-out counts as
before it. What has no delivery report yet is as the ledger has it: `SmsRefreshStatusOperator` asks for them
([The ledger's tables](ledger.md#delivery-states)). A campaign is a task of a DAG run.

The answers below are those for two weeks of a made-up clinic. It reminds of appointments, sends invoices on
Tuesdays and an offer on Fridays; on the 10th and 11th of March a mobile network is down.
"""

_ENDING = """\
## A check for each day

A task that fails as soon as somebody was texted who had opted out:

```python
SQLCheckOperator(
    task_id="nobody_after_opt_out",
    conn_id="warehouse",
    sql="SELECT CASE WHEN sent = 0 THEN 1 ELSE 0 END FROM sms_opt_out_check",
)
```
"""

_PLOTS = {
    "delivery_by_day": f"![Share of the texts that arrived, by day and DAG]({DELIVERY_PLOT})\n",
    "texts_after_opt_out": f"![Texts by days since the opt-out: all were stopped]({OPT_OUT_PLOT})\n",
}


def files() -> dict[str, str]:
    """Return what stands in each file that is written, by its name."""
    with closing(warehouse()) as database:
        tables = Tables("deliveries", "incoming", "opt_outs")
        for _, statement in ViewSet("sqlite", '"{}"'.format, tables, "sms_").statements():
            database.execute(statement)
        return {
            PAGE: "\n".join([_BEGINNING, *(_chapter(view, database) for view in VIEWS), _ENDING]),
            DELIVERY_PLOT: _delivery_plot(_rows(database, "delivery_by_day")),
            OPT_OUT_PLOT: _opt_out_plot(_rows(database, "texts_after_opt_out")),
        }


def _chapter(view: View, database: sqlite3.Connection) -> str:
    meanings = ((f"`{name}`", meaning) for name, meaning in view.columns.items())
    answer = ((_shown(name, cell) for name, cell in row.items()) for row in _rows(database, view.name))
    parts = [
        f"## `sms_{view.name}`\n\n{view.question}\n",
        _grid(("column", "meaning"), meanings),
        *([_PLOTS[view.name]] if view.name in _PLOTS else []),
        _grid(tuple(view.columns), answer),
    ]
    return "\n".join(parts)


def _rows(database: sqlite3.Connection, name: str) -> list[Row]:
    columns = next(view.columns for view in VIEWS if view.name == name)
    # Their first two columns put most of them in order; a campaign's start does that for the rest.
    order = "started_at" if "started_at" in columns else "1, 2"
    found = database.execute(f"SELECT * FROM sms_{name} ORDER BY {order}")  # noqa: S608 - our own names
    return [dict(zip(columns, row, strict=True)) for row in found]


def _shown(name: str, cell: Any) -> str:
    if cell is None:
        return ""
    if name.endswith("rate"):
        return f"{cell:.1%}"
    if "cost" in name or name == "refund":
        return f"{cell:.2f}"
    return str(cell)


def _grid(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 320, 52, 118, 46, 40
_FLOOR, _BEYOND = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
_INK, _FAINT, _GREY, _ALARM = "#333333", "#dddddd", "#777777", "#c1121f"
_COLOURS = {"appointments": "#0072b2", "invoices": "#009e73", "offers": "#d55e00"}
"""Told apart by colour-blind people, too."""

_DAY_WIDTH = (_BEYOND - _LEFT) / DAYS
_BAR_WIDTH = 24


def _delivery_plot(rows: Sequence[Row]) -> str:
    title = _text(
        _LEFT, 24, "Share of the accepted texts that arrived, by the day they were submitted", size=15
    )
    return _svg([title, *_grid_lines(), *_day_names(), *_series(rows), *_legend()])


def _day_across(day: date) -> float:
    return _LEFT + _DAY_WIDTH * ((day - FIRST_DAY.date()).days + 0.5)


def _share_down(share: float) -> float:
    return _TOP + (_FLOOR - _TOP) * (1 - share)


def _grid_lines() -> Iterator[str]:
    for percent in range(0, 101, 25):
        height = _share_down(percent / 100)
        yield _line(_LEFT, height, _BEYOND, height)
        yield _text(_LEFT - 8, height + 4, f"{percent} %", anchor="end")


def _day_names() -> Iterator[str]:
    for place in range(DAYS):
        day = FIRST_DAY.date() + timedelta(days=place)
        words = f"{day.day} {day:%b}" if place == 0 else str(day.day)
        yield _text(_day_across(day), _HEIGHT - 16, words, anchor="middle")


def _series(rows: Sequence[Row]) -> Iterator[str]:
    for dag_id, colour in _COLOURS.items():
        points = [
            (_day_across(date.fromisoformat(row["day"])), _share_down(row["rate"]))
            for row in rows
            if row["dag_id"] == dag_id
        ]
        # Over days on which nothing was sent there is no line.
        yield from (
            _line(*one, *other, colour=colour, width=2)
            for one, other in pairwise(points)
            if other[0] - one[0] < 1.5 * _DAY_WIDTH
        )
        yield from (_dot(*point, colour) for point in points)


def _legend() -> Iterator[str]:
    for place, (dag_id, colour) in enumerate(_COLOURS.items()):
        height = _TOP + 20 + 22 * place
        yield _dot(_BEYOND + 18, height - 4, colour)
        yield _text(_BEYOND + 28, height, dag_id, colour=colour)


def _opt_out_plot(rows: Sequence[Row]) -> str:
    days = range(max(row["days_since"] for row in rows) + 1)
    stopped, sent = (_counts(rows, days, what) for what in ("stopped", "sent"))
    centres = [_LEFT + (_BEYOND - _LEFT) * (day + 0.5) / len(days) for day in days]
    scale = (_FLOOR - _TOP - 20) / max(*stopped, *sent)
    return _svg(
        [
            _text(_LEFT, 24, "Texts to numbers that had opted out, by whole days since", size=15),
            *_bars((centre - _BAR_WIDTH - 2 for centre in centres), stopped, scale, _GREY),
            *_bars((centre + 2 for centre in centres), sent, scale, _ALARM),
            *(_text(centres[day], _HEIGHT - 16, f"day {day}", anchor="middle") for day in days),
            _line(_LEFT, _FLOOR, _BEYOND, _FLOOR, colour=_INK),
            _text(_BEYOND + 14, _TOP + 20, "stopped", colour=_GREY),
            _text(_BEYOND + 14, _TOP + 42, "sent: must be 0", colour=_ALARM),
        ]
    )


def _counts(rows: Sequence[Row], days: Iterable[int], what: str) -> list[int]:
    return [sum(row[what] for row in rows if row["days_since"] == day) for day in days]


def _bars(lefts: Iterable[float], counts: Iterable[int], scale: float, colour: str) -> Iterator[str]:
    for left, count in zip(lefts, counts, strict=True):
        top = _FLOOR - count * scale
        box = f'x="{left:.1f}" y="{top:.1f}" width="{_BAR_WIDTH}" height="{_FLOOR - top:.1f}"'
        yield f'<rect {box} fill="{colour}"/>'
        yield _text(left + _BAR_WIDTH / 2, top - 6, str(count), colour=colour, anchor="middle")


def _svg(parts: Iterable[str]) -> str:
    size = f'width="{_WIDTH}" height="{_HEIGHT}"'
    box = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {size}'
    ground = f'<rect {size} fill="white"/>'
    return "\n".join([f'<svg {box} font-family="sans-serif">', ground, *parts, "</svg>\n"])


def _text(
    x: float, y: float, words: str, *, colour: str = _INK, anchor: str = "start", size: int = 12
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}" font-size="{size}">{words}</text>'


def _line(x: float, y: float, to_x: float, to_y: float, *, colour: str = _FAINT, width: int = 1) -> str:
    ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}" stroke="white"/>'


if __name__ == "__main__":
    for name, content in files().items():
        (DOCS / name).write_text(content)
