"""The base URL of a gateway, read from the host, the port and the schema of an Airflow connection.

Airflow reads ``winsms://https://:key@host:8443/some/path`` as the host ``https://host``, the port 8443 and
the schema ``some/path``. In the form, and in JSON, the whole base URL may stand in the host.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit, urlunsplit

from airflow_provider_winsms.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

_UNUSABLE_CHARACTERS = re.compile(r"[\s\\?#@]")
"""They end the path of a URL, mark a user, or are dropped or rewritten when a URL is parsed."""

_HIGHEST_PORT = 65_535


def base_url_of(connection: Connection, default: str) -> str:
    """Return the base URL that a connection names, without a slash at its end.

    :param default: replaces a missing host, and its path replaces a missing path.
    :raises ConfigurationError: naming the fault. It does not quote the host, which may hold a key.
    """
    where = f"The connection {connection.conn_id!r}"
    parts = _parts(connection, default, where)
    if not _is_encrypted_or_local(parts):
        msg = f"{where} has a host that is not https. Only a loopback host, as of the sandbox, may use http."
        raise ConfigurationError(msg)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = _port(connection, parts, where)
    path = _path(connection, parts, where) or urlsplit(default).path
    return urlunsplit((parts.scheme, f"{host}:{port}" if port else host, path, "", ""))


def _parts(connection: Connection, default: str, where: str) -> SplitResult:
    given = (connection.host or "").strip() or urlsplit(default)._replace(path="").geturl()
    scheme, separator, rest = given.rpartition("://")
    rest = f"[{rest}]" if _address(rest) and ":" in rest else rest
    parts = _split(f"{scheme}://{rest}" if separator else f"https://{rest}")
    if parts is None or not _is_usable(given):
        msg = f"{where} has a malformed host. Give a base URL without user or query, such as {default}."
        raise ConfigurationError(msg)
    if not separator and _is_loopback(parts):
        msg = f"{where} has a host without a scheme. For the sandbox, write http://{given}."
        raise ConfigurationError(msg)
    return parts


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL, or ``None`` if it has no valid host, or an invalid port."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")
        is_port = parts.port != 0 and not parts.netloc.endswith(":")
    except ValueError:
        return None
    return parts if parts.hostname and is_port else None


def _port(connection: Connection, parts: SplitResult, where: str) -> int | None:
    # Airflow's own form sends 0 for a port that is not given.
    own = connection.port or None
    if own and not 0 < own <= _HIGHEST_PORT:
        msg = f"{where} has a port that is none. Give one from 1 to {_HIGHEST_PORT}, or leave it empty."
        raise ConfigurationError(msg)
    if own and parts.port and own != parts.port:
        msg = f"{where} has one port in the host and another beside it. Leave the one beside it empty."
        raise ConfigurationError(msg)
    return parts.port or own


def _path(connection: Connection, parts: SplitResult, where: str) -> str:
    schema = (connection.schema or "").strip()
    own = schema.strip("/")
    path = parts.path.rstrip("/")
    if own in {"http", "https"} or "://" in own or not _is_usable(own):
        msg = (
            f"{where} has a schema that is no path. Leave it empty, and give the host with its scheme, such "
            "as https://api.example.com."
        )
        raise ConfigurationError(msg)
    if own and path and f"/{own}" != path:
        msg = f"{where} has a path in the host and another in the schema. Leave the schema empty."
        raise ConfigurationError(msg)
    return f"/{own}" if own else path


def _is_usable(part: str) -> bool:
    return part.isprintable() and not _UNUSABLE_CHARACTERS.search(part)


def _is_encrypted_or_local(parts: SplitResult) -> bool:
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts))


def _is_loopback(parts: SplitResult) -> bool:
    address = _address(parts.hostname or "")
    return parts.hostname == "localhost" if address is None else address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
