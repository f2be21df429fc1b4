from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gsm7 import check_text, segments, septets, spell_strictly, transliterate
from tests.support.gsm7_standard import ALPHABET, BASIC, EXTENDED, fewest_parts

if TYPE_CHECKING:
    from collections.abc import Callable


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
        ("1\u200b½ and 1\u0301½", "1 1/2 and 1 1/2"),
        ("R19\u00ad⁹⁹, 10²³, 10⁻³, ½² and ²½", "R19 99, 10 23, 10-3, 1/2 2 and 2 1/2"),
        ("①②, 1①", "12, 1 1"),
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
        ("\x1b", "U+001B (a control character)"),
        ("\x00", "U+0000 (a control character)"),
        ("\ud800", "U+D800 (half of a character)"),
        ("\ue000", "U+E000 (without a name)"),
        ("x\u0338", "U+0338 COMBINING LONG SOLIDUS OVERLAY"),
    ],
)
def test_what_has_no_plain_spelling_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(InvalidMessage, match=re.escape(named)):
        transliterate(text)


@pytest.mark.parametrize("text", ["a ≠ b", "a ≮ b", "a =\u0338 b"])
def test_a_sign_that_says_not_is_never_spelt_as_its_opposite(text: str) -> None:
    with pytest.raises(InvalidMessage):
        transliterate(text)


@pytest.mark.parametrize("act", [transliterate, spell_strictly, septets])
def test_many_strange_characters_are_named_in_part_with_their_places_and_counted(
    act: Callable[[str], object],
) -> None:
    with pytest.raises(InvalidMessage) as caught:
        act("x абвг дежз")
    named = re.findall(r"(U\+\w+) [^,]+? at (\d+)( and 3 more)?", str(caught.value))
    assert named == [
        ("U+0430", "3", ""),
        ("U+0431", "4", ""),
        ("U+0432", "5", ""),
        ("U+0433", "6", ""),
        ("U+0434", "8", " and 3 more"),
    ]


@pytest.mark.parametrize("text", ["cafe\u0301 €5", "one\r\ntwo\r\r\nthree", "\u2126", "", "@\f\r"])
def test_a_strict_text_of_the_alphabet_is_sent_as_without_strictness(text: str) -> None:
    assert spell_strictly(text) == transliterate(text)
    assert not check_text(text).lacking


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("It’s", "lacks U+2019 RIGHT SINGLE QUOTATION MARK at 3. Replace them, or give"),
        ("cafe\u0301 “a”", "lacks U+201C LEFT DOUBLE QUOTATION MARK at 7, U+201D"),
        ("Me\u0302rci", "lacks U+00EA LATIN SMALL LETTER E WITH CIRCUMFLEX at 2. Replace"),
        ("1½", "lacks U+00BD VULGAR FRACTION ONE HALF at 2. Replace"),
        ("a\tb", "lacks U+0009 (a control character) at 2. Replace"),
        ("a\u200bb", "lacks U+200B ZERO WIDTH SPACE at 2. Replace"),
        (
            "😀 It’s",
            "lacks U+1F600 GRINNING FACE at 1, U+2019 RIGHT SINGLE QUOTATION MARK at 5. Replace them. `",
        ),
    ],
)
def test_a_strict_text_is_refused_with_the_names_and_places_of_what_the_alphabet_lacks(
    text: str, says: str
) -> None:
    with pytest.raises(InvalidMessage, match=re.escape(says)):
        spell_strictly(text)


@pytest.mark.parametrize(
    ("text", "respelt", "refused"),
    [
        ("It’s", [(3, "’", "'")], []),
        ("cafe\u0301 e\u0302, x\u0301", [(7, "e\u0302", "e"), (11, "x\u0301", "x")], []),
        ("1½ and ½", [(2, "½", " 1/2"), (8, "½", "1/2")], []),
        ("½²", [(1, "½", "1/2"), (2, "²", " 2")], []),
        ("a\r\n\tb\r\u200b\n", [(4, "\t", " "), (7, "\u200b", "")], []),
        ("\u0301a", [(1, "\u0301", "")], []),
        (
            "x" + "\u0301" * 61 + "½",
            [(1, "x" + "\u0301" * 30, "x"), (32, "\u0301" * 30, ""), (62, "\u0301", ""), (63, "½", "1/2")],
            [],
        ),
        ("’ ❤\ufe0f \x1b", [(1, "’", "'")], [(3, "❤"), (4, "\ufe0f"), (6, "\x1b")]),
        ("x\u0338\u0301", [], [(1, "x\u0338\u0301")]),
        (
            "и\u0306 \u1100\u1161\u11a8 \u09c7\u09be",
            [],
            [(1, "и\u0306"), (4, "\u1100\u1161\u11a8"), (8, "\u09c7\u09be")],
        ),
        ("\ud83d", [], [(1, "\ud83d")]),
    ],
)
def test_a_check_names_each_character_that_is_respelt_or_refused_with_its_place(
    text: str, respelt: list[tuple[int, str, str]], refused: list[tuple[int, str]]
) -> None:
    check = check_text(text)
    assert list(check.respelt) == respelt
    assert list(check.refused) == refused
    assert [each.position for each in check.lacking] == sorted(each[0] for each in [*respelt, *refused])


@pytest.mark.parametrize(
    ("text", "septets", "segments", "room"),
    [("", 0, 1, 160), ("“€”", 4, 1, 160), ("…" * 53 + "a", 160, 1, 160), ("…" * 54, 162, 2, 306)],
)
def test_a_check_counts_what_is_sent(text: str, septets: int, segments: int, room: int) -> None:
    check = check_text(text)
    assert (check.septets, check.segments, check.room) == (septets, segments, room)


def test_a_refused_text_has_no_counts() -> None:
    check = check_text("It’s 😀")
    assert (check.septets, check.segments, check.room, check.sent) == (None, None, None, None)


def test_a_check_does_not_show_its_text() -> None:
    assert repr(check_text("“Привет”")) == "TextCheck(septets=None, segments=None)"
    assert repr(check_text("“Hi”")) == "TextCheck(septets=4, segments=1)"


def test_a_letter_that_unicode_composes_is_one_character() -> None:
    """Also one that is composed of letters, such as a Hangul syllable."""
    whole = [
        char for char in map(chr, range(0x110000)) if unicodedata.decomposition(char) or "가" <= char <= "힣"
    ]
    parts = {char: unicodedata.normalize("NFD", char) for char in whole}
    composed = {char: of for char, of in parts.items() if unicodedata.normalize("NFC", of) == char}
    assert len(composed) > 12_000
    for char, of in composed.items():
        check = check_text(f"a{of}b")
        assert [(each.position, each.character) for each in check.lacking] in ([], [(2, of)]), char
