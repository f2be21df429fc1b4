"""Texts that the account sends: acceptance, charges, delivery states and cancellation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.gsm7 import segments, septets
from airflow_provider_winsms.sandbox.plan import (
    BADDEST,
    DELIVERED,
    FREE,
    INQUEUE,
    MAGIC_NUMBERS,
    NOTFOUND,
    REPLY_DELAY,
    SENT,
    WASPADNC,
    is_number,
    plan_for,
    price,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.sandbox.account import Account
    from airflow_provider_winsms.sandbox.inbox import Inbox
    from airflow_provider_winsms.sandbox.state import Row, State

RETENTION = 90 * 86_400
"""Seconds until a status is forgotten (REST document, ``NOTFOUND``)."""

_FIRST_ID = 1_000_001

_TEXTS = "SELECT * FROM messages ORDER BY id"
_TEXTS_BY_ID = "SELECT * FROM messages WHERE id IN (SELECT value FROM json_each(?))"

_OLDEST_FIRST = """SELECT id, number, submitted, send_at, cost FROM messages WHERE waiting
    ORDER BY id LIMIT ? OFFSET ?"""
_NEWEST_FIRST = """SELECT id, number, submitted, send_at, cost FROM messages WHERE waiting
    ORDER BY id DESC LIMIT ? OFFSET ?"""

MAX_SEPTETS = 918
"""The length of the longest text (REST document, ``TOOLONG``)."""


class SendRequest(NamedTuple):
    """A request to send one text to many recipients.

    :param recipients: pairs of number and client id.
    :param send_at: when the text is to go out; ``None`` is now.
    """

    message: str
    recipients: Sequence[tuple[str, str | None]]
    send_at: float | None = None
    max_segments: int = 1

    def __repr__(self) -> str:
        """Show no number and no text."""
        return f"SendRequest(send_at={self.send_at}, max_segments={self.max_segments})"


class AcceptedText(NamedTuple):
    """A text to one recipient that was accepted: a row of the table ``messages``."""

    id: int
    number: str
    message: str
    client_id: str | None
    submitted: float
    send_at: float
    sent_at: float | None
    final_at: float | None
    outcome: str
    cost: int
    scheduled: int
    waiting: int
    cancelled: int

    def __repr__(self) -> str:
        """Show no number and no text."""
        return f"AcceptedText({self.id}, {self.outcome!r})"

    def status(self, now: float) -> tuple[str, float]:
        """Return its status, and since when. A scheduled text is ``INQUEUE``."""
        if self.final_at is not None and now >= self.final_at:
            return self.outcome, self.final_at
        if self.sent_at is not None and now >= self.sent_at:
            return SENT, self.sent_at
        return INQUEUE, self.submitted if self.waiting else self.send_at

    def is_known(self, now: float) -> bool:
        """Whether a status request finds it: neither cancelled nor older than 90 days."""
        return not self.cancelled and now - self.send_at <= RETENTION


class Outbox:
    """All accepted texts.

    :param seed: decides the outcomes of texts to ordinary numbers.
    :param newest_first: whether the list of scheduled texts begins with the newest.
    """

    def __init__(
        self, state: State, account: Account, inbox: Inbox, seed: int, *, newest_first: bool = False
    ) -> None:
        self._state = state
        self._db = state.db
        self._account = account
        self._inbox = inbox
        self._seed = seed
        self.newest_first = newest_first

    def submit(self, request: SendRequest, now: float) -> list[Row]:
        """Accept or decline each recipient in turn, charge for it, and return one row for each.

        A text that needs more than ``maxSegments`` is declined with ``TOOLONG``. The document does not say
        what WinSMS does with it; a text that is cut or costs more would be a worse surprise. A number that is
        given twice is texted twice.
        """
        accept_errors = self._accept_errors(request)
        segment_count = segments(request.message)
        batch = _RecipientBatch(request, now, segment_count, self._account.balance, self._seed)
        ids = self._state.take_ids("message_id", _FIRST_ID, len(request.recipients))
        rows = [
            batch.row(message_id, number, client_id, accept_errors[number])
            for message_id, (number, client_id) in zip(ids, request.recipients, strict=True)
        ]
        self._store(batch)
        return rows

    def _accept_errors(self, request: SendRequest) -> dict[str, str]:
        """Return the ``acceptError`` of each number; blank if only its price may still decline it."""
        numbers = {number for number, _ in request.recipients}
        too_long = is_too_long(request.message, request.max_segments)
        opted_out = self._inbox.opted_out(numbers)
        do_not_contact = set() if self._account.is_transactional else self._do_not_contact(numbers)
        return {
            number: self._accept_error(number, opted_out, do_not_contact, too_long=too_long)
            for number in numbers
        }

    def _accept_error(
        self, number: str, opted_out: set[str], do_not_contact: set[str], *, too_long: bool
    ) -> str:
        if error := self._account.accept_error(number):
            return error
        if too_long:
            return "TOOLONG"
        if not is_number(number):
            return BADDEST
        if number in do_not_contact:
            return WASPADNC
        if number in opted_out:
            return "OPTEDOUT"
        magic = MAGIC_NUMBERS.get(number)
        return magic.error if magic and magic.error and magic.error != WASPADNC else ""

    def _do_not_contact(self, numbers: set[str]) -> set[str]:
        magic = {number for number, magic in MAGIC_NUMBERS.items() if magic.error == WASPADNC}
        return self._inbox.do_not_contact(numbers) | (magic & numbers)

    def _store(self, batch: _RecipientBatch) -> None:
        self._account.balance = batch.balance
        self._db.executemany(
            """INSERT INTO messages (id, number, message, client_id, submitted, send_at, sent_at, final_at,
            outcome, cost, scheduled, waiting) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            batch.messages,
        )
        self._db.executemany("INSERT INTO replies VALUES (?, ?, ?, ?)", batch.replies)

    def send_due(self, now: float) -> None:
        """Send the scheduled texts whose minute has come."""
        self._db.execute("UPDATE messages SET waiting = 0 WHERE waiting AND send_at <= ?", (now,))

    def statuses(self, ids: Sequence[int], now: float) -> list[Row]:
        """Return one row for each id, in their order. An id that is given twice has two rows."""
        found = self._texts_by_id(ids)
        return [_status_row(message_id, found.get(message_id), now) for message_id in ids]

    def scheduled(self, offset: int, limit: int) -> tuple[list[Row], int]:
        """Return a page of scheduled texts in the order of their ids, and their total number."""
        query = _NEWEST_FIRST if self.newest_first else _OLDEST_FIRST
        found = self._db.execute(query, (limit, min(offset, 2**62)))
        names = ("apiMessageId", "mobileNumber", "submitTime", "scheduledSendTime", "creditCost")
        rows = [dict(zip(names, row, strict=True)) for row in found]
        return rows, self._db.execute("SELECT count(*) FROM messages WHERE waiting").fetchone()[0]

    def cancel(self, ids: Sequence[int]) -> list[Row]:
        """Cancel scheduled texts, refund them, and return one row for each id, in their order."""
        found = self._texts_by_id(ids)
        waiting = {message_id: text for message_id, text in found.items() if text.waiting}
        self._db.executemany(
            "UPDATE messages SET waiting = 0, cancelled = 1 WHERE id = ?",
            [(message_id,) for message_id in waiting],
        )
        self._db.executemany(
            "DELETE FROM replies WHERE message_id = ?", [(message_id,) for message_id in waiting]
        )
        self._account.balance += sum(text.cost for text in waiting.values())
        return [
            _cancel_row(message_id, found.get(message_id), waiting.pop(message_id, None))
            for message_id in ids
        ]

    def texts(self, now: float) -> list[Row]:
        """Return every text, cancelled ones too."""
        return [_outbox_row(AcceptedText(*row), now) for row in self._db.execute(_TEXTS)]

    def _texts_by_id(self, ids: Sequence[int]) -> dict[int, AcceptedText]:
        known = json.dumps([message_id for message_id in ids if 0 < message_id < 2**63])
        found = self._db.execute(_TEXTS_BY_ID, (known,))
        return {row[0]: AcceptedText(*row) for row in found}


