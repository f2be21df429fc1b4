"""From what a DAG says to what a gateway is told: compose, plan, submit.

Pure logic over a gateway, a ledger and a way to carry calls; it knows neither Airflow nor HTTP.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_winsms.exceptions import InvalidMessage, OutcomeUnknown, SmsError
from airflow_provider_winsms.messages import Message, Receipt, Recipient, credits_text, mask_number
from airflow_provider_winsms.text import segments, septets, transliterate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_winsms.gateways.base import Call, Gateway
    from airflow_provider_winsms.ledger.base import Ledger
    from airflow_provider_winsms.messages import MessageId

    SendCall = Call[tuple[Receipt, ...]]
    Now = Callable[[], pendulum.DateTime]

# E.164: at most 15 digits, no country code begins with 0. Seven is the shortest subscriber number in use
# with its country code.
_INTERNATIONAL = re.compile(r"[1-9][0-9]{6,14}")
_PUNCTUATION = re.compile(r"[\s().\-\u2010-\u2015\u00a0]+")
_SEPARATORS = re.compile(r"[,;\n]+")


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be submitted: requests that each fit the gateway's limits.

    :param requests: the messages of each request.
    :param recipients: texts to be sent in all.
    :param duplicates: recipients left out because the same text goes to them already.
    """

    requests: tuple[tuple[Message, ...], ...]
    recipients: int
    duplicates: int


@dataclass(slots=True)
class Outcome:
    """What became of a plan so far. It holds ids, counts and amounts; neither numbers nor texts."""

    message_ids: list[MessageId] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    cost: Decimal = Decimal(0)
    balance: Decimal | None = None
    requests: int = 0
    account_level: bool = False

    @property
    def accepted(self) -> int:
        """Return how many recipients were accepted."""
        return len(self.message_ids)

    def add(self, receipts: Sequence[Receipt]) -> None:
        """Count one request's receipts."""
        self.requests += 1
        for receipt in receipts:
            self._add(receipt)

    def _add(self, receipt: Receipt) -> None:
        if receipt.balance is not None:
            self.balance = receipt.balance
        if receipt.message_id is not None:
            self.message_ids.append(receipt.message_id)
            self.cost += receipt.cost
        elif receipt.reason is not None:
            self.rejected[receipt.reason] += 1
            self.account_level |= receipt.reason.is_account_level

    def summary(self) -> dict[str, Any]:
        """Return the outcome as JSON values; amounts are decimal strings, in credits."""
        return {
            "message_ids": list(self.message_ids),
            "accepted": self.accepted,
            "rejected": {str(reason): count for reason, count in sorted(self.rejected.items())},
            "duplicates": self.duplicates,
            "cost": credits_text(self.cost),
            "balance": None if self.balance is None else credits_text(self.balance),
            "requests": self.requests,
        }


