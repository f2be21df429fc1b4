"""Options: the choices that a DAG has, the checks of its parameters, and the readers of its input."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from airflow_provider_winsms.exceptions import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import tzinfo

    Check: TypeAlias = Callable[[str, Any], object]
    """Takes the name and the value of a parameter, and raises ``InvalidMessage`` if the value is wrong."""

OnInvalid = Literal["fail", "reject"]
"""What a send does if its list has invalid rows: send nothing, or send to all other recipients."""

OnEmpty = Literal["fail", "skip"]
"""What a send does if it has no recipients."""

OnChanged = Literal["refuse", "send_the_rest"]
"""What a retry does if its list differs from the list of an earlier try that has sent."""

OnLow = Literal["fail", "warn"]
"""What a check of the balance does if it is too low: fail the task, or log a warning."""

Tolerance = Literal["fail_if_all", "fail", "ignore"]
"""When declined items fail the task: if all are declined, if any is, or never."""

OnClear = Literal["resume", "resend"]
"""What a task does after a person cleared it."""

StoredPrivacy = Literal["none", "keyed_hash"]
"""How the ledger's tables hold a number: as it is, or as its keyed hash. A mask cannot be joined."""

StoredText = Literal["digest", "keep"]
"""How the ledger's tables hold a text: as its keyed hash, or as it is."""

LoadedPrivacy = Literal["none", "keyed_hash", "masked"]
"""How a number is loaded: as it is, as its keyed hash, or with its first two and last three digits only."""

LoadedText = Literal["keep", "drop", "redact_numbers"]
"""How a text is loaded: as it is, not at all, or without possible phone numbers."""

LoadedDataset = Literal["incoming", "opt_outs", "short_code", "scheduled", "deliveries"]
"""The datasets that can be loaded into a table."""

WatchedDataset = Literal["incoming", "short_code", "opt_outs"]
"""The lists of a gateway that can be watched."""

ExposableField = Literal["number", "text"]
"""The fields of a row that an event has only on request."""

CheckNumbers = Literal["possible", "valid", "off"]
"""What a number must be in the number plan of its country; ``"off"`` checks nothing."""

Encoding = Literal["transliterate", "strict"]
"""How a text is sent whose characters the gateway's alphabet lacks: in a plain spelling, or not at all."""


class Guarantee(StrEnum):
    """How often a text may go out if an answer is lost or a worker dies."""

    AT_MOST_ONCE = "at_most_once"
    """Never again: an unknown outcome stays unknown until a person decides."""

    EXACTLY_ONCE = "exactly_once"
    """Texts are scheduled a little ahead, and looked up before they are submitted again."""

    AT_LEAST_ONCE = "at_least_once"
    """Again: a recipient may get the same text several times."""


STATUS_RETENTION = timedelta(days=89)
"""For this time after a text was due, its status proves whether it was sent: WinSMS keeps 90 days."""

NOT_FOUND_GRACE = 120.0
"""Seconds. For this time after its texts are due, a wait treats an unknown id as a new one. An id counts as
lost only after it was unknown for this time, whenever that began."""

PARTIAL_RESULT_KEY = "partial_result"
"""The XCom key of the result of a send that waits, or of the result so far of a send that fails."""

_LONGEST_DURATION = timedelta(days=3653)

# Airflow's own form takes up to 200 characters. A text with an at sign may be a URI with a password.
_CONN_ID = re.compile(r"[^\s@]{1,200}")

# PostgreSQL cuts names off after 63 bytes, and says so only in a notice.
_LONGEST_IDENTIFIER = 63
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_LONGEST_PREFIX = 30
"""PostgreSQL takes 63 bytes for the name of an index, which contains the names of its table and columns."""

_SEPARATORS = re.compile(r"[,;\n]+")

_MOST_AMOUNT_DIGITS = 18
_DECIMAL = re.compile(rf"[0-9]{{1,{_MOST_AMOUNT_DIGITS}}}(\.[0-9]{{1,{_MOST_AMOUNT_DIGITS}}})?", re.ASCII)

_MOST_CHARACTERS_SHOWN = 60
_LEAST_HIDDEN_DIGITS = 7


