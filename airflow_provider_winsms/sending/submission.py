"""Submits a plan. Every request is claimed before it leaves, and none is submitted twice.

Pure logic over a gateway, a ledger, a clock and a function that executes calls. It knows neither Airflow nor
HTTP.

Each request is claimed in the ledger, submitted, and its receipts are recorded before the next one begins.
The guarantee decides about recipients in doubt after a lost answer: they stay unknown, or are looked up in
the gateway's list of scheduled texts, or count as not accepted. Texts to be sent again form a new round with
requests of its own, so that no request is submitted twice.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import (
    ClaimLost,
    GatewayUnavailable,
    IdempotencyConflict,
    InvalidMessage,
    LedgerUnavailable,
    OutcomeUnknown,
    SendStopped,
    SmsError,
    UnsupportedCapability,
)
from airflow_provider_winsms.ledger.base import RequestKey, RequestRecord
from airflow_provider_winsms.messages import Answers, DeliveryState, Receipt, RejectReason, pluralize
from airflow_provider_winsms.options import CLAIM_LIFETIME, DUE_MARGIN, STATUS_RETENTION, Guarantee
from airflow_provider_winsms.sending.outcome import SendOutcome
from airflow_provider_winsms.sending.plan import plan_resend
from airflow_provider_winsms.sending.reconciliation import (
    ExpectedText,
    Reconciliation,
    RowMatcher,
    expected_texts,
    not_due,
    reconcile,
)
from airflow_provider_winsms.sending.scheduled_list import read_scheduled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from pendulum import DateTime

    from airflow_provider_winsms.gateways.base import Call, Execute, Gateway
    from airflow_provider_winsms.ledger.base import Ledger, ResendPlan
    from airflow_provider_winsms.messages import Cancellation, Message, MessageId, ScheduledMessage
    from airflow_provider_winsms.runtime import Clock, Log
    from airflow_provider_winsms.sending.plan import Plan, Request
    from airflow_provider_winsms.sending.policy import Policy

FIRST_REQUEST = RequestKey(1, 1)
"""Requests are claimed in order. If this one was not claimed, nothing was submitted."""

_STATUS_DELAY = timedelta(minutes=10)  # until a text that has gone out surely has a status

ROUNDS_PER_TRY = 3
"""How often one try submits texts that did not reach the gateway."""

LOST_IN_A_ROW = 2
"""After this many lost answers in a row, nothing more is submitted."""

LOOKUP_TIMEOUT = timedelta(hours=1)
"""How long after the last possible arrival of a request a list that proves nothing is read again."""

_LOOKUP_PAUSES = (
    1,
    2,
    4,
    8,
    15,
)  # seconds between readings while the request may arrive; the last one repeats
_LATE_LOOKUP_PAUSES = (*(15,) * 10, 30, 60, 120, 300)  # and afterwards
_RECORD_PAUSES = (1, 5, 15)  # seconds before a record that failed is tried again


class Submission:
    """Submits a plan, over several tries if need be.

    :param rounds: the plans: the first round, and the later rounds that are planned already.
    :param process: identifies this process among all that may send the batch.
    :param is_resumed: whether the ledger may have records of the batch.
    :param cancels_on_stop: whether ``stop`` cancels accepted texts that are not due yet.
    :param check_clocks: called once, before a held send submits or decides anything. An error that it raises
        prevents both.
    """

    def __init__(
        self,
        rounds: Sequence[Plan],
        gateway: Gateway,
        execute: Execute,
        ledger: Ledger,
        *,
        clock: Clock,
        policy: Policy,
        process: str,
        log: Log,
        call_for: Callable[[Sequence[Message]], Call[tuple[Receipt, ...]]],
        is_resumed: bool = True,
        cancels_on_stop: bool = False,
        check_clocks: Callable[[], None] = lambda: None,
    ) -> None:
        first = rounds[0]
        self.outcome = SendOutcome(first.recipients, first.duplicates, first.changes)
        self._gateway = gateway
        self._execute = execute
        self._ledger = ledger
        self._clock = clock
        self._policy = policy
        self._process = process
        self._log = log
        self._call_for = call_for
        self._is_resumed = is_resumed
        self._cancels_on_stop = cancels_on_stop
        self._check_clocks = check_clocks
        self._has_checked_clocks = False
        self._is_halted = False
        self._was_unreceived = False
        self._rounds = list(rounds)
        self._resend_plans: list[ResendPlan] = []
        self._resendable: dict[RequestKey, dict[int, RejectReason]] = {}
        self._is_stopped = False
        self._is_running = False
        self._lost_in_a_row = 0
        self._processed: list[tuple[RequestKey, Request]] = []

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
            if self._cancels_on_stop:
                self._raise_if_stopped()
        finally:
            self._is_running = False

    def stop(self) -> None:
        """Submit nothing more. With ``cancels_on_stop``, cancel accepted texts that are not due yet.

        Called on the thread of ``run``: while it runs, so that it ends soon, or after it was interrupted.
        """
        self._is_stopped = True
        if self._is_running or not self._cancels_on_stop:
            return
        try:
            self._cancel_accepted()
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
                    self._rounds.append(plan_resend(self._rounds, resend_plan, self._gateway))
            self._run_round(round_)
            if self._is_halted:
                return
            unreceived += self._was_unreceived

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
        self._was_unreceived = False
        for of, request in enumerate(self._rounds[round_ - 1].requests, start=1):
            key = RequestKey(round_, of)
            record = self._run_request(key, request)
            sent_again = {p for resend_plan in self._resend_plans for p in resend_plan.get(key, ())}
            self.outcome.add(key, record, sent_again, request.gone)
            is_over = sent_again | request.gone
            self._resendable[key] = {p: why for p, why in record.resendable.items() if p not in is_over}
            if self._is_halted or self._has_lost_too_many(record):
                self._is_halted = True
                break

    def _has_lost_too_many(self, record: RequestRecord) -> bool:
        if self._lost_in_a_row < LOST_IN_A_ROW:
            return False
        if record.in_doubt:
            return True
        msg = f"{LOST_IN_A_ROW} requests in a row did not reach the gateway. A later try submits them again."
        raise GatewayUnavailable(msg)

    def _run_request(self, key: RequestKey, request: Request) -> RequestRecord:
        """Return the record of a request. Submit it first, if no process has claimed it."""
        record = self._ledger.find(key) if self._is_resumed else None
        if record is not None and record.size != request.size:
            msg = (
                f"The ledger has a request {key.request} of {pluralize(record.size, 'recipient')}; this one "
                f"has {request.size}. Nothing more was sent. Start a new DAG run, or clear the task with "
                'on_clear="resend".'
            )
            raise IdempotencyConflict(msg)
        if record is not None and record.cancelling_at is not None:
            self._finish_cancellation(key, request, record)
        if record is None or record.in_doubt:
            self._check_clocks_once()
        is_found = record is not None
        if record is None:
            self._raise_if_stopped()
            if request.is_claimed:
                raise _claim_released(key)
            record = self._submit(key, request)
        self._processed.append((key, request))
        if record.in_doubt:
            self._resolve(key, request, record)
        self.outcome.accepted_before += len(record.ids) if is_found else 0
        if record.size == len(record.ids):
            self._lost_in_a_row = 0
        return record

    def _check_clocks_once(self) -> None:
        if self._policy.is_held and not self._has_checked_clocks:
            self._check_clocks()
            self._has_checked_clocks = True

    def _submit(self, key: RequestKey, request: Request) -> RequestRecord:
        if self._lost_in_a_row:
            self._check_gateway_answers()
        now = self._clock.now()
        held = self._gateway.first_possible_time(now + self._policy.hold) if self._policy.is_held else None
        messages = request.messages(held)
        self._raise_if_past(messages, now)
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
            receipts = self._execute(self._call_for(messages), before_send)
        except OutcomeUnknown as error:
            self._lost_in_a_row += 1
            self._log.warning("Request %d: %s", key.request, error)
            return
        except BaseException:  # a time-out strikes anywhere
            if not is_out:
                with suppress(LedgerUnavailable):
                    self._ledger.release_claim(key, record)
            raise
        self._lost_in_a_row = 0
        self._is_halted = any(r.reason is not None and r.reason.is_account_level for r in receipts)
        if unpriced := sum(r.accepted and r.cost is None for r in receipts):
            self._log.warning(
                "Request %d: the gateway states no amount that can be read for %s.",
                key.request,
                pluralize(unpriced, "accepted text"),
            )
        self.outcome.add_details(receipts)
        self._record(key, record, {p: r for p, r in enumerate(receipts) if r.is_known})

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

    def _raise_if_past(self, messages: Iterable[Message], now: DateTime) -> None:
        late = sum(len(m.recipients) for m in messages if m.send_at is not None and m.send_at <= now)
        if late:
            msg = (
                f"The time of {pluralize(late, 'text')} has passed before they could be submitted; the "
                "gateway would send them at once. Neither these nor those after them were submitted."
            )
            raise InvalidMessage(msg)

    def _record(self, key: RequestKey, record: RequestRecord, news: Mapping[int, Receipt]) -> None:
        """Record receipts. If that fails even when repeated, log the ids."""
        record.apply(news)
        try:
            self._record_with_retries(key, record, news)
        except BaseException:  # a time-out strikes anywhere
            self._log.exception(
                "Request %d was answered and could not be recorded. Its ids, by position: %s",
                key.request,
                record.ids,
            )
            raise

    def _record_with_retries(
        self, key: RequestKey, record: RequestRecord, news: Mapping[int, Receipt]
    ) -> None:
        for pause in _RECORD_PAUSES:
            with suppress(LedgerUnavailable):
                self._ledger.record(key, record, news)
                return
            self._clock.sleep(pause)
        self._ledger.record(key, record, news)

    # Recipients in doubt.

    def _resolve(self, key: RequestKey, request: Request, record: RequestRecord) -> None:
        """Decide about the recipients in doubt, as far as possible."""
        guarantee = self._policy.guarantee
        if expected_texts(request.messages(record.send_at)):
            self._look_up(key, request, record)
        if record.owner != self._process:
            self._wait_for_other(key, record)
        if guarantee is Guarantee.AT_LEAST_ONCE:
            self._resend_in_doubt(key, request, record)

    def _resend_in_doubt(self, key: RequestKey, request: Request, record: RequestRecord) -> None:
        while record.in_doubt:
            self._log.warning(
                "Request %d: %s in doubt. They count as not accepted, and are submitted again.",
                key.request,
                pluralize(len(record.in_doubt), "recipient"),
            )
            if not self._mark_not_received(key, request, record, record.in_doubt):
                self._wait_for_other(key, record)

    def _wait_for_other(self, key: RequestKey, record: RequestRecord) -> None:
        """Wait until another process records the answer, or cannot receive one any more."""
        until = record.claimed_at + self._policy.in_flight
        if self._clock.now() < until:
            self._log.info(
                "Request %d was claimed by another process or try; waiting until %s for its answer.",
                key.request,
                until.isoformat(timespec="seconds"),
            )
        self._refresh(key, record)
        while record.in_doubt and self._clock.now() < record.claimed_at + self._policy.in_flight:
            self._sleep(_LOOKUP_PAUSES[-1])
            self._refresh(key, record)

    def _refresh(self, key: RequestKey, record: RequestRecord) -> None:
        """Read again what another process may have written: an earlier try may still run beside a retry."""
        fresh = self._ledger.find(key)
        if fresh is None:
            raise _claim_released(key)
        record.ids, record.costs, record.declined = fresh.ids, fresh.costs, fresh.declined
        record.claimed_at = fresh.claimed_at

    def _look_up(self, key: RequestKey, request: Request, record: RequestRecord) -> None:
        """Look up held texts in the gateway's list, until all are found or proved absent.

        If the list proves nothing until ``LOOKUP_TIMEOUT``, they stay in doubt.
        """
        expected = {
            position: text
            for position, text in expected_texts(request.messages(record.send_at)).items()
            if position not in request.gone
        }
        pauses, later_pauses = iter(_LOOKUP_PAUSES), iter(_LATE_LOOKUP_PAUSES)
        while True:
            self._refresh(key, record)
            began, proven_at = self._clock.now(), record.claimed_at + self._policy.in_flight
            open_texts = not_due(record, expected, began)
            if not open_texts:
                self._log_due(key, record)
                return
            result = self._reconcile(key, record, open_texts)
            if result.adopted:
                self._adopt(key, record, result.adopted)
            if began >= proven_at and result.absent:
                self._conclude_absence(key, request, record, result.absent)
            is_last = began >= proven_at and (result.is_complete or began >= proven_at + LOOKUP_TIMEOUT)
            if not record.in_doubt or is_last:
                return
            left = (proven_at - self._clock.now()).total_seconds()
            is_proven = left <= 0
            pause = (
                next(later_pauses, _LATE_LOOKUP_PAUSES[-1]) if is_proven else next(pauses, _LOOKUP_PAUSES[-1])
            )
            self._sleep(pause if is_proven else min(pause, left))

    def _reconcile(
        self, key: RequestKey, record: RequestRecord, expected: Mapping[int, ExpectedText]
    ) -> Reconciliation:
        """Reconcile texts with the list, without the rows that belong to other recipients."""
        try:
            rows, is_complete = read_scheduled(self._execute, self._gateway)
        except GatewayUnavailable as error:
            self._log.warning("The list of scheduled texts could not be read: %s", error)
            return Reconciliation(is_complete=False)
        matcher = RowMatcher(expected.values(), record.claimed_at)
        candidates = [row for row in rows if matcher.candidates(row)]
        taken = self._ledger.known_ids(candidates)
        found = matcher.match(row for row in candidates if row.message_id not in taken)
        conflicts = self._conflicts(key, found.certain)
        # Reading took time: texts that became due meanwhile may have left the list.
        still_open = not_due(record, expected, self._clock.now())
        return reconcile(expected, found, is_complete=is_complete, still_open=still_open, conflicts=conflicts)

    def _conflicts(self, key: RequestKey, expected: Iterable[ExpectedText]) -> set[ExpectedText]:
        """Return the texts that another request in doubt may have scheduled, too."""
        numbers = defaultdict(set)
        for number, send_at in expected:
            numbers[send_at].add(number)
        return {
            ExpectedText(number, send_at)
            for send_at, some in numbers.items()
            for number in self._ledger.conflicts(key, send_at, some)
        }

    def _log_due(self, key: RequestKey, record: RequestRecord) -> None:
        if record.in_doubt:
            self._log.warning(
                "Request %d: %s in doubt. Their texts are due or not scheduled, so "
                "the list of scheduled texts proves nothing.",
                key.request,
                pluralize(len(record.in_doubt), "recipient"),
            )

    def _adopt(self, key: RequestKey, record: RequestRecord, rows: Mapping[int, ScheduledMessage]) -> None:
        self._log.info(
            "Request %d: its answer was lost. The list of scheduled texts has %s of %d in doubt, with their "
            "number, minute and time of submission: accepted.",
            key.request,
            pluralize(len(rows), "recipient"),
            len(record.in_doubt),
        )
        news = {
            position: Receipt(
                number=row.number,
                accepted=True,
                message_id=row.message_id,
                reason=None,
                code="",
                cost=row.refund,
                balance=None,
                send_at=row.send_at,
            )
            for position, row in rows.items()
        }
        self._record(key, record, news)

    def _conclude_absence(
        self, key: RequestKey, request: Request, record: RequestRecord, positions: Sequence[int]
    ) -> None:
        is_resubmitted = self._policy.guarantee is not Guarantee.AT_MOST_ONCE
        if is_resubmitted and not self._mark_not_received(key, request, record, positions):
            self._refresh(key, record)
            return
        self._log.info(
            "Request %d: its answer was lost. The list of scheduled texts lacks %s in doubt, %.0f seconds "
            "after the claim, when the request cannot reach the gateway any more: not accepted%s.",
            key.request,
            pluralize(len(positions), "recipient"),
            (self._clock.now() - record.claimed_at).total_seconds(),
            ", and submitted again" if is_resubmitted else ", it seems; a person decides",
        )

    def _mark_not_received(
        self, key: RequestKey, request: Request, record: RequestRecord, positions: Sequence[int]
    ) -> bool:
        """Mark recipients to be sent to again, unless the owner of the claim still works on the request."""
        recipients = [recipient for part in request.parts for recipient in part.recipients]
        news = {p: Receipt.declined(RejectReason.NOT_RECEIVED, recipients[p].number) for p in positions}
        if not self._ledger.mark_not_received(key, record, news):
            return False
        self._was_unreceived = True
        record.apply(news)
        return True

    def _sleep(self, seconds: float) -> None:
        """Sleep. A kill of the task ends the sleep within a second."""
        until = self._clock.now() + timedelta(seconds=seconds)
        while (left := (until - self._clock.now()).total_seconds()) > 0:
            self._raise_if_stopped()
            self._clock.sleep(min(1.0, left))

    # Cancelling accepted texts.

    def _raise_if_stopped(self) -> None:
        if not self._is_stopped:
            return
        if self._cancels_on_stop:
            self._cancel_accepted()
        msg = "The task is being killed; nothing more is submitted."
        raise SendStopped(msg)

    def _cancel_accepted(self) -> None:
        """Cancel accepted texts that are not due yet."""
        while self._processed:
            key, request = self._processed.pop()
            record = self._ledger.find(key)
            if record is not None and record.ids:
                self._cancel_request(key, request, record)

    def _cancel_request(self, key: RequestKey, request: Request, record: RequestRecord) -> None:
        now = self._clock.now()
        expected = expected_texts(request.messages(record.send_at))
        ids = [
            record.ids[position]
            for position in sorted(record.ids.keys() - record.cancelled_on_purpose)
            if position in expected and expected[position].send_at > now
        ]
        if not ids:
            return
        record.cancelling_at = now
        self._ledger.mark_cancelling(key, record)
        # Not repeated: the answer to a repeat could not tell who cancelled which text.
        call = replace(self._gateway.cancel(ids), is_repeatable=False)
        answers: Answers[Cancellation] = Answers()
        try:
            answers = self._execute(call)
        except OutcomeUnknown as error:
            self._log.warning("Request %d: %s", key.request, error)
        if {answer.message_id for answer in answers}.issuperset(ids):
            self._record_cancelled(key, record, {a.message_id for a in answers if a.cancelled})
        else:
            self._finish_cancellation(key, request, record)

    def _finish_cancellation(self, key: RequestKey, request: Request, record: RequestRecord) -> None:
        """Find out which texts a kill cancelled without a record. That request may still be under way.

        A text that is neither scheduled nor has a status was cancelled. A text that has gone out has a status
        for 90 days.
        """
        began = record.cancelling_at or self._clock.now()
        while (left := (began + self._policy.in_flight - self._clock.now()).total_seconds()) > 0:
            self._clock.sleep(min(1.0, left))
        rows, is_complete = read_scheduled(self._execute, self._gateway)
        expected = expected_texts(request.messages(record.send_at))
        waiting = {row.message_id for row in rows}
        gone = {
            message_id: expected[position].send_at
            for position, message_id in record.ids.items()
            if position in expected
            and position not in record.cancelled_on_purpose
            and message_id not in waiting
        }
        reports = self._execute(self._gateway.delivery_reports(list(gone))) if gone else ()
        unknown = {
            r.message_id for r in reports if r.state is DeliveryState.NOT_FOUND and r.message_id in gone
        }
        is_answered = gone.keys() <= {report.message_id for report in reports}
        now = self._clock.now()
        if not (is_complete and is_answered) or any(
            gone[i] - DUE_MARGIN <= now < gone[i] + _STATUS_DELAY for i in unknown
        ):
            msg = (
                f"It is unknown which texts of request {key.request} were cancelled. A later try asks again."
            )
            raise GatewayUnavailable(msg)
        self._record_cancelled(key, record, {i for i in unknown if now < gone[i] + STATUS_RETENTION})

    def _record_cancelled(
        self, key: RequestKey, record: RequestRecord, cancelled: Collection[MessageId]
    ) -> None:
        self._log.info("Request %d: %s cancelled.", key.request, pluralize(len(cancelled), "text"))
        record.cancelling_at = None
        news = {
            position: Receipt.declined(RejectReason.CANCELLED, cost=record.costs.get(position, Decimal(0)))
            for position, message_id in record.ids.items()
            if message_id in cancelled
        }
        self._record(key, record, news)


def _claim_released(key: RequestKey) -> ClaimLost:
    return ClaimLost(f"The process that had claimed request {key.request} released it. Try again.")
