"""An Airflow connection, and the hook of its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_winsms.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection
    from airflow.providers.common.sql.hooks.sql import DbApiHook

H = TypeVar("H")


def connection_named(conn_id: str, what: str) -> Connection:
    """Return a connection.

    :param what: what it must lead to, for the error.
    :raises ConfigurationError: if there is none of that name.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise missing_connection(conn_id, what) from None


def missing_connection(conn_id: str, what: str) -> ConfigurationError:
    """Return the error that says that there is no such connection."""
    return ConfigurationError(f"There is no connection {conn_id!r}. Create it, for {what}.")


def hook_behind(connection: Connection, kind: type[H], what: str) -> H:
    """Return the hook of a connection's type.

    :param what: what it must lead to, for the error.
    :raises ConfigurationError: if its type has no hook, or one of another kind.
    """
    hook = _hook_of(connection)
    if not isinstance(hook, kind):
        msg = (
            f"The connection {connection.conn_id!r} has the type {connection.conn_type!r}; needed is {what}."
        )
        raise ConfigurationError(msg)
    return hook


def sql_hook(conn_id: str) -> DbApiHook:
    """Return the hook of a database.

    :raises ConfigurationError: if there is no such connection, or it is not one of an SQL database.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    what = "an SQL database, whose hook is a DbApiHook"
    hook: DbApiHook = hook_behind(connection_named(conn_id, what), DbApiHook, what)
    return hook


def _hook_of(connection: Connection) -> object:
    """Return the hook, or ``None`` where nothing that is installed has one for the type."""
    try:
        return connection.get_hook()
    # An unknown type is an AirflowException in the Task SDK, and whatever a broken provider raises otherwise.
    except Exception:  # noqa: BLE001
        return None
