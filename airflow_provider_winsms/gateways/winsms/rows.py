"""The rows of WinSMS answers: receipts, reports and lists."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from airflow_provider_winsms.columns import LazyColumn, Times
from airflow_provider_winsms.gateways.json_numbers import BALANCE_END, amount, decode, whole_number
from airflow_provider_winsms.gateways.winsms.pages import decoded, decoder_of
from airflow_provider_winsms.gateways.winsms.parsing import (
    DELIVERY_STATES,
    REJECT_REASONS,
    check_some_are_readable,
    checked_receipts,
    code_of,
    count_of,
    deduplicated,
    flag_of,
    groups_by_message,
    id_column,
    id_of,
    list_of,
    optional_id_column,
    price_of,
    recipient_rows,
    text_column,
    text_of,
    texts_of,
    unknown_receipt,
)
from airflow_provider_winsms.gateways.winsms.times import parse_instant, parse_time
from airflow_provider_winsms.messages import (
    Columns,
    DeliveryReport,
    DeliveryState,
    IncomingMessage,
    OptOut,
    Page,
    Receipt,
    RejectReason,
    ScheduledMessage,
)
from airflow_provider_winsms.phone import NumberReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.winsms.parsing import Row
    from airflow_provider_winsms.messages import Message, Recipient

T = TypeVar("T")


class PagedOperation(NamedTuple):
    """An operation that reads a list page by page.

    :param key: of the rows in an answer.
    :param id_key: of the id in a row.
    """

    operation: str
    path: str
    key: str
    id_key: str

    def page(
        self, answer: Any, read: Callable[[Sequence[Row]], Columns[T]], offset: int, limit: int
    ) -> Page[T]:
        """Read a page. A row without a readable id is unreadable."""
        listed = list_of(answer, self.key)
        is_readable = [isinstance(row, dict) and id_of(row.get(self.id_key)) is not None for row in listed]
        rows, unreadable = listed, tuple[int, ...]()
        if not all(is_readable):
            rows = list(compress(listed, is_readable))
            unreadable = tuple(index for index, is_one in enumerate(is_readable) if not is_one)
            check_some_are_readable(len(unreadable), len(listed))
        stated = answer.get("resultsOffset"), answer.get("resultsTotalAvailable")
        return _page(read(rows), stated, unreadable, offset, limit)


def _page(
    rows: Columns[T], stated: tuple[Any, Any], unreadable: tuple[int, ...], offset: int, limit: int
) -> Page[T]:
    """Return a page.

    :param stated: its offset and total, as the answer states them, if it does.
    :raises ValueError: the total is unknown.
    """
    start, length = count_of(stated[0], offset), len(rows) + len(unreadable)
    # A full page of a list of unknown length may be the last one or not.
    end = None if length >= limit else start + length
    return Page(rows, start, count_of(stated[1], end), unreadable)


class RowReader:
    """Reads rows.

    :param time_zone: the zone of their times.
    :param country_code: of their national numbers.
    """

    def __init__(self, time_zone: str, country_code: str) -> None:
        self._time_zone = time_zone
        self._country_code = country_code

    def receipts(self, answer: Any, recipients: Sequence[Recipient]) -> tuple[Receipt, ...]:
        """Read the receipts of one text, in the order of its recipients."""
        return checked_receipts(self._matched(list_of(answer, "recipients"), recipients))

    def batch_receipts(self, answer: Any, messages: Sequence[Message]) -> tuple[Receipt, ...]:
        """Read the receipts of several texts, in their order and that of their recipients."""
        groups = groups_by_message(list_of(answer, "messages"), messages)
        pairs = zip(map(recipient_rows, groups), messages, strict=True)
        return checked_receipts([r for rows, m in pairs for r in self._matched(rows, m.recipients)])

    def _matched(self, rows: Sequence[Any], recipients: Sequence[Recipient]) -> list[Receipt]:
        """Match rows to recipients by number: the examples show their order, but no document promises it.

        A recipient that the answer leaves out, or names too often, gets an unknown receipt.
        """
        by_number: defaultdict[str, list[Row]] = defaultdict(list)
        for row in reversed(rows):
            if isinstance(row, dict):
                by_number[text_of(row.get("mobileNumber"))].append(row)
        for number, needed in Counter(recipient.number for recipient in recipients).items():
            if len(by_number[number]) > needed:
                by_number[number] = deduplicated(by_number[number])
            if len(by_number[number]) != needed:
                by_number[number] = [{}] * needed
        return [self._receipt(by_number[recipient.number].pop(), recipient) for recipient in recipients]

    def _receipt(self, row: Row, recipient: Recipient) -> Receipt:
        # An id of 0 stands for none.
        accepted, message_id = row.get("accepted"), id_of(row.get("apiMessageId")) or None
        if not isinstance(accepted, bool) or (accepted and message_id is None):
            return unknown_receipt(recipient)
        code = code_of(row.get("acceptError"))
        return Receipt(
            number=recipient.number,
            accepted=accepted,
            message_id=message_id if accepted else None,
            reason=None if accepted else REJECT_REASONS.get(code, RejectReason.OTHER),
            code=code,
            cost=price_of(row),
            balance=amount(row.get("newCreditBalance"), BALANCE_END),
            send_at=self._time(str(row.get("scheduledTime") or "")),
            reference=recipient.reference,
            raw=row,
        )

    def delivery_report(self, row: Row) -> DeliveryReport:
        """Read the state of a text."""
        code = code_of(row.get("statusErrorCode"))
        delivered = flag_of(row.get("statusDelivered"))
        state = DeliveryState.DELIVERED if delivered else DELIVERY_STATES.get(code, DeliveryState.UNKNOWN)
        return DeliveryReport(
            message_id=whole_number(row.get("apiMessageId")),
            state=state,
            code=code,
            cost=price_of(row),
            time=self._time(str(row.get("statusTime") or "")),
            number=text_of(row.get("mobileNumber")),
            raw=row,
        )

    def scheduled(self, rows: Sequence[Row]) -> Columns[ScheduledMessage]:
        """Read scheduled texts."""
        submitted, due = text_column(rows, "submitTime"), text_column(rows, "scheduledSendTime")
        return Columns(
            ScheduledMessage,
            {
                "message_id": id_column(rows, "apiMessageId"),
                "number": self._numbers(text_column(rows, "mobileNumber")),
                "submitted_at": self._times(submitted),
                "send_at": self._times(due),
                "refund": [price_of(row) for row in rows],
                "raw": rows,
                "submitted_at_wire": submitted,
                "send_at_wire": due,
            },
        )

    def incoming(self, rows: Sequence[Row]) -> Columns[IncomingMessage]:
        """Read incoming texts."""
        received = text_column(rows, "receiveTime")
        return Columns(
            IncomingMessage,
            {
                "message_id": id_column(rows, "incomingApiMessageId"),
                "number": self._numbers(text_column(rows, "mobileNumber")),
                "received_at": self._times(received),
                "text": text_column(rows, "messageText"),
                "in_reply_to": optional_id_column(rows, "outgoingApiMessageId"),
                "raw": rows,
                "received_at_wire": received,
            },
        )

    def usual_page(self, body: bytes, key: str, offset: int, limit: int) -> Page[IncomingMessage]:
        """Read a page of incoming texts as ``incoming`` does, faster, from the bytes of its answer.

        :param key: of the rows.
        :raises ValueError: it is not of the usual shape.
        """
        page = decoded(decoder_of(key), body)
        rows = page.rows
        received = texts_of([row.received_at for row in rows])
        columns = Columns(
            IncomingMessage,
            {
                "message_id": [row.message_id for row in rows],
                "number": self._numbers(texts_of([row.number for row in rows])),
                "received_at": Times(received, self._time, self._instant),
                "text": texts_of([row.text for row in rows]),
                "in_reply_to": [row.in_reply_to for row in rows],
                "raw": LazyColumn(lambda: list_of(decode(body), key)),
                "received_at_wire": received,
            },
        )
        return _page(columns, (page.offset, page.total), (), offset, limit)

    def opt_outs(self, listed: Sequence[Any]) -> Columns[OptOut]:
        """Read opt-outs, even with unreadable ids: a number that opted out must not be texted."""
        rows: list[Row] = [row for row in listed if isinstance(row, dict)]
        check_some_are_readable(len(listed) - len(rows), len(listed))
        received = text_column(rows, "receiveTime")
        return Columns(
            OptOut,
            {
                "number": self._numbers(text_column(rows, "mobileNumber")),
                "opted_out_at": self._times(received),
                "text": text_column(rows, "messageText"),
                "message_id": optional_id_column(rows, "incomingApiMessageId"),
                "raw": rows,
                "opted_out_at_wire": received,
            },
            unreadable=len(listed) - len(rows),
        )

    def _numbers(self, values: Sequence[str]) -> Sequence[str]:
        return NumberReader(self._country_code).read_all(values)

    def _time(self, digits: str) -> DateTime | None:
        return parse_time(digits, self._time_zone)

    def _instant(self, digits: str) -> str | None:
        return parse_instant(digits, self._time_zone)

    def _times(self, values: Sequence[str]) -> list[DateTime | None]:
        """Read times, each distinct minute once: many rows have the same, and reading one is slow."""
        return list(Times(values, self._time, self._instant))