class _RecipientBatch:
    """The recipients of one request. They are charged to the balance one after the other."""

    def __init__(self, request: SendRequest, now: float, segment_count: int, balance: int, seed: int) -> None:
        self._message = request.message
        self._now = now
        self._seed = seed
        self._segment_count = segment_count
        self._scheduled = request.send_at is not None and request.send_at > now
        self._send_at = max(request.send_at or now, now)
        self.balance = balance
        self.messages: list[tuple[Any, ...]] = []
        self.replies: list[tuple[float, int, str, str]] = []

    def row(self, message_id: int, number: str, client_id: str | None, error: str) -> Row:
        cost = price(number) * self._segment_count
        if not error and cost > self.balance:
            error = "INSUFFICIENT CREDITS"
        if not error:
            self._accept(message_id, number, client_id, cost)
        accepted = not error
        return {
            "mobileNumber": number,
            "clientMessageId": client_id,
            "accepted": accepted,
            "acceptError": error,
            "apiMessageId": message_id if accepted else None,
            "scheduledTime": self._send_at if accepted and self._scheduled else None,
            "creditCost": cost if accepted else None,
            "newCreditBalance": self.balance,
        }

    def _accept(self, message_id: int, number: str, client_id: str | None, cost: int) -> None:
        self.balance -= cost
        plan = plan_for(number, self._seed, message_id)
        sent_at, final_at = self._after(plan.sent_after), self._after(plan.final_after)
        times = (self._now, self._send_at, sent_at, final_at)
        scheduled = self._scheduled
        self.messages.append(
            (message_id, number, self._message, client_id, *times, plan.outcome, cost, scheduled, scheduled)
        )
        magic = MAGIC_NUMBERS.get(number)
        if magic and magic.reply:
            self.replies.append((self._send_at + REPLY_DELAY, message_id, number, magic.reply))

    def _after(self, seconds: float | None) -> float | None:
        return None if seconds is None else self._send_at + seconds


