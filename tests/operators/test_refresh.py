"""A nightly refresh, through the sandbox and real databases: its requests, its writes, how it resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_winsms.delivery.refresh import CHECKPOINT_KEY
from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    SendStopped,
)
from airflow_provider_winsms.operators.sms import SmsRefreshStatusOperator, SmsSendOperator
from airflow_provider_winsms.warehouse.views import SourceTables, create_views
from tests.gateways.stub import Stub, answer
from tests.ledger.conftest import database, postgres
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

__all__ = ["database", "postgres"]

STATUS = "smsStatus"
DAY = 24 * 3600
DELIVERED, FAILED, NEVER_SENT, STAYS_SENT, STAYS_QUEUED, REROUTED, BAD = (
    f"270000000{fate}" for fate in (10, 11, 12, 13, 14, 15, 16)
)
EVERY_FATE = [DELIVERED, FAILED, NEVER_SENT, STAYS_SENT, STAYS_QUEUED, REROUTED, BAD]
NOTHING = {
    "checked": 0,
    "states": {},
    "changed": 0,
    "still_open": 0,
    "refused": 0,
    "unreadable": 0,
    "requests": 0,
}


@dataclass
class Night:
    """The gateway that is asked at night, and task instances that ask it and write to a ledger."""

    sandbox: Sandbox
    runner: TaskRunner

    def at(self, database: Database, **extra: Any) -> TaskRunner:
        """Return a task instance with the ledger in a database; later ones have it and the extras too."""
        gateway = {**self.runner.connections["winsms_default"], "extra": json.dumps(extra)}
        connections = {"winsms_default": gateway, "winsms_other": gateway, CONN_ID: database.connection}
        self.runner.connections = {**self.runner.connections, **connections}
        return self.runner.another()

    def a_day_after(self, database: Database, to: Any, **extra: Any) -> TaskRunner:
        """Return a task instance whose ledger has one text to each number, all of yesterday."""
        task = self.at(database, **extra)
        self.send(to)
        self.sandbox.advance(DAY)
        return task

    def turn_away(self, *, after: int, times: int = 1) -> None:
        """Have requests turned away for longer than a task waits, after so many."""
        self.sandbox.add_fault(
            "429-too-many-requests", operation=STATUS, skip=after, times=times, retry_after=3600
        )

    def behind(self, stub: Stub) -> TaskRunner:
        """Return a task instance whose gateway says what a test tells it to."""
        gateway = {"conn_type": "winsms", "host": stub.base_url, "password": "key"}
        found = self.runner.another()
        found.connections = {**self.runner.connections, "winsms_default": gateway}
        return found

    def send(self, to: Any, **kwargs: Any) -> list[int]:
        """Send one text to each number, by a task of its own, and return the ids."""
        task = SmsSendOperator(task_id="send", text="Xylophone", to=to, ledger_conn_id=CONN_ID, **kwargs)
        sender = self.runner.another()
        task.idempotency_key = f"key {time.monotonic_ns()}"
        assert sender.run(task).error is None
        ids: list[int] = sender.result["message_ids"]
        return ids

    def refreshed(self, **kwargs: Any) -> dict[str, Any]:
        """Run a task instance of its own to its end, and return its result."""
        task = self.runner.another()
        assert task.run(refresh(**kwargs)).error is None
        result: dict[str, Any] = task.result
        return result

    def in_hours(self, hours: int) -> pendulum.DateTime:
        return pendulum.instance(self.sandbox.now()).add(hours=hours)

    @property
    def asked(self) -> list[int]:
        """How many ids each status request held, without those that were turned away."""
        return [row["rows"] for row in self.sandbox.requests() if row["operation"] == STATUS]


@pytest.fixture
def night(runner: TaskRunner, sandbox: Sandbox) -> Night:
    sandbox.set_account(credit_balance=100_000)
    return Night(sandbox, runner)


def many(count: int) -> list[str]:
    return [f"2782{place:07}" for place in range(count)]


def refresh(**kwargs: Any) -> SmsRefreshStatusOperator:
    return SmsRefreshStatusOperator(task_id="refresh", ledger_conn_id=CONN_ID, **kwargs)


def states(database: Database) -> dict[int, str]:
    rows = database.execute("SELECT message_id, state FROM {}sms_messages ORDER BY message_id")
    return {int(message_id): state for message_id, state in rows}


def write(database: Database, what: str, message_id: int) -> None:
    """Change the row of a message in the ledger."""
    database.execute(f"UPDATE {{}}sms_messages SET {what} WHERE message_id = '{message_id}'")  # noqa: S608 - a test's own


def test_each_state_has_its_fate(database: Database, night: Night) -> None:
    task = night.at(database)
    ids = night.send(EVERY_FATE)
    (later,) = night.send(DELIVERED, send_at=night.in_hours(3))
    assert task.run(refresh()).error is None
    found = {"queued": 1, "sent": 1, "delivered": 1, "failed": 1, "not_sent": 2, "unknown": 1}
    counts = {"checked": 7, "states": found, "changed": 6, "still_open": 3, "requests": 1}
    assert task.result == NOTHING | counts
    fates = ["delivered", "failed", "not_sent", "sent", "queued", "accepted", "not_sent"]
    assert states(database) == {**dict(zip(ids, fates, strict=True)), later: "scheduled"}


def test_a_second_run_asks_only_for_what_is_open_and_changes_nothing(
    database: Database, night: Night
) -> None:
    night.at(database)
    night.send(EVERY_FATE)
    night.refreshed()
    before = states(database)
    found = {"queued": 1, "sent": 1, "unknown": 1}
    assert night.refreshed() == NOTHING | {"checked": 3, "states": found, "still_open": 3, "requests": 1}
    assert night.asked == [7, 3]
    assert states(database) == before


def test_a_scheduled_text_is_asked_for_when_its_time_has_come(sqlite: Database, night: Night) -> None:
    night.at(sqlite)
    (later,) = night.send(DELIVERED, send_at=night.in_hours(3))
    night.sandbox.advance(2 * 3600)
    assert night.refreshed() == NOTHING
    night.sandbox.advance(2 * 3600)
    assert night.refreshed()["states"] == {"delivered": 1}
    assert states(sqlite) == {later: "delivered"}


def test_only_the_texts_of_its_connection_are_asked_for(database: Database, night: Night) -> None:
    night.at(database)
    ours = night.send([DELIVERED, FAILED])
    theirs = night.send([DELIVERED], sms_conn_id="winsms_other")
    assert night.refreshed()["checked"] == 2
    assert night.asked == [2]
    assert [states(database)[key] for key in (*ours, *theirs)] == ["delivered", "failed", "accepted"]
    assert night.refreshed(sms_conn_id="winsms_other")["states"] == {"delivered": 1}


@pytest.mark.parametrize(
    ("days", "max_age", "expected"),
    [
        (88.9, {}, "delivered"),
        (89.5, {}, "accepted"),
        (91, {}, "accepted"),
        (6, {"max_age": timedelta(days=7)}, "delivered"),
        (8, {"max_age": timedelta(days=7)}, "accepted"),
    ],
)
def test_what_the_gateway_may_have_forgotten_is_left_as_it_is(
    database: Database, night: Night, days: float, max_age: Any, expected: str
) -> None:
    night.at(database)
    (sent,) = night.send(DELIVERED)
    night.sandbox.advance(days * DAY)
    night.refreshed(**max_age)
    assert states(database) == {sent: expected}
    assert len(night.asked) == (expected == "delivered")


def test_a_text_that_was_submitted_long_before_it_was_due_is_asked_for(
    database: Database, night: Night
) -> None:
    night.at(database)
    (later,) = night.send(DELIVERED, send_at=night.in_hours(40 * 24))
    night.sandbox.advance(95 * DAY)
    assert night.refreshed()["states"] == {"delivered": 1}
    assert states(database) == {later: "delivered"}


def test_it_does_not_become_not_found_as_the_gateway_may_count_from_its_submission(
    database: Database, night: Night
) -> None:
    night.at(database)
    (later,) = night.send(DELIVERED, send_at=night.in_hours(40 * 24))
    write(database, "message_id = '7'", later)
    night.sandbox.advance(95 * DAY)
    assert night.refreshed() == {**NOTHING, "checked": 1, "still_open": 1, "requests": 1}
    assert states(database) == {7: "scheduled"}


def test_an_id_that_is_not_found_is_asked_for_again_while_it_is_young(
    database: Database, night: Night
) -> None:
    night.at(database)
    fresh, _ = night.send([DELIVERED, FAILED])
    write(database, "message_id = '7'", fresh)
    assert night.refreshed()["states"] == {"failed": 1, "not_found": 1}
    assert states(database)[7] == "not_found"
    night.sandbox.advance(1.9 * DAY)
    assert night.refreshed()["states"] == {"not_found": 1}
    write(database, f"message_id = '{fresh}'", 7)
    assert night.refreshed()["states"] == {"delivered": 1}


def test_a_text_that_is_not_found_once_long_after_it_was_sent_is_asked_for_again(
    sqlite: Database, night: Night
) -> None:
    night.at(sqlite)
    long_ago = pendulum.now("UTC").subtract(days=10).strftime("%Y-%m-%d %H:%M:%S.%f")
    (ours,) = night.send(STAYS_SENT)
    write(sqlite, f"submitted_at = '{long_ago}', state = 'sent'", ours)
    row = {"apiMessageId": ours, "statusDelivered": False, "statusErrorCode": "NOTFOUND"}
    forgotten = {**row, "statusTime": "202601010000"}
    with Stub(answer(200, {"messageStatuses": [forgotten]}), reports(ours)) as stub:
        for _ in range(2):
            assert night.behind(stub).run(refresh()).error is None
        assert len(stub.requests) == 2
    assert states(sqlite) == {ours: "delivered"}


def test_an_id_that_was_not_found_for_long_is_let_be(database: Database, night: Night) -> None:
    night.at(database)
    (old,) = night.send(DELIVERED)
    write(database, "state = 'not_found'", old)
    night.sandbox.advance(2.1 * DAY)
    assert night.refreshed() == NOTHING
    assert states(database) == {old: "not_found"}


def test_a_text_that_was_to_be_cancelled_and_went_out_is_told_so(database: Database, night: Night) -> None:
    night.at(database)
    gone, waits = night.send([DELIVERED, STAYS_QUEUED], send_at=night.in_hours(3))
    write(database, "state = 'cancelling'", gone)
    write(database, "state = 'cancelling'", waits)
    assert night.refreshed() == NOTHING
    night.sandbox.advance(4 * 3600)
    assert night.refreshed()["still_open"] == 1
    assert states(database) == {gone: "delivered", waits: "cancelling"}


@pytest.mark.parametrize("final", ["delivered", "failed", "not_sent", "declined", "cancelled", "unknown"])
def test_what_is_settled_or_in_doubt_is_neither_asked_for_nor_changed(
    sqlite: Database, night: Night, final: str
) -> None:
    night.at(sqlite)
    (sent,) = night.send(STAYS_SENT)
    write(sqlite, f"state = '{final}'", sent)
    assert night.refreshed() == NOTHING
    assert night.asked == []
    assert states(sqlite) == {sent: final}


def test_the_views_are_right_afterwards(database: Database, night: Night) -> None:
    night.at(database)
    night.send([DELIVERED, FAILED, NEVER_SENT, STAYS_SENT])
    night.refreshed()
    create_views(database.hook(), SourceTables(ledger_prefix="sms_"), "sms_")
    (rate,) = database.execute("SELECT accepted, delivered, rate FROM {}sms_delivery_by_day")
    assert tuple(map(float, rate)) == (4, 1, 0.25)
    (cost,) = database.execute("SELECT cost, delivered, cost_per_delivered FROM {}sms_cost_by_day")
    assert tuple(map(float, cost)) == (4, 1, 4)


def test_2500_open_texts_take_three_requests(
    database: Database, night: Night, capsys: pytest.CaptureFixture[str]
) -> None:
    night.a_day_after(database, many(2500))
    result = night.refreshed()
    assert "Asked about 2500 texts in 3 requests: 2500 changed" in capsys.readouterr().out
    assert (result["checked"], result["requests"], result["changed"]) == (2500, 3, 2500)
    assert sorted(night.asked) == [500, 1000, 1000]
    fates = Counter(text["status"].lower() for text in night.sandbox.outbox())
    assert Counter(states(database).values()) == fates
    assert result["states"] == {state: fates[state] for state in ("delivered", "failed")}


def test_a_retry_goes_on_at_the_page_that_failed(database: Database, night: Night) -> None:
    task = night.a_day_after(database, many(2500), max_concurrent_requests=1)
    night.turn_away(after=1, times=99)
    error = task.run(refresh()).error
    assert isinstance(error, GatewayUnavailable)
    assert not isinstance(error, AirflowFailException)
    assert Counter(states(database).values())["accepted"] == 1500
    assert CHECKPOINT_KEY in task.task_state
    night.sandbox.clear_faults()
    before = len(night.sandbox.requests())
    assert task.run(refresh()).error is None
    assert night.asked[-2:] == [1000, 500]
    assert len(night.sandbox.requests()) - before == 2
    assert (task.result["checked"], task.result["changed"], task.result["requests"]) == (2500, 2500, 3)
    assert task.result["still_open"] == 0
    assert task.task_state == {}


def test_with_several_requests_on_their_way_nothing_is_lost_when_one_fails(
    sqlite: Database, night: Night
) -> None:
    task = night.a_day_after(sqlite, many(6500))
    night.turn_away(after=2)
    assert isinstance(task.run(refresh()).error, GatewayUnavailable)
    assert task.run(refresh()).error is None
    assert (task.result["checked"], task.result["changed"]) == (6500, 6500)
    assert not {"accepted", "queued", "sent"} & set(states(sqlite).values())


def test_a_task_that_is_cleared_starts_again(sqlite: Database, night: Night) -> None:
    task = night.a_day_after(sqlite, [STAYS_SENT, *many(1500)], max_concurrent_requests=1)
    night.turn_away(after=1)
    task.run(refresh())
    task.clear()
    assert task.run(refresh()).error is None
    assert night.asked[-1:] == [502]
    assert task.result["checked"] == 502


def test_a_place_in_another_ledger_does_not_count(sqlite: Database, night: Night) -> None:
    task = night.at(sqlite, max_concurrent_requests=1)
    night.send(many(1500))
    night.send([DELIVERED], sms_conn_id="winsms_other")
    night.sandbox.advance(DAY)
    night.turn_away(after=1)
    task.run(refresh(sms_conn_id="winsms_default"))
    assert task.run(refresh(sms_conn_id="winsms_other")).error is None
    assert task.result["checked"] == 1


def test_without_a_task_state_store_a_retry_starts_again_with_what_is_open(
    sqlite: Database, night: Night
) -> None:
    task = night.a_day_after(sqlite, many(1500), max_concurrent_requests=1)
    night.turn_away(after=1)

    def run() -> Any:
        return task.run(refresh(pre_execute=lambda context: context.pop("task_state_store"))).error

    assert isinstance(run(), GatewayUnavailable)
    assert run() is None
    assert night.asked[-1:] == [500]
    assert (task.result["checked"], task.task_state) == (500, {})


def test_a_kill_stops_it_after_the_page_at_hand_and_a_retry_goes_on(sqlite: Database, night: Night) -> None:
    task = night.a_day_after(sqlite, many(2500), max_concurrent_requests=1)
    night.sandbox.add_fault("latency", operation=STATUS, seconds=1)

    def kill() -> None:
        while not night.asked:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        error = task.run(refresh()).error
    finally:
        killer.join()
        signal.signal(signal.SIGTERM, handler)
    assert isinstance(error, SendStopped)
    assert not isinstance(error, AirflowFailException)
    assert Counter(states(sqlite).values())["accepted"] == 1500
    assert night.asked == [1000]
    assert task.run(refresh()).error is None
    assert night.asked == [1000, 1000, 500]


@pytest.mark.crash
def test_a_process_that_is_killed_loses_nothing(sqlite: Database, night: Night) -> None:
    """Nor does its task state store survive here: a retry asks for what is not written yet."""
    night.a_day_after(sqlite, many(3500), max_concurrent_requests=1)
    night.sandbox.add_fault("latency", operation=STATUS, skip=2, seconds=60)
    script = (
        "import json, sys\n"
        "from airflow_provider_winsms.operators.sms import SmsRefreshStatusOperator\n"
        "from tests.support.task_runner import TaskRunner\n"
        "task = SmsRefreshStatusOperator(task_id='refresh', ledger_conn_id='warehouse')\n"
        "TaskRunner(json.loads(sys.argv[1])).run(task)\n"
    )
    command = [sys.executable, "-c", script, json.dumps(night.runner.connections)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL) as process:
        while len(night.asked) < 3 or Counter(states(sqlite).values())["accepted"] > 1500:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert Counter(states(sqlite).values())["accepted"] == 1500
    assert (night.refreshed()["checked"], night.asked) == (1500, [1000, 1000, 1000, 1000, 500])
    assert set(states(sqlite).values()) == {"delivered", "failed"}


@pytest.mark.alone
def test_an_execution_timeout_ends_it_at_once_and_a_retry_goes_on(sqlite: Database, night: Night) -> None:
    task = night.a_day_after(sqlite, many(1500), max_concurrent_requests=1)
    night.sandbox.add_fault("latency", operation=STATUS, skip=1, seconds=60)
    began = time.monotonic()
    error = task.run(refresh(execution_timeout=timedelta(seconds=3))).error
    assert isinstance(error, AirflowTaskTimeout)
    assert time.monotonic() - began < 20
    assert Counter(states(sqlite).values())["accepted"] == 500
    assert task.run(refresh()).error is None
    assert night.asked == [1000, 500, 500]


@pytest.mark.alone
def test_requests_overlap(sqlite: Database, night: Night) -> None:
    night.at(sqlite)
    night.send(many(4000))
    night.sandbox.add_fault("latency", operation=STATUS, seconds=1, times=4)
    began = time.monotonic()
    assert night.refreshed()["requests"] == 4
    assert 1 <= time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("fault", "open_texts"),
    [("missing-row", 1), ("duplicated-row", 0), ("reordered-rows", 0), ("truncated-json", 0)],
)
def test_an_odd_answer_does_no_harm(sqlite: Database, night: Night, fault: str, open_texts: int) -> None:
    night.a_day_after(sqlite, [DELIVERED, *many(2)])
    night.sandbox.add_fault(fault, operation=STATUS)
    result = night.refreshed()
    assert (result["checked"], result["still_open"]) == (3, open_texts)
    assert night.refreshed()["checked"] == open_texts
    assert set(states(sqlite).values()) <= {"delivered", "failed"}


def test_an_id_that_the_gateway_cannot_have_holds_up_no_other(database: Database, night: Night) -> None:
    night.at(database)
    ids = night.send(many(1500))
    night.sandbox.advance(DAY)
    for place, bad in ((3, -3), (700, -700)):
        write(database, f"message_id = '{bad}'", ids[place])
    result = night.refreshed()
    assert (result["checked"], result["refused"], result["still_open"]) == (1500, 2, 2)
    assert result["changed"] == 1498
    assert sum(night.asked) == 1498
    assert {states(database)[bad] for bad in (-3, -700)} == {"accepted"}


def reports(*message_ids: int) -> Any:
    rows = [{"apiMessageId": key, "statusDelivered": True, "statusErrorCode": 0} for key in message_ids]
    return answer(document={"messageStatuses": rows})


def refusal() -> Any:
    text = "At least one non-numeric api Id was supplied in the apiIds array."
    return answer(422, {"errorMessage": text})


def test_an_id_that_the_gateway_refuses_holds_up_no_other(sqlite: Database, night: Night) -> None:
    night.at(sqlite)
    bad, *good = night.send(many(3))
    with Stub(refusal(), refusal(), reports(*good)) as stub:
        task = night.behind(stub)
        assert task.run(refresh()).error is None
        assert [request.document for request in stub.requests] == [[bad, *good], [bad], good]
    counts = {"checked": 3, "changed": 2, "still_open": 1, "refused": 1, "requests": 3}
    assert task.result == NOTHING | counts | {"states": {"delivered": 2}}
    assert list(states(sqlite).values()) == ["accepted", "delivered", "delivered"]


@pytest.mark.parametrize("bad", [{"statusDelivered": "n/a"}, {"apiMessageId": None}, "row"], ids=repr)
@pytest.mark.parametrize("others", [0, 2])
def test_an_unreadable_status_is_named_once_and_holds_up_no_other(
    sqlite: Database, night: Night, capsys: pytest.CaptureFixture[str], bad: Any, others: int
) -> None:
    night.at(sqlite)
    ours, *good = night.send(many(1 + others))
    row = {"apiMessageId": ours, "statusDelivered": True, **bad} if isinstance(bad, dict) else bad
    rows = [row, *({"apiMessageId": each, "statusDelivered": True} for each in good)]
    with Stub(answer(200, {"messageStatuses": rows})) as stub:
        task = night.behind(stub)
        assert task.run(refresh()).error is None
        assert len(stub.requests) == 1
    assert (task.result["unreadable"], task.result["still_open"], task.result["changed"]) == (1, 1, others)
    assert states(sqlite) == {ours: "accepted", **dict.fromkeys(good, "delivered")}
    (named,) = [line for line in capsys.readouterr().out.splitlines() if "cannot be read" in line]
    assert f"1 text cannot be read: {ours}." in named


def test_a_gateway_whose_answers_cannot_be_read_at_all_fails_the_task(sqlite: Database, night: Night) -> None:
    night.at(sqlite)
    ids = night.send(many(11))
    with Stub(answer(200, {"messageStatuses": [{"id": each, "state": "ok"} for each in ids]})) as stub:
        assert isinstance(night.behind(stub).run(refresh()).error, GatewayUnavailable)
    assert set(states(sqlite).values()) == {"accepted"}


def test_a_gateway_that_refuses_all_fails_the_task_for_good_after_few_requests(
    sqlite: Database, night: Night
) -> None:
    night.at(sqlite)
    night.send(many(1000))
    with Stub(refusal()) as stub:
        error = night.behind(stub).run(refresh()).error
        assert len(stub.requests) == 1 + 2 * 64
    assert isinstance(error, InvalidMessage)
    assert isinstance(error, AirflowFailException)
    assert set(states(sqlite).values()) == {"accepted"}


def test_reports_that_nobody_asked_for_are_not_written(sqlite: Database, night: Night) -> None:
    night.at(sqlite)
    (ours,) = night.send(many(1))
    (theirs,) = night.send(many(1), sms_conn_id="winsms_other")
    with Stub(reports(ours, theirs)) as stub:
        task = night.behind(stub)
        task.run(refresh())
    assert task.result["states"] == {"delivered": 1}
    assert states(sqlite) == {ours: "delivered", theirs: "accepted"}


def test_a_wrong_key_fails_the_task_at_once(sqlite: Database, night: Night) -> None:
    task = night.at(sqlite)
    night.send(DELIVERED)
    wrong = {**night.runner.connections["winsms_default"], "password": "another"}
    task.connections = {**night.runner.connections, "winsms_default": wrong}
    error = task.run(refresh()).error
    assert isinstance(error, ConfigurationError)
    assert isinstance(error, AirflowFailException)
    assert len(night.asked) == 1


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({"max_age": timedelta(days=90)}, InvalidMessage, "at most 89 days"),
        ({"ledger_conn_id": "nowhere"}, ConfigurationError, "'nowhere'"),
        ({"ledger_conn_id": "winsms_default"}, ConfigurationError, "SQL database"),
        ({"sms_conn_id": "nowhere"}, ConfigurationError, "'nowhere'"),
    ],
)
def test_what_is_wrong_is_refused_before_any_request(
    given: Any, kind: type[Exception], says: str, sqlite: Database, night: Night
) -> None:
    task = night.at(sqlite)
    error = task.refusal(
        lambda: SmsRefreshStatusOperator(task_id="refresh", **{"ledger_conn_id": CONN_ID, **given})
    )
    assert isinstance(error, kind)
    assert isinstance(error, AirflowFailException)
    assert says in str(error)
    assert night.sandbox.requests() == []


def test_an_empty_ledger_is_up_to_date(database: Database, night: Night) -> None:
    night.at(database)
    assert night.refreshed() == NOTHING
    assert night.sandbox.requests() == []


def test_connections_may_be_templates(sqlite: Database, night: Night) -> None:
    task = night.at(sqlite)
    operator = SmsRefreshStatusOperator(
        task_id="refresh", ledger_conn_id="ware{{ 'house' }}", sms_conn_id="winsms_{{ 'default' }}"
    )
    assert task.run(operator).error is None
    assert task.result == NOTHING


@pytest.mark.database
def test_memory_does_not_grow_with_the_number_of_open_texts(sqlite: Database, night: Night) -> None:
    night.at(sqlite)
    night.send(many(30_000))

    def peak() -> int:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        night.refreshed()
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        sqlite.execute("UPDATE sms_messages SET state = 'declined' WHERE request > 10")
        few = peak()
        sqlite.execute("UPDATE sms_messages SET state = 'accepted'")
        much = peak()
    finally:
        tracemalloc.stop()
    assert len(night.asked) == 40
    # Three times the texts; what varies is how many answers wait at a time.
    assert much < 2 * few
