"""A list that changes between two tries: what was claimed stays, the rest is sent to. The outbox judges."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import (
    ClaimLost,
    GatewayUnavailable,
    IdempotencyConflict,
    OutcomeUnknown,
    OutOfCredits,
)
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from tests.support import databases
from tests.support.database_fixtures import postgres_by_path as postgres
from tests.support.databases import CONN_ID
from tests.support.hooks import narrow_hook
from tests.support.send_world import GUARANTEES, die
from tests.support.variants import variant

if TYPE_CHECKING:
    from pathlib import Path

    from pendulum import DateTime

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

__all__ = ["postgres"]

ANN, BEN, CAT, DAN, EVE, FAY = EVERYBODY = [f"2782555010{place}" for place in range(6)]
RETRIES = 9
HASHED = {"hash_secret": "seeded-hash-key-5d1e"}


class Send(SmsSendOperator):
    """A send with two recipients a request."""

    hook_of = narrow_hook(recipients=2)


class SendBatch(SmsSendBatchOperator):
    hook_of = narrow_hook(recipients=2)


@pytest.fixture(autouse=True)
def retries(runner: TaskRunner) -> None:
    runner.retries = RETRIES


@pytest.fixture(params=["store", "sqlite", "postgres", "hashed"])
def ledger(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, runner: TaskRunner
) -> dict[str, Any]:
    """Parameters for each ledger there is; one of them has hashes of numbers, and the texts."""
    if request.param == "store":
        return {}
    database: Database = request.getfixturevalue("sqlite" if request.param == "hashed" else request.param)
    database.let_tasks_find_it(monkeypatch)
    if request.param != "hashed":
        return {"ledger_conn_id": CONN_ID}
    runner.set_extra(**HASHED)
    return {"ledger_conn_id": CONN_ID, "ledger_privacy": "keyed_hash", "ledger_text": "keep"}


def send(to: Any, text: str = "Pay, please", kind: type[Send] = Send, **kwargs: Any) -> Send:
    kwargs = {"on_changed": "send_the_rest", "retries": RETRIES, **kwargs}
    return kind(task_id="send", text=text, to=to, **kwargs)


def send_batch(*rows: tuple[str, str], **kwargs: Any) -> SmsSendBatchOperator:
    messages = [{"text": text, "to": to} for text, to in rows]
    kwargs = {"on_changed": "send_the_rest", "retries": RETRIES, **kwargs}
    return SendBatch(task_id="send", messages=messages, **kwargs)


def refuse_after(sandbox: Sandbox, requests: int, operation: str = "smsSend") -> None:
    """Let a try submit some requests, and end."""
    sandbox.add_fault("429-too-many-requests", operation=operation, skip=requests, times=1, retry_after=3600)


def texts(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    return Counter((row["message"], row["mobileNumber"]) for row in sandbox.outbox())


def numbers(sandbox: Sandbox) -> list[str]:
    return sorted(row["mobileNumber"] for row in sandbox.outbox())


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_who_is_new_or_left_is_sent_to_and_who_is_gone_is_left_out(
    guarantee: str, sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    refuse_after(sandbox, 2)
    first = runner.run(send([ANN, BEN, CAT, DAN, EVE], guarantee=guarantee, **ledger)).error
    assert isinstance(first, GatewayUnavailable), first
    assert runner.run(send([FAY, EVE, DAN, ANN, CAT], guarantee=guarantee, **ledger)).error is None
    assert numbers(sandbox) == EVERYBODY
    assert runner.result["changes"] == {"kept": 3, "added": 2, "gone": 1, "changed": 0}
    assert (runner.result["accepted"], runner.result["not_tried"]) == (6, 0)
    assert len(set(runner.result["message_ids"])) == 6


def test_a_list_that_changes_every_time_texts_each_once(
    sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    lists = [EVERYBODY, EVERYBODY[1:], EVERYBODY[::-1], [FAY, ANN], EVERYBODY]
    for to in lists[:-1]:
        refuse_after(sandbox, 1)
        runner.run(send(to, **ledger))
    sandbox.clear_faults()
    assert runner.run(send(lists[-1], **ledger)).error is None
    assert numbers(sandbox) == EVERYBODY
    asked = len(sandbox.requests())
    assert runner.run(send(lists[-1], **ledger)).error is None
    assert len(sandbox.requests()) == asked


def test_an_empty_list_ends_what_was_begun(
    sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    refuse_after(sandbox, 1)
    runner.run(send([ANN, BEN, CAT], **ledger))
    assert runner.run(send([], **ledger)).error is None
    assert numbers(sandbox) == [ANN, BEN]
    assert runner.result["changes"] == {"kept": 0, "added": 0, "gone": 2, "changed": 0}


def test_a_text_that_changed_is_not_sent_to_a_number_that_was_texted(
    sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    refuse_after(sandbox, 1)
    runner.run(send([ANN, BEN, CAT], text="At 10", **ledger))
    assert runner.run(send([ANN, BEN, CAT, DAN], text="At 11", **ledger)).error is None
    assert texts(sandbox) == Counter([("At 10", ANN), ("At 10", BEN), ("At 11", CAT), ("At 11", DAN)])
    assert runner.result["changes"] == {"kept": 0, "added": 2, "gone": 2, "changed": 2}


def test_a_second_text_to_the_same_number_is_no_changed_one(
    sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    rows = [("first", ANN), ("first", BEN), ("second", ANN), ("second", BEN)]
    refuse_after(sandbox, 1, "smsSendBatch")
    runner.run(send_batch(*rows, **ledger))
    assert runner.run(send_batch(*rows[::-1], ("third", CAT), **ledger)).error is None
    assert texts(sandbox) == Counter([*rows, ("third", CAT)])


def test_a_time_that_counts_from_now_is_no_change_of_a_text(
    sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    def rows() -> list[dict[str, Any]]:
        now = sandbox.now()
        times = now + timedelta(hours=1), now + timedelta(hours=9)
        return [{"text": "Come", "to": [ANN, BEN], "send_at": at} for at in times]

    def task() -> SmsSendBatchOperator:
        return SendBatch(
            task_id="send", messages=rows(), retries=RETRIES, on_changed="send_the_rest", **ledger
        )

    refuse_after(sandbox, 1)
    assert isinstance(runner.run(task()).error, GatewayUnavailable)
    sandbox.advance(600)
    assert runner.run(task()).error is None
    assert numbers(sandbox) == [ANN, ANN, BEN, BEN]
    assert len({row["scheduledTime"] for row in sandbox.outbox()}) == 2
    assert runner.result["changes"] == {"kept": 2, "added": 2, "gone": 0, "changed": 0}


@pytest.mark.parametrize("is_still_in_it", [True, False])
def test_who_could_not_be_paid_for_is_sent_to_if_they_are_still_in_the_list(
    is_still_in_it: bool, sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    sandbox.set_account(credit_balance=3)
    assert isinstance(runner.run(send([ANN, BEN, CAT, DAN, EVE], **ledger)).error, OutOfCredits)
    sandbox.set_account(credit_balance=100)
    to = [FAY, *([DAN] if is_still_in_it else []), ANN]
    assert runner.run(send(to, **ledger)).error is None
    assert numbers(sandbox) == sorted([ANN, BEN, CAT, FAY, *([DAN] if is_still_in_it else [])])
    assert runner.result["accepted"] == 5 if is_still_in_it else 4
    assert (runner.result["rejected"], runner.result["not_tried"]) == ({}, 0)


def test_a_text_corrected_after_it_was_declined_for_the_account_is_sent(
    sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    sandbox.set_account(credit_balance=1)
    runner.run(send([ANN, BEN], text="Helo", **ledger))
    sandbox.set_account(credit_balance=100)
    assert runner.run(send([ANN, BEN], text="Hello", **ledger)).error is None
    assert texts(sandbox) == Counter([("Helo", ANN), ("Hello", BEN)])


def test_a_round_that_was_begun_goes_on_with_another_list(
    sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    sandbox.set_account(credit_balance=0)
    runner.run(send([ANN, BEN], **ledger))
    sandbox.set_account(credit_balance=1)
    runner.run(send([ANN, BEN], **ledger))
    assert numbers(sandbox) == [ANN]
    sandbox.set_account(credit_balance=100)
    assert runner.run(send([CAT, BEN], **ledger)).error is None
    assert numbers(sandbox) == [ANN, BEN, CAT]
    assert runner.run(send([CAT, BEN, ANN], **ledger)).error is None
    assert numbers(sandbox) == [ANN, BEN, CAT]


def test_who_is_gone_from_a_round_and_comes_back_is_sent_to_once(
    sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    sandbox.set_account(credit_balance=0)
    for _ in range(4):  # the three requests of the first round, and the first one of the second
        assert isinstance(runner.run(send(EVERYBODY, **ledger)).error, OutOfCredits)
    sandbox.set_account(credit_balance=1)
    runner.run(send([ANN, BEN, DAN, EVE, FAY], **ledger))
    assert numbers(sandbox) == [DAN]
    sandbox.set_account(credit_balance=100)
    refuse_after(sandbox, 0)
    runner.run(send(EVERYBODY, **ledger))
    for to in (EVERYBODY, EVERYBODY, EVERYBODY[::-1]):
        assert runner.run(send(to, **ledger)).error is None
        assert numbers(sandbox) == EVERYBODY
        assert (runner.result["accepted"], runner.result["not_tried"]) == (6, 0)


def test_a_text_that_is_put_back_is_not_sent_to_who_got_the_corrected_one(
    sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    sandbox.set_account(credit_balance=0)
    runner.run(send([ANN, BEN], text="Helo", **ledger))
    sandbox.set_account(credit_balance=100)
    assert runner.run(send([ANN, BEN], text="Hello", **ledger)).error is None
    assert runner.run(send([ANN, BEN, CAT], text="Helo", **ledger)).error is None
    assert texts(sandbox) == Counter([("Hello", ANN), ("Hello", BEN), ("Helo", CAT)])
    assert runner.result["changes"] == {"kept": 0, "added": 1, "gone": 2, "changed": 2}
    assert (runner.result["rejected"], runner.result["not_tried"]) == ({}, 0)


def test_a_batch_that_was_revised_goes_on_also_where_no_list_may_change_any_more(
    sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    refuse_after(sandbox, 1)
    runner.run(send(EVERYBODY, **ledger))
    for to, on_changed in [
        (EVERYBODY[1:], "send_the_rest"),
        (EVERYBODY, "send_the_rest"),
        (EVERYBODY, "refuse"),
        (EVERYBODY, "refuse"),
    ]:
        refuse_after(sandbox, 1 if on_changed == "refuse" else 0)
        error = runner.run(send(to, on_changed=on_changed, **ledger)).error
        sandbox.clear_faults()
    assert error is None
    assert numbers(sandbox) == EVERYBODY
    assert isinstance(runner.run(send([ANN], on_changed="refuse", **ledger)).error, IdempotencyConflict)


FORMS = [{}, {"ledger_privacy": "keyed_hash"}, {"ledger_text": "keep"}]


@pytest.mark.parametrize("before", FORMS, ids=str)
@pytest.mark.parametrize("after", FORMS, ids=str)
def test_a_ledger_that_is_to_keep_another_form_knows_whom_it_has(
    before: dict[str, Any],
    after: dict[str, Any],
    sandbox: Sandbox,
    runner: TaskRunner,
    sqlite: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sqlite.let_tasks_find_it(monkeypatch)
    runner.set_extra(**HASHED)
    refuse_after(sandbox, 1)
    runner.run(send([ANN, BEN, CAT], ledger_conn_id=CONN_ID, **before))
    for to in ([DAN, CAT, ANN, BEN], [ANN, BEN, CAT, DAN]):
        assert runner.run(send(to, ledger_conn_id=CONN_ID, **after)).error is None
        assert numbers(sandbox) == [ANN, BEN, CAT, DAN]
        assert runner.result["changes"]["gone"] == 0


@pytest.mark.parametrize("fault", ["lost-after-acceptance", "reset-before-acceptance"])
def test_a_lost_answer_is_looked_up_although_the_list_has_changed(
    fault: str, sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    sandbox.add_fault(fault, operation="smsSend")
    sandbox.add_fault("429-too-many-requests", operation="getScheduledMessages", times=1, retry_after=3600)
    dying = variant(Send, clock=Send.clock._replace(sleep=lambda _: die()))
    runner.run(send([ANN, BEN, CAT], kind=dying, guarantee="exactly_once", **ledger))
    assert len(numbers(sandbox)) == (2 if fault == "lost-after-acceptance" else 0)
    assert runner.run(send([DAN, CAT, BEN, ANN], guarantee="exactly_once", **ledger)).error is None
    assert numbers(sandbox) == [ANN, BEN, CAT, DAN]


def test_who_is_gone_and_in_doubt_stays_unknown(
    sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    sandbox.add_fault("lost-after-acceptance", operation="smsSend")
    sandbox.add_fault("429-too-many-requests", operation="getScheduledMessages", times=1, retry_after=3600)
    dying = variant(Send, clock=Send.clock._replace(sleep=lambda _: die()))
    runner.run(send([ANN, BEN, CAT], kind=dying, guarantee="exactly_once", **ledger))
    sandbox.advance(120)
    error = runner.run(send([CAT, BEN], guarantee="exactly_once", **ledger)).error
    assert isinstance(error, OutcomeUnknown)
    assert "1 recipient" in str(error)
    assert numbers(sandbox) == [ANN, BEN, CAT]


@pytest.mark.parametrize(
    ("to", "on_changed", "is_refused"),
    [
        (list, None, True),
        (lambda people: lambda **_: list(people), None, False),
        (lambda people: lambda **_: list(people), "refuse", True),
        (list, "send_the_rest", False),
        (lambda people: "{{ '" + ",".join(people) + "' }}", None, False),
    ],
    ids=["list", "function", "function, refuse", "list, send_the_rest", "template"],
)
def test_what_was_found_out_may_change_and_what_was_written_down_may_not(
    to: Any, on_changed: str | None, is_refused: bool, sandbox: Sandbox, runner: TaskRunner
) -> None:
    refuse_after(sandbox, 1)
    runner.run(send(to([ANN, BEN, CAT]), on_changed=on_changed))
    error = runner.run(send(to([DAN, CAT]), on_changed=on_changed)).error
    assert isinstance(error, IdempotencyConflict) == is_refused
    assert numbers(sandbox) == ([ANN, BEN] if is_refused else [ANN, BEN, CAT, DAN])
    assert not is_refused or "on_changed" in str(error)


def test_a_list_begun_without_the_hashes_is_refused_with_a_way_out(
    sandbox: Sandbox, runner: TaskRunner
) -> None:
    refuse_after(sandbox, 1)
    runner.run(send([ANN, BEN, CAT], on_changed="refuse"))
    error = runner.run(send([DAN, CAT])).error
    assert isinstance(error, IdempotencyConflict)
    assert "did not write down" in str(error)
    assert numbers(sandbox) == [ANN, BEN]


def test_the_store_gets_neither_numbers_nor_texts(sandbox: Sandbox, runner: TaskRunner) -> None:
    refuse_after(sandbox, 1)
    runner.run(send([ANN, BEN, CAT]))
    runner.run(send([DAN, CAT]))
    kept = str(runner.task_state) + "".join(runner.requests)
    assert not [word for word in (ANN, BEN, CAT, DAN, ANN[2:], "Pay, please") if word in kept]


@pytest.mark.parametrize("last", ["At 10", "At 11"])
def test_a_text_that_changes_back_is_not_sent_beside_the_one_that_was(
    last: str, sandbox: Sandbox, runner: TaskRunner, ledger: dict[str, Any]
) -> None:
    sandbox.set_account(credit_balance=0)
    runner.run(send([ANN, BEN], text="At 10", **ledger))
    sandbox.set_account(credit_balance=100)
    assert runner.run(send([ANN], text="At 11", **ledger)).error is None
    assert runner.run(send([ANN, BEN], text=last, **ledger)).error is None
    assert texts(sandbox) == Counter([("At 11", ANN), (last, BEN)])


def test_a_list_that_an_earlier_try_begins_to_send_meanwhile_is_left_to_a_later_try(
    sandbox: Sandbox, runner: TaskRunner, sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier try writes to tables of its own, which are copied as the later one is about to begin."""
    earlier = databases.sqlite(tmp_path / "earlier.db")
    earlier.let_tasks_find_it(monkeypatch)
    refuse_after(sandbox, 1)
    runner.another().run(send([ANN, BEN, CAT], ledger_conn_id=CONN_ID))
    sandbox.clear_faults()
    sqlite.let_tasks_find_it(monkeypatch)
    clock, moments = Send.clock, count()

    def now() -> DateTime:
        if next(moments) == 0:
            copy(earlier, sqlite)
        return clock.now()

    waking = variant(Send, clock=clock._replace(now=now))
    assert isinstance(runner.run(send([DAN, CAT, ANN], kind=waking, ledger_conn_id=CONN_ID)).error, ClaimLost)
    assert numbers(sandbox) == [ANN, BEN]
    assert runner.run(send([DAN, CAT, ANN], ledger_conn_id=CONN_ID)).error is None
    assert numbers(sandbox) == [ANN, BEN, CAT, DAN]


def copy(source: Database, target: Database) -> None:
    """Copy the rows of a ledger into another one."""
    for table in ("sms_batches", "sms_requests", "sms_messages", "sms_rounds"):
        with closing(target.connect()) as connection, connection:
            connection.execute("ATTACH ? AS source", (source.connection["host"],))
            connection.execute(f"INSERT INTO {table} SELECT * FROM source.{table}")  # noqa: S608 - names of ours
