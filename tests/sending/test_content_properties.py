"""A strict text is taken as it stands, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import InvalidMessage
from tests.sending.test_content import BOTH, strictly


@given(st.text(min_size=1, max_size=60) | st.text("a’ê😀\x07\ud83d\u0301\r\n", min_size=1, max_size=60))
def test_a_strict_text_is_refused_if_and_only_if_no_alphabet_of_the_gateway_has_its_characters(
    text: str,
) -> None:
    carrier = next((alphabet for alphabet in BOTH if alphabet.carries(f"a{text}")), None)
    if carrier is None:
        with pytest.raises(InvalidMessage, match="characters that cannot be sent"):
            strictly(f"a{text}")
    else:
        assert strictly(f"a{text}").text == carrier.spell(f"a{text}")
