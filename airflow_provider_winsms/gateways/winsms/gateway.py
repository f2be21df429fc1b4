"""WinSMS REST v1: paths, authentication, and the wire in the words of ``messages``.

Facts are from the WinSMS REST documents, of which two generations are about: the OpenAPI 3.0 one has
integers for times and leaves null keys out, the Swagger 2.0 one has strings and explicit nulls. No answer
declares a required field. So every field may be absent, null, or of either type.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from http import HTTPStatus
from itertools import compress
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pendulum
from pendulum import DateTime

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gateways.base import Call, Gateway, Limits
from airflow_provider_winsms.gateways.numbers import BALANCE_END, ID_END, amount, price, whole
from airflow_provider_winsms.gateways.pauses import with_pauses
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
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow_provider_winsms.messages import Message, MessageId, Recipient

    Row = Mapping[str, Any]

T = TypeVar("T")
_OfOneId = TypeVar("_OfOneId", DeliveryReport, Cancellation)

REJECT_REASONS = {
    "INSUFFICIENT CREDITS": RejectReason.NO_CREDITS,
    "ACCOUNTLOCKED": RejectReason.ACCOUNT_LOCKED,
    "TRIALNOT2SELF": RejectReason.TRIAL_ACCOUNT,
    "TOOLONG": RejectReason.TEXT_TOO_LONG,
    "BADDEST": RejectReason.BAD_NUMBER,
    "OPTEDOUT": RejectReason.OPTED_OUT,
    "WASPADNC": RejectReason.DO_NOT_CONTACT,
}
"""``acceptError``, as the Swagger 2.0 document lists it."""

DELIVERY_STATES = {
    "INQUEUE": DeliveryState.QUEUED,
    "SENT": DeliveryState.SENT,
    "NOTFOUND": DeliveryState.NOT_FOUND,
    "SENDINGFAILED": DeliveryState.NOT_SENT,
    "FAILED": DeliveryState.FAILED,
    "BADDEST": DeliveryState.NOT_SENT,
}
"""``statusErrorCode`` where ``statusDelivered`` is false. ``BADDEST`` is only in an example."""

REFUSALS = frozenset({400, 401, 404, 405, 413, 415, 422})
"""The statuses below 500 that the Swagger 2.0 document lists for what is posted; it lists no others."""

# The oldest generation adds the last four to every answer, and has no errorMessage in a 401.
_ERROR_KEYS = frozenset(
    {
        *("timeStamp", "version", "statusCode", "errorMessage"),
        *("authResult", "authError", "validationResult", "validationError"),
    }
)
_TIME_STAMP = re.compile(r"[0-9]{17}")
_WIRE_TIME = "%Y%m%d%H%M"
_WIRE_TIME_DIGITS = 12
_MINUTES = 60
_ALL_BUT_A_MINUTE = timedelta(minutes=59)
_GIVEN_ID = re.compile(r"\s*([0-9]{1,19})\s*")
_UNREADABLE = (ValueError, TypeError, AttributeError, ArithmeticError)
_MOST_SINGLE_ROWS = 10
"""If none of more rows than this can be read, it is the answer that is wrong, and not single rows of it."""
_RECIPIENT_BYTES = len('{"mobileNumber":""},')
_OPT_OUT_ANSWER_BYTES = 512 * 1024 * 1024
# A row about one id has some 300 bytes. Decoded, a document takes 20 times its memory.
_ENVELOPE_ANSWER_BYTES = 64 * 1024
_ID_ANSWER_BYTES = 2 * 1024
_OPT_OUT_ROWS = "incomingOptoutMessages"


class WinSMSGateway(Gateway):
    """WinSMS, South Africa."""

    name = "WinSMS"
    lists_scheduled = True
    # The document says 200 kB and leaves open whether that is 200,000 or 204,800.
    limits = Limits(
        recipients=1000,
        body_bytes=195_000,
        envelope_bytes=len('{"messages":[]}'),
        message_ids=1000,
        page_rows=1000,
        segments=6,
        septets=918,
    )
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

    def headers(self, api_key: str) -> dict[str, str]:
        """Return the bare key, without a scheme before it, as the document has it."""
        return {"AUTHORIZATION": api_key}

    def error_text(self, document: Any) -> str:
        """Return ``errorMessage``, or ``authError`` of the oldest generation."""
        row = document if isinstance(document, dict) else {}
        return str(row.get("errorMessage") or row.get("authError") or "")

    def is_refusal(self, status: int, document: Any) -> bool:
        """Whether it is ``errorDetails`` of the document, which says the status again and nothing else."""
        if status not in REFUSALS or not isinstance(document, dict):
            return False
        words = document.get("errorMessage")
        if words is None and status == HTTPStatus.UNAUTHORIZED:
            words = document.get("authError")
        return (
            document.keys() <= _ERROR_KEYS
            and _is_stamp(document.get("timeStamp"))
            and _is_words(document.get("version"))
            and type(document.get("statusCode")) is int
            and document["statusCode"] == status
            and _is_words(words)
        )

    def answered_at(self, document: Any) -> DateTime | None:
        """Read ``timeStamp``, whose zone is not documented: that of the other times, as far as is known."""
        digits = str(document.get("timeStamp")) if isinstance(document, dict) else ""
        if not _TIME_STAMP.fullmatch(digits):
            return None
        minute = _read_instant(digits[:_WIRE_TIME_DIGITS], self.time_zone)
        milliseconds = int(digits[_WIRE_TIME_DIGITS:])
        return minute and minute.add(microseconds=milliseconds * 1000)

    def message_bytes(self, message: Message) -> int:
        """Return the bytes of a message without recipients; its comma is the one that its first lacks."""
        return len(_encode(self._wire_message(message, ())))

    def recipient_bytes(self, recipient: Recipient) -> int:
        """Return the bytes of one recipient, with a comma."""
        return _RECIPIENT_BYTES + len(recipient.number)

    def first_possible_time(self, send_at: DateTime) -> DateTime:
        """Round up to a minute that the wire can say: one that comes once on the gateway's clock.

        A time rounded down may be past, and a past time is sent at once; so is the later one of two that are
        written alike, where clocks are put back, if the gateway takes it for the earlier one.

        :returns: the same time, or a later one in UTC.
        """
        seconds = -(-send_at.timestamp() // _MINUTES) * _MINUTES
        seconds = _first_that_comes_once(int(seconds), self.time_zone)
        is_exact = seconds == send_at.timestamp()
        return send_at if is_exact else pendulum.from_timestamp(seconds)

    def send(self, message: Message) -> Call[tuple[Receipt, ...]]:
        """``POST /sms/outgoing/send``."""
        return Call(
            "smsSend",
            "POST",
            "/sms/outgoing/send",
            lambda answer: self._receipts(answer, message.recipients),
            body=_encode(self._wire_message(message, message.recipients)),
        )

    def send_batch(self, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """``POST /sms/outgoing/sendmulti``."""
        return Call(
            "smsSendBatch",
            "POST",
            "/sms/outgoing/sendmulti",
            lambda answer: self._batch_receipts(answer, messages),
            body=_encode({"messages": [self._wire_message(m, m.recipients) for m in messages]}),
        )

    def delivery_reports(self, message_ids: Sequence[MessageId]) -> Call[Answers[DeliveryReport]]:
        """``POST /sms/outgoing/status``, which reads only and may be repeated."""
        return self._ids_call(
            "smsStatus", "/sms/outgoing/status", message_ids, "messageStatuses", self._delivery_report
        )

    def cancel(self, message_ids: Sequence[MessageId]) -> Call[Answers[Cancellation]]:
        """``POST /sms/scheduled/delete``; repeated, it answers ``NOTFOUND``, and refunds nothing twice."""
        return self._ids_call(
            "deleteScheduledMessages",
            "/sms/scheduled/delete",
            message_ids,
            "deletedMessageStatuses",
            _cancellation,
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
        """``GET /sms/incoming/optout``: always the whole list, as the operation has no paging."""
        return Call(
            "getOptoutMessages",
            "GET",
            "/sms/incoming/optout",
            lambda answer: self._opt_outs(_list(answer, _OPT_OUT_ROWS)),
            is_repeatable=True,
            max_answer_bytes=_OPT_OUT_ANSWER_BYTES,
            rows=_OPT_OUT_ROWS,
        )

    def balance(self) -> Call[Balance]:
        """``GET /credits/balance``."""
        return Call("getCreditBalance", "GET", "/credits/balance", _balance, is_repeatable=True)

    def transfer_credits(self, sender: int, receiver: int, quantity: int) -> Call[bool]:
        """``POST /credits/transfer``. Account numbers go without their leading ``W``."""
        return Call(
            "transferCredits",
            "POST",
            "/credits/transfer",
            _transfer_successful,
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
            lambda answer: tuple(map(_sub_account, _rows(answer, "subAccounts"))),
            is_repeatable=True,
        )

    def message_ids(self, values: Iterable[object]) -> tuple[MessageId, ...]:
        """Return integers: WinSMS refuses a whole request for one id that is none."""
        return tuple(dict.fromkeys(_message_id(value) for value in values))

    def _ids_call(
        self,
        operation: str,
        path: str,
        message_ids: Sequence[MessageId],
        key: str,
        parse_row: Callable[[Row], _OfOneId],
    ) -> Call[Answers[_OfOneId]]:
        ids = self.message_ids(message_ids)
        return Call(
            operation,
            "POST",
            path,
            lambda answer: _answers(_list(answer, key), ids, parse_row),
            body=_encode(ids),
            is_repeatable=True,
            max_answer_bytes=_ENVELOPE_ANSWER_BYTES + _ID_ANSWER_BYTES * len(ids),
        )

    def _page_call(  # noqa: PLR0917 - what differs between three lists
        self,
        operation: str,
        path: str,
        key: str,
        id_key: str,
        read: Callable[[Sequence[Row]], Columns[T]],
        offset: int,
        limit: int,
    ) -> Call[Page[T]]:
        def parse(answer: Any) -> Page[T]:
            listed = _list(answer, key)
            is_readable = [isinstance(row, dict) and _id(row.get(id_key)) is not None for row in listed]
            rows, unreadable = listed, tuple[int, ...]()
            if not all(is_readable):
                rows = list(compress(listed, is_readable))
                unreadable = tuple(place for place, is_one in enumerate(is_readable) if not is_one)
                _check_some_are_readable(len(unreadable), len(listed))
            start = _count(answer, "resultsOffset", offset)
            # A full page of a list of unknown length may be the last one, or one of many.
            end = None if len(listed) >= limit else start + len(listed)
            return Page(read(rows), start, _count(answer, "resultsTotalAvailable", end), unreadable)

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
        return _checked(self._matched(_list(answer, "recipients"), recipients))

    def _batch_receipts(self, answer: Any, messages: Sequence[Message]) -> tuple[Receipt, ...]:
        groups = _in_order(_list(answer, "messages"), messages)
        pairs = zip(map(_rows_of, groups), messages, strict=True)
        return _checked([r for rows, m in pairs for r in self._matched(rows, m.recipients)])

    def _matched(self, rows: Sequence[Any], recipients: Sequence[Recipient]) -> list[Receipt]:
        """Match rows to recipients by number: the order of the rows is in the examples, but not promised.

        A recipient that the answer leaves out, or names too often, gets a receipt that knows nothing.
        """
        by_number: defaultdict[str, list[Row]] = defaultdict(list)
        for row in reversed(rows):
            if isinstance(row, dict):
                by_number[_text(row.get("mobileNumber"))].append(row)
        for number, needed in Counter(recipient.number for recipient in recipients).items():
            if len(by_number[number]) > needed:
                by_number[number] = _without_copies(by_number[number])
            if len(by_number[number]) != needed:
                by_number[number] = [{}] * needed
        return [self._receipt(by_number[recipient.number].pop(), recipient) for recipient in recipients]

    def _receipt(self, row: Row, recipient: Recipient) -> Receipt:
        # Some write a 0 for no id.
        accepted, message_id = row.get("accepted"), _id(row.get("apiMessageId")) or None
        if not isinstance(accepted, bool) or (accepted and message_id is None):
            return _unknown(recipient)
        code = _code(row.get("acceptError"))
        return Receipt(
            number=recipient.number,
            accepted=accepted,
            message_id=message_id if accepted else None,
            reason=None if accepted else REJECT_REASONS.get(code, RejectReason.OTHER),
            code=code,
            cost=_price(row),
            balance=amount(row.get("newCreditBalance"), BALANCE_END),
            send_at=self._time(row.get("scheduledTime")),
            reference=recipient.reference,
            raw=row,
        )

    def _delivery_report(self, row: Row) -> DeliveryReport:
        code = _code(row.get("statusErrorCode"))
        delivered = _flag(row.get("statusDelivered"))
        state = DeliveryState.DELIVERED if delivered else DELIVERY_STATES.get(code, DeliveryState.UNKNOWN)
        return DeliveryReport(
            message_id=whole(row.get("apiMessageId")),
            state=state,
            code=code,
            cost=_price(row),
            time=self._time(row.get("statusTime")),
            number=_text(row.get("mobileNumber")),
            raw=row,
        )

    def _scheduled(self, rows: Sequence[Row]) -> Columns[ScheduledMessage]:
        submitted, due = _texts(rows, "submitTime"), _texts(rows, "scheduledSendTime")
        return Columns(
            ScheduledMessage,
            {
                "message_id": _ids(rows, "apiMessageId"),
                "number": self._numbers(rows),
                "submitted_at": self._times(submitted),
                "send_at": self._times(due),
                "refund": [_price(row) for row in rows],
                "raw": rows,
                "submitted_at_wire": submitted,
                "send_at_wire": due,
            },
        )

    def _incoming(self, rows: Sequence[Row]) -> Columns[IncomingMessage]:
        received = _texts(rows, "receiveTime")
        return Columns(
            IncomingMessage,
            {
                "message_id": _ids(rows, "incomingApiMessageId"),
                "number": self._numbers(rows),
                "received_at": self._times(received),
                "text": _texts(rows, "messageText"),
                "in_reply_to": _optional_ids(rows, "outgoingApiMessageId"),
                "raw": rows,
                "received_at_wire": received,
            },
        )

    def _opt_outs(self, listed: Sequence[Any]) -> Columns[OptOut]:
        """Read opt-outs, whatever their ids are: who opted out must not be texted."""
        rows: list[Row] = [row for row in listed if isinstance(row, dict)]
        _check_some_are_readable(len(listed) - len(rows), len(listed))
        received = _texts(rows, "receiveTime")
        return Columns(
            OptOut,
            {
                "number": self._numbers(rows),
                "opted_out_at": self._times(received),
                "text": _texts(rows, "messageText"),
                "message_id": _optional_ids(rows, "incomingApiMessageId"),
                "raw": rows,
                "opted_out_at_wire": received,
            },
            unreadable=len(listed) - len(rows),
        )

    def _numbers(self, rows: Sequence[Row]) -> Sequence[str]:
        return NumberReader(self.country_code).read_all(_texts(rows, "mobileNumber"))

    def _time(self, value: Any) -> DateTime | None:
        return _instant(str(value or ""), self.time_zone)

    def _times(self, values: Sequence[str]) -> list[DateTime | None]:
        """Read times. Many rows have the same minute, and reading it is what takes the time."""
        zone = self.time_zone
        known = {value: _instant(value, zone) for value in set(values)}
        return [known[value] for value in values]


def _instant(digits: str, time_zone: str) -> DateTime | None:
    if len(digits) != _WIRE_TIME_DIGITS or not digits.isdecimal():
        return None
    hour, minute = _hour(digits[:10], time_zone), int(digits[10:])
    if hour is None or minute >= _MINUTES:
        return None
    if hour.is_even:
        begin = hour.begin
        zone = begin.tzinfo
        return DateTime(begin.year, begin.month, begin.day, begin.hour, minute, tzinfo=zone, fold=begin.fold)
    return _read_instant(digits, time_zone)


class _Hour(NamedTuple):
    """An hour on a clock.

    :param is_even: whether all its minutes are as far from UTC as the first.
    """

    begin: DateTime
    is_even: bool


@lru_cache(maxsize=4096)
def _hour(digits: str, time_zone: str) -> _Hour | None:
    """Read an hour. Many texts have the same, and to make sense of it is what takes the time."""
    begin, end = _read_instant(f"{digits}00", time_zone), _read_instant(f"{digits}59", time_zone)
    if begin is None or end is None:
        return None
    return _Hour(begin, end - begin == _ALL_BUT_A_MINUTE and begin.hour == int(digits[8:]))


def _read_instant(digits: str, time_zone: str) -> DateTime | None:
    year, month, day, hour, minute = int(digits[:4]), *(int(digits[i : i + 2]) for i in (4, 6, 8, 10))
    try:
        time = pendulum.datetime(year, month, day, hour, minute, tz=time_zone)
        # A platform's stand-in for no time, such as the first minute of year 1, may not exist in UTC.
        time.in_timezone("UTC")
    except (ValueError, OverflowError):
        return None
    return time


def _is_stamp(value: object) -> bool:
    return isinstance(value, str) and _TIME_STAMP.fullmatch(value) is not None


def _is_words(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


@lru_cache(maxsize=4096)
def _first_that_comes_once(seconds: int, time_zone: str) -> int:
    """Return the first minute from one on that no other is written like."""
    minute = pendulum.from_timestamp(seconds).in_timezone(time_zone)
    while minute.replace(fold=0).utcoffset() != minute.replace(fold=1).utcoffset():
        seconds += _MINUTES
        minute = pendulum.from_timestamp(seconds).in_timezone(time_zone)
    return seconds


def _encode(body: Any) -> bytes:
    """Encode to ASCII with JSON's own escapes: no charset is documented that one could rely on."""
    return json.dumps(body, separators=(",", ":")).encode()


