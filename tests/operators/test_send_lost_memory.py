"""A later try whose ledger has lost what an earlier one claimed sends nothing. The outbox is the judge."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable, LedgerUnavailable, OutcomeUnknown, SmsError
from airflow_provider_winsms.operators.sms import SmsSendOperator
from tests.support.database_fixtures import postgres_by_path as postgres
from tests.support.databases import CONN_ID
from tests.support.hooks import narrow_hook

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

__all__ = ["postgres"]

TO = [f"2782{place:07d}" for place in range(6)]
EVERY = ""
RETRIES = 5


class Send(SmsSendOperator):
    """A send with two recipients a request."""

    hook_of = narrow_hook(recipients=2)


@pytest.fixture(autouse=True)
def retries(runner: TaskRunner) -> None:
    runner.retries = RETRIES


def send(**kwargs: Any) -> SmsSendOperator:
    return Send(task_id="send", **{"text": "Hallo", "to": TO, "retries": RETRIES, **kwargs})


def texts(sandbox: Sandbox) -> dict[str, int]:
    return dict(Counter(row["mobileNumber"] for row in sandbox.outbox()))


def once(*numbers: str) -> dict[str, int]:
    return dict.fromkeys(numbers, 1)


class Lying(dict[str, Any]):
    """A store that answers "not found" to some reads of the keys that begin with a word.

    :param reads: which of them, counted from 1.
    """

    def __init__(self, rows: dict[str, Any], beginning: str, reads: range) -> None:
        super().__init__(rows)
        self.beginning, self.reads, self.count = beginning, reads, 0

    def __contains__(self, key: object) -> bool:
        if not str(key).startswith(self.beginning):
            return super().__contains__(key)
        self.count += 1
        return self.count not in self.reads and super().__contains__(key)


ALWAYS = range(1, 1000)
LIES = [
    pytest.param(beginning, reads, id=f"{beginning or 'every key'} {reads.start}-{reads.stop - 1}")
    for beginning in (EVERY, "sms_send", "sms_send.1.1.000001", "sms_send.1.1.000002", "sms_claims")
    for reads in (ALWAYS, *(range(first, first + length) for first in (1, 2, 3, 4) for length in (1, 5)))
]


@pytest.mark.parametrize("sent_by_the_first", [2, 6])
@pytest.mark.parametrize(("beginning", "reads"), LIES)
def test_not_found_is_not_taken_for_never_sent(
    beginning: str, reads: range, sent_by_the_first: int, sandbox: Sandbox, runner: TaskRunner
) -> None:
    if sent_by_the_first < len(TO):
        sandbox.add_fault("429-too-many-requests", skip=sent_by_the_first // 2, times=1, retry_after=3600)
        assert isinstance(runner.run(send()).error, GatewayUnavailable)
    else:
        assert runner.run(send()).error is None
        runner.clear()
    runner.task_state = Lying(runner.task_state, beginning, reads)
    error = runner.run(send()).error
    assert error is None or isinstance(error, LedgerUnavailable), error
    assert set(texts(sandbox).values()) == {1}
    runner.task_state = dict(runner.task_state)
    assert runner.run(send()).error is None
    assert texts(sandbox) == once(*TO)


def test_a_first_try_that_claimed_nothing_keeps_no_later_one_from_sending(
    sandbox: Sandbox, runner: TaskRunner
) -> None:
    runner.run(send(to=lambda **_: 1 / 0))
    assert runner.run(send()).error is None
    assert texts(sandbox) == once(*TO)
    assert not [key for key in runner.task_state if "probe" in key]


# Tables.


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    found: Database = request.getfixturevalue(request.param)
    return found


Loss = Callable[["Database", pytest.MonkeyPatch], None]


def connect_to(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))


def elsewhere(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the connection lead to another schema, or to the same file on another machine."""
    if database.kind == "sqlite":
        changed = {**database.connection, "host": f"{database.connection['host']}.elsewhere"}
    else:
        database.execute(f"CREATE SCHEMA {database.schema}_b")
        options = f"-c search_path={database.schema}_b"
        changed = {**database.connection, "extra": json.dumps({"options": options})}
    connect_to(changed, monkeypatch)


def all_dropped(database: Database, _: pytest.MonkeyPatch) -> None:
    for name in database.tables():
        database.execute(f"DROP TABLE {{}}{name}")


