"""Which numbers are read, and as which."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from numbers import Integral

import pytest

from airflow_provider_winsms.phone import InvalidPhoneNumber, NumberReader

ANN = "27825550101"
SOUTH_AFRICAN = NumberReader("27")

TAKEN = [
    *(ANN, "+27 82 555 0101", "0027 82 555 0101", "082 555 0101", "(082) 555-0101", "(0)82 555 0101"),
    *("082.555.0101", "27.82.555.0101", "(+27) 82 555 0101", "+27 (0)82 555 0101", "(+27)(0)82 555 0101"),
    *("27 (0)82 555 0101", "0027 (0)82 555 0101", "+27 082 555 0101", "0027 082 555 0101", "270825550101"),
    *("27825550101.0", "27825550101.00", "27825550101.", "+27825550101.0", "825550101.0", "825550101"),
    *("0825550101.0", "\u202a+27825550101\u202c", "\u200e27825550101", "278\u200b25550101"),
    *("\ufeff27825550101", "27825\u00ad550101", "27\u00a082\u00a0555\u20070101"),
    *("+27\u202f82\u2009555\u30000101", "27\u201082\u2013555\u22120101", " 27825550101\t\n", 27825550101),
    *(825550101, 27825550101.0, Decimal(27825550101), Decimal("27825550101.00")),
    Decimal("2.7825550101E+10"),
]

REFUSED = [
    (None, "is empty (None)"),
    ("", "is empty"),
    ("\u200b", "is empty"),
    (float("nan"), "is empty (nan)"),
    (Decimal("NaN"), "is empty"),
    (Decimal("sNaN"), "is empty"),
    ("nan", "is empty ('nan')"),
    ("<NA>", "is empty"),
    (True, "is of type bool"),
    ((ANN,), "is of type tuple"),
    (ANN.encode(), "is of type bytes"),
    (Fraction(27825550101), "is of type Fraction"),
    (27825550101.5, "no whole number"),
    (float("inf"), "no whole number"),
    (-27825550101, "no whole number"),
    pytest.param(10**5000, "no whole number", id="of 5001 digits"),
    (0, "no whole number"),
    (Decimal("27825550101.1"), "no whole number"),
    (Decimal("1E-999999"), "no whole number"),
    (Decimal("Infinity"), "exponent"),
    (Decimal("2.7E+10"), "exponent"),
    ("2.78255501E+10", "exponent"),
    ("2,78255501e+10", "exponent"),
    ("278255501e2", "exponent"),
    ("-27825550101", "begins with a minus"),
    ("\u221227825550101", "begins with a minus"),
    ("27825550101.5", "ends in a fraction"),
    ("2782555010.1", "ends in a fraction"),
    ("27-82-555-010.0", "ends in a fraction"),
    ("2782555010.0", "has 10 digits"),
    ("276000000.00", "has a dot that may part it"),
    ("2782555010", "has 10 digits"),
    ("082555010199", "has 13 digits"),
    ("08255501019", "has 12 digits"),
    ("082555010", "has 10 digits"),
    ("278255501010", "has 12 digits"),
    ("+278255501010", "has 12 digits"),
    ("27(0)82555010", "has 10 digits"),
    ("+2708255501011", "has 13 digits"),
    ("0 27 82 555 0101", "has 13 digits"),
    ("2782(0)5550101", "has 12 digits"),
    ("27082555010", "has a 0 that may be no part of it"),
    ("+27 082 555 010", "has a 0 that may be no part of it"),
    ("278(0)25550101", "has a 0 that may be no part of it"),
    ("278ALLNOW00", "letters"),
    ("27 82 555 0101 x5", "letters"),
    ("tel:+27825550101", "letters"),
    ("hello", "letters"),
    ("082/5550101", "U+002F"),
    ("'0825550101", "U+0027"),
    ("27+825550101", "U+002B"),
    ("++27825550101", "U+002B"),
    ("27\x00825550101", "U+0000"),
    ("\uff0b27825550101", "U+FF0B"),
    ("\u0662\u0667825550101", "U+0662"),
    ("\uff12\uff17825550101", "U+FF12"),
    ("27825550101;27825550102", "U+003B"),
    ("082 555 0101 082 555 0102", "digits"),
    ("123456", "too short"),
    ("+0027825550101", "not possible"),
    ("000825550101", "not possible"),
    ("+99912345678", "not possible"),
    ("+44 20 7946", "not possible"),
    ("376312345678901234", "not possible"),
]


@pytest.mark.parametrize("spelt", TAKEN)
def test_a_spelling_of_a_number_is_read_as_that_number(spelt: object) -> None:
    assert SOUTH_AFRICAN.read(spelt) == ANN


@pytest.mark.parametrize(("value", "says"), REFUSED)
def test_what_is_no_number_is_refused_by_name(value: object, says: str) -> None:
    with pytest.raises(InvalidPhoneNumber, match=re.escape(says)):
        SOUTH_AFRICAN.read(value)


class Int64:
    """As numpy has it: registered as an integer, and not one of Python's."""

    def __int__(self) -> int:
        return 27825550101


