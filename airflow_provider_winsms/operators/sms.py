"""Operators that send texts. The operators that cancel and refresh can be imported from here, too."""

from __future__ import annotations

import os
import re
import socket
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple
from uuid import uuid4

from airflow.providers.common.compat.sdk import (
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseOperator,
    conf,
)

from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    InvalidMessage,
    NothingToSend,
    OutcomeUnknown,
    OutOfCredits,
    SendRejected,
    SmsError,
    UnsupportedCapability,
)
from airflow_provider_winsms.hashing import require_secret
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.messages import Message, Recipient, RejectReason, is_table, pluralize
from airflow_provider_winsms.operators.cancel import SmsCancelScheduledOperator
from airflow_provider_winsms.operators.refresh import SmsRefreshStatusOperator
from airflow_provider_winsms.options import (
    CLAIM_LIFETIME,
    CheckNumbers,
    Guarantee,
    OnChanged,
    OnClear,
    OnEmpty,
    OnInvalid,
    Privacy,
    StoredText,
    Tolerance,
    check_choice,
    check_conn_id,
    check_flag,
    check_hold,
    check_idempotency_key,
    check_ledger_options,
    check_prefix,
    check_share,
    exceeds_tolerance,
    optional,
    seconds,
)
from airflow_provider_winsms.runtime import SYSTEM_CLOCK, check_agreement
from airflow_provider_winsms.utils.delivery_wait import ledger_address
from airflow_provider_winsms.utils.errors import permanent_errors_fail_at_once
from airflow_provider_winsms.utils.parameters import CheckedParameters
from airflow_provider_winsms.utils.send_wait import PARTIAL_RESULT_KEY, SendWait
from airflow_provider_winsms.utils.templates import SensitiveFields, is_computed, redacting_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.delivery.events import DeliveryEvent
    from airflow_provider_winsms.gateways.base import Call
    from airflow_provider_winsms.ledger.base import Batch, Ledger, Sender
    from airflow_provider_winsms.messages import Receipt
    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.runtime import Clock
    from airflow_provider_winsms.sending.composer import Composer, RejectedRecipients
    from airflow_provider_winsms.sending.outcome import SendOutcome
    from airflow_provider_winsms.sending.plan import Plan
    from airflow_provider_winsms.sending.policy import Policy
    from airflow_provider_winsms.sending.submission import Submission
    from airflow_provider_winsms.utils.parameters import JointCheck
    from airflow_provider_winsms.utils.templates import Templated

__all__ = [
    "SmsCancelScheduledOperator",
    "SmsRefreshStatusOperator",
    "SmsSendBatchOperator",
    "SmsSendOperator",
]

UNKNOWN_SHOWN = 10
"""How many requests with unknown recipients an error lists. The counts include all."""

_ONE_TO_SIX = re.compile(r"\s*\+?0*[1-6](\.0*)?\s*")
"""A number of segments, as a template or a data frame may write it."""


GuaranteeName = Literal["at_most_once", "exactly_once", "at_least_once"]
"""The values of ``Guarantee``."""


def _check_text(_: str, text: object) -> None:
    from airflow_provider_winsms.sending.composer import to_gsm7

    to_gsm7(text)


def _check_to(name: str, to: object) -> None:
    is_number = isinstance(to, (Integral, Decimal, float, Recipient)) and not isinstance(to, bool)
    if not is_number and (isinstance(to, (bytes, Mapping)) or not hasattr(to, "__iter__")):
        msg = f"`{name}` is of type {type(to).__name__}. Give a number or a list of numbers."
        raise InvalidMessage(msg)


def _check_send_at(_: str, send_at: object) -> None:
    from airflow_provider_winsms.sending.composer import parse_send_at

    parse_send_at(send_at)


def _check_max_segments(name: str, most: object) -> None:
    if isinstance(most, bool) or not _ONE_TO_SIX.fullmatch(str(most)):
        msg = f"{name} must be a whole number from 1 to 6."
        raise InvalidMessage(msg)


def _check_messages(name: str, messages: object) -> None:
    if is_table(messages):
        msg = (
            f'`{name}` is a {type(messages).__name__}. Give its rows: frame.to_dict("records") of pandas, '
            "frame.to_dicts() of Polars, table.to_pylist() of Arrow."
        )
        raise InvalidMessage(msg)
    if isinstance(messages, (str, Mapping)) or not hasattr(messages, "__iter__"):
        msg = f"`{name}` must be a list of {{'text': ..., 'to': ...}}."
        raise InvalidMessage(msg)


