"""Keyed hashes. Without the key they tell whether two numbers or two texts are equal, and nothing else.

A plain hash of a phone number would reveal it: there are few enough numbers to try them all.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from airflow_provider_winsms.exceptions import ConfigurationError

_KEY_ID_DIGITS = 8


class KeyedHash:
    """HMAC-SHA-256 (RFC 2104) under one key.

    :param key: the secret, from the connection.
    """

    def __init__(self, key: str) -> None:
        self._empty = hmac.new(key.encode(), digestmod=sha256)
        self.key_id = self.of("key id")[:_KEY_ID_DIGITS]
        """Identifies the key without revealing it: 8 hexadecimal digits."""

    def of(self, text: str) -> str:
        """Return 64 hexadecimal digits: the plain HMAC of a number's digits, or of a text, in UTF-8.

        A person with the key can hash other numbers in the same way, and join by the hash.
        """
        return self._of(_encoded(text))

    def of_parts(self, *parts: str) -> str:
        """Return 64 hexadecimal digits for a sequence of texts; the same text cut otherwise has another hash.

        Each part follows its length, in 8 bytes. So the hash never equals the one of ``of`` for digits.
        """
        return self._of(b"".join(len(data).to_bytes(8) + data for data in map(_encoded, parts)))

    def _of(self, data: bytes) -> str:
        total = self._empty.copy()
        total.update(data)
        return total.hexdigest()


def require_secret(parameter: str, hash_secret: str | None, conn_id: str) -> None:
    """Require a key for hashes that are stored: they must stay comparable when the API key changes.

    :raises ConfigurationError: the connection has none.
    """
    if not hash_secret:
        msg = (
            f'{parameter}="keyed_hash" needs a key that outlives the API key: put `hash_secret` into the '
            f"extras of the connection {conn_id!r}."
        )
        raise ConfigurationError(msg)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
