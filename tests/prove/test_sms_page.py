"""The page inside Airflow: a real API server, real logins, and a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from airflow_provider_winsms.links.sms import OF_RUN
from airflow_provider_winsms.sandbox import Sandbox
from tests.ledger.batches import FIRST, ledger, messages, record
from tests.ledger.batches import batch as opened_batch
from tests.prove.api_server import DAG_ID, RUN_ID, ApiServer
from tests.reports.world import HISTORY, recent, texts, write, write_opt_outs
from tests.support import databases
from tests.support.lists import Lists

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.support.databases import Database

pytestmark = pytest.mark.airflow

NUMBER, TEXT, PASSWORD, API_KEY = (
    "27825550101",
    "Our little secret",
    "secret-of-a-broken-ledger",
    "key-1f6c-page",
)
SECRETS = ("2782555", "825550101", TEXT, PASSWORD, API_KEY)
MANY = 100_000
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def fill(database: Database, now: datetime) -> None:
    """Write two weeks of history, the batch of a run, and a request whose outcome is unknown."""
    history = recent(texts(number=NUMBER, number_key_id=None), now)
    write(database, history)
    last = [text for text in history if text["dag_id"] == DAG_ID][-80:]
    write(database, [{**text, "run_id": RUN_ID, "batch_id": "a" * 32} for text in last])
    write_opt_outs(database, recent(HISTORY.periods, now))
    with ledger(database, text="keep") as tables:
        tables.open(opened_batch())
        tables.claim(FIRST, record(), messages(text=TEXT))


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of an API server that knows a ledger, a broken one, and a gateway."""
    with pytest.MonkeyPatch.context() as patch, Sandbox(api_key=API_KEY, speed=0, credits=188) as sandbox:
        database = databases.sqlite(tmp_path_factory.mktemp("ledger") / "ledger.db")
        database.let_tasks_find_it(patch)
        fill(database, datetime.now(UTC))
        broken = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "x", "password": PASSWORD}
        yield database.environment | {
            "AIRFLOW_CONN_BROKEN": json.dumps(broken),
            "AIRFLOW_CONN_WINSMS_DEFAULT": Lists(sandbox).connection,
            "AIRFLOW__WINSMS__LEDGER_CONN_IDS": "warehouse, broken",
            "AIRFLOW__WINSMS__OPT_OUTS_TABLES": "warehouse:opt_outs",
        }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("airflow"), variables) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser of this machine; without one, tests are skipped, but fail in the hosted workflow."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        reason = f"NO BROWSER on this machine: none of {', '.join(_BROWSERS)}."
        pytest.fail(reason) if "GITHUB_ACTIONS" in os.environ else pytest.skip(reason)
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


@contextmanager
def logged_in(browser: Browser, server: ApiServer, user: str, **context: Any) -> Iterator[Page]:
    """Log a user in through Airflow's own form."""
    with browser.new_context(viewport={"width": 1400, "height": 1600}, **context) as opened:
        page = opened.new_page()
        page.goto(f"{server.url}/")
        page.fill('input[name="username"]', user)
        page.fill('input[name="password"]', user * 2)
        page.keyboard.press("Enter")
        page.get_by_role("link", name="SMS", exact=True).wait_for()
        yield page


def open_from_menu(page: Page) -> Any:
    page.get_by_role("link", name="SMS", exact=True).click()
    frame = page.frame_locator('iframe[title="SMS"]')
    frame.locator("h1").wait_for()
    return frame


# Who may see it


def test_a_stranger_is_told_to_log_in(server: ApiServer) -> None:
    answer = server.get("sms/")
    assert answer.status_code == 401
    assert "Log in to Airflow" in answer.text
    assert "warehouse" not in answer.text


def test_a_user_who_may_not_read_connections_sees_nothing_of_them(server: ApiServer) -> None:
    for parameters in ({}, {"dag_id": DAG_ID, "run_id": RUN_ID}):
        answer = server.get("sms/", "vic", **parameters)
        assert answer.status_code == 403
        assert "You may read none of the connections" in answer.text
        assert "warehouse" not in answer.text