@dataclass(frozen=True, slots=True)
class Composer:
    """Turns what a DAG says into messages that the gateway can be told.

    :param now: the present, which a scheduled time must lie behind.
    """

    gateway: Gateway
    now: Now

    def compose(
        self,
        text: object,
        to: object,
        send_at: object = None,
        max_segments: object = None,
    ) -> Message:
        """Return a message, spelt, numbered and timed as the gateway takes it.

        :param to: a number, several in one string with commas between them, or an iterable of numbers or
            ``Recipient``.
        :param send_at: an aware instant (or its ISO 8601 text) in the future; ``None`` or an empty text: now.
        :param max_segments: 1 to the gateway's most; ``None``: as many as the text needs.
        :raises InvalidMessage: saying which of them is wrong, why, and what to do.
        """
        spelt = self._text(text)
        return Message(
            text=spelt,
            recipients=tuple(self._recipients(to)),
            send_at=self._time(send_at),
            max_segments=self._segments(spelt, max_segments),
        )

    def check(self, message: Message) -> Message:
        """Return a message that was put together by hand, spelt, numbered and timed in the same way."""
        return self.compose(message.text, message.recipients, message.send_at, message.max_segments)

    def _text(self, text: object) -> str:
        if not isinstance(text, str):
            msg = f"The text is of type {type(text).__name__}. Give the words to send."
            raise InvalidMessage(msg)
        if not text.strip():
            msg = "The text is empty. Give the words to send."
            raise InvalidMessage(msg)
        spelt = transliterate(text)
        length, most = septets(spelt), self.gateway.limits.septets
        if length > most or segments(spelt) > self.gateway.limits.segments:
            msg = (
                f"The text takes {length} septets in {segments(spelt)} segments; {self.gateway.name} sends "
                f"at most {most} in {self.gateway.limits.segments}. Shorten it, or send two texts."
            )
            raise InvalidMessage(msg)
        return spelt

    def _segments(self, text: str, wanted: object) -> int:
        needed, most = segments(text), self.gateway.limits.segments
        if wanted is None:
            return needed
        allowed = _whole_number(wanted)
        if allowed is None or not 1 <= allowed <= most:
            msg = f"max_segments must be a whole number from 1 to {most}."
            raise InvalidMessage(msg)
        if allowed < needed:
            msg = (
                f"The text takes {needed} segments and max_segments allows {allowed}. Shorten the text to "
                "what one segment holds (160 septets; 153 each when there are more), or allow more."
            )
            raise InvalidMessage(msg)
        return allowed

    def _time(self, send_at: object) -> pendulum.DateTime | None:
        instant = _instant(send_at)
        if instant is None:
            return None
        if instant.tzinfo is None:
            msg = (
                "send_at has no time zone, so it does not say when. Use an aware time, such as "
                "pendulum.datetime(2027, 1, 31, 9, tz='Africa/Johannesburg')."
            )
            raise InvalidMessage(msg)
        when = self.gateway.first_possible_time(pendulum.instance(instant))
        if when <= self.now():
            msg = (
                f"send_at is past ({when.isoformat()}). {self.gateway.name} sends a text with a past time at "
                "once. Give a future time, or none to send now."
            )
            raise InvalidMessage(msg)
        return when

    def _recipients(self, to: object) -> Iterator[Recipient]:
        empty = True
        for place, value in enumerate(_each(to), start=1):
            empty = False
            yield self._recipient(value, place)
        if empty:
            msg = "There are no recipients. Give at least one number in `to`."
            raise InvalidMessage(msg)

    def _recipient(self, value: object, place: int) -> Recipient:
        if isinstance(value, Recipient):
            return Recipient(self._number(value.number, place), value.client_id)
        return Recipient(self._number(value, place))

    def _number(self, value: object, place: int) -> str:
        number = international(value, self.gateway.country_code)
        if number is None:
            shown = f" ({mask_number(_digits(value))})" if len(_digits(value)) > 1 else ""
            msg = (
                f"Recipient {place}{shown} is not a phone number. Give international digits, such as "
                f"27825550101 or +27 82 555 0101, or a national number beginning with 0 "
                f"(taken as +{self.gateway.country_code})."
            )
            raise InvalidMessage(msg)
        return number


