"""Options that make no sense are refused before anything is sent."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import InvalidMessage
from tests.support.send_world import Attack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


@pytest.mark.parametrize("key", ["", "  ", "{{ params.missing }}", 42])
def test_an_idempotency_key_that_is_none_is_refused(
    key: Any, world: SendWorld, runner: TaskRunner, tmp_path: Path
) -> None:
    attack = Attack(runner, world, tmp_path)
    given = {**attack.options, "idempotency_key": key, "params": {"missing": None}}
    error = runner.refusal(lambda: world.send(**given))
    assert isinstance(error, InvalidMessage)
    assert world.asked("smsSend") == 0


@pytest.mark.parametrize("hold", ["300", None, timedelta.max, timedelta(days=2), timedelta(seconds=-1)])
def test_a_hold_that_is_none_is_refused(hold: Any, world: SendWorld, runner: TaskRunner) -> None:
    error = runner.refusal(lambda: world.send(guarantee="exactly_once", hold=hold))
    assert isinstance(error, InvalidMessage)
    assert world.asked("smsSend") == 0


@pytest.mark.parametrize("send_at", ["0001-01-01T00:00+02:00", "9999-12-31T23:59:30-02:00"])
def test_a_time_beyond_time_is_refused(send_at: str, world: SendWorld) -> None:
    assert isinstance(world.run(send_at=send_at), InvalidMessage)


@pytest.mark.parametrize("option", [{"ledger_privacy": "keyed_hash"}, {"ledger_text": "keep"}])
def test_what_only_tables_can_do_is_refused_without_them(
    option: dict[str, Any], world: SendWorld, runner: TaskRunner
) -> None:
    assert "need `ledger_conn_id`" in str(runner.refusal(lambda: world.send(**option)))
