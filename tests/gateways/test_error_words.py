"""What an error shows of the gateway's words: those that it documents, as any others may quote anything."""

from __future__ import annotations

import json

import pytest

from airflow_provider_winsms.exceptions import SmsError
from airflow_provider_winsms.gateways.responses import Answer, read_answer
from tests.gateways.calls import ANN, OPERATIONS, TEXT
from tests.gateways.carriers import KEY, WHERE, Carrier
from tests.gateways.stub import Stub, refusal, refusal_document

NUMBERS = [
    ANN,
    f"+{ANN}",
    "27 44 444 4444",
    "27-444-444-444",
    "(027) 444.444",
    "2744/4444",
    "2 7 4 4 4 4 4 4",
]
OTHERS = [TEXT, TEXT.upper(), "Happy", KEY, KEY.lower(), " ".join(KEY), "\u0662\u0667\u0664", "4711"]


@pytest.mark.parametrize("status", [401, 404, 422, 500])
@pytest.mark.parametrize("quoted", [*NUMBERS, *OTHERS])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_error_shows_what_the_gateway_quotes(operation: str, quoted: str, status: int) -> None:
    for words in (quoted, f"{quoted} is unknown", f"The value {quoted!r} is not valid"):
        body = json.dumps(refusal_document(status, words)).encode()
        with pytest.raises(SmsError) as caught:
            read_answer(OPERATIONS[operation].call, Answer(status, {}, body), WHERE)
        assert f"HTTP {status} (its reason is not shown, as it may quote" in str(caught.value)
        assert quoted not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "known", "behind"),
    [
        (401, "The 'AUTHORIZATION' header was not found", ". Set it for 27 44 444 4444."),
        (422, "There is an error in the 'recipients' array", f": 'Your code is 4711' to {ANN}"),
        (422, "Invalid JSON payload received", f": 'Your code is 4711' to {ANN}"),
        (422, "Request POST data is", f": 'Your code is 4711' to {ANN}"),
    ],
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_words_that_the_gateway_documents_are_shown_and_nothing_behind_them(
    carrier: Carrier, operation: str, status: int, known: str, behind: str
) -> None:
    with Stub(refusal(status, known + behind)) as stub:
        (error,) = carrier.outcomes(stub.base_url, OPERATIONS[operation].call)
    assert f"({known})" in str(error)
    assert not any(hidden in str(error) for hidden in ("27 44", "4711", ANN))
