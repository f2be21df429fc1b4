"""Ids come back as they were, from little room."""

from __future__ import annotations

import random
import zlib
from base64 import b85encode

import pytest

from airflow_provider_winsms.delivery.packed_ids import pack, unpack
from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import LONGEST_ID


def test_neighbours_take_next_to_nothing_and_others_less_than_as_a_list() -> None:
    chance = random.Random(4)  # noqa: S311 - no secret
    assert len(pack(range(4_000_000_000, 4_000_100_000))) < 1000
    assert len(pack(chance.sample(range(10**10), 100_000))) < 400_000


def test_what_was_packed_is_plain_text() -> None:
    assert pack(range(1000)).isascii()


@pytest.mark.parametrize(
    "document",
    [
        *(b"", b"{", b"5", b"null", b'{"a":1}', b"[null]", b"[1.5]", b"[true]", b"[[1]]", b'[""]'),
        b"[" * 10**5,
        b'["%s"]' % (b"x" * (LONGEST_ID + 1)),
        b'["\\u00e9"]',
    ],
)
@pytest.mark.parametrize("kind", ["t", "n"])
def test_what_is_no_list_of_ids_is_refused_and_not_shown(document: bytes, kind: str) -> None:
    with pytest.raises(InvalidMessage, match=r"ids|id has") as caught:
        unpack(kind + b85encode(zlib.compress(document)).decode())
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize("packed", ["", "n", "t", "nonsense", "t\x00", "t\u00e9"])
def test_a_text_that_was_not_packed_is_refused(packed: str) -> None:
    with pytest.raises(InvalidMessage, match="cannot be read"):
        unpack(packed)
