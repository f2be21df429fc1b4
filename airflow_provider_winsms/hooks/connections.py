"""Airflow connections, and the hooks of their types."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from airflow_provider_winsms.exceptions import ConfigurationError
from airflow_provider_winsms.options import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import Connection
    from airflow.providers.common.sql.hooks.sql import DbApiHook

H = TypeVar("H")


@dataclass(frozen=True, slots=True)
class ConnectionKind:
    """The connections whose hooks have a common base. Its text names their types, for errors.

    :param words: what such a connection leads to, with an article.
    """

    words: str
    hook_class: type

    def __str__(self) -> str:
        """Name the types that installed packages declare."""
        return f"{self.words} (its type is one of {', '.join(map(repr, self._types()))})"

    def _types(self) -> list[str]:
        found = set()
        for conn_type, hook_class in _declared_hooks():
            # Airflow's own providers are many, and none of their hooks has such a base.
            if not hook_class.startswith("airflow."):
                module, _, name = hook_class.rpartition(".")
                with suppress(Exception):  # a broken provider; Airflow reports it
                    if issubclass(getattr(import_module(module), name), self.hook_class):
                        found.add(conn_type)
        return sorted(found)


def connection_named(conn_id: str, expected: object) -> Connection:
    """Return a connection.

    :param expected: describes the connection by its text, for the error.
    :raises ConfigurationError: there is none of that name.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise missing_connection(conn_id, expected) from None


def missing_connection(conn_id: str, expected: object) -> ConfigurationError:
    """Return the error that says that there is no such connection."""
    # Airflow's secrets backends treat a connection that they cannot parse as missing, and give no reason.
    return ConfigurationError(
        f"There is no connection {conn_id!r}. Create it, for {expected}. If it is there, Airflow cannot read "
        "it: check its JSON or its URI."
    )


def hook_for(connection: Connection, hook_class: type[H], expected: object) -> H:
    """Return the hook of a connection's type.

    :param expected: describes the connection by its text, for the error.
    :raises ConfigurationError: its type has no hook, or one of another class.
    """
    hook = _hook_of(connection)
    if not isinstance(hook, hook_class):
        raise _wrong_type(connection, expected)
    return hook


def _wrong_type(connection: Connection, expected: object) -> ConfigurationError:
    return ConfigurationError(
        f"The connection {connection.conn_id!r} has the type {connection.conn_type!r}; expected {expected}."
    )


def sql_hook(conn_id: str) -> DbApiHook:
    """Return the hook of a database.

    :raises ConfigurationError: there is no such connection, it is not one of an SQL database, or the hook of
        its type is not installed.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    expected = "an SQL database, whose hook is a DbApiHook"
    connection = connection_named(conn_id, expected)
    if isinstance(hook := _hook_of(connection), DbApiHook):
        return hook
    if hook is None and (missing := _missing_hook(str(connection.conn_type))):
        msg = f"The connection {conn_id!r} has the type {connection.conn_type!r}, {missing}"
        raise ConfigurationError(msg)
    raise _wrong_type(connection, expected)


def _hook_of(connection: Connection) -> object:
    """Return the hook, or ``None`` if no installed package has one for the type."""
    try:
        return connection.get_hook()
    # The Task SDK raises AirflowException for an unknown type; a broken provider may raise anything.
    except Exception:  # noqa: BLE001
        return None


def _missing_hook(conn_type: str) -> str:
    """Return what is missing for the hook of a type, and how to install it; empty if nothing is missing.

    The text continues a sentence that names the type.
    """
    from airflow_provider_winsms.sql.names import PACKAGES, how_to_install

    if hook_class := _declared_hook(conn_type):
        missing = _missing_module(hook_class)
        return missing and f"whose hook needs {missing}. {how_to_install(conn_type)}"
    if conn_type in PACKAGES:
        return f"whose hook is in {PACKAGES[conn_type]}, which is not installed. {how_to_install(conn_type)}"
    return f"for which no installed package has a hook.{nearest(conn_type, PACKAGES)}"


def _declared_hook(conn_type: str) -> str:
    """Return the class of the hook that an installed provider declares for a type; empty if none does."""
    return next((hook_class for declared, hook_class in _declared_hooks() if declared == conn_type), "")


def _declared_hooks() -> Iterator[tuple[str, str]]:
    """Yield the connection types that installed providers declare, with the classes of their hooks."""
    for point in entry_points(group="apache_airflow_provider"):
        with suppress(Exception):  # a broken provider; Airflow reports it
            declared = point.load()().get("connection-types", ())
            yield from [(str(each["connection-type"]), str(each["hook-class-name"])) for each in declared]


def _missing_module(hook_class: str) -> str:
    """Return the Python module that is missing for a class; empty if the class can be imported."""
    from airflow_provider_winsms.sql.names import missing_module

    try:
        import_module(hook_class.rpartition(".")[0])
    except ImportError as error:
        return missing_module(error)
    return ""