class _SendOperator(CheckedParameters, SensitiveFields, BaseOperator):
    """The common part of sending one text and sending many.

    Both subclasses list all parameters in their constructors, so that a type checker finds a wrong value.
    """

    ui_color = "#d5f0e3"
    text_fields: ClassVar[tuple[str, ...]] = (*SensitiveFields.text_fields, "text")
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        "sms_conn_id": check_conn_id,
        "check_numbers": partial(check_choice, choices=CheckNumbers),
        "on_rejected": partial(check_choice, choices=Tolerance),
        "on_invalid": partial(check_choice, choices=OnInvalid),
        "on_empty": partial(check_choice, choices=OnEmpty),
        "guarantee": partial(check_choice, choices=Guarantee),
        "hold": check_hold,
        "on_clear": partial(check_choice, choices=OnClear),
        "on_changed": optional(partial(check_choice, choices=OnChanged)),
        "cancel_on_kill": check_flag,
        "idempotency_key": optional(check_idempotency_key),
        "ledger_conn_id": optional(check_conn_id),
        "ledger_prefix": check_prefix,
        "ledger_privacy": partial(check_choice, choices=Privacy),
        "ledger_text": partial(check_choice, choices=StoredText),
        "wait_for_delivery": check_flag,
        "deferrable": check_flag,
        "min_delivered": check_share,
        "poll_interval": seconds,
        "max_poll_interval": seconds,
        "delivery_timeout": seconds,
        "multiple_outputs": check_flag,
    }
    joint_checks: ClassVar[tuple[JointCheck, ...]] = (
        (("ledger_conn_id", "idempotency_key", "ledger_privacy", "ledger_text"), check_ledger_options),
    )
    clock: ClassVar[Clock] = SYSTEM_CLOCK
    hook_of = staticmethod(SmsHook.of)
    """Finds the hook of the gateway; a seam for tests."""
    _rejects: RejectedRecipients
    """The recipients whom this try leaves out."""

    def __init__(
        self,
        *,
        sms_conn_id: str,
        check_numbers: CheckNumbers,
        on_rejected: Tolerance,
        on_invalid: OnInvalid,
        on_empty: OnEmpty,
        guarantee: GuaranteeName | Guarantee,
        hold: timedelta,
        on_clear: OnClear,
        on_changed: OnChanged | None,
        cancel_on_kill: bool,
        idempotency_key: str | None,
        ledger_conn_id: str | None,
        ledger_prefix: str,
        ledger_privacy: Privacy,
        ledger_text: StoredText,
        wait_for_delivery: bool,
        deferrable: bool,
        min_delivered: float,
        poll_interval: timedelta | float,
        max_poll_interval: timedelta | float,
        delivery_timeout: timedelta | float,
        multiple_outputs: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.sms_conn_id = sms_conn_id
        self.check_numbers = check_numbers
        self.on_rejected = on_rejected
        self.on_invalid = on_invalid
        self.on_empty = on_empty
        self.guarantee = guarantee
        self.hold = hold
        self.on_clear = on_clear
        self.on_changed = on_changed
        self.cancel_on_kill = cancel_on_kill
        self.idempotency_key = idempotency_key
        self.ledger_conn_id = ledger_conn_id
        self.ledger_prefix = ledger_prefix
        self.ledger_privacy = ledger_privacy
        self.ledger_text = ledger_text
        self.wait_for_delivery = wait_for_delivery
        self.deferrable = deferrable
        self.min_delivered = min_delivered
        self.poll_interval = poll_interval
        self.max_poll_interval = max_poll_interval
        self.delivery_timeout = delivery_timeout
        self._content: tuple[object, ...] = ()
        self._submission: Submission | None = None
        self._is_killed = False

    def execute(self, context: Context) -> dict[str, Any]:
        """Send, wait for delivery if asked to, and return the outcome in counts."""
        with permanent_errors_fail_at_once():
            self.check_when_rendered()
            self.render_sensitive_fields()
            hook = self.hook_of(self.sms_conn_id)
            with self._ledger(hook, context) as ledger:
                sent, planned = self._send(hook, ledger, context)
            # Nothing can be cancelled any more: the ledger is closed, and a kill must not fail the wait.
            self._submission = None
            return self._delivery().run(hook, sent, planned, context) if self.wait_for_delivery else sent

    def execute_complete(self, context: Context, event: DeliveryEvent) -> dict[str, Any]:
        """Return the result of the send and the delivery that the trigger found, or fail."""
        with permanent_errors_fail_at_once():
            return self._delivery().resume(event, context)

    def on_kill(self) -> None:
        """Submit nothing more, and end a wait. With ``cancel_on_kill``, cancel texts that are not due yet."""
        self._is_killed = True
        if self._submission is not None:
            self._submission.stop()

    def _send(self, hook: SmsHook, ledger: Ledger, context: Context) -> tuple[dict[str, Any], Plan]:
        from airflow_provider_winsms.sending.batch import open_batch
        from airflow_provider_winsms.sending.submission import Submission

        policy = self._policy(hook)
        rounds, wanted, resumed = self._plan(hook, ledger, policy, context)
        planned = rounds[0]
        batch = open_batch(
            ledger, wanted, resumed, sends_the_rest=lambda found: self._sends_the_rest(found, context)
        )
        is_new = resumed is None and batch is wanted
        self._log_start(planned, batch, is_new=is_new)
        if self.on_invalid == "reject" or resumed is not None:
            ledger.reject(self._rejects.recipients)
        self._submission = Submission(
            rounds,
            hook.gateway,
            hook.execute,
            ledger,
            clock=self.clock,
            policy=policy,
            process=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}",
            log=self.log,
            call_for=lambda messages: self._call(hook, messages),
            is_resumed=not is_new,
            cancels_on_stop=self.cancel_on_kill,
            check_clocks=lambda: self._check_clocks(hook, ledger),
        )
        outcome = self._submission.outcome
        outcome.reject(recipient.reason for recipient in self._rejects.recipients)
        try:
            self._submission.run()
            self._raise_if_failed(outcome, batch)
        except BaseException as error:
            if isinstance(error, AirflowTaskTimeout):
                self._submission.stop()
            self._leave_partial_result(context, outcome, batch)
            raise
        self._log_outcome(outcome)
        return {"batch": batch.id, **outcome.summary()}, planned

    def _check_clocks(self, hook: SmsHook, ledger: Ledger) -> None:
        """Refuse a held send if the clocks that it relies on are known to differ."""
        from airflow_provider_winsms.sending.policy import GATEWAY_CLOCK_TOLERANCE, LEDGER_CLOCK_TOLERANCE

        gateway, store = hook.read_clock(self.clock.now), ledger.read_clock()
        for reading, tolerance in ((gateway, GATEWAY_CLOCK_TOLERANCE), (store, LEDGER_CLOCK_TOLERANCE)):
            if reading is not None:
                check_agreement(reading, tolerance)
        if gateway is None:
            self.log.debug("The answers of %s have no time: its clock is trusted.", hook.gateway.name)

    def _delivery(self) -> SendWait:
        return SendWait(
            task=self,
            clock=self.clock,
            sms_conn_id=self.sms_conn_id,
            ledger=ledger_address(self.ledger_conn_id, self.ledger_prefix),
            hold=self.hold if self.guarantee == Guarantee.EXACTLY_ONCE else timedelta(0),
            deferrable=self.deferrable,
            min_delivered=self.min_delivered,
            poll_interval=seconds("poll_interval", self.poll_interval),
            max_poll_interval=seconds("max_poll_interval", self.max_poll_interval),
            timeout=seconds("delivery_timeout", self.delivery_timeout),
            is_killed=lambda: self._is_killed,
        )

    def _plan(
        self, hook: SmsHook, ledger: Ledger, policy: Policy, context: Context
    ) -> tuple[list[Plan], Batch, Batch | None]:
        """Return the rounds, their batch, and the batch to resume, if there is one.

        If nothing of a batch was submitted, because its key or text was wrong, a new batch replaces it.
        """
        from airflow_provider_winsms.sending.plan import plan
        from airflow_provider_winsms.sending.submission import FIRST_REQUEST

        found = ledger.latest()
        resumed = None if found is not None and self._is_resent(found, context) else found
        if resumed is not None and ledger.find(FIRST_REQUEST) is not None:
            return self._resume(hook, ledger, policy, resumed, context)
        try:
            planned = plan(self._compose(hook, None), hook.gateway, is_held=policy.is_held)
        except NothingToSend as error:
            if self.on_empty == "skip":
                raise AirflowSkipException(str(error)) from None
            raise
        wanted = self._batch(planned, found, hook, context)
        is_same = (
            resumed is not None and resumed.sends_the_same(wanted) and resumed.guarantee == wanted.guarantee
        )
        return [planned], wanted, resumed if is_same else None

    def _resume(
        self, hook: SmsHook, ledger: Ledger, policy: Policy, resumed: Batch, context: Context
    ) -> tuple[list[Plan], Batch, Batch]:
        """Return the rounds of a batch with claimed requests, and the batch as it is sent now."""
        # Split as in the first try: records identify requests by their keys.
        from airflow_provider_winsms.sending.plan import has_room_for_times, plan
        from airflow_provider_winsms.sending.replan import replan

        is_held = resumed.guarantee == Guarantee.EXACTLY_ONCE
        sends_the_rest = self._sends_the_rest(resumed, context)
        messages = self._messages_of(hook, resumed, may_be_empty=sends_the_rest)
        rounds = [plan(messages, hook.gateway, is_held=is_held)]
        wanted = self._batch(rounds[0], resumed, hook, context)
        has_changed = sends_the_rest and resumed.has_another_list(wanted)
        if has_changed or resumed.was_revised_to(wanted):
            ledger.take_over()
            rounds = replan(messages, hook.gateway, ledger, is_held=is_held)
            wanted = resumed = replace(resumed, digest=rounds[0].digest(hook.hashes))
            ledger.revise(resumed.digest)
        if policy.is_held and not has_room_for_times(rounds[0]):
            msg = (
                f'The batch was opened with guarantee="{resumed.guarantee}", and its requests have no room '
                "for a time. Keep that guarantee."
            )
            raise InvalidMessage(msg)
        return rounds, wanted, resumed

    def _messages_of(self, hook: SmsHook, resumed: Batch, *, may_be_empty: bool) -> list[Message]:
        try:
            return self._compose(hook, resumed)
        except NothingToSend:
            if may_be_empty:
                return []
            raise

    def _sends_the_rest(self, resumed: Batch, context: Context) -> bool:
        """Tell whether a changed list may be sent under the batch; never under a batch of another task."""
        return self._may_change(context) and resumed.sender.is_same_task(_sender(self, context))

    def _may_change(self, context: Context) -> bool:
        """Tell whether a later try may send another list.

        By default it may if the content is computed as the task runs. In a mapped task it may not: the index
        may stand for other recipients by then, to whom another index has sent.
        """
        if self.on_changed is not None:
            return self.on_changed == "send_the_rest"
        return _sender(self, context).map_index < 0 and any(map(is_computed, self._content))

    def _compose(self, hook: SmsHook, resumed: Batch | None) -> list[Message]:
        composer, fields = self._composer(hook, resumed), " or ".join(f"`{f}`" for f in self.sensitive_fields)
        return redacting_errors(lambda: list(self._messages(composer)), fields, passing=(SmsError,))

    @contextmanager
    def _ledger(self, hook: SmsHook, context: Context) -> Iterator[Ledger]:
        """Open the ledger: tables if ``ledger_conn_id`` is given, or else Airflow's task state store."""
        from airflow_provider_winsms.ledger.task_state import TaskStateLedger
        from airflow_provider_winsms.ledger.witness import beside_store, beside_tables
        from airflow_provider_winsms.utils.task_store import AirflowTaskStore

        if self.ledger_conn_id is not None:
            from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions

            options = SqlOptions(self.ledger_prefix, self.ledger_privacy, self.ledger_text)
            if options.privacy == "keyed_hash":
                require_secret("ledger_privacy", hook.endpoint.hash_secret, self.sms_conn_id)
            key = self._key(context)
            with SqlLedger(sql_hook(self.ledger_conn_id), key, hook.hashes, options) as tables:
                yield beside_tables(tables, AirflowTaskStore(context), key, resends=self.on_clear == "resend")
            return
        scope = _scope(self, context)
        ledger = TaskStateLedger(
            AirflowTaskStore(context, scope.name),
            hashes=hook.hashes,
            keeps_digests=self._may_change(context),
            may_resend=self.on_clear == "resend",
            is_of_one_try=scope.is_of_one_try,
        )
        yield beside_store(ledger, AirflowTaskStore(context), self._key(context))

    def _key(self, context: Context) -> str:
        if self.idempotency_key is None:
            return _sender(self, context).key + _scope(self, context).name
        return self.idempotency_key

    def _policy(self, hook: SmsHook) -> Policy:
        from airflow_provider_winsms.sending.policy import Policy

        endpoint, gateway = hook.endpoint, hook.gateway
        if self.guarantee == Guarantee.EXACTLY_ONCE and not gateway.capabilities.list_scheduled:
            msg = f"{gateway.name} lists no scheduled texts, so a lost answer cannot be looked up."
            raise UnsupportedCapability(msg)
        in_flight = CLAIM_LIFETIME + timedelta(seconds=endpoint.connect_timeout + endpoint.read_timeout)
        return Policy(Guarantee(self.guarantee), self.hold, in_flight)

    def _is_resent(self, found: Batch, context: Context) -> bool:
        from airflow_provider_winsms.sending.batch import is_cleared

        was_cleared = is_cleared(found, _sender(self, context), context["ti"].max_tries)
        return self.on_clear == "resend" and was_cleared

    def _composer(self, hook: SmsHook, resumed: Batch | None) -> Composer:
        """Return a composer. It compares times with the time when the batch was opened."""
        from airflow_provider_winsms.sending.composer import Composer, RejectedRecipients

        now = self.clock.now if resumed is None else lambda: resumed.opened_at
        self._rejects = RejectedRecipients()
        return Composer(
            hook.gateway, now, self.check_numbers, self._rejects if self.on_invalid == "reject" else None
        )

    def _batch(self, planned: Plan, found: Batch | None, hook: SmsHook, context: Context) -> Batch:
        from airflow_provider_winsms.ledger.base import Batch

        sender = _sender(self, context)
        return Batch(
            key=self._key(context),
            sender=sender,
            digest=planned.digest(hook.hashes),
            sms_conn_id=self.sms_conn_id,
            guarantee=str(self.guarantee),
            max_tries=context["ti"].max_tries,
            opened_at=self.clock.now(),
            generation=1 if found is None else found.generation + 1,
        )

    @abstractmethod
    def _messages(self, composer: Composer) -> Iterable[Message]:
        """Return the checked messages."""

    @abstractmethod
    def _call(self, hook: SmsHook, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """Return the call for messages that fit into one request."""

    def _raise_if_failed(self, outcome: SendOutcome, batch: Batch) -> None:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in outcome.reasons.items())
        so_far = (
            f"{outcome.accepted} accepted, {outcome.rejected.total()} declined"
            f"{f' ({reasons})' if reasons else ''}, {outcome.unknown} unknown, {outcome.not_tried} not tried"
        )
        if any(reason.is_account_level for reason in outcome.rejected):
            raise _account_error(outcome, so_far)
        if outcome.unknown:
            raise OutcomeUnknown(_unknown_message(outcome, batch, so_far))
        if outcome.rejected and exceeds_tolerance(self.on_rejected, outcome.accepted):
            msg = f"The gateway declined recipients ({so_far})."
            raise SendRejected(msg, outcome.reasons)

    def _leave_partial_result(self, context: Context, outcome: SendOutcome, batch: Batch) -> None:
        if not outcome.requests:
            return
        self._log_outcome(outcome)
        try:
            context["ti"].xcom_push(key=PARTIAL_RESULT_KEY, value={"batch": batch.id, **outcome.summary()})
        # The error that ended the send is the one to raise.
        except Exception:
            self.log.exception(
                "The XCom %s could not be written. The ledger has all of it.", PARTIAL_RESULT_KEY
            )

    def _log_start(self, planned: Plan, batch: Batch, *, is_new: bool) -> None:
        self.log.info(
            "%s %s in %s, %s; %s left out. Batch %s.",
            "Sending to" if is_new else "Resuming; no accepted text is sent again:",
            pluralize(planned.recipients, "recipient"),
            pluralize(len(planned.requests), "request"),
            str(self.guarantee).replace("_", " "),
            pluralize(planned.duplicates, "duplicate"),
            batch.id,
        )
        if planned.changes is not None:
            self.log.warning(
                "The list has changed since an earlier try. Of the recipients whom that try claimed, "
                "%(kept)d are still in the list and %(gone)d are not. %(added)d others are sent to. "
                "%(changed)d are left out, because another text was sent to their number.",
                asdict(planned.changes),
            )
        if self._rejects.recipients:
            self.log.warning(
                "Not sent to, because invalid: %s. The first: %s",
                pluralize(len(self._rejects.recipients), "recipient"),
                " ".join(self._rejects.shown),
            )
        if planned.shown_duplicates:
            self.log.info("Duplicates left out; the first: %s.", ", ".join(planned.shown_duplicates))

    def _log_outcome(self, outcome: SendOutcome) -> None:
        if outcome.accepted_before:
            earlier = "an earlier try" if self.idempotency_key is None else "an earlier try or task"
            self.log.info(
                "Resumed: %d accepted by %s, %d sent now. In all:",
                outcome.accepted_before,
                earlier,
                outcome.sent_now,
            )
        if outcome.declined:
            self.log.info("Declined recipients; the first: %s.", ", ".join(outcome.declined))
        self.log.info(
            "Accepted %(accepted)d, rejected %(rejected)s, unknown %(unknown)d, not tried %(not_tried)d, "
            "cost %(cost)s credits, balance %(balance)s, requests %(requests)d.",
            outcome.summary(),
        )


