"""The endpoint of a gateway: its address, its credentials and the limits of its use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Gateway


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a gateway, the credentials, and the limits of its use.

    :param name: the id of the connection, for errors.
    :param base_url: without a trailing slash.
    :param connect_timeout: seconds until the connection must be open.
    :param read_timeout: seconds without a byte after which an answer counts as lost. A whole answer may take
        ten times as long.
    :param page_size: rows per request of a list.
    :param requests_per_second: the rate limit; ``None`` for none.
    :param max_concurrent_requests: the most requests for delivery states, or for pages of a list, that are in
        flight at a time.
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

    @property
    def answer_timeout(self) -> float:
        """Seconds that a whole answer may take."""
        return 10 * self.read_timeout

    @property
    def description(self) -> str:
        """The gateway in words, for errors: its connection and its host. It holds no secret."""
        host = re.split(r"[/?#]", self.base_url.split("://", 1)[-1], maxsplit=1)[0].rpartition("@")[2]
        return f"gateway of the connection {self.name!r} at {host}"

    def is_same_account(self, other: Endpoint) -> bool:
        """Whether both endpoints reach the same account of the same gateway."""
        return (self.base_url, self.api_key) == (other.base_url, other.api_key)

    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        return {
            **self.gateway.headers(self.api_key),
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Content-Type": "application/json",
            "User-Agent": "airflow-provider-winsms",
        }
