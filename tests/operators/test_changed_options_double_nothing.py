"""A later try with another guarantee, connection or reference sends no text twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, IdempotencyConflict, OutcomeUnknown
from airflow_provider_winsms.messages import Recipient
from airflow_provider_winsms.sandbox import Sandbox
from tests.support.send_world import AFTER, ANN, BEN, GUARANTEES, MANY, die, once

if TYPE_CHECKING:
    from tests.support.send_world import SendWorld
    from tests.support.task_runner import TaskRunner


@pytest.mark.parametrize("second", ["at_most_once", "exactly_once"])
@pytest.mark.parametrize("first", GUARANTEES)
@pytest.mark.parametrize("at", ["before", "after"])
def test_another_guarantee_in_the_next_try_doubles_nothing(
    at: str, first: str, second: str, world: SendWorld, runner: TaskRunner
) -> None:
    getattr(world, at)[2] = die
    world.run(to=MANY, guarantee=first)
    error = world.run(to=MANY, guarantee=second)
    assert max(world.texts.values()) == 1
    if error is None:
        assert first == "exactly_once"
        assert world.texts == once(*MANY)
    else:
        assert isinstance(error, OutcomeUnknown)
        assert (first, second) != ("exactly_once", "exactly_once")
        assert runner.xcoms["partial_result"]["unknown"] == 1000


def test_a_less_strict_guarantee_in_the_next_try_is_what_counts(world: SendWorld, runner: TaskRunner) -> None:
    world.sandbox.add_fault(AFTER, operation="smsSend")
    assert isinstance(world.run(), OutcomeUnknown)
    runner.clear()
    assert world.run(guarantee="at_least_once") is None
    assert world.texts == once(ANN, ANN, BEN, BEN)


@pytest.mark.parametrize("second", ["exactly_once", "at_most_once"])
def test_another_guarantee_cuts_the_requests_of_a_batch_as_the_first_did(
    second: str, world: SendWorld
) -> None:
    """A text with a time takes more bytes, so fewer texts fit into a request."""
    first = {"exactly_once": "at_most_once", "at_most_once": "exactly_once"}[second]
    long = [{"text": f"{place:03d} " + "x" * 150, "to": f"2782{place:07d}"} for place in range(1000)]
    world.sandbox.add_fault("429-too-many-requests", operation="smsSendBatch", skip=1, retry_after=3600)
    world.run_batch(*long, guarantee=first)
    error = world.run_batch(*long, guarantee=second)
    assert max(world.texts.values()) == 1
    assert error is None or "have no room for a time" in str(error)
    assert error is not None or len(world.texts) == 1000


def test_another_connection_in_the_next_try_doubles_nothing(world: SendWorld, runner: TaskRunner) -> None:
    """Another account does not list what the first one scheduled."""
    runner.set_extra(hash_secret="x" * 40)
    keyed = runner.connections["winsms_default"]
    with Sandbox(api_key="another", speed=0, now=world.sandbox.now()) as elsewhere:
        other = {**keyed, "host": elsewhere.base_url, "password": "another"}
        runner.connections = {"winsms_default": keyed, "other": other}
        world.after[1] = die
        world.run(guarantee="exactly_once")
        error = world.run(guarantee="exactly_once", sms_conn_id="other")
        assert isinstance(error, (IdempotencyConflict, OutcomeUnknown, ConfigurationError))
        assert elsewhere.outbox() == []
    assert world.texts == once(ANN, BEN)


def test_other_references_in_the_next_try_double_nothing(world: SendWorld) -> None:
    def texts(reference: str | None) -> list[dict[str, Any]]:
        return [{"text": f"No. {n}", "to": [Recipient(to, reference)]} for n, to in enumerate(MANY[:1100])]

    world.sandbox.add_fault("429-too-many-requests", operation="smsSendBatch", skip=1, retry_after=3600)
    world.run_batch(*texts("c" * 150))
    assert world.run_batch(*texts(None)) is None
    assert world.texts == once(*MANY[:1100])
