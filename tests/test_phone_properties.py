"""Whatever a number looks like, it is read right or refused, and never quoted."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from airflow_provider_winsms.phone import InvalidPhoneNumber, NumberReader

SOUTH_AFRICAN = NumberReader("27")

subscribers = st.from_regex(r"[1-9][0-9]{8}", fullmatch=True)

valid_subscribers = st.one_of(
    st.from_regex(r"(6[0-8]|7[1-46-9]|8[1-4]|1[0-8]|2[1-4]|3[1-69]|4[1-9]|5[1346-8])[0-9]{7}", fullmatch=True)
)

blanks = st.sampled_from(
    ["", "", "", " ", "-", ".", "\u00a0", "\u2009", "\u200b", "\u202a", "\u00ad", "\u2011"]
)

prefixes = st.sampled_from(
    ["27", "+27", "0027", "0", "(0)", "27(0)", "+27(0)", "0027(0)", "270", "+270", "00270", "(+27)", ""]
)


@given(prefixes, valid_subscribers, st.lists(blanks, min_size=12, max_size=12), st.sampled_from(["", ".0"]))
@example("", "825550101", [""] * 12, ".0")
@example("27", "825550101", ["", "", "", "", "", "", "", "", "", ".", "", ""], "")
@example("27", "600000000", ["", "", "", "", "", "", "", ".", "", "", "", ""], "")
def test_any_spelling_of_a_number_is_read_as_that_number_or_refused(
    prefix: str, subscriber: str, signs: list[str], end: str
) -> None:
    spelt = prefix + "".join(sign + digit for sign, digit in zip(signs, subscriber, strict=False)) + end
    try:
        assert SOUTH_AFRICAN.read(spelt) == "27" + subscriber
    except InvalidPhoneNumber:
        # Signs among the digits may look like a fraction; a number without a prefix may be a foreign one.
        assert "." in spelt or not prefix


@given(prefixes.filter(bool), subscribers, st.sampled_from(["", " ", "\u00a0", "-", "\u200e"]))
def test_every_usual_spelling_is_taken(prefix: str, subscriber: str, sign: str) -> None:
    spelt = sign.join((prefix, subscriber[:2], subscriber[2:5], subscriber[5:]))
    assert SOUTH_AFRICAN.read(spelt) == "27" + subscriber


@given(prefixes, subscribers, st.integers(0, 8), st.sampled_from(string.digits), st.booleans())
def test_a_digit_too_many_or_too_few_rings_no_south_african_phone(
    prefix: str, subscriber: str, place: int, digit: str, is_longer: bool
) -> None:
    assume(prefix)
    wrong = subscriber[:place] + (digit + subscriber[place:] if is_longer else subscriber[place + 1 :])
    # With a 0 in front it is a spelling of a number: that of a trunk 0.
    assume(not wrong.startswith("0"))
    with pytest.raises(InvalidPhoneNumber):
        SOUTH_AFRICAN.read(prefix + wrong)


@given(
    st.text(st.sampled_from("0123456789+() .-eE\u202a\u00a0x"), max_size=20),
    st.sampled_from(["27", "44", "39", "1"]),
    st.sampled_from(["possible", "valid", "off"]),
)
@example("+44(0)", "27", "possible")
@example("(0)", "27", "off")
@example("+", "27", "possible")
def test_what_is_read_has_the_digits_that_were_given(text: str, country_code: str, check: str) -> None:
    try:
        read = NumberReader(country_code, check).read(text)  # type: ignore[arg-type]
    except InvalidPhoneNumber:
        return
    digits = "".join(char for char in text.removesuffix(".0") if char.isdigit()).removeprefix("00")
    without_zero = {digits[:at] + digits[at + 1 :] for at in range(1, 4) if digits[at : at + 1] == "0"}
    fraction_less = {text.partition(".")[0].translate({ord(c): None for c in "+() -\u202a\u00a0"})}
    possible = {digits, *without_zero, *fraction_less, country_code + digits, country_code + digits[1:]}
    assert read in possible | {country_code + each for each in fraction_less} | {
        country_code + each[1:] for each in fraction_less
    }


@given(st.text(max_size=20) | st.integers() | st.floats() | st.decimals() | st.none() | st.booleans())
def test_any_value_is_read_or_refused_and_never_quoted(value: object) -> None:
    try:
        read = SOUTH_AFRICAN.read(value)
    except InvalidPhoneNumber as refusal:
        digits = "".join(filter(str.isdigit, str(value)))
        assert len(digits) < 7 or digits not in str(refusal)  # noqa: PT017
    else:
        assert read.isascii()
        assert read.isdigit()


@given(st.lists(st.text(max_size=15)))
def test_no_list_loses_a_row(listed: list[str]) -> None:
    assert len(SOUTH_AFRICAN.read_all(listed)) == len(listed)
