"""Where a gateway is reached, and by which credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_winsms.gateways.base import Gateway


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a gateway is reached, how, and as whom.

    :param name: what the user calls it, for errors.
    :param base_url: without a trailing slash.
    :param connect_timeout: seconds until the connection must stand.
    :param read_timeout: seconds without a byte after which an answer counts as lost. A whole answer may take
        ten times as long.
    :param page_size: rows asked for in one request of a list.
    :param requests_per_second: the most requests per second, or ``None``.
    :param max_concurrent_requests: the most requests about deliveries, or pages of a list, that are on their
        way at a time.
    :param hash_secret: what numbers and texts are hashed with where they may not be stored, or ``None``.
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
        """Seconds that a whole answer may take, however slowly its bytes drip in."""
        return 10 * self.read_timeout

    @property
    def where(self) -> str:
        """The gateway in words, for errors: its connection and its host, without what may be secret."""
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
