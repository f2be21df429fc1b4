"""The page of a report: one HTML file without scripts, numbers and texts."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from airflow_provider_winsms.ledger.schema import MessageState
from airflow_provider_winsms.reports import figures
from airflow_provider_winsms.reports.page import Query, Section, render_page
from tests.ledger.batches import FIRST, ledger, messages, record
from tests.ledger.batches import batch as opened_batch
from tests.reports.world import HISTORY, WINDOW, report_of, texts, write, write_opt_outs

if TYPE_CHECKING:
    from tests.support.databases import Database

HOSTILE = '<img src=x onerror="alert(1)">'
QUERY = Query(WINDOW.days, WINDOW.time_zone)


def rendered(
    database: Database, *, conn_id: str = "warehouse", query: Query | None = None, **given: Any
) -> str:
    page = query.page if query else 1
    section = Section(conn_id, report=report_of(database, page=page, **given))
    return render_page([section], WINDOW, query)


class Tags(HTMLParser):
    """Every tag of a page, with the open ones in their order."""

    VOID = frozenset({"meta", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_tag_is_closed_and_every_plot_is_valid_xml(sqlite: Database) -> None:
    write(sqlite, texts())
    write_opt_outs(sqlite, HISTORY.periods)
    page = rendered(sqlite, opt_outs="opt_outs")
    assert Tags(page).open == []
    plots = re.findall(r'<svg class="plot".*?</svg>', page, re.DOTALL)
    assert len(plots) == 5
    titles = [ET.fromstring(plot).attrib["aria-label"] for plot in plots]  # noqa: S314 - our own SVG
    assert titles == [
        "Accepted texts by day",
        "Share of the accepted texts that arrived",
        "Cost by day, in credits",
        "Opt-outs by day",
        "Texts to numbers that had opted out",
    ]


@pytest.mark.parametrize(("query", "scripts"), [(None, 0), (QUERY, 1)])
def test_a_file_has_no_script_and_no_page_loads_anything(
    sqlite: Database, query: Query | None, scripts: int
) -> None:
    write(sqlite, texts())
    tags = Tags(rendered(sqlite, query=query))
    names = [tag for tag, _ in tags.found]
    assert names.count("script") == scripts
    assert not {"link", "img", "iframe", "object"} & set(names)
    for tag, attributes in tags.found:
        assert not [name for name in attributes if name in {"src", "style"} or name.startswith("on")], tag


def test_names_from_dags_are_escaped(sqlite: Database) -> None:
    write(
        sqlite, texts(dag_id=HOSTILE, task_id=HOSTILE, run_id=HOSTILE, sms_conn_id=HOSTILE, currency=HOSTILE)
    )
    page = rendered(sqlite, conn_id=HOSTILE, query=Query(14, "UTC", HOSTILE, HOSTILE))
    assert "<img" not in page
    assert "&lt;img" in page


def test_it_shows_no_number_no_hash_and_no_text(sqlite: Database) -> None:
    write(sqlite, texts(number="27825550101", number_key_id=None))
    with ledger(sqlite, text="keep") as tables:
        tables.open(opened_batch())
        tables.claim(FIRST, record(), messages(text="Our little secret"))
    page = rendered(sqlite, query=QUERY)
    assert "secret" not in page
    assert not re.search(r"2782555|825550101|[0-9a-f]{64}", page)


def test_the_sums_are_those_of_the_history(sqlite: Database) -> None:
    write(sqlite, texts())
    page = rendered(sqlite)
    tiles = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    states = [text["state"] for text in texts()]
    accepted = len(states) - states.count("declined") - states.count("cancelled")
    assert tiles["accepted texts"] == f"{accepted:,}"
    assert tiles["delivered"] == f"{states.count('delivered') / accepted:.1%}"
    assert tiles["declined"] == f"{states.count('declined'):,}"
    assert tiles["unknown outcomes"] == "0"
    cost = sum(text["cost"] - text["refund"] for text in texts())
    assert tiles["cost, credits"] == f"{cost:,.2f}"


def test_a_request_with_an_unknown_outcome_comes_with_its_commands(sqlite: Database) -> None:
    with ledger(sqlite) as tables:
        tables.open(opened_batch())
        tables.claim(FIRST, record(), messages())
    page = rendered(sqlite)
    assert "--ledger-conn-id warehouse --not-accepted</code>" in page
    assert "--ledger-conn-id warehouse --accepted ID_1 ... ID_3</code>" in page


def test_requests_for_which_there_is_no_room_are_listed_by_a_command(sqlite: Database) -> None:
    with ledger(sqlite) as tables:
        tables.open(opened_batch())
        tables.claim(FIRST, record(), messages())
    report = report_of(sqlite)
    many = replace(report, unresolved=[*report.unresolved] * 25)
    page = render_page([Section("my warehouse", "texts_", many)], WINDOW)
    command = "airflow sms unresolved --ledger-conn-id &#39;my warehouse&#39; --ledger-prefix texts_"
    assert f"5 more: <code>{command}</code>" in page
    assert page.count("--not-accepted</code>") == 20


def test_a_ledger_that_cannot_be_read_says_why_beside_the_others(sqlite: Database) -> None:
    write(sqlite, texts())
    sections = [Section("broken", error="It is down & <out>."), Section("good", report=report_of(sqlite))]
    page = render_page(sections, WINDOW)
    assert "It is down &amp; &lt;out&gt;." in page
    assert "Ledger good" in page
    assert "accepted texts" in page


def test_links_lead_to_the_pages_of_batches_around_it(sqlite: Database) -> None:
    one = texts()[0]
    write(sqlite, [{**one, "batch_id": f"{index:032x}"} for index in range(120)])
    pages = [rendered(sqlite, query=Query(14, "UTC", one["dag_id"], page=page)) for page in (1, 2, 3)]
    links = [re.findall(r'<a href="(.*?)">(\w+)</a>', page) for page in pages]
    address = "?days=14&amp;time_zone=UTC&amp;dag_id=appointments&amp;page="
    assert links == [
        [(f"{address}2", "Older")],
        [(f"{address}1", "Newer"), (f"{address}3", "Older")],
        [(f"{address}2", "Newer")],
    ]
    assert "Batches 101 to 120 of 120." in pages[2]
    assert "<a " not in rendered(sqlite)


def test_an_empty_ledger_says_so(sqlite: Database) -> None:
    write(sqlite, [])
    page = rendered(sqlite)
    assert "No batch was sent on these days." in page
    assert "<dt>delivered</dt><dd>none</dd>" in page


@pytest.mark.parametrize("state", MessageState)
def test_every_state_of_a_text_is_shown_as_one(state: MessageState) -> None:
    assert sum(state in states for states in figures.STATES_SHOWN.values()) == 1
