"""The wire in one table: what is asked, what is answered, what it means; in both documented generations."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import pendulum
import pytest

from airflow_provider_winsms.exceptions import GatewayUnavailable, InvalidMessage, OutcomeUnknown, SmsError
from airflow_provider_winsms.messages import (
    Balance,
    Cancellation,
    DeliveryReport,
    DeliveryState,
    IncomingMessage,
    Message,
    OptOut,
    Page,
    Receipt,
    Recipient,
    RejectReason,
    ScheduledMessage,
    SubAccount,
)
from tests.gateways.calls import (
    ANN,
    BEN,
    CAT,
    CHRISTMAS,
    OPERATIONS,
    OTHER,
    SAST,
    TEXT,
    TO_ONE,
    TO_THREE,
    accepted,
)
from tests.gateways.carriers import GATEWAY
from tests.gateways.stub import Stub, answer

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Call
    from tests.gateways.carriers import Carrier

ENVELOPE = {"timeStamp": "20170120152253514", "version": "1.0", "statusCode": 200}


class Exchange(NamedTuple):
    label: str
    call: Call[Any]
    answer: Any
    method: str
    target: str
    body: Any
    result: Any


def at(*when: int) -> pendulum.DateTime:
    year, month, day, hour, minute, second = (*when, 0, 0, 0)[:6]
    return pendulum.datetime(year, month, day, hour, minute, second, tz=SAST)


def receipt(number: str, message_id: int | None = 2316, **more: Any) -> Receipt:
    given: dict[str, Any] = {"reason": None, "code": "", "cost": Decimal(0), "balance": None, **more}
    return Receipt(number, message_id is not None, message_id, **given)


def declined(number: str, code: Any, **more: Any) -> dict[str, Any]:
    return {"mobileNumber": number, "accepted": False, "acceptError": code, **more}


SEND = ("POST", "/sms/outgoing/send")
BATCH = ("POST", "/sms/outgoing/sendmulti")
STATUS = ("POST", "/sms/outgoing/status")
DELETE = ("POST", "/sms/scheduled/delete")

TO_ONE_BODY = {"message": TEXT, "recipients": [{"mobileNumber": ANN}], "maxSegments": 1}
TO_THREE_BODY = {
    "message": TEXT,
    "recipients": [{"mobileNumber": ANN}, {"mobileNumber": BEN}, {"mobileNumber": CAT}],
    "maxSegments": 3,
    "scheduledTime": "201712251430",
}
THREE_RECEIPTS = (
    receipt(
        ANN, 2316, cost=Decimal("1.3"), balance=Decimal("201.4"), send_at=CHRISTMAS, reference="customer 7"
    ),
    receipt(BEN, 2317, cost=Decimal(1), balance=Decimal("200.4"), send_at=CHRISTMAS),
    receipt(CAT, None, reason=RejectReason.BAD_NUMBER, code="BADDEST", balance=Decimal("200.4")),
)
V2_ROWS = [
    accepted(
        ANN,
        clientMessageId="clientId-3023",
        scheduledTime="201712251430",
        creditCost=1.3,
        newCreditBalance=201.4,
    ),
    accepted(
        BEN, 2317, clientMessageId=None, scheduledTime="201712251430", creditCost=1, newCreditBalance=200.4
    ),
    declined(
        CAT,
        "BADDEST",
        clientMessageId=None,
        apiMessageId=None,
        scheduledTime=None,
        creditCost=0,
        newCreditBalance=200.4,
    ),
]
V3_ROWS = [
    {**V2_ROWS[0], "scheduledTime": 201712251430},
    {"mobileNumber": BEN, "accepted": True, "apiMessageId": 2317, "scheduledTime": 201712251430}
    | {"creditCost": 1.0, "newCreditBalance": 200.4},
    declined(CAT, "BADDEST", creditCost=0, newCreditBalance=200.4),
]


def balance(label: str, wire: Any, result: str) -> Exchange:
    answer = {"creditBalance": wire}
    asked = ("GET", "/credits/balance", None)
    return Exchange(label, GATEWAY.balance(), answer, *asked, Balance(Decimal(result)))


def transferred(label: str, sender: int, receiver: int, amount: int, *, is_successful: bool) -> Exchange:
    body = {"sendingAccountNumber": sender, "receivingAccountNumber": receiver, "transferQuantity": amount}
    call, answer = GATEWAY.transfer_credits(sender, receiver, amount), {"transferSuccessful": is_successful}
    return Exchange(label, call, answer, "POST", "/credits/transfer", body, is_successful)


def sent(label: str, rows: list[Any], result: tuple[Receipt, ...]) -> Exchange:
    return Exchange(label, GATEWAY.send(TO_THREE), {"recipients": rows}, *SEND, TO_THREE_BODY, result)


def sent_to_one(label: str, row: dict[str, Any], result: Receipt) -> Exchange:
    return Exchange(label, GATEWAY.send(TO_ONE), {"recipients": [row]}, *SEND, TO_ONE_BODY, (result,))


def rejected(code: Any, reason: RejectReason, word: str) -> Exchange:
    row = declined(ANN, code, apiMessageId=None, creditCost=None)
    return sent_to_one(f"declined with {code!r}", row, receipt(ANN, None, reason=reason, code=word))


def scheduled(label: str, send_at: pendulum.DateTime, wire: str) -> Exchange:
    message = Message(TEXT, (Recipient(ANN),), send_at)
    body = {**TO_ONE_BODY, "scheduledTime": wire}
    return Exchange(label, GATEWAY.send(message), {"recipients": [accepted()]}, *SEND, body, (receipt(ANN),))


def reported(label: str, row: dict[str, Any], state: DeliveryState, **more: Any) -> Exchange:
    return Exchange(
        label,
        GATEWAY.delivery_reports([2316]),
        {"messageStatuses": [{"apiMessageId": 2316, "mobileNumber": ANN, **row}]},
        *STATUS,
        [2316],
        (DeliveryReport(2316, state, number=ANN, **more),),
    )


def opted_out(label: str, row: dict[str, Any], result: OptOut) -> Exchange:
    rows = {"incomingOptoutMessages": [row]}
    return Exchange(label, GATEWAY.opt_outs(), rows, "GET", "/sms/incoming/optout", None, (result,))


def listed(label: str, document: dict[str, Any], result: Page[IncomingMessage]) -> Exchange:
    return Exchange(
        label, GATEWAY.incoming(3400, 2), document, "GET", "/sms/incoming?offset=3400&limit=2", None, result
    )


PAGING = {"resultsOffset": 3400, "resultsLimit": 2, "resultsTotalAvailable": 3402}
REPLY_ROWS = [
    {
        "incomingApiMessageId": 9001,
        "mobileNumber": ANN,
        "receiveTime": "201701201522",
        "messageText": "Yes",
        "outgoingApiMessageId": 2316,
    },
    {"incomingApiMessageId": 9002, "mobileNumber": BEN, "receiveTime": "201701201523", "messageText": ""},
]
REPLIES = (
    IncomingMessage(9001, ANN, at(2017, 1, 20, 15, 22), "Yes", 2316),
    IncomingMessage(9002, BEN, at(2017, 1, 20, 15, 23), "", None),
)
WAITING = ScheduledMessage(2316, ANN, at(2017, 1, 20, 15, 22), at(2017, 12, 25, 14, 30), Decimal("1.3"))


def waiting(label: str, row: dict[str, Any], paging: dict[str, Any]) -> Exchange:
    document = {"scheduledMessages": [{"apiMessageId": 2316, "mobileNumber": ANN, **row}], **paging}
    target = "/sms/scheduled?offset=0&limit=1"
    return Exchange(label, GATEWAY.scheduled(0, 1), document, "GET", target, None, Page((WAITING,), 0, 7))


EXCHANGES = [
    balance("balance, as in the example", 3645, "3645"),
    balance("balance with its decimal place", 188.6, "188.6"),
    balance("balance as text", "0.1", "0.1"),
    transferred("credits transferred", 7564, 10345, 100, is_successful=True),
    transferred("a transfer declined within a success", 1, 2, 3, is_successful=False),
    Exchange(
        "sub-accounts",
        GATEWAY.sub_accounts(),
        {
            "subAccounts": [
                {"accountNumber": 10345, "loginName": "shop", "firstName": "Ann", "surname": "Lee"}
                | {"creditBalance": 1.4},
                {"accountNumber": 10346, "loginName": None, "firstName": 7},
            ]
        },
        *("GET", "/subaccounts", None),
        (SubAccount(10345, "shop", "Ann", "Lee", Decimal("1.4")), SubAccount(10346, "", "7", "", None)),
    ),
    Exchange("no sub-accounts", GATEWAY.sub_accounts(), {"subAccounts": []}, "GET", "/subaccounts", None, ()),
    Exchange(
        "short code",
        GATEWAY.short_code(0, 1000),
        {
            "shortcodeMessages": [
                {
                    "incomingApiMessageId": 9001.0,
                    "mobileNumber": ANN,
                    "receiveTime": "201701201522",
                    "messageText": "WIN",
                }
            ],
            "resultsOffset": 0,
            "resultsLimit": 1000,
            "resultsTotalAvailable": 1,
        },
        "GET",
        "/shortcode/incoming?offset=0&limit=1000",
        None,
        Page((IncomingMessage(9001, ANN, at(2017, 1, 20, 15, 22), "WIN"),), 0, 1),
    ),
    listed(
        "replies, strings and nulls", {"incomingMessages": REPLY_ROWS, **PAGING}, Page(REPLIES, 3400, 3402)
    ),
    listed(
        "replies, integers and absent keys",
        {
            "incomingMessages": [
                {**row, "receiveTime": int(row["receiveTime"])}  # type: ignore[call-overload]
                for row in REPLY_ROWS
            ],
            **PAGING,
        },
        Page(REPLIES, 3400, 3402),
    ),
    listed("no replies", {"incomingMessages": [], **PAGING}, Page((), 3400, 3402)),
    listed(
        "the last replies, without counts",
        {"incomingMessages": REPLY_ROWS[:1]},
        Page(REPLIES[:1], 3400, 3401),
    ),
    listed(
        "a reply at no time that there is",
        {"incomingMessages": [{"incomingApiMessageId": 1, "receiveTime": "201713322561"}], **PAGING},
        Page((IncomingMessage(1, "", None, ""),), 3400, 3402),
    ),
    listed(
        "a reply at the first minute there is",
        {"incomingMessages": [{"incomingApiMessageId": 1, "receiveTime": "000101010000"}], **PAGING},
        Page((IncomingMessage(1, "", None, ""),), 3400, 3402),
    ),
    opted_out(
        "opt-out by reply",
        {
            "incomingApiMessageId": 9001,
            "mobileNumber": ANN,
            "receiveTime": "201701201522",
            "messageText": "Stop",
        },
        OptOut(ANN, at(2017, 1, 20, 15, 22), "Stop", 9001),
    ),
    opted_out(
        "opt-out by hand, with a null",
        {
            "incomingApiMessageId": None,
            "mobileNumber": ANN,
            "receiveTime": "201701201522",
            "messageText": "* MANUALLY ADDED BY USER *",
        },
        OptOut(ANN, at(2017, 1, 20, 15, 22), "* MANUALLY ADDED BY USER *"),
    ),
    opted_out(
        "opt-out by hand, without the key",
        {"mobileNumber": ANN, "receiveTime": 201701201522, "messageText": "* MANUALLY ADDED BY USER *"},
        OptOut(ANN, at(2017, 1, 20, 15, 22), "* MANUALLY ADDED BY USER *"),
    ),
    sent("sent, strings and nulls", V2_ROWS, THREE_RECEIPTS),
    sent("sent, integers and absent keys", V3_ROWS, THREE_RECEIPTS),
    sent("sent, and answered in another order", V2_ROWS[::-1], THREE_RECEIPTS),
    sent_to_one("sent, with a number as a number", accepted(int(ANN)), receipt(ANN)),  # type: ignore[arg-type]
    sent_to_one("sent, with an id as text", accepted(apiMessageId="2316"), receipt(ANN)),
    sent_to_one("sent, with 0 for no error", {**accepted(), "acceptError": 0}, receipt(ANN)),
    sent_to_one("sent, with a field of tomorrow", accepted(carrier="Vodacom"), receipt(ANN)),
    sent_to_one("sent, with an id beyond 32 bits", accepted(message_id=2**53 + 1), receipt(ANN, 2**53 + 1)),
    rejected("INSUFFICIENT CREDITS", RejectReason.NO_CREDITS, "INSUFFICIENT CREDITS"),
    rejected("INSUFFICIENT&nbsp;CREDITS", RejectReason.NO_CREDITS, "INSUFFICIENT CREDITS"),
    rejected("INSUFFICIENT\xa0CREDITS", RejectReason.NO_CREDITS, "INSUFFICIENT CREDITS"),
    rejected("ACCOUNTLOCKED", RejectReason.ACCOUNT_LOCKED, "ACCOUNTLOCKED"),
    rejected("TRIALNOT2SELF", RejectReason.TRIAL_ACCOUNT, "TRIALNOT2SELF"),
    rejected("TOOLONG", RejectReason.TEXT_TOO_LONG, "TOOLONG"),
    rejected("BADDEST", RejectReason.BAD_NUMBER, "BADDEST"),
    rejected("OPTEDOUT", RejectReason.OPTED_OUT, "OPTEDOUT"),
    rejected("WASPADNC", RejectReason.DO_NOT_CONTACT, "WASPADNC"),
    rejected("FULLMOON", RejectReason.OTHER, "FULLMOON"),
    rejected(17, RejectReason.OTHER, "17"),
    rejected(None, RejectReason.OTHER, ""),
    Exchange(
        "the same number twice in one request",
        GATEWAY.send(Message(TEXT, (Recipient(ANN), Recipient(ANN, "b")))),
        {"recipients": [accepted(ANN, 1), accepted(ANN, 2)]},
        *SEND,
        {**TO_ONE_BODY, "recipients": [{"mobileNumber": ANN}, {"mobileNumber": ANN}]},
        (receipt(ANN, 1), receipt(ANN, 2, reference="b")),
    ),
    Exchange(
        "a text of every kind of character",
        GATEWAY.send(Message('@£\n"\\€é\u2028😀', (Recipient(ANN),))),
        {"recipients": [accepted()]},
        *SEND,
        {**TO_ONE_BODY, "message": '@£\n"\\€é\u2028😀'},
        (receipt(ANN),),
    ),
    scheduled("scheduled from another zone", pendulum.datetime(2017, 12, 25, 12, 30), "201712251430"),
    scheduled("scheduled within a minute, which is rounded up", CHRISTMAS.add(seconds=1), "201712251431"),
    scheduled("scheduled on the last second of a year", at(2017, 12, 31, 23, 59, 59), "201801010000"),
    Exchange(
        "two texts in one request",
        GATEWAY.send_batch([TO_ONE, OTHER]),
        {
            "messages": [
                {"message": TEXT, "recipients": [accepted(ANN, 1)]},
                {"message": OTHER.text, "recipients": [accepted(BEN, 3), accepted(ANN, 2)]},
            ]
        },
        *BATCH,
        {
            "messages": [
                TO_ONE_BODY,
                {
                    "message": OTHER.text,
                    "recipients": [{"mobileNumber": ANN}, {"mobileNumber": BEN}],
                    "maxSegments": 1,
                },
            ]
        },
        (receipt(ANN, 1), receipt(ANN, 2), receipt(BEN, 3)),
    ),
    Exchange(
        "two texts to one number, answered in another order",
        GATEWAY.send_batch([TO_ONE, Message("Another.", (Recipient(ANN),))]),
        {
            "messages": [
                {"message": "Another.", "recipients": [accepted(ANN, 2)]},
                {"message": TEXT, "recipients": [accepted(ANN, 1)]},
            ]
        },
        *BATCH,
        {"messages": [TO_ONE_BODY, {**TO_ONE_BODY, "message": "Another."}]},
        (receipt(ANN, 1), receipt(ANN, 2)),
    ),
    Exchange(
        "two texts that the gateway spelt its own way",
        GATEWAY.send_batch([TO_ONE, TO_THREE]),
        {"messages": [{"message": "?", "recipients": [accepted(ANN, 1)]}, {"recipients": V2_ROWS}]},
        *BATCH,
        {"messages": [TO_ONE_BODY, TO_THREE_BODY]},
        (receipt(ANN, 1), *THREE_RECEIPTS),
    ),
    reported(
        "delivered, with the number 0 of the example",
        {"statusDelivered": True, "statusErrorCode": 0, "statusTime": "201701201522", "creditCost": 1.4},
        DeliveryState.DELIVERED,
        cost=Decimal("1.4"),
        time=at(2017, 1, 20, 15, 22),
    ),
    reported(
        "delivered, with the empty text of the prose",
        {"statusDelivered": True, "statusErrorCode": "", "statusTime": 201701201522},
        DeliveryState.DELIVERED,
        time=at(2017, 1, 20, 15, 22),
    ),
    reported("delivered, without a code", {"statusDelivered": True}, DeliveryState.DELIVERED),
    reported(
        "delivered, whatever the code",
        {"statusDelivered": True, "statusErrorCode": "SENT"},
        DeliveryState.DELIVERED,
        code="SENT",
    ),
    *(
        reported(
            f"not delivered: {code}",
            {"statusDelivered": False, "statusErrorCode": code, "statusTime": None},
            state,
            code=code,
        )
        for code, state in {
            "SENT": DeliveryState.SENT,
            "INQUEUE": DeliveryState.QUEUED,
            "NOTFOUND": DeliveryState.NOT_FOUND,
            "SENDINGFAILED": DeliveryState.NOT_SENT,
            "FAILED": DeliveryState.FAILED,
            "BADDEST": DeliveryState.NOT_SENT,
            "TELEPORTED": DeliveryState.UNKNOWN,
        }.items()
    ),
    reported(
        "not delivered, with a number of the oldest generation",
        {"statusDelivered": False, "statusErrorCode": 201, "statusTime": 201501011200},
        DeliveryState.UNKNOWN,
        code="201",
        time=at(2015, 1, 1, 12),
    ),
    reported("a row with an id and no more", {"mobileNumber": ANN}, DeliveryState.UNKNOWN),
    Exchange(
        "ids of every kind, each once",
        GATEWAY.delivery_reports(["2316", 2317, " 2316 "]),
        {"messageStatuses": []},
        *STATUS,
        [2316, 2317],
        (),
    ),
    waiting(
        "scheduled texts",
        {"submitTime": "201701201522", "scheduledSendTime": "201712251430", "creditCost": 1.3},
        {"resultsOffset": 0, "resultsLimit": 1, "resultsTotalAvailable": 7},
    ),
    waiting(
        "scheduled texts, with integers",
        {"submitTime": 201701201522, "scheduledSendTime": 201712251430, "creditCost": "1.3"},
        {"resultsOffset": "0", "resultsTotalAvailable": "7"},
    ),
    Exchange(
        "cancelled, and not found",
        GATEWAY.cancel([2316, 2317]),
        {
            "deletedMessageStatuses": [
                {
                    "apiMessageId": 2316,
                    "mobileNumber": ANN,
                    "deleted": True,
                    "deleteError": "",
                    "creditCost": 1.3,
                },
                {
                    "apiMessageId": 2317,
                    "mobileNumber": None,
                    "deleted": False,
                    "deleteError": "NOTFOUND",
                    "creditCost": 0,
                },
            ]
        },
        *DELETE,
        [2316, 2317],
        (
            Cancellation(2316, cancelled=True, code="", refund=Decimal("1.3"), number=ANN),
            Cancellation(2317, cancelled=False, code="NOTFOUND", refund=Decimal(0), number=""),
        ),
    ),
    Exchange(
        "cancelled, with only what matters",
        GATEWAY.cancel([2316]),
        {"deletedMessageStatuses": [{"apiMessageId": 2316, "deleted": True}]},
        *DELETE,
        [2316],
        (Cancellation(2316, cancelled=True, code="", refund=Decimal(0), number=""),),
    ),
]

CONTRADICTIONS: dict[str, tuple[Call[Any], Any]] = {
    "two receipts for one recipient": (
        GATEWAY.send(TO_ONE),
        {"recipients": [accepted(ANN, 1), accepted(ANN, 2)]},
    ),
    "a receipt of a stranger": (GATEWAY.send(TO_ONE), {"recipients": [accepted("27821111111")]}),
    "one receipt twice, another missing": (
        GATEWAY.send(OTHER),
        {"recipients": [accepted(ANN, 1), accepted(ANN, 2)]},
    ),
    "a message too few": (GATEWAY.send_batch([TO_ONE, OTHER]), {"messages": [{"recipients": [accepted()]}]}),
    "a transfer that may have been": (GATEWAY.transfer_credits(1, 2, 3), {"transferSuccessful": "true"}),
    "a full page of a list of no known length": (GATEWAY.incoming(0, 2), {"incomingMessages": REPLY_ROWS}),
    "deliveries in words": (
        GATEWAY.delivery_reports(range(11)),
        {"messageStatuses": [{"apiMessageId": each, "statusDelivered": "true"} for each in range(11)]},
    ),
    "cancellations in words": (
        GATEWAY.cancel(range(11)),
        {"deletedMessageStatuses": [{"apiMessageId": each, "deleted": "true"} for each in range(11)]},
    ),
    "reports without ids": (
        GATEWAY.delivery_reports(range(11)),
        {"messageStatuses": [{"statusDelivered": True}] * 11},
    ),
}


HALF_READABLE: dict[str, tuple[Call[tuple[Receipt, ...]], Any, list[int | None]]] = {
    "a receipt too few": (
        GATEWAY.send(TO_THREE),
        {"recipients": [accepted(ANN, 1), accepted(CAT, 3)]},
        [1, None, 3],
    ),
    "a receipt that comes twice": (
        GATEWAY.send(OTHER),
        {"recipients": [accepted(ANN, 1), accepted(ANN, 1), accepted(BEN, 2)]},
        [1, 2],
    ),
    "the same number in two messages, once missing": (
        GATEWAY.send_batch([TO_ONE, OTHER]),
        {
            "messages": [
                {"message": OTHER.text, "recipients": [accepted(BEN, 2)]},
                {"message": TEXT, "recipients": [accepted(ANN, 1)]},
            ]
        },
        [1, None, 2],
    ),
}


@pytest.mark.parametrize("label", HALF_READABLE)
def test_what_can_be_read_of_a_sends_answer_is_kept_and_only_the_rest_is_in_doubt(
    carrier: Carrier, label: str
) -> None:
    call, document, ids = HALF_READABLE[label]
    with Stub(answer(200, document)) as stub:
        (receipts,) = carrier.execute(stub.base_url, call)
    assert [receipt.message_id for receipt in receipts] == ids
    assert [receipt.is_known for receipt in receipts] == [message_id is not None for message_id in ids]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.label for exchange in EXCHANGES])
def test_what_is_asked_and_what_the_answer_means(carrier: Carrier, exchange: Exchange) -> None:
    with Stub(answer(200, {**ENVELOPE, **exchange.answer})) as stub:
        (result,) = carrier.execute(stub.base_url, exchange.call)
    (request,) = stub.requests
    assert (request.method, request.target) == (exchange.method, f"/api/rest/v1{exchange.target}")
    assert request.document == exchange.body
    assert result == exchange.result


def test_the_table_knows_every_operation() -> None:
    assert {exchange.call.operation for exchange in EXCHANGES} == set(OPERATIONS)


def test_every_request_says_who_asks_and_what_it_holds(carrier: Carrier) -> None:
    calls = [operation.call for operation in OPERATIONS.values()]
    with Stub(answer(422, {})) as stub:
        carrier.outcomes(stub.base_url, *calls)
    for request in stub.requests:
        assert request.headers["authorization"] == "3F2504E0-4F89-41D3-9A0C-0305E82C3301"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["accept"] == "application/json"
        assert request.headers["user-agent"] == "airflow-provider-winsms"
        assert "transfer-encoding" not in request.headers
        assert request.body.isascii()
        assert int(request.headers.get("content-length", 0)) == len(request.body)


@pytest.mark.parametrize("label", CONTRADICTIONS)
def test_an_answer_that_cannot_be_meant_is_not_guessed_at(carrier: Carrier, label: str) -> None:
    call, document = CONTRADICTIONS[label]
    with Stub(answer(200, document)) as stub:
        (error,) = carrier.outcomes(stub.base_url, call, attempts=1)
    assert type(error) is (GatewayUnavailable if call.is_repeatable else OutcomeUnknown)


@pytest.mark.parametrize("secret", ["Ann Lee of Cape Town", ANN])
@pytest.mark.parametrize("field", ["apiMessageId", "creditCost", "accepted", "newCreditBalance"])
def test_what_cannot_be_read_in_an_answer_is_not_quoted(carrier: Carrier, field: str, secret: str) -> None:
    with Stub(answer(200, {"recipients": [{**accepted(), field: [secret]}]})) as stub:
        (as_list,) = carrier.outcomes(stub.base_url, GATEWAY.send(TO_ONE))
    with Stub(answer(200, {"recipients": [{**accepted(), field: f"{secret}!"}]})) as stub:
        (as_text,) = carrier.outcomes(stub.base_url, GATEWAY.send(TO_ONE))
    for outcome in (as_list, as_text):
        assert isinstance(outcome, SmsError) is (field in {"apiMessageId", "accepted"})
        assert secret not in str(outcome)


@pytest.mark.parametrize(
    "value",
    [
        *("", "x", "1.5", "-1", 1.5, -1, True, None, [], 10**30),
        pytest.param("9" * 5000, id="text of 5000 digits"),
        pytest.param(10**5000, id="5001 digits"),
    ],
)
def test_what_cannot_be_an_id_is_refused_before_it_spoils_a_request(value: object) -> None:
    with pytest.raises(InvalidMessage):
        GATEWAY.message_ids([2316, value])
