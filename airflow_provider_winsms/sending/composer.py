"""Composes messages from the arguments of a DAG: spells texts, completes numbers, checks times.

All invalid input is found here, before anything is sent. Errors name its position and type, and mask numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from numbers import Integral
from typing import TYPE_CHECKING, Protocol

import pendulum

from airflow_provider_winsms.exceptions import InvalidMessage, InvalidRows, NothingToSend
from airflow_provider_winsms.ledger.base import Rejected
from airflow_provider_winsms.messages import (
    Message,
    Recipient,
    Recipients,
    RejectReason,
    is_missing,
    is_table,
    mask_number,
    pluralize,
)
from airflow_provider_winsms.options import items_of_text
from airflow_provider_winsms.phone import InvalidPhoneNumber
from airflow_provider_winsms.sending.content import check_messages
from airflow_provider_winsms.sending.description import (
    mask_numbers,
    messages_in_words,
    not_shown,
    recipients_in_words,
    size_in_words,
)
from airflow_provider_winsms.sending.message_list import MessageList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_winsms.gateways.alphabets import Alphabet
    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.options import CheckNumbers, Encoding
    from airflow_provider_winsms.runtime import Log

    Now = Callable[[], pendulum.DateTime]

REFERENCE_CHARACTERS = 150
"""The longest reference."""

_DIGITS = 9  # of the largest whole number that is written out
_NEEDED_KEYS = {"text", "to"}
_MESSAGE_KEYS = _NEEDED_KEYS | {"send_at", "max_segments", "reference"}

_NOBODY = Message("", ())

PROBLEMS_SHOWN = 20
"""How many invalid rows an error describes. The count includes all."""


class Problems:
    """The problems of a list: counts every invalid row, and describes the first ones."""

    def __init__(self) -> None:
        self._shown: list[str] = []
        self._count = 0

    def add(self, error: InvalidMessage, where: str = "") -> None:
        """Add the error of a row, or of several rows.

        :param where: the prefix of its words.
        """
        several = error if isinstance(error, InvalidRows) else InvalidRows([str(error)], 1)
        room = PROBLEMS_SHOWN - len(self._shown)
        self._shown += [f"{where}{words}" for words in several.problems[:room]]
        self._count += several.count

    def raise_if_any(self) -> None:
        """Refuse the list, if any of its rows is invalid."""
        if self._count == 1:
            raise InvalidMessage(self._shown[0])
        if self._count:
            raise InvalidRows(self._shown, self._count)


class RejectedRecipients:
    """The recipients of a list who cannot be sent to, with a description of the first ones."""

    def __init__(self) -> None:
        self.recipients: list[Rejected] = []
        self.shown: list[str] = []

    def add(self, error: InvalidMessage, where: str, recipients: Iterable[Rejected]) -> None:
        """Add recipients with the same error."""
        self.recipients += recipients
        if len(self.shown) < PROBLEMS_SHOWN:
            self.shown.append(f"{where}{error}")


@dataclass(frozen=True, slots=True)
class Composer:
    """Turns the arguments of a DAG into messages for the gateway.

    :param now: returns the present. A scheduled time must be later.
    :param check_numbers: how strictly numbers are checked against the number plan.
    :param encoding: whether a text may be sent in a plain spelling.
    :param rejects: collects recipients who cannot be sent to, and the rest is composed. ``None``: the whole
        list is refused.
    """

    gateway: Gateway
    now: Now
    check_numbers: CheckNumbers = "possible"
    encoding: Encoding = "transliterate"
    rejects: RejectedRecipients | None = None

    def compose(
        self,
        text: object,
        to: object,
        send_at: object = None,
        max_segments: object = None,
        reference: object = None,
        *,
        where: str = "",
    ) -> Message:
        """Return a message with text, numbers and time in the gateway's form.

        :param to: a number, several numbers in one string with commas, or an iterable of numbers or
            ``Recipient``.
        :param send_at: an aware time (or its ISO 8601 text) in the future. ``None``, an empty text, or the
            NaT, NA or NaN of a data frame: now.
        :param max_segments: from 1 to the gateway's maximum; 2.0 is 2. ``None``, NA or NaN: as many as the
            text needs.
        :param reference: the reference of every recipient without one; text of at most
            ``REFERENCE_CHARACTERS``, or a whole number.
        :param where: the prefix of messages about rejected recipients.
        :raises InvalidMessage: names the invalid argument, the reason, and the remedy.
        :raises UnsupportedCapability: the text has a time, and the gateway schedules none.
        """
        spelled, allowed = self.text(text, max_segments)
        at, own = self.time(send_at), reference_of(reference)
        # Last, because it collects invalid recipients one by one.
        return Message(spelled, Recipients(self._recipients(to, own, where)), at, allowed)

    def compose_rows(self, rows: Iterable[object]) -> MessageList:
        """Return a message for each row. A row maps the parameters of ``compose`` to values.

        :raises InvalidMessage: if exactly one row is invalid.
        :raises InvalidRows: if several rows are invalid. The error describes the first ones.
        :raises NothingToSend: if there are no rows.
        """
        messages, problems, position = MessageList(), Problems(), 0
        for position, row in enumerate(rows, start=1):
            where = f"Message {position}: "
            try:
                messages.append(self.compose(**_checked_row(row), where=where))
            except InvalidMessage as error:
                if self.rejects is None:
                    problems.add(error, where)
                else:
                    self.rejects.add(error, where, _all_rejected(row))
                    messages.append(_NOBODY)
        problems.raise_if_any()
        if not position:
            msg = "`messages` is empty. Give at least one message."
            raise NothingToSend(msg)
        return messages

    def check(self, message: Message) -> Message:
        """Return a message that was built by hand, in the gateway's form."""
        return self.compose(message.text, message.recipients, message.send_at, message.max_segments)

    def alphabet_of(self, text: object) -> Alphabet:
        """Return the gateway's alphabet that a text is sent in."""
        alphabets = self.gateway.capabilities.alphabets
        if len(alphabets) > 1 and isinstance(text, str):
            # The widest is the last. Its error names only characters that no alphabet has.
            otherwise = alphabets[-1 if self.encoding == "strict" else 0]
            return next((each for each in alphabets if each.carries(text)), otherwise)
        return alphabets[0]

    def text(self, text: object, max_segments: object) -> tuple[str, int]:
        """Return a text as it is spelled, and the most segments that it may take.

        :raises InvalidMessage: if the text or the segments are invalid.
        """
        alphabet = self.alphabet_of(text)
        spell = alphabet.spell_strictly if self.encoding == "strict" else alphabet.spell
        spelled = spell(words_of(text))
        length, segments = alphabet.size_of(spelled)
        if length > alphabet.units or segments > alphabet.segments:
            msg = (
                f"The text takes {length} {alphabet.unit} in {segments} segments; {self.gateway.name} sends "
                f"at most {alphabet.units} in {alphabet.segments}. Shorten it, or send two texts."
            )
            raise InvalidMessage(msg)
        return spelled, self._segments(alphabet, segments, max_segments)

    @staticmethod
    def _segments(alphabet: Alphabet, needed: int, wanted: object) -> int:
        if is_missing(wanted):
            return needed
        allowed, most = _whole_number(wanted), alphabet.segments
        if allowed is None or not 1 <= allowed <= most:
            msg = f"max_segments must be a whole number from 1 to {most}."
            raise InvalidMessage(msg)
        if allowed < needed:
            room = f"{alphabet.single} {alphabet.unit}, or {alphabet.joined} of several"
            msg = (
                f"The text takes {needed} segments and max_segments allows {allowed}. Shorten the text to "
                f"what one segment holds ({room}), or allow more."
            )
            raise InvalidMessage(msg)
        return allowed

    def time(self, send_at: object) -> pendulum.DateTime | None:
        """Return the first time that the gateway can schedule a text for; ``None`` means now.

        :raises InvalidMessage: if the time is invalid or past.
        :raises UnsupportedCapability: if the gateway schedules none.
        """
        instant = parse_send_at(send_at)
        if instant is None:
            return None
        self.gateway.require("schedule", "send_at")
        # In UTC: equal instants of two zones do not always compare equal, and a repeated hour may be misread.
        try:
            utc = instant.astimezone(UTC)
        except (OverflowError, ValueError):
            msg = "send_at is not a time that can be sent at. Give one of this century."
            raise InvalidMessage(msg) from None
        exact = pendulum.datetime(*utc.timetuple()[:6], utc.microsecond)
        if exact <= self.now():
            msg = (
                f"send_at is past ({instant.isoformat()}). {self.gateway.name} sends a text with a past time "
                "at once. Give a future time, or none to send now."
            )
            raise InvalidMessage(msg)
        return self.gateway.first_possible_time(exact)

    def _recipients(self, to: object, reference: str | None, where: str) -> Iterator[Recipient]:
        position, problems = 0, Problems()
        for position, value in enumerate(_each_recipient(to), start=1):
            try:
                yield self._recipient(value, position, reference)
            except InvalidMessage as error:
                if self.rejects is None:
                    problems.add(error)
                else:
                    self.rejects.add(error, where, [_rejected(value, RejectReason.BAD_NUMBER, reference)])
        problems.raise_if_any()
        if not position:
            msg = "There are no recipients. Give at least one number in `to`."
            raise NothingToSend(msg)

    def _recipient(self, value: object, position: int, reference: str | None) -> Recipient:
        try:
            read = self.gateway.address(value, self.check_numbers)
        except InvalidPhoneNumber as error:
            given = value.number if isinstance(value, Recipient) else value
            msg = f"Recipient {position}{_mask_digits(given)} {error}."
            raise InvalidMessage(msg) from None
        if read.reference is not None:
            reference = reference_of(read.reference, f" of recipient {position}") or reference
        return Recipient(read.number, reference, read.kind)


