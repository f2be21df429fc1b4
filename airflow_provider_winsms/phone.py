"""Phone numbers: any spelling of a person, a table or a gateway becomes international digits.

The result is E.164 without the plus. Its digits are the given digits, changed by these rewritings only:

* Separators, invisible characters, a leading ``+`` or ``00``, and the ``.0`` of a float are dropped.
* A trunk 0 is replaced by the country code, or dropped after it.
* The country code is put before a national number that lost its 0.

Everything else is refused. ``phonenumberslite`` knows the number plans of the world. It only checks the
result, and never makes it: it reads letters as digits, and +27000000010 as +2700000010.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from itertools import filterfalse
from numbers import Integral
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.messages import is_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.options import CheckNumbers

# E.164: at most 15 digits, and no country code begins with 0. The shortest numbers in use have seven digits
# with their country code.
_INTERNATIONAL = re.compile(r"[1-9][0-9]{6,14}")
_MOST_DIGITS = 15
# Fewer digits without a plus are a national number or a mistake.
_LEAST_UNPREFIXED_DIGITS = 10

# South Africa: a trunk 0 and nine digits. The library accepts five to ten as possible, and eight as valid.
_SOUTH_AFRICA = "27"
# After the code, a single 0 is the trunk 0 of a number that lost a digit. The sandbox's numbers have three
# zeros or more there.
_SOUTH_AFRICAN = re.compile(r"27(?!0[1-9])[0-9]{9}")
_COMMON_SPELLING = re.compile(rf"(?:\+|00)?({_SOUTH_AFRICAN.pattern})")
_SOUTH_AFRICAN_LINES = re.compile(rf"(?:{_SOUTH_AFRICAN.pattern}\n)*")
_SOUTH_AFRICAN_DIGITS = 11
_TRUNK_ZERO_KEPT = re.compile(r"270[0-9]{9}")

_MISSING_TEXTS = frozenset({"", "nan", "none", "null", "<na>", "nat"})
_EXPONENT = re.compile(r"[+-]?[0-9]+([.,][0-9]*)?e[+-]?[0-9]+", re.IGNORECASE)
_FRACTION = re.compile(r"(\+?[0-9]{7,})\.([0-9]{1,2}|0+)")
_LOST_FRACTION = re.compile(r"\.0{1,2}")
_NEGATIVE = re.compile(r"[-\u2212]")
_SEPARATORS = re.compile(r"[.\-\u2010-\u2015\u2212]+")
_BRACKETED_ZERO = re.compile(r"\(?(?:\+|00)?\(?([1-9][0-9]{0,2})\)?\(0\)([0-9()]*)")


class InvalidPhoneNumber(ValueError):  # noqa: N818 - it names what the value is
    """A value is not a phone number. The error text says why, and quotes no digit of it."""


@dataclass(frozen=True, slots=True)
class NumberPlan:
    """How national numbers are written.

    :param country_code: without the plus.
    :param trunk_prefix: written before a national number, and dropped after the country code.
    """

    country_code: str
    trunk_prefix: str = "0"


@dataclass(frozen=True, slots=True)
class NumberReader:
    """Reads phone numbers.

    :param country_code: replaces a trunk 0; without the plus.
    :param check: the check against the number plan.
    :param trunk_prefix: written before a national number; empty if nothing is.
    """

    country_code: str
    check: CheckNumbers = "possible"
    trunk_prefix: str = "0"

    def read(self, value: object) -> str:
        """Return a number as international digits.

        :raises InvalidPhoneNumber: the value is not one; the text says why.
        """
        text = _as_text(value)
        common = _COMMON_SPELLING.fullmatch(text)
        is_international = self.country_code == _SOUTH_AFRICA or text.startswith(("+", "0"))
        if common and is_international and self.check != "valid":
            return common[1]
        whole, zeros = _without_fraction(_normalized_text(text))
        found = self._read_text(_SEPARATORS.sub("", whole))
        if zeros and whole.startswith(self.country_code) and _is_complete(whole + zeros):
            why = "has a dot that may part it, or begin a fraction. Give its digits only"
            raise _not_a_phone_number(why)
        return found

    def read_all(self, values: Sequence[str]) -> Sequence[str]:
        """Return a gateway's numbers as international digits. A value that is not a number stays as it is."""
        lines = "\n".join(values) + "\n"
        # By its length, no value has two lines.
        if len(lines) == (_SOUTH_AFRICAN_DIGITS + 1) * len(values) and _SOUTH_AFRICAN_LINES.fullmatch(lines):
            return values
        odd = list(filterfalse(_SOUTH_AFRICAN.fullmatch, set(values)))
        if not odd:
            return values
        digits = {value: self._read_or_keep(value) for value in odd}
        return [digits.get(value, value) for value in values]

    def _read_or_keep(self, value: str) -> str:
        for reader in (self, replace(self, check="off")):
            try:
                return reader.read(value)
            except InvalidPhoneNumber:
                continue
        return value

    def _read_text(self, text: str) -> str:
        bracketed = _BRACKETED_ZERO.fullmatch(text) if "(" in text else None
        if bracketed:
            code, rest = bracketed[1], re.sub(r"[()]", "", bracketed[2])
            return self._international(f"{code}0{rest}", len(code))
        digits = re.sub(r"[()]", "", text)
        if digits.startswith(("+", "00")):
            return self._international(digits.removeprefix("+") if digits[0] == "+" else digits[2:])
        _check_characters(digits)
        trunk = self.trunk_prefix
        if trunk not in {"", "0"} and digits.startswith(trunk):
            return _long_enough(self._international(self.country_code + digits.removeprefix(trunk)))
        if trunk and digits.startswith("0"):
            return _long_enough(self._international(self.country_code + digits, len(self.country_code)))
        return self._without_prefix(digits)

    def _without_prefix(self, digits: str) -> str:
        """Read digits without a prefix: a national number that lost its 0, or an international number."""
        national = self.country_code + digits
        if self.check != "off" and _is_valid(national):
            if _is_valid(digits):
                why = "can be national or international. Give it with a plus, or with its national 0"
                raise _not_a_phone_number(why)
            return national
        return self._international(_long_enough(digits))

    def _international(self, digits: str, trunk_at: int | None = None) -> str:
        """Return digits without their trunk 0, if they are a number.

        :param trunk_at: the index of the trunk 0; ``None`` if none is known.
        """
        _check_characters(digits)
        if digits.startswith(_SOUTH_AFRICA):
            found = self._south_african(digits, trunk_at)
        elif self.check == "off":
            found = digits if trunk_at is None else _without_digit(digits, trunk_at)
        else:
            found = _foreign(digits, trunk_at)
        if not _INTERNATIONAL.fullmatch(found):
            why = f"has {len(found)} digits; a number has 7 to {_MOST_DIGITS}, the first of them 1 to 9"
            raise _not_a_phone_number(why)
        if self.check == "valid" and not _is_valid(found):
            why = f"is in no range in use of its country. {_WAY_OUT}"
            raise _not_a_phone_number(why)
        return found

    def _south_african(self, digits: str, trunk_at: int | None) -> str:
        if trunk_at not in {None, len(_SOUTH_AFRICA)}:
            raise _ambiguous_zero()
        has_trunk_zero = trunk_at is not None or _TRUNK_ZERO_KEPT.fullmatch(digits)
        found = _without_digit(digits, len(_SOUTH_AFRICA)) if has_trunk_zero else digits
        if self.check == "off" or _SOUTH_AFRICAN.fullmatch(found):
            return found
        if len(found) == _SOUTH_AFRICAN_DIGITS:
            raise _ambiguous_zero()
        why = f"has {len(found)} digits with the country code 27, where numbers have {_SOUTH_AFRICAN_DIGITS}"
        raise _not_a_phone_number(why)