def _wire_recipient(recipient: Recipient) -> dict[str, str]:
    # WinSMS takes a clientMessageId too, and does not store it: so a reference stays here.
    return {"mobileNumber": recipient.number}


def _list(answer: Any, key: str) -> list[Any]:
    rows = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        msg = f"no list of rows under {key!r}"
        raise ValueError(msg)  # noqa: TRY004 - the answer's shape is wrong, not an argument's type
    return rows


def _rows(answer: Any, key: str) -> list[Row]:
    rows = _list(answer, key)
    if not all(isinstance(row, dict) for row in rows):
        msg = f"no list of rows under {key!r}"
        raise ValueError(msg)
    return rows


def _answers(
    rows: Sequence[Any], ids: Sequence[MessageId], parse_row: Callable[[Row], _OfOneId]
) -> Answers[_OfOneId]:
    """Read the rows about ids, one by one: what cannot be read of one says nothing against the others."""
    found: dict[MessageId, list[_OfOneId]] = {message_id: [] for message_id in ids}
    unread = 0
    for row in with_pauses(rows):
        try:
            answer = parse_row(row)
        except _UNREADABLE:
            unread += 1
        else:
            found.get(answer.message_id, []).append(answer)
    _check_some_are_readable(unread, len(rows))
    contradicted = {message_id for message_id, answers in found.items() if _contradict(answers)}
    kept = (answer for i, answers in found.items() if i not in contradicted for answer in answers)
    missing = (i for i, answers in found.items() if i in contradicted or (unread and not answers))
    return Answers.of(kept, missing)


