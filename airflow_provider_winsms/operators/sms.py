"""Operators that send texts and cancel scheduled ones, through whichever gateway the connection names."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import pendulum
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, BaseOperator

from airflow_provider_winsms.airflow_errors import permanent_errors_fail_at_once
from airflow_provider_winsms.composing import Composer
from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    InvalidMessage,
    NotCancelled,
    OutcomeUnknown,
    SendRejected,
    SmsError,
)
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.ledger.task_state import TaskStateLedger
from airflow_provider_winsms.messages import Message, RejectReason, counted, credits_text, each_message_id
from airflow_provider_winsms.sending import Outcome, plan, submit
from airflow_provider_winsms.templating import SealedFieldsOperator
from airflow_provider_winsms.text import segments

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.gateways.base import Call
    from airflow_provider_winsms.ledger.base import Ledger
    from airflow_provider_winsms.messages import MessageIds, Receipt, Recipient
    from airflow_provider_winsms.sending import Plan
    from airflow_provider_winsms.templating import Templated

Tolerance = Literal["fail_if_all", "fail", "ignore"]
"""When declined items fail the task: only if all were, if any was, or never."""

_NEEDED_KEYS = {"text", "to"}
_MESSAGE_KEYS = _NEEDED_KEYS | {"send_at", "max_segments"}

_MAY_HAVE_SENT = (
    "An earlier try of this task may have sent already, so this one does not. What that try learnt is in its "
    "log; if it was killed, only the gateway knows what it accepted. A new DAG run would text all recipients "
    "again."
)

PARTIAL_RESULT_KEY = "partial_result"
"""The XCom key under which a send that fails leaves what it had sent by then."""


class _SendOperator(SealedFieldsOperator):
    """What sending one text and sending many have in common."""

    ui_color = "#d5f0e3"

    def __init__(
        self,
        *,
        sms_conn_id: str = "winsms_default",
        on_rejected: Tolerance = "fail_if_all",
        multiple_outputs: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.sms_conn_id = sms_conn_id
        self.on_rejected = on_rejected

    def execute(self, context: Context) -> dict[str, Any]:
        """Send, and return what became of it, in counts."""
        with permanent_errors_fail_at_once():
            return self._send(SmsHook.of(self.sms_conn_id), context)

    def _send(self, hook: SmsHook, context: Context) -> dict[str, Any]:
        _check_policy("on_rejected", self.on_rejected)
        ledger = TaskStateLedger(context)
        if ledger.may_have_sent():
            raise OutcomeUnknown(_MAY_HAVE_SENT)
        planned = plan(self._messages(Composer(hook.gateway, pendulum.now)), hook.gateway)
        self.log.info(
            "Sending to %s in %s; %s left out.",
            counted(planned.recipients, "recipient"),
            counted(len(planned.requests), "request"),
            counted(planned.duplicates, "duplicate"),
        )
        outcome = Outcome()
        try:
            submit(planned, lambda messages: self._call(hook, messages), hook.carry, ledger, outcome)
            self._judge(outcome)
        except BaseException as error:
            self._leave_partial_result(context, outcome)
            ended = _ended_by(error, outcome, planned, ledger)
            if ended is error:
                raise
            raise ended from (error.__cause__ if isinstance(error, SmsError) else error)
        self._log_outcome(outcome)
        return outcome.summary()

    @abstractmethod
    def _messages(self, composer: Composer) -> list[Message]:
        """Return what to send, checked."""

    @abstractmethod
    def _call(self, hook: SmsHook, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """Return the request for messages that fit into one."""

    def _judge(self, outcome: Outcome) -> None:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in outcome.reasons.items())
        if outcome.account_level:
            way_out = "Top it up" if RejectReason.NO_CREDITS in outcome.rejected else "Ask the gateway"
            msg = (
                f"The account cannot send ({reasons}; {outcome.accepted} accepted before). Nothing more was "
                f"submitted. {way_out}, then start a new DAG run for those who were declined."
            )
            raise ConfigurationError(msg)
        if outcome.rejected and _is_intolerable(self.on_rejected, outcome.accepted):
            msg = f"The gateway declined recipients ({reasons}) and accepted {outcome.accepted}."
            raise SendRejected(msg, outcome.reasons)

    def _leave_partial_result(self, context: Context, outcome: Outcome) -> None:
        if not outcome.requests:
            return
        self._log_outcome(outcome)
        try:
            context["ti"].xcom_push(key=PARTIAL_RESULT_KEY, value=outcome.summary())
        # What brought us here is the error to raise.
        except Exception:
            self.log.exception(
                "The XCom %s could not be kept. Ids: %s", PARTIAL_RESULT_KEY, outcome.message_ids
            )

    def _log_outcome(self, outcome: Outcome) -> None:
        if outcome.declined:
            self.log.info("Declined, the first of them: %s.", ", ".join(outcome.declined))
        self.log.info(
            "Accepted %(accepted)d, rejected %(rejected)s, cost %(cost)s credits, balance %(balance)s, "
            "requests %(requests)d.",
            outcome.summary(),
        )


class SmsSendOperator(_SendOperator):
    """Send one text to one or many recipients, now or at an instant.

    Returns ``{"message_ids": [...], "accepted": n, "rejected": {reason: n}, "duplicates": n, "cost": "12.0",
    "balance": "188.6", "requests": n}``: amounts are decimal strings, in credits; reasons are values of
    ``RejectReason``. Neither numbers nor the text are in it, in a log, or in the rendered template view,
    where what is sealed shows as ``(not shown)``. A literal stays in the DAG file and in Airflow's copy of
    it: give a function instead, which Airflow calls with ``context=`` and ``jinja_env=`` while the task
    runs. What it returns is not templated again.

    A text goes out at most once. A request whose answer is lost is never repeated: the task fails for good,
    whatever its ``retries``, and so does a second try of a task that may have sent. What was accepted until
    then is in the XCom ``partial_result``.

    :param text: what to send, up to 918 septets of the GSM 7-bit alphabet; curly quotes, dashes and accents
        that it lacks are spelt plainly, other characters are refused. (templated; sealed)
    :param to: a number, several in one string with commas between them, or a list of numbers of any length;
        international digits, or national ones beginning with 0. A number given twice is texted once.
        (templated; sealed)
    :param send_at: an aware instant in the future, or its ISO 8601 text; rounded up to the minute.
        ``None``: at once. (templated)
    :param max_segments: the most segments, each of which is paid, that the text may take, 1 to 6. ``None``:
        as many as it needs. (templated)
    :param on_rejected: when recipients that the gateway declines fail the task: ``"fail_if_all"``, ``"fail"``
        (one is enough) or ``"ignore"``. A locked, trial or empty account always fails it.
    :param sms_conn_id: the connection, whose type says which gateway. (templated)
    """

    template_fields: Sequence[str] = ("text", "to", "send_at", "max_segments", "sms_conn_id")
    sealed_fields: ClassVar[tuple[str, ...]] = ("text", "to")

    def __init__(
        self,
        *,
        text: Templated[str],
        to: Templated[str | Iterable[str | Recipient]],
        send_at: Templated[datetime | str | None] = None,
        max_segments: Templated[int | str | None] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.text = text
        self.to = to
        self.send_at = send_at
        self.max_segments = max_segments

    def _messages(self, composer: Composer) -> list[Message]:
        text = self.unsealed("text")
        message = composer.compose(text, self.unsealed("to"), self.send_at, self.max_segments)
        if message.text != text:
            self.log.info(
                "The text was spelt in the GSM 7-bit alphabet; it takes %s.",
                counted(segments(message.text), "segment"),
            )
        return [message]

    def _call(self, hook: SmsHook, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        return hook.gateway.send(messages[0])


class SmsSendBatchOperator(_SendOperator):
    """Send different texts, each to its own recipients, in as few requests as the gateway's limits allow.

    Returns, promises and takes what ``SmsSendOperator`` does, but for:

    :param messages: a list of any length of ``{"text": ..., "to": ..., "send_at": ..., "max_segments": ...}``
        (the last two may be left out), each as ``SmsSendOperator`` takes them. The same text to the same
        number at the same time goes out once. (templated; sealed)
    :param on_rejected: as in ``SmsSendOperator``.
    :param sms_conn_id: the connection, whose type says which gateway. (templated)
    """

    template_fields: Sequence[str] = ("messages", "sms_conn_id")
    sealed_fields: ClassVar[tuple[str, ...]] = ("messages",)

    def __init__(self, *, messages: Templated[Iterable[Mapping[str, Any]]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.messages = messages

    def _messages(self, composer: Composer) -> list[Message]:
        given = self.unsealed("messages")
        if isinstance(given, (str, Mapping)) or not hasattr(given, "__iter__"):
            msg = "`messages` must be a list of {'text': ..., 'to': ...}."
            raise InvalidMessage(msg)
        messages = [_composed(composer, place, row) for place, row in enumerate(given, start=1)]
        if not messages:
            msg = "`messages` is empty. Give at least one message."
            raise InvalidMessage(msg)
        return messages

    def _call(self, hook: SmsHook, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        return hook.gateway.send_batch(messages)


class SmsCancelScheduledOperator(BaseOperator):
    """Cancel scheduled texts that have not gone out yet, and get their cost back.

    Returns ``{"cancelled": n, "not_cancelled": n, "refund": "3.0", "requests": n}``. A repeat refunds nothing
    twice; a text that was cancelled before counts as not cancelled, as the gateway does not tell it from one
    that has gone out.

    :param message_ids: ids, or what a send operator returned (``send.output``); lists of any length.
        (templated)
    :param on_not_cancelled: when texts that could not be cancelled fail the task: ``"fail_if_all"``,
        ``"fail"`` (one is enough) or ``"ignore"``.
    :param sms_conn_id: the connection, whose type says which gateway. (templated)
    """

    template_fields: Sequence[str] = ("message_ids", "sms_conn_id")
    ui_color = "#f3e3d0"

    def __init__(
        self,
        *,
        message_ids: Templated[MessageIds],
        sms_conn_id: str = "winsms_default",
        on_not_cancelled: Tolerance = "fail_if_all",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.message_ids = message_ids
        self.sms_conn_id = sms_conn_id
        self.on_not_cancelled = on_not_cancelled

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Cancel, and return what became of it, in counts."""
        with permanent_errors_fail_at_once():
            return self._cancel(SmsHook.of(self.sms_conn_id))

    def _cancel(self, hook: SmsHook) -> dict[str, Any]:
        _check_policy("on_not_cancelled", self.on_not_cancelled)
        ids = hook.gateway.message_ids(each_message_id(self.message_ids))
        size = hook.gateway.limits.message_ids
        requests = [ids[start : start + size] for start in range(0, len(ids), size)]
        answers = [answer for request in requests for answer in hook.cancel_scheduled(request)]
        # One answer for each id that was asked for, whatever the gateway repeats or adds.
        asked = set(ids)
        cancelled = {a.message_id: a.refund for a in answers if a.cancelled and a.message_id in asked}
        left = len(ids) - len(cancelled)
        refund = sum(cancelled.values(), start=Decimal(0))
        self.log.log(
            logging.WARNING if left else logging.INFO,
            "Cancelled %d of %s; %s credits back.",
            len(cancelled),
            counted(len(ids), "scheduled text"),
            credits_text(refund),
        )
        self._judge(len(cancelled), left)
        return {
            "cancelled": len(cancelled),
            "not_cancelled": left,
            "refund": credits_text(refund),
            "requests": len(requests),
        }

    def _judge(self, cancelled: int, left: int) -> None:
        if left and _is_intolerable(self.on_not_cancelled, cancelled):
            msg = (
                f"{counted(left, 'text')} could not be cancelled: gone out, cancelled before, or unknown. "
                f"{cancelled} were."
            )
            raise NotCancelled(msg, left)


