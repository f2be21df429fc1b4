"""Plots of the answers of the views, as SVG."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scripts.demo_history import DAYS, FIRST_DAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Row = dict[str, Any]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 320, 52, 118, 46, 40
_FLOOR, _BEYOND = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
_INK, _FAINT, _GREY, _ALARM = "#333333", "#dddddd", "#777777", "#c1121f"
_COLOURS = {"appointments": "#0072b2", "invoices": "#009e73", "offers": "#d55e00"}
"""Colour-blind people can tell them apart, too."""

_DAY_WIDTH = (_BEYOND - _LEFT) / DAYS
_BAR_WIDTH = 24


def delivery_plot(rows: Sequence[Row]) -> str:
    """Return a plot of the delivered shares, with a line for each DAG."""
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
        # No line crosses days without a send.
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


def opt_out_plot(rows: Sequence[Row]) -> str:
    """Return a plot of the texts after an opt-out, with two bars for each day."""
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