def deleted(*tables: str) -> Loss:
    def delete(database: Database, _: pytest.MonkeyPatch) -> None:
        for table in tables:
            database.execute(f"DELETE FROM {{}}{table}")  # noqa: S608 - names of ours

    return delete


LOSSES = {
    "dropped": all_dropped,
    "elsewhere": elsewhere,
    "requests deleted": deleted("sms_requests"),
    "requests and messages deleted": deleted("sms_requests", "sms_messages"),
    "batches deleted": deleted("sms_batches"),
    "all deleted": deleted("sms_requests", "sms_messages", "sms_batches"),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("is_cleared", [False, True], ids=["retried", "cleared"])
def test_a_send_whose_tables_lack_what_it_claimed_refuses_until_a_person_decides(
    lose: Loss,
    is_cleared: bool,
    runner: TaskRunner,
    database: Database,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if is_cleared:
        assert runner.run(send(ledger_conn_id=CONN_ID)).error is None
        runner.clear()
    else:
        sandbox.add_fault("429-too-many-requests", skip=2, times=1, retry_after=3600)
        assert runner.run(send(ledger_conn_id=CONN_ID)).error is not None
    before = texts(sandbox)
    lose(database, monkeypatch)
    error = runner.run(send(ledger_conn_id=CONN_ID)).error
    assert isinstance(error, LedgerUnavailable)
    assert "the ledger lacks" in str(error)
    assert 'clear the task with on_clear="resend"' in str(error)
    assert texts(sandbox) == before


@pytest.mark.parametrize("lose", [LOSSES[name] for name in ("dropped", "elsewhere", "all deleted")])
def test_the_way_out_sends_all_again(
    lose: Loss, runner: TaskRunner, database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runner.run(send(ledger_conn_id=CONN_ID)).error is None
    lose(database, monkeypatch)
    for tries in (2, 3):
        runner.clear()
        assert runner.run(send(ledger_conn_id=CONN_ID, on_clear="resend")).error is None
        assert texts(sandbox) == dict.fromkeys(TO, tries)


@pytest.mark.usefixtures("database")
def test_a_ledger_of_another_kind_or_prefix_does_not_have_the_claims(
    runner: TaskRunner, sandbox: Sandbox
) -> None:
    assert runner.run(send()).error is None
    for options in ({"ledger_conn_id": CONN_ID}, {"ledger_conn_id": CONN_ID, "ledger_prefix": "other_"}):
        runner.clear()
        assert isinstance(runner.run(send(**options)).error, LedgerUnavailable)
    runner.clear()
    assert runner.run(send()).error is None
    assert texts(sandbox) == once(*TO)


@pytest.mark.usefixtures("database")
def test_another_idempotency_key_is_another_batch(runner: TaskRunner, sandbox: Sandbox) -> None:
    for tries, key in enumerate(("a", "b"), start=1):
        assert runner.run(send(ledger_conn_id=CONN_ID, idempotency_key=key)).error is None
        assert texts(sandbox) == dict.fromkeys(TO, tries)
        runner.clear()


def test_a_database_that_was_away_at_the_first_try_keeps_no_later_one_from_sending(
    runner: TaskRunner, sandbox: Sandbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_to({"conn_type": "postgres", "host": "127.0.0.1", "port": 1}, monkeypatch)
    assert isinstance(runner.run(send(ledger_conn_id=CONN_ID)).error, LedgerUnavailable)
    connect_to(database.connection, monkeypatch)
    assert runner.run(send(ledger_conn_id=CONN_ID)).error is None
    assert texts(sandbox) == once(*TO)


def test_without_a_task_state_store_tables_made_by_a_later_try_are_refused_once(
    runner: TaskRunner, database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:

    def run() -> BaseException | None:
        forgetful = send(ledger_conn_id=CONN_ID, pre_execute=lambda context: context.pop("task_state_store"))
        return runner.run(forgetful).error

    assert run() is None
    all_dropped(database, monkeypatch)
    error = run()
    assert isinstance(error, OutcomeUnknown)
    assert "clear the task" in str(error)
    assert texts(sandbox) == once(*TO)


def test_the_errors_tell_no_number(
    runner: TaskRunner, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runner.run(send(ledger_conn_id=CONN_ID, idempotency_key=TO[0])).error is None
    all_dropped(database, monkeypatch)
    runner.clear()
    error = runner.run(send(ledger_conn_id=CONN_ID, idempotency_key=TO[0])).error
    assert isinstance(error, SmsError)
    assert TO[0] not in f"{error} {json.dumps(runner.task_state)}"
