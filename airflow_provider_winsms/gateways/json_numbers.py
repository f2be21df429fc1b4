"""Numbers in answers. A number that is out of range is unknown; the rest of its answer stays valid.

JSON bounds neither digits nor exponents. Python reads and writes no integer of more than 4,300 digits, and
``decimal`` no number whose exponent has more than 18.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

ID_END = 2**63
"""Ids are lower: databases store them as signed 64-bit integers."""

PRICE_END = Decimal(1000)
"""Every price is lower. The ledger's tables can add up ten million such prices."""

BALANCE_END = Decimal(10**10)
"""Every balance is lower, and so is every amount that a column can hold."""

_FINEST = Decimal("0.0001")
_PLACES = 4
_WHOLE = re.compile(r"\s*([0-9]{1,19})(?:\.0*)?\s*")
_AMOUNT = re.compile(r"\s*[+-]?[0-9]{1,19}(?:\.[0-9]*)?\s*", re.ASCII)


def decode(document: bytes) -> Any:
    """Decode JSON: fractions as ``Decimal``, and a number that Python cannot hold as its text.

    :raises ValueError: if it is not JSON.
    :raises RecursionError: if it is nested too deeply.
    """
    try:
        return json.loads(document, parse_float=Decimal)
    except json.JSONDecodeError:
        raise
    except (ValueError, InvalidOperation):
        return json.loads(document, parse_float=_fraction, parse_int=_integer)


def scan(text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at an index of a JSON document, as ``decode`` does, and its end.

    Raises the errors of ``decode``.
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


def whole_number(value: Any) -> int:
    """Read a whole number that databases can store. It is never rounded.

    :raises ValueError: the value is none. The text does not quote it.
    """
    if type(value) is int and 0 <= value < ID_END:
        return value
    digits = _WHOLE.fullmatch(str(value)) if isinstance(value, (int, str, Decimal)) else None
    if digits is None or (number := int(digits[1])) >= ID_END:
        msg = "no whole number where an id or a count must be"
        raise ValueError(msg)
    return number


def amount(value: Any, end: Decimal) -> Decimal | None:
    """Read an amount, to four decimal places; ``None`` if it is absent or not such an amount.

    :param end: the amount must be between it and its negative.
    """
    read = _decimal(value)
    # Comparisons are exact; arithmetic raises beyond its bounds.
    if read is None or not read.is_finite() or not -end < read < end:
        return None
    is_fine = int(read.as_tuple().exponent) < -_PLACES
    # The sum is never a negative zero.
    return (read.quantize(_FINEST) if is_fine else read) + 0


def price(value: Any) -> Decimal | None:
    """Read the price of a text, or its refund: an amount that is not negative."""
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
