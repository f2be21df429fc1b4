"""The Grafana dashboard, and its queries on views in a real PostgreSQL.

Grafana itself does not run here: its variables and macros are replaced as its documentation says.
"""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from grafana_foundation_sdk.models.dashboard import Dashboard

from airflow_provider_winsms.warehouse.view_queries import VIEWS
from airflow_provider_winsms.warehouse.views import SourceTables, create_views
from scripts.demo_history import COLUMNS, DAYS, FIRST_DAY, History
from tests.reports.world import write_table

if TYPE_CHECKING:
    from tests.support.databases import Database

PAGE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "docs" / "grafana" / "sms.json").read_text())
GUIDE = (Path(__file__).parents[1] / "docs" / "grafana.md").read_text()
PANELS: list[dict[str, Any]] = PAGE["panels"]
TIMES = ("2026-03-02T00:00:00Z", "2026-03-15T23:59:59Z")
DAGS = "'appointments','invoices','offers'"


@pytest.fixture
def database(postgres: Database) -> Database:
    """The views over the fictional history, in a schema that must be named."""
    for table, rows in History().run().tables().items():
        write_table(postgres, table, rows)
    tables = SourceTables("deliveries", "incoming", "opt_outs", schema=postgres.schema)
    create_views(postgres.hook(), tables, "sms_")
    return postgres


def as_grafana_asks(query: str, schema: str | None) -> str:
    """Return a query with Grafana's variables and macros replaced."""
    since, until = TIMES
    query = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN '{since}' AND '{until}'", query)
    for word, value in {"schema:raw": schema, "prefix:raw": "sms_", "dag:sqlstring": DAGS}.items():
        query = query.replace(f"${{{word}}}", str(value))
    assert "$" not in query, query
    return query


def rows_of(database: Database, query: str) -> list[dict[str, Any]]:
    with closing(database.connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(as_grafana_asks(query, database.schema))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_each_panel_has_an_answer(database: Database, panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    rows = rows_of(database, target["rawSql"])
    assert rows
    if target["format"] == "time_series":
        days = {row["time"].date() for row in rows}
        assert days <= {(FIRST_DAY + timedelta(days=day)).date() for day in range(DAYS)}
        values = [name for name in rows[0] if name not in {"time", "metric"}]
        assert all(
            isinstance(float(row[name]), float) for row in rows for name in values if row[name] is not None
        )


def test_the_figures_are_those_of_the_history(database: Database) -> None:
    titled = {panel["title"]: panel["targets"][0]["rawSql"] for panel in PANELS}
    states = [text["state"] for text in History().run().deliveries]
    accepted = len(states) - states.count("declined") - states.count("cancelled")
    assert rows_of(database, titled["Accepted texts"]) == [{"accepted": accepted}]
    (share,) = rows_of(database, titled["Delivered"])
    assert float(share["delivered"]) == pytest.approx(states.count("delivered") / accepted)
    assert rows_of(database, titled["Texts sent after an opt-out"]) == [{"sent": 0}]


def test_the_user_that_is_shown_reads_every_view_and_no_table(database: Database) -> None:
    (block,) = re.findall(r"^ *```sql\n(.*?)^ *```$", GUIDE, re.DOTALL | re.MULTILINE)
    role = f"grafana_{database.schema}"
    for word, value in {"'...'": "'secret'", "public": str(database.schema), "grafana": role}.items():
        block = block.replace(word, value)
    with closing(database.connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(block)
        cursor.execute(f"SET ROLE {role}")
        for panel in PANELS:
            cursor.execute(as_grafana_asks(panel["targets"][0]["rawSql"], database.schema))
        for table in COLUMNS:
            cursor.execute("SELECT has_table_privilege(%s, 'SELECT')", [database.named(table)])
            assert cursor.fetchone() == (False,)
        connection.rollback()


def test_the_variable_lists_every_dag(database: Database) -> None:
    (query,) = [each["query"] for each in PAGE["templating"]["list"] if each["name"] == "dag"]
    assert [row["dag_id"] for row in rows_of(database, query)] == ["appointments", "invoices", "offers"]


def test_no_panel_reads_a_table() -> None:
    read = {name for panel in PANELS for name in re.findall(r'raw\}(\w+)"', panel["targets"][0]["rawSql"])}
    assert read <= {view.name for view in VIEWS}
    assert not read & set(COLUMNS)


def test_panels_fill_the_grid_and_do_not_overlap() -> None:
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken)) == 24 * (max(y for _, y in taken) + 1)
    assert [panel["id"] for panel in PANELS] == list(range(1, len(PANELS) + 1))


def test_grafana_s_own_model_knows_every_field() -> None:
    known = {name: value for name, value in PAGE.items() if name != "__inputs"}
    read = Dashboard.from_json(known).to_json()
    assert lost(known, read) == []


def test_a_field_that_grafana_does_not_know_would_be_found() -> None:
    odd = {**PAGE, "timezome": "utc"}
    assert lost(odd, Dashboard.from_json(odd).to_json()) == [".__inputs", ".timezome"]


def lost(given: Any, kept: Any, path: str = "") -> list[str]:
    """Return the paths of values that a reading dropped or changed."""
    kept = kept.to_json() if hasattr(kept, "to_json") else kept
    if isinstance(given, dict):
        if not isinstance(kept, dict):
            return [path]
        return [each for name in given for each in lost(given[name], kept.get(name), f"{path}.{name}")]
    if isinstance(given, list):
        if not isinstance(kept, list) or len(given) != len(kept):
            return [path]
        pairs = enumerate(zip(given, kept, strict=True))
        return [each for index, pair in pairs for each in lost(*pair, f"{path}[{index}]")]
    return [] if given == kept else [path]