def _all_rejected(row: object) -> list[Rejected]:
    """Return all recipients of an invalid row. If they cannot be read, return one."""
    given = row if isinstance(row, Mapping) else {}
    try:
        recipients = list(_each_recipient(given.get("to")))
    except InvalidMessage:
        recipients = []
    reference = reference_if_valid(given.get("reference"))
    return [_rejected(recipient, RejectReason.INVALID, reference) for recipient in recipients or [None]]


def _rejected(recipient: object, reason: RejectReason, reference: str | None) -> Rejected:
    own = reference_if_valid(recipient.reference) if isinstance(recipient, Recipient) else None
    return Rejected(reason, own or reference)


def reference_if_valid(given: object) -> str | None:
    """Return a reference as text; ``None`` also if it is invalid."""
    try:
        return reference_of(given)
    except InvalidMessage:
        return None


def reference_of(given: object, whose: str = "") -> str | None:
    """Return a reference as text. ``None``, an empty text, NA and NaN are none.

    :param whose: the end of its name in the error.
    :raises InvalidMessage: if it is too long, or no text.
    """
    if is_missing(given) or given == "":
        return None
    reference = str(given) if isinstance(given, Integral) and not isinstance(given, bool) else given
    if not isinstance(reference, str) or not reference.isprintable() or len(reference) > REFERENCE_CHARACTERS:
        msg = (
            f"The reference{whose} is not text of at most {REFERENCE_CHARACTERS} printable characters, nor a "
            "whole number."
        )
        raise InvalidMessage(msg)
    return reference


