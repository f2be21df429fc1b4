"""The one poll of all watchers who share it, as Airflow (3.3 or newer) asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.triggers.shared_stream import SharedStreamProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_winsms.inbound.subscriber import Envelope
    from airflow_provider_winsms.inbound.watcher import Watcher


class Producer(SharedStreamProducer):
    """What Airflow asks for messages, and tells that their events are stored."""

    def __init__(self, watch: Watcher) -> None:
        self._watch = watch

    async def open_stream(self) -> AsyncIterator[tuple[Envelope, Envelope]]:
        """Yield what is new; Airflow hands the first of each pair to all watchers, and the second back."""
        async for offer in self._watch.offers():
            yield offer, offer

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Take note of messages that every watcher is done with, whose events are stored."""
        await self._watch.settle(
            (item.broker_payload, not item.outcome.failed and not item.outcome.rejected) for item in batch
        )
