"""What every gateway looks like from the outside, and the one request that it describes at a time.

A gateway does no I/O: each of its methods returns a ``Call``, which the transport carries.
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
"""What is entered right before a request leaves, and left when it was answered."""

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, described once, for tasks and for event loops.

    :param operation: its name in the gateway's own document, for logs and errors.
    :param path: below the base URL; holds no secret and no personal data, and nor does ``query``.
    :param parse: turns the decoded JSON of a successful answer into the result; raises ``ValueError`` where
        the answer does not have the promised shape.
    :param body: the encoded JSON body.
    :param is_repeatable: whether carrying it out twice does no harm. A send that nobody marked must not go
        out twice, so it is not unless it is said to be.
    :param max_answer_bytes: the longest answer that is read.
    :param rows: where the answer is one list without pages, and the result has one item for each of its
        rows: the key of the list. ``parse`` is then also given parts of the answer, each an object with
        nothing but some of the rows under that key, so that an answer of any length can be read.
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
    """Recipients of one send, over all its messages."""
    body_bytes: int
    """Bytes of one request's body."""
    envelope_bytes: int
    """Bytes of a request's body that belong to none of its messages."""
    message_ids: int
    """Ids in one status or cancel request."""
    page_rows: int
    """Rows of one page."""
    segments: int
    """Segments of one text."""
    septets: int
    """Septets of one text."""


class Gateway:
    """A gateway: its limits, and a ``Call`` for each thing it can do.

    :param time_zone: the zone of the times on its wire.
    :param country_code: what a leading 0 of a national number stands for, without the plus.
    """

    name: ClassVar[str]
    limits: ClassVar[Limits]
    lists_scheduled: ClassVar[bool] = False
    """Whether texts can be scheduled, listed and cancelled until they are due."""
    error_texts: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the error texts that the gateway documents, which are known to quote nothing. No error
    shows anything else that it says."""

    def __init__(self, *, time_zone: str, country_code: str) -> None:
        self.time_zone = time_zone
        self.country_code = country_code

    def headers(self, api_key: str) -> dict[str, str]:
        """Return what authenticates a request."""
        raise NotImplementedError

    def error_text(self, document: Any) -> str:
        """Return the reason that an error answer gives, or an empty string."""
        raise NotImplementedError

    def is_refusal(self, status: int, document: Any) -> bool:
        """Whether an answer is a documented refusal: proof that the gateway did not carry a request out.

        A call that is not repeatable counts as not carried out after no other answer, but for a 429.

        :param status: of HTTP, from 300 to 499.
        :param document: the decoded JSON of the answer; ``None`` if it is not JSON.
        """
        raise NotImplementedError

    def answered_at(self, document: Any) -> DateTime | None:
        """Return when an answer says it was made, in the zone of the wire; ``None`` if it does not say."""
        raise NotImplementedError

    def message_bytes(self, message: Message) -> int:
        """Return the most bytes that a message adds to a request's body, its recipients left out."""
        raise NotImplementedError

    def recipient_bytes(self, recipient: Recipient) -> int:
        """Return the most bytes that one recipient adds to a request's body."""
        raise NotImplementedError

    def first_possible_time(self, send_at: DateTime) -> DateTime:
        """Return the first instant, not before ``send_at``, that the gateway can schedule a text for."""
        raise NotImplementedError

    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        """Send one text to many; the receipts come in the order of the recipients."""
        self._refuse("send")

    def send_batch(self, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """Send different texts; the receipts come message by message, in the order of the recipients."""
        self._refuse("send_batch")

    def delivery_reports(self, message_ids: Sequence[MessageId]) -> Call[Answers[DeliveryReport]]:
        """Ask how far texts have come. An id whose row cannot be read is named, and has no report."""
        self._refuse("delivery_reports")

    def cancel(self, message_ids: Sequence[MessageId]) -> Call[Answers[Cancellation]]:
        """Cancel scheduled texts that have not gone out yet. An id whose row cannot be read has no answer."""
        self._refuse("cancel")

    def scheduled(self, offset: int, limit: int) -> Call[Page[ScheduledMessage]]:
        """List texts that wait for their time."""
        self._refuse("scheduled")

    def incoming(self, offset: int, limit: int) -> Call[Page[IncomingMessage]]:
        """List texts that phones sent to the account."""
        self._refuse("incoming")

    def short_code(self, offset: int, limit: int) -> Call[Page[IncomingMessage]]:
        """List texts that phones sent to the account's short or long code."""
        self._refuse("short_code")

    def opt_outs(self) -> Call[Columns[OptOut]]:
        """List every number that may not be texted. A gateway whose list has no pages names its ``rows``."""
        self._refuse("opt_outs")

    def balance(self) -> Call[Balance]:
        """Ask for the credits left."""
        self._refuse("balance")

    def transfer_credits(self, sender: int, receiver: int, quantity: int) -> Call[bool]:
        """Move credits from one account to another; ``False`` if the gateway declined."""
        self._refuse("transfer_credits")

    def sub_accounts(self) -> Call[tuple[SubAccount, ...]]:
        """List the accounts that this one owns."""
        self._refuse("sub_accounts")

    def message_ids(self, values: Iterable[object]) -> tuple[MessageId, ...]:
        """Return values as this gateway's message ids, each once, in the order they came.

        :raises InvalidMessage: if a value cannot be an id of this gateway.
        """
        raise NotImplementedError

    def _refuse(self, operation: str) -> NoReturn:
        msg = f"The gateway {self.name} has no operation {operation}."
        raise UnsupportedCapability(msg)


class Execute(Protocol):
    """Carries out a call, as ``Transport.execute`` does."""

    def __call__(self, call: Call[T], before_send: BeforeSend = ..., /) -> T:
        """Return what the gateway answered."""
