"""The ledger locks rows in one order, so that its transactions do not wait for each other in a circle."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow.providers.sqlite.hooks.sqlite import SqliteHook

from airflow_provider_winsms.ledger import statements
from airflow_provider_winsms.ledger.base import (
    Alert,
    AlertLimit,
    BatchDigest,
    DueText,
    Rejected,
    RequestKey,
    SpendingScope,
    TextLimit,
)
from airflow_provider_winsms.ledger.schema import TABLES
from airflow_provider_winsms.ledger.sql import SqlLedger, SqlOptions
from airflow_provider_winsms.messages import DeliveryReport, DeliveryState, RejectReason
from airflow_provider_winsms.sql.statements import NamedStatement
from tests.ledger.batches import (
    FIRST,
    HASHES,
    KEY,
    LATER,
    NOON,
    batch,
    declined,
    messages,
    number,
    record,
    sent,
)
from tests.ledger.history import History
from tests.support.databases import CONN_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.databases import Database

LIMIT = TextLimit(1, timedelta(days=1))
LOCK_ORDER = [table.name for table in TABLES]
ALONE = {"reservations", "spending", "alerts"}
"""The tables whose transactions lock no other one."""
STATEMENTS = {
    name: statement for name, statement in vars(statements).items() if isinstance(statement, NamedStatement)
}
WRITE = re.compile(r"\s*(?:UPDATE|DELETE FROM|INSERT INTO) [{\"](?:sms_)?(\w+)[}\"]")


def written(sql: str) -> str | None:
    """Return the table whose rows a statement locks."""
    found = WRITE.match(sql)
    return found and found[1]


def test_the_statements_that_lock_come_first_in_lock_order() -> None:
    places = [
        LOCK_ORDER.index(table) if (table := written(statement.sql)) else len(LOCK_ORDER)
        for statement in STATEMENTS.values()
    ]
    assert places == sorted(places)
    assert set(places) == {0, 1, 2, *map(LOCK_ORDER.index, ALONE), len(LOCK_ORDER)}


def test_each_statement_locks_one_table_or_none() -> None:
    for sql in (statement.sql for statement in STATEMENTS.values()):
        tables = set(re.findall(r"\{(\w+)\}", sql)) & set(LOCK_ORDER)
        assert tables == {written(sql)} or (sql.split()[0] == "SELECT" and " FOR " not in sql)


class TracingHook(SqliteHook):
    """A hook whose connections remember their statements."""

    def __init__(self) -> None:
        super().__init__(sqlite_conn_id=CONN_ID)  # type: ignore[no-untyped-call]
        self.statements: list[str] = []

    def get_conn(self) -> Any:
        connection = super().get_conn()
        connection.set_trace_callback(self.statements.append)
        return connection

    def transactions(self) -> Iterator[list[str]]:
        """Yield the tables that each transaction writes, in order."""
        tables: list[str] = []
        for statement in self.statements:
            if statement.startswith("BEGIN"):
                tables = []
            elif statement == "COMMIT":
                yield tables
            elif (table := written(statement)) is not None:
                tables.append(table)


def test_a_transaction_locks_its_batch_first_or_messages_alone(sqlite: Database) -> None:  # noqa: ARG001
    hook = TracingHook()
    with SqlLedger(hook, KEY, HASHES, SqlOptions()) as tables, History(hook) as history:
        tables.open(replace(batch(), decisions="{}"))
        send_and_change(tables, history)
        scope = SpendingScope("winsms_default", None, None, NOON, NOON.add(days=1))
        tables.spending.reserve(Decimal(1), Decimal(2), scope, batch().sender, NOON)
        tables.spending.settle(NOON)
        alert = Alert("a" * 32, KEY, batch().sender, NOON)
        for _ in range(2):
            tables.alerts.admit(alert, AlertLimit(timedelta(0), 1, NOON))
        tables.alerts.withdraw(alert, is_unknown=False)
    found = list(filter(None, hook.transactions()))
    of_batches = [tables for tables in found if tables[0] == "batches"]
    assert set(chain.from_iterable(of_batches)) == set(LOCK_ORDER) - ALONE
    alone = [set(tables) for tables in found if tables not in of_batches]
    of_each = Counter(map(min, alone))
    assert of_each == {"messages": 3, "reservations": 3, "spending": 3, "alerts": 4}
    assert all(len(tables) == 1 for tables in alone)


def send_and_change(tables: SqlLedger, history: History) -> None:
    """Write by every method of a ledger that does so."""
    for _ in range(2):
        texts = [DueText(0, number(0), NOON)]
        tables.history.reserve(texts, LIMIT, batch().sender, NOON)
    tables.take_over()
    tables.revise(BatchDigest("t" * 64, "n" * 64, HASHES.key_id, 9, 3, 0))
    tables.reject([Rejected(RejectReason.OPTED_OUT, None)])
    claim = sent(tables)
    claim.cancelling_at = LATER
    tables.mark_cancelling(FIRST, claim)
    tables.record(FIRST, claim, {0: declined(RejectReason.CANCELLED)})
    second, third, fourth = (RequestKey(1, index) for index in (2, 3, 4))
    tables.claim(second, record(), messages())
    tables.renew(second, record(), LATER)
    tables.mark_not_received(second, record(at=LATER), {0: declined(RejectReason.NOT_RECEIVED)})
    history.resolve(batch().id, second, [200, 201])
    tables.claim(third, record(), messages())
    tables.claim(fourth, record(), messages())
    tables.release_claim(third, record())
    tables.release_claim(fourth, record())
    tables.open_round(2, {second: [0]})
    history.mark_cancelling([200, 201])
    history.record_cancelled({200: Decimal(1)})
    history.record_not_cancelled({201: DeliveryState.SENT})
    history.record_reports([DeliveryReport(201, DeliveryState.DELIVERED, time=NOON)])
    tables.open(replace(batch(), generation=2))
