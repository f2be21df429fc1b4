"""Operators that send texts and cancel scheduled ones, through whichever gateway the connection names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import pendulum
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_winsms.airflow_errors import permanent_errors_fail_at_once
from airflow_provider_winsms.exceptions import (
    ConfigurationError,
    InvalidMessage,
    OutcomeUnknown,
    SendRejected,
    SmsError,
)
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.ledger.task_state import TaskStateLedger
from airflow_provider_winsms.messages import Message, credits_text, each_message_id
from airflow_provider_winsms.sending import Composer, Outcome, plan, submit
from airflow_provider_winsms.templating import SealedFieldsOperator

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.gateways.base import Call
    from airflow_provider_winsms.messages import MessageIds, Receipt, Recipient
    from airflow_provider_winsms.templating import Templated

Tolerance = Literal["fail_if_all", "fail", "ignore"]
"""When some of many fail a task: if there was nothing else, always, or never."""

_MESSAGE_KEYS = {"text", "to", "send_at", "max_segments"}

_NOTHING = Decimal(0)
_MAY_HAVE_SENT = (
    "An earlier try of this task may have sent already, so this one does not. What that try learnt is in its "
    "log; if it was killed, only the gateway knows what it accepted (WinSMS: Client Zone > Message Logs). To "
    "send once more on purpose, start a new DAG run."
)

PARTIAL_RESULT_KEY = "partial_result"
"""The XCom key under which a send that fails leaves what it had sent by then."""


class _SendOperator(SealedFieldsOperator):
    """What sending one text and sending many have in common."""

    ui_color = "#d5f0e3"

    def __init__(
        self, *, sms_conn_id: str = "winsms_default", on_rejected: Tolerance = "fail_if_all", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.sms_conn_id = sms_conn_id
        self.on_rejected = on_rejected

    def execute(self, context: Context) -> dict[str, Any]:
        """Send, and return what became of it, in counts."""
        with permanent_errors_fail_at_once():
            return self._send(SmsHook.of(self.sms_conn_id), context)

    def _send(self, hook: SmsHook, context: Context) -> dict[str, Any]:
        _check_policy("on_rejected", self.on_rejected)
        planned = plan(self._messages(Composer(hook.gateway, pendulum.now)), hook.gateway)
        self.log.info(
            "Sending to %d recipients in %d requests; %d duplicates left out.",
            planned.recipients,
            len(planned.requests),
            planned.duplicates,
        )
        ledger = TaskStateLedger(context)
        if ledger.may_have_sent():
            raise OutcomeUnknown(_MAY_HAVE_SENT)
        outcome = Outcome()
        try:
            submit(planned, lambda messages: self._call(hook, messages), hook.carry, ledger, outcome)
            self._judge(outcome)
        except SmsError as error:
            self._leave_partial_result(context, outcome)
            raise _interrupted(error, outcome, len(planned.requests)) from error.__cause__
        except BaseException:
            self._leave_partial_result(context, outcome)
            raise
        self._log_outcome(outcome)
        return outcome.summary()

    @abstractmethod
    def _messages(self, composer: Composer) -> list[Message]:
        """Return what to send, checked."""

    @abstractmethod
    def _call(self, hook: SmsHook, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        """Return the request for messages that fit into one."""

    def _judge(self, outcome: Outcome) -> None:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in sorted(outcome.rejected.items()))
        if outcome.account_level:
            msg = (
                f"The account cannot send ({reasons}; {outcome.accepted} accepted before). Nothing more was "
                "submitted. no_credits: top up; account_locked, trial_account: ask the gateway."
            )
            raise ConfigurationError(msg)
        if outcome.rejected and _is_intolerable(self.on_rejected, outcome.accepted):
            msg = f"The gateway declined recipients ({reasons}) and accepted {outcome.accepted}."
            raise SendRejected(msg, {str(reason): count for reason, count in outcome.rejected.items()})

    def _leave_partial_result(self, context: Context, outcome: Outcome) -> None:
        if outcome.requests:
            context["ti"].xcom_push(key=PARTIAL_RESULT_KEY, value=outcome.summary())
            self._log_outcome(outcome)

    def _log_outcome(self, outcome: Outcome) -> None:
        self.log.info(
            "Accepted %d, rejected %s, cost %s credits, balance %s, requests %d.",
            outcome.accepted,
            {str(reason): count for reason, count in sorted(outcome.rejected.items())},
            credits_text(outcome.cost),
            None if outcome.balance is None else credits_text(outcome.balance),
            outcome.requests,
        )


class SmsSendOperator(_SendOperator):
    """Send one text to one or many recipients, now or at an instant.

    Returns ``{"message_ids": [...], "accepted": n, "rejected": {reason: n}, "duplicates": n, "cost": "12.0",
    "balance": "188.6", "requests": n}``: amounts are decimal strings, in credits; reasons are values of
    ``RejectReason``. Neither numbers nor the text are in it, in a log, or in the rendered template view.

    A text goes out at most once. A request whose answer is lost is never repeated: the task fails for good,
    whatever its ``retries``, and so does a second try of a task that may have sent. What was accepted until
    then is in the XCom ``partial_result``.

    :param text: what to send, up to 918 septets of the GSM 7-bit alphabet; curly quotes, dashes and accents
        that it lacks are spelt plainly, other characters are refused. (templated; shown to nobody)
    :param to: a number, several in one string with commas between them, or a list of numbers of any length;
        international digits, or national ones beginning with 0. A number given twice is texted once.
        (templated; shown to nobody)
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
                "The text was spelt in the GSM 7-bit alphabet; it takes %d segments.", message.max_segments
            )
        return [message]

    def _call(self, hook: SmsHook, messages: Sequence[Message]) -> Call[tuple[Receipt, ...]]:
        return hook.gateway.send(messages[0])


