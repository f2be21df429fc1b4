"""Parsing: the rows and fields of WinSMS answers become those of ``messages``."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from http import HTTPStatus
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_winsms.gateways.json_numbers import BALANCE_END, ID_END, amount, price, whole_number
from airflow_provider_winsms.gateways.pauses import with_pauses
from airflow_provider_winsms.gateways.winsms.times import is_time_stamp
from airflow_provider_winsms.messages import (
    Answers,
    Balance,
    Cancellation,
    DeliveryReport,
    DeliveryState,
    Receipt,
    RejectReason,
    SubAccount,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_winsms.messages import Message, MessageId, Recipient

    Row = Mapping[str, Any]

IdAnswer = TypeVar("IdAnswer", DeliveryReport, Cancellation)

REJECT_REASONS = {
    "INSUFFICIENT CREDITS": RejectReason.NO_CREDITS,
    "ACCOUNTLOCKED": RejectReason.ACCOUNT_LOCKED,
    "TRIALNOT2SELF": RejectReason.TRIAL_ACCOUNT,
    "TOOLONG": RejectReason.TEXT_TOO_LONG,
    "BADDEST": RejectReason.BAD_NUMBER,
    "OPTEDOUT": RejectReason.OPTED_OUT,
    "WASPADNC": RejectReason.DO_NOT_CONTACT,
}
"""The values of ``acceptError`` in the Swagger 2.0 document."""

DELIVERY_STATES = {
    "INQUEUE": DeliveryState.QUEUED,
    "SENT": DeliveryState.SENT,
    "NOTFOUND": DeliveryState.NOT_FOUND,
    "SENDINGFAILED": DeliveryState.NOT_SENT,
    "FAILED": DeliveryState.FAILED,
    "BADDEST": DeliveryState.NOT_SENT,
}
"""The values of ``statusErrorCode`` where ``statusDelivered`` is false. ``BADDEST`` is only in an example."""

_UNREADABLE = (ValueError, TypeError, AttributeError, ArithmeticError)
_MOST_SINGLE_ROWS = 10
"""If more rows than this are all unreadable, the answer is malformed, and not single rows of it."""


def is_text(value: object) -> bool:
    """Whether a value is a text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def list_of(answer: Any, key: str) -> list[Any]:
    """Return the list under a key.

    :raises ValueError: there is none.
    """
    rows = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        msg = f"no list of rows under {key!r}"
        raise ValueError(msg)  # noqa: TRY004 - the answer's shape is wrong, not an argument's type
    return rows


def rows_of(answer: Any, key: str) -> list[Row]:
    """Return the list of objects under a key.

    :raises ValueError: there is none.
    """
    rows = list_of(answer, key)
    if not all(isinstance(row, dict) for row in rows):
        msg = f"no list of rows under {key!r}"
        raise ValueError(msg)
    return rows


def answers_of(
    rows: Sequence[Any], ids: Sequence[MessageId], parse_row: Callable[[Row], IdAnswer]
) -> Answers[IdAnswer]:
    """Read the rows about ids one by one: an unreadable row leaves the others valid."""
    found: dict[MessageId, list[IdAnswer]] = {message_id: [] for message_id in ids}
    unreadable = 0
    for row in with_pauses(rows):
        try:
            answer = parse_row(row)
        except _UNREADABLE:
            unreadable += 1
        else:
            found.get(answer.message_id, []).append(answer)
    check_some_are_readable(unreadable, len(rows))
    contradicted = {message_id for message_id, answers in found.items() if _contradict(answers)}
    kept = (answer for i, answers in found.items() if i not in contradicted for answer in answers)
    missing = (i for i, answers in found.items() if i in contradicted or (unreadable and not answers))
    return Answers.of(kept, missing)


def _contradict(answers: Sequence[DeliveryReport] | Sequence[Cancellation]) -> bool:
    """Whether reports of one text differ. Cancellations never do: a second one finds nothing to cancel."""
    return len({(a.state, a.code) for a in answers if isinstance(a, DeliveryReport)}) > 1


