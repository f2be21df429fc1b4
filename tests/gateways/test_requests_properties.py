"""Any request is no longer than it is said to be, due at the minute that is meant, and sent at the rate."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pendulum
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.gateways.transport import RateLimiter
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.messages import Message, Recipient
from tests.gateways.calls import CHRISTMAS
from tests.gateways.carriers import GATEWAY, Time


@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Johannesburg"]),
)
def test_what_the_wire_says_is_the_one_minute_that_is_meant(moment: Any, zone: str) -> None:
    gateway = WinSMSGateway(time_zone=zone, country_code="27")
    send_at = pendulum.instance(moment)
    possible = gateway.first_possible_time(send_at)
    assert send_at <= possible
    wire = possible.in_timezone(zone).strftime("%Y%m%d%H%M")
    local = datetime.strptime(wire, "%Y%m%d%H%M").replace(tzinfo=ZoneInfo(zone))
    assert {local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)} == {possible.astimezone(UTC)}
    assert possible - send_at < pendulum.duration(hours=2, minutes=1)


numbers = st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True)


recipients = st.builds(Recipient, numbers, st.none() | st.text(max_size=30))


messages = st.builds(
    Message,
    st.text(max_size=60),
    st.lists(recipients, min_size=1, max_size=5).map(tuple),
    st.none() | st.just(CHRISTMAS),
)


@given(st.lists(messages, min_size=1, max_size=5))
def test_a_request_is_never_longer_than_it_is_said_to_be(batch: list[Message]) -> None:
    said = sum(
        GATEWAY.message_bytes(message) + sum(map(GATEWAY.recipient_bytes, message.recipients))
        for message in batch
    )
    assert len(GATEWAY.send_batch(batch).body or b"") <= said + GATEWAY.limits.envelope_bytes
    for message in batch:
        alone = GATEWAY.message_bytes(message) + sum(map(GATEWAY.recipient_bytes, message.recipients))
        assert len(GATEWAY.send(message).body or b"") <= alone


@given(st.floats(0.01, 1000), st.lists(st.floats(0, 5), min_size=2, max_size=50))
def test_however_requests_come_the_rate_is_kept(rate: float, pauses: list[float]) -> None:
    time = Time()
    pace = RateLimiter(rate, time.clock)
    starts = []
    for pause in pauses:
        time.now += pause
        starts.append(time.now + pace.reserve())
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert all(gap >= 1 / rate * (1 - 1e-9) - 1e-9 for gap in gaps)
