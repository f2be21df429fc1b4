"""Which answers prove that a request was not carried out: status x body x operation, over real sockets."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import ConfigurationError, OutcomeUnknown
from tests.gateways.calls import BALANCE, ONCE_ONLY, OPERATIONS, SEND, SENT
from tests.gateways.stub import Reply, Stub, answer, cut, refusal, refusal_document
from tests.gateways.winsms_under_test import UNDER_TEST

if TYPE_CHECKING:
    from tests.gateways.carriers import Carrier

VERDICTS = UNDER_TEST.documented
"""What a documented refusal means."""

UNDOCUMENTED = [300, 301, 302, 304, 305, 307, 308, 399, 402, 403, 406, 407, 409, 410, 411, 418, 426, 431, 451]
PAGE = b"<html><body><h1>Sign in to the network</h1></body></html>"


def changed(status: int, **changes: Any) -> Reply:
    return answer(status, {**refusal_document(status), **changes})


def without(status: int, key: str) -> Reply:
    return answer(status, {name: value for name, value in refusal_document(status).items() if name != key})


def chunked(status: int, *, end: bytes) -> bytes:
    body = json.dumps(refusal_document(status)).encode()
    head = f"HTTP/1.1 {status} Said\r\nTransfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode()
    return head + body + end


def no_proof(status: int) -> dict[str, Reply]:
    """Return answers with a documented status that somebody else than the gateway may have given."""
    envelope = refusal(status)
    document = refusal_document(status)
    return {
        "a page": answer(status, body=PAGE, headers={"Content-Type": "text/html"}),
        "a page that says it is JSON": answer(status, body=PAGE),
        "nothing": answer(status, body=b""),
        "an empty object": answer(status, {}),
        "a list": answer(status, [document]),
        "a text": answer(status, body=json.dumps(json.dumps(document)).encode()),
        "null": answer(status, body=b"null"),
        "a problem of RFC 9457": answer(status, {"type": "about:blank", "title": "No", "status": status}),
        "an error of a proxy": answer(status, {"error": "no", "message": "No route"}),
        "a detail": answer(status, {"detail": "Not Found"}),
        "only words": answer(status, {"errorMessage": "No."}),
        **{f"no {key}": without(status, key) for key in document},
        "another status": changed(status, statusCode=status + 1),
        "the status of a success": changed(status, statusCode=200),
        "a status in words": changed(status, statusCode=str(status)),
        "a status that is true": changed(status, statusCode=True),
        "a broken status": changed(status, statusCode=float(status)),
        "no words": changed(status, errorMessage=""),
        "blank words": changed(status, errorMessage=" "),
        "words that are none": changed(status, errorMessage={"no": "no"}),
        "null for words": changed(status, errorMessage=None),
        "a short time": changed(status, timeStamp="201701201522"),
        "a time in another form": changed(status, timeStamp="2017-01-20T15:22:53Z"),
        "a time with other digits": changed(status, timeStamp="٢٠١٧٠١٢٠١٥٢٢٥٣٥١٤"),
        "a time that is a number": changed(status, timeStamp=20170120152253514),
        "a version that is none": changed(status, version=None),
        "receipts beside it": changed(status, **SENT),
        "a transfer beside it": changed(status, transferSuccessful=True),
        "a success": answer(status, SENT),
        "half of it": cut(envelope, len(envelope.wire) - 10),
        "half of it in a chunk": Reply(chunked(status, end=b"")[:-10], closes=True),
        "no last chunk": Reply(chunked(status, end=b"\r\n"), closes=True),
        "packed and it is not": answer(
            status, body=json.dumps(document).encode(), headers={"Content-Encoding": "gzip"}
        ),
        "too long": changed(status, errorMessage="x" * 1_100_000),
        "followed by more": answer(status, body=json.dumps(document).encode() * 2),
        "bytes that are no text": answer(status, body=b"\xff\xfe\x00"),
    }


each_costly = pytest.mark.parametrize("operation", sorted(ONCE_ONLY))


@each_costly
@pytest.mark.parametrize("status", VERDICTS)
def test_an_answer_that_is_not_the_documented_refusal_leaves_it_unknown(
    carrier: Carrier, operation: str, status: int
) -> None:
    replies, call = no_proof(status), OPERATIONS[operation].call
    submitted: list[int] = []
    with Stub(*replies.values()) as stub:
        outcomes = carrier.outcomes(
            stub.base_url, *[call] * len(replies), between=lambda: submitted.append(len(stub.requests))
        )
    verdicts = {name: type(outcome) for name, outcome in zip(replies, outcomes, strict=True)}
    assert verdicts == dict.fromkeys(replies, OutcomeUnknown)
    assert submitted == list(range(1, len(replies) + 1))


@each_costly
@pytest.mark.parametrize("status", VERDICTS)
def test_a_documented_refusal_is_one_however_it_comes(carrier: Carrier, operation: str, status: int) -> None:
    document = refusal_document(status)
    packed = gzip.compress(json.dumps(document).encode())
    replies = [
        refusal(status),
        answer(status, dict(reversed(document.items())), headers={"Content-Type": "text/html"}),
        answer(status, {**document, "authResult": True, "validationResult": False, "validationError": "No."}),
        answer(status, body=packed, headers={"Content-Encoding": "gzip"}),
        Reply(chunked(status, end=b"\r\n0\r\n\r\n")),
    ]
    with Stub(*replies) as stub:
        outcomes = carrier.outcomes(stub.base_url, *[OPERATIONS[operation].call] * len(replies))
    assert [type(outcome) for outcome in outcomes] == [VERDICTS[status]] * len(replies)
    assert len(stub.requests) == len(replies)


@each_costly
def test_a_status_that_is_not_documented_is_no_proof_whatever_comes_with_it(
    carrier: Carrier, operation: str
) -> None:
    replies = [reply for status in UNDOCUMENTED for reply in (refusal(status), answer(status, body=PAGE))]
    with Stub(*replies) as stub:
        outcomes = carrier.outcomes(stub.base_url, *[OPERATIONS[operation].call] * len(replies))
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown] * len(replies)
    assert len(stub.requests) == len(replies)


def test_the_oldest_generation_refuses_a_key_in_other_words(carrier: Carrier) -> None:
    document = {key: value for key, value in refusal_document(401).items() if key != "errorMessage"}
    wrong_key = {**document, "authResult": False, "authError": "The key is not known."}
    replies = [answer(401, wrong_key), answer(422, {**wrong_key, "statusCode": 422})]
    with Stub(*replies) as stub:
        outcomes = carrier.outcomes(stub.base_url, SEND, SEND)
    assert [type(outcome) for outcome in outcomes] == [ConfigurationError, OutcomeUnknown]


def test_an_unknown_outcome_names_the_status_and_what_it_lacks(carrier: Carrier) -> None:
    with Stub(answer(404, body=PAGE)) as stub:
        (error,) = carrier.outcomes(stub.base_url, SEND)
    assert "HTTP 404, which is no refusal that WinSMS documents" in str(error)
    assert "It may have been carried out; it is not repeated." in str(error)


@pytest.mark.parametrize(("status", "hint"), [(401, "API key"), (403, "API key"), (302, "base URL")])
def test_a_page_for_what_may_be_repeated_still_names_the_cause(
    carrier: Carrier, status: int, hint: str
) -> None:
    with Stub(answer(status, body=PAGE)) as stub:
        (error,) = carrier.outcomes(stub.base_url, BALANCE)
    assert type(error) is ConfigurationError
    assert f"Check the {hint}" in str(error)
    assert len(stub.requests) == 1
