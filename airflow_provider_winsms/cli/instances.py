"""The state of the task that sends a batch, from the metadata database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import select

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from airflow_provider_winsms.ledger.history import UnresolvedRequest

_UNDER_WAY = ("scheduled", "queued", "running", "restarting", "deferred", "up_for_reschedule")


def state_of(parked: UnresolvedRequest, session: Session | None = None) -> str | None:
    """Return the state of the task instance that sends a batch; ``None`` if this Airflow has none."""
    if session is None:
        with create_session() as own:
            return state_of(parked, own)
    state = session.scalar(
        select(TaskInstance.state).where(
            TaskInstance.dag_id == parked.dag_id,
            TaskInstance.run_id == parked.run_id,
            TaskInstance.task_id == parked.task_id,
            TaskInstance.map_index == parked.map_index,
        )
    )
    return None if state is None else str(getattr(state, "value", state))


def is_under_way(state: str | None) -> bool:
    """Tell whether a task in that state may be running, or about to run."""
    return state in _UNDER_WAY
