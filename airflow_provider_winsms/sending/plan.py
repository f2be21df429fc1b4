"""Splits messages into the fewest requests. The same messages always give the same requests.

A plan stores each recipient in a few bytes, and builds the messages of a request when they are needed. A
million recipients fit into little memory, also if each has a text of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import chain, groupby
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING

import pendulum

from airflow_provider_winsms.ledger.base import BatchDigest
from airflow_provider_winsms.messages import PHONE, Message, Recipient, Recipients, mask_number
from airflow_provider_winsms.sending.message_list import MessageList, PartRange
from airflow_provider_winsms.sending.sent_history import REFERENCE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Gateway, Limits
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.ledger.base import ResendPlan
    from airflow_provider_winsms.sending.message_list import MessagePart

_NUMBER_BITS = 50  # for 15 digits
_UNTIMED_MESSAGES = 50
"""How many messages of a request may get a time that was not planned: the limits leave room for as many."""

DUPLICATES_SHOWN = 10
"""How many duplicates a plan lists."""

_SOME_TIME = pendulum.datetime(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class Request:
    """The recipients of one request.

    :param current_parts: its recipients as the current list has them, if an earlier try claimed the request.
    :param gone: the positions of recipients who are no longer in the list.
    """

    parts: Sequence[MessagePart]
    current_parts: tuple[MessagePart, ...] = ()
    gone: frozenset[int] = frozenset()

    @property
    def is_claimed(self) -> bool:
        """Whether an earlier try claimed the request, with another list."""
        return bool(self.current_parts)

    @property
    def size(self) -> int:
        """The number of recipients."""
        if isinstance(self.parts, PartRange):
            return self.parts.recipients
        return sum(part.end - part.start for part in self.parts)

    @property
    def has_untimed(self) -> bool:
        """Whether it has a text without a time of its own."""
        return any(part.message.send_at is None for part in self.parts)

    @property
    def addresses(self) -> Iterator[str]:
        """The addresses of the recipients, in their order."""
        if isinstance(self.parts, PartRange):
            return self.parts.addresses
        return chain.from_iterable(part.addresses for part in self.parts)

    def messages(self, held_until: DateTime | None = None) -> tuple[Message, ...]:
        """Return the messages of the request.

        :param held_until: the time of messages without one. ``None`` sends them at once.
        """
        return tuple(
            replace(part.message, recipients=part.recipients, send_at=part.message.send_at or held_until)
            for part in self.parts
        )

    def messages_to(self, positions: Iterable[int]) -> Iterator[Message]:
        """Return messages to the recipients at these positions, except those who are gone."""
        wanted, start = set(positions) - self.gone, 0
        for part in self.current_parts or self.parts:
            chosen = [r for place, r in enumerate(part.recipients, start) if place in wanted]
            start += part.end - part.start
            if chosen:
                yield replace(part.message, recipients=tuple(chosen))


@dataclass(frozen=True, slots=True)
class ListChanges:
    """How a list has changed since an earlier try, in numbers of recipients.

    :param kept: claimed by an earlier try, and still in the list.
    :param added: to be sent to: new in the list, or not claimed by the earlier try.
    :param gone: claimed by an earlier try, and no longer in the list.
    :param changed: not sent to, because an earlier try claimed another text to the same number, which is no
        longer in the list.
    """

    kept: int
    added: int
    gone: int
    changed: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The requests to submit, each within the gateway's limits.

    :param requests: the requests, in order.
    :param recipients: the number of texts.
    :param duplicates: the number of recipients left out because they already get the same text.
    :param is_held: whether each message has room for a time.
    :param shown_duplicates: the first duplicates, masked, with their positions.
    :param changes: how the list has changed since an earlier try, if it has.
    """

    requests: tuple[Request, ...]
    recipients: int
    duplicates: int
    is_held: bool = False
    shown_duplicates: tuple[str, ...] = ()
    changes: ListChanges | None = None

    def messages(self) -> Iterator[Message]:
        """Yield all messages, as they are planned."""
        return chain.from_iterable(request.messages() for request in self.requests)

    def digest(self, hashes: KeyedHash) -> BatchDigest:
        """Return counts and digests of the texts and numbers. The digests include where a request ends."""
        texts, numbers = hashes.growing(), hashes.growing()
        for request in self.requests:
            texts.add("".join(map(_text_input, request.parts)))
            numbers.add(",".join(request.addresses))
        return BatchDigest(
            texts=texts.digits(),
            numbers=numbers.digits(),
            key_id=hashes.key_id,
            recipients=self.recipients,
            requests=len(self.requests),
            duplicates=self.duplicates,
        )


