from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.messages import Message, Recipient
from airflow_provider_winsms.sending import plan

GATEWAY = WinSMSGateway(time_zone="Africa/Johannesburg", country_code="27")


@st.composite
def batches(draw: st.DrawFn) -> list[Message]:
    """Messages of any size, enough of them to fill several requests."""
    sizes = draw(st.lists(st.tuples(st.integers(1, 918), st.integers(1, 40)), min_size=1, max_size=8))
    copies = draw(st.integers(1, 60))
    numbers = iter(range(10**9))
    return [
        Message("x" * length, tuple(Recipient(f"27{next(numbers):09d}") for _ in range(recipients)))
        for _ in range(copies)
        for length, recipients in sizes
    ]


def body_bytes(request: list[Message]) -> int:
    return len(GATEWAY.send_batch(request).body or b"")


@given(batches())
def test_each_request_fits_and_could_not_have_held_one_recipient_more(batch: list[Message]) -> None:
    requests = [list(request) for request in plan(batch, GATEWAY).requests]
    for request in requests:
        assert body_bytes(request) <= GATEWAY.limits.body_bytes
        assert 1 <= sum(len(message.recipients) for message in request) <= GATEWAY.limits.recipients
    for request, after in pairwise(requests):
        fuller = _with_the_first_of(request, after[0])
        too_many = sum(len(message.recipients) for message in fuller) > GATEWAY.limits.recipients
        assert too_many or body_bytes(fuller) + 1 > GATEWAY.limits.body_bytes


@given(batches())
def test_no_recipient_is_lost_or_planned_twice(batch: list[Message]) -> None:
    planned = plan(batch, GATEWAY)
    sent = [
        (message.text, recipient.number)
        for request in planned.requests
        for message in request
        for recipient in message.recipients
    ]
    given_ = [(message.text, recipient.number) for message in batch for recipient in message.recipients]
    assert sent == given_
    assert planned.recipients == len(given_)


def _with_the_first_of(request: list[Message], following: Message) -> list[Message]:
    """Return a request with one recipient more: in its last message, if that goes on in the next request."""
    (first, *_) = following.recipients
    last = request[-1]
    if last.text == following.text:
        return [*request[:-1], Message(last.text, (*last.recipients, first), None, last.max_segments)]
    return [*request, Message(following.text, (first,), None, following.max_segments)]
