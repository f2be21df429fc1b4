"""The trigger that waits for a balance. All waits of a connection share one poll."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.triggers.shared_poll import SharedPollTrigger, log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_winsms.polling.balance import BalanceEvent, BalanceWait


class SmsBalanceTrigger(SharedPollTrigger):
    """Waits until a balance is enough or the end is reached, and fires one ``BalanceEvent``.

    All such triggers of one connection in a triggerer share one poll.

    :param wait: the wait, or its JSON object from the database. A wrong one is refused when it is stored or
        run.
    """

    def __init__(self, wait: BalanceWait | Mapping[str, Any]) -> None:
        from airflow_provider_winsms.polling.balance import BalanceWait

        super().__init__()  # type: ignore[no-untyped-call]
        self.wait = wait.to_json() if isinstance(wait, BalanceWait) else wait

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path and the wait that Airflow rebuilds the trigger from.

        :raises InvalidMessage: if the wait is wrong. Then the task does not defer.
        """
        from airflow_provider_winsms.polling.balance import BalanceWait

        wait = BalanceWait.from_json(self.wait)
        return "airflow_provider_winsms.triggers.sms.SmsBalanceTrigger", {"wait": wait.to_json()}

    async def _event(self, not_before: float) -> BalanceEvent:
        from airflow_provider_winsms.polling.balance import BalanceQuestions, BalanceResult, BalanceWait
        from airflow_provider_winsms.polling.subscriptions import Subscription

        wait = BalanceWait.from_json(self.wait)
        tracker = wait.tracker()
        schedule, first_at = wait.schedule.without_rush(), max(wait.first_at, not_before)
        subscription = Subscription(tracker, schedule, first_at, wait.end_at)
        questions = partial(BalanceQuestions, log=log)
        await self._wait_in_poll(wait.sms_conn_id, subscription, questions, "balance")
        return BalanceResult(tracker.last, wait.sms_conn_id, subscription.trouble).to_event()
