"""Every operation x every way to fail x tasks and event loops, over real sockets."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    GatewayUnavailable,
    InvalidMessage,
    OutcomeUnknown,
    SmsError,
)
from airflow_provider_winsms.gateways.transport import ATTEMPTS, LONGEST_WAIT
from airflow_provider_winsms.get_provider_info import GATEWAYS
from airflow_provider_winsms.sandbox import Sandbox
from tests.gateways.calls import BALANCE, ONCE_ONLY, OPERATIONS, SEND, SENT, TO_THREE
from tests.gateways.carriers import GATEWAY, KEY
from tests.gateways.contract import EACH_ONCE_ONLY, EACH_OPERATION, EACH_REPEATABLE, UNDER_TEST
from tests.gateways.stub import NO_ANSWER, RESET, Reply, Stub, answer, cut, cut_by_reset

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Call
    from tests.gateways.carriers import Carrier

HTML = b"<html><body><h1>Down for maintenance</h1></body></html>"
WHOLE = answer(document={"creditBalance": 1, "statusCode": 200})

REFUSED: dict[int, type[SmsError]] = {
    300: ConfigurationError,
    301: ConfigurationError,
    302: ConfigurationError,
    304: ConfigurationError,
    307: ConfigurationError,
    308: ConfigurationError,
    400: InvalidMessage,
    401: ConfigurationError,
    403: ConfigurationError,
    404: ConfigurationError,
    405: ConfigurationError,
    413: InvalidMessage,
    415: InvalidMessage,
    422: InvalidMessage,
}
"""Statuses that say of what may be repeated that it was not carried out, and never will be as it stands."""

LOST: dict[str, Reply] = {
    **{
        f"HTTP {status}": answer(
            status, {"statusCode": status, "errorMessage": "An unknown error has occurred"}
        )
        for status in (201, 204, 303, 408, 500, 502, 503, 504)
    },
    "a page of HTML as success": answer(200, body=HTML, headers={"Content-Type": "text/html"}),
    "a page of HTML as failure": answer(502, body=HTML, headers={"Content-Type": "text/html"}),
    "an empty success": answer(200, body=b""),
    "another document": answer(200, {"fish": True}),
    "not even a document": answer(200, [[]]),
    "half a document": answer(200, body=b'{"creditBalance": 36', headers={"Connection": "close"}),
    "no answer": NO_ANSWER,
    "a reset instead of an answer": RESET,
    "half a status line": cut(WHOLE, 10),
    "half a head": cut(WHOLE, 40),
    "a head without its body": cut(WHOLE, WHOLE.wire.index(b"\r\n\r\n") + 4),
    "half a body": cut(WHOLE, len(WHOLE.wire) - 10),
    "a reset within the body": cut_by_reset(WHOLE, len(WHOLE.wire) - 10),
    "something that is not HTTP": Reply(b"220 mail.example ESMTP\r\n", closes=True),
    "a chunk that ends early": Reply(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{", closes=True
    ),
    "a chunk of no length": Reply(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", closes=True
    ),
    "two lengths": Reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}", closes=True),
    "bytes that are not gzip": answer(200, body=b"{}", headers={"Content-Encoding": "gzip"}),
    "bytes that are not text": answer(200, body=b'{"a": "\xff\xfe"}'),
}
"""Answers that may come after the request was carried out, and do not say whether it was."""

each_operation = pytest.mark.parametrize(("name", "operation"), EACH_OPERATION)


def failure_of(carrier: Carrier, stub: Stub, call: Call[Any], **options: Any) -> SmsError:
    (error,) = carrier.outcomes(stub.base_url, call, **options)
    assert isinstance(error, SmsError)
    return error


def test_each_gateway_of_the_provider_is_tested() -> None:
    assert set(UNDER_TEST) >= set(GATEWAYS)


def test_there_are_eleven_operations_and_the_ones_that_cost_money_are_not_repeated() -> None:
    assert len(OPERATIONS) == 11
    assert {name for name, (call, _) in OPERATIONS.items() if not call.is_repeatable} == ONCE_ONLY


@each_operation
def test_a_refusal_names_the_callers_next_move_and_is_not_repeated(
    carrier: Carrier, name: str, operation: str
) -> None:
    under_test = UNDER_TEST[name]
    call = under_test.operations[operation].call
    with Stub(*map(under_test.refusal, REFUSED)) as stub:
        errors = carrier.outcomes(stub.base_url, *[call] * len(REFUSED), gateway=under_test.gateway)
    for error, (status, kind) in zip(errors, REFUSED.items(), strict=True):
        is_proof = call.is_repeatable or status in under_test.documented
        assert type(error) is (kind if is_proof else OutcomeUnknown), status
        assert f"{operation}: " in str(error)
        assert f"HTTP {status}" in str(error)
    assert len(stub.requests) == len(REFUSED)
    assert carrier.time.waits == []


@each_operation
def test_too_many_requests_are_made_fewer_whatever_the_operation(
    carrier: Carrier, name: str, operation: str
) -> None:
    call, success = UNDER_TEST[name].operations[operation]
    with Stub(answer(429, headers={"Retry-After": "7"}), answer(200, success)) as stub:
        carrier.execute(stub.base_url, call, gateway=UNDER_TEST[name].gateway)
    assert len(stub.requests) == 2
    assert carrier.time.waits == [7.0]


@pytest.mark.parametrize(("name", "operation"), EACH_ONCE_ONLY)
def test_what_costs_money_is_submitted_once_when_its_answer_is_lost(
    carrier: Carrier, name: str, operation: str
) -> None:
    submitted: list[int] = []
    with Stub(*LOST.values()) as stub:
        errors = carrier.outcomes(
            stub.base_url,
            *[UNDER_TEST[name].operations[operation].call] * len(LOST),
            between=lambda: submitted.append(len(stub.requests)),
            gateway=UNDER_TEST[name].gateway,
        )
    assert {what: type(error) for what, error in zip(LOST, errors, strict=True)} == dict.fromkeys(
        LOST, OutcomeUnknown
    )
    assert all("not repeated" in str(error) for error in errors)
    assert submitted == list(range(1, len(LOST) + 1))
    assert carrier.time.waits == []


@pytest.mark.parametrize(("name", "operation"), EACH_REPEATABLE)
def test_what_costs_nothing_is_repeated_when_its_answer_is_lost(
    carrier: Carrier, name: str, operation: str
) -> None:
    call, success = UNDER_TEST[name].operations[operation]
    script = [reply for lost in LOST.values() for reply in (lost, answer(200, success))]
    with Stub(*script) as stub:
        carrier.execute(stub.base_url, *[call] * len(LOST), gateway=UNDER_TEST[name].gateway)
    assert len(stub.requests) == len(script)


def test_a_repeatable_call_ends_as_unavailable_after_the_last_attempt(carrier: Carrier) -> None:
    with Stub(*[reply for reply in LOST.values() for _ in range(ATTEMPTS)]) as stub:
        errors = carrier.outcomes(stub.base_url, *[BALANCE] * len(LOST))
    assert {what: type(error) for what, error in zip(LOST, errors, strict=True)} == dict.fromkeys(
        LOST, GatewayUnavailable
    )
    assert not any(error.is_permanent for error in errors)
    assert len(stub.requests) == ATTEMPTS * len(LOST)


@each_operation
def test_a_success_is_a_success_at_once(carrier: Carrier, name: str, operation: str) -> None:
    call, success = UNDER_TEST[name].operations[operation]
    with Stub(answer(200, success)) as stub:
        carrier.execute(stub.base_url, call, gateway=UNDER_TEST[name].gateway)
    assert len(stub.requests) == 1
    assert carrier.time.waits == []


@pytest.mark.parametrize(
    ("given", "waited"),
    [
        ("0", None),
        ("1", None),
        ("2.5", None),
        ("59", 59.0),
        ("60", 60.0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_the_gateway_asks_for_is_kept(
    carrier: Carrier, status: int, given: str, waited: float | None
) -> None:
    busy = answer(status, {}, headers={"Retry-After": given})
    with Stub(busy, answer(200, {"creditBalance": 1})) as stub:
        carrier.execute(stub.base_url, BALANCE)
    (wait,) = carrier.time.waits
    assert wait == waited if waited else 0 < wait <= 1


@pytest.mark.parametrize("given", ["61", "86400", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_longer_wait_is_left_to_the_caller_and_is_a_number_of_seconds(carrier: Carrier, given: str) -> None:
    with Stub(answer(503, {}, headers={"Retry-After": given})) as stub:
        error = failure_of(carrier, stub, BALANCE)
    assert isinstance(error, GatewayUnavailable)
    assert error.retry_after is not None
    assert LONGEST_WAIT < error.retry_after <= 86400
    assert len(stub.requests) == 1


def test_waits_grow_and_stay_within_their_bounds(carrier: Carrier) -> None:
    with Stub(answer(503, {})) as stub:
        carrier.outcomes(stub.base_url, *[BALANCE] * 5, attempts=9)
    bounds = [min(2.0**n, LONGEST_WAIT) for n in range(8)] * 5
    assert len(carrier.time.waits) == len(bounds)
    assert all(0 <= wait <= bound for wait, bound in zip(carrier.time.waits, bounds, strict=True))
    assert len(set(carrier.time.waits)) > 20


def test_one_attempt_is_one_request(carrier: Carrier) -> None:
    with Stub(answer(503, {})) as stub:
        failure_of(carrier, stub, BALANCE, attempts=1)
    assert len(stub.requests) == 1
    assert carrier.time.waits == []


@pytest.mark.parametrize("status", [*REFUSED, 429, 500])
def test_errors_cross_processes_whole(carrier: Carrier, status: int) -> None:
    busy = answer(status, {"errorMessage": "No."}, headers={"Retry-After": "61"})
    with Stub(busy) as stub:
        error = failure_of(carrier, stub, SEND)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - made in this test
        assert type(twin) is type(error)
        assert (str(twin), vars(twin)) == (str(error), vars(error))


@pytest.mark.parametrize(
    ("fault", "kind", "texts"),
    [
        ("lost-after-acceptance", OutcomeUnknown, 1),
        ("500-after-acceptance", OutcomeUnknown, 1),
        ("502-after-acceptance", OutcomeUnknown, 1),
        ("503-after-acceptance", OutcomeUnknown, 1),
        ("truncated-json", OutcomeUnknown, 1),
        ("html-answer", OutcomeUnknown, 1),
        *((f"{status}-after-acceptance", OutcomeUnknown, 1) for status in (302, 400, 401, 403, 404, 422)),
        ("missing-row", OutcomeUnknown, 1),
        ("500-before-acceptance", OutcomeUnknown, 0),
        ("reset-before-acceptance", OutcomeUnknown, 0),
    ],
)
def test_whether_it_was_carried_out_or_not_a_send_without_an_answer_is_unknown(
    carrier: Carrier, fault: str, kind: type[SmsError], texts: int
) -> None:
    with Sandbox(api_key=KEY, speed=0) as box:
        box.add_fault(fault)
        with pytest.raises(kind):
            carrier.execute(box.base_url, SEND)
        assert len(box.requests()) == 1
        assert len(box.outbox()) == texts


@pytest.mark.parametrize(
    ("fault", "known"),
    [("duplicated-row", [True, True, True]), ("missing-row", [True, False, True])],
)
def test_a_row_too_many_or_too_few_leaves_the_receipts_of_the_others(
    carrier: Carrier, fault: str, known: list[bool]
) -> None:
    with Sandbox(api_key=KEY, speed=0) as box:
        box.add_fault(fault)
        (receipts,) = carrier.execute(box.base_url, GATEWAY.send(replace(TO_THREE, send_at=None)))
        texts = {text["mobileNumber"]: text["apiMessageId"] for text in box.outbox()}
        assert len(box.requests()) == 1
    assert [receipt.is_known for receipt in receipts] == known
    assert all(texts.get(receipt.number) == receipt.message_id for receipt in receipts if receipt.is_known)


def test_a_send_that_was_asked_to_wait_goes_out_once(carrier: Carrier) -> None:
    with Sandbox(api_key=KEY, speed=0) as box:
        box.add_fault("429-too-many-requests", times=3, retry_after=5)
        carrier.execute(box.base_url, SEND)
        assert carrier.time.waits == [5.0] * 3
        assert len(box.outbox()) == 1


def test_a_wrong_key_is_told_from_a_wrong_path(carrier: Carrier) -> None:
    with Sandbox(api_key="another", speed=0) as box:
        with pytest.raises(ConfigurationError, match="Check the API key"):
            carrier.execute(box.base_url, SEND)
        with pytest.raises(ConfigurationError, match="Check the base URL"):
            carrier.execute(box.base_url.upper().replace("HTTP:", "http:"), SEND)
        assert box.outbox() == []


def test_the_stub_and_the_sandbox_agree_on_what_a_success_is(carrier: Carrier) -> None:
    with Stub(answer(200, SENT)) as stub, Sandbox(api_key=KEY, speed=0) as box:
        ((from_stub,),) = carrier.execute(stub.base_url, SEND)
        ((from_box,),) = carrier.execute(box.base_url, SEND)
    assert from_stub.accepted
    assert from_box.accepted
