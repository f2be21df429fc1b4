"""One try of a task to send its batch: it plans the batch, or resumes the one that an earlier try opened."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from airflow_provider_winsms.ledger.base import Batch
from airflow_provider_winsms.sending.batch_planner import BatchPlanner
from airflow_provider_winsms.sending.outcome import raise_if_failed
from airflow_provider_winsms.sending.policy import check_clocks
from airflow_provider_winsms.sending.submission import SendDependencies, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Execute, Gateway
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.ledger.base import BatchDigest, Ledger, Sender
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.options import CheckNumbers, Encoding, OnInvalid, Tolerance
    from airflow_provider_winsms.runtime import Clock, ClockReading, Log
    from airflow_provider_winsms.sending.batch_planner import PlannedBatch
    from airflow_provider_winsms.sending.composer import Composer
    from airflow_provider_winsms.sending.plan import Plan
    from airflow_provider_winsms.sending.plan_id import PlanId
    from airflow_provider_winsms.sending.policy import Policy
    from airflow_provider_winsms.sending.rules.rule_set import RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOrder:
    """The order of one task instance to send a batch.

    :param key: identifies the batch.
    :param is_shared: whether other tasks may have the same key.
    :param max_tries: of the task instance. It changes only when a person clears the task.
    :param currency: of the gateway's amounts.
    :param resends: whether a cleared task sends everything again.
    :param may_change: whether a later try may send another list.
    :param approved_plan: the only plan that may be sent; ``None``: any.
    """

    key: str = field(repr=False)
    is_shared: bool = False
    sender: Sender
    max_tries: int
    sms_conn_id: str
    currency: str
    policy: Policy
    check_numbers: CheckNumbers = "possible"
    encoding: Encoding = "transliterate"
    on_invalid: OnInvalid = "fail"
    resends: bool = False
    may_change: bool = False
    approved_plan: PlanId | None = None

    def was_cleared_since(self, found: Batch) -> bool:
        """Tell whether a person cleared the task since it opened a batch. Another task was not cleared."""
        return found.sender.is_same_task(self.sender) and found.max_tries != self.max_tries

    def may_send_rest_of(self, found: Batch) -> bool:
        """Tell whether a changed list may be sent under a batch.

        It never may under a batch of another task, and never if a plan was approved.
        """
        is_free = self.may_change and self.approved_plan is None
        return is_free and found.sender.is_same_task(self.sender)

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


class Sent(NamedTuple):
    """What the tries of a task have sent.

    :param result: of all tries, as JSON values.
    :param plan: of the whole list.
    :param held_until: until when the gateway holds texts without a time of their own; ``None``: they left at
        once.
    :param opened_at: when the first try opened the batch.
    """

    result: dict[str, Any]
    plan: Plan
    held_until: Collection[DateTime | None]
    opened_at: DateTime


class SendAttempt:
    """Plans the batch of an order, submits what no earlier try has sent, and judges the outcome.

    :param compose: returns the checked messages that a composer makes of the content.
    :param ledger: of the batch's key.
    :param read_gateway_clock: reads the gateway's clock with the present of ``clock``.
    :param rules: decide who gets a text, and when a request may leave.
    :param cancels_on_stop: whether ``stop`` cancels accepted texts that are not due yet.
    """

    def __init__(
        self,
        order: SendOrder,
        compose: Callable[[Composer], Sequence[Message]],
        ledger: Ledger,
        *,
        gateway: Gateway,
        execute: Execute,
        hashes: KeyedHash,
        read_gateway_clock: Callable[[Callable[[], DateTime]], ClockReading | None],
        clock: Clock,
        log: Log,
        rules: RuleSet,
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
        self._rules = rules
        self._planner = BatchPlanner(
            order, compose, ledger, gateway=gateway, hashes=hashes, now=clock.now, rules=rules
        )
        self._submission: Submission | None = None
        self._planned: PlannedBatch | None = None
        self._is_stopped = False

    @property
    def has_claims(self) -> bool:
        """Whether an earlier try has claimed a request of the batch. Then an empty list is an error."""
        return self._planner.has_claims

    def run(self, on_rejected: Tolerance) -> Sent:
        """Send, and return what all tries have sent.

        :raises SmsError: as ``BatchPlanner.open``, ``Submission.run`` and ``raise_if_failed`` do.
        """
        planned = self._planned = self._planner.open()
        planned.log_to(self._log, self._order.policy.guarantee)
        submission = self._submission = self._submission_of(planned)
        if self._is_stopped:
            submission.stop()
        submission.run()
        raise_if_failed(submission.outcome, planned.id, on_rejected)
        outcome, first = submission.outcome, planned.rounds[0]
        self._rules.settle(None if outcome.unpriced else outcome.cost, first.messages)
        result = self._logged_result(planned, submission)
        return Sent(result, planned.rounds[0], submission.outcome.held_until, planned.opened_at)

    def stop(self) -> None:
        """Submit nothing more, as ``Submission.stop`` does, also if the batch is not planned yet."""
        self._is_stopped = True
        if self._submission is not None:
            self._submission.stop()

    def partial_result(self) -> dict[str, Any] | None:
        """Log and return the result of a run that failed; ``None`` if no try has submitted anything."""
        if self._planned is None or self._submission is None or not self._submission.outcome.requests:
            return None
        return self._logged_result(self._planned, self._submission)

    def _logged_result(self, planned: PlannedBatch, submission: Submission) -> dict[str, Any]:
        summary = submission.outcome.logged_summary(self._log, is_shared=self._order.is_shared)
        return {"batch": planned.id, **summary}

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
                planned.id,
                _process_name(),
                self._rules.dispatch(),
            ),
            rejected=[recipient.reason for recipient in planned.rejects.recipients],
            taken_out=[recipient.reason for recipient in planned.taken_out],
            is_resumed=not planned.is_new,
            cancels_on_stop=self._cancels_on_stop,
            check_clocks=self._check_clocks,
        )

    def _check_clocks(self) -> None:
        check_clocks(self._read_gateway_clock(self._clock.now), self._ledger.read_clock())


def _process_name() -> str:
    """Return a name for this process that no other has: its host, its id, and chance."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
