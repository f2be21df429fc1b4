"""Plots as data: what a template draws."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from airflow_provider_winsms.reports.charts import (
    Plot,
    Series,
    amount,
    count,
    grouped,
    lines,
    share,
    shortened,
    stacked,
)
from airflow_provider_winsms.reports.page import render_plot

DAYS = ["1 Mar", "2 Mar", "3 Mar"]
TWO = [Series("delivered", "good", [8, 0, 3]), Series("failed", "bad", [2, 0, None])]


def drawn(plot: Plot) -> ET.Element:
    return ET.fromstring(render_plot(plot))  # noqa: S314 - our own SVG


def test_bars_stand_on_each_other_in_proportion_to_their_values() -> None:
    plot = stacked("Texts", "day", DAYS, TWO, count)
    assert [bar.words for bar in plot.bars] == [
        "1 Mar: 8 delivered",
        "1 Mar: 2 failed",
        "3 Mar: 3 delivered",
    ]
    lower, upper, other = plot.bars
    assert upper.y + upper.height == pytest.approx(lower.y, abs=0.2)
    assert lower.height == pytest.approx(4 * upper.height, rel=0.02)
    assert lower.height == pytest.approx(8 / 3 * other.height, rel=0.02)
    assert lower.x == upper.x < other.x


def test_bars_of_a_group_stand_side_by_side() -> None:
    plot = grouped("Texts", "day", DAYS, TWO, count)
    first, second, _ = plot.bars
    assert first.x + first.width == pytest.approx(second.x, abs=0.2)
    assert first.y + first.height == pytest.approx(second.y + second.height, abs=0.2)


def test_a_line_ends_where_a_day_has_no_value() -> None:
    values = [0.5, 1, None, 0.25]
    plot = lines("Share", "day", [*DAYS, "4 Mar"], [Series("offers", "s0", values)])
    assert [len(line.points.split()) for line in plot.lines] == [2, 1]
    assert [dot.words for dot in plot.dots] == [
        "1 Mar: 50% offers",
        "2 Mar: 100% offers",
        "4 Mar: 25% offers",
    ]
    high, low = plot.dots[1].y, plot.dots[2].y
    assert high < plot.dots[0].y < low


@pytest.mark.parametrize("highest", [0, 1, 3, 7, 10, 99, 101, 12_345, 1_000_000])
def test_grid_lines_are_few_and_reach_over_the_highest_bar(highest: int) -> None:
    plot = stacked("Texts", "day", ["1 Mar"], [Series("texts", "good", [highest])], count)
    values = [int(line.words.replace(",", "")) for line in plot.grid]
    assert values == sorted(set(values))
    assert values[0] == 0
    assert values[-1] >= highest
    assert 2 <= len(values) <= 7


def test_the_table_beside_a_plot_has_the_same_values() -> None:
    plot = stacked("Cost", "day", DAYS, TWO, amount)
    assert plot.heading == ["day", "delivered", "failed"]
    assert plot.rows == [["1 Mar", "8.00", "2.00"], ["2 Mar", "0.00", "0.00"], ["3 Mar", "3.00", ""]]


def test_a_year_has_few_labels() -> None:
    days = [f"day {day}" for day in range(366)]
    plot = stacked("Texts", "day", days, [Series("texts", "good", [1] * 366)], count)
    assert len(plot.labels) <= 12
    assert len(plot.bars) == 366


def test_names_from_users_are_escaped() -> None:
    hostile = '<script>alert("1")</script>&\'"'
    element = drawn(stacked(hostile, hostile, [hostile], [Series(hostile, "good", [1])], count))
    assert element.attrib["aria-label"] == hostile
    assert not [child for child in element.iter() if child.tag.endswith("script")]


def test_a_file_carries_its_colours_and_names_every_class_that_it_uses() -> None:
    text = render_plot(lines("Share", "day", DAYS, [Series("offers", "s0", [1, 1, 1])]))
    style = text[text.index("<style>") : text.index("</style>")]
    used = {name for found in re.findall(r'class="([^"]+)"', text) for name in found.split()}
    assert {name for name in used if f".{name} " not in style} <= {"plot"}


@pytest.mark.parametrize(
    ("value", "words"), [(1, "100%"), (0.5, "50%"), (0.123, "12.3%"), (0.9999, "100%"), (0, "0%")]
)
def test_a_share_is_in_percent(value: float, words: str) -> None:
    assert share(value) == words


def test_a_long_name_is_cut() -> None:
    assert shortened("x" * 20) == "x" * 20
    assert shortened("x" * 21) == "x" * 19 + "\u2026"
