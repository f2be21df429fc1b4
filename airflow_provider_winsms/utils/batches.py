"""The ledger's tables by their connection, and a batch of them, given in place of message ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.options import each_message_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.ledger.history import HistorySizes, SmsHistory
    from airflow_provider_winsms.messages import MessageId


def check_message_ids(_: str, message_ids: object) -> None:
    """Hold ids against what ``each_message_id`` takes, where they can be read more than once.

    :raises InvalidMessage: if there is none, or a text is no list.
    """
    if isinstance(message_ids, (str, int, list, tuple, Mapping)):
        deque(each_message_id(message_ids), maxlen=0)


def check_batch_id(name: str, batch: object) -> None:
    """Hold a batch against what a send operator returns.

    :raises InvalidMessage: if it is no text.
    """
    if batch is not None and not isinstance(batch, str):
        msg = (
            f"`{name}` is of type {type(batch).__name__}. Give the id that a send operator returned, "
            'such as `send.output["batch"]`.'
        )
        raise InvalidMessage(msg)


def check_ids_or_batch(message_ids: object, batch: object, ledger_conn_id: str | None) -> None:
    """Hold what says which texts are meant against one another.

    :raises InvalidMessage: if there are neither ids nor a batch, or both, or no ledger to look a batch up in.
    """
    if batch is None and message_ids is None:
        check_message_ids("message_ids", ())
    if batch is not None and message_ids is not None:
        msg = "Both `message_ids` and `batch` are given. Give one of them."
        raise InvalidMessage(msg)
    if batch is not None and ledger_conn_id is None:
        msg = "`batch` needs `ledger_conn_id`, the one that the send operator was given. Or give ids."
        raise InvalidMessage(msg)


def ids_of_batch(ledger_conn_id: str, ledger_prefix: str, batch: str) -> Sequence[MessageId]:
    """Return the ids of all texts of a batch that the gateway took and that were not cancelled.

    :raises ConfigurationError: if the connection is none of a database that a ledger can be kept in.
    :raises InvalidMessage: if there is no such batch.
    :raises LedgerUnavailable: if the database refuses something.
    """
    with history_at(ledger_conn_id, ledger_prefix) as history:
        return history.message_ids(batch.strip())


def history_at(ledger_conn_id: str, ledger_prefix: str, sizes: HistorySizes | None = None) -> SmsHistory:
    """Open the ledger's tables behind a connection.

    :param sizes: how much is read at a time, if not as much as usual.
    :raises ConfigurationError: if the connection is none of a database that a ledger can be kept in.
    :raises LedgerUnavailable: if the database refuses something.
    """
    from airflow_provider_winsms.hooks.connections import sql_hook
    from airflow_provider_winsms.ledger.history import SmsHistory

    return SmsHistory(sql_hook(ledger_conn_id), ledger_prefix, sizes)
