"""The metadata database: its connections, and the states of the tasks that send batches."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import select

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_provider_winsms.ledger.unresolved import UnresolvedRequest

_ACTIVE_STATES = ("scheduled", "queued", "running", "restarting", "deferred", "up_for_reschedule")


def look_for_connections_in_metadata() -> None:
    """Let this process look for connections in the metadata database, as the scheduler does."""
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


def state_of(request: UnresolvedRequest, session: Session | None = None) -> str | None:
    """Return the state of the task instance that sends a batch; ``None`` if Airflow does not know it."""
    if session is None:
        with create_session() as own:
            return state_of(request, own)
    state = session.scalar(
        select(TaskInstance.state).where(
            TaskInstance.dag_id == request.dag_id,
            TaskInstance.run_id == request.run_id,
            TaskInstance.task_id == request.task_id,
            TaskInstance.map_index == request.map_index,
        )
    )
    return None if state is None else str(getattr(state, "value", state))


def is_active(state: str | None) -> bool:
    """Tell whether a task in that state may be running, or about to run."""
    return state in _ACTIVE_STATES
