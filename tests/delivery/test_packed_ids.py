"""Ids come back as they were, from little room."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_winsms.delivery.packed_ids import pack, unpack
from airflow_provider_winsms.messages import id_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.messages import MessageId


@given(st.lists(st.integers(0, 10**19)) | st.lists(st.text()))
def test_what_was_packed_comes_back_each_once_in_order(ids: Sequence[MessageId]) -> None:
    assert unpack(pack(ids)) == sorted(set(ids), key=id_order)


def test_neighbours_take_next_to_nothing_and_others_less_than_as_a_list() -> None:
    chance = random.Random(4)  # noqa: S311 - no secret
    assert len(pack(range(4_000_000_000, 4_000_100_000))) < 1000
    assert len(pack(chance.sample(range(10**10), 100_000))) < 400_000


def test_what_was_packed_is_plain_text() -> None:
    assert pack(range(1000)).isascii()
