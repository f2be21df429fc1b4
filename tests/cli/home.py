"""A real Airflow home with a migrated metadata database, and the real ``airflow`` command line on it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.prove.real_airflow import PATIENCE, clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.cli.commands import Commands
    from tests.support.task_runner import TaskRunner

NOW = "2026-03-02 12:00:00.000000"


@dataclass(frozen=True)
class Home:
    """One Airflow.

    :param variables: added to the environment of its commands.
    :param commands: what runs its commands; ``None`` if each is a process that begins as any does.
    """

    path: Path
    variables: dict[str, str] = field(default_factory=dict)
    commands: Commands | None = None

    def airflow(self, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command.

        :param answer: its standard input.
        """
        if self.commands is not None:
            return self.commands.run(arguments, self.variables, answer)
        environment = clean_environment() | self.variables | {"AIRFLOW_HOME": str(self.path)}
        return subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=environment,
            cwd=self.path,
            input=answer,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def unresolved(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.airflow("sms", "unresolved", "--output", "json", *arguments)
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def resolve(self, *arguments: str) -> str:
        """Resolve a request, which must succeed, and return the output."""
        done = self.airflow("sms", "resolve", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def keep(self, runner: TaskRunner, state: str = "failed", task_id: str = "send", run: int = 1) -> None:
        """Put a task instance into the database, with what its runner's store holds."""
        with closing(sqlite3.connect(self.path / "airflow.db")) as database, database:
            names = {"dag_id": "dag", "run_id": "run"}
            kind = {"run_type": "manual", "run_after": NOW}
            database.execute("DELETE FROM dag_run WHERE id = ?", (run,))
            _insert(database, "dag_run", {"id": run, **names, **kind})
            whose = {**names, "task_id": task_id, "map_index": -1}
            tries = {"try_number": runner.try_number, "pool": "default_pool", "pool_slots": 1}
            database.execute("DELETE FROM task_instance WHERE task_id = ?", (task_id,))
            _insert(database, "task_instance", {"id": uuid.uuid4().hex, **whose, **tries, "state": state})
            database.execute("DELETE FROM task_state_store WHERE task_id = ?", (task_id,))
            for key, value in runner.task_state.items():
                row = {"key": key, "value": json.dumps(value), "updated_at": NOW}
                _insert(database, "task_state_store", {"dag_run_id": run, **whose, **row})

    def store(self, task_id: str = "send") -> dict[str, Any]:
        """Return what the store holds of a task."""
        with closing(sqlite3.connect(self.path / "airflow.db")) as database:
            found = database.execute("SELECT key, value FROM task_state_store WHERE task_id = ?", (task_id,))
            return {key: json.loads(value) for key, value in found}


def _insert(database: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    columns, marks = ", ".join(row), ", ".join("?" * len(row))
    database.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(row.values()))  # noqa: S608 - a test's own
