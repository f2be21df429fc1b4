"""The endpoint of a gateway: its address, its credentials and the limits of its use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from airflow_provider_winsms.hashing import KeyedHash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_winsms.gateways.auth import Headers
    from airflow_provider_winsms.gateways.base import Call, Gateway


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a gateway, the credentials, and the limits of its use.

    :param name: the id of the connection, for errors.
    :param base_url: without a trailing slash.
    :param api_key: the password of the connection, whatever the gateway calls it.
    :param login: the login of the connection; empty if the gateway has none.
    :param secrets: the other secrets of the connection, by the name of their extra.
    :param connect_timeout: seconds until the connection must be open.
    :param read_timeout: seconds without a byte after which an answer counts as lost. A whole answer may take
        ten times as long.
    :param page_size: rows per request of a list.
    :param requests_per_second: the rate limit; ``None`` for none.
    :param max_concurrent_requests: the most requests for delivery states, or for pages of a list, that are in
        flight at a time.
    :param only_numbers: the only addresses that may be texted through it; ``None``: all.
    :param hash_secret: the key that hashes numbers and texts where they may not be stored, or ``None``.
    """

    name: str
    gateway: Gateway
    base_url: str
    api_key: str = field(repr=False)
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    page_size: int = 1000
    requests_per_second: float | None = None
    max_concurrent_requests: int = 4
    hash_secret: str | None = field(default=None, repr=False)
    only_numbers: frozenset[str] | None = field(default=None, repr=False)
    login: str = field(default="", repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    @property
    def hashes(self) -> KeyedHash:
        """Keyed hashes under ``hash_secret``, or under the API key if there is none."""
        return KeyedHash(self.hash_secret or self.api_key)

    @property
    def answer_timeout(self) -> float:
        """Seconds that a whole answer may take."""
        return 10 * self.read_timeout

    @property
    def description(self) -> str:
        """The gateway in words, for errors: its connection and its host. It holds no secret."""
        host = re.split(r"[/?#]", self.base_url.split("://", 1)[-1], maxsplit=1)[0].rpartition("@")[2]
        return f"gateway of the connection {self.name!r} at {host}"

    @property
    def account(self) -> tuple[object, ...]:
        """The account: the address and all its secrets."""
        return self.base_url, self.api_key, self.login, tuple(sorted(self.secrets.items()))

    def is_same_account(self, other: Endpoint) -> bool:
        """Whether both endpoints reach the same account of the same gateway."""
        return self.account == other.account

    def url_of(self, call: Call[Any]) -> str:
        """Return the URL of a call, without its query."""
        base = urljoin(self.base_url, "/").rstrip("/") if call.is_at_root else self.base_url
        return base + call.path

    def headers_of(self, call: Call[Any], authentication: Headers) -> dict[str, str]:
        """Return the headers of a request."""
        return {
            **authentication,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Content-Type": "application/json",
            "User-Agent": "airflow-provider-winsms",
            **call.headers,
        }