def check_some_are_readable(unreadable: int, rows: int) -> None:
    """Refuse an answer without a readable row.

    :raises ValueError: all rows are unreadable, and there are too many for each to be wrong by itself.
    """
    if unreadable == rows > _MOST_SINGLE_ROWS:
        msg = f"not one readable row among {rows}"
        raise ValueError(msg)


def recipient_rows(group: Row | None) -> list[Any]:
    """Return the rows of a group's recipients; none if the group is unreadable."""
    rows = None if group is None else group.get("recipients")
    return rows if isinstance(rows, list) else []


def groups_by_message(groups: list[Any], messages: Sequence[Message]) -> list[Row | None]:
    """Return the group of each message; ``None`` if it is missing or unreadable.

    The example shows the order of the groups, but no document promises it.
    """
    by_text: defaultdict[str, list[Row]] = defaultdict(list)
    for group in reversed(groups):
        if isinstance(group, dict):
            by_text[text_of(group.get("message"))].append(group)
    needed = Counter(message.text for message in messages)
    if needed.keys() != by_text.keys() and _may_be_in_order(groups, messages):
        # The gateway may return a text as it sent it, which may differ from the text as it was given.
        return [group if isinstance(group, dict) else None for group in groups]
    found = {text for text, count in needed.items() if len(by_text[text]) == count}
    return [by_text[message.text].pop() if message.text in found else None for message in messages]


def _may_be_in_order(groups: list[Any], messages: Sequence[Message]) -> bool:
    """Whether each message has a group in its place, and no group has the text of another message."""
    texts = {message.text for message in messages}
    given = (text_of(group.get("message")) if isinstance(group, dict) else "" for group in groups)
    return len(groups) == len(messages) and all(
        text == message.text or text not in texts for text, message in zip(given, messages, strict=True)
    )


def deduplicated(rows: list[Row]) -> list[Row]:
    """Return each distinct row once."""
    return [row for index, row in enumerate(rows) if row not in rows[:index]]


def unknown_receipt(recipient: Recipient | Receipt) -> Receipt:
    """Return a receipt that leaves the recipient's outcome unknown."""
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


def checked_receipts(receipts: Sequence[Receipt]) -> tuple[Receipt, ...]:
    """Return receipts. Those that share an id become unknown, as the id's recipient is uncertain.

    :raises ValueError: no receipt is known.
    """
    uses = Counter(receipt.message_id for receipt in receipts)
    checked = tuple(
        unknown_receipt(receipt) if receipt.accepted and uses[receipt.message_id] > 1 else receipt
        for receipt in receipts
    )
    if not any(receipt.is_known for receipt in checked):
        msg = f"no receipt for any of {len(receipts)} recipients"
        raise ValueError(msg)
    return checked


def count_of(value: Any, default: int | None) -> int:
    """Read a whole number that may be missing.

    :raises ValueError: it is unreadable, or it is missing and there is no default.
    """
    return whole_number(default if value is None else value)


def id_of(value: Any) -> int | None:
    """Read an id; ``None`` if it is unreadable."""
    try:
        return whole_number(value)
    except ValueError:
        return None


def flag_of(value: Any) -> bool:
    """Read JSON's own ``true`` or ``false``; absent is false. Texts and numbers are refused."""
    if value is None or isinstance(value, bool):
        return value is True
    msg = "neither true nor false where one of them must be"
    raise ValueError(msg)


def price_of(row: Row) -> Decimal | None:
    """Read the price of a text: 0 if the row states none, and ``None`` if its value is no price."""
    value = row.get("creditCost")
    return Decimal(0) if value is None or value == "" else price(value)


def text_of(value: Any) -> str:
    """Return a value as text; ``None`` as empty text."""
    return "" if value is None else str(value)


def text_column(rows: Sequence[Row], key: str) -> list[str]:
    """Return one field of rows as texts."""
    return texts_of([row.get(key) for row in rows])