def _contradict(answers: Sequence[DeliveryReport] | Sequence[Cancellation]) -> bool:
    """Tell whether reports of one text differ. Of cancellations, the second one finds nothing to cancel."""
    return len({(a.state, a.code) for a in answers if isinstance(a, DeliveryReport)}) > 1


def _check_some_are_readable(unread: int, rows: int) -> None:
    if unread == rows > _MOST_SINGLE_ROWS:
        msg = f"not one readable row among {rows}"
        raise ValueError(msg)


def _rows_of(group: Row | None) -> list[Any]:
    rows = None if group is None else group.get("recipients")
    return rows if isinstance(rows, list) else []


def _in_order(groups: list[Any], messages: Sequence[Message]) -> list[Row | None]:
    """Return the groups as the messages stand, ``None`` for one that is not there, or cannot be read.

    The order of an answer is in the example, but not promised.
    """
    by_text: defaultdict[str, list[Row]] = defaultdict(list)
    for group in reversed(groups):
        if isinstance(group, dict):
            by_text[_text(group.get("message"))].append(group)
    needed = Counter(message.text for message in messages)
    if needed.keys() != by_text.keys() and _may_stand_in_order(groups, messages):
        # The gateway may give a text back as it was sent, which need not be as it was given.
        return [group if isinstance(group, dict) else None for group in groups]
    found = {text for text, count in needed.items() if len(by_text[text]) == count}
    return [by_text[message.text].pop() if message.text in found else None for message in messages]


