"""Numbers as they come over a wire. One that nobody can hold is unknown, and says nothing against the rest.

JSON bounds neither digits nor exponents: Python writes and reads no whole number of more than 4,300 digits,
and ``decimal`` none whose exponent has more than 18.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

ID_END = 2**63
"""Ids are lower: databases keep them in 64 bits, one of which is the sign."""

PRICE_END = Decimal(1000)
"""Credits: no text costs as much. The tables of the ledger can add up ten million prices below it."""

BALANCE_END = Decimal(10**10)
"""Credits: no account has as many, and no column of an amount holds more."""

_CENT = Decimal("0.01")
_PLACES = 2
_WHOLE = re.compile(r"\s*([0-9]{1,19})(?:\.0*)?\s*")
_AMOUNT = re.compile(r"\s*[+-]?[0-9]{1,19}(?:\.[0-9]*)?\s*", re.ASCII)


def decoded(document: bytes) -> Any:
    """Return what JSON says: fractions as ``Decimal``, and as its text a number that Python cannot hold.

    :raises ValueError: if it is not JSON.
    :raises RecursionError: if it is nested too deeply.
    """
    try:
        return json.loads(document, parse_float=Decimal)
    except json.JSONDecodeError:
        raise
    except (ValueError, InvalidOperation):
        return json.loads(document, parse_float=_fraction, parse_int=_integer)


def scanned(text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at a place in a JSON document, as ``decoded`` does, and its end.

    Raises what ``decoded`` raises.
    """
    try:
        return _scan(text, start)
    except json.JSONDecodeError:
        raise
    except (ValueError, InvalidOperation):
        return _scan_any_number(text, start)


def _integer(digits: str) -> int | str:
    try:
        return int(digits)
    except ValueError:
        return digits


def _fraction(digits: str) -> Decimal | str:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return digits


_scan = json.JSONDecoder(parse_float=Decimal).raw_decode
_scan_any_number = json.JSONDecoder(parse_float=_fraction, parse_int=_integer).raw_decode


def whole(value: Any) -> int:
    """Read a whole number that databases can keep: never a rounded one.

    :raises ValueError: without a quote of what came instead.
    """
    if type(value) is int and 0 <= value < ID_END:
        return value
    digits = _WHOLE.fullmatch(str(value)) if isinstance(value, (int, str, Decimal)) else None
    if digits is None or (number := int(digits[1])) >= ID_END:
        msg = "no whole number where an id or a count must be"
        raise ValueError(msg)
    return number


def amount(value: Any, end: Decimal) -> Decimal | None:
    """Read an amount of credits, to a hundredth; ``None`` if it is unknown: absent, or no such amount.

    :param end: what it must be below, and above the negative of.
    """
    read = _decimal(value)
    # Comparisons are exact; arithmetic has bounds, beyond which it raises.
    if read is None or not read.is_finite() or not -end < read < end:
        return None
    is_fine = int(read.as_tuple().exponent) < -_PLACES
    # The sum is never a negative zero.
    return (read.quantize(_CENT) if is_fine else read) + 0


def price(value: Any) -> Decimal | None:
    """Read what a text costs, or what comes back for it: an amount that is not negative."""
    read = amount(value, PRICE_END)
    return None if read is None or read < 0 else read


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    if isinstance(value, int):
        return Decimal(value) if abs(value) < ID_END else None
    return Decimal(value.strip()) if _AMOUNT.fullmatch(value) else None
