"""Properties of spelling and of counting, for every text."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.gsm7 import segments, septets, transliterate
from tests.support.gsm7_standard import ALPHABET, BASIC, EXTENDED, fewest_parts, widths

gsm_texts = st.text(st.sampled_from(BASIC) | st.sampled_from(EXTENDED), max_size=400)
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
