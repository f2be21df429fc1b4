from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gateways.alphabets import Gsm7, Ucs2
from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.messages import Message, Recipient
from airflow_provider_winsms.sending.plan import plan, plan_resend
from tests.sending.test_content import is_refused

if TYPE_CHECKING:
    from collections.abc import Iterable

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


@settings(deadline=None)
@given(batches())
def test_each_request_fits_and_could_not_have_held_one_recipient_more(batch: list[Message]) -> None:
    requests = [list(request.messages()) for request in plan(batch, GATEWAY).requests]
    for request in requests:
        assert body_bytes(request) <= GATEWAY.limits.body_bytes
        assert 1 <= sum(len(message.recipients) for message in request) <= GATEWAY.limits.recipients
    for request, after in pairwise(requests):
        fuller = _with_the_first_of(request, after[0])
        too_many = sum(len(message.recipients) for message in fuller) > GATEWAY.limits.recipients
        assert too_many or body_bytes(fuller) + 1 > GATEWAY.limits.body_bytes


@settings(deadline=None)
@given(batches())
def test_no_recipient_is_lost_or_planned_twice(batch: list[Message]) -> None:
    planned = plan(batch, GATEWAY)
    sent = [
        (message.text, recipient.number)
        for request in planned.requests
        for message in request.messages()
        for recipient in message.recipients
    ]
    given_ = [(message.text, recipient.number) for message in batch for recipient in message.recipients]
    assert sent == given_
    assert planned.recipients == len(given_)


@settings(deadline=None)
@given(batches(), st.data())
def test_a_later_round_has_each_that_is_sent_again_once_and_fits(
    batch: list[Message], data: st.DataObject
) -> None:
    planned = plan(batch, GATEWAY)
    positions = {
        number: sorted(data.draw(st.sets(st.integers(0, request.size - 1), max_size=30)))
        for number, request in enumerate(planned.requests, start=1)
    }
    resend_plan = {RequestKey(1, number): some for number, some in positions.items()}
    later = plan_resend([planned], resend_plan, GATEWAY)
    wanted = [
        (text, number)
        for place, request in enumerate(planned.requests, start=1)
        for position, (text, number) in enumerate(_texts(request.messages()))
        if position in positions[place]
    ]
    assert [text for request in later.requests for text in _texts(request.messages())] == wanted
    assert later.recipients == len(wanted)
    for request in later.requests:
        assert body_bytes(list(request.messages())) <= GATEWAY.limits.body_bytes
        assert 1 <= request.size <= GATEWAY.limits.recipients


@pytest.mark.crash
@settings(deadline=None)
@given(batches())
def test_a_plan_made_again_is_the_same(batch: list[Message]) -> None:
    hashes = KeyedHash("a key")
    first, second = plan(batch, GATEWAY), plan(iter(batch), GATEWAY)
    assert first.digest(hashes) == second.digest(hashes)
    assert [request.messages() for request in first.requests] == [r.messages() for r in second.requests]


def _texts(messages: Iterable[Message]) -> list[tuple[str, str]]:
    return [(message.text, recipient.number) for message in messages for recipient in message.recipients]


def _with_the_first_of(request: list[Message], following: Message) -> list[Message]:
    """Return a request with one recipient more: in its last message, if that goes on in the next request."""
    (first, *_) = following.recipients
    last = request[-1]
    if last.text == following.text:
        return [*request[:-1], Message(last.text, (*last.recipients, first), None, last.max_segments)]
    return [*request, Message(following.text, (first,), None, following.max_segments)]


@given(st.characters())
def test_a_text_is_refused_early_if_and_only_if_no_alphabet_can_spell_it(char: str) -> None:
    can_spell = []
    for alphabet in (Gsm7(6), Ucs2(6)):
        try:
            alphabet.spell(f"a{char}")
        except InvalidMessage:
            continue
        can_spell.append(alphabet)
    assert is_refused(f"a{char}") == (not can_spell)
