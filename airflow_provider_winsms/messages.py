"""The vocabulary: few words, the same for every gateway.

Times are aware (``pendulum.DateTime``), money is ``Decimal``, or ``None`` where the gateway states no amount
that can be read. The row as it came over the wire is kept beside the normalised one in ``raw``. Numbers,
texts and raw rows are personal data: no ``repr`` shows them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pendulum import DateTime

T = TypeVar("T")

MessageId: TypeAlias = int | str
"""What a gateway calls one text to one recipient. An integer at WinSMS."""

MessageIds: TypeAlias = "MessageId | Iterable[MessageIds] | Mapping[str, Any] | None"
"""All that ``each_message_id`` takes."""

_SHOWN_IN_FRONT = 2
_SHOWN_BEHIND = 3
_TENTH = Decimal("0.1")


def mask_number(number: str) -> str:
    """Return ``27******789`` for ``27824567789``: enough to recognise in a log, too little to dial.

    The mask has always six stars, so that it does not tell the length; a very short number is hidden whole.
    """
    if len(number) <= _SHOWN_IN_FRONT + _SHOWN_BEHIND + 1:
        return "*" * 6
    return f"{number[:_SHOWN_IN_FRONT]}******{number[-_SHOWN_BEHIND:]}"


def is_missing(value: object) -> bool:
    """Tell whether a value stands for none: ``None``, NaN, and the NaT and NA of pandas."""
    if value is None or isinstance(value, str):
        return value is None
    try:
        return bool(value != value)  # noqa: PLR0124 - what NaN and NaT are known by
    # NA has no truth, and an array has many. Of decimals only a signalling NaN cannot be compared.
    except (TypeError, ValueError, ArithmeticError):
        return type(value).__name__ == "NAType" or isinstance(value, Decimal)


def is_table(value: object) -> bool:
    """Tell whether a value is a data frame, such as one of pandas: what one walks through are its columns."""
    kind = type(value)
    return hasattr(kind, "columns") and any(
        hasattr(kind, name) for name in ("to_dict", "to_dicts", "to_pylist")
    )


def pluralize(number: int, thing: str) -> str:
    """Return ``1 request``, ``2 requests``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def credits_text(amount: Decimal) -> str:
    """Return an amount of credits with one decimal place, as WinSMS counts them, or more if it has more."""
    return str(amount.quantize(_TENTH)) if amount == amount.quantize(_TENTH) else str(amount)


class RejectReason(StrEnum):
    """Why a gateway declined a recipient while it accepted the request."""

    NO_CREDITS = "no_credits"
    """The account could not pay for this recipient."""

    ACCOUNT_LOCKED = "account_locked"
    """The account may not send at all."""

    TRIAL_ACCOUNT = "trial_account"
    """A trial account may only text its owner's number."""

    TEXT_TOO_LONG = "text_too_long"
    """The text does not fit into the most segments that the gateway takes."""

    BAD_NUMBER = "bad_number"
    """Not a number that can be texted, or blacklisted by the gateway."""

    OPTED_OUT = "opted_out"
    """The recipient asked this account to stop."""

    DO_NOT_CONTACT = "do_not_contact"
    """The recipient is on an industry-wide do-not-contact list."""

    OTHER = "other"
    """A reason this version does not know; ``Receipt.code`` holds the gateway's word for it."""

    INVALID = "invalid"
    """Not submitted, as the text, time or segments, or the recipient, cannot be told to any gateway."""

    NOT_RECEIVED = "not_received"
    """The answer was lost and the text is taken not to have been accepted; it is submitted again."""

    CANCELLED = "cancelled"
    """Accepted, and taken back when its task was killed."""

    @property
    def is_account_level(self) -> bool:
        """Whether the fault lies with the account, not with the recipient."""
        return self in _ACCOUNT_LEVEL

    @property
    def may_be_sent_later(self) -> bool:
        """Whether the same text to the same recipient may be accepted another time."""
        return self in _FOR_LATER


_ACCOUNT_LEVEL = frozenset({RejectReason.NO_CREDITS, RejectReason.ACCOUNT_LOCKED, RejectReason.TRIAL_ACCOUNT})
_FOR_LATER = _ACCOUNT_LEVEL | {RejectReason.NOT_RECEIVED, RejectReason.CANCELLED}


class DeliveryState(StrEnum):
    """How far one text has come."""

    QUEUED = "queued"
    """Waiting at the gateway."""

    SENT = "sent"
    """Handed to the network; no word from it yet, and perhaps never one."""

    DELIVERED = "delivered"
    """Arrived on the phone."""

    FAILED = "failed"
    """Transmitted, and could not be delivered."""

    NOT_SENT = "not_sent"
    """Never transmitted."""

    NOT_FOUND = "not_found"
    """The gateway does not know the id: a wrong one, one just made, or one it has forgotten."""

    UNKNOWN = "unknown"
    """A state this version does not know; treated as pending. ``DeliveryReport.code`` holds it."""

    @property
    def is_final(self) -> bool:
        """Whether the state cannot change any more."""
        return self not in _PENDING

    @property
    def is_delivered(self) -> bool:
        """Whether the text arrived."""
        return self is DeliveryState.DELIVERED


