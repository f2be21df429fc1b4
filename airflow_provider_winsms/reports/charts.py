"""Plots as data: bars, lines and words on a plane of a fixed size. A template draws them as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, groupby
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WIDTH, HEIGHT = 760, 260
_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 14, 600, 226
_PLOT_WIDTH, _PLOT_HEIGHT = _RIGHT - _LEFT, _BOTTOM - _TOP
_MOST_LABELS = 12
_MOST_GRID_LINES = 5
_LONGEST_NAME = 20
_BAR_SHARE = 0.72
"""The part of a category's width that its bars take."""


class Series(NamedTuple):
    """The values of one name, one for each category.

    :param css: the class that gives it its colour.
    :param values: ``None`` where there is none.
    """

    name: str
    css: str
    values: Sequence[float | None]


class Bar(NamedTuple):
    """A rectangle. Its words show when one points at it."""

    x: float
    y: float
    width: float
    height: float
    css: str
    words: str


class Line(NamedTuple):
    """A line through points, as SVG lists them."""

    points: str
    css: str


class Dot(NamedTuple):
    """A point. Its words show when one points at it."""

    x: float
    y: float
    css: str
    words: str


class Words(NamedTuple):
    """Words at a place; ``anchor`` is the part of them that is there, as in SVG."""

    x: float
    y: float
    words: str
    anchor: str = "middle"


class LegendEntry(NamedTuple):
    """The colour of a series, beside its name, which is cut if it is long."""

    y: float
    css: str
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot.

    :param heading: the header of the table that shows the same values.
    :param rows: its rows.
    """

    title: str
    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    grid: Sequence[Words]
    labels: Sequence[Words]
    legend: Sequence[LegendEntry]
    bars: Sequence[Bar] = ()
    lines: Sequence[Line] = ()
    dots: Sequence[Dot] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = _RIGHT
    legend_at: int = _RIGHT + 16


def count(value: float) -> str:
    """Return a whole number in words."""
    return f"{value:,.0f}"


def share(value: float) -> str:
    """Return a share in percent."""
    return f"{value:.1%}".replace(".0%", "%")


def amount(value: float) -> str:
    """Return an amount with two decimal places."""
    return f"{value:,.2f}"


def shortened(name: str) -> str:
    """Return the beginning of a name, if it has no room."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "\u2026"


def stacked(
    title: str, of: str, categories: Sequence[str], series: Sequence[Series], spell: Callable[[float], str]
) -> Plot:
    """Return columns whose bars stand on each other.

    :param of: what the categories are, such as ``day``.
    """
    tops = [sum(values) for values in zip(*map(_filled, series), strict=True)]
    scale = _Scale.up_to(max(tops, default=0), spell)
    bars: list[Bar] = []
    for place, category in enumerate(categories):
        heights = [_filled(each)[place] for each in series]
        for each, value, top in zip(series, heights, accumulate(heights), strict=True):
            if value > 0:
                box = _box(len(categories), place), scale.down(top), scale.height(value)
                bars.append(_bar(*box, each, f"{category}: {spell(value)} {each.name}"))
    return _plot(title, of, categories, series, scale, bars=bars)


def grouped(
    title: str, of: str, categories: Sequence[str], series: Sequence[Series], spell: Callable[[float], str]
) -> Plot:
    """Return columns whose bars stand side by side."""
    scale = _Scale.up_to(max((max(_filled(each), default=0) for each in series), default=0), spell)
    bars = [
        _bar(
            _box(len(categories), place, index, len(series)),
            scale.down(value),
            scale.height(value),
            each,
            f"{category}: {spell(value)} {each.name}",
        )
        for place, category in enumerate(categories)
        for index, each in enumerate(series)
        if (value := _filled(each)[place]) > 0
    ]
    return _plot(title, of, categories, series, scale, bars=bars)


def lines(title: str, of: str, categories: Sequence[str], series: Sequence[Series]) -> Plot:
    """Return lines of shares from 0 to 1. No line crosses a category without a value."""
    scale = _Scale(1, 0.25, share)
    middles = [_middle(len(categories), place) for place in range(len(categories))]
    found: list[Line] = []
    dots: list[Dot] = []
    for each in series:
        points = list(zip(middles, each.values, categories, strict=True))
        for is_there, run in groupby(points, key=lambda point: point[1] is not None):
            if is_there:
                places = [(x, scale.down(value or 0), category, value or 0) for x, value, category in run]
                found.append(Line(" ".join(f"{x:.1f},{y:.1f}" for x, y, *_ in places), each.css))
                dots += [
                    Dot(x, y, each.css, f"{category}: {share(value)} {each.name}")
                    for x, y, category, value in places
                ]
    return _plot(title, of, categories, series, scale, lines=found, dots=dots)


@dataclass(frozen=True, slots=True)
class _Scale:
    """The vertical axis, from 0.

    :param top: its highest value.
    :param step: the distance of its grid lines.
    """

    top: float
    step: float
    spell: Callable[[float], str]

    @classmethod
    def up_to(cls, highest: float, spell: Callable[[float], str]) -> _Scale:
        """Return a scale whose grid lines stand at round values."""
        least = (highest or 1) / _MOST_GRID_LINES
        power = 10.0 ** floor(log10(least))
        step = next(power * each for each in (1, 2, 5, 10) if power * each >= least)
        if spell is count:
            step = max(step, 1)
        return cls(step * max(1, ceil(highest / step)), step, spell)

    def height(self, value: float) -> float:
        return _PLOT_HEIGHT * value / self.top

    def down(self, value: float) -> float:
        return _BOTTOM - self.height(value)

    def grid(self) -> Iterator[Words]:
        for index in range(round(self.top / self.step) + 1):
            value = self.step * index
            yield Words(_LEFT - 8, self.down(value), self.spell(value), "end")


def _plot(
    title: str, of: str, categories: Sequence[str], series: Sequence[Series], scale: _Scale, **marks: Any
) -> Plot:
    cells = [
        ["" if value is None else scale.spell(value) for value in values]
        for values in zip(*(each.values for each in series), strict=True)
    ]
    return Plot(
        title=title,
        heading=[of, *(each.name for each in series)],
        rows=[[category, *row] for category, row in zip(categories, cells, strict=True)],
        grid=list(scale.grid()),
        labels=list(_labels(categories)),
        legend=[
            LegendEntry(_TOP + 10 + 22 * index, each.css, each.name, shortened(each.name))
            for index, each in enumerate(series)
        ],
        **marks,
    )


def _labels(categories: Sequence[str]) -> Iterator[Words]:
    every = ceil(len(categories) / _MOST_LABELS) or 1
    for place in range(0, len(categories), every):
        yield Words(_middle(len(categories), place), _BOTTOM + 20, categories[place])


def _middle(categories: int, place: int) -> float:
    return _LEFT + _PLOT_WIDTH * (place + 0.5) / categories


def _box(categories: int, place: int, index: int = 0, bars: int = 1) -> tuple[float, float]:
    """Return the left end and the width of a bar."""
    whole = _PLOT_WIDTH / categories * _BAR_SHARE
    return _middle(categories, place) - whole / 2 + whole * index / bars, whole / bars


def _bar(box: tuple[float, float], y: float, height: float, series: Series, words: str) -> Bar:
    x, width = box
    return Bar(round(x, 1), round(y, 1), round(width, 1), round(height, 1), series.css, words)


def _filled(series: Series) -> list[float]:
    return [value or 0 for value in series.values]