def texts_of(values: list[Any]) -> list[str]:
    """Return values as texts."""
    return values if set(map(type, values)) <= {str} else list(map(text_of, values))


def id_column(rows: Sequence[Row], key: str) -> list[int]:
    """Return one field of rows as ids.

    :raises ValueError: an id is unreadable.
    """
    values: list[Any] = [row.get(key) for row in rows]
    return values if _are_ids(values, {int}) else list(map(whole_number, values))


def optional_id_column(rows: Sequence[Row], key: str) -> list[int | None]:
    """Return one field of rows as ids, with ``None`` for each unreadable one."""
    values: list[Any] = [row.get(key) for row in rows]
    if _are_ids(values, {int, NoneType}):
        return values
    return list(map(id_of, values))


def _are_ids(values: Sequence[Any], kinds: set[type]) -> bool:
    found = set(map(type, values))
    if not found <= kinds:
        return False
    numbers = [value for value in values if value is not None] if NoneType in found else values
    return min(numbers, default=0) >= 0 and max(numbers, default=0) < ID_END


def code_of(value: Any) -> str:
    """Return a code as text. Success is an empty string in the documents' prose, and 0 in their examples.

    The Swagger document spells one code with a no-break space. An object or a list is no code.
    """
    if isinstance(value, (dict, list)):
        return ""
    return "" if value in {None, 0, "0"} else str(value).replace("&nbsp;", " ").replace("\xa0", " ").strip()


def cancellation_of(row: Row) -> Cancellation:
    """Read a row about a cancelled text."""
    return Cancellation(
        message_id=whole_number(row.get("apiMessageId")),
        cancelled=flag_of(row.get("deleted")),
        code=code_of(row.get("deleteError")),
        refund=price_of(row),
        number=text_of(row.get("mobileNumber")),
        raw=row,
    )


def balance_of(answer: Any) -> Balance:
    """Read the credits left.

    :raises ValueError: the answer does not state them.
    """
    if not isinstance(answer, dict) or answer.get("creditBalance") is None:
        msg = "no creditBalance"
        raise ValueError(msg)
    return Balance(amount(answer["creditBalance"], BALANCE_END))


def is_transfer_successful(answer: Any) -> bool:
    """Read whether credits were moved.

    :raises ValueError: the answer does not state it.
    """
    is_successful = answer.get("transferSuccessful") if isinstance(answer, dict) else None
    if not isinstance(is_successful, bool):
        msg = "no transferSuccessful"
        raise ValueError(msg)  # noqa: TRY004 - the answer's shape is wrong, not an argument's type
    return is_successful


def sub_account_of(row: Row) -> SubAccount:
    """Read a row about an account that this one owns."""
    return SubAccount(
        account_number=whole_number(row.get("accountNumber")),
        login=text_of(row.get("loginName")),
        first_name=text_of(row.get("firstName")),
        surname=text_of(row.get("surname")),
        balance=amount(row.get("creditBalance"), BALANCE_END),
        raw=row,
    )


REFUSALS = frozenset({400, 401, 404, 405, 413, 415, 422})
"""The statuses below 500 that the Swagger 2.0 document lists for POST requests: these and no others."""

ERROR_TEXTS = (
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

# The oldest document adds the last four to every answer, and has no errorMessage in a 401.
_KEYS = frozenset(
    {
        *("timeStamp", "version", "statusCode", "errorMessage"),
        *("authResult", "authError", "validationResult", "validationError"),
    }
)


def is_refusal(status: int, document: Any) -> bool:
    """Whether an answer is the documented ``errorDetails``: the same status, and no other keys."""
    if status not in REFUSALS or not isinstance(document, dict):
        return False
    words = document.get("errorMessage")
    if words is None and status == HTTPStatus.UNAUTHORIZED:
        words = document.get("authError")
    return (
        document.keys() <= _KEYS
        and is_time_stamp(document.get("timeStamp"))
        and is_text(document.get("version"))
        and type(document.get("statusCode")) is int
        and document["statusCode"] == status
        and is_text(words)
    )