def _mask_digits(given: object) -> str:
    """Return the digits of an invalid number, masked, in brackets; an empty text if it has none."""
    if isinstance(given, bool) or not isinstance(given, (str, Integral, Decimal)):
        return ""
    try:
        digits = "".join(filter(str.isdecimal, str(given)))
    # Python writes no integer of more than 4300 digits.
    except ValueError:
        return ""
    return f" ({mask_number(digits)})" if len(digits) > 1 else ""


def _checked_row(row: object) -> Mapping[str, object]:
    if not isinstance(row, Mapping):
        msg = f"The row is of type {type(row).__name__}. Give {{'text': ..., 'to': ...}}."
        raise InvalidMessage(msg)
    if not _NEEDED_KEYS <= set(row) <= _MESSAGE_KEYS:
        missing = ", ".join(sorted(_NEEDED_KEYS - set(row))) or "none"
        unknown = pluralize(len(set(row) - _MESSAGE_KEYS), "key")
        msg = (
            "The row must have text and to, and may have send_at, max_segments and reference. Missing here: "
            f"{missing}; unknown: {unknown}."
        )
        raise InvalidMessage(msg)
    return row


def _each_recipient(to: object) -> Iterable[object]:
    if isinstance(to, str):
        return items_of_text(to, "to")
    if isinstance(to, (Integral, Decimal, float, Recipient)):
        return [to]
    if is_table(to):
        msg = f"`to` is a {type(to).__name__}. Give one column as a list: frame['number'].tolist()."
        raise InvalidMessage(msg)
    try:
        return iter(to)  # type: ignore[call-overload, no-any-return]
    except TypeError:
        msg = f"`to` is of type {type(to).__name__}. Give a number or a list of numbers."
        raise InvalidMessage(msg) from None


