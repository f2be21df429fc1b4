"""A try that wakes up after its successor sends nothing that the successor sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_winsms.exceptions import ClaimLost, LedgerUnavailable
from tests.support.send_world import MANY, once

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


class LatestTryAlone:
    """The store is the latest try's, as in Airflow, where each try gets an id and the old one is gone."""

    def __init__(self) -> None:
        self.latest = ""

    def __call__(self, request: httpx.Request) -> httpx.Response | None:
        if started := re.fullmatch(r"/task-instances/([^/]+)/run", request.url.path):
            self.latest = started[1]
        used = re.fullmatch(r"/store/ti/([^/]+)/.*", request.url.path)
        if used and used[1] != self.latest:
            return httpx.Response(404, json={"detail": {"reason": "not_found", "message": "not found"}})
        return None


@pytest.mark.usefixtures("ten_a_request")
@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("slept", [0, 20, 40, 3600])
def test_a_try_that_wakes_up_after_its_successor_doubles_nothing(
    slept: int, number: int, guarantee: str, world: SendWorld, runner: TaskRunner
) -> None:
    runner.stand_in = LatestTryAlone()
    task: dict[str, Any] = {"to": MANY[:30], "guarantee": guarantee}

    def sleep_and_be_replaced() -> None:
        world.sandbox.advance(slept)
        world.run(**task)

    world.before[number] = sleep_and_be_replaced
    zombie = world.run(**task)
    assert zombie is not None
    assert max(world.texts.values()) == 1
    assert len(world.texts) >= 20


@pytest.mark.parametrize("guarantee", ["at_most_once", "exactly_once"])
def test_a_try_that_wakes_up_with_its_answer_doubles_nothing(
    guarantee: str, world: SendWorld, runner: TaskRunner
) -> None:
    runner.stand_in = LatestTryAlone()
    world.after[2] = lambda: runner.run(world.send(to=MANY, guarantee=guarantee))
    assert isinstance(world.run(to=MANY, guarantee=guarantee), (LedgerUnavailable, ClaimLost))
    assert world.texts == once(*MANY)
