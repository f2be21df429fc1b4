"""The operator that loads a gateway's list, or a ledger, into a table: each row once, all rows or none."""

from __future__ import annotations

from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_winsms.hashing import require_secret
from airflow_provider_winsms.hooks.connections import sql_hook
from airflow_provider_winsms.hooks.sms import SmsHook
from airflow_provider_winsms.options import (
    LoadedDataset,
    LoadedPrivacy,
    LoadedText,
    check_choice,
    check_conn_id,
    check_count,
    check_flag,
    check_identifier,
    check_prefix,
    optional,
)
from airflow_provider_winsms.runtime import SYSTEM_CLOCK
from airflow_provider_winsms.utils.errors import permanent_errors_fail_at_once
from airflow_provider_winsms.utils.parameters import CheckedParameters
from airflow_provider_winsms.utils.templates import TemplatedFields

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_winsms.gateways.throttle import Throttle
    from airflow_provider_winsms.options import Check
    from airflow_provider_winsms.runtime import Clock
    from airflow_provider_winsms.transfers.sources import LedgerSource, ListSource
    from airflow_provider_winsms.warehouse.datasets import Dataset, LoadRun, LoadSizes

Mode = Literal["incremental", "backfill", "full_refresh"]
"""Which rows are read, and whether rows that the table has are updated."""

MOST_PREFETCH = 32
"""The most concurrent requests of a load."""


