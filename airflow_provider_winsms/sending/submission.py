"""Submits a plan, round by round. Every request is claimed before it leaves, and none is submitted twice.

Pure logic over a gateway, a ledger, a clock and a function that executes calls. It knows neither Airflow nor
HTTP.

Each request is claimed in the ledger, submitted, and its receipts are recorded before the next one begins.
The guarantee decides about recipients in doubt after a lost answer: they stay unknown, or are looked up at
the gateway, or count as not accepted. Texts to be sent again form a new round with requests of its own, so
that no request is submitted twice.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import (
    ClaimLost,
    GatewayUnavailable,
    IdempotencyConflict,
    InvalidMessage,
    LedgerUnavailable,
    OutcomeUnknown,
    SmsError,
    UnsupportedCapability,
)
from airflow_provider_winsms.ledger.base import RequestKey, RequestRecord
from airflow_provider_winsms.messages import Receipt, RejectReason, pluralize
from airflow_provider_winsms.options import Guarantee
from airflow_provider_winsms.sending.lookups import lookup_for
from airflow_provider_winsms.sending.outcome import SendOutcome
from airflow_provider_winsms.sending.plan import plan_resend
from airflow_provider_winsms.sending.policy import CLAIM_LIFETIME, DUE_MARGIN
from airflow_provider_winsms.sending.progress import SendProgress
from airflow_provider_winsms.sending.reconciler import Reconciler
from airflow_provider_winsms.sending.records import ClaimedRequest, RecordWriter, claim_released
from airflow_provider_winsms.sending.rollback import Rollback
from airflow_provider_winsms.sending.rules.rule_set import Dispatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Execute, Gateway
    from airflow_provider_winsms.ledger.base import Ledger, ResendPlan
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.runtime import Clock, Log
    from airflow_provider_winsms.sending.lookups import Lookup
    from airflow_provider_winsms.sending.plan import Plan, Request
    from airflow_provider_winsms.sending.policy import Policy

FIRST_REQUEST = RequestKey(1, 1)
"""Requests are claimed in order. If this one was not claimed, nothing was submitted."""

ROUNDS_PER_TRY = 3
"""How often one try submits texts that did not reach the gateway."""

LOST_IN_A_ROW = 2
"""After this many lost answers in a row, nothing more is submitted."""


@dataclass(frozen=True, slots=True)
class SendDependencies:
    """What the parts of a send work with.

    :param batch_id: the batch that the ledger has open.
    :param process: identifies this process among all that may send the batch.
    :param dispatch: decides when a request may go out.
    """

    gateway: Gateway
    execute: Execute
    ledger: Ledger
    clock: Clock
    policy: Policy
    log: Log
    batch_id: str
    process: str
    dispatch: Dispatch = field(default_factory=Dispatch)


class Submission:
    """Submits a plan, over several tries if need be.

    :param rounds: the plans: the first round, and the later rounds that are planned already.
    :param rejected: why invalid recipients came into no request.
    :param taken_out: why rules let recipients come into no request.
    :param is_resumed: whether the ledger may have records of the batch.
    :param cancels_on_stop: whether ``stop`` cancels accepted texts that are not due yet.
    :param check_clocks: called once, before an ``EXACTLY_ONCE`` send submits or decides anything. An error
        that it raises prevents both.
    """

    def __init__(
        self,
        rounds: Sequence[Plan],
        dependencies: SendDependencies,
        *,
        rejected: Sequence[RejectReason] = (),
        taken_out: Sequence[RejectReason] = (),
        is_resumed: bool = True,
        cancels_on_stop: bool = False,
        check_clocks: Callable[[], None] = lambda: None,
    ) -> None:
        self.outcome = SendOutcome.before(rounds[0], rejected, taken_out, dependencies.gateway.currency)
        self._gateway = dependencies.gateway
        self._ledger = dependencies.ledger
        self._policy = dependencies.policy
        self._dispatch = dependencies.dispatch
        self._log = dependencies.log
        self._is_resumed = is_resumed
        self._check_clocks: Callable[[], None] | None = check_clocks
        self._is_halted = False
        self._is_running = False
        self._rounds = list(rounds)
        self._progress = SendProgress(self._rounds, self.outcome, dependencies)
        self._resend_plans: list[ResendPlan] = []
        self._resendable: dict[RequestKey, dict[int, RejectReason]] = {}
        lookup = lookup_for(dependencies)
        self._records = RecordWriter(dependencies)
        self._rollback = Rollback(dependencies, self._records, cancels=cancels_on_stop)
        self._submitter = Submitter(dependencies, self._records, lookup, self.outcome)
        self._reconciler = Reconciler(dependencies, self._records, lookup, self._rollback.raise_if_stopped)

    def run(self) -> None:
        """Submit open requests, and decide about recipients in doubt, in order. ``outcome`` keeps count.

        An account-level rejection ends the submission, since every further recipient would be declined too.
        So do ``LOST_IN_A_ROW`` lost answers in a row. After all errors except the last two, a later try
        resumes where this one stopped.

        :raises GatewayUnavailable: if a later try is needed.
        :raises LedgerUnavailable: if a claim cannot be written. No request leaves without a claim.
        :raises ClocksDiffer: if clocks differ so that a held send could not be looked up.
        :raises ClaimLost: if another process has the request, or the batch was superseded.
        :raises SendStopped: if ``stop`` was called.
        :raises IdempotencyConflict: if the ledger has a request of another size.
        :raises InvalidMessage: if the time of texts that are still to be submitted has passed.
        """
        self._is_running = True
        try:
            self._run()
            if self._rollback.cancels:
                self._rollback.raise_if_stopped()
        finally:
            self._is_running = False
            self._progress.flush()

    def stop(self) -> None:
        """Submit nothing more. With ``cancels_on_stop``, cancel accepted texts that are not due yet.

        Called on the thread of ``run``: while it runs, so that it ends soon, or after it was interrupted.
        """
        self._rollback.is_stopped = True
        if self._is_running:
            return
        try:
            self._rollback.cancel_accepted()
        except SmsError as error:
            self._log.warning("Not all texts that are not due yet could be cancelled: %s", error)

    def _run(self) -> None:
        self._resend_plans = self._ledger.rounds() if self._is_resumed else []
        unreceived = 0
        for round_ in count(1):
            if round_ > 1:
                resend_plan = self._resend_plan_of(round_, unreceived)
                if not resend_plan:
                    return
                if round_ > len(self._rounds):
                    most = self._dispatch.most_recipients
                    again = plan_resend(self._rounds, resend_plan, self._gateway, most_recipients=most)
                    self._rounds.append(again)
            before = self._records.not_received
            self._run_round(round_)
            if self._is_halted:
                self._count_rounds_after(round_)
                return
            unreceived += self._records.not_received > before

    def _resend_plan_of(self, round_: int, unreceived: int) -> ResendPlan:
        """Return whom a round sends to: as the ledger has it, or the recipients left from earlier rounds.

        :param unreceived: how many rounds of this try had texts that did not reach the gateway.
        """
        if round_ - 2 < len(self._resend_plans):
            return self._resend_plans[round_ - 2]
        wanted = {key: sorted(reasons) for key, reasons in self._resendable.items() if reasons}
        if not wanted:
            return {}
        if unreceived >= ROUNDS_PER_TRY:
            msg = (
                f"{pluralize(sum(map(len, wanted.values())), 'text')} did not reach the gateway in "
                f"{ROUNDS_PER_TRY} submissions. A later try submits them again."
            )
            raise GatewayUnavailable(msg)
        resend_plan = self._ledger.open_round(round_, wanted)
        self._resend_plans.append(resend_plan)
        for key, positions in resend_plan.items():
            reasons = self._resendable.get(key, {})
            self.outcome.repeated += sum(position not in reasons for position in positions)
            self.outcome.remove_resent([reasons.pop(p) for p in positions if p in reasons])
        return resend_plan

    def _run_round(self, round_: int) -> None:
        for of, request in enumerate(self._rounds[round_ - 1].requests, start=1):
            key = RequestKey(round_, of)
            record = self._run_request(key, request)
            is_over = self._count(key, record, request.gone)
            self._progress.note(key, record)
            self._resendable[key] = {p: why for p, why in record.resendable.items() if p not in is_over}
            if self._submitter.is_account_refused or self._has_lost_too_many(record):
                self._is_halted = True
                break

    def _count(self, key: RequestKey, record: RequestRecord, gone: frozenset[int]) -> set[int]:
        """Count a request, and return its positions that are sent again or no longer in the list."""
        sent_again = {p for resend_plan in self._resend_plans for p in resend_plan.get(key, ())}
        self.outcome.add(key, record, sent_again, gone)
        return sent_again | gone

    def _count_rounds_after(self, round_: int) -> None:
        """Count the requests that earlier tries have claimed in later rounds."""
        for later in range(round_ + 1, len(self._resend_plans) + 2):
            planned = self._rounds[later - 1].requests if later <= len(self._rounds) else ()
            for of in count(1):
                key = RequestKey(later, of)
                record = self._ledger.find(key)
                if record is None:
                    break
                self.outcome.accepted_before += len(record.ids)
                self._count(key, record, planned[of - 1].gone if of <= len(planned) else frozenset())

    def _has_lost_too_many(self, record: RequestRecord) -> bool:
        if self._submitter.lost_in_a_row < LOST_IN_A_ROW:
            return False
        if record.in_doubt:
            return True
        msg = f"{LOST_IN_A_ROW} requests in a row did not reach the gateway. A later try submits them again."
        raise GatewayUnavailable(msg)

    def _run_request(self, key: RequestKey, request: Request) -> RequestRecord:
        """Return the record of a request. Submit it first, if no process has claimed it."""
        record = self._ledger.find(key) if self._is_resumed else None
        if record is not None:
            self._check_found(ClaimedRequest(key, request, record))
        if record is None or record.in_doubt:
            self._check_clocks_once()
        is_found = record is not None
        if record is None:
            self._rollback.raise_if_stopped()
            if request.is_claimed:
                raise claim_released(key)
            record = self._submitter.submit(key, request)
        claimed = ClaimedRequest(key, request, record)
        self._rollback.add(key, request)
        if record.in_doubt:
            self._reconciler.resolve(claimed)
        self.outcome.accepted_before += len(record.ids) if is_found else 0
        if record.size == len(record.ids):
            self._submitter.lost_in_a_row = 0
        return record

    def _check_found(self, claimed: ClaimedRequest) -> None:
        """Refuse a request of another size, and finish a cancellation that a kill left open."""
        key, request, record = claimed.key, claimed.request, claimed.record
        if record.size != request.size:
            msg = (
                f"The ledger has a request {key.request} of {pluralize(record.size, 'recipient')}; this one "
                f"has {request.size}. Nothing more was sent. Start a new DAG run, or clear the task with "
                'on_clear="resend".'
            )
            raise IdempotencyConflict(msg)
        if record.cancelling_at is not None:
            self._rollback.finish(claimed)

    def _check_clocks_once(self) -> None:
        if self._policy.guarantee is Guarantee.EXACTLY_ONCE and self._check_clocks is not None:
            self._check_clocks()
            self._check_clocks = None


class Submitter:
    """Claims, submits and records one request after another.

    :ivar lost_in_a_row: how many answers were lost since the last one that arrived or was found.
    :ivar is_account_refused: whether the gateway declined a recipient for a reason that holds for all.
    """

    def __init__(
        self, dependencies: SendDependencies, records: RecordWriter, lookup: Lookup, outcome: SendOutcome
    ) -> None:
        self.lost_in_a_row = 0
        self.is_account_refused = False
        self._records = records
        self._lookup = lookup
        self._outcome = outcome
        self._gateway = dependencies.gateway
        self._execute = dependencies.execute
        self._ledger = dependencies.ledger
        self._clock = dependencies.clock
        self._policy = dependencies.policy
        self._dispatch = dependencies.dispatch
        self._process = dependencies.process
        self._log = dependencies.log

    def submit(self, key: RequestKey, request: Request) -> RequestRecord:
        """Return the record of a request: this process's, or that of a process that claimed it first.

        :raises InvalidMessage: if the time of texts has passed.
        :raises LedgerUnavailable: if the claim cannot be written. No request leaves without a claim.
        """
        if self.lost_in_a_row:
            self._check_gateway_answers()
        now = self._clock.now()
        held = self._held_until(now, request)
        messages = request.messages(held)
        _raise_if_past(messages, now)
        due = frozenset(m.send_at.in_timezone("UTC") for m in messages if m.send_at is not None)
        record = RequestRecord(request.size, now, self._process, held, due=due)
        try:
            self._ledger.claim(key, record, messages)
        except ClaimLost:
            claimed = self._ledger.find(key)
            if claimed is None:
                raise
            return claimed
        except LedgerUnavailable:
            with suppress(LedgerUnavailable):
                self._ledger.release_claim(key, record)  # it may have been written, and its answer lost
            raise
        self._send(key, record, messages)
        return record

    def _held_until(self, now: DateTime, request: Request) -> DateTime | None:
        """Return the time of the texts without one; ``None``: at once.

        :raises SmsError: if a rule lets the texts go out at no time.
        """
        held = self._policy.held_until(now, self._gateway)
        return self._dispatch.held_until(held or now, request, self._gateway) or held

    def _send(self, key: RequestKey, record: RequestRecord, messages: Sequence[Message]) -> None:
        """Submit a claimed request, and record its answer. Release the claim if the request never left."""
        is_out = False

        @contextmanager
        def before_send() -> Iterator[None]:
            nonlocal is_out
            self._check_claim(key, record)
            is_out = True
            try:
                yield
            except OutcomeUnknown:
                raise
            except SmsError:
                is_out = False
                raise

        try:
            receipts = self._execute(self._gateway.submit(self._lookup.outgoing(key, messages)), before_send)
        except OutcomeUnknown as error:
            self.lost_in_a_row += 1
            self._log.warning("Request %d: %s", key.request, error)
            return
        except BaseException:  # a time-out strikes anywhere
            if not is_out:
                with suppress(LedgerUnavailable):
                    self._ledger.release_claim(key, record)
            raise
        self._receive(key, record, receipts)

    def _receive(self, key: RequestKey, record: RequestRecord, receipts: Sequence[Receipt]) -> None:
        self.lost_in_a_row = 0
        self.is_account_refused = any(r.reason is not None and r.reason.is_account_level for r in receipts)
        if unpriced := sum(r.accepted and r.cost is None for r in receipts):
            self._log.warning(
                "Request %d: the gateway states no amount that can be read for %s.",
                key.request,
                pluralize(unpriced, "accepted text"),
            )
        self._outcome.add_details(receipts)
        self._records.record(key, record, {p: r for p, r in enumerate(receipts) if r.is_known})

    def _check_gateway_answers(self) -> None:
        """Make a call that costs nothing, before another request could be lost like the last one."""
        with suppress(UnsupportedCapability):
            self._execute(self._gateway.balance())

    def _check_claim(self, key: RequestKey, record: RequestRecord) -> None:
        """Renew a claim that had to wait. Another process may have given the request up meanwhile."""
        now = self._clock.now()
        if now - record.claimed_at < CLAIM_LIFETIME:
            return
        if record.send_at is not None and now + self._policy.in_flight + DUE_MARGIN > record.send_at:
            # It would be due before a lost answer could be looked up. A later try sets a new time.
            msg = "The request had to wait too long: its texts are due too soon. A later try submits it."
            raise ClaimLost(msg)
        self._ledger.renew(key, record, now)
        record.claimed_at = now


def _raise_if_past(messages: Iterable[Message], now: DateTime) -> None:
    late = sum(len(m.recipients) for m in messages if m.send_at is not None and m.send_at <= now)
    if late:
        msg = (
            f"The time of {pluralize(late, 'text')} has passed before they could be submitted; the "
            "gateway would send them at once. Neither these nor those after them were submitted."
        )
        raise InvalidMessage(msg)
