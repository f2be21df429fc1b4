"""A long document is decoded row by row, and is what it would be whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_winsms.gateways.streaming import DocumentError, document_of
from tests.gateways.carriers import GATEWAY
from tests.gateways.stub import Stub, answer

if TYPE_CHECKING:
    from tests.gateways.carriers import Carrier


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
