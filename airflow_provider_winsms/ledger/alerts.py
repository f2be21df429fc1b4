"""Alerts in the ledger's tables, by which tasks that fail at once send few texts together."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_winsms.ledger.base import HeldBack
from airflow_provider_winsms.ledger.batches import key_digest
from airflow_provider_winsms.ledger.database import read_moment, transaction
from airflow_provider_winsms.ledger.row_lock import RowLock
from airflow_provider_winsms.ledger.schema import ALERTS
from airflow_provider_winsms.ledger.statements import (
    DELETE_OLD_ALERTS,
    FIND_ALERT,
    FIND_ALERT_LOCK,
    LOCK_ALERTS,
    READ_HELD_ALERTS,
    READ_SENT_ALERTS,
    TELL_ALERTS,
    UNTELL_ALERTS,
)

if TYPE_CHECKING:
    from airflow_provider_winsms.ledger.base import Alert, AlertLimit
    from airflow_provider_winsms.ledger.database import LedgerDatabase

KEPT_FOR = timedelta(days=90)
"""How long the row of an alert is kept."""


class Alerts:
    """The ``AlertStore`` in the ledger's tables.

    Only one process at a time counts and notes: it has the lock, which is a row, until it commits.
    """

    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database
        self._lock = RowLock(database, ALERTS, FIND_ALERT_LOCK)

    def admit(self, alert: Alert, limit: AlertLimit) -> HeldBack | None:
        """Note an alert. Return what its text is to tell of, or ``None`` if it is held back."""
        self._lock.ensure(("", "", "", "", "", self._database.instant(alert.raised_at), None))
        return self._admit(alert, limit)

    @transaction
    def hold_back(self, alert: Alert) -> None:
        """Note an alert for which no text is sent."""
        self._note(alert, sent_in=None)

    @transaction
    def withdraw(self, alert: Alert, *, is_unknown: bool) -> None:
        """Let the next text count what the text of an admitted alert was to tell of."""
        kept_id = alert.id if is_unknown else ""
        self._database.execute(UNTELL_ALERTS, alert_id=alert.id, kept_id=kept_id)

    @transaction
    def _admit(self, alert: Alert, limit: AlertLimit) -> HeldBack | None:
        self._database.execute(LOCK_ALERTS, now=self._database.instant(alert.raised_at))
        if not self._note(alert, sent_in=alert.id if self._is_allowed(alert, limit) else None):
            return None
        self._database.execute(TELL_ALERTS, alert_id=alert.id, key_digest=key_digest(alert.key))
        self._database.execute(DELETE_OLD_ALERTS, before=self._database.instant(alert.raised_at - KEPT_FOR))
        ((count, since),) = self._database.read(READ_HELD_ALERTS, alert_id=alert.id)
        return HeldBack(int(count), None if since is None else read_moment(since))

    def _is_allowed(self, alert: Alert, limit: AlertLimit) -> bool:
        since = min(limit.day_begins_at, alert.raised_at - limit.cooldown)
        rows = self._database.read(
            READ_SENT_ALERTS, key_digest=key_digest(alert.key), since=self._database.instant(since)
        )
        sent = [read_moment(raised_at) for (raised_at,) in rows]
        # The clock of another process may be ahead of this one.
        is_over = not sent or alert.raised_at - sent[-1] >= limit.cooldown
        return is_over and sum(at >= limit.day_begins_at for at in sent) < limit.most_per_day

    def _note(self, alert: Alert, sent_in: str | None) -> bool:
        """Write the row of an alert unless it is there, and return whether its text is to be sent."""
        if found := self._database.read(FIND_ALERT, alert_id=alert.id):
            return bool(found[0][0] == alert.id)
        sender, raised_at = alert.sender, self._database.instant(alert.raised_at)
        names = sender.dag_id, sender.run_id, sender.task_id
        self._database.insert(ALERTS, [(alert.id, key_digest(alert.key), *names, raised_at, sent_in)])
        return sent_in is not None
