"""Operators that send texts. The operators that cancel and refresh can be imported from here, too."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import (
    conf,
)

from airflow_provider_winsms.operators import send_base
from airflow_provider_winsms.operators.balance import SmsBalanceCheckOperator
from airflow_provider_winsms.operators.cancel import SmsCancelScheduledOperator
from airflow_provider_winsms.operators.refresh import SmsRefreshStatusOperator
from airflow_provider_winsms.operators.send_base import SEND_CHECKS, GuaranteeName
from airflow_provider_winsms.options import (
    CheckNumbers,
    Encoding,
    Guarantee,
    OnChanged,
    OnClear,
    OnEmpty,
    OnInvalid,
    StoredPrivacy,
    StoredText,
    Tolerance,
    check_flag,
    optional,
)
from airflow_provider_winsms.sending.content import (
    check_max_segments,
    check_messages,
    check_send_at,
    check_sendable,
    check_to,
)
from airflow_provider_winsms.sending.plan_id import NOT_GIVEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_provider_winsms.messages import Recipient
    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.sending.composer import OneText, TextRows
    from airflow_provider_winsms.sending.rules.base import Rule
    from airflow_provider_winsms.utils.templates import Templated

__all__ = [
    "GuaranteeName",
    "SmsBalanceCheckOperator",
    "SmsCancelScheduledOperator",
    "SmsRefreshStatusOperator",
    "SmsSendBatchOperator",
    "SmsSendOperator",
]


class SmsSendOperator(send_base.SendOperator):
    """Send one text to one or many recipients, now or at a given time.

    Returns ``{"batch": id, "message_ids": [...], "accepted": n, "rejected": {reason: n}, "unknown": 0,
    "not_tried": 0, "duplicates": n, "cost": "12.0", "balance": "188.6", "currency": "credits",
    "requests": n}``, for all tries together. Amounts are decimal strings, in that currency. Reasons are
    values of ``RejectReason``. ``balance`` is ``None`` if this try sent nothing. ``cost`` is what was
    charged, less the refunds of cancelled texts that the ledger knows; ``None`` if the gateway states an
    amount that cannot be read.

    Numbers and texts are not in the result, in a log, or in the rendered template view, which shows counts
    (``5,000 recipients, not shown``). A literal stays in the DAG file, and in Airflow's copy of it. Give a
    function instead: Airflow calls it with ``context=`` and ``jinja_env=`` while the task runs. It may return
    another list in a later try; ``on_changed`` decides about that. The result of a function or of another
    task is data and is never rendered, not even with ``expand_kwargs``. Numbers that came through an XCom are
    stored by Airflow; the task's log warns of that.

    Every request is recorded before it leaves, and its answer after. A retry, or a cleared task, resumes
    where the try before it stopped. It sends no accepted text again. ``guarantee`` decides about lost
    answers. The page "What is promised, and what is not" of the documentation has the limits. A send that
    fails leaves its result so far in the XCom ``partial_result``.

    :param text: the text, within the alphabets and the length that the gateway sends: for WinSMS, 918 septets
        of the GSM 7-bit alphabet. ``encoding`` decides about characters that this alphabet lacks. (templated;
        sensitive)
    :param to: a number, several numbers in one string with commas, or a list of numbers of any length. Give
        international digits, or national ones that begin with 0. A number that occurs twice gets one text.
        A ``Recipient`` may carry your own reference; see ``SmsSendBatchOperator``. (templated; sensitive)
    :param show_text: whether the rendered template view shows the text, with numbers masked. It is for texts
        that say nothing about a person. A text that a function or another task gives, or that the task is
        mapped over, may be personal, and is counted.
    :param send_at: an aware time in the future, or its ISO 8601 text, rounded up to the minute. ``None``:
        at once. (templated)
    :param max_segments: the most segments that the text may take, 1 to 6. Each segment is paid. ``None``: as
        many as the text needs. (templated)
    :param check_numbers: how each number is checked against the number plan of its country before anything
        is sent: ``"possible"`` (by length; with the country code 27, 11 digits), ``"valid"`` (in a range in
        use) or ``"off"`` (10 to 15 digits, or 7 to 15 after a plus).
    :param encoding: what happens to characters that the gateway's alphabet lacks. ``"transliterate"``: curly
        quotes, dashes and accents are replaced by plain ones, and a text with characters that have no plain
        spelling (an emoji) is refused when the task starts. ``"strict"``: a text with any such character is
        refused. The error names the characters and their places. ``gsm7.check_text`` tells it beforehand.
    :param on_rejected: when recipients that the gateway declines fail the task: ``"fail_if_all"``, ``"fail"``
        (one is enough) or ``"ignore"``. A locked, trial or empty account always fails the task. A retry after
        an empty account sends only to recipients whom the balance did not cover.
    :param on_invalid: what happens if a recipient or a row is invalid, such as letters for a number, or an
        empty text. ``"fail"`` sends nothing, and lists the first 20 problems. ``"reject"`` sends to all
        others, and counts the invalid ones as rejected (``bad_number`` or ``invalid``); ``on_rejected``
        applies to them. A ledger in tables has a row for each, with its reference.
    :param on_empty: what happens if there is no recipient, or no message: ``"fail"`` or ``"skip"``. A task
        that has submitted something before fails, unless ``on_changed`` lets it send the rest.
    :param rules: decide who gets a text, and when: objects of ``airflow_provider_winsms.rules``, or your own.
        They are applied in their order, once: a later try follows what they decided. Recipients whom they
        take out are counted as rejected, each with a reason; ``on_rejected`` does not apply to them. If none
        is left, ``on_empty`` decides.
    :param approved_plan: the ``plan_id`` of a plan that was approved. Anything that is not exactly that plan
        is refused before the first request, and so is an empty value. If you leave it out, no approval is
        needed. (templated)
    :param plan_only: whether the task sends nothing, and returns its plan. The page "Plan, approve, send" of
        the documentation shows it. The plan lists invalid rows, and does not fail for them.
    :param show_texts: whether the plan has the first three different texts, with numbers masked.
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
        result then also has ``"delivery": {"total": n, "delivered": n, "states": {state: n}, "cost": "2.0",
        "cost_difference": "0.0", "currency": "credits"}``. This ``cost`` is what the delivery reports state;
        ``cost_difference`` is what was charged less that, ``None`` if one of them is unknown. If too few
        texts arrive, the task fails for good with ``DeliveryFailed``. A retry sends nothing again, and waits
        again. With ``ledger_conn_id`` the states are written to its tables.
    :param deferrable: whether to wait in the triggerer, without a worker. Defaults to
        ``[operators] default_deferrable``.
    :param min_delivered: the share of the accepted texts that must arrive, 0 to 1.
    :param poll_interval: the shortest pause between two polls; a ``timedelta`` or seconds. The pause is a
        tenth of the texts' age, and at least this long.
    :param max_poll_interval: the longest pause between two polls; a ``timedelta`` or seconds.
    :param delivery_timeout: how long to wait after the last text is due; a ``timedelta`` or seconds.
    :param sms_conn_id: the connection. Its type decides which gateway is used. (templated)
    """

    template_fields: Sequence[str] = ("text", "to", "send_at", "max_segments", *send_base.SEND_TEMPLATES)
    sensitive_fields: ClassVar[tuple[str, ...]] = ("text", "to")
    number_fields: ClassVar[tuple[str, ...]] = ("to",)
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        **SEND_CHECKS,
        "text": check_sendable,
        "to": check_to,
        "show_text": check_flag,
        "send_at": optional(check_send_at),
        "max_segments": optional(check_max_segments),
    }

    def __init__(
        self,
        *,
        text: Templated[str],
        to: Templated[str | Iterable[str | Recipient]],
        show_text: bool = False,
        send_at: Templated[datetime | str | None] = None,
        max_segments: Templated[int | str | None] = None,
        sms_conn_id: str = "winsms_default",
        check_numbers: CheckNumbers = "possible",
        encoding: Encoding = "transliterate",
        on_rejected: Tolerance = "fail_if_all",
        on_invalid: OnInvalid = "fail",
        on_empty: OnEmpty = "fail",
        rules: Sequence[Rule] = (),
        approved_plan: Templated[str] = NOT_GIVEN,
        plan_only: bool = False,
        show_texts: bool = False,
        guarantee: GuaranteeName | Guarantee = Guarantee.AT_MOST_ONCE,
        hold: timedelta = timedelta(minutes=5),
        on_clear: OnClear = "resume",
        on_changed: OnChanged | None = None,
        cancel_on_kill: bool = False,
        idempotency_key: str | None = None,
        ledger_conn_id: str | None = None,
        ledger_prefix: str = "sms_",
        ledger_privacy: StoredPrivacy = "none",
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
            encoding=encoding,
            on_rejected=on_rejected,
            on_invalid=on_invalid,
            on_empty=on_empty,
            rules=rules,
            approved_plan=approved_plan,
            plan_only=plan_only,
            show_texts=show_texts,
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
        self.show_text = show_text
        self.send_at = send_at
        self.max_segments = max_segments
        self._given = (text, to, send_at, max_segments)
        self.check_when_read()

    def _content(self, **values: Any) -> OneText:
        from airflow_provider_winsms.sending.composer import OneText

        is_shown = self.show_text and self.is_of_all_instances("text")
        return OneText(**values, send_at=self.send_at, max_segments=self.max_segments, is_text_shown=is_shown)


class SmsSendBatchOperator(send_base.SendOperator):
    """Send different texts, each to its own recipients, in as few requests as the gateway's limits allow.

    A gateway that takes no batch gets requests of one text each.

    Result, promises and parameters are those of ``SmsSendOperator``, except:

    :param messages: a list of any length of ``{"text": ..., "to": ..., "send_at": ..., "max_segments": ...,
        "reference": ...}``. The last three are optional. The first four have the meaning that
        ``SmsSendOperator`` gives them. The same text to the same number at the same time is sent once. The
        reference is your own name for the text, such as a customer's id: at most 150 characters. It is stored
        as it is in the ledger's tables, and is not sent. (templated; sensitive)
    """

    template_fields: Sequence[str] = ("messages", *send_base.SEND_TEMPLATES)
    sensitive_fields: ClassVar[tuple[str, ...]] = ("messages",)
    number_fields: ClassVar[tuple[str, ...]] = ("messages",)
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        **SEND_CHECKS,
        "messages": check_messages,
    }

    def __init__(
        self,
        *,
        messages: Templated[Iterable[Mapping[str, Any]]],
        sms_conn_id: str = "winsms_default",
        check_numbers: CheckNumbers = "possible",
        encoding: Encoding = "transliterate",
        on_rejected: Tolerance = "fail_if_all",
        on_invalid: OnInvalid = "fail",
        on_empty: OnEmpty = "fail",
        rules: Sequence[Rule] = (),
        approved_plan: Templated[str] = NOT_GIVEN,
        plan_only: bool = False,
        show_texts: bool = False,
        guarantee: GuaranteeName | Guarantee = Guarantee.AT_MOST_ONCE,
        hold: timedelta = timedelta(minutes=5),
        on_clear: OnClear = "resume",
        on_changed: OnChanged | None = None,
        cancel_on_kill: bool = False,
        idempotency_key: str | None = None,
        ledger_conn_id: str | None = None,
        ledger_prefix: str = "sms_",
        ledger_privacy: StoredPrivacy = "none",
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
            encoding=encoding,
            on_rejected=on_rejected,
            on_invalid=on_invalid,
            on_empty=on_empty,
            rules=rules,
            approved_plan=approved_plan,
            plan_only=plan_only,
            show_texts=show_texts,
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
        self._given = (messages,)
        self.check_when_read()

    def _content(self, **values: Any) -> TextRows:
        from airflow_provider_winsms.sending.composer import TextRows

        return TextRows(**values)
