"""Messages: the classes that all gateways share.

Times are aware (``pendulum.DateTime``). Money is ``Decimal``, or ``None`` if the gateway states no readable
amount. ``raw`` is the row as it came over the wire. Numbers, texts and raw rows are personal data: no
``repr`` shows them.
"""

from __future__ import annotations

import json
import re
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

from airflow_provider_winsms.exceptions import InvalidMessageId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pendulum import DateTime

T = TypeVar("T")

MessageId: TypeAlias = int | str
"""A gateway's id of one text to one recipient, as ``message_id_of`` returns it."""

MessageIds: TypeAlias = "MessageId | Iterable[MessageIds] | Mapping[str, Any] | None"
"""The input of ``each_message_id``."""

LONGEST_ID = 64
"""The most characters of a message id."""

_SHOWN_FIRST_DIGITS = 2
_SHOWN_LAST_DIGITS = 3
_TENTH = Decimal("0.1")
_ID_END = 2**63
_WHOLE_ID = re.compile(r"(?:0|[1-9][0-9]{0,18})")
# MariaDB and MySQL compare texts without the blanks at their ends.
_ID = re.compile(rf"(?! )[ -~]{{1,{LONGEST_ID}}}(?<! )")


def mask_number(number: str) -> str:
    """Return ``27******789`` for ``27824567789``: enough to recognise in a log, too little to dial.

    The mask always has six stars, so it hides the length. A very short number is hidden whole.
    """
    if len(number) <= _SHOWN_FIRST_DIGITS + _SHOWN_LAST_DIGITS + 1:
        return "*" * 6
    return f"{number[:_SHOWN_FIRST_DIGITS]}******{number[-_SHOWN_LAST_DIGITS:]}"


def is_missing(value: object) -> bool:
    """Whether a value is missing: ``None``, NaN, or the NaT or NA of pandas."""
    if value is None or isinstance(value, str):
        return value is None
    try:
        return bool(value != value)  # noqa: PLR0124 - true of NaN and NaT alone
    # NA has no truth value, and an array has many. The only decimal without comparison is a signalling NaN.
    except (TypeError, ValueError, ArithmeticError):
        return type(value).__name__ == "NAType" or isinstance(value, Decimal)


def is_table(value: object) -> bool:
    """Whether a value is a data frame, such as one of pandas: iterating over it yields its columns."""
    kind = type(value)
    return hasattr(kind, "columns") and any(
        hasattr(kind, name) for name in ("to_dict", "to_dicts", "to_pylist")
    )


def pluralize(number: int, thing: str) -> str:
    """Return ``1 request``, ``2 requests``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def amount_text(amount: Decimal) -> str:
    """Return an amount with one decimal place, as WinSMS shows it, or with more if it needs more."""
    return str(amount.quantize(_TENTH)) if amount == amount.quantize(_TENTH) else f"{amount:f}".rstrip("0")


def message_id_of(text: str) -> MessageId:
    """Return a message id from its text, which ``str`` makes of the id again.

    :returns: an ``int`` for a whole number below 2**63 without sign, blanks or leading zeros; or the text.
    :raises InvalidMessageId: if it is empty, longer than ``LONGEST_ID``, begins or ends with a blank, or has
        other than printable ASCII.
    """
    if _WHOLE_ID.fullmatch(text) and (number := int(text)) < _ID_END:
        return number
    if _ID.fullmatch(text):
        return text
    msg = f"A message id has 1 to {LONGEST_ID} characters of printable ASCII, and no blank at its ends."
    raise InvalidMessageId(msg)


def id_order(message_id: MessageId) -> tuple[int, str]:
    """Return a key that sorts ids: whole numbers by their size, among texts of any form."""
    text = str(message_id)
    return len(text), text


class RejectReason(StrEnum):
    """Why the text of a recipient is not accepted."""

    NO_CREDITS = "no_credits"
    """The account could not pay for this recipient."""

    ACCOUNT_LOCKED = "account_locked"
    """The account may not send at all."""

    TRIAL_ACCOUNT = "trial_account"
    """A trial account may only text its owner's number."""

    TEXT_TOO_LONG = "text_too_long"
    """The text needs more segments than the gateway takes."""

    BAD_NUMBER = "bad_number"
    """Not a number that can be texted, or blacklisted by the gateway."""

    OPTED_OUT = "opted_out"
    """The recipient asked this account to stop."""

    DO_NOT_CONTACT = "do_not_contact"
    """The recipient is on an industry-wide do-not-contact list."""

    OTHER = "other"
    """A reason that this version does not know. ``Receipt.code`` holds the gateway's word for it."""

    NOT_ALLOWED = "not_allowed"
    """Not submitted: a rule of the sender does not allow this recipient."""

    OUTSIDE_HOURS = "outside_hours"
    """Not submitted: the sending hours were over."""

    TEXTED_RECENTLY = "texted_recently"
    """Not submitted: the recipient has had as many texts as the sender allows."""

    INVALID = "invalid"
    """Not submitted: no gateway can take the text, the time, the segments or the recipient."""

    NOT_RECEIVED = "not_received"
    """The answer was lost, and the text counts as not accepted. It is submitted again."""

    CANCELLED = "cancelled"
    """Accepted, and cancelled when its task was killed."""

    @property
    def is_account_level(self) -> bool:
        """Whether the fault lies with the account, not with the recipient."""
        return self in _ACCOUNT_LEVEL

    @property
    def may_be_sent_later(self) -> bool:
        """Whether the same text to the same recipient may be accepted another time."""
        return self in _MAY_BE_SENT_LATER


