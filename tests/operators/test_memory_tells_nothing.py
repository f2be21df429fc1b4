"""The record of a send in the task state store is small, and shows no number and no text."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.conftest import API_KEY
from tests.support.send_world import ANN, HALLO, MANY, once

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


def test_what_is_remembered_of_a_request_is_small(world: SendWorld, runner: TaskRunner) -> None:
    world.run(to=[*MANY, "27000000005"])
    sizes = {key: len(json.dumps(value)) for key, value in runner.task_state.items()}
    assert set(sizes) == {"sms_claims", "sms_send", *(f"sms_send.1.1.00000{place}" for place in (1, 2, 3))}
    assert max(sizes.values()) < 16_000
    assert sizes["sms_send"] < 1000
    assert world.spent == 2500


@pytest.mark.crash
def test_a_thousand_requests_are_remembered_each(world: SendWorld, runner: TaskRunner) -> None:
    world.limits["recipients"] = 2
    world.sandbox.add_fault("429-too-many-requests", operation="smsSend", skip=600, retry_after=3600)
    world.run(to=MANY[:2000])
    assert world.run(to=MANY[:2000]) is None
    assert runner.result["requests"] == 1000
    assert world.asked("smsSend") == 1001
    assert world.texts == once(*MANY[:2000])
    assert len(runner.task_state) == 1002
    assert sum(len(key) + len(json.dumps(row)) for key, row in runner.task_state.items()) < 500_000


def test_nothing_that_is_remembered_tells_a_number_or_a_text(world: SendWorld, runner: TaskRunner) -> None:
    world.sandbox.add_fault("missing-row", operation="smsSend")
    world.run(to=ANN, guarantee="exactly_once")
    kept = json.dumps(runner.task_state)
    spellings = [ANN, f"+{ANN}", "0825550101", f'["{ANN}"]', f"{ANN},", HALLO, json.dumps([HALLO])]
    plain = {
        hashlib.new(name, prefix + spelling.encode()).hexdigest()
        for name in sorted(hashlib.algorithms_guaranteed - {"shake_128", "shake_256"})
        for spelling in spellings
        for prefix in (b"", len(spelling).to_bytes(8), str(len(spelling)).encode())
    }
    assert not [secret for secret in (*spellings[:3], HALLO, API_KEY) if secret in kept]
    assert not [digest for digest in plain if digest[:8] in kept]
    assert ANN not in " ".join(runner.task_state)


def test_another_key_makes_other_digests(world: SendWorld, runner: TaskRunner) -> None:
    world.run()
    first = runner.task_state["sms_send"]["digest"]
    runner.task_state.clear()
    runner.set_extra(hash_secret="x" * 40)
    world.run()
    second = runner.task_state["sms_send"]["digest"]
    assert (
        not set(first.values()) & set(second.values()) & {first["texts"], first["numbers"], first["key_id"]}
    )
