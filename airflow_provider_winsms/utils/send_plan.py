"""The plan of a task that would send, and the plan that was approved for one that sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.sending.dry_run import DryRun, prices_of
from airflow_provider_winsms.utils.errors import empty_lists_skip
from airflow_provider_winsms.utils.rule_context import TaskRuleContext, rules_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.messages import Message
    from airflow_provider_winsms.operators.send_base import SendOperator
    from airflow_provider_winsms.sending.attempt import SendOrder
    from airflow_provider_winsms.sending.composer import Composer
    from airflow_provider_winsms.utils.send_task import OpenLedger


def plan_of(
    task: SendOperator,
    order: SendOrder,
    compose: Callable[[Composer], Sequence[Message]],
    hook: SmsHook,
    opened: OpenLedger | None = None,
) -> dict[str, Any]:
    """Return the plan of a task, as ``DryRun`` does.

    :param compose: returns the checked messages that a composer makes of the content.
    :param opened: the ledger of the task, which rules may ask.
    """
    context = TaskRuleContext(hook, order, task.clock, task.log, opened, is_dry_run=True)
    dry_run = DryRun(
        order,
        compose,
        gateway=hook.gateway,
        hashes=hook.hashes,
        now=task.clock.now,
        rules=rules_of(task.rules, context),
        prices=prices_of(task.rules, hook.gateway),
    )
    with empty_lists_skip(task.on_empty):
        return dry_run.run(task.log, show_texts=task.show_texts)
