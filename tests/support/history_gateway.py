"""A gateway in memory that schedules nothing, and keeps a history of sent texts with their references."""

from __future__ import annotations

import json
from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import pendulum

from airflow_provider_winsms.exceptions import GatewayUnavailable, OutcomeUnknown
from airflow_provider_winsms.gateways.base import Call, Capabilities, Gateway, Limits, Response
from airflow_provider_winsms.messages import Balance, DeliveryState, Page, Receipt, SentMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_winsms.gateways.base import BeforeSend
    from airflow_provider_winsms.messages import Message, Recipient

T = TypeVar("T")

NOON = pendulum.datetime(2026, 3, 2, 12)
TIMEOUT = 10.0


class HistoryGateway(Gateway):
    """Takes three recipients in a request, and lists four sent texts on a page."""

    name = "History"
    capabilities = Capabilities(batch=True, sent_history=True, references=True, balance=True)
    limits = Limits(
        recipients=3,
        messages=3,
        body_bytes=10_000,
        envelope_bytes=10,
        status_ids=4,
        cancel_ids=4,
        page_rows=4,
        status_retention=None,
        send_at_step=timedelta(minutes=1),
    )
    currency = "EUR"

    def message_bytes(self, message: Message) -> int:
        """Return the length of its text."""
        return len(message.text)

    def recipient_bytes(self, recipient: Recipient) -> int:
        """Return the lengths of number and reference."""
        return len(recipient.number) + len(recipient.reference or "")

    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        """Send one text."""
        return self.send_batch([message])

    def send_batch(self, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """Send several texts."""
        rows = [[m.text, r.number, r.reference] for m in messages for r in m.recipients]
        return Call("send", "POST", "/texts", _receipts, body=json.dumps(rows).encode())

    def sent(self, offset: int, limit: int) -> Call[Page[SentMessage]]:
        """List sent texts."""
        query = {"offset": offset, "limit": limit}
        return Call("sent", "GET", "/texts", _page, query=query, is_repeatable=True)

    def balance(self) -> Call[Balance]:
        """Ask for the balance."""
        return Call("balance", "GET", "/balance", lambda _: Balance(Decimal(1)), is_repeatable=True)


GATEWAY = HistoryGateway(time_zone="Europe/Berlin", country_code="49")


class Fate(StrEnum):
    """What becomes of a send."""

    ANSWERED = "answered"
    LOST_ACCEPTED = "lost, accepted"
    LOST_NOT_ACCEPTED = "lost, not accepted"
    LATE = "lost, and accepted only when nobody waits any more"


@dataclass(slots=True)
class Text:
    """One accepted text. The sender's reference is stored as it came."""

    id: str
    words: str
    number: str
    reference: str | None
    accepted_at: float


@dataclass
class HistoryAccount:
    """An account: its texts, and how its history shows them.

    :param delay: seconds until the history has a text.
    :param kept: how many texts the history has at most.
    :param cut: how many characters of a reference the history has.
    :param before_page: called before each page is made.
    """

    delay: float = 0.0
    kept: int = 10**6
    cut: int = 10**6
    before_page: Callable[[HistoryAccount], None] = lambda _: None
    now: float = NOON.timestamp()
    texts: list[Text] = field(default_factory=list)
    late: list[tuple[float, bytes]] = field(default_factory=list)
    fates: deque[Fate] = field(default_factory=deque)
    lists_unavailable: int = 0
    pages: int = 0

    def __post_init__(self) -> None:
        for number in range(6):
            self.texts.append(
                Text(f"old-{number}", "old", f"4915100000{number}", None, self.now - 3600 + number)
            )

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and late requests arrive."""
        until = self.now + seconds
        for at, body in list(self.late):
            if at <= until:
                self.late.remove((at, body))
                self.now = max(self.now, at)
                self.accept(body)
        self.now = max(self.now, until)

    def accept(self, body: bytes) -> Any:
        """Accept all texts of a request."""
        rows = []
        for words, number, reference in json.loads(body):
            text = Text(f"id-{len(self.texts)}", words, number, reference, self.now)
            self.texts.append(text)
            rows.append({"id": text.id, "number": number})
        return rows

    def execute(self, call: Call[T], before_send: BeforeSend = nullcontext) -> T:
        """Execute a call as the transport does."""
        self.pass_time(0.3)
        if call.operation == "send":
            with before_send():
                return self._send(call)
        if call.operation == "sent" and self.lists_unavailable:
            self.lists_unavailable -= 1
            msg = "not now"
            raise GatewayUnavailable(msg)
        if call.operation != "sent":
            return call.parse(Response(None))
        return call.parse(Response(self._listed(int(call.query["offset"]), int(call.query["limit"]))))

    def _send(self, call: Call[T]) -> T:
        fate = self.fates.popleft() if self.fates else Fate.ANSWERED
        assert call.body is not None
        if fate is Fate.LATE:
            self.late.append((self.now + TIMEOUT + 15, call.body))
        answer = self.accept(call.body) if fate in {Fate.ANSWERED, Fate.LOST_ACCEPTED} else None
        if fate is not Fate.ANSWERED:
            self.pass_time(TIMEOUT)
            msg = "lost"
            raise OutcomeUnknown(msg)
        return call.parse(Response(answer))

    def _listed(self, offset: int, limit: int) -> Any:
        self.pages += 1
        self.before_page(self)
        shown = [text for text in self.texts if text.accepted_at + self.delay <= self.now]
        newest = sorted(shown, key=lambda text: text.accepted_at, reverse=True)[: self.kept]
        rows = [
            {
                "id": text.id,
                "number": text.number,
                "reference": text.reference and text.reference[: self.cut],
                "at": text.accepted_at,
            }
            for text in newest[offset : offset + limit]
        ]
        return {"rows": rows, "offset": offset, "total": len(newest)}


def _receipts(answer: Response) -> tuple[Receipt, ...]:
    return tuple(
        Receipt(
            number=row["number"],
            accepted=True,
            message_id=row["id"],
            reason=None,
            code="",
            cost=Decimal("0.0825"),
            balance=None,
        )
        for row in answer.document
    )


def _page(answer: Response) -> Page[SentMessage]:
    rows = [
        SentMessage(
            message_id=row["id"],
            reference=row["reference"],
            number=row["number"],
            state=DeliveryState.SENT,
            cost=Decimal("0.0825"),
            submitted_at=pendulum.from_timestamp(row["at"]),
        )
        for row in answer.document["rows"]
    ]
    return Page(rows, answer.document["offset"], answer.document["total"])
