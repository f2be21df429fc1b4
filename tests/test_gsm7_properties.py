"""Properties of spelling and of counting, for every text."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gsm7 import (
    TextCheck,
    check_text,
    composed,
    is_carried,
    segments,
    septets,
    spell_strictly,
    transliterate,
)
from tests.support.gsm7_standard import ALPHABET, BASIC, EXTENDED, fewest_parts, widths

if TYPE_CHECKING:
    from collections.abc import Callable

gsm_texts = st.text(st.sampled_from(BASIC) | st.sampled_from(EXTENDED), max_size=400)
TRICKY = {
    "line ends": "a\r\n\u200b",
    "mixed numbers": "1½²①\u0301\u200b",
    "marks": "ex=\u0300\u0301\u0302\u0327\u0338\u0344é",
    "letters that join": "\u1100\u1161\u11a8가\u09c7\u09be\u0dd9\u0ddc\u0dca\u0dcf\u0f71\u0f72\u0f73и\u0306",
    "spellings and refusals": "a“’…ﬁＡ\t€~😀\ufe0f\u200d\ud83d\ude00°\x1b",
}
texts = st.text() | st.one_of(*map(st.text, TRICKY.values())) | st.text("".join(TRICKY.values()))
plans = st.lists(st.tuples(st.sampled_from("a€"), st.integers(0, 160)), max_size=12)


@given(gsm_texts)
def test_septets_are_those_of_the_standard(text: str) -> None:
    assert septets(text) == sum(widths(text))


@given(plans)
def test_no_way_to_cut_a_text_makes_fewer_parts(plan: list[tuple[str, int]]) -> None:
    text = "".join(char * count for char, count in plan)
    assert segments(text) == fewest_parts(text)


@given(gsm_texts, gsm_texts)
def test_a_longer_text_never_costs_less(text: str, more: str) -> None:
    assert segments(text) <= segments(text + more) <= segments(text) + segments(more) + 1


@given(gsm_texts)
def test_a_text_in_the_alphabet_stays_as_it_is_but_for_line_ends(text: str) -> None:
    assert transliterate(text).replace("\r", "") == text.replace("\r", "")


@given(st.text() | st.text(st.sampled_from("\r\n\u200b\u00bd1²≠e\u0301\u0338ﬁ…“")))
def test_spelling_ends_in_the_alphabet_and_once_is_enough_or_it_is_refused(text: str) -> None:
    try:
        spelt = transliterate(text)
    except InvalidMessage:
        return
    assert set(spelt) <= ALPHABET
    assert transliterate(spelt) == spelt


@given(st.text())
def test_what_is_refused_is_named_by_code_point_and_nothing_else_is_shown(text: str) -> None:
    written = f"Your code is qzx. {text}"
    try:
        transliterate(written)
    except InvalidMessage as error:
        said = str(error)
        assert "qzx" not in said
        strange = {
            f"U+{ord(char):04X}" for char in unicodedata.normalize("NFC", written) if char not in ALPHABET
        }
        assert strange & set(said.replace(",", " ").split())


def is_refused(act: Callable[[str], object], text: str) -> bool:
    try:
        act(text)
    except InvalidMessage:
        return True
    return False


def joined(text: str, check: TextCheck) -> str:
    """Return a text whose respelt characters are replaced where the check says that they are."""
    parts, end = [], 0
    for position, character, spelling in check.respelt:
        start = position - 1
        parts += [composed(text[end:start]), spelling]
        end = start + len(character)
    return re.sub(r"\r+\n", "\n", "".join([*parts, composed(text[end:])]))


@given(texts)
@example("e" + "\u0301\u0327" * 31)
@example("\u0301" * 61 + "½")
@example("1\u0301½")
@example("a\r\n")
def test_a_check_agrees_with_transliteration(text: str) -> None:
    check = check_text(text)
    assert bool(check.refused) == is_refused(transliterate, text)
    if check.refused:
        assert (check.sent, check.septets, check.segments) == (None, None, None)
    else:
        assert check.sent == joined(text, check) == transliterate(text)
        assert (check.septets, check.segments) == (septets(check.sent), segments(check.sent))


@given(texts)
def test_a_strict_text_is_refused_if_a_check_finds_any_other_spelling(text: str) -> None:
    lacking = check_text(text).lacking
    assert bool(lacking) == is_refused(spell_strictly, text) == (not is_carried(text))
    if not lacking:
        assert spell_strictly(text) == transliterate(text)


@given(texts)
def test_a_check_finds_characters_of_the_text_in_its_order(text: str) -> None:
    end = 0
    for each in check_text(text).lacking:
        assert each.position > end
        end = each.position - 1 + len(each.character)
        assert text[each.position - 1 : end] == each.character


@given(texts)
def test_a_character_that_is_refused_in_a_text_is_refused_alone(text: str) -> None:
    check = check_text(text)
    assert all(is_refused(transliterate, each.character) for each in check.refused)
    assert not any(is_refused(transliterate, each.character) for each in check.respelt)
