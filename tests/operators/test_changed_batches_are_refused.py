"""A batch that was sent in part accepts no other text and no other recipients."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_winsms.exceptions import ConfigurationError, GatewayUnavailable, IdempotencyConflict
from tests.support.send_world import ANN, BEN, CAT, HALLO, OTHER, Attack, die, once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


@pytest.mark.parametrize("is_cleared", [False, True], ids=["retry", "clear"])
@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"text": OTHER}, "has other text, time or segments than this one"),
        ({"to": [ANN, CAT]}, "has other recipients than this one"),
        ({"to": [BEN, ANN]}, "has other recipients than this one"),
        ({"max_segments": 3}, "has other text, time or segments than this one"),
        ({"text": OTHER, "to": [CAT, ANN]}, "has other text, time or segments and other recipients"),
    ],
    ids=["text", "recipients", "order", "segments", "both"],
)
def test_the_same_batch_with_something_else_in_it_is_refused_and_both_are_named(
    other: dict[str, Any], says: str, is_cleared: bool, world: SendWorld, runner: TaskRunner
) -> None:
    world.run()
    first = runner.result["batch"]
    if is_cleared:
        runner.clear()
    error = world.run(**other)
    assert isinstance(error, IdempotencyConflict)
    assert isinstance(error, AirflowFailException)
    assert says in str(error)
    assert first[:8] in str(error)
    named = re.findall(r"texts ([0-9a-f]{8}), numbers ([0-9a-f]{8})", str(error))
    assert len(set(named)) == 2
    assert world.texts == once(ANN, BEN)
    assert world.run() is None
    assert world.texts == once(ANN, BEN)


def test_a_batch_under_which_nothing_was_submitted_is_replaced(world: SendWorld, runner: TaskRunner) -> None:
    good = runner.connections
    runner.connections = {"winsms_default": {**good["winsms_default"], "password": "a-wrong-key"}}
    assert isinstance(world.run(), ConfigurationError)
    runner.connections = good
    assert world.run(text=OTHER, to=[CAT]) is None
    assert [(row["mobileNumber"], row["message"]) for row in world.live] == [(CAT, OTHER)]
    assert world.run(text=OTHER, to=[CAT]) is None
    assert world.texts == once(CAT)


def test_a_batch_under_which_a_request_may_be_out_is_not_replaced(world: SendWorld) -> None:
    world.before[1] = die
    world.run()
    assert isinstance(world.run(text=OTHER), IdempotencyConflict)
    assert world.asked("smsSend") == 0


def test_a_batch_that_was_never_begun_is_split_again(world: SendWorld, runner: TaskRunner) -> None:
    long = [{"text": f"{place:04d} " + "x" * 115, "to": f"2782{place:07d}"} for place in range(1500)]
    good = runner.connections
    runner.connections = {"winsms_default": {**good["winsms_default"], "password": "a-wrong-key"}}
    assert isinstance(world.run_batch(*long), ConfigurationError)
    runner.connections = good
    assert world.run_batch(*long, guarantee="exactly_once") is None
    assert len(world.texts) == 1500


def test_two_texts_under_one_key_are_never_both_sent(
    runner: TaskRunner, world: SendWorld, tmp_path: Path
) -> None:
    attack = Attack(runner, world, tmp_path)
    attack.options.update(to=[ANN], cancel_on_kill=False, idempotency_key="a key")
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", retry_after=3600)
    assert isinstance(attack.run(), GatewayUnavailable)

    def numbers() -> Iterator[str]:
        """Read the numbers while the first task sends."""
        assert attack.run() is None
        yield ANN

    other = {**attack.options, "text": OTHER, "to": lambda **_: numbers()}
    again = replace(runner, xcoms={}, requests=[])
    assert isinstance(again.run(world.send(task_id="other", **other)).error, IdempotencyConflict)
    assert [row["message"] for row in world.live] == [HALLO]
