"""The trigger of a wait for a balance: it never raises when it is made, and a thousand share one poll."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.polling.balance import BalanceWait
from airflow_provider_winsms.triggers.sms import SmsBalanceTrigger
from tests.support.variants import variant
from tests.triggers.triggerer import until

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox

SoonTrigger = variant(SmsBalanceTrigger, first_poll_after=0.3, look_again_after=(0.0, 0.0))
PAUSE = 1.0


def wait_for(least: str, *, sms_conn_id: str = "winsms_default", left: float = 3600) -> BalanceWait:
    now = time.time()
    return BalanceWait(
        sms_conn_id=sms_conn_id,
        least=least,
        currency="credits",
        shortest_pause=PAUSE,
        first_at=now,
        end_at=now + left,
    )


async def event_of(trigger: SmsBalanceTrigger) -> Any:
    (event,) = [event async for event in trigger.run()]
    return event.payload


def polls(sandbox: Sandbox) -> int:
    return len(sandbox.requests())


async def test_a_thousand_triggers_on_one_connection_make_one_poll_per_interval(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "winsms", "host": sandbox.base_url, "password": sandbox.api_key}
    monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", json.dumps(connection))
    leasts = [f"{1001 + place % 10}" for place in range(1000)]
    tasks = [asyncio.create_task(event_of(SoonTrigger(wait_for(least)))) for least in leasts]
    began = time.monotonic()
    await until(lambda: polls(sandbox) >= 4)
    assert not any(task.done() for task in tasks)
    sandbox.set_account(credit_balance=1005)
    enough = [task for task, least in zip(tasks, leasts, strict=True) if int(least) <= 1005]
    events = await asyncio.gather(*enough)
    assert {(event["ended"], event["balance"]) for event in events} == {("settled", "1005.0")}
    assert not any(task.done() for task in tasks if task not in enough)
    assert polls(sandbox) <= 1 + (time.monotonic() - began) / PAUSE
    sandbox.set_account(credit_balance=2000)
    await asyncio.gather(*tasks)
    assert polls(sandbox) <= 1 + (time.monotonic() - began) / PAUSE


async def test_a_trigger_never_fires_in_its_first_ten_seconds() -> None:
    """Though its connection is missing."""
    assert SmsBalanceTrigger.first_poll_after == 10
    begun = time.monotonic()
    assert (await event_of(SoonTrigger(wait_for("5", sms_conn_id="nowhere"))))["ended"] == "refused"
    assert time.monotonic() - begun >= 0.29


def test_its_only_argument_is_the_wait() -> None:
    wait = wait_for("5")
    path, arguments = SmsBalanceTrigger(wait).serialize()
    assert arguments == {"wait": wait.to_json()}
    assert SmsBalanceTrigger(**arguments).serialize() == (path, arguments)
    assert [*inspect.signature(SmsBalanceTrigger).parameters] == ["wait"]


@pytest.mark.parametrize(
    "wrong",
    [
        *({}, None, 5),
        *({**wait_for("5").to_json(), name: "soon"} for name in ("least", "end_at", "shortest_pause")),
        {**wait_for("5").to_json(), "more": 1},
    ],
)
async def test_a_wrong_wait_makes_a_trigger_that_is_not_stored_and_fires_a_refusal(wrong: Any) -> None:
    """A constructor that raises would end the triggerer."""
    trigger = SoonTrigger(wrong)
    with pytest.raises(InvalidMessage, match=r"The wait for a balance|must be"):
        trigger.serialize()
    event = await event_of(trigger)
    assert event["ended"] == "refused"
    assert event["error_type"] == "InvalidMessage"
