"""From a number as a person, a table or a gateway spells it to international digits (E.164 without the plus).

The digits of the result are the digits that were given, changed by named rewritings only: separators and
invisible signs left out, a leading ``+`` or ``00`` left out, a trunk 0 replaced by the country code, or left
out behind it, the country code put before a national number whose 0 was lost, and the ``.0`` of a float left
out. All else is refused.
``phonenumberslite`` knows the number plans of the world; it judges the result and never makes it: it takes
letters for digits, and +27000000010 for +2700000010.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import filterfalse
from numbers import Integral
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.messages import is_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.options import CheckNumbers

# E.164: at most 15 digits, and no country code begins with 0. Seven is the shortest subscriber number in use
# with its country code.
_INTERNATIONAL = re.compile(r"[1-9][0-9]{6,14}")
_MOST_DIGITS = 15
# Fewer digits without a plus are a national number, or a mistake.
_LEAST_BARE_DIGITS = 10

# South Africa: a trunk 0 and nine digits. The library takes five to ten for possible, and eight for valid.
_SOUTH_AFRICA = "27"
# Behind the code a 0 is the trunk 0 of a number that lost a digit; those of the sandbox have three or more.
_SOUTH_AFRICAN = re.compile(r"27(?!0[1-9])[0-9]{9}")
_USUAL = re.compile(rf"(?:\+|00)?({_SOUTH_AFRICAN.pattern})")
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
class NumberReader:
    """Reads numbers.

    :param country_code: what a trunk 0 stands for, without the plus.
    :param check: what the number plan must say of a number.
    """

    country_code: str
    check: CheckNumbers = "possible"

    def read(self, value: object) -> str:
        """Return a number as international digits.

        :raises InvalidPhoneNumber: saying why it is none.
        """
        text = _as_text(value)
        usual = _USUAL.fullmatch(text)
        if usual and self.check != "valid":
            return usual[1]
        return self._read_text(_bare_text(text))

    def read_all(self, values: Sequence[str]) -> Sequence[str]:
        """Return what a gateway lists, as international digits; what is no number stays as it came."""
        odd = list(filterfalse(_SOUTH_AFRICAN.fullmatch, set(values)))
        if not odd:
            return values
        digits = {value: self._read_or_keep(value) for value in odd}
        return [digits.get(value, value) for value in values]

    def _read_or_keep(self, value: str) -> str:
        for reader in (self, NumberReader(self.country_code, "off")):
            try:
                return reader.read(value)
            except InvalidPhoneNumber:
                continue
        return value

    def _read_text(self, text: str) -> str:
        marked = _BRACKETED_ZERO.fullmatch(text) if "(" in text else None
        if marked:
            code, rest = marked[1], re.sub(r"[()]", "", marked[2])
            return self._international(f"{code}0{rest}", len(code))
        digits = re.sub(r"[()]", "", text)
        if digits.startswith(("+", "00")):
            return self._international(digits.removeprefix("+") if digits[0] == "+" else digits[2:])
        _check_signs(digits)
        if digits.startswith("0"):
            return _long(self._international(self.country_code + digits, len(self.country_code)))
        return self._bare(digits)

    def _bare(self, digits: str) -> str:
        """Read digits without a prefix: of a national number whose 0 was lost, or international ones."""
        national = self.country_code + digits
        if self.check != "off" and _is_valid(national):
            if _is_valid(digits):
                why = "is a number of two countries. Give it with a plus, or with the 0 of a national number"
                raise _refusal(why)
            return national
        return self._international(_long(digits))

    def _international(self, digits: str, trunk_at: int | None = None) -> str:
        """Return digits without a trunk 0, if they are a number.

        :param trunk_at: where a trunk 0 stands among them; ``None`` if none is known.
        """
        _check_signs(digits)
        if digits.startswith(_SOUTH_AFRICA):
            found = self._south_african(digits, trunk_at)
        elif self.check == "off":
            found = digits if trunk_at is None else _without(digits, trunk_at)
        else:
            found = _agreed(digits, trunk_at)
        if not _INTERNATIONAL.fullmatch(found):
            why = f"has {len(found)} digits; a number has 7 to {_MOST_DIGITS}, the first of them 1 to 9"
            raise _refusal(why)
        if self.check == "valid" and not _is_valid(found):
            why = f"is in no range in use of its country. {_WAY_OUT}"
            raise _refusal(why)
        return found

    def _south_african(self, digits: str, trunk_at: int | None) -> str:
        if trunk_at not in {None, len(_SOUTH_AFRICA)}:
            raise _doubtful_zero()
        has_trunk_zero = trunk_at is not None or _TRUNK_ZERO_KEPT.fullmatch(digits)
        found = _without(digits, len(_SOUTH_AFRICA)) if has_trunk_zero else digits
        if self.check == "off" or _SOUTH_AFRICAN.fullmatch(found):
            return found
        if len(found) == _SOUTH_AFRICAN_DIGITS:
            raise _doubtful_zero()
        why = f"has {len(found)} digits with the country code 27, where numbers have {_SOUTH_AFRICAN_DIGITS}"
        raise _refusal(why)


_WAY_OUT = 'If it is right, check_numbers="off" takes it'


class _Judgement(NamedTuple):
    """What the library makes of digits: which it reads, and whether they are possible."""

    digits: str
    is_possible: bool

    def __repr__(self) -> str:
        """Show no digits."""
        return f"_Judgement(is_possible={self.is_possible})"


@lru_cache(maxsize=65536)
def _judgement(digits: str) -> _Judgement:
    import phonenumbers

    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return _Judgement("", is_possible=False)
    read = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
    # Without the area code a number is "possible, local only".
    reason = phonenumbers.is_possible_number_with_reason(number)
    return _Judgement(read, reason == phonenumbers.ValidationResult.IS_POSSIBLE)


@lru_cache(maxsize=65536)
def _is_valid(digits: str) -> bool:
    """Tell whether digits are a number in use, as they stand."""
    if digits.startswith(_SOUTH_AFRICA) and len(digits) != _SOUTH_AFRICAN_DIGITS:
        return False
    if len(digits) > _MOST_DIGITS or _judgement(digits) != (digits, True):
        return False
    import phonenumbers

    return phonenumbers.is_valid_number(phonenumbers.parse(f"+{digits}"))


def _agreed(digits: str, trunk_at: int | None) -> str:
    """Return digits of another country without their trunk 0, where the library reads them so too.

    Of which country a 0 is a trunk 0, and of which it is a part of the number, only the library knows.
    """
    judged = _judgement(digits) if len(digits) <= _MOST_DIGITS + 1 else None
    if judged is None or not judged.is_possible:
        why = f"is not possible in the number plan of its country ({len(digits)} digits). {_WAY_OUT}"
        raise _refusal(why)
    places = range(1, 4) if trunk_at is None else (trunk_at,)
    without = {_without(digits, place) for place in places if digits[place] == "0"}
    if judged.digits in without or (trunk_at is None and judged.digits == digits):
        return judged.digits
    raise _doubtful_zero()


def _long(digits: str) -> str:
    if len(digits) < _LEAST_BARE_DIGITS:
        why = f"is too short for a number without a plus ({len(digits)} digits)"
        raise _refusal(why)
    return digits


def _without(digits: str, place: int) -> str:
    return digits[:place] + digits[place + 1 :]


def _as_text(value: object) -> str:
    """Return a value as text, if it tells each digit of a number.

    A column of integers with one empty cell becomes one of floats; these are exact up to 15 digits.
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
        raise _exponent()
    # Integers of other libraries are compared as Python's own.
    number = int(value) if isinstance(value, Integral) else value
    if not 0 < number < 10**_MOST_DIGITS or number != int(number):
        why = f"is no whole number of 1 to {_MOST_DIGITS} digits"
        raise _refusal(why)
    return str(int(number))


