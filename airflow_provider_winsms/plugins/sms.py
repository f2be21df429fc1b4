"""The plugin: a page with reports of ledgers, in Airflow's navigation, and as a tab of each DAG run.

Every process of Airflow imports this module, tasks included. Only an API server asks for the page.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_winsms.links.sms import OF_RUN

_PATH = "sms"
"""Of the page, below Airflow's own address."""

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="{}" stroke-width="2" '
    'stroke-linejoin="round"><path d="M4 4h16v12H11l-5 4v-4H4z"/><path d="M8 9h8M8 12h5"/></svg>'
)


def _icon(colour: str) -> str:
    return f"data:image/svg+xml,{quote(_ICON.format(colour))}"


class SmsPlugin(AirflowPlugin):
    """Shows the reports of the ledgers that ``[winsms] ledger_conn_ids`` names."""

    name = "sms"
    external_views: list[Any] = [  # noqa: RUF012 - as Airflow's base class has it
        {
            "name": "SMS",
            "href": f"{_PATH}/",
            "url_route": _PATH,
            "nav_top_level": True,
            "icon": _icon("#1f2328"),
            "icon_dark_mode": _icon("#e6e9ee"),
        },
        {
            "name": "SMS",
            "href": f"{_PATH}/?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "url_route": OF_RUN,
            "destination": "dag_run",
            "icon": _icon("#1f2328"),
            "icon_dark_mode": _icon("#e6e9ee"),
        },
    ]

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override] # Airflow reads it from an instance
        """The app of the page."""
        from airflow_provider_winsms.plugins.app import create_app

        return [{"app": create_app(), "url_prefix": f"/{_PATH}", "name": "SMS"}]
