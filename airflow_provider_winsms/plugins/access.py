"""Who asks for the page, and what they may see: Airflow's auth manager decides.

Airflow promises no stability for the modules behind this one. Nothing else here imports them.
"""

from __future__ import annotations

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.providers.common.compat.sdk import conf

__all__ = ["BaseUser", "GetUserDep", "may_read_connection", "may_read_dag"]


def may_read_connection(user: BaseUser, conn_id: str) -> bool:
    """Tell whether a user may read a connection."""
    details = ConnectionDetails(conn_id=conn_id, team_name=_team(Connection, conn_id))
    return get_auth_manager().is_authorized_connection(method="GET", details=details, user=user)


def may_read_dag(user: BaseUser, dag_id: str) -> bool:
    """Tell whether a user may read a DAG."""
    details = DagDetails(id=dag_id, team_name=_team(DagModel, dag_id))
    return get_auth_manager().is_authorized_dag(method="GET", details=details, user=user)


def _team(kind: type[Connection | DagModel], name: str) -> str | None:
    return kind.get_team_name(name) if conf.getboolean("core", "multi_team") else None
