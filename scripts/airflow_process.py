"""A fresh Airflow in a folder of its own, and a process in it that runs the example DAGs."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any, Self

from scripts.run_examples import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

# dag.test() runs the trigger of a deferred task itself, and gives the task the state queued meanwhile.
_STATES = """
    SELECT ti.task_id, CASE WHEN ti.next_method IS NOT NULL AND ti.state IN ('queued', 'scheduled')
        THEN 'deferred' ELSE ti.state END
    FROM task_instance ti JOIN dag_run r USING (dag_id, run_id) WHERE r.id = ? ORDER BY ti.start_date
"""


class AirflowProcess:
    """An Airflow that runs example DAGs with ``dag.test()``. Use it as a context manager.

    :param home: an empty folder, for its SQLite database and its log.
    :param connections: the connections of the DAGs, by id.
    :param variables: the Airflow variables of the DAGs, by name.
    """

    def __init__(
        self,
        home: Path,
        connections: Mapping[str, Mapping[str, Any]],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.log = home / "airflow.log"
        self._database = home / "airflow.db"
        self._environment = {
            **os.environ,
            **_settings(home),
            **_as_variables(connections),
            **{f"AIRFLOW_VAR_{name.upper()}": value for name, value in (variables or {}).items()},
        }

    def __enter__(self) -> Self:
        with self.log.open("w") as log:
            migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
            subprocess.run(migrate, env=self._environment, stdout=log, stderr=log, check=True)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scripts.run_examples"],
                cwd=EXAMPLES.parent,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, example: str, meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Run an example DAG to its end.

        Return ``{"state": ..., "results": {task_id: ...}, "asked": [...]}``.

        :param example: its name, and after a blank the answer to what it asks a person.
        :param meanwhile: called repeatedly meanwhile. It must return soon, and should sleep a little.
        :raises RuntimeError: if the process ended.
        """
        _pipe(self._process.stdin).write(f"{example}\n")
        _pipe(self._process.stdin).flush()
        os.set_blocking(_pipe(self._process.stdout).fileno(), False)
        line = ""
        while not line.endswith("\n"):
            line += _pipe(self._process.stdout).readline()
            meanwhile()
            if self._process.poll() is not None:
                msg = f"Airflow ended early:\n{self.log.read_text()[-5000:]}"
                raise RuntimeError(msg)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def latest_run(self, dag_id: str) -> int | None:
        """Return the number of the DAG's latest run, or ``None`` before its first."""
        (number,) = self._found("SELECT max(id) FROM dag_run WHERE dag_id = ?", dag_id)[0]
        return None if number is None else int(number)

    def task_states(self, run: int) -> list[tuple[str, str | None]]:
        """Return the tasks of a run, with their states."""
        return self._found(_STATES, run)

    def _found(self, query: str, parameter: object) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
            return database.execute(query, (parameter,)).fetchall()


def _settings(home: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # Whoever answers what a DAG asks a person needs no password.
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    }


def _as_variables(connections: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        msg = "The process was started without this pipe."
        raise RuntimeError(msg)
    return stream