class SmsSendBatchOperator(_SendOperator):
    """Send different texts, each to its own recipients, in as few requests as the gateway's limits allow.

    Returns, promises and takes what ``SmsSendOperator`` does, but for:

    :param messages: a list of any length of ``{"text": ..., "to": ..., "send_at": ..., "max_segments": ...}``
        (the last two may be left out), each as ``SmsSendOperator`` takes them. The same text to the same
        number at the same time goes out once. (templated; shown to nobody)
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

    Returns ``{"cancelled": n, "not_cancelled": n, "refund": "3.0", "requests": n}``. It is safe to repeat:
    a text that was cancelled before is not refunded twice, and counts as not cancelled, as the gateway does
    not tell it from one that has gone out.

    :param message_ids: ids, or what a send operator returned (``send.output``); lists of any length.
        (templated)
    :param on_not_cancelled: when texts that could not be cancelled fail the task: ``"ignore"``, ``"fail"``
        (one is enough) or ``"fail_if_all"``.
    :param sms_conn_id: the connection, whose type says which gateway. (templated)
    """

    template_fields: Sequence[str] = ("message_ids", "sms_conn_id")
    ui_color = "#f3e3d0"

    def __init__(
        self,
        *,
        message_ids: Templated[MessageIds],
        sms_conn_id: str = "winsms_default",
        on_not_cancelled: Tolerance = "ignore",
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
        cancelled = [answer for answer in answers if answer.cancelled]
        left = len(ids) - len(cancelled)
        refund = sum((answer.refund for answer in cancelled), start=_NOTHING)
        self.log.info(
            "Cancelled %d of %d scheduled texts; %s credits back.", len(cancelled), len(ids), refund
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
                f"{left} texts were not cancelled (gone out, cancelled before, or unknown); {cancelled} were."
            )
            raise SendRejected(msg, {"not_cancelled": left})


def _check_policy(name: str, policy: str) -> None:
    if policy not in get_args(Tolerance):
        msg = f"{name} must be one of {', '.join(get_args(Tolerance))}; got {policy!r}."
        raise InvalidMessage(msg)


def _is_intolerable(policy: str, succeeded: int) -> bool:
    return policy == "fail" or (policy == "fail_if_all" and not succeeded)


def _composed(composer: Composer, place: int, row: object) -> Message:
    if not isinstance(row, Mapping) or not {"text", "to"} <= set(row) <= _MESSAGE_KEYS:
        msg = (
            f"Message {place} must have 'text' and 'to', may have 'send_at' and 'max_segments', and no more."
        )
        raise InvalidMessage(msg)
    try:
        return composer.compose(**row)
    except InvalidMessage as error:
        msg = f"Message {place}: {error}"
        raise InvalidMessage(msg) from None


def _interrupted(error: SmsError, outcome: Outcome, requests: int) -> SmsError:
    """Make an error permanent that comes after something was accepted: a retry would send that again."""
    if error.is_permanent or not outcome.requests:
        return error
    return OutcomeUnknown(
        f"{error} This was request {outcome.requests + 1} of {requests}; {outcome.accepted} recipients had "
        f"been accepted before it (XCom {PARTIAL_RESULT_KEY}). A retry would text them again: none is made."
    )
