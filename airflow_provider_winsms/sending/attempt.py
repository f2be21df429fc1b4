"""One try of a task to send its batch: it plans the batch, or resumes the one that an earlier try opened."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_provider_winsms.exceptions import ClaimLost, IdempotencyConflict, InvalidMessage, NothingToSend
from airflow_provider_winsms.ledger.base import Batch
from airflow_provider_winsms.messages import pluralize
from airflow_provider_winsms.options import Guarantee
from airflow_provider_winsms.sending.composer import Composer, RejectedRecipients
from airflow_provider_winsms.sending.outcome import raise_if_failed
from airflow_provider_winsms.sending.plan import has_room_for_times, plan
from airflow_provider_winsms.sending.policy import check_clocks
from airflow_provider_winsms.sending.replan import replan
from airflow_provider_winsms.sending.submission import FIRST_REQUEST, SendDependencies, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Execute, Gateway
    from airflow_provider_winsms.hashing import KeyedHash
    from airflow_provider_winsms.ledger.base import BatchDigest, Ledger, Sender
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.options import CheckNumbers, Encoding, OnInvalid, Tolerance
    from airflow_provider_winsms.runtime import Clock, ClockReading, Log
    from airflow_provider_winsms.sending.plan import Plan
    from airflow_provider_winsms.sending.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOrder:
    """The order of one task instance to send a batch.

    :param key: identifies the batch.
    :param is_shared: whether other tasks may have the same key.
    :param max_tries: of the task instance. It changes only when a person clears the task.
    :param currency: of the gateway's amounts.
    :param resends: whether a cleared task sends everything again.
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
    encoding: Encoding = "transliterate"
    on_invalid: OnInvalid = "fail"
    resends: bool = False
    may_change: bool = False

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


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch that is open in the ledger, and how it is sent.

    :param id: of the batch.
    :param rounds: the plans: the first round, and the later rounds that an earlier try has opened.
    :param is_new: whether this try opened it.
    :param rejects: the recipients who are left out because they are invalid.
    """

    id: str
    rounds: Sequence[Plan]
    is_new: bool
    rejects: RejectedRecipients

    def log_to(self, log: Log, guarantee: Guarantee) -> None:
        """Log what is sent and what is left out, in counts and masked numbers."""
        planned = self.rounds[0]
        log.info(
            "%s %s in %s, %s; %s left out. Batch %s.",
            "Sending to" if self.is_new else "Resuming; no accepted text is sent again:",
            pluralize(planned.recipients, "recipient"),
            pluralize(len(planned.requests), "request"),
            str(guarantee).replace("_", " "),
            pluralize(planned.duplicates, "duplicate"),
            self.id,
        )
        if planned.changes is not None:
            log.warning(
                "The list has changed since an earlier try. Of the recipients whom that try claimed, "
                "%(kept)d are still in the list and %(gone)d are not. %(added)d others are sent to. "
                "%(changed)d are left out, because another text was sent to their number.",
                asdict(planned.changes),
            )
        if self.rejects.recipients:
            log.warning(
                "Not sent to, because invalid: %s. The first: %s",
                pluralize(len(self.rejects.recipients), "recipient"),
                " ".join(self.rejects.shown),
            )
        if planned.shown_duplicates:
            log.info("Duplicates left out; the first: %s.", ", ".join(planned.shown_duplicates))


class BatchPlanner:
    """Plans the batch of an order, in the light of what earlier tries have sent.

    :param compose: returns the checked messages that a composer makes of the content.
    :param ledger: of the batch's key.
    :param now: returns the present.
    """

    def __init__(
        self,
        order: SendOrder,
        compose: Callable[[Composer], list[Message]],
        ledger: Ledger,
        *,
        gateway: Gateway,
        hashes: KeyedHash,
        now: Callable[[], DateTime],
    ) -> None:
        self._order = order
        self._compose = compose
        self._gateway = gateway
        self._hashes = hashes
        self._ledger = ledger
        self._now = now
        self._rejects = RejectedRecipients()
        self.has_claims = False
        """Whether an earlier try has claimed a request of the batch. Then an empty list is an error."""

    def open(self) -> PlannedBatch:
        """Return the batch to send, which is open in the ledger.

        If nothing of a batch was submitted, because its key or text was wrong, a new batch replaces it.

        :raises InvalidMessage: if the content is invalid, or a resumed batch cannot have this guarantee.
        :raises NothingToSend: if there is no recipient.
        :raises ClaimLost: if an earlier try still runs and has opened a batch with another list.
        :raises IdempotencyConflict: if the batch in the ledger has other texts or recipients.
        """
        found = self._ledger.latest()
        is_resent = found is not None and self._order.resends and self._order.was_cleared_since(found)
        resumed = None if is_resent else found
        self.has_claims = resumed is not None and self._ledger.find(FIRST_REQUEST) is not None
        if resumed is not None and self.has_claims:
            rounds, wanted, resumed = self._resume(resumed)
        else:
            rounds, wanted, resumed = self._begin(found, resumed)
        batch = open_batch(self._ledger, wanted, resumed, may_send_rest_of=self._order.may_send_rest_of)
        if self._order.on_invalid == "reject" or resumed is not None:
            self._ledger.reject(self._rejects.recipients)
        return PlannedBatch(batch.id, rounds, resumed is None and batch is wanted, self._rejects)

    def _begin(self, found: Batch | None, resumed: Batch | None) -> tuple[list[Plan], Batch, Batch | None]:
        """Plan a batch of which nothing was submitted. It is resumed only if it is the same."""
        rounds = [plan(self._messages(self._now), self._gateway, is_held=self._order.policy.is_held)]
        wanted = self._order.batch(rounds[0].digest(self._hashes), self._now(), found)
        is_same = (
            resumed is not None and resumed.sends_the_same(wanted) and resumed.guarantee == wanted.guarantee
        )
        return rounds, wanted, resumed if is_same else None

    def _resume(self, resumed: Batch) -> tuple[list[Plan], Batch, Batch]:
        """Plan a batch with claimed requests, and return it as it is sent now."""
        # Split as in the first try: records identify requests by their keys.
        is_held = self._order.policy.holds(Guarantee(resumed.guarantee))
        may_send_rest = self._order.may_send_rest_of(resumed)
        try:
            messages = self._messages(lambda: resumed.opened_at)
        except NothingToSend:
            if not may_send_rest:
                raise
            messages = []
        rounds = [plan(messages, self._gateway, is_held=is_held)]
        wanted = self._order.batch(rounds[0].digest(self._hashes), self._now(), resumed)
        if (may_send_rest and resumed.has_another_list(wanted)) or resumed.was_revised_to(wanted):
            self._ledger.take_over()
            rounds = replan(messages, self._gateway, self._ledger, is_held=is_held)
            wanted = resumed = replace(resumed, digest=rounds[0].digest(self._hashes))
            self._ledger.revise(resumed.digest)
        if self._order.policy.is_held and not has_room_for_times(rounds[0]):
            msg = (
                f'The batch was opened with guarantee="{resumed.guarantee}", and its requests have no room '
                "for a time. Keep that guarantee."
            )
            raise InvalidMessage(msg)
        return rounds, wanted, resumed

    def _messages(self, now: Callable[[], DateTime]) -> list[Message]:
        """Return the messages; a resumed batch compares their times with the time when it was opened."""
        order = self._order
        rejects = self._rejects if order.on_invalid == "reject" else None
        return self._compose(Composer(self._gateway, now, order.check_numbers, order.encoding, rejects))


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

    def run(self, on_rejected: Tolerance) -> tuple[dict[str, Any], Plan]:
        """Send, and return the result of all tries, and the plan of the whole list.

        :raises SmsError: as ``BatchPlanner.open``, ``Submission.run`` and ``raise_if_failed`` do.
        """
        planned = self._planned = self._planner.open()
        planned.log_to(self._log, self._order.policy.guarantee)
        submission = self._submission = self._submission_of(planned)
        submission.run()
        raise_if_failed(submission.outcome, planned.id, on_rejected)
        return self._logged_result(planned, submission), planned.rounds[0]

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
            ),
            rejected=[recipient.reason for recipient in planned.rejects.recipients],
            is_resumed=not planned.is_new,
            cancels_on_stop=self._cancels_on_stop,
            check_clocks=self._check_clocks,
        )

    def _check_clocks(self) -> None:
        check_clocks(self._read_gateway_clock(self._clock.now), self._ledger.read_clock())


def _process_name() -> str:
    """Return a name for this process that no other has: its host, its id, and chance."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"


def open_batch(
    ledger: Ledger,
    wanted: Batch,
    resumed: Batch | None,
    *,
    may_send_rest_of: Callable[[Batch], bool] = lambda _: False,
) -> Batch:
    """Return the batch to send: a new one, or the one that an earlier try or another task opened.

    :param resumed: the batch to resume, if there is one.
    :param may_send_rest_of: tells whether a batch may be resumed with another list.
    :raises ClaimLost: if an earlier try still runs and has opened a batch with another list.
    :raises IdempotencyConflict: if the batch in the ledger has other texts or recipients.
    """
    found = resumed or ledger.open(wanted)
    if found.sends_the_same(wanted):
        return found
    if found.has_another_list(wanted) and may_send_rest_of(found):
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
