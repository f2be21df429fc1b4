from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.send_world import SendWorld

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.task_runner import TaskRunner


@pytest.fixture
def world(sandbox: Sandbox, runner: TaskRunner) -> SendWorld:
    sandbox.set_account(credit_balance=10_000)
    return SendWorld(sandbox, runner)
