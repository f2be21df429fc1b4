"""The sources of a load: a list of the gateway, or a ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_winsms.delivery.refresh import RefreshCheckpoint, StatusRefresh
from airflow_provider_winsms.exceptions import ConfigurationError, UnsupportedCapability
from airflow_provider_winsms.gateways.base import ListReading
from airflow_provider_winsms.gateways.lists import ConsumingQueue, pages_by_offset, reading_of
from airflow_provider_winsms.hashing import KeyedHash
from airflow_provider_winsms.ledger.deliveries import DeliveryReader
from airflow_provider_winsms.ledger.reports import DeliveryReports
from airflow_provider_winsms.ledger.task_state import TaskStore
from airflow_provider_winsms.options import STATUS_RETENTION
from airflow_provider_winsms.utils.batches import ledger_at
from airflow_provider_winsms.warehouse.datasets import OPT_OUTS, WriteDisposition
from airflow_provider_winsms.warehouse.load import (
    LedgerLoad,
    ListLoad,
    load_scheduled,
    load_scheduled_by_numbers,
    load_stream,
)
from airflow_provider_winsms.warehouse.queue import QueueLoad
from airflow_provider_winsms.warehouse.reader import PagedList, ProgressLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.gateways.throttle import Throttle
    from airflow_provider_winsms.hooks.sms import SmsHook
    from airflow_provider_winsms.ledger.base import LedgerAddress
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

    def check(self, mode: str, *, hides: bool) -> None:
        """Check that the gateway has the list, and that it can be read as the load is to.

        :param mode: which rows are read.
        :param hides: whether numbers or texts are not stored as they are.
        :raises UnsupportedCapability: the gateway does not have the list, or cannot list rows again.
        :raises ConfigurationError: the load hides what keys are made of, and there is no key for hashes.
        """
        gateway = self.hook.gateway
        gateway.require(self.dataset.capability, "dataset")
        if not self._is_queue:
            return
        if mode != "incremental":
            msg = (
                f'The gateway {gateway.name} lists each text once. So `mode` can only be "incremental"; got '
                f"{mode!r}. Nothing was requested."
            )
            raise UnsupportedCapability(msg)
        if hides and not self.hook.endpoint.hash_secret:
            msg = (
                f"The texts of the gateway {gateway.name} have no ids. A load that hides numbers or texts "
                "makes ids of them with a key: put `hash_secret` into the extras of the connection "
                f"{self.hook.sms_conn_id!r}."
            )
            raise ConfigurationError(msg)

    def load(self, table: TargetTable, mapper: RowMapper, *, is_whole: bool) -> LoadOutcome:
        """Load the list.

        :param is_whole: whether all of it is read, and not only new rows.
        """
        slot = self.throttle.slot
        try:
            if self.dataset.name == OPT_OUTS.name:
                return load_stream(lambda: self.hook.stream_opt_outs(slot), mapper, table, self.throttle)
            if self._is_queue:
                queue = ConsumingQueue(self.hook.gateway, self.hook.get_conn().execute, slot)
                return QueueLoad(queue, mapper, table, self.throttle, self._digest).run()
            may_shrink = self.dataset.write_disposition is WriteDisposition.SNAPSHOT
            if not may_shrink:
                return ListLoad(self._pages(mapper), table, self.log).run(is_whole=is_whole)
            if self._reading is ListReading.NUMBERED:
                return load_scheduled_by_numbers(self._pages(mapper), table, self.log)
            return load_scheduled(self._pages(mapper, may_shrink=True), table, self.log)
        finally:
            self.throttle.stop()

    @property
    def _reading(self) -> ListReading:
        return reading_of(self.hook.gateway, self.dataset.capability)

    @property
    def _is_queue(self) -> bool:
        return self._reading is ListReading.QUEUE

    @property
    def _digest(self) -> Callable[..., str]:
        """A digest of texts: keyed if the connection has a key for hashes that outlives its API key."""
        return KeyedHash(self.hook.endpoint.hash_secret or "").of_parts

    def _pages(self, mapper: RowMapper, *, may_shrink: bool = False) -> PagedList[Any]:
        hook = self.hook
        execute = hook.get_conn().execute
        return PagedList(
            pages_by_offset(hook.gateway, self.dataset.capability, execute, self.throttle.slot),
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

    def check(self, mode: str, *, hides: bool) -> None:  # noqa: ARG002 - as ``ListSource`` has it
        """Check that the gateway tells states, if it is asked for them.

        :raises UnsupportedCapability: it does not.
        """
        if self.asks_gateway:
            self.hook.gateway.require("status", "refresh")

    def load(self, table: TargetTable, mapper: RowMapper, *, is_whole: bool) -> LoadOutcome:
        """Load the texts that are new or may have changed.

        :param is_whole: whether all texts are read.
        """
        try:
            with ledger_at(*self.ledger) as ledger:
                if self.asks_gateway:
                    # A retry begins again; texts with a final state are not asked for twice.
                    checkpoint = RefreshCheckpoint(TaskStore(None), [])
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
