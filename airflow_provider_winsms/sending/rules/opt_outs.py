"""The rule that texts nobody who has opted out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.messages import RejectReason, pluralize

if TYPE_CHECKING:
    from airflow_provider_winsms.sending.rules.base import Draft, RuleContext


@dataclass(frozen=True, slots=True)
class OptOuts:
    """Takes out everybody on a list of opt-outs, as ``opted_out``. A text that is not sent costs nothing.

    Without arguments, the list is the gateway's own: read once, before the first request. With ``sql``, it is
    a list of yours; give ``OptOuts()`` beside it to use both.

    :param sql_conn_id: the connection of a database. Needs ``sql``.
    :param sql: a query whose first column holds numbers, in any spelling. Values that are no numbers are
        counted in a warning.
    :raises InvalidMessage: if only one of both is given.
    """

    sql_conn_id: str | None = None
    sql: str | None = None

    def __post_init__(self) -> None:
        if bool(self.sql_conn_id) != bool(self.sql):
            msg = "OptOuts needs both sql_conn_id and sql, or neither for the gateway's own list."
            raise InvalidMessage(msg)

    def apply(self, draft: Draft, context: RuleContext) -> None:
        """Take out everybody on the list."""
        gone = self._own_list(context) if self.sql_conn_id else context.opted_out()
        for entry in draft:
            if entry.recipient.address in gone:
                draft.reject(entry.position, RejectReason.OPTED_OUT)

    def _own_list(self, context: RuleContext) -> frozenset[str]:
        found, unreadable = set(), 0
        for row in context.rows(self.sql_conn_id or "", self.sql or ""):
            address = context.address(row[0])
            if address is None:
                unreadable += 1
            else:
                found.add(address)
        if unreadable:
            count = pluralize(unreadable, "row")
            context.log.warning("OptOuts: %s of the query hold no phone number, and are ignored.", count)
        return frozenset(found)