class SmsSendOperator(_SendOperator):
    """Send one text to one or many recipients, now or at a given time.

    Returns ``{"batch": id, "message_ids": [...], "accepted": n, "rejected": {reason: n}, "unknown": 0,
    "not_tried": 0, "duplicates": n, "cost": "12.0", "balance": "188.6", "requests": n}``, for all tries
    together. Amounts are decimal strings, in credits. Reasons are values of ``RejectReason``. ``balance`` is
    ``None`` if this try sent nothing. ``cost`` is ``None`` if the gateway states an amount that cannot be
    read.

    Numbers and texts are not in the result, in a log, or in the rendered template view, which shows
    ``(not shown)`` for sensitive fields. A literal stays in the DAG file, and in Airflow's copy of it. Give a
    function instead: Airflow calls it with ``context=`` and ``jinja_env=`` while the task runs. It may return
    another list in a later try; ``on_changed`` decides about that. The result of a function or of another
    task is data and is never rendered, not even with ``expand_kwargs``.

    Every request is recorded before it leaves, and its answer after. A retry, or a cleared task, resumes
    where the try before it stopped. It sends no accepted text again. ``guarantee`` decides about lost
    answers. The page "What is promised, and what is not" of the documentation has the limits. A send that
    fails leaves its result so far in the XCom ``partial_result``.

    :param text: the text, up to 918 septets of the GSM 7-bit alphabet. Curly quotes, dashes and accents that
        the alphabet lacks are replaced by plain ones. Other characters are refused. (templated; sensitive)
    :param to: a number, several numbers in one string with commas, or a list of numbers of any length. Give
        international digits, or national ones that begin with 0. A number that occurs twice gets one text.
        A ``Recipient`` may carry your own reference; see ``SmsSendBatchOperator``. (templated; sensitive)
    :param send_at: an aware time in the future, or its ISO 8601 text, rounded up to the minute. ``None``:
        at once. (templated)
    :param max_segments: the most segments that the text may take, 1 to 6. Each segment is paid. ``None``: as
        many as the text needs. (templated)
    :param check_numbers: how each number is checked against the number plan of its country before anything
        is sent: ``"possible"`` (by length; with the country code 27, 11 digits), ``"valid"`` (in a range in
        use) or ``"off"`` (10 to 15 digits, or 7 to 15 after a plus).
    :param on_rejected: when recipients that the gateway declines fail the task: ``"fail_if_all"``, ``"fail"``
        (one is enough) or ``"ignore"``. A locked, trial or empty account always fails the task. A retry after
        an empty account sends only to recipients whom the balance did not cover.
    :param on_invalid: what happens if a recipient or a row is invalid, such as letters for a number, or an
        empty text. ``"fail"`` sends nothing, and lists the first 20 problems. ``"reject"`` sends to all
        others, and counts the invalid ones as rejected (``bad_number`` or ``invalid``); ``on_rejected``
        applies to them. A ledger in tables has a row for each, with its reference.
    :param on_empty: what happens if there is no recipient, or no message: ``"fail"`` or ``"skip"``. A task
        that has submitted something before fails, unless ``on_changed`` lets it send the rest.
    :param guarantee: what happens to recipients whose answer was lost. ``"at_most_once"``: they are never
        sent to again. The task fails for good, and its error counts them. Texts with a ``send_at`` count
        as accepted if the gateway lists them. ``"exactly_once"``: texts without ``send_at`` are scheduled
        ``hold`` ahead, so that they can be looked up in the gateway's list of scheduled texts. Only texts
        that are not in that list are submitted again. ``"at_least_once"``: the texts are submitted again, and
        recipients may get them several times.
    :param hold: how far ahead texts are scheduled, a ``timedelta``, rounded up to the minute; at least 160
        seconds with the connection's default time-outs. A text is due that much later.
    :param on_clear: what a cleared task does: ``"resume"`` continues, ``"resend"`` sends everything again.
        With ``"resend"`` the text and the recipients may differ.
    :param on_changed: what a later try does if list, text or time differ from those of an earlier try that
        has sent. ``"refuse"`` sends nothing and fails. ``"send_the_rest"`` sends to recipients whom no
        earlier try has claimed; the result then also has ``"changes": {"kept": n, "added": n, "gone": n,
        "changed": n}``. ``None``: ``"send_the_rest"`` for values that are computed as the task runs, by a
        function, a template or another task; ``"refuse"`` for values in the DAG file, and for a mapped task,
        whose index may stand for other recipients in a later try.
    :param cancel_on_kill: whether texts that are not due yet are cancelled if the task is killed, or exceeds
        its ``execution_timeout``, while it sends. A later try sends the cancelled texts. While the task waits
        for delivery, nothing is cancelled.
    :param idempotency_key: the name of the batch. Several tasks or runs with the same key send it once. It is
        stored, so use no number or text. ``None``: the task instance is the key. Needs ``ledger_conn_id``.
        (templated)
    :param ledger_conn_id: a connection to a database. Its tables then record all sends, and are their
        history. ``None``: Airflow's task state store. A task resumes only its own batch, or the batch of its
        ``idempotency_key``. (templated)
    :param ledger_prefix: the prefix of the tables' names.
    :param ledger_privacy: ``"none"`` stores numbers as they are, ``"keyed_hash"`` their HMAC-SHA-256 under
        the connection's ``hash_secret``.
    :param ledger_text: ``"digest"`` stores a keyed hash of the text, ``"keep"`` the text.
    :param wait_for_delivery: whether to wait until the texts have arrived, as ``SmsDeliverySensor`` does. The
        result then also has ``"delivery": {"total": n, "delivered": n, "states": {state: n}, "cost":
        "2.0"}``. If too few texts arrive, the task fails for good with ``DeliveryFailed``. A retry sends
        nothing again, and waits again. With ``ledger_conn_id`` the states are written to its tables.
    :param deferrable: whether to wait in the triggerer, without a worker. Defaults to
        ``[operators] default_deferrable``.
    :param min_delivered: the share of the accepted texts that must arrive, 0 to 1.
    :param poll_interval: the shortest pause between two polls; a ``timedelta`` or seconds. The pause is a
        tenth of the texts' age, and at least this long.
    :param max_poll_interval: the longest pause between two polls; a ``timedelta`` or seconds.
    :param delivery_timeout: how long to wait after the last text is due; a ``timedelta`` or seconds.
    :param sms_conn_id: the connection. Its type decides which gateway is used. (templated)
    """

    template_fields: Sequence[str] = (
        "text",
        "to",
        "send_at",
        "max_segments",
        "sms_conn_id",
        "idempotency_key",
        "ledger_conn_id",
    )
    sensitive_fields: ClassVar[tuple[str, ...]] = ("text", "to")
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        **_SendOperator.parameter_checks,
        "text": _check_text,
        "to": _check_to,
        "send_at": optional(_check_send_at),
        "max_segments": optional(_check_max_segments),
    }

    def __init__(
        self,
        *,
        text: Templated[str],
        to: Templated[str | Iterable[str | Recipient]],
        send_at: Templated[datetime | str | None] = None,
        max_segments: Templated[int | str | None] = None,
        sms_conn_id: str = "winsms_default",
        check_numbers: CheckNumbers = "possible",
        on_rejected: Tolerance = "fail_if_all",
        on_invalid: OnInvalid = "fail",
        on_empty: OnEmpty = "fail",
        guarantee: GuaranteeName | Guarantee = Guarantee.AT_MOST_ONCE,
        hold: timedelta = timedelta(minutes=5),
        on_clear: OnClear = "resume",
        on_changed: OnChanged | None = None,
        cancel_on_kill: bool = False,
        idempotency_key: str | None = None,
        ledger_conn_id: str | None = None,
        ledger_prefix: str = "sms_",
        ledger_privacy: Privacy = "none",
        ledger_text: StoredText = "digest",
        wait_for_delivery: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        min_delivered: float = 1.0,
        poll_interval: timedelta | float = 10,
        max_poll_interval: timedelta | float = timedelta(hours=1),
        delivery_timeout: timedelta | float = timedelta(days=1),
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            sms_conn_id=sms_conn_id,
            check_numbers=check_numbers,
            on_rejected=on_rejected,
            on_invalid=on_invalid,
            on_empty=on_empty,
            guarantee=guarantee,
            hold=hold,
            on_clear=on_clear,
            on_changed=on_changed,
            cancel_on_kill=cancel_on_kill,
            idempotency_key=idempotency_key,
            ledger_conn_id=ledger_conn_id,
            ledger_prefix=ledger_prefix,
            ledger_privacy=ledger_privacy,
            ledger_text=ledger_text,
            wait_for_delivery=wait_for_delivery,
            deferrable=deferrable,
            min_delivered=min_delivered,
            poll_interval=poll_interval,
            max_poll_interval=max_poll_interval,
            delivery_timeout=delivery_timeout,
            multiple_outputs=multiple_outputs,
            **kwargs,
        )
        self.text = text
        self.to = to
        self.send_at = send_at
        self.max_segments = max_segments
        self._content = (text, to, send_at, max_segments)
        self.check_when_read()

    def _messages(self, composer: Composer) -> list[Message]:
        from airflow_provider_winsms.gsm7 import segments

        text = self.sensitive_value("text")
        message = composer.compose(text, self.sensitive_value("to"), self.send_at, self.max_segments)
        if message.text != text:
            self.log.info(
                "The text was spelt in the GSM 7-bit alphabet; it takes %s.",
                pluralize(segments(message.text), "segment"),
            )
        return [message]

    def _call(self, hook: SmsHook, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        return hook.gateway.send(messages[0])


class SmsSendBatchOperator(_SendOperator):
    """Send different texts, each to its own recipients, in as few requests as the gateway's limits allow.

    Result, promises and parameters are those of ``SmsSendOperator``, except:

    :param messages: a list of any length of ``{"text": ..., "to": ..., "send_at": ..., "max_segments": ...,
        "reference": ...}``. The last three are optional. The first four have the meaning that
        ``SmsSendOperator`` gives them. The same text to the same number at the same time is sent once. The
        reference is your own name for the text, such as a customer's id: at most 150 characters. It is stored
        as it is in the ledger's tables, and is not sent. (templated; sensitive)
    """

    template_fields: Sequence[str] = ("messages", "sms_conn_id", "idempotency_key", "ledger_conn_id")
    sensitive_fields: ClassVar[tuple[str, ...]] = ("messages",)
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        **_SendOperator.parameter_checks,
        "messages": _check_messages,
    }

    def __init__(
        self,
        *,
        messages: Templated[Iterable[Mapping[str, Any]]],
        sms_conn_id: str = "winsms_default",
        check_numbers: CheckNumbers = "possible",
        on_rejected: Tolerance = "fail_if_all",
        on_invalid: OnInvalid = "fail",
        on_empty: OnEmpty = "fail",
        guarantee: GuaranteeName | Guarantee = Guarantee.AT_MOST_ONCE,
        hold: timedelta = timedelta(minutes=5),
        on_clear: OnClear = "resume",
        on_changed: OnChanged | None = None,
        cancel_on_kill: bool = False,
        idempotency_key: str | None = None,
        ledger_conn_id: str | None = None,
        ledger_prefix: str = "sms_",
        ledger_privacy: Privacy = "none",
        ledger_text: StoredText = "digest",
        wait_for_delivery: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        min_delivered: float = 1.0,
        poll_interval: timedelta | float = 10,
        max_poll_interval: timedelta | float = timedelta(hours=1),
        delivery_timeout: timedelta | float = timedelta(days=1),
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            sms_conn_id=sms_conn_id,
            check_numbers=check_numbers,
            on_rejected=on_rejected,
            on_invalid=on_invalid,
            on_empty=on_empty,
            guarantee=guarantee,
            hold=hold,
            on_clear=on_clear,
            on_changed=on_changed,
            cancel_on_kill=cancel_on_kill,
            idempotency_key=idempotency_key,
            ledger_conn_id=ledger_conn_id,
            ledger_prefix=ledger_prefix,
            ledger_privacy=ledger_privacy,
            ledger_text=ledger_text,
            wait_for_delivery=wait_for_delivery,
            deferrable=deferrable,
            min_delivered=min_delivered,
            poll_interval=poll_interval,
            max_poll_interval=max_poll_interval,
            delivery_timeout=delivery_timeout,
            multiple_outputs=multiple_outputs,
            **kwargs,
        )
        self.messages = messages
        self._content = (messages,)
        self.check_when_read()

    def _messages(self, composer: Composer) -> list[Message]:
        given = self.sensitive_value("messages")
        _check_messages("messages", given)
        return composer.compose_rows(given)

    def _call(self, hook: SmsHook, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        return hook.gateway.send_batch(messages)


def _sender(operator: BaseOperator, context: Context) -> Sender:
    from airflow_provider_winsms.ledger.base import Sender

    instance = context["ti"]
    return Sender(
        dag_id=instance.dag_id,
        run_id=instance.run_id,
        task_id=instance.task_id,
        map_index=-1 if instance.map_index is None else instance.map_index,
        owner=operator.owner,
    )


class _Scope(NamedTuple):
    """Where a send runs: as the task, or inside another task or its callback.

    :param name: the end of the send's key. Empty if the send is the task.
    :param is_of_one_try: whether each try makes a send of its own.
    """

    name: str = ""
    is_of_one_try: bool = False


def _scope(operator: BaseOperator, context: Context) -> _Scope:
    """Return where an operator runs. The callback of each try is an event of its own."""
    instance: Any = context["ti"]
    if getattr(instance, "task", operator) is operator:
        return _Scope()
    name = f"@{operator.task_id}"
    is_over = "exception" in context or getattr(instance, "state", "running") not in {None, "running"}
    return _Scope(f"{name}@after_try_{instance.try_number}", is_of_one_try=True) if is_over else _Scope(name)


def _account_error(outcome: SendOutcome, so_far: str) -> SmsError:
    beginning = f"The account cannot send: {so_far}. Nothing more was submitted."
    if RejectReason.NO_CREDITS in outcome.rejected:
        return OutOfCredits(
            f"{beginning} Top it up. A later try, or the cleared task, sends only to recipients who were "
            "declined or not tried."
        )
    return ConfigurationError(f"{beginning} Ask the gateway, then clear the task. It sends to the rest.")


def _unknown_message(outcome: SendOutcome, batch: Batch, so_far: str) -> str:
    shown = "; ".join(outcome.unknown_requests[:UNKNOWN_SHOWN])
    more = len(outcome.unknown_requests) - UNKNOWN_SHOWN
    return (
        f"The outcome for {pluralize(outcome.unknown, 'recipient')} is unknown ({shown}"
        f"{f'; and in {more} more requests' if more > 0 else ''}): an answer was lost, and a repeat could "
        f"text them twice. In all: {so_far}. The accepted ids are in the XCom {PARTIAL_RESULT_KEY} and in "
        "the ledger. Ask the gateway which texts it accepted. `airflow sms unresolved` (with "
        f"--ledger-conn-id, if there is one) lists the commands that resolve the batch {batch.id}. Then "
        "clear the task: it sends to recipients who were not accepted or not tried."
    )
