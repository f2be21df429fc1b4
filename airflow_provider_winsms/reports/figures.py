"""The figures of a report: the answers of the views as plots."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.ledger.schema import MessageState
from airflow_provider_winsms.reports.charts import Series, amount, count, grouped, lines, stacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from airflow_provider_winsms.ledger.recent import BatchSummary
    from airflow_provider_winsms.reports.charts import Plot

    Row = Mapping[str, Any]

_MOST_DAGS = 6
_OTHERS = "other DAGs"

STATES_SHOWN: Mapping[str, tuple[MessageState, ...]] = {
    "delivered": (MessageState.DELIVERED,),
    "failed": (MessageState.FAILED, MessageState.NOT_SENT),
    "on the way": (
        MessageState.ACCEPTED,
        MessageState.SCHEDULED,
        MessageState.QUEUED,
        MessageState.SENT,
        MessageState.NOT_FOUND,
        MessageState.CANCELLING,
    ),
    "declined": (MessageState.DECLINED,),
    "cancelled": (MessageState.CANCELLED,),
    "unknown": (MessageState.UNKNOWN,),
}
"""The states of texts, by the words that a page has for them."""

STATE_CSS: Mapping[str, str] = {
    "delivered": "good",
    "failed": "bad",
    "on the way": "wait",
    "declined": "refused",
    "cancelled": "off",
    "unknown": "alarm",
    "not sent": "blank",
}
"""The class of the colour of each shown state."""


def delivery_plot(rows: Sequence[Row], dates: Sequence[date]) -> Plot:
    """Return the texts of each day, and how many of them arrived.

    :param rows: the answer of ``delivery_by_day``.
    """
    names = {"delivered": "delivered", "failed": "failed", "still_open": "on the way"}
    series = [Series(name, STATE_CSS[name], _by_day(rows, dates, column)) for column, name in names.items()]
    return stacked("Accepted texts by day", "day", _names_of(dates), series, count)


def share_plot(rows: Sequence[Row], dates: Sequence[date]) -> Plot:
    """Return the share of the accepted texts that arrived, by day and DAG.

    :param rows: the answer of ``delivery_by_day``.
    """
    series = [
        Series(name, css, _shares(_by_day(some, dates, "delivered"), _by_day(some, dates, "accepted")))
        for name, css, some in _by_dag(rows, "accepted")
    ]
    return lines("Share of the accepted texts that arrived", "day", _names_of(dates), series)


def cost_plots(rows: Sequence[Row], dates: Sequence[date]) -> list[Plot]:
    """Return the cost of the texts by day and DAG, with a plot for each currency.

    :param rows: the answer of ``cost_by_day``.
    """
    return [
        stacked(
            f"Cost by day, in {currency}",
            "day",
            _names_of(dates),
            [
                Series(name, css, _by_day(some, dates, "net_cost"))
                for name, css, some in _by_dag(
                    [row for row in rows if row["currency"] == currency], "net_cost"
                )
            ],
            amount,
        )
        for currency in sorted({row["currency"] for row in rows})
    ]


def opt_out_plot(rows: Sequence[Row], dates: Sequence[date]) -> Plot:
    """Return the opt-outs of each day.

    :param rows: the answer of ``opt_outs_by_day``.
    """
    series = [Series("opted out", "refused", _by_day(rows, dates, "opt_outs"))]
    return stacked("Opt-outs by day", "day", _names_of(dates), series, count)


def late_text_plot(rows: Sequence[Row]) -> Plot:
    """Return the texts to numbers that had opted out, by whole days since.

    :param rows: the answer of ``texts_after_opt_out``.
    """
    days = range(max((row["days_since"] for row in rows), default=0) + 1)
    names = {
        "stopped": ("stopped", "off"),
        "in_doubt": ("in doubt", "wait"),
        "sent": ("sent: must be 0", "alarm"),
    }
    series = [
        Series(name, css, [sum(row[column] for row in rows if row["days_since"] == day) for day in days])
        for column, (name, css) in names.items()
    ]
    title = "Texts to numbers that had opted out"
    return grouped(title, "whole days since", [f"day {day}" for day in days], series, count)


def states_of(batch: BatchSummary) -> dict[str, tuple[int, str]]:
    """Return how many texts of a batch are in each shown state, with the class of its colour."""
    shown = {name: sum(batch.states.get(state, 0) for state in some) for name, some in STATES_SHOWN.items()}
    shown["not sent"] = max(0, batch.recipients - sum(shown.values()))
    return {name: (texts, STATE_CSS[name]) for name, texts in shown.items() if texts}


def _names_of(dates: Sequence[date]) -> list[str]:
    return [f"{day.day} {day:%b}" for day in dates]


def _by_day(rows: Sequence[Row], dates: Sequence[date], column: str) -> list[float]:
    sums: defaultdict[date, float] = defaultdict(float)
    for row in rows:
        sums[row["day"]] += row[column] or 0
    return [sums[day] for day in dates]


def _shares(parts: Sequence[float], wholes: Sequence[float]) -> list[float | None]:
    return [part / whole if whole else None for part, whole in zip(parts, wholes, strict=True)]


def _by_dag(rows: Sequence[Row], column: str) -> Iterator[tuple[str, str, list[Row]]]:
    """Yield the rows of the DAGs with the highest sums, and those of all others together."""
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row["dag_id"]] += row[column] or 0
    # In the order of their names, so that a DAG has one colour in all plots of a ledger, if it can.
    named = sorted(dag_id for dag_id, _ in sums.most_common(_MOST_DAGS))
    for index, dag_id in enumerate(named):
        yield dag_id, f"s{index}", [row for row in rows if row["dag_id"] == dag_id]
    if others := [row for row in rows if row["dag_id"] not in named]:
        yield _OTHERS, "blank", others
