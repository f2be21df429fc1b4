"""A person's texts, replies and opt-outs in a ledger and in loaded tables, and the commands about them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.cli.cli_parser import get_parser

from airflow_provider_winsms.operators.sms import SmsSendBatchOperator
from airflow_provider_winsms.transfers.sms_to_sql import SmsToSqlOperator
from tests.support.databases import CONN_ID
from tests.support.lists import Lists, row, waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.databases import Database
    from tests.support.task_runner import TaskRunner

ANN, BEN, CAT = "27825550101", "27825550102", "27825550103"
SPELLINGS = [ANN, "082 555 0101", "+27 82 555-0101", "0027825550101", "825550101"]
SECRET = "a secret that outlives API keys"  # noqa: S105 - of a test
REPLY, STOP = "I shall pay on Monday", "STOP, leave me alone"
LOADED = {"incoming": "replies", "opt_outs": "outs", "scheduled": "waiting", "deliveries": "texts"}
"""The table of each dataset."""


def text_to(number: str) -> str:
    return f"Dear customer {number[-3:]}, pay by Friday"


def reference_of(number: str) -> str:
    return f"invoice {number[-3:]}"


@dataclass
class World:
    """One database with a ledger and the tables of all datasets.

    :param extras: of the connection of the gateway.
    """

    lists: Lists
    database: Database
    runner: TaskRunner
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def connect(self, **extras: Any) -> None:
        """Let tasks and commands find the connections."""
        self.lists.extra = {"page_size": 10, **extras}
        self.monkeypatch.setenv("AIRFLOW_CONN_WINSMS_DEFAULT", self.lists.connection)
        connections = {"winsms_default": json.loads(self.lists.connection), CONN_ID: self.database.connection}
        self.runner.connections = {**self.runner.connections, **connections}

    @property
    def has_ledger(self) -> bool:
        return self.database.kind in {"sqlite", "postgres", "mariadb"}

    def list_persons(self) -> None:
        """Let the gateway list a reply, an opt-out and a scheduled text of Ann, and those of Ben."""
        self.lists.rows = [
            row(1, ANN, REPLY),
            row(2, BEN, "Yes"),
            row(3, ANN, f"Call {BEN} or {SPELLINGS[1]}"),
        ]
        self.lists.opt_outs = [row(5, ANN, STOP), row(6, BEN, "Stop")]
        self.lists.scheduled = [waiting(8, ANN), waiting(9, BEN)]

    def send(self, *to: str, task_id: str = "send", **kwargs: Any) -> None:
        """Send to each their own text, with their own reference, through a task and with a ledger."""
        given = {"ledger_conn_id": CONN_ID, "ledger_text": "keep", **kwargs}
        messages = [{"text": text_to(each), "to": each, "reference": reference_of(each)} for each in to]
        operator = SmsSendBatchOperator(task_id=task_id, messages=messages, **given)
        assert self.runner.another().run(operator).error is None

    def load(self, *datasets: str, **kwargs: Any) -> dict[str, dict[str, Any]]:
        """Load datasets, and return their results."""
        results = {}
        for dataset in datasets or self.datasets:
            of_ledger = {"ledger_conn_id": CONN_ID, "refresh": False} if dataset == "deliveries" else {}
            operator = SmsToSqlOperator(
                task_id=f"load_{dataset}",
                dataset=dataset,
                sql_conn_id=CONN_ID,
                table=LOADED[dataset],
                schema=self.database.schema,
                **{**of_ledger, **kwargs},
            )
            results[dataset] = operator.execute({})
        return results

    @property
    def datasets(self) -> list[str]:
        return [name for name in LOADED if name != "deliveries" or self.has_ledger]

    @property
    def everywhere(self) -> list[str]:
        """The arguments that name all places."""
        ledger = ["--ledger-conn-id", CONN_ID] if self.has_ledger else []
        places = [self.place(LOADED[name]) for name in self.datasets]
        return [*ledger, *(word for place in places for word in ("--table", place))]

    def place(self, table: str) -> str:
        schema = f"{self.database.schema}." if self.database.schema else ""
        return f"{CONN_ID}:{schema}{table}"

    def command(self, name: str, *arguments: str) -> str:
        """Run a command, and return what it prints. ``SystemExit`` passes."""
        parsed = get_parser().parse_args(["sms", name, *arguments])
        self.capsys.readouterr()
        parsed.func(parsed)
        return self.capsys.readouterr().out

    def show(self, *arguments: str, number: str = ANN) -> dict[str, list[dict[str, Any]]]:
        """Return the rows that are shown, by their places."""
        shown = self.command("show", "--number", number, *self.everywhere, "--output", "json", *arguments)
        return {each["place"]: each["rows"] for each in json.loads(shown)["held"]}

    def forget(self, *arguments: str, number: str = ANN) -> str:
        return self.command("forget", "--number", number, *(arguments or self.everywhere), "--yes")

    def dump(self) -> str:
        """Return all rows of all tables as one text."""
        return "\n".join(f"{table} {found}" for table, rows in self.tables().items() for found in rows)

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        names = [name for name in self.database.tables() if "delivery" not in name and "_by_" not in name]
        return {name: sorted(self.database.execute(f"SELECT * FROM {{}}{name}"), key=repr) for name in names}  # noqa: S608 - a test's own names


def personal_parts(number: str = ANN) -> list[str]:
    """Return what no dump may hold of a forgotten person."""
    return [number, number[2:], text_to(number), reference_of(number), REPLY, STOP]


@pytest.fixture
def world_of(
    lists: Lists,
    runner: TaskRunner,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., World]:
    def make(database: Database, **extras: Any) -> World:
        world = World(lists, database, replace(runner), monkeypatch, capsys)
        world.connect(**{"hash_secret": SECRET, **extras})
        return world

    return make
