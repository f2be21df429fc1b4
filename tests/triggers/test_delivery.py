"""The trigger of a wait: it never raises when it is made, and never fires in its first ten seconds."""

from __future__ import annotations

import inspect
import time
from typing import Any

import pytest

from airflow_provider_winsms.delivery.packed_ids import pack
from airflow_provider_winsms.delivery.wait import DeliveryWait
from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.triggers.sms import SmsDeliveryTrigger
from tests.support.variants import variant

SoonTrigger = variant(SmsDeliveryTrigger, first_poll_after=0.3, look_again_after=(0.0, 0.0))


def wait_for(*, pause: float = 30, left: float = 3600) -> DeliveryWait:
    now = time.time()
    return DeliveryWait(
        sms_conn_id="nowhere",
        source={"message_ids": pack([1])},
        min_delivered=1,
        begins_at=now,
        shortest_pause=pause,
        longest_pause=pause,
        first_at=now,
        end_at=now + left,
        grace_until=now,
    )


@pytest.mark.parametrize(("pause", "left"), [(0.01, 3600), (30, 1), (0.01, -5)])
async def test_a_trigger_never_fires_in_its_first_ten_seconds(pause: float, left: float) -> None:
    """Whatever is left to wait, and though its connection is missing."""
    assert SmsDeliveryTrigger.first_poll_after == 10
    begun = time.time()
    events = [event async for event in SoonTrigger(wait_for(pause=pause, left=left)).run()]
    assert events[0].payload["ended"] == "refused"
    assert time.time() - begun >= 0.3


def test_its_only_argument_is_the_wait() -> None:
    wait = wait_for()
    path, arguments = SmsDeliveryTrigger(wait).serialize()
    assert arguments == {"wait": wait.to_json()}
    assert SmsDeliveryTrigger(**arguments).serialize() == (path, arguments)
    assert [*inspect.signature(SmsDeliveryTrigger).parameters] == ["wait"]


@pytest.mark.parametrize("wrong", [{}, None, 5, {**wait_for().to_json(), "end_at": "soon"}])
async def test_a_wrong_wait_makes_a_trigger_that_is_not_stored_and_fires_a_refusal(wrong: Any) -> None:
    """A constructor that raises would end the triggerer."""
    trigger = SoonTrigger(wrong)
    with pytest.raises(InvalidMessage):
        trigger.serialize()
    (event,) = [event async for event in trigger.run()]
    assert event.payload["ended"] == "refused"
    assert event.payload["error_type"] == "InvalidMessage"