def _may_stand_in_order(groups: list[Any], messages: Sequence[Message]) -> bool:
    """Tell whether there is a group for each message, and none has the text of another one."""
    texts = {message.text for message in messages}
    given = (_text(group.get("message")) if isinstance(group, dict) else "" for group in groups)
    return len(groups) == len(messages) and all(
        text == message.text or text not in texts for text, message in zip(given, messages, strict=True)
    )


def _without_copies(rows: list[Row]) -> list[Row]:
    return [row for place, row in enumerate(rows) if row not in rows[:place]]


def _unknown(recipient: Recipient | Receipt) -> Receipt:
    """Return a receipt that knows nothing."""
    return Receipt(
        number=recipient.number,
        accepted=False,
        message_id=None,
        reason=None,
        code="",
        cost=Decimal(0),
        balance=None,
        reference=recipient.reference,
    )


def _checked(receipts: Sequence[Receipt]) -> tuple[Receipt, ...]:
    """Return receipts, without the ids that several recipients have: nobody can tell whose they are.

    :raises ValueError: if they tell of nobody.
    """
    uses = Counter(receipt.message_id for receipt in receipts)
    checked = tuple(
        _unknown(receipt) if receipt.accepted and uses[receipt.message_id] > 1 else receipt
        for receipt in receipts
    )
    if not any(receipt.is_known for receipt in checked):
        msg = f"no receipt for any of {len(receipts)} recipients"
        raise ValueError(msg)
    return checked