@pytest.mark.parametrize("address", ["sms/docs", "sms/redoc", "sms/openapi.json", "sms/anything"])
def test_no_other_route_exists(server: ApiServer, address: str) -> None:
    assert server.get(address, "ann").status_code == 404


@pytest.mark.parametrize("user", [None, "ann"])
def test_the_description_of_airflow_s_routes_has_none_of_the_page(
    server: ApiServer, user: str | None
) -> None:
    paths = server.get("openapi.json", user).json()["paths"]
    assert len(paths) > 50
    assert not [path for path in paths if "sms" in path]


# What it shows


def test_a_ledger_that_is_down_costs_only_its_own_section(server: ApiServer) -> None:
    page = server.get("sms/", "ann").text
    assert "Ledger warehouse" in page
    assert "accepted texts" in page
    broken = page[page.index("Ledger broken") :]
    assert '<p class="error">The database of the connection' in broken
    assert PASSWORD not in page


def test_it_shows_what_the_ledger_recorded(server: ApiServer) -> None:
    page = server.get("sms/", "ann").text
    tiles = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert tiles["batches"] == str(len({text["batch_id"] for text in texts()}) + 2)
    assert tiles["unknown outcomes"] == "1"
    assert tiles["balance of winsms_default"] == "188.0 credits"
    assert "--ledger-conn-id warehouse --not-accepted" in page
    assert "Opt-outs by day" in page
    assert "opted_out" in page


def test_a_run_shows_its_own_batches_only(server: ApiServer) -> None:
    page = server.get("sms/", "ann", dag_id=DAG_ID, run_id=RUN_ID).text
    assert "Batches 1 to 1 of 1." in page
    assert "appointments" not in page
    assert f"run {RUN_ID}" in page


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"days": "0"}, "days: Input should be greater than or equal to 1."),
        ({"days": "367"}, "days: Input should be less than or equal to 366."),
        ({"days": "x<b>"}, "days: Input should be a valid integer"),
        ({"page": "0"}, "page: Input should be greater"),
        ({"time_zone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"dag_id": "x" * 300}, "dag_id: String should have at most 250 characters."),
    ],
)
def test_a_wrong_address_is_explained(server: ApiServer, parameters: dict[str, str], words: str) -> None:
    answer = server.get("sms/", "ann", **parameters)
    assert answer.status_code == 422
    assert words in answer.text
    assert "<b>" not in answer.text


def test_numbers_texts_and_secrets_are_nowhere(server: ApiServer) -> None:
    page = server.get("sms/", "ann").text + server.get("sms/", "ann", dag_id=DAG_ID, run_id=RUN_ID).text
    assert [secret for secret in SECRETS if secret in page] == []
    assert [secret for secret in SECRETS if secret in server.log] == []


def test_the_policy_lets_nothing_else_run_or_load(server: ApiServer) -> None:
    policy = server.get("sms/", "ann").headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["frame-ancestors"] == "'self'"
    assert all(rules[name].startswith("'sha256-") for name in ("style-src", "script-src"))


def test_without_a_ledger_it_says_how_to_get_one(
    tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str]
) -> None:
    without = {name: value for name, value in variables.items() if "__WINSMS__" not in name}
    with ApiServer(tmp_path_factory.mktemp("without"), without) as server:
        answer = server.get("sms/", "vic")
        assert answer.status_code == 200
        assert answer.text.count("<p>") == 1
        assert answer.text.count("<code>") == 3
        assert "ledger_conn_ids = warehouse" in answer.text
        assert server.get("sms/").status_code == 401


