"""WinSMS REST v1: paths, authentication, requests, and the rows of answers as ``messages``.

The facts are from the WinSMS REST documents, which exist in two generations. The OpenAPI 3.0 document has
integers for times and leaves null keys out. The Swagger 2.0 document has strings and explicit nulls. Neither
declares a required field in an answer. So every field may be absent, null, or of either type.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from datetime import timedelta
from http import HTTPStatus
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeVar

import pendulum
from pendulum import DateTime

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gateways.auth import ApiKey
from airflow_provider_winsms.gateways.base import (
    GSM7,
    Alphabet,
    Call,
    Capabilities,
    Gateway,
    Limits,
    ListReading,
    Problem,
    StatusSource,
)
from airflow_provider_winsms.gateways.json_numbers import BALANCE_END, ID_END, amount, whole_number
from airflow_provider_winsms.gateways.winsms.parsing import (
    DELIVERY_STATES,
    ERROR_KEYS,
    REJECT_REASONS,
    SECONDS_PER_MINUTE,
    TIME_STAMP,
    WIRE_TIME_DIGITS,
    IdAnswer,
    answers_of,
    balance_of,
    cancellation_of,
    check_some_are_readable,
    checked_receipts,
    code_of,
    count_of,
    deduplicated,
    first_unambiguous_minute,
    flag_of,
    groups_by_message,
    id_column,
    id_of,
    is_text,
    is_time_stamp,
    is_transfer_successful,
    list_of,
    optional_id_column,
    parse_minute,
    parse_time,
    price_of,
    recipient_rows,
    rows_of,
    sub_account_of,
    text_column,
    text_of,
    unknown_receipt,
)
from airflow_provider_winsms.gsm7 import CONCATENATED_SEGMENT, SINGLE_SEGMENT
from airflow_provider_winsms.messages import (
    Answers,
    Balance,
    Cancellation,
    Columns,
    DeliveryReport,
    DeliveryState,
    IncomingMessage,
    OptOut,
    Page,
    Receipt,
    RejectReason,
    ScheduledMessage,
    SubAccount,
)
from airflow_provider_winsms.phone import NumberReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from airflow_provider_winsms.gateways.auth import Authentication
    from airflow_provider_winsms.gateways.base import Response
    from airflow_provider_winsms.gateways.endpoint import Endpoint
    from airflow_provider_winsms.gateways.winsms.parsing import Row
    from airflow_provider_winsms.messages import Message, MessageId, Recipient

T = TypeVar("T")

REFUSALS = frozenset({400, 401, 404, 405, 413, 415, 422})
"""The statuses below 500 that the Swagger 2.0 document lists for POST requests: these and no others."""
_WIRE_TIME = "%Y%m%d%H%M"
_GIVEN_ID = re.compile(r"\s*([0-9]{1,19})\s*")
_RECIPIENT_BYTES = len('{"mobileNumber":""},')
_OPT_OUT_ANSWER_BYTES = 512 * 1024 * 1024
# A row about one id has some 300 bytes. Decoded, a document takes 20 times its memory.
_ENVELOPE_ANSWER_BYTES = 64 * 1024
_ID_ANSWER_BYTES = 2 * 1024
_OPT_OUT_ROWS = "incomingOptoutMessages"


class WinSMSGateway(Gateway):
    """WinSMS, South Africa."""

    name = "WinSMS"
    capabilities = Capabilities(
        batch=True,
        schedule=True,
        list_scheduled=True,
        cancel=True,
        status=StatusSource.BY_ID,
        incoming=ListReading.OFFSET,
        short_code=True,
        opt_outs=True,
        balance=True,
        transfer_credits=True,
        sub_accounts=True,
        alphabets=(Alphabet(GSM7, SINGLE_SEGMENT, CONCATENATED_SEGMENT, segments=6),),
    )
    # The document says 200 kB: 200,000 or 204,800 bytes.
    limits = Limits(
        recipients=1000,
        messages=1000,
        body_bytes=195_000,
        envelope_bytes=len('{"messages":[]}'),
        status_ids=1000,
        cancel_ids=1000,
        page_rows=1000,
        status_retention=timedelta(days=90),
        send_at_step=timedelta(minutes=1),
    )
    currency = "credits"
    error_texts = (
        "Invalid JSON payload received",
        "The 'AUTHORIZATION' header was not found.",
        "The resource requested does not exist.",
        "Request method should be set to",
        "Request POST data is",
        "Request content-type should be set to",
        "There is an error in the 'recipients' array",
        "At least one non-numeric api Id was supplied in the apiIds array.",
        "The offset parameter must be a number greater than or equal to 0.",
        "An unknown error has occurred",
    )

    def authentication(self, endpoint: Endpoint) -> Authentication:
        """Return the bare key, without a scheme, as the document shows it."""
        return ApiKey("AUTHORIZATION", endpoint.api_key)

    def error_text(self, document: Any) -> str:
        """Return ``errorMessage``, or ``authError`` of the oldest document."""
        row = document if isinstance(document, dict) else {}
        return str(row.get("errorMessage") or row.get("authError") or "")

    def problem(self, response: Response) -> Problem | None:
        """Recognise the documented ``errorDetails``: the same status, and no other keys."""
        status, document = response.status, response.document
        if status not in REFUSALS or not isinstance(document, dict):
            return None
        words = document.get("errorMessage")
        if words is None and status == HTTPStatus.UNAUTHORIZED:
            words = document.get("authError")
        is_documented = (
            document.keys() <= ERROR_KEYS
            and is_time_stamp(document.get("timeStamp"))
            and is_text(document.get("version"))
            and type(document.get("statusCode")) is int
            and document["statusCode"] == status
            and is_text(words)
        )
        return Problem.REFUSED if is_documented else None

    def answered_at(self, document: Any) -> DateTime | None:
        """Read ``timeStamp``. Its zone is not documented; it is read in the zone of the other times."""
        digits = str(document.get("timeStamp")) if isinstance(document, dict) else ""
        if not TIME_STAMP.fullmatch(digits):
            return None
        minute = parse_minute(digits[:WIRE_TIME_DIGITS], self.time_zone)
        milliseconds = int(digits[WIRE_TIME_DIGITS:])
        return minute and minute.add(microseconds=milliseconds * 1000)

    def message_bytes(self, message: Message) -> int:
        """Return the bytes of a message without recipients. Its comma makes up for the first recipient's."""
        return len(_encode(self._wire_message(message, ())))

    def recipient_bytes(self, recipient: Recipient) -> int:
        """Return the bytes of one recipient, with a comma."""
        return _RECIPIENT_BYTES + len(recipient.number)

    def first_possible_time(self, send_at: DateTime) -> DateTime:
        """Round up to a minute that the wire can express: one that occurs once on the gateway's clock.

        A time that is rounded down may be past, and WinSMS sends a past time at once. Where clocks are put
        back, two minutes are written alike. If the gateway takes the later one for the earlier one, the text
        goes out at once too.

        :returns: the same time, or a later one in UTC.
        """
        seconds = -(-send_at.timestamp() // SECONDS_PER_MINUTE) * SECONDS_PER_MINUTE
        seconds = first_unambiguous_minute(int(seconds), self.time_zone)
        is_exact = seconds == send_at.timestamp()
        return send_at if is_exact else pendulum.from_timestamp(seconds)

    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        """``POST /sms/outgoing/send``."""
        return Call(
            "smsSend",
            "POST",
            "/sms/outgoing/send",
            lambda response: self._receipts(response.document, message.recipients),
            body=_encode(self._wire_message(message, message.recipients)),
        )

    def send_batch(self, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """``POST /sms/outgoing/sendmulti``."""
        return Call(
            "smsSendBatch",
            "POST",
            "/sms/outgoing/sendmulti",
            lambda response: self._batch_receipts(response.document, messages),
            body=_encode({"messages": [self._wire_message(m, m.recipients) for m in messages]}),
        )

    def delivery_reports(self, message_ids: Sequence[MessageId]) -> Call[Answers[DeliveryReport]]:
        """``POST /sms/outgoing/status``. It only reads, so it may be repeated."""
        return self._ids_call(
            "smsStatus", "/sms/outgoing/status", message_ids, "messageStatuses", self._delivery_report
        )

    def cancel(self, message_ids: Sequence[MessageId]) -> Call[Answers[Cancellation]]:
        """``POST /sms/scheduled/delete``. A repeat answers ``NOTFOUND``, and refunds nothing twice."""
        return self._ids_call(
            "deleteScheduledMessages",
            "/sms/scheduled/delete",
            message_ids,
            "deletedMessageStatuses",
            cancellation_of,
        )

    def scheduled(self, offset: int, limit: int) -> Call[Page[ScheduledMessage]]:
        """``GET /sms/scheduled``."""
        return self._page_call(
            "getScheduledMessages",
            "/sms/scheduled",
            "scheduledMessages",
            "apiMessageId",
            self._scheduled,
            offset,
            limit,
        )

    def incoming(self, offset: int, limit: int) -> Call[Page[IncomingMessage]]:
        """``GET /sms/incoming``."""
        return self._page_call(
            "getIncomingMessages",
            "/sms/incoming",
            "incomingMessages",
            "incomingApiMessageId",
            self._incoming,
            offset,
            limit,
        )

    def short_code(self, offset: int, limit: int) -> Call[Page[IncomingMessage]]:
        """``GET /shortcode/incoming``."""
        return self._page_call(
            "getShortCodeMessages",
            "/shortcode/incoming",
            "shortcodeMessages",
            "incomingApiMessageId",
            self._incoming,
            offset,
            limit,
        )

    def opt_outs(self) -> Call[Columns[OptOut]]:
        """``GET /sms/incoming/optout``: always the whole list, as the operation has no pages."""
        return Call(
            "getOptoutMessages",
            "GET",
            "/sms/incoming/optout",
            lambda response: self._opt_outs(list_of(response.document, _OPT_OUT_ROWS)),
            is_repeatable=True,
            max_answer_bytes=_OPT_OUT_ANSWER_BYTES,
            rows=_OPT_OUT_ROWS,
        )

    def balance(self) -> Call[Balance]:
        """``GET /credits/balance``."""
        return Call(
            "getCreditBalance",
            "GET",
            "/credits/balance",
            lambda response: balance_of(response.document),
            is_repeatable=True,
        )

    def transfer_credits(self, sender: int, receiver: int, quantity: int) -> Call[bool]:
        """``POST /credits/transfer``. Account numbers have no leading ``W`` here."""
        return Call(
            "transferCredits",
            "POST",
            "/credits/transfer",
            lambda response: is_transfer_successful(response.document),
            body=_encode(
                {
                    "sendingAccountNumber": sender,
                    "receivingAccountNumber": receiver,
                    "transferQuantity": quantity,
                }
            ),
        )

    def sub_accounts(self) -> Call[tuple[SubAccount, ...]]:
        """``GET /subaccounts``."""
        return Call(
            "getSubAccounts",
            "GET",
            "/subaccounts",
            lambda response: tuple(map(sub_account_of, rows_of(response.document, "subAccounts"))),
            is_repeatable=True,
        )

    def message_ids(self, values: Iterable[object]) -> tuple[MessageId, ...]:
        """Return integers: WinSMS refuses a whole request for one id that is not an integer."""
        return tuple(dict.fromkeys(_message_id(value) for value in values))

    def _ids_call(
        self,
        operation: str,
        path: str,
        message_ids: Sequence[MessageId],
        key: str,
        parse_row: Callable[[Row], IdAnswer],
    ) -> Call[Answers[IdAnswer]]:
        ids = self.message_ids(message_ids)
        return Call(
            operation,
            "POST",
            path,
            lambda response: answers_of(list_of(response.document, key), ids, parse_row),
            body=_encode(ids),
            is_repeatable=True,
            max_answer_bytes=_ENVELOPE_ANSWER_BYTES + _ID_ANSWER_BYTES * len(ids),
        )

    def _page_call(  # noqa: PLR0917 - the differences between three lists
        self,
        operation: str,
        path: str,
        key: str,
        id_key: str,
        read: Callable[[Sequence[Row]], Columns[T]],
        offset: int,
        limit: int,
    ) -> Call[Page[T]]:
        def parse(response: Response) -> Page[T]:
            answer = response.document
            listed = list_of(answer, key)
            is_readable = [isinstance(row, dict) and id_of(row.get(id_key)) is not None for row in listed]
            rows, unreadable = listed, tuple[int, ...]()
            if not all(is_readable):
                rows = list(compress(listed, is_readable))
                unreadable = tuple(index for index, is_one in enumerate(is_readable) if not is_one)
                check_some_are_readable(len(unreadable), len(listed))
            start = count_of(answer, "resultsOffset", offset)
            # A full page of a list of unknown length may be the last one or not.
            end = None if len(listed) >= limit else start + len(listed)
            return Page(read(rows), start, count_of(answer, "resultsTotalAvailable", end), unreadable)

        query = {"offset": offset, "limit": limit}
        return Call(operation, "GET", path, parse, query=query, is_repeatable=True)

    def _wire_message(self, message: Message, recipients: Iterable[Recipient]) -> dict[str, Any]:
        wire: dict[str, Any] = {
            "message": message.text,
            "recipients": [_wire_recipient(recipient) for recipient in recipients],
            "maxSegments": message.max_segments,
        }
        if message.send_at is not None:
            send_at = self.first_possible_time(message.send_at)
            wire["scheduledTime"] = send_at.in_timezone(self.time_zone).strftime(_WIRE_TIME)
        return wire

    def _receipts(self, answer: Any, recipients: Sequence[Recipient]) -> tuple[Receipt, ...]:
        return checked_receipts(self._matched(list_of(answer, "recipients"), recipients))

    def _batch_receipts(self, answer: Any, messages: Sequence[Message]) -> tuple[Receipt, ...]:
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

    def _delivery_report(self, row: Row) -> DeliveryReport:
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

    def _scheduled(self, rows: Sequence[Row]) -> Columns[ScheduledMessage]:
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

    def _incoming(self, rows: Sequence[Row]) -> Columns[IncomingMessage]:
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

    def _opt_outs(self, listed: Sequence[Any]) -> Columns[OptOut]:
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
        return NumberReader(self.country_code).read_all(text_column(rows, "mobileNumber"))

    def _time(self, value: Any) -> DateTime | None:
        return parse_time(str(value or ""), self.time_zone)

    def _times(self, values: Sequence[str]) -> list[DateTime | None]:
        """Read times, each distinct minute once: many rows have the same, and reading one is slow."""
        zone = self.time_zone
        known = {value: parse_time(value, zone) for value in set(values)}
        return [known[value] for value in values]


def _encode(body: Any) -> bytes:
    """Encode to ASCII with JSON's own escapes, as no charset is documented."""
    return json.dumps(body, separators=(",", ":")).encode()


def _wire_recipient(recipient: Recipient) -> dict[str, str]:
    # WinSMS takes a clientMessageId, but does not store it. So a reference is not sent.
    return {"mobileNumber": recipient.number}


def _message_id(value: object) -> int:
    # A fast path: ids that were read once are read again at each poll.
    if type(value) is int and 0 <= value < ID_END:
        return value
    try:
        digits = _GIVEN_ID.fullmatch(str(value))
    # Python writes no integer of more than 4,300 digits.
    except ValueError:
        digits = None
    if digits is None or (number := int(digits[1])) >= ID_END:
        msg = (
            "A WinSMS message id is a whole number below 2**63; got one of type "
            f"{type(value).__name__} that is not."
        )
        raise InvalidMessage(msg)
    return number