_WAY_OUT = 'If it is right, check_numbers="off" takes it'


class _ParsedNumber(NamedTuple):
    """Digits as the library reads them, and whether it finds them possible."""

    digits: str
    is_possible: bool

    def __repr__(self) -> str:
        """Hide the digits."""
        return f"_ParsedNumber(is_possible={self.is_possible})"


@lru_cache(maxsize=65536)
def _parsed(digits: str) -> _ParsedNumber:
    import phonenumbers

    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return _ParsedNumber("", is_possible=False)
    read = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
    # Without the area code a number is "possible, local only".
    reason = phonenumbers.is_possible_number_with_reason(number)
    return _ParsedNumber(read, reason == phonenumbers.ValidationResult.IS_POSSIBLE)


def _is_complete(digits: str) -> bool:
    """Whether digits have the length of a number with its country code."""
    if digits.startswith(_SOUTH_AFRICA):
        return len(digits) == _SOUTH_AFRICAN_DIGITS
    return len(digits) <= _MOST_DIGITS and _parsed(digits) == (digits, True)


_CODE_DIGITS = 3  # of the longest country code


def country_code_of(number: str) -> str | None:
    """Return the country code that international digits begin with; ``None`` if no country has it."""
    return _country_code_of(number[:_CODE_DIGITS])


@lru_cache(maxsize=1000)
def _country_code_of(first_digits: str) -> str | None:
    import phonenumbers

    # No country code begins with another one.
    codes = (first_digits[:length] for length in range(1, len(first_digits) + 1))
    known = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    return next((code for code in codes if code.isdecimal() and int(code) in known), None)


@lru_cache(maxsize=65536)
def _is_valid(digits: str) -> bool:
    """Whether digits, exactly as given, are a valid number."""
    if digits.startswith(_SOUTH_AFRICA) and len(digits) != _SOUTH_AFRICAN_DIGITS:
        return False
    if len(digits) > _MOST_DIGITS or _parsed(digits) != (digits, True):
        return False
    import phonenumbers

    return phonenumbers.is_valid_number(phonenumbers.parse(f"+{digits}"))


