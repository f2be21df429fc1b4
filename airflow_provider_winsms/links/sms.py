"""Links on the page of a task that works with a gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

from airflow_provider_winsms.exceptions import SmsError

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


OF_RUN = "sms-of-run"
"""The route of the tab of a DAG run, in Airflow's pages."""


class SmsClientZoneLink(BaseOperatorLink):
    """Leads to the gateway's pages for its customers, where a person sees texts, replies and the balance.

    The gateway declares the address, as ``client_zone_url``. It is the same for all tasks and accounts. A
    task without a usable connection has no link, and neither has one whose gateway declares no address.
    """

    name = "Client zone"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 - as of Airflow
        """Return the address, or an empty text. Airflow asks on the worker, after each try and deferral."""
        try:
            url: str = operator.hook_of(operator.sms_conn_id).gateway.client_zone_url
        # The task has failed of the same error already.
        except SmsError:
            return ""
        return url


class SmsBatchesLink(BaseOperatorLink):
    """Leads to the batches of the DAG run, on the page that this package adds to Airflow.

    The page reads ledgers in tables. A task without one (``ledger_conn_id``) has no link.
    """

    name = "SMS batches"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, or an empty text."""
        if not operator.ledger_conn_id:
            return ""
        base_url = conf.get("api", "base_url", fallback="/").rstrip("/")
        return f"{base_url}/dags/{quote(ti_key.dag_id)}/runs/{quote(ti_key.run_id, safe='')}/plugin/{OF_RUN}"
