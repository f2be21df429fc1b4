"""Values: their forms on the way to a database, and from it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

AMOUNT_PLACES = 4
"""The decimal places of an amount in a table."""


def utc(instant: datetime) -> datetime:
    """Return a plain ``datetime`` in UTC: drivers look types up by name."""
    return datetime.fromtimestamp(instant.timestamp(), tz=UTC)


def read_instant(value: Any) -> datetime:
    """Return the instant that a driver read from a column of the kind ``INSTANT``."""
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def read_amount(value: Any) -> Decimal:
    """Return the amount that a driver read from a column of the kind ``AMOUNT``, or from a sum of one."""
    return round(Decimal(str(value)), AMOUNT_PLACES)


def storable(text: str) -> str:
    """Replace NUL, and the half of an emoji that was cut in two, by U+FFFD: databases refuse both."""
    if text.isascii() and "\0" not in text:
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\ufffd")