_PENDING = frozenset({DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Recipient:
    """One phone, as international digits (E.164 without the plus).

    :param reference: the sender's own name for this text, such as a customer's id. It is kept in the ledger's
        tables. It is not sent to a gateway that does not store it.
    """

    number: str = field(repr=False)
    reference: str | None = field(default=None, repr=False)


class Recipients(Sequence[Recipient]):
    """Recipients in little memory: 8 bytes each, as a number has at most 15 digits and no leading 0."""

    __slots__ = ("_numbers", "_references")

    def __init__(self, recipients: Iterable[Recipient] = ()) -> None:
        self._numbers = array("Q")
        self._references: dict[int, str] = {}
        for recipient in recipients:
            self.append(recipient)

    def append(self, recipient: Recipient) -> None:
        """Add one."""
        if recipient.reference is not None:
            self._references[len(self._numbers)] = recipient.reference
        self._numbers.append(int(recipient.number))

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Recipient]:
        return self._each(range(len(self)))

    @overload
    def __getitem__(self, place: int) -> Recipient: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Recipient, ...]: ...
    def __getitem__(self, place: int | slice) -> Recipient | tuple[Recipient, ...]:
        if not isinstance(place, slice):
            at = range(len(self))[place]
            return Recipient(str(self._numbers[at]), self._references.get(at))
        return tuple(self._each(range(*place.indices(len(self)))))

    def _each(self, places: range) -> Iterator[Recipient]:
        numbers = map(str, map(self._numbers.__getitem__, places))
        if not self._references:
            return map(Recipient, numbers)
        return map(Recipient, numbers, map(self._references.get, places))

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
        """Return what stands for a text that was not taken, or that was taken back, where no answer said so.

        :param cost: credits that were given back.
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
        """Whether the answer said what became of the recipient: some leave one out, or name one twice."""
        return self.message_id is not None or self.reason is not None


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What the gateway says of one text it accepted."""

    message_id: MessageId
    state: DeliveryState
    code: str = ""
    cost: Decimal | None = Decimal(0)
    time: DateTime | None = None
    number: str | None = field(default=None, repr=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ScheduledMessage:
    """A text that waits at the gateway for its time."""

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
    """The id of the last text sent to that number, which need not be the one that is answered."""
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
    """The incoming message that asked for it; ``None`` where a person entered the number by hand."""
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
    """What a gateway said of ids: those rows of its answer that could be read.

    :ivar unreadable: the ids that were asked for and whose rows could not be read. They stay as they were.
    """

    unreadable: tuple[MessageId, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[T], unreadable: Iterable[MessageId] = ()) -> Answers[T]:
        """Return rows, and the ids that have none that can be read."""
        answers = cls(rows)
        answers.unreadable = tuple(unreadable)
        return answers


class Columns(Sequence[T]):
    """Rows of a list, kept column by column: a load takes them so, and no row is made that nobody asks for.

    :param make: makes a row from one value of each column, in their order.
    :param columns: values of equal number, by the names that the row has for them.
    :param unreadable: how many rows were left out because they could not be read.
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
        """Tell whether there is such a column."""
        return name in self._columns

    def take(self, indexes: Sequence[int]) -> Columns[T]:
        """Return the rows at some indexes."""
        picked = {name: [values[index] for index in indexes] for name, values in self._columns.items()}
        return Columns(self._make, picked)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __iter__(self) -> Iterator[T]:
        return map(self._make, *self._columns.values())

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Columns[T]: ...
    def __getitem__(self, place: int | slice) -> T | Columns[T]:
        if isinstance(place, slice):
            return Columns(self._make, {name: values[place] for name, values in self._columns.items()})
        row: T = self._make(*(values[place] for values in self._columns.values()))
        return row

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment] # as a list's


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list: its rows, where it starts, and how many rows there are in all.

    :param unreadable_at: the indexes in the page of the unreadable rows, which are not in ``rows``.
    """

    rows: Sequence[T]
    offset: int
    total: int
    unreadable_at: tuple[int, ...] = ()

    @property
    def unreadable(self) -> int:
        """How many rows could not be read."""
        return len(self.unreadable_at)

    @property
    def length(self) -> int:
        """How many rows of the list the page covers."""
        return len(self.rows) + len(self.unreadable_at)

    def readable_at(self) -> Sequence[int]:
        """Return the indexes in the page of the rows that could be read."""
        indexes = range(self.length)
        return [each for each in indexes if each not in self.unreadable_at] if self.unreadable_at else indexes


def instants_of(time: DateTime | None) -> set[DateTime]:
    """Return what a time on a clock may stand for, in UTC: two instants, where clocks were put back.

    One that could not be read stands for none that is known.
    """
    return set() if time is None else {time.replace(fold=fold).in_timezone("UTC") for fold in (0, 1)}
