"""What was spent, and what tasks reserve before they spend it, in the ledger's tables."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_winsms.ledger.batches import key_digest
from airflow_provider_winsms.ledger.database import transaction
from airflow_provider_winsms.ledger.row_lock import RowLock
from airflow_provider_winsms.ledger.schema import SPENDING
from airflow_provider_winsms.ledger.statements import (
    DELETE_RESERVED,
    FIND_SPENDING_LOCK,
    LOCK_SPENDING,
    READ_COSTS,
    READ_RESERVED,
    SETTLE_RESERVED,
)
from airflow_provider_winsms.sql.values import read_amount

if TYPE_CHECKING:
    from pendulum import DateTime

    from airflow_provider_winsms.ledger.base import Sender, SpendingScope
    from airflow_provider_winsms.ledger.database import LedgerDatabase

_NEVER = pendulum.datetime(9000, 1, 1)


class Spending:
    """The ``SendSpending`` of one batch key.

    Only one process at a time counts and reserves: it has the lock, which is a row, until it commits.
    """

    def __init__(self, database: LedgerDatabase, key: str) -> None:
        self._database = database
        self._key = key_digest(key)
        self._lock = RowLock(database, SPENDING, FIND_SPENDING_LOCK)

    @transaction
    def spent(self, scope: SpendingScope) -> Decimal:
        """Return what was spent by the batch key, and spent or reserved by all others."""
        return sum(self._spent(scope), Decimal(0))

    def reserve(
        self, amount: Decimal, most: Decimal, scope: SpendingScope, sender: Sender, now: DateTime
    ) -> Decimal:
        """Return what was spent, and reserve an amount if both together are within a budget."""
        at, nothing = self._database.instant(now), self._database.amount(Decimal(0))
        self._lock.ensure(("", "", "", "", nothing, at, None))
        return self._reserve(amount, most, scope, sender, now)

    @transaction
    def release(self, now: DateTime) -> None:
        """Delete what the batch key has reserved."""
        self._database.execute(LOCK_SPENDING, now=self._database.instant(now))
        self._database.execute(DELETE_RESERVED, key_digest=self._key)

    @transaction
    def settle(self, now: DateTime) -> None:
        """End what the batch key has reserved."""
        self._database.execute(SETTLE_RESERVED, key_digest=self._key, now=self._database.instant(now))

    @transaction
    def _reserve(
        self, amount: Decimal, most: Decimal, scope: SpendingScope, sender: Sender, now: DateTime
    ) -> Decimal:
        at = self._database.instant(now)
        self._database.execute(LOCK_SPENDING, now=at)
        own_cost, by_others = self._spent(scope)
        spent = own_cost + by_others
        if spent + amount <= most:
            self._database.execute(DELETE_RESERVED, key_digest=self._key)
            total = self._database.amount(own_cost + amount)
            names = scope.sms_conn_id, sender.dag_id, sender.run_id
            self._database.insert(SPENDING, [(self._key, *names, total, at, None)])
        return spent

    def _spent(self, scope: SpendingScope) -> tuple[Decimal, Decimal]:
        """Return what the batch key has spent, and what all others have spent or reserved."""
        # What was reserved is read first: if it is settled in between, its cost is counted all the same.
        reserved, costs = self._amounts(READ_RESERVED, scope), self._amounts(READ_COSTS, scope)
        nothing = Decimal(0)
        others = (reserved.keys() | costs.keys()) - {self._key}
        by_others = (max(reserved.get(key, nothing), costs.get(key, nothing)) for key in others)
        return costs.get(self._key, nothing), sum(by_others, nothing)

    def _amounts(self, query: Any, scope: SpendingScope) -> dict[str, Decimal]:
        times = {
            "begin": self._database.instant(scope.begin),
            "end": self._database.instant(scope.end),
            "never": self._database.instant(_NEVER),
        }
        values = {**scope._asdict(), **times}
        return {str(key): read_amount(amount) for key, amount in self._database.read(query, **values)}