def _check_policy(name: str, policy: str) -> None:
    if policy not in get_args(Tolerance):
        msg = f"{name} must be one of {', '.join(get_args(Tolerance))}; got {policy!r}."
        raise InvalidMessage(msg)


def _is_intolerable(policy: str, succeeded: int) -> bool:
    return policy == "fail" or (policy == "fail_if_all" and not succeeded)


def _composed(composer: Composer, place: int, row: object) -> Message:
    if not isinstance(row, Mapping):
        msg = f"Message {place} is of type {type(row).__name__}. Give {{'text': ..., 'to': ...}}."
        raise InvalidMessage(msg)
    if not _NEEDED_KEYS <= set(row) <= _MESSAGE_KEYS:
        missing = ", ".join(sorted(_NEEDED_KEYS - set(row))) or "none"
        unknown = counted(len(set(row) - _MESSAGE_KEYS), "key")
        msg = (
            f"Message {place} must have text and to, and may have send_at and max_segments. Missing here: "
            f"{missing}; unknown: {unknown}."
        )
        raise InvalidMessage(msg)
    try:
        return composer.compose(**row)
    except InvalidMessage as error:
        msg = f"Message {place}: {error}"
        raise InvalidMessage(msg) from None


def _ended_by(error: BaseException, outcome: Outcome, planned: Plan, ledger: Ledger) -> BaseException:
    """Return what to raise for the error that ended a send: after an intent, a passing one is permanent.

    A retry would refuse, and Airflow drops the XComs of a try when the next one begins.
    """
    if isinstance(error, SmsError):
        return _interrupted(error, outcome, planned)
    if ledger.has_intended and isinstance(error, (Exception, AirflowTaskTimeout)):
        return _interrupted(OutcomeUnknown(f"{type(error).__name__} ended the send."), outcome, planned)
    return error


def _interrupted(error: SmsError, outcome: Outcome, planned: Plan) -> SmsError:
    """Say how far the send had come. After one answer, a retry would begin with the first again."""
    unknown = isinstance(error, OutcomeUnknown)
    if not unknown and (error.is_permanent or not outcome.requests):
        return error
    current = planned.requests[outcome.requests : outcome.requests + 1]
    in_request = sum(len(message.recipients) for request in current for message in request)
    answered = outcome.accepted + outcome.rejected.total()
    return OutcomeUnknown(
        f"{error} Requests answered: {outcome.requests} of {len(planned.requests)}. Recipients accepted in "
        f"them: {outcome.accepted}; in the next: {in_request}, {'unknown' if unknown else 'not accepted'}; "
        f"not tried: {planned.recipients - answered - in_request}. Nothing is sent again by a retry. The ids "
        f"of what was accepted are in the XCom {PARTIAL_RESULT_KEY}, if there are any."
    )
