"""Claimed requests, and their records in the ledger."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import ClaimLost, InvalidMessageId, LedgerUnavailable
from airflow_provider_winsms.messages import Receipt, RejectReason, message_id_of, pluralize

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_provider_winsms.ledger.base import RequestKey, RequestRecord
    from airflow_provider_winsms.sending.plan import Request
    from airflow_provider_winsms.sending.submission import SendDependencies

_RECORD_PAUSES = (1, 5, 15)  # seconds before a record that failed is tried again


@dataclass(frozen=True, slots=True)
class ClaimedRequest:
    """A request of a plan, and its record in the ledger."""

    key: RequestKey
    request: Request
    record: RequestRecord


class RecordWriter:
    """Keeps the records of claimed requests in step with the ledger.

    :ivar not_received: how many texts were marked as not received.
    """

    def __init__(self, dependencies: SendDependencies) -> None:
        self.not_received = 0
        self._ledger = dependencies.ledger
        self._clock = dependencies.clock
        self._log = dependencies.log

    def record(self, key: RequestKey, record: RequestRecord, receipts: Mapping[int, Receipt]) -> None:
        """Record receipts, by position. If that fails even when repeated, log the ids.

        An accepted text whose id cannot be stored stays in doubt: neither its state nor its cost can be told.
        """
        receipts = self._storable(key, receipts)
        record.apply(receipts)
        try:
            for pause in _RECORD_PAUSES:
                with suppress(LedgerUnavailable):
                    self._ledger.record(key, record, receipts)
                    return
                self._clock.sleep(pause)
            self._ledger.record(key, record, receipts)
        except BaseException:  # a time-out strikes anywhere
            self._log.exception(
                "Request %d was answered and could not be recorded. Its ids, by position: %s",
                key.request,
                record.ids,
            )
            raise

    def _storable(self, key: RequestKey, receipts: Mapping[int, Receipt]) -> dict[int, Receipt]:
        """Return the receipts with ids in their one form, without those whose ids cannot be stored."""
        storable = {}
        for position, receipt in receipts.items():
            if receipt.message_id is None:
                storable[position] = receipt
                continue
            with suppress(InvalidMessageId):
                message_id = message_id_of(str(receipt.message_id))
                is_same = message_id == receipt.message_id
                storable[position] = receipt if is_same else replace(receipt, message_id=message_id)
        if lost := len(receipts) - len(storable):
            self._log.warning(
                "Request %d: the gateway accepted %s under an id that cannot be stored. It stays in doubt.",
                key.request,
                pluralize(lost, "text"),
            )
        return storable

    def refresh(self, claimed: ClaimedRequest) -> None:
        """Read again what another process may have written: an earlier try may still run beside a retry.

        :raises ClaimLost: if the process that had claimed the request released it.
        """
        record, fresh = claimed.record, self._ledger.find(claimed.key)
        if fresh is None:
            raise claim_released(claimed.key)
        record.ids, record.costs, record.declined = fresh.ids, fresh.costs, fresh.declined
        record.claimed_at = fresh.claimed_at

    def mark_not_received(self, claimed: ClaimedRequest, positions: Collection[int]) -> bool:
        """Mark recipients to be sent to again, unless the owner of the claim still works on the request."""
        recipients = [recipient for part in claimed.request.parts for recipient in part.recipients]
        receipts = {p: Receipt.declined(RejectReason.NOT_RECEIVED, recipients[p].number) for p in positions}
        if not self._ledger.mark_not_received(claimed.key, claimed.record, receipts):
            return False
        self.not_received += len(receipts)
        claimed.record.apply(receipts)
        return True


def claim_released(key: RequestKey) -> ClaimLost:
    """Return the error of a request that a process claimed and then released."""
    return ClaimLost(f"The process that had claimed request {key.request} released it. Try again.")
