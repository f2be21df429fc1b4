"""The common part of the operators that send."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import (
    AirflowTaskTimeout,
    BaseOperator,
)

from airflow_provider_winsms.exceptions import SmsError
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.links.sms import SmsBatchesLink, SmsClientZoneLink
from airflow_provider_winsms.options import (
    PARTIAL_RESULT_KEY,
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
    check_choice,
    check_conn_id,
    check_flag,
    check_idempotency_key,
    check_ledger_options,
    check_prefix,
    check_share,
    optional,
    seconds,
)
from airflow_provider_winsms.runtime import SYSTEM_CLOCK
from airflow_provider_winsms.sending.content import check_rules
from airflow_provider_winsms.sending.plan_id import NOT_GIVEN, PlanId, check_plan_id, check_plan_options
from airflow_provider_winsms.sending.policy import check_hold, policy_of, require_cancelling
from airflow_provider_winsms.utils.errors import empty_lists_skip, permanent_errors_fail_at_once
from airflow_provider_winsms.utils.parameters import CheckedParameters
from airflow_provider_winsms.utils.task_store import map_index_of
from airflow_provider_winsms.utils.templates import SensitiveFields, is_computed, redacting_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_winsms.delivery.outcome import DeliveryEvent
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.runtime import Clock, Log
    from airflow_provider_winsms.sending.attempt import SendAttempt, SendOrder, Sent
    from airflow_provider_winsms.sending.composer import Composer, Content
    from airflow_provider_winsms.sending.policy import Policy
    from airflow_provider_winsms.sending.rules.base import Rule
    from airflow_provider_winsms.utils.delivery_wait import SendWait
    from airflow_provider_winsms.utils.parameters import JointCheck
    from airflow_provider_winsms.utils.send_task import OpenLedger, SendTask
    from airflow_provider_winsms.utils.templates import Templated

GuaranteeName = Literal["at_most_once", "exactly_once", "at_least_once"]
"""The values of ``Guarantee``."""


SEND_TEMPLATES = ("approved_plan", "sms_conn_id", "idempotency_key", "ledger_conn_id")
"""The template fields that all send operators have."""

SEND_CHECKS: Mapping[str, Check] = {
    "sms_conn_id": check_conn_id,
    "check_numbers": partial(check_choice, choices=CheckNumbers),
    "encoding": partial(check_choice, choices=Encoding),
    "on_rejected": partial(check_choice, choices=Tolerance),
    "on_invalid": partial(check_choice, choices=OnInvalid),
    "on_empty": partial(check_choice, choices=OnEmpty),
    "rules": check_rules,
    "approved_plan": optional(check_plan_id),
    "is_approval_given": check_flag,
    "plan_only": check_flag,
    "show_texts": check_flag,
    "guarantee": partial(check_choice, choices=Guarantee),
    "hold": check_hold,
    "on_clear": partial(check_choice, choices=OnClear),
    "on_changed": optional(partial(check_choice, choices=OnChanged)),
    "cancel_on_kill": check_flag,
    "idempotency_key": optional(check_idempotency_key),
    "ledger_conn_id": optional(check_conn_id),
    "ledger_prefix": check_prefix,
    "ledger_privacy": partial(check_choice, choices=StoredPrivacy),
    "ledger_text": partial(check_choice, choices=StoredText),
    "wait_for_delivery": check_flag,
    "deferrable": check_flag,
    "min_delivered": check_share,
    "poll_interval": seconds,
    "max_poll_interval": seconds,
    "delivery_timeout": seconds,
    "multiple_outputs": check_flag,
}
"""The checks of the parameters that all send operators have."""


class SendOperator(CheckedParameters, SensitiveFields, BaseOperator):
    """The common part of sending one text, many, or one for each row of a query.

    All subclasses list all parameters in their constructors, so that a type checker finds a wrong value.
    """

    ui_color = "#d5f0e3"
    text_fields: ClassVar[tuple[str, ...]] = (*SensitiveFields.text_fields, "text", "approved_plan")
    parameter_checks: ClassVar[Mapping[str, Check]] = SEND_CHECKS
    joint_checks: ClassVar[tuple[JointCheck, ...]] = (
        (("ledger_conn_id", "idempotency_key", "ledger_privacy", "ledger_text"), check_ledger_options),
        (("approved_plan", "is_approval_given", "plan_only", "show_texts"), check_plan_options),
    )
    clock: ClassVar[Clock] = SYSTEM_CLOCK
    operator_extra_links = (SmsClientZoneLink(), SmsBatchesLink())
    hook_of = staticmethod(SmsHook.of)
    """Finds the hook of the gateway; a seam for tests."""

    def __init__(
        self,
        *,
        sms_conn_id: str,
        check_numbers: CheckNumbers,
        encoding: Encoding,
        on_rejected: Tolerance,
        on_invalid: OnInvalid,
        on_empty: OnEmpty,
        rules: Sequence[Rule],
        approved_plan: Templated[str],
        plan_only: bool,
        show_texts: bool,
        guarantee: GuaranteeName | Guarantee,
        hold: timedelta,
        on_clear: OnClear,
        on_changed: OnChanged | None,
        cancel_on_kill: bool,
        idempotency_key: str | None,
        ledger_conn_id: str | None,
        ledger_prefix: str,
        ledger_privacy: StoredPrivacy,
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
        self.encoding = encoding
        self.on_rejected = on_rejected
        self.on_invalid = on_invalid
        self.on_empty = on_empty
        self.rules = rules
        self.approved_plan = None if approved_plan is NOT_GIVEN else approved_plan
        self.plan_only = plan_only
        self.show_texts = show_texts
        self.is_approval_given = approved_plan is not NOT_GIVEN
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
        self._given: tuple[object, ...] = ()
        self._attempt: SendAttempt | None = None
        self._is_killed = False

    def execute(self, context: Context) -> dict[str, Any]:
        """Send, wait for delivery if asked to, and return the outcome in counts."""
        with permanent_errors_fail_at_once():
            self.check_when_rendered()
            content = self._content(**self.render_sensitive_fields())
            hook = self.hook_of(self.sms_conn_id)
            policy = self._policy(hook)
            if self.plan_only:
                return _plan(self, content, hook, policy, context)
            sent = self._send(content, hook, policy, context)
            # Nothing can be cancelled any more: the ledger is closed, and a kill must not fail the wait.
            self._attempt = None
            if not self.wait_for_delivery:
                return sent.result
            return self._delivery().run(hook, sent, context)

    def execute_complete(self, context: Context, event: DeliveryEvent) -> dict[str, Any]:
        """Return the result of the send and the delivery that the trigger found, or fail."""
        with permanent_errors_fail_at_once():
            return self._delivery().resume(event, context)

    def on_kill(self) -> None:
        """Submit nothing more, and end a wait. With ``cancel_on_kill``, cancel texts that are not due yet."""
        self._is_killed = True
        if self._attempt is not None:
            self._attempt.stop()

    def _policy(self, hook: SmsHook) -> Policy:
        """Check that the gateway can do what the parameters ask for, and return the policy of the send."""
        if self.wait_for_delivery:
            hook.gateway.require("status", "wait_for_delivery")
        if self.cancel_on_kill:
            require_cancelling(hook.gateway, "cancel_on_kill")
        return policy_of(Guarantee(self.guarantee), self.hold, hook.gateway, hook.endpoint)

    def _send(self, content: Content, hook: SmsHook, policy: Policy, context: Context) -> Sent:
        """Send what no earlier try has sent, and return what all tries have sent."""
        from airflow_provider_winsms.sending.attempt import SendAttempt
        from airflow_provider_winsms.utils.rule_context import TaskRuleContext, rules_of
        from airflow_provider_winsms.utils.send_task import SendTask

        may_change = (
            self._may_change(context) if self.on_changed is None else self.on_changed == "send_the_rest"
        )
        task = SendTask.of(self, context, may_change=may_change)
        content = self._remembered(content, task)
        order = self._order(task, hook, policy)
        with opened_ledger(self, task, order, hook) as opened:
            attempt = self._attempt = SendAttempt(
                order,
                partial(self._compose, content),
                opened.ledger,
                gateway=hook.gateway,
                execute=hook.get_conn().execute,
                hashes=hook.hashes,
                read_gateway_clock=hook.read_clock,
                clock=self.clock,
                log=self.log,
                rules=rules_of(self.rules, TaskRuleContext(hook, order, self.clock, self.log, opened)),
                cancels_on_stop=self.cancel_on_kill,
            )
            if self._is_killed:
                attempt.stop()
            with empty_lists_skip(self.on_empty, lambda: not attempt.has_claims):
                return _run(attempt, self.on_rejected, context, self.log)

    def _order(self, task: SendTask, hook: SmsHook, policy: Policy) -> SendOrder:
        from airflow_provider_winsms.sending.attempt import SendOrder

        approved = PlanId.read("approved_plan", self.approved_plan) if self.is_approval_given else None
        return SendOrder(
            key=task.key if self.idempotency_key is None else self.idempotency_key,
            is_shared=self.idempotency_key is not None,
            sender=task.sender,
            max_tries=task.max_tries,
            sms_conn_id=self.sms_conn_id,
            currency=hook.gateway.currency,
            policy=policy,
            check_numbers=self.check_numbers,
            encoding=self.encoding,
            on_invalid=self.on_invalid,
            resends=self.on_clear == "resend",
            may_change=task.may_change,
            approved_plan=approved,
        )

    def _compose(self, content: Content, composer: Composer) -> Sequence[Message]:
        fields = " or ".join(f"`{field}`" for field in self.sensitive_fields)
        messages = redacting_errors(lambda: content.compose(composer, self.log), fields, passing=(SmsError,))
        for field, words in content.in_words(messages, composer.gateway).items():
            self.show(field, words)
        return messages

    def _may_change(self, context: Context) -> bool:
        """Return whether a later try may send another list, if ``on_changed`` does not say it.

        It may if the content is computed as the task runs. In a mapped task it may not: the index may stand
        for other recipients by then, to whom another index has sent.
        """
        return map_index_of(context["ti"]) < 0 and is_computed(self._given)

    def _remembered(self, content: Content, task: SendTask) -> Content:  # noqa: ARG002 - for subclasses
        """Return the content, which may be compared with what an earlier try sent."""
        return content

    @abstractmethod
    def _content(self, **values: Any) -> Content:
        """Return what is sent, and to whom.

        :param values: of the sensitive fields.
        """

    def _delivery(self) -> SendWait:
        return _wait_of(self, lambda: self._is_killed)


def opened_ledger(
    operator: SendOperator, task: SendTask, order: SendOrder, hook: SmsHook
) -> AbstractContextManager[OpenLedger]:
    """Return the ledger of an order, by the parameters of the operator, to be opened."""
    from airflow_provider_winsms.utils.send_task import open_ledger

    return open_ledger(
        task,
        order,
        hook,
        conn_id=operator.ledger_conn_id,
        prefix=operator.ledger_prefix,
        privacy=operator.ledger_privacy,
        text=operator.ledger_text,
    )


def _wait_of(task: SendOperator, is_killed: Callable[[], bool]) -> SendWait:
    """Return the wait of a send for its delivery, by the parameters of the task."""
    from airflow_provider_winsms.utils.delivery_wait import SendWait, ledger_address

    return SendWait(
        task=task,
        clock=task.clock,
        sms_conn_id=task.sms_conn_id,
        ledger=ledger_address(task.ledger_conn_id, task.ledger_prefix),
        deferrable=task.deferrable,
        min_delivered=task.min_delivered,
        poll_interval=seconds("poll_interval", task.poll_interval),
        max_poll_interval=seconds("max_poll_interval", task.max_poll_interval),
        timeout=seconds("delivery_timeout", task.delivery_timeout),
        is_killed=is_killed,
    )


def _plan(
    task: SendOperator, content: Content, hook: SmsHook, policy: Policy, context: Context
) -> dict[str, Any]:
    """Return what a task would send. Its rules may ask the ledger; nothing is written but missing tables."""
    from airflow_provider_winsms.utils.send_plan import plan_of
    from airflow_provider_winsms.utils.send_task import SendTask

    compose = partial(task._compose, content)  # noqa: SLF001 - this module's
    of_task = SendTask.of(task, context, may_change=False)
    order = task._order(of_task, hook, policy)  # noqa: SLF001 - this module's
    if not task.rules:
        return plan_of(task, order, compose, hook)
    with opened_ledger(task, of_task, order, hook) as opened:
        return plan_of(task, order, compose, hook, opened)


def _run(attempt: SendAttempt, on_rejected: Tolerance, context: Context, log: Log) -> Sent:
    """Run an attempt. One that fails leaves its result so far in an XCom."""
    try:
        return attempt.run(on_rejected)
    except BaseException as error:
        if isinstance(error, AirflowTaskTimeout):
            attempt.stop()
        if (partial := attempt.partial_result()) is not None:
            _leave_partial_result(partial, context, log)
        raise


def _leave_partial_result(result: dict[str, Any], context: Context, log: Log) -> None:
    try:
        context["ti"].xcom_push(key=PARTIAL_RESULT_KEY, value=result)
    # The error that ended the send is the one to raise.
    except Exception:
        log.exception("The XCom %s could not be written. The ledger has all of it.", PARTIAL_RESULT_KEY)
