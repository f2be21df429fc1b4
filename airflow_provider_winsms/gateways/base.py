"""The contract of a gateway: its limits, and a ``Call`` for each operation.

A gateway does no I/O. The transport executes the calls that its methods return.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, StrEnum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NoReturn, Protocol, TypeAlias, TypeVar

from airflow_provider_winsms.exceptions import UnsupportedCapability
from airflow_provider_winsms.messages import PHONE, DeliveryState, Recipient
from airflow_provider_winsms.phone import InvalidPhoneNumber, NumberPlan, NumberReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.alphabets import Alphabet
    from airflow_provider_winsms.gateways.auth import Authentication, Headers
    from airflow_provider_winsms.gateways.endpoint import Endpoint
    from airflow_provider_winsms.gateways.lists import Block
    from airflow_provider_winsms.messages import (
        Answers,
        Balance,
        Cancellation,
        Columns,
        DeliveryReport,
        IncomingMessage,
        Message,
        MessageId,
        OptOut,
        Page,
        Receipt,
        ScheduledMessage,
        SentMessage,
        SubAccount,
    )
    from airflow_provider_winsms.options import CheckNumbers

T = TypeVar("T")

BeforeSend: TypeAlias = "Callable[[], AbstractContextManager[None]]"
"""Makes a context. It is entered right before a request leaves, and exited when the request was answered."""

_MEGABYTE = 1024 * 1024
_RETENTION_MARGIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Response:
    """A decoded answer.

    :param document: the decoded JSON; ``None`` if there is none.
    :param headers: by their names, in any case.
    """

    document: Any = field(repr=False)
    status: int = HTTPStatus.OK
    headers: Headers = field(default_factory=dict, repr=False)


class Problem(Enum):
    """The meaning of an error answer, as the gateway documents it: proof that a request was not executed."""

    SIGN_IN_AGAIN = auto()
    """The session is over. The transport signs in again, and repeats the request once."""
    NOT_THERE = auto()
    """The thing that the request names is not there."""
    NO_CREDITS = auto()
    """The account cannot pay for the request."""
    REFUSED = auto()
    """The request is refused for another reason."""
    LATER = auto()
    """The gateway takes no request now, as with a 429."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, described once, for tasks and for event loops.

    :param operation: its name in the gateway's own document, for logs and errors.
    :param path: below the base URL. Neither it nor ``query`` holds a secret or personal data.
    :param parse: turns a successful answer into the result. It raises ``ValueError`` if the answer does not
        have the documented shape.
    :param read: reads the body of a successful answer of the usual shape, faster than ``parse`` reads its
        document, and raises ``ValueError`` for any other, which is then parsed. The results are equal; this
        one may make values only when they are asked for.
    :param successes: the statuses of a successful answer.
    :param absent: returns the result where the gateway says that the thing is not there. ``None``: that
        answer is an error.
    :param body: the encoded body: JSON, unless ``headers`` say otherwise.
    :param headers: the headers that only this call has. They may hold a secret.
    :param is_at_root: whether the path begins at the root of the host, and not below the base URL.
    :param is_repeatable: whether a second execution does no harm. The default is no, so that a send that
        lacks the mark does not go out twice.
    :param max_answer_bytes: the longest answer that is read.
    :param rows: the key of the list, where the answer is one list without pages and the result has one item
        for each row. ``parse`` then also gets parts of the answer: its document is an object with some of the
        rows under that key, and nothing else. So an answer of any length can be read.
    """

    operation: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    parse: Callable[[Response], T] = field(repr=False)
    read: Callable[[bytes], T] | None = field(default=None, repr=False)
    query: Mapping[str, int | str] = field(default_factory=dict)
    successes: frozenset[int] = frozenset({HTTPStatus.OK})
    absent: Callable[[], T] | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)
    headers: Headers = field(default_factory=dict, repr=False)
    is_at_root: bool = False
    is_repeatable: bool = False
    max_answer_bytes: int = 16 * _MEGABYTE
    rows: str | None = None


class StatusSource(StrEnum):
    """How the delivery state of a text becomes known."""

    BY_ID = "by_id"
    """The gateway answers requests with ids."""

    CALLBACK = "callback"
    """The gateway reports states to a listener, and answers no request for them."""

    NONE = "none"
    """The gateway reports no states."""


class ListReading(StrEnum):
    """How a list is read."""

    OFFSET = "offset"
    """By the offset of a row and a number of rows."""

    NUMBERED = "numbered"
    """By the number of a page."""

    QUEUE = "queue"
    """Block by block. A request for the next block removes the block before it."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a gateway can do, as its documents say. Tasks check it before their first request."""

    batch: bool = False
    """Different texts in one request. Without it, each text is sent in requests of its own."""
    schedule: bool = False
    """Texts that are sent at a given time."""
    list_scheduled: bool = False
    """A list of the scheduled texts that are not sent yet."""
    cancel: bool = False
    """Scheduled texts can be cancelled until they are sent."""
    status: StatusSource = StatusSource.NONE
    sent_history: bool = False
    """A list of the texts that were sent, newest first."""
    references: bool = False
    """The gateway stores the sender's reference, and returns it."""
    incoming: ListReading | None = None
    """How the list of incoming texts is read; ``None`` if there is none."""
    pages: ListReading = ListReading.OFFSET
    """How the other lists are read that have pages."""
    short_code: bool = False
    """A list of texts that came to the account's short or long code."""
    opt_outs: bool = False
    """A list of the numbers that may not be texted."""
    balance: bool = False
    """The account's balance can be asked for."""
    price: bool = False
    """The price of a text can be asked for before it is sent."""
    transfer_credits: bool = False
    """Credits can be moved between accounts."""
    sub_accounts: bool = False
    """A list of the accounts that this one owns."""
    cancelled_state: DeliveryState = DeliveryState.NOT_FOUND
    """The state that the gateway reports of a text that was cancelled."""
    shares_ids: bool = False
    """All recipients of a request share one message id."""
    alphabets: tuple[Alphabet, ...] = ()
    """The alphabets of texts. The first one that has each character of a text is used, or else the first."""

    @property
    def states_cancellations(self) -> bool:
        """Whether a cancelled text has a state of its own."""
        return self.cancelled_state is not DeliveryState.NOT_FOUND

    @property
    def finds_references(self) -> bool:
        """Whether a sent text can be found by the reference that it left with."""
        return self.sent_history and self.references

    @property
    def finds_lost_texts(self) -> bool:
        """Whether the gateway shows what became of a request whose answer was lost."""
        return self.finds_references or self.list_scheduled


