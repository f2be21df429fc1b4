"""A text in doubt is not mistaken for another text with its number, its minute or its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import OutcomeUnknown, OutOfCredits
from airflow_provider_winsms.sandbox import Sandbox
from tests.conftest import API_KEY
from tests.support.send_world import AFTER, ANN, BEFORE, MANY, OTHER, Attack, die

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
def test_a_text_in_doubt_before_a_clear_is_not_taken_for_the_one_after_it(
    guarantee: str, attack: Attack
) -> None:
    world = attack.world
    task: dict[str, Any] = {"guarantee": guarantee, "on_clear": "resend", "send_at": world.now().add(hours=5)}
    attack.options.update(to=[ANN], cancel_on_kill=False)
    world.after[1] = die
    attack.run(text="Old text.", **task)
    attack.runner.clear()
    world.sandbox.advance(60)
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    error = attack.run(text="New text.", **task)
    assert isinstance(error, OutcomeUnknown) or {row["message"] for row in world.live} > {"Old text."}


@pytest.mark.parametrize("conn_id", ["winsms_default", "real"], ids=["ids used again", "another connection"])
def test_ids_that_the_ledger_has_from_elsewhere_hide_no_text(
    conn_id: str, attack: Attack, world: SendWorld
) -> None:
    """A sandbox has the same ids as the account that comes after it, and so has one that begins again."""
    send_at = world.now().add(hours=5)
    attack.options.update(cancel_on_kill=False, guarantee="exactly_once", on_clear="resend")
    assert attack.run(send_at=send_at) is None
    tried_out = world.live
    with Sandbox(api_key=API_KEY, speed=0, now=world.sandbox.now()) as real:
        there = {**attack.runner.connections["winsms_default"], "host": real.base_url}
        attack.runner.connections = {**attack.runner.connections, conn_id: there}
        attack.runner.clear()
        real.add_fault(AFTER, operation="smsSend")
        later = send_at if conn_id == "real" else send_at.add(minutes=1)
        assert attack.run(sms_conn_id=conn_id, send_at=later) is None
        texts = real.outbox()
    assert [row["apiMessageId"] for row in texts] == [row["apiMessageId"] for row in tried_out]
    assert attack.runner.result["message_ids"] == [row["apiMessageId"] for row in texts]


def test_a_number_that_another_task_keeps_as_a_hash_may_be_the_same(
    runner: TaskRunner, world: SendWorld, tmp_path: Path
) -> None:
    runner.set_extra(hash_secret="x" * 40)
    attack = Attack(runner, world, tmp_path)
    attack.options.update(to=[ANN], cancel_on_kill=False, guarantee="exactly_once")
    attack.options["send_at"] = world.now().add(hours=5)
    hashed = {**attack.options, "text": OTHER, "ledger_privacy": "keyed_hash"}
    world.after[1] = die
    world.run(task_id="other", **hashed)
    world.sandbox.add_fault(BEFORE, operation="smsSend")
    assert isinstance(attack.run(), OutcomeUnknown)
    world.run(task_id="other", **hashed)
    assert [row["message"] for row in world.live] == [OTHER]


def test_a_text_of_a_later_round_is_not_taken_for_one_of_an_earlier(attack: Attack) -> None:
    world, options = attack.world, attack.options
    del options["to"], options["cancel_on_kill"]
    send_at = world.now().add(hours=5)
    messages = [
        {"text": "First.", "to": MANY[:10], "send_at": send_at},
        {"text": "Second.", "to": MANY[:1], "send_at": send_at},
    ]

    def run() -> BaseException | None:
        return attack.runner.run(world.send_batch(*messages, **options)).error

    world.sandbox.add_fault(BEFORE, operation="smsSend")
    world.waiting[2] = lambda: world.sandbox.set_account(credit_balance=0)
    assert isinstance(run(), OutOfCredits)
    world.sandbox.set_account(credit_balance=100)
    assert isinstance(run(), OutcomeUnknown)
    attack.runner.clear()
    assert isinstance(run(), OutcomeUnknown)
    left = attack.runner.xcoms["partial_result"]
    assert (left["accepted"], left["unknown"]) == (1, 10)
    assert left["message_ids"] == [row["apiMessageId"] for row in world.live]