def international(value: object, country_code: str) -> str | None:
    """Return a number as international digits without the plus (E.164), or ``None`` if it is not one.

    Takes ``+27 82 555 0101``, ``0027825550101``, ``27825550101``, ``(082) 555-0101`` and the integer
    27825550101. Whether the number exists is for the gateway to say.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    digits = _PUNCTUATION.sub("", str(value))
    if digits.startswith("+"):
        digits = digits[1:]
    elif digits.startswith("00"):
        digits = digits[2:]
    elif digits.startswith("0"):
        digits = country_code + digits[1:]
    return digits if _INTERNATIONAL.fullmatch(digits) else None


def plan(messages: Iterable[Message], gateway: Gateway) -> Plan:
    """Leave out duplicates, and cut what remains into as few requests as the gateway's limits allow.

    A duplicate is the same text to the same number at the same time. Order is kept, so that a plan made
    again from the same input is the same plan.
    """
    unique = list(_unique(messages))
    duplicates = sum(count for _, count in unique)
    requests = tuple(_cut((message for message, _ in unique if message.recipients), gateway))
    recipients = sum(len(message.recipients) for request in requests for message in request)
    return Plan(requests, recipients, duplicates)


def submit(
    planned: Plan,
    call_for: Callable[[Sequence[Message]], SendCall],
    carry: Callable[[SendCall], tuple[Receipt, ...]],
    ledger: Ledger,
    outcome: Outcome,
) -> None:
    """Submit a plan, request by request, and count what comes back in ``outcome`` as it comes.

    The ledger knows of a request before it leaves. After an account-level rejection nothing more is
    submitted, as every further recipient would be declined too.

    :raises OutcomeUnknown: if an answer was lost; ``outcome`` holds what was accepted before it.
    """
    outcome.duplicates = planned.duplicates
    for request in planned.requests:
        call = call_for(request)
        ledger.intend()
        try:
            receipts = carry(call)
        except OutcomeUnknown:
            raise
        except SmsError:
            if not outcome.requests:
                ledger.withdraw()
            raise
        outcome.add(receipts)
        if outcome.account_level:
            return


def _unique(messages: Iterable[Message]) -> Iterator[tuple[Message, int]]:
    numbers_of: defaultdict[tuple[str, object], set[str]] = defaultdict(set)
    for message in messages:
        seen, kept = numbers_of[message.text, message.send_at], []
        for recipient in message.recipients:
            if recipient.number not in seen:
                seen.add(recipient.number)
                kept.append(recipient)
        yield _with_recipients(message, kept), len(message.recipients) - len(kept)


def _with_recipients(message: Message, recipients: Sequence[Recipient]) -> Message:
    return Message(message.text, tuple(recipients), message.send_at, message.max_segments)


@dataclass(slots=True)
class _Request:
    """A request that is being filled."""

    limit_recipients: int
    limit_bytes: int
    messages: list[tuple[Message, list[Recipient]]] = field(default_factory=list)
    recipients: int = 0
    size: int = 0

    def has_room(self, size: int) -> bool:
        return self.recipients < self.limit_recipients and self.size + size <= self.limit_bytes

    def open(self, message: Message, size: int) -> None:
        self.messages.append((message, []))
        self.size += size

    def add(self, recipient: Recipient, size: int) -> None:
        self.messages[-1][1].append(recipient)
        self.recipients += 1
        self.size += size

    def finished(self) -> tuple[Message, ...]:
        return tuple(_with_recipients(message, recipients) for message, recipients in self.messages)


def _cut(messages: Iterable[Message], gateway: Gateway) -> Iterator[tuple[Message, ...]]:
    def fresh() -> _Request:
        return _Request(gateway.limits.recipients, gateway.limits.body_bytes)

    request = fresh()
    for message in messages:
        head, opened = gateway.message_bytes(message), False
        for recipient in message.recipients:
            size = gateway.recipient_bytes(recipient)
            if not request.has_room(size if opened else head + size):
                yield request.finished()
                request, opened = fresh(), False
            if not opened:
                request.open(message, head)
                opened = True
            request.add(recipient, size)
    if request.recipients:
        yield request.finished()


def _each(to: object) -> Iterable[object]:
    if isinstance(to, str):
        return [part for part in _SEPARATORS.split(to) if part.strip()]
    if isinstance(to, (int, Recipient)):
        return [to]
    try:
        return iter(to)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        msg = f"`to` is of type {type(to).__name__}. Give a number or a list of numbers."
        raise InvalidMessage(msg) from None


def _instant(value: object) -> datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        msg = "send_at is not a time. Use an aware datetime or ISO 8601 text such as 2027-01-31T09:00+02:00."
        raise InvalidMessage(msg) from None


def _whole_number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return int(str(value))
    except ValueError:
        return None


def _digits(value: object) -> str:
    return "".join(char for char in str(value) if char.isdecimal())
