"""The rows of Pigeon's answers, as ``messages``."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gateways.json_numbers import price
from airflow_provider_winsms.messages import (
    Answers,
    Balance,
    Cancellation,
    Columns,
    DeliveryReport,
    DeliveryState,
    IncomingMessage,
    Page,
    Receipt,
    RejectReason,
    SentMessage,
    message_id_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Response
    from airflow_provider_winsms.messages import Message, MessageId

    Row = Mapping[str, Any]

STATES = {
    "scheduled": DeliveryState.QUEUED,
    "queued": DeliveryState.QUEUED,
    "sent": DeliveryState.SENT,
    "delivered": DeliveryState.DELIVERED,
    "undelivered": DeliveryState.FAILED,
    "cancelled": DeliveryState.NOT_SENT,
}

REASONS = {"bad-number": RejectReason.BAD_NUMBER, "no-credits": RejectReason.NO_CREDITS}

TOTAL = "X-Total"


def receipts(document: Any, messages: Sequence[Message]) -> tuple[Receipt, ...]:
    """Return receipts in the order of the messages and their recipients, whatever the order of the rows."""
    found: dict[tuple[int, str], list[Row]] = {}
    for row in document["texts"]:
        found.setdefault((row["text"], str(row["number"]).removeprefix("+")), []).append(row)
    expected = [(at, r.number) for at, message in enumerate(messages) for r in message.recipients]
    if not found.keys() & set(expected):
        msg = "no row of the answer is about a recipient"
        raise ValueError(msg)
    return tuple(_receipt(number, found.get((at, number), [])) for at, number in expected)


def _receipt(number: str, rows: Sequence[Row]) -> Receipt:
    row: Row = rows[0] if len(rows) == 1 else {}
    message_id, error = _id_or_none(row.get("id")), row.get("error")
    reason = None if error is None else REASONS.get(error, RejectReason.OTHER)
    return Receipt(
        number=number,
        accepted=message_id is not None and reason is None,
        message_id=message_id if reason is None else None,
        reason=reason,
        code=str(error or ""),
        cost=price(row.get("price")),
        balance=None,
        send_at=_time(row.get("at")),
        raw=row,
    )


def reports(document: Any, asked: Sequence[MessageId]) -> Answers[DeliveryReport]:
    """Return the reports of a status answer. An id without a row is not known, if each row has an id."""
    rows = {_id_of(row): row for row in document["texts"]}
    found = {i: _report(i, rows[i]) if i in rows else unknown_text(i) for i in asked}
    unreadable = [i for i in asked if found[i] is None or (None in rows and i not in rows)]
    return Answers.of([report for i, report in found.items() if report and i not in unreadable], unreadable)


def _id_of(row: Any) -> MessageId | None:
    return _id_or_none(row.get("id")) if isinstance(row, dict) else None


def _report(message_id: MessageId, row: Row) -> DeliveryReport | None:
    """Return a report; ``None`` if the row has no state."""
    state = row.get("state")
    if not isinstance(state, str):
        return None
    return DeliveryReport(
        message_id=message_id,
        state=STATES.get(state, DeliveryState.UNKNOWN),
        code=state,
        cost=price(row.get("price")),
        time=_time(row.get("changed_at")),
        number=_number(row) if "number" in row else None,
        raw=row,
    )


def unknown_text(message_id: MessageId) -> DeliveryReport:
    """Return the report about a text that Pigeon does not know."""
    return DeliveryReport(message_id=message_id, state=DeliveryState.NOT_FOUND, code="no-such-text")


def cancellation(message_id: MessageId, *, cancelled: bool) -> Cancellation:
    """Return what became of a cancellation. Pigeon states no refund."""
    code = "" if cancelled else "no-such-text"
    return Cancellation(message_id=message_id, cancelled=cancelled, code=code, refund=None)


def sent(response: Response, number: int, size: int) -> Page[SentMessage]:
    """Return a page of sent texts."""
    return _page(response, number, size, _sent_message)


def _sent_message(row: Row) -> SentMessage:
    return SentMessage(
        message_id=message_id_of(row["id"]),
        reference=row.get("cid"),
        number=_number(row),
        state=STATES.get(row["state"], DeliveryState.UNKNOWN),
        cost=price(row.get("price")),
        submitted_at=_time(row.get("submitted_at")),
        send_at=_time(row.get("at")),
    )


def incoming(response: Response, number: int, size: int) -> Page[IncomingMessage]:
    """Return a page of incoming texts, as columns."""
    page = _page(response, number, size, _incoming_message)
    names = ("message_id", "number", "received_at", "text", "in_reply_to", "raw", "received_at_wire")
    columns = {name: [getattr(row, name) for row in page.rows] for name in names}
    return Page(Columns(IncomingMessage, columns), page.offset, page.total, page.unreadable_at)


def _incoming_message(row: Row) -> IncomingMessage:
    return IncomingMessage(
        message_id=message_id_of(row["id"]),
        number=_number(row),
        received_at=_time(row["received_at"]),
        text=str(row["body"]),
        raw=row,
        received_at_wire=str(row["received_at"]),
    )


def balance(document: Any) -> Balance:
    """Return the balance."""
    return Balance(Decimal(document["balance"]))


def _page(response: Response, number: int, size: int, read: Callable[[Row], Any]) -> Page[Any]:
    """Return a page: its rows from the document, the total from the head."""
    rows, unreadable = [], []
    for index, row in enumerate(response.document["rows"]):
        try:
            rows.append(read(row))
        except (KeyError, TypeError, AttributeError, ValueError, InvalidMessage):
            unreadable.append(index)
    return Page(rows, (number - 1) * size, int(response.headers[TOTAL]), tuple(unreadable))


def _number(row: Row) -> str:
    return str(row["number"]).removeprefix("+")


def _id_or_none(value: object) -> MessageId | None:
    try:
        return message_id_of(value) if isinstance(value, str) else None
    except InvalidMessage:
        return None


def _time(value: object) -> DateTime | None:
    """Read a time with its offset; ``None`` if it has none."""
    try:
        read = pendulum.parse(str(value), tz=None) if value else None
    except ValueError:
        return None
    return read if isinstance(read, pendulum.DateTime) and read.tzinfo is not None else None