def _count(answer: Row, key: str, default: int | None) -> int:
    value = answer.get(key)
    return whole(default if value is None else value)


def _id(value: Any) -> int | None:
    """Read an id, or ``None`` if it cannot be read."""
    try:
        return whole(value)
    except ValueError:
        return None


def _flag(value: Any) -> bool:
    """Read JSON's own ``true``, ``false`` or nothing: text or numbers in its place are not guessed at."""
    if value is None or isinstance(value, bool):
        return value is True
    msg = "neither true nor false where one of them must be"
    raise ValueError(msg)


def _message_id(value: object) -> int:
    # Ids that were read once are read again at each poll.
    if type(value) is int and 0 <= value < ID_END:
        return value
    try:
        digits = _GIVEN_ID.fullmatch(str(value))
    # Python writes no integer of more than 4300 digits.
    except ValueError:
        digits = None
    if digits is None or (number := int(digits[1])) >= ID_END:
        msg = (
            "A WinSMS message id is a whole number below 2**63; got one of type "
            f"{type(value).__name__} that is not."
        )
        raise InvalidMessage(msg)
    return number


def _price(row: Row) -> Decimal | None:
    """Read what a text costs: nothing where nothing is stated, and ``None`` if what is stated is no price."""
    value = row.get("creditCost")
    return Decimal(0) if value is None or value == "" else price(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _texts(rows: Sequence[Row], key: str) -> list[str]:
    values: list[Any] = [row.get(key) for row in rows]
    return values if set(map(type, values)) <= {str} else list(map(_text, values))


def _ids(rows: Sequence[Row], key: str) -> list[int]:
    values: list[Any] = [row.get(key) for row in rows]
    return values if _are_ids(values, {int}) else list(map(whole, values))


def _optional_ids(rows: Sequence[Row], key: str) -> list[int | None]:
    values: list[Any] = [row.get(key) for row in rows]
    if _are_ids(values, {int, NoneType}):
        return values
    return list(map(_id, values))


def _are_ids(values: Sequence[Any], kinds: set[type]) -> bool:
    found = set(map(type, values))
    if not found <= kinds:
        return False
    numbers = [value for value in values if value is not None] if NoneType in found else values
    return min(numbers, default=0) >= 0 and max(numbers, default=0) < ID_END


def _code(value: Any) -> str:
    """Return a code as text: success is an empty string in the prose and the number 0 in the examples.

    The Swagger document spells one code with a no-break space. What is no single value is no code.
    """
    if isinstance(value, (dict, list)):
        return ""
    return "" if value in {None, 0, "0"} else str(value).replace("&nbsp;", " ").replace("\xa0", " ").strip()


def _cancellation(row: Row) -> Cancellation:
    return Cancellation(
        message_id=whole(row.get("apiMessageId")),
        cancelled=_flag(row.get("deleted")),
        code=_code(row.get("deleteError")),
        refund=_price(row),
        number=_text(row.get("mobileNumber")),
        raw=row,
    )


def _balance(answer: Any) -> Balance:
    if not isinstance(answer, dict) or answer.get("creditBalance") is None:
        msg = "no creditBalance"
        raise ValueError(msg)
    return Balance(amount(answer["creditBalance"], BALANCE_END))


def _transfer_successful(answer: Any) -> bool:
    successful = answer.get("transferSuccessful") if isinstance(answer, dict) else None
    if not isinstance(successful, bool):
        msg = "no transferSuccessful"
        raise ValueError(msg)  # noqa: TRY004 - the answer's shape is wrong, not an argument's type
    return successful


def _sub_account(row: Row) -> SubAccount:
    return SubAccount(
        account_number=whole(row.get("accountNumber")),
        login=_text(row.get("loginName")),
        first_name=_text(row.get("firstName")),
        surname=_text(row.get("surname")),
        balance=amount(row.get("creditBalance"), BALANCE_END),
        raw=row,
    )