def words_of(text: object) -> str:
    """Return a text.

    :raises InvalidMessage: if it is not a text, or is empty.
    """
    if not isinstance(text, str) or not text.strip():
        what = "empty" if isinstance(text, str) else f"of type {type(text).__name__}"
        msg = f"The text is {what}. Give the words to send."
        raise InvalidMessage(msg)
    return text


def parse_send_at(send_at: object) -> datetime | None:
    """Return the time of a text. ``None`` means now.

    :raises InvalidMessage: if it is not a time, or has no time zone.
    """
    if is_missing(send_at) or send_at == "":
        return None
    try:
        instant = send_at if isinstance(send_at, datetime) else datetime.fromisoformat(str(send_at))
    except ValueError:
        msg = "send_at is not a time. Use an aware datetime or ISO 8601 text such as 2027-01-31T09:00+02:00."
        raise InvalidMessage(msg) from None
    if instant.utcoffset() is None:
        msg = (
            "send_at has no time zone, so it does not say when. Use an aware time, such as "
            "pendulum.datetime(2027, 1, 31, 9, tz='Africa/Johannesburg')."
        )
        raise InvalidMessage(msg)
    return instant


def _whole_number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    is_whole = number.is_finite() and number.adjusted() < _DIGITS and number == number.to_integral_value()
    return int(number) if is_whole else None


class Content(Protocol):
    """What is sent, and to whom."""

    def compose(self, composer: Composer, log: Log) -> Sequence[Message]:
        """Return the checked messages.

        :raises InvalidMessage: if a text, a number or a time is invalid.
        :raises NothingToSend: if there is no recipient.
        """

    def in_words(self, messages: Sequence[Message], gateway: Gateway) -> Mapping[str, str]:
        """Return what a person is shown in place of the values that hold texts and numbers.

        :param messages: what ``compose`` returned.
        """


@dataclass(frozen=True, slots=True)
class OneText:
    """One text to its recipients; the parameters are those of ``Composer.compose``.

    :param is_text_shown: whether a person is shown the text, with numbers masked.
    """

    text: object = field(repr=False)
    to: object = field(repr=False)
    send_at: object = None
    max_segments: object = None
    is_text_shown: bool = False

    def compose(self, composer: Composer, log: Log) -> list[Message]:
        """Return one message. Log how it is spelt, if that differs."""
        message = composer.compose(self.text, self.to, self.send_at, self.max_segments)
        if message.text != self.text:
            alphabet = composer.alphabet_of(message.text)
            segments = pluralize(alphabet.count_segments(message.text), "segment")
            log.info("The text was spelt in the alphabet %s; it takes %s.", alphabet.name, segments)
        return [message]

    def in_words(self, messages: Sequence[Message], gateway: Gateway) -> Mapping[str, str]:
        """Return the size of the text, or the text, and the number of recipients."""
        text = messages[0].text
        shown = mask_numbers(text) if self.is_text_shown else not_shown(size_in_words(text, gateway))
        return {"text": shown, "to": not_shown(recipients_in_words(messages))}


@dataclass(frozen=True, slots=True)
class TextRows:
    """A text for each row; a row maps the parameters of ``Composer.compose`` to values."""

    messages: Iterable[Mapping[str, object]] = field(repr=False)

    def compose(self, composer: Composer, log: Log) -> MessageList:  # noqa: ARG002 - as of ``Content``
        """Return a message for each row."""
        check_messages("messages", self.messages)
        return composer.compose_rows(self.messages)

    def in_words(self, messages: Sequence[Message], gateway: Gateway) -> Mapping[str, str]:  # noqa: ARG002
        """Return the number of messages and recipients."""
        return {"messages": not_shown(messages_in_words(messages))}
