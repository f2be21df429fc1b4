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

    def reserve(
        self, amount: Decimal, most: Decimal | None, scope: SpendingScope, sender: Sender, now: DateTime
    ) -> Decimal:
        """Return what was spent or reserved before, and reserve an amount if both are within a budget."""
        at, nothing = self._database.instant(now), self._database.amount(Decimal(0))
        self._lock.ensure(("", "", "", "", nothing, at, None))
        return self._reserve(amount, most, scope, sender, now)

    @transaction
    def settle(self, now: DateTime) -> None:
        """End what the batch key has reserved."""
        self._database.execute(SETTLE_RESERVED, key_digest=self._key, now=self._database.instant(now))

    @transaction
    def _reserve(
        self, amount: Decimal, most: Decimal | None, scope: SpendingScope, sender: Sender, now: DateTime
    ) -> Decimal:
        at = self._database.instant(now)
        self._database.execute(LOCK_SPENDING, now=at)
        # What was reserved is read first: if it is settled in between, its cost is counted all the same.
        reserved, costs = self._amounts(READ_RESERVED, scope), self._amounts(READ_COSTS, scope)
        own_cost = costs.get(self._key, Decimal(0))
        others = (reserved.keys() | costs.keys()) - {self._key}
        nothing = Decimal(0)
        spent = own_cost + sum(
            (max(reserved.get(key, nothing), costs.get(key, nothing)) for key in others), nothing
        )
        if most is not None and spent + amount <= most:
            self._database.execute(DELETE_RESERVED, key_digest=self._key)
            total = self._database.amount(own_cost + amount)
            names = scope.sms_conn_id, sender.dag_id, sender.run_id
            self._database.insert(SPENDING, [(self._key, *names, total, at, None)])
        return spent

    def _amounts(self, query: Any, scope: SpendingScope) -> dict[str, Decimal]:
        times = {
            "begin": self._database.instant(scope.begin),
            "end": self._database.instant(scope.end),
            "never": self._database.instant(_NEVER),
        }
        values = {**scope._asdict(), **times}
        return {str(key): read_amount(amount) for key, amount in self._database.read(query, **values)}
