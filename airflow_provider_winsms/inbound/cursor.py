"""The cursor of a subscriber: the rows of a list that it is done with."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_winsms.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_winsms.inbound.feeds import FeedRow, WatermarkRule


class Cursor:
    """The rows that a subscriber is done with: up to the ``watermark`` in sequence, and those in ``seen``.

    :param watermark: every row up to this sequence is done with; ``None`` if no such sequence is known.
    :param seen: the sequences of rows above the watermark, or without a sequence, by their keys.
    """

    def __init__(self, watermark: int | None = None, seen: Mapping[str, int | None] | None = None) -> None:
        self.watermark = watermark
        self.seen = dict(seen or {})

    @property
    def floor(self) -> float:
        """The watermark as a number; minus infinity without one."""
        return -math.inf if self.watermark is None else self.watermark

    def has(self, row: FeedRow) -> bool:
        """Whether the subscriber is done with a row."""
        return row.key in self.seen or (row.sequence is not None and row.sequence <= self.floor)

    def add(self, row: FeedRow) -> None:
        """Note that the subscriber is done with a row."""
        self.seen[row.key] = row.sequence

    def compact(self, watermark_of: WatermarkRule, unfinished: Iterable[int]) -> None:
        """Raise the watermark, and forget the keys below it.

        :param unfinished: sequences of rows that the subscriber is not done with; the watermark stays below.
        """
        sequences = sorted(sequence for sequence in self.seen.values() if sequence is not None)
        watermark = min((watermark_of(sequences), *(sequence - 1 for sequence in unfinished)))
        if watermark > self.floor:
            self.watermark = int(watermark)
            self.seen = {
                key: sequence
                for key, sequence in self.seen.items()
                if sequence is None or sequence > watermark
            }

    def to_json(self) -> dict[str, Any]:
        """Return ``{"watermark": sequence or null, "seen": {key: sequence or null}}``."""
        return {"watermark": self.watermark, "seen": dict(self.seen)}

    @classmethod
    def from_json(cls, value: Any) -> Cursor:
        """Read the result of ``to_json``.

        :raises ConfigurationError: if the value is not one.
        """
        with suppress(TypeError, KeyError, AttributeError):
            watermark, seen = value["watermark"], dict(value["seen"].items())
            if all(sequence is None or type(sequence) is int for sequence in (watermark, *seen.values())):
                return cls(watermark, seen)
        msg = (
            "The cursor in the asset's state store is not one of this provider. Delete it, and the key that "
            "ends in -begun, to start from now."
        )
        raise ConfigurationError(msg)


class CursorStore(Protocol):
    """Keeps one cursor."""

    async def load(self) -> Any:
        """Return the last saved value, or ``None``."""

    async def save(self, value: dict[str, Any]) -> None:
        """Save a cursor."""
