"""Run example DAGs through Airflow, one after the other, by their names on standard input.

For each line ``NAME``, runs ``example_dags/NAME.py`` with ``dag.test()`` and prints a line of JSON:
``{"state": "success", "results": {task_id: return value}, "asked": [...]}``. If a DAG asks a person,
``NAME ANSWER`` answers. One process runs all of them, because Airflow takes seconds to start. Airflow's log
goes to standard error.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.respondent import Respondent

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

EXAMPLES = Path(__file__).resolve().parent.parent / "example_dags"


def run_example(name: str, answer: str = "") -> dict[str, Any]:
    """Run one example DAG to its end, with real tasks, deferrals and resumes.

    :param answer: to the questions that the DAG asks a person.
    """
    dag = runpy.run_path(str(EXAMPLES / f"{name}.py"))["dag"]
    asked: list[dict[str, str]] = []
    with Respondent(name, answer, asked) if answer else nullcontext():
        run = dag.test()
    return {"state": str(run.state), "results": _results(run), "asked": asked}


def _results(run: DagRun) -> dict[str, Any]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    of_run = select(XComModel).where(
        XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id, XComModel.key == "return_value"
    )
    with create_session() as session:
        return {row.task_id: XComModel.deserialize_value(row) for row in session.scalars(of_run)}


def main() -> None:
    """Serve standard input until it ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        print(json.dumps(run_example(*line.split())), file=answers)


if __name__ == "__main__":
    main()
