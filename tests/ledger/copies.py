"""A copy of the ledger, as a warehouse has it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow_provider_winsms.ledger.deliveries import CHANGING_STATES, Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.ledger.history import History


CONNECTION = "winsms_default"


def all_of(pages: Iterable[list[Delivery]]) -> list[Delivery]:
    return list(chain.from_iterable(pages))


def everything(history: History, sms_conn_id: str = CONNECTION) -> list[Delivery]:
    return all_of(history.deliveries_since(sms_conn_id, None))


class Copy:
    """What a warehouse has of the ledger, loaded as ``deliveries_since`` says.

    It takes no account of ``LATEST_COMMIT``, as here all clocks agree.
    """

    def __init__(self, history: History, sms_conn_id: str) -> None:
        self._history = history
        self._sms_conn_id = sms_conn_id
        self.rows: dict[tuple[Any, ...], Delivery] = {}

    def load(self, meanwhile: Callable[[], object] = lambda: None) -> int:
        """Load, and return the number of rows that were read.

        :param meanwhile: is done after the first of the readers, and after the second.
        """
        open_rows = [row for row in self.rows.values() if row.state in CHANGING_STATES]
        known = [row.message_id for row in open_rows if row.message_id is not None]
        without_id = {row[:4] for row in open_rows if row.message_id is None}
        latest = max((row.submitted_at for row in self.rows.values()), default=None)
        read = all_of(self._history.deliveries_of(self._sms_conn_id, known))
        meanwhile()
        read += all_of(self._history.deliveries_in(self._sms_conn_id, {key[:3] for key in without_id}))
        meanwhile()
        now = datetime.now(UTC)
        read += all_of(self._history.deliveries_since(self._sms_conn_id, latest, now))
        for key in without_id - {row[:4] for row in read}:
            del self.rows[key]
        self.rows.update((row[:4], row) for row in read)
        return len(read)

    @property
    def is_exact(self) -> bool:
        return self.rows == {row[:4]: row for row in everything(self._history, self._sms_conn_id)}
