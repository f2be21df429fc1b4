"""The rule that texts nobody who has opted out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.hashing import Pseudonym, is_hash
from airflow_provider_winsms.messages import RejectReason, pluralize

if TYPE_CHECKING:
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.messages import Recipient
    from airflow_provider_winsms.sending.rules.base import Draft, RuleContext


@dataclass(frozen=True, slots=True)
class OptOuts:
    """Takes out everybody on a list of opt-outs, as ``opted_out``. A text that is not sent costs nothing.

    Without arguments, the list is the gateway's own: read once, before the first request. With ``sql``, it is
    a list of yours; give ``OptOuts()`` beside it to use both.

    :param sql_conn_id: the connection of a database. Needs ``sql``.
    :param sql: a query whose first column holds numbers, in any spelling, or what a loaded table has in their
        place: their keyed hashes, or the pseudonyms of people who were forgotten, under the connection's
        ``hash_secret``. Other values are counted in a warning.
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
        gone = self._own_list(context) if self.sql_conn_id else _Listed(context.opted_out(), frozenset())
        for entry in draft:
            if gone.has(entry.recipient, context.hashes):
                draft.reject(entry.position, RejectReason.OPTED_OUT)

    def _own_list(self, context: RuleContext) -> _Listed:
        addresses, hidden, unreadable = set(), set(), 0
        for row in context.rows(self.sql_conn_id or "", self.sql or ""):
            address = context.address(row[0])
            if address is not None:
                addresses.add(address)
            elif _stands_for_a_number(row[0], context.hashes):
                hidden.add(row[0])
            else:
                unreadable += 1
        if unreadable:
            count = pluralize(unreadable, "row")
            context.log.warning("OptOuts: %s of the query hold no phone number, and are ignored.", count)
        return _Listed(frozenset(addresses), frozenset(hidden))


def _stands_for_a_number(value: object, hashes: KeyedHash) -> bool:
    """Tell whether a value is a keyed hash, or a pseudonym under this key."""
    if not isinstance(value, str):
        return False
    pseudonym = Pseudonym.read(value)
    return is_hash(value) if pseudonym is None else pseudonym.key_id == hashes.key_id


class _Listed(NamedTuple):
    """The people on a list.

    :param addresses: as entries have them.
    :param hidden: keyed hashes of numbers, and pseudonyms of people who were forgotten.
    """

    addresses: frozenset[str]
    hidden: frozenset[str]

    def has(self, recipient: Recipient, hashes: KeyedHash) -> bool:
        """Tell whether a recipient is on the list."""
        if recipient.address in self.addresses:
            return True
        if not self.hidden:
            return False
        number_hash = hashes.of(recipient.number)
        return not self.hidden.isdisjoint((number_hash, hashes.pseudonym_of_hash(number_hash)))
