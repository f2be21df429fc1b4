"""Access to a ledger by its connection, and the ids of one of its batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import InvalidMessage
from airflow_provider_winsms.options import each_message_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_winsms.ledger.database import LedgerDatabase
    from airflow_provider_winsms.messages import MessageId


def check_message_ids(_: str, message_ids: object) -> None:
    """Check ids with ``each_message_id`` if they can be read more than once.

    :raises InvalidMessage: if there is no id, or a text is no list.
    """
    if isinstance(message_ids, (str, int, list, tuple, Mapping)):
        deque(each_message_id(message_ids), maxlen=0)


def check_batch_id(name: str, batch: object) -> None:
    """Check the id of a batch.

    :raises InvalidMessage: if it is no text.
    """
    if batch is not None and not isinstance(batch, str):
        msg = (
            f"`{name}` is of type {type(batch).__name__}. Give the id that a send operator returned, "
            'such as `send.output["batch"]`.'
        )
        raise InvalidMessage(msg)


def check_ids_or_batch(message_ids: object, batch: object, ledger_conn_id: str | None) -> None:
    """Require exactly one of ids and batch; a batch also needs a ledger.

    :raises InvalidMessage: if there is neither or both, or no ledger to look the batch up in.
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
    """Return the ids of a batch's texts that the gateway accepted and that were not cancelled.

    :raises ConfigurationError: if the connection leads to no database that can hold a ledger.
    :raises InvalidMessage: if there is no such batch.
    :raises LedgerUnavailable: if the database refuses something.
    """
    from airflow_provider_winsms.ledger.cancellations import Cancellations

    with ledger_at(ledger_conn_id, ledger_prefix) as ledger:
        return Cancellations(ledger).message_ids(batch.strip())


def ledger_at(ledger_conn_id: str, ledger_prefix: str) -> LedgerDatabase:
    """Open the ledger's tables behind a connection.

    :raises ConfigurationError: if the connection leads to no database that can hold a ledger.
    :raises LedgerUnavailable: if the database refuses something.
    """
    from airflow_provider_winsms.hooks.connections import sql_hook
    from airflow_provider_winsms.ledger.database import LedgerDatabase

    return LedgerDatabase(sql_hook(ledger_conn_id), ledger_prefix)
