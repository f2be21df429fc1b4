"""What a rule is, what it judges, and what it may ask.

A rule can take a recipient out, move a time, or refuse the whole send. It can neither add a recipient nor
change a text.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import RejectReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from decimal import Decimal

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.ledger.base import Sender, SendHistory, SendSpending
    from airflow_provider_winsms.messages import Message, Recipient
    from airflow_provider_winsms.runtime import Log

KEPT = 0
"""The index of the outcome of a recipient whom no rule has touched."""

MOST_OUTCOMES = 2**16
"""How many different outcomes one send can have."""


class Entry(NamedTuple):
    """One text to one recipient, as a rule sees it.

    :param position: counts the recipients of the whole list, from 0.
    :param message: the text, as it is spelled, with its segments.
    :param send_at: the text's time, as earlier rules have moved it. ``None``: as soon as possible.
    """

    position: int
    message: Message
    recipient: Recipient
    send_at: DateTime | None

    def __repr__(self) -> str:
        """Show no number and no text."""
        return f"Entry(position={self.position}, send_at={self.send_at!r})"


class Draft:
    """All texts of a send, before they are planned. Rules take recipients out and move times.

    Iterate over it to get an ``Entry`` for each recipient whom no rule has taken out yet.

    :param messages: the texts without duplicates.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self.outcomes = array("H", bytes(2 * sum(len(message.recipients) for message in messages)))
        """The index in ``palette`` of the outcome of each recipient."""
        self.palette: list[RejectReason | DateTime | None] = [None]
        self._indexes: dict[RejectReason | DateTime | None, int] = {None: KEPT}
        self._rejected: Counter[RejectReason] = Counter()

    def __len__(self) -> int:
        """Return the number of recipients whom no rule has taken out."""
        return len(self.outcomes) - self._rejected.total()

    def __iter__(self) -> Iterator[Entry]:
        position = 0
        for message in self.messages:
            for recipient in message.recipients:
                outcome = self.palette[self.outcomes[position]]
                if not isinstance(outcome, RejectReason):
                    yield Entry(position, message, recipient, outcome or message.send_at)
                position += 1

    @property
    def rejected(self) -> Counter[RejectReason]:
        """How many recipients were taken out so far, by reason."""
        return Counter(self._rejected)

    def reject(self, position: int, reason: RejectReason) -> None:
        """Take a recipient out. The reason stands in the ledger and in the result.

        :param position: of the entry.
        """
        if isinstance(self.palette[self.outcomes[position]], RejectReason):
            return
        self.outcomes[position] = self._index_of(RejectReason(reason))
        self._rejected[RejectReason(reason)] += 1

    def move(self, position: int, send_at: DateTime) -> None:
        """Schedule a text for another time.

        :param position: of the entry.
        :raises InvalidMessage: if the time has no time zone.
        """
        if send_at.utcoffset() is None:
            msg = "A rule moved a text to a time without a time zone. Let it give an aware time."
            raise InvalidMessage(msg)
        if not isinstance(self.palette[self.outcomes[position]], RejectReason):
            self.outcomes[position] = self._index_of(send_at.in_timezone("UTC"))

    def _index_of(self, outcome: RejectReason | DateTime) -> int:
        if outcome not in self._indexes:
            if len(self.palette) == MOST_OUTCOMES:
                msg = f"The rules move texts to more than {MOST_OUTCOMES - 1} different times. Use fewer."
                raise InvalidMessage(msg)
            self._indexes[outcome] = len(self.palette)
            self.palette.append(outcome)
        return self._indexes[outcome]


class RuleContext(Protocol):
    """What a rule may ask. Everything is read only when a rule asks for it."""

    @property
    def now(self) -> DateTime:
        """The present, in UTC."""

    @property
    def leaves_at(self) -> DateTime:
        """When a text without a time goes out, if it is submitted now: later than now if texts are held."""

    @property
    def gateway(self) -> Gateway:
        """The gateway: its name, capabilities, limits and alphabets."""

    @property
    def sms_conn_id(self) -> str:
        """The connection of the gateway."""

    @property
    def batch_key(self) -> str:
        """The key of the batch: the same for each try."""

    @property
    def sender(self) -> Sender:
        """The task instance that sends."""

    @property
    def history(self) -> SendHistory | None:
        """What other tasks have sent, by the ledger in tables; ``None`` if the task has no such ledger."""

    @property
    def spending(self) -> SendSpending | None:
        """What tasks have spent, by the ledger in tables; ``None`` if the task has no such ledger."""

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing will be sent. Then nothing is reserved."""

    @property
    def log(self) -> Log:
        """The log of the task. Write no number and no text to it."""

    @property
    def hashes(self) -> KeyedHash:
        """The keyed hashes of the connection, as a loaded table may hold them in place of numbers."""

    def opted_out(self) -> frozenset[str]:
        """Return the numbers on the gateway's opt-out list, as international digits.

        :raises UnsupportedCapability: if the gateway has no such list.
        """

    def balance(self) -> Decimal | None:
        """Return the credits of the account; ``None`` if the gateway states none that can be read.

        :raises UnsupportedCapability: if the gateway states no balance.
        """

    def address(self, number: object) -> str | None:
        """Return a number as it stands in an ``Entry``; ``None`` if it is none."""

    def rows(self, conn_id: str, sql: str) -> Iterator[Sequence[Any]]:
        """Yield the rows of a query, over an Airflow connection."""

    def variable(self, key: str) -> Any:
        """Return an Airflow variable; its JSON value, if it is JSON.

        :raises ConfigurationError: if there is none.
        """

    def option(self, key: str) -> str | None:
        """Return an option of the section ``[winsms]`` of Airflow's configuration."""


class Rule(Protocol):
    """One rule. Make it a frozen dataclass, so that a later try can tell whether it has changed."""

    def apply(self, draft: Draft, context: RuleContext) -> None:
        """Take recipients out of a draft, or move their times.

        :raises SmsError: to refuse the whole send.
        """


@runtime_checkable
class DispatchRule(Protocol):
    """A rule that also decides when a request may leave, as late as it leaves."""

    def dispatcher(self, context: RuleContext) -> Dispatcher:
        """Return what decides, for one try."""


@runtime_checkable
class ReservingRule(Protocol):
    """A rule that also reserves what texts use up, so that tasks that run at once keep to one limit.

    ``apply`` only looks at what is left. What it finds is reserved when all rules have decided.
    """

    def reserve(self, draft: Draft, context: RuleContext) -> None:
        """Reserve for the texts that are left, in place of what the batch key reserved before.

        Other tasks may have reserved since ``apply``. Take those texts out for which nothing is left.

        :raises SmsError: to refuse the whole send.
        """

    def release(self, context: RuleContext) -> None:
        """Give back what was reserved, as nothing is sent."""


@runtime_checkable
class SettlingRule(Protocol):
    """A rule that also wants to know what a send has cost, once all its texts have an outcome."""

    def settle(self, cost: Decimal | None, messages: Iterable[Message], context: RuleContext) -> None:
        """Compare the cost with what was decided, and end what was reserved.

        :param cost: of all texts; ``None`` if the gateway states an amount that cannot be read.
        :param messages: all that were planned, after rules took recipients out.
        """


class Dispatcher(Protocol):
    """Decides when the requests of one try may go out. It may keep state from one request to the next."""

    most_recipients: int | None
    """The most recipients in one request; ``None``: as many as the gateway takes."""

    def time_of(self, at: DateTime, recipients: int) -> DateTime:
        """Return when the texts of a request go out: as given, or later.

        :param at: when they would go out.
        :raises SmsError: if they may not go out.
        """