def check_choice(name: str, choice: object, choices: Any) -> None:
    """Check that a parameter is one of its choices.

    :param choices: a ``Literal``, an enumeration of texts, or a mapping with the choices as its keys.
    :raises InvalidMessage: it is not.
    """
    known = get_args(choices) or tuple(choices)
    if not isinstance(choice, str) or choice not in known:
        msg = f"{name} must be one of {', '.join(known)}; got {shown(choice)}.{nearest(choice, known)}"
        raise InvalidMessage(msg)


def check_flag(name: str, flag: object) -> None:
    """Check that a parameter is a boolean. A text is not, as ``"false"`` counts as true.

    :raises InvalidMessage: it is neither ``True`` nor ``False``.
    """
    if not isinstance(flag, bool):
        msg = f"{name} must be True or False; got {shown(flag)}."
        raise InvalidMessage(msg)


def check_count(name: str, count: object, least: int, most: int) -> None:
    """Check that a parameter is a whole number within its bounds.

    :raises InvalidMessage: it is not.
    """
    if type(count) is not int or not least <= count <= most:
        msg = f"{name} must be a whole number from {least} to {most}; got {shown(count)}."
        raise InvalidMessage(msg)


_OPT_OUT_WORDS = frozenset(("stop", "stopall", "unsubscribe", "cancel", "end", "quit", "optout"))
"""Words that gateways and operators of networks take for an opt-out."""


def check_answers(name: str, words: object) -> None:
    """Check that words can be told apart in replies: two or more, of letters.

    :raises InvalidMessage: they cannot.
    """
    given = list(words) if isinstance(words, (list, tuple, dict)) else []
    plain = {word.casefold() for word in given if isinstance(word, str) and word.isalpha()}
    if reserved := sorted(plain & _OPT_OUT_WORDS):
        msg = f"`{name}` has {reserved[0]!r}, with which people opt out of all texts. Take another word."
        raise InvalidMessage(msg)
    if len(given) < 2 or len(plain) < len(given):  # noqa: PLR2004 - a choice
        msg = f'`{name}` must be two or more different words of letters, such as ("YES", "NO").'
        raise InvalidMessage(msg)


def check_share(name: str, share: object) -> None:
    """Check that a parameter is a share of a whole.

    :raises InvalidMessage: it is not a number from 0 to 1.
    """
    if not _is_number(share, most=1):
        msg = f"{name} must be a share, a number from 0 to 1; got {shown(share)}."
        raise InvalidMessage(msg)


def check_number(name: str, number: object) -> None:
    """Check that a parameter is a finite number that is not negative.

    :raises InvalidMessage: it is not.
    """
    if not _is_number(number, most=sys.float_info.max):
        msg = f"{name} must be a number, 0 or more; got {shown(number)}."
        raise InvalidMessage(msg)


def _is_number(value: object, most: float) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and 0 <= value <= most


def decimal_amount(name: str, value: object) -> Decimal:
    """Return an amount exactly as it is written. A float counts as its shortest text: 188.6 is 188.6.

    :param value: a number, or decimal text such as ``"188.6"``.
    :raises InvalidMessage: it is neither, negative, or has more than 18 digits before or after the point.
    """
    text = value.strip() if isinstance(value, str) else _plain_decimal(value)
    if not _DECIMAL.fullmatch(text):
        msg = (
            f'{name} must be an amount, 0 or more: a number, or decimal text such as "188.6"; got '
            f"{shown(value)}."
        )
        raise InvalidMessage(msg)
    return Decimal(text)


