"""Planning and submitting: the fewest requests that hold the messages, each of them remembered first.

Pure logic over a gateway, a ledger and a way to carry calls; it knows neither Airflow nor HTTP.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import OutcomeUnknown, SmsError
from airflow_provider_winsms.messages import Message, Receipt, Recipient, credits_text, mask_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from airflow_provider_winsms.gateways.base import Call, Gateway
    from airflow_provider_winsms.ledger.base import Ledger
    from airflow_provider_winsms.messages import MessageId

    SendCall = Call[tuple[Receipt, ...]]

DECLINED_SHOWN = 20
"""How many declined recipients an outcome names; the counts are of all."""


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
    """What became of a plan so far: ids, counts and amounts; neither texts nor whole numbers."""

    message_ids: list[MessageId] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    cost: Decimal = Decimal(0)
    balance: Decimal | None = None
    requests: int = 0
    account_level: bool = False
    declined: list[str] = field(default_factory=list)
    """The first declined recipients, masked, with the reason; for logs."""

    @property
    def accepted(self) -> int:
        """How many recipients were accepted."""
        return len(self.message_ids)

    @property
    def reasons(self) -> dict[str, int]:
        """How many recipients were declined, for each reason."""
        return {str(reason): count for reason, count in sorted(self.rejected.items())}

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
            if len(self.declined) < DECLINED_SHOWN:
                self.declined.append(f"{mask_number(receipt.number)} {receipt.reason}")
            self.account_level |= receipt.reason.is_account_level

    def summary(self) -> dict[str, Any]:
        """Return the outcome as JSON values; amounts are decimal strings, in credits."""
        return {
            "message_ids": list(self.message_ids),
            "accepted": self.accepted,
            "rejected": self.reasons,
            "duplicates": self.duplicates,
            "cost": credits_text(self.cost),
            "balance": None if self.balance is None else credits_text(self.balance),
            "requests": self.requests,
        }


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
    limits = gateway.limits

    def fresh() -> _Request:
        return _Request(limits.recipients, limits.body_bytes - limits.envelope_bytes)

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