def plan(messages: Iterable[Message], gateway: Gateway, *, is_held: bool = False) -> Plan:
    """Leave out duplicates, and split the rest into as few requests as the gateway's limits allow.

    A duplicate is the same text to the same number at the same time. Order is kept: the same messages give
    the same plan.

    :param is_held: whether messages without a time will get one.
    """
    return plan_unique(*without_duplicates(messages), gateway, is_held=is_held)


def plan_unique(
    messages: MessageList,
    duplicates: Duplicates,
    gateway: Gateway,
    *,
    is_held: bool = False,
    most_recipients: int | None = None,
) -> Plan:
    """Return the plan of messages that hold no duplicates any more.

    :param most_recipients: in one request; ``None``: as many as the gateway takes.
    """
    requests = split_into_requests(messages, gateway, is_held=is_held, most_recipients=most_recipients)
    return Plan(tuple(requests), messages.recipients, duplicates.count, is_held, tuple(duplicates.first))


def has_room_for_times(planned: Plan) -> bool:
    """Tell whether each message of a plan can get a time within the gateway's limits."""
    most = max((len(request.parts) for request in planned.requests), default=0)
    return planned.is_held or most <= _UNTIMED_MESSAGES


def plan_resend(
    rounds: Sequence[Plan], resend_plan: ResendPlan, gateway: Gateway, *, most_recipients: int | None = None
) -> Plan:
    """Return the plan of the round that sends again to recipients of earlier rounds.

    :param rounds: the plans of all earlier rounds.
    :param most_recipients: in one request; ``None``: as many as the gateway takes.
    """
    first = rounds[0]
    messages = (
        message
        for key, positions in sorted(resend_plan.items())
        for message in rounds[key.round - 1].requests[key.request - 1].messages_to(positions)
    )
    recipients = sum(map(len, resend_plan.values()))
    requests = split_into_requests(
        merge_equal(messages), gateway, is_held=first.is_held, most_recipients=most_recipients
    )
    return Plan(tuple(requests), recipients, 0, first.is_held)


def _text_input(part: MessagePart) -> str:
    """Return text, time, segments and the number of recipients, as ``json.dumps`` writes a list of them."""
    message = part.message
    text = encode_basestring_ascii(message.text)
    send_at = "null" if message.send_at is None else f'"{message.send_at.isoformat()}"'
    return f"[{text}, {send_at}, {message.max_segments}, {part.end - part.start}]"


def merge_equal(messages: Iterable[Message]) -> Iterator[Message]:
    """Merge neighbouring messages with the same text, time and segments."""
    for _, alike in groupby(messages, key=lambda m: (m.text, m.send_at, m.max_segments)):
        first, *others = alike
        recipients = (recipient for message in (first, *others) for recipient in message.recipients)
        yield replace(first, recipients=Recipients(recipients))