class SmsToSqlOperator(CheckedParameters, TemplatedFields, BaseOperator):
    """Load replies, opt-outs, scheduled texts or deliveries into a table of a database.

    The table is created if it is missing. State lives in the table; there is no separate cursor. A load adds
    the rows that the table lacks. It may be repeated, overlap with another, or be killed: no row is lost, and
    none is there twice. A load commits all rows at once, and a failed load leaves no row behind. One table
    holds one dataset of one account, or ``deliveries`` of one ledger. ``docs/warehouse.md`` has the columns
    of each dataset, the supported databases, and how a load reads.

    ========== ================================== ============================================================
    dataset    one row for each                   how it is read
    ========== ================================== ============================================================
    incoming   text from a phone to the account   new rows; the whole list if the rows do not add up
    short_code text to its short or long code     as ``incoming``
    opt_outs   number that opted out              the whole list; ``<table>_history`` has a row per period
    scheduled  text that waits at the gateway     the whole list
    deliveries text to one recipient              texts of the ledger that are new or may have changed
    ========== ================================== ============================================================

    Returns ``{"dataset": ..., "table": ..., "rows_read": n, "rows_loaded": n, "rows_removed": n,
    "unreadable": n, "requests": n, "total": n, "high_water_mark": id}``. ``rows_loaded`` counts new and
    changed rows; ``rows_removed`` counts rows that got a ``removed_at``, or, of ``deliveries``, rows that
    were deleted because the claim of their request was released; ``unreadable`` counts listed rows that were
    left out, because they lack the values that tell rows apart; ``requests`` counts the requests of the load,
    without those of ``refresh``; ``total`` is the gateway's count of rows or, without one, the number of rows
    read; ``high_water_mark`` is the highest message id in the table, ``None`` where none has an order.
    The event of each asset among ``outlets`` has the same figures. None of these, no log and no error holds a
    number or a text.

    Raises ``ConfigurationError``, ``InvalidMessage`` and ``UnsupportedCapability``, before the gateway is
    read, if connections or parameters are missing or wrong; ``GatewayUnavailable``, ``LoadFailed``,
    ``LedgerUnavailable`` and ``SendStopped`` if a later try may succeed.

    :param dataset: one of the above. (templated)
    :param sql_conn_id: the connection of the database. (templated)
    :param table: the name of the table: letters, digits and underscores; upper and lower case differ.
        (templated)
    :param schema: its schema, which must exist; ``None`` for the connection's default. (templated)
    :param sms_conn_id: the connection whose type says which gateway. (templated)
    :param mode: ``"incremental"`` reads new rows, ``"backfill"`` the whole list. ``"full_refresh"`` reads the
        whole list too, and updates rows that differ. No mode deletes a row that the list lacks. (templated)
    :param privacy: ``"none"`` stores numbers as they are. ``"keyed_hash"`` stores their HMAC-SHA-256 with the
        ``hash_secret`` of the SMS connection, the same in every table, and the id of the key in
        ``number_key_id``. ``"masked"`` stores their first two and last three digits, ``27******789``, or
        ``******`` for up to six characters, for readers. A mask cannot be joined; ``opt_outs`` refuses it.
    :param text: for datasets with texts: ``"keep"`` stores them, ``"drop"`` leaves them out, and
        ``"redact_numbers"`` replaces seven or more digits by ``[number]``, if no letter, and at most four
        signs or spaces, stand between one digit and the next.
    :param include_raw: whether a column ``raw`` gets the gateway's whole row as JSON; not together with
        ``privacy`` or ``text``.
    :param prefetch: the most concurrent requests for pages, or of a ``refresh``, 1 to 32; ``None`` for the
        connection's ``max_concurrent_requests``. The load sends fewer while the gateway answers 429 or 5xx.
    :param ledger_conn_id: for ``deliveries``: the connection of the database with the ledger. (templated)
    :param ledger_prefix: for ``deliveries``: the prefix of the ledger's tables.
    :param refresh: for ``deliveries``: whether the load first asks the gateway for the states of open texts,
        as ``SmsRefreshStatusOperator`` does.
    """

    template_fields: Sequence[str] = (
        "dataset",
        "sql_conn_id",
        "table",
        "schema",
        "sms_conn_id",
        "mode",
        "ledger_conn_id",
    )
    text_fields: ClassVar[tuple[str, ...]] = tuple(template_fields)
    parameter_checks: ClassVar[Mapping[str, Check]] = {
        "dataset": partial(check_choice, choices=LoadedDataset),
        "sql_conn_id": check_conn_id,
        "table": check_identifier,
        "schema": optional(check_identifier),
        "sms_conn_id": check_conn_id,
        "mode": partial(check_choice, choices=Mode),
        "privacy": partial(check_choice, choices=LoadedPrivacy),
        "text": partial(check_choice, choices=LoadedText),
        "include_raw": check_flag,
        "prefetch": optional(partial(check_count, least=1, most=MOST_PREFETCH)),
        "ledger_conn_id": optional(check_conn_id),
        "ledger_prefix": check_prefix,
        "refresh": check_flag,
    }
    ui_color = "#d6e6f5"
    clock: ClassVar[Clock] = SYSTEM_CLOCK
    hook_of = staticmethod(SmsHook.of)
    """Finds the hook of the gateway; a seam for tests."""
    sizes: ClassVar[LoadSizes | None] = None

    def __init__(
        self,
        *,
        dataset: str,
        sql_conn_id: str,
        table: str,
        schema: str | None = None,
        sms_conn_id: str = "winsms_default",
        mode: Mode = "incremental",
        privacy: LoadedPrivacy = "none",
        text: LoadedText = "keep",
        include_raw: bool = False,
        prefetch: int | None = None,
        ledger_conn_id: str | None = None,
        ledger_prefix: str = "sms_",
        refresh: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.sql_conn_id = sql_conn_id
        self.table = table
        self.schema = schema
        self.sms_conn_id = sms_conn_id
        self.mode = mode
        self.privacy = privacy
        self.text = text
        self.include_raw = include_raw
        self.prefetch = prefetch
        self.ledger_conn_id = ledger_conn_id
        self.ledger_prefix = ledger_prefix
        self.refresh = refresh
        self._throttle: Throttle | None = None
        self._loaded: tuple[ListSource | LedgerSource, DbApiHook, int, int] | None = None
        self.check_when_read()

    def execute(self, context: Context) -> dict[str, Any]:
        """Load, and return the counts."""
        from airflow_provider_winsms.warehouse.datasets import LoadRun
        from airflow_provider_winsms.warehouse.mapping import PrivacyPolicy
        from airflow_provider_winsms.warehouse.relations import TableName
        from airflow_provider_winsms.warehouse.table import open_table

        with permanent_errors_fail_at_once():
            self.check_when_rendered()
            dataset, name = self._dataset(), TableName(self.table, self.schema)
            database, hook = sql_hook(self.sql_conn_id), self.hook_of(self.sms_conn_id)
            if self.privacy == "keyed_hash":
                require_secret("privacy", hook.endpoint.hash_secret, self.sms_conn_id)
            source = self._source(dataset, hook)
            source.check(self.mode, hides=self.privacy != "none" or self.text != "keep")
            personal = PrivacyPolicy(self.privacy, self.text, hook.hashes)
            now, run_id = self.clock.now().astimezone(UTC), context.get("run_id")
            load = LoadRun(now, run_id, hook.gateway.currency)
            with open_table(database, dataset, name, load, personal, sizes=source.sizes) as (table, mapper):
                outcome = source.load(table, mapper, is_whole=self.mode != "incremental")
        summary = {"dataset": dataset.name, "table": str(name), **outcome.summary()}
        self.log.info("Loaded: %s", summary)
        outcome.warn_of_unreadable_rows(self.log)
        self._loaded = source, database, outcome.rows_read, outcome.merged.loaded
        _add_to_events(context, self.outlets, summary, load)
        return summary

    def on_kill(self) -> None:
        """Send no further request. A load that has read all its rows may still commit."""
        if self._throttle is not None:
            self._throttle.stop()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:  # noqa: ARG002 - Airflow's signature
        """Return the inputs and outputs for OpenLineage: none of a load that failed."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        from airflow_provider_winsms.transfers.lineage import Loaded
        from airflow_provider_winsms.warehouse.relations import TableName

        if self._loaded is None:
            return OperatorLineage()
        source, database, rows_read, rows_loaded = self._loaded
        return Loaded(source, database, TableName(self.table, self.schema), rows_read, rows_loaded).lineage()

    def check_together(self, known: Collection[str]) -> None:
        """Refuse parameters that the dataset does not take, or that exclude ``include_raw``."""
        from airflow_provider_winsms.transfers.checks import check_ledger, check_privacy
        from airflow_provider_winsms.warehouse.datasets import dataset_named

        if {"dataset", "table", "ledger_conn_id"} <= set(known):
            dataset = dataset_named(self.dataset)
            check_ledger(dataset, self.ledger_conn_id, self.ledger_prefix, self.table)
            check_privacy(dataset, self.privacy, self.text, include_raw=self.include_raw)

    def _dataset(self) -> Dataset:
        from airflow_provider_winsms.warehouse.datasets import dataset_named

        dataset = dataset_named(self.dataset)
        dataset = dataset.with_raw() if self.include_raw else dataset
        return dataset.as_upsert() if self.mode == "full_refresh" else dataset

    def _source(self, dataset: Dataset, hook: SmsHook) -> ListSource | LedgerSource:
        from airflow_provider_winsms.gateways.throttle import Throttle
        from airflow_provider_winsms.ledger.base import LedgerAddress
        from airflow_provider_winsms.transfers.sources import LedgerSource, ListSource
        from airflow_provider_winsms.warehouse.datasets import DEFAULT_SIZES

        self._throttle = Throttle(self.prefetch or hook.endpoint.max_concurrent_requests)
        sizes = self.sizes or DEFAULT_SIZES
        if self.ledger_conn_id is None:
            return ListSource(hook, dataset, self._throttle, sizes, self.log)
        ledger = LedgerAddress(self.ledger_conn_id, self.ledger_prefix)
        return LedgerSource(hook, dataset, self._throttle, sizes, self.log, ledger, self.refresh, self.clock)


def _add_to_events(
    context: Context, outlets: Iterable[Any], summary: Mapping[str, Any], load: LoadRun
) -> None:
    """Put the counts and the load columns of the rows into the event of each asset."""
    from airflow.sdk.definitions.asset import Asset, AssetRef

    extra = {**summary, "loaded_at": load.at.isoformat(), "load_run_id": load.run_id}
    for outlet in outlets:
        if isinstance(outlet, (Asset, AssetRef)):
            context["outlet_events"][outlet].extra.update(extra)
