"""The recent batches in the ledger's tables, without numbers and texts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_winsms.ledger.database import read_moment, transaction
from airflow_provider_winsms.ledger.schema import MessageState
from airflow_provider_winsms.ledger.statements import (
    COUNT_RECENT_BATCHES,
    READ_REASONS,
    READ_RECENT_BATCHES,
    READ_RECENT_SENDERS,
    READ_STATES_OF_BATCHES,
)
from airflow_provider_winsms.messages import RejectReason
from airflow_provider_winsms.sql.values import read_amount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from pendulum import DateTime

    from airflow_provider_winsms.ledger.database import LedgerDatabase


class Scope(NamedTuple):
    """Which batches: those that changed since an instant, of a DAG, or of one of its runs.

    :param dag_id: ``None``: of every DAG.
    :param run_id: ``None``: of every run.
    """

    since: datetime
    dag_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """One batch.

    :param recipients: the planned texts to one recipient each.
    :param states: how many of them are in each state. A text that is to be sent again is in none.
    :param net_cost: the price of its accepted texts, less refunds.
    """

    batch_id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    sms_conn_id: str
    guarantee: str
    recipients: int
    net_cost: Decimal
    currency: str
    opened_at: DateTime
    states: Mapping[MessageState, int] = field(default_factory=dict)


class RecentBatches:
    """The batches of a scope, latest first.

    :raises LedgerUnavailable: from every method, if the database refuses something.
    """

    def __init__(self, database: LedgerDatabase, scope: Scope) -> None:
        self._database = database
        self.parameters = {**scope._asdict(), "since": database.instant(scope.since)}
        """The parameters of the condition ``{shown}`` of a statement."""

    @transaction
    def count(self) -> int:
        """Return the number of batches."""
        return int(self._database.read(COUNT_RECENT_BATCHES, **self.parameters)[0][0])

    @transaction
    def read(self, limit: int, skipped: int = 0) -> list[BatchSummary]:
        """Return some batches."""
        sizes = {"limit": [limit], "skipped": [skipped]}
        rows = self._database.read(READ_RECENT_BATCHES, **self.parameters, **sizes)
        states = self._states([row[0] for row in rows])
        return [_summary(row, states[row[0]]) for row in rows]

    @transaction
    def sms_conn_ids(self) -> frozenset[str]:
        """Return the connections of gateways that sent them."""
        return frozenset(str(row[0]) for row in self._database.read(READ_RECENT_SENDERS, **self.parameters))

    @transaction
    def reasons(self) -> dict[RejectReason, int]:
        """Return how many texts were declined for good, or taken out before they were submitted, and why."""
        rows = self._database.read(READ_REASONS, **self.parameters)
        return {RejectReason(reason): int(texts) for reason, texts in rows}

    def _states(self, batch_ids: Sequence[str]) -> Mapping[str, dict[MessageState, int]]:
        found: defaultdict[str, dict[MessageState, int]] = defaultdict(dict)
        rows = self._database.read(READ_STATES_OF_BATCHES, batch_ids=batch_ids) if batch_ids else ()
        for batch_id, state, texts in rows:
            found[batch_id][MessageState(state)] = int(texts)
        return found


def _summary(row: tuple[Any, ...], states: Mapping[MessageState, int]) -> BatchSummary:
    *names, cost, refunded, currency, opened_at = row
    amounts = read_amount(cost) - read_amount(refunded), currency
    values: list[Any] = [*names, *amounts, read_moment(opened_at), states]
    return BatchSummary(*values)
