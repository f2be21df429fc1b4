"""Opens the batch of a send in its ledger, or finds the one to resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import ClaimLost, IdempotencyConflict
from airflow_provider_winsms.messages import pluralize

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.ledger.base import Batch, Ledger, Sender


def is_cleared(found: Batch, sender: Sender, max_tries: int) -> bool:
    """Tell whether a person cleared the task since it opened the batch. Another task was not cleared."""
    return found.sender.is_same_task(sender) and found.max_tries != max_tries


def open_batch(
    ledger: Ledger,
    wanted: Batch,
    resumed: Batch | None,
    *,
    sends_the_rest: Callable[[Batch], bool] = lambda _: False,
) -> Batch:
    """Return the batch to send: a new one, or the one that an earlier try or another task opened.

    :param resumed: the batch to resume, if there is one.
    :param sends_the_rest: tells whether a batch may be resumed with another list.
    :raises ClaimLost: if an earlier try still runs and has opened a batch with another list.
    :raises IdempotencyConflict: if the batch in the ledger has other texts or recipients.
    """
    found = resumed or ledger.open(wanted)
    if found.sends_the_same(wanted):
        return found
    if found.has_another_list(wanted) and sends_the_rest(found):
        msg = (
            "An earlier try, which still runs, has begun to send another list meanwhile. This try sent "
            "nothing. A later one sends the rest of its list."
        )
        raise ClaimLost(msg)
    raise IdempotencyConflict(_conflict_message(found, wanted))


def _conflict_message(found: Batch, wanted: Batch) -> str:
    if found.digest.key_id != wanted.digest.key_id:
        return (
            f"The batch {_label(found)} was opened with another API key (or hash_secret), so it is unknown "
            "whether this one sends the same. Put the old key back, or start a new DAG run. Nothing was "
            "sent."
        )
    differing = [
        words
        for words, is_other in (
            ("text, time or segments", found.digest.texts != wanted.digest.texts),
            ("recipients", found.digest.numbers != wanted.digest.numbers),
            (f"connection ({found.sms_conn_id})", found.sms_conn_id != wanted.sms_conn_id),
        )
        if is_other
    ]
    return (
        f"The batch {_label(found)} has other {' and other '.join(differing)} than this one, "
        f"{_label(wanted)}, under the same key. Nothing was sent. Give the same values as then. To send only "
        "to recipients whom no earlier try of the same task has claimed, give "
        'on_changed="send_the_rest". To send all of this one, clear the task with on_clear="resend", start '
        "a new DAG run, or choose another idempotency_key."
    )


def _label(batch: Batch) -> str:
    digest = batch.digest
    return (
        f"{batch.id[:8]} of {batch.sender.key} at {batch.opened_at.isoformat()} "
        f"({pluralize(digest.recipients, 'recipient')}, texts {digest.texts[:8]}, numbers "
        f"{digest.numbers[:8]})"
    )
