"""What the operators let a DAG choose from, and what refuses every other value."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from airflow_provider_winsms.exceptions import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Check: TypeAlias = Callable[[str, Any], object]
    """Takes the name of a parameter and its value, and raises ``InvalidMessage`` if the value is wrong."""

OnInvalid = Literal["fail", "reject"]
"""What a send does whose list has invalid rows: send nothing, or send to everybody else."""

OnEmpty = Literal["fail", "skip"]
"""What a send does that has nobody to send to."""

OnChanged = Literal["refuse", "send_the_rest"]
"""What a later try does whose list differs from the one of an earlier try that has sent."""

Tolerance = Literal["fail_if_all", "fail", "ignore"]
"""When declined items fail the task: only if all were, if any was, or never."""


Privacy = Literal["none", "keyed_hash"]
"""How the ledger's tables hold a number: as it is, or as its keyed hash."""

StoredText = Literal["digest", "keep"]
"""How they hold a text: its keyed hash, or as it is."""


LoadedText = Literal["keep", "drop", "redact_numbers"]
"""What becomes of a text: it is loaded, left out, or loaded without what may be phone numbers."""


WatchedDataset = Literal["incoming", "short_code", "opt_outs"]
"""The lists of a gateway that can be watched."""

ExposableField = Literal["number", "text"]
"""The fields of a row that an event has only where they are asked for."""

CheckNumbers = Literal["possible", "valid", "off"]
"""What the number plan of its country must say of a number; ``"off"`` does not ask it."""

_LONGEST_DURATION = timedelta(days=3653)

# Airflow's own form takes up to 200 characters. An at sign stands in a URI, which may hold a password.
_CONN_ID = re.compile(r"[^\s@]{1,200}")

_MOST_CHARACTERS_SHOWN = 60
_FEWEST_DIGITS_HIDDEN = 7


def check_choice(name: str, choice: object, choices: Any) -> None:
    """Hold a parameter against what it may be.

    :param choices: a ``Literal``, an enumeration of texts, or a mapping whose keys they are.
    :raises InvalidMessage: if it is none of them.
    """
    known = get_args(choices) or tuple(choices)
    if not isinstance(choice, str) or choice not in known:
        msg = f"{name} must be one of {', '.join(known)}; got {shown(choice)}.{nearest(choice, known)}"
        raise InvalidMessage(msg)


def check_flag(name: str, flag: object) -> None:
    """Hold a parameter against yes and no; a text is neither, as ``"false"`` counts as true.

    :raises InvalidMessage: if it is neither ``True`` nor ``False``.
    """
    if not isinstance(flag, bool):
        msg = f"{name} must be True or False; got {shown(flag)}."
        raise InvalidMessage(msg)


def check_count(name: str, count: object, least: int, most: int) -> None:
    """Hold a parameter against the whole numbers that it may be.

    :raises InvalidMessage: if it is none of them.
    """
    if type(count) is not int or not least <= count <= most:
        msg = f"{name} must be a whole number from {least} to {most}; got {shown(count)}."
        raise InvalidMessage(msg)


def check_share(name: str, share: object) -> None:
    """Hold a parameter against the shares of a whole.

    :raises InvalidMessage: if it is no number from 0 to 1.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        msg = f"{name} must be a share, a number from 0 to 1; got {shown(share)}."
        raise InvalidMessage(msg)


def check_number(name: str, number: object) -> None:
    """Hold a parameter against the finite numbers that are not negative.

    :raises InvalidMessage: if it is none of them.
    """
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < math.inf:
        msg = f"{name} must be a number, 0 or more; got {shown(number)}."
        raise InvalidMessage(msg)


def check_conn_id(name: str, conn_id: object) -> None:
    """Hold a parameter against what can be the id of a connection.

    Other text is not shown, as it may hold a password.

    :raises InvalidMessage: if it is none.
    """
    if not isinstance(conn_id, str) or not _CONN_ID.fullmatch(conn_id):
        msg = (
            f"{name} must be the id of a connection, of 1 to 200 characters without blanks and @; got "
            f"{'such text' if isinstance(conn_id, str) else shown(conn_id)}."
        )
        raise InvalidMessage(msg)


def optional(check: Check) -> Check:
    """Return a check that takes ``None`` besides."""

    def check_if_given(name: str, value: object) -> None:
        if value is not None:
            check(name, value)

    return check_if_given


def seconds(name: str, value: object) -> float:
    """Return a duration in seconds.

    :param value: a ``timedelta``, or seconds.
    :raises InvalidMessage: if it is none, negative, or more than ten years.
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


def shown(value: object) -> str:
    """Return what an error shows of a value: a short one that is no phone number itself, or else its type."""
    is_plain = value is None or isinstance(value, (str, float, timedelta))
    is_small = isinstance(value, int) and abs(value) < 10**_FEWEST_DIGITS_HIDDEN
    words = repr(value) if is_plain or is_small else ""
    digits = 0 if isinstance(value, timedelta) else sum(map(str.isdecimal, words))
    if not 0 < len(words) <= _MOST_CHARACTERS_SHOWN or digits >= _FEWEST_DIGITS_HIDDEN:
        return f"a value of type {type(value).__name__}"
    return words


def nearest(given: object, known: Iterable[str]) -> str:
    """Return the question whether one of the known words was meant; empty if none is near."""
    from difflib import get_close_matches

    found = get_close_matches(given.lower().replace("-", "_"), known, 1) if isinstance(given, str) else []
    return f" Did you mean {str(found[0])!r}?" if found else ""


def is_intolerable(policy: str, succeeded: int) -> bool:
    """Tell whether items that failed fail the task."""
    return policy == "fail" or (policy == "fail_if_all" and not succeeded)
