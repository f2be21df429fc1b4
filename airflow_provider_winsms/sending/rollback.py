"""Cancels the accepted texts of a killed task, and finishes a cancellation that a kill left open."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import GatewayUnavailable, OutcomeUnknown, SendStopped
from airflow_provider_winsms.messages import Receipt, RejectReason, pluralize
from airflow_provider_winsms.sending.policy import DUE_MARGIN
from airflow_provider_winsms.sending.records import ClaimedRequest
from airflow_provider_winsms.sending.scheduled_list import expected_texts, read_scheduled

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from airflow_provider_winsms.ledger.base import RequestKey
    from airflow_provider_winsms.messages import Cancellation, DeliveryReport, MessageId
    from airflow_provider_winsms.sending.plan import Request
    from airflow_provider_winsms.sending.records import RecordWriter
    from airflow_provider_winsms.sending.submission import SendDependencies

_STATUS_DELAY = timedelta(minutes=10)  # until a text that has gone out surely has a status


class Rollback:
    """Ends a send whose task is killed.

    :param cancels: whether accepted texts that are not due yet are cancelled.
    :ivar is_stopped: whether the task is being killed.
    """

    def __init__(self, dependencies: SendDependencies, records: RecordWriter, *, cancels: bool) -> None:
        self.is_stopped = False
        self.cancels = cancels
        self._records = records
        self._gateway = dependencies.gateway
        self._execute = dependencies.execute
        self._ledger = dependencies.ledger
        self._clock = dependencies.clock
        self._policy = dependencies.policy
        self._log = dependencies.log
        self._processed: list[tuple[RequestKey, Request]] = []

    def add(self, key: RequestKey, request: Request) -> None:
        """Remember a request that may have accepted texts. The ledger has its record."""
        self._processed.append((key, request))

    def raise_if_stopped(self) -> None:
        """Cancel what can be cancelled, and raise, if the task is being killed.

        :raises SendStopped: in that case.
        """
        if not self.is_stopped:
            return
        self.cancel_accepted()
        msg = "The task is being killed; nothing more is submitted."
        raise SendStopped(msg)

    def cancel_accepted(self) -> None:
        """Cancel accepted texts that are not due yet, if the send cancels."""
        while self.cancels and self._processed:
            key, request = self._processed.pop()
            record = self._ledger.find(key)
            if record is not None and record.ids:
                self._cancel(ClaimedRequest(key, request, record))

    def _cancel(self, claimed: ClaimedRequest) -> None:
        now, record = self._clock.now(), claimed.record
        expected = expected_texts(claimed.request.messages(record.send_at))
        ids = [
            record.ids[position]
            for position in sorted(record.ids.keys() - record.cancelled_on_purpose)
            if position in expected and expected[position].send_at > now
        ]
        if not ids:
            return
        record.cancelling_at = now
        self._ledger.mark_cancelling(claimed.key, record)
        answers: list[Cancellation] = []
        try:
            for some in _parts(ids, self._gateway.limits.cancel_ids):
                # Not repeated: the answer to a repeat could not tell who cancelled which text.
                given = self._execute(replace(self._gateway.cancel(some), is_repeatable=False))
                answers += given
        except OutcomeUnknown as error:
            self._log.warning("Request %d: %s", claimed.key.request, error)
        if {answer.message_id for answer in answers}.issuperset(ids):
            self._record(claimed, {a.message_id for a in answers if a.cancelled})
        else:
            self.finish(claimed)

    def finish(self, claimed: ClaimedRequest) -> None:
        """Find out which texts a kill cancelled without a record. That request may still be under way.

        A text was cancelled if it is not scheduled, and has the state that the gateway reports of cancelled
        texts. Where that is ``NOT_FOUND``, a text that has gone out must still have a status: WinSMS keeps it
        for 90 days.

        :raises GatewayUnavailable: if it stays unknown for now.
        """
        record = claimed.record
        began = record.cancelling_at or self._clock.now()
        while (left := (began + self._policy.in_flight - self._clock.now()).total_seconds()) > 0:
            self._clock.sleep(min(1.0, left))
        waiting, is_complete = self._scheduled_ids()
        expected = expected_texts(claimed.request.messages(record.send_at))
        gone = {
            message_id: expected[position].send_at
            for position, message_id in record.ids.items()
            if position in expected
            and position not in record.cancelled_on_purpose
            and message_id not in waiting
        }
        reports = self._reports(list(gone))
        state = self._gateway.capabilities.cancelled_state
        unknown = {r.message_id for r in reports if r.state is state and r.message_id in gone}
        is_answered = gone.keys() <= {report.message_id for report in reports}
        now = self._clock.now()
        if not (is_complete and is_answered) or any(
            gone[i] - DUE_MARGIN <= now < gone[i] + _STATUS_DELAY for i in unknown
        ):
            msg = (
                f"It is unknown which texts of request {claimed.key.request} were cancelled. A later try "
                "asks again."
            )
            raise GatewayUnavailable(msg)
        proven = self._gateway.limits.status_proves_for
        is_stated = self._gateway.capabilities.states_cancellations
        self._record(claimed, {i for i in unknown if is_stated or now < gone[i] + proven})

    def _scheduled_ids(self) -> tuple[set[MessageId], bool]:
        """Return the ids of scheduled texts, and whether these are all; none if the gateway lists none."""
        if not self._gateway.capabilities.list_scheduled:
            return set(), True
        rows, is_complete = read_scheduled(self._execute, self._gateway)
        return {row.message_id for row in rows}, is_complete

    def _reports(self, ids: Sequence[MessageId]) -> list[DeliveryReport]:
        reports: list[DeliveryReport] = []
        for some in _parts(ids, self._gateway.limits.status_ids):
            given = self._execute(self._gateway.delivery_reports(some))
            reports += given
        return reports

    def _record(self, claimed: ClaimedRequest, cancelled: Collection[MessageId]) -> None:
        record = claimed.record
        self._log.info("Request %d: %s cancelled.", claimed.key.request, pluralize(len(cancelled), "text"))
        record.cancelling_at = None
        receipts = {
            position: Receipt.declined(RejectReason.CANCELLED, cost=record.costs.get(position, Decimal(0)))
            for position, message_id in record.ids.items()
            if message_id in cancelled
        }
        self._records.record(claimed.key, record, receipts)


def _parts(ids: Sequence[MessageId], size: int) -> Iterator[Sequence[MessageId]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
