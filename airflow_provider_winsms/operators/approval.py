"""The operator that asks people by text, and waits for their answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import SkipMixin, XCom, conf

from airflow_provider_winsms.exceptions import ApprovalFailed, InvalidMessage
from airflow_provider_winsms.messages import reasons_in_words
from airflow_provider_winsms.operators import send_base
from airflow_provider_winsms.options import (
    Guarantee,
    check_answers,
    check_count,
    check_flag,
    optional,
    seconds,
)
from airflow_provider_winsms.sending.content import check_sendable, check_to
from airflow_provider_winsms.sending.plan_id import NOT_GIVEN
from airflow_provider_winsms.utils.errors import permanent_errors_fail_at_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.inbound.approval import ApprovalEvent, ApprovalResult, ApprovalWait, Codes
    from airflow_provider_winsms.messages import Recipient
    from airflow_provider_winsms.operators.send_base import GuaranteeName
    from airflow_provider_winsms.options import Check, OnClear, StoredPrivacy, StoredText
    from airflow_provider_winsms.sending.attempt import Sent
    from airflow_provider_winsms.sending.question import Question
    from airflow_provider_winsms.utils.parameters import JointCheck
    from airflow_provider_winsms.utils.templates import Templated

_EARLIER = 3600.0
"""Seconds before the question from which replies count: the gateway's clock may differ, and tell minutes."""


def _check_word(name: str, word: object) -> None:
    check_answers(name, (word, f"not{word}"))


def _check_default(default: object, options: object) -> None:
    """Check that the default is one of the options.

    :raises InvalidMessage: it is not.
    """
    if default is not None and default not in (options or ()):  # type: ignore[operator] # checked before
        msg = f"default must be one of the options; got {default!r}."
        raise InvalidMessage(msg)


_FIXED: Mapping[str, Any] = {
    "check_numbers": "possible",
    "encoding": "transliterate",
    "on_rejected": "fail_if_all",
    "on_invalid": "fail",
    "on_empty": "fail",
    "rules": (),
    "approved_plan": NOT_GIVEN,
    "plan_only": False,
    "show_texts": False,
    "hold": timedelta(minutes=5),
    "on_changed": "refuse",
    "cancel_on_kill": False,
    "idempotency_key": None,
    "wait_for_delivery": False,
    "min_delivered": 1.0,
    "max_poll_interval": timedelta(hours=1),
    "delivery_timeout": timedelta(days=1),
    "multiple_outputs": False,
}
"""The parameters of a send that a question does not have, with their values."""

_CHECKS: Mapping[str, Check] = {
    **{name: check for name, check in send_base.SEND_CHECKS.items() if name not in _FIXED},
    "to": check_to,
    "subject": check_sendable,
    "options": check_answers,
    "timeout": seconds,
    "min_approvals": partial(check_count, least=1, most=1000),
    "default": optional(_check_word),
    "fail_on_reject": check_flag,
    "ignore_downstream_trigger_rules": check_flag,
}
_JOINT_CHECKS: tuple[JointCheck, ...] = (
    *send_base.SendOperator.joint_checks,
    (("default", "options"), _check_default),
)


