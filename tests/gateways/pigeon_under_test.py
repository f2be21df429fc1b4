"""Pigeon, as the contract suite knows it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sms_pigeon_for_tests.gateway import PROBLEM_TYPE, PROBLEMS, PigeonGateway

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage, OutOfCredits
from airflow_provider_winsms.messages import Message, Recipient, message_id_of
from tests.gateways.stub import answer
from tests.gateways.under_test import GatewayUnderTest, Operation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.gateways.stub import Reply

GATEWAY = PigeonGateway(country_code="48")
ANN, BEN, CAT = "48512345601", "48512345602", "48512345603"
TEXT = "Happy holidays from everyone."
TO_ONE = Message(TEXT, (Recipient(ANN, "customer-7"),))
IDS = ("0b6f7f2e-31a3-4a4c-9a52-2f1f1a6ec001", "42", "007")
TOKEN = "token-of-a-session-51aa"  # noqa: S105 - a sandbox's
TOTAL = {"X-Total": "1"}
NOON = "2026-03-02T12:00:00Z"


def problem(status: int, name: str, title: str = "") -> Reply:
    """Return a problem (RFC 9457)."""
    return answer(status, {"type": f"{PROBLEM_TYPE}{name}", "title": title, "status": status})


def refusal(status: int, reason: str = "No.") -> Reply:
    """Return the problem that a request gets by its status."""
    names = PROBLEMS.keys() - {(401, "session-over")}
    return problem(status, dict(names).get(status, "about:blank"), reason)


def row(number: str = ANN, wire_id: Any = IDS[0], **more: Any) -> dict[str, Any]:
    return {
        "text": 0,
        "id": wire_id,
        "number": f"+{number}",
        "state": "sent",
        "price": "0.0825",
        "submitted_at": NOON,
        "changed_at": NOON,
        **more,
    }


def examples(wire_id: Any) -> dict[str, Operation]:
    message_id = message_id_of(wire_id)
    receipts = {"texts": [row(wire_id=wire_id, at=NOON)]}
    incoming = {"id": wire_id, "number": f"+{ANN}", "received_at": NOON, "body": TEXT}
    return {
        "send": Operation(GATEWAY.send(TO_ONE), receipts, 202),
        "send_batch": Operation(GATEWAY.send_batch([TO_ONE]), receipts, 202),
        "delivery_reports": Operation(GATEWAY.delivery_reports([message_id]), receipts),
        "cancel": Operation(GATEWAY.cancel([message_id]), None, 204),
        "sent": Operation(GATEWAY.sent(1, 10), {"rows": [row(wire_id=wire_id, at=NOON)]}, 200, TOTAL),
        "incoming": Operation(GATEWAY.incoming(1, 10), {"rows": [incoming]}, 200, TOTAL),
    }


def accept(message: Message, order: Sequence[int], cost: Decimal) -> Operation:
    rows = [row(message.recipients[i].number, IDS[i], price=str(cost)) for i in order]
    return Operation(GATEWAY.send(message), {"texts": rows}, 202)


def states(wire_ids: Sequence[Any]) -> Operation:
    message_ids = list(map(message_id_of, wire_ids))
    return Operation(
        GATEWAY.delivery_reports(message_ids), {"texts": [row(wire_id=each) for each in wire_ids]}
    )


UNDER_TEST = GatewayUnderTest(
    gateway=GATEWAY,
    credentials={"login": "reader-of-tests", "api_key": "coo-coo-of-tests"},
    operations={
        **examples(IDS[0]),
        "balance": Operation(GATEWAY.balance(), {"balance": "12.3400"}),
        "transfer_credits": Operation(GATEWAY.transfer_credits(1, 2, 3), None, 204),
    },
    examples=examples,
    wire_ids=IDS,
    once_only=frozenset({"send", "send_batch", "transfer_credits"}),
    accept=accept,
    costs=[Decimal("0.0825"), Decimal("0.1"), Decimal("123.4567")],
    personal=[ANN, BEN, CAT, TEXT, "customer-7"],
    documented={
        400: InvalidMessage,
        401: ConfigurationError,
        402: OutOfCredits,
        404: ConfigurationError,
        422: InvalidMessage,
    },
    refusal=refusal,
    states=states,
    not_there=problem(404, "no-such-text"),
    later=problem(503, "later"),
    session_over=problem(401, "session-over"),
    logins={"/sessions": answer(201, {"token": TOKEN, "expires_in": 900})},
    refused_login=problem(401, "login-refused"),
)
