"""What a report reads from a ledger: the figures of the views, and the recent batches."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.reports.reader import BATCHES_AT_ONCE
from airflow_provider_winsms.reports.window import MOST_DAYS, Window
from tests.ledger.batches import FIRST as FIRST_REQUEST
from tests.ledger.batches import batch as opened_batch
from tests.ledger.batches import ledger, messages, record
from tests.reports.world import HISTORY, WINDOW, report_of, texts, write, write_opt_outs
from tests.transfers.view_model import EXPECTED, World, ordered, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.databases import Database

MODEL = World(
    deliveries=texts(),
    opt_outs=list({row["number"]: row for row in HISTORY.periods}.values()),
    opt_outs_history=HISTORY.periods,
)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres_by_path", marks=pytest.mark.database),
        pytest.param("mariadb", marks=pytest.mark.database),
    ]
)
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


def cells(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return ordered([tuple(plain(name, cell) for name, cell in row.items()) for row in rows])


def agree(found: Sequence[Mapping[str, Any]], expected: Sequence[tuple[Any, ...]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(cells(found), ordered(list(expected)), strict=True):
        assert one == tuple(pytest.approx(its, abs=1e-4) if isinstance(its, float) else its for its in other)


def test_the_figures_are_those_of_the_views(database: Database) -> None:
    write(database, texts())
    write_opt_outs(database, HISTORY.periods)
    report = report_of(database, opt_outs="opt_outs")
    assert set(report.answers) == {"delivery_by_day", "cost_by_day", "opt_outs_by_day", "texts_after_opt_out"}
    for name, rows in report.answers.items():
        agree(rows, list(EXPECTED[name](MODEL)))


def test_batches_come_latest_first_with_the_states_of_their_texts(database: Database) -> None:
    write(database, texts())
    report = report_of(database)
    by_batch: dict[str, Counter[str]] = {}
    for text in texts():
        by_batch.setdefault(text["batch_id"], Counter())[text["state"]] += 1
    assert report.batch_total == len(by_batch) == len(report.batches)
    assert {each.batch_id: dict(each.states) for each in report.batches} == by_batch
    moments = [each.opened_at for each in report.batches]
    assert moments == sorted(moments, reverse=True)
    declined = [text for text in texts() if text["state"] == "declined"]
    assert report.reasons == {RejectReason("opted_out"): len(declined)}


def test_a_report_of_a_dag_or_of_a_run_has_nothing_of_others(database: Database) -> None:
    write(database, texts())
    run = next(text for text in texts() if text["dag_id"] == "offers")["run_id"]
    of_dag = report_of(database, dag_id="offers")
    of_run = report_of(database, dag_id="offers", run_id=run)
    assert {each.dag_id for each in of_dag.batches} == {"offers"}
    assert {row["dag_id"] for row in of_dag.answers["delivery_by_day"]} == {"offers"}
    assert (of_dag.batch_total, of_run.batch_total) == (2, 1)
    assert [each.run_id for each in of_run.batches] == [run]
    assert "opt_outs_by_day" not in of_dag.answers
    assert report_of(database, dag_id="nobody").answers["delivery_by_day"] == []


def test_a_text_before_the_window_is_not_counted(database: Database) -> None:
    write(database, texts())
    last_days = replace(WINDOW, days=3)
    rows = report_of(database, last_days).answers["delivery_by_day"]
    agree(rows, [row for row in EXPECTED["delivery_by_day"](MODEL) if row[0] in last_days.dates])
    earlier = replace(WINDOW, until=WINDOW.until - timedelta(days=60))
    assert report_of(database, replace(earlier, days=1)).batch_total == len(
        {text["batch_id"] for text in texts()}
    ), "a window has no end: what came after it is shown too"


def test_days_are_those_of_the_time_zone(database: Database) -> None:
    late = {"submitted_at": WINDOW.until.replace(hour=22, minute=30), "state_at": WINDOW.until}
    write(database, [{**texts()[0], **late}])
    for time_zone, days in {"UTC": 0, "Africa/Johannesburg": 1}.items():
        report = report_of(database, replace(WINDOW, time_zone=time_zone))
        for name in ("delivery_by_day", "cost_by_day"):
            (row,) = report.answers[name]
            assert row["day"] == WINDOW.until.date() + timedelta(days=days)


def test_a_ledger_of_an_earlier_version_is_reported_and_stays_as_it_is(database: Database) -> None:
    write(database, texts())
    for table in ("decisions", "reservations", "spending", "alerts"):
        database.execute(f"DROP TABLE {{}}sms_{table}")
    assert report_of(database).batch_total > 0
    with pytest.raises(Exception, match="sms_alerts"):
        database.execute("SELECT * FROM {}sms_alerts")


def test_a_report_of_no_ledger_creates_none(database: Database) -> None:
    with pytest.raises(ConfigurationError, match="There is no ledger"):
        report_of(database)
    with pytest.raises(Exception, match="sms_batches"):
        database.execute("SELECT * FROM {}sms_batches")


def test_a_user_that_may_only_read_is_enough(postgres_by_path: Database) -> None:
    write(postgres_by_path, texts())
    role = f"reader_{postgres_by_path.schema}"
    postgres_by_path.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'reader'")
    try:
        postgres_by_path.execute(f"GRANT USAGE ON SCHEMA {postgres_by_path.schema} TO {role}")
        postgres_by_path.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {postgres_by_path.schema} TO {role}")
        extra = json.loads(postgres_by_path.connection["extra"])
        extra["options"] += f" -c role={role}"
        postgres_by_path.connection["extra"] = json.dumps(extra)
        with pytest.MonkeyPatch.context() as patch:
            postgres_by_path.let_tasks_find_it(patch)
            assert report_of(postgres_by_path).batch_total > 0
    finally:
        postgres_by_path.execute(f"DROP OWNED BY {role}")
        postgres_by_path.execute(f"DROP ROLE {role}")


def test_pages_hold_each_batch_once(sqlite: Database) -> None:
    one = texts()[0]
    many = [{**one, "batch_id": f"{index:032x}"} for index in range(2 * BATCHES_AT_ONCE + 7)]
    write(sqlite, many)
    pages = [report_of(sqlite, page=page).batches for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [BATCHES_AT_ONCE, BATCHES_AT_ONCE, 7, 0]
    assert sorted(each.batch_id for page in pages for each in page) == [text["batch_id"] for text in many]


def test_a_text_that_will_be_sent_again_is_in_no_state(sqlite: Database) -> None:
    one = texts()[0]
    write(sqlite, [{**one, "state": "declined", "reason": "no_credits", "message_id": None}])
    report = report_of(sqlite)
    assert [dict(each.states) for each in report.batches] == [{}]
    assert report.reasons == {}


def test_a_request_with_an_unknown_outcome_is_listed_however_old_it_is(database: Database) -> None:
    with ledger(database) as tables:
        tables.open(opened_batch())
        tables.claim(FIRST_REQUEST, record(), messages())
    tomorrow = replace(WINDOW, days=1, until=WINDOW.until + timedelta(days=300))
    (request,) = report_of(database, tomorrow).unresolved
    assert (request.dag_id, request.recipients) == ("etl", 3)
    assert request.commands("warehouse", "sms_").if_not_accepted == (
        f"airflow sms resolve {request.batch_id} --request 1 --ledger-conn-id warehouse --not-accepted"
    )
    assert report_of(database, tomorrow, dag_id="other").unresolved == []


@pytest.mark.parametrize("name", ["opt_outs; DROP TABLE sms_batches", 'a"b', ""])
def test_a_table_of_opt_outs_must_have_a_plain_name(sqlite: Database, name: str) -> None:
    write(sqlite, texts())
    with pytest.raises(InvalidMessage, match="opt_outs"):
        report_of(sqlite, opt_outs=name)


@pytest.mark.parametrize("days", [0, -1, MOST_DAYS + 1])
def test_a_window_has_some_days(days: int) -> None:
    with pytest.raises(InvalidMessage, match=f"shows 1 to {MOST_DAYS} days; got {days}"):
        Window(days, "UTC", WINDOW.until)


def test_a_window_begins_at_midnight_of_its_zone() -> None:
    assert Window(1, "Africa/Johannesburg", WINDOW.until).since.isoformat() == "2026-03-15T22:00:00+00:00"
    with pytest.raises(InvalidMessage, match="Mars/Olympus"):
        Window(1, "Mars/Olympus", WINDOW.until)