def _plain_decimal(value: object) -> str:
    """Return a number without an exponent; empty if it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return ""
    amount = Decimal(value if isinstance(value, int) else str(value))
    is_short = amount.is_finite() and abs(amount.adjusted()) <= _MOST_AMOUNT_DIGITS
    return f"{amount:f}" if is_short else ""


def check_conn_id(name: str, conn_id: object) -> None:
    """Check that a parameter can be the id of a connection.

    :raises InvalidMessage: it cannot. The error shows no text, which may hold a password.
    """
    if not isinstance(conn_id, str) or not _CONN_ID.fullmatch(conn_id):
        msg = (
            f"{name} must be the id of a connection, of 1 to 200 characters without blanks and @; got "
            f"{'such text' if isinstance(conn_id, str) else shown(conn_id)}."
        )
        raise InvalidMessage(msg)


def check_identifier(name: str, identifier: object, most: int = _LONGEST_IDENTIFIER) -> None:
    """Check that every database takes a name.

    :param most: the most characters that it may have.
    :raises InvalidMessage: it is not a plain identifier.
    """
    if not isinstance(identifier, str) or not _IDENTIFIER.fullmatch(identifier) or len(identifier) > most:
        msg = (
            f"`{name}` must be a plain name: English letters, digits and underscores, at most {most} of "
            f"them, not beginning with a digit; got {identifier!r}."
        )
        raise InvalidMessage(msg)


@cache
def zone_of(time_zone: str) -> tzinfo:
    """Return a time zone.

    :raises InvalidMessage: there is none of that name.
    """
    import pendulum

    try:
        return pendulum.timezone(time_zone)
    except (ValueError, KeyError, OSError):
        msg = f'time_zone is unknown: {shown(time_zone)}. Give an IANA name, such as "Africa/Johannesburg".'
        raise InvalidMessage(msg) from None


def check_time_zone(_: str, time_zone: object) -> None:
    """Check the name of a time zone.

    :raises InvalidMessage: there is none of that name.
    """
    zone_of(time_zone_name(time_zone))


def time_zone_name(time_zone: object) -> str:
    """Return the name of a time zone, which may be unknown.

    :raises InvalidMessage: it can be none.
    """
    if isinstance(time_zone, str) and time_zone:
        return time_zone
    msg = f'time_zone must be an IANA name, such as "Africa/Johannesburg"; got {shown(time_zone)}.'
    raise InvalidMessage(msg)


def check_prefix(name: str, prefix: object) -> None:
    """Check that every database takes a prefix before the names of tables.

    :raises InvalidMessage: it cannot begin a name.
    """
    check_identifier(name, prefix, _LONGEST_PREFIX)


def check_view_prefix(name: str, prefix: object) -> None:
    """Check that every database takes a prefix before the names of views. It may be empty.

    :raises InvalidMessage: it cannot begin a name.
    """
    if prefix != "":
        check_identifier(name, prefix)


def check_max_age(name: str, max_age: object) -> None:
    """Check that a gateway still has the status of texts of this age.

    :raises InvalidMessage: it has not, or the parameter is no duration.
    """
    if not isinstance(max_age, timedelta) or not timedelta(0) < max_age <= STATUS_RETENTION:
        msg = (
            f"{name} must be a timedelta above 0 and of at most {STATUS_RETENTION.days} days, as gateways "
            f"forget texts; got {shown(max_age)}."
        )
        raise InvalidMessage(msg)


def check_idempotency_key(name: str, key: object) -> None:
    """Check that a parameter can name a batch.

    :raises InvalidMessage: it is empty, or no text.
    """
    if not isinstance(key, str) or key.strip() in {"", "None"}:
        msg = f"`{name}` is empty, or no text. Give one, or none at all."
        raise InvalidMessage(msg)


def check_ledger_options(
    ledger_conn_id: str | None,
    idempotency_key: str | None,
    ledger_privacy: StoredPrivacy,
    ledger_text: StoredText,
) -> None:
    """Refuse options of the ledger's tables, if there are none.

    :raises InvalidMessage: naming the options.
    """
    if ledger_conn_id is not None:
        return
    given = {
        "idempotency_key": idempotency_key is not None,
        "ledger_privacy": ledger_privacy != "none",
        "ledger_text": ledger_text != "digest",
    }
    if names := [name for name, is_given in given.items() if is_given]:
        msg = (
            f"{', '.join(names)} need `ledger_conn_id`: without it, the record of a send belongs to the task "
            "instance alone, and has only ids and digests."
        )
        raise InvalidMessage(msg)


def optional(check: Check) -> Check:
    """Return a check that also accepts ``None``."""

    def check_if_given(name: str, value: object) -> None:
        if value is not None:
            check(name, value)

    return check_if_given


def seconds(name: str, value: object) -> float:
    """Return a duration in seconds.

    :param value: a ``timedelta``, or seconds.
    :raises InvalidMessage: it is neither, negative, or more than ten years.
    """
    duration = value if isinstance(value, timedelta) else _timedelta(value)
    if duration is None or not timedelta(0) <= duration <= _LONGEST_DURATION:
        msg = (
            f"{name} must be a timedelta or a number of seconds, from 0 to those of ten years; "
            f"got {shown(value)}."
        )
        raise InvalidMessage(msg)
    return duration.total_seconds()


def _timedelta(value: object) -> timedelta | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return timedelta(seconds=value)
    except (ValueError, OverflowError):
        return None


def items_of_text(text: str, field: str) -> list[Any]:
    """Return the items of a list in a text.

    The text is a list in Python's or JSON's syntax, as a template renders it, or items with commas,
    semicolons or line ends between them.

    :param field: the name of the field with the text, for the error.
    :raises InvalidMessage: the text begins as a list and is not one.
    """
    if text.lstrip()[:1] not in {"[", "{"}:
        return [item.strip() for item in _SEPARATORS.split(text) if item.strip() not in {"", "None"}]
    # Decimals keep all digits of amounts and phone numbers, also of those with an exponent.
    for read in (partial(json.loads, parse_float=Decimal), ast.literal_eval):
        # A text that is nested too deeply is no list either.
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            items = read(text)
            return items if isinstance(items, list) else [items]
    msg = f"`{field}` is text that begins as a list and is none."
    raise InvalidMessage(msg)


def each_message_id(value: object) -> Iterator[object]:
    """Yield the message ids in the input of an operator.

    The input is an id, a list of ids, a send operator's return value, a list of those (from mapped tasks), or
    the text of any of them (from a template).

    :raises InvalidMessage: there is no id, and no send says that none of its texts was accepted.
    """
    try:
        found = list(_flattened(value))
    except RecursionError:
        msg = "The message ids are nested too deeply. Give a list of ids."
        raise InvalidMessage(msg) from None
    if not found:
        msg = "There are no message ids. Give ids, or what a send operator returned, such as `send.output`."
        raise InvalidMessage(msg)
    yield from (item for item in found if item is not _NONE_ACCEPTED)


_NONE_ACCEPTED = object()
"""Marks a send of which no text was accepted."""


def _flattened(value: object) -> Iterator[object]:
    if isinstance(value, str):
        items = items_of_text(value, "message_ids")
        yield from items if all(isinstance(item, str) for item in items) else _flattened(items)
    elif isinstance(value, Mapping):
        ids = value.get("message_ids")
        is_empty = isinstance(ids, (list, tuple)) and not ids
        yield from [_NONE_ACCEPTED] if is_empty else _flattened(ids)
    elif isinstance(value, Iterable):
        for item in value:
            yield from _flattened(item)
    elif value is not None:
        yield value


def shown(value: object) -> str:
    """Return a value for an error: as it is if it is short and no phone number, or else its type."""
    is_plain = value is None or isinstance(value, (str, float, timedelta))
    is_small = isinstance(value, int) and abs(value) < 10**_LEAST_HIDDEN_DIGITS
    words = repr(value) if is_plain or is_small else ""
    digits = 0 if isinstance(value, timedelta) else sum(map(str.isdecimal, words))
    if not 0 < len(words) <= _MOST_CHARACTERS_SHOWN or digits >= _LEAST_HIDDEN_DIGITS:
        return f"a value of type {type(value).__name__}"
    return words


def nearest(given: object, known: Iterable[str]) -> str:
    """Return a question with the nearest known word; empty if no word is near."""
    from difflib import get_close_matches

    found = get_close_matches(given.lower().replace("-", "_"), known, 1) if isinstance(given, str) else []
    return f" Did you mean {str(found[0])!r}?" if found else ""


def exceeds_tolerance(policy: str, succeeded: int) -> bool:
    """Whether failed items fail the task, by its policy."""
    return policy == "fail" or (policy == "fail_if_all" and not succeeded)
