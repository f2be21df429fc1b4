"""The wire format: strict parsing of requests, and answers in either documented generation.

A request that the document does not allow is refused as a whole, with the document's status and text. If the
document gives no text, the sandbox uses its own.
"""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from airflow_provider_winsms.sandbox.clock import SAST, instant
from airflow_provider_winsms.sandbox.outbox import SendRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

Generation: TypeAlias = Literal["v2", "v3"]
"""``v2``: times as strings, explicit nulls. ``v3``: times as integers, no keys with null."""

MAX_ROWS = 1000
MAX_SEGMENTS = 6
MAX_BODY = 200_000
"""Bytes of a body. The document says 200 kB; this is the smaller of its two readings."""

_BAD_RECIPIENTS = "There is an error in the 'recipients' array."
_BAD_BATCH_RECIPIENTS = "There is an error in the 'recipients' array of one or more messageDetails objects."
_BAD_IDS = "At least one non-numeric api Id was supplied in the apiIds array."
_BAD_OFFSET = "The offset parameter must be a number greater than or equal to 0."
_BAD_LIMIT = "The limit parameter must be a number from 1 to 1000."

_TIMES = frozenset({"scheduledTime", "statusTime", "receiveTime", "submitTime", "scheduledSendTime"})
_CREDITS = frozenset({"creditCost", "creditBalance", "newCreditBalance"})
_MINUTE = "%Y%m%d%H%M"
_MINUTE_DIGITS = 12
_MOST_DIGITS = 30

# The GSM 7-bit default alphabet and its extension table (3GPP TS 23.038).
_ALPHABET = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà\f^{}\\[~]|€"
)


class RequestRefused(Exception):  # noqa: N818 - it names what happened
    """The request is answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class PageQuery(NamedTuple):
    """The part of a list that is asked for."""

    offset: int
    limit: int


class JsonRows(NamedTuple):
    """Rows of an answer in JSON, with commas between them, and their number."""

    rows: bytes
    length: int

    def __repr__(self) -> str:
        """Show no row."""
        return f"JsonRows(length={self.length})"


class Transfer(NamedTuple):
    """Credits, in tenths, to be moved between two accounts."""

    sender: int
    receiver: int
    tenths: int


def parse_json(body: bytes) -> Any:
    """Parse a JSON body.

    :raises RequestRefused: 400, if it is not JSON.
    """
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError):
        raise RequestRefused(400, "Invalid JSON payload received") from None


def send_request(body: Any) -> SendRequest:
    """Read the body of a send."""
    one = _send_request(body, _BAD_RECIPIENTS)
    _require(len(one.recipients) <= MAX_ROWS, _BAD_RECIPIENTS)
    return one


def send_requests(body: Any) -> list[SendRequest]:
    """Read the body of a batch send. All its messages together may have 1000 recipients."""
    messages = body.get("messages") if isinstance(body, dict) else None
    _require(isinstance(messages, list) and bool(messages), "There is an error in the 'messages' array.")
    read = [_send_request(message, _BAD_BATCH_RECIPIENTS) for message in messages or ()]
    _require(sum(len(one.recipients) for one in read) <= MAX_ROWS, _BAD_BATCH_RECIPIENTS)
    return read


def _send_request(body: Any, bad_recipients: str) -> SendRequest:
    _require(isinstance(body, dict), bad_recipients)
    message, recipients = body.get("message"), body.get("recipients")
    _require(_is_text(message) and bool(message), "The 'message' must be a text.")
    _require(isinstance(recipients, list) and bool(recipients), bad_recipients)
    return SendRequest(
        to_gsm7(message),
        [_recipient(recipient, bad_recipients) for recipient in recipients],
        _send_at(body["scheduledTime"]) if "scheduledTime" in body else None,
        _max_segments(body.get("maxSegments", 1)),
    )


def _recipient(recipient: Any, bad: str) -> tuple[str, str | None]:
    _require(isinstance(recipient, dict), bad)
    _require(_is_text(recipient.get("mobileNumber")), bad)
    _require("clientMessageId" not in recipient or _is_text(recipient["clientMessageId"]), bad)
    return recipient["mobileNumber"], recipient.get("clientMessageId")


def _send_at(value: Any) -> float:
    digits = str(value) if _is_integer(value) or isinstance(value, str) else ""
    bad = "The 'scheduledTime' must have the format YYYYMMDDHHmm."
    _require(len(digits) == _MINUTE_DIGITS and digits.isascii() and digits.isdecimal(), bad)
    try:
        return datetime.strptime(digits, _MINUTE).replace(tzinfo=SAST).timestamp()
    except ValueError:
        raise RequestRefused(422, bad) from None


def _max_segments(value: Any) -> int:
    bad = "The 'maxSegments' must be a number from 1 to 6."
    _require(_is_integer(value) and 1 <= value <= MAX_SEGMENTS, bad)
    return int(value)


def message_ids(body: Any) -> list[int]:
    """Read a bare array of 1 to 1000 message ids."""
    _require(isinstance(body, list) and 1 <= len(body) <= MAX_ROWS, _BAD_IDS)
    _require(all(map(_is_integer, body)), _BAD_IDS)
    return list(body)


def transfer(body: Any) -> Transfer:
    """Read the body of a transfer of credits. Its documented error text speaks of recipients."""
    _require(isinstance(body, dict), _BAD_RECIPIENTS)
    names = ("sendingAccountNumber", "receivingAccountNumber", "transferQuantity")
    _require(all(_is_integer(body.get(name)) and body[name] > 0 for name in names), _BAD_RECIPIENTS)
    sender, receiver, quantity = (min(body[name], 2**53) for name in names)
    return Transfer(sender, receiver, quantity * 10)


def page(query: Mapping[str, str]) -> PageQuery:
    """Read ``offset`` and ``limit``; by default the first 100 rows."""
    offset, limit = _digits(query.get("offset", "0")), _digits(query.get("limit", "100"))
    _require(offset >= 0, _BAD_OFFSET)
    _require(1 <= limit <= MAX_ROWS, _BAD_LIMIT)
    return PageQuery(offset, limit)


def _digits(value: str) -> int:
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= _MOST_DIGITS else -1


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any(0xD800 <= ord(char) <= 0xDFFF for char in value)  # noqa: PLR2004


def _require(holds: bool, otherwise: str) -> None:  # noqa: FBT001
    if not holds:
        raise RequestRefused(422, otherwise)


def to_gsm7(text: str) -> str:
    """Replace each character outside GSM 7-bit by a plain one or by ``?``. Nothing is refused."""
    if _ALPHABET.issuperset(text):
        return text
    return "".join(char if char in _ALPHABET else _plain(char) for char in text)


def _plain(char: str) -> str:
    base = unicodedata.normalize("NFKD", char)[:1]
    return base if base in _ALPHABET else "?"


def minute(seconds: float) -> str:
    """Return a time in the wire format: 12 digits, in Johannesburg's time."""
    return instant(seconds).strftime(_MINUTE)