def is_too_long(message: str, max_segments: int) -> bool:
    """Whether a text has more septets than WinSMS accepts, or more segments than ``max_segments``."""
    return septets(message) > MAX_SEPTETS or segments(message) > max_segments


def _status_row(message_id: int, text: AcceptedText | None, now: float) -> Row:
    if text is None or not text.is_known(now):
        return _status(message_id, None, NOTFOUND, None, 0)
    code, since = text.status(now)
    return _status(message_id, text.number, code, since, 0 if code in FREE else text.cost)


def _status(message_id: int, number: str | None, code: str, since: float | None, cost: int) -> Row:
    return {
        "apiMessageId": message_id,
        "mobileNumber": number,
        "statusDelivered": code == DELIVERED,
        "statusErrorCode": "" if code == DELIVERED else code,
        "statusTime": since,
        "creditCost": cost,
    }


def _cancel_row(message_id: int, text: AcceptedText | None, cancelled: AcceptedText | None) -> Row:
    return {
        "apiMessageId": message_id,
        "mobileNumber": text.number if text else None,
        "deleted": cancelled is not None,
        "deleteError": "" if cancelled else NOTFOUND,
        "creditCost": cancelled.cost if cancelled else 0,
    }


def _outbox_row(text: AcceptedText, now: float) -> Row:
    status, since = text.status(now)
    return {
        "apiMessageId": text.id,
        "mobileNumber": text.number,
        "message": text.message,
        "clientMessageId": text.client_id,
        "submitTime": text.submitted,
        "scheduledTime": text.send_at if text.scheduled else None,
        "status": "CANCELLED" if text.cancelled else status,
        "statusAfterSeconds": None if text.cancelled or text.waiting else since - text.send_at,
        "cancelled": bool(text.cancelled),
        "creditCost": text.cost,
    }