class Float32:
    """As numpy has it: no float of Python's, as it has 7 digits."""

    def __float__(self) -> float:
        return 27825549312.0


Integral.register(Int64)


def test_an_integer_of_another_library_is_read() -> None:
    assert SOUTH_AFRICAN.read(Int64()) == ANN


def test_a_float_of_too_few_digits_is_refused() -> None:
    with pytest.raises(InvalidPhoneNumber, match="is of type Float32"):
        SOUTH_AFRICAN.read(Float32())


@pytest.mark.parametrize(
    ("country_code", "spelt", "read"),
    [
        ("27", "+290 12345", "29012345"),
        ("27", "+44 (0)20 7946 0958", "442079460958"),
        ("27", "+44 020 7946 0958", "442079460958"),
        ("27", "00442079460958", "442079460958"),
        ("27", "+39 06 1234 5678", "390612345678"),
        ("27", "12025550123", "12025550123"),
        ("44", "020 7946 0958", "442079460958"),
        ("44", "07400 123456", "447400123456"),
        ("44", "7400123456", "447400123456"),
        ("44", ANN, ANN),
        ("1", "2125550123", "12125550123"),
    ],
)
def test_numbers_of_other_countries_are_read_by_their_plan(country_code: str, spelt: str, read: str) -> None:
    assert NumberReader(country_code).read(spelt) == read


@pytest.mark.parametrize(
    ("country_code", "spelt"),
    [
        # A 0 in Italy is a part of the number: without it, another phone rings.
        ("27", "+39 (0)6 1234 5678"),
        ("39", "06 1234 5678"),
        ("1", "0212 555 0123"),
        ("27", "+52 1 55 1234 5678"),
    ],
)
def test_a_zero_or_prefix_that_may_be_part_of_a_foreign_number_is_refused(
    country_code: str, spelt: str
) -> None:
    with pytest.raises(InvalidPhoneNumber):
        NumberReader(country_code).read(spelt)


@pytest.mark.parametrize("digits", ["27123456789", "4915112345601"])
def test_digits_that_are_a_number_with_and_without_the_country_code_are_refused(digits: str) -> None:
    """The first are a number of South Africa, or of Siegen without its 0."""
    reader = NumberReader("49")
    with pytest.raises(InvalidPhoneNumber, match="can be national or international"):
        reader.read(digits)
    assert reader.read(f"+{digits}") == digits
    assert reader.read(f"0{digits}") == f"49{digits}"


@pytest.mark.parametrize("number", ["27000000010", "27000000101", "27000000001"])
def test_the_numbers_of_the_sandbox_stay_usable(number: str) -> None:
    spellings = [number, f"+{number}", f"00{number}", f"{number}.0", int(number), f"+27 {number[2:]}"]
    assert {SOUTH_AFRICAN.read(spelt) for spelt in spellings} == {number}
    with pytest.raises(InvalidPhoneNumber, match="in no range in use"):
        NumberReader("27", "valid").read(number)


def test_off_asks_no_number_plan_and_still_wants_digits() -> None:
    off = NumberReader("27", "off")
    assert [
        off.read(number) for number in ("278255501010", "+99912345", "270825550101", "082 555 01019")
    ] == ["278255501010", "99912345", ANN, "278255501019"]
    for wrong in ("825550101", "082555", "hello", "2.78255501E+10", "27825550101.5", "1" * 16, True, None):
        with pytest.raises(InvalidPhoneNumber):
            off.read(wrong)


def test_valid_takes_numbers_in_use_in_every_spelling() -> None:
    valid = NumberReader("27", "valid")
    assert {valid.read(spelt) for spelt in TAKEN} == {ANN}


def test_a_list_is_read_column_by_column_and_keeps_what_is_no_number() -> None:
    listed = ["+27825550101", "082 555 0101", ANN, "Vodacom", "32145", "", "+999 1234567", ANN, "27000000010"]
    read = [ANN, ANN, ANN, "Vodacom", "32145", "", "9991234567", ANN, "27000000010"]
    assert list(SOUTH_AFRICAN.read_all(listed)) == read
