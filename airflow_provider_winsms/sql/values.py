"""Values as they are written to a database, and read from it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any


def utc(moment: datetime) -> datetime:
    """Return a plain ``datetime`` in UTC, as drivers look types up by name."""
    return datetime.fromtimestamp(moment.timestamp(), tz=UTC)


def read_instant(value: Any) -> datetime:
    """Return the moment that a driver read from a column of the kind ``INSTANT``."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def read_amount(value: Any) -> Decimal:
    """Return the amount that a driver read from a column of the kind ``AMOUNT``, or that it summed up."""
    return round(Decimal(str(value)), 2)


def storable(text: str) -> str:
    """Put U+FFFD for what databases refuse: NUL, and the half of an emoji that a cut in a text leaves."""
    if text.isascii() and "\0" not in text:
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\ufffd")
