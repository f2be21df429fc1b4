"""Tasks that one version of the package ran, and that the next one goes on with.

The gateway, its clock and the numbers are made up. ``record.py`` runs the tasks with the older version and
keeps its databases as SQL; the tests replay that SQL and run the same tasks with this version.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pendulum

from airflow_provider_winsms.operators.sms import (
    SmsCancelScheduledOperator,
    SmsRefreshStatusOperator,
    SmsSendOperator,
)
from airflow_provider_winsms.operators.views import SmsViewsOperator
from airflow_provider_winsms.runtime import Clock
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from tests.support.clock import clock_of
from tests.support.hooks import prompt_hook
from tests.support.send_world import SendWorld
from tests.support.task_runner import TaskRunner
from tests.support.variants import variant

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_provider_winsms.sandbox import Sandbox
    from tests.support.databases import Database
    from tests.support.pigeon import PigeonBox

API_KEY = "key-1f6c-seeded-for-tests"
BEGAN = datetime(2026, 10, 5, 6, tzinfo=UTC)
LATER = BEGAN + timedelta(days=1, hours=9)
"""The time of the texts that the older version scheduled."""

LEDGER, PIGEON = "ledger", "pigeon"
TEXT = "Hallo, this is a test."


def number(index: int) -> str:
    return f"2782555{index:04}"


NUMBERS = [number(index) for index in range(100)]
OPTED_OUT, DELIVERED = "27000000006", "27000000010"
BATCH: list[dict[str, Any]] = [
    {"text": "It's for Ann", "to": NUMBERS[10], "reference": "customer 1"},
    {"text": "One for Ben; and 100 % of it", "to": [NUMBERS[11]], "reference": "customer 2"},
    {"text": TEXT, "to": "12", "reference": "customer 3"},
]

SENDS: dict[str, dict[str, Any]] = {
    "delivered": {"to": [DELIVERED, *NUMBERS[:4]]},
    "declined": {"to": [NUMBERS[5], OPTED_OUT]},
    "two_rounds": {"to": NUMBERS[20:24]},
    "resent": {"to": NUMBERS[24:26], "on_clear": "resend"},
    "accepted": {"to": NUMBERS[30:33]},
    "hashed": {"to": NUMBERS[33:35], "ledger_privacy": "keyed_hash"},
    "kept": {"to": NUMBERS[35:37], "text": "Kept: 'all' of it", "ledger_text": "keep"},
    "scheduled": {"to": NUMBERS[40:43], "send_at": LATER},
    "cancelled": {"to": NUMBERS[43:46], "send_at": LATER},
    "unpaid": {"to": NUMBERS[50:54]},
    "at_most_once": {"to": NUMBERS[60:62]},
    "at_least_once": {"to": NUMBERS[62:64], "guarantee": "at_least_once"},
    "found": {"to": NUMBERS[64:66], "guarantee": "exactly_once", "send_at": LATER},
    "not_found": {"to": NUMBERS[66:68], "guarantee": "exactly_once", "send_at": LATER},
    "resolved": {"to": NUMBERS[68:70]},
}
"""Arguments of sends, by the ids of their tasks."""

LOADS: dict[str, dict[str, Any]] = {
    "incoming": {"dataset": "incoming"},
    "incoming_hashed": {"dataset": "incoming", "privacy": "keyed_hash", "text": "redact_numbers"},
    "incoming_raw": {"dataset": "incoming", "include_raw": True},
    "short_codes": {"dataset": "short_code"},
    "opt_outs": {"dataset": "opt_outs"},
    "scheduled": {"dataset": "scheduled"},
    "deliveries": {"dataset": "deliveries", "ledger_conn_id": LEDGER},
}
"""Arguments of loads, by their tables."""


_KEPT = ("try_number", "tries_until_clear", "task_state")
"""What Airflow keeps of a task instance."""


@dataclass
class Story:
    """Task instances on the sandbox's time, each with the tries that it had.

    :param connections: those to the ledger and to the warehouses.
    """

    sandbox: Sandbox
    pigeon: PigeonBox
    connections: dict[str, dict[str, Any]]
    tasks: dict[str, TaskRunner] = field(default_factory=dict)

    def runner(self, task_id: str) -> TaskRunner:
        """Return the task instance."""
        if task_id not in self.tasks:
            self.tasks[task_id] = TaskRunner(self._all_connections(), retries=9)
        return self.tasks[task_id]

    def remember(self, tries: dict[str, dict[str, Any]]) -> None:
        """Let tasks have had tries, as ``tries`` returned them."""
        for task_id, had in tries.items():
            self.tasks[task_id] = replace(self.runner(task_id), **had)

    def tries(self) -> dict[str, dict[str, Any]]:
        """Return the tries that the tasks had, with their task state stores."""
        return {
            task_id: {name: getattr(runner, name) for name in _KEPT} for task_id, runner in self.tasks.items()
        }

    def world(self, task_id: str) -> SendWorld:
        return SendWorld(self.sandbox, self.runner(task_id))

    def send(self, task_id: str, world: SendWorld | None = None) -> BaseException | None:
        """Run the next try of one of ``SENDS``, and return its error."""
        return (world or self.world(task_id)).run(**_of_ledger(task_id=task_id, **SENDS[task_id]))

    def send_batch(self) -> BaseException | None:
        return self.world("send").run_batch(*BATCH, on_invalid="reject", ledger_conn_id=LEDGER)

    def send_by_pigeon(self) -> BaseException | None:
        """Send through a gateway with another currency, and with ids that are texts."""
        clock = Clock(lambda: pendulum.instance(self.pigeon.now()), self.pigeon.advance)
        kind = variant(SmsSendOperator, clock=clock)
        to = [f"+{each}" for each in NUMBERS[80:82]]
        return self.run(kind(**_of_ledger(task_id="by_pigeon", to=to, sms_conn_id=PIGEON)))

    def cancel(self, batch: str) -> dict[str, Any]:
        """Cancel the texts of a batch, and return the result."""
        kind = variant(SmsCancelScheduledOperator, hook_of=staticmethod(prompt_hook))
        return self.result(kind(task_id="cancel", batch=batch, ledger_conn_id=LEDGER))

    def refresh(self, clock: Clock | None = None, **kwargs: Any) -> dict[str, Any]:
        clock = clock or clock_of(self.sandbox)
        kind = variant(SmsRefreshStatusOperator, clock=clock, hook_of=staticmethod(prompt_hook))
        return self.result(kind(task_id="refresh", ledger_conn_id=LEDGER, **kwargs))

    def load(self, warehouse: str, table: str, **kwargs: Any) -> dict[str, Any]:
        """Load one of ``LOADS`` into a warehouse, and return the result."""
        kind = variant(SmsToSqlOperator, clock=clock_of(self.sandbox), hook_of=staticmethod(prompt_hook))
        given = {"task_id": "load", "table": table, "sql_conn_id": warehouse, **LOADS[table], **kwargs}
        return self.result(kind(**given))

    def load_all(self, warehouse: str, **of_deliveries: Any) -> None:
        for table in LOADS:
            self.load(warehouse, table, **(of_deliveries if table == "deliveries" else {}))

    def make_views(self, warehouse: str) -> list[str]:
        """Make the views over the loaded tables, and return their names."""
        tables = {"deliveries": "deliveries", "incoming": "incoming", "opt_outs": "opt_outs"}
        made = self.result(SmsViewsOperator(task_id="views", sql_conn_id=warehouse, **tables))
        return list(made["views"])

    def result(self, task: BaseOperator) -> dict[str, Any]:
        """Run a new instance of a task, which must succeed, and return its result."""
        self.tasks.pop(task.task_id, None)
        error = self.run(task)
        if error is not None:
            raise error
        return dict(self.tasks.pop(task.task_id).result)

    def run(self, task: BaseOperator) -> BaseException | None:
        """Run the next try of a task, and return its error."""
        return self.runner(task.task_id).run(task).error

    def _all_connections(self) -> dict[str, dict[str, Any]]:
        extra = json.dumps({"hash_secret": "seeded-hash-secret"})
        winsms = {"conn_type": "winsms", "host": self.sandbox.base_url, "password": API_KEY, "extra": extra}
        pigeon = {**self.pigeon.connection, "extra": extra}
        return {"winsms_default": winsms, PIGEON: pigeon, **self.connections}


def _of_ledger(**kwargs: Any) -> dict[str, Any]:
    return {"ledger_conn_id": LEDGER, "text": TEXT, **kwargs}


def columns_of(database: Database, relation: str) -> list[str]:
    """Return the names of the columns of a table or a view, in their order."""
    with closing(database.connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT * FROM {database.named(relation)} WHERE 1 = 0")  # noqa: S608 - our own names
        cursor.fetchall()
        return [column[0] for column in cursor.description]