@dataclass(slots=True)
class Duplicates:
    """Counts duplicates, and keeps the first ones, masked, for the log."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, number: str, message: int, recipient: int) -> None:
        """Count a duplicate. Messages and their recipients are numbered from 1."""
        self.count += 1
        if len(self.first) < DUPLICATES_SHOWN:
            self.first.append(f"{mask_number(number)} (message {message}, recipient {recipient})")


def without_duplicates(messages: Iterable[Message]) -> tuple[MessageList, Duplicates]:
    """Return the messages without duplicates and without those to nobody, and the duplicates."""
    given, duplicates = MessageList.of(messages), Duplicates()
    if given.has_other_phones_only:
        return given, duplicates
    return MessageList(_unique(given, duplicates)), duplicates


def _unique(messages: Iterable[Message], duplicates: Duplicates) -> Iterator[Message]:
    seen: set[int | tuple[int, str]] = set()
    for number, message in enumerate(messages, start=1):
        text = _text_id(message) << _NUMBER_BITS
        kept = Recipients()
        for place, recipient in enumerate(message.recipients, start=1):
            before = len(seen)
            is_phone = recipient.kind == PHONE
            seen.add(text | int(recipient.number) if is_phone else (text, recipient.address))
            if len(seen) > before:
                kept.append(recipient)
            else:
                duplicates.add(recipient.number, number, place)
        if kept:
            yield replace(message, recipients=kept)


def _text_id(message: Message) -> int:
    """Return a number that no message with another text or time has."""
    send_at = "" if message.send_at is None else str(message.send_at.timestamp())
    data = f"{send_at}\n{message.text}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=16).digest())


@dataclass(slots=True)
class _RequestBuilder:
    """Fills a request up to the gateway's limits, with neighbouring recipients of a list.

    :param first: the index of the message with the first recipient.
    :param start: how many recipients that message has before it.
    """

    limits: Limits
    first: int = 0
    start: int = 0
    messages: int = 0
    recipients: int = 0
    size: int = 0

    def has_room(self, size: int, *, is_in_new_message: bool) -> bool:
        limits = self.limits
        return (
            self.recipients < limits.recipients
            and self.messages + is_in_new_message <= limits.messages
            and self.size + size <= limits.body_bytes - limits.envelope_bytes
        )

    def add(self, size: int, *, is_in_new_message: bool) -> None:
        self.messages += is_in_new_message
        self.recipients += 1
        self.size += size

    def build(self, listed: MessageList) -> Request:
        return Request(PartRange(listed, self.first, self.start, self.first + self.messages, self.recipients))


def split_into_requests(
    messages: Iterable[Message], gateway: Gateway, *, is_held: bool, most_recipients: int | None = None
) -> Iterator[Request]:
    """Yield as few requests as the gateway's limits allow, in the order of the messages.

    Without ``Capabilities.batch``, each text has requests of its own.

    :param messages: each has recipients.
    :param is_held: whether messages without a time need room for one.
    :param most_recipients: in one request; ``None``: as many as the gateway takes.
    """
    listed = MessageList.of(messages)
    limits = gateway.limits if gateway.capabilities.batch else replace(gateway.limits, messages=1)
    if most_recipients is not None:
        limits = replace(limits, recipients=min(limits.recipients, most_recipients))
    request = _RequestBuilder(limits)
    has_references = gateway.capabilities.finds_references
    for index, message in enumerate(listed):
        head, is_new = gateway.message_bytes(_with_time(message) if is_held else message), True
        for place, recipient in enumerate(message.recipients):
            size = gateway.recipient_bytes(_with_reference(recipient) if has_references else recipient)
            if not request.has_room(head + size if is_new else size, is_in_new_message=is_new):
                yield request.build(listed)
                request, is_new = _RequestBuilder(limits, index, place), True
            request.add(head + size if is_new else size, is_in_new_message=is_new)
            is_new = False
    if request.recipients:
        yield request.build(listed)


def _with_reference(recipient: Recipient) -> Recipient:
    """Return a recipient with the longest reference, to measure its length on the wire."""
    return replace(recipient, reference="x" * REFERENCE_LENGTH)


def _with_time(message: Message) -> Message:
    """Return a message with a time, to measure its length on the wire."""
    return message if message.send_at else replace(message, send_at=_SOME_TIME)
