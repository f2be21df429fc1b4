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


class Work(NamedTuple):
    """One valid request, and all it may touch."""

    account: Account
    outbox: Outbox
    inbox: Inbox
    now: float
    query: Mapping[str, str]
    body: Any

    def __repr__(self) -> str:
        """Show nothing of what is sent."""
        return f"Work(now={self.now})"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    :param name: its ``operationId`` in the vendor's document.
    :param path: below the base path.
    :param rows: the key of its list of rows, blank if it has none.
    :param is_paged: whether the list comes in pages.
    :param lists: whether it does nothing but list rows, so that a script may answer it.
    """

    name: str
    method: str
    path: str
    rows: str
    perform: Callable[[Work], Row]
    is_paged: bool = False
    lists: bool = False


def _balance(work: Work) -> Row:
    return {"creditBalance": work.account.balance}


def _transfer(work: Work) -> Row:
    return {"transferSuccessful": work.account.transfer(*wire.transfer(work.body))}


def _sub_accounts(work: Work) -> Row:
    return {"subAccounts": work.account.sub_accounts()}


def _send(work: Work) -> Row:
    return {"recipients": work.outbox.submit(wire.submission(work.body), work.now)}


def _send_many(work: Work) -> Row:
    return {
        "messages": [
            {"message": one.message, "recipients": work.outbox.submit(one, work.now)}
            for one in wire.submissions(work.body)
        ]
    }


def _status(work: Work) -> Row:
    return {"messageStatuses": work.outbox.statuses(wire.message_ids(work.body), work.now)}


def _cancel(work: Work) -> Row:
    return {"deletedMessageStatuses": work.outbox.cancel(wire.message_ids(work.body))}


def _scheduled(work: Work) -> Row:
    page = wire.page(work.query)
    return _paged("scheduledMessages", page, *work.outbox.scheduled(*page))


def _incoming(work: Work) -> Row:
    page = wire.page(work.query)
    return _paged("incomingMessages", page, *work.inbox.page("incoming", *page))


def _short_code(work: Work) -> Row:
    page = wire.page(work.query)
    return _paged("shortcodeMessages", page, *work.inbox.page("shortcode", *page))


def _opt_outs(work: Work) -> Row:
    return {"incomingOptoutMessages": work.inbox.opt_outs()}


def _paged(key: str, page: wire.PageQuery, rows: list[Row], total: int) -> Row:
    paging = {"resultsOffset": page.offset, "resultsLimit": page.limit, "resultsTotalAvailable": total}
    return {key: rows, **paging}


def _pages(name: str, path: str, rows: str, perform: Callable[[Work], Row]) -> Operation:
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


def named(name: str) -> Operation:
    """Return an operation by its name, its path, or its path below the base path.

    :raises ValueError: if there is none.
    """
    for operation in OPERATIONS:
        if name in {operation.name, operation.path, BASE_PATH + operation.path}:
            return operation
    known = ", ".join(operation.name for operation in OPERATIONS)
    msg = f"There is no operation {name!r}. The operations are {known}; a path below {BASE_PATH} will do too."
    raise ValueError(msg)


def row_count(answer: Row, operation: Operation) -> int:
    """Return how many rows an answer has; of a send of many, how many recipients."""
    rows = answer.get(operation.rows, ())
    return sum(len(row["recipients"]) if "recipients" in row else 1 for row in rows)