@dataclass(frozen=True, slots=True)
class Limits:
    """How much fits into one request."""

    recipients: int
    """Recipients of one send, in all its messages together."""
    messages: int
    """Messages of one send."""
    body_bytes: int
    """Bytes of one request's body."""
    envelope_bytes: int
    """Bytes of a request's body outside its messages."""
    status_ids: int
    """Ids in one status request."""
    cancel_ids: int
    """Ids in one cancel request."""
    page_rows: int
    """Rows of one page."""
    status_retention: timedelta | None
    """How long the gateway knows a text's state; ``None`` if no document says so."""
    send_at_step: timedelta
    """The step between two times that a text can be scheduled for."""

    @property
    def status_proves_for(self) -> timedelta:
        """For this time after a text was due, its status proves whether it was sent; 0 if that is unknown."""
        kept = self.status_retention or timedelta(0)
        return max(kept - _RETENTION_MARGIN, timedelta(0))


class Gateway:
    """A gateway: its capabilities, its limits, and a ``Call`` for each operation.

    :param time_zone: the zone of the times on its wire.
    :param country_code: replaces the leading 0 of a national number; without the plus.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    limits: ClassVar[Limits]
    currency: ClassVar[str]
    """The unit of all amounts: an ISO 4217 code, or ``credits``."""
    client_zone_url: ClassVar[str] = ""
    """The address of the pages where a customer signs in. Tasks link to it, so it holds nothing of an account
    or a text. Empty: the gateway has no such pages, or no document says where."""
    credential_words: ClassVar[str] = "the API key, which is the password"
    """The secrets of a connection in words, for errors."""
    error_texts: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the error texts that the gateway documents. They quote nothing of a request. Errors show
    no other text of the gateway."""

    def __init__(self, *, time_zone: str = "UTC", country_code: str = "") -> None:
        self.time_zone = time_zone
        self.country_code = country_code
        self._readers: dict[str, NumberReader] = {}

    @property
    def number_plan(self) -> NumberPlan:
        """How people write national numbers."""
        return NumberPlan(self.country_code)

    def alphabet_of(self, spelled: str) -> Alphabet:
        """Return the alphabet that a text is sent in: the first one that carries it as it is spelled."""
        alphabets = self.capabilities.alphabets
        return next((each for each in alphabets if each.carries(spelled)), alphabets[-1])

    def address(self, value: object, check_numbers: CheckNumbers = "possible") -> Recipient:
        """Return the recipient that a value of a DAG means: here a phone, by the number plan.

        A gateway of devices reads its own kinds. No kind is guessed.

        :param value: a ``Recipient``, or a number in any spelling.
        :raises InvalidPhoneNumber: the value is no address of this gateway.
        """
        number, reference, kind = value, None, PHONE
        if isinstance(value, Recipient):
            number, reference, kind = value.number, value.reference, value.kind
        if kind != PHONE:
            msg = f"is not a phone, and {self.name} sends to phones only"
            raise InvalidPhoneNumber(msg)
        return Recipient(self._reader(check_numbers).read(number), reference)

    def _reader(self, check_numbers: CheckNumbers) -> NumberReader:
        if check_numbers not in self._readers:
            plan = self.number_plan
            self._readers[check_numbers] = NumberReader(plan.country_code, check_numbers, plan.trunk_prefix)
        return self._readers[check_numbers]

    def require(self, capability: str, parameter: str = "") -> None:
        """Check that the gateway has a capability, before a task's first request.

        :param capability: a field of ``Capabilities``. ``status`` means states that can be asked for by id.
        :param parameter: the parameter of the task that needs it, for the error.
        :raises UnsupportedCapability: the gateway does not have it.
        """
        has = getattr(self.capabilities, capability)
        if has in {False, None, StatusSource.CALLBACK, StatusSource.NONE}:
            need = f"`{parameter}` needs it" if parameter else "the task needs it"
            msg = f"The gateway {self.name} does not offer {capability}, and {need}. Nothing was requested."
            raise UnsupportedCapability(msg)

    def authentication(self, endpoint: Endpoint) -> Authentication:
        """Return how requests are authenticated, with the secrets of an endpoint."""
        raise NotImplementedError

    def error_text(self, document: Any) -> str:
        """Return the reason that an error answer gives, or an empty string."""
        raise NotImplementedError

    def problem(self, response: Response) -> Problem | None:
        """Return the meaning of an answer that is no success; ``None`` if the documents do not have it.

        For a call that is not repeatable, only a documented problem and a 429 prove that it was not executed.
        """
        raise NotImplementedError

    def answered_at(self, document: Any) -> DateTime | None:
        """Return the time that an answer states for itself, in the wire's zone; ``None`` if it has none."""
        raise NotImplementedError

    def message_bytes(self, message: Message) -> int:
        """Return the most bytes that a message without its recipients adds to a request's body."""
        raise NotImplementedError

    def recipient_bytes(self, recipient: Recipient) -> int:
        """Return the most bytes that one recipient adds to a request's body."""
        raise NotImplementedError

    def first_possible_time(self, send_at: DateTime) -> DateTime:
        """Return the first instant from ``send_at`` on that the gateway can schedule a text for."""
        raise NotImplementedError

    def submit(self, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """Send the messages of one planned request, each in its own order of recipients."""
        return self.send(messages[0]) if len(messages) == 1 else self.send_batch(messages)

    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        """Send one text to many recipients; the receipts are in the order of the recipients."""
        self._raise_unsupported("send")

    def send_batch(self, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """Send different texts; the receipts are in the order of the messages and of their recipients."""
        self._raise_unsupported("send_batch")

    def sent(self, start: int, limit: int) -> Call[Page[SentMessage]]:
        """List texts that were sent, newest first. Its parameters are those of ``incoming``."""
        self._raise_unsupported("sent")

    def delivery_reports(self, message_ids: Sequence[MessageId]) -> Call[Answers[DeliveryReport]]:
        """Ask for delivery states. An id whose row is unreadable has no report, and is listed apart."""
        self._raise_unsupported("delivery_reports")

    def cancel(self, message_ids: Sequence[MessageId]) -> Call[Answers[Cancellation]]:
        """Cancel scheduled texts that are not sent yet. An id whose row is unreadable has no answer."""
        self._raise_unsupported("cancel")

    def scheduled(self, start: int, limit: int) -> Call[Page[ScheduledMessage]]:
        """List scheduled texts that are not sent yet."""
        self._raise_unsupported("scheduled")

    def incoming(self, start: int, limit: int) -> Call[Page[IncomingMessage]]:
        """List texts that phones sent to the account.

        :param start: the offset of the first row; or the number of a page, from 1, if the list is read so.
            ``scheduled`` and ``short_code`` take the same. ``lists.pages_by_offset`` reads either.
        :param limit: the most rows of the page.
        """
        self._raise_unsupported("incoming")

    def take_incoming(self, token: str | None) -> Call[Block[IncomingMessage]]:
        """Read a block of the queue of texts that phones sent to the account.

        :param token: of the block before, which this request acknowledges; ``None`` for the first block.
        """
        self._raise_unsupported("take_incoming")

    def short_code(self, start: int, limit: int) -> Call[Page[IncomingMessage]]:
        """List texts that phones sent to the account's short or long code."""
        self._raise_unsupported("short_code")

    def opt_outs(self) -> Call[Columns[OptOut]]:
        """List every number that may not be texted. If the list has no pages, the call names its ``rows``."""
        self._raise_unsupported("opt_outs")

    def balance(self) -> Call[Balance]:
        """Ask for the balance."""
        self._raise_unsupported("balance")

    def ping(self) -> Call[str]:
        """Make a call that costs nothing. Its result is a clause about the account, for people."""
        self._raise_unsupported("ping")

    def transfer_credits(self, sender: int, receiver: int, quantity: int) -> Call[bool]:
        """Move credits from one account to another; ``False`` if the gateway declined."""
        self._raise_unsupported("transfer_credits")

    def sub_accounts(self) -> Call[tuple[SubAccount, ...]]:
        """List the accounts that this one owns."""
        self._raise_unsupported("sub_accounts")

    def message_ids(self, values: Iterable[object]) -> tuple[MessageId, ...]:
        """Return values as this gateway's message ids, each once, in their first order.

        :raises InvalidMessage: if a value cannot be an id of this gateway.
        """
        raise NotImplementedError

    def _raise_unsupported(self, operation: str) -> NoReturn:
        msg = f"The gateway {self.name} has no operation {operation}."
        raise UnsupportedCapability(msg)


class Execute(Protocol):
    """Executes a call, as ``Transport.execute`` does."""

    def __call__(self, call: Call[T], before_send: BeforeSend = ..., /) -> T:
        """Return the result of the call."""