def _bare_text(given: str) -> str:
    """Return a text without blanks, invisible signs, separators and the fraction of a float."""
    # Blanks of Unicode; and its category Cf, such as marks of direction, which spreadsheets and chats add.
    text = "".join(given.split())
    if not text.isascii():
        text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    if text.casefold() in _MISSING_TEXTS:
        msg = f"is empty ({text!r}). Leave it out, or give a number"
        raise InvalidPhoneNumber(msg)
    if _EXPONENT.fullmatch(text):
        raise _exponent()
    if _NEGATIVE.match(text):
        why = "begins with a minus"
        raise _refusal(why)
    return _SEPARATORS.sub("", _without_fraction(text))


def _without_fraction(text: str) -> str:
    fraction = _FRACTION.fullmatch(text)
    if fraction is None and not _LOST_FRACTION.fullmatch(text, max(text.rfind("."), 0)):
        return text
    if fraction is None or fraction[2].strip("0"):
        why = "ends in a fraction"
        raise _refusal(why)
    return fraction[1]


def _check_signs(digits: str) -> None:
    if digits.isascii() and digits.isdecimal():
        return
    for char in digits:
        if char.isalpha():
            why = "has letters in it"
            raise _refusal(why)
        if not ("0" <= char <= "9"):
            why = f"has the sign U+{ord(char):04X} in it, where only digits may stand"
            raise _refusal(why)


def _refusal(why: str) -> InvalidPhoneNumber:
    return InvalidPhoneNumber(f"is not a phone number: it {why}")


def _doubtful_zero() -> InvalidPhoneNumber:
    return _refusal(
        "has a 0 that may be no part of it. Give it with a plus and its country code, and without that 0"
    )


def _exponent() -> InvalidPhoneNumber:
    return _refusal("is written with an exponent, which drops digits. Write the column as text")


_PLAIN_NUMBER = re.compile(r"[1-9][0-9]{6,14}", re.ASCII)
_SPELT_NUMBER = re.compile(r"[0-9+()\s-]*", re.ASCII)
_NO_DIGITS = re.compile(r"[^0-9]+", re.ASCII)
_SHARED_DIGITS = 7  # however a number is spelt, its last digits are the same


def is_plain(number: str) -> bool:
    """Tell whether a number is international digits, so that it can be compared."""
    return _PLAIN_NUMBER.fullmatch(number) is not None


def last_digits(number: str) -> str:
    """Return the digits that a number ends with however it is spelt; none, if it may be any number."""
    digits = _NO_DIGITS.sub("", number) if _SPELT_NUMBER.fullmatch(number) else ""
    return digits[-_SHARED_DIGITS:] if len(digits) >= _SHARED_DIGITS else ""
