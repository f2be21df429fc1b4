"""The eleven operations, each as a call that the documents have an example of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pendulum

from airflow_provider_winsms.messages import Message, Recipient
from tests.gateways.carriers import GATEWAY

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Call

ANN, BEN, CAT = "27444444444", "27555555555", "276666666666"
SAST = "Africa/Johannesburg"
TEXT = "Happy holidays from everyone."
CHRISTMAS = pendulum.datetime(2017, 12, 25, 14, 30, tz=SAST)
TO_THREE = Message(TEXT, (Recipient(ANN, "customer 7"), Recipient(BEN), Recipient(CAT)), CHRISTMAS, 3)
TO_ONE = Message(TEXT, (Recipient(ANN),))
OTHER = Message("Another text.", (Recipient(ANN), Recipient(BEN)))


class Operation(NamedTuple):
    call: Call[Any]
    success: dict[str, Any]
    """The shortest answer that says that it was carried out."""


def accepted(number: str = ANN, message_id: int = 2316, **more: Any) -> dict[str, Any]:
    return {"mobileNumber": number, "accepted": True, "acceptError": "", "apiMessageId": message_id, **more}


OPERATIONS: dict[str, Operation] = {
    operation.call.operation: operation
    for operation in (
        Operation(GATEWAY.balance(), {"creditBalance": 3645}),
        Operation(GATEWAY.transfer_credits(7564, 10345, 100), {"transferSuccessful": True}),
        Operation(GATEWAY.sub_accounts(), {"subAccounts": []}),
        Operation(GATEWAY.short_code(0, 100), {"shortcodeMessages": []}),
        Operation(GATEWAY.incoming(0, 100), {"incomingMessages": []}),
        Operation(GATEWAY.opt_outs(), {"incomingOptoutMessages": []}),
        Operation(GATEWAY.send(TO_ONE), {"recipients": [accepted()]}),
        Operation(
            GATEWAY.send_batch([TO_ONE]), {"messages": [{"message": TEXT, "recipients": [accepted()]}]}
        ),
        Operation(GATEWAY.delivery_reports([2316]), {"messageStatuses": []}),
        Operation(GATEWAY.scheduled(0, 100), {"scheduledMessages": []}),
        Operation(GATEWAY.cancel([2316]), {"deletedMessageStatuses": []}),
    )
}
ONCE_ONLY = {"smsSend", "smsSendBatch", "transferCredits"}
"""The operations that cost money, or move it, each time they are carried out."""

SEND = OPERATIONS["smsSend"].call
SENT = OPERATIONS["smsSend"].success
BALANCE = OPERATIONS["getCreditBalance"].call
