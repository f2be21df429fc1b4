"""A value that nobody can use makes unknown what it is about, and nothing else."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_winsms.exceptions import InvalidMessage, OutcomeUnknown
from airflow_provider_winsms.gateways.endpoint import Endpoint
from airflow_provider_winsms.gateways.responses import Answer, read_answer
from airflow_provider_winsms.gateways.transport import Transport
from airflow_provider_winsms.messages import Message, Receipt, Recipient
from tests.gateways.carriers import GATEWAY, KEY, WHERE
from tests.gateways.stub import Stub, answer

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Call

NUMBERS = [f"2782555010{place}" for place in range(5)]
FIVE = Message("Hi", tuple(map(Recipient, NUMBERS)))
OTHER_TEXT = Message("Other", tuple(map(Recipient, NUMBERS)))
BAD = 2

NO_AMOUNTS = [
    *("1e30", "1e11", "1e3", "-1e30", "1e999999999", "-1e999999999", "9.99e999999999999999999"),
    *("NaN", "Infinity", "-Infinity", "true", "false", "{}", "[]", "[1]", '"n/a"', '"1,5"', '"1e2"', '"1_0"'),
    *('"NaN"', '"sNaN"', '"Infinity"', '"١"', "1000", "-1", "-0.1"),
    *("9" * 4300, "9" * 5000, '"' + "9" * 5000 + '"'),
]
"""Of a text, as JSON has them."""
AMOUNTS = {
    "0": "0",
    "-0": "0",
    "-0.0": "0.0",
    "1.3": "1.3",
    '"1.3"': "1.3",
    '" 1.30 "': "1.30",
    "13e-1": "1.3",
    "1.2999999999999998": "1.3000",
    "1e-999999999": "0.0000",
    "1e2": "100",
    "999.99": "999.99",
    "0.0351": "0.0351",
    "1." + "3" * 10_000: "1.3333",
    "null": "0",
    '""': "0",
}
NO_IDS = [
    *(
        "null",
        "0",
        "-1",
        "-0",
        "1.5",
        "1e30",
        "1e999999999",
        "1e999999999999999999999",
        "NaN",
        "true",
        "false",
    ),
    *("9223372036854775808", "9999999999999999999", "9" * 4300, "9" * 5000),
    *('""', '"A1"', '"2**3"', "{}", "[7]"),
]
"""Of an accepted text."""
NO_FLAGS = ["null", '"true"', '"yes"', "1", "0", "{}", "[]", "NaN", "1e999999999999999999999"]
NO_ROWS = [
    *("null", "0", "true", '"row"', "[]", "{}", '[{"accepted": true}]'),
    *("9" * 5000, "1e999999999999999999999"),
]
NO_NUMBERS = ["null", "0", "[]", "{}", '"27825550199"', '"+27825550102"', "1e30", "9" * 5000, "true"]
LAST_ID = 2**63 - 1


def rows(spoilt: str | None = None, **fields: str) -> str:
    """Return five receipts as JSON.

    :param spoilt: what stands in the place of the third, if anything does.
    :param fields: what stands in it otherwise, as JSON.
    """
    each = [
        {
            "mobileNumber": json.dumps(number),
            "accepted": "true",
            "acceptError": '""',
            "apiMessageId": str(2316 + place),
            "creditCost": "1.3",
            "newCreditBalance": "201.4",
        }
        for place, number in enumerate(NUMBERS)
    ]
    each[BAD] |= fields
    written = ["{" + ", ".join(f'"{k}": {v}' for k, v in row.items()) + "}" for row in each]
    if spoilt is not None:
        written[BAD] = spoilt
    return "[" + ", ".join(written) + "]"


def sent(body: str, call: Call[Any] | None = None) -> tuple[Receipt, ...]:
    """Carry out a send, over a socket, that is answered so."""
    with Stub(answer(200, body=body.encode())) as stub:
        where = Endpoint("winsms_default", GATEWAY, stub.base_url, KEY)
        with Transport(where) as transport:
            receipts: tuple[Receipt, ...] = transport.execute(call or GATEWAY.send(FIVE))
        assert len(stub.requests) == 1
    return receipts


def to_five(spoilt: str | None = None, **fields: str) -> tuple[Receipt, ...]:
    return sent(f'{{"recipients": {rows(spoilt, **fields)}}}')


def ids(receipts: tuple[Receipt, ...]) -> list[Any]:
    return [receipt.message_id for receipt in receipts]


ALL_IDS = [2316, 2317, 2318, 2319, 2320]
ALL_BUT_ONE = [2316, 2317, None, 2319, 2320]


class TestAReceipt:
    @pytest.mark.parametrize("value", NO_AMOUNTS, ids=lambda value: value[:20])
    def test_without_a_usable_cost_is_a_receipt_of_unknown_cost(self, value: str) -> None:
        receipts = to_five(creditCost=value)
        assert ids(receipts) == ALL_IDS
        assert [receipt.cost for receipt in receipts] == [*[Decimal("1.3")] * 2, None, *[Decimal("1.3")] * 2]

    @pytest.mark.parametrize(("value", "cost"), AMOUNTS.items(), ids=lambda value: value[:20])
    def test_has_the_cost_that_is_stated_to_four_places(self, value: str, cost: str) -> None:
        assert str(to_five(creditCost=value)[BAD].cost) == cost

    @pytest.mark.parametrize(
        "value", ["1e30", "1e11", "1e10", "-1e10", "1e999999999", "NaN", "{}", "9" * 5000]
    )
    def test_without_a_usable_balance_is_a_receipt_all_the_same(self, value: str) -> None:
        receipts = to_five(newCreditBalance=value)
        assert ids(receipts) == ALL_IDS
        assert receipts[BAD].balance is None

    @pytest.mark.parametrize("value", [str(LAST_ID), f'"{LAST_ID}"', f"{LAST_ID}.0"])
    def test_may_have_the_highest_id_that_databases_keep(self, value: str) -> None:
        assert to_five(apiMessageId=value)[BAD].message_id == LAST_ID

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("apiMessageId", value) for value in NO_IDS),
            *(("accepted", value) for value in NO_FLAGS),
            *(("mobileNumber", value) for value in NO_NUMBERS),
            *((None, value) for value in NO_ROWS),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_that_cannot_be_read_leaves_its_recipient_unknown(self, field: str | None, value: str) -> None:
        receipts = to_five(**{field: value}) if field else to_five(value)
        assert ids(receipts) == ALL_BUT_ONE
        assert [receipt.is_known for receipt in receipts] == [True, True, False, True, True]

    def test_of_another_recipient_leaves_both_unknown(self) -> None:
        receipts = to_five(mobileNumber=f'"{NUMBERS[0]}"')
        assert ids(receipts) == [None, 2317, None, 2319, 2320]

    def test_whose_id_another_one_has_too_leaves_both_unknown(self) -> None:
        receipts = to_five(apiMessageId="2316")
        assert ids(receipts) == [None, 2317, None, 2319, 2320]
        assert [receipt.is_known for receipt in receipts] == [False, True, False, True, True]

    @pytest.mark.parametrize("document", ["[null, null, null, null, null]", "[]", "[1, [], {}, true]"])
    def test_must_be_there_for_somebody(self, document: str) -> None:
        with pytest.raises(OutcomeUnknown, match="no receipt for any of 5 recipients"):
            sent(f'{{"recipients": {document}}}')


class TestAGroupOfReceipts:
    """What ``sendmulti`` answers about one of its messages."""

    @staticmethod
    def ids_of(*groups: str) -> tuple[list[Any], list[Any]]:
        receipts = sent(f'{{"messages": [{", ".join(groups)}]}}', GATEWAY.send_batch([FIVE, OTHER_TEXT]))
        return ids(receipts[:5]), ids(receipts[5:])

    @staticmethod
    def group(text: str, first_id: int) -> str:
        receipts = [
            {"mobileNumber": number, "accepted": True, "apiMessageId": first_id + place}
            for place, number in enumerate(NUMBERS)
        ]
        return json.dumps({"message": text, "recipients": receipts})

    @pytest.mark.parametrize("bad", ["null", "1", '"Hi"', "[]", "{}", '{"message": "Hi"}', "9" * 5000])
    def test_that_cannot_be_read_leaves_the_others_known(self, bad: str) -> None:
        assert self.ids_of(bad, self.group("Other", 11)) == ([None] * 5, [11, 12, 13, 14, 15])

    @pytest.mark.parametrize(
        "bad", ["null", "{}", '{"message": "Hi", "recipients": 7}', '{"recipients": []}']
    )
    def test_is_never_taken_for_that_of_another_text(self, bad: str) -> None:
        assert self.ids_of(self.group("Other", 11), bad) == ([None] * 5, [11, 12, 13, 14, 15])

    def test_may_have_its_text_as_it_was_sent(self) -> None:
        first, second = self.ids_of(self.group("Hi!", 1), self.group("Other", 11))
        assert (first, second) == ([1, 2, 3, 4, 5], [11, 12, 13, 14, 15])


@pytest.mark.parametrize(
    "value", ["1e30", "1e999999999", "1e999999999999999999999", "NaN", "true", "9" * 5000]
)
@pytest.mark.parametrize(
    ("call", "document", "amount"),
    [
        (GATEWAY.balance(), '{"creditBalance": X}', lambda balance: balance.credits),
        (
            GATEWAY.delivery_reports([7]),
            '{"messageStatuses": [{"apiMessageId": 7, "statusDelivered": true, "creditCost": X}]}',
            lambda reports: reports[0].cost,
        ),
        (
            GATEWAY.cancel([7]),
            '{"deletedMessageStatuses": [{"apiMessageId": 7, "deleted": true, "creditCost": X}]}',
            lambda answers: answers[0].refund,
        ),
        (
            GATEWAY.scheduled(0, 10),
            '{"scheduledMessages": [{"apiMessageId": 7, "creditCost": X}]}',
            lambda page: page.rows[0].refund,
        ),
        (
            GATEWAY.sub_accounts(),
            '{"subAccounts": [{"accountNumber": 7, "creditBalance": X}]}',
            lambda accounts: accounts[0].balance,
        ),
    ],
    ids=["balance", "status", "cancel", "scheduled", "sub-accounts"],
)
def test_an_amount_that_nobody_can_use_is_unknown(call: Any, document: str, amount: Any, value: str) -> None:
    body = document.replace("X", value).encode()
    assert amount(read_answer(call, Answer(200, {}, body), WHERE)) is None


@pytest.mark.parametrize("value", ["1e999999999999999999999", "9" * 5000, "NaN", "-1"])
@pytest.mark.parametrize("key", ["incomingApiMessageId", "receiveTime", "messageText", "mobileNumber"])
def test_an_opt_out_of_a_list_of_any_length_stays_one(key: str, value: str) -> None:
    fields = {"incomingApiMessageId": "7", "receiveTime": '"202603021030"', "messageText": '"Stop"'}
    row = {"mobileNumber": '"27825550101"', **fields, key: value}
    written = "{" + ", ".join(f'"{name}": {each}' for name, each in row.items()) + "}"
    good = '{"mobileNumber": "27825550102"}'
    body = f'{{"size": {value}, "incomingOptoutMessages": [{written}, {good}], "count": {value}}}'
    with (
        Stub(answer(200, body=body.encode())) as stub,
        Transport(Endpoint("w", GATEWAY, stub.base_url, KEY)) as to,
    ):
        (part,) = to.stream(GATEWAY.opt_outs())
    assert len(part) == 2
    assert part[1].number == "27825550102"


@pytest.mark.parametrize(
    "value",
    [2**63, 10**18 * 99, 10**5000, "9223372036854775808", -1],
    ids=lambda value: str(value)[:20] if value != 10**5000 else "long",
)
def test_an_id_that_no_database_keeps_is_refused_before_anything_is_asked(value: Any) -> None:
    with pytest.raises(InvalidMessage, match="below 2\\*\\*63"):
        GATEWAY.message_ids([7, value])
