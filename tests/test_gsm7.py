from __future__ import annotations

import unicodedata

import pytest

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gsm7 import segments, septets, transliterate
from tests.support.gsm7_standard import ALPHABET, BASIC, EXTENDED, fewest_parts


def test_the_alphabet_is_that_of_the_standard() -> None:
    assert len(BASIC) == 127
    assert len(ALPHABET) == 137
    for char in map(chr, range(0x110000)):
        if char in ALPHABET:
            assert septets(char) == (2 if char in EXTENDED else 1)
        elif unicodedata.category(char) not in {"Co", "Cn", "Lo", "So"}:
            with pytest.raises(InvalidMessage):
                septets(char)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("€" * 80, 1),
        ("€" * 80 + "a", 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 459, 3),
        ("a" * 460, 4),
        ("a" * 918, 6),
        ("a" * 919, 7),
        ("€" * 459, 7),
        ("€" * 456, 6),
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("a" * 151 + "€" + "a" * 153, 2),
        ("a" * 159 + "€", 2),
        ("a" * 158 + "€", 1),
    ],
)
def test_parts_at_their_borders(text: str, parts: int) -> None:
    assert segments(text) == parts
    assert fewest_parts(text) == parts


def test_the_longest_text_is_918_septets() -> None:
    assert septets("a" * 918) == septets("€" * 459) == 918


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("“Don’t” – it’s…", "\"Don't\" - it's..."),
        ("café, naïve, ê, ç, Łódź", "café, naive, e, c, Lodz"),
        ("cafe\u0301", "café"),
        ("€ { } [ ] ~ ^ \\ |", "€ { } [ ] ~ ^ \\ |"),
        ("a\u00a0b\tc\u202fd", "a b c d"),
        ("a\u200bb\u00adc\ufeff", "abc"),
        ("one\r\ntwo\r\r\nthree\n", "one\ntwo\nthree\n"),
        ("½ price", "1/2 price"),
        ("1½ hours", "1 1/2 hours"),
        ("R19⁹⁹ for 5 m²", "R19 99 for 5 m2"),
        ("see 12①", "see 12 1"),
        ("ﬁne №5 ｆｕｌｌ", "fine No5 full"),
        ("\u2126", "Ω"),
    ],
)
def test_plain_spellings(text: str, spelt: str) -> None:
    assert transliterate(text) == spelt


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Well done 😀", "U+1F600 GRINNING FACE"),
        ("❤️", "U+2764 HEAVY BLACK HEART"),
        ("Привет", "U+041F CYRILLIC CAPITAL LETTER PE"),
        ("й", "U+0439 CYRILLIC SMALL LETTER SHORT I"),
        ("가", "U+AC00 HANGUL SYLLABLE GA"),
        ("23 °C", "U+00B0 DEGREE SIGN"),
        ("\x1b", "U+001B unnamed"),
        ("\x00", "U+0000 unnamed"),
        ("\ud800", "U+D800 unnamed"),
    ],
)
def test_what_has_no_plain_spelling_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(InvalidMessage, match=named.replace("+", r"\+")):
        transliterate(text)


@pytest.mark.parametrize("text", ["a ≠ b", "a ≮ b", "a =\u0338 b"])
def test_a_sign_that_says_not_is_never_spelt_as_its_opposite(text: str) -> None:
    with pytest.raises(InvalidMessage):
        transliterate(text)


def test_many_strange_characters_are_named_in_part_and_counted() -> None:
    with pytest.raises(InvalidMessage, match="and 3 more") as caught:
        transliterate("абвгдежз")
    assert str(caught.value).count("U+") == 5
