"""The sources of a load: a list of the gateway, or a ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_winsms.delivery.refresh import RefreshCheckpoint, StatusRefresh
from airflow_provider_winsms.ledger.deliveries import DeliveryReader
from airflow_provider_winsms.ledger.reports import DeliveryReports
from airflow_provider_winsms.options import STATUS_RETENTION
from airflow_provider_winsms.utils.batches import ledger_at
from airflow_provider_winsms.utils.task_store import AirflowTaskStore
from airflow_provider_winsms.warehouse.datasets import OPT_OUTS, SCHEDULED, WriteDisposition
from airflow_provider_winsms.warehouse.load import LedgerLoad, ListLoad, load_scheduled, load_stream
from airflow_provider_winsms.warehouse.reader import PagedList, ProgressLog

if TYPE_CHECKING:
    from airflow_provider_winsms.delivery.events import LedgerAddress
    from airflow_provider_winsms.gateways.throttle import Throttle
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.runtime import Clock, Log
    from airflow_provider_winsms.warehouse.datasets import Dataset, LoadSizes
    from airflow_provider_winsms.warehouse.load import LoadOutcome
    from airflow_provider_winsms.warehouse.mapping import RowMapper
    from airflow_provider_winsms.warehouse.table import TargetTable


@dataclass(frozen=True)
class ListSource:
    """A list of the gateway."""

    hook: SmsHook
    dataset: Dataset
    throttle: Throttle
    sizes: LoadSizes
    log: Log
    ledger: ClassVar[None] = None
    asks_gateway: ClassVar[bool] = True

    def load(self, table: TargetTable, mapper: RowMapper, *, is_whole: bool) -> LoadOutcome:
        """Load the list.

        :param is_whole: whether all of it is read, and not only new rows.
        """
        slot = self.throttle.slot
        try:
            if self.dataset.name == OPT_OUTS.name:
                return load_stream(lambda: self.hook.stream_opt_outs(slot), mapper, table, self.throttle)
            pages = self._pages(mapper)
            if self.dataset.name == SCHEDULED.name:
                return load_scheduled(pages, table, self.log)
            return ListLoad(pages, table, self.log).run(is_whole=is_whole)
        finally:
            self.throttle.stop()

    def _pages(self, mapper: RowMapper) -> PagedList[Any]:
        hook, slot = self.hook, self.throttle.slot
        hook.get_conn()
        describe = getattr(hook.gateway, self.dataset.name)
        may_shrink = self.dataset.write_disposition is WriteDisposition.SNAPSHOT
        return PagedList(
            lambda offset, limit: hook.execute(describe(offset, limit), slot),
            mapper.chunk,
            # A list that may shrink is read with one row more per page.
            min(hook.page_size, hook.gateway.limits.page_rows - may_shrink),
            self.throttle.most,
            ProgressLog(self.log),
            may_shrink=may_shrink,
            rows_arrive=self.sizes.rows_arrive,
        )


@dataclass(frozen=True)
class LedgerSource:
    """The texts of one gateway connection in a ledger.

    :param asks_gateway: whether the gateway is asked first for the states of open texts.
    """

    hook: SmsHook
    dataset: Dataset
    throttle: Throttle
    sizes: LoadSizes
    log: Log
    ledger: LedgerAddress
    asks_gateway: bool
    clock: Clock

    def load(self, table: TargetTable, mapper: RowMapper, *, is_whole: bool) -> LoadOutcome:
        """Load the texts that are new or may have changed.

        :param is_whole: whether all texts are read.
        """
        try:
            with ledger_at(*self.ledger) as ledger:
                if self.asks_gateway:
                    # A retry begins again; texts with a final state are not asked for twice.
                    checkpoint = RefreshCheckpoint(AirflowTaskStore({}), [])
                    transport, reports = self.hook.get_conn(), DeliveryReports(ledger)
                    refresh = StatusRefresh(transport, reports, checkpoint, self.log, self.throttle)
                    refresh.run(now=self.clock.now(), max_age=STATUS_RETENTION).log_to(self.log)
                # The ledger may be in the same database file.
                table.allow_readers()
                reader = DeliveryReader(ledger, self.sizes.deliveries)
                loading = LedgerLoad(reader, self.hook.sms_conn_id, mapper, table, self.clock.now())
                return loading.run(is_whole=is_whole)
        finally:
            self.throttle.stop()
