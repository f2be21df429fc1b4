"""The load of a queue whose texts are gone for the gateway once they are acknowledged.

Each block is committed before the request that acknowledges it. A load that dies in between gets the block
again, and merges it into itself: rows have no id, so their keys are made of their values.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from airflow_provider_winsms.exceptions import GatewayUnavailable
from airflow_provider_winsms.messages import Columns, IncomingMessage, pluralize
from airflow_provider_winsms.warehouse.load import LoadOutcome
from airflow_provider_winsms.warehouse.merge import MergeCounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.gateways.lists import ConsumingQueue
    from airflow_provider_winsms.gateways.throttle import Throttle
    from airflow_provider_winsms.warehouse.mapping import RowMapper
    from airflow_provider_winsms.warehouse.table import TargetTable


class QueueLoad:
    """Loads a queue of incoming texts, until it is empty.

    :param digest: returns 64 hexadecimal digits for a sequence of texts. Where the load hides numbers or
        texts, it is keyed.
    """

    def __init__(
        self,
        queue: ConsumingQueue,
        mapper: RowMapper,
        table: TargetTable,
        throttle: Throttle,
        digest: Callable[..., str],
    ) -> None:
        self._queue = queue
        self._mapper = mapper
        self._table = table
        self._throttle = throttle
        self._digest = digest

    def run(self) -> LoadOutcome:
        """Read each block, commit it, and only then ask for the next one.

        :raises GatewayUnavailable: a block has rows that cannot be read. Its other rows are loaded, and it is
            not acknowledged.
        """
        rows, merged = 0, MergeCounts()
        with closing(self._queue.blocks()) as blocks:
            for block in blocks:
                rows += len(block.rows)
                if len(block.rows):
                    self._table.add(self._mapper.chunk(self._with_keys(block.rows)))
                    merged = self._table.finish()
                if block.rows.unreadable:
                    msg = (
                        f"{pluralize(block.rows.unreadable, 'row')} of a block of the queue cannot be read. "
                        "All other rows so far are loaded. The block stays in the queue."
                    )
                    raise GatewayUnavailable(msg)
                self._throttle.raise_if_stopped()
        return LoadOutcome(merged, rows, self._queue.requests, rows)

    def _with_keys(self, rows: Columns[IncomingMessage]) -> Columns[IncomingMessage]:
        """Return rows with keys: a digest of sender, instant, text, and the ordinal among equal rows."""
        seen: Counter[tuple[str, str, str]] = Counter()
        keys = []
        for row in rows:
            instant = row.received_at.isoformat() if row.received_at else row.received_at_wire or ""
            values = (row.number, instant, row.text)
            keys.append(self._digest(*values, str(seen[values])))
            seen[values] += 1
        columns = {name: rows.column(name) for name in IncomingMessage.__dataclass_fields__ if rows.has(name)}
        return Columns(IncomingMessage, {**columns, "message_id": keys})
