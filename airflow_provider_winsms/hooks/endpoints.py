"""Endpoints: an Airflow connection is read by the fields of its gateway's form."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import SplitResult, urlsplit, urlunsplit

import pendulum
from airflow.sdk.log import mask_secret

from airflow_provider_winsms.exceptions import ConfigurationError, InvalidMessage
from airflow_provider_winsms.options import items_of_text
from airflow_provider_winsms.phone import InvalidPhoneNumber

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_winsms.gateways.base import Gateway
    from airflow_provider_winsms.gateways.endpoint import Endpoint
    from airflow_provider_winsms.hooks.sms import SmsHook

_UNUSABLE_CHARACTERS = re.compile(r"[\s\\?#@]")
"""They end the path of a URL, mark a user, or are dropped or rewritten when a URL is parsed."""

_BLANK = re.compile(r"\s")

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
    if _BLANK.search(given):
        msg = f"{where} has a blank in its host (the base URL). Remove it. An empty host means {default}."
        raise ConfigurationError(msg)
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


_EXTRA_NAME = re.compile(r"[a-z][a-z_]{0,29}")
"""The shape of an extra's name. Any other name may be a secret in the wrong place."""

_OF_EVERY_GATEWAY = (
    "connect_timeout",
    "read_timeout",
    "page_size",
    "requests_per_second",
    "max_concurrent_requests",
    "hash_secret",
    "only_numbers",
)
"""The extras that are settings of an endpoint. The others belong to the gateway."""


def _extras_of(connection: Connection) -> dict[str, Any]:
    """Return the extras of a connection; an empty dictionary if it has none.

    ``Connection.extra_dejson`` is not used: it treats text that is not JSON as no extras, so a task would run
    without its settings.

    :raises ConfigurationError: they are not one JSON object. The error quotes nothing of them.
    """
    text = connection.extra
    if text is None or (isinstance(text, str) and not text.strip()):
        return {}
    try:
        extras: Any = json.loads(text, object_pairs_hook=_with_unique_names, parse_constant=_refuse)
        problem = "" if isinstance(extras, dict) else f"they are {_JSON_TYPES.get(type(extras), 'a number')}"
    except _DuplicateName:
        problem = "a name occurs twice"
    except (TypeError, ValueError, RecursionError):
        problem = "they are not JSON"
    if problem:
        msg = (
            f"The connection {connection.conn_id!r} has malformed extras: {problem}. Give one JSON object, "
            'such as {"country_code": "27"}, or leave them empty.'
        )
        raise ConfigurationError(msg)
    return dict(extras)


class _DuplicateName(Exception):  # noqa: N818 - it names what was found, and goes no further
    """A JSON object has two values of one name."""


def _with_unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _DuplicateName
    return found


def _refuse(_constant: str) -> NoReturn:
    """Refuse ``NaN`` and ``Infinity``, which JSON does not have."""
    raise ValueError


_JSON_TYPES: dict[type, str] = {
    list: "a list",
    str: "a JSON object that is encoded twice, or another text",
    type(None): "null",
    bool: "true or false",
}


def endpoint_of(connection: Connection, hook: SmsHook) -> Endpoint:
    """Read a connection. Its secrets are masked in logs from now on.

    :param hook: the hook of its gateway, which knows the form.
    :raises ConfigurationError: naming the part that is wrong. It shows no secret.
    """
    from airflow_provider_winsms.gateways.endpoint import Endpoint

    where, fields = f"The connection {connection.conn_id!r}", hook.connection_fields
    settings = _settings(_extras_of(connection), fields, where)
    common = {name: settings.pop(name) for name in _OF_EVERY_GATEWAY if name in settings}
    secrets = {name: settings.pop(name) for name in list(settings) if _is_secret(fields[name])}
    if "time_zone" in settings:
        settings["time_zone"] = _time_zone(settings["time_zone"], where)
    gateway = hook.make_gateway(**settings)
    common.setdefault("page_size", gateway.limits.page_rows)
    common["only_numbers"] = _only_numbers(common.get("only_numbers"), gateway, where)
    return Endpoint(
        name=str(connection.conn_id),
        gateway=gateway,
        base_url=base_url_of(connection, hook.default_base_url),
        api_key=_api_key(connection, where),
        login=_login(connection, where) if hook.has_login else "",
        secrets={name: secret for name, secret in secrets.items() if secret is not None},
        **common,
    )