def reasons_in_words(counts: Mapping[Any, int]) -> str:
    """Return how many there are for each reason, such as ``2 x bad_number``, sorted by reason."""
    return ", ".join(f"{count} x {reason}" for reason, count in sorted(counts.items()) if count)


_ACCOUNT_LEVEL = frozenset({RejectReason.NO_CREDITS, RejectReason.ACCOUNT_LOCKED, RejectReason.TRIAL_ACCOUNT})
_MAY_BE_SENT_LATER = _ACCOUNT_LEVEL | {RejectReason.NOT_RECEIVED, RejectReason.CANCELLED}


class DeliveryState(StrEnum):
    """The delivery state of one text."""

    QUEUED = "queued"
    """Waiting at the gateway."""

    SENT = "sent"
    """Handed to the network, which has not confirmed it yet, and may never do so."""

    DELIVERED = "delivered"
    """Arrived on the phone."""

    FAILED = "failed"
    """Transmitted, and could not be delivered."""

    NOT_SENT = "not_sent"
    """Never transmitted."""

    NOT_FOUND = "not_found"
    """The gateway does not know the id: it is wrong, very new, or forgotten."""

    UNKNOWN = "unknown"
    """A state that this version does not know; it counts as pending. ``DeliveryReport.code`` holds it."""

    @property
    def is_final(self) -> bool:
        """Whether the state cannot change any more."""
        return self not in _PENDING

    @property
    def is_delivered(self) -> bool:
        """Whether the text arrived."""
        return self is DeliveryState.DELIVERED


_PENDING = frozenset({DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.UNKNOWN})