def test_a_hundred_thousand_batches_are_no_burden(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = databases.sqlite(tmp_path_factory.mktemp("many") / "ledger.db")
    database.let_tasks_find_it(monkeypatch)
    now = datetime.now(UTC)
    one = recent(texts(), now)[0]
    write(
        database,
        [
            {
                **one,
                "batch_id": f"{index:032x}",
                "dag_id": f"dag_{index % 40}",
                "submitted_at": now - timedelta(minutes=index % 40_000),
                "state_at": now,
            }
            for index in range(MANY)
        ],
    )
    variables = database.environment | {"AIRFLOW__WINSMS__LEDGER_CONN_IDS": "warehouse"}
    with ApiServer(tmp_path_factory.mktemp("airflow-of-many"), variables) as server:
        answer = server.get("sms/", "ann")
        assert "Batches 1 to 50 of 100,000." in answer.text
        assert "did not answer" not in answer.text
        assert len(answer.content) < 200_000


# In a browser


def test_a_person_opens_it_from_the_menu_and_asks_for_a_dag(server: ApiServer, browser: Browser) -> None:
    with logged_in(browser, server, "ann") as page:
        refusals: list[str] = []
        page.on("console", lambda message: refusals.append(message.text))
        frame = open_from_menu(page)
        assert frame.locator("h1").inner_text() == "SMS"
        assert frame.locator("svg.plot").count() == 4
        frame.get_by_label("DAG", exact=True).fill(DAG_ID)
        frame.get_by_role("button", name="Show").click()
        page.wait_for_url(f"**dag_id={DAG_ID}*")
        frame.get_by_text(f"{DAG_ID}.send_offer").first.wait_for()
        assert frame.get_by_text("appointments").count() == 0
        assert not [words for words in refusals if "Content Security Policy" in words]


def test_a_run_has_a_tab_with_its_batches(server: ApiServer, browser: Browser) -> None:
    with logged_in(browser, server, "ann") as page:
        page.goto(f"{server.url}/dags/{DAG_ID}/runs/{RUN_ID}")
        page.locator(f'a[href*="runs/"][href$="/plugin/{OF_RUN}"]').click()
        frame = page.frame_locator('iframe[title="SMS"]')
        frame.get_by_text("Batches 1 to 1 of 1.").wait_for()
        frame.get_by_label("Time zone").fill("Africa/Johannesburg")
        frame.get_by_role("button", name="Show").click()
        frame.get_by_text("Days of Africa/Johannesburg.").wait_for()
        assert frame.get_by_text("Batches 1 to 1 of 1.").count() == 1


def test_a_user_who_may_not_see_it_reads_why_in_the_menu_and_in_the_tab(
    server: ApiServer, browser: Browser
) -> None:
    with logged_in(browser, server, "vic") as page:
        frame = open_from_menu(page)
        assert frame.locator("h1").inner_text() == "You may not see this page."
        page.goto(f"{server.url}/dags/{DAG_ID}/runs/{RUN_ID}/plugin/{OF_RUN}")
        frame.get_by_text("You may read none of the connections").wait_for()


def test_it_takes_over_the_light_or_dark_of_airflow(server: ApiServer, browser: Browser) -> None:
    grounds = {}
    with logged_in(browser, server, "ann", color_scheme="light") as page:
        for theme in ("light", "dark"):
            page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
            page.reload()
            frame = open_from_menu(page)
            grounds[theme] = frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 20, 24)"}


def test_axe_finds_no_violation_in_light_and_dark(server: ApiServer, browser: Browser) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with logged_in(browser, server, "ann") as page:
        for theme, parameters in product(
            ("light", "dark"), ("", f"?dag_id={DAG_ID}&run_id={RUN_ID}", "?days=0")
        ):
            page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
            page.goto(f"{server.url}/sms/{parameters}")
            results = Axe().run(page)
            assert results.violations_count == 0, (theme, parameters, results.generate_report())


def test_it_works_behind_a_base_url(
    tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str], browser: Browser
) -> None:
    with (
        ApiServer(tmp_path_factory.mktemp("behind"), variables, path="/data/airflow") as server,
        logged_in(browser, server, "ann") as page,
    ):
        frame = open_from_menu(page)
        assert frame.locator("svg.plot").count() == 4
        page.reload()
        frame.get_by_text("Batches 1 to").wait_for()
        page.goto(f"{server.url}/dags/{DAG_ID}/runs/{quote(RUN_ID, safe='')}/plugin/{OF_RUN}")
        frame.get_by_text("Batches 1 to 1 of 1.").wait_for()
