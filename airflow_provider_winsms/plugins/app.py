"""The app of the page. It reads only: the reports of ledgers, for users who may read their connections."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import FastAPI, HTTPException, Request
from fastapi import Query as Parameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse  # noqa: TC002 - FastAPI reads annotations

from airflow_provider_winsms.exceptions import SmsError
from airflow_provider_winsms.plugins.access import GetUserDep, may_read_connection, may_read_dag
from airflow_provider_winsms.plugins.answers import answer, notice
from airflow_provider_winsms.plugins.sections import Sections
from airflow_provider_winsms.plugins.settings import SECTION, read_settings
from airflow_provider_winsms.reports.page import Query, render_page
from airflow_provider_winsms.reports.window import MOST_DAYS, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_winsms.plugins.access import BaseUser

_DAYS = 30
_Name = Annotated[str, Parameter(max_length=250)]

_HOW_TO_GET_A_LEDGER = (
    'SmsSendOperator(..., ledger_conn_id="warehouse")  # PostgreSQL, MySQL, MariaDB or SQLite',
    f"[{SECTION}]  # in airflow.cfg of the API server",
    "ledger_conn_ids = warehouse",
)


def create_app(now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> FastAPI:
    """Return the app. Its only route asks who the user is, and is described to nobody."""
    app = FastAPI(title="SMS", docs_url=None, redoc_url=None, openapi_url=None)
    sections = Sections()

    # FastAPI runs a function that is no coroutine in a thread of its own.
    @app.get("/")
    def show(
        user: GetUserDep,
        *,
        days: Annotated[int | None, Parameter(ge=1, le=MOST_DAYS)] = None,
        time_zone: _Name = "UTC",
        dag_id: _Name = "",
        run_id: _Name = "",
        page: Annotated[int, Parameter(ge=1, le=1_000_000)] = 1,
    ) -> HTMLResponse:
        # A run may be old.
        days = days or (MOST_DAYS if run_id else _DAYS)
        return _page(user, Query(days, time_zone, dag_id or None, run_id or None, page), now(), sections)

    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    return app


def _page(user: BaseUser, query: Query, now: datetime, sections: Sections) -> HTMLResponse:
    try:
        settings, window = read_settings(), Window(query.days, query.time_zone, now)
    except SmsError as error:
        return notice(422, "The page cannot be shown.", str(error))
    if not settings.ledger_conn_ids:
        words = "Give your sends a database as their ledger, and name its connection:"
        return notice(200, "There is no ledger to show yet.", words, lines=_HOW_TO_GET_A_LEDGER)

    def may_read(conn_id: str) -> bool:
        return may_read_connection(user, conn_id)

    conn_ids = list(filter(may_read, settings.ledger_conn_ids))
    if not conn_ids:
        words = f"You may read none of the connections in [{SECTION}] ledger_conn_ids. Ask for the right."
        return notice(403, "You may not see this page.", words)
    if query.dag_id is not None and not may_read_dag(user, query.dag_id):
        return notice(403, "You may not see this page.", "You may not read this DAG. Ask for the right.")
    shown = sections.read(conn_ids, settings, window, query, may_read)
    return answer(200, render_page(shown, window, query))


def _refused(_request: Request, error: Exception) -> HTMLResponse:
    """Answer that nobody is logged in."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return notice(status, "You are not logged in.", "Log in to Airflow, and open this page again.")


def _not_understood(_request: Request, error: Exception) -> HTMLResponse:
    """Answer which parameters are wrong, without their values."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    words = (f"{each['loc'][-1]}: {each['msg']}." for each in found)
    return notice(422, "The page cannot be shown.", *words)
