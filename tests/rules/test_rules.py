"""Rules decide once who gets a text, and every later try follows them. The outbox is the judge."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import (
    IdempotencyConflict,
    InvalidMessage,
    QueryFailed,
    RefusedByRule,
    RuleFailed,
)
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.messages import Recipient
from airflow_provider_winsms.operators.sms import SmsSendBatchOperator, SmsSendOperator
from airflow_provider_winsms.rules import Draft, OnlyTo, OptOuts, RejectReason, RuleContext
from tests.support.database_fixtures import postgres_by_path as postgres
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner

__all__ = ["postgres"]

ANN, BEN, CAT = "27825550101", "27825550102", "27825550103"
EVERYBODY = [ANN, BEN, CAT]


@dataclass(frozen=True)
class NobodyNamed:
    """A rule as a user would write it."""

    reference: str

    def apply(self, draft: Draft, context: RuleContext) -> None:  # noqa: ARG002 - it asks nothing
        for entry in draft:
            if entry.recipient.reference == self.reference:
                draft.reject(entry.position, RejectReason.NOT_ALLOWED)


@dataclass(frozen=True)
class Refuse:
    def apply(self, draft: Draft, context: RuleContext) -> None:
        msg = f"{len(draft)} texts through {context.sms_conn_id} are too many."
        raise RefusedByRule(msg)


@dataclass(frozen=True)
class FirstOnly:
    """A rule that decides otherwise each time that it is asked."""

    asked: Any

    def apply(self, draft: Draft, context: RuleContext) -> None:  # noqa: ARG002 - it asks nothing
        self.asked.append(len(draft))
        for entry in draft:
            if (entry.position + len(self.asked)) % 2:
                draft.reject(entry.position, RejectReason.NOT_ALLOWED)


class Asked(list[int]):
    def __repr__(self) -> str:
        return "Asked()"


def send(to: Any = EVERYBODY, **kwargs: Any) -> SmsSendOperator:
    return SmsSendOperator(task_id="send", text="Hallo", to=to, **kwargs)


def numbers(sandbox: Sandbox) -> list[str]:
    return sorted(row["mobileNumber"] for row in sandbox.outbox())


def test_who_opted_out_at_the_gateway_gets_no_text(sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.opt_out(BEN)
    runner.run(send(rules=[OptOuts()]))
    assert runner.result["rejected"] == {"opted_out": 1}
    assert (runner.result["accepted"], runner.result["not_tried"]) == (2, 0)
    assert numbers(sandbox) == [ANN, CAT]


def test_who_opted_out_in_a_table_of_ones_own_gets_no_text_in_any_spelling(
    sandbox: Sandbox, runner: TaskRunner, postgres: Database
) -> None:
    postgres.execute("CREATE TABLE {0}stopped (number text)")
    postgres.execute(
        "INSERT INTO {0}stopped VALUES ('082 555 0101'), ('+27 82 555 0102'), ('nobody'), (NULL)"
    )
    runner.run(send(rules=[OptOuts(sql_conn_id=CONN_ID, sql="SELECT number FROM stopped")]))
    assert runner.result["rejected"] == {"opted_out": 2}
    assert numbers(sandbox) == [CAT]


def test_who_opted_out_in_a_table_with_hashes_and_forgotten_people_gets_no_text(
    sandbox: Sandbox, runner: TaskRunner, postgres: Database
) -> None:
    runner.set_extra(hash_secret="k" * 16)
    hashes, other = KeyedHash("k" * 16), KeyedHash("l" * 16)
    stopped = [hashes.of(ANN), hashes.pseudonym(BEN), other.pseudonym(CAT)]
    postgres.execute("CREATE TABLE {0}stopped (number text)")
    for value in stopped:
        postgres.execute("INSERT INTO {0}stopped VALUES ('" + value + "')")  # noqa: S608 - a hash
    runner.run(send(rules=[OptOuts(sql_conn_id=CONN_ID, sql="SELECT number FROM stopped")]))
    assert runner.result["rejected"] == {"opted_out": 2}
    assert numbers(sandbox) == [CAT]


def test_nobody_but_those_on_a_list_gets_a_text(sandbox: Sandbox, runner: TaskRunner) -> None:
    runner.run(send(rules=[OnlyTo(["082 555 0101"])]))
    assert runner.result["rejected"] == {"not_allowed": 2}
    assert numbers(sandbox) == [ANN]


@pytest.mark.parametrize(
    ("value", "texted"),
    [
        ('["+27825550102", "0825550103"]', [BEN, CAT]),
        ("+27825550102, 082 555 0103", [BEN, CAT]),
        ("+27825550102", [BEN]),
        ("27825550102", [BEN]),
    ],
)
def test_a_list_may_be_an_airflow_variable(
    value: str, texted: list[str], sandbox: Sandbox, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_STAGING_PHONES", value)
    runner.run(send(rules=[OnlyTo(variable="staging_phones")]))
    assert numbers(sandbox) == texted


@pytest.mark.parametrize("value", ["null", "true"])
def test_a_variable_that_lists_nobody_sends_nothing(
    value: str, sandbox: Sandbox, runner: TaskRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_STAGING_PHONES", value)
    assert "1 of its values" in str(runner.run(send(rules=[OnlyTo(variable="staging_phones")])).error)
    assert not sandbox.outbox()


def test_a_variable_that_is_not_there_sends_nothing(sandbox: Sandbox, runner: TaskRunner) -> None:
    assert "'staging_phones'" in str(runner.run(send(rules=[OnlyTo(variable="staging_phones")])).error)
    assert not sandbox.outbox()


def test_a_list_with_a_word_in_it_sends_nothing(sandbox: Sandbox, runner: TaskRunner) -> None:
    assert "1 of its values" in str(runner.run(send(rules=[OnlyTo([ANN, "Ben"])])).error)
    assert not sandbox.outbox()


@pytest.mark.parametrize(
    "make", [OnlyTo, lambda: OnlyTo([ANN], variable="v"), lambda: OptOuts(sql="SELECT 1")]
)
def test_a_rule_with_too_few_or_too_many_arguments_is_refused_where_the_dag_is_read(make: Any) -> None:
    with pytest.raises(InvalidMessage):
        make()


@pytest.mark.parametrize("rules", [OptOuts(), [OptOuts], ["opt_outs"], "opt_outs", None])
def test_what_is_no_list_of_rules_is_refused_where_the_dag_is_read(rules: Any) -> None:
    with pytest.raises(InvalidMessage, match="rules"):
        send(rules=rules)


def test_rules_of_ones_own_are_applied_in_their_order(sandbox: Sandbox, runner: TaskRunner) -> None:
    sandbox.opt_out(ANN)
    to = [Recipient(ANN, "1"), Recipient(BEN, "2"), Recipient(CAT, "1")]
    rules = [OptOuts(), NobodyNamed("1")]
    runner.run(send(to, rules=rules))
    assert runner.result["rejected"] == {"not_allowed": 1, "opted_out": 1}
    assert numbers(sandbox) == [BEN]


def test_a_refusal_sends_nothing_at_all(sandbox: Sandbox, runner: TaskRunner) -> None:
    error = runner.run(send(rules=[Refuse()])).error
    assert "3 texts through winsms_default are too many." in str(error)
    assert not sandbox.outbox()


@dataclass(frozen=True)
class Fails:
    def apply(self, draft: Draft, context: RuleContext) -> None:  # noqa: ARG002 - it asks nothing
        raise KeyError(next(iter(draft)).recipient.number)


def test_a_rule_that_fails_sends_nothing_and_quotes_nothing(
    sandbox: Sandbox, runner: TaskRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner.run(send(rules=[Fails()]))
    assert str(run.state) == "up_for_retry" or isinstance(run.error, RuleFailed)
    assert "The rule Fails failed: KeyError (test_rules.py, line" in str(run.error)
    assert ANN not in str(run.error) + capsys.readouterr().out
    assert not sandbox.outbox()


def test_a_query_that_the_database_refuses_sends_nothing(
    sandbox: Sandbox,
    runner: TaskRunner,
    postgres: Database,  # noqa: ARG001 - the connection leads to it
) -> None:
    run = runner.run(send(rules=[OptOuts(sql_conn_id=CONN_ID, sql="SELECT number FROM nowhere")]))
    assert isinstance(run.error, QueryFailed)
    assert not sandbox.outbox()


def test_a_duplicate_is_no_further_text_for_a_rule(sandbox: Sandbox, runner: TaskRunner) -> None:
    asked = Asked()
    runner.run(send([ANN, BEN, ANN], rules=[FirstOnly(asked)]))
    assert (asked, runner.result["duplicates"]) == ([2], 1)
    assert numbers(sandbox) == [BEN]


@pytest.mark.parametrize("on_empty", ["fail", "skip"])
def test_if_nobody_is_left_the_task_does_what_it_does_with_an_empty_list(
    on_empty: Any, sandbox: Sandbox, runner: TaskRunner
) -> None:
    run = runner.run(send(rules=[OnlyTo([])], on_empty=on_empty))
    assert run.state == ("skipped" if on_empty == "skip" else "failed")
    assert on_empty == "skip" or "everybody: 3 x not_allowed" in str(run.error)
    assert not sandbox.outbox()


def test_on_rejected_is_about_the_gateway_and_not_about_rules(runner: TaskRunner) -> None:
    assert runner.run(send(rules=[OnlyTo([ANN])], on_rejected="fail")).error is None


def test_the_ledger_has_a_row_for_each_whom_a_rule_took_out(runner: TaskRunner, postgres: Database) -> None:
    to = [Recipient(ANN, "a"), Recipient(BEN, "b"), Recipient(CAT, "c")]
    runner.run(send(to, rules=[OnlyTo([BEN])], ledger_conn_id=CONN_ID))
    rows = postgres.execute("SELECT reference, number, reason, state FROM {0}sms_messages WHERE round = 0")
    assert sorted(rows) == [("a", "", "not_allowed", "declined"), ("c", "", "not_allowed", "declined")]
    assert postgres.execute("SELECT accepted, declined FROM {0}sms_batches") == [(1, 2)]


@pytest.mark.parametrize("kept_in", ["store", "tables"])
def test_a_later_try_follows_what_the_rules_said_first(
    kept_in: str, sandbox: Sandbox, world: SendWorld, tmp_path: Path
) -> None:
    world.limits["recipients"] = 2
    asked, everybody = Asked(), [f"2782555{at:04}" for at in range(8)]
    world.runner.add_database("ledger", tmp_path / "ledger.db")
    ledger = {"ledger_conn_id": "ledger"} if kept_in == "tables" else {}
    sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, times=1, retry_after=3600)
    assert world.run(to=everybody, rules=[FirstOnly(asked)], **ledger) is not None
    assert world.run(to=everybody, rules=[FirstOnly(asked)], **ledger) is None
    assert asked == [8]
    assert numbers(sandbox) == everybody[1::2]
    assert world.runner.result["rejected"] == {"not_allowed": 4}


def test_pickled_rules_are_equal() -> None:
    rules = [OptOuts(), OptOuts("db", "SELECT 1"), OnlyTo([ANN]), OnlyTo(variable="v")]
    assert pickle.loads(pickle.dumps(rules)) == rules  # noqa: S301 - our own


def test_a_rule_shows_no_number() -> None:
    assert "2782" not in repr(OnlyTo([ANN]))


@pytest.mark.parametrize(
    ("on_changed", "texted"), [("refuse", [ANN]), ("send_the_rest", [ANN, CAT])], ids=["refuse", "rest"]
)
def test_other_rules_than_those_of_an_earlier_try_decide_about_the_rest_or_are_refused(
    on_changed: Any, texted: list[str], sandbox: Sandbox, world: SendWorld
) -> None:
    world.limits["recipients"] = 1
    sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=1, times=1, retry_after=3600)
    assert world.run(to=EVERYBODY, rules=[OptOuts()], on_changed=on_changed) is not None
    error = world.run(to=EVERYBODY, rules=[OnlyTo([CAT])], on_changed=on_changed)
    assert isinstance(error, IdempotencyConflict) == (on_changed == "refuse")
    assert numbers(sandbox) == texted


def test_a_batch_of_different_texts_obeys_rules(sandbox: Sandbox, runner: TaskRunner) -> None:
    rows = [{"text": f"Hallo {at}", "to": number} for at, number in enumerate(EVERYBODY)]
    operator = SmsSendBatchOperator(task_id="send", messages=rows, rules=[OnlyTo([BEN, CAT])])
    runner.run(operator)
    assert runner.result["accepted"] == 2
    assert numbers(sandbox) == [BEN, CAT]


@pytest.mark.parametrize(("most", "state"), [(2, "success"), (1, "failed")])
def test_the_rule_that_is_shown_takes_out_and_refuses(
    most: int, state: str, sandbox: Sandbox, runner: TaskRunner
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "@dataclass" in block
    )
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(code, namespace)  # noqa: S102 - the page's own code
    to = [Recipient(ANN, "1"), Recipient(BEN, "2"), CAT]
    assert runner.run(send(to, rules=[namespace["WithReference"](most)])).state == state
    assert numbers(sandbox) == ([ANN, BEN] if state == "success" else [])
