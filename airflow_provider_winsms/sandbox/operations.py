"""The eleven operations of WinSMS REST v1, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.sandbox import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_winsms.sandbox.account import Account
    from airflow_provider_winsms.sandbox.inbox import Inbox
    from airflow_provider_winsms.sandbox.outbox import Outbox
    from airflow_provider_winsms.sandbox.state import Row

BASE_PATH = "/api/rest/v1"


class OperationContext(NamedTuple):
    """A valid request, and the parts of the account that it may use."""

    account: Account
    outbox: Outbox
    inbox: Inbox
    now: float
    query: Mapping[str, str]
    body: Any

    def __repr__(self) -> str:
        """Show no content."""
        return f"OperationContext(now={self.now})"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    :param name: its ``operationId`` in the vendor's document.
    :param path: below the base path.
    :param rows: the key of its list of rows; blank if it has none.
    :param is_paged: whether the list comes in pages.
    :param lists: whether it only lists rows, so that a script may answer it.
    """

    name: str
    method: str
    path: str
    rows: str
    perform: Callable[[OperationContext], Row]
    is_paged: bool = False
    lists: bool = False


def _balance(context: OperationContext) -> Row:
    return {"creditBalance": context.account.balance}


def _transfer(context: OperationContext) -> Row:
    return {"transferSuccessful": context.account.transfer(*wire.transfer(context.body))}


def _sub_accounts(context: OperationContext) -> Row:
    return {"subAccounts": context.account.sub_accounts()}


def _send(context: OperationContext) -> Row:
    return {"recipients": context.outbox.submit(wire.send_request(context.body), context.now)}


def _send_many(context: OperationContext) -> Row:
    return {
        "messages": [
            {"message": one.message, "recipients": context.outbox.submit(one, context.now)}
            for one in wire.send_requests(context.body)
        ]
    }


def _status(context: OperationContext) -> Row:
    return {"messageStatuses": context.outbox.statuses(wire.message_ids(context.body), context.now)}


def _cancel(context: OperationContext) -> Row:
    return {"deletedMessageStatuses": context.outbox.cancel(wire.message_ids(context.body))}


def _scheduled(context: OperationContext) -> Row:
    page = wire.page(context.query)
    return _paged("scheduledMessages", page, *context.outbox.scheduled(*page))


def _incoming(context: OperationContext) -> Row:
    page = wire.page(context.query)
    return _paged("incomingMessages", page, *context.inbox.page("incoming", *page))


def _short_code(context: OperationContext) -> Row:
    page = wire.page(context.query)
    return _paged("shortcodeMessages", page, *context.inbox.page("shortcode", *page))


def _opt_outs(context: OperationContext) -> Row:
    return {"incomingOptoutMessages": context.inbox.opt_outs()}


def _paged(key: str, page: wire.PageQuery, rows: list[Row], total: int) -> Row:
    paging = {"resultsOffset": page.offset, "resultsLimit": page.limit, "resultsTotalAvailable": total}
    return {key: rows, **paging}


def _pages(name: str, path: str, rows: str, perform: Callable[[OperationContext], Row]) -> Operation:
    return Operation(name, "GET", path, rows, perform, is_paged=True, lists=True)


OPERATIONS = (
    Operation("getCreditBalance", "GET", "/credits/balance", "", _balance),
    Operation("transferCredits", "POST", "/credits/transfer", "", _transfer),
    Operation("getSubAccounts", "GET", "/subaccounts", "subAccounts", _sub_accounts, lists=True),
    _pages("getShortCodeMessages", "/shortcode/incoming", "shortcodeMessages", _short_code),
    _pages("getIncomingMessages", "/sms/incoming", "incomingMessages", _incoming),
    Operation(
        "getOptoutMessages", "GET", "/sms/incoming/optout", "incomingOptoutMessages", _opt_outs, lists=True
    ),
    Operation("smsSend", "POST", "/sms/outgoing/send", "recipients", _send),
    Operation("smsSendBatch", "POST", "/sms/outgoing/sendmulti", "messages", _send_many),
    Operation("smsStatus", "POST", "/sms/outgoing/status", "messageStatuses", _status, lists=True),
    _pages("getScheduledMessages", "/sms/scheduled", "scheduledMessages", _scheduled),
    Operation("deleteScheduledMessages", "POST", "/sms/scheduled/delete", "deletedMessageStatuses", _cancel),
)

BY_PATH = {BASE_PATH + operation.path: operation for operation in OPERATIONS}


def operation_named(name: str) -> Operation:
    """Return an operation by its name, its path, or its path below the base path.

    :raises ValueError: if there is none.
    """
    for operation in OPERATIONS:
        if name in {operation.name, operation.path, BASE_PATH + operation.path}:
            return operation
    known = ", ".join(operation.name for operation in OPERATIONS)
    msg = f"There is no operation {name!r}. The operations are {known}. A path below {BASE_PATH} also works."
    raise ValueError(msg)


def row_count(answer: Row, operation: Operation) -> int:
    """Return how many rows an answer has; for a batch send, how many recipients."""
    rows = answer.get(operation.rows, ())
    return sum(len(row["recipients"]) if "recipients" in row else 1 for row in rows)
