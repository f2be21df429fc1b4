"""Run example DAGs through Airflow, one after the other, by their names on standard input.

For each line ``NAME``, runs ``example_dags/NAME.py`` with ``dag.test()`` and prints a line of JSON:
``{"state": "success", "results": {task_id: return value}}``. One process runs all of them, because Airflow
takes seconds to start. Airflow's log goes to standard error.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

EXAMPLES = Path(__file__).resolve().parent.parent / "example_dags"


def run_example(name: str) -> dict[str, Any]:
    """Run one example DAG to its end, with real tasks, deferrals and resumes."""
    dag = runpy.run_path(str(EXAMPLES / f"{name}.py"))["dag"]
    run = dag.test()
    return {"state": str(run.state), "results": _results(run)}


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
        print(json.dumps(run_example(line.strip())), file=answers)


if __name__ == "__main__":
    main()
