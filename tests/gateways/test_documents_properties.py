"""A document read in parts, wherever it is cut, or row by row is what it would be whole."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import GatewayUnavailable
from airflow_provider_winsms.gateways.responses import Answer, read_answer, read_parts
from airflow_provider_winsms.gateways.streaming import DocumentError, document_of
from tests.gateways.carriers import WHERE
from tests.gateways.test_answers_properties import DOCUMENTS, spoilt
from tests.gateways.test_streams import CALL, NAME, assert_silent, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def pieces(body: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    places = sorted({0, len(body), *(place % (len(body) + 1) for place in cuts)})
    return (body[start:end] for start, end in pairwise(places))


def raw_rows(read: Callable[[], Iterable[Any]]) -> list[Any] | None:
    try:
        return [entry.raw for entry in read()]
    except GatewayUnavailable as error:
        assert_silent(str(error))
        return None


def in_parts_and_whole(
    body: bytes, cuts: Iterable[int], least: int
) -> tuple[list[Any] | None, list[Any] | None]:
    """Return what is read in parts, and what is read whole; ``None`` for what cannot be."""
    in_parts = read_parts(CALL, NAME, pieces(body, cuts), WHERE, min_read_bytes=least)
    parts = raw_rows(lambda: [entry for part in in_parts for entry in part])
    return parts, raw_rows(lambda: read_answer(CALL, Answer(200, {}, body), WHERE))


CUTS = st.lists(st.integers(0, 10_000), max_size=20)
LEAST = st.integers(1, 50)


@st.composite
def spoilt_lists(draw: st.DrawFn) -> bytes:
    rows = draw(st.lists(st.builds(row, st.integers(0, 10**9), more=DOCUMENTS), max_size=4))
    beside = draw(st.dictionaries(st.text(max_size=3), DOCUMENTS, max_size=2))
    behind = draw(st.dictionaries(st.text(min_size=4, max_size=6), DOCUMENTS, max_size=2))
    document = draw(spoilt({**beside, NAME: rows, **behind}))
    indent, ascii_only = draw(st.sampled_from([None, 0, 3])), draw(st.booleans())
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    return text.encode(errors="replace")


def test_a_document_of_every_kind_of_value_is_the_same() -> None:
    numbers: list[Any] = [0, -12, 1.5e-7, 10**20, float("inf")]
    odd = [*numbers, True, None, '\\"{}[],é😀\ud800', [[], {}], {"}": "]"}]
    beside = {f"a{place}": value for place, value in enumerate(odd)}
    document = {**beside, NAME: [{}, {"messageText": "a", **beside}], "": -0.0, **beside, "z": 12}
    for body in (json.dumps(document), json.dumps(document, indent=1, separators=(" ,", " : "))):
        for place in range(len(body)):
            parts, whole = in_parts_and_whole(body.encode(), [place], 1)
            assert repr(parts) == repr(whole)
            assert whole


@settings(max_examples=150, deadline=None)
@given(spoilt_lists(), CUTS, LEAST)
def test_what_is_read_in_parts_is_what_is_read_whole(body: bytes, cuts: list[int], least: int) -> None:
    parts, whole = in_parts_and_whole(body, cuts, least)
    assert repr(parts) == repr(whole)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*'{}[]",:\\ 0-.eE', f'"{NAME}"', "1.5e3", "true", "NaN", "é"])), CUTS, LEAST)
def test_what_cannot_be_read_whole_is_not_read_in_parts(
    tokens: list[str], cuts: list[int], least: int
) -> None:
    body = f'{{"a": {{}}, "{NAME}": [{"".join(tokens)}]}}'.encode()
    parts, whole = in_parts_and_whole(body, cuts, least)
    assert parts is None or parts == whole


def by_row_and_whole(body: bytes) -> tuple[str, str]:
    """Return what is made of a document row by row, and what ``json`` makes of it."""
    try:
        by_row = repr(document_of(body, longest_at_once=0))
    except DocumentError:
        by_row = "not whole"
    try:
        return by_row, repr(json.loads(body, parse_float=Decimal))
    except ValueError:
        return by_row, "not whole"


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS, st.sampled_from([None, 0, 3]), st.booleans())
def test_any_document_is_what_it_would_be_whole(document: Any, indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode(errors="replace")
    by_row, whole = by_row_and_whole(body)
    assert by_row == whole


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*'{}[]",:\\ 0-.', '"a"', '{"a": [', "]}", "1.5", "true", "NaN", "é"])))
def test_what_is_no_document_is_none(tokens: list[str]) -> None:
    by_row, whole = by_row_and_whole("".join(tokens).encode())
    assert by_row == whole


@pytest.mark.parametrize(
    "body", [b'{"a": [1], "a": [2, 3], "a": {"b": [4]}}', b"\xef\xbb\xbf[1]", b"\xff", b"12", b""]
)
def test_what_is_odd_is_the_same(body: bytes) -> None:
    by_row, whole = by_row_and_whole(body)
    assert by_row == whole
