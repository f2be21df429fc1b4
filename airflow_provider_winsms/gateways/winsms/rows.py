"""The rows of WinSMS answers: receipts, reports and lists."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from airflow_provider_winsms.gateways.json_numbers import BALANCE_END, amount, whole_number
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
    parse_time,
    price_of,
    recipient_rows,
    text_column,
    text_of,
    unknown_receipt,
)
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
        start = count_of(answer, "resultsOffset", offset)
        # A full page of a list of unknown length may be the last one or not.
        end = None if len(listed) >= limit else start + len(listed)
        return Page(read(rows), start, count_of(answer, "resultsTotalAvailable", end), unreadable)


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
            send_at=self._time(row.get("scheduledTime")),
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
            time=self._time(row.get("statusTime")),
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
                "number": self._numbers(rows),
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
                "number": self._numbers(rows),
                "received_at": self._times(received),
                "text": text_column(rows, "messageText"),
                "in_reply_to": optional_id_column(rows, "outgoingApiMessageId"),
                "raw": rows,
                "received_at_wire": received,
            },
        )

    def opt_outs(self, listed: Sequence[Any]) -> Columns[OptOut]:
        """Read opt-outs, even with unreadable ids: a number that opted out must not be texted."""
        rows: list[Row] = [row for row in listed if isinstance(row, dict)]
        check_some_are_readable(len(listed) - len(rows), len(listed))
        received = text_column(rows, "receiveTime")
        return Columns(
            OptOut,
            {
                "number": self._numbers(rows),
                "opted_out_at": self._times(received),
                "text": text_column(rows, "messageText"),
                "message_id": optional_id_column(rows, "incomingApiMessageId"),
                "raw": rows,
                "opted_out_at_wire": received,
            },
            unreadable=len(listed) - len(rows),
        )

    def _numbers(self, rows: Sequence[Row]) -> Sequence[str]:
        return NumberReader(self._country_code).read_all(text_column(rows, "mobileNumber"))

    def _time(self, value: Any) -> DateTime | None:
        return parse_time(str(value or ""), self._time_zone)

    def _times(self, values: Sequence[str]) -> list[DateTime | None]:
        """Read times, each distinct minute once: many rows have the same, and reading one is slow."""
        zone = self._time_zone
        known = {value: parse_time(value, zone) for value in set(values)}
        return [known[value] for value in values]