def _foreign(digits: str, trunk_at: int | None) -> str:
    """Return digits of another country without their trunk 0, if the library reads them in the same way.

    Only the library knows in which countries a 0 is a trunk 0, and in which it is a part of the number.
    """
    parsed = _parsed(digits) if len(digits) <= _MOST_DIGITS + 1 else None
    if parsed is None or not parsed.is_possible:
        why = f"is not possible in the number plan of its country ({len(digits)} digits). {_WAY_OUT}"
        raise _not_a_phone_number(why)
    indexes = range(1, 4) if trunk_at is None else (trunk_at,)
    without = {_without_digit(digits, index) for index in indexes if digits[index] == "0"}
    if parsed.digits in without or (trunk_at is None and parsed.digits == digits):
        return parsed.digits
    raise _ambiguous_zero()


def _long_enough(digits: str) -> str:
    if len(digits) < _LEAST_UNPREFIXED_DIGITS:
        why = f"is too short for a number without a plus ({len(digits)} digits)"
        raise _not_a_phone_number(why)
    return digits


def _without_digit(digits: str, index: int) -> str:
    return digits[:index] + digits[index + 1 :]


def _as_text(value: object) -> str:
    """Return a value as text, if it holds each digit of a number.

    A column of integers with an empty cell becomes a column of floats. These are exact up to 15 digits.
    """
    if isinstance(value, str):
        return value
    if is_missing(value):
        msg = f"is empty ({value!r}). Leave it out, or give a number"
        raise InvalidPhoneNumber(msg)
    if isinstance(value, bool) or not isinstance(value, (Integral, Decimal, float)):
        msg = f"is of type {type(value).__name__}. Give a number as text; of a database row, its column"
        raise InvalidPhoneNumber(msg)
    if isinstance(value, Decimal) and (not value.is_finite() or int(value.as_tuple().exponent) > 0):
        raise _written_with_exponent()
    # Convert integers of other libraries before a comparison.
    number = int(value) if isinstance(value, Integral) else value
    if not 0 < number < 10**_MOST_DIGITS or number != int(number):
        why = f"is no whole number of 1 to {_MOST_DIGITS} digits"
        raise _not_a_phone_number(why)
    return str(int(number))


def _normalized_text(given: str) -> str:
    """Return a text without blanks and invisible characters."""
    # Unicode blanks, and its category Cf: spreadsheets and chats add, for example, marks of direction.
    text = "".join(given.split())
    if not text.isascii():
        text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    if text.casefold() in _MISSING_TEXTS:
        msg = f"is empty ({text!r}). Leave it out, or give a number"
        raise InvalidPhoneNumber(msg)
    if _EXPONENT.fullmatch(text):
        raise _written_with_exponent()
    if _NEGATIVE.match(text):
        why = "begins with a minus"
        raise _not_a_phone_number(why)
    return text


def _without_fraction(text: str) -> tuple[str, str]:
    """Return a text without the fraction of a float, and the zeros of that fraction."""
    fraction = _FRACTION.fullmatch(text)
    if fraction is None and not _LOST_FRACTION.fullmatch(text, max(text.rfind("."), 0)):
        return text, ""
    if fraction is None or fraction[2].strip("0"):
        why = "ends in a fraction"
        raise _not_a_phone_number(why)
    return fraction[1], fraction[2]


def _check_characters(digits: str) -> None:
    if digits.isascii() and digits.isdecimal():
        return
    for char in digits:
        if char.isalpha():
            why = "has letters in it"
            raise _not_a_phone_number(why)
        if not ("0" <= char <= "9"):
            why = f"has the sign U+{ord(char):04X} in it, where only digits may stand"
            raise _not_a_phone_number(why)


def _not_a_phone_number(why: str) -> InvalidPhoneNumber:
    return InvalidPhoneNumber(f"is not a phone number: it {why}")


def _ambiguous_zero() -> InvalidPhoneNumber:
    return _not_a_phone_number(
        "has a 0 that may be no part of it. Give it with a plus and its country code, and without that 0"
    )


def _written_with_exponent() -> InvalidPhoneNumber:
    return _not_a_phone_number("is written with an exponent, which drops digits. Write the column as text")


_NUMBER_SPELLING = re.compile(r"[0-9+()\s-]*", re.ASCII)
_NOT_DIGITS = re.compile(r"[^0-9]+", re.ASCII)
_SHARED_DIGITS = 7  # the last digits are the same in every spelling of a number


def is_plain(number: str) -> bool:
    """Whether a number is in international digits, so that it can be compared."""
    return _INTERNATIONAL.fullmatch(number) is not None


def last_digits(number: str) -> str:
    """Return the last digits, which all spellings of a number share; empty if it may be any number."""
    digits = _NOT_DIGITS.sub("", number) if _NUMBER_SPELLING.fullmatch(number) else ""
    return digits[-_SHARED_DIGITS:] if len(digits) >= _SHARED_DIGITS else ""
