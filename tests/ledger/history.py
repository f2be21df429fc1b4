"""All that works on the tables of a ledger, except sending, over one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_winsms.ledger.cancellations import Cancellations
from airflow_provider_winsms.ledger.database import LedgerDatabase
from airflow_provider_winsms.ledger.deliveries import DeliveryReader, DeliverySizes
from airflow_provider_winsms.ledger.reports import DeliveryReports
from airflow_provider_winsms.ledger.unresolved import UnresolvedRequests

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook


class History(LedgerDatabase):
    def __init__(self, hook: DbApiHook, *, window: int = 10_000, **sizes: int) -> None:
        super().__init__(hook)
        cancellations = Cancellations(self)
        self.message_ids, self.states = cancellations.message_ids, cancellations.states
        self.net_cost = cancellations.net_cost
        self.mark_cancelling = cancellations.mark_cancelling
        self.record_cancelled = cancellations.record_cancelled
        self.record_not_cancelled = cancellations.record_not_cancelled
        reports = DeliveryReports(self, window)
        self.open_messages, self.record_reports = reports.open_messages, reports.record_reports
        requests = UnresolvedRequests(self)
        self.unresolved, self.resolve = requests.unresolved, requests.resolve
        reader = DeliveryReader(self, DeliverySizes(**sizes))
        self.deliveries_since, self.deliveries_of = reader.deliveries_since, reader.deliveries_of
        self.deliveries_in = reader.deliveries_in
