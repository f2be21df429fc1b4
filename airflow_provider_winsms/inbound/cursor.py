"""What a subscriber of a list is done with."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_winsms.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_winsms.inbound.feeds import FeedRow, Overlap


class Cursor:
    """The rows that a subscriber is done with: up to the ``watermark`` in sequence, and those in ``seen``.

    :param watermark: the sequence up to which every row is done with; ``None`` if there is none.
    :param seen: the sequences of rows above it, or without a sequence, by their keys.
    """

    def __init__(self, watermark: int | None = None, seen: Mapping[str, int | None] | None = None) -> None:
        self.watermark = watermark
        self.seen = dict(seen or {})

    @property
    def floor(self) -> float:
        """``watermark``, as a number in any case."""
        return -math.inf if self.watermark is None else self.watermark

    def has(self, entry: FeedRow) -> bool:
        """Whether the subscriber is done with a row."""
        return entry.key in self.seen or (entry.sequence is not None and entry.sequence <= self.floor)

    def add(self, entry: FeedRow) -> None:
        """Note that the subscriber is done with a row."""
        self.seen[entry.key] = entry.sequence

    def compact(self, overlap: Overlap, held: Iterable[int]) -> None:
        """Forget keys that are no longer needed, by raising ``watermark``.

        :param overlap: takes ascending sequences, and returns the one to which the watermark may rise.
        :param held: sequences of rows that the subscriber is not done with; the watermark stays below them.
        """
        sequences = sorted(sequence for sequence in self.seen.values() if sequence is not None)
        watermark = min((overlap(sequences), *(sequence - 1 for sequence in held)))
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
        """Read what ``to_json`` wrote.

        :raises ConfigurationError: if it is something else.
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
    """Where a cursor is kept."""

    async def load(self) -> Any:
        """Return what was saved last, or ``None``."""

    async def save(self, value: dict[str, Any]) -> None:
        """Keep a cursor."""
