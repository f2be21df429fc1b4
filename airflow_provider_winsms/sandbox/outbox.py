"""What the account sends: who is accepted and charged, how far each text has come, what can be cancelled."""

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
"""Seconds for which a status is kept (REST document, ``NOTFOUND``)."""

_FIRST_ID = 1_000_001

_FATE = """id, number, submitted, send_at, sent_at, final_at, outcome, cost, scheduled, waiting, cancelled,
    message, client_id"""


MAX_SEPTETS = 918
"""The longest text that is taken (REST document, ``TOOLONG``)."""


class TextOrder(NamedTuple):
    """One text for many recipients, as it was asked for.

    :param recipients: pairs of number and client id.
    :param send_at: when it is to go out; ``None`` is now.
    """

    message: str
    recipients: Sequence[tuple[str, str | None]]
    send_at: float | None = None
    max_segments: int = 1

    def __repr__(self) -> str:
        """Show no number and no text."""
        return f"Submission(send_at={self.send_at}, max_segments={self.max_segments})"


class AcceptedText(NamedTuple):
    """One accepted text."""

    id: int
    number: str
    submitted: float
    send_at: float
    sent_at: float | None
    final_at: float | None
    outcome: str
    cost: int
    scheduled: int
    waiting: int
    cancelled: int
    message: str
    client_id: str | None

    def __repr__(self) -> str:
        """Show no number and no text."""
        return f"Fate({self.id}, {self.outcome!r})"

    def status(self, now: float) -> tuple[str, float]:
        """Return how far it has come, and since when. A text that waits for its time is ``INQUEUE``."""
        if self.final_at is not None and now >= self.final_at:
            return self.outcome, self.final_at
        if self.sent_at is not None and now >= self.sent_at:
            return SENT, self.sent_at
        return INQUEUE, self.submitted if self.waiting else self.send_at

    def is_known(self, now: float) -> bool:
        """Whether a status request finds it: neither cancelled nor older than 90 days."""
        return not self.cancelled and now - self.send_at <= RETENTION


class Outbox:
    """Every text that was accepted.

    :param seed: decides the fate of texts to ordinary numbers.
    :param newest_first: whether the list of scheduled texts begins with those that were accepted last.
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

    def submit(self, submission: TextOrder, now: float) -> list[Row]:
        """Accept or decline each recipient in turn, charge for it, and return one row for each.

        A text that needs more than ``maxSegments`` is declined with ``TOOLONG``: the document does not say
        what WinSMS does with it, and to cut it or to send it dearer would be worse to find out by surprise.
        The same number twice is texted twice.
        """
        codes = self._codes(submission)
        parts = segments(submission.message)
        batch = _RecipientBatch(submission, now, parts, self._account.balance, self._seed)
        ids = self._state.take_ids("message_id", _FIRST_ID, len(submission.recipients))
        rows = [
            batch.row(key, number, client_id, codes[number])
            for key, (number, client_id) in zip(ids, submission.recipients, strict=True)
        ]
        self._keep(batch)
        return rows

    def _codes(self, submission: TextOrder) -> dict[str, str]:
        """Return the ``acceptError`` of each number, blank where only the price can still stop it."""
        numbers = {number for number, _ in submission.recipients}
        too_long = is_too_long(submission.message, submission.max_segments)
        opted_out = self._inbox.opted_out(numbers)
        barred = set() if self._account.is_transactional else self._barred(numbers)
        return {number: self._code(number, too_long, opted_out, barred) for number in numbers}

    def _code(self, number: str, too_long: bool, opted_out: set[str], barred: set[str]) -> str:  # noqa: FBT001
        if refusal := self._account.refusal(number):
            return refusal
        if too_long:
            return "TOOLONG"
        if not is_number(number):
            return BADDEST
        if number in barred:
            return WASPADNC
        if number in opted_out:
            return "OPTEDOUT"
        magic = MAGIC_NUMBERS.get(number)
        return magic.declines if magic and magic.declines and magic.declines != WASPADNC else ""

    def _barred(self, numbers: set[str]) -> set[str]:
        magic = {number for number, magic in MAGIC_NUMBERS.items() if magic.declines == WASPADNC}
        return self._inbox.do_not_contact(numbers) | (magic & numbers)

    def _keep(self, batch: _RecipientBatch) -> None:
        self._account.balance = batch.balance
        self._db.executemany(
            """INSERT INTO messages (id, number, message, client_id, submitted, send_at, sent_at, final_at,
            outcome, cost, scheduled, waiting) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            batch.messages,
        )
        self._db.executemany("INSERT INTO replies VALUES (?, ?, ?, ?)", batch.replies)

    def send_due(self, now: float) -> None:
        """Let go of scheduled texts whose minute has come."""
        self._db.execute("UPDATE messages SET waiting = 0 WHERE waiting AND send_at <= ?", (now,))

    def statuses(self, ids: Sequence[int], now: float) -> list[Row]:
        """Return one row for each id, in their order; an id that is asked for twice has two rows."""
        found = self._found(ids)
        return [_status_row(key, found.get(key), now) for key in ids]

    def scheduled(self, offset: int, limit: int) -> tuple[list[Row], int]:
        """Return a page of texts that wait for their time, in the order of their ids, and how many wait."""
        order = "DESC" if self.newest_first else "ASC"
        found = self._db.execute(
            f"""SELECT id, number, submitted, send_at, cost FROM messages WHERE waiting
            ORDER BY id {order} LIMIT ? OFFSET ?""",  # noqa: S608 - one of two words
            (limit, min(offset, 2**62)),
        )
        names = ("apiMessageId", "mobileNumber", "submitTime", "scheduledSendTime", "creditCost")
        rows = [dict(zip(names, row, strict=True)) for row in found]
        return rows, self._db.execute("SELECT count(*) FROM messages WHERE waiting").fetchone()[0]

    def cancel(self, ids: Sequence[int]) -> list[Row]:
        """Cancel texts that still wait, refund them, and return one row for each id, in their order."""
        found = self._found(ids)
        waiting = {key: fate for key, fate in found.items() if fate.waiting}
        self._db.executemany(
            "UPDATE messages SET waiting = 0, cancelled = 1 WHERE id = ?", [(key,) for key in waiting]
        )
        self._db.executemany("DELETE FROM replies WHERE message_id = ?", [(key,) for key in waiting])
        self._account.balance += sum(fate.cost for fate in waiting.values())
        return [_cancel_row(key, found.get(key), waiting.pop(key, None)) for key in ids]

    def everything(self, now: float) -> list[Row]:
        """Return every text that was ever accepted."""
        found = self._db.execute(f"SELECT {_FATE} FROM messages ORDER BY id")  # noqa: S608 - our own columns
        return [_outbox_row(AcceptedText(*row), now) for row in found]

    def _found(self, ids: Sequence[int]) -> dict[int, AcceptedText]:
        known = json.dumps([key for key in ids if 0 < key < 2**63])
        found = self._db.execute(
            f"SELECT {_FATE} FROM messages WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
            (known,),
        )
        return {row[0]: AcceptedText(*row) for row in found}