def envelope(status: int, now: float) -> dict[str, Any]:
    """Return the keys that every answer has."""
    at = instant(now)
    stamp = f"{at:%Y%m%d%H%M%S}{at.microsecond // 1000:03}"
    return {"timeStamp": stamp, "version": "1.0", "statusCode": status}


def encode(content: Any) -> bytes:
    """Return a JSON document; ``JsonRows`` in it stay unchanged."""
    values = content.items() if isinstance(content, dict) else ()
    name = next((name for name, value in values if isinstance(value, JsonRows)), None)
    if name is None:
        return json.dumps(content).encode()
    others = json.dumps({each: value for each, value in values if each != name})
    return b'%s, "%s": [%s]}' % (others[:-1].encode(), name.encode(), content[name].rows)


def render(value: Any, generation: Generation) -> Any:
    """Return an answer with times, credits and nulls in the format of a generation."""
    if isinstance(value, list):
        return [render(each, generation) for each in value]
    if isinstance(value, dict):
        return _object(value, generation)
    return value


def _object(row: dict[str, Any], generation: Generation) -> dict[str, Any]:
    written = {name: _field(name, value, generation) for name, value in row.items()}
    if generation == "v2":
        return written
    return {name: value for name, value in written.items() if value is not None}


def _field(name: str, value: Any, generation: Generation) -> Any:
    if name in _TIMES:
        return _time(value, generation)
    if name in _CREDITS:
        # Of declined recipients: null in the text of the document, 0 in its example.
        return credit(value) if value is not None or generation == "v2" else 0
    if name == "statusErrorCode" and value == "" and generation == "v3":
        return 0
    return render(value, generation) if isinstance(value, list) else value


def _time(seconds: float | None, generation: Generation) -> str | int | None:
    if seconds is None:
        return None
    return minute(seconds) if generation == "v2" else int(minute(seconds))


def tenths_of(credits: float) -> int:  # noqa: A002 - the field's term
    """Return credits in tenths.

    :raises ValueError: for a negative or an enormous number.
    """
    if not 0 <= credits <= 10**12:
        msg = f"Credits must be a number of 0 or more, not {credits}."
        raise ValueError(msg)
    return round(credits * 10)


def credit(tenths: int | None) -> float | int | None:
    """Return credits in the format of the examples: 1936, but 201.4."""
    if tenths is None:
        return None
    return tenths / 10 if tenths % 10 else tenths // 10
