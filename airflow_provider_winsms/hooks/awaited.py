"""The hook behind a connection, for an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_winsms.hooks.sms import SmsHook


async def async_hook(sms_conn_id: str) -> SmsHook:
    """Return the hook of whichever gateway a connection names, without blocking the event loop.

    :raises ConfigurationError: if there is no such connection, or it is not one of an SMS gateway.
    """
    from airflow.providers.common.compat.connection import get_async_connection

    from airflow_provider_winsms.hooks.connections import missing_connection
    from airflow_provider_winsms.hooks.sms import WHAT, SmsHook

    try:
        connection = await get_async_connection(sms_conn_id)
    except AirflowNotFoundException:
        raise missing_connection(sms_conn_id, WHAT) from None
    extras = await _extras(connection)
    return await asyncio.to_thread(SmsHook.of_connection, connection, extras)


async def _extras(connection: Connection) -> Mapping[str, Any]:
    # Before Airflow 3.3.2 reading extras masks their secrets by a synchronous call, which the event loop must
    # not make. get_async_extra_dejson of common-compat does the same from 1.21.0 on, which is newer than the
    # constraints of any released Airflow have it.
    if hasattr(connection, "aextra_dejson"):
        extras: Mapping[str, Any] = await connection.aextra_dejson()
        return extras
    return await asyncio.to_thread(lambda: connection.extra_dejson)