def _only_numbers(given: str | None, gateway: Gateway, where: str) -> frozenset[str] | None:
    """Read the only numbers that may be texted. They are not shown."""
    if given is None:
        return None
    try:
        return frozenset(gateway.address(each).address for each in items_of_text(given, "only_numbers"))
    except (InvalidMessage, InvalidPhoneNumber):
        msg = f"{where} has a wrong extra 'only_numbers': it must be phone numbers with commas between them."
        raise ConfigurationError(msg) from None


def _login(connection: Connection, where: str) -> str:
    login = (connection.login or "").strip()
    if not login or not login.isprintable():
        msg = f"{where} has no usable login. The gateway needs one."
        raise ConfigurationError(msg)
    mask_secret(login)
    return login


def _is_secret(field: Mapping[str, Any]) -> bool:
    return bool(field["schema"].get("format") == "password")


def _api_key(connection: Connection, where: str) -> str:
    key = (connection.password or "").strip()
    if not key:
        msg = f"{where} has no API key. Put it into the password (the field API key of the form)."
        raise ConfigurationError(msg)
    if not key.isascii() or not key.isprintable() or " " in key:
        msg = f"{where} has an API key (the password) with characters that no header can carry."
        raise ConfigurationError(msg)
    if key != connection.password:
        # Airflow masks the password with the blanks around it.
        mask_secret(key)
    return key


def _settings(
    given: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]], where: str
) -> dict[str, Any]:
    for name, field in fields.items():
        if _is_secret(field) and given.get(name):
            mask_secret(given[name])
    unknown = sorted(set(given) - set(fields))
    if unknown:
        shown = ", ".join(name if _EXTRA_NAME.fullmatch(name) else "(not shown)" for name in unknown)
        msg = f"{where} has unknown extras: {shown}. Known are: {', '.join(fields)}."
        raise ConfigurationError(msg)
    return {name: _setting(name, given.get(name), field["schema"], where) for name, field in fields.items()}


def _setting(name: str, value: Any, schema: Mapping[str, Any], where: str) -> Any:
    """Read one extra by its schema. In a connection in URI form, all extras are text."""
    import jsonschema

    if value is None or value == "":
        return schema["default"]
    type_name = schema["type"][0]
    try:
        read = _FROM_TEXT[type_name](value) if isinstance(value, str) else value
        jsonschema.validate(read, dict(schema))
    except (ValueError, jsonschema.ValidationError):
        msg = f"{where} has a wrong extra {name!r}: it must be {_requirement(schema)}."
        raise ConfigurationError(msg) from None
    return read


def _requirement(schema: Mapping[str, Any]) -> str:
    if "pattern" in schema:
        return f"printable text that matches {schema['pattern']}"
    noun = {"integer": "a whole number", "number": "a number", "string": "text"}[schema["type"][0]]
    return f"{noun} from {schema['minimum']} to {schema['maximum']}" if "minimum" in schema else noun


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _printable(text: str) -> str:
    if not text.isprintable():
        msg = "not printable"
        raise ValueError(msg)
    return text


_FROM_TEXT: dict[str, Any] = {"string": _printable, "integer": int, "number": _finite}


def _time_zone(name: str, where: str) -> str:
    try:
        return pendulum.timezone(name).name
    except (ValueError, KeyError, OSError):
        msg = f"{where} has an unknown time_zone. Give an IANA name, such as Africa/Johannesburg."
        raise ConfigurationError(msg) from None
