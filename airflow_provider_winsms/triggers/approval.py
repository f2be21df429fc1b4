"""The trigger that waits for the answers to a question. All waits of a connection share one poll."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.triggers.shared_poll import SharedPollTrigger, log, open_transport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_winsms.inbound.approval import ApprovalEvent, ApprovalWait


class SmsApprovalTrigger(SharedPollTrigger):
    """Waits until a question is decided or the end is reached, and fires one ``ApprovalEvent``.

    All such triggers of one connection in a triggerer share one poll of the incoming list.

    :param wait: the wait, or its JSON object from the database. A wrong one is refused when it is stored or
        run.
    """

    def __init__(self, wait: ApprovalWait | Mapping[str, Any]) -> None:
        from airflow_provider_winsms.inbound.approval import ApprovalWait

        super().__init__()  # type: ignore[no-untyped-call]
        self.wait = wait.to_json() if isinstance(wait, ApprovalWait) else wait

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path and the wait that Airflow rebuilds the trigger from.

        :raises InvalidMessage: if the wait is wrong. Then the task does not defer.
        """
        from airflow_provider_winsms.inbound.approval import ApprovalWait

        wait = ApprovalWait.from_json(self.wait)
        return "airflow_provider_winsms.triggers.sms.SmsApprovalTrigger", {"wait": wait.to_json()}

    async def _event(self, not_before: float) -> ApprovalEvent:
        from airflow_provider_winsms.inbound.approval import ApprovalResult, ApprovalWait
        from airflow_provider_winsms.inbound.replies import ReplyQuestions
        from airflow_provider_winsms.polling.subscriptions import Subscription

        wait = ApprovalWait.from_json(self.wait)
        transport = await open_transport(wait.sms_conn_id, self.pause, self.look_again_after)
        tracker = wait.tracker(transport.endpoint.hashes)
        schedule, first_at = wait.schedule.without_rush(), max(wait.first_at, not_before)
        subscription = Subscription(tracker, schedule, first_at, wait.end_at)
        questions = partial(ReplyQuestions, log=log)
        await self._wait_in_poll(wait.sms_conn_id, subscription, questions, "replies")
        return ApprovalResult.of(tracker, subscription.trouble).to_event()
