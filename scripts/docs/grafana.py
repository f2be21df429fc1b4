"""A Grafana dashboard over the views in a PostgreSQL, as JSON that Grafana imports."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Json = dict[str, Any]

_SOURCE = {"type": "grafana-postgresql-datasource", "uid": "${datasource}"}
_WIDTH = 24
_CONSTANTS = {"schema": ("Schema of the views", "public"), "prefix": ("Prefix of the views", "sms_")}
"""What Grafana asks for at the import, with labels and defaults. No viewer can change them."""

_WORDS = {
    "time": 'CAST(day AS TIMESTAMP) AS "time"',
    "days": "$__timeFilter(day) AND dag_id IN (${dag:sqlstring})",
    "starts": "$__timeFilter(started_at) AND dag_id IN (${dag:sqlstring})",
}
"""What words after an ``@`` stand for in the queries. All others are views."""


@dataclass(frozen=True)
class Panel:
    """One panel.

    :param kind: Grafana's name of the plugin.
    :param unit: Grafana's name of the unit.
    :param sql: its query, with words after an ``@``.
    :param size: columns of 24, and rows.
    :param alarm: the value from which it is red.
    :param colours: of columns, by their names.
    """

    title: str
    kind: str
    sql: str
    description: str
    unit: str = "short"
    size: tuple[int, int] = (12, 8)
    is_stacked: bool = False
    alarm: float | None = None
    colours: Mapping[str, str] = field(default_factory=dict)


_COLOURS = {"delivered": "green", "failed": "red", "on the way": "blue"}

PANELS = (
    Panel(
        "Accepted texts",
        "stat",
        "SELECT SUM(accepted) AS accepted FROM @delivery_by_day WHERE @days",
        "Texts that the gateway accepted and that were not cancelled.",
        size=(4, 4),
    ),
    Panel(
        "Delivered",
        "stat",
        "SELECT SUM(delivered) * 1.0 / NULLIF(SUM(accepted), 0) AS delivered "
        "FROM @delivery_by_day WHERE @days",
        "The share of the accepted texts that arrived, as far as reports were read.",
        unit="percentunit",
        size=(4, 4),
    ),
    Panel(
        "On the way",
        "stat",
        "SELECT SUM(still_open) AS still_open FROM @delivery_by_day WHERE @days",
        "Texts without a final state yet.",
        size=(4, 4),
    ),
    Panel(
        "Cost",
        "stat",
        "SELECT currency, SUM(net_cost) AS net_cost FROM @cost_by_day WHERE @days GROUP BY currency",
        "Charges less refunds, in each currency.",
        size=(6, 4),
    ),
    Panel(
        "Texts sent after an opt-out",
        "stat",
        "SELECT sent FROM @opt_out_check",
        "Texts to numbers that had opted out, at any time. It must be 0.",
        size=(6, 4),
        alarm=1,
    ),
    Panel(
        "Accepted texts by day",
        "timeseries",
        'SELECT @time, SUM(delivered) AS delivered, SUM(failed) AS failed, SUM(still_open) AS "on the way" '
        "FROM @delivery_by_day WHERE @days GROUP BY day ORDER BY day",
        "How many arrived, failed, or have no final state yet.",
        is_stacked=True,
        colours=_COLOURS,
    ),
    Panel(
        "Share of the accepted texts that arrived",
        "timeseries",
        'SELECT @time, dag_id AS metric, rate AS "rate" FROM @delivery_by_day WHERE @days ORDER BY day',
        "By day and DAG.",
        unit="percentunit",
    ),
    Panel(
        "Cost by day",
        "timeseries",
        "SELECT @time, dag_id || ', ' || currency AS metric, net_cost "
        "FROM @cost_by_day WHERE @days ORDER BY day",
        "Charges less refunds, by DAG and currency.",
        is_stacked=True,
    ),
    Panel(
        "Time to deliver",
        "timeseries",
        'SELECT @time, MAX(median_seconds) AS "median", MAX(p95_seconds) AS "95 percent" '
        "FROM @delivery_time_by_day WHERE @days GROUP BY day ORDER BY day",
        "From the time of a text to its arrival, for the slowest of the DAGs.",
        unit="s",
    ),
    Panel(
        "Declined texts by day",
        "timeseries",
        "SELECT @time, SUM(opted_out) AS opted_out, SUM(do_not_contact) AS do_not_contact, "
        "SUM(bad_number) AS bad_number, SUM(other_reasons) AS other_reasons "
        "FROM @declined_by_day WHERE @days GROUP BY day ORDER BY day",
        "By reason.",
        is_stacked=True,
    ),
    Panel(
        "Opt-outs by day",
        "timeseries",
        "SELECT @time, opt_outs, still_out FROM @opt_outs_by_day WHERE $__timeFilter(day) ORDER BY day",
        "How often a number opted out, of whatever DAG, and how many of these are on the list now.",
    ),
    Panel(
        "Replies by campaign",
        "table",
        "SELECT started_at, dag_id, run_id, task_id, recipients, replies, reply_rate "
        "FROM @replies_by_campaign "
        "WHERE @starts ORDER BY started_at DESC",
        "A campaign is a task of a DAG run.",
    ),
    Panel(
        "Opt-outs by campaign",
        "table",
        "SELECT started_at, dag_id, run_id, task_id, recipients, opt_outs, opt_out_rate "
        "FROM @opt_outs_by_campaign "
        "WHERE @starts ORDER BY started_at DESC",
        "An opt-out belongs to the last text before it.",
    ),
)


def dashboard() -> str:
    """Return the dashboard."""
    found: Json = {
        "__inputs": [
            {"name": f"VAR_{name.upper()}", "type": "constant", "label": label, "value": value}
            for name, (label, value) in _CONSTANTS.items()
        ],
        "uid": "airflow-sms",
        "title": "SMS",
        "description": "What Airflow sent as SMS, over the views of airflow-provider-winsms.",
        "tags": ["airflow", "sms"],
        "editable": True,
        "graphTooltip": 1,
        # A day of the views has no time. In UTC it stands where it is.
        "timezone": "utc",
        "schemaVersion": 39,
        "time": {"from": "now-30d", "to": "now"},
        "refresh": "5m",
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }
    return json.dumps(found, indent=2) + "\n"


def _sql(query: str) -> str:
    """Return a query with its words replaced."""

    def replace(found: re.Match[str]) -> str:
        view = f'"${{schema:raw}}"."${{prefix:raw}}{found[1]}"'
        return _WORDS.get(found[1], view)

    return re.sub(r"@(\w+)", replace, query)


def _variables() -> Iterator[Json]:
    yield {"name": "datasource", "type": "datasource", "label": "PostgreSQL", "query": _SOURCE["type"]}
    for name in _CONSTANTS:
        value = f"${{VAR_{name.upper()}}}"
        current = {"text": value, "value": value}
        yield {"name": name, "type": "constant", "hide": 2, "query": value, "current": current}
    yield {
        "name": "dag",
        "type": "query",
        "label": "DAG",
        "datasource": _SOURCE,
        "query": _sql("SELECT DISTINCT dag_id FROM @declined_by_day ORDER BY dag_id"),
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels() -> Iterator[Json]:
    x = y = 0
    for number, panel in enumerate(PANELS, start=1):
        width, height = panel.size
        yield _panel(panel, number, {"x": x, "y": y, "w": width, "h": height})
        x += width
        if x == _WIDTH:
            x, y = 0, y + height


def _panel(panel: Panel, number: int, place: Json) -> Json:
    is_series = panel.kind == "timeseries"
    options: Json = {"reduceOptions": {"values": True, "calcs": ["lastNotNull"], "fields": ""}}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "gridPos": place,
        "datasource": _SOURCE,
        "targets": [
            {
                "refId": "A",
                "datasource": _SOURCE,
                "format": "time_series" if is_series else "table",
                "rawQuery": True,
                "editorMode": "code",
                "rawSql": _sql(panel.sql),
            }
        ],
        "options": options if panel.kind == "stat" else {},
        "fieldConfig": {"defaults": _defaults(panel), "overrides": list(_overrides(panel))},
    }


def _defaults(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm})
    found: Json = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        drawn = {"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"}}
        found["custom"] = drawn if panel.is_stacked else {"drawStyle": "line", "showPoints": "always"}
    return found


def _overrides(panel: Panel) -> Iterator[Json]:
    for name, colour in panel.colours.items():
        yield {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
