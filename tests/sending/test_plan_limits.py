"""A plan keeps to the number of messages that a request may have."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest

from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.messages import Message, Recipient
from airflow_provider_winsms.sending.plan import plan

MESSAGES = [Message(f"text {of}", [Recipient(f"2782555{of}{to:03}") for to in range(3)]) for of in range(5)]


class TwoMessagesGateway(WinSMSGateway):
    limits: ClassVar = replace(WinSMSGateway.limits, recipients=7, messages=2)


class WithoutBatchGateway(TwoMessagesGateway):
    capabilities: ClassVar = replace(WinSMSGateway.capabilities, batch=False)


@pytest.mark.parametrize(
    ("kind", "messages"),
    [(WinSMSGateway, [5]), (TwoMessagesGateway, [2, 2, 1]), (WithoutBatchGateway, [1] * 5)],
)
def test_a_request_has_no_more_messages_than_its_gateway_takes(
    kind: type[WinSMSGateway], messages: list[int]
) -> None:
    planned = plan(MESSAGES, kind(time_zone="UTC", country_code="27"))
    assert [len(request.parts) for request in planned.requests] == messages
    sent = [(m.text, r) for request in planned.requests for m in request.messages() for r in m.recipients]
    assert sent == [(m.text, r) for m in MESSAGES for r in m.recipients]


def test_a_long_message_fills_requests_of_its_own() -> None:
    long = Message("long", [Recipient(f"27825551{to:03}") for to in range(10)])
    planned = plan([MESSAGES[0], long, MESSAGES[1]], TwoMessagesGateway(time_zone="UTC", country_code="27"))
    assert [[part.end - part.start for part in request.parts] for request in planned.requests] == [
        [3, 4],
        [6, 1],
        [2],
    ]
