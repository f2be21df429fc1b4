"""The hook behind a connection, for an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowNotFoundException

if TYPE_CHECKING:
    from airflow_provider_winsms.hooks.sms import SmsHook


async def async_hook(sms_conn_id: str) -> SmsHook:
    """Return the hook of a connection's gateway, without blocking the event loop.

    :raises ConfigurationError: there is no such connection, or it is not one of an SMS gateway.
    """
    from airflow.providers.common.compat.connection import get_async_connection

    from airflow_provider_winsms.hooks.connections import missing_connection
    from airflow_provider_winsms.hooks.sms import EXPECTED_CONNECTION, SmsHook

    try:
        connection = await get_async_connection(sms_conn_id)
    except AirflowNotFoundException:
        raise missing_connection(sms_conn_id, EXPECTED_CONNECTION) from None
    return await asyncio.to_thread(SmsHook.of_connection, connection)