PHONE = "phone"
"""The kind of address that is a phone number, as international digits."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """One address: a phone, or a device.

    :param number: the international digits of a phone (E.164 without the plus), or the id of a device.
    :param kind: what the number is: ``phone``, or the gateway's word for an id of devices.
    :param reference: the sender's own name for this text, such as a customer's id. The ledger's tables store
        it. It is not sent to a gateway that does not store it.
    """

    number: str = field(repr=False)
    reference: str | None = field(default=None, repr=False)
    kind: str = PHONE

    @property
    def address(self) -> str:
        """The number of a phone, or the kind and the id of a device: a text that no other address has."""
        return self.number if self.kind == PHONE else f"{self.kind}:{self.number}"


_TEXTS_OF_A_BLOCK = 500


class PackedTexts(Sequence[str]):
    """Texts in little memory, compressed in blocks. It is cheapest to read them in their order."""

    __slots__ = ("_blocks", "_last", "_read", "_unpacked")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._last: list[str] = []
        self._read = -1
        self._unpacked: list[str] = []

    def append(self, text: str) -> None:
        """Add a text."""
        self._last.append(text)
        if len(self._last) == _TEXTS_OF_A_BLOCK:
            self._blocks.append(zlib.compress(json.dumps(self._last).encode(), 1))
            self._last = []

    def between(self, start: int, end: int) -> Iterator[str]:
        """Yield the texts from an index up to another one, which is left out."""
        while start < end:
            block, first = divmod(start, _TEXTS_OF_A_BLOCK)
            texts = self._block(block)[first : first + end - start]
            yield from texts
            start += len(texts)

    def _block(self, index: int) -> list[str]:
        if index == len(self._blocks):
            return self._last
        if index != self._read:
            self._unpacked, self._read = json.loads(zlib.decompress(self._blocks[index])), index
        return self._unpacked

    def __len__(self) -> int:
        return len(self._blocks) * _TEXTS_OF_A_BLOCK + len(self._last)

    def __iter__(self) -> Iterator[str]:
        return self.between(0, len(self))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        block, place = divmod(range(len(self))[index], _TEXTS_OF_A_BLOCK)
        return self._block(block)[place]


class Recipients(Sequence[Recipient]):
    """Recipients in little memory: 8 bytes a phone, as a number has at most 15 digits and no leading 0."""

    __slots__ = ("_devices", "_numbers", "_references")

    def __init__(self, recipients: Iterable[Recipient] = ()) -> None:
        self._numbers = array("Q")
        self._devices: dict[int, Recipient] = {}
        self._references: PackedTexts | None = None
        for recipient in recipients:
            self.append(recipient)

    def append(self, recipient: Recipient) -> None:
        """Add a recipient."""
        if recipient.kind == PHONE:
            self.append_phone(recipient.number, recipient.reference)
            return
        self._devices[len(self._numbers)] = recipient
        self.append_phone("0", None)

    def append_phone(self, number: str, reference: str | None) -> None:
        """Add a recipient that is a phone."""
        if self._references is None and reference is not None:
            self._references = PackedTexts()
            for _ in self._numbers:
                self._references.append("")
        if self._references is not None:
            self._references.append(reference or "")
        self._numbers.append(int(number))

    @property
    def has_other_phones_only(self) -> bool:
        """Whether all recipients are phones, and no two are the same."""
        return not self._devices and len(set(self._numbers)) == len(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Recipient]:
        return self.each(range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Recipient: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Recipient, ...]: ...
    def __getitem__(self, index: int | slice) -> Recipient | tuple[Recipient, ...]:
        if not isinstance(index, slice):
            at = range(len(self))[index]
            return self._devices.get(at) or Recipient(str(self._numbers[at]), self._reference(at))
        return tuple(self.each(range(*index.indices(len(self)))))

    def each(self, indexes: range) -> Iterator[Recipient]:
        """Yield the recipients at some indexes."""
        if self._devices:
            return map(self.__getitem__, indexes)
        numbers = map(str, map(self._numbers.__getitem__, indexes))
        if self._references is None:
            return map(Recipient, numbers)
        return map(Recipient, numbers, map(self._reference, indexes))

    def addresses(self, indexes: range) -> Iterator[str]:
        """Yield the addresses of the recipients at some indexes."""
        if self._devices:
            return (recipient.address for recipient in self.each(indexes))
        return map(str, map(self._numbers.__getitem__, indexes))

    def _reference(self, index: int) -> str | None:
        return None if self._references is None else self._references[index] or None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment] # it grows


@dataclass(frozen=True, slots=True)
class Message:
    """One text for one or many recipients, now or at an instant."""

    text: str = field(repr=False)
    recipients: Sequence[Recipient] = field(repr=False)
    send_at: DateTime | None = None
    max_segments: int = 1


@dataclass(frozen=True, slots=True)
class Receipt:
    """The gateway's answer for one recipient of a send."""

    number: str = field(repr=False)
    accepted: bool
    message_id: MessageId | None
    reason: RejectReason | None
    code: str
    cost: Decimal | None
    balance: Decimal | None
    send_at: DateTime | None = None
    reference: str | None = field(default=None, repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def declined(cls, reason: RejectReason, number: str = "", cost: Decimal = Decimal(0)) -> Receipt:
        """Return the receipt of a text that was not accepted, or was cancelled, where no answer says so.

        :param cost: the refunded amount.
        """
        return cls(
            number=number,
            accepted=False,
            message_id=None,
            reason=reason,
            code="",
            cost=cost,
            balance=None,
        )

    @property
    def is_known(self) -> bool:
        """Whether the answer settled this recipient. Some answers leave one out, or name one twice."""
        return self.message_id is not None or self.reason is not None


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """The gateway's report about one accepted text."""

    message_id: MessageId
    state: DeliveryState
    code: str = ""
    cost: Decimal | None = Decimal(0)
    time: DateTime | None = None
    number: str | None = field(default=None, repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ScheduledMessage:
    """A text that the gateway holds until its time."""

    message_id: MessageId
    number: str = field(repr=False)
    submitted_at: DateTime | None
    send_at: DateTime | None
    refund: Decimal | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    submitted_at_wire: str | None = field(default=None, compare=False)
    """As the gateway wrote it."""
    send_at_wire: str | None = field(default=None, compare=False)
    """As the gateway wrote it."""


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A text in a gateway's history of sent texts."""

    message_id: MessageId
    reference: str | None = field(repr=False)
    """As it was submitted."""
    number: str = field(repr=False)
    state: DeliveryState
    cost: Decimal | None
    submitted_at: DateTime | None
    send_at: DateTime | None = None


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The gateway's answer for one scheduled text that was to be cancelled."""

    message_id: MessageId
    cancelled: bool
    code: str
    refund: Decimal | None
    number: str | None = field(default=None, repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A text that a phone sent to the account."""

    message_id: MessageId
    number: str = field(repr=False)
    received_at: DateTime | None
    text: str = field(repr=False)
    in_reply_to: MessageId | None = None
    """The id of the last text sent to that number. The reply may be to another text."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    received_at_wire: str | None = field(default=None, compare=False)
    """As the gateway wrote it."""


@dataclass(frozen=True, slots=True)
class OptOut:
    """A number that may not be texted any more."""

    number: str = field(repr=False)
    opted_out_at: DateTime | None
    text: str = field(repr=False)
    message_id: MessageId | None = None
    """The incoming message with the opt-out; ``None`` if a person entered the number."""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    opted_out_at_wire: str | None = field(default=None, compare=False)
    """As the gateway wrote it."""


@dataclass(frozen=True, slots=True)
class SubAccount:
    """An account that this one owns. Its names are personal data."""

    account_number: int
    login: str = field(repr=False)
    first_name: str = field(repr=False)
    surname: str = field(repr=False)
    balance: Decimal | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Balance:
    """Credits left. At WinSMS a credit is one segment to a South African network."""

    credits: Decimal | None


class Answers(tuple[T, ...]):  # noqa: SLOT001 - a tuple of any length takes no slots
    """A gateway's answers about ids: the readable rows.

    :ivar unreadable: the requested ids whose rows were unreadable. Their states stay as they were.
    """

    unreadable: tuple[MessageId, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[T], unreadable: Iterable[MessageId] = ()) -> Answers[T]:
        """Return answers from the readable rows, and the ids without one."""
        answers = cls(rows)
        answers.unreadable = tuple(unreadable)
        return answers


class Columns(Sequence[T]):
    """Rows of a list, stored by column. A load takes the columns, and a row is made only on request.

    :param make: makes a row from one value of each column, in their order.
    :param columns: the values of each column, all of equal length, by the name of the row's field.
    :param unreadable: the number of unreadable rows, which are left out.
    """

    __slots__ = ("_columns", "_make", "unreadable")

    def __init__(
        self, make: Callable[..., T], columns: Mapping[str, Sequence[Any]], unreadable: int = 0
    ) -> None:
        self._make = make
        self._columns = columns
        self.unreadable = unreadable

    def column(self, name: str) -> Sequence[Any]:
        """Return the values of one column."""
        return self._columns[name]

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self._columns

    def take(self, indexes: Sequence[int]) -> Columns[T]:
        """Return the rows at these indexes, in their order, as new columns."""
        picked = {name: [values[index] for index in indexes] for name, values in self._columns.items()}
        return Columns(self._make, picked)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __iter__(self) -> Iterator[T]:
        return map(self._make, *self._columns.values())

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Columns[T]: ...
    def __getitem__(self, index: int | slice) -> T | Columns[T]:
        if isinstance(index, slice):
            return Columns(self._make, {name: values[index] for name, values in self._columns.items()})
        row: T = self._make(*(values[index] for values in self._columns.values()))
        return row

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment] # as a list's


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list: its rows, its offset, and the total of rows in the list.

    :param unreadable_at: the indexes in the page of the unreadable rows, which are not in ``rows``.
    """

    rows: Sequence[T]
    offset: int
    total: int
    unreadable_at: tuple[int, ...] = ()

    @property
    def unreadable(self) -> int:
        """The number of unreadable rows."""
        return len(self.unreadable_at)

    @property
    def length(self) -> int:
        """The number of rows that the page covers, readable or not."""
        return len(self.rows) + len(self.unreadable_at)

    def readable_at(self) -> Sequence[int]:
        """Return the indexes in the page of the readable rows."""
        indexes = range(self.length)
        return [each for each in indexes if each not in self.unreadable_at] if self.unreadable_at else indexes


def instants_of(time: DateTime | None) -> set[DateTime]:
    """Return the instants in UTC of a time on a clock: two where clocks were put back.

    An unreadable time has none.
    """
    return set() if time is None else {time.replace(fold=fold).in_timezone("UTC") for fold in (0, 1)}
