"""The loop of the triggerer, with its time injected and the sandbox behind it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pendulum
import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, GatewayUnavailable
from airflow_provider_winsms.gateways.transport import AsyncTransport, Endpoint
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.messages import Message, Recipient
from airflow_provider_winsms.triggers import sms as triggers
from airflow_provider_winsms.triggers.sms import SmsDeliveryTrigger
from airflow_provider_winsms.waiting import DeliveryWait, back_off, poll_until_settled

if TYPE_CHECKING:
    from airflow_provider_winsms.sandbox import Sandbox

DELIVERED, STAYS_SENT = "27000000010", "27000000013"
GATEWAY = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")
LOG = logging.getLogger(__name__)


class Time:
    """A clock that only sleeping moves; it moves the sandbox's too."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.began = self._now = pendulum.now()
        self.pauses: list[float] = []
        self._sandbox = sandbox

    def now(self) -> pendulum.DateTime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._now = self._now.add(seconds=seconds)
        self._sandbox.advance(seconds)


async def poll(sandbox: Sandbox, number: str, seconds: float, **message: Any) -> tuple[DeliveryWait, Time]:
    """Send one text, and follow it for some seconds."""
    time = Time(sandbox)
    where = Endpoint("winsms_default", GATEWAY, sandbox.base_url, sandbox.api_key)
    async with AsyncTransport(where, attempts=1) as transport:
        (receipt,) = await transport.send(GATEWAY.send(Message("Hi", (Recipient(number),), **message)))
        assert receipt.message_id is not None
        wait = DeliveryWait([receipt.message_id], min_delivered=1, grace_until=time.began)
        await poll_until_settled(
            wait,
            GATEWAY,
            transport.send,
            poll_interval=30,
            end_at=time.began.add(seconds=seconds),
            log=LOG,
            now=time.now,
            sleep=time.sleep,
        )
    return wait, time


async def test_a_text_that_has_arrived_needs_one_poll(sandbox: Sandbox) -> None:
    wait, time = await poll(sandbox, DELIVERED, 3600)
    assert wait.outcome().is_success
    assert time.pauses == []


async def test_a_text_on_its_way_is_asked_for_at_each_interval(sandbox: Sandbox) -> None:
    later = pendulum.now("UTC").add(minutes=2).start_of("minute")
    wait, time = await poll(sandbox, DELIVERED, 3600, send_at=later)
    assert wait.outcome().is_success
    assert set(time.pauses) == {30}
    assert 2 <= len(time.pauses) <= 5


async def test_the_last_pause_ends_where_the_wait_ends(sandbox: Sandbox) -> None:
    wait, time = await poll(sandbox, STAYS_SENT, 70)
    assert not wait.is_settled
    assert [round(pause) for pause in time.pauses] == [30, 30, 10]


async def test_polls_that_fail_back_off_and_recover(sandbox: Sandbox) -> None:
    sandbox.add_fault("503-before-acceptance", operation="smsStatus", times=3)
    wait, time = await poll(sandbox, DELIVERED, 3600)
    assert wait.outcome().is_success
    assert len(time.pauses) == 3
    for failures, pause in enumerate(time.pauses, start=1):
        assert 30 <= pause <= 30 * 2**failures


async def test_the_pause_that_the_gateway_asks_for_is_kept(sandbox: Sandbox) -> None:
    sandbox.add_fault("429-too-many-requests", operation="smsStatus", retry_after=700)
    _, time = await poll(sandbox, DELIVERED, 3600)
    assert time.pauses == [700]


async def test_a_permanent_error_ends_the_wait_at_once(sandbox: Sandbox) -> None:
    where = Endpoint("winsms_default", GATEWAY, sandbox.base_url, "a-wrong-key")
    time = Time(sandbox)
    wait = DeliveryWait([1], min_delivered=1, grace_until=time.began)
    async with AsyncTransport(where) as transport:
        with pytest.raises(ConfigurationError):
            await poll_until_settled(
                wait,
                GATEWAY,
                transport.send,
                poll_interval=30,
                end_at=time.began.add(hours=1),
                log=LOG,
                now=time.now,
                sleep=time.sleep,
            )
    assert time.pauses == []


def test_the_back_off_is_bounded() -> None:
    pauses = [back_off(30, failures, GatewayUnavailable("away")) for failures in range(1, 200)]
    assert all(30 <= pause <= 300 for pause in pauses)


@pytest.mark.parametrize(("interval", "left"), [(0.01, 3600), (30, 1), (0.01, -5)])
async def test_a_trigger_never_fires_in_its_first_ten_seconds(
    interval: float, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is left to wait, and though its connection is missing."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(triggers, "_pause", sleep)
    now = pendulum.now().timestamp()
    trigger = SmsDeliveryTrigger(
        sms_conn_id="nowhere",
        message_ids=[1],
        min_delivered=1,
        poll_interval=interval,
        end_at=now + left,
        grace_until=now,
    )
    events = [event async for event in trigger.run()]
    assert events[0].payload["ended"] == "refused"
    assert slept == [10.0]
