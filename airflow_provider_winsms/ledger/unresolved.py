"""Requests in the ledger's tables whose outcome is unknown, and a person's decisions about them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.ledger.base import RequestKey
from airflow_provider_winsms.ledger.database import read_moment, transaction
from airflow_provider_winsms.ledger.message_rows import MessageRows
from airflow_provider_winsms.ledger.schema import MessageState
from airflow_provider_winsms.ledger.statements import READ_CONNECTION, READ_UNRESOLVED_REQUESTS
from airflow_provider_winsms.messages import RejectReason, message_id_of, pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.ledger.message_rows import MessageRow
    from airflow_provider_winsms.messages import MessageId


DEFAULT_PREFIX = "sms_"
"""The beginning of the names of a ledger's tables."""


@dataclass(frozen=True, slots=True)
class UnresolvedRequest:
    """A request with recipients whose outcome is unknown.

    :param recipients: the number of these recipients.
    """

    batch_id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: RequestKey
    recipients: int
    claimed_at: DateTime
    send_at: DateTime | None

    def commands(self, ledger_conn_id: str | None, ledger_prefix: str) -> ResolvingCommands:
        """Return the commands that record its outcome.

        :param ledger_conn_id: the connection of its ledger; ``None``: the task state store.
        """
        words = ["airflow", "sms", "resolve", self.batch_id, "--request", str(self.key.request)]
        if self.key.round > 1:
            words += ["--round", str(self.key.round)]
        command = shlex.join([*words, *_ledger_words(ledger_conn_id, ledger_prefix)])
        ids = {1: "ID", 2: "ID_1 ID_2"}.get(self.recipients, f"ID_1 ... ID_{self.recipients}")
        return ResolvingCommands(f"{command} --not-accepted", f"{command} --accepted {ids}")


def listing_command(ledger_conn_id: str, ledger_prefix: str) -> str:
    """Return the command that lists all such requests of a ledger."""
    return shlex.join(["airflow", "sms", "unresolved", *_ledger_words(ledger_conn_id, ledger_prefix)])


def _ledger_words(ledger_conn_id: str | None, ledger_prefix: str) -> list[str]:
    if ledger_conn_id is None:
        return []
    prefix = [] if ledger_prefix == DEFAULT_PREFIX else ["--ledger-prefix", ledger_prefix]
    return ["--ledger-conn-id", ledger_conn_id, *prefix]


class ResolvingCommands(NamedTuple):
    """The commands for a request whose outcome is unknown: one of them is right."""

    if_not_accepted: str
    if_accepted: str


class UnresolvedRequests:
    """The requests with recipients in doubt, of any batch.

    :raises LedgerUnavailable: from every method, if the database refuses something.
    """

    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database
        self._messages = MessageRows(database)

    @transaction
    def unresolved(self) -> list[UnresolvedRequest]:
        """Return the requests with recipients in doubt, of batches that are in force, oldest first."""
        return list(map(_unresolved_request, self._database.read(READ_UNRESOLVED_REQUESTS)))

    @transaction
    def resolve(self, batch_id: str, key: RequestKey, accepted: Sequence[MessageId] | None) -> None:
        """Write a person's decision about the recipients in doubt of a request.

        :param accepted: their message ids, in their order; ``None`` if the gateway did not accept the texts:
            then a later try sends them.
        :raises InvalidMessage: if there is no such request, if there are more or fewer ids than recipients in
            doubt, or if an id belongs to another recipient.
        """
        ids = None if accepted is None else [message_id_of(str(each)) for each in accepted]
        self._database.lock(batch_id)
        rows = self._messages.of_request(batch_id, key)
        in_doubt = [row for row in rows if row.state is MessageState.UNKNOWN]
        if not in_doubt:
            msg = f"Request {key.request} of round {key.round} of the batch {batch_id!r} is not in doubt."
            raise InvalidMessage(msg)
        if ids is not None:
            self._check_ids(batch_id, ids, len(in_doubt))
        given = iter(ids or ())
        resolved = [
            _resolved(row, next(given, None)) if row.state is MessageState.UNKNOWN else row for row in rows
        ]
        self._messages.update(batch_id, key, rows, resolved)
        self._messages.mark_answered(batch_id, key)

    def _check_ids(self, batch_id: str, accepted: Sequence[MessageId], in_doubt: int) -> None:
        if len(accepted) != in_doubt:
            msg = f"{pluralize(in_doubt, 'recipient')} in doubt, and {pluralize(len(accepted), 'id')} given."
            raise InvalidMessage(msg)
        ((sms_conn_id,),) = self._database.read(READ_CONNECTION, batch_id=batch_id)
        others = {text.message_id for text in self._messages.sent_as(accepted, sms_conn_id)}
        taken = len(accepted) - len(set(accepted)) + len(others)
        if taken:
            msg = f"{taken} of the {pluralize(len(accepted), 'id')} belong to another recipient."
            raise InvalidMessage(msg)


def _resolved(row: MessageRow, message_id: MessageId | None) -> MessageRow:
    if message_id is None:
        return row.declined(RejectReason.NOT_RECEIVED)
    return row.accepted(message_id, Decimal(0))


def _unresolved_request(row: tuple[Any, ...]) -> UnresolvedRequest:
    batch_id, dag_id, run_id, task_id, map_index, round_, request, recipients, claimed_at, send_at = row
    return UnresolvedRequest(
        batch_id,
        dag_id,
        run_id,
        task_id,
        map_index,
        RequestKey(round_, request),
        recipients,
        read_moment(claimed_at),
        None if send_at is None else read_moment(send_at),
    )
