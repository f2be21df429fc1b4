"""A list of messages in little memory is the same list, and is planned as plainly written code plans it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway
from airflow_provider_winsms.messages import Message, PackedTexts, Recipient
from airflow_provider_winsms.sending.message_list import MessageList
from airflow_provider_winsms.sending.plan import plan
from tests.sending.test_plan_limits import TwoMessagesGateway

RECIPIENTS = st.builds(
    Recipient,
    st.integers(27825550100, 27825550105).map(str),
    st.none() | st.text(min_size=1, max_size=5),
    st.sampled_from(["phone", "phone", "phone", "MEID"]),
)
MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["Hi", "Hello", "half \ud83d", "nul \0"]),
        st.lists(RECIPIENTS, max_size=9).map(tuple),
        st.none(),
        st.integers(1, 6),
    ),
    max_size=9,
)


@given(MESSAGES, st.integers(-9, 9), st.integers(-9, 9))
def test_a_packed_list_is_the_same_list(messages: list[Message], start: int, end: int) -> None:
    packed = MessageList(messages)
    assert list(packed) == messages
    assert packed[start:end] == tuple(messages[start:end])
    assert [packed[index] for index in range(len(messages))] == messages
    assert [m.recipients[start:end] for m in packed] == [m.recipients[start:end] for m in messages]


@given(st.lists(st.text(max_size=3), max_size=9), st.integers(0, 2))
def test_packed_texts_are_the_same_texts(some: list[str], blocks: int) -> None:
    given_texts = [*some, *map(str, range(500 * blocks)), *some]
    packed = PackedTexts()
    for text in given_texts:
        packed.append(text)
    assert list(packed) == given_texts
    assert [packed[index] for index in range(len(given_texts))] == given_texts
    assert list(packed.between(3, len(given_texts) - 1)) == given_texts[3:-1]


@settings(deadline=None)
@given(MESSAGES, st.sampled_from([WinSMSGateway, TwoMessagesGateway]))
def test_a_plan_has_each_recipient_of_each_text_once_in_their_order(
    messages: list[Message], kind: type[WinSMSGateway]
) -> None:
    planned = plan(messages, kind(time_zone="UTC", country_code="27"))
    expected: dict[tuple[str, str], Recipient] = {}
    for message in messages:
        for recipient in message.recipients:
            expected.setdefault((message.text, recipient.address), recipient)
    sent = [
        (message.text, recipient)
        for request in planned.requests
        for message in request.messages()
        for recipient in message.recipients
    ]
    assert sent == [(text, recipient) for (text, _), recipient in expected.items()]
    assert planned.recipients == len(sent) == sum(request.size for request in planned.requests)
    assert planned.duplicates == sum(len(message.recipients) for message in messages) - len(sent)
    for request in planned.requests:
        assert request.size <= kind.limits.recipients
        assert len(request.parts) == len(request.messages()) <= kind.limits.messages
        assert list(request.addresses) == [each.address for part in request.parts for each in part.recipients]
