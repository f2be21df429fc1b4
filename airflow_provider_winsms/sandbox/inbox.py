"""Replies, short code messages, opt-outs, and the do-not-contact list."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_winsms.sandbox.state import Row, State

Arrival: TypeAlias = tuple[str, str, float]
"""Number, text, and time of arrival."""

MANUAL_OPT_OUT = "* MANUALLY ADDED BY USER *"
"""The text of an opt-out that a person entered (example of the REST document)."""

_FIRST_ID = 5_000_001

# WinSMS knowledge base, opt-out system: some words must be the whole reply, others only begin it.
_STOP = re.compile(
    r"\s*(?:(?:stop|end|cancel|unsubscribe|quit)\s*\Z|stop send|opt.out)", re.IGNORECASE | re.DOTALL
)

_NAMES = ("incomingApiMessageId", "mobileNumber", "receiveTime", "messageText", "outgoingApiMessageId")

_INSERT_INCOMING = """INSERT INTO incoming (id, number, text, received, outgoing) VALUES (?, ?, ?, ?, (
    SELECT id FROM messages WHERE number = ? AND send_at <= ? AND NOT cancelled AND NOT waiting
    ORDER BY send_at DESC, id DESC LIMIT 1))"""


class _ListQueries(NamedTuple):
    """The queries of one list: for a page and for the number of rows.

    Rows are never deleted, so positions are offsets, and every page costs the same.
    """

    page: str
    total: str


_LISTS = {
    "incoming": _ListQueries(
        """SELECT id, number, received, text, outgoing FROM incoming
        WHERE position > ? ORDER BY position LIMIT ?""",
        "SELECT max(position) FROM incoming",
    ),
    "shortcode": _ListQueries(
        "SELECT id, number, received, text FROM shortcode WHERE position > ? ORDER BY position LIMIT ?",
        "SELECT max(position) FROM shortcode",
    ),
}

_OPTED_OUT = "SELECT number FROM optouts WHERE number IN (SELECT value FROM json_each(?))"
_NOT_TO_CONTACT = "SELECT number FROM do_not_contact WHERE number IN (SELECT value FROM json_each(?))"


def is_stop(text: str) -> bool:
    """Whether a reply opts its sender out."""
    return _STOP.match(text) is not None


class Inbox:
    """Everything that phones send to the account, and the numbers that it may not text.

    WinSMS sends a text to confirm an opt-out. The sandbox sends none, because the cost is not documented.

    :param optouts_in_incoming: whether a reply that opts out is also an incoming message.
    """

    def __init__(self, state: State, *, optouts_in_incoming: bool) -> None:
        self._state = state
        self._db = state.db
        self._optouts_in_incoming = optouts_in_incoming

    def receive(self, arrivals: Sequence[Arrival]) -> range:
        """Store replies in their order, and return their ids.

        ``outgoingApiMessageId`` is the last text that went out to the number, or null.
        """
        ids = self._state.take_ids("incoming_id", _FIRST_ID, len(arrivals))
        rows = list(zip(ids, arrivals, strict=True))
        self._opt_out_all((message_id, *arrival) for message_id, arrival in rows if is_stop(arrival[1]))
        self._db.executemany(
            _INSERT_INCOMING,
            (
                (message_id, number, text, time, number, time)
                for message_id, (number, text, time) in rows
                if self._optouts_in_incoming or not is_stop(text)
            ),
        )
        return ids

    def receive_on_short_code(self, arrivals: Sequence[Arrival]) -> range:
        """Store short code messages and return their ids. They opt nobody out."""
        ids = self._state.take_ids("incoming_id", _FIRST_ID, len(arrivals))
        self._db.executemany(
            "INSERT INTO shortcode (id, number, text, received) VALUES (?, ?, ?, ?)",
            ((message_id, *arrival) for message_id, arrival in zip(ids, arrivals, strict=True)),
        )
        return ids

    def deliver_replies(self, now: float) -> None:
        """Store the replies of magic numbers that are due."""
        due = self._db.execute(
            "SELECT number, text, due FROM replies WHERE due <= ? ORDER BY due, message_id", (now,)
        ).fetchall()
        if due:
            self._db.execute("DELETE FROM replies WHERE due <= ?", (now,))
            self.receive(due)

    def page(self, table: str, offset: int, limit: int) -> tuple[list[Row], int]:
        """Return a page, oldest first, and the total number of rows."""
        queries = _LISTS[table]
        found = self._db.execute(queries.page, (min(offset, 2**62), limit))
        rows = [dict(zip(_NAMES, row, strict=False)) for row in found]
        return rows, self._db.execute(queries.total).fetchone()[0] or 0

    def opt_outs(self) -> list[Row]:
        """Return every opt-out, in the order of arrival."""
        found = self._db.execute("SELECT id, number, received, text FROM optouts ORDER BY position")
        return [dict(zip(_NAMES[:4], row, strict=True)) for row in found]

    def opted_out(self, numbers: Iterable[str]) -> set[str]:
        """Return the numbers among these that have opted out."""
        return self._listed(_OPTED_OUT, numbers)

    def opt_out(self, number: str, now: float) -> None:
        """Opt a number out by hand, as a person does in the Client Zone."""
        self._opt_out_all([(None, number, MANUAL_OPT_OUT, now)])

    def remove_opt_out(self, number: str) -> bool:
        """Remove an opt-out; ``False`` if the number has none."""
        return self._db.execute("DELETE FROM optouts WHERE number = ?", (number,)).rowcount > 0

    def do_not_contact(self, numbers: Iterable[str]) -> set[str]:
        """Return the numbers among these that are on the do-not-contact list."""
        return self._listed(_NOT_TO_CONTACT, numbers)

    def add_do_not_contact(self, number: str) -> None:
        """Put a number on the do-not-contact list."""
        self._db.execute("INSERT OR IGNORE INTO do_not_contact VALUES (?)", (number,))

    def remove_do_not_contact(self, number: str) -> bool:
        """Remove a number from the do-not-contact list; ``False`` if it is not there."""
        return self._db.execute("DELETE FROM do_not_contact WHERE number = ?", (number,)).rowcount > 0

    def _opt_out_all(self, rows: Iterable[tuple[int | None, str, str, float]]) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO optouts (id, number, text, received) VALUES (?, ?, ?, ?)", rows
        )

    def _listed(self, query: str, numbers: Iterable[str]) -> set[str]:
        return {number for (number,) in self._db.execute(query, (json.dumps(list(numbers)),))}
