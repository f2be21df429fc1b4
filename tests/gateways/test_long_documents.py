"""A long document is decoded row by row, and is what it would be whole."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.gateways.streaming import DocumentError, document_of
from tests.gateways.carriers import GATEWAY
from tests.gateways.stub import Stub, answer
from tests.gateways.test_answers_properties import DOCUMENTS

if TYPE_CHECKING:
    from tests.gateways.carriers import Carrier


def both_ways(body: bytes) -> tuple[str, str]:
    """Return what is made of a document row by row, and what ``json`` makes of it."""
    by_row = outcome(body, 0)
    try:
        return by_row, repr(json.loads(body, parse_float=Decimal))
    except ValueError:
        return by_row, "not whole"


def outcome(body: bytes, longest_at_once: int) -> str:
    try:
        return repr(document_of(body, longest_at_once))
    except DocumentError:
        return "not whole"


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS, st.sampled_from([None, 0, 3]), st.booleans())
def test_any_document_is_what_it_would_be_whole(document: Any, indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode(errors="replace")
    by_row, whole = both_ways(body)
    assert by_row == whole


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*'{}[]",:\\ 0-.', '"a"', '{"a": [', "]}", "1.5", "true", "NaN", "é"])))
def test_what_is_no_document_is_none(tokens: list[str]) -> None:
    by_row, whole = both_ways("".join(tokens).encode())
    assert by_row == whole


@pytest.mark.parametrize(
    "body", [b'{"a": [1], "a": [2, 3], "a": {"b": [4]}}', b"\xef\xbb\xbf[1]", b"\xff", b"12", b""]
)
def test_what_is_odd_is_the_same(body: bytes) -> None:
    by_row, whole = both_ways(body)
    assert by_row == whole


def test_a_long_page_is_read(carrier: Carrier) -> None:
    texts = [
        {"incomingApiMessageId": n, "phoneNumber": "27821234567", "messageText": "é" * 600}
        for n in range(1000)
    ]
    page = {"resultsOffset": 0, "resultsTotalAvailable": 1000, "incomingMessages": texts}
    with Stub(answer(200, page)) as stub:
        (read,) = carrier.execute(stub.base_url, GATEWAY.incoming(0, 1000))
    assert len(read.rows) == 1000


def test_a_row_without_end_is_refused() -> None:
    with pytest.raises(DocumentError, match="a value of more than 1048576 characters"):
        document_of(b'{"a": [[%s 1]]}' % (b"1," * 600_000))
