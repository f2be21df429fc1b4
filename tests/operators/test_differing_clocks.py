"""A held send is refused while its clocks differ."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.exceptions import ClocksDiffer
from tests.support.send_world import ANN, BEN, LATER, die, once

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


@LATER
@pytest.mark.parametrize("seconds", [32, -32, 200, -200, 1800, -3600, 7200, 86_400])
def test_a_held_send_is_refused_where_the_gateway_has_another_time_and_sent_when_it_is_set(
    seconds: float, hours: int | None, world: SendWorld, runner: TaskRunner
) -> None:
    runner.retries = 1
    send_at = world.now().add(hours=48) if hours else None
    world.clock_off = seconds
    result = runner.run(world.send(guarantee="exactly_once", send_at=send_at))
    assert isinstance(result.error, ClocksDiffer)
    assert result.state == "up_for_retry"
    assert "the clock of WinSMS showed" in str(result.error)
    assert f"{world.now().add(seconds=seconds):YYYY-MM-DDTHH:mm:ss}" in str(result.error)
    assert f"{world.now():YYYY-MM-DDTHH:mm:ss}" in str(result.error)
    assert (world.texts, world.asked("smsSend")) == (Counter(), 0)
    world.clock_off = 0
    assert world.run(guarantee="exactly_once", send_at=send_at) is None
    assert world.texts == once(ANN, BEN)


@pytest.mark.parametrize("seconds", [0, 5, -5, 29, -29])
def test_a_held_send_goes_out_where_clocks_nearly_agree(seconds: float, world: SendWorld) -> None:
    world.clock_off = seconds
    assert world.run(guarantee="exactly_once") is None
    assert world.texts == once(ANN, BEN)
    assert world.asked("getCreditBalance") == 1


@pytest.mark.parametrize("guarantee", ["at_most_once", "at_least_once"])
def test_a_send_that_is_not_held_asks_for_no_time(guarantee: str, world: SendWorld) -> None:
    world.clock_off = 200
    assert world.run(guarantee=guarantee) is None
    assert world.texts == once(ANN, BEN)
    assert world.asked("getCreditBalance") == 0


def test_a_retry_whose_clock_is_ahead_does_not_take_a_request_for_lost_that_is_on_its_way(
    world: SendWorld, runner: TaskRunner
) -> None:
    runner.retries = 2
    world.before[1] = die
    world.run(guarantee="exactly_once")
    world.clock_off = 180
    assert isinstance(world.run(guarantee="exactly_once"), ClocksDiffer)
    assert world.sends == 1
    world.clock_off = 0
    assert world.run(guarantee="exactly_once") is None
    assert world.texts == once(ANN, BEN)
    assert world.waited >= 90
