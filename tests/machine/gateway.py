"""A WinSMS in this process. It carries out a request, even if the sender never gets the answer."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.gateways.winsms.gateway import WinSMSGateway

if TYPE_CHECKING:
    from airflow_provider_winsms.ledger.base import RequestKey

SAST = timezone(timedelta(hours=2))
STRANGER = "27830000009"
ELSEWHERE = 9
"""Texts that another program has in a busy list: enough for more than two pages."""
ELSEWHERE_AHEAD = 24 * 3600.0
_MINUTE = "%Y%m%d%H%M"


class SmallGateway(WinSMSGateway):
    """WinSMS with limits so small that a handful of recipients takes several requests and pages."""

    limits = replace(WinSMSGateway.limits, recipients=3, page_rows=4)


class Post(NamedTuple):
    """One request, as it left."""

    batch_id: str
    key: RequestKey


class TextState(StrEnum):
    """The state of a text."""

    WAITING = "waiting"
    GONE = "gone"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Text:
    """One accepted text.

    :param post: the request it came with; ``None`` if another program sent it.
    """

    id: int
    number: str
    words: str
    submitted: float
    send_at: float
    cost: int
    post: Post | None
    state: TextState
    by_person: bool = False


@dataclass(slots=True)
class Listing:
    """How the gateway lists scheduled texts.

    :param is_newest_first: whether new texts are put before older ones.
    :param is_busy: whether, after each page, another program schedules a text and cancels an older one.
    :param spoilt: what every second row lacks, or ``"+"``: a plus is put before its number.
    """

    is_newest_first: bool = False
    is_busy: bool = False
    spoilt: str = ""

    def page(self, rows: list[dict[str, Any]], offset: int, limit: int) -> list[dict[str, Any]]:
        """Return a page of the rows. They are given with the oldest first."""
        rows = rows[::-1] if self.is_newest_first else rows
        return [self._row(row) for row in rows[offset : offset + limit]]

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["apiMessageId"] % 2:
            return row
        if self.spoilt == "+":
            return {**row, "mobileNumber": f"+{row['mobileNumber']}"}
        return {name: value for name, value in row.items() if name != self.spoilt}


@dataclass(slots=True)
class Account:
    """A WinSMS account: its texts, credits and opt-outs, and the requests that have not arrived yet."""

    credits: int
    now: float
    texts: dict[int, Text]
    late: list[tuple[float, Any, Post]]
    opted_out: set[str]
    posts: Counter[Post]
    listing: Listing = field(default_factory=Listing)

    def pass_time(self, seconds: float) -> None:
        """Let time pass. Late requests arrive and due texts go out, in order."""
        until = self.now + seconds
        for at, body, post in sorted(self.late, key=lambda each: each[0]):
            if at <= until:
                self.late.remove((at, body, post))
                self._reach(at)
                self.accept(body, post)
        self._reach(until)

    def _reach(self, moment: float) -> None:
        self.now = max(self.now, moment)
        for text in self.texts.values():
            if text.state is TextState.WAITING and text.send_at <= self.now:
                text.state = TextState.GONE

    def accept(self, body: Any, post: Post | None) -> Any:
        """Accept or decline each recipient in turn, and charge for it. A text with a past time goes out."""
        if "messages" not in body:
            return {"recipients": self._accepted(body, post)}
        return {
            "messages": [
                {"message": each["message"], "recipients": self._accepted(each, post)}
                for each in body["messages"]
            ]
        }

    def _accepted(self, message: Any, post: Post | None) -> list[dict[str, Any]]:
        send_at = _moment(message["scheduledTime"]) if "scheduledTime" in message else self.now
        numbers = [recipient["mobileNumber"] for recipient in message["recipients"]]
        return [self._accepted_one(number, message["message"], send_at, post) for number in numbers]

    def _accepted_one(self, number: str, words: str, send_at: float, post: Post | None) -> dict[str, Any]:
        cost = price(number)
        error = "OPTEDOUT" if number in self.opted_out else ""
        error = error or ("INSUFFICIENT CREDITS" if cost > self.credits else "")
        row: dict[str, Any] = {"mobileNumber": number, "accepted": not error, "acceptError": error}
        if not error:
            self.credits -= cost
            key = len(self.texts) + 1
            state = TextState.WAITING if send_at > self.now else TextState.GONE
            self.texts[key] = Text(key, number, words, self.now, send_at, cost, post, state)
            row |= {"apiMessageId": key, "creditCost": cost, "scheduledTime": minute(send_at)}
        return row | {"newCreditBalance": self.credits}

    def perform(self, operation: str, query: dict[str, int], body: Any) -> Any:
        """Carry out an operation that is not a send."""
        if operation == "getCreditBalance":
            return {"creditBalance": self.credits}
        if operation == "getScheduledMessages":
            return self._scheduled(**query)
        if operation == "smsStatus":
            return {"messageStatuses": [self._status(key) for key in body]}
        if operation == "deleteScheduledMessages":
            return {"deletedMessageStatuses": [self.cancel(key) for key in body]}
        raise NotImplementedError(operation)

    def _scheduled(self, offset: int, limit: int) -> Any:
        waiting = [text for text in self.texts.values() if text.state is TextState.WAITING]
        rows = [
            {
                "apiMessageId": text.id,
                "mobileNumber": text.number,
                "submitTime": minute(text.submitted),
                "scheduledSendTime": minute(text.send_at),
                "creditCost": text.cost,
            }
            for text in waiting
        ]
        page = self.listing.page(rows, offset, limit)
        if self.listing.is_busy:
            self.bustle()
        return {"scheduledMessages": page, "resultsOffset": offset, "resultsTotalAvailable": len(rows)}

    def bustle(self, texts: int = 1) -> None:
        """Let another program schedule free texts to a stranger, and cancel the oldest of them."""
        for key in range(len(self.texts) + 1, len(self.texts) + 1 + texts):
            send_at = self.now + ELSEWHERE_AHEAD
            self.texts[key] = Text(key, STRANGER, "elsewhere", self.now, send_at, 0, None, TextState.WAITING)
        elsewhere = [t for t in self.texts.values() if t.number == STRANGER and t.state is TextState.WAITING]
        for text in elsewhere[:-ELSEWHERE]:
            text.state = TextState.CANCELLED

    def _status(self, key: int) -> dict[str, Any]:
        text = self.texts.get(key)
        found = text is not None and text.state is not TextState.CANCELLED
        return {
            "apiMessageId": key,
            "statusDelivered": False,
            "statusErrorCode": "SENT" if found else "NOTFOUND",
        }

    def cancel(self, key: int, *, by_person: bool = False) -> dict[str, Any]:
        """Cancel a text if it still waits, and refund it."""
        text = self.texts.get(key)
        if text is None or text.state is not TextState.WAITING:
            return {"apiMessageId": key, "deleted": False, "deleteError": "NOTFOUND", "creditCost": 0}
        text.state, text.by_person = TextState.CANCELLED, by_person
        self.credits += text.cost
        return {"apiMessageId": key, "deleted": True, "deleteError": "", "creditCost": text.cost}


def price(number: str) -> int:
    """Return what a text costs: at home 1 credit, abroad 2."""
    return 1 if number.startswith("27") else 2


def minute(moment: float) -> str:
    """Write a time as the wire has it."""
    return datetime.fromtimestamp(moment, SAST).strftime(_MINUTE)


def _moment(wire: str) -> float:
    return datetime.strptime(wire, _MINUTE).replace(tzinfo=SAST).timestamp()


def read(body: bytes | None) -> Any:
    """Decode a body."""
    return None if body is None else json.loads(body)


def decimals(answer: Any) -> Any:
    """Write an answer to the wire and read it, as the transport does."""
    return json.loads(json.dumps(answer), parse_float=Decimal)


def new_account(credits_left: int) -> Account:
    """Return an account at noon of some day, without texts."""
    noon = datetime(2026, 3, 2, 12, 0, 7, tzinfo=UTC).timestamp()
    return Account(credits_left, noon, {}, [], set(), Counter())
