"""Decides about recipients in doubt: it waits for another process, looks them up, and sends again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import GatewayUnavailable
from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.options import Guarantee
from airflow_provider_winsms.sending.lookups import LookupResult

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from airflow_provider_winsms.messages import Receipt
    from airflow_provider_winsms.sending.lookups import Lookup
    from airflow_provider_winsms.sending.records import ClaimedRequest, RecordWriter
    from airflow_provider_winsms.sending.submission import SendDependencies

LOOKUP_TIMEOUT = timedelta(hours=1)
"""How long after the last possible arrival of a request a source that proves nothing is read again."""

_LOOKUP_PAUSES = (1, 2, 4, 8, 15)  # seconds between readings while the request may arrive; the last repeats
_LATE_LOOKUP_PAUSES = (*(15,) * 10, 30, 60, 120, 300)  # and afterwards


class Reconciler:
    """Decides about recipients in doubt, as far as possible.

    :param raise_if_stopped: called at least once a second while the reconciler waits.
    """

    def __init__(
        self,
        dependencies: SendDependencies,
        records: RecordWriter,
        lookup: Lookup,
        raise_if_stopped: Callable[[], None],
    ) -> None:
        self._records = records
        self._lookup = lookup
        self._raise_if_stopped = raise_if_stopped
        self._clock = dependencies.clock
        self._policy = dependencies.policy
        self._process = dependencies.process
        self._log = dependencies.log

    def resolve(self, claimed: ClaimedRequest) -> None:
        """Find out about the recipients in doubt of a request, or mark them to be sent to again.

        If nothing is proved until ``LOOKUP_TIMEOUT``, they stay in doubt.
        """
        if self._lookup.covers(claimed):
            self._look_up(claimed)
        if claimed.record.owner != self._process:
            self._wait_for_other(claimed)
        if self._policy.guarantee is Guarantee.AT_LEAST_ONCE:
            self._resend_in_doubt(claimed)

    def _resend_in_doubt(self, claimed: ClaimedRequest) -> None:
        while claimed.record.in_doubt:
            self._log.warning(
                "Request %d: %s in doubt. They count as not accepted, and are submitted again.",
                claimed.key.request,
                pluralize(len(claimed.record.in_doubt), "recipient"),
            )
            if not self._records.mark_not_received(claimed, claimed.record.in_doubt):
                self._wait_for_other(claimed)

    def _wait_for_other(self, claimed: ClaimedRequest) -> None:
        """Wait until another process records the answer, or cannot receive one any more."""
        record = claimed.record
        until = record.claimed_at + self._policy.in_flight
        if self._clock.now() < until:
            self._log.info(
                "Request %d was claimed by another process or try; waiting until %s for its answer.",
                claimed.key.request,
                until.isoformat(timespec="seconds"),
            )
        self._records.refresh(claimed)
        while record.in_doubt and self._clock.now() < record.claimed_at + self._policy.in_flight:
            self._sleep(_LOOKUP_PAUSES[-1])
            self._records.refresh(claimed)

    def _look_up(self, claimed: ClaimedRequest) -> None:
        """Read the source until all recipients are found or proved absent."""
        record = claimed.record
        pauses, later_pauses = iter(_LOOKUP_PAUSES), iter(_LATE_LOOKUP_PAUSES)
        while True:
            self._records.refresh(claimed)
            began = self._clock.now()
            proven_at = record.claimed_at + self._policy.in_flight + self._lookup.delay
            positions = self._lookup.open_positions(claimed)
            if not positions:
                self._log_silence(claimed)
                return
            result = self._read(claimed, positions)
            if result.adopted:
                self._adopt(claimed, result.adopted)
            if began >= proven_at and result.absent:
                self._conclude_absence(claimed, result.absent)
            is_last = began >= proven_at and (result.is_complete or began >= proven_at + LOOKUP_TIMEOUT)
            if not record.in_doubt or is_last:
                return
            left = (proven_at - self._clock.now()).total_seconds()
            if left > 0:
                self._sleep(min(next(pauses, _LOOKUP_PAUSES[-1]), left))
            else:
                self._sleep(next(later_pauses, _LATE_LOOKUP_PAUSES[-1]))

    def _read(self, claimed: ClaimedRequest, positions: Collection[int]) -> LookupResult:
        try:
            return self._lookup.read(claimed, positions)
        except GatewayUnavailable as error:
            self._log.warning("%s could not be read: %s", self._lookup.source, error)
            return LookupResult(is_complete=False)

    def _log_silence(self, claimed: ClaimedRequest) -> None:
        if claimed.record.in_doubt:
            self._log.warning(
                "Request %d: %s in doubt. %s.",
                claimed.key.request,
                pluralize(len(claimed.record.in_doubt), "recipient"),
                self._lookup.silence,
            )

    def _adopt(self, claimed: ClaimedRequest, receipts: Mapping[int, Receipt]) -> None:
        self._log.info(
            "Request %d: its answer was lost. %s has %s of %d in doubt, with their %s: accepted.",
            claimed.key.request,
            self._lookup.source,
            pluralize(len(receipts), "recipient"),
            len(claimed.record.in_doubt),
            self._lookup.evidence,
        )
        self._records.record(claimed.key, claimed.record, receipts)

    def _conclude_absence(self, claimed: ClaimedRequest, positions: Sequence[int]) -> None:
        is_resubmitted = self._policy.guarantee is not Guarantee.AT_MOST_ONCE
        if is_resubmitted and not self._records.mark_not_received(claimed, positions):
            self._records.refresh(claimed)
            return
        self._log.info(
            "Request %d: its answer was lost. %s lacks %s in doubt, %.0f seconds "
            "after the claim, when the request cannot reach the gateway any more: not accepted%s.",
            claimed.key.request,
            self._lookup.source,
            pluralize(len(positions), "recipient"),
            (self._clock.now() - claimed.record.claimed_at).total_seconds(),
            ", and submitted again" if is_resubmitted else ", it seems; a person decides",
        )

    def _sleep(self, seconds: float) -> None:
        """Sleep. A kill of the task ends the sleep within a second."""
        until = self._clock.now() + timedelta(seconds=seconds)
        while (left := (until - self._clock.now()).total_seconds()) > 0:
            self._raise_if_stopped()
            self._clock.sleep(min(1.0, left))
