"""Whatever the gateway says, a call ends in a result that holds what it promises, or in one of our errors."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_winsms.exceptions import GatewayUnavailable, OutcomeUnknown, SmsError
from airflow_provider_winsms.gateways.base import Problem, Response
from airflow_provider_winsms.gateways.responses import Answer, read_answer
from airflow_provider_winsms.messages import Columns, DeliveryState, Page, Receipt, RejectReason
from tests.gateways.calls import OPERATIONS, SEND
from tests.gateways.carriers import GATEWAY, WHERE
from tests.gateways.stub import refusal_document
from tests.gateways.test_refusals import VERDICTS
from tests.gateways.test_unreadable_rows import IDS, reports
from tests.gateways.test_unusable_values import (
    ALL_BUT_ONE,
    BAD,
    FIVE,
    NO_AMOUNTS,
    NO_IDS,
    NO_ROWS,
    NUMBERS,
    ids,
    rows,
)
from tests.gateways.test_wire import EXCHANGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import SearchStrategy

    from airflow_provider_winsms.gateways.base import Call


SAMPLES = [(exchange.call, exchange.answer) for exchange in EXCHANGES]


def keys_of(document: Any) -> set[str]:
    if isinstance(document, list):
        return set().union(*map(keys_of, document))
    return set(document).union(*map(keys_of, document.values())) if isinstance(document, dict) else set()


KEYS = sorted(keys_of([sample for _, sample in SAMPLES]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["27444444444", 2316, 201712251430, "201712251430", "000101010000", 10**400, "1e999", "NaN"]
    )
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=15,
)


@st.composite
def spoilt(draw: st.DrawFn, document: Any) -> Any:
    """A valid document with one part, anywhere in it, replaced, left out or said twice."""
    if isinstance(document, dict) and document and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(document)))
        if not draw(st.integers(0, 5)):
            return {name: value for name, value in document.items() if name != key}
        return {**document, key: draw(spoilt(document[key]))}
    if isinstance(document, list) and document and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(document) - 1))
        if not draw(st.integers(0, 5)):
            return document + document[place:]
        return [*document[:place], draw(spoilt(document[place])), *document[place + 1 :]]
    return draw(DOCUMENTS)


@st.composite
def answered(draw: st.DrawFn) -> tuple[Call[Any], bytes]:
    call, document = draw(st.sampled_from(SAMPLES))
    return call, json.dumps(draw(spoilt(document))).encode()


def each_call() -> SearchStrategy[Call[Any]]:
    return st.sampled_from([operation.call for operation in OPERATIONS.values()])


@settings(max_examples=300)
@given(each_call(), DOCUMENTS)
def test_any_document_is_read_or_refused(call: Call[Any], document: Any) -> None:
    check(call, json.dumps(document).encode())


@settings(max_examples=1000)
@given(answered())
def test_an_answer_spoilt_in_one_place_is_read_or_refused(case: tuple[Call[Any], bytes]) -> None:
    check(*case)


@given(each_call(), st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(call: Call[Any], body: bytes) -> None:
    check(call, body)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"creditBalance": ' + b"9" * 5000 + b"}",
        b'{"creditBalance": 1e999999999}',
        b'{"creditBalance": NaN, "transferSuccessful": 1}',
        b'{"recipients": [{"mobileNumber": "27444444444", "accepted": true, "apiMessageId": 1e999999999}]}',
        b'{"incomingMessages": [], "resultsOffset": 1e999999999, "resultsTotalAvailable": -1}',
        b'{"messageStatuses": [{"apiMessageId": 1, "statusErrorCode": []}]}',
    ],
)
def test_answers_made_to_do_harm_do_none(operation: str, body: bytes) -> None:
    check(OPERATIONS[operation].call, body)


@given(
    each_call(),
    st.integers(100, 999),
    st.binary(max_size=50) | DOCUMENTS.map(lambda d: json.dumps(d).encode()),
)
def test_any_status_is_one_of_our_errors_but_200(call: Call[Any], status: int, body: bytes) -> None:
    if status == 200:
        return
    with pytest.raises(SmsError) as caught:
        read_answer(call, Answer(status, {}, body), WHERE)
    if call.is_repeatable:
        assert type(caught.value) is not OutcomeUnknown
    else:
        assert status == 429 or type(caught.value) is not GatewayUnavailable
        # No document of these is a refusal as the gateway has it.
        assert status == 429 or type(caught.value) is OutcomeUnknown


@given(each_call(), st.text(max_size=40))
def test_any_retry_after_is_a_bounded_wait_or_none(call: Call[Any], value: str) -> None:
    with pytest.raises(GatewayUnavailable) as caught:
        read_answer(call, Answer(429, {"Retry-After": value}, b""), WHERE)
    assert caught.value.retry_after is None or 0 <= caught.value.retry_after <= 86400


def check(call: Call[Any], body: bytes) -> None:
    try:
        result = read_answer(call, Answer(200, {}, body), WHERE)
    except SmsError as error:
        assert type(error) is (GatewayUnavailable if call.is_repeatable else OutcomeUnknown)  # noqa: PT017
        return
    assert_well_formed(result)


def assert_well_formed(value: Any) -> None:
    """Amounts are finite, ids whole, times aware; a receipt has an id, or a reason, or knows nothing."""
    if isinstance(value, (tuple, Columns)):
        assert_somebody_is_known(value)
        for item in value:
            assert_well_formed(item)
    elif isinstance(value, Page):
        assert isinstance(value.offset, int)
        assert isinstance(value.total, int)
        assert_well_formed(value.rows)
    elif is_dataclass(value):
        assert_fields_well_formed(value)
    else:
        assert isinstance(value, bool)


def assert_somebody_is_known(rows: Sequence[Any]) -> None:
    receipts = [row for row in rows if isinstance(row, Receipt)]
    assert not receipts or any(receipt.is_known for receipt in receipts)


def assert_fields_well_formed(row: Any) -> None:
    if isinstance(row, Receipt):
        assert row.accepted is (row.message_id is not None)
        assert row.is_known is (row.accepted is (row.reason is None))
        assert row.is_known or not (row.cost or row.code or row.balance)
    for field in fields(row):
        if field.name != "raw":
            assert_plain(getattr(row, field.name))


def assert_plain(value: Any) -> None:
    assert isinstance(
        value, (bool, int, str, Decimal, pendulum.DateTime, DeliveryState, RejectReason, type(None))
    )
    if isinstance(value, Decimal):
        assert value.is_finite()
    if isinstance(value, pendulum.DateTime):
        assert value.tzinfo is not None
        assert value.in_timezone("UTC") == value


TAKEN = {str(each) for each in ALL_BUT_ONE} | set(NUMBERS)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
).map(json.dumps) | st.sampled_from([*NO_AMOUNTS, *NO_IDS, *NO_ROWS])


@given(
    field=st.sampled_from(
        ["mobileNumber", "accepted", "acceptError", "apiMessageId", "creditCost", "newCreditBalance"]
    ),
    value=VALUES.filter(lambda value: value.strip('"') not in TAKEN),
    is_row_itself=st.booleans(),
)
def test_whatever_stands_in_one_receipt_the_other_four_are_as_they_were(
    field: str, value: str, is_row_itself: bool
) -> None:
    document = rows(value) if is_row_itself else rows(**{field: value})
    body = f'{{"recipients": {document}}}'.encode()
    receipts = read_answer(GATEWAY.send(FIVE), Answer(200, {}, body), WHERE)
    of_bad = receipts[BAD]
    assert [*ids(receipts[:BAD]), None, *ids(receipts[BAD + 1 :])] == ALL_BUT_ONE
    assert [receipt.number for receipt in receipts] == NUMBERS
    assert of_bad.cost is None or 0 <= of_bad.cost < 1000


NOT_OF_ANOTHER = DOCUMENTS.filter(
    lambda value: str(value).strip() not in {"2316", "2318", "2316.0", "2318.0"}
)
GOOD = st.sampled_from(
    [
        {"statusDelivered": True},
        {"statusDelivered": False, "statusErrorCode": "SENT", "statusTime": "201701201522"},
        {"statusDelivered": False, "statusErrorCode": "FAILED", "creditCost": 1.4},
    ]
)


@given(
    goods=st.tuples(GOOD, GOOD, GOOD),
    key=st.sampled_from(
        ["apiMessageId", "statusDelivered", "statusErrorCode", "statusTime", "creditCost", "mobileNumber"]
    ),
    value=NOT_OF_ANOTHER,
    is_row_itself=st.booleans(),
)
def test_whatever_becomes_of_one_status_the_others_are_as_they_were(
    goods: tuple[dict[str, Any], ...], key: str, value: Any, is_row_itself: bool
) -> None:
    rows: list[Any] = [{"apiMessageId": i, **good} for i, good in zip(IDS, goods, strict=True)]
    whole = {each.message_id: each for each in reports(*rows)}
    assert whole.keys() == set(IDS)
    rows[1] = value if is_row_itself else {**rows[1], key: value}
    spoilt = {each.message_id: each for each in reports(*rows)}
    assert {i: spoilt[i] for i in (2316, 2318)} == {i: whole[i] for i in (2316, 2318)}
    assert spoilt.keys() <= set(IDS)
    costs = [each.cost for each in spoilt.values() if each.cost is not None]
    assert all(isinstance(cost, Decimal) and 0 <= cost < 1000 for cost in costs)


values = st.none() | st.booleans() | st.integers(-1, 600) | st.text(max_size=5) | st.just("20170120152253514")


@given(
    st.sampled_from(sorted(VERDICTS)),
    st.dictionaries(st.sampled_from([*refusal_document(400), "authError", "recipients"]), values, max_size=3),
    st.sets(st.sampled_from(sorted(refusal_document(400)))),
)
def test_a_refusal_says_its_own_status_in_words(status: int, changes: dict[str, Any], left: set[str]) -> None:
    document = {key: value for key, value in (refusal_document(status) | changes).items() if key not in left}
    with pytest.raises(SmsError) as caught:
        read_answer(SEND, Answer(status, {}, json.dumps(document).encode()), WHERE)
    is_refusal = type(caught.value) is not OutcomeUnknown
    assert is_refusal is (GATEWAY.problem(Response(document, status)) is Problem.REFUSED)
    if is_refusal:
        assert document["statusCode"] == status
        assert document.get("errorMessage") or document.get("authError")
        assert "recipients" not in document
