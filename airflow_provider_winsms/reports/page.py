"""A page with the reports of ledgers: one HTML document that loads nothing.

As a file it has no script. Inside Airflow it has one, which takes over Airflow's choice of light or dark.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from airflow_provider_winsms.ledger.unresolved import DEFAULT_PREFIX, listing_command
from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.options import zone_of
from airflow_provider_winsms.reports import figures
from airflow_provider_winsms.reports.reader import BATCHES_AT_ONCE
from airflow_provider_winsms.reports.window import MOST_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date, datetime

    from airflow_provider_winsms.reports.charts import Plot
    from airflow_provider_winsms.reports.reader import Report
    from airflow_provider_winsms.reports.window import Window

_MOST_UNRESOLVED = 20


@dataclass(frozen=True, slots=True)
class Section:
    """The part of a page for one ledger: its report, or why there is none.

    :param prefix: the beginning of the names of its tables.
    :param balances: the balance of each connection of the gateway, in words.
    """

    conn_id: str
    prefix: str = DEFAULT_PREFIX
    report: Report | None = None
    error: str | None = None
    balances: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """What the address of a page asks for."""

    days: int
    time_zone: str
    dag_id: str | None = None
    run_id: str | None = None
    page: int = 1

    def href(self, *, page: int) -> str:
        """Return the relative address of another page of batches."""
        asked = replace(self, page=page)
        names = ("days", "time_zone", "dag_id", "run_id", "page")
        return "?" + urlencode({name: value for name in names if (value := getattr(asked, name)) is not None})


def render_page(sections: Sequence[Section], window: Window, query: Query | None = None) -> str:
    """Return the page.

    :param query: what its address asked for; ``None``: it is a file, without a form and links.
    """
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            sections=[_shown(section, window, query) for section in sections],
            window=window,
            query=query,
            style=stylesheet(),
            script=script() if query else "",
            most_days=MOST_DAYS,
            state_css=figures.STATE_CSS,
            moment=_moment_in(window.time_zone),
            counted=pluralize,
        )
    )


def render_notice(title: str, sentences: Sequence[str], lines: Sequence[str] = ()) -> str:
    """Return a page that says something instead.

    :param lines: of code.
    """
    template = _environment().get_template("notice.html.jinja")
    return template.render(title=title, sentences=sentences, lines=lines, style=stylesheet(), script=script())


def render_plot(plot: Plot) -> str:
    """Return one plot as an SVG file, with its colours in it."""
    macros: Any = _environment().get_template("charts.html.jinja").module
    return str(macros.svg(plot, _text("charts.css"))).strip() + "\n"


@cache
def stylesheet() -> str:
    """Return the styles of the page, as they stand in it."""
    return _text("charts.css") + _text("page.css")


@cache
def script() -> str:
    """Return the script of the page inside Airflow, as it stands in it."""
    return _text("theme.js")


def _text(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text("utf-8")


@cache
def _environment() -> Environment:
    return Environment(loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined)


def _moment_in(time_zone: str) -> Callable[[datetime], str]:
    zone = zone_of(time_zone)
    return lambda instant: instant.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _shown(section: Section, window: Window, query: Query | None) -> dict[str, Any]:
    """Return what the template shows of a ledger."""
    is_default = section.prefix == DEFAULT_PREFIX
    shown: dict[str, Any] = {
        "name": section.conn_id if is_default else f"{section.conn_id}, tables {section.prefix}*",
        "error": section.error,
    }
    if section.report is None:
        return shown
    report, first = section.report, BATCHES_AT_ONCE * ((query.page if query else 1) - 1) + 1
    listed = report.unresolved[:_MOST_UNRESOLVED]
    return shown | {
        "tiles": [*_tiles(report), *((f"balance of {name}", words, "") for name, words in section.balances)],
        "unresolved": [(each, each.commands(section.conn_id, section.prefix)) for each in listed],
        "unresolved_left_out": len(report.unresolved) - len(listed),
        "list_command": listing_command(section.conn_id, section.prefix),
        "plots": list(_plots(report, _dates_of(report, window, query))),
        "reasons": dict(sorted(report.reasons.items(), key=lambda item: -item[1])),
        "declined": sum(report.reasons.values()),
        "batches": [(batch, figures.states_of(batch)) for batch in report.batches],
        "first": first,
        "last": first + len(report.batches) - 1,
        "total": report.batch_total,
    }


def _dates_of(report: Report, window: Window, query: Query | None) -> Sequence[date]:
    """Return the days to draw: all, or those of a run."""
    found = [row["day"] for name in ("delivery_by_day", "cost_by_day") for row in report.answers[name]]
    if query is None or query.run_id is None or not found:
        return window.dates
    first, last = min(found), max(found)
    return [day for day in window.dates if first <= day <= last]


def _plots(report: Report, dates: Sequence[date]) -> Iterator[Plot]:
    answers = report.answers
    if len(dates) > 1:
        if deliveries := answers["delivery_by_day"]:
            yield figures.delivery_plot(deliveries, dates)
            yield figures.share_plot(deliveries, dates)
        yield from figures.cost_plots(answers["cost_by_day"], dates)
    if opt_outs := answers.get("opt_outs_by_day"):
        yield figures.opt_out_plot(opt_outs, dates)
    if late := answers.get("texts_after_opt_out"):
        yield figures.late_text_plot(late)


def _tiles(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield the sums: words, value, and a class for a value that asks for a person."""
    rows = report.answers["delivery_by_day"]
    accepted, delivered = (sum(row[column] for row in rows) for column in ("accepted", "delivered"))
    yield "batches", f"{report.batch_total:,}", ""
    yield "accepted texts", f"{accepted:,}", ""
    yield "delivered", f"{delivered / accepted:.1%}" if accepted else "none", ""
    yield "declined", f"{sum(report.reasons.values()):,}", ""
    doubts = len(report.unresolved)
    yield "unknown outcomes", f"{doubts:,}", "warn" if doubts else ""
    costs = report.answers["cost_by_day"]
    for currency in sorted({row["currency"] for row in costs}):
        total = sum(row["net_cost"] for row in costs if row["currency"] == currency)
        yield f"cost, {currency}", f"{total:,.2f}", ""
