"""Keyed hashes. Without the key they tell whether two numbers or two texts are equal, and nothing else.

A plain hash of a phone number would reveal it: there are few enough numbers to try them all.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import NamedTuple

from airflow_provider_winsms.exceptions import ConfigurationError

_KEY_ID_DIGITS = 8

HASH_DIGITS = 64
"""The digits of a keyed hash."""

SHORT_HASH_DIGITS = 16
"""The digits of a short hash. One in 40 million lists of a million numbers has two equal ones."""

PSEUDONYMS = "forgotten:%"
"""The pattern of all pseudonyms, for LIKE."""

_PSEUDONYM = re.compile(rf"forgotten:([0-9a-f]{{{_KEY_ID_DIGITS}}}):([0-9a-f]{{{SHORT_HASH_DIGITS}}})")


_HASH = re.compile(rf"[0-9a-f]{{{HASH_DIGITS}}}")


def is_hash(stored: str) -> bool:
    """Tell whether a number or a text is stored as its keyed hash."""
    return _HASH.fullmatch(stored) is not None


class Pseudonym(NamedTuple):
    """What a table holds in place of a forgotten number.

    Whoever has the key can tell whether it stands for a number that they know. No one can tell the number.
    """

    key_id: str
    short_hash: str

    def __str__(self) -> str:
        return f"forgotten:{self.key_id}:{self.short_hash}"

    @classmethod
    def read(cls, stored: str) -> Pseudonym | None:
        """Return the pseudonym that a table holds; ``None`` if it holds a number or its hash."""
        found = _PSEUDONYM.fullmatch(stored)
        return None if found is None else cls(found[1], found[2])


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
        total = self._empty.copy()
        total.update(_encoded(text))
        return total.hexdigest()

    def of_parts(self, *parts: str) -> str:
        """Return 64 hexadecimal digits for a sequence of texts; the same text cut otherwise has another hash.

        Each part follows its length, in 8 bytes. So the hash never equals the one of ``of`` for digits.
        """
        growing = self.growing()
        for part in parts:
            growing.add(part)
        return growing.digits()

    def growing(self) -> GrowingHash:
        """Return a hash of a sequence of texts, to which they are added one by one, as of ``of_parts``."""
        return GrowingHash(self._empty.copy())

    def pseudonym(self, number: str) -> str:
        """Return what tables hold in place of a number that was forgotten: 35 characters."""
        return self.pseudonym_of_hash(self.of(number))

    def pseudonym_of_hash(self, number_hash: str) -> str:
        """Return the pseudonym of a number by its hash under this key."""
        return str(Pseudonym(self.key_id, number_hash[:SHORT_HASH_DIGITS]))

    @property
    def pseudonyms(self) -> str:
        """The pattern of the pseudonyms under this key, for LIKE."""
        return f"forgotten:{self.key_id}:%"

    def _of(self, data: bytes) -> str:
        total = self._empty.copy()
        total.update(data)
        return total.hexdigest()


class GrowingHash:
    """The hash of a sequence of texts, of which only one is in memory at a time."""

    def __init__(self, total: hmac.HMAC) -> None:
        self._total = total

    def add(self, part: str) -> None:
        """Add the next text."""
        data = _encoded(part)
        self._total.update(len(data).to_bytes(8) + data)

    def digits(self) -> str:
        """Return 64 hexadecimal digits."""
        return self._total.hexdigest()


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
