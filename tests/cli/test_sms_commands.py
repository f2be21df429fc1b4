"""A person resolves unknown outcomes with the real ``airflow``, and the cleared task doubles nothing."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import OutcomeUnknown
from airflow_provider_winsms.operators.sms import SmsSendOperator
from tests.prove.real_airflow import clean_environment
from tests.support import databases
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.cli.home import Home
    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

TEXT = "Our little secret"
TO = [f"2782555{index:04}" for index in range(1500)]


def send(count: int = 3, **kwargs: Any) -> SmsSendOperator:
    return SmsSendOperator(task_id="send", text=TEXT, to=TO[:count], **kwargs)


def lose(sandbox: Sandbox, runner: TaskRunner, fault: str, count: int = 3, **kwargs: Any) -> None:
    """Send, and get no answer."""
    sandbox.add_fault(fault, operation="smsSend")
    assert isinstance(runner.run(send(count, **kwargs)).error, OutcomeUnknown)


def numbers(sandbox: Sandbox) -> Counter[str]:
    return Counter(text["mobileNumber"] for text in sandbox.outbox())


def ids(sandbox: Sandbox) -> list[str]:
    return [str(text["apiMessageId"]) for text in sandbox.outbox()]


def as_typed(command: str) -> list[str]:
    """Return the arguments of a command that was shown, for ``Home.resolve``."""
    words = shlex.split(command)
    assert words[:3] == ["airflow", "sms", "resolve"]
    return words[3:]


def put_back(home: Home, runner: TaskRunner) -> None:
    runner.task_state = home.store()
    runner.clear()


pytestmark = pytest.mark.airflow


def test_a_send_that_got_through_is_not_sent_again(home: Home, sandbox: Sandbox, runner: TaskRunner) -> None:
    lose(sandbox, runner, "lost-after-acceptance")
    home.keep(runner)
    (row,) = home.unresolved()
    assert (row["dag_id"], row["run_id"], row["task_id"], row["map_index"]) == ("dag", "run", "send", "-1")
    assert (row["round"], row["request"], row["recipients"], row["due_at"]) == ("1", "1", "3", None)
    command = as_typed(row["if_accepted"])[: -len(["ID_1", "...", "ID_3"])]
    said = home.resolve(*command, *ids(sandbox), "--yes")
    assert "ACCEPTED" in said
    assert "clear the task dag.send of the run run" in said
    assert home.unresolved() == []
    put_back(home, runner)
    assert runner.run(send()).error is None
    assert runner.result["message_ids"] == [int(message_id) for message_id in ids(sandbox)]
    assert numbers(sandbox) == Counter(TO[:3])


def test_a_send_that_did_not_get_through_is_sent_by_the_cleared_task(
    home: Home, sandbox: Sandbox, runner: TaskRunner
) -> None:
    lose(sandbox, runner, "reset-before-acceptance")
    assert numbers(sandbox) == {}
    home.keep(runner)
    (row,) = home.unresolved()
    home.resolve(*as_typed(row["if_not_accepted"]), "--yes")
    put_back(home, runner)
    assert runner.run(send()).error is None
    assert numbers(sandbox) == Counter(TO[:3])
    assert runner.result["accepted"] == 3


def test_one_request_of_several_is_resolved(home: Home, sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.set_account(credit_balance=5000)
    sandbox.add_fault("lost-after-acceptance", operation="smsSend", skip=1)
    assert isinstance(runner.run(send(1500)).error, OutcomeUnknown)
    home.keep(runner)
    (row,) = home.unresolved()
    assert (row["request"], row["recipients"]) == ("2", "500")
    home.resolve(row["batch_id"], "--request", "2", "--accepted", *ids(sandbox)[1000:], "--yes")
    connections = {row["sms_conn_id"] for key, row in home.store().items() if key.startswith("sms_send.")}
    assert connections == {"winsms_default"}
    put_back(home, runner)
    assert runner.run(send(1500)).error is None
    assert numbers(sandbox) == Counter(TO)


def test_part_of_a_request_is_resolved(home: Home, sandbox: Sandbox, runner: TaskRunner) -> None:
    """The answer left out the recipient in the middle."""
    lose(sandbox, runner, "missing-row")
    home.keep(runner)
    (row,) = home.unresolved()
    assert row["recipients"] == "1"
    taken = ids(sandbox)[0]
    done = home.airflow("sms", "resolve", row["batch_id"], "--request", "1", "--accepted", taken, "--yes")
    assert done.returncode == 1
    assert "1 of the 1 id belong to another recipient" in done.stderr
    home.resolve(row["batch_id"], "--request", "1", "--accepted", ids(sandbox)[1], "--yes")
    put_back(home, runner)
    assert runner.run(send()).error is None
    assert runner.result["message_ids"] == [int(message_id) for message_id in ids(sandbox)]
    assert numbers(sandbox) == Counter(TO[:3])


def test_a_request_of_a_later_round_is_resolved(home: Home, sandbox: Sandbox, runner: TaskRunner) -> None:
    lose(sandbox, runner, "reset-before-acceptance")
    home.keep(runner)
    home.resolve(home.unresolved()[0]["batch_id"], "--request", "1", "--not-accepted", "--yes")
    put_back(home, runner)
    lose(sandbox, runner, "reset-before-acceptance")
    home.keep(runner)
    (row,) = home.unresolved()
    assert (row["round"], row["request"]) == ("2", "1")
    assert "--round 2" in row["if_not_accepted"]
    done = home.airflow("sms", "resolve", row["batch_id"], "--request", "1", "--not-accepted", "--yes")
    assert "Requests in doubt: --request 1 --round 2" in done.stderr
    home.resolve(*as_typed(row["if_not_accepted"]), "--yes")
    put_back(home, runner)
    assert runner.run(send()).error is None
    assert numbers(sandbox) == Counter(TO[:3])


def test_only_the_latest_generation_counts(home: Home, sandbox: Sandbox, runner: TaskRunner) -> None:
    lose(sandbox, runner, "lost-after-acceptance")
    runner.clear()
    assert runner.run(send(on_clear="resend")).error is None
    home.keep(runner)
    assert len([key for key in home.store() if key.startswith("sms_send.")]) == 2
    assert home.unresolved() == []


def test_a_send_within_a_task_is_resolved_beside_the_task_s_own(
    home: Home, sandbox: Sandbox, runner: TaskRunner
) -> None:
    def alert(context: Any) -> None:
        SmsSendOperator(task_id="alert", text="It failed.", to=TO[0]).execute(context)

    sandbox.add_fault("reset-before-acceptance", operation="smsSend")
    sandbox.add_fault("reset-before-acceptance", operation="smsSend")
    runner.run(send(on_failure_callback=alert))
    home.keep(runner)
    rows = home.unresolved()
    assert sorted(row["recipients"] for row in rows) == ["1", "3"]
    for row in rows:
        home.resolve(*as_typed(row["if_not_accepted"]), "--yes")
    assert home.unresolved() == []


def test_what_is_asked_and_what_is_answered(home: Home, sandbox: Sandbox, runner: TaskRunner) -> None:
    lose(sandbox, runner, "reset-before-acceptance")
    home.keep(runner)
    before = home.store()
    (row,) = home.unresolved()
    command = ("sms", "resolve", row["batch_id"], "--request", "1", "--not-accepted")
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda answer: home.airflow(*command, answer=answer), ("", "n\n")))
    for done in runs:
        assert done.returncode == 1
        assert "did NOT accept the text to each of the 3 recipients in doubt" in done.stdout
        assert "gets it TWICE" in done.stdout
        assert "Nothing was recorded." in done.stderr
    assert home.store() == before
    assert home.airflow(*command, answer="y\n").returncode == 0
    assert home.store() != before


@pytest.fixture
def in_doubt(home: Home, sandbox: Sandbox, runner: TaskRunner) -> str:
    """The id of a batch whose only request is in doubt."""
    lose(sandbox, runner, "lost-after-acceptance")
    home.keep(runner)
    return str(home.unresolved()[0]["batch_id"])


def test_what_cannot_be_is_refused_and_says_what_to_do(home: Home, in_doubt: str) -> None:
    cases = {
        ("--request", "1"): "Give either --accepted",
        ("--request", "1", "--not-accepted", "--accepted", "1"): "Give either --accepted",
        ("--request", "1", "--accepted", "1", "2"): "3 recipients in doubt, and --accepted has 2 ids",
        ("--request", "1", "--accepted", "1", "2", "2"): "1 of the 3 ids belong to another",
        ("--request", "1", "--accepted", "1", "2,", "3"): "Put spaces between ids",
        ("--request", "1", "--accepted", "1", "2", "ID_3"): "in place of ID_1",
        ("--request", "1", "--accepted", "1", "2", "3" * 65): "A message id has 1 to 64 characters",
        ("--request", "2", "--not-accepted"): "Requests in doubt: --request 1 --round 1",
        ("--request", "0", "--not-accepted"): "invalid positive int value",
        ("--request", "1", "--not-accepted", "--ledger-conn-id", "nobody"): "There is no connection 'nobody'",
    }
    before = home.store()
    with ThreadPoolExecutor() as pool:
        runs = pool.map(lambda given: home.airflow("sms", "resolve", in_doubt, *given, "--yes"), cases)
    for done, says in zip(runs, cases.values(), strict=True):
        assert done.returncode
        assert says in done.stderr + done.stdout
    unknown = home.airflow("sms", "resolve", "f" * 32, "--request", "1", "--not-accepted", "--yes")
    assert "No request of the batch 'ffff" in unknown.stderr
    assert "--ledger-conn-id" in unknown.stderr
    assert home.store() == before


@pytest.mark.parametrize("state", ["running", "queued"])
def test_a_task_that_is_under_way_is_left_alone(
    state: str, home: Home, in_doubt: str, runner: TaskRunner
) -> None:
    home.keep(runner, state)
    done = home.airflow("sms", "resolve", in_doubt, "--request", "1", "--not-accepted", "--yes")
    assert done.returncode == 1
    assert f"The task dag.send of the run run is {state}" in done.stderr
    assert home.store() == runner.task_state


def test_a_record_that_changed_while_somebody_decided_is_not_overwritten(
    home: Home, in_doubt: str, runner: TaskRunner
) -> None:
    """The question stands while the record changes below it."""
    arguments = ["sms", "resolve", in_doubt, "--request", "1", "--not-accepted"]
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow", *arguments],
        env=clean_environment() | {"AIRFLOW_HOME": str(home.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    asked = ""
    while "[y/N]" not in asked:
        piece = process.stdout.read(1)
        assert piece, process.communicate()
        asked += piece
    (key,) = [key for key in runner.task_state if key.startswith("sms_send.")]
    runner.task_state[key] = {**runner.task_state[key], "owner": "another"}
    home.keep(runner)
    _, said = process.communicate("y\n")
    assert process.returncode == 1
    assert "has changed while you decided. Nothing was recorded." in said
    assert home.store() == runner.task_state


def test_nothing_personal_is_shown_in_any_format(home: Home, in_doubt: str) -> None:
    formats = ("table", "json", "yaml", "plain")
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda name: home.airflow("sms", "unresolved", "--output", name), formats))
    for done in runs:
        assert done.returncode == 0
        assert in_doubt in done.stdout
        assert not re.search("|".join([TEXT, *TO[:3]]), done.stdout + done.stderr)
    resolve = f"airflow sms resolve {in_doubt} --request 1"
    for done in runs:
        shown = " ".join(done.stdout.split())  # YAML breaks long lines
        assert f"{resolve} --not-accepted" in shown
        assert f"{resolve} --accepted ID_1 ... ID_3" in shown


def test_what_is_not_a_send_or_cannot_be_read_is_left_out(
    home: Home, in_doubt: str, runner: TaskRunner
) -> None:
    runner.task_state = {"sms_sendings": 1, "sms_send": {"__ref": "s3://elsewhere"}}
    home.keep(runner, task_id="other")
    done = home.airflow("sms", "unresolved", "--output", "json")
    assert [row["batch_id"] for row in json.loads(done.stdout)] == [in_doubt]
    assert "1 send cannot be read here" in done.stderr


def test_the_commands_are_in_the_help(migrated: Home) -> None:
    calls: tuple[tuple[str, ...], ...] = (("--help",), ("sms", "--help"), ("sms", "resolve", "--help"))
    with ThreadPoolExecutor() as pool:
        top, group, command = pool.map(lambda words: migrated.airflow(*words), calls)
    assert re.search(r"\bsms\b +Check, report and resolve SMS, show or forget a person\n", top.stdout)
    assert {"check", "forget", "report", "resolve", "show", "unresolved"} <= set(group.stdout.split())
    assert "--not-accepted" in command.stdout
    assert top.stderr == group.stderr == command.stderr == ""


# On the SQL ledger.


@pytest.fixture
def ledger(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> Database:
    database = databases.sqlite(tmp_path / "ledger.db")
    database.let_tasks_find_it(monkeypatch)
    home.variables.update(database.environment)
    return database


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("fault", ["lost-after-acceptance", "reset-before-acceptance"])
def test_a_send_with_a_ledger_is_resolved_there(
    fault: str, home: Home, sandbox: Sandbox, runner: TaskRunner
) -> None:
    lose(sandbox, runner, fault, ledger_conn_id=CONN_ID)
    home.keep(runner)
    assert home.unresolved() == []
    (row,) = home.unresolved("--ledger-conn-id", CONN_ID)
    assert f"--ledger-conn-id {CONN_ID}" in row["if_not_accepted"]
    command = as_typed(row["if_not_accepted"])
    if sandbox.outbox():
        command[-1:] = ["--accepted", *ids(sandbox)]
    home.resolve(*command, "--yes")
    assert home.unresolved("--ledger-conn-id", CONN_ID) == []
    runner.clear()
    assert runner.run(send(ledger_conn_id=CONN_ID)).error is None
    assert numbers(sandbox) == Counter(TO[:3])
    assert runner.result["accepted"] == 3


def test_the_ledger_may_be_a_connection_of_the_metadata_database(
    tmp_path: Path, home: Home, sandbox: Sandbox, runner: TaskRunner
) -> None:
    database = databases.sqlite(tmp_path / "ledger.db")
    runner.connections = {**runner.connections, "history": database.connection}
    lose(sandbox, runner, "lost-after-acceptance", ledger_conn_id="history", ledger_prefix="mine_")
    added = home.airflow("connections", "add", "history", "--conn-json", json.dumps(database.connection))
    assert added.returncode == 0, added.stderr
    (row,) = home.unresolved("--ledger-conn-id", "history", "--ledger-prefix", "mine_")
    home.resolve(*as_typed(row["if_accepted"])[: -len("abc")], *ids(sandbox), "--yes")
    runner.clear()
    assert runner.run(send(ledger_conn_id="history", ledger_prefix="mine_")).error is None
    assert numbers(sandbox) == Counter(TO[:3])
