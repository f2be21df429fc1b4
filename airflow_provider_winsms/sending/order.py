"""What a task was asked to send, apart from texts and numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_winsms.ledger.base import Batch

if TYPE_CHECKING:
    from pendulum import DateTime

    from airflow_provider_winsms.ledger.base import BatchDigest, Sender
    from airflow_provider_winsms.options import CheckNumbers, OnClear, OnInvalid
    from airflow_provider_winsms.sending.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOrder:
    """The order of one task instance to send a batch.

    :param key: identifies the batch.
    :param is_shared: whether other tasks may have the same key.
    :param max_tries: of the task instance. It changes only when a person clears the task.
    :param currency: of the gateway's amounts.
    :param may_change: whether a later try may send another list.
    """

    key: str = field(repr=False)
    is_shared: bool = False
    sender: Sender
    max_tries: int
    sms_conn_id: str
    currency: str
    policy: Policy
    check_numbers: CheckNumbers = "possible"
    on_invalid: OnInvalid = "fail"
    on_clear: OnClear = "resume"
    may_change: bool = False

    @property
    def resends(self) -> bool:
        """Whether a cleared task sends everything again."""
        return self.on_clear == "resend"

    def was_cleared_since(self, found: Batch) -> bool:
        """Tell whether a person cleared the task since it opened a batch. Another task was not cleared."""
        return found.sender.is_same_task(self.sender) and found.max_tries != self.max_tries

    def may_send_rest_of(self, found: Batch) -> bool:
        """Tell whether a changed list may be sent under a batch; never under a batch of another task."""
        return self.may_change and found.sender.is_same_task(self.sender)

    def batch(self, digest: BatchDigest, opened_at: DateTime, found: Batch | None) -> Batch:
        """Return the batch of the order.

        :param found: the latest batch under the key, if there is one.
        """
        return Batch(
            key=self.key,
            sender=self.sender,
            digest=digest,
            sms_conn_id=self.sms_conn_id,
            guarantee=str(self.policy.guarantee),
            max_tries=self.max_tries,
            opened_at=opened_at,
            currency=self.currency,
            generation=1 if found is None else found.generation + 1,
        )
