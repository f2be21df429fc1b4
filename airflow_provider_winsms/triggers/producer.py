"""The shared poll of watchers, as Airflow (3.3 or newer) wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.triggers.shared_stream import SharedStreamProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_winsms.inbound.subscriber import Envelope
    from airflow_provider_winsms.inbound.watcher import Watcher


class Producer(SharedStreamProducer):
    """Gives Airflow the new rows of a watcher, and tells the watcher which events are stored."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    async def open_stream(self) -> AsyncIterator[tuple[Envelope, Envelope]]:
        """Yield new rows. Airflow hands the first of each pair to all watchers, and the second back."""
        async for envelope in self._watcher.envelopes():
            yield envelope, envelope

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Settle envelopes that every watcher is done with: their events are stored, or have failed."""
        await self._watcher.settle(
            (item.broker_payload, not item.outcome.failed and not item.outcome.rejected) for item in batch
        )
