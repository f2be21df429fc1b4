"""One try of a task to send its batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.runtime import process_name
from airflow_provider_winsms.sending.batch import BatchPlanner
from airflow_provider_winsms.sending.outcome import raise_if_failed
from airflow_provider_winsms.sending.policy import check_clocks
from airflow_provider_winsms.sending.submission import SendDependencies, Submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Execute, Gateway
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.ledger.base import Ledger
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.options import Tolerance
    from airflow_provider_winsms.runtime import Clock, ClockReading, Log
    from airflow_provider_winsms.sending.batch import PlannedBatch, SendOrder
    from airflow_provider_winsms.sending.composer import Composer


class SendAttempt:
    """Plans the batch of an order, submits what no earlier try has sent, and judges the outcome.

    :param compose: returns the checked messages that a composer makes of the content.
    :param ledger: of the batch's key.
    :param read_gateway_clock: reads the gateway's clock with the present of ``clock``.
    :param cancels_on_stop: whether ``stop`` cancels accepted texts that are not due yet.
    """

    def __init__(
        self,
        order: SendOrder,
        compose: Callable[[Composer], list[Message]],
        ledger: Ledger,
        *,
        gateway: Gateway,
        execute: Execute,
        hashes: KeyedHash,
        read_gateway_clock: Callable[[Callable[[], DateTime]], ClockReading | None],
        clock: Clock,
        log: Log,
        cancels_on_stop: bool = False,
    ) -> None:
        self._order = order
        self._ledger = ledger
        self._gateway = gateway
        self._execute = execute
        self._read_gateway_clock = read_gateway_clock
        self._clock = clock
        self._log = log
        self._cancels_on_stop = cancels_on_stop
        self._planner = BatchPlanner(order, compose, ledger, gateway=gateway, hashes=hashes, now=clock.now)
        self._submission: Submission | None = None
        self._planned: PlannedBatch | None = None

    @property
    def has_claims(self) -> bool:
        """Whether an earlier try has claimed a request of the batch. Then an empty list is an error."""
        return self._planner.has_claims

    def run(self, on_rejected: Tolerance) -> tuple[dict[str, Any], PlannedBatch]:
        """Send, and return the result of all tries, and the batch.

        :raises SmsError: as ``BatchPlanner.open``, ``Submission.run`` and ``raise_if_failed`` do.
        """
        planned = self._planned = self._planner.open()
        planned.log_to(self._log, self._order.policy.guarantee)
        submission = self._submission = self._submission_of(planned)
        submission.outcome.reject(recipient.reason for recipient in planned.rejects.recipients)
        submission.run()
        raise_if_failed(submission.outcome, planned.batch.id, on_rejected)
        return self._logged_result(planned, submission), planned

    def stop(self) -> None:
        """Submit nothing more, as ``Submission.stop`` does."""
        if self._submission is not None:
            self._submission.stop()

    def partial_result(self) -> dict[str, Any] | None:
        """Log and return the result of a run that failed; ``None`` if no try has submitted anything."""
        if self._planned is None or self._submission is None or not self._submission.outcome.requests:
            return None
        return self._logged_result(self._planned, self._submission)

    def _logged_result(self, planned: PlannedBatch, submission: Submission) -> dict[str, Any]:
        submission.outcome.log_to(self._log, is_shared=self._order.is_shared)
        return {"batch": planned.batch.id, **submission.outcome.summary()}

    def _submission_of(self, planned: PlannedBatch) -> Submission:
        return Submission(
            planned.rounds,
            SendDependencies(
                self._gateway,
                self._execute,
                self._ledger,
                self._clock,
                self._order.policy,
                self._log,
                planned.batch.id,
                process_name(),
            ),
            is_resumed=not planned.is_new,
            cancels_on_stop=self._cancels_on_stop,
            check_clocks=self._check_clocks,
        )

    def _check_clocks(self) -> None:
        check_clocks(self._read_gateway_clock(self._clock.now), self._ledger.read_clock())
