"""WinSMS, as the contract suite knows it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.messages import Message, Recipient
from tests.gateways.calls import ANN, BEN, CAT, CHRISTMAS, ONCE_ONLY, OPERATIONS, TEXT, accepted
from tests.gateways.carriers import GATEWAY, KEY
from tests.gateways.stub import refusal
from tests.gateways.under_test import GatewayUnderTest, Operation

if TYPE_CHECKING:
    from collections.abc import Sequence


METHODS = {
    "getCreditBalance": "balance",
    "transferCredits": "transfer_credits",
    "getSubAccounts": "sub_accounts",
    "getShortCodeMessages": "short_code",
    "getIncomingMessages": "incoming",
    "getOptoutMessages": "opt_outs",
    "smsSend": "send",
    "smsSendBatch": "send_batch",
    "smsStatus": "delivery_reports",
    "getScheduledMessages": "scheduled",
    "deleteScheduledMessages": "cancel",
}
IDS = (2316, "2317", 2318.0)


def examples(wire_id: Any) -> dict[str, Operation]:
    message_id = int(wire_id)
    incoming = {
        "incomingApiMessageId": wire_id,
        "mobileNumber": ANN,
        "receiveTime": "201701201522",
        "messageText": TEXT,
        "outgoingApiMessageId": 7,
    }
    row = {"apiMessageId": wire_id, "mobileNumber": ANN}
    times = {"submitTime": "201701201522", "scheduledSendTime": "201712251430"}
    to_one = Message(TEXT, (Recipient(ANN),), CHRISTMAS)
    receipt = {**accepted(ANN), **row, "scheduledTime": "201712251430", "creditCost": 1.3}
    return {
        "send": Operation(GATEWAY.send(to_one), {"recipients": [receipt]}),
        "send_batch": Operation(
            GATEWAY.send_batch([to_one]), {"messages": [{"message": TEXT, "recipients": [receipt]}]}
        ),
        "delivery_reports": Operation(
            GATEWAY.delivery_reports([message_id]),
            {"messageStatuses": [{**row, "statusDelivered": True, "statusTime": "201701201522"}]},
        ),
        "cancel": Operation(
            GATEWAY.cancel([message_id]),
            {"deletedMessageStatuses": [{**row, "deleted": True, "creditRefund": 1}]},
        ),
        "scheduled": Operation(
            GATEWAY.scheduled(0, 10), {"scheduledMessages": [{**row, **times, "creditRefund": 1}]}
        ),
        "incoming": Operation(GATEWAY.incoming(0, 10), {"incomingMessages": [incoming]}),
        "short_code": Operation(GATEWAY.short_code(0, 10), {"shortcodeMessages": [incoming]}),
        "opt_outs": Operation(GATEWAY.opt_outs(), {"incomingOptoutMessages": [incoming]}),
    }


def accept(message: Message, order: Sequence[int], cost: Decimal) -> Operation:
    rows = [accepted(message.recipients[i].number, IDS[i], creditCost=float(cost)) for i in order]  # type: ignore[arg-type] # as the wire may have it
    return Operation(GATEWAY.send(message), {"recipients": rows})


def states(wire_ids: Sequence[Any]) -> Operation:
    known = {"statusDelivered": True, "statusErrorCode": "", "statusTime": "201701201522"}
    rows = [{"apiMessageId": wire_id, "mobileNumber": ANN, **known} for wire_id in wire_ids]
    return Operation(GATEWAY.delivery_reports(list(map(int, wire_ids))), {"messageStatuses": rows})


UNDER_TEST = GatewayUnderTest(
    gateway=GATEWAY,
    credentials={"api_key": KEY},
    operations={METHODS[name]: Operation(call, success) for name, (call, success) in OPERATIONS.items()},
    examples=examples,
    wire_ids=IDS,
    once_only=frozenset(METHODS[name] for name in ONCE_ONLY),
    accept=accept,
    costs=[Decimal("1.3"), Decimal("0.1"), Decimal(12)],
    personal=[ANN, BEN, CAT, TEXT],
    documented={
        400: InvalidMessage,
        401: ConfigurationError,
        404: ConfigurationError,
        405: ConfigurationError,
        413: InvalidMessage,
        415: InvalidMessage,
        422: InvalidMessage,
    },
    refusal=refusal,
    states=states,
)
