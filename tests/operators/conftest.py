from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.send_world import Attack, SendWorld

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner


@pytest.fixture
def world(sandbox: Sandbox, runner: TaskRunner) -> Iterator[SendWorld]:
    sandbox.set_account(credit_balance=10_000)
    handler = signal.getsignal(signal.SIGTERM)
    yield SendWorld(sandbox, runner)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def ten_a_request(world: SendWorld) -> None:
    world.limits["recipients"] = 10


@pytest.fixture(params=["store", "tables"])
def attack(
    request: pytest.FixtureRequest, runner: TaskRunner, world: SendWorld, ten_a_request: None, tmp_path: Path
) -> Attack:
    del ten_a_request
    return Attack(runner, world, tmp_path if request.param == "tables" else None)