class SmsApprovalOperator(send_base.SendOperator, SkipMixin):
    """Ask people by text, and wait until enough of them have answered by text.

    Each person gets the subject and a code of their own: ``Deploy to production? Reply YES 471123 or NO
    471123``. An answer is a reply from a number that was asked, with its own code and one of the options, in
    whatever case. The first answer of each person counts, once. After five wrong codes of this question, no
    reply from that number counts any more.

    With ``options=("YES", "NO")``, the first option approves: it needs ``min_approvals`` answers. One answer
    for any other option rejects at once. After an approval, the tasks downstream run. After a rejection they
    are skipped, as by Airflow's ``ApprovalOperator``; with ``fail_on_reject`` the task fails instead.

    With a mapping, such as ``options={"PROD": "deploy", "TEST": "try_out"}``, the options are equal. The
    first one with ``min_approvals`` answers is chosen. Only its tasks run; the other tasks right downstream
    are skipped.

    Returns ``{"batch": id, "chosen": "YES", "timed_out": False, "asked": 2, "answers": [{"number":
    "27******101", "option": "YES", "at": "2026-11-30T08:15:00+00:00"}], "ignored": {"wrong_code": 1}}``.
    Numbers are masked. ``at`` is ``None`` if the gateway does not tell when a reply arrived. ``ignored``
    counts the replies of these people that did not count.

    At ``timeout``, or if all have answered and no option has enough, the task fails for good with
    ``ApprovalFailed``; with ``default`` it takes that option instead, and ``timed_out`` is true.

    A retry, or a cleared task, asks nobody again, and counts the answers to the first question. With
    ``on_clear="resend"``, a cleared task asks again, with other codes. All deferred approvals of one
    connection in a triggerer share one poll of the incoming list. The texts, the numbers and the codes are in
    no log, no XCom and no trigger row.

    A sender's number can be forged. The code shows that the person who answers has read the text; it does not
    show who holds the phone. The page "Approvals by SMS" of the documentation has the limits.

    :param to: the people to ask: numbers, as ``SmsSendOperator`` takes them. (templated; sensitive)
    :param subject: the question. What to reply is appended. (templated; sensitive)
    :param options: two or more words of letters, or a mapping of such words to ids of tasks or task groups
        downstream. Words by which people opt out of all texts, such as ``STOP``, are refused.
    :param timeout: how long to wait, from the time at which the question was first sent; a ``timedelta`` or
        seconds.
    :param min_approvals: how many people must answer alike.
    :param default: the option that is taken at the time-out. ``None``: the task fails.
    :param fail_on_reject: whether a rejection fails the task, for good.
    :param ignore_downstream_trigger_rules: whether a rejection skips all tasks downstream, not only those
        right behind.
    :param poll_interval: the pause between two looks at the replies; a ``timedelta`` or seconds.
    :param deferrable: whether to wait in the triggerer, without a worker. Follows
        ``[operators] default_deferrable``.
    :param sms_conn_id: the connection, whose type says which gateway. (templated)
    :param guarantee: as in ``SmsSendOperator``.
    :param on_clear: ``"resume"`` counts the answers to the first question, ``"resend"`` asks again.
    :param ledger_conn_id: as in ``SmsSendOperator``. (templated)
    :param ledger_prefix: as in ``SmsSendOperator``.
    :param ledger_privacy: as in ``SmsSendOperator``.
    :param ledger_text: as in ``SmsSendOperator``. With ``"keep"``, the codes stand in the ledger.
    """

    template_fields: Sequence[str] = ("to", "subject", *send_base.SEND_TEMPLATES)
    sensitive_fields: ClassVar[tuple[str, ...]] = ("to", "subject")
    number_fields: ClassVar[tuple[str, ...]] = ("to",)
    text_fields: ClassVar[tuple[str, ...]] = (*send_base.SendOperator.text_fields, "subject")
    parameter_checks: ClassVar[Mapping[str, Check]] = _CHECKS
    joint_checks: ClassVar[tuple[JointCheck, ...]] = _JOINT_CHECKS
    ui_color = "#e4dcf5"
    fixed_parameters: ClassVar[Mapping[str, Any]] = _FIXED
    """The parameters of its base that it does not take."""
    inherits_from_skipmixin = True

    def __init__(
        self,
        *,
        to: Templated[str | Iterable[str | Recipient]],
        subject: Templated[str],
        options: Sequence[str] | Mapping[str, str | list[str]] = ("YES", "NO"),
        timeout: timedelta | float = timedelta(hours=1),
        min_approvals: int = 1,
        default: str | None = None,
        fail_on_reject: bool = False,
        ignore_downstream_trigger_rules: bool = False,
        poll_interval: timedelta | float = 30,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        sms_conn_id: str = "winsms_default",
        guarantee: GuaranteeName | Guarantee = Guarantee.AT_MOST_ONCE,
        on_clear: OnClear = "resume",
        ledger_conn_id: str | None = None,
        ledger_prefix: str = "sms_",
        ledger_privacy: StoredPrivacy = "none",
        ledger_text: StoredText = "digest",
        **kwargs: Any,
    ) -> None:
        if fixed := sorted(_FIXED.keys() & kwargs.keys()):
            msg = f"Task {kwargs.get('task_id')!r}: SmsApprovalOperator has no parameter {fixed[0]}."
            raise InvalidMessage(msg)
        super().__init__(
            sms_conn_id=sms_conn_id,
            guarantee=guarantee,
            on_clear=on_clear,
            ledger_conn_id=ledger_conn_id,
            ledger_prefix=ledger_prefix,
            ledger_privacy=ledger_privacy,
            ledger_text=ledger_text,
            deferrable=deferrable,
            poll_interval=poll_interval,
            **_FIXED,
            **kwargs,
        )
        self.to = to
        self.subject = subject
        self.options = options
        self.timeout = timeout
        self.min_approvals = min_approvals
        self.default = default
        self.fail_on_reject = fail_on_reject
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules
        self._given = (to, subject)
        self.check_when_read()

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask, look once, and wait for the answers: in the triggerer, or here."""
        from airflow_provider_winsms.inbound.approval import Codes
        from airflow_provider_winsms.utils.approval_wait import ApprovalWorkerWait

        with permanent_errors_fail_at_once():
            self.check_when_rendered()
            hook = self.hook_of(self.sms_conn_id)
            hook.gateway.require("incoming", "to")
            codes = Codes(hook.hashes, _question_of(self, context))
            question = self._content(**self.render_sensitive_fields(), code_of=codes.of)
            sent = self._send(question, hook, self._policy(hook), context)
            self._attempt = None
            wait = _wait_of(self, sent, question, codes, hook)
            worker = ApprovalWorkerWait(wait, hook, lambda: self.clock.now().timestamp(), self.log)
            batch = {"batch": sent.result["batch"], "asked": len(question.asked)}
            if not self.deferrable:
                return self._decided(worker.run(self._sleep), batch, context)
            worker.look()
            if worker.is_over:
                return self._decided(worker.result, batch, context)
        return self._defer(worker.rest(), batch)

    def execute_complete(  # type: ignore[override] # another event than that of a send
        self, context: Context, event: ApprovalEvent, batch: dict[str, Any]
    ) -> dict[str, Any]:
        """Return what was decided, and skip what must not run."""
        from airflow_provider_winsms.inbound.approval import ApprovalResult
        from airflow_provider_winsms.utils.worker_wait import RESUMED

        self.log.info(RESUMED)
        with permanent_errors_fail_at_once():
            return self._decided(ApprovalResult.from_event(event), batch, context)

    def _sleep(self, seconds_: float) -> None:
        from airflow_provider_winsms.utils.worker_wait import sleep_unless_killed

        sleep_unless_killed(self.clock, seconds_, lambda: self._is_killed)

    def _content(self, **values: Any) -> Question:
        from airflow_provider_winsms.sending.question import Question

        return Question(**values, options=list(self.options))

    def _defer(self, wait: ApprovalWait, batch: dict[str, Any]) -> dict[str, Any]:
        from airflow_provider_winsms.triggers.sms import SmsApprovalTrigger

        self.log.info("Waiting for answers in the triggerer.")
        self.defer(
            trigger=SmsApprovalTrigger(wait),
            method_name="execute_complete",
            kwargs={"batch": batch},
            timeout=wait.deferral_timeout(self.clock.now().timestamp()),
        )

    def _decided(self, result: ApprovalResult, batch: dict[str, Any], context: Context) -> dict[str, Any]:
        chosen = self.default if result.chosen is None else result.chosen
        answers = [answer._asdict() for answer in result.answers]
        for answer in result.answers:
            self.log.info("%s answered %s.", answer.number, answer.option)
        if result.ignored:
            self.log.info("Replies that did not count: %s.", reasons_in_words(Counter(result.ignored)))
        if chosen is None:
            raise _undecided(self, result, batch)
        self.log.info("%s was chosen%s.", chosen, "" if result.chosen else ", as the default at the time-out")
        decided = {**batch, "chosen": chosen, "timed_out": result.chosen is None, "answers": answers}
        decided["ignored"] = dict(result.ignored)
        # Airflow keeps no result of a task that skips others.
        context["ti"].xcom_push(key=XCom.XCOM_RETURN_KEY, value=decided)
        _skip(self, chosen, context)
        return decided


def _question_of(task: SmsApprovalOperator, context: Context) -> str:
    """Return what identifies the question: the task instance, and how often it was asked anew."""
    instance: Any = context["ti"]
    names = (instance.dag_id, instance.run_id, instance.task_id, str(instance.map_index))
    return "/".join((*names, str(instance.max_tries) if task.on_clear == "resend" else ""))


def _wait_of(
    task: SmsApprovalOperator, sent: Sent, question: Question, codes: Codes, hook: SmsHook
) -> ApprovalWait:
    from airflow_provider_winsms.inbound.approval import ApprovalWait

    if sent.result["accepted"] < task.min_approvals:
        msg = (
            f"Only {sent.result['accepted']} of {len(question.asked)} people got the question; "
            f"min_approvals is {task.min_approvals}."
        )
        raise ApprovalFailed(msg)
    asked_at = sent.opened_at.timestamp()
    return ApprovalWait(
        sms_conn_id=task.sms_conn_id,
        question=codes.question,
        key_id=hook.hashes.key_id,
        approvers=[codes.approver(number) for number in question.asked],
        options=list(task.options),
        needed=task.min_approvals,
        is_vote=isinstance(task.options, Mapping),
        since=asked_at - _EARLIER,
        shortest_pause=seconds("poll_interval", task.poll_interval),
        first_at=asked_at,
        end_at=asked_at + seconds("timeout", task.timeout),
    )


def _undecided(task: SmsApprovalOperator, result: ApprovalResult, batch: dict[str, Any]) -> ApprovalFailed:
    why = "The time is over" if result.timed_out else "All have answered"
    trouble = f" The last error: {result.trouble}" if result.trouble else ""
    return ApprovalFailed(
        f"{why}, and no option has enough answers: {len(result.answers)} of {batch['asked']} people "
        f'answered; min_approvals is {task.min_approvals}. To ask again, clear the task with on_clear="'
        f'resend", or start a new DAG run.{trouble}'
    )


def _tasks_of(approval: SmsApprovalOperator, names: str | list[str]) -> list[str]:
    """Return the ids of tasks, with the first tasks of a group in place of its name."""
    groups: Any = approval.dag.task_group_dict
    found: list[str] = []
    for name in [names] if isinstance(names, str) else names:
        found += [root.task_id for root in groups[name].roots] if name in groups else [name]
    return found


def _skip(approval: SmsApprovalOperator, chosen: str, context: Context) -> None:
    """Skip the tasks downstream that must not run."""
    instance: Any = context["ti"]
    if isinstance(approval.options, Mapping):
        approval.skip_all_except(instance, _tasks_of(approval, approval.options[chosen]))
    elif chosen != next(iter(approval.options)):
        if approval.fail_on_reject:
            msg = f"The answer is {chosen}, and fail_on_reject=True fails the task."
            raise ApprovalFailed(msg)
        task = context["task"]
        below = (
            task.get_flat_relatives(upstream=False)
            if approval.ignore_downstream_trigger_rules
            else task.get_direct_relatives(upstream=False)
        )
        tasks = [each for each in below if not each.is_teardown]
        if tasks:
            approval.skip(ti=instance, tasks=tasks)
