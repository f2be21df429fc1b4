"""WinSMS REST v1: paths, authentication, requests, and the rows of answers as ``messages``.

The facts are from the WinSMS REST documents, which exist in two generations. The OpenAPI 3.0 document has
integers for times and leaves null keys out. The Swagger 2.0 document has strings and explicit nulls. Neither
declares a required field in an answer. So every field may be absent, null, or of either type.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, TypeVar

import pendulum

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gateways.alphabets import Gsm7
from airflow_provider_winsms.gateways.auth import ApiKey
from airflow_provider_winsms.gateways.base import (
    Call,
    Capabilities,
    Gateway,
    Limits,
    ListReading,
    Problem,
    StatusSource,
)
from airflow_provider_winsms.gateways.json_numbers import ID_END
from airflow_provider_winsms.gateways.winsms.parsing import (
    ERROR_TEXTS,
    IdAnswer,
    answers_of,
    balance_of,
    cancellation_of,
    is_refusal,
    is_transfer_successful,
    list_of,
    rows_of,
    sub_account_of,
)
from airflow_provider_winsms.gateways.winsms.rows import PagedOperation, RowReader
from airflow_provider_winsms.gateways.winsms.times import (
    SECONDS_PER_MINUTE,
    first_unambiguous_minute,
    stated_time,
)
from airflow_provider_winsms.messages import amount_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.auth import Authentication
    from airflow_provider_winsms.gateways.base import Response
    from airflow_provider_winsms.gateways.endpoint import Endpoint
    from airflow_provider_winsms.gateways.winsms.parsing import Row
    from airflow_provider_winsms.messages import (
        Answers,
        Balance,
        Cancellation,
        Columns,
        DeliveryReport,
        IncomingMessage,
        Message,
        MessageId,
        OptOut,
        Page,
        Receipt,
        Recipient,
        ScheduledMessage,
        SubAccount,
    )

T = TypeVar("T")

CLIENT_ZONE_URL = "https://www.winsms.co.za/cz"
"""The address that the REST document names. No document names a page for one batch."""

_WIRE_TIME = "%Y%m%d%H%M"
_GIVEN_ID = re.compile(r"\s*([0-9]{1,19})\s*")
_RECIPIENT_BYTES = len('{"mobileNumber":""},')
_MESSAGE_BYTES = len('{"message":,"recipients":[],"maxSegments":}')
_SCHEDULED_MESSAGE_BYTES = _MESSAGE_BYTES + len(',"scheduledTime":"202701310900"')
_OPT_OUT_ANSWER_BYTES = 512 * 1024 * 1024
# A row about one id has some 300 bytes. Decoded, a document takes 20 times its memory.
_ENVELOPE_ANSWER_BYTES = 64 * 1024
_ID_ANSWER_BYTES = 2 * 1024
_OPT_OUT_ROWS = "incomingOptoutMessages"
_SCHEDULED = PagedOperation("getScheduledMessages", "/sms/scheduled", "scheduledMessages", "apiMessageId")
_INCOMING = PagedOperation("getIncomingMessages", "/sms/incoming", "incomingMessages", "incomingApiMessageId")
_SHORT_CODE = PagedOperation(
    "getShortCodeMessages", "/shortcode/incoming", "shortcodeMessages", "incomingApiMessageId"
)


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
        alphabets=(Gsm7(segments=6),),
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
    client_zone_url = CLIENT_ZONE_URL
    error_texts = ERROR_TEXTS

    def __init__(self, *, time_zone: str, country_code: str) -> None:
        super().__init__(time_zone=time_zone, country_code=country_code)
        self._rows = RowReader(time_zone, country_code)

    def authentication(self, endpoint: Endpoint) -> Authentication:
        """Return the bare key, without a scheme, as the document shows it."""
        return ApiKey("AUTHORIZATION", endpoint.api_key)

    def error_text(self, document: Any) -> str:
        """Return ``errorMessage``, or ``authError`` of the oldest document."""
        row = document if isinstance(document, dict) else {}
        return str(row.get("errorMessage") or row.get("authError") or "")

    def problem(self, response: Response) -> Problem | None:
        """Recognise the documented refusals. The documents tell no kinds of them apart."""
        return Problem.REFUSED if is_refusal(response.status, response.document) else None

    def answered_at(self, document: Any) -> DateTime | None:
        """Read ``timeStamp``."""
        return stated_time(document, self.time_zone)

    def message_bytes(self, message: Message) -> int:
        """Return the bytes of a message without recipients. Its comma makes up for the first recipient's."""
        text = len(encode_basestring_ascii(message.text)) + len(str(message.max_segments))
        return text + (_MESSAGE_BYTES if message.send_at is None else _SCHEDULED_MESSAGE_BYTES)

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
            lambda response: self._rows.receipts(response.document, message.recipients),
            body=_encode(self._wire_message(message, message.recipients)),
        )

    def send_batch(self, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """``POST /sms/outgoing/sendmulti``."""
        return Call(
            "smsSendBatch",
            "POST",
            "/sms/outgoing/sendmulti",
            lambda response: self._rows.batch_receipts(response.document, messages),
            body=_encode({"messages": [self._wire_message(m, m.recipients) for m in messages]}),
        )

    def delivery_reports(self, message_ids: Sequence[MessageId]) -> Call[Answers[DeliveryReport]]:
        """``POST /sms/outgoing/status``. It only reads, so it may be repeated."""
        return self._ids_call(
            "smsStatus", "/sms/outgoing/status", message_ids, "messageStatuses", self._rows.delivery_report
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
        return _page_call(_SCHEDULED, self._rows.scheduled, offset, limit)

    def incoming(self, offset: int, limit: int) -> Call[Page[IncomingMessage]]:
        """``GET /sms/incoming``."""
        return _received_call(_INCOMING, self._rows, offset, limit)

    def short_code(self, offset: int, limit: int) -> Call[Page[IncomingMessage]]:
        """``GET /shortcode/incoming``."""
        return _received_call(_SHORT_CODE, self._rows, offset, limit)

    def opt_outs(self) -> Call[Columns[OptOut]]:
        """``GET /sms/incoming/optout``: always the whole list, as the operation has no pages."""
        return Call(
            "getOptoutMessages",
            "GET",
            "/sms/incoming/optout",
            lambda response: self._rows.opt_outs(list_of(response.document, _OPT_OUT_ROWS)),
            is_repeatable=True,
            max_answer_bytes=_OPT_OUT_ANSWER_BYTES,
            rows=_OPT_OUT_ROWS,
        )

    def balance(self) -> Call[Balance]:
        """``GET /credits/balance``."""
        return _balance_call(balance_of)

    def ping(self) -> Call[str]:
        """Ask for the balance."""
        return _balance_call(lambda document: _balance_words(balance_of(document)))

    def transfer_credits(self, sender: int, receiver: int, quantity: int) -> Call[bool]:
        """``POST /credits/transfer``. Account numbers have no leading ``W`` here."""
        keys = ("sendingAccountNumber", "receivingAccountNumber", "transferQuantity")
        return Call(
            "transferCredits",
            "POST",
            "/credits/transfer",
            lambda response: is_transfer_successful(response.document),
            body=_encode(dict(zip(keys, (sender, receiver, quantity), strict=True))),
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


def _page_call(
    paged: PagedOperation, read: Callable[[Sequence[Row]], Columns[T]], offset: int, limit: int
) -> Call[Page[T]]:
    return Call(
        paged.operation,
        "GET",
        paged.path,
        lambda response: paged.page(response.document, read, offset, limit),
        query={"offset": offset, "limit": limit},
        is_repeatable=True,
    )


def _received_call(
    paged: PagedOperation, rows: RowReader, offset: int, limit: int
) -> Call[Page[IncomingMessage]]:
    call = _page_call(paged, rows.incoming, offset, limit)
    return replace(call, read=lambda body: rows.usual_page(body, paged.key, offset, limit))


def _balance_call(parse: Callable[[Any], T]) -> Call[T]:
    return Call(
        "getCreditBalance",
        "GET",
        "/credits/balance",
        lambda response: parse(response.document),
        is_repeatable=True,
    )


def _balance_words(balance: Balance) -> str:
    if balance.credits is None:
        return "the gateway states no balance that can be read"
    return f"{amount_text(balance.credits)} credits left"


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
