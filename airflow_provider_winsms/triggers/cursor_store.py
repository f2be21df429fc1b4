"""The cursors of watchers, in Airflow's state stores of their assets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_provider_winsms.exceptions import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

_BEGUN = "begun"


class AssetCursorStore:
    """Keeps a cursor in the state stores of all assets of a watcher.

    A watcher of several assets fires for all of them, and continues when one of them is removed. Airflow
    reports any 404 as a missing key. So a second key, the witness, says that there is a cursor.
    """

    def __init__(self, stores: Sequence[Any], key: str) -> None:
        self._stores = stores
        self._key = key
        self._witness_key = f"{key}-begun"
        self._probe_key = f"{key}-probe"
        self._is_witnessed = False

    async def load(self) -> Any:
        """Return the cursor, or ``None``; of several the most advanced one.

        :raises LedgerUnavailable: if there was one, and no store returns it.
        """
        found = await self._cursor()
        if found is None:
            await self._refuse_if_begun()
            for store in self._stores:
                await self._probe(store)
            await self._refuse_if_begun()
            found = await self._cursor()
        return found

    async def save(self, value: dict[str, Any]) -> None:
        """Save a cursor in every store."""
        for store in self._stores:
            await store.aset(self._key, value)
        if not self._is_witnessed:
            for store in self._stores:
                await store.aset(self._witness_key, _BEGUN)
            self._is_witnessed = True

    async def _cursor(self) -> Any:
        kept = [await store.aget(self._key) for store in self._stores]
        return max((each for each in kept if each is not None), key=_cursor_position, default=None)

    async def _refuse_if_begun(self) -> None:
        """Refuse to begin again, which would skip the rows since the cursor was saved."""
        if _BEGUN in [await store.aget(self._witness_key) for store in self._stores]:
            msg = (
                f"The asset's state store has {self._witness_key}, but not its cursor, {self._key}. If the "
                "store failed for a moment, a later poll continues. To watch from now on instead, delete the "
                "former."
            )
            raise LedgerUnavailable(msg)

    async def _probe(self, store: Any) -> None:
        """Check that a store without a cursor returns the values that it is given."""
        nonce = uuid4().hex
        await store.aset(self._probe_key, nonce)
        if await store.aget(self._probe_key) != nonce:
            msg = (
                "The asset's state store did not return a value just written to it, so its lack of a cursor "
                "proves nothing. A later poll tries again."
            )
            raise LedgerUnavailable(msg)


def _cursor_position(value: Any) -> tuple[int, ...]:
    """Return a position that grows as a cursor advances; ``()`` for an invalid one: reading refuses it."""
    try:
        sequences = [
            sequence for sequence in (value["watermark"], *value["seen"].values()) if sequence is not None
        ]
        return (max(sequences, default=0), len(sequences))
    except (TypeError, KeyError, AttributeError, ValueError):
        return ()


def stores_by_asset(accessors: Any) -> dict[str, Any]:
    """Return the state stores of a watcher's assets, by the assets' names.

    Airflow hands them over as one object, which works only for a single asset and hides the names. Its
    private attributes have both.
    """
    if accessors is None:
        return {}
    by_asset = {**getattr(accessors, "_by_uri", {}), **getattr(accessors, "_by_name", {})}
    return by_asset or {"": accessors}