class _RecipientBatch:
    """The recipients of one submission, taken one after the other from one balance."""

    def __init__(self, submission: TextOrder, now: float, parts: int, balance: int, seed: int) -> None:
        self._message = submission.message
        self._now = now
        self._seed = seed
        self._parts = parts
        self._scheduled = submission.send_at is not None and submission.send_at > now
        self._send_at = max(submission.send_at or now, now)
        self.balance = balance
        self.messages: list[tuple[Any, ...]] = []
        self.replies: list[tuple[float, int, str, str]] = []

    def row(self, key: int, number: str, client_id: str | None, code: str) -> Row:
        cost = price(number) * self._parts
        if not code and cost > self.balance:
            code = "INSUFFICIENT CREDITS"
        if not code:
            self._accept(key, number, client_id, cost)
        accepted = not code
        return {
            "mobileNumber": number,
            "clientMessageId": client_id,
            "accepted": accepted,
            "acceptError": code,
            "apiMessageId": key if accepted else None,
            "scheduledTime": self._send_at if accepted and self._scheduled else None,
            "creditCost": cost if accepted else None,
            "newCreditBalance": self.balance,
        }

    def _accept(self, key: int, number: str, client_id: str | None, cost: int) -> None:
        self.balance -= cost
        plan = plan_for(number, self._seed, key)
        sent_at, final_at = self._after(plan.sent_after), self._after(plan.final_after)
        times = (self._now, self._send_at, sent_at, final_at)
        scheduled = self._scheduled
        self.messages.append(
            (key, number, self._message, client_id, *times, plan.outcome, cost, scheduled, scheduled)
        )
        magic = MAGIC_NUMBERS.get(number)
        if magic and magic.answers:
            self.replies.append((self._send_at + REPLY_DELAY, key, number, magic.answers))

    def _after(self, seconds: float | None) -> float | None:
        return None if seconds is None else self._send_at + seconds


def is_too_long(message: str, max_segments: int) -> bool:
    """Whether a text takes more septets than WinSMS takes, or more segments than it may."""
    return septets(message) > MAX_SEPTETS or segments(message) > max_segments


def _status_row(key: int, fate: AcceptedText | None, now: float) -> Row:
    if fate is None or not fate.is_known(now):
        return _status(key, None, NOTFOUND, None, 0)
    code, since = fate.status(now)
    return _status(key, fate.number, code, since, 0 if code in FREE else fate.cost)


def _status(key: int, number: str | None, code: str, since: float | None, cost: int) -> Row:
    return {
        "apiMessageId": key,
        "mobileNumber": number,
        "statusDelivered": code == DELIVERED,
        "statusErrorCode": "" if code == DELIVERED else code,
        "statusTime": since,
        "creditCost": cost,
    }


def _cancel_row(key: int, fate: AcceptedText | None, cancelled: AcceptedText | None) -> Row:
    return {
        "apiMessageId": key,
        "mobileNumber": fate.number if fate else None,
        "deleted": cancelled is not None,
        "deleteError": "" if cancelled else NOTFOUND,
        "creditCost": cancelled.cost if cancelled else 0,
    }


def _outbox_row(fate: AcceptedText, now: float) -> Row:
    status, since = fate.status(now)
    return {
        "apiMessageId": fate.id,
        "mobileNumber": fate.number,
        "message": fate.message,
        "clientMessageId": fate.client_id,
        "submitTime": fate.submitted,
        "scheduledTime": fate.send_at if fate.scheduled else None,
        "status": "CANCELLED" if fate.cancelled else status,
        "statusAfterSeconds": None if fate.cancelled or fate.waiting else since - fate.send_at,
        "cancelled": bool(fate.cancelled),
        "creditCost": fate.cost,
    }
