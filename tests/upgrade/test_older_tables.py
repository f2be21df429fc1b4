"""Tables that the version before made are read, and written on without loss."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import OutcomeUnknown
from airflow_provider_winsms.ledger.database import LedgerDatabase
from airflow_provider_winsms.ledger.unresolved import UnresolvedRequests
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.runtime import Clock
from airflow_provider_winsms.sql.values import read_amount, read_instant
from tests.cli.conftest import commands, home
from tests.support.databases import CONN_ID
from tests.support.pigeon import Text
from tests.upgrade.story import NUMBERS, PIGEON, SENDS, TEXT, columns_of

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.cli.home import Home
    from tests.support.databases import Database
    from tests.upgrade.story import Story

__all__ = ["commands", "home"]

TABLES = ("sms_batches", "sms_requests", "sms_messages", "sms_rounds")
SUBMITTED = ("sms_requests", "sms_messages WHERE round > 0", "sms_rounds")
"""Each try writes the recipients of no request anew."""

IN_DOUBT = ["at_least_once", "at_most_once", "found", "not_found", "resolved"]
DAY = 24 * 3600
VIEWS = (
    "sms_delivery_by_day",
    "sms_delivery_time_by_day",
    "sms_cost_by_day",
    "sms_replies_by_campaign",
    "sms_opt_outs_by_campaign",
    "sms_texts_after_opt_out",
    "sms_opt_out_check",
)


def rows(database: Database, table: str) -> list[tuple[Any, ...]]:
    found = database.execute(f"SELECT * FROM {{}}{table}")  # noqa: S608 - a test's own name
    return sorted(map(tuple, found), key=repr)


def column(database: Database, name: str, table: str, where: str) -> list[Any]:
    found = database.execute(f"SELECT {name} FROM {{}}{table} WHERE {where} ORDER BY 1")  # noqa: S608 - as above
    return [value for (value,) in found]


def batch_of(database: Database, task_id: str) -> str:
    (batch,) = column(database, "batch_id", "sms_batches", f"task_id = '{task_id}'")
    return str(batch)


def counts(database: Database, task_id: str) -> tuple[Any, ...]:
    """Return the counts of a batch: accepted, declined, unknown, cancelled, cost, refunded."""
    (row,) = database.execute(
        "SELECT accepted, declined, unknown, cancelled, cost, refunded FROM {}sms_batches "  # noqa: S608 - as above
        f"WHERE task_id = '{task_id}'"
    )
    return (*row[:4], *map(read_amount, row[4:]))


def texts(box: Sandbox, task_id: str) -> Counter[str]:
    """Return how many texts each recipient of a send has got, or will get."""
    ours = set(SENDS[task_id]["to"])
    found = (row["mobileNumber"] for row in box.outbox() if not row["cancelled"])
    return Counter(number for number in found if number in ours)


# The ledger


def test_a_ledger_opens_and_nothing_in_it_changes(ledger: Database) -> None:
    before = [rows(ledger, table) for table in TABLES]
    with LedgerDatabase(ledger.hook()) as opened:
        assert not opened.is_new
    assert [rows(ledger, table) for table in TABLES] == before
    assert all(before)


def test_a_retry_of_a_sent_batch_sends_nothing_again(ledger: Database, story: Story, box: Sandbox) -> None:
    before = box.outbox(), [rows(ledger, table) for table in SUBMITTED]
    sent = [each for each in SENDS if each not in {*IN_DOUBT, "unpaid"}]
    for task_id in sent:
        assert story.send(task_id) is None, task_id
    assert story.send_batch() is None
    assert story.send_by_pigeon() is None
    assert (box.outbox(), [rows(ledger, table) for table in SUBMITTED]) == before
    assert story.pigeon.outbox() == []
    assert not [each for each in box.requests() if each["operation"].startswith("smsSend")]


def test_a_retry_knows_what_the_earlier_try_sent(ledger: Database, story: Story) -> None:
    expected = {
        "delivered": (5, {}, "5.0", "credits"),
        "declined": (1, {"opted_out": 1}, "1.0", "credits"),
        "two_rounds": (4, {}, "4.0", "credits"),
        "scheduled": (3, {}, "3.0", "credits"),
    }
    for task_id in expected:
        story.send(task_id)
    story.send_batch()
    story.send_by_pigeon()
    expected |= {"send": (2, {"bad_number": 1}, "2.0", "credits"), "by_pigeon": (2, {}, "0.165", "PLN")}
    for task_id, figures in expected.items():
        found = story.runner(task_id).result
        assert tuple(found[name] for name in ("accepted", "rejected", "cost", "currency")) == figures, task_id
        where = f"message_id IS NOT NULL AND batch_id = '{batch_of(ledger, task_id)}'"
        assert sorted(map(str, found["message_ids"])) == column(ledger, "message_id", "sms_messages", where)


def test_the_guarantee_decides_about_texts_in_doubt(ledger: Database, story: Story, box: Sandbox) -> None:
    assert isinstance(story.send("at_most_once"), OutcomeUnknown)
    assert texts(box, "at_most_once") == {}
    assert counts(ledger, "at_most_once")[:4] == (0, 0, 2, 0)
    for task_id, declined in (("at_least_once", 2), ("found", 0), ("not_found", 2)):
        assert story.send(task_id) is None, task_id
        assert texts(box, task_id) == Counter(SENDS[task_id]["to"]), task_id
        assert counts(ledger, task_id)[:4] == (2, declined, 0, 0), task_id
        assert story.send(task_id) is None, task_id
        assert texts(box, task_id) == Counter(SENDS[task_id]["to"]), task_id


def test_a_later_round_sends_the_rest_that_was_not_paid_for(
    ledger: Database, story: Story, box: Sandbox
) -> None:
    assert len(texts(box, "unpaid")) == 1
    assert story.send("unpaid") is None
    assert texts(box, "unpaid") == Counter(SENDS["unpaid"]["to"])
    assert counts(ledger, "unpaid") == (4, 3, 0, 0, Decimal(4), 0)


def test_a_cleared_task_that_resends_supersedes_its_batch(
    ledger: Database, story: Story, box: Sandbox
) -> None:
    story.runner("resent").clear()
    assert story.send("resent") is None
    assert set(texts(box, "resent").values()) == {3}
    where = "task_id = 'resent' AND superseded_at IS NULL"
    assert column(ledger, "generation", "sms_batches", where) == [3]


def test_reports_are_written(ledger: Database, story: Story, box: Sandbox) -> None:
    final = set(column(ledger, "message_id", "sms_messages", "state = 'delivered'"))
    assert final
    box.advance(DAY)
    result = story.refresh()
    delivered = {str(row["apiMessageId"]) for row in box.outbox() if row["status"] == "DELIVERED"}
    where = "state = 'delivered' AND currency = 'credits'"
    known = set(chain.from_iterable(ledger.execute("SELECT message_id FROM {}sms_messages")))
    assert set(column(ledger, "message_id", "sms_messages", where)) == delivered & known
    assert result["changed"] == result["checked"] == 11
    assert delivered > final


def test_reports_on_ids_that_are_text_are_written(ledger: Database, story: Story) -> None:
    pigeon = story.pigeon
    ids = column(ledger, "message_id", "sms_messages", "currency = 'PLN'")
    pigeon.texts += [Text(each, TEXT, f"+{NUMBERS[80]}", None, pigeon.now(), None, "sent") for each in ids]
    pigeon.advance(60)
    pigeon.deliver()
    clock = Clock(lambda: pendulum.instance(pigeon.now()), pigeon.advance)
    assert story.refresh(clock, sms_conn_id=PIGEON)["changed"] == 2
    assert column(ledger, "state", "sms_messages", "currency = 'PLN'") == ["delivered"] * 2


def test_scheduled_texts_are_cancelled_once(ledger: Database, story: Story, box: Sandbox) -> None:
    batch = batch_of(ledger, "scheduled")
    result = story.cancel(batch)
    assert (result["cancelled"], result["cancelled_before"], result["refund"]) == (3, 0, "3.0")
    assert texts(box, "scheduled") == {}
    assert counts(ledger, "scheduled") == (0, 0, 0, 3, Decimal(3), Decimal(3))
    for done in (batch, batch_of(ledger, "cancelled")):
        again = story.cancel(done)
        assert (again["cancelled"], again["cancelled_before"], again["refund"]) == (3, 3, "0.0")


def test_texts_in_doubt_are_listed_and_a_person_resolves_them(
    ledger: Database, story: Story, box: Sandbox
) -> None:
    with LedgerDatabase(ledger.hook()) as opened:
        unresolved = UnresolvedRequests(opened)
        found = {each.task_id: each for each in unresolved.unresolved()}
        assert sorted(found) == IN_DOUBT
        assert {each.recipients for each in found.values()} == {2}
        assert {each.claimed_at for each in found.values()} == {box.now()}
        resolved, refused = found["resolved"], found["at_most_once"]
        unresolved.resolve(resolved.batch_id, resolved.key, [1_999_998, 1_999_999])
        unresolved.resolve(refused.batch_id, refused.key, None)
        assert sorted(each.task_id for each in unresolved.unresolved()) == [
            "at_least_once",
            "found",
            "not_found",
        ]
    assert story.send("resolved") is None
    assert texts(box, "resolved") == {}
    assert story.runner("resolved").result["message_ids"] == [1_999_998, 1_999_999]
    assert story.send("at_most_once") is None
    assert texts(box, "at_most_once") == Counter(SENDS["at_most_once"]["to"])
    reasons = {reason for (reason,) in ledger.execute("SELECT reason FROM {}sms_messages")}
    assert RejectReason.NOT_RECEIVED in reasons


@pytest.mark.airflow
@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_airflow_sms_lists_texts_in_doubt(ledger: Database, home: Home) -> None:
    home.variables.update(ledger.environment)
    found = home.unresolved("--ledger-conn-id", CONN_ID)
    assert sorted(row["task_id"] for row in found) == IN_DOUBT


# The warehouse


def stored(database: Database, table: str, *names: str) -> list[tuple[Any, ...]]:
    found = database.execute(f"SELECT {', '.join(names)} FROM {{}}{table}")  # noqa: S608 - our own names
    return sorted((tuple(map(_readable, row)) for row in found), key=repr)


def _readable(value: Any) -> Any:
    """Return an instant in UTC, in whatever form the database has it."""
    if isinstance(value, datetime):
        return read_instant(value)
    try:
        return read_instant(value) if isinstance(value, str) and value[4:5] == "-" else value
    except ValueError:
        return value


def test_rows_that_never_change_stay_and_new_ones_come_in(
    warehouse: Database, story: Story, box: Sandbox
) -> None:
    tables = ("incoming", "incoming_hashed", "incoming_raw", "short_codes")
    before = {table: rows(warehouse, table) for table in tables}
    box.advance(DAY)
    box.incoming(NUMBERS[7], "New; it's new")
    box.shortcode(NUMBERS[7], "WIN 3")
    for table in tables:
        result = story.load(CONN_ID, table)
        assert (result["rows_loaded"], result["requests"]) == (1, 2), table
        after = rows(warehouse, table)
        assert [row for row in after if row in before[table]] == before[table]
        assert len(after) == len(before[table]) + 1
        assert story.load(CONN_ID, table)["rows_loaded"] == 0


def test_a_full_refresh_finds_no_row_changed(warehouse: Database, story: Story) -> None:
    for table in ("incoming", "incoming_hashed", "incoming_raw", "short_codes", "opt_outs", "scheduled"):
        before = rows(warehouse, table)
        result = story.load(CONN_ID, table, mode="full_refresh")
        assert (result["rows_loaded"], result["rows_removed"]) == (0, 0), table
        assert rows(warehouse, table) == before


def test_periods_close_and_open(warehouse: Database, story: Story, box: Sandbox) -> None:
    one, two, three = (datetime(2026, 10, day, hour, tzinfo=UTC) for day, hour in ((5, 7), (6, 6), (7, 6)))
    names = ("number", "first_seen_at", "last_seen_at", "removed_at")
    stop, back, gone, stays = (NUMBERS[index] for index in (1, 2, 3, 6))
    expected = [
        (stop, one, two, None),
        (back, one, one, two),
        (gone, one, two, None),
        (stays, two, two, None),
    ]
    assert stored(warehouse, "opt_outs", *names) == expected
    assert stored(warehouse, "opt_outs_history", *names) == expected
    box.advance(DAY)
    box.remove_opt_out(gone)
    box.opt_out(back)
    result = story.load(CONN_ID, "opt_outs")
    assert (result["rows_loaded"], result["rows_removed"]) == (1, 1)
    changed = [(stop, one, three, None), (gone, one, two, three), (stays, two, three, None)]
    assert stored(warehouse, "opt_outs", *names) == sorted([*changed, (back, one, three, None)], key=repr)
    periods = sorted([*changed, (back, one, one, two), (back, three, three, None)], key=repr)
    assert stored(warehouse, "opt_outs_history", *names) == periods
    assert story.load(CONN_ID, "opt_outs")["rows_loaded"] == 0
    assert stored(warehouse, "opt_outs_history", *names) == periods


def test_scheduled_texts_are_seen_to_go(warehouse: Database, story: Story, box: Sandbox) -> None:
    before = stored(warehouse, "scheduled", "message_id", "number", "send_at", "refund", "currency")
    waiting = stored(warehouse, "scheduled WHERE removed_at IS NULL", "message_id")
    assert len(before) == len(waiting) == 5
    box.advance(DAY)
    result = story.load(CONN_ID, "scheduled")
    assert (result["rows_loaded"], result["rows_removed"]) == (0, 5)
    assert stored(warehouse, "scheduled", "message_id", "number", "send_at", "refund", "currency") == before
    assert stored(warehouse, "scheduled WHERE removed_at IS NULL", "message_id") == []


def test_states_of_texts_change_and_none_is_doubled_or_lost(
    warehouse: Database, story: Story, box: Sandbox
) -> None:
    same = ("batch_id", "round", "request", "position", "message_id", "dag_id", "number", "cost", "reference")
    before, count = stored(warehouse, "deliveries", *same), warehouse.count("deliveries")
    assert count == len(set(before)) == len(before)
    assert story.load(CONN_ID, "deliveries", refresh=False)["rows_loaded"] == 0
    box.advance(DAY)
    assert story.load(CONN_ID, "deliveries")["rows_loaded"] == 11
    assert stored(warehouse, "deliveries", *same) == before
    assert story.send("unpaid") is None
    assert story.send("at_least_once") is None
    result = story.load(CONN_ID, "deliveries", refresh=False)
    assert (result["rows_loaded"], warehouse.count("deliveries")) == (3 + 2 + 2, count + 3 + 2)
    assert warehouse.count("deliveries WHERE state = 'unknown'") == 8
    assert set(before) <= set(stored(warehouse, "deliveries", *same))


def test_the_views_are_made_again_and_answer_as_before(warehouse: Database, story: Story) -> None:
    before = {view: answers(warehouse, view) for view in VIEWS}
    assert set(story.make_views(CONN_ID)) >= set(VIEWS)
    for view, answered in before.items():
        known = answered[0] if answered else ()
        assert [{name: row[name] for name in known} for row in answers(warehouse, view)] == answered, view
    assert [view for view in VIEWS if not before[view]] == ["sms_texts_after_opt_out"]


def answers(database: Database, view: str) -> list[dict[str, Any]]:
    """Return the rows of a view. A number has six digits: databases add floats in any order."""
    names = columns_of(database, view)
    rows = database.execute(f"SELECT * FROM {{}}{view}")  # noqa: S608 - a test's own name
    found = [dict(zip(names, map(_rounded, row), strict=True)) for row in rows]
    return sorted(found, key=lambda row: repr(sorted(row.items())))


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, (int, float, Decimal)) else value
