"""A wait for the answers to a question as a task runs it on its worker, before it defers or all the time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.inbound.approval import ApprovalResult, ApprovalWait
from airflow_provider_winsms.inbound.feeds import FeedConnection
from airflow_provider_winsms.inbound.replies import Replies
from airflow_provider_winsms.utils.worker_wait import WorkerWait

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.gateways.base import Call
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.runtime import Log


class ApprovalWorkerWait(WorkerWait[ApprovalWait]):
    """The wait for answers of one try on its worker."""

    def __init__(self, wait: ApprovalWait, hook: SmsHook, now: Callable[[], float], log: Log) -> None:
        super().__init__(wait, hook, now, log)
        self._tracker = wait.tracker(hook.hashes)
        self._replies = Replies()

    @property
    def is_settled(self) -> bool:
        """Whether the question is decided."""
        return self._tracker.is_settled

    @property
    def result(self) -> ApprovalResult:
        """The result if it ends now."""
        return ApprovalResult.of(self._tracker, self._trouble)

    def rest(self) -> ApprovalWait:
        """Return the wait from the next look on."""
        return replace(self.wait, first_at=self._now() + self.pause())

    def _look(self) -> None:
        async def execute(call: Call[Any]) -> Any:
            return self._hook.execute(call)

        hook = self._hook
        connection = FeedConnection(hook.gateway, execute, hook.page_size, hook.hashes)
        new = asyncio.run(self._replies.read(connection, self.wait.since))
        self._tracker.record(new, self._now())
