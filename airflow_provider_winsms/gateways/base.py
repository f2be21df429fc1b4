"""The contract of a gateway: its limits, and a ``Call`` for each operation.

A gateway does no I/O. The transport executes the calls that its methods return.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NoReturn, Protocol, TypeAlias, TypeVar

from airflow_provider_winsms.exceptions import UnsupportedCapability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from pendulum import DateTime

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
        Recipient,
        ScheduledMessage,
        SubAccount,
    )

T = TypeVar("T")

BeforeSend: TypeAlias = "Callable[[], AbstractContextManager[None]]"
"""Makes a context. It is entered right before a request leaves, and exited when the request was answered."""

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, described once, for tasks and for event loops.

    :param operation: its name in the gateway's own document, for logs and errors.
    :param path: below the base URL. Neither it nor ``query`` holds a secret or personal data.
    :param parse: turns the decoded JSON of a successful answer into the result. It raises ``ValueError`` if
        the answer does not have the documented shape.
    :param body: the encoded JSON body.
    :param is_repeatable: whether a second execution does no harm. The default is no, so that a send that
        lacks the mark does not go out twice.
    :param max_answer_bytes: the longest answer that is read.
    :param rows: the key of the list, where the answer is one list without pages and the result has one item
        for each row. ``parse`` then also gets parts of the answer: objects with some of the rows under that
        key, and nothing else. So an answer of any length can be read.
    """

    operation: str
    method: Literal["GET", "POST"]
    path: str
    parse: Callable[[Any], T] = field(repr=False)
    query: Mapping[str, int] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    is_repeatable: bool = False
    max_answer_bytes: int = 16 * _MEGABYTE
    rows: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much fits into one request."""

    recipients: int
    """Recipients of one send, in all its messages together."""
    body_bytes: int
    """Bytes of one request's body."""
    envelope_bytes: int
    """Bytes of a request's body outside its messages."""
    message_ids: int
    """Ids in one status or cancel request."""
    page_rows: int
    """Rows of one page."""
    segments: int
    """Segments of one text."""
    septets: int
    """Septets of one text."""


class Gateway:
    """A gateway: its limits, and a ``Call`` for each operation.

    :param time_zone: the zone of the times on its wire.
    :param country_code: replaces the leading 0 of a national number; without the plus.
    """

    name: ClassVar[str]
    limits: ClassVar[Limits]
    lists_scheduled: ClassVar[bool] = False
    """Whether the gateway can schedule texts, and list and cancel them until they are due."""
    error_texts: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the error texts that the gateway documents. They quote nothing of a request. Errors show
    no other text of the gateway."""

    def __init__(self, *, time_zone: str, country_code: str) -> None:
        self.time_zone = time_zone
        self.country_code = country_code

    def headers(self, api_key: str) -> dict[str, str]:
        """Return the headers that authenticate a request."""
        raise NotImplementedError

    def error_text(self, document: Any) -> str:
        """Return the reason that an error answer gives, or an empty string."""
        raise NotImplementedError

    def is_refusal(self, status: int, document: Any) -> bool:
        """Whether an answer is a documented refusal: proof that the gateway did not execute the request.

        For a call that is not repeatable, only a documented refusal and a 429 prove that.

        :param status: the HTTP status, from 300 to 499.
        :param document: the decoded JSON of the answer; ``None`` if it is not JSON.
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

    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        """Send one text to many recipients; the receipts are in the order of the recipients."""
        self._raise_unsupported("send")

    def send_batch(self, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """Send different texts; the receipts are in the order of the messages and of their recipients."""
        self._raise_unsupported("send_batch")

    def delivery_reports(self, message_ids: Sequence[MessageId]) -> Call[Answers[DeliveryReport]]:
        """Ask for delivery states. An id whose row is unreadable has no report, and is listed apart."""
        self._raise_unsupported("delivery_reports")

    def cancel(self, message_ids: Sequence[MessageId]) -> Call[Answers[Cancellation]]:
        """Cancel scheduled texts that are not sent yet. An id whose row is unreadable has no answer."""
        self._raise_unsupported("cancel")

    def scheduled(self, offset: int, limit: int) -> Call[Page[ScheduledMessage]]:
        """List scheduled texts that are not sent yet."""
        self._raise_unsupported("scheduled")

    def incoming(self, offset: int, limit: int) -> Call[Page[IncomingMessage]]:
        """List texts that phones sent to the account."""
        self._raise_unsupported("incoming")

    def short_code(self, offset: int, limit: int) -> Call[Page[IncomingMessage]]:
        """List texts that phones sent to the account's short or long code."""
        self._raise_unsupported("short_code")

    def opt_outs(self) -> Call[Columns[OptOut]]:
        """List every number that may not be texted. If the list has no pages, the call names its ``rows``."""
        self._raise_unsupported("opt_outs")

    def balance(self) -> Call[Balance]:
        """Ask for the credits left."""
        self._raise_unsupported("balance")

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
